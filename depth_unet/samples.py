"""A picture with its true depth, and what may be done to both without telling a lie about metres."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from depth_unet.camera import Camera


class SampleError(ValueError):
    """A sample of a data set is missing, damaged or empty; the message names it."""


class NoDepthError(SampleError):
    """Not one pixel of the sample has a valid depth."""


class DepthSample(NamedTuple):
    """One picture with its depth.

    Args:
        image: (3, H, W) float32, RGB in [0, 1].
        depth: (1, H, W) float32, metres along the optical axis; any value where not valid.
        valid: (1, H, W) bool, where `depth` is a measurement.
        camera: the intrinsics of this picture.
        key: the sample's name in its data set.
    """

    image: torch.Tensor
    depth: torch.Tensor
    valid: torch.Tensor
    camera: Camera
    key: str

    @classmethod
    def checked(
        cls, image: torch.Tensor, depth: torch.Tensor, valid: torch.Tensor, camera: Camera, key: str
    ) -> "DepthSample":
        """A sample whose mask leaves out every depth that is no measurement (NaN, infinite, not positive).

        Raises:
            SampleError: the sizes differ or, as `NoDepthError`, not one pixel is valid.
        """
        if not image.shape[1:] == depth.shape[1:] == valid.shape[1:]:
            raise SampleError(
                f"{key}: image {tuple(image.shape[1:])}, depth {tuple(depth.shape[1:])} and mask "
                f"{tuple(valid.shape[1:])} differ in size"
            )
        valid = valid & torch.isfinite(depth) & (depth > 0)
        if not valid.any():
            raise NoDepthError(f"{key}: no pixel has a valid depth")
        return cls(image, torch.where(valid, depth, 0.0), valid, camera, key)

    def crop(self, left: int, top: int, width: int, height: int) -> "DepthSample":
        """The part of the sample that begins at (left, top)."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return self._replace(
            image=self.image[:, rows, columns],
            depth=self.depth[:, rows, columns],
            valid=self.valid[:, rows, columns],
            camera=self.camera.crop(left, top, width, height),
        )

    def resize(self, height: int, width: int) -> "DepthSample":
        """The sample at another size: the image antialiased, depth and mask by nearest neighbour."""
        image = F.interpolate(self.image[None], (height, width), mode="bilinear", antialias=True)[0]
        depth = F.interpolate(self.depth[None], (height, width), mode="nearest-exact")[0]
        valid = F.interpolate(self.valid[None].float(), (height, width), mode="nearest-exact")[0] > 0.5
        return self._replace(
            image=image.clamp_(0, 1), depth=depth, valid=valid, camera=self.camera.resize(width, height)
        )

    def flip(self) -> "DepthSample":
        """The sample mirrored left to right."""
        return self._replace(
            image=self.image.flip(-1),
            depth=self.depth.flip(-1),
            valid=self.valid.flip(-1),
            camera=self.camera.flip(),
        )

    def to_focal(self, focal_px: float) -> "DepthSample":
        """The same picture, said to be taken with a focal length of `focal_px` pixels.

        What is seen does not change; a longer lens would see it so from farther away: depth grows in proportion.
        """
        scale = focal_px / self.camera.focal_px
        camera = self.camera._replace(fx=self.camera.fx * scale, fy=self.camera.fy * scale)
        return self._replace(depth=self.depth * scale, camera=camera)

    def within(self, min_depth: float, max_depth: float) -> "DepthSample":
        """The sample with depths outside [min_depth, max_depth] metres marked invalid: left out, not clipped."""
        return self._replace(valid=self.valid & (self.depth >= min_depth) & (self.depth <= max_depth))
