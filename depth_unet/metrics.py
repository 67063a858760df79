"""The field's measures of a depth map, and the four ways to align one that is only right up to scale and shift."""

import numpy as np

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
        prediction: (H, W) metres; for align="scale_shift_disparity" anything proportional to depth will do.
            After alignment it is clamped to [min_depth, max_depth], as this protocol does.
        target: (H, W) metres.
        valid: (H, W) bool, or None for everywhere. Pixels whose target lies outside [min_depth, max_depth] or is
            not finite are left out in any case.
        align: "none"; "median": prediction times median(t)/median(p); "scale_shift_depth": least squares a p + b
            to t; "scale_shift_disparity": least squares of a/p + b to 1/t (as MiDaS is scored).
        min_depth: nearest depth that is scored, metres; above 0.
        max_depth: farthest depth that is scored, metres.

    Returns:
        Each of `METRICS`, and "median_ratio": the median of p/t, which tells a wrong overall scale, and "pixels".

    Raises:
        ValueError: shapes differ, unknown alignment or range, no valid pixel, or a prediction that is not finite
            there.

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
        raise ValueError("the prediction is not finite everywhere that it is scored")
    p = np.clip(_aligned(p, t, align), min_depth, max_depth)
    if not np.isfinite(p).all():
        raise ValueError("fitted in disparity, some of the prediction is infinitely far: give max_depth")

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
            raise ValueError("a prediction whose median is not positive cannot be aligned by its median")
        return p * (np.median(t) / middle)
    if align == "scale_shift_depth":
        return _fitted(p, t)
    if p.min() <= 0:
        raise ValueError("disparity is 1/depth: the prediction must be positive to be aligned in it")
    disparity = _fitted(1 / p, 1 / t)
    # Where the line crosses zero the depth is beyond any cap.
    return np.where(disparity > 0, 1 / np.where(disparity > 0, disparity, 1), np.inf)


def _fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The least squares line through (x, y), at x."""
    spread = x - x.mean()
    variance = (spread**2).mean()
    slope = (spread * y).mean() / variance if variance > 0 else 0.0
    return y.mean() + slope * spread
