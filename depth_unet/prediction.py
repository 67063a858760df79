"""`Prediction`: a depth map in metres with its camera; measure in it, colour it, save it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from depth_unet import files
from depth_unet.camera import Camera
from depth_unet.colorize import colorize_depth, depth_range

Pixel = tuple[int, int]  # x from the left, y from the top
SOLID_SUFFIXES = (".ply", ".glb", ".stl")


class Summary(NamedTuple):
    """The 2nd percentile, median and 98th percentile of a depth map, metres."""

    near: float
    median: float
    far: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """A metric depth map.

    Args:
        depth: (H, W) float32, metres along the optical axis.
        camera: the intrinsics that the metres depend on, in pixels of `depth`.
        name: file name of the photo, or None.
        model: name of the model, or None.
        revision: its commit on the hub, or None.
        calibration: factor by which `calibrate` has scaled the predicted depth; 1 without calibration.
        camera_from: "given", "exif", "model" (it estimated the focal length) or "assumed"; None if unknown.
        licence: of the model's weights, "unknown" if they state none; None without a model.
        metres_follow_lens: the metres take the focal length of `camera` into account; False for a model that was
            trained with one camera that is not known.

    Example:
        >>> prediction = Prediction(np.full((4, 6), 2.0, np.float32), Camera.from_fov(6, 4, 60))
        >>> float(prediction.calibrate(x=3, y=2, metres=3.0).depth[0, 0])
        3.0
    """

    depth: np.ndarray
    camera: Camera
    name: str | None = None
    model: str | None = None
    revision: str | None = None
    calibration: float = 1.0
    camera_from: str | None = None
    licence: str | None = None
    metres_follow_lens: bool = True

    def colorize(
        self,
        cmap: str = "turbo",
        near: float | None = None,
        far: float | None = None,
        scale_bar: bool = True,
    ) -> Image.Image:
        """Colour the depth map; see `colorize_depth`."""
        return colorize_depth(self.depth, cmap=cmap, near=near, far=far, scale_bar=scale_bar)

    def summary(self) -> Summary:
        """Near, median and far depth."""
        near, far = depth_range(self.depth)
        known = self.depth[np.isfinite(self.depth) & (self.depth > 0)]
        return Summary(near, float(np.median(known)) if known.size else float("nan"), far)

    def points(self) -> np.ndarray:
        """The 3-D point of each pixel: (H, W, 3) metres, x right, y down, z ahead."""
        return self.camera.unproject(self.depth)

    def distance(self, x: int, y: int) -> float:
        """Straight-line distance from the camera to the point at pixel (x, y), metres.

        Raises:
            IndexError: the pixel lies outside the image.
        """
        return float(np.linalg.norm(self._point(x, y)))

    def distance_between(self, first: Pixel, second: Pixel) -> float:
        """Straight-line distance between the points at two pixels (x, y), metres."""
        return float(np.linalg.norm(self._point(*first) - self._point(*second)))

    def _point(self, x: int, y: int) -> np.ndarray:
        height, width = self.depth.shape
        if not (0 <= x < width and 0 <= y < height):
            raise IndexError(f"pixel ({x}, {y}) lies outside the image of {width}x{height}")
        across, down = (x + 0.5 - self.camera.cx) / self.camera.fx, (y + 0.5 - self.camera.cy) / self.camera.fy
        return float(self.depth[y, x]) * np.array([across, down, 1.0])

    def calibrate(self, x: int, y: int, metres: float) -> "Prediction":
        """Scale the whole map so that its depth at pixel (x, y) is `metres`.

        Depth is measured along the optical axis; away from the image centre it is less than `distance`, which is
        measured in a straight line.

        Raises:
            IndexError: the pixel lies outside the image.
            ValueError: the given depth, or the depth of the map there, is not positive.
        """
        if not (np.isfinite(metres) and metres > 0):
            raise ValueError(f"the true depth must be positive, not {metres}")
        known = self._point(x, y)[2]
        if not (np.isfinite(known) and known > 0):
            raise ValueError(f"the map has no depth at pixel ({x}, {y}); choose another pixel")
        return self._rescale(metres / known)

    def calibrate_length(self, points: Sequence[Pixel], metres: float) -> "Prediction":
        """Scale the whole map to a measured length.

        Args:
            points: one pixel (x, y) for its distance from the camera, or two for the distance between them.
            metres: the true length.

        Raises:
            IndexError: a pixel lies outside the image.
            ValueError: not one or two points, or the true length or that of the map is not positive.

        Example:
            >>> prediction = Prediction(np.full((4, 6), 2.0, np.float32), Camera.from_fov(6, 4, 60))
            >>> longer = prediction.calibrate_length([(0, 2), (5, 2)], metres=3.0)
            >>> round(longer.distance_between((0, 2), (5, 2)), 3)
            3.0
        """
        if not (np.isfinite(metres) and metres > 0):
            raise ValueError(f"the true length must be positive, not {metres}")
        known = self.length(points)
        if not (np.isfinite(known) and known > 0):
            raise ValueError(f"the map has no length at {', '.join(map(str, points))}")
        return self._rescale(metres / known)

    def uncalibrated(self) -> "Prediction":
        """Undo all calibration."""
        return replace(self._rescale(1 / self.calibration), calibration=1.0)

    def length(self, points: Sequence[Pixel]) -> float:
        """Distance from the camera to one pixel, or between two, metres."""
        if len(points) not in (1, 2):
            raise ValueError(f"a length needs one point or two, not {len(points)}")
        return self.distance(*points[0]) if len(points) == 1 else self.distance_between(*points)

    def _rescale(self, factor: float) -> "Prediction":
        return replace(self, depth=(self.depth * factor).astype(np.float32), calibration=self.calibration * factor)

    def with_camera(self, camera: Camera) -> "Prediction":
        """Replace the camera: the result of `predict` with this camera, without running the model again.

        Depth is proportional to the focal length. A calibrated map keeps its measured depth, and one whose metres do
        not follow the lens keeps its depth: only the directions of their pixels change.

        Raises:
            ValueError: the camera does not have the size of this map.
        """
        height, width = self.depth.shape
        ratio = camera.checked(width, height).focal_px / self.camera.focal_px
        changed = replace(self, camera=camera, camera_from="given")
        if not self.metres_follow_lens:
            return changed
        if self.calibration != 1:
            return replace(changed, calibration=self.calibration / ratio)
        return replace(changed, depth=(self.depth * ratio).astype(np.float32))

    def shrink(self, longest: int) -> "Prediction":
        """Subsample the map (nearest neighbour, no mixed depths) to at most `longest` pixels along its longer side."""
        height, width = self.depth.shape
        if max(height, width) <= longest:
            return self
        scale = longest / max(height, width)
        rows, columns = (max(1, round(side * scale)) for side in (height, width))
        down = ((np.arange(rows) + 0.5) * height / rows).astype(int)
        across = ((np.arange(columns) + 0.5) * width / columns).astype(int)
        return replace(self, depth=self.depth[np.ix_(down, across)], camera=self.camera.resize(columns, rows))

    def save(
        self,
        path: str | os.PathLike,
        *,
        image: Image.Image | None = None,
        size_mm: float = 100.0,
        longest: int = 1024,
    ) -> Path:
        """Write the depth map in the format of the suffix; after an error an older file is unchanged.

        .png: 16-bit grey, millimetres; depth beyond 65.535 m becomes 0 (no depth), with a warning.
        .npy: float32 metres. .npz: `depth` as float32 metres, and `about` with camera, photo, model and calibration.
        .json: the content of `about` only, a sidecar for the file of the same name.
        .ply: coloured point cloud, metres. .glb: textured surface, metres. .stl: printable relief, millimetres.

        Args:
            path: file to write.
            image: colours for .ply and .glb, usually the photo; by default the colours of the depth.
            size_mm: longer side of the relief.
            longest: maximum number of points along the longer side of .ply, .glb and .stl.

        Returns:
            The path written.

        Raises:
            ValueError: another suffix, or a map without depth.
            OSError: the file cannot be written.
        """
        path = Path(path)
        writers = {
            ".png": files.write_png,
            ".npy": files.write_npy,
            ".npz": files.write_npz,
            ".json": files.write_sidecar,
        }
        suffix = path.suffix.lower()
        if suffix in SOLID_SUFFIXES:
            self._save_solid(path, suffix, image, size_mm, longest)
        elif suffix in writers:
            writers[suffix](path, self.depth, self.about())
        else:
            known = ", ".join((*writers, *SOLID_SUFFIXES))
            raise ValueError(f"cannot save {path.name!r}: the suffix must be one of {known}")
        return path

    def _save_solid(self, path: Path, suffix: str, image: Image.Image | None, size_mm: float, longest: int) -> None:
        from depth_unet import mesh  # only here: importing trimesh takes long

        smaller = self.shrink(longest)
        if suffix == ".stl":
            solid = mesh.relief(smaller.depth, size_mm)
        else:
            image = smaller.colorize(scale_bar=False) if image is None else image
            build = mesh.point_cloud if suffix == ".ply" else mesh.surface
            solid = build(smaller.depth, smaller.camera, image)
        files.write_atomically(path, solid.export(file_type=suffix[1:]))

    @classmethod
    def load(cls, path: str | os.PathLike, mmap: bool = False) -> "Prediction":
        """Read a file that `save` wrote; a .png is exact to half a millimetre.

        Args:
            path: .npz, .npy (with the .json of the same name, if it exists), .png, or a .json beside one of these.
            mmap: map a .npy into memory instead of reading it.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a depth map, damaged, or its camera has another size.

        Example:
            >>> import tempfile
            >>> prediction = Prediction(np.full((4, 6), 2.0, np.float32), Camera.from_fov(6, 4, 60), name="room.jpg")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Prediction.load(prediction.save(f"{folder}/room.npz")).name
            'room.jpg'
        """
        depth, about = files.read_depth(Path(path), mmap)
        height, width = depth.shape
        known = "camera" in about
        camera = Camera.from_dict(about["camera"]).checked(width, height) if known else Camera.assumed(width, height)
        return cls(
            depth,
            camera,
            name=about.get("photo"),
            model=about.get("model"),
            revision=about.get("revision"),
            calibration=float(about.get("calibration", 1.0)),
            camera_from=about.get("camera_from") if known else "assumed",
            licence=about.get("licence"),
            metres_follow_lens=bool(about.get("metres_follow_lens", True)),
        )

    def about(self) -> dict[str, Any]:
        """Everything except the depth, for JSON."""
        return {
            "unit": "metre",
            "camera": self.camera.to_dict(),
            "camera_from": self.camera_from,
            "photo": self.name,
            "model": self.model,
            "revision": self.revision,
            "licence": self.licence,
            "metres_follow_lens": self.metres_follow_lens,
            "calibration": self.calibration,
        }
