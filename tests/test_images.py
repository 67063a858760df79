"""Whatever a person hands in is read as they see it, or refused in words that name the problem."""

import io
import os
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depth_unet import DepthUNet
from depth_unet.images import FORMATS, MAX_PIXELS, SUFFIXES, open_image, read_photo, read_size, to_tensor

RNG = np.random.default_rng(3)
COLOURS = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
SMOOTH = Image.fromarray(RNG.integers(40, 216, (6, 8, 3), dtype=np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)


def pixels(source: object) -> np.ndarray:
    photo = read_photo(source)
    assert photo.image.mode == "RGB" and photo.image.size == (photo.width, photo.height)
    return np.asarray(photo.image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "P", "L", "LA", "1", "F", "I"])
def test_modes_look_as_pillow_shows_them(mode: str) -> None:
    image = Image.fromarray(COLOURS)
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
        expected = COLOURS
    elif mode == "F":
        image = Image.fromarray(np.float32(COLOURS[..., 0] / 255))
        expected = np.repeat(COLOURS[..., :1], 3, -1)
    elif mode == "I":
        image = Image.fromarray(COLOURS[..., 0].astype(np.int32) * 257)
        expected = np.repeat(COLOURS[..., :1], 3, -1)
    else:
        image = image.convert(mode)
        expected = np.asarray(image.convert("RGB"))
    assert image.mode == mode
    got = pixels(image).astype(int)
    # Printing and perceptual colour spaces hold fewer colours than RGB.
    assert np.abs(got - expected).max() <= (40 if mode == "LAB" else 1)
    assert np.abs(got - expected).mean() < 4


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_sixteen_bits_fill_the_whole_range(mode: str) -> None:
    ramp = np.linspace(0, 65535, 99).astype(np.uint16).reshape(9, 11)
    raw = ramp.astype(">u2" if mode == "I;16B" else "<u2").tobytes()
    got = pixels(Image.frombytes(mode, (11, 9), raw))
    assert got.min() == 0 and got.max() == 255
    assert np.abs(got[..., 0].astype(float) - ramp / 257).max() <= 1


