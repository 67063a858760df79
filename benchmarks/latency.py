"""How fast, how large and how good: torch, onnxruntime in 32 and 8 bits, and two small published networks.

`python -m benchmarks.latency --data rgbd:nyu_val.tar --calibration nyu_train_0.tar` writes
benchmarks/results/latency.json and latency.png, and fills the block "latency" of benchmarks/README.md.

All contenders see the same photos, in turns, in one process; each photo goes from an array in memory to a depth map
of its size. Memory is measured in a process for each. Models that cannot run are left out, with the reason printed.
"""

import argparse
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.data import Dataset, Subset

from benchmarks.accuracy import FASTDEPTH, TCSMALLNET
from benchmarks.peers import open_any
from depth_unet import DEFAULT_MODEL, DepthUNet
from depth_unet.engines.onnx_export import calibration_photos, export, quantize
from depth_unet.files import write_json
from depth_unet.model import WEIGHTS_FILE
from depth_unet.predictor import Predictor
from train.card import fill, sources_of
from train.data import open_data
from train.evaluate import evaluate, mean_over_frames

HERE = Path(__file__).parent
PHOTOS = 8  # that the clock sees


class Contender(NamedTuple):
    """A model of the comparison.

    Args:
        name: for the table.
        file: its weights, whose size is reported.
        model: as for `open_any`.
    """

    name: str
    file: Path
    model: str

    def load(self, threads: int) -> Predictor:
        """Open it; torch's own number of threads is process-wide."""
        return open_any(self.model, threads)


def contenders(options: argparse.Namespace, folder: Path) -> tuple[list[Contender], list[str]]:
    """Those that can be run here, and why the others cannot."""
    model = DepthUNet.from_pretrained(options.model)
    found, left_out = [], []
    weights = Path(options.model) / WEIGHTS_FILE
    if not weights.is_file():
        model.save_pretrained(folder / "model", half=True)
        weights = folder / "model" / WEIGHTS_FILE
    found.append(Contender("depth_unet, torch", weights, options.model))
    exact, small = folder / "model.onnx", folder / "model_int8.onnx"
    export(model, exact)
    found.append(Contender("depth_unet, onnxruntime", exact, str(exact)))
    if options.calibration:
        quantize(exact, small, calibration_photos(options.calibration))
        found.append(Contender("depth_unet, onnxruntime int8", small, str(small)))
    else:
        left_out.append("int8: no --calibration given")
    peers = [("FastDepth, LiteRT int8", options.fastdepth), ("TCSmallNet, onnxruntime", options.tcsmallnet)]
    for name, path in peers:
        contender = Contender(name, path, str(path))
        try:
            contender.load(1)
            found.append(contender)
        except (ImportError, FileNotFoundError) as error:
            left_out.append(f"{name}: {error}")
    return found, left_out


