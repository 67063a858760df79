"""Odd metadata cost neither the pixels nor the values beside them."""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from depth_unet import Camera, DepthUNet
from depth_unet.images import read_photo

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((32, 24))
ORIENTATION, X_RESOLUTION, EXIF = 0x0112, 0x011A, 0x8769
FOCAL_35MM, FOCAL_LENGTH, PIXELS_X, PLANE_X, PLANE_UNIT = 0xA405, 0x920A, 0xA002, 0xA20E, 0xA210
Entry = tuple[int, int, int, bytes]  # tag, type, count, value


def short(tag: int, *values: int, order: str = "<") -> Entry:
    return tag, 3, len(values), struct.pack(f"{order}{len(values)}H", *values)


def rational(tag: int, above: int, below: int = 1, order: str = "<") -> Entry:
    return tag, 5, 1, struct.pack(f"{order}II", above, below)


def directory(entries: list[Entry], place: int, order: str = "<") -> bytes:
    """A TIFF directory that lies at `place`, and behind it the values that do not fit in it."""
    made, behind = struct.pack(f"{order}H", len(entries)), b""
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            there = place + 2 + 12 * len(entries) + 4 + len(behind)
            value, behind = struct.pack(f"{order}I", there), behind + value
        made += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
    return made + bytes(4) + behind


def exif(first: list[Entry], second: list[Entry] | None, order: str = "<", prefix: bytes = b"") -> bytes:
    """EXIF data: entries of the first directory, and of the Exif directory that it points to."""
    place = 8 + len(prefix)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", place) + prefix
    if second is None:
        return start + directory(first, place, order)
    length = len(directory([*first, (EXIF, 4, 1, bytes(4))], place, order))
    pointer = (EXIF, 4, 1, struct.pack(f"{order}I", place + length))
    return start + directory([*first, pointer], place, order) + directory(second, place + length, order)


def tiff(first: list[Entry], second: list[Entry] | None, order: str = "<", image: Image.Image = PICTURE) -> bytes:
    width, height = image.size
    pixels = image.tobytes()
    needed = [short(t, *v, order=order) for t, v in ((256, [width]), (257, [height]), (258, [8] * 3), (259, [1]))]
    needed += [short(t, v, order=order) for t, v in ((262, 2), (273, 8), (277, 3), (278, height), (279, len(pixels)))]
    return exif([*first, *needed], second, order, pixels)


def jpeg(data: bytes, **options: object) -> bytes:
    made = io.BytesIO()
    PICTURE.save(made, "JPEG", quality=95, exif=b"Exif\0\0" + data, **options)
    return made.getvalue()


def without_jfif(content: bytes) -> bytes:
    """As phones write it: then Pillow looks for the resolution in EXIF."""
    assert content[2:4] == b"\xff\xe0"
    return content[:2] + content[4 + int.from_bytes(content[4:6], "big") :]


def saved(kind: str, data: bytes) -> bytes:
    made = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    PICTURE.save(made, kind, exif=data if kind == "PNG" else b"Exif\0\0" + data, **options)
    return made.getvalue()


FILES = {
    "jpeg": lambda *entries: without_jfif(jpeg(exif(*entries))),
    "jfif": lambda *entries: jpeg(exif(*entries), dpi=(72, 72)),
    "png": lambda *entries: saved("PNG", exif(*entries)),
    "webp": lambda *entries: saved("WEBP", exif(*entries)),
    "tiff": tiff,
}


