"""RGB-D data as people have them: turned pictures, larger pictures, and the layouts of well-known data sets."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import render

from depth_unet import Camera, Prediction, RgbdFolder
from depth_unet.data import open_data
from depth_unet.data.origin import OWN_RECORDINGS, Origin
from depth_unet.data.rgbd import turned_upright
from depth_unet.data.sample import SampleError

CAMERA = Camera(64, 48, 50.0, 61.0, 29.0, 27.5)  # of the upright picture; no two values agree
IMAGE, DEPTH = render(CAMERA)
PIL_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BACK = {6: 8, 8: 6}  # all other turns are their own inverse


def stored(values: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores that shows `values` when a viewer applies the orientation; by Pillow, not by our code."""
    if orientation == 1:
        return values
    return np.asarray(Image.fromarray(values).transpose(PIL_TURNS[BACK.get(orientation, orientation)]))


def save_picture(path: Path, pixels: np.ndarray, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **({"quality": 97} if path.suffix.lower() != ".png" else {}))


def save_depth(path: Path, depth: np.ndarray, steps: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, depth)
    else:
        Image.fromarray(np.rint(depth * steps).astype(np.uint16)).save(path)


def errors(data: RgbdFolder) -> list[str]:
    found = []
    for index in range(len(data)):
        try:
            data[index]
        except SampleError as error:
            found.append(str(error))
    return found


# --- orientation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_depth_as_stored_is_turned_with_picture_and_camera(tmp_path: Path, orientation: int, suffix: str) -> None:
    save_picture(tmp_path / f"a{suffix}", stored(IMAGE, orientation), orientation)
    save_depth(tmp_path / "a.npy", stored(DEPTH, orientation))
    as_stored = CAMERA.transpose(BACK.get(orientation, orientation))
    (tmp_path / "camera.json").write_text(json.dumps(as_stored.to_dict()))
    sample = RgbdFolder(tmp_path)[0]
    np.testing.assert_allclose(sample.depth[0].numpy(), DEPTH, atol=1e-6)
    assert np.abs(sample.image.permute(1, 2, 0).numpy() * 255 - IMAGE).mean() < (1 if suffix != ".jpg" else 40)
    np.testing.assert_allclose(sample.camera, CAMERA)
    # The camera of the turned picture still explains its depth: the same scene, seen by that camera.
    np.testing.assert_allclose(render(sample.camera)[1], sample.depth[0].numpy(), rtol=1e-5)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("scale", [1, 3])
def test_depth_of_the_upright_shape_is_left_as_it_is(tmp_path: Path, orientation: int, scale: int) -> None:
    large = np.kron(IMAGE, np.ones((scale, scale, 1), np.uint8))
    save_picture(tmp_path / "a.png", stored(large, orientation), orientation)
    save_depth(tmp_path / "a_depth.npy", DEPTH)
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA.to_dict()))
    sample = RgbdFolder(tmp_path)[0]
    np.testing.assert_array_equal(sample.depth[0].numpy(), DEPTH)
    np.testing.assert_allclose(sample.camera, CAMERA)
    assert np.abs(sample.image.permute(1, 2, 0).numpy() * 255 - IMAGE).mean() < (1 if scale == 1 else 25)
    # A camera of the stored shape is told by it, and turned.
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA.transpose(BACK.get(orientation, orientation)).to_dict()))
    np.testing.assert_allclose(RgbdFolder(tmp_path)[0].camera, CAMERA)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_square_belongs_to_the_stored_pixels(tmp_path: Path, orientation: int) -> None:
    camera = Camera(48, 48, 40.0, 52.0, 21.0, 30.0)
    image, depth = render(camera)
    save_picture(tmp_path / "a.png", stored(image, orientation), orientation)
    save_depth(tmp_path / "a_depth.npy", stored(depth, orientation))
    (tmp_path / "camera.json").write_text(json.dumps(camera.transpose(BACK.get(orientation, orientation)).to_dict()))
    sample = RgbdFolder(tmp_path)[0]
    np.testing.assert_array_equal(sample.depth[0].numpy(), depth)
    np.testing.assert_allclose(sample.camera, camera)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_our_own_predictions_are_upright(tmp_path: Path, orientation: int) -> None:
    save_picture(tmp_path / "a.jpg", stored(IMAGE, orientation), orientation)
    Prediction(DEPTH, CAMERA, model="some-model").save(tmp_path / "a_depth.png")
    sample = RgbdFolder(tmp_path)[0]
    np.testing.assert_allclose(sample.depth[0].numpy(), DEPTH, atol=0.0006)
    assert sample.camera == CAMERA


