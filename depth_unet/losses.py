"""The training loss: SSIM + MARE of the paper, with optional terms.

Every function takes prediction, target and valid of one shape (..., H, W), usually (N, 1, H, W). Values where `valid`
is False, including NaN and infinity, change neither the loss nor its gradient.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn


def _masked(values: torch.Tensor, valid: torch.Tensor, filler: float = 1.0) -> torch.Tensor:
    # A product with the mask would propagate NaN; torch.where does not, and stops the gradient.
    return torch.where(valid, values, filler)


def _mean(values: torch.Tensor, weights: torch.Tensor, if_empty: float = 0.0) -> torch.Tensor:
    total = weights.sum()
    mean = (values * weights).sum() / torch.where(total > 0, total, 1)
    return torch.where(total > 0, mean, if_empty)


def _check_shapes(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> None:
    if not prediction.shape == target.shape == valid.shape or prediction.ndim < 2:
        raise ValueError(
            "prediction, target and valid must have one shape (..., H, W), not "
            f"{tuple(prediction.shape)}, {tuple(target.shape)} and {tuple(valid.shape)}"
        )
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be a bool tensor, not {valid.dtype}")


def _working_type(prediction: torch.Tensor) -> torch.dtype:
    return torch.float64 if prediction.dtype == torch.float64 else torch.float32


@lru_cache(maxsize=32)
def _gaussian_rows(size: int, window: int, sigma: float) -> torch.Tensor:
    """(size - window + 1, size): a shifted Gaussian window per row, so that blurring is a matrix product."""
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    rows = torch.zeros(size - window + 1, size, dtype=torch.float64)
    for row in range(size - window + 1):
        rows[row, row : row + window] = weights / weights.sum()
    return rows


def structural_similarity(
    prediction: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor,
    *,
    data_range: float,
    sigma: float = 1.5,
    window: int = 11,
) -> torch.Tensor:
    """Mean structural similarity over the windows whose centre is valid.

    SSIM = (2 m_p m_t + C1)(2 s_pt + C2) / ((m_p^2 + m_t^2 + C1)(s_p^2 + s_t^2 + C2)), C1 = (0.01 range)^2,
    C2 = (0.03 range)^2, with Gaussian windows (Wang et al. 2004). Only windows inside the image count; in each, the
    weights of the valid pixels are normalised to sum 1, so that invalid pixels do not bias the statistics.

    Args:
        prediction: (..., H, W), H and W at least `window`.
        target: same shape.
        valid: same shape, bool.
        data_range: difference between the largest and the smallest possible value.
        sigma: standard deviation of the Gaussian window, pixels.
        window: side of the window, pixels, odd.

    Returns:
        Scalar in [-1, 1]; 1 if no window is valid.

    Raises:
        ValueError: shapes differ, the image is smaller than a window, or data_range is not positive.
        TypeError: valid is not bool.

    Example:
        >>> x = torch.rand(1, 1, 16, 16)
        >>> round(structural_similarity(x, x, torch.ones_like(x, dtype=torch.bool), data_range=1.0).item(), 4)
        1.0
    """
    _check_shapes(prediction, target, valid)
    height, width = prediction.shape[-2:]
    if min(height, width) < window:
        raise ValueError(f"an image of {height}x{width} is smaller than the {window}x{window} window")
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, not {data_range}")
    # Variances are differences of squares, for which half precision is too coarse.
    with torch.autocast(prediction.device.type, enabled=False):
        dtype = _working_type(prediction)
        prediction, target = prediction.to(dtype), target.to(dtype)
        # The type first: not every device has float64.
        down = _gaussian_rows(height, window, sigma).to(dtype).to(prediction.device)
        across = _gaussian_rows(width, window, sigma).to(dtype).to(prediction.device).T

        def blur(values: torch.Tensor) -> torch.Tensor:
            return down @ (values @ across)

        mask = valid.to(dtype)
        p, t = _masked(prediction, valid, 0.0), _masked(target, valid, 0.0)
        margin = window // 2
        centred = valid[..., margin : height - margin, margin : width - margin]
        weight = _masked(blur(mask), centred)
        mean_p, mean_t, square_p, square_t, product = (
            blurred / weight for blurred in blur(torch.stack([p, t, p * p, t * t, p * t]))
        )
        var_p, var_t = square_p - mean_p**2, square_t - mean_t**2
        covariance = product - mean_p * mean_t
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        numerator = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
        ssim = numerator / ((mean_p**2 + mean_t**2 + c1) * (var_p + var_t + c2))
        return _mean(_masked(ssim, centred, 0.0), centred.to(dtype), if_empty=1.0)


def _edge_weights(target: torch.Tensor, valid: torch.Tensor, edge_weight: float) -> torch.Tensor:
    """1 + edge_weight * min(1, (|dt/dx| + |dt/dy|) / t), larger at depth edges of the target; 0 where not valid."""
    t = _masked(target, valid)
    across, down = torch.zeros_like(t), torch.zeros_like(t)
    # Central differences; undefined next to invalid pixels and at the border, so 0.
    across[..., 1:-1] = ((t[..., 2:] - t[..., :-2]) / 2).abs() * (valid[..., 2:] & valid[..., :-2])
    down[..., 1:-1, :] = ((t[..., 2:, :] - t[..., :-2, :]) / 2).abs() * (valid[..., 2:, :] & valid[..., :-2, :])
    return (1 + edge_weight * ((across + down) / t).clamp(max=1)) * valid


def mean_absolute_relative_error(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, *, edge_weight: float = 0.0
) -> torch.Tensor:
    """MARE = mean |p - t| / t over the valid pixels, also called AbsRel.

    Args:
        prediction: (..., H, W) metres.
        target: same shape, positive where valid.
        valid: same shape, bool.
        edge_weight: extra weight at depth edges of the target (the paper's emphasis on edges): the weight of a pixel
            is 1 + edge_weight * min(1, relative gradient along x and y). 0 gives the plain mean.

    Returns:
        Scalar, at least 0; 0 if no pixel is valid.

    Raises:
        ValueError: shapes differ.
        TypeError: valid is not bool.

    Example:
        >>> p, t = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 2.0]])
        >>> mean_absolute_relative_error(p, t, torch.tensor([[True, True]])).item()
        0.5
    """
    _check_shapes(prediction, target, valid)
    p, t = _masked(prediction, valid), _masked(target, valid)
    weights = _edge_weights(t, valid, edge_weight) if edge_weight else valid.to(t.dtype)
    return _mean((p - t).abs() / t, weights)


def _log_error(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    p, t = _masked(prediction, valid), _masked(target, valid)
    return _mean((p.log() - t.log()).abs(), valid.to(t.dtype))


def _gradient_error(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, scales: int = 3
) -> torch.Tensor:
    """Mean absolute error of the log depth's differences at steps of 1, 2, 4 pixels (as in MegaDepth, Li 2018)."""
    difference = _masked(prediction, valid).log() - _masked(target, valid).log()
    total = difference.new_zeros(())
    for step in (2**scale for scale in range(scales)):
        for axis in (-1, -2):
            size = difference.shape[axis] - step
            if size > 0:
                both = valid.narrow(axis, step, size) & valid.narrow(axis, 0, size)
                slope = difference.narrow(axis, step, size) - difference.narrow(axis, 0, size)
                total = total + _mean(slope.abs(), both.to(slope.dtype)) / (2 * scales)
    return total


