"""Damaged and hostile RGB-D data cost one frame and one sentence, in folders and in tars."""

import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from scenes import render, write_diode, write_rgbd
from test_reading import NOT_ARRAYS, NOT_JSON, described, npy

from depth_unet import Camera, DiodeDataset, RgbdFolder
from depth_unet.data.origin import read_origin
from depth_unet.data.sample import SampleError
from depth_unet.data.shards import MANIFEST, ShardDataset
from train.prepare import Settings, main, open_sources, prepare

CAMERA = Camera.from_fov(32, 24, 60)
IMAGE, DEPTH = render(CAMERA)
STEPS = np.rint(DEPTH * 1000).astype(np.uint16)


def encoded(array: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises that many pixels."""
    content = bytearray(encoded(STEPS, "PNG"))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("depth", "x" * 60_000_000, zip=True)
    return encoded(STEPS, "PNG", pnginfo=info)


def whole_npy(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


PNGS = {
    "empty": b"",
    "text": b"no depth map",
    "a TIFF": encoded(STEPS, "TIFF"),
    "a JPEG": encoded(IMAGE, "JPEG"),
    "a BMP": encoded(IMAGE, "BMP"),
    "a GIF": encoded(IMAGE[..., 0], "GIF"),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\nshowpage\n",
    "an array": whole_npy(DEPTH),
    "colours": encoded(IMAGE, "PNG"),
    "grey of 8 bits": encoded(IMAGE[..., 0], "PNG"),
    "one bit": encoded(IMAGE[..., 0] > 99, "PNG"),
    "cut off": encoded(STEPS, "PNG")[:100],
    "without its end": encoded(np.random.default_rng(0).integers(1, 999, (24, 32)).astype(np.uint16), "PNG")[:400],
    "header only": encoded(STEPS, "PNG")[:33],
    "wrong checksum": encoded(STEPS, "PNG").replace(b"IDAT", b"IDAX"),
    "four billion pixels": huge_png(1 << 16, 1 << 16),
    "2 ** 31 pixels a side": huge_png((1 << 31) - 1, (1 << 31) - 1),
    "no pixel": huge_png(0, 24),
    "another size": encoded(np.ones((10, 10), np.uint16), "PNG"),
    "all zero": encoded(np.zeros((24, 32), np.uint16), "PNG"),
    "all 65535": encoded(np.full((24, 32), 65535, np.uint16), "PNG"),
}
ARRAYS = {f"no array {number}": content for number, content in enumerate(NOT_ARRAYS)} | {
    "a zip": zipped(("depth.npy", whole_npy(DEPTH))),
    "pickled": whole_npy(np.array([[{}, {}]], object), allow_pickle=True),
    "cut off": whole_npy(DEPTH)[:-1],
    "a vector": whole_npy(DEPTH.ravel()),
    "a number": whole_npy(np.float32(2)),
    "three channels": whole_npy(np.repeat(DEPTH[..., None], 3, 2)),
    "bools": whole_npy(DEPTH > 2),
    "complex": whole_npy(DEPTH + 1j),
    "text": whole_npy(DEPTH.astype(str)),
    "empty": whole_npy(DEPTH[:0]),
    "all NaN": whole_npy(DEPTH * np.nan),
    "all infinite": whole_npy(DEPTH + np.inf),
    "all negative": whole_npy(-DEPTH),
    "too large for float32": whole_npy(DEPTH.astype(np.float64) * 1e300),
}
ZIPPED = zipped(("depth.npy", whole_npy(DEPTH)))
ZIPS = {
    "empty": b"",
    "an array": whole_npy(DEPTH),
    "no member": zipped(),
    "other members": zipped(("a.npy", whole_npy(DEPTH)), ("b.npy", whole_npy(DEPTH))),
    "no array": zipped(("depth.npy", b"text")),
    "pickled": zipped(("depth.npy", whole_npy(np.array([{}], object), allow_pickle=True))),
    "cut off": zipped(("depth.npy", whole_npy(DEPTH)))[:-30],
    "damaged": zipped(("depth.npy", whole_npy(DEPTH)), method=zipfile.ZIP_STORED).replace(
        whole_npy(DEPTH)[200:220], bytes(20)
    ),
    "5 GB of zeros": zipped(("depth.npy", npy(described((25_000, 50_000))) + bytes(5_000_000))),
    "a petabyte": zipped(("depth.npy", npy(described((1 << 24, 1 << 24))))),
    "encrypted": ZIPPED.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
    "unknown method": ZIPPED.replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00\x63\x00"),
    "about of objects": zipped(
        ("depth.npy", whole_npy(DEPTH)), ("about.npy", whole_npy(np.array([{}], object), allow_pickle=True))
    ),
    "about of 40 GB": zipped(("depth.npy", whole_npy(DEPTH)), ("about.npy", npy(described((), "<U9999999999")))),
}  # fmt: skip
HOSTILE = [
    *((".png", name, content) for name, content in PNGS.items()),
    *((".npy", name, content) for name, content in ARRAYS.items()),
    *((".npz", name, content) for name, content in ZIPS.items()),
]


def packed(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=".")
    return path


def one_sentence(error: Exception) -> bool:
    text = str(error)
    return len(text) < 500 and "\n" not in text and "0x7f" not in text and "Traceback" not in text


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(("suffix", "name", "content"), HOSTILE, ids=[f"{s[1:]} {n}" for s, n, _ in HOSTILE])
def test_a_wrong_depth_map_is_one_sentence(tmp_path: Path, suffix: str, name: str, content: bytes, pack: bool) -> None:
    root = write_rgbd(tmp_path / "data", 2, (24, 32))
    (root / "0001.png").unlink()
    (root / f"0001{suffix}").write_bytes(content)
    data = RgbdFolder(packed(root) if pack else root)
    assert data[0].valid.any() and len(data) == 2
    with pytest.raises(SampleError, match="^0001: ") as caught:
        data[1]
    assert one_sentence(caught.value)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".jpg", b""),
        (".jpg", b"text"),
        (".jpg", PNGS["postscript"]),
        (".jpg", encoded(IMAGE, "JPEG")[:200]),
        (".png", huge_png(1 << 16, 1 << 16)),
        (".png", encoded(IMAGE, "PNG")[:60]),
        (".tif", encoded(IMAGE, "TIFF")[:60]),
        (".webp", encoded(IMAGE, "WEBP")[:50]),
        (".gif", b"GIF89a" + bytes(4)),
        (".bmp", encoded(IMAGE, "BMP")[:30]),
    ],
)
def test_a_wrong_picture_is_one_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    np.save(tmp_path / "a_depth.npy", DEPTH)
    with pytest.raises(SampleError, match="^a: ") as caught:
        RgbdFolder(tmp_path)[0]
    assert one_sentence(caught.value)


def test_a_text_bomb_in_a_png(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.jpg")
    (tmp_path / "a.png").write_bytes(text_bomb())
    with pytest.raises(SampleError, match="^a: "):
        RgbdFolder(tmp_path)[0]


@pytest.mark.parametrize(
    "content", [*NOT_JSON, b"[]", b"null", b'{"width": 32}', b'{"pairs": 3}', b'{"metres_per_unit": 0}']
)
@pytest.mark.parametrize("name", ["camera.json", "origin.json"])
@pytest.mark.parametrize("pack", [False, True])
def test_a_wrong_description_is_named(tmp_path: Path, name: str, content: bytes, pack: bool) -> None:
    root = write_rgbd(tmp_path / "data", 1, (24, 32))
    (root / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be used: ") as caught:
        RgbdFolder(packed(root) if pack else root)
    assert one_sentence(caught.value)


@pytest.mark.parametrize("name", ["0000.jpg", "0000.png", "camera.json", "origin.json"])
def test_a_petabyte_and_folders_in_the_place_of_files(tmp_path: Path, name: str) -> None:
    root = write_rgbd(tmp_path / "data", 2, (24, 32))
    (root / name).touch()
    os.truncate(root / name, 1 << 42)
    with pytest.raises(ValueError, match="4,398,046,511,104 bytes"):
        RgbdFolder(root)[0]
    (root / name).unlink()
    (root / name).mkdir()
    assert [sample.key for sample in RgbdFolder(root)] == (["0001"] if name.startswith("0") else ["0000", "0001"])
    with pytest.raises(ValueError, match="is a folder"):
        read_origin(root / name)


def test_more_than_one_unit_of_measure(tmp_path: Path) -> None:
    for unit in ("1e999999999", "1/1e-400", "9" * 5000, "1//2", "0x10", True):
        with pytest.raises(ValueError, match="metres per unit must be"):
            RgbdFolder(write_rgbd(tmp_path / "data", 1, (24, 32)), metres_per_unit=unit)


# --- tars --------------------------------------------------------------------------------------------------------


def tar_of(path: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def linked(name: str, to: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


JPG, PNG = encoded(IMAGE, "JPEG"), encoded(STEPS, "PNG")


@pytest.mark.parametrize(
    ("members", "keys"),
    [
        ([("/a.jpg", JPG), ("/a.png", PNG)], ["a"]),
        ([("./a.jpg", JPG), ("././a.png", PNG)], ["a"]),
        ([("//x//a.jpg", JPG), ("x/a.png", PNG)], ["x/a"]),
        ([("a.jpg", b"old"), ("a.png", PNG), ("a.jpg", JPG)], ["a"]),
        ([("a.jpg", JPG), ("raw/1.png", PNG), linked("a.png", "raw/1.png", tarfile.LNKTYPE)], ["a"]),
        ([linked("x/a.png", "../raw/1.png", tarfile.SYMTYPE), ("raw/1.png", PNG), ("x/a.jpg", JPG)], ["x/a"]),
        ([("a.jpg", JPG), ("a.png", PNG), linked("b.jpg", "/etc/passwd", tarfile.SYMTYPE), ("b.png", PNG)], ["a"]),
        ([("a.jpg", JPG), ("a.png", PNG), linked("b.jpg", "b.jpg", tarfile.SYMTYPE), ("b.png", PNG)], ["a"]),
        ([("a.jpg", JPG), ("a.png", PNG), linked("b.jpg", "", tarfile.CHRTYPE), ("b.png", PNG)], ["a"]),
        ([("../a.jpg", JPG), ("../a.png", PNG), ("c.jpg", JPG), ("c.png", PNG)], ["c"]),
        ([("a.jpg", JPG), ("a.png", PNG), *(linked(f"b{e}", f"a{e}", tarfile.LNKTYPE) for e in (".jpg", ".png"))],
         ["a"]),
    ],
)  # fmt: skip
def test_tars_with_odd_names_and_links(tmp_path: Path, members: list, keys: list[str]) -> None:
    data = RgbdFolder(tar_of(tmp_path / "x.tar", *members))
    assert [sample.key for sample in data] == keys and all(sample.valid.any() for sample in data)


def with_size(path: Path, number: int, size: bytes) -> Path:
    """The size in the header of one member, replaced; its checksum fits."""
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[number].offset
    content = bytearray(path.read_bytes())
    content[offset + 124 : offset + 136] = size
    content[offset + 148 : offset + 156] = b" " * 8
    content[offset + 148 : offset + 156] = b"%06o\0 " % sum(content[offset : offset + 512])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "size",
    [
        b"\x80" + bytes(3) + (1 << 50).to_bytes(8, "big"),  # a petabyte
        b"\xff" * 10 + b"\xfc\x00",  # negative: the next header would be this one
        b"\xff" * 12,
        b"77777777777\0",
        b"abcdefghijkl",
        b"\x80" + b"\xff" * 11,
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_impossible_sizes_in_a_tar(tmp_path: Path, size: bytes, number: int) -> None:
    path = with_size(tar_of(tmp_path / "x.tar", ("a.jpg", JPG), ("a.png", PNG)), number, size)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        RgbdFolder(path)[0]
    assert one_sentence(caught.value)


@pytest.mark.parametrize("real", [1 << 50, 100])
def test_sparse_members_are_refused(tmp_path: Path, real: int) -> None:
    info = tarfile.TarInfo("a.png")
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(real), "GNU.sparse.numblocks": "1"}
    with pytest.raises(SampleError, match=r"^a: a\.png is stored sparse"):
        RgbdFolder(tar_of(tmp_path / "x.tar", ("a.jpg", JPG), (info, b"x")))[0]


@pytest.mark.parametrize(
    "headers", [{"size": "99999999999999"}, {"size": "-1"}, {"GNU.sparse.map": "x"}, {"path": "a" * 9999}]
)
def test_extended_headers_that_lie(tmp_path: Path, headers: dict) -> None:
    info = tarfile.TarInfo("a.png")
    info.pax_headers = headers
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in ((tarfile.TarInfo("a.jpg"), JPG), (info, PNG)):
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    try:
        assert RgbdFolder(path)[0].valid.any()
    except (ValueError, FileNotFoundError) as error:
        assert one_sentence(error)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 10240, b"text" * 999, zipped(("a.jpg", JPG)), JPG, b"\x1f\x8b" + bytes(999)]
)
def test_what_is_no_tar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=r"x\.tar"):
        RgbdFolder(tmp_path / "x.tar")


# --- DIODE -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["_depth.npy", "_depth_mask.npy"])
@pytest.mark.parametrize("name", [name for name in ARRAYS if not name.startswith(("all", "bools", "too"))])
def test_a_damaged_diode_file_is_named(tmp_path: Path, end: str, name: str) -> None:
    (key,) = write_diode(tmp_path, "val", "indoors", 1, (24, 32))
    next(tmp_path.rglob(f"*{end}")).write_bytes(ARRAYS[name])
    with pytest.raises(SampleError, match=f"^{key}: ") as caught:
        DiodeDataset(tmp_path, "val")[0]
    assert one_sentence(caught.value)


@pytest.mark.parametrize(
    "content", [*NOT_JSON, b"[]", b"null", b'{"val": 3}', b'{"val": {"indoors": {"s": {"s": "name"}}}}',
                b'{"val": {"indoors": {"s": {"s": [1]}}}}', b'{"val": {"indoors": {"s": {"s": [[]]}}}}'],
)  # fmt: skip
def test_a_list_of_names_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"meta\.json is not DIODE's list"):
        DiodeDataset.official_names(tmp_path / "meta.json", "")


def test_files_that_the_official_list_lacks_are_prepared_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The archive of the validation split holds 771 pictures, the official list 612 of them."""
    names = write_diode(tmp_path / "diode", "val", "indoors", 6, (768, 1024))
    listed = {"val": {"indoors": {"scene_00019": {"scan_00183": names[:4]}}}}
    (tmp_path / "meta.json").write_text(json.dumps(listed))
    arguments = [f"diode:{tmp_path / 'diode'}", "--output", str(tmp_path / "out"), "--workers", "0", "--size", "48x64"]
    assert main([*arguments, "--meta", str(tmp_path / "meta.json")]) == 0
    printed = capsys.readouterr().out
    assert "2 unlisted:" in printed and "6 val" in printed
    assert sorted(ShardDataset(tmp_path / "out", "val").keys) == sorted(names)


# --- prepared data -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    sources = open_sources(f"rgbd:{write_rgbd(folder / 'data', 5, (24, 32))}", holdout=0.4)
    assert prepare(sources, Settings("rgbd", None), folder / "out") == []
    return folder / "out"


@pytest.fixture
def copied(prepared: Path, tmp_path: Path) -> Path:
    for path in prepared.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def change(path: Path, changed: Callable[[dict], dict]) -> None:
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))


