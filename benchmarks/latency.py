"""Latency, memory and size: torch, onnxruntime in 32 and 8 bits, the small model, two small published networks.

`python -m benchmarks.latency --data rgbd/nyu:nyu_val.tar --calibration nyu_train_0.tar --peers FOLDER` writes
benchmarks/results/latency.json and fills the block "latency" of benchmarks/README.md and "sizes" of README.md.

All contenders see the same photos, in turns, in one process; each photo goes from an array in memory to a depth map
of its size. Memory is measured in a process for each. Accuracy is measured for the engines of depth_unet; that of the
published networks is in the block "nyu_test". A contender that cannot be run is left out, with the reason.
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

from benchmarks.nano_model import ONNX_FILE as NANO_INT8
from benchmarks.peers import Peer, open_any
from depth_unet import DEFAULT_MODEL, DepthUNet, data
from depth_unet.data import DepthData, Part
from depth_unet.engines.onnx_export import calibration_photos, export, quantize
from depth_unet.files import sha256_of, write_json
from depth_unet.hub import BUILT_IN
from depth_unet.model import WEIGHTS_FILE
from depth_unet.predictor import Predictor
from train.documents import fill, markdown_table
from train.evaluate import measure

HERE = Path(__file__).parent
PHOTOS = 8  # that are timed
PEERS = {
    "FastDepth, LiteRT int8": "fastdepth_224_int8.tflite",
    "TCSmallNet, onnxruntime": "tcmonodepth_tcsmallnet_192x320.onnx",
}


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
    small = Path(BUILT_IN["nano"])
    found.append(Contender("nano, torch", small / WEIGHTS_FILE, str(small)))
    found.append(Contender("nano, onnxruntime int8 as shipped", small / NANO_INT8, str(small / NANO_INT8)))
    for name, file in PEERS.items() if options.peers else ():
        contender = Contender(name, options.peers / file, str(options.peers / file))
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


def accuracy(contender: Contender, dataset: DepthData) -> dict[str, dict[str, float]]:
    """AbsRel and delta1 by alignment, of the engines of depth_unet."""
    model = contender.load(torch.get_num_threads())
    if isinstance(model, Peer):
        return {}
    means = measure(model, dataset).means
    return {align: {name: values[name] for name in ("abs_rel", "delta1")} for align, values in means.items()}


def _ratio(row: dict, rows: list[dict]) -> str | None:
    """Time with one thread, FastDepth's being 1; None where FastDepth was left out."""
    base = next((other["ms"]["1"] for other in rows if other["name"].startswith("FastDepth")), None)
    return f"{row['ms']['1'] / base:.1f}" if base else None


def _score(row: dict, align: str) -> str | None:
    score = row["accuracy"].get(align)
    return f"{score['abs_rel']:.3f} / {score['delta1']:.3f}" if score else None


def table_of(rows: list[dict]) -> str:
    """A row for each contender."""
    cells = [
        [
            row["name"],
            *(f"{row['ms'][threads]:.0f}" for threads in ("1", "2")),
            _ratio(row, rows),
            f"{row['memory_mb']:.0f}",
            f"{row['file_mb']:.1f}",
            *(_score(row, align) for align in ("none", "median", "scale_shift_disparity")),
        ]
        for row in rows
    ]
    headings = ["", "1 thread, ms", "2 threads, ms", "to FastDepth", "memory, MB", "file, MB"]
    headings += ["AbsRel / delta1, metric", "median-aligned", "scale-and-shift-aligned"]
    return markdown_table(headings, cells)


def sizes_of(rows: list[dict]) -> str:
    """What README shows of it."""
    cells = [[row["name"], f"{row['file_mb']:.1f}", _ratio(row, rows), _score(row, "none")] for row in rows]
    return markdown_table(["", "file, MB", "time, FastDepth is 1", "AbsRel / delta1"], cells)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    parser.add_argument("--data", required=True, help="KIND:PATH to measure on")
    parser.add_argument("--calibration", type=Path, help="folder of pictures or RGB-D tar; without it no int8")
    parser.add_argument("--peers", type=Path, help=f"folder of published networks: {', '.join(PEERS.values())}")
    parser.add_argument("--rounds", type=int, default=40, help="photos for each contender and number of threads")
    parser.add_argument("--frames", type=int, help="score only so many, evenly spread  (default: all)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder for the JSON")
    parser.add_argument("--card", type=Path, default=HERE / "README.md", help="document with the block latency")
    parser.add_argument("--readme", type=Path, default=HERE.parent / "README.md", help="document with the block sizes")
    options = parser.parse_args()

    dataset = data.open_data(options.data)
    if options.frames:
        dataset = Part(dataset, sorted({int(i) for i in np.linspace(0, len(dataset) - 1, options.frames).round()}))
    spread = np.linspace(0, len(dataset) - 1, min(PHOTOS, len(dataset))).round().astype(int)
    photos = [(dataset[int(i)].image * 255).round().byte().permute(1, 2, 0).numpy() for i in spread]
    with tempfile.TemporaryDirectory() as folder:
        found, left_out = contenders(options, Path(folder))
        milliseconds = {threads: latencies(found, photos, threads, options.rounds) for threads in (1, 2)}
        torch.set_num_threads(1)
        rows = [
            {
                "name": contender.name,
                "sha256": sha256_of(contender.file),
                "ms": {str(threads): milliseconds[threads][contender.name] for threads in (1, 2)},
                "memory_mb": peak_memory(contender, photos),
                "file_mb": contender.file.stat().st_size / 1e6,
                "accuracy": accuracy(contender, dataset),
            }
            for contender in found
        ]
    table = table_of(rows)
    height, width = photos[0].shape[:2]
    about = (
        f"Latency is the median of {options.rounds} photos of {width}x{height}, array to depth map of that size, in "
        f"turns in one process on {platform.machine()}; memory is what loading and predicting add. Accuracy: "
        f"{len(dataset)} frames of {dataset.title}, scoring rule {dataset.rule}."
    )
    print(f"{about}\n\n{table}")
    for reason in left_out:
        print(f"left out: {reason}")
    options.output.mkdir(exist_ok=True, parents=True)
    write_json(options.output / "latency.json", {"about": about, "contenders": rows, "left_out": left_out})
    fill(options.readme, "sizes", f"{about}\n\n{sizes_of(rows)}")
    fill(options.card, "latency", "\n\n".join([about, table, *(f"Left out: {reason}." for reason in left_out)]))


if __name__ == "__main__":
    main()
