"""Before a run: is there depth to learn from, and a frame to validate on?"""

from itertools import chain

import numpy as np

from depth_unet import DepthUNetConfig
from depth_unet.data import DepthData
from depth_unet.data.sample import SampleError
from train.run import TrainingError, parts_of
from train.views import network_view

LOOKED_AT = 16  # samples of each data set
SMALL = 0.1  # share of usable pixels that is worth a note


def check_training(data: DepthData, model: DepthUNetConfig) -> list[str]:
    """Look at samples, evenly spread over each data set, and at all of them where nothing is found.

    Args:
        data: to train on.
        model: its range of depth decides which pixels can be used.

    Returns:
        A note on each data set of which few pixels can be used.

    Raises:
        TrainingError: not one pixel of all data can be used.
    """
    nearest, farthest = model.min_depth, model.max_depth
    cure = "check --metres-per-unit, --min-depth and --max-depth"
    notes, found, rest = [], [], []
    for part in parts_of(data):
        first = sorted({int(index) for index in np.linspace(0, len(part) - 1, LOOKED_AT).round()}) if len(part) else []
        shares = [share for share in (_usable(part, index, model) for index in first) if share is not None]
        found += shares
        rest.append((part, sorted(set(range(len(part))) - set(first))))
        if shares and np.mean(shares) < SMALL:
            notes.append(
                f"{np.mean(shares):.1%} of the pixels of {part.name or 'the data'} have a depth of {nearest:g} to "
                f"{farthest:g} m, in {len(shares)} samples looked at: {cure}"
            )
    others = chain.from_iterable(((part, index) for index in indices) for part, indices in rest)
    if found and not any(found) and not any(_usable(part, index, model) for part, index in others):
        raise TrainingError(
            f"there is nothing to learn from: no training sample has a depth of {nearest:g} to {farthest:g} m; {cure}"
        )
    return notes


def _usable(data: DepthData, index: int, model: DepthUNetConfig) -> float | None:
    """Share of the pixels of a sample that a network can be trained on; None: it cannot be read."""
    try:
        sample = data[index]
    except SampleError:
        return None  # named when its turn comes
    views = (network_view(sample, model, place=(place, place)) for place in (0.0, 0.5, 1.0))
    return float(np.mean([view.valid.float().mean().item() for view in views]))


def check_validation(data: DepthData, model: DepthUNetConfig) -> None:
    """Find one frame that can be scored.

    Raises:
        TrainingError: there is none.
    """
    reason = "it has no samples"
    for part in parts_of(data):
        for index in range(len(part)):
            try:
                if part.scored(index).within(model.min_depth, model.max_depth).valid.any():
                    return
                reason = f"{part.key(index)}: no valid depth of {model.min_depth:g} to {model.max_depth:g} m"
            except SampleError as error:
                reason = str(error)
    raise TrainingError(f"no validation sample of {data.name or 'the data'} can be scored; the last: {reason}")
