"""Metres go into files and come back; distances are those of the scene."""

import json
import math
import pickle
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scenes import BOX, FLOOR, WALL, render

from depth_unet import Camera, Prediction
from depth_unet.files import encode_png

CAMERA = Camera(160, 120, 120.0, 125.0, 81.0, 59.0)


@pytest.fixture
def room() -> Prediction:
    return Prediction(render(CAMERA)[1], CAMERA, name="room.jpg", model="someone/model", revision="abc")


@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_png_holds_millimetres(room: Prediction, tmp_path: Path, suffix: str) -> None:
    path = room.save(tmp_path / f"x{suffix}")
    with Image.open(path) as image:
        assert image.mode == "I;16" and image.size == (160, 120)
        assert np.abs(np.asarray(image) / 1000 - room.depth).max() <= 0.0005 + 1e-6
        about = json.loads(image.text["depth"])
    assert about["unit"] == "metre" and about["model"] == "someone/model" and about["revision"] == "abc"
    assert Camera.from_dict(about["camera"]) == CAMERA


@pytest.mark.parametrize("suffix", [".npy", ".NPY", ".npz", ".NPZ"])
def test_numpy_files_hold_the_very_numbers(room: Prediction, tmp_path: Path, suffix: str) -> None:
    path = room.save(str(tmp_path / f"x{suffix}"))
    assert path.is_file()
    read = np.load(path, allow_pickle=False)
    depth = read if suffix.lower() == ".npy" else read["depth"]
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, room.depth)
    if suffix.lower() == ".npz":
        about = json.loads(str(read["about"]))
        assert about["photo"] == "room.jpg" and Camera.from_dict(about["camera"]) == CAMERA


def test_what_a_png_cannot_say_is_no_depth(tmp_path: Path) -> None:
    depth = np.array([[65.534, 65.535, 350.0, np.inf, np.nan, -2.0, 0.0, 0.0004, 1.2346]], np.float32)
    prediction = Prediction(depth, Camera.from_fov(9, 1, 60))
    with pytest.warns(UserWarning, match=r"x\.png.*65\.534"):
        prediction.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert np.asarray(image)[0].tolist() == [65534, 0, 0, 0, 0, 0, 0, 0, 1235]


