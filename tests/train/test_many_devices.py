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

from depth_unet import DepthSample, DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import DepthData, Part
from depth_unet.data.sample import SampleError
from train.__main__ import main as train_main
from train.batches import EpochBatches
from train.config import TrainConfig
from train.evaluate import evaluate, mean_over_frames
from train.loop import fit
from train.network import synchronise_norm
from train.run import TrainingError

ROOT = Path(__file__).parents[2]
# `accelerate launch` starts several processes on GPUs; on CPUs it leaves that to torchrun (or MPI).
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d"]
LAUNCH += ["--rdzv_endpoint", "localhost:0"]
NETWORK = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
# A turned view has blank corners, and each process's share of a batch is a mean over its own valid pixels.
RUN = TrainConfig(epochs=2, batch_size=2, learning_rate=1e-3, ema_decay=0.9, turn=0.0)
TINY = ["--encoder", "mobilenet_v2", "--decoder-channels", *"88888", "--input-size", "32x64"]
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


class Spoilt(Part):
    """A data set of which some pictures are not numbers, and some samples cannot be read."""

    def __init__(self, data: DepthData, indices: range, nan: tuple[int, ...] = (), bad: tuple[int, ...] = ()) -> None:
        super().__init__(data, indices)
        self.nan, self.bad = nan, bad

    def __getitem__(self, index: int) -> DepthSample:
        sample = super().__getitem__(index)
        if index in self.bad:
            raise SampleError(f"{sample.key}: cannot be read")
        return sample._replace(image=sample.image * torch.nan) if index in self.nan else sample


def without_batch_statistics(module: torch.nn.Module) -> None:
    """Replace every BatchNorm by GroupNorm: the output for one picture no longer depends on the others."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, torch.nn.GroupNorm(1, child.num_features))
        without_batch_statistics(child)


def train(
    training: DepthData,
    output: Path,
    batch_size: int,
    group_norm: bool = False,
    network: DepthUNetConfig = NETWORK,
    **options: object,
) -> tuple[DepthUNet, list[dict[str, float]]]:
    torch.manual_seed(0)
    model = DepthUNet(network)
    if group_norm:
        without_batch_statistics(model)
    config = TrainConfig(**RUN.to_dict() | {"batch_size": batch_size})
    validation = Part(training.whole, VALIDATED)
    return model, fit(model, training, validation, config, output, accelerator=Accelerator(cpu=True), **options)


def main() -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    recording, output = map(Path, sys.argv[1:])
    data, rank = RgbdFolder(recording), os.environ["RANK"]
    found = {}
    for name, options in {
        "group norm": {"group_norm": True},
        "batch norm": {},
        "default network": {"network": DepthUNetConfig(input_size=[32, 64])},
    }.items():
        model, rows = train(Part(data, TRAINED), output / name, RUN.batch_size, **options)
        found[name] = {"rows": rows, "weights": [float(p.double().sum()) for p in model.parameters()]}
    # Of eight samples of an epoch, two reach each process in a step; here one of them is spoilt.
    for name, options in {"nan": {"nan": (3,)}, "bad": {"bad": (3,)}}.items():
        try:
            train(Spoilt(data, TRAINED, **options), output / name, RUN.batch_size)
        except (TrainingError, SampleError) as error:
            found[name] = str(error)
    # In one step no process has a sample: all leave it out.
    first = EpochBatches([len(TRAINED)], 2, 1, RUN.seed).order(0)[:2]
    bad = tuple(index for _, index in first)
    _, found["nothing"] = train(Spoilt(data, TRAINED, bad=bad), output / "nothing", 1, skip_bad=True)
    (output / f"{rank}.json").write_text(json.dumps(found))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def two(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("two")
    command = [*LAUNCH, __file__, str(recording), str(output)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def of_both(two: Path, name: str) -> list:
    return [json.loads((two / f"{rank}.json").read_text())[name] for rank in (0, 1)]


@pytest.mark.parametrize(("norm", "tolerance"), [("group norm", 1e-3), ("batch norm", 0.1)])
def test_two_processes_are_one_with_twice_the_batch(
    recording: Path, two: Path, tmp_path: Path, norm: str, tolerance: float
):
    """Exact but for rounding, except with BatchNorm, which on CPUs uses each process's pictures alone."""
    _, one = train(Part(RgbdFolder(recording), TRAINED), tmp_path, 2 * RUN.batch_size, group_norm=norm == "group norm")
    rows = [found["rows"] for found in of_both(two, norm)]
    assert len(one) == 2
    for name in one[0]:
        if name != "step_ms":
            assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]
            assert rows[0][0][name] == pytest.approx(one[0][name], rel=tolerance, abs=tolerance), name


