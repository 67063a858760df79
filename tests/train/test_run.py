"""The folder of a run: its record, its lock, and what can be resumed."""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scenes import write_rgbd

from depth_unet import DepthSample, DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import Joined, Part
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.origin import EARLIER_MODEL, OWN_RECORDINGS, Origin
from train.__main__ import main
from train.card import read_history
from train.config import TrainConfig
from train.loop import fit
from train.run import RunFolder, RunRecord, SetRecord, TrainingError, origins_of_model, read_record

ROOT = Path(__file__).parents[2]
NETWORK = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
RUN = TrainConfig(epochs=2, batch_size=2, learning_rate=3e-3, ema_decay=0.9, frozen_norm=False)
TINY = ["--encoder", "mobilenet_v2", "--decoder-channels", *"88888", "--input-size", "32x64", "--batch-size", "2"]
TITLED = Origin("A set", "https://example.org", "research", "research-only")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rgbd(tmp_path_factory.mktemp("recording") / "data", 10)


@pytest.fixture(scope="module")
def data(recording: Path) -> RgbdFolder:
    found = RgbdFolder(recording, origin=TITLED)
    found.name = f"rgbd:{recording}"
    return found


def new_model() -> DepthUNet:
    torch.manual_seed(0)
    return DepthUNet(NETWORK)


def train(data: RgbdFolder, output: Path, config: TrainConfig = RUN, **options: object) -> list[dict[str, float]]:
    chosen = {"training": Part(data, range(6)), "validation": Part(data, range(6, 8))}
    return fit(new_model(), output=output, config=config, **chosen | options)


def progress_of(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["progress"])


# --- the record --------------------------------------------------------------------------------------------------


def test_run_json_is_there_from_the_first_step_and_follows_the_best(data: RgbdFolder, tmp_path: Path) -> None:
    train(data, tmp_path, stop_after_steps=1, options={"seed": 3})
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["best"] is None and written["sha256"] is None and written["options"] == {"seed": 3}
    keys = [data.key(index) for index in range(6)]
    digest = hashlib.sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest()
    assert written["data"]["train"] == [{"name": data.name, "split": "all", "samples": 6, "fingerprint": digest}]
    assert [each["samples"] for each in written["data"]["validation"]] == [2]
    assert written["train"] == RUN.to_dict() and written["model"] == NETWORK.to_dict()
    assert (written["shares"], written["batch_size"], written["processes"]) == (None, 2, 1)
    assert written["origins"] == [TITLED._asdict()]

    rows = train(data, tmp_path, resume=True, stop_after_steps=3)  # one epoch of three steps, and one more
    record = RunFolder(tmp_path).read()
    assert record.best == rows[0] and record.options is None
    assert record.sha256 == hashlib.sha256((tmp_path / "best" / "model.safetensors").read_bytes()).hexdigest()
    assert read_record(tmp_path / "best") == record == RunRecord.from_dict(json.loads(json.dumps(record.to_dict())))


