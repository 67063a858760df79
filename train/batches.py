"""Which views make up each training step, in which order, on which process."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import default_collate

from depth_unet import DepthSample, DepthUNetConfig


class Batch(NamedTuple):
    """What one step trains on.

    Args:
        images: (N, 3, H, W) RGB in [0, 1].
        depths: (N, 1, H, W) metres of the canonical camera.
        valids: (N, 1, H, W) bool.
        keys: names of the samples.
        bad: messages about samples that could not be read.
    """

    images: torch.Tensor
    depths: torch.Tensor
    valids: torch.Tensor
    keys: list[str]
    bad: list[str]

    @classmethod
    def without_depth(cls, config: DepthUNetConfig) -> "Batch":
        """A batch without a valid pixel: its loss and gradients are zero."""
        image = torch.full((1, 3, *config.input_size), 0.5)
        depth = torch.ones_like(image[:, :1])
        return cls(image, depth, torch.zeros_like(depth, dtype=torch.bool), [], [])


def collate(views: list[DepthSample | str]) -> Batch:
    """Views into a batch, which has no keys if no view could be made.

    Args:
        views: what `train.views.Views` returns: views, or messages about samples that could not be read.
    """
    good = [view for view in views if not isinstance(view, str)]
    bad = [view for view in views if isinstance(view, str)]
    if not good:
        return Batch(torch.empty(0), torch.empty(0), torch.empty(0), [], bad)
    images, depths, valids = (default_collate([view[field] for view in good]) for field in range(3))
    return Batch(images, depths, valids, [view.key for view in good], bad)


def quotas(lengths: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Samples of each data set in one epoch, which has as many samples as all sets have together.

    Args:
        lengths: number of samples of each data set.
        shares: of each data set, in any unit.

    Raises:
        ValueError: not one share for each data set, a negative or infinite share, or all are zero.

    Example:
        >>> quotas([100, 900], [1, 1])
        [500, 500]
    """
    if len(shares) != len(lengths):
        raise ValueError(f"--shares needs one number for each data set: {len(lengths)}, not {len(shares)}")
    if not all(math.isfinite(share) and share >= 0 for share in shares) or not any(shares):
        raise ValueError(f"--shares must be at least 0 and not all 0, not {' '.join(f'{share:g}' for share in shares)}")
    if any(share and not length for share, length in zip(shares, lengths, strict=True)):
        raise ValueError("a data set without samples cannot have a share")
    total = sum(lengths)
    exact = [total * share / sum(shares) for share in shares]
    found = [int(value) for value in exact]
    # What rounding down leaves over goes to the largest remainders.
    for index in sorted(range(len(exact)), key=lambda i: found[i] - exact[i])[: total - sum(found)]:
        found[index] += 1
    return found


class EpochBatches:
    """The order of a whole run, cut into batches; each process takes its part of every batch.

    Without shares an epoch is a seeded permutation of all samples. With shares each data set is drawn by cycling
    through seeded permutations of it, from one epoch to the next.

    Args:
        lengths: number of samples of each data set; indices count through all of them.
        batch_size: per process.
        epochs: number of epochs.
        seed: of the permutations.
        start: (epoch, step) to begin with, when a run is resumed.
        rank: number of this process.
        world: number of processes; together they see each batch of `batch_size * world` once.
        shares: of each data set, see `quotas`; None: by size.

    Raises:
        ValueError: there are fewer samples than one batch of all processes has, or as `quotas`.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        epochs: int,
        seed: int,
        start: tuple[int, int] = (0, 0),
        rank: int = 0,
        world: int = 1,
        shares: Sequence[float] | None = None,
    ) -> None:
        self.lengths, self.epochs, self.seed, self.start = lengths, epochs, seed, start
        self.rank, self.world, self.together = rank, world, batch_size * world
        self.quotas = None if shares is None else quotas(lengths, shares)
        self.steps = sum(lengths) // self.together  # an incomplete batch would give its samples more weight
        if not self.steps:
            raise ValueError(f"{sum(lengths)} samples are fewer than one batch of {self.together}: lower --batch-size")

    def order(self, epoch: int) -> list[tuple[int, int]]:
        """(pass over the data set, index) of every sample of an epoch."""
        if self.quotas is None:
            chosen = [(epoch, index) for index in range(sum(self.lengths))]
        else:
            chosen, first = [], 0
            for number, (length, quota) in enumerate(zip(self.lengths, self.quotas, strict=True)):
                drawn = _cycled(length, epoch * quota, quota, f"{self.seed} set {number}")
                chosen += [(turn, first + index) for turn, index in drawn]
                first += length
        random.Random(f"{self.seed} {epoch}").shuffle(chosen)
        return chosen

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Lists of (pass, index), one for each step of this process."""
        for epoch in range(self.start[0], self.epochs):
            order = self.order(epoch)
            for step in range(self.start[1] if epoch == self.start[0] else 0, self.steps):
                yield order[step * self.together : (step + 1) * self.together][self.rank :: self.world]

    def __len__(self) -> int:
        """Number of batches that remain."""
        return max(0, (self.epochs - self.start[0]) * self.steps - self.start[1])


def _cycled(length: int, begin: int, count: int, seed: str) -> Iterator[tuple[int, int]]:
    """(pass, index) at the places `begin` to `begin + count` of endless permutations of `range(length)`."""
    order, shuffled = [], None
    for place in range(begin, begin + count):
        turn, offset = divmod(place, length)
        if turn != shuffled:
            order, shuffled = list(range(length)), turn
            random.Random(f"{seed} {turn}").shuffle(order)
        yield turn, order[offset]