@pytest.mark.parametrize("value", [0, 9, 77, 65535])
def test_an_orientation_that_is_none_is_ignored(tmp_path: Path, value: int) -> None:
    save_picture(tmp_path / "a.png", IMAGE, value)
    save_depth(tmp_path / "a_depth.npy", DEPTH)
    np.testing.assert_array_equal(RgbdFolder(tmp_path)[0].depth[0].numpy(), DEPTH)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_pillows(orientation: int) -> None:
    np.testing.assert_array_equal(turned_upright(stored(DEPTH, orientation), orientation), DEPTH)
    assert CAMERA.transpose(orientation).transpose(BACK.get(orientation, orientation)) == CAMERA


# --- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "depth_size"),
    [((1920, 1440), (256, 192)), ((1296, 968), (640, 480)), ((1024, 768), (256, 192)), ((65, 49), (64, 48))],
)
def test_a_larger_picture_is_shrunk_to_its_depth(tmp_path: Path, size: tuple, depth_size: tuple) -> None:
    lens = Camera.from_fov(*size, 65)._replace(cx=0.45 * size[0])
    stripes = (np.arange(size[0]) % 2 * 255)[None, :, None] * np.ones((size[1], 1, 3))
    save_picture(tmp_path / "a.png", stripes.astype(np.uint8))
    save_depth(tmp_path / "a_depth.png", np.full(depth_size[::-1], 2.0))
    (tmp_path / "camera.json").write_text(json.dumps(lens.to_dict()))
    sample = RgbdFolder(tmp_path)[0]
    assert sample.image.shape[1:] == sample.depth.shape[1:] == depth_size[::-1]
    np.testing.assert_allclose(sample.camera, lens.resize(*depth_size))
    if size[0] > 2 * depth_size[0]:  # averaged, not picked
        assert abs(sample.image - 0.5).max() < 0.2


@pytest.mark.parametrize("depth_size", [(48, 64), (65, 48), (64, 50), (32, 23), (128, 96), (1, 1), (66, 48), (64, 47)])
def test_any_other_shape_is_refused(tmp_path: Path, depth_size: tuple) -> None:
    save_picture(tmp_path / "a.png", IMAGE)
    save_depth(tmp_path / "a_depth.npy", np.ones(depth_size[::-1], np.float32))
    with pytest.raises(SampleError, match="^a: a depth map of .* does not fit the picture of 64x48"):
        RgbdFolder(tmp_path)[0]


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (64, 36), (1920, 1080), (66, 48)])
def test_a_camera_of_another_shape_is_refused(tmp_path: Path, size: tuple) -> None:
    save_picture(tmp_path / "a.png", IMAGE)
    save_depth(tmp_path / "a_depth.npy", DEPTH)
    (tmp_path / "camera.json").write_text(json.dumps(Camera.from_fov(*size, 60).to_dict()))
    with pytest.raises(SampleError, match="^a: a camera of .* does not fit the picture of 64x48.*camera.json"):
        RgbdFolder(tmp_path)[0]
    with pytest.raises(SampleError, match="does not fit"):
        RgbdFolder(tmp_path, camera=Camera.from_fov(*size, 60))[0]


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "depth"),
    [
        ("A.JPG", "A.PNG"),
        ("a.JPeG", "a.NPY"),
        ("a.png", "A_DEPTH.PNG"),
        ("RGB/a.jpg", "Depth/a.png"),
        ("Color/1.JPG", "DEPTH/1.PNG"),
        ("images/a.jpg", "depths/a.png"),
        ("rgb/a.jpg", "depths/a_depth.npy"),
        ("x/Images/a.webp", "x/Depths/a.npy"),
    ],
)
def test_any_case_of_letters(tmp_path: Path, picture: str, depth: str) -> None:
    save_picture(tmp_path / picture, IMAGE)
    path = tmp_path / depth
    save_depth(path.with_suffix(path.suffix.lower()), DEPTH)
    path.with_suffix(path.suffix.lower()).rename(path)
    (tmp_path / "Camera.JSON").write_text(json.dumps(CAMERA.to_dict()))
    data = RgbdFolder(tmp_path)
    assert data.pairs == [(picture, depth)] and data[0].camera == CAMERA
    np.testing.assert_allclose(data[0].depth[0].numpy(), DEPTH, atol=0.0006)


