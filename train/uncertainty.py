"""How good predicted uncertainties are: coverage, sparsification, and the fit of their scale."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from depth_unet import DepthSample, Prediction

PER_FRAME = 5000  # pixels, and pairs of pixels, of each frame; all frames count the same
WITHIN = (0.6827, 0.9545)  # shares of a normal distribution within one and two standard deviations
TOLERANCES = (0.04, 0.02)
_FRACTIONS = np.linspace(0, 1, 50, endpoint=False)  # of the pixels that are removed


class Pixels(NamedTuple):
    """Pixels and pairs of pixels of one frame, drawn at random with a fixed seed.

    Args:
        error: (N,) log prediction - log truth.
        aligned: (N,) the same, with the medians of the frame's prediction and truth made equal.
        sigma: (N,) predicted standard deviation of log depth.
        length_error: (M,) predicted minus true length between two points, divided by the predicted length.
        independent: (M,) standard deviation of that length if `sigma` were the error of each end, independently of the
            other's; divided by the length.
    """

    error: np.ndarray
    aligned: np.ndarray
    sigma: np.ndarray
    length_error: np.ndarray
    independent: np.ndarray

    @classmethod
    def of(cls, sample: DepthSample, prediction: Prediction, seed: int) -> "Pixels":
        """Draw from the valid pixels of a frame.

        Args:
            sample: with only those pixels valid that count.
            prediction: with uncertainty.
            seed: of the random choice.
        """
        rng, valid = np.random.default_rng(seed), sample.valid[0].numpy()
        places = np.flatnonzero(valid)
        chosen = rng.choice(places, min(PER_FRAME, len(places)), replace=False)
        truth, found = sample.depth[0].numpy().ravel(), prediction.depth.ravel()
        error = np.log(found[chosen]) - np.log(truth[chosen])
        middle = np.log(np.median(found[places])) - np.log(np.median(truth[places]))
        sigma = prediction.uncertainty.ravel()
        ends = rng.choice(places, (2, PER_FRAME))
        true, seen = (prediction.camera.unproject(d.reshape(valid.shape)).reshape(-1, 3) for d in (truth, found))
        between = seen[ends[1]] - seen[ends[0]]
        length = np.linalg.norm(between, axis=1)
        apart = length > 0.05  # metres; shorter ones are neighbouring pixels
        ends, between, length = ends[:, apart], between[apart], length[apart]
        unit = between / length[:, None]
        along = [(unit * seen[end]).sum(1) * sigma[end] for end in ends]
        true_length = np.linalg.norm(true[ends[1]] - true[ends[0]], axis=1)
        return cls(error, error - middle, sigma[chosen], 1 - true_length / length, np.hypot(*along) / length)


class Area(NamedTuple):
    """Areas above the oracle's sparsification curve (AUSE, Ilg et al. 2018).

    Args:
        ours: pixels removed in the order of the predicted uncertainty.
        random: in random order.
        curves: mean error of the remaining pixels by order ("predicted", "random", "oracle").
    """

    ours: float
    random: float
    curves: dict[str, np.ndarray]


class Quality(NamedTuple):
    """How good the uncertainties of a data set are.

    Args:
        coverage: share of pixels within one and two standard deviations.
        lengths: share of lengths between two points within one and two standard deviations.
        raw: areas for the absolute relative error.
        aligned: the same after median alignment of each frame.
    """

    coverage: tuple[float, float]
    lengths: tuple[float, float]
    raw: Area
    aligned: Area

    @classmethod
    def of(cls, frames: Sequence[Pixels], photo_error: float, pixel_error: float) -> "Quality":
        """Of the pixels of all frames; `photo_error` and `pixel_error` as of `Prediction`."""
        pooled = pool(frames)
        of_length = np.hypot(photo_error, pixel_error * pooled.independent)
        return cls(
            covered(pooled.error, pooled.sigma),
            covered(pooled.length_error, of_length),
            area(relative(pooled.error), pooled.sigma),
            area(relative(pooled.aligned), pooled.sigma),
        )

    def describe(self) -> str:
        """Three lines."""
        lines = [
            f"{what} within 1 and 2 sigma: {one:.3f}, {two:.3f} (aim: 0.683, 0.954)"
            for what, (one, two) in (("pixels", self.coverage), ("lengths between two points", self.lengths))
        ]
        areas = (
            f"{name} {found.ours:.4f} (random order {found.random:.4f}, ratio {found.ours / found.random:.2f})"
            for name, found in (("unaligned", self.raw), ("median-aligned", self.aligned))
        )
        return "\n".join([*lines, f"area above the oracle's sparsification curve (AUSE): {', '.join(areas)}"])

    def to_dict(self) -> dict:
        """For JSON, without the curves."""
        values = self._asdict()
        return values | {
            name: {"ause": values[name].ours, "random": values[name].random} for name in ("raw", "aligned")
        }

    def picture(self) -> bytes:
        """The sparsification curves as PNG."""
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        for axes, (title, found) in zip(
            figure.subplots(1, 2), {"unaligned": self.raw, "median-aligned": self.aligned}.items(), strict=True
        ):
            for name, curve in found.curves.items():
                axes.plot(100 * _FRACTIONS, curve, label=name)
            axes.set(title=title, xlabel="least sure pixels removed, %", ylabel="AbsRel of the others", ylim=(0, None))
            axes.grid(alpha=0.3)
        figure.axes[0].legend()
        buffer = io.BytesIO()
        canvas.print_png(buffer)
        return buffer.getvalue()


def pool(frames: Sequence[Pixels]) -> Pixels:
    """The pixels of all frames together.

    Raises:
        ValueError: there are none.
    """
    if not frames:
        raise ValueError("no frame has an uncertainty")
    return Pixels(*map(np.concatenate, zip(*frames, strict=True)))


def relative(log_error: np.ndarray) -> np.ndarray:
    """The absolute relative error |p - t| / t from log p - log t."""
    return np.abs(np.expm1(log_error))


def covered(error: np.ndarray, sigma: np.ndarray) -> tuple[float, float]:
    """Shares of errors within one and two standard deviations.

    Example:
        >>> covered(np.array([0.5, -1.5, 2.5]), np.ones(3))
        (0.3333333333333333, 0.6666666666666666)
    """
    ratio = np.abs(error) / sigma
    return float(np.mean(ratio <= 1)), float(np.mean(ratio <= 2))


def area(error: np.ndarray, doubt: np.ndarray) -> Area:
    """Areas between sparsification curves: the mean error of what is left when the least sure pixels are removed.

    Args:
        error: (N,) at least 0.
        doubt: (N,) the higher, the earlier a pixel is removed.

    Example:
        >>> error = np.linspace(0, 1, 1000)
        >>> area(error, doubt=error).ours, round(area(error, doubt=error).random, 2)
        (0.0, 0.25)
    """
    curves = {"predicted": _curve(error, doubt), "random": np.full(len(_FRACTIONS), error.mean())}
    curves["oracle"] = _curve(error, error)
    ours, random = (float(np.mean(curves[name] - curves["oracle"])) for name in ("predicted", "random"))
    return Area(ours, random, curves)


def _curve(error: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    mean = np.cumsum(error[np.argsort(doubt, kind="stable")]) / np.arange(1, len(error) + 1)
    return mean[[math.ceil(len(error) * (1 - fraction)) - 1 for fraction in _FRACTIONS]]


def fitted_factor(error: np.ndarray, sigma: np.ndarray) -> float:
    """The factor for `sigma` whose coverages of one and two standard deviations miss those of a normal distribution
    least, in terms of `TOLERANCES`.
    """
    ratio = np.abs(error) / sigma
    candidates = np.quantile(ratio, np.linspace(0.6, 0.8, 401))

    def worst(factor: float) -> float:
        found = np.mean(ratio <= factor), np.mean(ratio <= 2 * factor)
        return max(abs(f - w) / t for f, w, t in zip(found, WITHIN, TOLERANCES, strict=True))

    return float(min(candidates, key=worst))


def fitted_lengths(error: np.ndarray, independent: np.ndarray) -> tuple[float, float]:
    """(photo_error, pixel_error) of `Prediction` for relative errors of lengths.

    The shares of variance that make them most likely as a Laplace distribution, whose outliers are those of depth
    maps; then the scale at which one standard deviation covers what that of a normal distribution does.
    """
    best = (math.inf, 0.0, 0.0)
    for share in np.linspace(0, 1, 41):
        unit = np.hypot(math.sqrt(1 - share) * np.sqrt(np.mean(independent**2)), math.sqrt(share) * independent)
        ratio = np.abs(error) / unit
        scale = np.mean(ratio)  # the most likely one
        surprise = float(np.mean(np.log(scale * unit)) + 1)
        if surprise < best[0]:
            factor = np.quantile(ratio, WITHIN[0])
            of_photo = factor * math.sqrt(1 - share) * np.sqrt(np.mean(independent**2))
            best = (surprise, float(of_photo), float(factor * math.sqrt(share)))
    return best[1:]