def bin_cross_entropy(
    prediction: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor,
    *,
    min_depth: float,
    max_depth: float,
    bins: int = 64,
) -> torch.Tensor:
    """Sparse categorical cross-entropy over log-spaced depth bins: the paper's second column.

    The predicted depth is interpreted as a soft assignment: the logit of a bin is minus the distance to its centre,
    in bins.

    Args:
        prediction: (..., H, W) metres.
        target: same shape.
        valid: same shape, bool; targets outside [min_depth, max_depth] are ignored.
        min_depth: lower edge of the first bin, metres.
        max_depth: upper edge of the last bin, metres.
        bins: number of bins.

    Returns:
        Scalar, nats; 0 if no pixel is valid.
    """
    _check_shapes(prediction, target, valid)
    valid = valid & (target >= min_depth) & (target <= max_depth)
    width = math.log(max_depth / min_depth) / bins
    dtype = _working_type(prediction)
    place = ((prediction[valid].to(dtype) / min_depth).log() / width).clamp(0, bins) - 0.5
    label = ((target[valid].to(dtype) / min_depth).log() / width).long().clamp(0, bins - 1)
    if not label.numel():
        return prediction.new_zeros(())
    # The softmax's denominator: two geometric series, for the bins on either side of the prediction.
    below = place.floor()
    normaliser = torch.exp(below - place) * (1 - torch.exp(-below - 1))
    normaliser += torch.exp(place - below - 1) * (1 - torch.exp(below + 1 - bins))
    normaliser /= 1 - math.exp(-1)
    return (normaliser.log() + (place - label).abs()).mean().float()