def test_names_that_differ_by_case_only(tmp_path: Path) -> None:
    if (tmp_path / "x").write_text("") or (tmp_path / "X").exists():
        pytest.skip("this file system ignores case")
    for name, metres in (("a", 1.0), ("A", 2.0)):
        save_picture(tmp_path / f"{name}.jpg", IMAGE)
        save_depth(tmp_path / f"{name}.png", np.full((48, 64), metres))
    assert [float(sample.depth.mean()) for sample in RgbdFolder(tmp_path)] == pytest.approx([2.0, 1.0])


def test_a_png_beside_an_array_is_a_picture_only_if_it_is_one(tmp_path: Path) -> None:
    save_picture(tmp_path / "jpg" / "a.jpg", IMAGE)  # picture, depth in millimetres, and in metres
    save_depth(tmp_path / "jpg" / "a.png", DEPTH)
    save_depth(tmp_path / "jpg" / "a.npy", DEPTH)
    save_picture(tmp_path / "png" / "a.png", IMAGE)
    save_depth(tmp_path / "png" / "a.npy", DEPTH)
    save_depth(tmp_path / "none" / "a.png", DEPTH)
    save_depth(tmp_path / "none" / "a.npy", DEPTH)
    save_picture(tmp_path / "rgb" / "a.jpg", IMAGE)
    save_picture(tmp_path / "depth" / "a.png", IMAGE)  # depth, coloured to look at
    save_depth(tmp_path / "depth" / "a.npy", DEPTH)
    data = RgbdFolder(tmp_path)
    # rgb/a pairs with the first of its kind in depth/, of which only the array is depth
    assert [pair[0] for pair in data.pairs] == ["jpg/a.jpg", "png/a.png", "rgb/a.jpg"]
    assert data.pairs[:2] == [("jpg/a.jpg", "jpg/a.png"), ("png/a.png", "png/a.npy")]
    assert data.pairs[2] == ("rgb/a.jpg", "depth/a.npy")
    (tmp_path / "png" / "a.png").write_bytes(b"damaged")  # still the picture of its pair
    assert len(errors(RgbdFolder(tmp_path / "png"))) == 1


@pytest.mark.parametrize("pack", [False, True])
def test_what_systems_leave_behind_is_no_data(tmp_path: Path, pack: bool) -> None:
    root = tmp_path / "data"
    for folder in ("", "__MACOSX/", "__macosx/x/", ".ipynb_checkpoints/", "@eaDir/", "x/@eaDir/a.jpg/", ".git/"):
        save_picture(root / f"{folder}a.jpg", IMAGE)
        save_depth(root / f"{folder}a.png", DEPTH)
    for name in ("._a.jpg", "._a.png", "._camera.json", "._origin.json", "x/.hidden.jpg", "x/.hidden.png"):
        (root / name).write_bytes(b"\0\5\26\7AppleDouble")
    path = root
    if pack:
        path = tmp_path / "data.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(root, arcname=".")
    data = RgbdFolder(path)
    assert data.pairs == [("a.jpg", "a.png")] and data[0].valid.all()


