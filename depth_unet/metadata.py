"""Metadata of picture files: a value of an odd type is unknown, and costs neither the pixels nor other values."""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from numbers import Real
from typing import Any

from PIL import Image, PngImagePlugin

from depth_unet.camera import FULL_FRAME_DIAGONAL_MM

FOCAL_35MM_RANGE = (8.0, 1000.0)  # millimetres; no lens of a photo lies outside
_EXIF, _ORIENTATION = 0x8769, 274
_FOCAL_35MM, _FOCAL_LENGTH = 0xA405, 0x920A
_PIXELS_X, _SENSOR_RESOLUTION_X, _SENSOR_RESOLUTION_UNIT = 0xA002, 0xA20E, 0xA210
_MAX_SAMPLE_VALUE = 281
UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_NUMBERS = {3: "H", 4: "I", 5: "II", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}  # TIFF's types, as of struct
_XMP_ORIENTATION = re.compile('tiff:Orientation(?:="|>)([1-8])')
_TIFF_ODD = (*range(269, 273), 282, 283, 285, 296, 297, 305, 306, 315, 316)  # texts and resolutions
_TIFF_PROFILE = 34675


def orientation(image: Image.Image, exif: bytes | None = None) -> int:
    """How the stored pixels are turned: the orientation of EXIF, else XMP, 1 to 8; 1, upright, if it is unknown.

    Args:
        image: opened from a file.
        exif: EXIF data that replace those of the image.
    """
    # The container of an AVIF states it, and Pillow has put that in the image's EXIF data.
    stated = _numbers(image, None if image.format == "AVIF" else exif).get(_ORIENTATION)
    if stated not in range(1, 9):
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        xmp = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
        found = _XMP_ORIENTATION.search(xmp) if isinstance(xmp, str) else None
        stated = found[1] if found else 1
    return int(stated)


def focal_35mm(image: Image.Image, stored: tuple[int, int], exif: bytes | None = None) -> float | None:
    """The 35 mm equivalent focal length of a picture in millimetres, or None.

    FocalLengthIn35mmFilm comes first: cameras count cropping and digital zoom in it. Without it, FocalLength and the
    width of the sensor (PixelXDimension / FocalPlaneXResolution) give the field of view of the stored picture's width,
    also of a picture that was made smaller later.

    Args:
        image: opened from a file.
        stored: (width, height) before the picture is turned.
        exif: EXIF data that replace those of the image.
    """
    numbers = _numbers(image, exif, _EXIF)
    found = [numbers.get(_FOCAL_35MM, math.nan)]
    length, pixels, resolution = (
        numbers.get(tag, math.nan) for tag in (_FOCAL_LENGTH, _PIXELS_X, _SENSOR_RESOLUTION_X)
    )
    unit_mm = UNITS_MM.get(numbers.get(_SENSOR_RESOLUTION_UNIT, 2), math.nan)
    with suppress(ZeroDivisionError, OverflowError):  # of tiny or huge numbers
        diagonal_mm = pixels / resolution * unit_mm * math.hypot(1, stored[1] / stored[0])
        found.append(length / diagonal_mm * FULL_FRAME_DIAGONAL_MM)
    shortest, longest = FOCAL_35MM_RANGE
    return next((value for value in found if shortest <= value <= longest), None)


def max_sample_value(image: Image.Image) -> float:
    """MaxSampleValue of a TIFF, or NaN."""
    try:
        (value,) = image.tag_v2[_MAX_SAMPLE_VALUE]  # one for each channel
        return _positive(float(value))
    except Exception:  # no TIFF, or Pillow decodes an odd value
        return math.nan


def _numbers(image: Image.Image, exif: bytes | None, directory: int | None = None) -> dict[int, float]:
    """The tags of EXIF data, in its first directory or the one that a tag points to: positive numbers or NaN."""
    exif = exif or image.info.get("exif")
    if isinstance(exif, bytes):
        # Not by Pillow, which warns of the first entry that is cut off and leaves out all that follow.
        exif = exif[6 * exif.startswith(b"Exif\0\0") :]
        order = ">" if exif.startswith(b"MM") else "<"
        with suppress(struct.error, KeyError, ValueError, OverflowError):  # cut off, or without that directory
            (place,) = struct.unpack_from(f"{order}I", exif, 4)
            numbers = dict(_directory(exif, order, place))
            return numbers if directory is None else dict(_directory(exif, order, int(numbers[directory])))
        return {}
    with suppress(Exception):  # Pillow raises errors of many classes, and keeps what it read before
        image.getexif()
    try:
        tags = image.getexif().get_ifd(directory) if directory else image.getexif()
        return {tag: _number_of(tags, tag) for tag in tags}
    except Exception:  # the same
        return {}


def _directory(exif: bytes, order: str, place: int) -> Iterator[tuple[int, float]]:
    with suppress(struct.error):  # the directory is cut off
        (entries,) = struct.unpack_from(f"{order}H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", exif, entry)
            value = math.nan
            with suppress(struct.error, KeyError, ZeroDivisionError):  # cut off, no single number, or a ratio to 0
                form = order + _NUMBERS[kind if count == 1 else None]
                place = entry + 8 if struct.calcsize(form) <= 4 else struct.unpack_from(f"{order}I", exif, entry + 8)[0]
                parts = struct.unpack_from(form, exif, place)
                value = parts[0] / parts[1] if parts[1:] else parts[0]
            yield tag, _positive(value)


def _number_of(tags: Any, tag: int) -> float:
    try:
        value = tags.get(tag)
        return _positive(float(value)) if isinstance(value, Real) else math.nan
    except Exception:  # Pillow decodes a tag when it is read
        return math.nan


def _positive(value: float) -> float:
    return float(value) if value > 0 and math.isfinite(value) else math.nan


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
        # Of the application's segments, whole ones of JFIF, of Adobe and with a profile say what the colours are.
        is_profile = segment[4:16] == b"ICC_PROFILE\0" and len(segment) >= 18
        is_colour = (kind == 0xE0 and len(segment) >= 18) or (kind == 0xEE and len(segment) >= 16) or is_profile
        if is_colour or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            kept.append(segment)
        place += 2 + length
    return b"".join([*kept, content[place:]]), exif


def _separate_png(content: bytes) -> tuple[bytes, bytes | None]:
    kept, exif = [content[:8]], None
    for kind, chunk in _png_chunks(content):
        if kind == b"eXIf":
            exif = chunk[8:-4]
        if kind[:1].isupper() or kind == b"tRNS" or (kind == b"iCCP" and _holds_profile(chunk[8:-4])):
            kept.append(chunk)
    return b"".join(kept), exif


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place : place + 12 + length]
        place += 12 + length


def _holds_profile(content: bytes) -> bool:
    compressed = content.partition(b"\0")[2]
    try:
        rest = zlib.decompressobj()
        rest.decompress(compressed[1:], PngImagePlugin.MAX_TEXT_CHUNK)
        return compressed[:1] == b"\0" and not rest.unconsumed_tail
    except zlib.error:
        return False


def _separate_tiff(content: bytes) -> bytes:
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, start)
    entries = [content[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    kept = []
    for entry in entries:
        tag, kind, values = struct.unpack_from(order + "HHI", entry)
        needed = 254 <= tag <= 532 or 32995 <= tag <= 32998 or tag == _TIFF_PROFILE
        odd = tag in _TIFF_ODD or tag == _ORIENTATION and (kind, values) != (3, 1)
        if needed and not odd:
            kept.append(entry)
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:start] + directory + content[start + len(directory) :]
