"""What training sees: true metres whatever the view, and the same views however often and by whom they are made."""

import random
from dataclasses import replace

import pytest
import torch
from scenes import render

from depth_unet import Camera, DepthSample, DepthUNetConfig
from depth_unet.data.sample import SampleError
from train.batches import collate
from train.config import TrainConfig
from train.views import Views, network_view, pasted, random_view

PLAIN = TrainConfig(zoom=1.0, turn=0.0, flip=0.0, colour=0.0)
CONFIG = TrainConfig(zoom=2.0, flip=0.5, colour=0.3, mix=0.5)


def sample(width: int = 96, height: int = 64, key: str = "room") -> DepthSample:
    camera = Camera.from_fov(width, height, 60)
    image, depth = render(camera)
    target = torch.from_numpy(depth)[None]
    return DepthSample.checked(torch.from_numpy(image).permute(2, 0, 1) / 255, target, target > 0, camera, key)


def same(a: DepthSample, b: DepthSample) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True)) and a.camera == b.camera


@pytest.mark.parametrize("size", [(96, 64), (640, 480), (50, 400), (400, 50), (32, 32), (7, 3)])
@pytest.mark.parametrize("zoom", [1.0, 2.5])
def test_a_view_has_the_networks_shape_and_camera(
    tiny_config: DepthUNetConfig, size: tuple[int, int], zoom: float
) -> None:
    view = network_view(sample(*size), tiny_config, zoom)
    assert view.image.shape == (3, *tiny_config.input_size)
    assert view.depth.shape == view.valid.shape == (1, *tiny_config.input_size)
    assert view.camera.focal_px == pytest.approx(tiny_config.canonical_focal_px)
    counted = view.depth[view.valid]
    assert counted.numel() == 0 or tiny_config.min_depth <= counted.min() <= counted.max() <= tiny_config.max_depth


def test_a_closer_look_says_nearer_in_the_canonical_camera(tiny_config: DepthUNetConfig) -> None:
    """Half the field of view fills the picture as if one stood twice as close."""
    whole, part = network_view(sample(384, 256), tiny_config), network_view(sample(384, 256), tiny_config, zoom=2.0)
    middle = whole.depth[:, 16:48, 24:72]
    ratio = part.depth[:, ::2, ::2] / middle
    assert ratio.median().item() == pytest.approx(0.5, rel=0.01)


def test_a_view_lies_at_its_place(tiny_config: DepthUNetConfig) -> None:
    tall, wide = sample(96, 128), sample(160, 64)
    for share in (0.0, 0.25, 1.0):
        view = network_view(tall, tiny_config, place=(0.5, share))
        assert torch.equal(view.image, tall.crop(0, round(64 * share), 96, 64).image)
        view = network_view(wide, tiny_config, place=(share, 0.5))
        assert torch.equal(view.image, wide.crop(round(64 * share), 0, 96, 64).image)


def test_random_views_lie_everywhere(tiny_config: DepthUNetConfig) -> None:
    tall = sample(96, 128)
    tall.image[:] = torch.linspace(0, 1, 128)[:, None]  # brightness shows the row
    tops = [random_view(tall, tiny_config, PLAIN, random.Random(seed)).image[0, 0, 0].item() for seed in range(40)]
    assert min(tops) < 0.1 and max(tops) > 0.4


def test_depth_beyond_the_range_after_a_turn_is_not_valid(tiny_config: DepthUNetConfig) -> None:
    plain = sample()
    scale = network_view(plain._replace(depth=torch.ones_like(plain.depth)), tiny_config).depth.mean().item()
    far = plain._replace(depth=torch.full_like(plain.depth, 0.999 * tiny_config.max_depth / scale))
    beyond = 0
    for seed in range(20):
        view = random_view(far, tiny_config, replace(PLAIN, turn=5.0), random.Random(seed))
        assert view.depth[view.valid].max() <= tiny_config.max_depth
        beyond += int((view.depth > tiny_config.max_depth).sum())
    assert beyond > 0


def test_no_augmentation_is_the_plain_view(tiny_config: DepthUNetConfig) -> None:
    for seed in range(3):
        assert same(random_view(sample(), tiny_config, PLAIN, random.Random(seed)), network_view(sample(), tiny_config))


def test_every_second_view_keeps_the_whole_field(tiny_config: DepthUNetConfig) -> None:
    config = TrainConfig(zoom=2.0, turn=0.0, flip=0.0, colour=0.0)
    plain = network_view(sample(), tiny_config)
    views = [random_view(sample(), tiny_config, config, random.Random(seed)) for seed in range(80)]
    assert 25 < sum(same(view, plain) for view in views) < 55