@pytest.mark.skipif(os.name == "nt", reason="links need rights that users of Windows lack")
def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    save_picture(tmp_path / "disk" / "room" / "a.jpg", IMAGE)
    save_depth(tmp_path / "disk" / "room" / "a.png", DEPTH)
    root = tmp_path / "data"
    save_picture(root / "z" / "b.jpg", IMAGE)
    save_depth(root / "z" / "b.png", DEPTH)
    (root / "a_link").symlink_to(root / "z", target_is_directory=True)  # the folder's own name counts
    (root / "room").symlink_to(tmp_path / "disk" / "room", target_is_directory=True)
    (root / "again").symlink_to(tmp_path / "disk", target_is_directory=True)
    (root / "z" / "loop").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    (root / "broken.jpg").symlink_to(root / "nowhere.jpg")
    (root / "c.jpg").symlink_to(root / "z" / "b.jpg")  # the same pair once more
    (root / "c.png").symlink_to(root / "z" / "b.png")
    data = RgbdFolder(root)
    assert len(data) == 2 and all(sample.valid.all() for sample in data)
    assert {Path(key).name for key in map(data.key, range(2))} in ({"a", "b"}, {"a", "c"})
    assert not any("a_link" in key for key in map(data.key, range(2)))


def test_two_pictures_may_link_to_one_depth_map(tmp_path: Path) -> None:
    save_depth(tmp_path / "a_depth.png", DEPTH)
    for name in "ab":
        save_picture(tmp_path / f"{name}.jpg", IMAGE)
    try:
        (tmp_path / "b_depth.png").symlink_to(tmp_path / "a_depth.png")
    except OSError:
        pytest.skip("no links here")
    assert len(RgbdFolder(tmp_path)) == 2


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_65535_is_no_depth_in_16_bits(tmp_path: Path, suffix: str) -> None:
    steps = np.full((48, 64), 2000, np.uint16)
    steps[0, 0], steps[0, 1] = 65535, 65534
    save_picture(tmp_path / "a.jpg", IMAGE)
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", steps)
    else:
        Image.fromarray(steps).save(tmp_path / "a.png")
    sample = RgbdFolder(tmp_path, metres_per_unit="1/5000")[0]
    assert not sample.valid[0, 0, 0] and sample.valid.sum() == 48 * 64 - 1
    assert sample.depth[0, 0, 1] == pytest.approx(65534 / 5000)
    np.save(tmp_path / "a.npy", steps.astype(np.int32))  # more bits: a depth like any other
    (tmp_path / "a.png").unlink(missing_ok=True)
    assert RgbdFolder(tmp_path)[0].valid.all()


@pytest.mark.parametrize("shape", [(48, 64), (1, 48, 64), (48, 64, 1), (1, 48, 64, 1), (1, 1, 48, 64)])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", "<u2", ">u2", "<i4", "<u8"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_of_any_shape_and_type(tmp_path: Path, shape: tuple, kind: str, suffix: str) -> None:
    values = DEPTH if kind[1] == "f" else np.rint(DEPTH * 1000)
    save_picture(tmp_path / "a.jpg", IMAGE)
    values = np.asfortranarray(values.astype(kind).reshape(shape))
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", values)
    else:
        np.savez_compressed(tmp_path / "a.npz", depth=values, other=np.zeros(3))
    np.testing.assert_allclose(RgbdFolder(tmp_path)[0].depth[0].numpy(), DEPTH, rtol=1e-3)


