"""Read and resize images: every supported source becomes upright 8-bit sRGB."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms

from depth_unet import metadata

# The formats that are opened, by Pillow's name. A JPEG of several pictures (.mpo) is a JPEG, HEIF needs pillow-heif.
PICTURES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
FORMATS = tuple(PICTURES)
SUFFIXES = tuple(suffix for suffixes in PICTURES.values() for suffix in suffixes)
MAX_PIXELS = 120_000_000  # larger files (decompression bombs) are refused before decoding
# Their decoders take 16 and 9.5 bytes a pixel: reading must cost less than a gigabyte.
_MAX_PIXELS_OF = {"WEBP": 60_000_000, "AVIF": 100_000_000}

ImageSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray

_STRIP_PIXELS = 1 << 20  # converted at once
_MOST_REDUCED = 32  # Pillow's means of larger boxes are too dark
_WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))  # of cameras, in files of 16 bits
_HDR = 16.0  # float pictures up to this have white at 1 and highlights above
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Photo(NamedTuple):
    """An upright image and the metadata of its file.

    Args:
        image: RGB, upright; smaller than `height` x `width` if it was decoded at reduced size.
        height: of the upright original, pixels.
        width: of the upright original, pixels.
        focal_35mm: 35 mm equivalent focal length in millimetres; see `metadata.focal_35mm`.
        name: file name without its folder, or None.
        orientation: 1 to 8, as in EXIF: how the stored pixels were turned to be upright; from 5 on their height is
            `width`.
    """

    image: Image.Image
    height: int
    width: int
    focal_35mm: float | None
    name: str | None
    orientation: int = 1


class _RefusedError(ValueError):
    """A sentence for the user, which needs no other words around it."""


def read_photo(source: ImageSource, enough: tuple[int, int] | None = None) -> Photo:
    """Read a file, PIL image or array.

    Args:
        source: a path; the content of a file as bytes, or a binary file object; a PIL image of any mode; an array
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16 (full range) or float in [0, 1]. Orientation
            and colour profile of a picture are applied, transparency is composited over white, and of an animation
            the first frame is used. Samples of 16 bits may use fewer: white is TIFF's MaxSampleValue, else the largest
            value of 8, 10, 12, 14 or 16 bits that holds all of them. Float samples have white at 1, up to 16 times
            that are highlights, and beyond lie integers in floats.
        enough: sufficient (height, width), upright: a larger picture is reduced, but not below twice this.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, damaged, empty, too large, or values out of range.
        TypeError: another type of source or array.
    """
    if isinstance(source, np.ndarray):
        return Photo(_from_array(source, enough), *source.shape[:2], None, None)
    if isinstance(source, Image.Image):
        with _one_sentence("the picture"):
            return _upright(source, _load(source), enough, None, copy=True)
    with _decoded(source, enough) as (image, known, name):
        return _upright(image, known, enough, name)


def read_size(source: str | os.PathLike | bytes | BinaryIO) -> tuple[int, int]:
    """(height, width) of an image file, upright.

    Raises:
        FileNotFoundError, ValueError: as `read_photo`.
    """
    photo = read_photo(source, enough=(1, 1))
    return photo.height, photo.width


def open_image(source: str | os.PathLike | bytes | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode an image file as it is stored: in its own mode, neither turned nor with its colour profile applied.

    Args:
        source: path, content or binary file object of a file in one of `FORMATS`; no other decoder is started.
        name: for error messages; by default the name of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, not an image, damaged or too large: one sentence without the file's folder.
        TypeError: another type of source.

    Example:
        >>> content = io.BytesIO()
        >>> Image.new("I;16", (4, 3)).save(content, "PNG")
        >>> open_image(content.getvalue()).mode
        'I;16'
    """
    with _decoded(source, None, name) as (image, _, _):
        return image


class _Known(NamedTuple):
    """A picture's size (width, height) and metadata; `remaining` is the orientation of the pixels as decoded."""

    size: tuple[int, int]
    focal_35mm: float | None
    orientation: int
    remaining: int