def test_the_default_network_trains_in_two_processes(recording: Path, two: Path):
    """Every parameter has a gradient, and both processes end with the same weights."""
    first, second = of_both(two, "default network")
    assert first["weights"] == second["weights"]
    assert [row["val_abs_rel"] for row in first["rows"]] == [row["val_abs_rel"] for row in second["rows"]]
    best = min(row["val_abs_rel"] for row in first["rows"])
    model = DepthUNet.from_pretrained(two / "default network" / "best")
    scored = Part(RgbdFolder(recording), VALIDATED)
    rule = scored.rule.within(model.config.min_depth, model.config.max_depth)
    assert mean_over_frames(evaluate(model, scored, rule)[0])["none"]["abs_rel"] == pytest.approx(best, rel=0.01)


def test_a_loss_that_is_not_finite_on_one_process_stops_both(two: Path):
    first, second = of_both(two, "nan")
    assert first == second and "nan" in first and "03" in first


def test_a_sample_that_cannot_be_read_on_one_process_stops_both(two: Path):
    assert of_both(two, "bad") == ["03: cannot be read"] * 2


def test_a_step_without_samples_is_left_out_by_both(two: Path):
    first, second = of_both(two, "nothing")
    # In the second epoch one of them comes beside a good sample, the other one is left over.
    assert [row["skipped"] for row in first] == [row["skipped"] for row in second] == [2, 3]
    with safe_open(two / "nothing" / "last.safetensors", "pt") as file:
        steps = {int(file.get_tensor(name)) for name in file.keys() if name.endswith("/step")}  # noqa: SIM118
        assert steps == {int(file.get_tensor("average/n_averaged"))} == {7}  # of twice four


def test_only_one_process_writes(two: Path):
    expected = {".lock", "best", "curves.png", "epoch_001.jpg", "epoch_002.jpg", "history.csv", "last.safetensors"}
    assert {path.name for path in (two / "group norm").iterdir()} == expected | {"run.json"}
    assert json.loads((two / "group norm" / "run.json").read_text())["processes"] == 2


@pytest.mark.parametrize("encoder", ["tu-tf_efficientnet_lite2", "tu-test_efficientnet", "mobilenet_v2", "vgg13_bn"])
def test_synchronised_norm_computes_the_same(encoder: str):
    torch.manual_seed(0)
    model = DepthUNet(DepthUNetConfig.for_encoder(encoder, decoder_channels=[8] * 5, input_size=[32, 64])).eval()
    images = torch.rand(2, 3, 32, 64)
    before, keys = model.run(images), list(model.state_dict())
    synchronise_norm(model)
    assert sum(isinstance(module, torch.nn.SyncBatchNorm) for module in model.modules()) > 5
    assert torch.equal(model.run(images), before) and list(model.state_dict()) == keys


# What happens beside a torch of another build: the compiled library of torchvision cannot be loaded.
UNLOADABLE = """
import torch
load = torch.ops.load_library
def load_library(path):
    if "torchvision" in str(path):
        raise OSError(f"{path} is of another build")
    load(path)
torch.ops.load_library = load_library
"""


def test_accelerates_launcher_works_beside_a_torchvision_of_another_build(recording: Path, tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(UNLOADABLE)
    around = environment() | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    def python(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=around, capture_output=True, text=True, timeout=200
        )

    assert "torchvision::nms does not exist" in python("-c", "import timm").stderr
    done = python("-c", "import train.network")  # which imports timm first
    assert done.returncode == 0, done.stderr
    # The module behind the command accelerate-launch.
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--mixed_precision", "bf16", "-m", "train"]
    command = ["--data", f"rgbd:{recording}", "--output", str(tmp_path / "run"), *TINY, "--epochs", "1"]
    done = python(*launch, *command, "--batch-size", "4")
    assert done.returncode == 0, done.stderr
    assert "precision bf16" in done.stdout and (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_stopping_all_with_a_bad_sample_on_one(recording: Path, tmp_path: Path):
    """One process has nothing to learn from in a step, all stop at the same step, and the state can be resumed."""
    data, output = tmp_path / "data", tmp_path / "run"
    shutil.copytree(recording, data)
    (data / "03.jpg").write_bytes((data / "03.jpg").read_bytes()[:300])
    command = ["--data", f"rgbd:{data}", "--output", str(output), "--skip-bad", "--workers", "0", "--batch-size", "1"]
    command += TINY
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
