"""The only place where pictures are read and resized: anything a person may hand in becomes upright 8-bit RGB."""

import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MAX_PIXELS = 100_000_000  # a compressed bomb is refused before it is decoded
_FOCAL_35MM = 0xA405  # EXIF FocalLengthIn35mmFilm, whole millimetres, 0 if unknown

ImageSource = str | os.PathLike | Image.Image | np.ndarray


class Photo(NamedTuple):
    """A picture as a person sees it.

    Args:
        image: RGB, upright; smaller than `height` x `width` where the file allowed a reduced decoding.
        height: pixels of the upright original.
        width: pixels of the upright original.
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
            uint16 (full range) or float in [0, 1]. EXIF orientation is applied, transparency laid over white,
            of an animation the first picture is taken.
        enough: (height, width) that suffice, upright: a large JPEG is then decoded at a fraction of its size,
            never below these.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, damaged, empty, too large, or numbers out of range.
        TypeError: a kind of source or of array that means no picture.
    """
    if isinstance(source, np.ndarray):
        return _upright(_from_array(source), None, None)
    if not isinstance(source, str | os.PathLike | Image.Image):
        raise TypeError(f"an image must be a path, a PIL image or a numpy array, not {type(source).__name__}")
    name = "the picture" if isinstance(source, Image.Image) else Path(source).name
    try:
        with warnings.catch_warnings():
            # Our own limit is the rule; damaged metadata does not hurt the pixels.
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
    except Image.DecompressionBombError:  # Pillow's own limit, above ours, before it tells the size
        raise ValueError(f"{name} has far too many pixels: at most {MAX_PIXELS:,} are read") from None
    except (OSError, SyntaxError, EOFError) as error:
        # The text of a system error would tell the whole path.
        raise ValueError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of a picture file as a person sees it, without decoding it all.

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
        # Twice the size that is needed: the rest of the way is a proper antialiased resize.
        image.draft("RGB", tuple(2 * side for side in (enough if turned else enough[::-1])))
    image = _to_rgb(ImageOps.exif_transpose(image))
    if not reduced:
        width, height = image.size  # not by `turned`: Pillow turns a TIFF when it opens it
    elif turned:
        width, height = height, width
    return Photo(image, height, width, float(focal) if focal else None, name)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"grey values reach from {values.min()} to {values.max()}, 0 to 65535 are understood")
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return _from_array(np.asarray(image)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow has no way from La to RGBA
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
            raise ValueError(f"a float image must lie in [0, 1], this one reaches from {array.min()} to {array.max()}")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise TypeError(f"an image array must be uint8, uint16 or float in [0, 1], not {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))


def to_tensor(image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """RGB in [0, 1], (3, height, width) float32, of an upright RGB picture resized with antialiasing."""
    height, width = size
    if image.size != (width, height):
        # reducing_gap: a fast box reduction first where the picture is much larger, exact resize after it
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels = torch.from_numpy(np.array(image))  # np.array copies: a PIL buffer is read-only
    return pixels.permute(2, 0, 1).float().div_(255)
