"""`python -m train.evaluate`: how good a model is on a data set, in the protocols of the field."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset
from tqdm import tqdm

from benchmarks.peers import Peer, open_model
from depth_unet import DEFAULT_MODEL, DepthSample, Prediction, depth_metrics
from depth_unet.data.sample import SampleError
from depth_unet.files import write_json
from depth_unet.metrics import ALIGNMENTS, METRICS
from depth_unet.predictor import Predictor
from train import data
from train.card import Measured, fill, sources_of
from train.history import sample_sheet

REPORTED = (*METRICS, "median_ratio")
DISTANCES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0, 100.0, float("inf"))  # metres; edges of the bins
RESAMPLED = 2000  # times, for the intervals


class Frame(NamedTuple):
    """One frame of an evaluation.

    Args:
        key: the sample's name.
        metrics: by alignment, then by name.
        distances: unaligned, for each true distance ("1 to 2 m"): pixels, and sums over them of the absolute relative
            error and of being within a factor of 1.25.
    """

    key: str
    metrics: dict[str, dict[str, float]]
    distances: dict[str, tuple[int, float, float]]


class Centre(Dataset):
    """The middle of every sample of a data set, with its camera.

    Args:
        samples: of `DepthSample`.
        share: of each side that is left, in (0, 1].

    Raises:
        ValueError: `share` is not in that range.
    """

    def __init__(self, samples: Dataset, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"the share of each side must be above 0 and at most 1, not {share}")
        self.samples, self.share = samples, share

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> DepthSample:
        """The middle of one."""
        sample = self.samples[index]
        height, width = (round(self.share * side) for side in sample.depth.shape[1:])
        left, top = (sample.depth.shape[2] - width) // 2, (sample.depth.shape[1] - height) // 2
        return sample.crop(left, top, width, height)


def predict_samples(
    model: Predictor | Peer, samples: Iterable[DepthSample], batch_size: int = 8
) -> Iterator[tuple[DepthSample, Prediction]]:
    """Predict as a user would, whole pictures with their cameras, and give each sample back with its prediction."""
    pending: list[DepthSample] = []

    def flush() -> Iterator[tuple[DepthSample, Prediction]]:
        images = [(sample.image * 255).round().byte().permute(1, 2, 0).numpy() for sample in pending]
        predictions = model.predict_batch(images, [sample.camera for sample in pending], batch_size)
        yield from zip(pending, predictions, strict=True)
        pending.clear()

    for sample in samples:
        pending.append(sample)
        if len(pending) == batch_size:
            yield from flush()
    if pending:
        yield from flush()


def score(sample: DepthSample, prediction: Prediction, alignments: tuple[str, ...], cap: tuple[float, float]) -> Frame:
    """The metrics of one frame under each alignment, at the sample's own resolution.

    Raises:
        SampleError: the frame cannot be scored; the message names it.
    """
    target, valid = sample.depth[0].numpy(), sample.valid[0].numpy()
    try:
        metrics = {
            align: depth_metrics(prediction.depth, target, valid, align=align, min_depth=cap[0], max_depth=cap[1])
            for align in alignments
        }
    except ValueError as error:
        raise SampleError(f"{sample.key}: {error}") from error
    return Frame(sample.key, metrics, _by_distance(prediction.depth, target, valid, cap))


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

    Neighbouring frames of one recording are not independent, so the truth is a little wider.
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


def worst_frames(frames: list[Frame], count: int) -> list[int]:
    """The indices of the frames with the highest AbsRel, unaligned if that was scored, the worst first."""
    return sorted(range(len(frames)), key=lambda i: -_first(frames[i])["abs_rel"])[:count]


def _first(frame: Frame) -> dict[str, float]:
    """The metrics without alignment or, of a network that cannot be scored so, in its first one."""
    return next(iter(frame.metrics.values()))


def evaluate(
    model: Predictor | Peer, dataset: Dataset, cap: tuple[float, float] = (0.3, 10.0), batch_size: int = 8
) -> list[Frame]:
    """Score every frame of a data set in all four alignments, or in those that suit a peer, with a progress bar.

    Args:
        model: what predicts.
        dataset: of `DepthSample`; its masks say what counts.
        cap: (nearest, farthest) metres that are scored.
        batch_size: frames that go through the network at once.
    """
    samples = (dataset[index] for index in tqdm(range(len(dataset)), "evaluate", unit="img", leave=False))
    alignments = model.alignments if isinstance(model, Peer) else ALIGNMENTS
    return [score(s, p, alignments, cap) for s, p in predict_samples(model, samples, batch_size)]


def markdown_table(means: dict[str, dict[str, float]]) -> str:
    """The means as a table, a row for each alignment."""
    shown = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "mae", "delta1", "delta2", "delta3")
    lines = ["| alignment | " + " | ".join(shown) + " | median p/t |", "|---" * (len(shown) + 2) + "|"]
    for align, values in means.items():
        cells = [f"{values[name]:.4f}" for name in shown]
        lines.append(f"| {align} | " + " | ".join(cells) + f" | {values['median_ratio']:.3f} |")
    return "\n".join(lines)


def measure(
    model: Predictor | Peer, dataset: Dataset, name: str, cap: tuple[float, float] = (0.3, 10.0), batch_size: int = 8
) -> tuple[Measured, list[Frame]]:
    """`evaluate`, summed up with the protocol in words.

    Args:
        model: what predicts.
        dataset: of `DepthSample`.
        name: of the data set, for people.
        cap: (nearest, farthest) metres that are scored.
        batch_size: frames that go through the network at once.
    """
    frames = evaluate(model, dataset, cap, batch_size)
    means = mean_over_frames(frames)
    shown = f"the middle {dataset.share:.1%} of each side" if isinstance(dataset, Centre) else "whole frames"
    protocol = (
        f"{len(frames)} frames of {name}, {shown}, prediction at full resolution, scored where the data set's "
        f"mask is valid (NYU: Eigen crop) and {cap[0]:g} to {cap[1]:g} m, mean over frames"
    )
    source = " and ".join(sources_of(dataset.samples if isinstance(dataset, Centre) else dataset))
    return Measured(name, source, protocol, means, markdown_table(means)), frames


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 2 for a mistake in what was asked or in the data."""
    parser = argparse.ArgumentParser(
        "python -m train.evaluate", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="folder, owner/name on a hub, .onnx, or another maker's network: .tflite (8 bits, metric depth) or .onnx "
        "(disparity)",
    )
    parser.add_argument("--data", required=True, help=data.HELP)
    parser.add_argument("--split", default="val", choices=("train", "val", "test"), help="of data that have it")
    parser.add_argument("--min-depth", type=float, default=0.3, help="nearest depth that is scored, metres")
    parser.add_argument("--max-depth", type=float, default=10.0, help="farthest depth that is scored, metres")
    parser.add_argument("--centre", type=float, default=1.0, help="share of each side of a frame that is shown")
    parser.add_argument("--batch-size", type=int, default=8, help="frames at once")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation.json"), help="JSON to write")
    parser.add_argument("--worst", type=int, default=20, help="frames in the picture of the worst; 0: no picture")
    parser.add_argument(
        "--card", type=Path, action="append", default=[], help="document whose block 'metrics' is filled with the table"
    )
    options = parser.parse_args(arguments)

    try:
        _report(options)
    except (ValueError, FileNotFoundError, ConnectionError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _report(options: argparse.Namespace) -> None:
    model = open_model(options.model)
    dataset = data.open_data(options.data, options.split)
    if options.centre != 1:
        dataset = Centre(dataset, options.centre)
    cap = (options.min_depth, options.max_depth)
    name = Path(options.data.partition(":")[2]).name
    measured, frames = measure(model, dataset, name, cap, options.batch_size)
    align = next(iter(measured.means))
    intervals = {metric: interval(frames, metric, align) for metric in ("abs_rel", "rmse", "delta1")}
    distances = distance_table(frames) if align == "none" else []
    worst = worst_frames(frames, options.worst)
    print(f"{model.name}: {measured.protocol}\n\n{measured.table}\n")
    print(
        f"95 % intervals, {'unaligned' if align == 'none' else align}: "
        + ", ".join(f"{m} {low:.4f} to {high:.4f}" for m, (low, high) in intervals.items())
    )
    if distances:
        print("\n| true distance | share of pixels | abs_rel | delta1 |\n|---|---|---|---|")
    for row in distances:
        print(f"| {row['distance']} | {row['share']:.3f} | {row['abs_rel']:.4f} | {row['delta1']:.4f} |")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        options.output,
        {
            "model": model.name,
            "data": measured.data,
            "protocol": measured.protocol,
            "metrics": measured.means,
            "intervals": intervals,
            "distances": distances,
            "worst": [frames[index].key for index in worst],
            "frames": [frame._asdict() for frame in frames],
        },
    )
    if worst:
        samples, predictions = zip(*predict_samples(model, (dataset[index] for index in worst)), strict=True)
        titles = [f"{frames[i].key}: AbsRel {_first(frames[i])['abs_rel']:.3f}" for i in worst]
        picture = options.output.with_name(options.output.stem + "_worst.jpg")
        sample_sheet(list(samples), list(predictions), titles).save(picture, quality=88)
        print(f"\nthe {len(worst)} worst frames: {picture}; everything: {options.output}")
    for card in options.card:
        fill(card, "metrics", f"{measured.protocol}.\n\n{measured.table}")


if __name__ == "__main__":
    sys.exit(main())
