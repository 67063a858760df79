"""`python -m train.evaluate`: accuracy of a model on a data set, by the scoring rules of the field."""

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from depth_unet import DepthSample, Prediction, data, depth_metrics
from depth_unet.data import DepthData, Part
from depth_unet.data.origin import Origin
from depth_unet.data.sample import SampleError
from depth_unet.data.scoring import RULES, ScoringRule
from depth_unet.engines import add_model_options, open_chosen
from depth_unet.files import write_atomically, write_json
from depth_unet.metrics import METRICS, boundary_f1, rim_ratio
from depth_unet.predictor import Predictor
from depth_unet.reading import LARGEST_TEXT, read_bytes
from train.documents import fill, filled, markdown_table
from train.history import sample_sheet
from train.outputs import check_output
from train.uncertainty import Pixels, Quality

REPORTED = (*METRICS, "median_ratio")
DISTANCES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0, 100.0, float("inf"))  # metres; edges of the bins
RESAMPLED = 2000  # bootstrap samples behind the intervals


class Frame(NamedTuple):
    """One scored frame.

    Args:
        key: the sample's name.
        metrics: by alignment, then by name.
        distances: unaligned, for each true distance ("1 to 2 m"): pixels, and sums over them of the absolute relative
            error and of being within a factor of 1.25; {} where only the metrics were asked for.
        details: "fov_deg", the horizontal field of view; "boundary_f1" and "rim", see `depth_unet.metrics`;
            "uncertainty", the mean. What is undefined is left out; {} where only the metrics were asked for.
    """

    key: str
    metrics: dict[str, dict[str, float]]
    distances: dict[str, tuple[int, float, float]] = {}
    details: dict[str, float] = {}


class Measured(NamedTuple):
    """The result of an evaluation.

    Args:
        model: name of the model.
        sha256: of the file with its weights, or None.
        data: name of the data set, without folders.
        protocol: how it was measured, in words.
        origins: of the data set.
        means: metrics by alignment, then by name.
        frames: those scored.
        missed: what was wrong with the frames that could not be scored.
        uncertainty: how good the predicted uncertainty is; None if the model predicts none.
    """

    model: str
    sha256: str | None
    data: str
    protocol: str
    origins: tuple[Origin, ...]
    means: dict[str, dict[str, float]]
    frames: list[Frame]
    missed: list[str]
    uncertainty: Quality | None = None

    @property
    def table(self) -> str:
        """The means in Markdown, a row for each alignment."""
        return metrics_table(self.means)


class Centre(Part):
    """The centre of every frame of a data set, with its camera; scored by the same rule of the whole frame.

    Args:
        whole: the data set.
        share: of each side that is kept, in (0, 1].

    Raises:
        ValueError: `share` is not in that range.
    """

    def __init__(self, whole: DepthData, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"the share of each side must be above 0 and at most 1, not {share}")
        super().__init__(whole, range(len(whole)))
        self.share, self.shown = share, f"the middle {share:.1%} of each side"

    def __getitem__(self, index: int) -> DepthSample:
        """The centre of one sample."""
        return self._cropped(super().__getitem__(index))

    def unscored(self, index: int) -> DepthSample:
        """See `DepthData`."""
        return self._cropped(super().unscored(index))

    def scored(self, index: int) -> DepthSample:
        """See `DepthData`."""
        return self._cropped(super().scored(index))

    def _cropped(self, sample: DepthSample) -> DepthSample:
        height, width = (round(self.share * side) for side in sample.depth.shape[1:])
        left, top = (sample.depth.shape[2] - width) // 2, (sample.depth.shape[1] - height) // 2
        return sample.crop(left, top, width, height)


def predict_samples(
    model: Predictor, samples: Iterable[DepthSample], batch_size: int = 8
) -> Iterator[tuple[DepthSample, Prediction]]:
    """Predict whole pictures with their cameras, as a user would, and yield each sample with its prediction."""
    pending: list[DepthSample] = []

    def flush() -> Iterator[tuple[DepthSample, Prediction]]:
        images = [(sample.image * 255).round().byte().permute(1, 2, 0).numpy() for sample in pending]
        predictions = model.predict_scored(images, [sample.camera for sample in pending], batch_size)
        yield from zip(pending, predictions, strict=True)
        pending.clear()

    for sample in samples:
        pending.append(sample)
        if len(pending) == batch_size:
            yield from flush()
    if pending:
        yield from flush()


