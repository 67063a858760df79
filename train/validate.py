"""Validation during training: metrics of whole frames, and the training loss."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image
from tqdm import tqdm

from depth_unet import DepthLoss, DepthSample, DepthUNet
from depth_unet.data import DepthData
from depth_unet.data.sample import SampleError
from depth_unet.data.scoring import ScoringRule
from depth_unet.losses import bin_cross_entropy
from train.evaluate import predict_samples, score
from train.history import sample_sheet
from train.run import TrainingError, parts_of
from train.views import network_view

METRICS = ("abs_rel", "rmse", "delta1", "median_ratio")
PICTURED = 5  # samples in the picture of an epoch
_AT_ONCE = 8  # frames in one forward pass


class Validation(NamedTuple):
    """The result of one validation.

    Args:
        samples: number of frames of the data set.
        means: over frames, the same on every process: `METRICS`, unaligned, of whole frames at full resolution;
            "loss" and "cross_entropy" of the network's output.
        missed: messages about the frames that could not be scored, of all processes.
        picture: some frames of this process; None if it has none.
    """

    samples: int
    means: dict[str, float]
    missed: list[str]
    picture: Image.Image | None


def validate(model: DepthUNet, data: DepthData, loss_of: DepthLoss, accelerator: Accelerator) -> Validation:
    """Score a model; each frame is counted once, on one of the processes. Frames that cannot be scored are left out.

    Args:
        model: what predicts.
        data: scored by its own rule, within the depth range of the model.
        loss_of: the training loss, here of the network's view of each frame.
        accelerator: the processes.

    Raises:
        TrainingError: not one frame can be scored.
    """
    places = [(part, index) for part in parts_of(data) for index in range(len(part))]
    mine = places[accelerator.process_index :: accelerator.num_processes]
    results: list[dict[str, float]] = []
    missed: list[str] = []
    pictured: list[tuple] = []
    for chunk in _chunks(model, mine, missed, quiet=not accelerator.is_main_process):
        samples, rules = zip(*chunk, strict=True)
        views = [network_view(sample, model.config) for sample in samples]
        outputs = model.run(torch.stack([view.image for view in views]))
        for (sample, prediction), rule, view, output in zip(
            predict_samples(model, samples), rules, views, outputs, strict=True
        ):
            try:
                metrics = score(sample, prediction, ("none",), rule).metrics["none"]
            except SampleError as error:
                missed.append(str(error))
                continue
            compared = output[None], view.depth[None], view.valid[None]
            entropy = bin_cross_entropy(*compared, min_depth=loss_of.min_depth, max_depth=loss_of.max_depth)
            result = {name: metrics[name] for name in METRICS}
            results.append(result | {"loss": loss_of(*compared).item(), "cross_entropy": entropy.item()})
            if len(pictured) < PICTURED and len(results) % max(1, len(mine) // PICTURED) == 0:
                pictured.append((sample, prediction, f"{sample.key}: AbsRel {result['abs_rel']:.3f}"))
    results, missed = gather_object(results), gather_object(missed)
    if not results:
        raise TrainingError(f"no validation sample could be scored; the first: {missed[0]}")
    means = {name: sum(result[name] for result in results) / len(results) for name in results[0]}
    picture = sample_sheet(*map(list, zip(*pictured, strict=True))) if pictured else None
    return Validation(len(places), means, missed, picture)


def _chunks(
    model: DepthUNet, places: list[tuple[DepthData, int]], missed: list[str], quiet: bool
) -> Iterator[list[tuple[DepthSample, ScoringRule]]]:
    """Samples with their rules, `_AT_ONCE` at a time; messages about the others go to `missed`."""
    nearest, farthest = model.config.min_depth, model.config.max_depth
    chunk: list[tuple[DepthSample, ScoringRule]] = []
    for part, index in tqdm(places, "validate", unit="img", leave=False, disable=quiet):
        try:
            sample = part.scored(index).within(nearest, farthest)
            if not sample.valid.any():
                raise SampleError(f"{sample.key}: no valid depth of {nearest:g} to {farthest:g} m")
            chunk.append((sample, part.rule.within(nearest, farthest)))
        except SampleError as error:
            missed.append(str(error))
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