def test_sixteen_bit_file(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for suffix in ("png", "tif"):
        Image.fromarray(ramp).save(tmp_path / f"x.{suffix}")
        assert np.abs(pixels(tmp_path / f"x.{suffix}")[..., 1].astype(float) - ramp / 257).max() <= 1


@pytest.mark.parametrize("values", [[[-1, 5]], [[0, 70000]]])
def test_integers_without_a_meaning_are_refused(values: list) -> None:
    with pytest.raises(ValueError, match="65535"):
        read_photo(Image.fromarray(np.array(values, np.int32)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa", "PA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    if mode in ("La", "RGBa"):
        image = image.convert(mode[:-1].upper() + "A").convert(mode)
    else:
        image = image.convert(mode)
    got = pixels(image)
    assert got[0, 0].tolist() == [255] * 3 and got[1, 1].tolist() == [0] * 3
    assert np.abs(got[0, 1].astype(int) - 127).max() <= 1


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_of_a_png_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (4, 2), (0, 0, 0))
    image.paste((255, 0, 0) if mode in ("P", "RGB") else (255, 255, 255), (2, 0, 4, 2))
    image = image.convert(mode, dither=Image.Dither.NONE)
    key = {"P": image.getpixel((0, 0)), "L": 0, "RGB": (0, 0, 0), "1": 0}[mode]
    image.save(tmp_path / "x.png", transparency=key)
    got = pixels(tmp_path / "x.png")
    assert got[0, 0].tolist() == [255] * 3
    assert got[0, 3].tolist() == ([255, 0, 0] if mode in ("P", "RGB") else [255] * 3)


# What a camera stores for each orientation so that a viewer shows the same upright picture.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.asarray(SMOOTH.resize((64, 48)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(path, exif=exif, **lossless)
    tolerance = 20 if suffix == "jpg" else 0
    got = pixels(path)
    assert got.shape == upright.shape and np.abs(got.astype(int) - upright).max() <= tolerance
    with Image.open(path) as opened:
        np.testing.assert_array_equal(pixels(opened), got)


def test_a_picture_turned_already_is_not_turned_again(tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = 6
    SMOOTH.save(tmp_path / "x.png", exif=exif)
    once = read_photo(tmp_path / "x.png").image
    assert once.size == (480, 640)
    assert read_photo(once).image.size == (480, 640)
    with Image.open(tmp_path / "x.png") as opened:
        assert read_photo(ImageOps.exif_transpose(opened)).image.size == (480, 640)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", "bool"])
def test_arrays(channels: int | None, dtype: str) -> None:
    shape = (5, 7) if channels is None else (5, 7, channels)
    bytes_ = RNG.integers(0, 2 if dtype == "bool" else 256, shape).astype(np.uint8)
    if channels == 4:
        bytes_[..., 3] = 1 if dtype == "bool" else 255
    array = {
        "uint8": lambda: bytes_,
        "uint16": lambda: bytes_.astype(np.uint16) * 257,
        "bool": lambda: bytes_.astype(bool),
    }.get(dtype, lambda: (bytes_ / 255).astype(dtype))()
    expected = bytes_ * 255 if dtype == "bool" else bytes_
    expected = expected[..., :3] if channels in (3, 4) else np.repeat(expected.reshape(5, 7, 1), 3, -1)
    np.testing.assert_allclose(pixels(array), expected, atol=1 if dtype == "float16" else 0)


def test_views_of_arrays_are_read_in_their_own_order() -> None:
    np.testing.assert_array_equal(pixels(COLOURS[::-1, ::2, ::-1]), COLOURS[::-1, ::2, ::-1])
    np.testing.assert_array_equal(pixels(np.asfortranarray(COLOURS)), COLOURS)


@pytest.mark.parametrize("order", "<>")
def test_arrays_of_either_byte_order(order: str) -> None:
    np.testing.assert_array_equal(pixels((COLOURS * np.uint16(257)).astype(f"{order}u2")), COLOURS)
    np.testing.assert_array_equal(pixels((COLOURS / 255).astype(f"{order}f4")), COLOURS)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((3, 5, 7), np.uint8), ValueError, r"\(3, 5, 7\)"),
        (np.zeros((2, 5, 7, 3), np.uint8), ValueError, "shape"),
        (np.zeros(5, np.uint8), ValueError, "shape"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, "empty"),
        (np.full((4, 4), 200.0), ValueError, r"\[0, 1\].*200"),
        (np.full((4, 4), np.nan), ValueError, "nan"),
        (np.full((4, 4), -0.1), ValueError, "-0.1"),
        (np.zeros((4, 4), np.int32), TypeError, "int32"),
        (np.zeros((4, 4), complex), TypeError, "complex"),
        (np.full((4, 4), "a"), TypeError, "U1"),
        (np.full((4, 4), None), TypeError, "object"),
    ],
)
def test_arrays_that_are_no_picture(array: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_photo(array)


@pytest.mark.parametrize("source", [None, 3, [[1, 2], [3, 4]], torch.zeros(3, 4, 4)])
def test_things_that_are_no_picture(source: object) -> None:
    with pytest.raises(TypeError, match=type(source).__name__):
        read_photo(source)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_and_thin(size: tuple[int, int]) -> None:
    photo = read_photo(Image.new("RGB", size, (10, 20, 30)))
    assert (photo.width, photo.height) == size
    tensor = to_tensor(photo.image, (32, 64))
    assert tensor.shape == (3, 32, 64)
    torch.testing.assert_close(tensor[:, 5, 5], torch.tensor([10, 20, 30]) / 255)


@pytest.mark.parametrize("turned", [False, True])
def test_a_large_jpeg_is_decoded_in_part_and_looks_the_same(tmp_path: Path, turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    SMOOTH.resize((6000, 4000), Image.Resampling.BILINEAR).save(tmp_path / "x.jpg", quality=90, exif=exif)
    size = (256, 192) if turned else (192, 256)
    whole, part = read_photo(tmp_path / "x.jpg"), read_photo(tmp_path / "x.jpg", enough=size)
    assert (part.height, part.width) == (whole.height, whole.width) == ((6000, 4000) if turned else (4000, 6000))
    assert size[0] <= part.image.height < whole.image.height / 2 and size[1] <= part.image.width
    assert (to_tensor(whole.image, size) - to_tensor(part.image, size)).abs().max() < 0.02


def test_an_animation_shows_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for suffix in ("gif", "png", "webp"):
        path = tmp_path / f"x.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(pixels(path).astype(int) - [255, 0, 0]).max() <= 2


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(12_001, 10_000), (60_000, 60_000), (120_001, 1_000)])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    assert size[0] * size[1] > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(ValueError, match="pixels") as caught:
        read_photo(path)
    assert str(tmp_path) not in str(caught.value)


