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
        random, now = tensors["random"], torch.get_rng_state()
        if (random.dtype, random.shape) != (now.dtype, now.shape):
            raise ValueError(f"its random state is of {random.dtype} and shape {tuple(random.shape)}")
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a checkpoint that can be resumed: {error}") from error
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            found = tensors.get(f"{name}/{key}", value)
            if found.dtype != value.dtype:
                raise ValueError(f"{path} is of another network: {name}/{key} is of {found.dtype}, not {value.dtype}")
    parameters = [(p, group.get("fused")) for group in optimizer.param_groups for p in group["params"]]
    _check_optimizer(path, {key: v for key, v in tensors.items() if key.startswith("optimizer/")}, parameters)
    try:
        for name, module in modules.items():
            prefix = name + "/"
            module.load_state_dict(
                {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            )
    except RuntimeError as error:
        raise ValueError(f"{path} is of another network: {error}") from error
    for index, (parameter, fused) in enumerate(parameters):
        prefix = f"optimizer/{index}/"
        for key in (key for key in tensors if key.startswith(prefix)):
            value = tensors[key]
            if value.shape == parameter.shape:  # with the parameter's memory format, as Adam creates it
                value = torch.empty_like(parameter).copy_(value)
            elif fused:  # the fused optimizer keeps its step count on the device, the others on the CPU
                value = value.to(parameter.device)
            optimizer.state[parameter][key.removeprefix(prefix)] = value
    torch.set_rng_state(random)
    return progress


def averaged_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the exponential moving average of the weights, as of `DepthUNet.state_dict`, from the checkpoint of a run.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no checkpoint, or has no average.
    """
    prefix = "average/module."
    try:
        with safe_open(path, "pt") as file:
            found = {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a checkpoint: {error}") from error
    if not found:
        raise ValueError(f"{path} has no average of the weights")
    return found


def _check_optimizer(path: Path, state: dict[str, torch.Tensor], parameters: list[tuple]) -> None:
    """Raise ValueError unless every state belongs to a parameter, has its shape, and is complete."""
    names = {key.partition("/")[2].partition("/")[2] for key in state}
    shapes = {str(index): parameter.shape for index, (parameter, _) in enumerate(parameters)}
    expected = {f"optimizer/{index}/{name}" for index in {key.split("/")[1] for key in state} for name in names}
    for key in sorted(expected | state.keys()):
        index, value = key.split("/")[1], state.get(key)
        if value is None:
            raise ValueError(f"{path} is not a checkpoint that can be resumed: it lacks {key}")
        if index not in shapes or value.shape not in (shapes[index], ()) or not value.is_floating_point():
            raise ValueError(
                f"{path} is of another network: {key} is of {value.dtype} and shape {tuple(value.shape)}, not "
                f"{tuple(shapes.get(index, ()))}"
            )
