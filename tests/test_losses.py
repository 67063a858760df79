"""The loss is what its formulas say, and blind to what was not measured."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as skimage_ssim

from depth_unet import DepthLoss, mean_absolute_relative_error, structural_similarity
from depth_unet.losses import bin_cross_entropy, laplace_loss, soft_bin_cross_entropy

ALL_TERMS = {"log_weight": 0.5, "gradient_weight": 0.7, "edge_weight": 2.0, "ssim_weight": 1.3, "mare_weight": 0.9}
RUBBISH = [math.nan, math.inf, -math.inf, -3.0, 0.0, 1e30]


def depths(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Two depth maps that resemble each other, 0.4 to 9 metres."""
    generator = torch.Generator().manual_seed(seed)
    target = 0.4 + 8 * torch.rand(shape, generator=generator, dtype=dtype)
    return target * (0.7 + 0.6 * torch.rand(shape, generator=generator, dtype=dtype)), target


def holes(*shape: int, seed: int = 0, share: float = 0.35) -> torch.Tensor:
    """A mask with scattered and with large holes."""
    valid = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > share
    valid[..., 4:13, 5:16] = False
    return valid


FUNCTIONS = {
    "ssim": lambda p, t, v: structural_similarity(p, t, v, data_range=10.0),
    "mare": mean_absolute_relative_error,
    "mare_edges": lambda p, t, v: mean_absolute_relative_error(p, t, v, edge_weight=3.0),
    "loss": DepthLoss(**ALL_TERMS),
    "paper_loss": DepthLoss(),
    "log": DepthLoss(ssim_weight=0, mare_weight=0, log_weight=1),
    "gradient": DepthLoss(ssim_weight=0, mare_weight=0, gradient_weight=1),
}


# --- structural similarity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(11, 11), (12, 40), (33, 17), (64, 96)])
@pytest.mark.parametrize("data_range", [1.0, 10.0])
def test_ssim_is_that_of_scikit_image(size: tuple[int, int], data_range: float) -> None:
    p, t = (x * data_range / 12 for x in depths(*size, dtype=torch.float64))
    _, image = skimage_ssim(
        p.numpy(),
        t.numpy(),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    wanted = image[5:-5, 5:-5].mean()  # windows that lie wholly inside
    everywhere = torch.ones(size, dtype=torch.bool)
    assert structural_similarity(p, t, everywhere, data_range=data_range).item() == pytest.approx(wanted, abs=1e-9)
    in_half = structural_similarity(p.float(), t.float(), everywhere, data_range=data_range)
    assert in_half.item() == pytest.approx(wanted, abs=1e-5)


def slow_ssim(p: np.ndarray, t: np.ndarray, valid: np.ndarray, data_range: float) -> float:
    """One window after the other, from the definition, over its valid pixels only."""
    offsets = np.arange(-5, 6)
    gaussian = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for row in range(5, p.shape[0] - 5):
        for column in range(5, p.shape[1] - 5):
            if not valid[row, column]:
                continue
            window = np.s_[row - 5 : row + 6, column - 5 : column + 6]
            inside = valid[window]
            w = gaussian[inside] / gaussian[inside].sum()
            a, b = p[window][inside], t[window][inside]
            mean_a, mean_b = w @ a, w @ b
            var_a, var_b = w @ (a - mean_a) ** 2, w @ (b - mean_b) ** 2
            covariance = w @ ((a - mean_a) * (b - mean_b))
            upper = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            values.append(upper / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_holes_leave_the_rest_exact(share: float) -> None:
    p, t = depths(24, 31, dtype=torch.float64)
    valid = holes(24, 31, share=share)
    wanted = slow_ssim(p.numpy(), t.numpy(), valid.numpy(), 10.0)
    assert structural_similarity(p, t, valid, data_range=10.0).item() == pytest.approx(wanted, abs=1e-9)


def test_ssim_of_a_batch_is_the_mean_over_its_windows() -> None:
    p, t = depths(3, 1, 20, 26)
    everywhere = torch.ones_like(p, dtype=torch.bool)
    each = [structural_similarity(*x, data_range=10.0).item() for x in zip(p, t, everywhere, strict=True)]
    assert structural_similarity(p, t, everywhere, data_range=10.0).item() == pytest.approx(np.mean(each), abs=1e-6)


def test_ssim_knows_likeness_from_difference() -> None:
    p, t = depths(32, 32)
    everywhere = torch.ones(32, 32, dtype=torch.bool)
    same, like, unlike, opposite = (
        structural_similarity(x, t, everywhere, data_range=10.0).item() for x in (t, p, t.flip(0), 8.8 - t)
    )
    assert same == pytest.approx(1.0, abs=1e-5)
    assert -1 <= opposite < unlike < like < same


def test_ssim_does_not_lose_small_contrasts_in_single_precision() -> None:
    p, t = (100 + x / 1000 for x in depths(32, 32, dtype=torch.float64))
    everywhere = torch.ones(32, 32, dtype=torch.bool)
    exact = structural_similarity(p, t, everywhere, data_range=1000.0).item()
    assert structural_similarity(p.float(), t.float(), everywhere, data_range=1000.0).item() == pytest.approx(
        exact, abs=1e-3
    )


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [({"data_range": 0.0}, (16, 16), "data_range"), ({"data_range": -1.0}, (16, 16), "data_range"),
     ({"data_range": 1.0}, (16, 10), "16x10"), ({"data_range": math.nan}, (16, 16), "data_range")],
)  # fmt: skip
def test_ssim_mistakes(options: dict, shape: tuple[int, int], words: str) -> None:
    x = torch.ones(shape)
    with pytest.raises(ValueError, match=words):
        structural_similarity(x, x, x > 0, **options)


# --- mean absolute relative error --------------------------------------------------------------------------------


def test_mare_by_hand() -> None:
    p, t = torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[2.0, 2.0, 1.0]])
    assert mean_absolute_relative_error(p, t, torch.tensor([[True, True, False]])).item() == 0.5
    assert mean_absolute_relative_error(p, t, t > 0).item() == pytest.approx((0.5 + 0.5 + 8) / 3)


