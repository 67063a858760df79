"""The options of a training run, except paths, devices and repositories."""

import argparse
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from depth_unet import DepthLoss, DepthUNetConfig

_PAPER = {
    "epochs": 10,
    "frozen_norm": False,
    "mare_weight": 1.0,
    "log_weight": 0.0,
    "gradient_weight": 0.0,
    "entropy_weight": 0.0,
}


def knob(default: Any, text: str) -> Any:
    """A field of `TrainConfig` with the help text of its option."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; every field is an option of `python -m train`.

    Raises:
        ValueError: a value is out of its range; the message names it.
    """

    epochs: int = knob(40, "number of epochs; one has as many samples as the training data")
    batch_size: int = knob(8, "pictures per step and process")
    accumulate: int = knob(1, "steps whose gradients are averaged for one change of the weights")
    patience: int = knob(0, "stop after this many validations without a better one; 0: never")
    limit_batches: int = knob(0, "steps of each epoch, and batches of each validation, for a dry run; 0: all")
    learning_rate: float = knob(1e-3, "highest learning rate, of the decoder")
    encoder_rate: float = knob(0.3, "learning rate of the encoder, as a fraction of the decoder's")
    frozen_norm: bool = knob(True, "keep the encoder's BatchNorm statistics of its pretrained weights")
    drop_path: float = knob(0.0, "stochastic depth: highest probability of skipping a residual block of a timm encoder")
    weight_decay: float = knob(1e-2, "AdamW's decoupled weight decay")
    warmup: float = knob(0.05, "share of all steps over which the learning rate rises; then it follows a cosine down")
    clip_norm: float = knob(1.0, "largest norm of the gradient; larger gradients are scaled down")
    ema_decay: float = knob(
        0.998, "decay per step of the exponential moving average of the weights, which is validated and saved; 0: none"
    )
    seed: int = knob(0, "random seed of initial weights, order, augmentation and dropout")
    zoom: float = knob(1.5, "largest random zoom into a picture; depth is rescaled with the focal length; 1: none")
    turn: float = knob(5.0, "largest random rotation of the camera about each of its axes, degrees; 0: none")
    mix: float = knob(0.0, "probability of pasting a part of another picture with its depth into a view (CutMix)")
    colour: float = knob(
        0.25, "strength of random brightness, contrast, saturation, tint and gamma, from 0 (none) to below 1"
    )
    flip: float = knob(0.5, "probability of mirroring left to right")
    ssim_weight: float = knob(1.0, "weight of 1 - SSIM of the log depth")
    mare_weight: float = knob(0.5, "weight of the mean absolute relative error")
    edge_weight: float = knob(1.0, "extra weight of depth edges within that error")
    log_weight: float = knob(1.5, "weight of the mean absolute error of log depth")
    gradient_weight: float = knob(0.5, "weight of the error of the gradients of log depth")
    entropy_weight: float = knob(0.3, "weight of the cross-entropy of the depth bins, if the network has them")
    scale_weight: float = knob(0.1, "weight of the loss of the predicted uncertainty, if the network has one")

    @classmethod
    def paper(cls, **overrides: Any) -> "TrainConfig":
        """The options of the paper: SSIM + MARE alone, ten epochs."""
        return cls(**{**_PAPER, **overrides})

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        for f in fields(self):
            if not math.isfinite(getattr(self, f.name)):
                raise ValueError(f"{f.name} must be a finite number, not {getattr(self, f.name)}")
        for name in ("epochs", "batch_size", "accumulate", "learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("patience", "limit_batches"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        for name in ("warmup", "ema_decay", "flip", "mix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        for name in ("colour", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if not 0 <= self.turn <= 30:
            raise ValueError(f"turn must be from 0 to 30 degrees, not {self.turn}")
        if self.zoom < 1:
            raise ValueError(f"zoom must be at least 1, not {self.zoom}")

    def loss(self, model: DepthUNetConfig) -> DepthLoss:
        """The loss over the depth range of a model."""
        weights = {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_weight")}
        weights["entropy_weight"] *= bool(model.depth_bins)
        weights["scale_weight"] *= bool(model.uncertainty)
        return DepthLoss(model.min_depth, model.max_depth, **weights)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Give a command line an option for each field."""
        group = parser.add_argument_group("training")
        for f in fields(cls):
            kind = {"action": argparse.BooleanOptionalAction} if f.type is bool else {"type": f.type}
            group.add_argument("--" + f.name.replace("_", "-"), **kind, default=f.default, help=f.metadata["help"])

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "TrainConfig":
        """Read the options that `add_options` adds."""
        return cls(**{f.name: getattr(options, f.name) for f in fields(cls)})