def test_an_npz_of_one_array_needs_no_name(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    np.savez(tmp_path / "a.npz", DEPTH)
    np.testing.assert_array_equal(RgbdFolder(tmp_path)[0].depth[0].numpy(), DEPTH)
    np.savez(tmp_path / "a.npz", x=DEPTH, y=DEPTH)
    with pytest.raises(SampleError, match="no array 'depth', but x.npy, y.npy"):
        RgbdFolder(tmp_path)[0]


# --- our own outputs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a_depth.png", "a_depth.npz", "a.npz", "a.png", "a_depth.npy"])
def test_predictions_are_read_and_reported_as_such(tmp_path: Path, name: str) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    prediction = Prediction(DEPTH, CAMERA, name="a.jpg", model="owner/net")
    prediction.save(tmp_path / name)
    if name.endswith(".npy"):
        prediction.save((tmp_path / name).with_suffix(".json"))
    (tmp_path / "camera.json").write_text(json.dumps({"metres_per_unit": "1/5000"}))  # ours are in millimetres
    data = open_data(f"rgbd:{tmp_path}")
    sample = data[0]
    np.testing.assert_allclose(sample.depth[0].numpy(), DEPTH, atol=0.0006)
    assert sample.camera == CAMERA
    assert "predictions of owner/net" in data.describe() and "predictions of owner/net" in data.origins[0].title
    assert data.origins[0].weights == "unknown"
    named = Origin("a paper's", weights="mit")
    assert RgbdFolder(tmp_path, origin=named).origins == (named,)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("camera.json", {"metres_per_unit": "x" * 5000}),
        ("camera.json", {"pairs": ["x" * 5000, "y"]}),
        ("origin.json", {"title": "a", "weights": "x" * 5000}),
        ("origin.json", {"title": "a", "x" * 5000: "b"}),
    ],
)
def test_long_wrong_values_are_not_repeated(tmp_path: Path, name: str, values: dict) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    save_depth(tmp_path / "a_depth.png", DEPTH)
    (tmp_path / name).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"^{name} cannot be used: ") as refused:
        RgbdFolder(tmp_path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("place", ["", "set/"])
def test_the_origin_in_the_one_folder_of_a_tar_counts(tmp_path: Path, place: str) -> None:
    """As `tar cf set.tar set` packs it; one among several folders is not that of all."""
    root = tmp_path / "root" / place
    save_picture(root / "a.jpg", IMAGE)
    save_depth(root / "a_depth.png", DEPTH)
    (root / "origin.json").write_text(json.dumps({"title": "Halls", "weights": "mit"}))
    (tmp_path / "root" / ".hidden").mkdir()
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "root", ".")
    for path in (tmp_path / "root", tmp_path / "set.tar"):
        assert RgbdFolder(path).origins == (Origin("Halls", weights="mit"),)
    if place:
        save_picture(tmp_path / "root" / "other" / "a.jpg", IMAGE)
        assert RgbdFolder(tmp_path / "root").origins == (OWN_RECORDINGS,)


def test_a_mixture_names_both(tmp_path: Path) -> None:
    for name in "ab":
        save_picture(tmp_path / f"{name}.jpg", IMAGE)
    Prediction(DEPTH, CAMERA).save(tmp_path / "a_depth.png")
    save_depth(tmp_path / "b_depth.png", DEPTH)
    data = RgbdFolder(tmp_path)
    assert data.origins[0] == OWN_RECORDINGS and "unnamed model" in data.origins[1].title
    assert "1 of 2" in data.hints[0]


@pytest.mark.parametrize("content", ["{", '{"camera": "iPhone"}', '{"unit": "metre"}', "[]", "null", "[" * 9999])
def test_other_peoples_json_beside_an_array_is_theirs(tmp_path: Path, content: str) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    save_depth(tmp_path / "a.npy", DEPTH)
    (tmp_path / "a.json").write_text(content)
    data = RgbdFolder(tmp_path)
    assert data[0].valid.all() and data.origins == (OWN_RECORDINGS,) and not data.hints


@pytest.mark.parametrize(
    "camera", [None, 3, {"fx": 1}, {**CAMERA.to_dict(), "width": 65}, {**CAMERA.to_dict(), "fx": 0}]
)
def test_a_prediction_with_a_wrong_camera_is_named(tmp_path: Path, camera: object) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    np.savez(tmp_path / "a.npz", depth=DEPTH, about=np.array(json.dumps({"unit": "metre", "camera": camera})))
    with pytest.raises(SampleError, match="^a: .*(camera|focal)"):
        RgbdFolder(tmp_path)[0]


# --- layouts -----------------------------------------------------------------------------------------------------