def test_edges_weigh_more_by_hand() -> None:
    # A step from 1 m to 2 m along x. Central differences are 0.5 at the two columns beside it: relative to the
    # target 0.5 and 0.25, so with edge_weight 4 these columns weigh 3 and 2, the others 1.
    t = torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]).expand(4, 6)
    weights = torch.tensor([1.0, 1.0, 3.0, 2.0, 1.0, 1.0])
    for column in range(6):
        p = t.clone()
        p[:, column] *= 1.5
        got = mean_absolute_relative_error(p, t, t > 0, edge_weight=4.0).item()
        assert got == pytest.approx(0.5 * weights[column].item() / weights.sum().item())
        turned = mean_absolute_relative_error(p.T, t.T, t.T > 0, edge_weight=4.0).item()
        assert turned == pytest.approx(got)


def test_an_edge_is_no_more_than_one() -> None:
    t = torch.tensor([1.0, 1.0, 1000.0, 1000.0]).expand(3, 4)
    p = t.clone()
    p[:, 1] = 2.0
    # weights 1, 1 + 2, 1 + 2 * 0.4995, 1
    assert mean_absolute_relative_error(p, t, t > 0, edge_weight=2.0).item() == pytest.approx(3 / (1 + 3 + 1.999 + 1))


def test_a_hole_is_no_edge() -> None:
    p, t = depths(20, 20)
    t, p = torch.full_like(t, 3.0), p
    valid = holes(20, 20)
    plain = mean_absolute_relative_error(p, t, valid)
    torch.testing.assert_close(mean_absolute_relative_error(p, t.where(valid, 50.0), valid, edge_weight=5.0), plain)


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("rubbish", RUBBISH)
def test_what_is_not_valid_is_inert(name: str, rubbish: float) -> None:
    valid = holes(2, 1, 24, 32)
    results = []
    for filler in (2.0, rubbish):
        p, t = (x.where(valid, filler).requires_grad_() for x in depths(2, 1, 24, 32))
        value = FUNCTIONS[name](p, t, valid)
        value.backward()
        results.append((value.detach(), p.grad, t.grad))
    for clean, spoilt in zip(*results, strict=True):
        assert torch.equal(clean, spoilt)
    _, gradient, _ = results[1]
    assert torch.isfinite(gradient).all() and (gradient[~valid] == 0).all() and (gradient[valid] != 0).any()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("filler", [2.0, math.nan])
