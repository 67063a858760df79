"""Early stopping, dry runs and accumulated gradients."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from scenes import write_rgbd

from depth_unet import DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import Part
from train.__main__ import main
from train.batches import Batch, collate
from train.config import TrainConfig
from train.loop import fit
from train.step import train_step
from train.views import network_view


def _fit(data: RgbdFolder, output: Path, **options: object) -> tuple[DepthUNet, list[dict[str, float]]]:
    torch.manual_seed(0)
    config = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
    model = DepthUNet(config)
    chosen = {"epochs": 2, "batch_size": 2, "zoom": 1, "turn": 0, "colour": 0, "flip": 0, "ema_decay": 0} | options
    fitted = fit(model, Part(data, range(6)), Part(data, range(6, 8)), TrainConfig(**chosen), output)
    return model, fitted


@pytest.fixture
def eight(tmp_path: Path) -> RgbdFolder:
    return RgbdFolder(write_rgbd(tmp_path / "eight", 8))


def test_patience_ends_a_run_that_does_not_improve(eight: RgbdFolder, tmp_path: Path, capsys) -> None:
    # With this rate nothing changes, so that the first epoch stays the best.
    _, rows = _fit(eight, tmp_path / "run", epochs=9, patience=2, learning_rate=1e-30, weight_decay=0, frozen_norm=True)
    errors = [row["val_abs_rel"] for row in rows]
    best = errors.index(min(errors))
    assert len(rows) == best + 3 < 9
    assert f"Stopped after epoch {len(rows)}: no better validation in the last 2." in capsys.readouterr().out
    torch.manual_seed(0)
    config = TrainConfig(**json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["train"])
    model = DepthUNet(DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64]))
    again = fit(model, Part(eight, range(6)), Part(eight, range(6, 8)), config, tmp_path / "run", resume=True)
    assert again == rows  # a run that has stopped does not go on


def test_limited_batches_try_everything_once(eight: RgbdFolder, tmp_path: Path) -> None:
    _, rows = _fit(eight, tmp_path / "run", limit_batches=1, batch_size=1)
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert [row["epoch"] for row in rows] == [1, 2] and record["data"]["validation"][0]["samples"] == 1


def test_accumulated_gradients_are_those_of_a_larger_batch(eight: RgbdFolder, tmp_path: Path) -> None:
    """Without BatchNorm's batch statistics, 3 batches of 2 are one batch of 6."""
    options = {"frozen_norm": True, "epochs": 1, "warmup": 0, "learning_rate": 1e-3}
    results = {}
    for size, accumulate in ((6, 1), (2, 3), (2, 1)):
        torch.manual_seed(0)
        config = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
        model = DepthUNet(config)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train = lambda mode=True, module=module: module
                module.training = False
        chosen = TrainConfig(batch_size=size, accumulate=accumulate, zoom=1, turn=0, colour=0, flip=0, **options)
        steps: list = []
        average = torch.optim.SGD(model.parameters(), lr=1.0)
        batch = collate([network_view(eight[index], config) for index in range(6)])
        for number in range(0, 6, size):
            part = Batch(*(field[number : number + size] for field in batch[:4]), [])
            place = (len(steps) % accumulate, accumulate)
            loss = chosen.loss(config)
            steps.append(train_step(model, loss, average, part, Accelerator(cpu=True), 1e9, place=place))
        results[size, accumulate] = [parameter.grad.clone() for parameter in model.parameters()]
        assert [step.taken for step in steps] == [place == accumulate - 1 for place in range(accumulate)] * (
            len(steps) // accumulate
        )
    pairs = zip(results[6, 1], results[2, 3], strict=True)
    assert all(torch.allclose(whole, parts, rtol=0.02, atol=1e-3 * whole.abs().max()) for whole, parts in pairs)
    others = zip(results[6, 1], results[2, 1], strict=True)
    assert not all(torch.allclose(whole, last, rtol=0.02, atol=1e-3 * whole.abs().max()) for whole, last in others)


def test_a_stopped_group_is_finished_first(eight: RgbdFolder, tmp_path: Path) -> None:
    whole, _ = _fit(eight, tmp_path / "whole", accumulate=2, epochs=2)
    for resume in (False, True):
        torch.manual_seed(0)
        model = DepthUNet(DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64]))
        config = TrainConfig(epochs=2, batch_size=2, zoom=1, turn=0, colour=0, flip=0, ema_decay=0, accumulate=2)
        parts = Part(eight, range(6)), Part(eight, range(6, 8))
        fit(model, *parts, config, tmp_path / "cut", resume=resume, stop_after_steps=None if resume else 1)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


@pytest.mark.parametrize(("name", "value"), [("accumulate", 0), ("patience", -1), ("limit_batches", -1)])
def test_impossible_numbers(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        TrainConfig(**{name: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_compiling_needs_cuda(eight: RgbdFolder, tmp_path: Path, capsys) -> None:
    root = tmp_path / "eight"
    options = ["--data", f"rgbd:{root}", "--output", str(tmp_path / "run"), "--compile", "--encoder", "mobilenet_v2"]
    assert main([*options, "--workers", "0"]) == 2
    assert "--compile needs a CUDA GPU" in capsys.readouterr().err
