"""Pairs of picture and depth map are found, scaled and masked right, in a folder as in a tar."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import render, write_rgbd

from depth_unet import Camera, RgbdFolder
from depth_unet.data import open_data
from depth_unet.data.origin import OWN_RECORDINGS, Origin
from depth_unet.data.sample import SampleError
from depth_unet.files import write_png

SIZE = (24, 32)
CAMERA = Camera.from_fov(32, 24, 60)
IMAGE, DEPTH = render(CAMERA)


def write(root: Path, *files: str, depth: np.ndarray = DEPTH) -> Path:
    """Files by name: a depth map for what looks like one, else a picture."""
    for number, name in enumerate(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, depth)
        elif number % 2:  # written in pairs: picture, depth map
            Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(path)
        else:
            Image.fromarray(IMAGE).save(path, quality=95)
    return root


def packed(folder: Path, top: str = "") -> Path:
    path = folder.parent / f"{folder.name}.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=top or ".")
    return path


PAIRS = {
    "side by side": (("a.jpg", "a.png"), ["a"]),
    "arrays": (("a.jpg", "a.npy"), ["a"]),
    "named": (("a.png", "a_depth.png"), ["a"]),
    "named arrays": (("a.png", "a_depth.npy", "b.webp", "b_depth.png"), ["a", "b"]),
    "two folders": (("rgb/a.png", "depth/a.png", "rgb/b.jpg", "depth/b.npy"), ["rgb/a", "rgb/b"]),
    "image": (("image/a.png", "depth/a.png"), ["image/a"]),
    "images": (("x/y/images/a.JPG", "x/y/depth/a.png"), ["x/y/images/a"]),
    "color": (
        ("one/color/a.jpeg", "one/depth/a.png", "two/color/a.bmp", "two/depth/a.npy"),
        ["one/color/a", "two/color/a"],
    ),
    "deep": (("s/t/u/a.tif", "s/t/u/a.npy"), ["s/t/u/a"]),
    "lonely pictures": (("b.jpg", "b.png", "a.jpg", "x_depth.npy", "c.png"), ["b"]),
}


@pytest.mark.parametrize("kind", ["folder", "tar", "tar with a top folder"])
@pytest.mark.parametrize("rule", PAIRS)
def test_pairs(tmp_path: Path, rule: str, kind: str) -> None:
    files, keys = PAIRS[rule]
    root = write(tmp_path / "data", *files)
    if kind == "folder":
        data = RgbdFolder(root)
    else:
        data = RgbdFolder(packed(root, "top" if "top" in kind else ""))
        keys = ["top/" + key for key in keys] if "top" in kind else keys
    assert [sample.key for sample in data] == keys
    for sample in data:
        np.testing.assert_allclose(sample.depth[0].numpy(), DEPTH, atol=0.0006)
        assert sample.valid.all() and sample.depth.dtype == torch.float32
        # JPEG blurs the colours of checks this small.
        assert np.abs(sample.image.permute(1, 2, 0).numpy() * 255 - IMAGE).mean() < 40


@pytest.mark.parametrize(
    ("depth", "unit"),
    [
        (DEPTH, 0.001),
        (DEPTH.astype(np.float64), 0.001),
        (DEPTH[..., None], 0.001),
        (np.rint(DEPTH * 1000).astype(np.uint16), 0.001),
        (np.rint(DEPTH * 1000).astype(np.int32), 0.001),
        (np.rint(DEPTH * 5000).astype(np.uint16), 0.0002),
    ],
)
def test_units(tmp_path: Path, depth: np.ndarray, unit: float) -> None:
    write(tmp_path, "a.jpg", "a.npy", depth=depth)
    got = RgbdFolder(tmp_path, metres_per_unit=unit)[0].depth[0].numpy()
    np.testing.assert_allclose(got, DEPTH, atol=0.0006)


@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf, -1.0])
def test_holes(tmp_path: Path, hole: float) -> None:
    depth = DEPTH.copy()
    depth[3, 4] = hole
    sample = RgbdFolder(write(tmp_path, "a.jpg", "a.npy", depth=depth))[0]
    assert not sample.valid[0, 3, 4] and sample.valid.sum() == DEPTH.size - 1 and torch.isfinite(sample.depth).all()


# --- cameras -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "tar", "tar with a top folder"])
def test_camera_file(tmp_path: Path, kind: str) -> None:
    root = write(tmp_path / "data", "a.jpg", "a.png", "deep/b.jpg", "deep/b.png", "own/c.jpg", "own/c.png")
    (root / "camera.json").write_text(json.dumps(Camera.from_fov(64, 48, 75).to_dict()))
    (root / "own" / "camera.json").write_text(json.dumps(CAMERA._replace(cx=11.0).to_dict()))
    path = root if kind == "folder" else packed(root, "top" if "top" in kind else "")
    a, b, c = (sample.camera for sample in RgbdFolder(path))
    assert a == b == Camera.from_fov(32, 24, 75)  # the same lens at the size of the picture
    assert c == CAMERA._replace(cx=11.0)
    assert RgbdFolder(path, camera=CAMERA)[0].camera == CAMERA  # one given goes before


def test_camera_of_exif_and_none(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png")
    exif = Image.Exif()
    exif[0x0112] = 1
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.fromarray(IMAGE).save(tmp_path / "b.jpg", exif=exif)
    a, b = RgbdFolder(tmp_path)
    assert a.camera == Camera.assumed(32, 24)
    assert b.camera == Camera.from_focal_35mm(32, 24, 28)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"fx": 3}',
        '{"width": 1, "height": 1, "fx": 0, "fy": 1, "cx": 1, "cy": 1}',
        '{"width": 1, "height": 1, "fx": "a", "fy": 1, "cx": 1, "cy": 1}',
    ],
)
def test_an_unusable_camera_file(tmp_path: Path, content: str) -> None:
    write(tmp_path, "a.jpg", "a.png")
    (tmp_path / "camera.json").write_text(content)
    with pytest.raises(ValueError, match=r"camera\.json"):
        RgbdFolder(tmp_path)


# --- the layout of NYU Depth V2 ----------------------------------------------------------------------------------


def nyu_frame(root: Path) -> np.ndarray:
    depth = np.full((480, 640), 3.0, np.float32)
    depth[100, 100], depth[100, 101], depth[100, 102] = 0.2, 12.0, 9.9
    root.mkdir(parents=True)
    Image.new("RGB", (640, 480), (9, 99, 199)).save(root / "0001.jpg")
    Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(root / "0001.png")
    return depth


EIGEN, WITHIN_THE_FRAME = (slice(45, 471), slice(41, 601)), (slice(10, 471), slice(10, 630))


def expected_mask(box: tuple[slice, slice], *holes: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((480, 640), bool)
    mask[box] = True
    for place in holes:
        mask[place] = False
    return mask


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_frames_of_nyu_are_asked_for_by_name(tmp_path: Path, kind: str) -> None:
    nyu_frame(tmp_path / "kinect")
    path = tmp_path / "kinect" if kind == "folder" else packed(tmp_path / "kinect")
    data = open_data(f"rgbd/nyu:{path}")
    assert data[0].camera == data.scored(0).camera == Camera(640, 480, 518.86, 519.47, 325.58, 253.74)
    beyond = (100, 101)  # 12 m
    np.testing.assert_array_equal(data[0].valid[0].numpy(), expected_mask(WITHIN_THE_FRAME, beyond))
    np.testing.assert_array_equal(data.scored(0).valid[0].numpy(), expected_mask(EIGEN, beyond))
    (tmp_path / "kinect" / "camera.json").write_text(json.dumps(Camera.from_fov(640, 480, 80).to_dict()))
    assert open_data(f"rgbd/nyu:{tmp_path / 'kinect'}")[0].camera == Camera.from_fov(640, 480, 80)  # known better
    assert data.rule.name == "nyu-eigen" and data.origins[0].weights == "research-only" and not data.hints


def test_a_folder_named_nyu_is_like_any_other(tmp_path: Path) -> None:
    nyu_frame(tmp_path / "home" / "nyu" / "mine")
    for path in (tmp_path / "home", tmp_path / "home" / "nyu" / "mine", packed(tmp_path / "home" / "nyu", "NYU")):
        data = open_data(f"rgbd:{path}")
        assert data[0].valid.all() and data.scored(0).valid.all() and data[0].camera == Camera.assumed(640, 480)
        assert data.origins == (OWN_RECORDINGS,) and data.rule.name == "whole-frame"
        (hint,) = data.hints
        assert "rgbd/nyu:" in hint and hint in data.describe()


def test_the_hint_is_for_kinect_frames_only(tmp_path: Path) -> None:
    write(tmp_path / "nyu", "a.jpg", "a.png")
    assert not open_data(f"rgbd:{tmp_path / 'nyu'}").hints
    with pytest.raises(ValueError, match="sunrgbd"):
        RgbdFolder(tmp_path, layout="sunrgbd")


def test_the_real_frames(shared: Path) -> None:
    data = open_data(f"rgbd/nyu:{shared / 'data' / 'nyu_val.tar'}")
    assert len(data) == 130
    for index in (0, 64, 129):
        sample = data.scored(index)
        assert sample.image.shape == (3, 480, 640) and sample.key == data.key(index)
        assert sample.key.startswith("nyu/val/") and sample.camera.fx == 518.86
        depth = sample.depth[sample.valid]
        assert 0.5 < depth.min() and depth.max() <= 10 and sample.valid.float().mean() > 0.7
        assert not sample.valid[0, :45].any() and not sample.valid[0, :, 601:].any()


# --- units and origins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "steps"), [("1/5000", 5000), (0.0002, 5000), ("1/256", 256), (".0001", 10000)])
def test_a_unit_of_the_command_or_of_the_data(tmp_path: Path, unit: str | float, steps: int) -> None:
    root = write(tmp_path / "data", "a.jpg", "a.npy", depth=np.rint(DEPTH * steps).astype(np.uint16))
    given = RgbdFolder(root, metres_per_unit=unit)
    np.testing.assert_allclose(given[0].depth[0], DEPTH, atol=1 / steps)
    assert f"median depth {np.median(DEPTH):.2f} m" in given.describe()
    for content in ({"metres_per_unit": unit}, {**CAMERA.to_dict(), "metres_per_unit": unit}):
        (root / "camera.json").write_text(json.dumps(content))
        for data in (RgbdFolder(root), RgbdFolder(root, metres_per_unit=0.01), RgbdFolder(packed(root))):
            np.testing.assert_allclose(data[0].depth[0], DEPTH, atol=1 / steps)
            assert data[0].camera == (CAMERA if len(content) > 1 else Camera.assumed(32, 24))


@pytest.mark.parametrize("unit", ["0", "-1", "1/0", "nan", "inf", "a millimetre", "", None, [1]])
def test_a_unit_that_is_none(tmp_path: Path, unit: object) -> None:
    root = write(tmp_path, "a.jpg", "a.png")
    if unit is not None:
        with pytest.raises(ValueError, match="metres per unit"):
            RgbdFolder(root, metres_per_unit=unit)
        (root / "camera.json").write_text(json.dumps({"metres_per_unit": unit}))
        with pytest.raises(ValueError, match=r"camera\.json cannot be used: metres per unit"):
            RgbdFolder(root)


@pytest.mark.parametrize("pack", [False, True])
def test_origin(tmp_path: Path, pack: bool) -> None:
    root = write(tmp_path / "data", "a.jpg", "a.png")
    given = Origin("from the command", weights="mit")
    assert RgbdFolder(root).origins == (OWN_RECORDINGS,) and RgbdFolder(root, origin=given).origins == (given,)
    own = Origin("Rooms", "rooms.example", "CC BY 4.0", "mit")
    (root / "origin.json").write_text(json.dumps(own._asdict()))
    path = packed(root) if pack else root
    assert RgbdFolder(path, origin=given).origins == (own,)  # the data's own file goes first
    assert open_data(f"rgbd/nyu:{path}").origins == (own,)


@pytest.mark.parametrize("content", ["{", "[]", '{"title": ""}', '{"title": "a", "weights": "gpl"}', '{"titel": "a"}'])
def test_an_unusable_origin_is_refused(tmp_path: Path, content: str) -> None:
    root = write(tmp_path, "a.jpg", "a.png")
    (root / "origin.json").write_text(content)
    with pytest.raises(ValueError, match=r"origin\.json cannot be used"):
        RgbdFolder(root)


def test_hidden_files_are_no_data(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "a.jpg", "a.png", ".b.jpg", ".b.png", ".trash/c.jpg", ".trash/c.png")
    for path in (root, packed(root)):
        assert [data.key(0) for data in (RgbdFolder(path),)] == ["a"] and len(RgbdFolder(path)) == 1


# --- what goes wrong ---------------------------------------------------------------------------------------------


def contents(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "another size":
        Image.fromarray(np.ones((10, 10), np.uint16)).save(buffer, "PNG")
    elif kind == "colours":
        Image.fromarray(IMAGE).save(buffer, "PNG")
    elif kind == "all zero":
        Image.fromarray(np.zeros(SIZE, np.uint16)).save(buffer, "PNG")
    elif kind == "cut off":
        Image.fromarray(np.random.default_rng(0).integers(0, 999, SIZE).astype(np.uint16)).save(buffer, "PNG")
        return buffer.getvalue()[:200]
    elif kind == "text":
        return b"no depth map"
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("kind", ["another size", "colours", "all zero", "cut off", "text", "nothing"])
def test_a_corrupt_depth_map_is_named(tmp_path: Path, kind: str, pack: bool) -> None:
    root = write(tmp_path / "data", "a.jpg", "a.png", "b.jpg", "b.png")
    (root / "b.png").write_bytes(contents(kind))
    data = RgbdFolder(packed(root) if pack else root)
    assert data[0].key == "a"
    with pytest.raises(SampleError, match="^b: "):
        data[1]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_corrupt_array_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "a.jpg", "a.npy")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(SampleError, match="^a: "):
        RgbdFolder(tmp_path)[0]


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    data = RgbdFolder(write(tmp_path, "a.jpg", "a.png"))
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(SampleError, match="^a: "):
        data[0]


def test_a_corrupt_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])
    (tmp_path / "b.jpg").write_bytes(b"")
    data = RgbdFolder(tmp_path)
    for index, key in enumerate("ab"):
        with pytest.raises(SampleError, match=f"^{key}: ") as caught:
            data[index]
        assert "0x" not in str(caught.value)  # no address of an object in memory


def test_no_pairs_no_folder_no_tar(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="NAME.jpg"):
        RgbdFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RgbdFolder(tmp_path / "nowhere")
    (tmp_path / "x.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(ValueError, match=r"x\.tar"):
        RgbdFolder(tmp_path / "x.tar")


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data", "a.jpg", "a.png")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "data", arcname=".")
    with pytest.raises(ValueError, match="not an uncompressed tar"):
        RgbdFolder(tmp_path / "x.tar.gz")


def test_a_tar_that_is_cut_off(tmp_path: Path) -> None:
    path = packed(write_rgbd(tmp_path / "data", 3))
    with tarfile.open(path) as archive:
        ends = [member.offset_data + member.size for member in archive if member.isfile()]
    whole = path.read_bytes()
    for end in ends:
        path.write_bytes(whole[: end - 5])
        with pytest.raises(ValueError, match=f"{path.name}|^0"):
            assert all(sample.valid.any() for sample in RgbdFolder(path))


def test_worker_processes_read_a_tar_at_once(tmp_path: Path) -> None:
    data = RgbdFolder(packed(write_rgbd(tmp_path / "data", 8)))
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2)
    alone = torch.stack([sample.depth for sample in data])
    assert torch.equal(torch.cat([batch.depth for batch in loader]), alone)


# --- depth maps that contain their unit and camera ---------------------------------------------------------------


def own_pair(folder: Path, about: dict, metres: float = 2.0) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), "red").save(folder / "a.png")
    write_png(folder / "a_depth.png", np.full((6, 8), metres, np.float32), about)


def test_our_own_depth_map_has_priority_over_files_beside_it(tmp_path: Path) -> None:
    camera = Camera(8, 6, 5.0, 5.0, 4.0, 3.0)
    about = {"unit": "metre", "camera": camera.to_dict(), "metres_per_unit": 0.004}
    own_pair(tmp_path, about, metres=200.0)
    (tmp_path / "camera.json").write_text(
        json.dumps(Camera.from_fov(8, 6, 90).to_dict() | {"metres_per_unit": 1}), "utf-8"
    )
    sample = RgbdFolder(tmp_path, metres_per_unit=7)[0]
    assert sample.camera == camera and torch.allclose(sample.depth, torch.tensor(200.0))
    given = Camera(8, 6, 9.0, 9.0, 4.0, 3.0)
    assert RgbdFolder(tmp_path, camera=given)[0].camera == given


def test_the_text_of_other_programs_says_nothing(tmp_path: Path) -> None:
    camera = Camera.from_fov(8, 6, 90)
    own_pair(tmp_path, {"camera": "mine", "metres_per_unit": 0.004}, metres=2.0)
    (tmp_path / "camera.json").write_text(json.dumps(camera.to_dict() | {"metres_per_unit": 0.01}), "utf-8")
    sample = RgbdFolder(tmp_path)[0]
    assert sample.camera == camera and torch.allclose(sample.depth, torch.tensor(5.0))  # 500 steps


@pytest.mark.parametrize(
    "about",
    [
        {"unit": "metre", "camera": {"width": 8}},
        {"unit": "metre", "camera": {**Camera.from_fov(8, 6, 90).to_dict(), "fx": -1}},
        {"unit": "metre", "camera": []},
    ],
)
def test_a_damaged_text_names_the_sample(about: dict, tmp_path: Path) -> None:
    own_pair(tmp_path, about)
    with pytest.raises(SampleError, match="a: "):
        RgbdFolder(tmp_path)[0]


def test_kitti_frames(tmp_path: Path) -> None:
    for number, size in enumerate([(1242, 375), (1224, 370)]):
        Image.new("RGB", size, "grey").save(tmp_path / f"{number}.jpg")
        depth = np.zeros(size[::-1], np.uint16)
        depth[-100:] = 256 * 20
        Image.fromarray(depth).save(tmp_path / f"{number}.png")
    data = open_data(f"rgbd/kitti:{tmp_path}")
    sample = data[0]
    assert sample.depth.max() == 20 and sample.camera.fx == pytest.approx(721.5377)
    assert data[1].camera.width == 1224
    assert torch.equal(sample.valid, sample.depth > 0)  # 0 is no measurement
    scored = data.scored(0).valid
    assert scored[0, 275:371, 44:1197].all() and int(scored.sum()) == 96 * 1153
    assert data.origins[0].weights == "research-only" and data.rule.name == "kitti-garg"
    (tmp_path / "camera.json").write_text(json.dumps({"metres_per_unit": 0.001}), "utf-8")
    assert open_data(f"rgbd/kitti:{tmp_path}")[0].depth.max() == pytest.approx(5.12)