def odd(order: str) -> dict[str, tuple[int, int, bytes]]:
    """Values of a tag that are no number: type, count, value."""
    return {
        "text": (2, 3, b"26\0"),
        "long text": (2, 9, b"26 mm wide"[:8] + b"\0"),
        "no text": (2, 0, b""),
        "bytes": (7, 4, b"\x1a\0\0\0"),
        "many bytes": (1, 7, b"abcdefg"),
        "two numbers": (3, 2, struct.pack(f"{order}2H", 26, 26)),
        "three numbers": (3, 3, struct.pack(f"{order}3H", 26, 26, 1)),
        "two ratios": (5, 2, struct.pack(f"{order}4I", 26, 1, 26, 1)),
        "0/0": (5, 1, struct.pack(f"{order}2I", 0, 0)),
        "26/0": (5, 1, struct.pack(f"{order}2I", 26, 0)),
        "-1/0": (10, 1, struct.pack(f"{order}2i", -1, 0)),
        "-26": (8, 1, struct.pack(f"{order}h", -26)),
        "-26/1": (10, 1, struct.pack(f"{order}2i", -26, 1)),
        "nan": (11, 1, struct.pack(f"{order}f", math.nan)),
        "infinite": (12, 1, struct.pack(f"{order}d", math.inf)),
        "huge": (12, 1, struct.pack(f"{order}d", 1e308)),
        "tiny": (12, 1, struct.pack(f"{order}d", 5e-324)),
        "most": (4, 1, b"\xff\xff\xff\xff"),
        "65535": (3, 1, b"\xff\xff"),
        "zero": (3, 1, bytes(2)),
        "unknown type": (99, 1, b"\x1a\0\0\0"),
    }


def check(content: bytes, orientation: int, focal_35mm: float | None) -> None:
    photo = read_photo(content)
    turned = PICTURE.transpose(Image.Transpose.ROTATE_270) if orientation == 6 else PICTURE
    assert (photo.orientation, photo.focal_35mm) == (orientation, focal_35mm)
    assert (photo.width, photo.height) == photo.image.size == turned.size
    assert np.abs(np.asarray(photo.image, int) - np.asarray(turned)).mean() < 8  # JPEG is not exact


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("value", odd("<"))
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_odd_value_is_unknown_and_changes_nothing_else(file: str, value: str, order: str) -> None:
    turned, phone = short(ORIENTATION, 6, order=order), short(FOCAL_35MM, 26, order=order)
    kind, count, raw = odd(order)[value]
    make = FILES[file]
    check(make([(ORIENTATION, kind, count, raw)], [phone], order), 1, 26)
    check(make([turned], [(FOCAL_35MM, kind, count, raw)], order), 6, None)
    for tag in (X_RESOLUTION, 0x011B, 0x0128, 0x010F, 0x0132, 0x8825):
        check(make([turned, (tag, kind, count, raw)], [phone], order), 6, 26)
    for tag in (FOCAL_LENGTH, PIXELS_X, PLANE_X, PLANE_UNIT, 0x9000, 0x927C, 0x9286, 0xA000, 0xA005, 0xA302):
        check(make([turned], [phone, (tag, kind, count, raw)], order), 6, 26)
    found = read_photo(make([turned, (EXIF, kind, count, raw)], None, order))
    assert found.orientation == 6 and found.focal_35mm is None


@pytest.mark.parametrize("file", [name for name in FILES if name != "tiff"])
@pytest.mark.parametrize("tag", [X_RESOLUTION, 0x010F, 0x9286])
def test_a_value_that_is_cut_off_costs_no_other(file: str, tag: int) -> None:
    endless = (tag, 5, 0x7FFFFFFF, bytes(8))
    first, second = [short(ORIENTATION, 6)], [short(FOCAL_35MM, 26)]
    (second if tag > EXIF else first).append(endless)
    check(FILES[file](first, second), 6, 26)


@pytest.mark.parametrize("file", FILES)
def test_a_focal_length_in_the_wrong_directory_is_none(file: str) -> None:
    check(FILES[file]([short(ORIENTATION, 6), short(FOCAL_35MM, 26)], []), 6, None)
    check(FILES[file]([short(ORIENTATION, 6), short(FOCAL_35MM, 26)], None), 6, None)


