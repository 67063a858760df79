"""The measures agree with their definitions, and each alignment forgives exactly what it says."""

import numpy as np
import pytest

from depth_unet import depth_metrics
from depth_unet.metrics import ALIGNMENTS, METRICS, boundary_f1, rim_ratio

RNG = np.random.default_rng(5)
TARGET = RNG.uniform(0.5, 9, (24, 32))
PREDICTION = TARGET * np.exp(RNG.normal(0.05, 0.25, TARGET.shape))


def test_by_hand() -> None:
    got = depth_metrics(np.array([[2.0, 3.0, 2.0]]), np.array([[1.0, 3.0, 4.0]]))
    assert got["abs_rel"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert got["sq_rel"] == pytest.approx((1 + 0 + 1) / 3)
    assert got["rmse"] == pytest.approx(np.sqrt(5 / 3))
    assert got["mae"] == pytest.approx(1.0)
    assert got["rmse_log"] == pytest.approx(np.log(2) * np.sqrt(2 / 3))
    assert got["silog"] == pytest.approx(np.log(2) * np.sqrt(2 / 3))  # the two errors of the logarithm cancel
    assert got["log10"] == pytest.approx(np.log10(2) * 2 / 3)
    assert got["delta1"] == got["delta2"] == pytest.approx(1 / 3)
    assert got["delta3"] == pytest.approx(1 / 3)  # 1.25^3 = 1.95 < 2
    assert got["median_ratio"] == 1.0 and got["pixels"] == 3


def diode_devkit(pred: np.ndarray, gt: np.ndarray, validity: np.ndarray) -> dict[str, float]:
    """The definitions of DIODE's evaluation, written down once more in its own order of operations."""
    gt, pred = gt[validity], pred[validity]
    thresh = np.maximum(gt / pred, pred / gt)
    return {
        "mae": np.mean(np.abs(pred - gt)),
        "rmse": np.sqrt(np.mean(np.power(pred - gt, 2))),
        "abs_rel": np.mean(np.abs(pred - gt) / gt),
        "log10": np.mean(np.abs(np.log10(pred) - np.log10(gt))),
        "rmse_log": np.sqrt(np.mean(np.power(np.log(gt) - np.log(pred), 2))),
        "delta1": np.mean((thresh < 1.25).astype(float)),
        "delta2": np.mean((thresh < 1.25**2).astype(float)),
        "delta3": np.mean((thresh < 1.25**3).astype(float)),
    }


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_diode_devkit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.6, 300, (40, 50)).astype(np.float32)
    prediction = (target * rng.lognormal(0, 0.4, target.shape)).astype(np.float32)
    validity = rng.random(target.shape) > 0.3
    got, wanted = depth_metrics(prediction, target, validity), diode_devkit(prediction, target, validity)
    assert {name: got[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)


def test_silog_is_the_scale_invariant_error_of_eigen() -> None:
    d = np.log(PREDICTION) - np.log(TARGET)
    got = depth_metrics(PREDICTION, TARGET)["silog"]
    assert got == pytest.approx(np.sqrt(np.mean(d**2) - np.mean(d) ** 2))
    assert depth_metrics(7 * PREDICTION, TARGET, max_depth=1e4)["silog"] == pytest.approx(got)


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_a_perfect_prediction(align: str) -> None:
    got = depth_metrics(TARGET, TARGET, align=align)
    for name in METRICS:
        assert got[name] == pytest.approx(1.0 if name.startswith("delta") else 0.0, abs=1e-9)
    assert got["median_ratio"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "forgiven_by"),
    [
        (lambda t: 3.7 * t, {"median", "scale_shift_depth", "scale_shift_disparity"}),
        (lambda t: 0.5 * t + 4, {"scale_shift_depth"}),
        (lambda t: 1 / (0.2 / t + 0.3), {"scale_shift_disparity"}),
        (lambda t: 12 - t, {"scale_shift_depth"}),
        (lambda t: t, set(ALIGNMENTS)),
        (lambda t: t**1.5, set()),
    ],
)
def test_each_alignment_forgives_what_it_says(change: object, forgiven_by: set[str]) -> None:
    prediction = change(TARGET)
    forgiving = {a for a in ALIGNMENTS if depth_metrics(prediction, TARGET, align=a, max_depth=20)["abs_rel"] < 1e-8}
    assert forgiving == forgiven_by


