"""The named scoring rules, on arrays made by hand."""

import pytest
import torch

from depth_unet import Camera, DepthSample
from depth_unet.data.scoring import RULES, ScoringRule, box


def sample(height: int, width: int, depth: float = 2.0) -> DepthSample:
    metres = torch.full((1, height, width), depth)
    return DepthSample.checked(
        torch.zeros(3, height, width), metres, metres > 0, Camera.from_fov(width, height, 60), "a"
    )


def test_the_table() -> None:
    assert {name: rule.range for name, rule in RULES.items()} == {
        "whole-frame": (0.001, 80.0),
        "nyu-eigen": (0.001, 10.0),
        "kitti-garg": (0.001, 80.0),
        "diode": (0.6, 350.0),
        "diode-indoors": (0.6, 350.0),
        "diode-outdoor": (0.6, 350.0),
    }
    assert [name for name, rule in RULES.items() if rule.crop != (0, 1, 0, 1)] == ["nyu-eigen", "kitti-garg"]
    assert all(name == rule.name and str(rule).startswith(f"{name}: ") for name, rule in RULES.items())


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((480, 640), (45, 471), (41, 601)), ((240, 320), (22, 235), (20, 300)), ((384, 512), (36, 376), (32, 480))],
)
def test_the_eigen_crop(size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    expected = torch.zeros(1, *size, dtype=torch.bool)
    expected[:, slice(*rows), slice(*columns)] = True
    assert torch.equal(RULES["nyu-eigen"].applied(sample(*size)).valid, expected)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((375, 1242), (153, 371), (44, 1197)),
        ((352, 1216), (143, 349), (43, 1172)),
        ((376, 1241), (153, 372), (44, 1196)),
    ],
)
def test_the_garg_crop(size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    expected = torch.zeros(1, *size, dtype=torch.bool)
    expected[:, slice(*rows), slice(*columns)] = True
    assert torch.equal(RULES["kitti-garg"].applied(sample(*size)).valid, expected)
    assert not RULES["kitti-garg"].applied(sample(*size, 80.1)).valid.any()


@pytest.mark.parametrize(("depth", "counts"), [(0.5, False), (0.6, True), (350.0, True), (350.1, False)])
def test_the_caps_exclude(depth: float, counts: bool) -> None:
    assert RULES["diode"].applied(sample(4, 6, depth)).valid.all() == counts
    assert RULES["diode"].applied(sample(4, 6, depth)).valid.any() == counts


def test_a_rule_only_takes_away() -> None:
    masked = sample(480, 640)
    masked.valid[:, 100:200] = False
    assert not RULES["nyu-eigen"].applied(masked).valid[:, 100:200].any()


def test_a_narrower_range() -> None:
    rule = RULES["nyu-eigen"].within(0.3, 12.0)
    assert rule.range == (0.3, 10.0) and rule.crop == RULES["nyu-eigen"].crop
    assert str(rule) == "nyu-eigen: rows 45:471, columns 41:601 of 480x640, true depth 0.3 to 10 m"


def test_a_crop_is_rounded_down_to_pixels() -> None:
    assert box((0.40810811, 0.99189189, 0.03594771, 0.96405229), 375, 1242) == (slice(153, 371), slice(44, 1197))
    assert ScoringRule("x", 1, 2).applied(sample(5, 7, 1.5)).valid.all()
