"""Kills small training runs at random moments, resumes them, and compares the end with an uninterrupted run's.

`python -m benchmarks.survive` writes benchmarks/results/survive.json and fills the block "survive" of
docs/training.md. The state is saved after every step, so that many kills fall into the saving itself.
"""

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

from depth_unet import DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import Part
from depth_unet.files import write_json
from train.checkpoint import load_checkpoint
from train.config import TrainConfig
from train.documents import fill, markdown_table
from train.ema import MovingAverage
from train.loop import fit
from train.network import parameter_groups
from train.run import BEST, LAST

ROOT = Path(__file__).parent.parent
NETWORK = DepthUNetConfig.for_encoder(
    "tu-test_efficientnet", decoder_channels=[8] * 5, input_size=[32, 64], dropout=0.2
)
RUN = TrainConfig(epochs=3, batch_size=2, learning_rate=3e-3, ema_decay=0.9)


def write_pairs(folder: Path, count: int) -> None:
    """Pictures with depth maps of 48x96, all different."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 12, 3), dtype=np.uint8))
        coarse.resize((96, 48), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")
        slope = np.linspace(1000, 2000 + 500 * number, 96)
        Image.fromarray(np.tile(slope, (48, 1)).astype(np.uint16)).save(folder / f"{number:02d}_depth.png")


def train(data: Path, output: Path) -> None:
    """The whole run, or what is left of it."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    # tqdm's own lock is shared among forks: one that was killed holding it would block all later ones.
    tqdm.set_lock(threading.RLock())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pairs = RgbdFolder(data)
    training, validation = Part(pairs, range(10)), Part(pairs, range(10, 12))
    resume = (output / LAST).exists()
    fit(DepthUNet(NETWORK), training, validation, RUN, output, resume=resume, checkpoint_minutes=0.0)


def run(data: Path, output: Path, kill_after_s: float | None = None) -> tuple[float, bool]:
    """Run in a process of its own, and kill it if it takes longer than that.

    Returns:
        Seconds that it took, and whether it was killed.

    Raises:
        RuntimeError: it failed by itself.
    """
    # Forked, so that a run is the training alone and not the seconds of importing torch.
    process = multiprocessing.get_context("fork").Process(target=train, args=(data, output))
    began = time.monotonic()
    process.start()
    process.join(kill_after_s)
    killed = process.is_alive()
    if killed:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"training ended with {process.exitcode}")
    return time.monotonic() - began, killed


def what_is_left(output: Path) -> str:
    """ "nothing yet" or "readable", after a kill.

    Raises:
        ValueError: a file that counts as finished cannot be read.
    """
    if (output / BEST / "config.json").exists():
        DepthUNet.from_pretrained(output / BEST)
    if not (output / LAST).exists():
        return "nothing yet"
    model = DepthUNet(NETWORK)
    average = MovingAverage(model, RUN.ema_decay)
    load_checkpoint(
        output / LAST, {"model": model, "average": average}, torch.optim.AdamW(parameter_groups(model, 1.0))
    )
    return "readable"


def same_end(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same bits: weights, averages, optimizer, and the best model."""
    first, second = load_file(one / LAST), load_file(other / LAST)
    same = first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    file = Path(BEST) / "model.safetensors"
    return same and (one / file).read_bytes() == (other / file).read_bytes()


def survive(folder: Path, runs: int, kills: int, seed: int = 0) -> dict[str, int | float]:
    """Kill and resume so many runs.

    Args:
        folder: empty; gets data and runs.
        runs: how many.
        kills: of each run, at most.
        seed: of the moments.

    Returns:
        Counts: runs, kills, what the kills left, runs that ended with other weights.
    """
    write_pairs(folder / "data", 12)
    seconds, _ = run(folder / "data", folder / "whole")
    rng = random.Random(seed)
    left: Counter[str] = Counter()
    different = 0
    for number in tqdm(range(runs), "kill and resume", unit="run"):
        output = folder / f"run_{number:02d}"
        for _ in range(kills):
            if not run(folder / "data", output, rng.uniform(0, seconds))[1]:
                break
            try:
                left[what_is_left(output)] += 1
            except ValueError:
                left["unreadable"] += 1
        run(folder / "data", output)
        different += not same_end(folder / "whole", output)
    return {
        "runs": runs,
        "kills": sum(left.values()),
        "kills before the first state": left["nothing yet"],
        "kills that left a readable state": left["readable"],
        "kills that left an unreadable one": left["unreadable"],
        "runs that ended with other weights": different,
        "seconds of an uninterrupted run": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="runs that are killed")
    parser.add_argument("--kills", type=int, default=2, help="kills in each, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        result = survive(Path(name), options.runs, options.kills, options.seed)
    table = markdown_table(["what", "number"], result.items())
    print(table)
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    write_json(ROOT / "benchmarks/results/survive.json", result)
    fill(ROOT / "docs/training.md", "survive", table)


if __name__ == "__main__":
    main()
