"""`fit` against a run of three epochs of two steps that is written out in plain torch."""

import copy
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scenes import write_rgbd
from torch.nn.utils import clip_grad_norm_

from depth_unet import DepthLoss, DepthUNet, DepthUNetConfig, RgbdFolder
from depth_unet.data import Part
from train.config import TrainConfig
from train.loop import fit
from train.views import network_view

NETWORK = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
RATE, ENCODER_RATE, DECAY, CLIP, WEIGHT_DECAY = 3e-3, 0.25, 0.9, 0.5, 0.05
PLAIN = {"zoom": 1.0, "turn": 0.0, "colour": 0.0, "flip": 0.0, "frozen_norm": False}
CONFIG = TrainConfig(
    epochs=3,
    batch_size=2,
    learning_rate=RATE,
    encoder_rate=ENCODER_RATE,
    warmup=1 / 3,
    ema_decay=DECAY,
    clip_norm=CLIP,
    weight_decay=WEIGHT_DECAY,
    **PLAIN,
)
# Two steps of warmup, then a cosine over four.
RATES = [RATE / 2, RATE, *(RATE * 0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4))]


def new_model() -> DepthUNet:
    torch.manual_seed(0)
    return DepthUNet(NETWORK)


def reference(data: RgbdFolder) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]], list[dict]]:
    """Final weights, averaged weights after each epoch, and the history."""
    model, loss_of = new_model().train(), DepthLoss(0.3, 12.0, 1.0, 0.5, 1.0, 1.5, 0.5, 0.3, 0.1)
    encoder = [p for name, p in model.named_parameters() if name.startswith("unet.encoder.")]
    others = [p for name, p in model.named_parameters() if not name.startswith("unet.encoder.")]
    optimizer = torch.optim.AdamW([{"params": others}, {"params": encoder}], lr=RATE, weight_decay=WEIGHT_DECAY)
    average, averages, rows, norms = copy.deepcopy(model), [], [], []
    for epoch in range(3):
        order = [0, 1, 2, 3]
        random.Random(f"0 {epoch}").shuffle(order)
        losses = []
        for step in range(2):
            number = 2 * epoch + step
            views = [network_view(data[index], NETWORK) for index in order[2 * step : 2 * step + 2]]
            images, depths, valids = (torch.stack([view[field] for view in views]) for field in range(3))
            for group, factor in zip(optimizer.param_groups, (1.0, ENCODER_RATE), strict=True):
                group["lr"] = RATES[number] * factor
            optimizer.zero_grad()
            depth, bin_logits, log_scale = model(images, details=True)
            loss = loss_of(depth, depths, valids, bin_logits, log_scale)
            loss.backward()
            norms.append(clip_grad_norm_(model.parameters(), CLIP).item())
            optimizer.step()
            losses.append(loss.item())
            # The first average is a copy; the decay of the n-th that follows is at most (1 + n) / (10 + n).
            decay = 0.0 if number == 0 else min(DECAY, (1 + number) / (10 + number))
            for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)
        averages.append(copy.deepcopy(average.state_dict()))
        rows.append({"loss": np.mean(losses)} | validation(average, [data[4], data[5]], loss_of))
    assert min(norms) > 2 * CLIP and max(norms) > 1.5 * min(norms)  # clipping changes every step, and unevenly
    return model.state_dict(), averages, rows


def validation(model: DepthUNet, samples: list, loss_of: DepthLoss) -> dict[str, float]:
    model = copy.deepcopy(model).eval()
    errors, ratios, losses = [], [], []
    for sample in samples:
        photo = (sample.image * 255).round().byte().permute(1, 2, 0).numpy()
        predicted = model.predict(photo, sample.camera).depth.astype(np.float64).clip(0.3, 12.0)
        target = sample.depth[0].numpy().astype(np.float64)
        counted = sample.valid[0].numpy() & (target >= 0.3) & (target <= 12.0)
        errors.append((np.abs(predicted - target) / target)[counted].mean())
        ratios.append(np.median((predicted / target)[counted]))
        view = network_view(sample, NETWORK)
        with torch.inference_mode():
            losses.append(loss_of(model(view.image[None]), view.depth[None], view.valid[None]).item())
    return {"val_abs_rel": np.mean(errors), "val_median_ratio": np.mean(ratios), "val_loss": np.mean(losses)}


def test_a_run_is_the_one_written_out(tmp_path: Path) -> None:
    data = RgbdFolder(write_rgbd(tmp_path / "data", 6, size=(48, 96)))  # the shape of the input: views are whole
    weights, averages, rows = reference(data)
    found = fit(new_model(), Part(data, range(4)), Part(data, range(4, 6)), CONFIG, tmp_path / "run")
    state = load_file(tmp_path / "run" / "last.safetensors")

    for prefix, wanted in (("model/", weights), ("average/module.", averages[-1])):
        saved = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        assert saved.pop("n_averaged", torch.tensor(6)) == 6
        assert saved.keys() == wanted.keys()
        assert [key for key in wanted if not torch.equal(saved[key], wanted[key])] == []
    for row, wanted, rate in zip(found, rows, RATES[1::2], strict=True):
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=1e-6)
        assert row["learning_rate"] == pytest.approx(rate)
    best = min(range(3), key=lambda epoch: rows[epoch]["val_abs_rel"])
    saved = load_file(tmp_path / "run" / "best" / "model.safetensors")
    assert all(torch.equal(saved[key], value.to(saved[key].dtype)) for key, value in averages[best].items())
