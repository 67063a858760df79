"""One step of gradient descent, on which all processes agree."""

import math
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from depth_unet import DepthLoss
from depth_unet.losses import bin_cross_entropy
from train.batches import Batch
from train.run import TrainingError


class Step(NamedTuple):
    """The result of one step, the same on every process.

    Args:
        sums: over processes with samples: "steps" (their number), "loss", its terms and "cross_entropy".
        taken: the weights were changed; not if no process had a sample, or if gradients overflowed in fp16.
        bad: number of samples that could not be read.
        stop: a process was asked to stop.
    """

    sums: dict[str, float]
    taken: bool
    bad: int
    stop: bool


def train_step(
    model: torch.nn.Module,
    loss_of: DepthLoss,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    accelerator: Accelerator,
    clip_norm: float,
    stop: bool = False,
    place: tuple[int, int] = (0, 1),
) -> Step:
    """Forward, loss, backward and, in the last step of a group, clipping and optimizer.

    Args:
        model: in training mode; prepared by `accelerator` if there are several processes.
        loss_of: the training loss.
        optimizer: of the model's parameters.
        batch: of this process; it may be empty.
        accelerator: device, precision and processes.
        clip_norm: gradients are scaled down to this norm.
        stop: this process was asked to stop.
        place: number of this step in its group, from 0, and size of the group: gradients are averaged over it.

    Raises:
        TrainingError: the loss or the gradient of a process is not finite; names the samples.
    """
    names = ("steps", "loss", *(name for name, weight in loss_of.weights.items() if weight), "cross_entropy")
    many, (number, size) = accelerator.num_processes > 1, place
    if number == 0:
        optimizer.zero_grad(set_to_none=True)
    if not batch.keys and not many and size == 1:
        return Step(dict.fromkeys(names, 0.0), False, len(batch.bad), stop)
    # Other processes wait for this one's part of the gradient, even if it has no sample.
    shown = batch if batch.keys else Batch.without_depth(accelerator.unwrap_model(model).config)
    images, depths, valids = (
        tensor.to(accelerator.device, non_blocking=True) for tensor in (shown.images, shown.depths, shown.valids)
    )
    with accelerator.autocast():
        predictions, *heads = model(images, details=True)
    terms = loss_of.terms(predictions, depths, valids, *heads)
    loss = sum(loss_of.weights[name] * value for name, value in terms.items())
    accelerator.backward(loss / size)
    is_last = number + 1 == size
    norm = accelerator.clip_grad_norm_(model.parameters(), clip_norm) if is_last else torch.zeros_like(loss)
    entropy = bin_cross_entropy(
        predictions.detach()[..., ::2, ::2],
        depths[..., ::2, ::2],
        valids[..., ::2, ::2],
        min_depth=loss_of.min_depth,
        max_depth=loss_of.max_depth,
    )
    # A gradient scaler skips steps whose gradient is not finite, and the gradient is the same on all processes.
    checked = loss.detach() if accelerator.scaler is not None else loss.detach() + 0 * norm
    values = torch.stack([t.detach().float() for t in (torch.ones_like(loss), loss, *terms.values(), entropy, checked)])
    if many:
        about = torch.tensor([len(batch.bad), stop], dtype=torch.float64, device=values.device)
        about = torch.cat([values.double() * bool(batch.keys), about])
        *numbers, checked, bad, stopped = accelerator.reduce(about, "sum").tolist()
    else:
        *numbers, checked = (values * bool(batch.keys)).tolist()  # the only wait for the device
        bad, stopped = len(batch.bad), stop
    if not math.isfinite(checked):
        raise _not_finite(values[1].item(), batch.keys)
    sums = dict(zip(names, numbers, strict=True))
    changes = is_last and (sums["steps"] > 0 or size > 1)
    if changes:
        optimizer.step()
    elif is_last and accelerator.scaler is not None:
        accelerator.scaler.update()  # it expects an update after each unscaling of gradients
    overflowed = getattr(optimizer, "step_was_skipped", False)  # only accelerate's optimizers have it
    return Step(sums, changes and not overflowed, int(bad), bool(stopped))


def _not_finite(loss: float, keys: list[str]) -> TrainingError:
    """The error that every process raises, about the samples of those where the loss is not finite."""
    found = gather_object([(loss, keys)])
    wrong = [(value, names) for value, names in found if not math.isfinite(value)]
    what = f"loss became {wrong[0][0]}" if wrong else "gradient is not finite"
    samples = ", ".join(name for _, names in wrong or found for name in names)
    return TrainingError(
        f"the {what} on the samples {samples}: look at their depth maps, or lower --learning-rate; --resume continues "
        "from the last checkpoint"
    )
