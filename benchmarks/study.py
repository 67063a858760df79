"""Any number of depth models on one data set, in the alignments that make sense for each.

`python -m benchmarks.study --data KIND:PATH --model A --model B --output DIR` opens models of this package, of
transformers, and the peers of `benchmarks.peers`, and writes DIR/study.md (a table), DIR/study.json (with the SHA-256
of each model's weights) and DIR/study.png.

All models see the same frames. Latency is the median over photos, from an array in memory to a depth map of its size,
in turns in one process.
"""

import argparse
import io
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.peers import open_any
from depth_unet import data
from depth_unet.data import DepthData, Part
from depth_unet.engines import add_device_options
from depth_unet.files import write_atomically, write_json
from depth_unet.hub import find_files
from depth_unet.metrics import ALIGNMENTS
from depth_unet.model import CONFIG_FILE
from depth_unet.predictor import Predictor
from train.documents import markdown_table
from train.evaluate import Measured, add_scoring_options, interval, measure, open_scored

METRICS = ("abs_rel", "rmse", "delta1")
TITLES = {
    "none": "metric",
    "median": "median-aligned",
    "scale_shift_depth": "scale-and-shift-aligned in depth",
    "scale_shift_disparity": "scale-and-shift-aligned in disparity",
}


class Entry(NamedTuple):
    """The results of one model.

    Args:
        title: for the table; unique.
        model: what was measured.
        measured: its accuracy.
        milliseconds: median latency.
        megabytes: size of its weights on disk.
    """

    title: str
    model: Predictor
    measured: Measured
    milliseconds: float
    megabytes: float

    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """95 % intervals by alignment, then by metric."""
        frames = self.measured.frames
        return {align: {name: interval(frames, name, align) for name in METRICS} for align in self.measured.means}

    def to_dict(self) -> dict:
        """For JSON."""
        return {
            "title": self.title,
            "model": self.model.name,
            "revision": self.model.revision,
            "licence": self.model.licence,
            "sha256": self.model.sha256,
            "metrics": self.measured.means,
            "intervals": self.intervals(),
            "frames": len(self.measured.frames),
            "missed": self.measured.missed,
            "latency_ms": self.milliseconds,
            "size_mb": self.megabytes,
        }


def megabytes_of(name: str) -> float:
    """Size of a model's weights: of its file, or of the safetensors files in its folder or repository."""
    path = Path(name)
    files = [path] if path.is_file() else find_files(name, (CONFIG_FILE,)).folder.glob("*.safetensors")
    return sum(file.stat().st_size for file in files) / 1e6


def latencies(models: dict[str, Predictor], dataset: DepthData, rounds: int) -> dict[str, float]:
    """Median milliseconds for a photo, all models in turns."""
    sample = dataset[0]
    photo = (sample.image * 255).round().byte().permute(1, 2, 0).numpy()
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, model in models.items():
            began = time.perf_counter()
            model.predict_scored([photo], [sample.camera])
            if turn:  # the first is for warming up
                taken[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in taken.items()}


def titles_of(names: list[str], models: list[Predictor]) -> list[str]:
    """The models' names; those that occur twice as on the command line, numbered if these are equal as well."""
    short = [model.name for model in models]
    chosen = [title if short.count(title) == 1 else name for title, name in zip(short, names, strict=True)]
    return [
        title if chosen.count(title) == 1 else f"{title} ({chosen[: number + 1].count(title)})"
        for number, title in enumerate(chosen)
    ]


def table_of(entries: list[Entry]) -> str:
    """A row for each model: AbsRel with its interval / delta1 for each alignment, latency, size, licence."""
    shown = [align for align in ALIGNMENTS if any(align in entry.measured.means for entry in entries)]
    rows = []
    for entry in entries:
        cells, intervals = [], entry.intervals()
        for align in shown:
            means = entry.measured.means.get(align)
            if means is None:
                cells.append(None)
            else:
                low, high = intervals[align]["abs_rel"]
                cells.append(f"{means['abs_rel']:.3f} ({low:.3f} to {high:.3f}) / {means['delta1']:.3f}")
        rows.append([entry.title, *cells, f"{entry.milliseconds:.0f}", f"{entry.megabytes:.1f}", entry.model.licence])
    return markdown_table(["AbsRel (95 % interval) / delta1", *map(TITLES.get, shown), "ms", "MB", "licence"], rows)


