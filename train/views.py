"""What the network is shown of a sample: its own size, its own camera, and in training a different view each time."""

import random
from typing import NamedTuple

import torch
from torch.utils.data import Dataset, default_collate

from depth_unet import DepthSample, DepthUNetConfig
from depth_unet.data.sample import SampleError
from train.config import TrainConfig

_FRAMED = 0.8  # of a picture, at least, lies within a frame around it; what is less is not framed but sparse
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


class Batch(NamedTuple):
    """What one step trains on.

    Args:
        images: (N, 3, H, W) RGB in [0, 1].
        depths: (N, 1, H, W) metres of the canonical camera.
        valids: (N, 1, H, W) bool.
        keys: the samples' names.
        bad: what was wrong with the samples that had to be left out.
    """

    images: torch.Tensor
    depths: torch.Tensor
    valids: torch.Tensor
    keys: list[str]
    bad: list[str]


def network_view(
    sample: DepthSample, model: DepthUNetConfig, zoom: float = 1.0, place: tuple[float, float] = (0.5, 0.5)
) -> DepthSample:
    """The sample as the network sees it: cut to the input's shape, resized, in metres of the canonical camera.

    Args:
        sample: any size.
        model: says input size, canonical camera and depth range.
        zoom: 1 for the largest part of that shape, more to cut a smaller one; the focal length grows with it.
        place: where the part lies, (0, 0) top left to (1, 1) bottom right.
    """
    height, width = sample.depth.shape[-2:]
    rows, columns = model.input_size
    scale = min(height / rows, width / columns) / zoom
    part_height, part_width = max(1, round(rows * scale)), max(1, round(columns * scale))
    left, top = round(place[0] * (width - part_width)), round(place[1] * (height - part_height))
    view = sample.crop(left, top, part_width, part_height).resize(rows, columns)
    return view.to_focal(model.canonical_focal_px).within(model.min_depth, model.max_depth)


def random_view(sample: DepthSample, model: DepthUNetConfig, config: TrainConfig, rng: random.Random) -> DepthSample:
    """A random zoom, place, turn, mirror image and colour of the sample; every second one keeps the field of view.

    A network that only ever saw parts would not know the whole pictures that it is asked for later. Likewise every
    second view goes without a frame, as NYU's white one, around what was measured.
    """
    if rng.random() < 0.5:
        part = sample.measured_part()
        if part.depth.numel() > _FRAMED * sample.depth.numel():
            sample = part
    zoom = rng.uniform(1.0, config.zoom) if rng.random() < 0.5 else 1.0
    view = network_view(sample, model, zoom, (rng.random(), rng.random()))
    if config.turn and rng.random() < 0.5:
        view = view.turn(*(rng.uniform(-config.turn, config.turn) for _ in range(3)))
        view = view.within(model.min_depth, model.max_depth)
    if rng.random() < config.flip:
        view = view.flip()
    return view._replace(image=_recoloured(view.image, config.colour, rng))


def pasted(view: DepthSample, other: DepthSample, rng: random.Random) -> DepthSample:
    """A rectangle of another view in its own place in this one, picture and depth (CutMix, Yun et al. 2019).

    Both speak of the same canonical camera, so every metre stays true; what no longer tells much is the room around.
    """
    height, width = view.depth.shape[-2:]
    rows, columns = (round(side * rng.uniform(0.3, 0.7)) for side in (height, width))
    top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
    inside = torch.zeros_like(view.valid)
    inside[:, top : top + rows, left : left + columns] = True
    image, depth, valid = (torch.where(inside, b, a) for a, b in zip(view[:3], other[:3], strict=True))
    return view._replace(image=image, depth=depth, valid=valid)


def _recoloured(image: torch.Tensor, strength: float, rng: random.Random) -> torch.Tensor:
    if not strength:
        return image

    def factor(share: float = 1.0) -> float:
        return 1 + rng.uniform(-strength, strength) * share

    tint = torch.tensor([factor(0.4), factor(0.4), factor(0.4)]).view(3, 1, 1)
    image = image * tint * factor()
    image = (image - image.mean()) * factor() + image.mean()
    grey = (image * _LUMA).sum(0, keepdim=True)
    image = (image - grey) * factor() + grey
    return image.clamp(0, 1) ** factor()


class Views(Dataset):
    """Random views of a data set, addressed by (epoch, index), so that each is the same however often it is made.

    Args:
        samples: a data set of `DepthSample`.
        model: the network's input.
        config: the augmentation.
    """

    def __init__(self, samples: Dataset, model: DepthUNetConfig, config: TrainConfig) -> None:
        self.samples, self.model, self.config = samples, model, config

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def __getitem__(self, place: tuple[int, int]) -> DepthSample | str:
        """The view of sample `index` in `epoch`, or what is wrong with it.

        An exception would reach the training loop with the traceback of a worker process around its words.
        """
        epoch, index = place
        try:
            sample = self.samples[index]
            rng = random.Random(f"{self.config.seed} {epoch} {index}")
            view = random_view(sample, self.model, self.config, rng)
            if self.config.mix and rng.random() < self.config.mix:
                view = self._with_part_of_another(view, rng)
            if not view.valid.any():  # this part of the picture may hold no measurement; the whole one does
                view = network_view(sample, self.model)
            return view
        except SampleError as error:
            return str(error)

    def _with_part_of_another(self, view: DepthSample, rng: random.Random) -> DepthSample:
        try:
            other = self.samples[rng.randrange(len(self))]
        except SampleError:
            return view  # that it is bad is told when its own turn comes
        return pasted(view, random_view(other, self.model, self.config, rng), rng)


def collate(views: list[DepthSample | str]) -> Batch:
    """Views into a batch, which has no keys if not one of them is good."""
    good = [view for view in views if not isinstance(view, str)]
    bad = [view for view in views if isinstance(view, str)]
    if not good:
        return Batch(torch.empty(0), torch.empty(0), torch.empty(0), [], bad)
    images, depths, valids = (default_collate([view[field] for view in good]) for field in range(3))
    return Batch(images, depths, valids, [view.key for view in good], bad)


class EpochBatches:
    """The order of a whole run: for each epoch a seeded permutation, cut into batches, this process's share of each.

    Args:
        length: number of samples.
        batch_size: per process.
        epochs: how many.
        seed: of the permutations.
        start: (epoch, step) to begin with, when a run is resumed.
        rank: this process.
        world: number of processes; together they see each batch of `batch_size * world` once.

    Raises:
        ValueError: there are fewer samples than one batch of all processes takes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        epochs: int,
        seed: int,
        start: tuple[int, int] = (0, 0),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.length, self.epochs, self.seed, self.start = length, epochs, seed, start
        self.rank, self.world, self.together = rank, world, batch_size * world
        self.steps = length // self.together  # an incomplete batch would weigh its samples more
        if not self.steps:
            raise ValueError(f"{length} samples are fewer than one batch of {self.together}: lower --batch-size")

    def __iter__(self):
        """Lists of (epoch, index)."""
        for epoch in range(self.start[0], self.epochs):
            order = list(range(self.length))
            random.Random(f"{self.seed} {epoch}").shuffle(order)
            for step in range(self.start[1] if epoch == self.start[0] else 0, self.steps):
                batch = order[step * self.together : (step + 1) * self.together]
                yield [(epoch, index) for index in batch[self.rank :: self.world]]

    def __len__(self) -> int:
        """Number of batches that remain."""
        return max(0, (self.epochs - self.start[0]) * self.steps - self.start[1])