def test_a_record_of_0_1_0_is_read(tmp_path: Path) -> None:
    old = {"train": {"epochs": 1}, "model": {}, "trained_on": ["nyu_depth_v2", "own_recordings"], "best": {"epoch": 1}}
    (tmp_path / "run.json").write_text(json.dumps(old | {"averaged": 2}))
    record = RunFolder(tmp_path).read()
    assert record.origins == (*NyuDataset.origins, OWN_RECORDINGS) and record.averaged == 2
    assert (record.train, record.best, record.training) == ({"epochs": 1}, {"epoch": 1}, ())


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).read() is None
    for content in ("{", "[]", '{"version": "0.2.0"}', '{"trained_on": 3}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ValueError, match=r"run\.json cannot be used"):
            RunFolder(tmp_path).read()


def test_origins_come_from_the_run_or_the_card(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    assert origins_of_model(model) == (EARLIER_MODEL,)
    (model / "README.md").write_text("---\nlicense: mit\ndatasets:\n- nyu_depth_v2\n---\n# A model of 0.1.0\n")
    assert origins_of_model(model) == NyuDataset.origins
    (model / "README.md").write_text("---\nlicense: mit\n---\n# Of another program\n")
    assert origins_of_model(model) == (EARLIER_MODEL,)
    front = "\n".join(f"  {name}: {value}" for name, value in TITLED._asdict().items())
    (model / "README.md").write_text(f"---\ntrained_on:\n-{front[1:]}\n---\n# A card\n")
    assert origins_of_model(model) == (TITLED,)
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    RunFolder(tmp_path / "run").write(RunRecord(origins=(TITLED, OWN_RECORDINGS)))
    assert origins_of_model(best) == origins_of_model(tmp_path / "run") == (TITLED, OWN_RECORDINGS)


def test_continuing_keeps_the_origins_of_the_model(data: RgbdFolder, tmp_path: Path) -> None:
    train(data, tmp_path, continues=[OWN_RECORDINGS, TITLED], stop_after_steps=1)
    assert RunFolder(tmp_path).read().origins == (TITLED, OWN_RECORDINGS)
    train(data, tmp_path, resume=True, stop_after_steps=1)
    assert RunFolder(tmp_path).read().origins == (TITLED, OWN_RECORDINGS)


# --- one run at a time -------------------------------------------------------------------------------------------


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()


def test_a_second_run_is_refused_and_a_killed_one_does_not_block(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    command = ["--data", f"rgbd:{recording}", "--output", str(tmp_path), *TINY]
    first = subprocess.Popen(
        [sys.executable, "-m", "train", *command, "--epochs", "500", "--workers", "1", "--threads", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(tmp_path / "last.safetensors", first)
        capfd.readouterr()
        assert main([*command, "--epochs", "500", "--workers", "0", "--resume"]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and "another run" in error and str(tmp_path) in error
    finally:
        first.kill()
        first.wait()
    done = progress_of(tmp_path / "last.safetensors")["epoch"]
    assert main([*command, "--epochs", str(done + 1), "--workers", "0", "--resume"]) == 0


# --- what can be resumed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": range(1, 7)}, "other training data, .*6 samples"),
        ({"training": [1, 0, 2, 3, 4, 5]}, "other training data"),
        ({"validation": range(7, 9)}, "other validation data"),
        ({"shares": [1.0]}, "begun with no --shares"),
        ({"config": replace(RUN, batch_size=3)}, "within an epoch of batches of 2 samples on 1 process.*not 3 on 1"),
    ],
)
def test_other_data_and_batches_are_refused(data: RgbdFolder, tmp_path: Path, change: dict, words: str) -> None:
    train(data, tmp_path, stop_after_steps=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    options = {
        name: Part(data, value) if name in ("training", "validation") else value for name, value in change.items()
    }
    with pytest.raises(TrainingError, match=words) as refused:
        train(data, tmp_path, resume=True, **options)
    assert "\n" not in str(refused.value)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_moved_data_are_the_same(data: RgbdFolder, recording: Path, tmp_path: Path) -> None:
    rows = train(data, tmp_path / "whole")
    train(data, tmp_path / "run", stop_after_steps=2)
    moved = RgbdFolder(recording.rename(recording.with_name("moved")), origin=TITLED)
    moved.name = "rgbd:moved"
    try:
        again = train(moved, tmp_path / "run", resume=True)
    finally:
        recording.with_name("moved").rename(recording)
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["train"][0]["name"] == "rgbd:moved"


def test_another_batch_size_is_fine_between_epochs(data: RgbdFolder, tmp_path: Path) -> None:
    train(data, tmp_path, replace(RUN, epochs=1))
    rows = train(data, tmp_path, replace(RUN, batch_size=3), resume=True)
    assert [row["epoch"] for row in rows] == [1, 2] and RunFolder(tmp_path).read().batch_size == 3
    # Two steps of three samples, the last of a cosine over four.
    assert rows[1]["learning_rate"] == pytest.approx(3e-3 * 0.25, rel=1e-6)


def test_a_run_of_0_1_0_is_resumed(data: RgbdFolder, tmp_path: Path) -> None:
    rows = train(data, tmp_path / "whole")
    train(data, tmp_path / "old", stop_after_steps=4)
    path = tmp_path / "old" / "last.safetensors"
    progress = progress_of(path)
    for name in ("steps", "processes", "scaler"):
        del progress[name]
    save_file(load_file(path), path, {"progress": json.dumps(progress)})
    (tmp_path / "old" / "run.json").unlink()
    record = RunFolder(tmp_path / "old").read()
    assert record.train == RUN.to_dict() and record.best["epoch"] == 1 and record.origins == ()
    resumed = train(data, tmp_path / "old", resume=True)
    assert [row["val_abs_rel"] for row in resumed] == [row["val_abs_rel"] for row in rows]
    assert 0 < resumed[1]["step_ms"] < 1e5
    assert RunFolder(tmp_path / "old").read().training[0].samples == 6


# --- shares, several validations, the starting model --------------------------------------------------------------


def test_shares_are_drawn_and_resumed_exactly(data: RgbdFolder, tmp_path: Path) -> None:
    sets = Joined([Part(data, range(2)), Part(data, range(2, 8))])
    options = {"training": sets, "validation": Part(data, [8]), "shares": [3, 1]}
    rows = train(data, tmp_path / "whole", **options)
    train(data, tmp_path / "run", **options, stop_after_steps=5)
    again = train(data, tmp_path / "run", **options, resume=True)
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    one, other = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert RunFolder(tmp_path / "run").read().shares == (3, 1)
    with pytest.raises(TrainingError, match="--shares 3 1: resume with the same"):
        train(data, tmp_path / "run", **options | {"shares": [1, 1]}, resume=True)


class Nearer(Part):
    """The same pictures, with a tenth of the depth: what improves on the others is worse here."""

    def scored(self, index: int) -> DepthSample:
        sample = super().scored(index)
        return sample._replace(depth=sample.depth / 10)


def test_each_validation_has_its_columns_and_the_first_chooses(data: RgbdFolder, tmp_path: Path) -> None:
    first, second = Nearer(data, [6, 7]), Part(data, [8])
    rows = train(data, tmp_path / "both", validation=[first, second])
    alone = train(data, tmp_path / "second", validation=second)
    for row, other in zip(rows, alone, strict=True):
        for name in ("abs_rel", "rmse", "median_ratio", "loss", "cross_entropy"):
            assert row[f"val2_{name}"] == other[f"val_{name}"] != row[f"val_{name}"]
        assert row["val2_delta1"] == other["val_delta1"]
    assert read_history(tmp_path / "both" / "history.csv")[1]["val2_abs_rel"] == pytest.approx(rows[1]["val2_abs_rel"])
    record = RunFolder(tmp_path / "both").read()
    assert record.best == rows[0] == min(rows, key=lambda row: row["val_abs_rel"])
    assert rows[1] == min(rows, key=lambda row: row["val2_abs_rel"])
    assert record.validation == (SetRecord.of(first), SetRecord.of(second))


def test_row_0_is_the_starting_models_score(data: RgbdFolder, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(data, tmp_path / "start", replace(RUN, epochs=4))
    start = DepthUNet.from_pretrained(tmp_path / "start" / "best")
    weights = {key: value.clone() for key, value in start.state_dict().items()}
    sets = {"training": Part(data, range(6)), "validation": Part(data, range(6, 8))}
    # Steps this large only make it worse.
    worse = replace(RUN, learning_rate=1.0, clip_norm=100.0, ema_decay=0.0)
    options = sets | {"config": worse, "output": tmp_path / "run", "continues": [TITLED]}
    capsys.readouterr()
    rows = fit(start, **options, stop_after_steps=2)
    rows = fit(start, **options, resume=True)
    assert [row["epoch"] for row in rows] == [0, 1, 2] and "loss" not in rows[0] and rows[0]["val_loss"] > 0
    best = min(read_history(tmp_path / "start" / "history.csv"), key=lambda row: row["val_abs_rel"])
    assert rows[0]["val_abs_rel"] == pytest.approx(best["val_abs_rel"], rel=0.01)  # saved in half precision
    assert "No epoch improves on the starting model" in capsys.readouterr().out
    kept = DepthUNet.from_pretrained(tmp_path / "run" / "best").state_dict()
    assert all(torch.allclose(kept[key].float(), weights[key].float()) for key in weights)
    assert RunFolder(tmp_path / "run").read().best == rows[0]
    assert (tmp_path / "run" / "epoch_000.jpg").exists()
    header, zero, *_ = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert zero.startswith("0,") and len(zero.split(",")) == len(header.split(","))
