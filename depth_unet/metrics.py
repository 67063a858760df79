"""Depth metrics, and the four alignments of predictions that are known only up to scale or shift."""

import numpy as np

_STEPS = np.linspace(1.05, 1.25, 10)  # ratios of neighbouring depths that count as a boundary
METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "mae", "delta1", "delta2", "delta3")
ALIGNMENTS = ("none", "median", "scale_shift_depth", "scale_shift_disparity")


def depth_metrics(
    prediction: np.ndarray,
    target: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    align: str = "none",
    min_depth: float = 1e-3,
    max_depth: float = float("inf"),
) -> dict[str, float]:
    """Errors of one depth map over its valid pixels (Eigen et al. 2014; silog as in KITTI, without its factor 100).

    abs_rel = mean |p-t|/t, sq_rel = mean (p-t)^2/t, rmse and mae in metres, rmse_log of natural logarithms,
    log10 = mean |log10 p - log10 t|, silog = standard deviation of log p - log t,
    deltaN = share of pixels with max(p/t, t/p) < 1.25^N.

    Args:
        prediction: (H, W) metres, or proportional to depth for align="scale_shift_disparity". Clamped to
            [min_depth, max_depth] after alignment.
        target: (H, W) metres.
        valid: (H, W) bool, or None for all pixels. Pixels whose target is not finite or outside
            [min_depth, max_depth] are always excluded.
        align: "none"; "median": prediction times median(t)/median(p); "scale_shift_depth": least squares a p + b
            to t; "scale_shift_disparity": least squares of a/p + b to 1/t (the protocol of MiDaS).
        min_depth: smallest target depth that is scored, metres; above 0.
        max_depth: largest target depth that is scored, metres.

    Returns:
        Each of `METRICS`, "median_ratio" (the median of p/t, which shows a wrong overall scale) and "pixels".

    Raises:
        ValueError: shapes differ, unknown alignment or range, no valid pixel, or a prediction that is not finite
            at a valid pixel.

    Example:
        >>> t = np.full((4, 4), 2.0)
        >>> depth_metrics(t * 1.1, t)["abs_rel"].__round__(3)
        0.1
    """
    prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    if prediction.shape != target.shape or (valid is not None and valid.shape != target.shape):
        shapes = prediction.shape, target.shape, None if valid is None else valid.shape
        raise ValueError(f"prediction, target and valid differ in shape: {shapes}")
    if align not in ALIGNMENTS:
        raise ValueError(f"align must be one of {ALIGNMENTS}, not {align!r}")
    if not 0 < min_depth < max_depth:
        raise ValueError(f"need 0 < min_depth < max_depth, not {min_depth} and {max_depth}")
    with np.errstate(invalid="ignore"):
        scored = np.isfinite(target) & (target >= min_depth) & (target <= max_depth) & (target > 0)
    if valid is not None:
        scored &= np.asarray(valid, bool)
    if not scored.any():
        raise ValueError(f"no valid pixel with a depth of {min_depth} to {max_depth} m")
    p, t = prediction[scored], target[scored]
    if not np.isfinite(p).all():
        raise ValueError("the prediction is not finite at some valid pixels")
    p = np.clip(_aligned(p, t, align), min_depth, max_depth)
    if not np.isfinite(p).all():
        raise ValueError("fitted in disparity, some pixels are infinitely far: give max_depth")

    log_error = np.log(p) - np.log(t)
    ratio = np.maximum(p / t, t / p)
    return {
        "abs_rel": float(np.mean(np.abs(p - t) / t)),
        "sq_rel": float(np.mean((p - t) ** 2 / t)),
        "rmse": float(np.sqrt(np.mean((p - t) ** 2))),
        "rmse_log": float(np.sqrt(np.mean(log_error**2))),
        "log10": float(np.mean(np.abs(log_error)) / np.log(10)),
        "silog": float(np.std(log_error)),
        "mae": float(np.mean(np.abs(p - t))),
        "delta1": float(np.mean(ratio < 1.25)),
        "delta2": float(np.mean(ratio < 1.25**2)),
        "delta3": float(np.mean(ratio < 1.25**3)),
        "median_ratio": float(np.median(p / t)),
        "pixels": int(t.size),
    }