def broken(folder: Path, kind: str) -> Path:
    """Write a file that is no readable picture."""
    path = folder / f"{kind}.jpg"
    SMOOTH.save(folder / "whole.jpg")
    SMOOTH.save(folder / "whole.png")
    content = {
        "text": b"This is no picture.\n" * 20,
        "nothing": b"",
        "half": (folder / "whole.jpg").read_bytes()[:3000],
        "half_png": (folder / "whole.png").read_bytes()[:5000],
        "head": (folder / "whole.png").read_bytes()[:20],
        "start": (folder / "whole.jpg").read_bytes()[:10],
        "scrambled": (folder / "whole.png").read_bytes()[:60] + bytes(RNG.bytes(4000)),
    }[kind]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["text", "nothing", "half", "half_png", "head", "start", "scrambled"])
def test_a_damaged_file_is_named_without_its_folder(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(ValueError, match=path.name) as caught:
        read_photo(path)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ValueError):
        read_photo(str(path), enough=(32, 32))


def test_a_damaged_picture_opened_by_the_caller(tmp_path: Path) -> None:
    for kind in ("half", "half_png"):
        with Image.open(broken(tmp_path, kind)) as image, pytest.raises(ValueError, match="cannot be read"):
            read_photo(image)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.jpg"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="folder") as caught:
        read_photo(tmp_path)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ValueError, match="too long") as caught:
        read_photo(tmp_path / ("a" * 300))
    assert str(tmp_path) not in str(caught.value)


def test_reading_leaves_no_warning_and_no_open_file(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    Image.new("P", (40, 30)).save(tmp_path / "x.png", transparency=b"\x80\x10")  # Pillow warns when converting these
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        read_photo(tmp_path / "x.png")
        (tmp_path / "x.png").unlink()
    assert not recwarn.list


def test_the_callers_picture_is_left_as_it_was() -> None:
    array, image = COLOURS.copy(), Image.fromarray(COLOURS).convert("RGBA")
    read_photo(array).image.paste((0, 0, 0), (0, 0, 13, 9))
    read_photo(image)
    np.testing.assert_array_equal(array, COLOURS)
    assert image.mode == "RGBA"


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = to_tensor(Image.fromarray(stripes), (16, 16))
    assert small.dtype == torch.float32 and (small - 0.5).abs().max() < 0.05


def test_the_tensor_is_the_picture() -> None:
    tensor = to_tensor(Image.fromarray(COLOURS), (9, 13))
    np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy(), COLOURS / 255, rtol=1e-6)


# --- what is opened ---------------------------------------------------------------------------------------------

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n(x) (started) file\nshowpage\n%%EOF\n"


def encoded(kind: str, image: Image.Image = SMOOTH, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "kind", ["EPS", "PPM", "TGA", "ICO", "PCX", "SGI", "DDS", "JPEG2000", "IM", "PDF", "ICNS", "MSP"]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_formats_are_not_opened_whatever_their_name(tmp_path: Path, kind: str, suffix: str) -> None:
    small = SMOOTH.resize((32, 32)).convert("1" if kind == "MSP" else "RGB")
    path = tmp_path / f"holiday{suffix}"
    path.write_bytes(EPS if kind == "EPS" else encoded(kind, small))
    with pytest.raises(ValueError, match=f"^holiday{suffix} is not a picture in a known format") as caught:
        read_photo(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError):
        open_image(path)


def test_postscript_does_not_start_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    fake = tmp_path / "bin" / "gs"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {started}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "holiday.jpg").write_bytes(EPS)
    for read in (read_photo, open_image, read_size):
        with pytest.raises(ValueError, match="known format"):
            read(tmp_path / "holiday.jpg")
    assert not started.exists()


