"""What is done to a sample is done to picture, depth, mask and camera alike."""

import numpy as np
import pytest
import torch
from scenes import render
from torch.utils.data import default_collate

from depth_unet import Camera, DepthSample
from depth_unet.data.sample import SampleError

COS, SIN = np.cos(np.pi / 18), np.sin(np.pi / 18)
CAMERA = Camera(60, 40, 50.0, 52.0, 31.0, 19.0)


@pytest.fixture
def sample() -> DepthSample:
    image, depth = render(CAMERA)
    picture, target = torch.from_numpy(image).permute(2, 0, 1) / 255, torch.from_numpy(depth)[None]
    valid = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) > 0.2
    return DepthSample.checked(picture, target, valid, CAMERA, "room")


def places(sample: DepthSample) -> np.ndarray:
    """Where the valid pixels lie in space, whatever the order."""
    points = sample.camera.unproject(sample.depth[0].numpy())[sample.valid[0].numpy()]
    return points[np.lexsort(points.T.round(5))]


def test_a_crop_shows_the_same_things_at_the_same_places(sample: DepthSample) -> None:
    part = sample.crop(7, 5, 30, 20)
    assert part.image.shape == (3, 20, 30) and (part.camera.width, part.camera.height) == (30, 20)
    whole = sample._replace(valid=torch.zeros_like(sample.valid))
    whole.valid[:, 5:25, 7:37] = sample.valid[:, 5:25, 7:37]
    np.testing.assert_allclose(places(part), places(whole), atol=1e-5)


def test_a_mirror_image_shows_the_room_mirrored(sample: DepthSample) -> None:
    mirrored = places(sample.flip()) * [-1, 1, 1]
    np.testing.assert_allclose(mirrored[np.lexsort(mirrored.T.round(5))], places(sample), atol=1e-5)
    twice = sample.flip().flip()
    assert all(torch.equal(a, b) for a, b in zip(twice[:3], sample[:3], strict=True)) and twice.camera == sample.camera


@pytest.mark.parametrize(
    ("turn", "axes"),
    [
        ((10, 0, 0), [[1, 0, 0], [0, COS, -SIN], [0, SIN, COS]]),  # up: ahead of it lies what is higher, -y
        ((0, 10, 0), [[COS, 0, SIN], [0, 1, 0], [-SIN, 0, COS]]),
        ((0, 0, 10), [[COS, -SIN, 0], [SIN, COS, 0], [0, 0, 1]]),
    ],
)
def test_a_turned_camera_sees_what_one_put_up_like_that_would(turn: tuple[float, ...], axes: list) -> None:
    camera = Camera(240, 160, 200.0, 208.0, 124.0, 76.0)
    samples = []
    for image, depth in (render(camera), render(camera, np.array(axes))):
        target = torch.from_numpy(depth)[None]
        samples.append(
            DepthSample.checked(torch.from_numpy(image).permute(2, 0, 1) / 255, target, target > 0, camera, "")
        )
    turned, expected = samples[0].turn(*turn), samples[1]
    assert turned.camera == camera and 0.6 < turned.valid.float().mean() < 1
    ratio = (turned.depth / expected.depth)[turned.valid]
    assert ((ratio - 1).abs() < 0.02).float().mean() > 0.97  # all but the outlines of the box
    same = ((turned.image - expected.image).abs() < 0.2).all(0, keepdim=True)[turned.valid]
    assert same.float().mean() > 0.85  # the checks' borders are blurred
    wrong_way = samples[0].turn(*(-angle for angle in turn))
    assert (((wrong_way.depth / expected.depth)[wrong_way.valid] - 1).abs() < 0.02).float().mean() < 0.9


def test_a_camera_turned_by_nothing_sees_the_same(sample: DepthSample) -> None:
    turned = sample.turn(0, 0, 0)
    torch.testing.assert_close(turned.image, sample.image)
    torch.testing.assert_close(turned.depth, sample.depth)
    assert torch.equal(turned.valid, sample.valid)


def test_twice_the_size_shows_everything_four_times(sample: DepthSample) -> None:
    double = sample.resize(80, 120)
    assert double.camera == CAMERA.resize(120, 80)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        rows, columns = slice(corner[0], None, 2), slice(corner[1], None, 2)
        assert torch.equal(double.depth[:, rows, columns], sample.depth)
        assert torch.equal(double.valid[:, rows, columns], sample.valid)


def test_resizing_makes_up_no_depth_and_no_colour(sample: DepthSample) -> None:
    small = sample.resize(17, 23)
    assert set(small.depth.unique().tolist()) <= set(sample.depth.unique().tolist())
    assert small.depth[small.valid].min() > 0  # a hole's filler never becomes a measurement
    assert 0 <= small.image.min() and small.image.max() <= 1
    assert small.image.mean().item() == pytest.approx(sample.image.mean().item(), abs=0.02)


def test_another_focal_length_and_back(sample: DepthSample) -> None:
    far = sample.to_focal(200.0)
    assert far.camera.focal_px == pytest.approx(200)
    torch.testing.assert_close(far.depth, sample.depth * (200 / CAMERA.focal_px))
    torch.testing.assert_close(far.to_focal(CAMERA.focal_px).depth, sample.depth)
    assert torch.equal(far.image, sample.image) and torch.equal(far.valid, sample.valid)
    # Across the line of sight nothing moves: twice as far through twice the lens.
    a, b = (s.camera.unproject(s.depth[0].numpy())[..., :2] for s in (sample, far))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_out_of_range_is_left_out_and_not_changed(sample: DepthSample) -> None:
    near = sample.within(2.6, 5.0)
    assert torch.equal(near.depth, sample.depth)
    assert torch.equal(near.valid, sample.valid & (sample.depth >= 2.6) & (sample.depth <= 5))


def test_nothing_changes_the_sample_itself(sample: DepthSample) -> None:
    before = [tensor.clone() for tensor in sample[:3]]
    sample.crop(0, 0, 9, 9).flip().resize(5, 5).to_focal(9).within(1, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, sample[:3], strict=True))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 0.0, -2.0])
def test_checked_leaves_out_what_is_no_measurement(value: float) -> None:
    depth = torch.full((1, 4, 5), 2.0)
    depth[0, 1, 2] = value
    made = DepthSample.checked(torch.zeros(3, 4, 5), depth, torch.ones(1, 4, 5, dtype=torch.bool), CAMERA, "x")
    assert not made.valid[0, 1, 2] and made.valid.sum() == 19 and made.depth[0, 1, 2] == 0


def test_checked_names_what_is_wrong() -> None:
    image, depth, valid = torch.zeros(3, 4, 5), torch.ones(1, 4, 5), torch.ones(1, 4, 5, dtype=torch.bool)
    for wrong in ((image[:, 1:], depth, valid), (image, depth[..., 1:], valid), (image, depth, valid[:, 1:])):
        with pytest.raises(SampleError, match="kitchen.*size"):
            DepthSample.checked(*wrong, CAMERA, "kitchen")
    with pytest.raises(SampleError, match="kitchen.*no pixel"):
        DepthSample.checked(image, depth, ~valid, CAMERA, "kitchen")


def test_samples_of_one_size_collate(sample: DepthSample) -> None:
    batch = default_collate([sample, sample.flip()])
    assert isinstance(batch, DepthSample) and batch.depth.shape == (2, 1, 40, 60)
    assert list(batch.key) == ["room", "room"] and batch.camera.fx.tolist() == [50, 50]