@pytest.mark.parametrize("file", FILES)
def test_a_directory_that_points_to_itself(file: str) -> None:
    whole = FILES[file]([short(ORIENTATION, 6)], [short(FOCAL_35MM, 26)])
    entry = struct.pack("<HHI", EXIF, 4, 1)
    data = whole.index(b"II*\0")
    pointer = whole.index(entry) + 8
    itself = whole[:pointer] + whole[data + 4 : data + 8] + whole[pointer + 4 :]
    if file == "png":
        itself = with_right_checksums(itself)
    check(itself, 6, None)


def with_right_checksums(png: bytes) -> bytes:
    made, place = png[:8], 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        body = png[place + 4 : place + 8 + length]
        made += png[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return made


@pytest.mark.parametrize("length", range(0, 80, 3))
def test_exif_that_is_cut_off(length: int) -> None:
    data = exif([short(ORIENTATION, 6), rational(X_RESOLUTION, 72)], [short(FOCAL_35MM, 26)])[:length]
    for content in (without_jfif(jpeg(data)), jpeg(data), saved("PNG", data), saved("WEBP", data)):
        photo = read_photo(content)
        assert photo.orientation in (1, 6) and photo.focal_35mm in (None, 26)
        assert sorted(photo.image.size) == sorted(PICTURE.size)


@pytest.mark.parametrize("data", [b"", b"\0", b"II", b"Exif\0\0", b"MM\0*" + b"\xff" * 40, b"II+\0\x08" + bytes(30)])
def test_what_is_no_exif(data: bytes) -> None:
    for content in (without_jfif(jpeg(data)), saved("WEBP", data)):
        check(content, 1, None)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%s"/></x:xmpmeta>'


@pytest.mark.parametrize(("stated", "orientation"), [(b"6", 6), (b"1", 1), (b"9", 1), (b"", 1), (b"x", 1)])
def test_orientation_from_xmp(stated: bytes, orientation: int) -> None:
    for kind in ("JPEG", "WEBP", "TIFF"):
        made = io.BytesIO()
        options = {"lossless": True} if kind == "WEBP" else {"tiffinfo": {700: XMP % stated}} if kind == "TIFF" else {}
        PICTURE.save(made, kind, quality=95, **({"xmp": XMP % stated} if kind != "TIFF" else {}), **options)
        if kind != "TIFF" or orientation == 1:
            check(made.getvalue(), orientation, None)


def test_a_value_in_exif_counts_before_xmp() -> None:
    made = io.BytesIO()
    PICTURE.save(made, "WEBP", lossless=True, exif=b"Exif\0\0" + exif([short(ORIENTATION, 6)], None), xmp=XMP % b"3")
    check(made.getvalue(), 6, None)


def test_avif_keeps_its_orientation_beside_odd_exif() -> None:
    made, data = io.BytesIO(), exif([short(ORIENTATION, 6), rational(X_RESOLUTION, 72)], [short(FOCAL_35MM, 26)])
    PICTURE.save(made, "AVIF", exif=data, quality=95)
    check(made.getvalue(), 6, 26)
    entry = re.search(rb"\x1a\x01\x05\x00\x01\x00\x00\x00|\x01\x1a\x00\x05\x00\x00\x00\x01", made.getvalue())
    assert entry is not None
    order = "<" if entry[0][0] == 0x1A else ">"
    text = struct.pack(f"{order}HHI", X_RESOLUTION, 10, 1)  # a ratio of signed numbers
    content = made.getvalue().replace(entry[0], text)
    place = struct.unpack_from(f"{order}I", content, entry.end())[0] + content.index(
        b"II*\0" if order == "<" else b"MM\0*"
    )
    check(content[:place] + struct.pack(f"{order}2i", -1, 0) + content[place + 8 :], 6, 26)


def test_heic_is_upright_as_its_container_says() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the optional package pillow-heif is not installed")
    heif.register_heif_opener()
    made, data = io.BytesIO(), exif([short(ORIENTATION, 6), (X_RESOLUTION, 2, 3, b"72\0")], [short(FOCAL_35MM, 26)])
    PICTURE.save(made, "HEIF", exif=b"Exif\0\0" + data, quality=95)
    photo = read_photo(made.getvalue())
    assert photo.image.size == PICTURE.size[::-1] and photo.orientation == 1 and photo.focal_35mm == 26


# --- other metadata of the containers -------------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize(
    "extra",
    {
        "a workflow of 5 MB": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(5_000_000))),
        "international text of 5 MB": chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"x" * 5_000_000)),
        "a wrong checksum": chunk(b"tEXt", b"Comment\0room", 1),
        "chromaticities of 7 bytes": chunk(b"cHRM", bytes(7)),
        "a resolution of 2 bytes": chunk(b"pHYs", bytes(2)),
        "no gamma": chunk(b"gAMA", b""),
        "no profile": chunk(b"iCCP", b"name\0\0not compressed"),
        "a profile without name": chunk(b"iCCP", b""),
        "a profile of 5 MB": chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(5_000_000))),
        "a profile in another compression": chunk(b"iCCP", b"name\0\7abc"),
        "text without compression": chunk(b"zTXt", b"Comment\0\0abc"),
        "text without a name": chunk(b"iTXt", b""),
        "rendering without intent": chunk(b"sRGB", b""),
    }.items(),
    ids=lambda extra: extra[0],
)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_odd_chunks_of_a_png(extra: tuple[str, bytes], place: str) -> None:
    content = saved("PNG", exif([short(ORIENTATION, 6)], [short(FOCAL_35MM, 26)]))
    at = 33 if place == "before" else len(content) - 12  # after the header, or before the end
    check(content[:at] + extra[1] + content[at:], 6, 26)