def places(index: dict, number: int, column: int, value: object) -> dict:
    index["places"][number][column] = value
    return index


@pytest.mark.parametrize(
    "wrong",
    [
        lambda index: places(index, 0, 0, -512),
        lambda index: places(index, 0, 1, -1),
        lambda index: places(index, 1, 0, 1 << 40),
        lambda index: places(index, 1, 1, 1 << 40),
        lambda index: places(index, 1, 1, 1 << 53),
        lambda index: places(index, 1, 4, 0),
        lambda index: places(index, 2, 5, 1 << 30),
        lambda index: places(index, 0, 0, 1.5),
        lambda index: places(index, 0, 0, None),
        lambda index: places(index, 0, 0, "0"),
        lambda index: places(index, 0, 0, [1]),
        lambda index: index | {"places": index["places"][:-1]},
        lambda index: index | {"places": [place[:-1] for place in index["places"]]},
        lambda index: index | {"places": []},
        lambda index: index | {"places": {}},
        lambda index: index | {"places": 3},
        lambda index: index | {"keys": index["keys"][:-1]},
        lambda index: index | {"keys": [1, 2, 3]},
        lambda index: index | {"keys": None},
        lambda index: index | {"keys": "abc"},
        lambda index: {name: value for name, value in index.items() if name != "places"},
        lambda index: {name: value for name, value in index.items() if name != "keys"},
        lambda index: index | {"bytes": 7},
        lambda index: index | {"bytes": None},
        lambda index: [],
        lambda index: None,
    ],
)
def test_an_index_of_wrong_places_is_refused(copied: Path, wrong: Callable) -> None:
    change(copied / "train-00000.json", wrong)
    with pytest.raises(ValueError, match=r"train-00000\.tar.* prepare it again") as caught:
        ShardDataset(copied)
    assert one_sentence(caught.value)