def score(
    sample: DepthSample, prediction: Prediction, alignments: tuple[str, ...], rule: ScoringRule, whole: bool = False
) -> Frame:
    """The metrics of one frame under each alignment, at the sample's own resolution.

    Args:
        sample: with only those pixels valid that count.
        prediction: of the sample's picture.
        alignments: of `metrics.ALIGNMENTS`.
        rule: its depth range clips aligned predictions.
        whole: also what is more than metrics.

    Raises:
        SampleError: the frame cannot be scored; the message names it.
    """
    target, valid = sample.depth[0].numpy(), sample.valid[0].numpy()
    nearest, farthest = rule.range
    try:
        metrics = {
            align: depth_metrics(prediction.depth, target, valid, align=align, min_depth=nearest, max_depth=farthest)
            for align in alignments
        }
    except ValueError as error:
        raise SampleError(f"{sample.key}: {error}") from error
    if not whole:
        return Frame(sample.key, metrics)
    details = {
        "fov_deg": sample.camera.horizontal_fov_deg,
        "boundary_f1": boundary_f1(prediction.depth, target, valid),
        "rim": rim_ratio(prediction.depth, target, valid),
        "uncertainty": math.nan if prediction.uncertainty is None else prediction.mean_uncertainty(),
    }
    details = {name: float(value) for name, value in details.items() if math.isfinite(value)}
    return Frame(sample.key, metrics, _by_distance(prediction.depth, target, valid, rule.range), details)


def _by_distance(
    prediction: np.ndarray, target: np.ndarray, valid: np.ndarray, cap: tuple[float, float]
) -> dict[str, tuple[int, float, float]]:
    found = {}
    for near, far in zip(DISTANCES, DISTANCES[1:], strict=False):
        here = valid & (target > near) & (target <= far) & (target >= cap[0]) & (target <= cap[1])
        if here.any():
            p, t = np.clip(prediction[here].astype(np.float64), *cap), target[here].astype(np.float64)
            name = f"{near:g} to {far:g} m" if far < float("inf") else f"over {near:g} m"
            right = np.maximum(p / t, t / p) < 1.25
            found[name] = (int(here.sum()), float((np.abs(p - t) / t).sum()), float(right.sum()))
    return found


def mean_over_frames(frames: list[Frame]) -> dict[str, dict[str, float]]:
    """Each metric's mean over frames, by alignment: every frame counts the same, as is usual on NYU."""
    return {
        align: {name: float(np.mean([f.metrics[align][name] for f in frames])) for name in REPORTED}
        for align in frames[0].metrics
    }