WRITTEN = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".mpo": "MPO",
    ".png": "PNG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    kind = WRITTEN.get(suffix, "HEIF")
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    for name in (f"room{suffix}", f"ROOM{suffix.upper()}", "room.jpg", "room"):  # the content counts
        more = {"save_all": True, "append_images": [SMOOTH]} if kind == "MPO" else {}
        (tmp_path / name).write_bytes(encoded(kind, **more))
        photo = read_photo(tmp_path / name)
        assert photo.name == name and photo.image.size == SMOOTH.size
        assert np.abs(np.asarray(photo.image, int) - np.asarray(SMOOTH)).mean() < 8


def test_heic_without_its_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    content = encoded("HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r'pip install "depth_unet\[page\]"$'):
        read_photo(content)


def test_a_jpeg_of_two_pictures_is_decoded_in_part(tmp_path: Path) -> None:
    image = SMOOTH.resize((3200, 2400))
    (tmp_path / "x.jpg").write_bytes(encoded("MPO", image, save_all=True, append_images=[SMOOTH]))
    photo = read_photo(tmp_path / "x.jpg", enough=(60, 80))
    assert (photo.width, photo.height) == (3200, 2400) and photo.image.size == (200, 150)


SOURCES = {
    "str": lambda path: str(path),
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "BytesIO at its end": lambda path: at_end(io.BytesIO(path.read_bytes())),
    "file": lambda path: path.open("rb"),
    "file without buffer": lambda path: path.open("rb", buffering=0),
    "temporary file": lambda path: temporary(path),
    "file in a zip": lambda path: zipped(path),
    "pipe": lambda path: Pipe(path.read_bytes()),
}


def at_end(file: io.BytesIO) -> io.BytesIO:
    file.seek(0, 2)
    return file


def temporary(path: Path) -> object:
    file = tempfile.SpooledTemporaryFile()
    file.write(path.read_bytes())
    return file


def zipped(path: Path) -> object:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.write(path, "photos/room.png")
    return zipfile.ZipFile(path.with_suffix(".zip")).open("photos/room.png")


class Pipe(io.RawIOBase):
    """A stream that cannot be rewound."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        content, self.content = self.content, b""
        return content


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_may_be_a_path_content_or_object(tmp_path: Path, kind: str, tiny_model: DepthUNet) -> None:
    path = tmp_path / "room.png"
    SMOOTH.resize((64, 48)).save(path)
    expected = tiny_model.predict(path).depth
    source = SOURCES[kind](path)
    np.testing.assert_array_equal(tiny_model.predict(source).depth, expected)
    assert not getattr(source, "closed", False), "the caller's file stays open"
    for read in (read_photo, open_image):
        np.testing.assert_array_equal(
            np.asarray(getattr(read(path), "image", read(path))), np.asarray(Image.open(path))
        )
    named = kind in ("str", "path", "file", "file without buffer", "file in a zip")
    assert read_photo(SOURCES[kind](path)).name == ("room.png" if named else None)


def test_a_text_file_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("abc")
    with (tmp_path / "x.txt").open() as file, pytest.raises(ValueError, match="binary mode"):
        read_photo(file)
    SMOOTH.save(tmp_path / "x.png")
    with (tmp_path / "x.png").open(encoding="utf-8") as file, pytest.raises(ValueError, match=r"^x\.png"):
        read_photo(file)


def test_open_image_is_the_file_as_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("I;16", (4, 3), 70).save(tmp_path / "x.png", exif=exif)
    with open_image(tmp_path / "x.png") as image:
        assert image.mode == "I;16" and image.size == (4, 3) and np.asarray(image).max() == 70
    (tmp_path / "x.png").unlink()
    with pytest.raises(ValueError, match="^frame 3 of a.tar is not a picture"):
        open_image(b"abc", name="frame 3 of a.tar")


@pytest.mark.parametrize("length", [0, 1, 2, 4, 8, 12, 16, 20, 40])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "HEIF"])
def test_a_file_of_a_few_bytes(tmp_path: Path, kind: str, length: int) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    path = tmp_path / "short.jpg"
    path.write_bytes(encoded(kind)[:length])
    for read in (read_photo, open_image, read_size):
        with pytest.raises(ValueError, match=r"^short\.jpg ") as caught:
            read(path)
        assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "HEIF", "MPO", "JPEG in TIFF"])
def test_whatever_a_decoder_raises_is_one_sentence(kind: str, capfd: pytest.CaptureFixture) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    rng = np.random.default_rng(0)
    more = {"compression": "jpeg"} if "in" in kind else {"save_all": True, "append_images": [SMOOTH]}
    whole = encoded(kind.split()[-1], SMOOTH.resize((48, 32)), **(more if kind in ("MPO", "JPEG in TIFF") else {}))
    refused = 0
    for _ in range(150):
        content = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, min(len(content), 400), rng.integers(1, 9)):
            content[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
        try:
            photo = read_photo(bytes(content), enough=(16, 16))
            assert photo.image.mode == "RGB" and photo.width * photo.height <= MAX_PIXELS
        except ValueError as error:
            refused += 1
            assert str(error).startswith("the picture ") and "\n" not in str(error)
    assert refused > 10


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    sources = {"a": "a folder", "loop": "symbolic", "file/x.jpg": "irectory"}
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        sources["pipe.jpg"] = "not a regular file"
        sources["null"] = "not a regular file"
        (tmp_path / "null").symlink_to(os.devnull)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, words in sources.items():
        for read in (read_photo, open_image, read_size):
            with pytest.raises(ValueError, match=words) as caught:
                read(tmp_path / name)
            assert str(tmp_path) not in str(caught.value) and Path(name).name in str(caught.value)
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="^there is no file gone$"):
        read_photo(tmp_path / "gone")
    with pytest.raises(ValueError, match="null"):
        read_photo("room\0.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="every file may be read")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    SMOOTH.save(tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    with pytest.raises(ValueError, match=r"^x\.png cannot be read: Permission denied$"):
        read_photo(tmp_path / "x.png")


def test_photos_are_read_in_several_threads(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    SMOOTH.save(tmp_path / "x.jpg", exif=exif)
    Image.new("P", (40, 30)).save(tmp_path / "x.png", transparency=b"\x80\x10")
    paths = [tmp_path / "x.jpg", tmp_path / "x.png"] * 40
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda path: read_photo(path).image.size, paths))
    assert sizes == [(480, 640), (40, 30)] * 40
    assert warnings.filters == before


# --- colour -----------------------------------------------------------------------------------------------------

# Columns of the primaries, adapted to D50 as in the profiles of their owners; gamma of the curve.
SPACES = {
    "Display P3": (
        [[0.515102, 0.291965, 0.157153], [0.241182, 0.692236, 0.066582], [-0.00105, 0.041881, 0.784378]],
        2.4,
    ),
    "Adobe RGB": (
        [[0.609741, 0.205276, 0.149185], [0.311112, 0.625671, 0.063217], [0.019470, 0.060867, 0.744568]],
        2.2,
    ),
}
SRGB = np.array([[0.436066, 0.385147, 0.143066], [0.222488, 0.716873, 0.060608], [0.013916, 0.097076, 0.714096]])


def profile(colours: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2."""
    place, table, behind = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(behind), len(content))
        behind += content + bytes(-len(content) % 4)
    space = b"XYZ " if b"A2B0" not in tags else b"Lab "
    kind = b"mntr" if colours == b"RGB " else b"prtr"
    header = struct.pack(">I4sI4s4s4s12x4s", place + len(behind), b"", 0x02100000, kind, colours, space, b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + behind


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(matrix: list, gamma: float) -> bytes:
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249)}
    for index, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"] = xyz(*(row[index] for row in matrix))
        tags[name + b"TRC"] = curve(gamma)
    return profile(b"RGB ", tags)


