"""One scene through different lenses must have the same metres."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import render

from depth_unet import Camera, DepthSample, DepthUNet, DepthUNetConfig
from train.views import network_view

WHOLE = Camera(384, 256, 300.0, 300.0, 192.0, 128.0)


def sample_of(camera: Camera) -> DepthSample:
    image, depth = render(camera)
    picture = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    target = torch.from_numpy(depth)[None]
    return DepthSample.checked(picture, target, torch.ones_like(target, dtype=torch.bool), camera, "room")


def metres_of_labels(view: DepthSample, config: DepthUNetConfig, taken_with: Camera) -> np.ndarray:
    """What `predict` would say of this view, did the network answer exactly what training asks of it."""
    rows, columns = config.input_size
    scale = taken_with.resize(columns, rows).focal_px / config.canonical_focal_px
    return view.depth[0].numpy() * scale


def by_nearest(depth: np.ndarray, size: list[int]) -> np.ndarray:
    rows, columns = ((np.arange(n) + 0.5) / n * side for n, side in zip(size, depth.shape, strict=True))
    return depth[rows.astype(int)[:, None], columns.astype(int)]


@pytest.mark.parametrize("focal", [150.0, 300.0, 700.0])
def test_labels_come_back_as_the_metres_of_the_scene(tiny_config: DepthUNetConfig, focal: float) -> None:
    camera = WHOLE._replace(fx=focal, fy=focal)
    view = network_view(sample_of(camera), tiny_config)
    expected = by_nearest(render(camera)[1], tiny_config.input_size)
    answer = metres_of_labels(view, tiny_config, camera)
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_a_crop_and_a_longer_lens_are_one_picture_with_one_label(tiny_config: DepthUNetConfig) -> None:
    longer = WHOLE._replace(fx=600.0, fy=600.0)
    cropped, photographed = sample_of(WHOLE).crop(96, 64, 192, 128), sample_of(longer)
    one, other = network_view(cropped, tiny_config), network_view(photographed, tiny_config)
    # Sampled half a pixel apart, so a few pixels at the edges of the box may differ.
    for a, b in ((one.depth, other.depth), (one.image, other.image)):
        assert ((a - b).abs() < 0.02 * b.abs() + 0.02).float().mean() > 0.95
    metres = metres_of_labels(one, tiny_config, cropped.camera), metres_of_labels(other, tiny_config, longer)
    assert np.median(np.abs(metres[0] / metres[1] - 1)) < 0.005


@pytest.mark.parametrize("zoom", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.5), (1.0, 0.3)])
def test_every_zoom_keeps_the_place_of_things(
    tiny_config: DepthUNetConfig, zoom: float, place: tuple[float, float]
) -> None:
    """The view's own camera and depth, brought back to the true focal length, put each pixel on floor, wall or box."""
    sample = sample_of(WHOLE)
    view = network_view(sample, tiny_config, zoom, place)
    assert view.camera.focal_px == pytest.approx(tiny_config.canonical_focal_px)
    rows, columns = tiny_config.input_size
    true_focal = WHOLE.fx * zoom * columns / WHOLE.width
    real = view.to_focal(true_focal)
    x, y, z = np.moveaxis(real.camera.unproject(real.depth[0].numpy()), -1, 0)
    # A cut of whole pixels has the input's shape to within a pixel; and nearest sampling takes a depth up to half
    # a source pixel away from the view's.
    slack = 0.8 * z / WHOLE.fx
    on_wall, front_of_box = np.isclose(z, 6.0, rtol=0.005), np.isclose(z, 2.5, rtol=0.005)
    on_floor, top_of_box = np.abs(y - 1.4) < slack, (np.abs(y - 0.3) < slack) & (2.4 < z) & (z < 3.6)
    beside_box = (np.abs(np.abs(x) - 0.55) < 0.07) & (2.4 < z) & (z < 3.6)
    assert (on_wall | on_floor | front_of_box | top_of_box | beside_box).mean() > 0.99