def _aligned(p: np.ndarray, t: np.ndarray, align: str) -> np.ndarray:
    if align == "none":
        return p
    if align == "median":
        middle = np.median(p)
        if middle <= 0:
            raise ValueError(f"the prediction cannot be median-aligned: its median {middle:g} is not positive")
        return p * (np.median(t) / middle)
    if align == "scale_shift_depth":
        return _fitted(p, t)
    if p.min() <= 0:
        raise ValueError(f"the prediction must be positive to be aligned in disparity, not {p.min():g}")
    disparity = _fitted(1 / p, 1 / t)
    # A disparity of 0 or less means infinitely far.
    return np.where(disparity > 0, 1 / np.where(disparity > 0, disparity, 1), np.inf)


def _fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values at x of the least-squares line through (x, y)."""
    spread = x - x.mean()
    variance = (spread**2).mean()
    slope = (spread * y).mean() / variance if variance > 0 else 0.0
    return y.mean() + slope * spread


def boundary_f1(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """How well depth edges lie where they should, whatever the scale (Bochkovskii et al. 2024, Depth Pro).

    A pixel and its neighbour are a boundary if the ratio of their depths exceeds a threshold. F1 of the predicted
    boundaries, with precision and recall averaged over those of the four directions that have boundaries (the published
    code counts the others as 0, so that a single edge cannot score 1); over ten thresholds from 1.05 to 1.25, weighted
    in proportion to the threshold. Meaningful where the true depth is exact at edges, as in rendered data.

    Args:
        prediction: (H, W) metres, or proportional to depth; positive.
        target: (H, W) metres.
        valid: (H, W) bool, or None for all pixels; only neighbours that are both valid count.

    Returns:
        From 0 to 1; NaN if the target has no boundary.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> steps = np.where(np.arange(8) < 4, 1.0, 2.0) * np.ones((8, 1))
        >>> boundary_f1(3 * steps, steps)
        1.0
    """
    if prediction.shape != target.shape or (valid is not None and valid.shape != target.shape):
        raise ValueError(f"prediction and target differ in shape: {prediction.shape}, {target.shape}")
    known = np.isfinite(target) & (target > 0) & (True if valid is None else valid)
    logs = [np.log(np.where(known, np.maximum(depth, 1e-9), 1.0)) for depth in (prediction, target)]
    parts = []
    for axis in (0, 1):
        both = np.minimum(*(np.roll(known, -shift, axis) for shift in (0, 1))).take(range(known.shape[axis] - 1), axis)
        found, true = (np.diff(log, axis=axis)[both] for log in logs)
        parts += [(found, true), (-found, -true)]
    if not any((true > np.log(_STEPS[0])).any() for _, true in parts):
        return float("nan")
    scores = []
    for step in np.log(_STEPS):
        counts = np.array([(np.sum((f > step) & (t > step)), np.sum(f > step), np.sum(t > step)) for f, t in parts])
        hits = counts[:, 0]
        precision, recall = (
            np.mean(hits[marked > 0] / marked[marked > 0]) if marked.any() else 0.0 for marked in counts.T[1:]
        )
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return float(np.average(scores, weights=_STEPS))


def rim_ratio(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """How the error of depth changes towards the rim of the picture.

    The median of prediction / target over the outermost 1 % of the measured rectangle's width and height, divided by
    that over a band as wide that begins 3 % inside.

    Args:
        prediction: (H, W) metres.
        target: (H, W) metres.
        valid: (H, W) bool, or None for all pixels.

    Returns:
        1 if the rim is as right as what lies further in, below 1 if it is too near; NaN if a band has no valid pixel.

    Example:
        >>> rim_ratio(np.full((200, 200), 2.0), np.full((200, 200), 3.0))
        1.0
    """
    known = np.isfinite(target) & (target > 0) & (True if valid is None else valid)
    if not known.any():
        return float("nan")
    rows, columns = (np.flatnonzero(known.any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, ratio = known[box], prediction[box] / np.where(known[box], target[box], 1)
    # Distance of pixel centres from the nearest side, as a share of height or width.
    shares = [(np.arange(side) + 0.5) / side for side in inside.shape]
    from_side = np.minimum(*np.meshgrid(*(np.minimum(share, 1 - share) for share in shares), indexing="ij"))
    medians = []
    for near in (0.0, 0.03):
        wide = max(0.01, 1 / min(inside.shape))  # a pixel at least
        band = inside & (from_side >= near) & (from_side < near + wide)
        if not band.any():
            return float("nan")
        medians.append(np.median(ratio[band]))
    return float(medians[0] / medians[1])