def test_every_second_view_is_without_the_frame_around_what_was_measured(tiny_config: DepthUNetConfig) -> None:
    framed = sample(96, 64)
    framed.valid[:] = False
    framed.valid[:, 2:62, 3:93] = True
    inside = network_view(framed.crop(3, 2, 90, 60), tiny_config)
    views = [random_view(framed, tiny_config, PLAIN, random.Random(seed)) for seed in range(80)]
    assert 25 < sum(same(view, inside) for view in views) < 55
    assert all(same(view, inside) or same(view, network_view(framed, tiny_config)) for view in views)

    framed.valid[:, 20:] = False  # sky above, say, which is no frame
    assert all(
        same(random_view(framed, tiny_config, PLAIN, random.Random(seed)), network_view(framed, tiny_config))
        for seed in range(8)
    )


def test_mirroring_moves_picture_depth_and_mask_together(tiny_config: DepthUNetConfig) -> None:
    mirrored = random_view(sample(), tiny_config, replace(PLAIN, flip=1.0), random.Random(0))
    assert same(mirrored, network_view(sample(), tiny_config).flip())


def test_colours_change_and_depths_do_not(tiny_config: DepthUNetConfig) -> None:
    plain = network_view(sample(), tiny_config)
    for seed in range(20):
        view = random_view(sample(), tiny_config, replace(PLAIN, colour=0.9), random.Random(seed))
        assert torch.equal(view.depth, plain.depth) and torch.equal(view.valid, plain.valid)
        assert not torch.equal(view.image, plain.image)
        assert torch.isfinite(view.image).all() and 0 <= view.image.min() and view.image.max() <= 1


def test_what_is_pasted_comes_with_its_depth_and_stays_in_its_place(tiny_config: DepthUNetConfig) -> None:
    one, other = network_view(sample(), tiny_config), network_view(sample(144, 96), tiny_config).flip()
    one.valid[:, ::7], other.valid[:, :, ::5] = False, False
    shares = []
    for seed in range(40):
        view = pasted(one, other, random.Random(seed))
        inside = (view.image == other.image).all(0) & ~(one.image == other.image).all(0)
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        part = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        shares.append(view.image[part][0].numel() / one.depth.numel())
        for field in range(3):
            wanted = one[field].clone()
            wanted[part] = other[field][part]
            assert torch.equal(view[field], wanted)
    assert 0.05 < min(shares) < 0.2 and 0.3 < max(shares) < 0.5


def test_so_many_views_have_a_part_of_another(tiny_config: DepthUNetConfig) -> None:
    data = [sample(), sample(144, 96)]
    plain = [network_view(each, tiny_config) for each in data]
    for share, wanted in {0.0: range(1), 0.5: range(10, 40), 1.0: range(20, 81)}.items():
        views = Views(data, tiny_config, replace(PLAIN, mix=share))
        assert sum(not same(views[epoch, index], plain[index]) for epoch in range(40) for index in (0, 1)) in wanted


def test_a_view_depends_on_its_address_only(tiny_config: DepthUNetConfig) -> None:
    data = [sample(96 + n, 64 + n) for n in range(4)]
    one, other = Views(data, tiny_config, CONFIG), Views(data, tiny_config, CONFIG)
    random.seed(1)
    torch.manual_seed(1)
    first = {place: one[place] for place in ((0, 0), (0, 3), (1, 0), (7, 2))}
    torch.manual_seed(2)
    for place in reversed(first):
        assert same(other[place], first[place])
    assert not same(first[0, 0], first[1, 0])
    assert not same(first[0, 0], Views(data, tiny_config, replace(CONFIG, seed=1))[0, 0])


def test_where_a_part_holds_no_measurement_the_whole_is_shown(tiny_config: DepthUNetConfig) -> None:
    whole = sample(192, 128)
    whole.valid[:] = False
    whole.valid[:, :6, :6] = True
    views = Views([whole], tiny_config, replace(CONFIG, zoom=3.0))
    assert all(views[epoch, 0].valid.any() for epoch in range(40))


class Broken(torch.utils.data.Dataset):
    """Of which every second sample cannot be read."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> DepthSample:
        if index % 2:
            raise SampleError(f"frame_{index}: no picture")
        return sample(key=f"frame_{index}")


def test_what_is_wrong_with_a_bad_sample_is_handed_on(tiny_config: DepthUNetConfig) -> None:
    views = Views(Broken(), tiny_config, CONFIG)
    assert len(views) == 6 and views[0, 3] == "frame_3: no picture"


def test_collate_keeps_the_good_and_names_the_bad(tiny_config: DepthUNetConfig) -> None:
    views = Views(Broken(), tiny_config, CONFIG)
    batch = collate([views[0, index] for index in range(4)])
    assert batch.keys == ["frame_0", "frame_2"] and batch.bad == ["frame_1: no picture", "frame_3: no picture"]
    assert batch.images.shape == (2, 3, 64, 96) and batch.valids.dtype == torch.bool
    none = collate([views[0, 1], views[0, 3]])
    assert none.keys == [] and len(none.bad) == 2
