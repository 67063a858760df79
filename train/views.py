"""What the network is given of a sample: its input size and canonical camera, and in training a random view."""

import random

import torch
from torch.utils.data import Dataset

from depth_unet import DepthSample, DepthUNetConfig
from depth_unet.data.sample import SampleError
from train.config import TrainConfig

_FRAMED = 0.8  # share of a picture inside a frame without depth, at least; below it the depth map is sparse instead
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def network_view(
    sample: DepthSample, model: DepthUNetConfig, zoom: float = 1.0, place: tuple[float, float] = (0.5, 0.5)
) -> DepthSample:
    """The sample as the network input: cropped to its aspect ratio, resized, in metres of the canonical camera.

    Args:
        sample: any size.
        model: input size, canonical camera and depth range.
        zoom: 1 for the largest crop of that aspect ratio, more for a smaller one; the focal length grows with it.
        place: of the crop, from (0, 0), left and top, to (1, 1), right and bottom.
    """
    height, width = sample.depth.shape[-2:]
    rows, columns = model.input_size
    scale = min(height / rows, width / columns) / zoom
    part_height, part_width = max(1, round(rows * scale)), max(1, round(columns * scale))
    left, top = round(place[0] * (width - part_width)), round(place[1] * (height - part_height))
    view = sample.crop(left, top, part_width, part_height).resize(rows, columns)
    return view.to_focal(model.canonical_focal_px).within(model.min_depth, model.max_depth)


def random_view(sample: DepthSample, model: DepthUNetConfig, config: TrainConfig, rng: random.Random) -> DepthSample:
    """A random zoom, place, rotation, mirror image and colour of the sample.

    Every second view keeps the whole field of view, because prediction gets whole pictures. Every second view is
    cropped to the measured part where a frame without depth surrounds it, as in NYU.

    Args:
        sample: any size.
        model: input size, canonical camera and depth range.
        config: strength of the augmentation.
        rng: source of all randomness.
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
    """The view with a rectangle of another one at the same place, picture and depth (CutMix, Yun et al. 2019).

    Both have the same canonical camera, so depth stays correct.
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
    """Random views of a data set, addressed by (pass, index); the same address always gives the same view.

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
        """The view of sample `index` in one pass over the data, or a message if the sample cannot be read.

        An exception would reach the training loop with the traceback of a worker process in its message.
        """
        turn, index = place
        try:
            sample = self.samples[index]
            rng = random.Random(f"{self.config.seed} {turn} {index}")
            view = random_view(sample, self.model, self.config, rng)
            if self.config.mix and rng.random() < self.config.mix:
                view = self._with_part_of_another(view, rng)
            if not view.valid.any():  # this crop may contain no measurement; the whole picture does
                view = network_view(sample, self.model)
            return view
        except SampleError as error:
            return str(error)

    def _with_part_of_another(self, view: DepthSample, rng: random.Random) -> DepthSample:
        try:
            other = self.samples[rng.randrange(len(self))]
        except SampleError:
            return view  # reported when its own turn comes
        return pasted(view, random_view(other, self.model, self.config, rng), rng)
