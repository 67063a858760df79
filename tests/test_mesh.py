"""Solids lie where the room is, and a printer and a viewer can use them."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from scenes import BOX, FLOOR, WALL, render

from depth_unet import Camera, Prediction
from depth_unet.mesh import point_cloud, relief, surface

CAMERA = Camera(160, 120, 120.0, 125.0, 81.0, 59.0)


@pytest.fixture(scope="module")
def scene() -> tuple[Image.Image, np.ndarray]:
    image, depth = render(CAMERA)
    return Image.fromarray(image), depth


@pytest.fixture
def room(scene: tuple[Image.Image, np.ndarray]) -> Prediction:
    return Prediction(scene[1], CAMERA, name="room.jpg")


def test_two_point_distances_of_the_room(room: Prediction):
    fine = Camera.from_fov(1280, 960, 63)
    room = Prediction(render(fine)[1], fine)
    corners = [(BOX[0][0] + 0.005, 0.8, BOX[0][2]), (BOX[1][0] - 0.005, 0.8, BOX[0][2]), (-1.5, -0.5, WALL)]
    corners += [(1.0, FLOOR, 4.0), (0.4, 0.4, BOX[0][2])]
    pixels = [tuple(int(side) for side in fine.project(np.array(corner))) for corner in corners]
    for one, first in zip(corners, pixels, strict=True):
        assert room.distance(*first) == pytest.approx(np.linalg.norm(one), rel=0.01)
        for other, second in zip(corners, pixels, strict=True):
            if one != other:
                true = np.linalg.norm(np.subtract(one, other))
                assert room.distance_between(first, second) == pytest.approx(true, rel=0.01)


def test_the_cloud_reprojects_onto_the_pixel_grid(scene: tuple[Image.Image, np.ndarray]):
    image, depth = scene
    depth = depth.copy()
    depth[:5, :7] = 0
    depth[50, 60] = np.nan
    known = np.isfinite(depth) & (depth > 0)

    cloud = point_cloud(depth, CAMERA, image)

    rows, columns = np.nonzero(known)
    seen = CAMERA.project(np.asarray(cloud.vertices))
    np.testing.assert_allclose(seen, np.stack([columns, rows], -1) + 0.5, atol=1e-3)
    np.testing.assert_array_equal(cloud.colors[:, :3], np.asarray(image)[known])


def test_the_surface_is_torn_at_depth_edges_only(scene: tuple[Image.Image, np.ndarray]):
    image, depth = scene
    whole, torn = surface(depth, CAMERA, image, steepest=None), surface(depth, CAMERA, image)

    assert len(whole.faces) == 2 * 159 * 119
    assert 0.95 < len(torn.faces) / len(whole.faces) < 1
    longest = torn.edges_unique_length.max()
    assert longest < 0.6 < whole.edges_unique_length.max(), "from the box to the wall it is metres"
    # Seen from the origin every triangle shows its front, and what it shows lies where the room is.
    assert (np.einsum("ij,ij->i", torn.face_normals, torn.triangles_center) < 0).all()
    assert torn.vertices[:, 2].max() < 0 and torn.vertices[:, 1].min() == pytest.approx(-FLOOR, abs=1e-4)


def test_a_cloud_without_edges_has_the_points_of_the_surface(scene: tuple[Image.Image, np.ndarray]):
    image, depth = scene
    depth = depth.copy()
    depth[40:43, 40:43] = 0.5 * depth[41, 41]
    depth[41, 41] = 0  # around it nothing is flat
    cloud, mesh = point_cloud(depth, CAMERA, image, steepest=0.1), surface(depth, CAMERA, image, steepest=0.1)
    assert 0 < len(cloud.vertices) < depth.size - 1
    np.testing.assert_allclose(np.asarray(cloud.vertices) * (1, -1, -1), mesh.vertices, rtol=1e-5)


@pytest.mark.parametrize("near", [0.5, 1.0, 3.0])
def test_steepness_is_measured_at_the_nearer_corner(near: float):
    """At 1 m and a focal length of 100 pixels, neighbours are 1 cm apart, and the limit is a step of 12 cm."""
    camera, image = Camera(3, 2, 100.0, 100.0, 1.5, 1.0), Image.new("RGB", (3, 2))
    for step, faces in ((0.115, 4), (0.125, 2)):  # two faces belong to the right square, which is flat
        depth = np.full((2, 3), near * (1 + step))
        depth[:, 0] = near
        assert len(surface(depth, camera, image).faces) == faces


def test_glb_opens_with_the_photo_on_it(room: Prediction, scene: tuple[Image.Image, np.ndarray], tmp_path: Path):
    path = room.save(tmp_path / "room.glb", image=scene[0])
    opened = trimesh.load(path, force="mesh")
    assert opened.extents[2] == pytest.approx(np.ptp(room.depth), rel=1e-4)
    assert opened.visual.material.baseColorTexture.size == (160, 120) and b"image/jpeg" in path.read_bytes()
    # The upper left of the picture must be the upper left of the mesh.
    corner = np.argmin(opened.visual.uv[:, 0] - opened.visual.uv[:, 1])
    assert opened.vertices[corner, 0] < 0 < opened.vertices[corner, 1]


def test_ply_is_a_coloured_cloud_and_small_maps_stay_whole(room: Prediction, tmp_path: Path):
    cloud = trimesh.load(room.save(tmp_path / "room.ply"))
    assert isinstance(cloud, trimesh.PointCloud) and cloud.vertices.shape == (160 * 120, 3)
    np.testing.assert_allclose(cloud.vertices, room.points().reshape(-1, 3) * (1, -1, -1), rtol=1e-5, atol=1e-5)
    header = (tmp_path / "room.ply").read_bytes().partition(b"end_header")[0]
    assert b"\ncomment depth_unet: metres, x right, y up, z towards the viewer\n" in header
    np.testing.assert_array_equal(cloud.colors[:, :3], np.asarray(room.colorize(scale_bar=False)).reshape(-1, 3))
    fewer = trimesh.load(room.save(tmp_path / "fewer.ply", longest=80))
    assert len(fewer.vertices) == 80 * 60
    assert fewer.vertices[:, 2].min() == pytest.approx(-WALL)


def gltf_of(path: Path) -> dict:
    """The JSON part of a GLB file."""
    content = path.read_bytes()
    return json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])


def test_glb_shows_the_colours_in_programs_of_any_kind(room: Prediction, tmp_path: Path):
    tree = gltf_of(room.save(tmp_path / "room.glb"))
    (material,) = tree["materials"]
    assert material["extensions"] == {"KHR_materials_unlit": {}} and tree["extensionsUsed"] == ["KHR_materials_unlit"]
    assert "extensionsRequired" not in tree
    metallic = material["pbrMetallicRoughness"]
    assert metallic["baseColorTexture"]["index"] == 0 and metallic["metallicFactor"] == 0
    assert metallic.get("baseColorFactor", [1, 1, 1, 1]) == [1, 1, 1, 1]


def test_glb_and_ply_have_the_same_axes(room: Prediction, tmp_path: Path):
    bounds = [
        trimesh.load(room.save(tmp_path / f"room.{kind}"), force="mesh" if kind == "glb" else None).bounds
        for kind in ("glb", "ply")
    ]
    np.testing.assert_allclose(*bounds, atol=0.05)


def test_solids_of_a_predicted_photo_have_its_colours(tiny_model, photo: Path, tmp_path: Path):
    prediction = tiny_model.predict(photo)
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    cloud = trimesh.load(prediction.save(tmp_path / "room.ply"))
    assert np.abs(cloud.colors[:, :3].reshape(120, 160, 3) - pixels).max() <= 1
    texture = trimesh.load(prediction.save(tmp_path / "room.glb"), force="mesh").visual.material.baseColorTexture
    assert np.abs(np.asarray(texture).astype(int) - pixels).mean() < 10
    given = Image.new("RGB", (8, 6), "red")
    cloud = trimesh.load(prediction.save(tmp_path / "red.ply", image=given))
    assert (cloud.colors[:, :3] == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (4000, 4000)])
def test_the_relief_of_a_phone_photo_is_small(size: tuple[int, int], tmp_path: Path):
    width, height = size
    depth = np.linspace(1, 3, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    prediction = Prediction(depth, Camera.from_fov(width, height, 60))
    assert prediction.save(tmp_path / "x.stl").stat().st_size < 20e6


def test_3mf_is_the_relief_in_millimetres(room: Prediction, tmp_path: Path):
    stl, path = (room.save(tmp_path / f"room.{kind}", size_mm=60, base_mm=3) for kind in ("stl", "3mf"))
    with zipfile.ZipFile(path) as archive:
        assert b'unit="millimeter"' in archive.read("3D/3dmodel.model")[:1000]
    solid, wanted = trimesh.load(path, force="mesh"), trimesh.load(stl)
    assert solid.is_watertight and solid.volume == pytest.approx(wanted.volume, rel=1e-4)
    np.testing.assert_allclose(solid.bounds, wanted.bounds, atol=1e-3)


def test_near_and_far_cut(room: Prediction, tmp_path: Path):
    for kind in ("ply", "glb"):
        cut = trimesh.load(
            room.save(tmp_path / f"cut.{kind}", near=2.7, far=4.5), force=None if kind == "ply" else "mesh"
        )
        assert -4.5 <= cut.vertices[:, 2].min() < -4.3 and -2.9 < cut.vertices[:, 2].max() <= -2.7
    cut = trimesh.load(room.save(tmp_path / "cut.stl", near=3, far=4.5, relief_mm=10, base_mm=2))
    heights = relief(room.depth, relief_mm=10, base_mm=2, near=3, far=4.5).vertices[: room.depth.size, 2]
    assert cut.is_watertight and cut.extents[2] == pytest.approx(12)
    np.testing.assert_allclose(heights[room.depth.ravel() >= 4.5], 2)
    np.testing.assert_allclose(heights[room.depth.ravel() <= 3], 12)
    for kind in ("ply", "glb", "stl", "3mf"):
        with pytest.raises(ValueError, match="near"):
            room.save(tmp_path / f"x.{kind}", near=4, far=4)
    with pytest.raises(ValueError, match="no pixel"):
        room.save(tmp_path / "x.ply", near=100)


def test_smoothing_is_a_gaussian_and_keeps_the_size():
    ndimage = pytest.importorskip("scipy.ndimage")
    depth = np.random.default_rng(0).uniform(1, 2, (40, 61)).astype(np.float32)
    options = {"size_mm": 60.0, "relief_mm": 10.0, "base_mm": 2.0, "near": 1.0, "far": 2.0}
    rough, smooth = relief(depth, **options), relief(depth, **options, smoothing_mm=2.5)
    heights = [solid.vertices[: depth.size, 2].reshape(depth.shape) for solid in (rough, smooth)]
    wanted = ndimage.gaussian_filter(heights[0], 2.5, mode="nearest", radius=8)
    wanted = 2 + 10 * (wanted - wanted.min()) / np.ptp(wanted)
    np.testing.assert_allclose(heights[1], wanted, atol=1e-6)
    assert smooth.is_watertight and np.abs(np.diff(heights[1])).mean() < np.abs(np.diff(heights[0])).mean() / 2


@pytest.mark.parametrize("kind", ["ply", "glb", "stl", "3mf"])
@pytest.mark.parametrize("longest", [1, 0, -5, float("nan")])
def test_solids_need_points(room: Prediction, tmp_path: Path, kind: str, longest: float):
    with pytest.raises(ValueError, match="longest"):
        room.save(tmp_path / f"x.{kind}", longest=longest)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size_mm", [40.0, 150.0])
def test_relief_is_watertight_and_of_the_size_asked(room: Prediction, tmp_path: Path, size_mm: float):
    solid = trimesh.load(room.save(tmp_path / "room.stl", size_mm=size_mm))
    assert solid.is_watertight and solid.is_winding_consistent and solid.volume > 0
    assert solid.extents[0] == pytest.approx(size_mm, rel=1e-5)
    assert solid.extents[1] == pytest.approx(size_mm * 119 / 159, rel=1e-5)
    assert solid.extents[2] == pytest.approx(size_mm / 5 + 2, rel=1e-5)
    np.testing.assert_allclose(solid.bounds[0], 0, atol=1e-6)


def test_near_is_high_and_holes_are_low(scene: tuple[Image.Image, np.ndarray]):
    depth = scene[1].copy()
    depth[10:14, 20:24] = np.nan
    solid = relief(depth, size_mm=80, relief_mm=10, base_mm=3)
    assert solid.is_watertight
    heights = solid.vertices[: depth.size, 2].reshape(depth.shape)
    assert heights.min() == pytest.approx(3) and heights.max() == pytest.approx(13)
    assert heights[12, 22] == pytest.approx(3)
    assert heights[119, 80] > heights[60, 10]


@pytest.mark.parametrize("invert", [False, True])
def test_a_frame_is_part_of_the_size_and_as_high_as_the_highest_point(
    scene: tuple[Image.Image, np.ndarray], invert: bool
):
    depth = scene[1]
    options = {"size_mm": 80, "relief_mm": 10, "base_mm": 3}
    plain, framed = (relief(depth, **options, frame_mm=width, invert=invert) for width in (0, 8))
    assert framed.is_watertight and framed.is_winding_consistent
    assert framed.extents[0] == pytest.approx(80) and framed.extents[2] == pytest.approx(13)
    rim = round(8 * 159 / (80 - 16))
    heights = framed.vertices[: (120 + 2 * rim) * (160 + 2 * rim), 2].reshape(120 + 2 * rim, -1)
    inner = plain.vertices[: depth.size, 2].reshape(depth.shape)
    np.testing.assert_allclose(heights[rim:-rim, rim:-rim], inner, atol=1e-5)
    assert (heights[:rim] == 13).all() and (heights[:, -rim:] == 13).all()
    assert (inner[119, 80] > inner[60, 10]) != invert


def test_a_flat_wall_is_a_plate():
    solid = relief(np.full((2, 3), 2.0, np.float32))
    assert solid.is_watertight and solid.extents[2] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_mm": 0},
        {"size_mm": 1e30},
        {"relief_mm": -1},
        {"base_mm": float("nan")},
        {"base_mm": 0},
        {"smoothing_mm": -1},
        {"smoothing_mm": 101},
        {"smoothing_mm": float("nan")},
        {"frame_mm": -1},
        {"frame_mm": 26},
        {"frame_mm": float("nan")},
    ],
)
def test_relief_needs_measures(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        relief(np.ones((4, 4), np.float32), **wrong)


def test_nothing_to_build_from(scene: tuple[Image.Image, np.ndarray]):
    empty = np.zeros((120, 160), np.float32)
    for build in (lambda: point_cloud(empty, CAMERA, scene[0]), lambda: surface(empty, CAMERA, scene[0])):
        with pytest.raises(ValueError, match="no pixel has a depth"):
            build()
    with pytest.raises(ValueError, match="2x2"):
        relief(np.ones((1, 4), np.float32))
    scattered = np.zeros((120, 160), np.float32)
    scattered[::2, ::2] = 1
    with pytest.raises(ValueError, match="no surface"):
        surface(scattered, CAMERA, scene[0])