@pytest.mark.parametrize(("align", "x", "y"), [("scale_shift_depth", 1, 1), ("scale_shift_disparity", -1, -1)])
def test_the_fit_is_least_squares(align: str, x: int, y: int) -> None:
    line = np.polyfit((PREDICTION**x).ravel(), (TARGET**y).ravel(), 1)
    aligned = np.clip(np.polyval(line, PREDICTION**x) ** float(y), 0.3, 10)
    wanted = np.mean(np.abs(aligned - TARGET) / TARGET)
    assert depth_metrics(PREDICTION, TARGET, align=align, min_depth=0.3, max_depth=10)["abs_rel"] == pytest.approx(
        wanted
    )


@pytest.mark.parametrize("align", ALIGNMENTS)
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf, -5.0, 0.0, 1e9])
def test_invalid_pixels_count_for_nothing(align: str, rubbish: float) -> None:
    valid = RNG.random(TARGET.shape) > 0.4
    clean = depth_metrics(PREDICTION[valid][None], TARGET[valid][None], align=align, max_depth=20)
    p, t = np.where(valid, PREDICTION, rubbish), np.where(valid, TARGET, rubbish)
    assert depth_metrics(p, t, valid, align=align, max_depth=20) == pytest.approx(clean)
    if rubbish != 1e9:  # no measurement by itself, whatever the mask says
        assert depth_metrics(p, t, align=align, max_depth=20) == pytest.approx(clean)


def test_what_lies_out_of_range_is_left_out_and_not_clipped() -> None:
    inside = (TARGET >= 1) & (TARGET <= 5)
    got = depth_metrics(PREDICTION, TARGET, min_depth=1, max_depth=5)
    assert got["pixels"] == inside.sum() < TARGET.size
    clipped = np.clip(PREDICTION[inside], 1, 5)
    assert got["mae"] == pytest.approx(np.mean(np.abs(clipped - TARGET[inside])))
    far = np.where(inside, TARGET, 300.0)
    assert depth_metrics(PREDICTION, far, min_depth=1, max_depth=5) == pytest.approx(got)


def test_shape_and_type_do_not_matter() -> None:
    wanted = depth_metrics(PREDICTION, TARGET)
    assert depth_metrics(PREDICTION[None], TARGET[None], np.ones((1, 24, 32))) == pytest.approx(wanted)
    assert depth_metrics(PREDICTION.astype(np.float32), TARGET.astype(np.float32)) == pytest.approx(wanted, rel=1e-4)
    assert depth_metrics(PREDICTION.tolist(), TARGET.tolist()) == pytest.approx(wanted)


def test_the_arguments_are_left_as_they_were() -> None:
    p, t, v = PREDICTION.copy(), TARGET.copy(), np.ones(TARGET.shape, bool)
    depth_metrics(p, t, v, align="scale_shift_disparity", max_depth=3)
    assert (p == PREDICTION).all() and (t == TARGET).all() and v.all()


