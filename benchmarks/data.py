"""How fast training data are read: DIODE as downloaded against prepared, in more than one format.

`python -m benchmarks.data` writes rendered scenes in DIODE's layout, measures, writes benchmarks/results/data.json and
fills the block "data" of docs/training.md. Samples per CPU second count the reader's own work, so that a busy machine
changes them little; ratios are of things measured in turns in one run.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from benchmarks.diode_layout import write_diode
from depth_unet import DepthUNet, DepthUNetConfig, DiodeDataset
from depth_unet.data.shards import PARTS, ShardDataset, decode_sample, encode_sample
from depth_unet.files import write_json
from train.config import TrainConfig
from train.documents import fill, markdown_table
from train.loop import train_step
from train.prepare import Settings, open_sources, prepare, shrunk
from train.views import Views, collate

ROOT = Path(__file__).parent.parent


def cpu_seconds(read: Callable[[int], object], indices: list[int]) -> float:
    """CPU seconds of this process for each sample."""
    read(indices[0])
    began = time.process_time()
    for index in indices:
        read(index)
    return (time.process_time() - began) / len(indices)


def write_parquet(source: Dataset, path: Path) -> None:
    """The same pictures and depths in a Parquet file, through `datasets`."""
    import datasets

    rows = [encode_sample(shrunk(source[index], (384, 512))) for index in range(len(source))]
    columns = {part.replace(".", "_"): [row[part] for row in rows] for part in PARTS}
    datasets.Dataset.from_dict(columns).to_parquet(path)


def from_row(row: dict[str, bytes]) -> object:
    """A sample from a row of the Parquet file."""
    return decode_sample(*(row[part.replace(".", "_")] for part in PARTS))


def rate(items: Iterable[object], warm: int = 1) -> float:
    """Items per second of the wall clock, after the first few."""
    stream = iter(items)
    for _ in range(warm):
        next(stream)
    began = time.perf_counter()
    count = sum(1 for _ in stream)
    return count / (time.perf_counter() - began)


def loader_rate(samples: Dataset, model: DepthUNetConfig, workers: int, batch_size: int, count: int) -> float:
    """Images per second of views as training gets them: read, cut, recoloured, collated."""
    order = [[(0, (start + i) % len(samples)) for i in range(batch_size)] for start in range(0, count, batch_size)]
    views = Views(samples, model, TrainConfig())
    loader = DataLoader(views, batch_sampler=order, collate_fn=collate, num_workers=workers)
    return rate(loader, warm=max(1, 2 * workers)) * batch_size


def step_ratios(
    sources: dict[str, Dataset], model: DepthUNetConfig, device: str, workers: int, batch_size: int, steps: int
) -> dict[str, float]:
    """Time of a training step on data that are being read, over that on one batch in memory."""
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no" if device == "cpu" else "bf16")
    config = TrainConfig()
    network = DepthUNet(model).to(accelerator.device).train()
    network.to(memory_format=torch.channels_last)
    loss_of, optimizer = config.loss(model), torch.optim.AdamW(network.parameters(), lr=1e-6)
    streams = {}
    for name, samples in sources.items():
        order = (
            [(epoch, (epoch * batch_size + i) % len(samples)) for i in range(batch_size)] for epoch in range(10**6)
        )
        views = Views(samples, model, config)
        streams[name] = iter(DataLoader(views, batch_sampler=order, collate_fn=collate, num_workers=workers))
    cached = next(streams[next(iter(streams))])

    def step(batch: object) -> None:
        train_step(network, loss_of, optimizer, batch, accelerator, config.clip_norm)

    seconds: dict[str, list[float]] = {name: [] for name in ("cached", *sources)}
    for turn in range(4):
        for name in seconds:
            # What the readers hold ready is used up first, else they would have caught up while others had their turn.
            for _ in range(2 * workers + 1 if name != "cached" else 0):
                step(next(streams[name]))
            began = time.perf_counter()
            for _ in range(steps):
                step(cached if name == "cached" else next(streams[name]))
            if turn:
                seconds[name].append((time.perf_counter() - began) / steps)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {name: medians[name] / medians["cached"] for name in sources}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--root", type=Path, help="DIODE as downloaded, or the place to keep rendered scenes in")
    parser.add_argument("--samples", type=int, default=24, help="rendered scenes")
    parser.add_argument("--workers", type=int, default=[0, 1, 2], nargs="+", help="reading processes")
    parser.add_argument("--batch-size", type=int, default=8, help="pictures in a step")
    parser.add_argument("--steps", type=int, default=6, help="steps in a stretch; 0: leave training out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = options.root or folder / "diode"
        if not (root / "train").exists():
            write_diode(root, options.samples, 2, progress=True)
        prepare(open_sources(f"diode:{root}"), Settings("diode"), folder / "prepared")
        sources: dict[str, Dataset] = {"raw": DiodeDataset(root), "prepared": ShardDataset(folder / "prepared")}
        count = min(len(source) for source in sources.values())
        indices = random.Random(0).sample(range(count), min(count, 100))
        readers: dict[str, Callable[[int], object]] = {name: s.__getitem__ for name, s in sources.items()}
        parquet = None
        try:
            import datasets

            datasets.disable_progress_bars()
            parquet = folder / "parquet" / "train.parquet"
            parquet.parent.mkdir()
            write_parquet(sources["raw"], parquet)
            table = datasets.Dataset.from_parquet(str(parquet), cache_dir=str(folder / "cache"))
            readers["Parquet"] = lambda index: from_row(table[index])
        except ImportError:
            print("note: datasets is not installed, Parquet is left out")
        turns = [{name: cpu_seconds(read, indices) for name, read in readers.items()} for _ in range(3)]
        cost = {name: min(turn[name] for turn in turns) for name in readers}

        model = DepthUNetConfig()
        loaded = {
            name: {
                workers: loader_rate(source, model, workers, options.batch_size, (8 + 2 * workers) * options.batch_size)
                for workers in options.workers
            }
            for name, source in sources.items()
        }
        steps = {}
        if options.steps:
            workers = max(1, max(options.workers))
            steps = step_ratios(sources, model, device, workers, options.batch_size, options.steps)
        size = {
            "raw": sum(path.stat().st_size for path in (root / "train").rglob("*") if path.is_file()) / count,
            "prepared": sum(p.stat().st_size for p in (folder / "prepared").glob("train-*.tar")) / count,
        }
        if parquet:
            size["Parquet"] = parquet.stat().st_size / count

    result = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "samples": count,
        "samples_per_cpu_second": {name: 1 / seconds for name, seconds in cost.items()},
        "over_raw": {name: cost["raw"] / seconds for name, seconds in cost.items()},
        "bytes_per_sample": size,
        "views_per_second": loaded,
        "step_over_cached": steps,
    }
    reading = [
        [name, f"{size[name] / 1e6:.2f}", f"{1 / seconds:.1f}", f"{cost['raw'] / seconds:.1f}"]
        for name, seconds in cost.items()
    ]
    tables = [
        markdown_table(["reading a sample, random order", "MB", "samples per CPU second", "over raw"], reading),
        markdown_table(
            ["views for training, images/s", *(f"{number} workers" for number in options.workers)],
            [[name, *(f"{value:.1f}" for value in rates.values())] for name, rates in loaded.items()],
        ),
    ]
    if steps:
        heading = f"training step on {result['device']}, data being read / one cached batch"
        tables.append(markdown_table([heading, "ratio"], [[name, f"{value:.2f}"] for name, value in steps.items()]))
    table_text = "\n\n".join(tables)
    print(table_text)
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    write_json(ROOT / "benchmarks/results/data.json", json.loads(json.dumps(result)))
    fill(ROOT / "docs/training.md", "data", f"{count} rendered scenes.\n\n{table_text}")


if __name__ == "__main__":
    main()
