"""Named scoring rules: which part of a frame counts in an evaluation, and which depths."""

import math
from typing import NamedTuple

import torch

from depth_unet.data.sample import DepthSample


class ScoringRule(NamedTuple):
    """A crop and a depth range; the mask is always the data set's own.

    Args:
        name: as it is quoted.
        min_depth: nearest true depth that counts, metres.
        max_depth: farthest true depth that counts, metres.
        crop: (top, bottom, left, right) as fractions of height and width; rounded down to pixels.
        crop_text: the crop in words.
    """

    name: str
    min_depth: float
    max_depth: float
    crop: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    crop_text: str = "whole frame"

    def applied(self, sample: DepthSample) -> DepthSample:
        """The sample with only those pixels valid that count."""
        inside = torch.zeros_like(sample.valid)
        inside[(..., *box(self.crop, *sample.valid.shape[-2:]))] = True
        return sample._replace(valid=sample.valid & inside).within(*self.range)

    def within(self, min_depth: float, max_depth: float) -> "ScoringRule":
        """The rule with its depth range limited to another one, metres."""
        return self._replace(min_depth=max(min_depth, self.min_depth), max_depth=min(max_depth, self.max_depth))

    @property
    def range(self) -> tuple[float, float]:
        """(nearest, farthest) metres."""
        return self.min_depth, self.max_depth

    def __str__(self) -> str:
        """The rule in words, as printed beside every table."""
        return f"{self.name}: {self.crop_text}, true depth {self.min_depth:g} to {self.max_depth:g} m"


def box(crop: tuple[float, float, float, float], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a crop given as fractions (top, bottom, left, right).

    Example:
        >>> box(NYU_EIGEN.crop, 480, 640)
        (slice(45, 471, None), slice(41, 601, None))
    """
    top, bottom, left, right = (
        math.floor(share * side + 1e-6) for share, side in zip(crop, (height, height, width, width), strict=True)
    )
    return slice(top, bottom), slice(left, right)


WHOLE_FRAME = ScoringRule("whole-frame", 0.001, 80.0)
# The crop of Eigen et al. 2014, outside which NYU's depth is only in-filled.
NYU_EIGEN = ScoringRule(
    "nyu-eigen", 0.001, 10.0, (45 / 480, 471 / 480, 41 / 640, 601 / 640), "rows 45:471, columns 41:601 of 480x640"
)
# The crop of Garg et al. 2016, which Godard et al. 2017 use on KITTI with a range of 80 m.
KITTI_GARG = ScoringRule(
    "kitti-garg",
    0.001,
    80.0,
    (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "rows .40810811 to .99189189 and columns .03594771 to .96405229 of the frame",
)
# The scanner's range in DIODE's devkit (Vasiljevic et al. 2019).
DIODE = tuple(ScoringRule(name, 0.6, 350.0) for name in ("diode", "diode-indoors", "diode-outdoor"))
RULES = {rule.name: rule for rule in (WHOLE_FRAME, NYU_EIGEN, KITTI_GARG, *DIODE)}
