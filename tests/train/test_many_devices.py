"""Training in two processes (gloo, on the CPU) is training in one with twice the batch."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors import safe_open

from depth_unet import DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import Part
from train.__main__ import main as train_main
from train.config import TrainConfig
from train.loop import fit

ROOT = Path(__file__).parents[2]
# `accelerate launch` starts several processes on GPUs; on CPUs it leaves that to torchrun (or MPI).
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d"]
LAUNCH += ["--rdzv_endpoint", "localhost:0"]
NETWORK = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
# A turned view has blank corners, and each process's share of a batch is a mean over its own valid pixels.
RUN = TrainConfig(epochs=2, batch_size=2, learning_rate=1e-3, ema_decay=0.9, turn=0.0)
TRAINED, VALIDATED = range(9), range(9, 14)  # 9 leave one over; 5 are shared by two processes as 3 and 2


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 pairs of 48x96, with depth everywhere."""
    folder = tmp_path_factory.mktemp("recording")
    rng = np.random.default_rng(0)
    for number in range(14):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 12, 3), dtype=np.uint8))
        coarse.resize((96, 48), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.jpg", quality=95)
        slope = np.linspace(1000, 2000 + 400 * number, 96)
        np.save(folder / f"{number:02d}.npy", (np.tile(slope, (48, 1)) / 1000).astype(np.float32))
    return folder


def without_batch_statistics(module: torch.nn.Module) -> None:
    """Put GroupNorm in the place of every BatchNorm: what one picture gives no longer depends on the others."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, torch.nn.GroupNorm(1, child.num_features))
        without_batch_statistics(child)


def train(recording: Path, output: Path, batch_size: int, group_norm: bool) -> list[dict[str, float]]:
    torch.manual_seed(0)
    model = DepthUNet(NETWORK)
    if group_norm:
        without_batch_statistics(model)
    data = RgbdFolder(recording)
    config = TrainConfig(**RUN.to_dict() | {"batch_size": batch_size})
    accelerator = Accelerator(cpu=True)
    return fit(model, Part(data, TRAINED), Part(data, VALIDATED), config, output, accelerator=accelerator)


def main() -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    recording, output = map(Path, sys.argv[1:])
    for group_norm in (True, False):
        rows = train(recording, output / str(group_norm), RUN.batch_size, group_norm)
        path = output / f"{group_norm}_{os.environ['RANK']}.json"
        path.write_text(json.dumps(rows))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def two(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("two")
    command = [*LAUNCH, __file__, str(recording), str(output)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.mark.parametrize(("group_norm", "tolerance"), [(True, 1e-3), (False, 0.1)])
def test_two_processes_are_one_with_twice_the_batch(
    recording: Path, two: Path, tmp_path: Path, group_norm: bool, tolerance: float
):
    """Exact but for rounding, if not for BatchNorm, which on CPUs sees each process's pictures alone."""
    one = train(recording, tmp_path, 2 * RUN.batch_size, group_norm)
    rows = [json.loads((two / f"{group_norm}_{rank}.json").read_text()) for rank in (0, 1)]
    assert len(one) == 2
    for name in one[0]:
        if name != "step_ms":
            assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]
            assert rows[0][0][name] == pytest.approx(one[0][name], rel=tolerance, abs=tolerance), name


def test_only_one_process_writes(two: Path):
    expected = {"best", "curves.png", "epoch_001.jpg", "epoch_002.jpg", "history.csv", "last.safetensors"}
    assert {path.name for path in (two / "True").iterdir()} == expected


def test_stopping_all_with_a_bad_sample_on_one(recording: Path, tmp_path: Path):
    """One process has nothing to learn from in a step, all stop at the same step, and the state can be resumed."""
    data, output = tmp_path / "data", tmp_path / "run"
    shutil.copytree(recording, data)
    (data / "03.jpg").write_bytes((data / "03.jpg").read_bytes()[:300])
    command = ["--data", f"rgbd:{data}", "--output", str(output), "--skip-bad", "--workers", "0", "--batch-size", "1"]
    command += ["--encoder", "mobilenet_v2", "--decoder-channels", *"88888", "--input-size", "32x64"]
    process = subprocess.Popen(
        [*LAUNCH, "-m", "train", *command, "--epochs", "500"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (output / "history.csv").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert printed.count("everything is saved in") == printed.count("AbsRel") == 1, printed
    with (output / "history.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row["skipped"] == "1" and "skipped 03" in printed
    with safe_open(output / "last.safetensors", "pt") as file:
        epochs = json.loads(file.metadata()["progress"])["epoch"]
    assert train_main([*command, "--epochs", str(epochs + 1), "--batch-size", "2", "--resume"]) == 0


if __name__ == "__main__":
    main()
