"""Metadata of picture files: a value of an odd type is unknown, and costs neither the pixels nor other values."""

import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from numbers import Real
from typing import Any

from PIL import Image

from depth_unet.camera import FULL_FRAME_DIAGONAL_MM

FOCAL_35MM_RANGE = (8.0, 1000.0)  # millimetres; no lens of a photo lies outside
_EXIF, _ORIENTATION = 0x8769, 274
_FOCAL_35MM, _FOCAL_LENGTH = 0xA405, 0x920A
_PIXELS_X, _SENSOR_RESOLUTION_X, _SENSOR_RESOLUTION_UNIT = 0xA002, 0xA20E, 0xA210
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_PNG_PIXELS = (b"PLTE", b"tRNS", b"iCCP")  # the chunks besides the critical ones that the colours depend on
_TIFF_RESOLUTION, _TIFF_PROFILE = (282, 283, 296), 34675


def orientation(image: Image.Image) -> int:
    """The orientation of EXIF or XMP, 1 to 8: how the stored pixels are turned; 1, upright, if it is unknown."""
    value = _number(_tags(image), _ORIENTATION)
    return int(value) if value in range(1, 9) else 1


def focal_35mm(image: Image.Image, stored: tuple[int, int]) -> float | None:
    """The 35 mm equivalent focal length of a picture, millimetres, or None; `stored` is its (width, height) unturned.

    FocalLengthIn35mmFilm comes first: cameras count cropping and digital zoom in it. Without it, FocalLength and the
    width of the sensor (PixelXDimension / FocalPlaneXResolution) give the field of view of the stored picture's width,
    also of a picture that has been made smaller since.
    """
    tags = _tags(image, _EXIF)
    width, height = stored
    found = [_number(tags, _FOCAL_35MM)]
    length, pixels, resolution = (_number(tags, tag) for tag in (_FOCAL_LENGTH, _PIXELS_X, _SENSOR_RESOLUTION_X))
    unit = _UNIT_MM.get(_number(tags, _SENSOR_RESOLUTION_UNIT) if _SENSOR_RESOLUTION_UNIT in tags else 2)
    if length and pixels and resolution and unit:
        diagonal = pixels / resolution * unit * math.hypot(1, height / width)
        found.append(length / diagonal * FULL_FRAME_DIAGONAL_MM if diagonal else None)
    nearest, farthest = FOCAL_35MM_RANGE
    return next((value for value in found if value and nearest <= value <= farthest), None)


def max_sample_value(image: Image.Image) -> float | None:
    """TIFF's MaxSampleValue, or None."""
    return _number(getattr(image, "tag_v2", {}), 281)


def _tags(image: Image.Image, directory: int | None = None) -> Any:
    with suppress(Exception):  # Pillow raises errors of many classes, and has kept what it read before
        image.getexif()
    try:
        return image.getexif().get_ifd(directory) if directory else image.getexif()
    except Exception:  # the same
        return {}


def _number(tags: Any, tag: int) -> float | None:
    try:
        value = tags.get(tag)
        value = float(value) if isinstance(value, Real) else 0.0
    except Exception:  # Pillow decodes a tag when it is read
        return None
    return value if math.isfinite(value) and value > 0 else None


def separate(content: bytes) -> tuple[bytes, bytes | None]:
    """Take the metadata out of a JPEG, PNG, TIFF or AVIF file that cannot be read with it.

    Returns:
        The file without what its pixels and colours do not depend on, and its EXIF data, if any.
    """
    try:
        if content.startswith(b"\xff\xd8"):
            return _separate_jpeg(content)
        if content.startswith(b"\x89PNG"):
            return _separate_png(content)
        if content.startswith((b"II*\0", b"MM\0*")):
            return _separate_tiff(content), content
        if content[4:8] == b"ftyp":
            # "Exif" is the type of an item; its content starts with one of TIFF's two headers.
            starts = [place for header in (b"II*\0", b"MM\0*") if (place := content.find(header)) > 0]
            return content.replace(b"Exif", b"none"), content[min(starts) :] if starts else None
    except (struct.error, IndexError):
        pass  # cut off
    return content, None


def _separate_jpeg(content: bytes) -> tuple[bytes, bytes | None]:
    kept, exif, place = [content[:2]], None, 2
    while content[place] == 0xFF and content[place + 1] != 0xDA:  # up to the first scan
        (length,) = struct.unpack_from(">H", content, place + 2)
        kind, segment = content[place + 1], content[place : place + 2 + length]
        if segment[4:10] == b"Exif\0\0" and exif is None:
            exif = segment[4:]
        # Of the application's segments, JFIF, Adobe's and ICC profiles say how to decode the colours.
        if kind in (0xE0, 0xEE) or not (0xE0 <= kind <= 0xEF or kind == 0xFE) or segment[4:15] == b"ICC_PROFILE":
            kept.append(segment)
        place += 2 + length
    return b"".join([*kept, content[place:]]), exif


def _separate_png(content: bytes) -> tuple[bytes, bytes | None]:
    kept, exif = [content[:8]], None
    for kind, chunk in _png_chunks(content):
        if kind == b"eXIf":
            exif = chunk[8:-4]
        if kind[:1].isupper() or kind in _PNG_PIXELS:
            kept.append(chunk)
    return b"".join(kept), exif


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place : place + 12 + length]
        place += 12 + length


def _separate_tiff(content: bytes) -> bytes:
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, start)
    entries = [content[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    kept = []
    for entry in entries:
        tag, kind, values = struct.unpack_from(order + "HHI", entry)
        needed = 254 <= tag <= 532 or 32995 <= tag <= 32998 or tag == _TIFF_PROFILE
        odd = tag in _TIFF_RESOLUTION or tag == _ORIENTATION and (kind, values) != (3, 1)
        if needed and not odd:
            kept.append(entry)
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:start] + directory + content[start + len(directory) :]