@contextmanager
def _decoded(
    source: object, enough: tuple[int, int] | None, name: str | None = None
) -> Iterator[tuple[Image.Image, _Known, str | None]]:
    """Decode a file and close it at the end; any error within becomes one sentence."""
    if not (isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read")):
        kinds = "a path, bytes, a binary file object, a PIL image or a numpy array"
        raise TypeError(f"an image must be {kinds}, not {type(source).__name__}")
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if name is None and isinstance(path, str | os.PathLike):
        name = Path(os.fsdecode(path)).name or None
    with _one_sentence(name or "the picture"), _file(source) as file:
        try:
            image, known = _decode(file, enough)
        except _RefusedError:
            raise
        except Exception as error:  # decoders raise errors of any class, on metadata, too
            file.seek(0)
            pixels, exif = metadata.separate(file.read())
            try:
                image, known = _decode(io.BytesIO(pixels), enough, exif)
            except Exception:  # the pixels are damaged
                raise error from None
        yield image, known, name


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    except _RefusedError as error:
        raise ValueError(f"{name} {error}") from None
    except Exception as error:  # decoders raise errors of any class
        # The text of a system error contains the whole path.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} cannot be read: {reason}") from error


def _file(source: object) -> BinaryIO:
    if isinstance(source, str | os.PathLike):
        mode = os.stat(source).st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
            raise _RefusedError(f"is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not a picture")
        return open(source, "rb")
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if hasattr(source, "seek") and source.seekable():
        source.seek(0)
    content = source.read()
    if not isinstance(content, bytes):
        raise _RefusedError("is a text file; open it in binary mode")
    return io.BytesIO(content)


def _decode(file: BinaryIO, enough: tuple[int, int] | None, exif: bytes | None = None) -> tuple[Image.Image, _Known]:
    image = _opened(file)
    rawmode = _rawmode(image)
    known = _load(image, enough, exif)
    if image.mode in ("RGB", "RGBA") and ";16" in rawmode:
        _use_low_bytes(image, rawmode, file)
    return image, known


def _opened(file: BinaryIO) -> Image.Image:
    """`Image.open` for `FORMATS` only, without its warning of more than 89 million pixels."""
    prefix = file.read(16)
    if not prefix:
        raise _RefusedError("is empty")
    Image.init()
    error: Exception = _RefusedError(f"is not a picture in a known format ({', '.join(FORMATS)})")
    for name in FORMATS:
        if name == "HEIF" and prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
            _register_heif()
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is None or accepts(prefix) is not True:
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except Exception as failure:  # kept, since the next format may fit: HEIF and AVIF share a container
            error = failure
    raise error


def _register_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise _RefusedError('is a HEIC picture, which needs pillow-heif: pip install "depth_unet[page]"') from None
    register_heif_opener()


def _load(image: Image.Image, enough: tuple[int, int] | None = None, exif: bytes | None = None) -> _Known:
    """Decode the pixels, of a JPEG at a fraction of its size if `enough` allows that."""
    size = width, height = image.size
    if width < 1 or height < 1:
        raise _RefusedError(f"is empty ({width}x{height})")
    most = _MAX_PIXELS_OF.get(image.format, MAX_PIXELS)
    if width * height > most:
        of_format = "" if most == MAX_PIXELS else f" of a {image.format}"
        raise _RefusedError(f"has {width}x{height} pixels, at most {most:,}{of_format} are read")
    is_jpeg, is_tiff = image.format in ("JPEG", "MPO"), image.format == "TIFF"
    is_turned = (is_jpeg or is_tiff) and metadata.orientation(image, exif) >= 5  # others know it after decoding
    if enough is not None and is_jpeg:
        # Twice the required size: an antialiased resize follows.
        image.draft("RGB", tuple(2 * side for side in (enough if is_turned else enough[::-1])))
    if is_tiff and image.tile:
        # Pillow turns a TIFF while it decodes it, and warns of more than 89 million pixels unless it has their memory.
        orientation, remaining = metadata.orientation(image, exif), 1
        stored = size[::-1] if is_turned else size
        image.im = Image.new(image.mode, stored).im
        image.load()
    else:
        image.load()
        orientation = remaining = metadata.orientation(image, exif)
        stored = size
    return _Known(size, metadata.focal_35mm(image, stored, exif), orientation, remaining)


def _upright(
    image: Image.Image, known: _Known, enough: tuple[int, int] | None, name: str | None, copy: bool = False
) -> Photo:
    turned = known.remaining >= 5
    needed = enough if enough is None or turned else enough[::-1]
    made = _to_rgb(image, _factor(image.size, needed))
    if known.remaining > 1:
        made = made.transpose(_UPRIGHT[known.remaining])
    elif made is image:
        made = image.copy() if copy else image._new(image.im)  # the pixels without the file's decoder
    made.info = {}  # profile and orientation no longer apply
    width, height = known.size[::-1] if turned else known.size
    return Photo(made, height, width, known.focal_35mm, name, known.orientation)


def _factor(size: tuple[int, int], enough: tuple[int, int] | None) -> int:
    """By how much a picture is reduced to be at least twice as large as `enough`, both (width, height)."""
    if enough is None:
        return 1
    return min(max(1, min(have // (2 * need) for have, need in zip(size, enough, strict=True))), _MOST_REDUCED)


def _in_strips(size: tuple[int, int], factor: int, rgb_rows: Callable[[int, int], Image.Image]) -> Image.Image:
    """Build an RGB image, reduced by a factor, from the strips that `rgb_rows(top, bottom)` returns.

    Converting a large picture as a whole would need the memory of several copies.
    """
    width, height = size
    rows = factor * max(1, _STRIP_PIXELS // (width * factor))
    made = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, rows):
        strip = rgb_rows(top, min(top + rows, height))
        made.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return made


def _to_rgb(image: Image.Image, factor: int) -> Image.Image:
    mode = image.mode
    is_deep = mode in ("I", "F") or mode.startswith("I;16")
    colours = mode if mode in ("CMYK", "LAB") else "L" if is_deep or mode in ("1", "L", "LA", "La") else "RGB"
    transform = _to_srgb(image.info.get("icc_profile"), colours)
    if mode == "RGB" and "transparency" not in image.info and transform is None:
        return image.reduce(factor) if factor > 1 else image
    white = _white(image) if is_deep else None

    def rgb_rows(top: int, bottom: int) -> Image.Image:
        strip = image.crop((0, top, image.width, bottom))
        return _strip_to_rgb(_to_eight_bits(np.asarray(strip), white) if is_deep else strip, colours, transform)

    return _in_strips(image.size, factor, rgb_rows)


def _strip_to_rgb(
    strip: Image.Image, colours: str = "RGB", transform: ImageCms.ImageCmsTransform | None = None
) -> Image.Image:
    alpha = None
    if strip.mode == "La":
        strip = strip.convert("LA")  # Pillow cannot convert La to RGBA
    if strip.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in strip.info:
        strip = strip.convert("RGBA")
        alpha = strip.getchannel("A")
    strip = strip if strip.mode == colours else strip.convert(colours)
    strip = ImageCms.applyTransform(strip, transform) if transform else strip.convert("RGB")
    return strip if alpha is None else Image.composite(strip, Image.new("RGB", strip.size, "white"), alpha)


def _to_srgb(profile: bytes | None, colours: str) -> ImageCms.ImageCmsTransform | None:
    if not profile:
        return None
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(found, ImageCms.createProfile("sRGB"), colours, "RGB")
    except Exception:  # a damaged profile, or one of other colours: as without a profile
        return None


def _white(image: Image.Image) -> float:
    """The sample value that is white in a grey picture of more than 8 bits."""
    rows = max(1, _STRIP_PIXELS // image.width)
    strips = (
        np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        for top in range(0, image.height, rows)
    )
    extremes = [(strip[known].min(), strip[known].max()) for strip in strips if (known := np.isfinite(strip)).any()]
    if not extremes:
        raise _RefusedError("has no finite value")
    darkest, brightest = (float(value) for value in (min(low for low, _ in extremes), max(top for _, top in extremes)))
    if image.mode == "F" and brightest <= _HDR:
        return 1.0
    if brightest > 65535 or (darkest < 0 and image.mode != "F"):
        raise _RefusedError(f"has grey values of {darkest:g} to {brightest:g}; they must lie in 0 to 65535")
    stated = metadata.max_sample_value(image)
    if brightest <= stated < 65535:
        return stated
    return next(white for white in _WHITES if brightest <= white)


def _to_eight_bits(values: np.ndarray, white: float) -> Image.Image:
    values = np.nan_to_num(values.astype(np.float32), nan=0.0).clip(0, white)
    return Image.fromarray(np.rint(values * np.float32(255 / white)).astype(np.uint8))


def _rawmode(image: Image.Image) -> str:
    """How samples lie in a file, e.g. "RGB;16B"; Pillow's decoders get it first."""
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _use_low_bytes(image: Image.Image, rawmode: str, file: BinaryIO) -> None:
    """Scale colours of 16 bits that use at most 14 of them; Pillow has kept the high byte only."""
    high = max(top for _, top in image.getextrema()[:3])
    white = next(white for white in _WHITES if 256 * high + 255 <= white)
    if white == 65535:
        return
    file.seek(0)
    low, big_endian = _opened(file), rawmode.endswith("B") or (rawmode.endswith("N") and sys.byteorder == "big")
    swapped = rawmode[:-1] + ("L" if big_endian else "B")
    low.tile = [
        tile._replace(args=(swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped) for tile in low.tile
    ]
    _load(low)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        pixels, fine = np.array(image.crop(box)), np.asarray(low.crop(box))
        values = pixels[..., :3] * np.float32(256) + fine[..., :3]
        pixels[..., :3] = np.rint(values * np.float32(255 / white))
        image.paste(Image.fromarray(pixels), box)


def _from_array(array: np.ndarray, enough: tuple[int, int] | None) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"an image array must have shape (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"the picture is empty: shape {array.shape}")
    height, width = array.shape[:2]
    if height * width > MAX_PIXELS:
        raise ValueError(f"the picture has {width}x{height} pixels, at most {MAX_PIXELS:,} are read")
    is_float, kind = np.issubdtype(array.dtype, np.floating), array.dtype.newbyteorder("=")
    if not (is_float or kind in (np.bool_, np.uint8, np.uint16)):
        raise TypeError(f"an image array must be uint8, uint16 or float in [0, 1], not {array.dtype}")
    if is_float and not (0 <= array.min() and array.max() <= 1):  # false for NaN
        raise ValueError(f"a float image must lie in [0, 1], not {array.min()} to {array.max()}")

    def rgb_rows(top: int, bottom: int) -> Image.Image:
        rows = array[top:bottom]
        if is_float:
            rows = np.rint(rows * 255)
        elif kind != np.uint8:
            rows = rows // 257 if kind == np.uint16 else rows * np.uint8(255)
        return _strip_to_rgb(Image.fromarray(np.ascontiguousarray(rows, np.uint8)))

    return _in_strips((width, height), _factor((width, height), enough and enough[::-1]), rgb_rows)


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