@pytest.mark.parametrize("name", ["x.jpg", "x", "x.tiff", ".png"])
def test_an_unknown_suffix_names_the_known_ones(room: Prediction, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.npz"):
        room.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_calibrate_reads_what_was_measured(room: Prediction) -> None:
    true = room.calibrate(80, 100, 3.21)
    assert true.depth[100, 80] == pytest.approx(3.21, rel=1e-6)
    np.testing.assert_allclose(true.depth / room.depth, true.depth[0, 0] / room.depth[0, 0], rtol=1e-5)
    assert true.depth.dtype == np.float32 and true.camera == room.camera
    assert true.calibration == pytest.approx(3.21 / room.depth[100, 80])
    twice = true.calibrate(3, 4, 1.0)
    assert twice.calibration == pytest.approx(twice.depth[0, 0] / room.depth[0, 0])
    assert twice.about()["calibration"] == twice.calibration and twice.name == room.name


@pytest.mark.parametrize("metres", [0, -1, math.nan, math.inf])
def test_calibrate_needs_a_distance(room: Prediction, metres: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        room.calibrate(0, 0, metres)


def test_calibrate_needs_a_depth_there() -> None:
    empty = Prediction(np.array([[0.0, np.nan]], np.float32), Camera.from_fov(2, 1, 60))
    for x in (0, 1):
        with pytest.raises(ValueError, match=rf"\({x}, 0\)"):
            empty.calibrate(x, 0, 2.0)


@pytest.mark.parametrize("pixel", [(-1, 0), (160, 0), (0, 120), (0, -1)])
def test_pixels_outside(room: Prediction, pixel: tuple[int, int]) -> None:
    for call in (
        room.distance,
        lambda x, y: room.calibrate(x, y, 1.0),
        lambda x, y: room.distance_between((0, 0), (x, y)),
    ):
        with pytest.raises(IndexError, match="160x120"):
            call(*pixel)


def pixel_of(point: tuple[float, float, float]) -> tuple[int, int]:
    x, y = CAMERA.project(np.array(point))
    return int(x), int(y)


def test_distances_are_those_of_the_room(room: Prediction) -> None:
    on_wall, on_floor = (-1.5, -0.5, WALL), (-1.2, FLOOR, 4.0)
    left, right = (BOX[0][0] + 0.02, 0.8, BOX[0][2]), (BOX[1][0] - 0.02, 0.8, BOX[0][2])
    for point in (on_wall, on_floor, left):
        assert room.distance(*pixel_of(point)) == pytest.approx(np.linalg.norm(point), rel=0.02)
    assert room.distance_between(pixel_of(left), pixel_of(right)) == pytest.approx(1.06, abs=0.03)
    wall_to_floor = np.linalg.norm(np.subtract(on_wall, on_floor))
    assert room.distance_between(pixel_of(on_wall), pixel_of(on_floor)) == pytest.approx(wall_to_floor, rel=0.02)
    assert room.distance_between((5, 5), (5, 5)) == 0


def test_points_lie_on_floor_wall_and_box(room: Prediction) -> None:
    x, y, z = np.moveaxis(room.points(), -1, 0)
    faces = [np.isclose(y, FLOOR, atol=1e-4), np.isclose(z, WALL, atol=1e-4)]
    faces += [
        np.isclose(a, side, atol=1e-4)
        for a, sides in zip((x, y, z), zip(*BOX, strict=True), strict=True)
        for side in sides
    ]
    assert np.any(faces, axis=0).all()


def test_the_same_point_by_two_ways(room: Prediction) -> None:
    for x, y in ((0, 0), (80, 60), (159, 119)):
        assert room.distance(x, y) == pytest.approx(np.linalg.norm(room.points()[y, x]), rel=1e-5)


def test_a_prediction_cannot_be_changed_by_accident(room: Prediction) -> None:
    with pytest.raises(AttributeError):
        room.depth = None
    before = room.depth.copy()
    room.calibrate(0, 0, 1.0)
    room.colorize()
    np.testing.assert_array_equal(room.depth, before)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".png"])
@pytest.mark.parametrize("by_sidecar", [False, True])
def test_load_gives_back_what_was_saved(room: Prediction, tmp_path: Path, suffix: str, by_sidecar: bool) -> None:
    saved = room.calibrate(80, 100, 3.21).with_camera(CAMERA)
    paths = [saved.save(tmp_path / f"room{suffix}")]
    if suffix == ".npy" or by_sidecar:
        paths.append(saved.save(tmp_path / "room.json"))

    loaded = Prediction.load(paths[-1 if by_sidecar else 0])

    assert loaded.about() == saved.about() and loaded.camera_from == "given"
    assert loaded.depth.dtype == np.float32
    if suffix == ".png":
        np.testing.assert_allclose(loaded.depth, saved.depth, atol=0.00051)
    else:
        np.testing.assert_array_equal(loaded.depth, saved.depth)


def test_load_leaves_numbers_on_the_disk(room: Prediction, tmp_path: Path) -> None:
    room.save(tmp_path / "room.json")
    loaded = Prediction.load(room.save(tmp_path / "room.npy"), mmap=True)
    assert isinstance(loaded.depth, np.memmap)
    assert loaded.distance(20, 30) == room.distance(20, 30)


def test_load_assumes_a_camera_where_none_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float32))
    Image.fromarray(np.full((3, 4), 1000, np.uint16)).save(tmp_path / "x.png")
    for name in ("x.npy", "x.png"):
        loaded = Prediction.load(tmp_path / name)
        assert loaded.camera == Camera.assumed(4, 3) and loaded.camera_from == "assumed"
        assert (loaded.depth == 1).all()


