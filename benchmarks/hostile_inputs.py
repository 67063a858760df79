"""Inputs that people and strangers could send, each made from a seed, with what has to come of it.

A generator takes a random number generator and a `Workplace`, and returns a `Case`. `KINDS` names all of them.
"""

import functools
import io
import json
import math
import os
import random
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms, features
from safetensors.torch import load_file, save, save_file

from depth_unet import Camera, DepthUNet, DepthUNetConfig, Prediction, RgbdFolder
from depth_unet.data.sample import SampleError
from depth_unet.folders import CLIP_SUFFIXES
from depth_unet.images import MAX_PIXELS, SUFFIXES, read_photo

TINY = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[64, 96])
DIAGONAL_MM = math.hypot(36, 24)
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BACK = {6: 8, 8: 6}  # all other turns are their own inverse


class Workplace(NamedTuple):
    """What the cases of a kind share.

    Args:
        folder: of the case alone, empty.
        model: a new model of `TINY`.
        model_folder: the same model, saved.
        onnx: the same model as an ONNX file, or None.
        url: of a running server with the same model, or None.
    """

    folder: Path
    model: DepthUNet
    model_folder: Path
    onnx: Path | None = None
    url: str | None = None


class Case(NamedTuple):
    """One input.

    Args:
        what: how it was made.
        act: gives it to the product.
        check: what is wrong with the value that came of it, or None; without it, the input has to be refused.
        refusable: a clear error is right, too.
        named: a path that the caller gave and an error may repeat.
    """

    what: str
    act: Callable[[], Any]
    check: Callable[[Any], str | None] | None = None
    refusable: bool = False
    named: str = ""


def refused(what: str, act: Callable[[], Any], named: str | Path = "") -> Case:
    return Case(what, act, None, True, str(named))


# --- damage ------------------------------------------------------------------------------------------------------