def segment(kind: int, content: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize(
    "extra",
    {
        "no MPF": segment(0xE2, b"MPF\0"),
        "MPF without directory": segment(0xE2, b"MPF\0II*\0\x08\0\0\0"),
        "MPF of text": segment(0xE2, b"MPF\0" + exif([(0xB001, 2, 3, b"26\0")], None)),
        "MPF of three pictures": segment(0xE2, b"MPF\0" + exif([(0xB001, 4, 1, b"\3\0\0\0")], None)),
        "half a profile": segment(0xE2, b"ICC_PROFILE\0\1\2abc"),
        "a profile without number": segment(0xE2, b"ICC_PROFILE\0"),
        "no JFIF": segment(0xE0, b"JFIF"),
        "an odd Adobe": segment(0xEE, b"Adobe"),
        "Photoshop": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\1a"),
        "FlashPix": segment(0xE2, b"FPXR\0"),
        "a comment": segment(0xFE, b"\xff\xfe\0"),
        "no XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xff"),
        "no HDR": segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0 hdrgm:Version="'),
    }.items(),
    ids=lambda extra: extra[0],
)
def test_odd_segments_of_a_jpeg(extra: tuple[str, bytes]) -> None:
    content = without_jfif(jpeg(exif([short(ORIENTATION, 6)], [short(FOCAL_35MM, 26)])))
    check(content[:2] + extra[1] + content[2:], 6, 26)


def test_a_callers_picture_with_odd_metadata() -> None:
    for value in ("26", b"26", (26, 26), -26, math.nan, 65535, None):
        image = PICTURE.copy()
        image.getexif()[ORIENTATION] = value if value != 65535 else 6
        image.getexif().get_ifd(EXIF)[FOCAL_35MM] = value
        photo = read_photo(image)
        assert photo.focal_35mm is None and photo.orientation == (6 if value == 65535 else 1)
    for info in ({"exif": 3}, {"exif": "text"}, {"xmp": 3}, {"icc_profile": "text"}, {"Raw profile type exif": "x"}):
        image = PICTURE.copy()
        image.info |= info
        np.testing.assert_array_equal(np.asarray(read_photo(image).image), np.asarray(PICTURE))