def test_predict_is_proportional_to_the_focal_length(tiny_model: DepthUNet) -> None:
    image, _ = render(WHOLE)
    base = tiny_model.predict(image, WHOLE).depth
    for factor in (0.5, 1.7, 3.0):
        other = tiny_model.predict(image, WHOLE._replace(fx=300.0 * factor, fy=300.0 * factor)).depth
        np.testing.assert_allclose(other, base * factor, rtol=1e-5)


def test_the_canonical_camera_reads_what_forward_says(tiny_model: DepthUNet) -> None:
    config = tiny_model.config
    image, _ = render(Camera.assumed(config.input_size[1], config.input_size[0]))
    with torch.inference_mode():
        raw = tiny_model(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0, 0].numpy()
    np.testing.assert_allclose(tiny_model.predict(image).depth, raw, rtol=1e-5)


def test_the_size_of_a_photo_does_not_change_its_metres(tiny_model: DepthUNet) -> None:
    small = Camera.from_fov(192, 128, 65)
    large = small.resize(768, 512)
    image = Image.fromarray(render(large)[0])
    a = tiny_model.predict(image.resize((192, 128), Image.Resampling.BOX), small).depth
    b = tiny_model.predict(image, large).depth
    assert np.median(np.abs(by_nearest(b, list(a.shape)) / a - 1)) < 0.01


def exif(orientation: int = 1, focal_35mm: int | None = None) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    if focal_35mm is not None:
        made.get_ifd(0x8769)[0xA405] = focal_35mm
    return made


def test_exif_focal_length_is_honoured(tiny_model: DepthUNet, tmp_path) -> None:
    image = Image.fromarray(render(WHOLE)[0])
    image.save(tmp_path / "phone.jpg", quality=95, exif=exif(focal_35mm=26))
    image.save(tmp_path / "plain.jpg", quality=95)
    image.save(tmp_path / "unknown.jpg", quality=95, exif=exif(focal_35mm=0))
    told = tiny_model.predict(tmp_path / "phone.jpg")
    expected = Camera.from_focal_35mm(384, 256, 26)
    assert told.camera == expected
    given = tiny_model.predict(tmp_path / "plain.jpg", expected)
    np.testing.assert_array_equal(told.depth, given.depth)
    assumed = Camera.assumed(384, 256, tiny_model.config.canonical_focal)
    assert tiny_model.predict(tmp_path / "plain.jpg").camera == assumed
    assert tiny_model.predict(tmp_path / "unknown.jpg").camera == assumed
    # A camera that the caller knows better goes before the file's.
    assert tiny_model.predict(tmp_path / "phone.jpg", WHOLE).camera == WHOLE


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_photo_stored_on_its_side_is_read_as_the_upright_one(tiny_model: DepthUNet, tmp_path, suffix: str) -> None:
    upright = Image.fromarray(render(Camera.assumed(240, 320))[0])
    upright.save(tmp_path / f"upright{suffix}", exif=exif(focal_35mm=26))
    upright.rotate(90, expand=True).save(tmp_path / f"turned{suffix}", exif=exif(6, 26))
    a, b = (tiny_model.predict(tmp_path / f"{name}{suffix}") for name in ("upright", "turned"))
    assert a.camera == b.camera and b.depth.shape == (320, 240)
    if suffix == ".png":
        np.testing.assert_array_equal(a.depth, b.depth)
    else:
        np.testing.assert_allclose(a.depth, b.depth, rtol=0.1)


def test_project_inverts_unproject() -> None:
    camera = Camera(31, 17, 40.0, 37.5, 14.2, 9.1)
    depth = np.random.default_rng(0).uniform(0.3, 50, (17, 31))
    points = camera.unproject(depth)
    pixels = camera.project(points)
    columns, rows = np.meshgrid(np.arange(31) + 0.5, np.arange(17) + 0.5)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], -1), atol=1e-9)
    np.testing.assert_array_equal(points[..., 2], depth)


