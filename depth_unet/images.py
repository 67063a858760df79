"""Read and resize images: every supported source becomes upright 8-bit RGB."""

import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MAX_PIXELS = 100_000_000  # larger files (decompression bombs) are refused before decoding
_FOCAL_35MM = 0xA405  # EXIF FocalLengthIn35mmFilm, whole millimetres, 0 if unknown

ImageSource = str | os.PathLike | Image.Image | np.ndarray


class Photo(NamedTuple):
    """An upright image and the metadata of its file.

    Args:
        image: RGB, upright; smaller than `height` x `width` if it was decoded at reduced size.
        height: of the upright original, pixels.
        width: of the upright original, pixels.
        focal_35mm: 35 mm equivalent focal length in millimetres from EXIF, or None.
        name: file name without its folder, or None.
    """

    image: Image.Image
    height: int
    width: int
    focal_35mm: float | None
    name: str | None


def read_photo(source: ImageSource, enough: tuple[int, int] | None = None) -> Photo:
    """Read a file, PIL image or array.

    Args:
        source: a path; a PIL image of any mode; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8,
            uint16 (full range) or float in [0, 1]. EXIF orientation is applied, transparency composited over white,
            and of an animation the first frame is used.
        enough: sufficient (height, width), upright: a large JPEG is decoded at a fraction of its size, but not
            smaller than this.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, damaged, empty, too large, or values out of range.
        TypeError: another type of source or array.
    """
    if isinstance(source, np.ndarray):
        return _upright(_from_array(source), None, None)
    if not isinstance(source, str | os.PathLike | Image.Image):
        raise TypeError(f"an image must be a path, a PIL image or a numpy array, not {type(source).__name__}")
    name = "the picture" if isinstance(source, Image.Image) else Path(source).name
    try:
        with warnings.catch_warnings():
            # MAX_PIXELS is the limit here, and damaged metadata does not matter.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL")
            if isinstance(source, Image.Image):
                return _upright(source, None, None)
            if Path(source).is_dir():
                raise ValueError(f"{name} is a folder, not a picture")
            with Image.open(source) as image:
                return _upright(image, enough, name)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture in a known format") from None
    except Image.DecompressionBombError:  # Pillow's own, higher limit
        raise ValueError(f"{name} has far too many pixels: at most {MAX_PIXELS:,} are read") from None
    except (OSError, SyntaxError, EOFError) as error:
        # The text of a system error contains the whole path.
        raise ValueError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of an image file, upright, without decoding it fully.

    Raises:
        FileNotFoundError, ValueError: as `read_photo`.
    """
    photo = read_photo(path, enough=(1, 1))
    return photo.height, photo.width


def _upright(image: Image.Image, enough: tuple[int, int] | None, name: str | None) -> Photo:
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"the picture is empty ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise ValueError(f"the picture has {width}x{height} pixels, at most {MAX_PIXELS:,} are read")
    exif = image.getexif()
    turned = exif.get(0x0112, 1) in (5, 6, 7, 8)
    focal = exif.get_ifd(0x8769).get(_FOCAL_35MM) or None
    reduced = enough is not None and image.format == "JPEG"
    if reduced:
        # Twice the required size: an antialiased resize follows.
        image.draft("RGB", tuple(2 * side for side in (enough if turned else enough[::-1])))
    image = _to_rgb(ImageOps.exif_transpose(image))
    if not reduced:
        width, height = image.size  # `turned` does not apply: Pillow rotates a TIFF on opening
    elif turned:
        width, height = height, width
    return Photo(image, height, width, float(focal) if focal else None, name)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values must lie in 0 to 65535, not {values.min()} to {values.max()}")
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return _from_array(np.asarray(image)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow cannot convert La to RGBA
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"an image array must have shape (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"the picture is empty: shape {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = (array // 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and 0 <= array.min() and array.max() <= 1):
            raise ValueError(f"a float image must lie in [0, 1], not {array.min()} to {array.max()}")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise TypeError(f"an image array must be uint8, uint16 or float in [0, 1], not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))


def shrunk(image: Image.Image, longest: int) -> Image.Image:
    """A copy with at most `longest` pixels along its longer side."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image.copy()
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def to_tensor(image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """Resize an upright RGB image with antialiasing, to (3, height, width) float32 in [0, 1]."""
    height, width = size
    if image.size != (width, height):
        # reducing_gap: a fast box reduction first if the image is much larger
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels = torch.from_numpy(np.array(image))  # np.array copies: PIL buffers are read-only
    return pixels.permute(2, 0, 1).float().div_(255)