LAYOUTS = {
    "7-Scenes": (
        ("{}.color.png", "{}.depth.png"),
        [("seq-01/frame-000000.color.png", "seq-01/frame-000000.depth.png"),
         ("seq-02/frame-000001.color.png", "seq-02/frame-000001.depth.png")],
        ["seq-01/frame-000000.pose.txt", "seq-01/frame-000002.color.png", "seq-02/frame-000002.depth.png"],
        1000,
    ),
    "ScanNet": (
        ("color/{}.jpg", "depth/{}.png"),
        [("scene0000_00/color/0.jpg", "scene0000_00/depth/0.png"),
         ("scene0001_00/color/0.jpg", "scene0001_00/depth/0.png")],
        ["scene0000_00/color/1.jpg", "scene0001_00/depth/1.png", "scene0000_00/pose/0.txt"],
        1000,
    ),
    "BTS": (
        ("rgb_{}.jpg", "sync_depth_{}.png"),
        [("bathroom/rgb_00000.jpg", "bathroom/sync_depth_00000.png"),
         ("cafe/rgb_00000.jpg", "cafe/sync_depth_00000.png")],
        ["bathroom/rgb_00001.jpg", "cafe/sync_depth_00002.png"],
        1000,
    ),
    "ARKitScenes": (
        ("lowres_wide/{}.png", "lowres_depth/{}.png"),
        [("40753679/lowres_wide/40753679_6845.295.png", "40753679/lowres_depth/40753679_6845.295.png")],
        ["40753679/lowres_wide/40753679_6845.395.png", "40753679/confidence/40753679_6845.295.png"],
        1000,
    ),
    "Polycam": (
        ("images/{}.jpg", "depth/{}.png"),
        [("keyframes/images/103.jpg", "keyframes/depth/103.png")],
        ["keyframes/confidence/103.png", "keyframes/corrected_images/103.jpg", "thumbnail.jpg"],
        1000,
    ),
    "TUM": (
        ("rgb/{}.png", "depth/{}.png"),
        [("rgb/1305031102.175304.png", "depth/1305031102.160407.png"),
         ("rgb/1305031102.211214.png", "depth/1305031102.226738.png")],
        ["rgb/1305031103.000000.png", "depth/1305031103.030000.png", "rgb.txt", "depth.txt"],
        5000,
    ),
}  # fmt: skip


