"""What others wrote is read within bounds, or refused in one sentence."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from depth_unet import Camera
from depth_unet.reading import parse_camera, parse_json, read_array, read_bytes, read_json

NOT_JSON = [
    b"",
    b"{",
    b"nul",
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": -1e400}',
    b'{"a": 100000000000000000000}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'"\xff"',
    b'{"\\ud800": 1}',
    b'["\\udfff"]',
    b"\x00\x01\x02",
    b"\x89PNG\r\n\x1a\n",
    b"1 2",
]


@pytest.mark.parametrize("content", NOT_JSON)
def test_what_is_no_json(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        parse_json(content)
    assert len(str(caught.value)) < 200
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"^x\.json cannot be used: "):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("values", [{}, [], None, 3, {"a": [1, -2.5e-3, "ü", True, None]}, "x", 1 << 53])
def test_json_is_read(values: object) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert parse_json(json.dumps(values, ensure_ascii=False).encode(encoding)) == values


GOOD = Camera(640, 480, 518.5, 519.5, 325.5, 253.5).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"width": -640},
        {"width": 640.5},
        {"width": "640"},
        {"width": True},
        {"height": None},
        {"height": 10**9},
        {"fx": 0},
        {"fx": -500},
        {"fx": 1e-300},
        {"fy": 1e300},
        {"fy": "a"},
        {"fy": [1]},
        {"fy": float("nan")},
        {"cx": float("inf")},
        {"cy": -1e12},
        {"cy": False},
        {"skew": 0},
    ],
)
def test_a_camera_that_is_none(change: dict) -> None:
    with pytest.raises(ValueError):
        parse_camera(GOOD | change)


@pytest.mark.parametrize("name", GOOD)
def test_a_camera_lacks_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="a camera needs the numbers width, height, fx, fy, cx, cy"):
        parse_camera({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize("values", [None, [], [1, 2, 3, 4, 5, 6], "camera", 3, {}])
def test_other_things_are_no_camera(values: object) -> None:
    with pytest.raises(ValueError, match="a camera needs the numbers"):
        parse_camera(values)
    assert parse_camera(GOOD | {"width": 640.0}) == Camera(**GOOD)


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    length = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + length + header.encode("latin1") + body


def described(shape: object, kind: str = "<f4", order: bool = False) -> str:
    return repr({"descr": kind, "fortran_order": order, "shape": shape}) + "\n"


NOT_ARRAYS = [
    b"",
    b"\x93NUMPY",
    b"\x93NUMPY\x01\x00",
    b"no array at all",
    b"PK\x03\x04 a zip",
    b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.",
    npy(described((1 << 20, 1 << 20))),
    npy(described((1 << 62, 8))),
    npy(described((10**30,))),
    npy(described((-1, 5)), bytes(100)),
    npy(described((-4, -4)), bytes(100)),
    npy(described((True, 4)), b""),
    npy(described((2.0, 2)), bytes(16)),
    npy(described("4"), bytes(16)),
    npy(described((4, 4)), bytes(60)),
    npy(described((4, 4), "|O"), bytes(600)),
    npy(described((4, 4), "<c8"), bytes(600)),
    npy(described((4, 4), "<U9"), bytes(600)),
    npy(described((4, 4), "<M8[s]"), bytes(600)),
    npy(described((4, 4), "|V8"), bytes(600)),
    npy(described((4, 4), "|S2000000000"), bytes(600)),
    npy(repr({"descr": [("a", "<f4"), ("b", "O")], "fortran_order": False, "shape": (4,)}) + "\n", bytes(600)),
    npy(described((4, 4), "no type"), bytes(600)),
    npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 5000 + "}\n"),
    npy("{'descr': '<f4', 'fortran_order': False}\n"),
    npy("__import__('os').abort()\n"),
    npy("'''\n"),
    npy("\x00\x00\x00"),
    npy(described((4, 4)), bytes(64), b"\x09\x00"),
    npy(described((4, 4)), bytes(64), b"\x03\x00"),
    npy(" " * 60_000 + "\n"),
]


@pytest.mark.parametrize("content", NOT_ARRAYS)
def test_what_is_no_array(content: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        read_array(io.BytesIO(content))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f2", "<f8", "|u1", "<u2", ">i4", "<i8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_numpys(kind: str, shape: tuple, order: str) -> None:
    wanted = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind, order=order)
    buffer = io.BytesIO()
    np.save(buffer, wanted)
    buffer.seek(0)
    got = read_array(buffer)
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == wanted.dtype


def test_bounds_of_files(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(10))
    assert read_bytes(path, 10) == bytes(10)
    with pytest.raises(ValueError, match=r"x\.bin has 10 bytes; at most 9"):
        read_bytes(path, 9)
    os.truncate(path, 1 << 42)  # sparse: nothing is on the disk
    with pytest.raises(ValueError, match="4,398,046,511,104 bytes"):
        read_bytes(path)
    with pytest.raises(ValueError, match="is a folder or a device"):
        read_bytes(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file y\.bin"):
        read_bytes(tmp_path / "y.bin")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="is a folder or a device"):
            read_bytes(tmp_path / "pipe")