OURS = json.dumps(Prediction(np.ones((3, 4), np.float32), Camera.from_fov(4, 3, 60)).about())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_load_reads_other_peoples_floats(dtype: str, order: str, tmp_path: Path) -> None:
    depth = np.asarray(np.arange(12).reshape(3, 4), dtype, order=order)
    np.save(tmp_path / "x.npy", depth)
    np.savez(tmp_path / "x.npz", depth=depth, other=np.ones(3))
    np.savez_compressed(tmp_path / "y.npz", depth=depth)
    for name in ("x.npy", "x.npz", "y.npz"):
        for mmap in (False, True):
            loaded = Prediction.load(tmp_path / name, mmap=mmap)
            assert loaded.depth.dtype == np.float32 and loaded.camera_from == "assumed" and loaded.image is None
            np.testing.assert_array_equal(loaded.depth, depth)


@pytest.mark.parametrize("text", ["", "16 bit", "left camera"])
def test_load_reads_other_peoples_pngs(text: str, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("depth", text)
    Image.fromarray(np.full((3, 4), 1500, np.uint16)).save(tmp_path / "x.png", pnginfo=info)
    assert (Prediction.load(tmp_path / "x.png").depth == 1.5).all()


def write_image(path: Path, mode: str, kind: str = "PNG", text: str | None = None, **options) -> None:
    info = PngInfo()
    if text is not None:
        info.add_text("depth", text)
    image = Image.new(mode, (4, 3)) if mode != "I;16" else Image.fromarray(np.ones((3, 4), np.uint16))
    image.save(path, format=kind, **({"pnginfo": info} if kind == "PNG" else {}), **options)


def header(shape: tuple, dtype: str = "<f4", version: int = 1, length: int | None = None) -> bytes:
    """Of a .npy file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + text


def write_npz(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def write_bomb(path: Path, start: bytes, megabytes: int = 40) -> None:
    """A small archive whose array wants much memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("depth.npy", "w") as file:
        file.write(start)
        for _ in range(megabytes):
            file.write(bytes(1_000_000))


def write_as(path: Path, write, *arrays, **named) -> None:
    """Under a name that numpy would not choose."""
    with path.open("wb") as file:
        write(file, *arrays, **named)


def write_sparse(path: Path, start: bytes) -> None:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(1 << 40)


DESCRIPTIONS = [
    "", "[]", "3", "null", "{", '"text"', "[" * 100_000, '{"a":' * 100_000, '{"camera": null}', '{"camera": {}}',
    '{"camera": []}', '{"camera": "x"}', '{"calibration": null}', '{"calibration": -1}', '{"calibration": 0}',
    '{"calibration": "2"}', '{"calibration": true}', '{"calibration": NaN}', '{"calibration": Infinity}',
    '{"calibration": 1e999}', f'{{"calibration": 1{"0" * 400}}}', f'{{"calibration": 1{"0" * 5000}}}',
    '{"calibration": [1]}', '{"photo": 3}', '{"photo": ["a"]}', '{"model": {}}', '{"revision": 1}',
    '{"camera_from": 1, "camera": null}', '{"unit": "feet"}', '{"unit": null}', '{"x": NaN}', '{"x": -Infinity}',
]  # fmt: skip
CAMERAS = [
    {"fx": 0}, {"fx": -3}, {"fx": 1e-9}, {"fx": 1e12}, {"fy": 1e-300}, {"fx": None}, {"fx": "x"}, {"fx": []},
    {"cx": 1e9}, {"cy": -1e9}, {"width": 5}, {"height": 0}, {"width": None}, {"width": 1e999}, {"extra": 1},
    {"fx": 1e999}, {"width": -4},
]  # fmt: skip
for changed in CAMERAS:
    about = json.loads(OURS)
    DESCRIPTIONS.append(json.dumps({**about, "camera": {**about["camera"], **changed}}).replace("Infinity", "1e999"))


@pytest.mark.parametrize("text", DESCRIPTIONS, ids=range(len(DESCRIPTIONS)))
@pytest.mark.parametrize("holder", ["json", "npz", "png"])
def test_load_refuses_descriptions_that_make_no_sense(text: str, holder: str, tmp_path: Path) -> None:
    depth = np.ones((3, 4), np.float32)
    if holder == "json":
        np.save(tmp_path / "x.npy", depth)
        (tmp_path / "x.json").write_text(text)
        paths = [tmp_path / "x.npy", tmp_path / "x.json"]
    elif holder == "npz":
        np.savez(tmp_path / "x.npz", depth=depth, about=np.array(text))
        paths = [tmp_path / "x.npz"]
    else:
        if not text.startswith("{"):
            return  # the text of other programs
        write_image(tmp_path / "x.png", "I;16", text=text)
        paths = [tmp_path / "x.png"]
    for path in paths:
        for mmap in (False, True):
            refuses(path, mmap)


def refuses(path: Path, mmap: bool) -> None:
    with pytest.raises(ValueError, match=r"x\.") as refused:
        Prediction.load(path, mmap=mmap)
    assert str(path.parent) not in str(refused.value) and len(str(refused.value)) < 2000
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.npz", lambda path: path.write_bytes(b"PK no zip")),
        ("x.npz", lambda path: path.write_bytes(b"")),
        ("x.npz", lambda path: np.savez(path, other=np.ones(3))),
        ("x.npz", lambda path: np.savez(path)),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4), np.uint16))),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4), bool))),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4), complex))),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4), "M8[s]"))),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4), [("a", "f4")]))),
        ("x.npz", lambda path: np.savez(path, depth=np.array([[{}]], object), allow_pickle=True)),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4)), about=np.array([{}], object), allow_pickle=True)),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((3, 4)), about=np.ones(3))),
        ("x.npz", lambda path: np.savez(path, depth=np.ones((0, 4)))),
        ("x.npz", lambda path: np.savez(path, depth=np.ones(4))),
        ("x.npz", lambda path: write_as(path, np.save, np.ones((3, 4)))),
        ("x.npz", lambda path: write_npz(path, depth=header((3, 4)))),
        ("x.npz", lambda path: write_npz(path, depth=header((10**15, 1)))),
        ("x.npz", lambda path: write_npz(path, depth=header((3, -4)))),
        ("x.npz", lambda path: write_npz(path, depth=header((10**30, 10**30)))),
        ("x.npz", lambda path: write_bomb(path, header((50_000, 25_000)))),
        ("x.npz", lambda path: write_bomb(path, header((3, 4), version=2, length=(1 << 32) - 1))),
        ("x.npy", lambda path: write_as(path, np.savez, depth=np.ones((3, 4)))),
        ("x.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True)),
        ("x.npy", lambda path: path.write_bytes(pickle.dumps(np.ones((3, 4))))),
        ("x.npy", lambda path: np.save(path, np.ones((2, 2, 3), np.float32))),
        ("x.npy", lambda path: np.save(path, np.ones((2, 3), np.int32))),
        ("x.npy", lambda path: np.save(path, np.array([["a"]]))),
        ("x.npy", lambda path: path.write_bytes(b"")),
        ("x.npy", lambda path: path.write_bytes(header((3, 4)) + bytes(40))),
        ("x.npy", lambda path: path.write_bytes(header((10**15, 1)))),
        ("x.npy", lambda path: write_sparse(path, header((1 << 20, 1 << 18)))),
        ("x.npy", lambda path: write_sparse(path, header((3, 4), version=3, length=(1 << 32) - 1))),
        ("x.npy", lambda path: path.write_bytes(header((3, 4), version=9) + bytes(48))),
        ("x.npy", lambda path: path.write_bytes(header((3, 4), dtype="|O") + bytes(96))),
        ("x.npy", lambda path: write_image(path, "I;16")),
        ("x.png", lambda path: write_image(path, "RGB")),
        ("x.png", lambda path: write_image(path, "L")),
        ("x.png", lambda path: write_image(path, "P")),
        ("x.png", lambda path: write_image(path, "1")),
        ("x.png", lambda path: write_image(path, "LA")),
        ("x.png", lambda path: write_image(path, "I;16", "TIFF")),
        ("x.png", lambda path: write_image(path, "RGB", "JPEG")),
        ("x.png", lambda path: write_image(path, "RGB", "GIF")),
        ("x.png", lambda path: path.write_text("no picture")),
        ("x.png", lambda path: path.write_bytes(b"".join(encode_png(np.ones((300, 400), ">u2"), {}))[:200])),
        ("x.png", lambda path: path.write_bytes(next_size(40_000, 40_000))),
        ("x.tiff", lambda path: path.write_text("")),
    ],
)
def test_load_refuses_other_files_by_name(name: str, write, mmap: bool, tmp_path: Path) -> None:
    write(tmp_path / name)
    tracemalloc.start()
    try:
        refuses(tmp_path / name, mmap)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def next_size(width: int, height: int) -> bytes:
    """A PNG that claims to be larger than it is."""
    content = b"".join(encode_png(np.ones((3, 4), ">u2"), {}))
    claimed = content[12:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    return content[:12] + claimed + zlib.crc32(claimed).to_bytes(4, "big") + content[33:]


def test_load_takes_no_more_memory_than_the_depth_map(tmp_path: Path) -> None:
    depth = np.ones((1000, 1000), np.float32)
    np.savez_compressed(tmp_path / "x.npz", depth=depth, other=np.zeros((2_000, 2_000)))
    tracemalloc.start()
    try:
        assert (Prediction.load(tmp_path / "x.npz").depth == 1).all()
        assert tracemalloc.get_traced_memory()[1] < 4 * depth.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".png", ".json"])