def soft_bin_cross_entropy(
    bin_logits: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor,
    *,
    min_depth: float,
    max_depth: float,
    spread: float = 1.5,
) -> torch.Tensor:
    """Cross-entropy between a distribution over log-spaced depths and a Gaussian around the true one.

    A soft target keeps the order of the bins: a neighbour of the right one is less wrong than one far away (Diaz and
    Marathe 2019).

    Args:
        bin_logits: (N, bins, h, w); bin k stands for min_depth (max_depth / min_depth)^(k / (bins - 1)).
        target: (N, 1, h, w) metres.
        valid: same shape as target, bool; targets outside [min_depth, max_depth] are ignored.
        min_depth: of the first bin, metres.
        max_depth: of the last bin, metres.
        spread: standard deviation of the Gaussian, bins.

    Returns:
        Scalar, nats, at least 0: the entropy of the target is subtracted. 0 if no pixel is valid.

    Raises:
        ValueError: shapes differ.
        TypeError: valid is not bool.
    """
    _check_shapes(bin_logits[:, :1], target, valid)
    valid = (valid & (target >= min_depth) & (target <= max_depth))[:, 0]
    if not valid.any():
        return bin_logits.sum() * 0
    dtype = _working_type(bin_logits)
    logits = bin_logits.to(dtype).movedim(1, -1)[valid]
    bins = logits.shape[-1]
    place = (target[:, 0][valid].to(dtype) / min_depth).log() * ((bins - 1) / math.log(max_depth / min_depth))
    offsets = torch.arange(bins, device=place.device, dtype=dtype) - place[:, None]
    wanted = (-0.5 * (offsets / spread) ** 2).log_softmax(-1)
    return torch.nn.functional.kl_div(logits.log_softmax(-1), wanted, reduction="batchmean", log_target=True).float()


