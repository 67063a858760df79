"""Training goes on where it stopped, keeps what is best, and says what is wrong."""

import argparse
import csv
import importlib.util
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scenes import write_diode, write_rgbd

from depth_unet import DepthSample, DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import DepthData, Joined, Part
from depth_unet.data.sample import SampleError
from depth_unet.files import write_atomically
from train.__main__ import main, parse, precision_here
from train.__main__ import new_model as model_to_train
from train.checkpoint import averaged_weights, load_checkpoint, save_checkpoint
from train.config import TrainConfig
from train.evaluate import evaluate, mean_over_frames
from train.history import COLUMNS
from train.loop import fit
from train.network import set_drop_path
from train.run import BEST, TrainingError
from train.schedule import learning_rate
from train.usable import check_training

ROOT = Path(__file__).parents[2]
MODEL = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64], dropout=0.2)
RUN = TrainConfig(epochs=2, batch_size=2, learning_rate=3e-3, ema_decay=0.9, frozen_norm=False)
ONE_EPOCH = replace(RUN, epochs=1)
NOT_INSTALLED = [name for name in ("tensorboard", "trackio") if importlib.util.find_spec(name) is None]
TINY_NETWORK = ["--encoder", "mobilenet_v2", "--decoder-channels", *"88888", "--input-size", "32x64"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs of 72x96."""
    return write_rgbd(tmp_path_factory.mktemp("recording") / "data", 8)


@pytest.fixture(scope="module")
def data(recording: Path) -> RgbdFolder:
    return RgbdFolder(recording)


def new_model(seed: int = 0, config: DepthUNetConfig = MODEL) -> DepthUNet:
    torch.manual_seed(seed)
    return DepthUNet(config)


def run(data: DepthData, output: Path, config: TrainConfig = RUN, seed: int = 0, **options: object) -> list[dict]:
    return fit(new_model(seed), Part(data, range(6)), Part(data, range(6, 8)), config, output, **options)


def lasting(rows: list[dict]) -> list[dict]:
    """The history without the time that it took."""
    return [{key: value for key, value in row.items() if key != "step_ms"} for row in rows]


@pytest.fixture(scope="module")
def finished(data: RgbdFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """A run of two epochs of three steps, without a break."""
    output = tmp_path_factory.mktemp("run")
    return output, run(data, output)


def assert_same_state(one: Path, other: Path) -> None:
    a, b = load_file(one / "last.safetensors"), load_file(other / "last.safetensors")
    assert a.keys() == b.keys()
    assert not [key for key in a if not torch.equal(a[key], b[key])]
    assert (one / BEST / "model.safetensors").read_bytes() == (other / BEST / "model.safetensors").read_bytes()


# --- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [(1,), (3,), (2, 1, 2), (6,)])
def test_a_run_with_breaks_is_the_run_without(
    data: RgbdFolder, finished: tuple[Path, list[dict]], tmp_path: Path, stops: tuple[int, ...]
) -> None:
    """To the last bit, dropout and averages included: within an epoch, at its end and at the end of the run."""
    for number, stop in enumerate(stops):
        run(data, tmp_path, seed=number, resume=number > 0, stop_after_steps=stop)
    rows = run(data, tmp_path, seed=99, resume=True)
    assert lasting(rows) == lasting(finished[1])
    assert_same_state(tmp_path, finished[0])


def test_workers_change_nothing(data: RgbdFolder, finished: tuple[Path, list[dict]], tmp_path: Path) -> None:
    run(data, tmp_path, workers=1, stop_after_steps=2)
    rows = run(data, tmp_path, seed=9, workers=1, resume=True)
    assert lasting(rows) == lasting(finished[1])
    assert_same_state(tmp_path, finished[0])


def test_a_set_without_a_share_is_not_trained_on(data: RgbdFolder, tmp_path: Path) -> None:
    """The loop itself keeps to the shares: a set of share 0 may be unreadable."""
    broken = RgbdFolder(write_rgbd(tmp_path / "broken", 4))
    for file in (tmp_path / "broken").iterdir():
        file.write_bytes(b"")
    both = Joined([Part(data, range(6)), broken])
    rows = fit(new_model(), both, Part(data, range(6, 8)), ONE_EPOCH, tmp_path / "run", shares=[1, 0])
    assert len(rows) == 1
    with pytest.raises(SampleError):
        fit(new_model(), both, Part(data, range(6, 8)), ONE_EPOCH, tmp_path / "all", shares=[1, 1])


def test_resuming_what_is_done_does_nothing(
    data: RgbdFolder, finished: tuple[Path, list[dict]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    rows = finished[1]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    assert run(data, tmp_path, seed=3, resume=True) == rows
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}


def test_a_run_is_neither_overwritten_nor_made_up(data: RgbdFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no .*resume"):
        run(data, tmp_path / "new", resume=True)
    run(data, tmp_path, stop_after_steps=1)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="--resume"):
        run(data, tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_other_options_are_reported(data: RgbdFolder, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(data, tmp_path, stop_after_steps=1)
    capsys.readouterr()
    run(data, tmp_path, replace(RUN, learning_rate=1e-3, epochs=3), resume=True, stop_after_steps=1)
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "options differ" in line]
    assert note.endswith(": epochs 2 -> 3, learning_rate 0.003 -> 0.001")


def command(recording: Path, output: Path, *more: str) -> list[str]:
    return ["--data", f"rgbd:{recording}", "--output", str(output), "--batch-size", "2", *TINY_NETWORK, *more]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the processes that read data, too; here they are what training waits for."""
    recording, output = write_rgbd(tmp_path / "data", 6, size=(600, 800)), tmp_path / "run"
    program = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "train",
            *command(recording, output, "--epochs", "500", "--workers", "1", "--threads", "1"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not (output / "history.csv").exists() and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=60)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.communicate()
    assert program.returncode == 130, out + err
    assert "Traceback" not in err and "--resume" in out and str(output / "last.safetensors") in out
    with safe_open(output / "last.safetensors", "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    done = len(progress["rows"])
    assert progress["epoch"] >= 1 and done >= 1
    assert main(command(recording, output, "--epochs", str(done + 1), "--workers", "0", "--resume")) == 0
    assert len((output / "history.csv").read_text().splitlines()) == done + 2


# --- checkpoints -------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_safetensors_and_json(finished: tuple[Path, list[dict]]) -> None:
    with safe_open(finished[0] / "last.safetensors", "pt") as file:
        names = {key.partition("/")[0] for key in file.keys()}  # noqa: SIM118
        progress = json.loads(file.metadata()["progress"])
    assert names == {"model", "average", "optimizer", "random"}
    assert progress["config"] == RUN.to_dict() and progress["model"] == MODEL.to_dict()


def test_average_of_the_last_step(finished: tuple[Path, list[dict]], tmp_path: Path) -> None:
    found = averaged_weights(finished[0] / "last.safetensors")
    last = load_file(finished[0] / "last.safetensors")
    assert any((found[key] != last[f"model/{key}"]).any() for key in found)  # not the last weights themselves
    best = load_file(finished[0] / BEST / "model.safetensors")  # in half precision; the last epoch was the best
    assert finished[1][-1]["val_abs_rel"] == min(row["val_abs_rel"] for row in finished[1])
    assert found.keys() == best.keys() and not [
        key for key in best if not torch.equal(found[key].to(best[key].dtype), best[key])
    ]
    save_file({"model/a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("text")
    for name, reason in (("other", "no average"), ("text", "not a checkpoint")):
        with pytest.raises(ValueError, match=reason):
            averaged_weights(tmp_path / f"{name}.safetensors")


def test_nothing_half_written_is_left(finished: tuple[Path, list[dict]]) -> None:
    assert not list(finished[0].rglob("*.part"))


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError):
            write_atomically(path, b"new" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    write_atomically(path, "newer")
    assert path.read_bytes() == b"newer" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("damage", ["cut off", "text", "empty", "another file", "another network"])
def test_a_checkpoint_that_cannot_be_resumed(
    data: RgbdFolder, finished: tuple[Path, list[dict]], tmp_path: Path, damage: str
) -> None:
    source, path = finished[0], tmp_path / "last.safetensors"
    whole = (source / "last.safetensors").read_bytes()
    if damage == "another network":
        path.write_bytes(whole)
        other = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[16] * 5, input_size=[32, 64])
        with pytest.raises(ValueError, match="another network"):
            fit(new_model(0, other), data, data, RUN, tmp_path, resume=True)
        return
    model = (source / BEST / "model.safetensors").read_bytes()
    path.write_bytes({"cut off": whole[:-100], "text": b"abc" * 99, "empty": b"", "another file": model}[damage])
    with pytest.raises(ValueError, match="last.safetensors is not a checkpoint"):
        run(data, tmp_path, resume=True)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    def made(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.1)

    layer, optimizer = made(0)
    for _ in range(3):
        layer(torch.rand(1, 3, 8, 8)).sum().backward()
        optimizer.step()
    save_checkpoint(tmp_path / "x", {"layer": layer}, optimizer, {"rows": [0.1, 1 / 3], "best": math.inf})
    wanted_random = torch.rand(3)
    other, its_optimizer = made(1)
    assert load_checkpoint(tmp_path / "x", {"layer": other}, its_optimizer) == {"rows": [0.1, 1 / 3], "best": math.inf}
    assert torch.equal(torch.rand(3), wanted_random)
    torch.testing.assert_close(other.state_dict(), layer.state_dict(), rtol=0, atol=0)
    wanted, got = optimizer.state_dict()["state"], its_optimizer.state_dict()["state"]
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert got[0]["exp_avg"].stride() == wanted[0]["exp_avg"].stride()


# --- what a run leaves behind ------------------------------------------------------------------------------------


def test_history_curves_and_pictures(finished: tuple[Path, list[dict]]) -> None:
    output, rows = finished
    with (output / "history.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in read] == [1, 2]
    assert set(read[0]) >= {name for name, _, _ in COLUMNS} | {"log", "gradient", "skipped"}
    for row, wanted in zip(read, rows, strict=True):
        assert {key: float(value) for key, value in row.items()} == pytest.approx(wanted)
    assert rows[0]["step_ms"] > 0 and rows[0]["val_median_ratio"] > 0 and 0 <= rows[0]["val_delta1"] <= 1
    for name in ("curves.png", "epoch_001.jpg", "epoch_002.jpg"):
        with Image.open(output / name) as image:
            image.load()
            assert min(image.size) > 100 and image.convert("L").getextrema()[0] < 100


def test_the_logged_loss_is_the_sum_of_its_terms(finished: tuple[Path, list[dict]]) -> None:
    names = ("ssim", "mare", "log", "gradient", "entropy", "scale")
    weights = {name: getattr(RUN, f"{name}_weight") for name in names}
    for row in finished[1]:
        assert row["loss"] == pytest.approx(sum(weight * row[name] for name, weight in weights.items()), rel=1e-4)


def test_the_best_is_the_epoch_of_least_abs_rel(data: RgbdFolder, tmp_path: Path) -> None:
    # A learning rate this high makes the error go up and down.
    rows = run(data, tmp_path, TrainConfig(epochs=3, batch_size=2, learning_rate=0.02, ema_decay=0.0))
    errors = [row["val_abs_rel"] for row in rows]
    best = DepthUNet.from_pretrained(tmp_path / BEST)
    cap = best.config.min_depth, best.config.max_depth
    scored = Part(data, range(6, 8))
    means = mean_over_frames(evaluate(best, scored, scored.rule.within(*cap))[0])["none"]
    assert means["abs_rel"] == pytest.approx(min(errors), rel=0.02)
    assert means["rmse"] == pytest.approx(rows[errors.index(min(errors))]["val_rmse"], rel=0.02)
    assert means["median_ratio"] == pytest.approx(rows[errors.index(min(errors))]["val_median_ratio"], rel=0.02)


def test_frozen_norm_keeps_the_encoders_statistics_and_trains_its_weights(data: RgbdFolder, tmp_path: Path) -> None:
    before = new_model().state_dict()
    run(data, tmp_path, replace(RUN, frozen_norm=True, ema_decay=0.0))
    after = DepthUNet.from_pretrained(tmp_path / BEST).state_dict()
    changed = {key for key in after if not torch.allclose(after[key].float(), before[key].float(), atol=1e-3)}
    statistics = {key for key in after if "running" in key}
    assert {key for key in statistics & changed} == {key for key in statistics if ".decoder." in key}
    assert any(".encoder." in key for key in changed - statistics)


def test_blocks_are_skipped_in_training_only(tiny_model: DepthUNet) -> None:
    model = new_model(0, DepthUNetConfig.for_encoder("tu-tf_efficientnet_lite0", decoder_channels=[8] * 5))
    images = torch.rand(2, 3, 64, 64)

    def answers(highest: float) -> tuple[torch.Tensor, torch.Tensor]:
        set_drop_path(model.unet.encoder, highest)
        model.train()
        for module in model.modules():  # so that only skipping can tell two passes apart
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        with torch.no_grad():
            return model(images), model(images)

    assert not torch.equal(*answers(0.9))
    assert torch.equal(model.run(images), model.run(images))
    assert torch.equal(*answers(0.0))
    set_drop_path(tiny_model.unet.encoder, 0.5)  # torchvision's have no such blocks, and no harm is done


def test_random_weights_have_no_statistics_to_keep(recording: Path, tmp_path: Path) -> None:
    assert main(command(recording, tmp_path / "run", "--epochs", "1", "--workers", "0")) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["train"]["frozen_norm"] is False


@pytest.mark.skipif(torch.accelerator.is_available(), reason="about machines without an accelerator")
@pytest.mark.parametrize(("processor", "told"), [("AVX2", True), ("AVX512", False)])
def test_slow_bf16_is_told(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, processor: str, told: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    assert precision_here("bf16") == "bf16"
    assert ("no bf16 arithmetic" in capsys.readouterr().out) == told
    assert precision_here("auto") == precision_here("no") == "no"


@pytest.mark.parametrize("given", ["bf16", "fp16", "no"])
def test_the_launchers_precision_is_used(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert precision_here("auto") == given and precision_here("no") == "no"
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    assert precision_here("auto") == "bf16"


def test_a_worse_epoch_does_not_replace_the_best(data: RgbdFolder, tmp_path: Path) -> None:
    run(data, tmp_path, stop_after_steps=5)
    path = tmp_path / "last.safetensors"
    with safe_open(path, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    before = (tmp_path / BEST / "model.safetensors").read_bytes()
    save_file(load_file(path), path, {"progress": json.dumps({**progress, "best": 0.0})})
    run(data, tmp_path, resume=True)
    assert (tmp_path / BEST / "model.safetensors").read_bytes() == before


def test_it_learns(data: RgbdFolder, tmp_path: Path) -> None:
    four = Part(data, [0, 1, 2, 3] * 12)
    config = TrainConfig(
        epochs=3, batch_size=4, learning_rate=1e-2, ema_decay=0.0, zoom=1.0, colour=0.0, flip=0.0, frozen_norm=False
    )
    plain = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[16] * 5, input_size=[32, 64])
    rows = fit(new_model(0, plain), four, Part(data, range(1)), config, tmp_path)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"] and rows[-1]["mare"] < 0.2
    assert rows[-1]["cross_entropy"] < rows[0]["cross_entropy"]


# --- what goes wrong ---------------------------------------------------------------------------------------------


class Spoilt(Part):
    """A data set of which some samples show something else."""

    def __init__(self, data: DepthData, change: dict[int, Callable[[DepthSample], DepthSample]]) -> None:
        super().__init__(data, range(len(data)))
        self.change = change

    def __getitem__(self, index: int) -> DepthSample:
        sample = super().__getitem__(index)
        return self.change[index](sample) if index in self.change else sample

    def scored(self, index: int) -> DepthSample:
        return self.rule.applied(self[index])


def unreadable(sample: DepthSample) -> DepthSample:
    raise SampleError(f"{sample.key}: cannot be read")


def not_a_number(sample: DepthSample) -> DepthSample:
    return sample._replace(image=torch.full_like(sample.image, torch.nan))


def too_far(sample: DepthSample) -> DepthSample:
    return sample._replace(depth=torch.full_like(sample.depth, 5000.0))


def test_a_loss_that_is_no_number_stops_and_names_the_samples(data: RgbdFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nan.*(0002, |, 0002).*--learning-rate"):
        run(Spoilt(data, {2: not_a_number}), tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_sample_is_named(data: RgbdFolder, tmp_path: Path, workers: int) -> None:
    with pytest.raises(SampleError, match="0003: cannot be read"):
        run(Spoilt(data, {3: unreadable}), tmp_path, workers=workers)


def test_skip_bad_goes_on_and_counts(data: RgbdFolder, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = run(Spoilt(data, {1: unreadable, 4: unreadable}), tmp_path, skip_bad=True, workers=1)
    assert len(rows) == 2 and [row["skipped"] for row in rows] == [2, 4]
    assert "2 samples could not be read" in capsys.readouterr().out


@pytest.mark.parametrize("change", [unreadable, too_far])
def test_a_bad_validation_frame_costs_one_frame(
    data: RgbdFolder, tmp_path: Path, capsys: pytest.CaptureFixture, change: Callable
) -> None:
    """Whatever --skip-bad is: an epoch of training is not thrown away for it."""
    rows = run(Spoilt(data, {6: change}), tmp_path)
    printed = capsys.readouterr().out
    assert len(rows) == 2 and all(math.isfinite(row["val_abs_rel"]) for row in rows)
    assert printed.count("not scored: 0006: ") == printed.count("scored 1 of 2 frames") == 1  # once in the run
    assert [row["val_missed"] for row in rows] == [1, 1] and [row["skipped"] for row in rows] == [0, 0]
    with (tmp_path / "history.csv").open() as file:
        assert [row["val_missed"] for row in csv.DictReader(file)] == ["1", "1"]
    assert json.loads((tmp_path / "run.json").read_text())["best"]["val_missed"] == 1


def test_every_validation_counts_its_own(data: RgbdFolder, tmp_path: Path) -> None:
    whole, spoilt = Part(data, range(6, 8)), Part(Spoilt(data, {7: unreadable}), range(6, 8))
    (row,) = fit(new_model(), Part(data, range(6)), [whole, spoilt], ONE_EPOCH, tmp_path)
    assert (row["val_missed"], row["val2_missed"]) == (0, 1)


def test_nothing_at_all_that_can_be_read(data: RgbdFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training sample"):
        run(Spoilt(data, dict.fromkeys(range(6), unreadable)), tmp_path / "train", skip_bad=True)
    for change in (unreadable, too_far):  # before the first step
        with pytest.raises(TrainingError, match="no validation sample .*0007"):
            run(Spoilt(data, {6: change, 7: change}), tmp_path / change.__name__)
        assert not (tmp_path / change.__name__ / "last.safetensors").exists()


def test_nothing_to_learn_from_stops(data: RgbdFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nothing to learn from: .* 0.3 to 12 m; check --metres-per-unit"):
        run(Spoilt(data, dict.fromkeys(range(6), too_far)), tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_the_one_usable_sample_among_many_is_found(data: RgbdFolder) -> None:
    many = Part(Spoilt(data, dict.fromkeys(range(7), too_far)), [0] * 40)
    with pytest.raises(TrainingError, match="nothing to learn from"):
        check_training(many, MODEL)
    many = Part(Spoilt(data, dict.fromkeys(range(7), too_far)), [0] * 23 + [7] + [0] * 30)  # not one of those spread
    assert "0.0% of the pixels" in check_training(many, MODEL)[0]


@pytest.mark.parametrize(("share", "noted"), [(0.02, True), (0.08, True), (0.3, False), (1.0, False)])
def test_a_small_share_of_usable_pixels_is_noted(
    data: RgbdFolder, tmp_path: Path, capsys: pytest.CaptureFixture, share: float, noted: bool
) -> None:
    def mostly_too_far(sample: DepthSample) -> DepthSample:
        depth = torch.full_like(sample.depth, 500.0)
        depth[:, :, : round(share * depth.shape[2])] = 2.0
        return sample._replace(depth=depth)

    run(Spoilt(data, dict.fromkeys(range(6), mostly_too_far)), tmp_path, ONE_EPOCH, stop_after_steps=1)
    found = re.search(r"note: ([\d.]+)% of the pixels .* have a depth of 0.3 to 12 m", capsys.readouterr().out)
    assert bool(found) == noted
    if found:
        assert float(found[1]) == pytest.approx(100 * share, abs=2)


def test_a_training_sample_out_of_range_does_no_harm(data: RgbdFolder, tmp_path: Path) -> None:
    rows = run(Spoilt(data, {0: too_far, 1: too_far}), tmp_path, ONE_EPOCH)
    assert all(math.isfinite(value) for row in rows for value in row.values())


# --- the schedule and the options --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 1.0])
def test_the_learning_rate_rises_and_falls(steps: int, warmup: float) -> None:
    rates = [learning_rate(step, steps, 0.01, warmup) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.01) and min(rates) > 0
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert abs(top - warmup * steps) <= 1
    if steps == 1000 and warmup < 1:
        assert rates[-1] < 1e-4


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1},
        {"warmup": 1.5},
        {"zoom": 0.5},
        {"colour": 1.0},
        {"flip": 2},
        {"mix": -0.1},
        {"learning_rate": math.nan},
        {"clip_norm": math.inf},
        {"mare_weight": math.nan},
    ],
)
def test_a_wrong_option_is_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainConfig(**wrong)


# --- the command line --------------------------------------------------------------------------------------------


def test_the_command_line_trains_on_rgbd_and_diode(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for split in ("train", "val"):
        write_diode(tmp_path / "diode", split, "indoors", count=2)
    output = tmp_path / "run"
    arguments = command(
        recording, output, "--epochs", "1", "--workers", "0", "--data", f"diode/indoors:{tmp_path}/diode"
    )
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith(("train: ", "validate: "))]
    # 8 pairs less the last tenth, and 2; 1 and 2
    assert [re.search(r": (\d+) samples", line)[1] for line in lines] == ["7", "2", "1", "2"]
    assert all(re.search(r"median depth \d", line) for line in lines)
    assert all(title in printed for _, title, _ in COLUMNS) and "best: epoch" in printed
    settings = json.loads((output / "run.json").read_text())
    assert settings["train"]["epochs"] == 1 and settings["model"]["input_size"] == [32, 64]
    best = DepthUNet.from_pretrained(output / BEST)
    assert best.config.to_dict() == settings["model"]
    # and on from there, with a larger picture
    again = ["--data", f"rgbd:{recording}", "--val-data", f"diode:{tmp_path}/diode", "--model", str(output / BEST)]
    again += ["--output", str(tmp_path / "more"), "--epochs", "1", "--batch-size", "4", "--workers", "0"]
    assert main([*again, "--input-size", "64x96"]) == 0
    printed = capsys.readouterr().out
    assert ": 8 samples" in printed and ": 2 samples" in printed
    assert DepthUNet.from_pretrained(tmp_path / "more" / BEST).config == replace(best.config, input_size=[64, 96])
    assert main([*again, "--resume", "--max-depth", "20"]) == 2
    assert "--depth-bins and --uncertainty can be given, not ['max_depth']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--data", "kitti:/tmp"], "KIND:PATH.*kitti:/tmp"),
        (["--data", "rgbd"], "KIND:PATH"),
        (["--data", "rgbd:"], "KIND:PATH"),
        (["--data", "rgbd/indoors:/tmp"], "rgbd/indoors:/tmp"),
        (["--data", "diode/garden:/tmp"], "garden"),
        (["--data", "rgbd:/no/such/place"], "/no/such/place"),
        (["--val-data", "diode:/no/such/place"], "/no/such/place"),
        (["--encoder", "resnet5"], "resnet5"),
        (["--encoder-weights", "/no/weights.safetensors"], "/no/weights.safetensors"),
        (["--model", "./no/model"], "no/model"),
        (["--preset", "paper"], "paper"),
        (["--max-depth", "0.1"], "max_depth"),
        (["--batch-size", "100"], "--batch-size"),
        (["--epochs", "0"], "epochs"),
        (["--resume"], "resume"),
        (["--shares", "1", "1"], "one number for each data set: 1, not 2"),
        (["--shares", "-1"], "at least 0"),
        (["--shares", "0"], "not all 0"),
        (["--shares", "nan"], "at least 0"),
        (["--threads", "-3"], "--threads must be at least 0"),
        (["--learning-rate", "nan"], "learning_rate must be a finite number"),
        (["--pairs", "a.jpg", "{}.png"], "must share one or more {}"),
        (["--pairs", "{}.gltf", "{}.png"], "must end in one of"),
        (["--pairs", "rgb_{}.jpg", "depth_{}.png"], "no pair .* rgb_{}.jpg with depth_{}.png"),
        *((["--tracker", name], f"--tracker {name} is not installed: pip install {name}") for name in NOT_INSTALLED),
        (["--min-depth", "900", "--max-depth", "1000"], "nothing to learn from"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture, change: list[str], words: str
) -> None:
    assert main([*command(recording, tmp_path / "run", "--workers", "0"), *change]) == 2
    error = capsys.readouterr().err
    assert re.search(words, error) and "Traceback" not in error
    assert error.startswith("error: ") and error.count("\n") == 1


def test_the_papers_preset_is_its_network_loss_and_length() -> None:
    asked = ["--data", "rgbd:x", "--output", "y", "--preset", "paper"]
    options = parse(asked)
    assert TrainConfig.from_options(options) == TrainConfig.paper()
    assert (options.epochs, options.log_weight, options.gradient_weight) == (10, 0.0, 0.0)
    assert TrainConfig.paper().loss(DepthUNetConfig.paper()).weights.keys() >= {"ssim", "mare"}
    assert parse([*asked, "--epochs", "3", "--log-weight", "0.5"]).epochs == 3
    assert TrainConfig.from_options(parse(asked[:4])) == TrainConfig()


def test_validating_less_often_changes_nothing_but_the_rows(data: RgbdFolder, tmp_path: Path) -> None:
    config = TrainConfig(epochs=5, batch_size=2)
    often = run(data, tmp_path / "often", config)
    seldom = run(data, tmp_path / "seldom", config, validate_every=2)
    assert [row["epoch"] for row in seldom] == [2, 4, 5]
    for row in seldom:
        same = often[int(row["epoch"]) - 1]
        assert all(row[name] == same[name] for name in row if name.startswith("val_"))
    assert seldom[0]["loss"] == pytest.approx((often[0]["loss"] + often[1]["loss"]) / 2)
    # Stopped in an epoch that has no row, and resumed.
    run(data, tmp_path / "stopped", config, validate_every=2, stop_after_steps=4)
    resumed = run(data, tmp_path / "stopped", config, validate_every=2, resume=True)
    assert lasting(resumed) == lasting(seldom)
    with pytest.raises(ValueError, match="validate_every"):
        run(data, tmp_path / "never", config, validate_every=0)


def test_a_corrupt_file_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recording = write_rgbd(tmp_path / "data", 8)
    (recording / "0002.png").write_bytes(b"no depth map")
    assert main(command(recording, tmp_path / "run", "--epochs", "2", "--workers", "1")) == 2
    assert "\nerror: 0002: " in "\n" + capsys.readouterr().err.replace("\r", "\n")
    assert main(command(recording, tmp_path / "run", "--epochs", "2", "--workers", "0", "--skip-bad", "--resume")) == 0


def test_help_shows_defaults_and_units(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stopped.value.code == 0
    for option, default in (("--epochs", "40"), ("--batch-size", "8"), ("--checkpoint-minutes", "10.0")):
        assert re.search(rf"{option} .*?\(default: {default}\)", text)
    assert "metres" in text and "minutes" in text and "HEIGHTxWIDTH in pixels" in text


def test_every_field_is_an_option() -> None:
    parser = argparse.ArgumentParser()
    TrainConfig.add_options(parser)
    assert TrainConfig.from_options(parser.parse_args([])) == TrainConfig()
    given = ["--epochs", "3", "--edge-weight", "0", "--learning-rate", "1e-4", "--seed", "7", "--no-frozen-norm"]
    wanted = TrainConfig(epochs=3, edge_weight=0.0, learning_rate=1e-4, seed=7, frozen_norm=False)
    assert TrainConfig.from_options(parser.parse_args(given)) == wanted


# --- heads -------------------------------------------------------------------------------------------------------


def test_the_heads_are_trained_and_reported(data: RgbdFolder, tmp_path: Path) -> None:
    config = replace(RUN, epochs=6, ema_decay=0.0, entropy_weight=0.3, scale_weight=0.1)
    before = new_model()
    rows = run(data, tmp_path, config)
    weights = {name.removesuffix("_weight"): w for name, w in config.to_dict().items() if name.endswith("_weight")}
    del weights["edge"]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(weight * row[name] for name, weight in weights.items()), rel=1e-4)
    assert rows[-1]["entropy"] < rows[0]["entropy"]
    trained = DepthUNet.from_pretrained(tmp_path / BEST)
    assert not torch.equal(trained.scale[-1].bias, before.scale[-1].bias)
    with (tmp_path / "history.csv").open() as file:
        assert {"entropy", "scale", "cross_entropy"} <= set(next(csv.reader(file)))
    # The column of the paper stays the error of depth, not of the head.
    alone = run(data, tmp_path / "alone", replace(RUN, epochs=1, entropy_weight=0.0, scale_weight=0.0))
    assert "entropy" not in alone[0] and alone[0]["cross_entropy"] > 0


@pytest.mark.parametrize("name", ["depth_bins", "uncertainty"])
def test_a_network_without_a_head_has_no_term_for_it(data: RgbdFolder, tmp_path: Path, name: str) -> None:
    model = new_model(config=replace(MODEL, **{name: 0}))
    rows = fit(model, Part(data, range(6)), Part(data, range(6, 8)), ONE_EPOCH, tmp_path)
    assert ("entropy" in rows[0], "scale" in rows[0]) == (name != "depth_bins", name != "uncertainty")


def test_an_older_model_gets_the_head_and_a_calibrated_one_keeps_its_factor(tmp_path: Path) -> None:
    old = new_model(config=replace(MODEL, uncertainty=0.0))
    old.save_pretrained(tmp_path / "old")
    replace_config = replace(MODEL, uncertainty=0.7, photo_error=0.05)
    DepthUNet(replace_config).save_pretrained(tmp_path / "calibrated")
    base = ["--data", "rgbd:x", "--output", "y"]

    def begun(name: str, *options: str) -> DepthUNetConfig:
        return model_to_train(parse([*base, "--model", str(tmp_path / name), *options])).config

    assert begun("old").uncertainty == 0
    assert begun("old", "--uncertainty").uncertainty == DepthUNetConfig().uncertainty
    assert begun("calibrated") == begun("calibrated", "--uncertainty") == replace_config
    assert begun("calibrated", "--no-uncertainty").uncertainty == 0
    new = model_to_train(parse([*base, *TINY_NETWORK, "--no-uncertainty"]))
    assert not new.predicts_uncertainty and model_to_train(parse([*base, *TINY_NETWORK])).predicts_uncertainty