def interval(frames: list[Frame], metric: str, align: str = "none") -> tuple[float, float]:
    """The 95 % interval of a metric's mean, by bootstrap over frames (Efron 1979).

    Neighbouring frames of one recording are correlated, so the true interval is somewhat wider.
    """
    values = np.array([frame.metrics[align][metric] for frame in frames])
    chosen = np.random.default_rng(0).integers(len(values), size=(RESAMPLED, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def distance_table(frames: list[Frame]) -> list[dict[str, float | str]]:
    """Unaligned AbsRel and delta1 for each true distance, over all pixels of all frames, near to far."""
    sums: dict[str, np.ndarray] = {}
    for frame in frames:
        for name, values in frame.distances.items():
            sums[name] = sums.get(name, 0) + np.array(values)
    total = sum(values[0] for values in sums.values())
    # By the order of the bins' names in DISTANCES, which starts each of them.
    ordered = sorted(sums, key=lambda name: float(name.removeprefix("over ").split()[0]))
    return [
        {
            "distance": name,
            "share": float(sums[name][0] / total),
            "abs_rel": float(sums[name][1] / sums[name][0]),
            "delta1": float(sums[name][2] / sums[name][0]),
        }
        for name in ordered
    ]


def detail_means(frames: list[Frame]) -> dict[str, float]:
    """Mean boundary F1 and median rim over the frames where they are defined."""
    found = {name: [f.details[name] for f in frames if name in f.details] for name in ("boundary_f1", "rim")}
    means = {"boundary_f1": np.mean, "rim": np.median}
    return {name: float(means[name](values)) for name, values in found.items() if values}


def lens_table(frames: list[Frame], bins: int = 3) -> list[dict[str, float]]:
    """The median over frames of prediction / truth by field of view, in bins of as many frames; one if all are alike.

    Args:
        frames: scored without alignment, with their details.
        bins: number of them.
    """
    ordered = sorted(frames, key=lambda frame: frame.details["fov_deg"])
    if ordered[-1].details["fov_deg"] - ordered[0].details["fov_deg"] < 5:
        bins = 1
    return [
        {
            "from_deg": part[0].details["fov_deg"],
            "to_deg": part[-1].details["fov_deg"],
            "median_ratio": float(np.median([frame.metrics["none"]["median_ratio"] for frame in part])),
        }
        for part in (ordered[len(ordered) * k // bins : len(ordered) * (k + 1) // bins] for k in range(bins))
        if part
    ]


def worst_frames(frames: list[Frame], count: int) -> list[int]:
    """The indices of the frames with the highest AbsRel, unaligned if that was scored, the worst first."""
    return sorted(range(len(frames)), key=lambda i: -_first(frames[i])["abs_rel"])[:count]


def _first(frame: Frame) -> dict[str, float]:
    """The metrics without alignment or, of a model that has no metres, under its first alignment."""
    return next(iter(frame.metrics.values()))


def evaluate(
    model: Predictor,
    dataset: DepthData,
    rule: ScoringRule | None = None,
    batch_size: int = 8,
    pixels: list[Pixels] | None = None,
) -> tuple[list[Frame], list[str]]:
    """Score every frame of a data set in the alignments that suit the model, with a progress bar.

    Args:
        model: what predicts.
        dataset: its rule and masks decide which pixels count.
        rule: its depth range limits that of the data set's rule further; None: as it is.
        batch_size: frames predicted at once.
        pixels: those of each frame whose prediction has an uncertainty are added here.

    Returns:
        The frames, and what was wrong with those that could not be scored.

    Raises:
        SampleError: not one frame could be scored.
    """
    rule = rule or dataset.rule
    missed: list[str] = []

    def samples() -> Iterator[DepthSample]:
        for index in tqdm(range(len(dataset)), "evaluate", unit="img", leave=False):
            try:
                sample = dataset.scored(index).within(*rule.range)
                if not sample.valid.any():
                    raise SampleError(f"{sample.key}: no valid pixel with a depth of {rule.range} m")
                yield sample
            except SampleError as error:
                missed.append(str(error))

    frames = []
    for sample, prediction in predict_samples(model, samples(), batch_size):
        try:
            frames.append(score(sample, prediction, model.alignments, rule, whole=True))
            if pixels is not None and prediction.uncertainty is not None:
                pixels.append(Pixels.of(sample, prediction, seed=len(frames)))
        except SampleError as error:
            missed.append(str(error))
    if not frames:
        raise SampleError(f"not one of {len(dataset)} frames could be scored; the first: {missed[0]}")
    return frames, missed


def metrics_table(means: dict[str, dict[str, float]]) -> str:
    """The means as a table, a row for each alignment; metrics that were not measured have no column."""
    shown = [name for name in METRICS if name in next(iter(means.values()))]
    rows = [
        [align, *(f"{values[name]:.4f}" for name in shown), f"{values['median_ratio']:.3f}"]
        for align, values in means.items()
    ]
    return markdown_table(["alignment", *shown, "median p/t"], rows)


def measure(model: Predictor, dataset: DepthData, rule: ScoringRule | None = None, batch_size: int = 8) -> Measured:
    """`evaluate`, summed up with the protocol in words; the arguments are the same."""
    pixels: list[Pixels] = []
    frames, missed = evaluate(model, dataset, rule, batch_size, pixels)
    scored = f"{len(frames)} of {len(dataset)} frames" if missed else f"{len(frames)} frames"
    protocol = (
        f"{scored} of {dataset.title} (split {dataset.split}), {dataset.shown}, prediction at full resolution; scoring "
        f"rule {rule or dataset.rule}; mask: {dataset.mask}; mean over frames"
    )
    means = mean_over_frames(frames)
    quality = Quality.of(pixels, model.config.photo_error, model.config.pixel_error) if pixels else None
    return Measured(model.name, model.sha256, dataset.title, protocol, dataset.origins, means, frames, missed, quality)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train.evaluate", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_model_options(made)
    made.add_argument("--data", required=True, help=data.usage())
    add_scoring_options(made)
    made.add_argument("--centre", type=float, default=1.0, help="share of each side of a frame that is shown")
    made.add_argument("--batch-size", type=int, default=8, help="frames at once")
    made.add_argument("--output", type=Path, default=Path("runs/evaluation.json"), help="JSON to write")
    made.add_argument("--worst", type=int, default=20, help="frames in the picture of the worst; 0: no picture")
    made.add_argument(
        "--card", type=Path, action="append", default=[], help="document whose block 'metrics' is filled with the table"
    )
    return made


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """The options that decide what is scored; `open_scored` reads them."""
    parser.add_argument("--split", help="of the data  (default: nyu: test, diode and prepared: val, rgbd: all)")
    parser.add_argument("--protocol", choices=list(RULES), help="scoring rule  (default: that of the data)")
    parser.add_argument("--min-depth", type=float, help="nearest depth that is scored, metres  (default: the rule's)")
    parser.add_argument("--max-depth", type=float, help="farthest depth that is scored, metres  (default: the rule's)")
    parser.add_argument(
        "--edge-filter", action="store_true", help="diode: remove false depths at depth edges from the masks"
    )
    data.add_options(parser)


def open_scored(name: str, options: argparse.Namespace) -> DepthData:
    """Open data to score as the options of `add_scoring_options` ask.

    Raises:
        ValueError, FileNotFoundError: as `data.open_data`, or an impossible depth range.
    """
    opened = data.open_data(name, options.split, data.options_of(options, options.edge_filter or None))
    if options.protocol:
        opened.rule = RULES[options.protocol]
    nearest, farthest = (
        asked if asked is not None else own
        for asked, own in zip((options.min_depth, options.max_depth), opened.rule.range, strict=True)
    )
    if not 0 < nearest < farthest:
        raise ValueError(f"need 0 < min_depth < max_depth, not {nearest:g} and {farthest:g}")
    opened.rule = opened.rule._replace(min_depth=nearest, max_depth=farthest)
    return opened


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if frames could not be scored, 2 if nothing could be done."""
    options = parser().parse_args(arguments)
    try:
        for card in options.card:
            filled(read_bytes(card, LARGEST_TEXT).decode(), "metrics", "", card.name)
        for path in (options.output, _picture_of(options.output), *options.card):
            check_output(path)
        model = open_chosen(options.model, options.device, options.dtype)
        dataset = open_scored(options.data, options)
        if options.centre != 1:
            dataset = Centre(dataset, options.centre)
        print(dataset.describe())
        return _report(model, dataset, options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _picture_of(output: Path) -> Path:
    return output.with_name(output.stem + "_worst.jpg")


def _report(model: Predictor, dataset: DepthData, options: argparse.Namespace) -> int:
    measured = measure(model, dataset, batch_size=options.batch_size)
    frames, align = measured.frames, next(iter(measured.means))
    intervals = {metric: interval(frames, metric, align) for metric in ("abs_rel", "rmse", "delta1")}
    distances = distance_table(frames) if align == "none" else []
    worst = worst_frames(frames, options.worst)
    print(f"\n{model.name}: {measured.protocol}\n\n{measured.table}\n")
    print(
        f"95 % intervals, {'unaligned' if align == 'none' else align}: "
        + ", ".join(f"{m} {low:.4f} to {high:.4f}" for m, (low, high) in intervals.items())
    )
    if distances:
        rows = [[r["distance"], f"{r['share']:.3f}", f"{r['abs_rel']:.4f}", f"{r['delta1']:.4f}"] for r in distances]
        print("\n" + markdown_table(["true distance", "share of pixels", "abs_rel", "delta1"], rows))
    details, lenses = detail_means(frames), lens_table(frames) if align == "none" else []
    print("\n" + ", ".join(f"{name} {value:.3f}" for name, value in details.items()))
    for lens in lenses:
        print(f"median p/t {lens['median_ratio']:.3f} at {lens['from_deg']:.0f} to {lens['to_deg']:.0f} degrees")
    if measured.uncertainty:
        curves = options.output.with_name(options.output.stem + "_sparsification.png")
        write_atomically(curves, measured.uncertainty.picture())
        print(f"\n{measured.uncertainty.describe()}; curves: {curves}")
    write_json(
        options.output,
        {
            "model": measured.model,
            "revision": model.revision,
            "licence": model.licence,
            "sha256": measured.sha256,
            "data": measured.data,
            "protocol": measured.protocol,
            "metrics": measured.means,
            "intervals": intervals,
            "distances": distances,
            "details": details,
            "lenses": lenses,
            "uncertainty": measured.uncertainty.to_dict() if measured.uncertainty else None,
            "worst": [frames[index].key for index in worst],
            "missed": measured.missed,
            "frames": [frame._asdict() for frame in frames],
        },
    )
    if worst:
        places = {dataset.key(index): index for index in range(len(dataset))}
        shown = (dataset.scored(places[frames[index].key]) for index in worst)
        samples, predictions = zip(*predict_samples(model, shown), strict=True)
        titles = [f"{frames[i].key}: AbsRel {_first(frames[i])['abs_rel']:.3f}" for i in worst]
        picture = _picture_of(options.output)
        sheet = sample_sheet(list(samples), list(predictions), titles)
        write_atomically(picture, lambda file: sheet.save(file, "JPEG", quality=88))
        print(f"\nthe {len(worst)} worst frames: {picture}; everything: {options.output}")
    for card in options.card:
        fill(card, "metrics", f"{measured.protocol}.\n\n{measured.table}")
    if measured.missed:
        for reason in measured.missed:
            print(f"not scored: {reason}", file=sys.stderr)
        print(f"scored {len(frames)} of {len(dataset)} frames")
    return 1 if measured.missed else 0


if __name__ == "__main__":
    sys.exit(main())