def write_layout(root: Path, pairs: list[tuple[str, str]], others: list[str], steps: int) -> None:
    """Pairs of which each has a distance of its own, in pictures too, and files without a partner."""
    for number, (picture, depth) in enumerate(pairs, start=1):
        save_picture(root / picture, np.full((48, 64, 3), 20 * number, np.uint8))
        save_depth(root / depth, np.full((48, 64), number), steps)
    for name in others:
        if name.endswith(".txt"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("# a table\n")
        else:
            save_picture(root / name, IMAGE)


@pytest.mark.parametrize("how", ["option", "camera.json", "tar"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_others(tmp_path: Path, layout: str, how: str) -> None:
    patterns, pairs, others, steps = LAYOUTS[layout]
    root = tmp_path / "top"
    write_layout(root, pairs, others, steps)
    expected = pairs
    if how == "option":
        data = RgbdFolder(root, pairs=patterns, metres_per_unit=1 / steps)
    else:
        (root / "camera.json").write_text(json.dumps({"pairs": patterns, "metres_per_unit": f"1/{steps}"}))
        path = root
        if how == "tar":
            path = tmp_path / "x.tar"
            with tarfile.open(path, "w") as archive:
                archive.add(root, arcname="top")
            expected = [(f"top/{picture}", f"top/{depth}") for picture, depth in pairs]
        data = open_data(f"rgbd:{path}")
    assert data.pairs == expected
    for number, sample in enumerate(data, start=1):
        assert sample.depth[sample.valid].mean().item() == pytest.approx(number)
        assert sample.image.mean().item() == pytest.approx(20 * number / 255, abs=0.01)


@pytest.mark.parametrize("name", ["associations.txt", "associate.txt", "associated.txt"])
@pytest.mark.parametrize("depth_first", [False, True])
def test_a_list_of_associations_goes_before_the_nearest_time(tmp_path: Path, name: str, depth_first: bool) -> None:
    patterns, pairs, others, _ = LAYOUTS["TUM"]
    write_layout(tmp_path / "desk", pairs, others, 5000)
    (crossed_picture, _), (_, crossed_depth) = pairs
    words = ["1.0", crossed_picture, "1.5", crossed_depth]
    line = " ".join(words[2:] + words[:2] if depth_first else words)
    (tmp_path / "desk" / name).write_text(f"# time file time file\n\n{line}\n")
    data = RgbdFolder(tmp_path, pairs=patterns)
    assert data.pairs == [(f"desk/{crossed_picture}", f"desk/{crossed_depth}")]


def test_a_list_that_is_none_and_one_that_leads_elsewhere(tmp_path: Path) -> None:
    patterns, pairs, _, _ = LAYOUTS["TUM"]
    write_layout(tmp_path / "in", pairs, [], 5000)
    write_layout(tmp_path, [("secret.png", "secret_depth.png")], [], 1000)
    associations = tmp_path / "in" / "associations.txt"
    associations.write_text(f"1 {pairs[0][0]} 1 ../secret_depth.png\n1 {pairs[1][0]} 1 depth/gone.png\n")
    found = errors(RgbdFolder(tmp_path / "in", pairs=patterns))
    assert len(found) == 2 and all("there is no " in error for error in found)
    for text in ("1 rgb/a.png 2", "words", "\0\0 \0"):
        associations.write_text(text)
        with pytest.raises(ValueError, match=r"associations\.txt, line 1"):
            RgbdFolder(tmp_path / "in", pairs=patterns)


def test_nearest_times_use_each_file_once(tmp_path: Path) -> None:
    pictures, depths = ("10.000", "10.012", "10.500"), ("10.008", "10.019", "10.521")
    for name in pictures:
        save_picture(tmp_path / "rgb" / f"{name}.png", IMAGE)
    for name in depths:
        save_depth(tmp_path / "depth" / f"{name}.png", DEPTH)
    data = RgbdFolder(tmp_path, pairs=("rgb/{}.png", "depth/{}.png"))
    # 10.012 is nearest to 10.008, so 10.000 has 10.019 left; 10.521 is 21 ms away.
    assert data.pairs == [("rgb/10.000.png", "depth/10.019.png"), ("rgb/10.012.png", "depth/10.008.png")]


@pytest.mark.parametrize(
    "pairs",
    [
        ["a.jpg", "a.png"],
        ["{}.jpg", "{}_{}.png"],
        ["{}.jpg", "a.png"],
        ["{}.txt", "{}.png"],
        ["{}.jpg", "{}.jpg"],
        ["{}.jpg"],
        ["{}.jpg", "{}.png", "{}.npy"],
        ["{}.jpg", 3],
        "{}.jpg",
        {"a": 1},
        [],
    ],
)
def test_patterns_that_are_none(tmp_path: Path, pairs: object) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    save_depth(tmp_path / "a.png", DEPTH)
    (tmp_path / "camera.json").write_text(json.dumps({"pairs": pairs}))
    with pytest.raises(ValueError, match=r"camera\.json cannot be used: .*pa(irs|ttern)"):
        RgbdFolder(tmp_path)


def test_patterns_that_match_nothing_are_named(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", IMAGE)
    save_depth(tmp_path / "a.png", DEPTH)
    with pytest.raises(FileNotFoundError, match="rgb_{}.jpg with depth_{}.png"):
        RgbdFolder(tmp_path, pairs=("rgb_{}.jpg", "depth_{}.png"))


def test_a_folders_own_patterns_count_there_alone(tmp_path: Path) -> None:
    for top in ("one", "two"):
        save_picture(tmp_path / top / "rgb_1.jpg", IMAGE)
        save_depth(tmp_path / top / "sync_depth_1.png", DEPTH)
        save_picture(tmp_path / top / "a.jpg", IMAGE)
        save_depth(tmp_path / top / "a.png", DEPTH)
    (tmp_path / "one" / "camera.json").write_text(json.dumps({"pairs": ["rgb_{}.jpg", "sync_depth_{}.png"]}))
    assert [pair[0] for pair in RgbdFolder(tmp_path).pairs] == ["one/rgb_1.jpg", "two/a.jpg"]


def test_unshared_parts_of_names(tmp_path: Path) -> None:
    save_picture(tmp_path / "s1" / "cam_0007_1699.jpg", IMAGE)
    save_depth(tmp_path / "s1" / "depth" / "0007_1702.png", DEPTH)
    data = RgbdFolder(tmp_path, pairs=("cam_{}_*.jpg", "depth/{}_*.png"))
    assert data.pairs == [("s1/cam_0007_1699.jpg", "s1/depth/0007_1702.png")]
