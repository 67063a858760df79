"""DIODE's filter of false depths at edges: what it takes out, and what it must leave."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.diode_layout import Scene, render, write_sample
from depth_unet import DiodeDataset
from depth_unet.data.diode import without_edge_outliers


def filtered(depth: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
    valid = depth > 0 if valid is None else valid
    return without_edge_outliers(depth[None], valid[None])[0]


@pytest.fixture(scope="module")
def street() -> Scene:
    return render(3, outdoor=True, outliers=True)


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("width", (1, 2))
def test_depths_from_between_go_and_both_surfaces_stay(turn: int, width: int):
    depth = torch.full((12, 12), 3.0)
    depth[:, 6:] = 20.0
    depth[:, 6 : 6 + width] = torch.tensor([7.0, 12.0])[:width]
    depth = torch.rot90(depth, turn)
    kept = filtered(depth)
    assert (kept == ((depth == 3.0) | (depth == 20.0))).all()


def test_a_clean_edge_a_plane_and_a_post_stay():
    edge = torch.full((10, 10), 2.0)
    edge[:, 5:] = 30.0
    rows = torch.arange(1, 60).float()
    ground = (1.5 * 900 / rows.flip(0) / 15).expand(10, -1).T  # a floor down to where it is seen at 0.6 degrees
    post = torch.full((10, 10), 30.0)
    post[:, 4] = 5.0
    assert filtered(edge).all()
    assert filtered(ground[:48]).all()
    assert filtered(post)[1:-1].all()  # its very ends have one neighbour that agrees


def test_a_lone_speck_goes():
    depth = torch.full((9, 9), 10.0)
    depth[4, 4] = 3.0
    assert (filtered(depth) == (depth == 10.0)).all()


def test_pixels_without_depth_judge_nothing_and_stay_out():
    depth = torch.full((9, 9), 10.0)
    depth[4] = torch.nan
    depth[5, 5] = 0.0
    valid = torch.isfinite(depth) & (depth > 0)
    assert (filtered(depth, valid) == valid).all()
    assert not filtered(depth, torch.zeros_like(valid)).any()


def test_effect_on_planted_outliers(street: Scene):
    kept = filtered(torch.from_numpy(street.depth), torch.from_numpy(street.mask)).numpy()
    good = street.mask & ~street.planted
    assert (kept & street.planted).sum() < 0.15 * street.planted.sum()
    assert (kept & good).sum() > 0.999 * good.sum()
    assert not (kept & ~street.mask).any()


def test_on_by_default_outdoors_only(street: Scene, tmp_path: Path):
    for kind in ("indoors", "outdoor"):
        name = f"00000_00000_{kind}_000_000"
        write_sample(tmp_path / "train" / kind / "scene_00000" / "scan_00000", name, street)
    raw, clean = street.mask, filtered(torch.from_numpy(street.depth), torch.from_numpy(street.mask)).numpy()
    assert raw.sum() > clean.sum()
    for choice, expected in ((None, [raw, clean]), (True, [clean, clean]), (False, [raw, raw])):
        samples = DiodeDataset(tmp_path, edge_filter=choice)
        for sample, valid in zip((samples[0], samples[1]), expected, strict=True):
            np.testing.assert_array_equal(sample.valid[0].numpy(), valid)
