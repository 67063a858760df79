"""Pinhole cameras: from depth maps to 3-D points, and from one camera's depth to another's."""

import math
from typing import Any, NamedTuple

import numpy as np

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
DEFAULT_FOCAL = 0.8107  # of the longer side: the Kinect of NYU Depth V2, 63 degrees, similar to phones


class Camera(NamedTuple):
    """Intrinsics of a pinhole camera in pixels; the centre of pixel (0, 0) is at (0.5, 0.5).

    A NamedTuple, so that `torch.utils.data.default_collate` accepts samples that contain one.

    Args:
        width: image width.
        height: image height.
        fx: focal length along x.
        fy: focal length along y.
        cx: principal point, from the left edge.
        cy: principal point, from the top edge.

    Example:
        >>> camera = Camera.from_fov(640, 480, horizontal_fov_deg=90)
        >>> round(camera.fx), round(camera.horizontal_fov_deg)
        (320, 90)
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov_deg: float) -> "Camera":
        """A centred camera with square pixels and a horizontal field of view in degrees."""
        if not 0 < horizontal_fov_deg < 180:
            raise ValueError(f"horizontal_fov_deg must be between 0 and 180, not {horizontal_fov_deg}")
        return cls._centred(width, height, width / (2 * math.tan(math.radians(horizontal_fov_deg) / 2)))

    @classmethod
    def from_focal_35mm(cls, width: int, height: int, focal_mm: float) -> "Camera":
        """A centred camera from the EXIF tag FocalLengthIn35mmFilm (equal diagonal field of view, CIPA DCG-001)."""
        if not (math.isfinite(focal_mm) and focal_mm > 0):
            raise ValueError(f"the 35 mm equivalent focal length must be positive, not {focal_mm}")
        return cls._centred(width, height, focal_mm / FULL_FRAME_DIAGONAL_MM * math.hypot(width, height))

    @classmethod
    def assumed(cls, width: int, height: int, focal: float = DEFAULT_FOCAL) -> "Camera":
        """The camera assumed for an image without metadata; `focal` is a fraction of the longer side."""
        return cls._centred(width, height, focal * max(width, height))

    @classmethod
    def _centred(cls, width: int, height: int, focal_px: float) -> "Camera":
        if width < 1 or height < 1:
            raise ValueError(f"a camera needs an image of at least one pixel, not {width}x{height}")
        return cls(int(width), int(height), focal_px, focal_px, width / 2, height / 2)

    def checked(self, width: int, height: int) -> "Camera":
        """Return this camera if it fits an image of that size.

        Raises:
            ValueError: the size differs, or a value is not finite or not positive.
        """
        if (self.width, self.height) != (width, height):
            raise ValueError(
                f"the camera is of a {self.width}x{self.height} image, but the image is {width}x{height}: "
                "use camera.resize(width, height) or camera.crop(...)"
            )
        if not (all(map(math.isfinite, self)) and self.fx > 0 and self.fy > 0):
            raise ValueError(f"the camera must have finite values and positive focal lengths: {self}")
        return self

    @property
    def focal_px(self) -> float:
        """Geometric mean of fx and fy, pixels."""
        return math.sqrt(self.fx * self.fy)

    @property
    def horizontal_fov_deg(self) -> float:
        """Horizontal field of view, degrees."""
        left, right = math.atan(self.cx / self.fx), math.atan((self.width - self.cx) / self.fx)
        return math.degrees(left + right)

    def crop(self, left: int, top: int, width: int, height: int) -> "Camera":
        """The camera of the crop whose upper left corner is (left, top)."""
        return self._replace(width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def resize(self, width: int, height: int) -> "Camera":
        """The camera of the resized image."""
        x, y = width / self.width, height / self.height
        return Camera(width, height, self.fx * x, self.fy * y, self.cx * x, self.cy * y)

    def flip(self) -> "Camera":
        """The camera of the image mirrored left to right."""
        return self._replace(cx=self.width - self.cx)

    def transpose(self, orientation: int) -> "Camera":
        """The camera of the image turned or mirrored upright.

        Args:
            orientation: EXIF number, 1 (nothing to do) to 8.

        Example:
            >>> Camera(640, 480, 500, 510, 300, 250).transpose(6)
            Camera(width=480, height=640, fx=510, fy=500, cx=230, cy=300)
        """
        turned = Camera(self.height, self.width, self.fy, self.fx, self.cy, self.cx) if orientation >= 5 else self
        return turned._replace(
            cx=turned.width - turned.cx if orientation in (2, 3, 6, 7) else turned.cx,
            cy=turned.height - turned.cy if orientation in (3, 4, 7, 8) else turned.cy,
        )

    def unproject(self, depth: np.ndarray) -> np.ndarray:
        """3-D points of all pixel centres: x right, y down, z ahead.

        Args:
            depth: (H, W) metres along the optical axis, of this camera's size.

        Returns:
            (H, W, 3) metres.

        Raises:
            ValueError: the depth map has another size.
        """
        if depth.shape != (self.height, self.width):
            raise ValueError(f"depth has shape {depth.shape}, the camera {(self.height, self.width)}")
        x = (np.arange(self.width) + 0.5 - self.cx) / self.fx
        y = (np.arange(self.height) + 0.5 - self.cy) / self.fy
        return np.stack([depth * x, depth * y[:, None], depth], axis=-1)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points (..., 3) in metres to pixels (..., 2), x then y; the inverse of `unproject`."""
        focal, centre = np.array([self.fx, self.fy]), np.array([self.cx, self.cy])
        return points[..., :2] / points[..., 2:] * focal + centre

    def to_dict(self) -> dict[str, Any]:
        """Intrinsics by name, for JSON."""
        return self._asdict()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Camera":
        """The inverse of `to_dict`.

        Raises:
            ValueError: a name is missing or unknown, or its value is not a number.
        """
        try:
            return cls(**{k: int(v) if k in ("width", "height") else float(v) for k, v in values.items()})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"a camera needs the numbers {cls._fields}, not {values!r}") from error