@pytest.mark.parametrize(
    ("prediction", "valid", "options", "words"),
    [
        (PREDICTION[:2], None, {}, "shape"),
        (PREDICTION, np.ones((2, 2), bool), {}, "shape"),
        (PREDICTION, None, {"align": "affine"}, "affine"),
        (PREDICTION, np.zeros(TARGET.shape, bool), {}, "no valid pixel"),
        (PREDICTION, None, {"min_depth": 100.0}, "no valid pixel"),
        (np.where(TARGET > 5, np.nan, PREDICTION), None, {}, "not finite"),
        (-PREDICTION, None, {"align": "median"}, "median"),
        (PREDICTION - 3, None, {"align": "scale_shift_disparity"}, "positive"),
        (PREDICTION, None, {"min_depth": 0.0}, "min_depth"),
        (PREDICTION, None, {"min_depth": 5.0, "max_depth": 2.0}, "min_depth"),
    ],
)
def test_mistakes(prediction: np.ndarray, valid: np.ndarray | None, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        depth_metrics(prediction, TARGET, valid, **options)


def test_a_flat_prediction_becomes_the_mean_where_scale_and_shift_are_free() -> None:
    got = depth_metrics(np.full(TARGET.shape, 3.0), TARGET, align="scale_shift_depth")
    assert got["rmse"] == pytest.approx(TARGET.std())


def test_disparity_beyond_infinity_is_the_cap() -> None:
    """A line fitted in disparity may cross zero: such pixels are as far as the cap, and without one it is an error."""
    target = np.array([[1.0, 1.0, 50.0, 50.0, 50.0, 50.0, 60.0]])
    prediction = np.array([[1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 100.0]])
    got = depth_metrics(prediction, target, align="scale_shift_disparity", max_depth=80)
    assert all(np.isfinite(value) for value in got.values())
    with pytest.raises(ValueError, match="max_depth"):
        depth_metrics(prediction, target, align="scale_shift_disparity")


# --- edges and rim -----------------------------------------------------------------------------------------------


def f1_by_loops(p: np.ndarray, t: np.ndarray, valid: np.ndarray) -> float:
    height, width = t.shape
    thresholds, scores = np.linspace(1.05, 1.25, 10), []
    for threshold in thresholds:
        precisions, recalls = [], []
        for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            hits = found = true = 0
            for y in range(height):
                for x in range(width):
                    j = y + down, x + across
                    if 0 <= j[0] < height and 0 <= j[1] < width and valid[y, x] and valid[j]:
                        is_found, is_true = p[j] / p[y, x] > threshold, t[j] / t[y, x] > threshold
                        hits, found, true = hits + (is_found and is_true), found + is_found, true + is_true
            precisions += [hits / found] if found else []
            recalls += [hits / true] if true else []
        p_mean, r_mean = np.mean(precisions or [0]), np.mean(recalls or [0])
        scores.append(2 * p_mean * r_mean / max(p_mean + r_mean, 1e-9))
    return float(np.sum(np.array(scores) * thresholds) / thresholds.sum())


@pytest.mark.parametrize("seed", range(4))
def test_boundary_f1_is_that_of_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = np.exp(rng.normal(0, 0.2, (9, 13)))
    prediction = target * np.exp(rng.normal(0, 0.1, target.shape))
    valid = rng.random(target.shape) < 0.8
    wanted = f1_by_loops(prediction, target, valid)
    assert boundary_f1(prediction, target, valid) == pytest.approx(wanted)
    assert boundary_f1(7 * prediction, target, valid) == pytest.approx(wanted), "the scale must not matter"
    spoilt = np.where(valid, prediction, np.nan)
    assert boundary_f1(spoilt, np.where(valid, target, np.nan), valid) == pytest.approx(wanted)


def test_boundaries_at_the_wrong_place_do_not_count() -> None:
    target = np.where(np.arange(20) < 10, 1.0, 2.0) * np.ones((10, 1))
    assert boundary_f1(target, target) == pytest.approx(1.0)
    assert boundary_f1(np.roll(target, 3, 1), target) == 0.0
    assert boundary_f1(np.ones_like(target), target) == 0.0
    assert boundary_f1(2 - 0.5 * target, target) == 0.0, "an edge the other way round is none"
    assert np.isnan(boundary_f1(target, np.ones_like(target)))
    with pytest.raises(ValueError, match="shape"):
        boundary_f1(target[1:], target)


def test_the_rim_is_compared_with_what_lies_inside() -> None:
    target = np.random.default_rng(0).uniform(1, 5, (100, 200))
    prediction = 1.3 * target
    assert rim_ratio(prediction, target) == pytest.approx(1.0)
    prediction[[0, -1]] *= 0.8
    prediction[:, [0, 1, -2, -1]] *= 0.8
    assert rim_ratio(prediction, target) == pytest.approx(0.8, abs=0.01)
    # A frame without depth, as in NYU, moves the rim inwards.
    framed, valid = np.ones((140, 240)), np.zeros((140, 240), bool)
    valid[20:120, 20:220] = True
    wider = framed.copy()
    framed[valid], wider[valid] = target.ravel(), prediction.ravel()
    assert rim_ratio(wider, framed, valid) == pytest.approx(0.8, abs=0.01)
    assert np.isnan(rim_ratio(wider, framed, np.zeros_like(valid)))