@pytest.mark.parametrize("seed", range(40))
def test_load_of_damaged_files_gives_a_sentence_or_a_depth_map(
    room: Prediction, tmp_path: Path, suffix: str, seed: int
):
    rng = np.random.default_rng(seed)
    for kind in {suffix, ".npy"} if suffix == ".json" else {suffix}:
        room.save(tmp_path / f"x{kind}")
    path = tmp_path / f"x{suffix}"
    content = bytearray(path.read_bytes())
    if seed % 2:
        content = content[: rng.integers(0, len(content))]
    for place in rng.integers(0, max(1, min(len(content), 600)), 4 if content else 0):
        content[place] = rng.integers(0, 256)
    path.write_bytes(content)
    for mmap in (False, True):
        try:
            assert Prediction.load(path, mmap=mmap).depth.dtype == np.float32
        except ValueError as error:
            assert str(tmp_path) not in str(error) and "x." in str(error)


@pytest.mark.parametrize("key", ["calibration", "model", "unit", "camera"])
def test_a_long_wrong_value_is_not_repeated(room: Prediction, key: str, tmp_path: Path) -> None:
    room.save(tmp_path / "x.npy")
    (tmp_path / "x.json").write_text(json.dumps({**room.about(), key: ["y" * 5000]}))
    with pytest.raises(ValueError, match=r"^the description of x\.npy cannot be used: ") as refused:
        Prediction.load(tmp_path / "x.npy")
    assert len(str(refused.value)) < 400