@pytest.mark.parametrize("content", NOT_JSON)
@pytest.mark.parametrize("name", ["train-00000.json", MANIFEST])
def test_prepared_data_described_by_no_json(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be used"):
        ShardDataset(copied)


@pytest.mark.parametrize(
    "wrong",
    [
        {"splits": None},
        {"splits": []},
        {"splits": {"train": "train-00000.tar"}},
        {"splits": {"train": [3]}},
        {"splits": {"train": ["../out/train-00000.tar"]}},
        {"splits": {"train": ["/train-00000.tar"]}},
        {"splits": {"train": ["sub/train-00000.tar"]}},
        {"splits": {"train": [".."]}},
        {"splits": {"train": ["train-00000.json"]}},
        {"rules": {}},
        {"rules": {"train": "no such rule"}},
        {"rules": {"train": ["diode"]}},
        {"rules": 3},
        {"masks": {"train": 3}},
        {"masks": None},
        {"origins": None},
        {"origins": [{}]},
        {"origins": [{"title": "a", "weights": "gpl"}]},
        {"finished": "no"},
        {"finished": None},
        {"format": 1},
        {"format": None},
    ],
)
def test_a_manifest_of_wrong_values_is_refused(copied: Path, wrong: dict) -> None:
    change(copied / MANIFEST, lambda manifest: manifest | wrong)
    with pytest.raises(ValueError, match=f"{MANIFEST}|not fully prepared") as caught:
        ShardDataset(copied)
    assert one_sentence(caught.value)


def test_a_shard_that_is_missing_is_named(copied: Path) -> None:
    (copied / "train-00000.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no train-00000\.tar"):
        ShardDataset(copied)
    (copied / "train-00000.tar").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no train-00000\.tar"):
        ShardDataset(copied)


ABOUT = {"key": "0000", "camera": CAMERA.to_dict()}


@pytest.mark.parametrize(
    ("part", "content"),
    [
        *((0, content) for content in (b"", b"text", PNG, JPG[:300], PNGS["postscript"])),
        *((0, encoded(pixels, "JPEG")) for pixels in (IMAGE[..., 0], IMAGE[:-8])),
        *((1, content) for name, content in PNGS.items() if name not in ("all 65535", "all zero")),
        *((2, content) for content in NOT_JSON),
        *((2, json.dumps(about).encode()) for about in (
            [], None, {}, {"key": 3}, {"key": "a"}, ABOUT | {"key": None}, ABOUT | {"camera": None},
            ABOUT | {"camera": CAMERA._replace(width=33).to_dict()}, ABOUT | {"camera": {"fx": 1}},
        )),
    ],
)  # fmt: skip
def test_a_damaged_sample_in_a_shard_is_named(copied: Path, part: int, content: bytes) -> None:
    """The three files of the first sample, written anew."""
    members = [["0000.jpg", JPG], ["0000.depth.png", PNG], ["0000.json", json.dumps(ABOUT).encode()]]
    members[part][1] = content
    tar_of(copied / "train-00000.tar", *map(tuple, members))
    with tarfile.open(copied / "train-00000.tar") as archive:
        found = [number for member in archive for number in (member.offset_data, member.size)]
    size = (copied / "train-00000.tar").stat().st_size
    change(copied / "train-00000.json", lambda index: index | {"keys": ["0000"], "places": [found], "bytes": size})
    with pytest.raises(SampleError, match="^0000: ") as caught:
        ShardDataset(copied)[0]
    assert one_sentence(caught.value)
