"""A picture with its depth, and the transformations that keep picture, depth, mask and camera consistent."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from depth_unet.camera import Camera


class SampleError(ValueError):
    """A sample of a data set is missing, damaged or empty; the message names it."""


class NoDepthError(SampleError):
    """Not one pixel of the sample has a valid depth."""


class DepthSample(NamedTuple):
    """One picture with its depth, as data sets return it.

    Args:
        image: (3, H, W) float32, RGB in [0, 1].
        depth: (1, H, W) float32, metres along the optical axis; undefined where not valid.
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
        """A sample whose mask excludes every depth that is NaN, infinite or not positive.

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

    def measured_part(self) -> "DepthSample":
        """The smallest rectangle that contains every valid pixel; it cuts off the frame around some recordings."""
        rows, columns = (self.valid[0].any(axis).nonzero() for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        return self.crop(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)

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

    def turn(self, pitch: float, yaw: float, roll: float) -> "DepthSample":
        """The view of the same camera after a rotation about its centre, by a few degrees at most.

        The camera does not move, so this is exact except for what enters the view: picture and depth are mirrored in
        there, and marked invalid.

        Args:
            pitch: up, for positive angles.
            yaw: to the right.
            roll: clockwise.
        """
        camera = self.camera
        x = (torch.arange(camera.width, dtype=torch.float64) + 0.5 - camera.cx) / camera.fx
        y = (torch.arange(camera.height, dtype=torch.float64) + 0.5 - camera.cy) / camera.fy
        y, x = torch.meshgrid(y, x, indexing="ij")
        # The rays of the new picture in the axes of the old camera.
        rays = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ _rotation(pitch, yaw, roll).T
        ahead = rays[..., 2:].clamp_min(1e-3)
        seen = rays[..., :2] / ahead * torch.tensor([camera.fx, camera.fy]) + torch.tensor([camera.cx, camera.cy])
        grid = (2 * seen / torch.tensor([camera.width, camera.height]) - 1)[None].float()

        def looked_up(values: torch.Tensor, mode: str, padding: str) -> torch.Tensor:
            return F.grid_sample(values[None], grid, mode, padding, align_corners=False)[0]

        return self._replace(
            image=looked_up(self.image, "bilinear", "reflection"),
            # A point at depth z along the old axis has depth z / (the ray's component along it) along the new one.
            depth=looked_up(self.depth, "nearest", "reflection") / ahead[..., 0].float(),
            valid=looked_up(self.valid.float(), "nearest", "zeros") > 0.5,
        )

    def to_focal(self, focal_px: float) -> "DepthSample":
        """The same picture relabelled for a camera with a focal length of `focal_px` pixels.

        A longer lens takes the same picture from farther away: depth grows in proportion.
        """
        scale = focal_px / self.camera.focal_px
        camera = self.camera._replace(fx=self.camera.fx * scale, fy=self.camera.fy * scale)
        return self._replace(depth=self.depth * scale, camera=camera)

    def within(self, min_depth: float, max_depth: float) -> "DepthSample":
        """The sample with depths outside [min_depth, max_depth] metres marked invalid: excluded, not clipped."""
        return self._replace(valid=self.valid & (self.depth >= min_depth) & (self.depth <= max_depth))


def _rotation(pitch: float, yaw: float, roll: float) -> torch.Tensor:
    """(3, 3) float64 from the turned camera's axes (x right, y down, z ahead) to those before."""
    about_x, about_y, about_z = (
        torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64).roll((axis, axis), (0, 1))
        for axis, c, s in (
            (n, math.cos(math.radians(a)), math.sin(math.radians(a))) for n, a in enumerate((pitch, yaw, roll))
        )
    )
    return about_y @ about_x @ about_z