def test_an_image_of_the_photo_comes_with_its_depth(tiny_model, photo: Path, tmp_path: Path) -> None:
    prediction = tiny_model.predict(photo)
    with Image.open(photo) as image:
        np.testing.assert_array_equal(np.asarray(prediction.image), np.asarray(image.convert("RGB")))
    assert "image" not in prediction.about() and prediction.calibrate(1, 1, 2.0).image is prediction.image
    assert Prediction.load(prediction.save(tmp_path / "x.npz")).image is None


@pytest.mark.parametrize("size", [(3000, 2000), (2000, 3000), (4000, 10), (2048, 2048), (2049, 3)])
def test_the_image_of_a_large_photo_is_small(size: tuple[int, int], tiny_model, tmp_path: Path) -> None:
    given = Image.new("RGB", size, (200, 30, 90))
    given.save(tmp_path / "x.jpg")
    for source in (given, tmp_path / "x.jpg"):
        image = tiny_model.predict(source).image
        assert image.mode == "RGB" and 512 < max(image.size) <= 2048
        assert np.abs(np.asarray(image).astype(int) - (200, 30, 90)).max() < 4
    assert given.size == size


def test_the_image_is_a_copy(tiny_model) -> None:
    given = Image.new("RGB", (64, 48), "red")
    prediction = tiny_model.predict(given)
    given.paste("blue", (0, 0, 64, 48))
    assert prediction.image.getpixel((5, 5)) == (255, 0, 0)


