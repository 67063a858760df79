"""What depth_unet costs on top of its network, as ratios measured side by side in one run.

`python -m benchmarks.overhead --data rgbd:PATH` writes benchmarks/results/overhead.json and fills the block "overhead"
of benchmarks/README.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader

from depth_unet import DEFAULT_MODEL, DepthUNet
from depth_unet.data import open_data, split_for
from depth_unet.files import write_json
from depth_unet.images import read_photo, to_tensor
from train.batches import EpochBatches, collate
from train.config import TrainConfig
from train.documents import fill, markdown_table
from train.step import train_step
from train.views import Views

HERE = Path(__file__).parent
PHOTO = HERE.parent / "depth_unet" / "page" / "examples" / "living_room.jpg"


def medians(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each action; they take turns, so that a busy moment of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            if turn:  # the first is for warming up
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def predict_overhead(model: DepthUNet, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of the bare network, and of predict on a small and on a large photo, from a file."""
    paths = {}
    with Image.open(PHOTO) as photo:
        for name, size in {"640x480": (640, 480), "12 megapixels": (4000, 3000)}.items():
            paths[name] = folder / f"{size[0]}.jpg"
            photo.resize(size, Image.Resampling.LANCZOS).save(paths[name], quality=92)
    size = model.network_size(480, 640)
    image = to_tensor(read_photo(paths["640x480"]).image, size)[None]

    @torch.inference_mode()
    def network() -> None:
        model(image)

    actions = {"network": network}
    for name, path in paths.items():
        actions[f"predict {name}"] = lambda path=path: model.predict(path)
    return medians(actions, rounds)


def training_overhead(model: DepthUNet, data: str, batches: int, workers: int) -> dict[str, float]:
    """Seconds a step of training on one cached batch, and on batches as they are read, augmented and collated."""
    config = TrainConfig()
    samples = open_data(data, split_for(data, "train"))
    order = EpochBatches([len(samples)], config.batch_size, epochs=1000, seed=0)
    loader = DataLoader(
        Views(samples, model.config, config), batch_sampler=order, collate_fn=collate, num_workers=workers
    )
    accelerator, loss_of = Accelerator(cpu=True), config.loss(model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    model.train()
    stream = iter(loader)
    cached = next(stream)

    def step(batch: object) -> None:
        train_step(model, loss_of, optimizer, batch, accelerator, config.clip_norm)

    seconds: dict[str, list[float]] = {"cached": [], "real": []}
    # In stretches, each longer than what the reader holds ready: else it would catch up in the cached ones.
    for turn in range(4):
        for name in seconds:
            for _ in range(3 if name == "real" else 0):
                step(next(stream))
            began = time.perf_counter()
            for _ in range(batches):
                step(cached if name == "cached" else next(stream))
            if turn:
                seconds[name].append((time.perf_counter() - began) / batches)
    return {name: statistics.median(values) for name, values in seconds.items()}


def command_memory(model: str, folder: Path, photos: int) -> int:
    """Peak resident bytes of `python -m depth_unet` on so many photos."""
    source = folder / f"photos_{photos}"
    source.mkdir()
    for number in range(photos):
        (source / f"{number:03d}.jpg").hardlink_to(folder / "640.jpg")
    output = folder / f"out_{photos}"
    command = [sys.executable, "-m", "depth_unet", str(source), "--output", str(output), "--model", model]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parent)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}")
    return usage.ru_maxrss * 1024


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    parser.add_argument("--data", help="KIND:PATH to train on; without it that row is left out")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that read training data")
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each prediction")
    parser.add_argument("--batches", type=int, default=8, help="training steps in a stretch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    model = DepthUNet.from_pretrained(options.model)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = predict_overhead(model, folder, options.rounds)
        for what in list(seconds)[1:]:
            rows.append((f"{what} photo (file to metres) / bare network", seconds[what] / seconds["network"]))
        memory = {photos: command_memory(options.model, folder, photos) for photos in (10, 100)}
        rows.append(("peak memory of `python -m depth_unet`, 100 photos / 10 photos", memory[100] / memory[10]))
    if options.data:
        steps = training_overhead(model, options.data, options.batches, options.workers)
        rows.append(("training step, real data / one cached batch", steps["real"] / steps["cached"]))

    table = markdown_table(["what", "ratio"], [(what, f"{ratio:.2f}") for what, ratio in rows])
    print(table)
    (HERE / "results").mkdir(exist_ok=True)
    result = {"threads": options.threads, "workers": options.workers, "ratios": dict(rows)}
    write_json(HERE / "results/overhead.json", result)
    about = f"{options.threads} thread(s), {options.workers} reading process(es), medians, all in one run."
    fill(HERE / "README.md", "overhead", f"{about}\n\n{table}")


if __name__ == "__main__":
    main()