def picture_of(entries: list[Entry]) -> bytes:
    """A PNG: AbsRel with its interval for each model and alignment, and delta1 against latency."""
    figure = Figure(figsize=(12, 1.6 + 0.6 * len(entries)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for number, align in enumerate(ALIGNMENTS):
        points = [(row, entry) for row, entry in enumerate(entries) if align in entry.measured.means]
        if not points:
            continue
        means = [entry.measured.means[align]["abs_rel"] for _, entry in points]
        ends = np.array([entry.intervals()[align]["abs_rel"] for _, entry in points]).T
        errors = np.maximum(0, [means - ends[0], ends[1] - means])
        places = [row + 0.15 * (number - 1.5) for row, _ in points]
        left.errorbar(means, places, xerr=errors, fmt="o", capsize=3, color=f"C{number}", label=TITLES[align])
        deltas = [entry.measured.means[align]["delta1"] for _, entry in points]
        right.scatter([entry.milliseconds for _, entry in points], deltas, color=f"C{number}")
    left.set(yticks=range(len(entries)), yticklabels=[entry.title for entry in entries], xlabel="AbsRel")
    left.invert_yaxis()
    left.legend(fontsize=8)
    right.set(xscale="log", xlabel="ms per photo", ylabel="delta1")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.study", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--data", required=True, help=data.usage())
    made.add_argument(
        "--model",
        action="append",
        required=True,
        help="as for train.evaluate, or a .tflite or .onnx file of a peer; may be given several times",
    )
    made.add_argument("--output", type=Path, required=True, help="folder for table, JSON and picture")
    add_device_options(made)
    add_scoring_options(made)
    made.add_argument("--frames", type=int, default=0, help="score only so many, evenly spread; 0: all")
    made.add_argument("--batch-size", type=int, default=8, help="frames at once, for accuracy")
    made.add_argument("--threads", type=int, default=1, help="CPU threads")
    made.add_argument("--rounds", type=int, default=10, help="photos timed for each model")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if frames could not be scored, 2 if nothing could be done."""
    options = parser().parse_args(arguments)
    try:
        if options.rounds < 1 or options.threads < 1 or options.frames < 0:
            raise ValueError("--rounds and --threads must be at least 1, and --frames at least 0")
        torch.set_num_threads(options.threads)
        dataset = open_scored(options.data, options)
        if options.frames:
            count = min(options.frames, len(dataset))
            dataset = Part(dataset, np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist())
        models = [open_any(name, options.threads, options.device, options.dtype) for name in options.model]
        print(dataset.describe())
        return _study(dict(zip(titles_of(options.model, models), models, strict=True)), dataset, options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _study(models: dict[str, Predictor], dataset: DepthData, options: argparse.Namespace) -> int:
    milliseconds = latencies(models, dataset, options.rounds)
    entries = [
        Entry(
            title,
            model,
            measure(model, dataset, batch_size=options.batch_size),
            milliseconds[title],
            megabytes_of(given),
        )
        for (title, model), given in zip(models.items(), options.model, strict=True)
    ]
    about = (
        f"{entries[0].measured.protocol}. Latency: median of {options.rounds} photos, {options.threads} CPU thread(s), "
        f"--device {options.device}, --dtype {options.dtype}."
    )
    table = table_of(entries)
    print(f"\n{about}\n\n{table}")
    options.output.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output / "study.md", f"{about}\n\n{table}\n\n![AbsRel and latency](study.png)\n")
    write_json(
        options.output / "study.json",
        {"data": dataset.title, "protocol": about, "models": [entry.to_dict() for entry in entries]},
    )
    write_atomically(options.output / "study.png", picture_of(entries))
    missed = [(entry.title, reason) for entry in entries for reason in entry.measured.missed]
    for title, reason in missed:
        print(f"not scored: {title}: {reason}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