def test_nothing_valid_is_no_loss_and_no_gradient(name: str, filler: float) -> None:
    p = torch.full((1, 1, 16, 16), filler, requires_grad=True)
    value = FUNCTIONS[name](p, torch.full_like(p, filler), torch.zeros_like(p, dtype=torch.bool))
    value.backward()
    assert value.item() == (1.0 if name == "ssim" else 0.0)
    assert (p.grad == 0).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_empty_picture_in_a_batch_changes_nothing(name: str) -> None:
    p, t = depths(2, 1, 16, 20)
    valid = holes(2, 1, 16, 20, seed=2, share=0.1)
    valid[1] = False
    torch.testing.assert_close(FUNCTIONS[name](p, t, valid), FUNCTIONS[name](p[:1], t[:1], valid[:1]))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_perfect_prediction(name: str, masked: bool) -> None:
    _, t = depths(1, 1, 20, 24)
    valid = holes(1, 1, 20, 24) if masked else t > 0
    assert FUNCTIONS[name](t, t, valid).item() == pytest.approx(1.0 if name == "ssim" else 0.0, abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_those_of_the_value(name: str) -> None:
    p, t = depths(1, 1, 13, 12, dtype=torch.float64)
    valid = torch.rand(1, 1, 13, 12, generator=torch.Generator().manual_seed(1)) > 0.25
    assert torch.autograd.gradcheck(lambda x: FUNCTIONS[name](x, t, valid), p.requires_grad_())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_under_bfloat16_autocast(name: str) -> None:
    p, t = depths(1, 1, 24, 32)
    valid = holes(1, 1, 24, 32)
    plain = FUNCTIONS[name](p, t, valid)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(FUNCTIONS[name](p, t, valid).float(), plain, rtol=1e-3, atol=1e-4)
        rounded = p.bfloat16().requires_grad_()
        value = FUNCTIONS[name](rounded, t, valid)
        torch.testing.assert_close(value.float(), plain, rtol=0.05, atol=0.02)
    value.backward()
    assert torch.isfinite(rounded.grad).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shapes_and_masks_are_checked(name: str) -> None:
    x = torch.ones(1, 1, 16, 16)
    with pytest.raises(ValueError, match="shape"):
        FUNCTIONS[name](x, x[..., 1:], x > 0)
    with pytest.raises(ValueError, match="shape"):
        FUNCTIONS[name](x, x, (x > 0)[0])
    with pytest.raises(TypeError, match="bool"):
        FUNCTIONS[name](x, x, x)


# --- the training loss -------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    p, t = depths(2, 1, 16, 20)
    valid = holes(2, 1, 16, 20)
    loss = DepthLoss(0.3, 12.0, **ALL_TERMS)
    terms = loss.terms(p, t, valid)
    assert set(terms) == {"ssim", "mare", "log", "gradient"}
    wanted = 1.3 * terms["ssim"] + 0.9 * terms["mare"] + 0.5 * terms["log"] + 0.7 * terms["gradient"]
    torch.testing.assert_close(loss(p, t, valid), wanted)
    torch.testing.assert_close(terms["mare"], mean_absolute_relative_error(p, t, valid, edge_weight=2.0))
    assert set(DepthLoss(ssim_weight=0).terms(p, t, valid)) == {"mare"}


def test_ssim_of_the_loss_is_of_the_normalised_logarithm() -> None:
    p, t = depths(1, 1, 20, 24, dtype=torch.float64)
    valid = holes(1, 1, 20, 24)

    def normalised(depth: torch.Tensor) -> torch.Tensor:
        return (depth.log() - math.log(0.3)) / (math.log(12) - math.log(0.3))

    ssim = structural_similarity(normalised(p), normalised(t), valid, data_range=1.0)
    got = DepthLoss(0.3, 12.0, mare_weight=0)(p, t, valid)
    torch.testing.assert_close(got, 1 - ssim)


def test_log_and_gradient_terms_by_hand() -> None:
    t = torch.full((1, 1, 16, 16), 2.0)
    twice, everywhere = 2 * t, t > 0
    loss = DepthLoss(ssim_weight=0, log_weight=1, gradient_weight=1)
    terms = loss.terms(twice, t, everywhere)
    assert terms["log"].item() == pytest.approx(math.log(2))
    assert terms["log"].item() == pytest.approx(loss.terms(t / 2, t, everywhere)["log"].item())  # evenly both ways
    assert terms["gradient"].item() == pytest.approx(0, abs=1e-6)  # a wrong scale has the right slopes
    ramp = t * torch.exp(0.1 * torch.arange(16.0))
    # Over steps of 1, 2, 4 pixels the logarithm is wrong by 0.1, 0.2, 0.4 along x and right along y.
    assert loss.terms(ramp, t, everywhere)["gradient"].item() == pytest.approx(0.7 / 6, rel=1e-4)


def test_the_slope_over_a_hole_does_not_count() -> None:
    t = torch.full((1, 1, 16, 32), 2.0)
    p, valid = t.clone(), torch.ones_like(t, dtype=torch.bool)
    p[..., 16:] *= 3
    valid[..., 14:18] = False
    loss = DepthLoss(ssim_weight=0, mare_weight=0, gradient_weight=1)
    assert loss(p, t, valid).item() == pytest.approx(0, abs=1e-6)
    assert loss(p, t, t > 0).item() > 0.01


@pytest.mark.parametrize(
    "options",
    [{"min_depth": 0}, {"min_depth": 5, "max_depth": 5}, {"ssim_weight": -1}, {"edge_weight": -1},
     {"mare_weight": 0, "ssim_weight": 0}],
)  # fmt: skip
def test_an_impossible_loss(options: dict) -> None:
    with pytest.raises(ValueError):
        DepthLoss(**options)


# --- cross-entropy over depth bins -------------------------------------------------------------------------------


def plain_cross_entropy(p: torch.Tensor, t: torch.Tensor, near: float, far: float, bins: int) -> float:
    edges = np.geomspace(near, far, bins + 1)
    label = torch.from_numpy(np.clip(np.searchsorted(edges, t.numpy().ravel(), side="right") - 1, 0, bins - 1))
    place = bins * (p.double() / near).log() / math.log(far / near) - 0.5
    logits = -(place.clamp(-0.5, bins - 0.5).ravel()[:, None] - torch.arange(bins)).abs()
    return torch.nn.functional.cross_entropy(logits, label).item()


@pytest.mark.parametrize(("near", "far", "bins"), [(0.3, 12.0, 64), (1.0, 5.0, 7), (0.5, 350.0, 100)])
def test_cross_entropy_is_that_of_a_softmax(near: float, far: float, bins: int) -> None:
    p, t = depths(16, 16, dtype=torch.float64)
    t = t.clamp(near * 1.001, far * 0.999)
    got = bin_cross_entropy(p, t, t > 0, min_depth=near, max_depth=far, bins=bins).item()
    assert got == pytest.approx(plain_cross_entropy(p, t, near, far, bins), rel=1e-5)


def test_cross_entropy_is_least_at_the_target_and_rises_both_ways() -> None:
    t = torch.full((1, 1), 0.3 * (12 / 0.3) ** (20.5 / 64))  # the middle of a bin
    factors = torch.linspace(-1, 1, 41).exp()
    values = [bin_cross_entropy(t * factor, t, t > 0, min_depth=0.3, max_depth=12.0).item() for factor in factors]
    assert np.argmin(values) == 20
    assert (np.diff(values[:21]) < 0).all() and (np.diff(values[20:]) > 0).all()


def test_cross_entropy_ignores_what_does_not_count() -> None:
    p, t = depths(8, 8)
    valid = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    options = {"min_depth": 0.5, "max_depth": 8.0}
    counted = valid & (t >= 0.5) & (t <= 8)
    wanted = bin_cross_entropy(p[counted][None], t[counted][None], counted[counted][None], **options)
    for rubbish in RUBBISH:
        got = bin_cross_entropy(p.where(valid, rubbish), t.where(valid, rubbish), valid, **options)
        torch.testing.assert_close(got, wanted)
    assert bin_cross_entropy(p, t, torch.zeros_like(valid), **options).item() == 0


# --- heads -------------------------------------------------------------------------------------------------------


def test_soft_bins_by_hand() -> None:
    near, far, bins, spread = 0.5, 8.0, 5, 1.0  # bins at 0.5, 1, 2, 4, 8 m
    target = torch.full((1, 1, 1, 1), 2.0)
    weights = torch.exp(-0.5 * (torch.arange(5.0) - 2) ** 2)
    wanted = weights / weights.sum()
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, 1.0])
    expected = (wanted * (wanted.log() - logits.log_softmax(0))).sum()
    options = {"min_depth": near, "max_depth": far, "spread": spread}
    found = soft_bin_cross_entropy(logits.view(1, bins, 1, 1), target, target > 0, **options)
    torch.testing.assert_close(found, expected)
    best = soft_bin_cross_entropy(wanted.log().view(1, bins, 1, 1), target, target > 0, **options)
    assert abs(best) < 1e-6, "it is 0 at the target's own distribution"


