"""How a network is set up for training: rates of its parts, BatchNorm, stochastic depth."""

import os
from typing import Any

import torch
from timm.layers import DropPath, convert_sync_batchnorm

from depth_unet import DepthUNet


def joined_on_cpu() -> bool:
    """Whether several processes run without a GPU: accelerate joins these only if it is told so."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.accelerator.is_available()


def parameter_groups(model: DepthUNet, encoder_rate: float) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer: the decoder with its head, then the encoder.

    Args:
        model: what is trained.
        encoder_rate: learning rate of the encoder, as a fraction of the decoder's.

    Returns:
        Groups with the additional key "rate": the fraction of the scheduled learning rate.
    """
    encoder = list(model.unet.encoder.parameters())
    inside = {id(parameter) for parameter in encoder}
    return [
        {"params": [p for p in model.parameters() if id(p) not in inside], "rate": 1.0},
        {"params": encoder, "rate": encoder_rate},
    ]


def freeze_norm(encoder: torch.nn.Module) -> None:
    """Let BatchNorm normalise by its running statistics, as in prediction, until the next `train()`."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def synchronise_norm(model: torch.nn.Module) -> None:
    """Make every BatchNorm use the statistics of all processes; GPUs only."""
    # torch's own conversion drops the activations that timm's BatchNormAct2d contains.
    convert_sync_batchnorm(model)


def set_drop_path(encoder: torch.nn.Module, highest: float) -> None:
    """Set stochastic depth (Huang et al. 2016): residual blocks are skipped at random in training.

    Args:
        encoder: only blocks of timm's encoders can be skipped.
        highest: probability for the last block; it rises linearly from 0 at the first.
    """
    blocks = [module for module in encoder.modules() if hasattr(module, "drop_path")]
    for index, block in enumerate(blocks):
        block.drop_path = DropPath(highest * index / len(blocks)) if highest else torch.nn.Identity()