def laplace_loss(
    log_scale: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """How badly the expected error of log depth fits the error that occurs: a Laplace distribution's -log likelihood.

    mean(e / b + log b) with e = |log p - log t| and the scale b (Kendall and Gal 2017). The error counts as given, so
    that no gradient reaches the prediction: hard pixels are not given up for a large scale.

    Args:
        log_scale: (..., H, W) log b.
        prediction: same shape, metres.
        target: same shape, metres.
        valid: same shape, bool.

    Returns:
        Scalar; 0 if no pixel is valid.

    Raises:
        ValueError: shapes differ.
        TypeError: valid is not bool.
    """
    _check_shapes(prediction, target, valid)
    _check_shapes(log_scale, target, valid)
    p, t, s = (_masked(values, valid, fill) for values, fill in ((prediction, 1.0), (target, 1.0), (log_scale, 0.0)))
    error = (p.log() - t.log()).abs().detach()
    return _mean(error * torch.exp(-s) + s, valid.to(s.dtype))


class DepthLoss(nn.Module):
    """ssim_weight (1 - SSIM) + mare_weight MARE + log_weight |log p - log t| + gradient_weight gradient error.

    With the outputs of the heads also + entropy_weight cross-entropy of the bins + scale_weight Laplace loss, see
    `soft_bin_cross_entropy` and `laplace_loss`. SSIM is computed on log depth, scaled so that [min_depth, max_depth]
    becomes [0, 1]. MARE alone favours predictions that are slightly too near; the logarithmic term is symmetric.

    Args:
        min_depth: smallest depth of the network, metres.
        max_depth: largest depth of the network, metres.
        ssim_weight: weight of 1 - SSIM.
        mare_weight: weight of the mean absolute relative error.
        edge_weight: see `mean_absolute_relative_error`.
        log_weight: weight of the mean absolute error of log depth.
        gradient_weight: weight of the error of log depth's gradients, which keeps planes flat and edges sharp.
        entropy_weight: weight of the cross-entropy of the depth bins.
        scale_weight: weight of the Laplace loss of the predicted scale.

    Raises:
        ValueError: an invalid range or a negative weight.

    Example:
        >>> depth = torch.full((1, 1, 16, 16), 2.0)
        >>> DepthLoss()(depth, depth, depth > 0).item() < 1e-6
        True
    """

    def __init__(
        self,
        min_depth: float = 0.3,
        max_depth: float = 12.0,
        ssim_weight: float = 1.0,
        mare_weight: float = 1.0,
        edge_weight: float = 1.0,
        log_weight: float = 0.0,
        gradient_weight: float = 0.0,
        entropy_weight: float = 0.0,
        scale_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < min_depth < max_depth:
            raise ValueError(f"need 0 < min_depth < max_depth, not {min_depth} and {max_depth}")
        self.min_depth, self.max_depth = min_depth, max_depth
        self.weights = {
            "ssim": ssim_weight,
            "mare": mare_weight,
            "log": log_weight,
            "gradient": gradient_weight,
            "entropy": entropy_weight,
            "scale": scale_weight,
        }
        if min(edge_weight, *self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(f"weights must not be negative, nor all zero: {self.weights}, edges {edge_weight}")
        self.edge_weight = edge_weight

    def forward(
        self,
        prediction: torch.Tensor,
        target: torch.Tensor,
        valid: torch.Tensor,
        *heads: torch.Tensor | None,
    ) -> torch.Tensor:
        """The weighted sum, a scalar; the arguments are those of `terms`."""
        terms = self.terms(prediction, target, valid, *heads)
        return sum(self.weights[name] * value for name, value in terms.items())

    def terms(
        self,
        prediction: torch.Tensor,
        target: torch.Tensor,
        valid: torch.Tensor,
        bin_logits: torch.Tensor | None = None,
        log_scale: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The terms whose weight is not 0, unweighted, by name ("ssim" is 1 - SSIM).

        Args:
            prediction: (N, 1, H, W) metres, positive.
            target: same shape.
            valid: same shape, bool.
            bin_logits: (N, bins, H/2, W/2), see `soft_bin_cross_entropy`; None leaves out its term.
            log_scale: (N, 1, h, w), resized to the prediction, see `laplace_loss`; None leaves out its term.
        """
        _check_shapes(prediction, target, valid)
        depths = {"min_depth": self.min_depth, "max_depth": self.max_depth}
        computed = {
            "ssim": lambda: 1 - self._log_ssim(prediction, target, valid),
            "mare": lambda: mean_absolute_relative_error(prediction, target, valid, edge_weight=self.edge_weight),
            "log": lambda: _log_error(prediction, target, valid),
            "gradient": lambda: _gradient_error(prediction, target, valid),
        }
        if bin_logits is not None:
            halved = (slice(None), slice(None), slice(None, None, 2), slice(None, None, 2))
            computed["entropy"] = lambda: soft_bin_cross_entropy(bin_logits, target[halved], valid[halved], **depths)
        if log_scale is not None:
            size = prediction.shape[2:]
            computed["scale"] = lambda: laplace_loss(
                F.interpolate(log_scale, size, mode="bilinear"), prediction, target, valid
            )
        return {name: compute() for name, compute in computed.items() if self.weights[name]}

    def _log_ssim(self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        span = math.log(self.max_depth / self.min_depth)

        def scaled(depth: torch.Tensor) -> torch.Tensor:
            return (_masked(depth, valid, self.min_depth) / self.min_depth).log() / span

        return structural_similarity(scaled(prediction), scaled(target), valid, data_range=1.0)