def damaged(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Cut off, bits flipped, bytes overwritten, a part left out or repeated."""
    size, how = len(content), rng.choice(["cut", "bits", "bits of the head", "overwritten", "left out", "repeated"])
    place = rng.randrange(max(1, size))
    length = rng.randint(1, max(1, size // 4))
    if how == "cut":
        return f"cut at {place} of {size}", content[:place]
    if how.startswith("bits"):
        made, count = bytearray(content), rng.choice([1, 3, 20])
        for _ in range(count):
            made[rng.randrange(min(size, 200) if "head" in how else size)] ^= 1 << rng.randrange(8)
        return f"{count} {how} flipped", bytes(made)
    if how == "overwritten":
        return f"{length} bytes at {place} overwritten", content[:place] + rng.randbytes(length) + content[
            place + length :
        ]
    if how == "left out":
        return f"{length} bytes at {place} left out", content[:place] + content[place + length :]
    return f"{length} bytes at {place} repeated", content[: place + length] + content[place:]


def odd_value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, also those that are no JSON of the standard."""
    simple = [
        None, True, False, 0, -1, 1, 2, 1e-300, 1e300, -1e300, 10**400, math.nan, math.inf, -math.inf, "", " ", "60",
        "nan", "\0", "\ud800", "../../x", "🦊" * 50, "x" * 5000, 0.5, -0.0, 2**53, 2**63,
    ]  # fmt: skip
    if depth > 3 or rng.random() < 0.7:
        return rng.choice(simple)
    values = [odd_value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return values if rng.random() < 0.5 else {rng.choice(["a", "path", "fx", "width", ""]): each for each in values}


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


# --- photos ------------------------------------------------------------------------------------------------------

MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P", "RGB"),
}
LOSSY = ("JPEG", "WEBP", "AVIF")
FOREIGN = ("PPM", "TGA", "PCX", "SGI", "ICO", "DDS", "EPS", "PDF", "IM", "SPIDER", "MSP", "XBM")
NO_PICTURES = {
    "empty": b"",
    "text": b"no picture",
    "zeros": bytes(5000),
    "playlist": b"#EXTM3U\nsecret.jpg\n",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "program": b"MZ\0\0" * 99,
    "zip": b"PK\x05\x06" + bytes(18),
    "head of a PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x20",
    "head of a JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0",
    "head of a TIFF": b"II*\0\x08\0\0\0",
    "head of a WebP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "head of an AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
    "head of a HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "head of a BMP": b"BM" + bytes(60),
    "head of a GIF": b"GIF89a" + bytes(7),
}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bombs(rng: random.Random) -> tuple[str, bytes]:
    """A small file of more pixels than are read."""
    width = rng.randint(12_000, 60_000)
    height = MAX_PIXELS // width + rng.randint(1, 5000)
    how = rng.choice(["PNG", "BMP", "GIF", "TIFF"])
    if how == "PNG":
        head = struct.pack(">IIBBBBB", width, height, 8, rng.choice([0, 2, 6]), 0, 0, 0)
        body = zlib.compress(bytes(10_000))
        return how, b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    if how == "BMP":
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        return how, b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + bytes(99)
    if how == "GIF":
        return how, b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + struct.pack(
            "<HHHHB", 0, 0, 65535, 65535, 0
        ) + b"\x02\x02\x4c\x01\0;"
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 200),
        (278, 4, height),
    ]
    entries += [(277, 3, 1), (279, 4, 99)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return how, b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(300)


def picture(rng: random.Random) -> tuple[str, Image.Image, str, tuple[int, int, int | None]]:
    """A picture of two greys side by side: description, picture, format, and the greys with their tolerance."""
    format = rng.choice([name for name in MODES if name != "AVIF" or features.check("avif")])
    mode = rng.choice(MODES[format])
    sides = rng.choice([(rng.randint(16, 200), rng.randint(16, 200))] * 4 + [(1, 1), (1, 300), (300, 1), (700, 500)])
    if format == "AVIF":
        sides = tuple(max(16, side) for side in sides)
    dark, light = rng.randint(0, 100), rng.randint(155, 255)
    pixels = np.full((sides[1], sides[0]), dark, np.uint8)
    pixels[:, sides[0] // 2 :] = light
    tolerance = 14 if format in LOSSY else 2
    if mode == "I;16":
        white = rng.choice([4095, 65535])
        pixels = np.rint(pixels * (white / 255)).astype(np.uint16)
        made = Image.fromarray(pixels)
        # White is the smallest usual one that holds all values.
        found = next(each for each in (255, 1023, 4095, 16383, 65535) if pixels.max() <= each)
        dark, light = (round(int(value) * 255 / found) for value in (pixels[0, 0], pixels[0, -1]))
    elif mode == "F":
        made = Image.fromarray((pixels / np.float32(255)).astype(np.float32))
    elif mode == "1":
        dark, light, made = 0, 255, Image.fromarray(pixels > 127)
    elif mode == "CMYK":
        made, tolerance = Image.fromarray(pixels).convert("CMYK"), 40
    elif mode == "P":
        made = Image.fromarray(pixels).convert("P")
    elif mode in ("LA", "RGBA"):
        made, alpha = Image.fromarray(pixels).convert(mode), rng.choice([255, 255, 128, 0])
        made.putalpha(alpha)
        dark, light = (round(value * alpha / 255 + 255 - alpha) for value in (dark, light))
        tolerance = 14 if format in LOSSY else 4
        tolerance = None if format in LOSSY and alpha < 255 else tolerance
    else:
        made = Image.fromarray(pixels).convert(mode)
    dark = light if sides[0] == 1 else dark
    if format in LOSSY and min(sides) < 16:
        tolerance = None
    return f"{format} {mode} {sides[0]}x{sides[1]}", made, format, (dark, light, tolerance)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if format == "JPEG":
        options = {"quality": 95, "progressive": image.width % 2 == 0, **options}
    if format == "TIFF" and image.mode in ("L", "RGB", "RGBA"):
        options = {"compression": ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")[image.width % 4], **options}
    if format == "GIF" and image.height % 3 == 0:
        options = {"save_all": True, "append_images": [image.point(lambda value: 255 - value)], **options}
    image.save(file, format, **options)
    return file.getvalue()


def handed(rng: random.Random, place: Workplace, content: bytes, suffix: str) -> Any:
    """The content as a file, as bytes or as a file object."""
    how = rng.choice(["file", "file", "bytes", "object"])
    if how == "bytes":
        return content
    if how == "object":
        return io.BytesIO(content)
    path = place.folder / f"photo{suffix}"
    path.write_bytes(content)
    return path


def read_and_predict(place: Workplace, source: Any) -> tuple[Any, Prediction]:
    photo = read_photo(source)
    return photo, place.model.predict(source)


def check_prediction(prediction: Prediction, size: tuple[int, int]) -> str | None:
    if prediction.depth.shape != size[::-1]:
        return f"depth of shape {prediction.depth.shape} for a photo of {size[0]}x{size[1]}"
    if not (np.isfinite(prediction.depth).all() and prediction.depth.min() > 0):
        return "depth that is not finite or not positive"
    if prediction.camera[:2] != size or not all(map(math.isfinite, prediction.camera)):
        return f"a camera that does not fit: {prediction.camera}"
    return None


def check_photo(
    value: Any, size: tuple[int, int] | None = None, greys: tuple[int, int, int | None] | None = None
) -> str | None:
    photo, prediction = value
    if size and (photo.width, photo.height) != size:
        return f"{photo.width}x{photo.height} instead of {size[0]}x{size[1]}"
    if photo.image.mode != "RGB":
        return f"mode {photo.image.mode}"
    if greys and greys[2] is not None:
        for x, expected in ((0, greys[0]), (photo.image.width - 1, greys[1])):
            found = photo.image.getpixel((x, photo.image.height // 2))
            if max(abs(channel - expected) for channel in found) > greys[2]:
                return f"the colour {found} instead of {expected}"
    return check_prediction(prediction, (photo.width, photo.height))


def photos(rng: random.Random, place: Workplace) -> Case:
    recipe = rng.choice(
        ["whole"] * 8 + ["damaged"] * 8 + ["head"] * 2 + ["bomb"] * 2 + ["other", "foreign", "array", "odd"]
    )
    if recipe in ("whole", "damaged", "head"):
        what, image, format, greys = picture(rng)
        content = encoded(image, format)
        suffix = rng.choice(SUFFIXES)  # of any format
        if recipe == "whole":
            source = handed(rng, place, content, suffix)
            act = functools.partial(read_and_predict, place, source)
            return Case(f"{what} as {suffix}", act, lambda value: check_photo(value, image.size, greys))
        if recipe == "damaged":
            how, content = damaged(rng, content)
        else:
            other = rng.choice(list(NO_PICTURES))
            how, content = f"with the {other} in front", NO_PICTURES[other] + content[len(NO_PICTURES[other]) :]
        source = handed(rng, place, content, suffix)
        return Case(f"{what}, {how}", functools.partial(read_and_predict, place, source), check_photo, True)
    if recipe == "bomb":
        what, content = bombs(rng)
        source = handed(rng, place, content, rng.choice(SUFFIXES))
        return refused(f"{what} of too many pixels", functools.partial(read_and_predict, place, source))
    if recipe == "other":
        what = rng.choice(list(NO_PICTURES))
        source = handed(rng, place, NO_PICTURES[what], rng.choice(SUFFIXES))
        return refused(what, functools.partial(read_and_predict, place, source))
    if recipe == "foreign":
        format = rng.choice(FOREIGN)
        image = Image.new({"MSP": "1", "XBM": "1", "SPIDER": "F"}.get(format, "L"), (32, 32))
        file = io.BytesIO()
        image.save(file, format)
        source = handed(rng, place, file.getvalue(), rng.choice(SUFFIXES))
        return refused(f"{format}, which is not opened", functools.partial(read_and_predict, place, source))
    if recipe == "array":
        return array(rng, place)
    fifo = place.folder / "pipe.jpg"
    if hasattr(os, "mkfifo"):
        os.mkfifo(fifo)
    odd = [
        None,
        3,
        2.5,
        [],
        {},
        object(),
        place.folder,
        place.folder / "absent.jpg",
        fifo,
        io.StringIO("text"),
        "",
        "\0",
    ]
    source = rng.choice(odd)
    return refused(f"{type(source).__name__} as a photo", functools.partial(read_and_predict, place, source))


def array(rng: random.Random, place: Workplace) -> Case:
    kind = rng.choice(["?", "u1", "u2", "f2", "f4", "f8", ">f4", ">u2", "i4", "i8", "c8", "U1", "O"])
    height, width = rng.randint(1, 60), rng.randint(1, 60)
    shape = rng.choice([(height, width), (height, width, 3), (height, width, 4), (height, width, 1)] * 2 + [
        (height,), (), (0, width), (height, width, 2), (1, height, width, 3), (3, height, width),
    ])  # fmt: skip
    values = np.ones(shape).astype(kind)
    wrong = rng.random() < 0.3 and np.dtype(kind).kind == "f" and values.size > 0
    if wrong:
        values.flat[rng.randrange(values.size)] = rng.choice([math.nan, math.inf, -1.0, 2.0])
    what = f"array {kind} {shape}{' out of range' if wrong else ''}"
    act = functools.partial(read_and_predict, place, values)
    legal_shape = len(shape) == 2 and 0 not in shape or (len(shape) == 3 and shape[2] in (1, 3, 4) and 0 not in shape)
    if legal_shape and np.dtype(kind).kind in "?buf" and not wrong:
        return Case(what, act, lambda value: check_photo(value, shape[1::-1]))
    return refused(what, act)


# --- metadata ----------------------------------------------------------------------------------------------------

Tag = tuple[int, int, int, bytes]  # tag, type, count, value


def number_tag(rng: random.Random, order: str, tag: int, value: float) -> Tag:
    """A number in one of the types that hold it."""
    kinds = [(5, "II"), (10, "ii"), (11, "f"), (12, "d")]
    if float(value).is_integer() and 0 <= value < 65536:
        kinds += [(3, "H"), (4, "I"), (8, "h"), (9, "i")] if value < 32768 else [(3, "H"), (4, "I")]
    kind, form = rng.choice(kinds)
    values = (round(value * 100), 100) if len(form) == 2 else (int(value) if form in "HIhi" else value,)
    return tag, kind, 1, struct.pack(order + form, *values)


def odd_tag(rng: random.Random, order: str, tag: int) -> Tag:
    """A value that is no positive number of a lens: texts, bytes, ratios to 0, several numbers, unknown types."""
    return rng.choice([
        (tag, 2, 3, b"26\0"), (tag, 1, 1, b"\x1a"), (tag, 7, 4, b"\x1a\0\0\0"),
        (tag, 3, 2, struct.pack(order + "HH", 26, 26)), (tag, 5, 1, struct.pack(order + "II", 0, 0)),
        (tag, 5, 1, struct.pack(order + "II", 26, 0)), (tag, 10, 1, struct.pack(order + "ii", -26, 1)),
        (tag, 11, 1, struct.pack(order + "f", math.nan)), (tag, 12, 1, struct.pack(order + "d", math.inf)),
        (tag, 3, 0, b""), (tag, 99, 1, b"\1\2\3\4"), (tag, 0, 1, b"\0\0\0\0"), (tag, 2, 1, b"\0"),
        (tag, 12, 1, struct.pack(order + "d", 1e300)), (tag, 9, 1, struct.pack(order + "i", -1)),
        (tag, 3, 1, struct.pack(order + "H", 0)), (tag, 4, 1, struct.pack(order + "I", 0xFFFFFFFF)),
        (tag, 2, 500, b"x" * 500), (tag, 5, 2, bytes(16)),
    ])  # fmt: skip


def tiff(order: str, tags: list[Tag], inner: list[Tag], pixels: bytes = b"") -> bytes:
    """A TIFF with two directories, the second one of EXIF; strips start after all of it."""
    entries = [*tags, *([(0x8769, 4, 1, b"inner")] if inner else []), *([(273, 4, 1, b"strip")] if pixels else [])]
    starts, extra, place = [8, 8 + 6 + 12 * len(entries)], b"", 8 + 12 + 12 * (len(entries) + len(inner))
    directories = b""
    values: dict[bytes, int] = {b"inner": starts[1]}
    data = sum(len(value) for *_, value in [*entries, *inner] if len(value) > 4)
    values[b"strip"] = place + data
    for directory in (entries, inner):
        directories += struct.pack(order + "H", len(directory))
        for tag, kind, count, value in sorted(directory, key=lambda entry: entry[0]):
            directories += struct.pack(order + "HHI", tag, kind, count)
            if value in values:
                directories += struct.pack(order + "I", values[value])
            elif len(value) <= 4:
                directories += value.ljust(4, b"\0")
            else:
                directories += struct.pack(order + "I", place + len(extra))
                extra += value
        directories += bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    # "inner" and "strip" are longer than four bytes, but lie nowhere.
    return head + directories + extra.ljust(data, b"\0") + pixels


def metadata(rng: random.Random, place: Workplace) -> Case:
    """Nothing that metadata hold costs the pixels; what they say rightly counts."""
    order, format = rng.choice("<>"), rng.choice(["JPEG", "PNG", "WEBP", "TIFF", "TIFF", "JPEG"])
    width, height = rng.randint(20, 90), rng.randint(20, 90)
    pixels = np.full((height, width), 40, np.uint8)
    pixels[:, width // 2 :] = 200
    image, tags, inner, words = Image.fromarray(pixels).convert("RGB"), [], [], []
    turn, focal = 1, None
    if rng.random() < 0.6:
        if rng.random() < 0.6:
            turn = rng.randint(1, 8)
            tags.append((274, 3, 1, struct.pack(order + "H", turn)))
            words.append(f"orientation {turn}")
        else:
            tags.append(odd_tag(rng, order, 274))
            words.append(f"orientation of type {tags[-1][1]} {tags[-1][3][:8]!r}")
    chosen = rng.choice(["legal", "odd", "out of range", "lens", "odd lens", "none"])
    if chosen == "legal":
        focal = rng.choice([8.0, 13.0, 26.0, 28.5, 50.0, 105.0, 1000.0])
        inner.append(number_tag(rng, order, 0xA405, focal))
    elif chosen in ("odd", "odd lens"):
        inner.append(odd_tag(rng, order, 0xA405))
    elif chosen == "out of range":
        inner.append(number_tag(rng, order, 0xA405, rng.choice([0.5, 7.0, 1001.0, 65535.0])))
    if chosen in ("lens", "odd lens"):
        length, across, unit = rng.choice([4.25, 18.0, 50.0]), rng.choice([600, 4000, 6000]), rng.choice([2, 3])
        sensor_mm = rng.choice([6.2, 23.5, 36.0])
        resolution = round(across / sensor_mm * {2: 25.4, 3: 10.0}[unit], 2)
        inner += [number_tag(rng, order, 0xA002, across), (0xA210, 3, 1, struct.pack(order + "H", unit))]
        # Ratios: in others, hundredths of these numbers are not exact.
        inner += [(0x920A, 5, 1, struct.pack(order + "II", round(length * 100), 100))]
        inner += [(0xA20E, 5, 1, struct.pack(order + "II", round(resolution * 100), 100))]
        focal = length / (sensor_mm * math.hypot(1, height / width)) * DIAGONAL_MM
        focal = focal if 8 <= focal <= 1000 else None
    words.append(f"focal length {chosen} {[entry[1:] for entry in inner if entry[0] == 0xA405]}")
    for tag in rng.sample(
        [282, 283, 296, 271, 272, 305, 306, 315, 33432, 0x8825, 700, 37500, 40961], rng.randint(0, 4)
    ):
        tags.append(odd_tag(rng, order, tag))
        words.append(f"tag {tag} of type {tags[-1][1]}")
    if rng.random() < 0.15:
        inner.append(odd_tag(rng, order, rng.choice([0x9000, 0xA005, 0x927C, 0xA40B])))
    options: dict[str, Any] = {}
    profile = rng.choice(["none"] * 4 + ["random", "sRGB", "empty"])
    if profile != "none" and format != "TIFF":
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        options["icc_profile"] = {"random": rng.randbytes(rng.randint(1, 3000)), "sRGB": srgb, "empty": b"\0"}[profile]
        words.append(f"{profile} profile")
    broken = rng.random() < 0.2 and format != "TIFF"
    if format == "TIFF":
        tags += [
            (tag, 4, 1, struct.pack(order + "I", value)) for tag, value in ((256, width), (257, height), (278, height))
        ]
        tags += [
            (tag, 3, 1, struct.pack(order + "H", value)) for tag, value in ((258, 8), (259, 1), (262, 1), (277, 1))
        ]
        tags += [(279, 4, 1, struct.pack(order + "I", width * height))]
        content = tiff(order, tags, inner, pixels.tobytes())
    else:
        exif = tiff(order, tags, inner)
        if broken:
            how, exif = damaged(rng, exif)
            words.append(f"EXIF {how}")
        content = encoded(image, format, exif=b"Exif\0\0" + exif, **options)
    upright = (height, width) if turn >= 5 else (width, height)
    expected = np.asarray(image if TURNS[turn] is None else image.transpose(TURNS[turn]))[:, :, 0]

    def check(value: Any) -> str | None:
        photo, prediction = value
        if broken:
            return check_photo(value) or (
                None if sorted(upright) == sorted((photo.width, photo.height)) else f"{photo.width}x{photo.height}"
            )
        if problem := check_photo(value, upright):
            return problem
        found = np.asarray(photo.image).astype(int)
        for y, x in ((1, 1), (1, -2), (-2, 1), (-2, -2)):
            if np.abs(found[y, x] - expected[y, x]).max() > 14:
                return f"the colour {found[y, x]} at {x}, {y} instead of {expected[y, x]}"
        if prediction.camera_from != ("exif" if focal else "assumed"):
            return f"a camera {prediction.camera_from} ({photo.focal_35mm} mm) instead of {focal} mm"
        wanted = focal / DIAGONAL_MM * math.hypot(width, height) if focal else 0.8107 * max(width, height)
        if not math.isclose(prediction.camera.fx, wanted, rel_tol=2e-3):
            return f"a focal length of {prediction.camera.fx:.2f} px instead of {wanted:.2f}"
        return None

    source = handed(rng, place, content, rng.choice(SUFFIXES))
    return Case(
        f"{format} {width}x{height}: {', '.join(words)}", functools.partial(read_and_predict, place, source), check
    )


# --- arrays and files --------------------------------------------------------------------------------------------


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npy_head(shape: tuple[int, ...], kind: str = "<f4", fortran: bool = False) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


def about_of(width: int, height: int) -> dict[str, Any]:
    camera = Camera.from_fov(width, height, 60)
    return Prediction(np.ones((height, width), np.float32), camera, "room.jpg", "tiny", None, 1.5, "given").about()


def zipped(parts: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def grey16(millimetres: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(millimetres.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def arrays(rng: random.Random, place: Workplace) -> Case:
    """Files for `Prediction.load`."""
    height, width = rng.randint(1, 40), rng.randint(1, 40)
    depth = np.rint(np.random.default_rng(rng.randrange(2**32)).uniform(0.3, 12, (height, width)) * 1000) / 1000
    suffix, path = rng.choice([".npy", ".npy", ".npz", ".npz", ".png"]), place.folder / "room"
    about = about_of(width, height) if rng.random() < 0.5 else None
    tolerance, x, y = 1e-3, rng.randrange(width), rng.randrange(height)
    mmap = rng.random() < 0.3
    recipe = rng.choice(
        ["whole"] * 4 + ["damaged"] * 4 + ["type", "shape", "header", "name", "about", "about", "about"]
    )

    def written(content: bytes, end: str = suffix, sidecar: Any = None) -> Path:
        target = path.with_suffix(end)
        target.write_bytes(content)
        if sidecar is not None:
            text = sidecar if isinstance(sidecar, bytes) else json.dumps(sidecar).encode()
            path.with_suffix(".json").write_bytes(text)
        return target

    def encode(values: np.ndarray, text: Any = None) -> bytes:
        if suffix == ".png":
            return grey16(np.rint(values * 1000))
        if suffix == ".npy":
            return npy(values)
        parts = {"depth.npy": npy(values)} | ({} if text is None else {"about.npy": npy(np.array(text))})
        return zipped(parts, rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]))

    def check(value: Prediction) -> str | None:
        if value.depth.shape != (height, width) or value.depth.dtype != np.float32:
            return f"{value.depth.dtype} {value.depth.shape} instead of float32 {(height, width)}"
        if not abs(value.depth[y, x] - depth[y, x]) <= tolerance:
            return f"{value.depth[y, x]} m instead of {depth[y, x]} m at {x}, {y}"
        if about and suffix != ".png" and (value.name, value.calibration, value.model) != ("room.jpg", 1.5, "tiny"):
            return f"the description {value.about()}"
        return None

    def check_any(value: Prediction) -> str | None:
        shape = value.depth.shape
        return (
            None if len(shape) == 2 and value.depth.dtype == np.float32 and value.camera[:2] == shape[::-1] else shape
        )

    load = functools.partial(Prediction.load, mmap=mmap)
    sidecar = about if suffix == ".npy" else None
    text = json.dumps(about) if about else None
    if recipe in ("whole", "damaged"):
        kind = rng.choice(["<f4", "<f4", ">f4", "<f8", ">f8", "<f2"])
        tolerance = 0.01 if kind == "<f2" else tolerance
        values = np.asarray(depth.astype(kind), order=rng.choice("CF"))
        content, how = encode(values, text), ""
        if recipe == "damaged":
            how, content = damaged(rng, content)
            return Case(
                f"{suffix} {kind}, {how}", functools.partial(load, written(content, sidecar=sidecar)), check_any, True
            )
        target = written(content, suffix.upper() if rng.random() < 0.2 else suffix, sidecar)
        if sidecar and rng.random() < 0.3 and target.suffix == suffix:
            target = path.with_suffix(".json")
        return Case(f"{suffix} {kind} {width}x{height}", functools.partial(load, target), check)
    if recipe == "type":
        suffix = rng.choice([".npy", ".npz"])
        kind = rng.choice(["i4", "u2", "i8", "?", "c8", "O", "U5", "S3", "M8[s]", [("a", "f4"), ("b", "f4")]])
        values = np.ones((height, width)).astype(kind) if kind != "M8[s]" else np.ones((height, width), "i8").view(kind)
        return refused(f"{suffix} of {kind}", functools.partial(load, written(encode(values), suffix)))
    if recipe == "shape":
        suffix = rng.choice([".npy", ".npz"])
        shape = rng.choice([(), (5,), (1, 4, 5), (4, 5, 3), (0, 5), (5, 0), (2, 2, 2, 2)])
        return refused(
            f"{suffix} of shape {shape}", functools.partial(load, written(encode(np.ones(shape, "f4")), suffix))
        )
    if recipe == "header":
        suffix = rng.choice([".npy", ".npz"])
        shape = rng.choice(
            [(10**9, 10**9), (40_000, 40_000), (-4, 5), (10**30, 1), (2**63, 2), (11_000, 11_000), (99, 10**6)]
        )
        kind = rng.choice(["<f4", "<f8", "|O", "<f16", "x", "<f4\\x00"])
        content = npy_head(shape, kind) + bytes(rng.choice([0, 1000]))
        content = content if suffix == ".npy" else zipped({"depth.npy": content})
        return refused(f"{suffix} that claims {kind} {shape}", functools.partial(load, written(content, suffix)))
    if recipe == "name":
        image = io.BytesIO()
        Image.new(rng.choice(["L", "RGB"]), (width, height)).save(image, rng.choice(["TIFF", "PNG", "JPEG"]))
        others = [
            ("picture.png", image.getvalue()),
            ("zip.npy", zipped({"depth.npy": npy(depth)})),
            ("array.npz", npy(depth)),
        ]
        others += [
            (f"{name}{end}", content) for name, content in NO_PICTURES.items() for end in (".npy", ".npz", ".png")
        ]
        others += [
            ("depth.tif", grey16(depth)),
            ("depth", b""),
            ("depth.json", b"{}"),
            ("other.npz", zipped({"x.npy": npy(depth)})),
        ]
        name, content = rng.choice(others)
        target = place.folder / name
        target.write_bytes(content)
        return refused(name, functools.partial(load, target))
    about = about_of(width, height)
    where = rng.choice(["unit", "camera", "photo", "model", "calibration", "camera value", "unknown", "text"])
    value, legal = odd_value(rng), False
    if where == "text":
        value = rng.choice(["[" * 100_000, "{", "", "null", "[]", "3", '{"unit": "metre", "camera": Infinity}', "\xff"])
        text, words = value.encode("latin-1"), f"description {value[:20]!r}"
    else:
        if where == "camera value":
            name = rng.choice(list(about["camera"]))
            about["camera"][name] = value
            where, old = f"camera {name}", getattr(Camera.from_fov(width, height, 60), name)
            legal = type(value) in (int, float) and value == old
        else:
            about[where] = value
            plain_text = value is None or isinstance(value, str)
            calibrated = type(value) in (int, float) and 0 < value < 1e306
            legal = {"photo": plain_text, "model": plain_text, "calibration": calibrated, "unknown": True}.get(
                where, False
            )
        nan = re.search("NaN|Infinity", json.dumps(value)) is not None
        legal, words = legal and not nan, f"{where} {shown(value)}"
        text = json.dumps(about).encode()
    suffix = rng.choice([".npy", ".npz"])
    if suffix == ".npz":
        content = zipped({"depth.npy": npy(depth), "about.npy": npy(np.array(text.decode("latin-1")))})
        target = written(content, suffix)
    else:
        target = written(npy(depth), suffix, text)
    about = None

    # A centre may lie anywhere, and odd numbers may be cameras.
    maybe = where.startswith("camera ") or where == "calibration"
    act = functools.partial(load, target)
    if legal or maybe:
        return Case(f"{suffix} with {words}", act, check, not legal)
    return refused(f"{suffix} with {words}", act)


# --- RGB-D folders -----------------------------------------------------------------------------------------------


def stored(values: np.ndarray, turn: int) -> np.ndarray:
    """What a camera stores that shows `values` when a viewer applies the orientation."""
    if turn == 1:
        return values
    return np.ascontiguousarray(np.asarray(Image.fromarray(values).transpose(TURNS[BACK.get(turn, turn)])))


def rgbd(rng: random.Random, place: Workplace) -> Case:
    root, numbers = place.folder / "set", np.random.default_rng(rng.randrange(2**32))
    width, height = rng.choice([(48, 32), (32, 48), (60, 40), (41, 29)])
    count, turn = rng.randint(1, 3), rng.choice([1, 1, *range(2, 9)])
    depth_is_stored = turn <= 4 or rng.random() < 0.5
    unit = rng.choice([0.001, 0.001, 1 / 5000, 1 / 256])
    suffix, layout = rng.choice([".png", ".png", ".npy", ".npz"]), rng.choice(["beside", "_depth", "folders", "pairs"])
    ending = rng.choice([".jpg", ".png", ".JPG", ".jpeg", ".webp", ".tif"])
    if layout == "beside" and ending == ".png" and suffix == ".png":
        ending = ".jpg"
    larger = rng.choice([1, 1, 2])
    fault = rng.choice([None] * 10 + [
        "camera", "camera shape", "origin", "shape", "empty", "picture", "depth", "tar", "bz2", "no pair", "unit",
        "pairs",
    ])  # fmt: skip
    with_camera = rng.random() < 0.6 or fault == "camera shape"
    camera = Camera(width, height, 1.1 * width, 1.2 * width, 0.47 * width, 0.52 * height)
    upper = rng.random() < 0.3
    color, depths = rng.choice([("rgb", "depth"), ("images", "depths"), ("color", "depth"), ("image", "depth")])
    color, depths = (color.upper(), depths.upper()) if upper else (color, depths)
    maps, bad = [], rng.randrange(count)
    for number in range(count):
        steps = numbers.integers(300, 9000, (height, width)).astype(np.uint16)
        steps[0, 0] = 0
        steps[1, 1] = 65535 if suffix == ".png" else 0
        values = np.where(steps == 65535, 0, steps) * unit
        maps.append(values)
        name = f"{number:04d}"
        pixels = np.full((larger * height, larger * width, 3), 50 + 40 * number, np.uint8)
        pixels = stored(pixels, turn)
        raw = stored(steps, turn) if depth_is_stored else steps
        real = stored(values.astype(np.float32), turn) if depth_is_stored else values.astype(np.float32)
        if fault == "shape" and number == bad:
            raw, real = raw[:, :-7], real[:, :-7]
        if fault == "empty" and number == bad:
            raw, real = raw * 0, real * 0
        sub = f"{color}/" if layout == "folders" else ""
        beside = {"beside": name, "_depth": f"{name}_depth", "folders": f"{depths}/{name}", "pairs": f"d-{name}"}[
            layout
        ]
        target, other = root / f"{sub}{'c-' if layout == 'pairs' else ''}{name}{ending}", root / f"{beside}{suffix}"
        for each in (target, other):
            each.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[274] = turn
        format = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(
            ending.lower(), {".png": "PNG", ".webp": "WEBP"}.get(ending, "TIFF")
        )
        Image.fromarray(pixels).save(target, format, exif=exif)
        extra = real[None] if rng.random() < 0.3 and real.ndim == 2 else real
        array = npy(extra)
        other.write_bytes({".png": grey16(raw), ".npy": array, ".npz": zipped({"depth.npy": array})}[suffix])
        if fault in ("picture", "depth") and number == bad:
            hurt = target if fault == "picture" else other
            # A file without its second half; PNG and zip cannot be read, and others check what they hold.
            hurt.write_bytes(hurt.read_bytes()[: len(hurt.read_bytes()) // 3])
    options: dict[str, Any] = {}
    if layout == "pairs":
        options["pairs"] = (f"c-{{}}{ending}", f"d-{{}}{suffix}")
    stored_camera = camera if turn == 1 or not depth_is_stored else camera.transpose(BACK.get(turn, turn))
    values = {}
    if with_camera:
        values = stored_camera.resize(stored_camera.width * larger, stored_camera.height * larger).to_dict()
    where = rng.choice(["option", "file"]) if unit != 0.001 else "none"
    if where == "option":
        options["metres_per_unit"] = rng.choice([unit, f"1/{round(1 / unit)}"])
    elif where == "file":
        values["metres_per_unit"] = rng.choice([unit, f"1/{round(1 / unit)}"])
    if fault == "camera shape":
        values["width"] = round(values["width"] * 1.5)
    if values:
        (root / rng.choice(["camera.json", "Camera.JSON"])).write_text(json.dumps(values))
    title = None
    if rng.random() < 0.3:
        title = "some recordings"
        (root / "origin.json").write_text(json.dumps({"title": title, "weights": "mit"}))
    for junk in rng.sample(
        ["._0000.jpg", "._0000.png", ".DS_Store", "__MACOSX/0000.jpg", "@eaDir/0000.jpg", "notes.txt"], 2
    ):
        (root / junk).parent.mkdir(exist_ok=True)
        (root / junk).write_bytes(rng.randbytes(50))
    what = f"{layout} {ending} {suffix} {width}x{height} turn {turn} {'stored' if depth_is_stored else 'upright'}"
    what += f" unit {unit:.5f} camera {with_camera} larger {larger}"
    if fault == "camera":
        text = rng.choice(
            ["{", "[]", "[" * 9999, json.dumps({**camera.to_dict(), rng.choice(Camera._fields): odd_value(rng)})]
        )
        (root / "camera.json").write_text(text)
        for twin in root.glob("Camera.JSON"):
            twin.unlink()
    elif fault == "origin":
        text = rng.choice(
            ["{", "[]", "[" * 9999, json.dumps({"title": odd_value(rng), rng.choice(["x", "url"]): odd_value(rng)})]
        )
        (root / "origin.json").write_text(text)
    elif fault == "no pair":
        shutil.rmtree(root)
        if rng.random() < 0.7:
            root.mkdir()
    elif fault == "unit":
        options["metres_per_unit"] = rng.choice([0, -1, "x", "1/0", "nan", "inf", "", "1/", "/5", "1/2/3", math.nan])
    elif fault == "pairs":
        options["pairs"] = rng.choice(
            [("a", "b"), ("{}.jpg", "x.png"), ("{}.txt", "{}.png"), "ab", (1, 2), ("{}.jpg",)]
        )
    path = root
    packed = fault in ("tar", "bz2") or (rng.random() < 0.3 and root.is_dir())
    if packed:
        path = place.folder / "set.tar"
        with tarfile.open(path, "w:bz2" if fault == "bz2" else "w", format=rng.choice([0, 1, 2])) as archive:
            archive.add(root, rng.choice([".", "set", "/set"]))
        what += " in a tar"
    if fault == "tar":
        how, content = damaged(rng, path.read_bytes())
        path.write_bytes(content)
        what += f", {how}"
    x, y = rng.randrange(2, width), rng.randrange(2, height)

    def act() -> tuple[RgbdFolder, list[Any]]:
        data, samples = RgbdFolder(path, **options), []
        for index in range(len(data)):
            try:
                samples.append(data[index])
            except SampleError as error:
                samples.append(error)
        return data, samples

    def check(value: tuple[RgbdFolder, list[Any]]) -> str | None:
        data, samples = value
        if len(samples) != count:
            return f"{len(samples)} pairs instead of {count}"
        if title and data.origins[0].title != title:
            return f"the origin {data.origins}"
        for number, sample in enumerate(samples):
            if fault in ("shape", "empty", "picture", "depth") and number == bad:
                if not isinstance(sample, SampleError):
                    return f"no error for the frame with a wrong {fault}"
                continue
            if isinstance(sample, SampleError):
                return f"refused: {sample}"
            found, expected = float(sample.depth[0, y, x]), float(maps[number][y, x])
            if sample.depth.shape != (1, height, width) or not math.isclose(found, expected, rel_tol=1e-4):
                return f"{found} m instead of {expected} m, shape {tuple(sample.depth.shape)}"
            if bool(sample.valid[0, 0, 0]) or bool(sample.valid[0, 1, 1]) or not bool(sample.valid[0, y, x]):
                if not (turn > 1 and not depth_is_stored):
                    return "what was not measured counts as valid, or the reverse"
            wanted = camera if with_camera else Camera.assumed(width, height)
            if not np.allclose(sample.camera, wanted, rtol=1e-6):
                return f"{sample.camera} instead of {wanted}"
            grey = float(sample.image[0, y, x]) * 255
            if abs(grey - 50 - 40 * number) > 8:
                return f"grey {grey} instead of {50 + 40 * number}"
        return None

    def check_any(value: tuple[RgbdFolder, list[Any]]) -> str | None:
        wrong = [s for s in value[1] if not isinstance(s, SampleError) and not torch.isfinite(s.depth).all()]
        return f"{len(wrong)} samples that are not finite" if wrong else None

    if fault == "tar":
        return Case(what, act, check_any, True, str(path))
    if fault in ("bz2", "no pair", "unit", "pairs"):
        return refused(f"{what}, wrong {fault} {options}", act, path)
    if fault in ("camera", "origin"):
        return Case(f"{what}, {fault} {text[:150]}", act, check_any, True, str(path))
    if fault == "camera shape":

        def check_refused(value: tuple[RgbdFolder, list[Any]]) -> str | None:
            return None if all(isinstance(s, SampleError) for s in value[1]) else "a camera of another shape was used"

        return Case(f"{what}, {fault}", act, check_refused, False, str(path))
    return Case(f"{what}{f', bad {fault}' if fault else ''}", act, check, False, str(path))


# --- configs and weights -----------------------------------------------------------------------------------------

LEGAL = {  # values that change nothing about the shapes of the weights
    "input_size": [[32, 32], [96, 64], [64, 256]],
    "min_depth": [0.001, 0.5, 1],
    "max_depth": [20, 13.5, 100.0],
    "canonical_focal": [0.5, 1, 1.2],
    "image_mean": [[0.5, 0.5, 0.5], [0, 0, 0]],
    "image_std": [[1, 1, 1], [0.2, 0.3, 0.4]],
    "dropout": [0, 0.5, 0.99],
}
ILLEGAL = {
    "encoder": [
        "", 3, None, [], "tu-hf-hub:x/y", "local-dir:/x", "../x", "resnet18", "no_such_encoder", "x" * 5000, "tu-", "-",
    ],
    "decoder_channels": [
        [8] * 4, [8] * 6, [], [0] * 5, [8, 8, 8, 8, -1], [10**9] * 5, [8.5] * 5, "88888", [True] * 5, None,
    ],
    "input_size": [
        [0, 0], [64], [63, 96], [64, 96, 3], [10**9, 32], [-32, 32], "64", None, [math.nan, 32], [64.0, 96.0],
    ],
    "min_depth": [0, -1, math.nan, math.inf, "1", None, True, 1e300, [0.3], 13.0],
    "max_depth": [0, -1, math.nan, math.inf, "1", None, True, 1e300, [12], 0.1],
    "canonical_focal": [0, -1, math.nan, 1e9, "x", None, False, {}],
    "image_mean": [[0, 0], [0, 0, "0"], [math.nan] * 3, 0.5, [1e9] * 3, None],
    "image_std": [[0, 0, 0], [1, 1], [-1] * 3, [math.inf] * 3, 1, None],
    "depth_bins": [1, -1, 10**9, 0, 47, 48.0, "48", None, True, math.nan],
    "dropout": [1, -0.1, 2, math.nan, "0", None],
    "format_version": [0, 2, "1", None, 1.0, True, []],
    "unknown": [1, None, "x"],
}  # fmt: skip


def configs(rng: random.Random, place: Workplace) -> Case:
    folder = place.folder / "model"
    folder.mkdir()
    config, weights = folder / "config.json", folder / "model.safetensors"
    values = TINY.to_dict()
    shutil.copy(place.model_folder / "model.safetensors", weights)
    config.write_text(json.dumps(values))

    def act() -> tuple[DepthUNet, Prediction]:
        model = DepthUNet.from_pretrained(folder, local_files_only=True)
        return model, model.predict(np.zeros((48, 64, 3), np.uint8))

    def check(value: tuple[DepthUNet, Prediction]) -> str | None:
        model, prediction = value
        if model.config != DepthUNetConfig.from_dict(json.loads(config.read_text())):
            return f"the configuration {model.config}"
        return check_prediction(prediction, (64, 48))

    recipe = rng.choice(
        ["legal"] + ["illegal"] * 5 + ["text"] * 3 + ["bytes"] * 4 + ["tensors"] * 2 + ["foreign", "onnx", "onnx"]
    )
    if recipe == "onnx" and place.onnx is None:
        recipe = "text"
    if recipe in ("legal", "illegal"):
        table = LEGAL if recipe == "legal" else ILLEGAL
        name = rng.choice(list(table))
        values[name] = rng.choice(table[name])
        config.write_text(json.dumps(values))
        what = f"{name} {shown(values[name])}"
        return Case(what, act, check) if recipe == "legal" else refused(what, act, folder)
    if recipe == "text":
        if rng.random() < 0.5:
            name = rng.choice(list(values))
            values[name] = odd_value(rng)
            what = f"{name} {shown(values[name])}"
            config.write_text(json.dumps(values))
            allowed = values[name] in (1, 2, 0.5, 0, -0.0) and type(values[name]) in (int, float)
            return Case(what, act, lambda value: check(value) if allowed else "it was accepted", True, str(folder))
        what, content = damaged(rng, json.dumps(values).encode())
        config.write_bytes(content)
        return Case(f"config.json: {what}", act, check, True, str(folder))
    if recipe == "bytes":
        content = weights.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        head, body = content[8 : 8 + length], content[8 + length :]
        how = rng.choice(["all", "head", "length", "offsets", "other"])
        if how == "all":
            what, content = damaged(rng, content)
        elif how == "head":
            what, head = damaged(rng, head)
            content = struct.pack("<Q", len(head)) + head + body
        elif how == "length":
            claimed = rng.choice([0, 1, length - 1, length + 1, 2**63, 2**64 - 1, len(content), 10**9])
            what, content = f"{claimed}", struct.pack("<Q", claimed) + content[8:]
        elif how == "offsets":
            table = json.loads(head)
            name = rng.choice([key for key in table if key != "__metadata__"])
            table[name][rng.choice(["dtype", "shape", "data_offsets"])] = odd_value(rng)
            what, head = name, json.dumps(table).encode()
            content = struct.pack("<Q", len(head)) + head + body
        else:
            what = rng.choice(list(NO_PICTURES))
            content = NO_PICTURES[what]
        weights.write_bytes(content)

        def finite(value: tuple[DepthUNet, Prediction]) -> str | None:
            return None if value[1].depth.shape == (48, 64) else f"depth of shape {value[1].depth.shape}"

        return Case(f"model.safetensors: {how}, {what}", act, finite, True, str(folder))
    if recipe == "tensors":
        tensors = load_file(weights)
        name = rng.choice([key for key, value in tensors.items() if value.is_floating_point()])
        how = rng.choice(
            ["nan", "inf", "missing", "unknown", "shape", "int8", "bool", "float8", "half", "bfloat16", "double"]
        )
        value, legal = tensors[name].clone(), how in ("half", "bfloat16", "double")
        kinds = {"int8": torch.int8, "bool": torch.bool, "float8": torch.float8_e4m3fn}
        if how in ("nan", "inf"):
            value.view(-1)[rng.randrange(value.numel())] = float(how)
            tensors[name] = value
        elif how == "missing":
            del tensors[name]
        elif how == "unknown":
            tensors[f"{name}.x"] = value
        elif how == "shape":
            tensors[name] = torch.zeros(*value.shape, 2)
        elif legal:
            tensors = {k: getattr(v, how)() if v.is_floating_point() else v for k, v in tensors.items()}
        else:
            tensors[name] = value.to(kinds[how])
        save_file(tensors, weights)
        return Case(f"{name}: {how}", act, check) if legal else refused(f"{name}: {how}", act, folder)
    if recipe == "foreign":
        how = rng.choice(["pickle", "empty", "other", "folder", "no config", "no weights"])
        if how == "pickle":
            weights.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.")
        elif how == "empty":
            weights.write_bytes(b"")
        elif how == "other":
            weights.write_bytes(save({"x": torch.zeros(3)}))
        elif how == "folder":
            weights.unlink()
            weights.mkdir()
        else:
            (config if how == "no config" else weights).unlink()
        return refused(f"weights: {how}", act, folder)
    return onnx_file(rng, place, folder)


def onnx_file(rng: random.Random, place: Workplace, folder: Path) -> Case:
    import onnx

    from depth_unet.engines.onnx import OnnxDepthUNet

    path, how = folder / "model.onnx", rng.choice(["whole", "bytes", "bytes", "config", "config", "foreign"])
    what, check, legal = how, None, how == "whole"
    if how == "whole":
        shutil.copy(place.onnx, path)
    elif how == "bytes":
        what, content = damaged(rng, place.onnx.read_bytes())
        path.write_bytes(content)
    elif how == "config":
        model = onnx.load(place.onnx)
        (entry,) = [each for each in model.metadata_props if each.key == "depth_unet_config"]
        values = json.loads(entry.value)
        name = rng.choice([key for key in ILLEGAL if key not in ("encoder", "decoder_channels", "depth_bins")])
        values[name] = rng.choice(ILLEGAL[name])
        entry.value = rng.choice([json.dumps(values), json.dumps(values), "{", "", "[]", "[" * 9999])
        what = f"configuration {shown(entry.value if len(entry.value) < 50 else (name, values[name]))}"
        onnx.save(model, path)
    else:
        model = onnx.load(place.onnx)
        del model.metadata_props[:]
        onnx.save(model, path)

    def act() -> Prediction:
        return OnnxDepthUNet(path, threads=1).predict(np.zeros((48, 64, 3), np.uint8))

    def check_any(value: Prediction) -> str | None:
        return None if value.depth.shape == (48, 64) else f"depth of shape {value.depth.shape}"

    check = check_any if how in ("whole", "bytes") else None
    return Case(f"model.onnx: {what}", act, check, not legal, str(path))


# --- clips -------------------------------------------------------------------------------------------------------

CLIPS = {  # suffix: codecs
    ".mp4": ("libx264", "mpeg4"),
    ".mov": ("libx264", "mpeg4", "mjpeg"),
    ".mkv": ("libx264", "mpeg4", "mjpeg", "libvpx"),
    ".webm": ("libvpx",),
    ".avi": ("mpeg4", "mjpeg"),
    ".ts": ("libx264", "mpeg2video"),
    ".h264": ("libx264",),
    ".gif": ("gif",),
}
PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{0}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1"><BaseURL>{0}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "text": "{0}",
    "subtitles": "1\n00:00:00,000 --> 00:00:09,000\n{0}\n",
}


@functools.cache
def has_codec(name: str) -> bool:
    import av

    try:
        return av.Codec(name, "w") is not None
    except av.FFmpegError:
        return False
    except ValueError:
        return False


def write_clip(path: Path, codec: str, rate: int, count: int, size: tuple[int, int], times: list[int] | None) -> None:
    """Pictures whose grey rises by 10; `times` in milliseconds, else at a constant rate."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        if times:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), 20 + 10 * number % 200, np.uint8), "rgb24"
            )
            frame.pts, frame.time_base = (times[number], Fraction(1, 1000)) if times else (number, Fraction(1, rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def clips(rng: random.Random, place: Workplace) -> Case:
    from depth_unet.video import read_video

    suffix = rng.choice(list(CLIPS))
    codec = rng.choice([name for name in CLIPS[suffix] if has_codec(name)] or ["mpeg4"])
    suffix = suffix if has_codec(CLIPS[suffix][0]) or codec != "mpeg4" else ".avi"
    rate, count = rng.choice([5, 10, 15, 20, 24, 25, 30, 50, 60]), rng.randint(2, 20)
    rate = 20 if codec == "gif" else 25 if suffix == ".h264" else rate
    count = max(count, 8) if suffix == ".ts" else count  # FFmpeg recognises no MPEG-TS of less than 2 kB
    size = (rng.choice([32, 48, 64, 96]), rng.choice([32, 48, 64]))
    times = None
    if suffix == ".mkv" and rng.random() < 0.5:
        times = list(np.cumsum([0] + [rng.randint(20, 90) for _ in range(count - 1)]).tolist())
    path = place.folder / f"clip{suffix}"
    recipe = rng.choice(["whole"] * 4 + ["damaged"] * 4 + ["playlist"] * 2 + ["other", "limits", "picture", "renamed"])
    if recipe in ("whole", "damaged", "playlist", "limits", "renamed"):
        write_clip(path, codec, rate, count, size, times)
    what = f"{codec} {suffix} {rate} fps {count} frames {size[0]}x{size[1]}{' of varied times' if times else ''}"

    def read(source: Path, **options: Any) -> list[Any]:
        return list(read_video(source, **{"fps": 240, **options}))

    def check(frames: list[Any]) -> str | None:
        if len(frames) != count:
            return f"{len(frames)} frames instead of {count}"
        if frames[0].image.size != size:
            return f"{frames[0].image.size} instead of {size}"
        last = times[-1] / 1000 if times else (count - 1) / rate
        if abs(frames[-1].seconds - last) > 0.02:
            return f"the last frame at {frames[-1].seconds:.3f} s instead of {last:.3f}"
        seconds = frames[-1].seconds + frames[-1].duration
        if not times and abs(seconds - count / rate) > 0.5 / rate + 0.02:
            return f"{seconds:.3f} s instead of {count / rate:.3f}"
        return None

    def check_any(frames: list[Any]) -> str | None:
        times = [frame.seconds for frame in frames]
        if not frames or times != sorted(times) or not all(map(math.isfinite, times)):
            return f"the times {times}"
        return None if all(frame.duration >= 0 for frame in frames) else "a negative duration"

    if recipe == "renamed":
        other = path.rename(path.with_suffix(rng.choice([each for each in CLIP_SUFFIXES if each != suffix])))
        if suffix == ".h264":  # recognised by its name, too
            return Case(f"{what} as {other.suffix}", functools.partial(read, other), check_any, True)
        return Case(f"{what} as {other.suffix}", functools.partial(read, other), check)
    if recipe == "whole":
        return Case(what, functools.partial(read, path), check)
    if recipe == "damaged":
        how, content = damaged(rng, path.read_bytes())
        path.write_bytes(content)
        return Case(f"{what}, {how}", functools.partial(read, path), check_any, True)
    if recipe == "playlist":
        how = rng.choice(list(PLAYLISTS))
        target = place.folder / f"list{rng.choice([*CLIP_SUFFIXES, f'.{how}', '.m3u8'])}"
        target.write_text(
            PLAYLISTS[how].format(rng.choice([path, path.name, path.as_uri(), "http://127.0.0.1:9/x.mp4"]))
        )
        return refused(f"{how} as {target.suffix}", functools.partial(read, target))
    if recipe == "limits":
        name, value = rng.choice(["longest", "fps", "most"]), rng.choice([0, -1, math.nan, math.inf, -math.inf])
        return refused(f"{name} {value}", functools.partial(read, path, **{name: value}))
    target = place.folder / f"clip{rng.choice(CLIP_SUFFIXES)}"
    if recipe == "picture":
        _, image, format, _ = picture(rng)
        target.write_bytes(encoded(image, format))
        return Case(f"{format} as {target.suffix}", functools.partial(read, target), check_any, True)
    other = rng.choice([*NO_PICTURES, "absent", "folder", "pipe"])
    if other == "folder":
        target.mkdir()
    elif other == "pipe" and hasattr(os, "mkfifo"):
        os.mkfifo(target)
    elif other in NO_PICTURES:
        target.write_bytes(NO_PICTURES[other])
    return refused(f"{other} as {target.suffix}", functools.partial(read, target))


# --- requests ----------------------------------------------------------------------------------------------------

ENDPOINTS = {
    "predict": [None, "npy", None],
    "measure": [None, [[1, 2]], None, None, None],
    "solid": [None, "ply", 100, None],
}
POINTS = [
    [[1]], [[1, 2, 3]], [[1, "x"]], [["1", "2"]], [[None, None]], [[True, False]], [[1.5, 2]], [[math.nan, 1]],
    [[math.inf, 1]], [[-1, 2]], [[1, -2]], [[96, 0]], [[0, 72]], [[1e300, 0]], [[10**400, 0]], [[1, 2]] * 3, [1, 2],
    [[[1, 2]]], {"x": 1, "y": 2}, [[1, 2], 3], [[1, 2], []], "[[1, 2]]", [[{}, {}]], [],
]  # fmt: skip
REQUEST_SECONDS = 60


def requests(rng: random.Random, place: Workplace) -> Case:
    """Calls of a running server over plain HTTP."""
    import httpx

    web = httpx.Client(base_url=place.url, timeout=REQUEST_SECONDS)
    mark = {"meta": {"_type": "gradio.FileData"}}
    pixels = np.random.default_rng(rng.randrange(4)).integers(0, 255, (72, 96, 3), dtype=np.uint8)
    photo = encoded(Image.fromarray(pixels), "PNG")
    endpoint = rng.choice(list(ENDPOINTS))
    data = [None, *ENDPOINTS[endpoint][1:]]

    def upload(content: bytes, name: str) -> dict[str, Any]:
        (path,) = web.post("gradio_api/upload", files={"files": (name, content)}).json()
        return {"path": path, **mark}

    def ask(content: bytes, name: str, place: int | None = None, value: Any = None) -> Any:
        data[0] = upload(content, name)
        if place is not None:
            data[place] = value(data[0]["path"]) if callable(value) else value
        sent = json.dumps({"data": data})
        begun = web.post(f"gradio_api/call/{endpoint}", content=sent, headers={"Content-Type": "application/json"})
        if begun.status_code >= 500:
            raise RuntimeError(f"status {begun.status_code}")
        if begun.status_code != 200:
            raise ValueError(f"status {begun.status_code}: the request was refused")
        text = web.get(f"gradio_api/call/{endpoint}/{begun.json()['event_id']}").text
        event, answer = re.findall(r"^event: (\w+)\ndata: (.*)$", text, re.MULTILINE)[-1]
        answer = json.loads(answer)
        if event == "error":
            if not isinstance(answer["error"], str):
                raise RuntimeError(f"an error without a text: {answer}")
            raise ValueError(answer["error"])
        return answer

    prediction = place.model.predict(Image.fromarray(pixels))

    def check(answer: Any) -> str | None:
        if endpoint == "measure":
            wanted = prediction.length([tuple(point) for point in data[1]])
            return None if math.isclose(answer[0]["metres"], wanted, rel_tol=1e-3) else f"{answer} instead of {wanted}"
        if endpoint == "predict":
            median = prediction.summary().median
            return (
                None if math.isclose(answer[0]["median"], median, rel_tol=1e-2) else f"{answer[0]} instead of {median}"
            )
        return None if answer[0]["path"].endswith(data[1]) else f"the file {answer[0]['path']}"

    recipe = rng.choice(["right"] * 2 + ["value"] * 6 + ["points", "path", "path", "content", "content"])
    if recipe == "right":
        if endpoint == "measure":
            data[1] = [[rng.randrange(96), rng.randrange(72)] for _ in range(rng.choice([1, 2]))]
        elif endpoint == "predict":
            data[1] = rng.choice(["npy", "png", "npz", "picture"])
        else:
            data[1] = rng.choice(["glb", "ply", "stl"])
        return Case(f"/{endpoint} {data[1:]}", functools.partial(ask, photo, "room.png"), check)
    if recipe == "value":
        where, value = rng.randrange(1, len(data)), odd_value(rng)
        number = type(value) in (int, float) and abs(value) < 1e9
        angle = len(data) - 1 if endpoint != "measure" else 2
        legal = (where == angle and (value is None or (number and 1 <= value <= 179))) or (
            endpoint == "solid" and where == 2 and number and 1 <= value <= 10_000
        )
        legal = legal or (endpoint == "measure" and where >= 3 and value is None)
        act = functools.partial(ask, photo, "room.png", where, value)
        what = f"/{endpoint} {where}: {shown(value)}"
        return Case(what, act, lambda answer: None) if legal else refused(what, act)
    if recipe == "points":
        endpoint, data[:] = "measure", ENDPOINTS["measure"]
        points = rng.choice(POINTS)
        return refused(f"/measure points {shown(points)}", functools.partial(ask, photo, "room.png", 1, points))
    if recipe == "path":
        ends = [
            "{0}/x",
            "{0}/../x",
            "{0}\0",
            "/etc/passwd",
            "/dev/zero",
            "..",
            "~",
            "file://{0}",
            "http://127.0.0.1:1/x.jpg",
        ]
        ends += [
            "data:image/png;base64,xx",
            "\ud800",
            "x" * 5000,
            "{0}/../../lock",
            "C:\\Windows\\win.ini",
            "%2e%2e/x",
            "",
        ]
        end = rng.choice(ends)
        marked = mark if rng.random() < 0.7 else {}
        wrong = rng.choice([lambda path: {"path": end.format(path), **marked}] * 3 + [lambda path: odd_value(rng)])
        return refused(f"/{endpoint} path {shown(end)}", functools.partial(ask, photo, "room.png", 0, wrong))
    what, image, format, _ = picture(rng)
    if rng.random() < 0.4:
        name = rng.choice(list(NO_PICTURES))
        return refused(f"/{endpoint} {name}", functools.partial(ask, NO_PICTURES[name], "x.jpg"))
    if rng.random() < 0.3:
        name, content = bombs(rng)
        return refused(f"/{endpoint} {name} of too many pixels", functools.partial(ask, content, "x.png"))
    how, content = damaged(rng, encoded(image, format))
    if endpoint == "measure":
        data[1] = [[0, 0]]
    return Case(f"/{endpoint} {what}, {how}", functools.partial(ask, content, "x.jpg"), lambda answer: None, True)


KINDS: dict[str, Callable[[random.Random, Workplace], Case]] = {
    "photos": photos,
    "metadata": metadata,
    "arrays and files": arrays,
    "RGB-D folders": rgbd,
    "configs and weights": configs,
    "clips": clips,
    "requests": requests,
}