def test_soft_bins_count_valid_targets_within_the_range_only() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 4, 5, requires_grad=True)
    target = torch.rand(2, 1, 4, 5) * 3 + 0.6
    valid = torch.rand(2, 1, 4, 5) < 0.7
    options = {"min_depth": 0.5, "max_depth": 4.0}
    wanted = soft_bin_cross_entropy(logits, target, valid, **options)
    spoilt = torch.where(valid, target, torch.nan)
    spoilt[0, 0, 0, 0], valid[0, 0, 0, 0] = 9.0, True  # beyond the last bin
    without = valid.clone()
    without[0, 0, 0, 0] = False
    loss = soft_bin_cross_entropy(logits, spoilt, valid, **options)
    torch.testing.assert_close(loss, soft_bin_cross_entropy(logits, target, without, **options))
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad.movedim(1, -1)[~without[:, 0]].any() and logits.grad.movedim(1, -1)[without[:, 0]].any()
    assert wanted > 0
    nothing = soft_bin_cross_entropy(logits, target, torch.zeros_like(valid), **options)
    assert nothing == 0
    nothing.backward()


def test_the_laplace_loss_is_least_at_the_mean_error_and_leaves_the_prediction_alone() -> None:
    target = torch.full((1, 1, 4, 4), 2.0)
    prediction = (target * torch.tensor([1.1, 1 / 1.3]).repeat(8).view(1, 1, 4, 4)).requires_grad_()
    mean = (np.log(1.1) + np.log(1.3)) / 2
    scales = [mean * factor for factor in (0.5, 0.9, 1.0, 1.1, 2.0)]
    losses = [laplace_loss(torch.full_like(target, float(np.log(s))), prediction, target, target > 0) for s in scales]
    assert min(range(5), key=lambda k: losses[k].item()) == 2
    assert losses[2].item() == pytest.approx(1 + np.log(mean), abs=1e-5)
    log_scale = torch.zeros_like(target, requires_grad=True)
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[..., 0] = False
    spoilt = torch.where(valid, prediction, torch.nan)
    laplace_loss(log_scale, spoilt, target, valid).backward()
    assert prediction.grad is None or not prediction.grad.any()
    assert not log_scale.grad[~valid].any() and torch.isfinite(log_scale.grad).all() and log_scale.grad[valid].any()


def test_the_heads_count_with_their_weights_and_only_where_they_are_given() -> None:
    torch.manual_seed(0)
    loss = DepthLoss(0.5, 4.0, entropy_weight=0.25, scale_weight=0.5)
    prediction, target = torch.rand(1, 1, 16, 16) + 1, torch.rand(1, 1, 16, 16) + 1
    logits, log_scale = torch.randn(1, 6, 8, 8), torch.randn(1, 1, 8, 8)
    valid = target > 1.1
    alone = loss(prediction, target, valid)
    both = loss(prediction, target, valid, logits, log_scale)
    halved = np.s_[:, :, ::2, ::2]
    entropy = soft_bin_cross_entropy(logits, target[halved], valid[halved], min_depth=0.5, max_depth=4.0)
    at_full_size = torch.nn.functional.interpolate(log_scale, (16, 16), mode="bilinear")
    scale = laplace_loss(at_full_size, prediction, target, valid)
    torch.testing.assert_close(both, alone + 0.25 * entropy + 0.5 * scale)
    assert set(loss.terms(prediction, target, valid, logits, log_scale)) == {"ssim", "mare", "entropy", "scale"}
    assert set(loss.terms(prediction, target, valid)) == {"ssim", "mare"}
