"""Training outlives kills, full disks and bad numbers."""

import importlib.util
import json
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file

from benchmarks.survive import NETWORK, survive, what_is_left, write_pairs
from depth_unet import DepthSample, DepthUNet, RgbdFolder
from depth_unet.data import DepthData, Part
from train.__main__ import main
from train.config import TrainConfig
from train.loop import fit
from train.run import LAST, TrainingError

ROOT = Path(__file__).parents[2]
RUN = TrainConfig(epochs=2, batch_size=2, learning_rate=3e-3)
HUGE = 3.4e38  # nearly the largest float32
TINY = ["--encoder", "mobilenet_v2", "--decoder-channels", *"88888", "--input-size", "32x64", "--batch-size", "2"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "data"
    write_pairs(folder, 6)
    return folder


def train(data: DepthData, output: Path, **options: object) -> list[dict[str, float]]:
    torch.manual_seed(0)
    return fit(DepthUNet(NETWORK), Part(data, range(4)), Part(data, range(4, 6)), RUN, output, **options)


@pytest.fixture
def small_files() -> object:
    """A function after which files can grow to so many bytes only."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_kills_change_nothing(tmp_path: Path):
    counts = survive(tmp_path, runs=2, kills=1, seed=1)
    assert counts["runs"] == 2 and counts["kills"] >= 1
    assert counts["kills that left an unreadable one"] == counts["runs that ended with other weights"] == 0


@pytest.mark.parametrize("step", [1, 2])
def test_a_full_disk_keeps_the_last_state(pairs: Path, tmp_path: Path, small_files, step: int):
    """In the middle of an epoch, and at its end, where the best model is written first."""
    data = RgbdFolder(pairs)
    train(data, tmp_path, stop_after_steps=1)
    before = (tmp_path / LAST).read_bytes()
    small_files(100_000)
    with pytest.raises(TrainingError, match=r"cannot be written to .*last good state.*--resume") as failed:
        train(data, tmp_path, resume=True, stop_after_steps=step, checkpoint_minutes=99)
    assert "\n" not in str(failed.value)
    assert (tmp_path / LAST).read_bytes() == before and what_is_left(tmp_path) == "readable"
    assert not list(tmp_path.rglob("*.part"))


def test_resuming_after_a_full_disk_loses_nothing(pairs: Path, tmp_path: Path, small_files):
    data = RgbdFolder(pairs)
    expected = train(data, tmp_path / "whole")
    small_files(100_000)
    with pytest.raises(TrainingError, match="start again"):
        train(data, tmp_path / "run")
    small_files(resource.RLIM_INFINITY)
    rows = train(data, tmp_path / "run")
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]


def test_a_folder_that_cannot_be_written_to_is_told_at_once(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture, small_files
):
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file" / "run"]
    if os.geteuid():  # root may write anywhere
        places.append(tmp_path / "locked")
        places[-1].mkdir(mode=0o555)
    for place in places:
        assert main(["--data", f"rgbd:{pairs}", "--output", str(place), *TINY]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "cannot be written to" in error and str(place) in error


class WithNan(Part):
    """Sample 2 has a picture without numbers."""

    def __getitem__(self, index: int) -> DepthSample:
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image * torch.nan) if index == 2 else sample


def test_nan_stops_before_the_weights_are_spoilt(pairs: Path, tmp_path: Path):
    model = DepthUNet(NETWORK)
    with pytest.raises(TrainingError, match=r"nan on the samples .*02"):
        fit(model, WithNan(RgbdFolder(pairs), range(6)), RgbdFolder(pairs), RUN, tmp_path, checkpoint_minutes=0.0)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def scaled(pairs: Path, output: Path, **options: object) -> dict:
    """Train with a gradient scaler, which starts so high that gradients overflow; its last state."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=HUGE, backoff_factor=2.0**-20, growth_interval=2)
    train(RgbdFolder(pairs), output, accelerator=accelerator, **options)
    with safe_open(output / LAST, "pt") as file:
        return json.loads(file.metadata()["progress"])["scaler"]


def test_the_gradient_scaler_is_resumed_and_skipped_steps_are_not_averaged(pairs: Path, tmp_path: Path):
    state = scaled(pairs, tmp_path / "whole")
    assert 0 < state["scale"] < HUGE
    tensors = load_file(tmp_path / "whole" / LAST)
    (taken,) = {
        int(value) for name, value in tensors.items() if name.startswith("optimizer/") and name.endswith("/step")
    }
    assert int(tensors["average/n_averaged"]) == taken < 4  # steps in all

    assert scaled(pairs, tmp_path / "run", stop_after_steps=3)["scale"] < HUGE
    assert scaled(pairs, tmp_path / "run", resume=True) == state
    resumed = load_file(tmp_path / "run" / LAST)
    assert all(torch.equal(resumed[name], value) for name, value in tensors.items())


def test_tensorboard_gets_every_step_and_epoch(pairs: Path, tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arguments = ["--data", f"rgbd:{pairs}", "--output", str(tmp_path), *TINY, "--epochs", "2", "--workers", "0"]
    assert main([*arguments, "--tracker", "tensorboard"]) == 0
    (events,) = tmp_path.rglob("events.out.tfevents.*.0")
    log = event_accumulator.EventAccumulator(str(events)).Reload()
    assert {"loss", "ssim", "learning_rate", "epoch/val_abs_rel", "epoch/loss"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.step for event in log.Scalars("epoch/val_abs_rel")] == [2, 4]


def test_trackio_gets_every_step(pairs: Path, tmp_path: Path):
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    command = [sys.executable, "-m", "train", "--data", f"rgbd:{pairs}", "--output", str(tmp_path / "run"), *TINY]
    command += ["--epochs", "1", "--workers", "0", "--threads", "1", "--tracker", "trackio"]
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}  # read when trackio is imported
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "trackio" / "depth_unet.db")) as log:
        rows = [json.loads(values) for (values,) in log.execute("SELECT metrics FROM metrics ORDER BY step")]
    assert sum("loss" in row for row in rows) == 2 and sum("epoch/val_abs_rel" in row for row in rows) == 1


def test_no_tracker_no_files(pairs: Path, tmp_path: Path):
    arguments = ["--data", f"rgbd:{pairs}", "--output", str(tmp_path), *TINY, "--epochs", "1", "--workers", "0"]
    assert main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", "best", "curves.png", "epoch_001.jpg", "history.csv", "last.safetensors", "run.json")
    }
    assert json.loads((tmp_path / "run.json").read_text())["best"]["epoch"] == 1