def test_colors_are_those_of_colorize(room: Prediction, tmp_path: Path) -> None:
    path = room.save_colors(tmp_path / "x.png", "viridis", near=1, far=5)
    with Image.open(path) as image:
        assert json.loads(image.text["depth"]) == room.about()
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.asarray(room.colorize("viridis", 1, 5)))
    with pytest.raises(ValueError, match=r"\.png"):
        room.save_colors(tmp_path / "x.jpg")


@pytest.mark.parametrize("value", [65.535, 65.5356, 70, 1e30])
def test_what_a_format_loses_is_a_value(value: float, tmp_path: Path) -> None:
    depth = np.array([[1, value, np.nan, np.inf, 0, 65.534]], np.float32)
    prediction = Prediction(depth, Camera.from_fov(6, 1, 60))
    assert prediction.lost(".PNG").startswith("1 pixels beyond 65.534 m")
    assert all(prediction.lost(suffix) is None for suffix in (".npy", ".npz", ".json", ".glb"))
    prediction.save(tmp_path / "x.png", warn=False)
    assert Prediction(np.delete(depth, 1, axis=1), Camera.from_fov(5, 1, 60)).lost(".png") is None


def test_load_needs_the_files(room: Prediction, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file x\.npz"):
        Prediction.load(tmp_path / "x.npz")
    room.save(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError, match="beside"):
        Prediction.load(tmp_path / "x.json")


def test_load_wants_a_camera_of_the_size(room: Prediction, tmp_path: Path) -> None:
    room.save(tmp_path / "x.json")
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="160x120"):
        Prediction.load(tmp_path / "x.npy")


def test_calibrate_by_a_straight_line(room: Prediction) -> None:
    points = [(20, 30), (140, 110)]
    for chosen, measured in ((points[:1], room.distance(*points[0])), (points, room.distance_between(*points))):
        true = room.calibrate_length(chosen, 2 * measured)
        assert true.length(chosen) == pytest.approx(2 * measured)
        np.testing.assert_allclose(true.depth, 2 * room.depth, rtol=1e-6)
        assert true.calibration == pytest.approx(2)


def test_calibrate_by_a_straight_line_needs_one(room: Prediction) -> None:
    for points, metres in (
        ([(5, 5)], 0.0),
        ([(5, 5)], math.nan),
        ([(5, 5), (5, 5)], 1.0),
        ([], 1.0),
        ([(1, 1)] * 3, 1.0),
    ):
        with pytest.raises(ValueError):
            room.calibrate_length(points, metres)


def test_with_camera_is_predict_with_that_camera(tiny_model, photo: Path) -> None:
    other = Camera.from_fov(160, 120, 40)
    changed = tiny_model.predict(photo).with_camera(other)
    np.testing.assert_allclose(changed.depth, tiny_model.predict(photo, other).depth, rtol=1e-5)
    assert changed.camera == other and changed.camera_from == "given"


def test_with_camera_keeps_a_depth_that_was_measured(room: Prediction) -> None:
    true = room.calibrate(80, 60, 3.0)
    changed = true.with_camera(Camera.from_fov(160, 120, 40))
    np.testing.assert_array_equal(changed.depth, true.depth)
    plain = room.with_camera(changed.camera)
    assert changed.calibration == pytest.approx(changed.depth[0, 0] / plain.depth[0, 0])
    with pytest.raises(ValueError, match="160x120"):
        room.with_camera(Camera.from_fov(80, 60, 40))


def test_shrink_keeps_depths_and_directions(room: Prediction) -> None:
    small = room.shrink(40)
    assert small.depth.shape == (30, 40) and np.isin(small.depth, room.depth).all()
    assert small.camera.horizontal_fov_deg == pytest.approx(room.camera.horizontal_fov_deg)
    assert room.shrink(160) is room


def test_summary_leaves_holes_out() -> None:
    depth = np.full((10, 10), 2.0, np.float32)
    depth[0] = np.nan
    depth[1] = 0
    summary = Prediction(depth, Camera.from_fov(10, 10, 60)).summary()
    assert summary.near == summary.median == 2