def cmyk_profile(lab: tuple[int, int, int]) -> bytes:
    """All inks give one colour."""
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table += bytes(range(256)) * 4 + bytes(lab) * 16 + bytes(range(256)) * 3
    return profile(b"CMYK", {b"wtpt": xyz(0.9642, 1, 0.8249), b"A2B0": table})


def in_srgb(pixels: np.ndarray, matrix: list, gamma: float) -> np.ndarray:
    linear = (pixels / 255) ** gamma @ np.array(matrix).T @ np.linalg.inv(SRGB).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "RGBA", "P", "turned", "large"])
def test_colours_of_a_profile_become_srgb(space: str, kind: str) -> None:
    pixels = np.repeat(np.repeat(RNG.integers(60, 190, (3, 4, 3), dtype=np.uint8), 16, 0), 16, 1)
    image, options = Image.fromarray(pixels), {"icc_profile": rgb_profile(*SPACES[space])}
    if kind in ("RGBA", "P"):
        image = image.convert(kind)
    pixels = np.asarray(image.convert("RGB"))
    expected = in_srgb(pixels, *SPACES[space])
    if kind == "turned":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
        expected = np.rot90(expected, -1)
    if kind in ("JPEG", "AVIF"):
        options |= {"quality": 100, "subsampling": 0 if kind == "JPEG" else "4:4:4"}
    if kind == "WEBP":
        options["lossless"] = True
    content = encoded(kind if kind in FORMATS else "PNG", image, **options)
    photo = read_photo(content, enough=(24, 32) if kind == "large" else None)
    got = np.asarray(photo.image, float)
    assert np.abs(got - expected[:: len(expected) // len(got), :: len(expected[0]) // len(got[0])]).mean() < 2
    assert np.abs(expected - (np.rot90(pixels, -1) if kind == "turned" else pixels).astype(float)).mean() > 4
    assert "icc_profile" not in photo.image.info
    np.testing.assert_array_equal(np.asarray(read_photo(photo.image).image), np.asarray(photo.image))


def test_grey_and_cmyk_profiles() -> None:
    linear = profile(b"GRAY", {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": curve(1.0)})
    for mode in ("L", "LA"):
        got = np.asarray(
            read_photo(
                encoded("PNG", Image.new(mode, (8, 8), 64 if mode == "L" else (64, 255)), icc_profile=linear)
            ).image
        )
        assert np.abs(got.astype(int) - 137).max() <= 2  # 64 / 255 of the light
    inks = Image.new("CMYK", (8, 8), (10, 200, 30, 0))
    red = read_photo(encoded("JPEG", inks, icc_profile=cmyk_profile((128, 200, 128)))).image.getpixel((4, 4))
    blue = read_photo(encoded("TIFF", inks, icc_profile=cmyk_profile((128, 128, 60)))).image.getpixel((4, 4))
    assert red[0] > red[1] + 10 and red[0] > red[2] + 10 and blue[2] > blue[0] + 20  # the inks are pink without it


@pytest.mark.parametrize(
    "broken",
    [b"x", bytes(128), rgb_profile(*SPACES["Adobe RGB"])[:200], cmyk_profile((128, 200, 128)), bytes(range(256)) * 4],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_profile_that_is_broken_or_of_other_colours_is_ignored(broken: bytes, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    got = pixels(encoded(kind, icc_profile=broken, **options))
    assert np.abs(got.astype(int) - np.asarray(SMOOTH)).mean() < 2


# --- more than eight bits ---------------------------------------------------------------------------------------

GREY = np.repeat(np.linspace(0, 1, 256)[None], 8, 0)


def deep_png(samples: np.ndarray, order: int) -> bytes:
    """A PNG of 16 bits per sample; order 0 grey, 2 RGB, 6 RGBA."""
    height, width = samples.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, order, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )


def deep_tiff(samples: np.ndarray, order: str, compression: int = 1) -> bytes:
    """A TIFF of 16-bit RGB."""
    height, width, channels = samples.shape
    raw = samples.astype(f"{order}u2").tobytes()
    raw = zlib.compress(raw) if compression == 8 else raw
    values = {256: width, 257: height, 259: compression, 262: 2, 273: 8, 277: channels, 278: height, 279: len(raw)}
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in values.items()]
    place = 8 + len(raw)
    entries.insert(2, struct.pack(f"{order}HHII", 258, 3, channels, place + 2 + 12 * 9 + 4))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", place)
    return (
        head + raw + struct.pack(f"{order}H", 9) + b"".join(entries) + bytes(4) + struct.pack(f"{order}3H", 16, 16, 16)
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_files_of_sixteen(bits: int) -> None:
    white = 2**bits - 1
    grey = np.rint(GREY * white).astype(np.uint16)
    colours = np.stack([grey, grey[:, ::-1], np.full_like(grey, white // 3)], -1)
    for content in (deep_png(grey, 0), encoded("TIFF", Image.fromarray(grey)), encoded("PNG", Image.fromarray(grey))):
        assert np.abs(pixels(content)[..., 0] - 255 * GREY).max() <= 1
    alpha = np.full((*grey.shape, 1), 65535, np.uint16)
    for content in (
        deep_png(colours, 2),
        deep_png(np.concatenate([colours, alpha], -1), 6),
        *(deep_tiff(colours, order, compression) for order in "<>" for compression in (1, 8)),
    ):
        assert np.abs(pixels(content) - 255 * (colours / white)).max() <= 1


def test_the_stated_white_of_a_tiff_counts() -> None:
    grey = np.rint(GREY * 2000).astype(np.uint16)
    for stated, white in ((3000, 3000), (65535, 4095), (1000, 4095), (0, 4095)):
        content = encoded("TIFF", Image.fromarray(grey), tiffinfo={281: stated})
        assert np.abs(pixels(content)[..., 0] - 255 * (grey / white)).max() <= 1, stated


@pytest.mark.parametrize(
    ("scale", "white"), [(1, 1), (0.4, 1), (1.02, 1), (12, 1), (255, 255), (4000, 4095), (65535, 65535)]
)
def test_float_pictures(scale: float, white: float) -> None:
    values = (GREY * scale).astype(np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, -0.01, -np.inf
    expected = 255 * np.nan_to_num(values, neginf=0, nan=0).clip(0, white) / white
    for source in (encoded("TIFF", Image.fromarray(values)), Image.fromarray(values)):
        assert np.abs(pixels(source)[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("values", [np.full((4, 4), np.nan), np.full((4, 4), 1e30), np.full((4, 4), np.inf)])
def test_float_pictures_without_a_range(values: np.ndarray) -> None:
    with pytest.raises(ValueError):
        read_photo(Image.fromarray(values.astype(np.float32)))


@pytest.mark.parametrize("value", [0, 1])
def test_black_stays_black(value: int) -> None:
    assert pixels(deep_png(np.full((4, 4), value), 0)).max() <= 1


# --- large ------------------------------------------------------------------------------------------------------


def test_a_phone_of_108_megapixels(tiny_model: DepthUNet) -> None:
    content = encoded("JPEG", Image.new("L", (12000, 9000), 90), quality=30)
    photo = read_photo(content, enough=(256, 320))
    assert (photo.width, photo.height) == (12000, 9000) and photo.image.size == (750, 563)
    assert np.abs(np.asarray(photo.image, int) - 90).max() <= 2


@pytest.mark.parametrize("options", [{"kind": "PNG"}, {"kind": "TIFF", "compression": "group4"}, {"kind": "BMP"}])
def test_as_many_pixels_as_are_allowed(options: dict) -> None:
    photo = read_photo(encoded(image=Image.new("1", (12000, 10000), 1), **options), enough=(8, 8))
    assert (photo.width, photo.height) == (12000, 10000) and photo.image.getextrema() == ((255, 255),) * 3


def test_one_pixel_more_is_refused() -> None:
    with pytest.raises(ValueError, match="12001x10000 pixels, at most 120,000,000"):
        read_photo(np.broadcast_to(np.uint8(0), (10000, 12001)))


@pytest.mark.parametrize("enough", [(20, 30), (12, 16), (100, 90)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "CMYK", "array", "float array"])
def test_a_large_picture_is_reduced_in_strips(
    mode: str, enough: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depth_unet.images._STRIP_PIXELS", 7000)  # several strips
    image = SMOOTH.convert("L").convert("I").point(lambda value: value * 257) if mode == "I;16" else SMOOTH
    image = image.convert(mode) if "array" not in mode else image
    source = np.asarray(image) / (255 if mode == "float array" else 1) if "array" in mode else image
    source = np.uint8(source) if mode == "array" else source
    whole, part = read_photo(source), read_photo(source, enough=enough)
    assert (part.height, part.width) == (whole.height, whole.width) == (480, 640) == whole.image.size[::-1]
    assert all(2 * least <= side for least, side in zip(enough, part.image.size[::-1], strict=True))
    assert part.image.width < 640
    assert (to_tensor(whole.image, enough) - to_tensor(part.image, enough)).abs().max() < 0.02


def test_formats_whose_decoders_take_much_memory_have_a_lower_limit(tmp_path: Path):
    path = tmp_path / "large.webp"
    Image.new("RGB", (7760, 7750), "#804020").save(path, "WEBP", method=0)
    with pytest.raises(ValueError, match=r"large\.webp has 7760x7750 pixels, at most 60,000,000 of a WEBP are read"):
        read_photo(path)
