"""Whatever a person hands in is read as they see it, or refused in words that name the problem."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depth_unet.images import MAX_PIXELS, read_photo, to_tensor

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
