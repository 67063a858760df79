"""What is known about the frames of a recording device or benchmark, whatever file format holds them."""

from typing import NamedTuple

import torch

from depth_unet.camera import Camera
from depth_unet.data.origin import Origin
from depth_unet.data.sample import DepthSample
from depth_unet.data.scoring import ScoringRule, box
from depth_unet.files import METRES_PER_UNIT


class Layout(NamedTuple):
    """Facts that the files do not hold.

    Args:
        camera: intrinsics of a frame.
        shown: (top, bottom, left, right) as fractions: the part of a frame that is picture.
        farthest: metres; greater depths are not measurements.
        rule: how such frames are scored.
        mask: the masks in words.
        origin: of the data set.
        metres_per_unit: one step of integer depth maps.
    """

    camera: Camera
    shown: tuple[float, float, float, float]
    farthest: float
    rule: ScoringRule
    mask: str
    origin: Origin
    metres_per_unit: float = METRES_PER_UNIT

    def sample(self, image: torch.Tensor, depth: torch.Tensor, camera: Camera, key: str) -> DepthSample:
        """A frame of which all measurements within the picture are valid.

        Raises:
            SampleError: no pixel has a valid depth.
        """
        valid = torch.zeros_like(depth, dtype=torch.bool)
        valid[(..., *box(self.shown, *depth.shape[-2:]))] = True
        return DepthSample.checked(image, depth, valid & (depth <= self.farthest), camera, key)