# --- focal lengths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("focal", [0, 1, 7, 1001, 12_970, 65535])
def test_an_impossible_focal_length_is_unknown(focal: int, tiny_model: DepthUNet) -> None:
    prediction = tiny_model.predict(jpeg(exif([], [short(FOCAL_35MM, focal)])))
    assert prediction.camera_from == "assumed"


@pytest.mark.parametrize("focal", [8, 13, 26, 600, 1000])
def test_a_possible_focal_length_is_used(focal: int, tiny_model: DepthUNet) -> None:
    prediction = tiny_model.predict(jpeg(exif([], [short(FOCAL_35MM, focal)])))
    assert prediction.camera_from == "exif" and prediction.camera == Camera.from_focal_35mm(32, 24, focal)


def camera_entries(
    unit: int | None = 2, focal_mm: float = 80.0, width: int = 6000, sensor_mm: float = 36.0
) -> Iterator[Entry]:
    yield rational(FOCAL_LENGTH, round(focal_mm * 1000), 1000)
    yield short(PIXELS_X, width)
    unit_mm = {None: 25.4, 1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001, 9: 1.0}[unit]
    yield rational(PLANE_X, round(width / sensor_mm * unit_mm * 100_000), 100_000)
    if unit is not None:
        yield short(PLANE_UNIT, unit)


@pytest.mark.parametrize("unit", [2, 3, 4, 5, None])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("file", FILES)
def test_the_sensor_gives_the_true_field_of_view(
    unit: int | None, turned: bool, file: str, tiny_model: DepthUNet
) -> None:
    entries = list(camera_entries(unit))  # 36 mm behind 80 mm: 25.4 degrees, whatever the size of the file
    prediction = tiny_model.predict(FILES[file]([short(ORIENTATION, 6 if turned else 1)], entries))
    camera = prediction.camera
    assert prediction.camera_from == "exif" and (camera.width, camera.height) == ((24, 32) if turned else (32, 24))
    longer = camera.height if turned else camera.width
    fov = 2 * math.degrees(math.atan(longer / 2 / camera.fx))
    assert fov == pytest.approx(2 * math.degrees(math.atan(18 / 80)), rel=0.01)


def test_a_sensor_smaller_than_film(tiny_model: DepthUNet) -> None:
    entries = list(camera_entries(2, focal_mm=4.25, width=4032, sensor_mm=5.6))
    camera = tiny_model.predict(jpeg(exif([], entries))).camera
    assert camera.fx == pytest.approx(4.25 / 5.6 * 32, rel=0.01)


def test_the_equivalent_focal_length_counts_first_if_it_is_possible() -> None:
    entries = list(camera_entries())
    assert read_photo(jpeg(exif([], [*entries, short(FOCAL_35MM, 50)]))).focal_35mm == 50
    for unknown in (0, 65535):
        found = read_photo(jpeg(exif([], [*entries, short(FOCAL_35MM, unknown)]))).focal_35mm
        assert found == pytest.approx(80 / math.hypot(36, 27) * math.hypot(36, 24), rel=0.01)


@pytest.mark.parametrize("without", [FOCAL_LENGTH, PIXELS_X, PLANE_X])
@pytest.mark.parametrize("value", [None, *odd("<")])
def test_half_a_sensor_is_none(without: int, value: str | None) -> None:
    entries = [entry for entry in camera_entries() if entry[0] != without]
    if value is not None:
        entries.append((without, *odd("<")[value]))
    assert read_photo(jpeg(exif([], entries))).focal_35mm is None


@pytest.mark.parametrize("value", [1, 9, *odd("<")])
def test_a_sensor_in_an_unknown_unit_is_none(value: int | str) -> None:
    entries = list(camera_entries(None))
    entries.append(short(PLANE_UNIT, value) if isinstance(value, int) else (PLANE_UNIT, *odd("<")[value]))
    assert read_photo(jpeg(exif([], entries))).focal_35mm is None