def test_the_camera_tells_where_it_comes_from(tiny_model, photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    with Image.open(photo) as image:
        image.save(tmp_path / "phone.jpg", exif=exif)
    assert tiny_model.predict(photo).camera_from == "assumed"
    assert tiny_model.predict(tmp_path / "phone.jpg").camera_from == "exif"
    assert tiny_model.predict(photo, Camera.from_fov(160, 120, 50)).camera_from == "given"


def test_what_a_format_cannot_hold_is_a_value():
    depth = np.array([[1.0, 65.534, 65.5343], [65.535, 1e9, np.nan]], np.float32)
    prediction = Prediction(depth, Camera.from_fov(3, 2, 60))
    assert prediction.lost(".png").startswith("2 pixels beyond 65.534 m") and prediction.lost(".PNG")
    assert [prediction.lost(suffix) for suffix in (".npy", ".npz", ".ply", ".json", "")] == [None] * 5
    assert Prediction(np.ones((2, 3), np.float32), prediction.camera).lost(".png") is None


# --- uncertainty -------------------------------------------------------------------------------------------------


@pytest.fixture
def unsure(room: Prediction) -> Prediction:
    across = np.linspace(0.05, 0.4, CAMERA.width, dtype=np.float32)
    uncertainty = np.broadcast_to(across, room.depth.shape).copy()
    return replace(room, uncertainty=uncertainty, photo_error=0.1, pixel_error=0.6)


def test_uncertainty_survives_the_files_that_hold_it(unsure: Prediction, room: Prediction, tmp_path: Path) -> None:
    loaded = Prediction.load(unsure.save(tmp_path / "x.npz"))
    np.testing.assert_allclose(loaded.uncertainty, unsure.uncertainty, rtol=1e-3)
    assert (loaded.photo_error, loaded.pixel_error) == (0.1, 0.6)
    assert loaded.uncertainty.dtype == np.float32
    with Image.open(unsure.save_uncertainty(tmp_path / "x_uncertainty.png")) as image:
        assert image.mode == "I;16"
        np.testing.assert_allclose(np.asarray(image) / 10_000, unsure.uncertainty, atol=6e-5)
    with pytest.raises(ValueError, match="holds uncertainty"):
        Prediction.load(tmp_path / "x_uncertainty.png")
    about = json.loads(unsure.save(tmp_path / "x.json").read_text())
    assert about["uncertainty"] == pytest.approx(float(unsure.uncertainty.mean()), abs=1e-6)
    for suffix in (".png", ".npy"):
        assert Prediction.load(unsure.save(tmp_path / f"y{suffix}")).uncertainty is None
    assert Prediction.load(room.save(tmp_path / "z.npz")).uncertainty is None
    with pytest.raises(ValueError, match="no uncertainty"):
        room.save_uncertainty(tmp_path / "no.png")
    with pytest.raises(ValueError, match=r"\.png"):
        unsure.save_uncertainty(tmp_path / "no.npy")
    assert not (tmp_path / "no.png").exists()


def test_large_uncertainties_are_written_as_the_largest(unsure: Prediction, tmp_path: Path) -> None:
    unsure.uncertainty[0, 0] = 9.0
    with Image.open(unsure.save_uncertainty(tmp_path / "x.png")) as image:
        assert np.asarray(image)[0, 0] == 65534


def test_an_uncertainty_of_another_shape_is_refused(room: Prediction, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", depth=room.depth, uncertainty=room.depth[1:])
    with pytest.raises(ValueError, match=r"x\.npz holds an uncertainty of shape"):
        Prediction.load(tmp_path / "x.npz")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_an_uncertainty_that_is_none_is_refused(value: float, room: Prediction, tmp_path: Path) -> None:
    uncertainty = np.full(room.depth.shape, 0.1, np.float32)
    uncertainty[1, 2] = value
    np.savez(tmp_path / "x.npz", depth=room.depth, uncertainty=uncertainty)
    with pytest.raises(ValueError, match=r"x\.npz holds an uncertainty that is"):
        Prediction.load(tmp_path / "x.npz")


def test_uncertainty_of_distances(unsure: Prediction, room: Prediction) -> None:
    a, b = (20, 40), (140, 100)
    assert unsure.distance_uncertainty(*a) == pytest.approx(unsure.distance(*a) * unsure.uncertainty[40, 20])
    p, q = unsure.points()[40, 20], unsure.points()[100, 140]
    length = np.linalg.norm(q - p)
    unit = (q - p) / length
    parts = [0.6 * float(unsure.uncertainty[y, x]) * abs(unit @ end) for (x, y), end in ((a, p), (b, q))]
    assert unsure.length_uncertainty([a, b]) == pytest.approx(math.hypot(0.1 * length, *parts), rel=1e-5)
    assert unsure.length_uncertainty([a]) == unsure.distance_uncertainty(*a)
    assert unsure.length_uncertainty([a, a]) == 0
    assert room.distance_uncertainty(*a) is None and room.length_uncertainty([a, b]) is None
    for wrong in ([], [a, b, a]):
        with pytest.raises(ValueError, match="one point or two"):
            unsure.length_uncertainty(wrong)
    with pytest.raises(IndexError):
        unsure.distance_uncertainty(400, 0)


def test_calibration_removes_the_common_part_of_the_uncertainty(unsure: Prediction) -> None:
    a, b = (20, 40), (140, 100)
    known = unsure.calibrate_length([a, b], metres=2 * unsure.length([a, b]))
    np.testing.assert_array_equal(known.uncertainty, unsure.uncertainty)  # it is relative
    alone = replace(unsure, photo_error=0.0)
    assert known.length_uncertainty([a, b]) == pytest.approx(2 * alone.length_uncertainty([a, b]), rel=1e-5)
    assert known.length_uncertainty([a, b]) < 2 * unsure.length_uncertainty([a, b])
    assert known.distance_uncertainty(*a) == pytest.approx(0.6 * 2 * unsure.distance_uncertainty(*a), rel=1e-5)
    assert known.uncalibrated().length_uncertainty([a, b]) == pytest.approx(unsure.length_uncertainty([a, b]), rel=1e-5)


def test_uncertainty_follows_the_pixels(unsure: Prediction) -> None:
    smaller = unsure.shrink(40)
    assert smaller.uncertainty.shape == smaller.depth.shape
    np.testing.assert_allclose(smaller.uncertainty[0], unsure.uncertainty[0, 2::4], atol=1e-6)
    wider = unsure.with_camera(Camera.from_fov(160, 120, 90))
    np.testing.assert_array_equal(wider.uncertainty, unsure.uncertainty)
    holes = replace(unsure, depth=np.where(np.arange(160) < 80, unsure.depth, 0).astype(np.float32))
    assert holes.mean_uncertainty() == pytest.approx(float(unsure.uncertainty[:, :80].mean()), abs=1e-6)


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".stl"])
def test_unsure_points_are_left_out_of_solids(
    suffix: str, unsure: Prediction, room: Prediction, tmp_path: Path
) -> None:
    whole = trimesh.load(unsure.save(tmp_path / f"whole{suffix}"))
    sure = trimesh.load(unsure.save(tmp_path / f"sure{suffix}", max_uncertainty=0.2))
    if suffix == ".stl":  # a relief is flat where nothing is known
        low = sure.vertices[sure.vertices[:, 0] > 75][:, 2]
        assert whole.vertices[whole.vertices[:, 0] > 75][:, 2].std() > low[low > 1].std()
    else:
        wide = [np.ptp(solid.bounds[:, 0]) for solid in (whole, sure)]
        assert wide[1] < 0.8 * wide[0]
    for prediction, wrong, reason in ((room, 0.2, "predicts uncertainty"), (unsure, 0.0, "positive")):
        with pytest.raises(ValueError, match=reason):
            prediction.save(tmp_path / f"no{suffix}", max_uncertainty=wrong)
    assert not (tmp_path / f"no{suffix}").exists()


@pytest.mark.parametrize("key", ["photo_error", "pixel_error"])
@pytest.mark.parametrize("value", [-0.1, "0.1", True, 1e999, None, [0.1]])
def test_errors_that_make_no_sense_are_refused(key: str, value: object, unsure: Prediction, tmp_path: Path) -> None:
    path = unsure.save(tmp_path / "x.npy")
    about = {**unsure.about(), key: value}
    path.with_suffix(".json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"x\.(npy|json)"):
        Prediction.load(path)