def test_unproject_by_hand() -> None:
    camera = Camera(4, 2, 2.0, 4.0, 2.0, 1.0)
    x, y, z = camera.unproject(np.full((2, 4), 8.0))[1, 3]
    assert (x, y, z) == (8 * 1.5 / 2, 8 * 0.5 / 4, 8.0)
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        camera.unproject(np.ones((3, 4)))


@pytest.mark.parametrize("degrees", [10.0, 60.0, 90.0, 150.0])
def test_field_of_view(degrees: float) -> None:
    camera = Camera.from_fov(640, 480, degrees)
    assert camera.horizontal_fov_deg == pytest.approx(degrees)
    assert camera.fx == camera.fy == pytest.approx(320 / math.tan(math.radians(degrees / 2)))
    edge = camera.project(np.array([math.tan(math.radians(degrees / 2)), 0.0, 1.0]))
    assert edge == pytest.approx([640, 240])


def test_35mm_equivalent() -> None:
    # On a full frame picture (3:2) the focal length in pixels is to the width as millimetres to 36 mm.
    assert Camera.from_focal_35mm(3600, 2400, 50).fx == pytest.approx(5000)
    # The phone's 4:3 sensor has the same diagonal angle: 2 atan(43.27 / (2 * 26)) = 79.5 degrees.
    phone = Camera.from_focal_35mm(4000, 3000, 26)
    assert math.degrees(2 * math.atan(2500 / phone.fx)) == pytest.approx(79.5, abs=0.1)
    assert Camera.from_focal_35mm(3000, 4000, 26).fx == phone.fx


@pytest.mark.parametrize("bad", [0, 180, -5, 360, math.nan])
def test_impossible_field_of_view(bad: float) -> None:
    with pytest.raises(ValueError, match="horizontal_fov_deg"):
        Camera.from_fov(640, 480, bad)


@pytest.mark.parametrize("bad", [0, -24, math.inf, math.nan])
def test_impossible_focal_length(bad: float) -> None:
    with pytest.raises(ValueError, match="focal length"):
        Camera.from_focal_35mm(640, 480, bad)


def test_crop_resize_flip_move_points_with_the_pixels() -> None:
    camera = Camera(100, 80, 90.0, 95.0, 47.0, 42.0)
    points = np.array([[0.1, -0.2, 2.0], [0.5, 0.3, 3.0]])
    seen = camera.project(points)
    np.testing.assert_allclose(camera.crop(10, 20, 50, 40).project(points), seen - [10, 20])
    np.testing.assert_allclose(camera.resize(200, 40).project(points), seen * [2, 0.5])
    np.testing.assert_allclose(camera.flip().project(points * [-1, 1, 1]), [100, 0] + seen * [-1, 1])


@pytest.mark.parametrize(
    "camera",
    [
        Camera.from_fov(640, 479, 60),
        Camera(640, 480, -500.0, 500.0, 320.0, 240.0),
        Camera(640, 480, 500.0, math.nan, 320.0, 240.0),
        Camera(640, 480, 500.0, 500.0, math.inf, 240.0),
    ],
)
def test_an_unusable_camera_is_refused(tiny_model: DepthUNet, camera: Camera) -> None:
    with pytest.raises(ValueError, match="camera"):
        tiny_model.predict(np.zeros((480, 640, 3), np.uint8), camera)


def test_json_round_trip() -> None:
    camera = Camera.from_fov(640, 480, 61.5)
    assert Camera.from_dict(json.loads(json.dumps(camera.to_dict()))) == camera


@pytest.mark.parametrize(
    "bad", [{}, {"fx": 1}, [1, 2], None, {**WHOLE.to_dict(), "fov": 3}, {**WHOLE.to_dict(), "fx": "a"}]
)
def test_a_dictionary_that_is_no_camera(bad: object) -> None:
    with pytest.raises(ValueError):
        Camera.from_dict(bad)
