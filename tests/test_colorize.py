"""Colours tell metres, in order, and grey tells that nothing is known."""

import matplotlib
import numpy as np
import pytest

from depth_unet import colorize_depth
from depth_unet.colorize import NO_DEPTH, depth_range

RAMP = np.linspace(1, 9, 90 * 30, dtype=np.float32).reshape(30, 90)


def colours(depth: np.ndarray, **options: object) -> np.ndarray:
    return np.array(colorize_depth(depth, scale_bar=False, **options))


@pytest.mark.parametrize("cmap", ["turbo", "viridis", "magma", "gray", "Spectral"])
def test_ends_of_the_range_get_the_ends_of_the_map(cmap: str) -> None:
    got = colours(np.array([[0.5, 2.0, 3.0, 4.0, 50.0]]), cmap=cmap, near=2, far=4)[0]
    wanted = (np.array([matplotlib.colormaps[cmap](x)[:3] for x in (0.0, 0.0, 0.5, 1.0, 1.0)]) * 255).round()
    assert np.abs(got - wanted).max() <= 4


def test_grey_map_is_monotonous() -> None:
    row = colours(RAMP, cmap="gray")[..., 0].ravel().astype(int)
    assert (np.diff(row) >= 0).all() and row[0] == 0 and row[-1] == 255


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_no_depth_is_grey_and_moves_no_other_colour(hole: float) -> None:
    depth = RAMP.copy()
    depth[4, 5] = hole
    got, whole = colours(depth, near=1, far=9), colours(RAMP, near=1, far=9)
    assert tuple(got[4, 5]) == NO_DEPTH
    got[4, 5] = whole[4, 5]
    np.testing.assert_array_equal(got, whole)


def test_the_automatic_range_ignores_holes_and_the_last_percents() -> None:
    depth = RAMP.copy()
    depth[0, :20] = (np.nan, np.inf, 0, -1) * 5
    near, far = depth_range(depth)
    assert 1 < near < 1.4 and 8.6 < far < 9
    depth[5, 5] = 1e6
    assert depth_range(depth)[1] == pytest.approx(far, abs=0.05)


@pytest.mark.parametrize("value", [2.0, np.nan, 0.0, 1e-6, 1e6])
@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (300, 1), (40, 50)])
def test_flat_empty_and_tiny_maps(value: float, shape: tuple[int, int]) -> None:
    depth = np.full(shape, value)
    assert colorize_depth(depth, scale_bar=False).size == shape[::-1]
    whole = colorize_depth(depth)
    assert whole.height == shape[0] and whole.width > shape[1]


def test_the_bar_leaves_the_picture_alone() -> None:
    with_bar, without = np.asarray(colorize_depth(RAMP)), colours(RAMP)
    np.testing.assert_array_equal(with_bar[:, :90], without)
    assert with_bar.shape[1] > 90


def test_the_bar_runs_through_the_colours_of_the_map() -> None:
    big = np.linspace(1, 9, 480 * 10).reshape(480, 10)
    bar = np.asarray(colorize_depth(big, cmap="viridis", near=1, far=9))[:, 10:]
    middle = bar[:, bar.shape[1] // 4]
    ends = [np.array(matplotlib.colormaps["viridis"](x)[:3]) * 255 for x in (0.98, 0.02)]
    assert np.abs(middle[40] - ends[0]).max() < 30 and np.abs(middle[-40] - ends[1]).max() < 30


@pytest.mark.parametrize(
    ("depth", "options", "words"),
    [
        (RAMP, {"cmap": "rainbows"}, "rainbows"),
        (RAMP[None], {}, "shape"),
        (RAMP[:0], {}, "shape"),
        (RAMP, {"near": 5, "far": 5}, "near"),
        (RAMP, {"near": 5, "far": 1}, "near"),
        (RAMP, {"near": np.nan, "far": 1}, "near"),
    ],
)
def test_mistakes(depth: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        colorize_depth(depth, **options)


def test_a_near_end_beyond_the_picture() -> None:
    assert (colours(RAMP, near=100) == colours(RAMP, near=100)[0, 0]).all()
