"""Metres go into files and come back; distances are those of the scene."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import BOX, FLOOR, WALL, render

from depth_unet import Camera, Prediction

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
    depth = np.array([[65.535, 65.536, 350.0, np.inf, np.nan, -2.0, 0.0, 0.0004, 1.2346]], np.float32)
    prediction = Prediction(depth, Camera.from_fov(9, 1, 60))
    with pytest.warns(UserWarning, match=r"x\.png.*65\.535"):
        prediction.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert np.asarray(image)[0].tolist() == [65535, 0, 0, 0, 0, 0, 0, 0, 1235]


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


def write_rgb(path: Path) -> None:
    Image.new("RGB", (4, 3)).save(path, format="PNG")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.npz", lambda path: path.write_bytes(b"PK no zip")),
        ("x.npz", lambda path: np.savez(path, other=np.ones(3))),
        ("x.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True)),
        ("x.npy", lambda path: np.save(path, np.ones((2, 2, 3), np.float32))),
        ("x.npy", lambda path: path.write_bytes(b"")),
        ("x.png", write_rgb),
        ("x.png", lambda path: path.write_text("no picture")),
        ("x.tiff", lambda path: path.write_text("")),
    ],
)
def test_load_refuses_other_files_by_name(name: str, write, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=r"x\.") as refused:
        Prediction.load(tmp_path / name)
    assert str(tmp_path) not in str(refused.value)


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
    depth = np.array([[1.0, 65.535, 65.5353], [65.536, 1e9, np.nan]], np.float32)
    prediction = Prediction(depth, Camera.from_fov(3, 2, 60))
    assert prediction.lost(".png").startswith("2 pixels beyond 65.535 m") and prediction.lost(".PNG")
    assert [prediction.lost(suffix) for suffix in (".npy", ".npz", ".ply", ".json", "")] == [None] * 5
    assert Prediction(np.ones((2, 3), np.float32), prediction.camera).lost(".png") is None