def latencies(found: list[Contender], photos: list[np.ndarray], threads: int, rounds: int) -> dict[str, float]:
    """Median milliseconds for a photo."""
    torch.set_num_threads(threads)
    loaded = {contender.name: contender.load(threads) for contender in found}
    taken: dict[str, list[float]] = {name: [] for name in loaded}
    for turn in range(rounds + 1):
        for name, predictor in loaded.items():
            began = time.perf_counter()
            predictor.predict_batch([photos[turn % len(photos)]])
            if turn:  # the first is for warming up
                taken[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_memory(contender: Contender, photos: list[np.ndarray]) -> float:
    """Megabytes that loading and predicting add to a process in which all is imported."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_added_memory, contender.load, photos).result()


def _added_memory(load: Callable[[int], Predictor], photos: list[np.ndarray]) -> float:
    torch.set_num_threads(1)
    for name in ("onnxruntime", "ai_edge_litert.interpreter"):
        try:
            __import__(name)
        except ImportError:
            pass  # then nothing here needs it
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _memory("VmRSS")
    predictor = load(1)
    for photo in photos:
        predictor.predict_batch([photo])
    return _memory("VmHWM") - before


def _memory(field: str) -> float:
    """Megabytes by Linux's own account; getrusage's peak would be inherited from the parent process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def accuracy(contender: Contender, dataset: Dataset) -> dict[str, dict[str, float]]:
    """AbsRel and delta1 in each alignment that makes sense for it."""
    means = mean_over_frames(evaluate(contender.load(torch.get_num_threads()), dataset))
    return {align: {name: values[name] for name in ("abs_rel", "delta1")} for align, values in means.items()}


def markdown_table(rows: list[dict]) -> str:
    """A row for each contender."""
    aligns = ("none", "median", "scale_shift_disparity")
    heads = ["", "1 thread, ms", "2 threads, ms", "to FastDepth", "memory, MB", "file, MB"]
    heads += ["AbsRel / delta1, metric", "median-aligned", "scale and shift fitted"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    base = next((row["ms"]["1"] for row in rows if row["name"].startswith("FastDepth")), None)
    for row in rows:
        ratio = f"{row['ms']['1'] / base:.1f}" if base else ""
        scores = [row["accuracy"].get(align) for align in aligns]
        cells = [row["name"], *(f"{row['ms'][n]:.0f}" for n in ("1", "2")), ratio]
        cells += [f"{row['memory_mb']:.0f}", f"{row['file_mb']:.1f}"]
        cells += [f"{score['abs_rel']:.3f} / {score['delta1']:.3f}" if score else "" for score in scores]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: list[dict], path: Path) -> None:
    """delta1 against latency; hollow where only the fitted prediction can be scored."""
    figure = Figure(figsize=(6.4, 4), dpi=120, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    for row in rows:
        metric = "none" in row["accuracy"]
        score = row["accuracy"]["none" if metric else "scale_shift_disparity"]["delta1"]
        axes.plot(row["ms"]["1"], score, "o", ms=8, mfc=None if metric else "none", label=row["name"])
    axes.set(xlabel="milliseconds a photo, one thread", ylabel="delta1 (hollow: scale and shift fitted)")
    axes.margins(0.2)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    canvas.print_png(path)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    parser.add_argument("--data", required=True, help="KIND:PATH to measure on")
    parser.add_argument("--calibration", type=Path, help="folder of pictures or RGB-D tar; without it no int8")
    parser.add_argument("--fastdepth", type=Path, default=FASTDEPTH)
    parser.add_argument("--tcsmallnet", type=Path, default=TCSMALLNET)
    parser.add_argument("--rounds", type=int, default=40, help="photos for each contender and number of threads")
    parser.add_argument("--frames", type=int, help="score only so many, evenly spread  (default: all)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder for JSON and plot")
    parser.add_argument("--card", type=Path, default=HERE / "README.md", help="document to fill")
    options = parser.parse_args()

    dataset = open_data(options.data, "val")
    if options.frames:
        dataset = Subset(dataset, np.linspace(0, len(dataset) - 1, options.frames).round().astype(int).tolist())
    spread = np.linspace(0, len(dataset) - 1, min(PHOTOS, len(dataset))).round().astype(int)
    photos = [(dataset[int(i)].image * 255).round().byte().permute(1, 2, 0).numpy() for i in spread]
    known = sources_of(dataset) == ["nyu_depth_v2"]
    with tempfile.TemporaryDirectory() as folder:
        found, left_out = contenders(options, Path(folder))
        milliseconds = {threads: latencies(found, photos, threads, options.rounds) for threads in (1, 2)}
        torch.set_num_threads(1)
        rows = [
            {
                "name": contender.name + ("*" if contender.name.startswith("FastDepth") and known else ""),
                "ms": {str(threads): milliseconds[threads][contender.name] for threads in (1, 2)},
                "memory_mb": peak_memory(contender, photos),
                "file_mb": contender.file.stat().st_size / 1e6,
                "accuracy": accuracy(contender, dataset),
            }
            for contender in found
        ]
    table = markdown_table(rows)
    height, width = photos[0].shape[:2]
    about = (
        f"{len(dataset)} frames of {Path(options.data.partition(':')[2]).name} for accuracy (scored as in "
        f"`train.evaluate`); latency is the median of {options.rounds} photos of {width}x{height}, array to depth map "
        f"of that size, in turns in one process on {platform.machine()}; memory is what loading and predicting add."
        + (" *: trained on the scenes that these frames show." if known else "")
    )
    print(f"{about}\n\n{table}")
    for reason in left_out:
        print(f"left out: {reason}")
    options.output.mkdir(exist_ok=True, parents=True)
    write_json(options.output / "latency.json", {"about": about, "contenders": rows, "left_out": left_out})
    plot(rows, options.output / "latency.png")
    shown = "![delta1 against milliseconds](results/latency.png)"
    fill(options.card, "latency", "\n\n".join([about, table, *(f"Left out: {r}." for r in left_out), shown]))


if __name__ == "__main__":
    main()
