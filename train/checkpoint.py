"""The state of a run in one safetensors file: weights, averages, optimizer and random state."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from depth_unet.files import write_atomically


def save_checkpoint(
    path: Path, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Write the state, complete or not at all.

    Args:
        path: file to write.
        modules: by the prefix of their tensors in the file.
        optimizer: its state must consist of tensors, as Adam's does.
        progress: everything else; JSON.
    """
    tensors = {"random": torch.get_rng_state()}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items()}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_atomically(path, save(tensors, {"progress": json.dumps(progress)}))


def load_checkpoint(
    path: Path, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore modules, optimizer and torch's random state; the inverse of `save_checkpoint`.

    Returns:
        The `progress` that was saved.

    Raises:
        ValueError: the file is damaged or of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a checkpoint that can be resumed: {error}") from error
    try:
        for name, module in modules.items():
            prefix = name + "/"
            module.load_state_dict(
                {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            )
    except RuntimeError as error:
        raise ValueError(f"{path} is of another network: {error}") from error
    parameters = [(p, group.get("fused")) for group in optimizer.param_groups for p in group["params"]]
    for index, (parameter, fused) in enumerate(parameters):
        prefix = f"optimizer/{index}/"
        for key in (key for key in tensors if key.startswith(prefix)):
            value = tensors[key]
            if value.shape == parameter.shape:  # with the parameter's memory format, as Adam creates it
                value = torch.empty_like(parameter).copy_(value)
            elif fused:  # the fused optimizer keeps its step count on the device, the others on the CPU
                value = value.to(parameter.device)
            optimizer.state[parameter][key.removeprefix(prefix)] = value
    torch.set_rng_state(tensors["random"])
    return progress
