"""`Prediction`: a depth map in metres with its camera; measure in it, colour it, save it."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from depth_unet import files
from depth_unet.camera import Camera
from depth_unet.colorize import colorize_depth, colour_indices, depth_range

Pixel = tuple[int, int]  # x from the left, y from the top
SOLID_SUFFIXES = (".ply", ".glb", ".stl", ".3mf")
IMAGE_LONGEST = 2048  # pixels of `Prediction.image`; larger textures load slowly in a browser
_LONGEST = {".ply": 1024, ".glb": 1024, ".stl": 400, ".3mf": 400}  # points; 400 are finer than a printer's nozzle


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
        image: the photo, at most 2048 pixels along its longer side, the colours of .ply and .glb; None after `load`.
        licence: of the model's weights, "unknown" if they state none; None without a model.
        metres_follow_lens: the metres take the focal length of `camera` into account; False for a model that was
            trained with one camera that is not known.
        uncertainty: (H, W) float32, one standard deviation of log depth: about 68 % of true depths lie between
            depth * exp(-uncertainty) and depth * exp(uncertainty). Relative, so that calibration and camera leave it
            as it is. None if the model predicts none; kept by .npz files.
        photo_error: standard deviation of the error of log depth that all pixels share, as the model states it.
        pixel_error: factor from `uncertainty` to the part of a pixel's error that other pixels do not share.

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
    image: Image.Image | None = field(default=None, repr=False)
    licence: str | None = None
    metres_follow_lens: bool = True
    uncertainty: np.ndarray | None = None
    photo_error: float = 0.0
    pixel_error: float = 1.0

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

    def distance_uncertainty(self, x: int, y: int) -> float | None:
        """One standard deviation of `distance`, metres; None without `uncertainty`.

        Raises:
            IndexError: the pixel lies outside the image.
        """
        return self.length_uncertainty([(x, y)])

    def length_uncertainty(self, points: Sequence[Pixel]) -> float | None:
        """One standard deviation of `length`, metres; None without `uncertainty`.

        For the distance L between the points P and Q, with errors of log depth that are independent but for a common
        scale: variance = (photo_error L)^2 + (pixel_error s_P u.P)^2 + (pixel_error s_Q u.Q)^2, with the unit vector u
        from P to Q and the uncertainties s. Calibration removes the common scale error.

        Args:
            points: as for `length`.

        Raises:
            IndexError: a pixel lies outside the image.
            ValueError: not one or two points.
        """
        length = self.length(points)
        if self.uncertainty is None:
            return None
        sigmas = [float(self.uncertainty[y, x]) for x, y in points]
        if len(points) == 1 and self.calibration == 1:
            return length * sigmas[0]
        ends = [self._point(*point) for point in points]
        along = (ends[-1] - (ends[0] if len(ends) == 2 else 0)) / max(length, 1e-9)
        parts = [self.pixel_error * sigma * float(along @ end) for sigma, end in zip(sigmas, ends, strict=True)]
        return math.hypot(self.photo_error * length * (self.calibration == 1), *parts)

    def mean_uncertainty(self) -> float | None:
        """Mean of `uncertainty` over the pixels with depth, the doubt about the whole photo; None without."""
        if self.uncertainty is None:
            return None
        known = np.isfinite(self.depth) & (self.depth > 0)
        return float(np.mean(self.uncertainty, where=known)) if known.any() else None

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
        kept = np.ix_(down, across)
        return replace(
            self,
            depth=self.depth[kept],
            camera=self.camera.resize(columns, rows),
            uncertainty=None if self.uncertainty is None else self.uncertainty[kept],
        )

    def _without_doubt(self, most: float | None) -> "Prediction":
        """Without the points whose uncertainty is larger than a limit that was given."""
        if most is None:
            return self
        if self.uncertainty is None:
            raise ValueError("max_uncertainty needs a model that predicts uncertainty")
        if not most > 0:
            raise ValueError(f"max_uncertainty must be positive, not {most}")
        return replace(self, depth=np.where(self.uncertainty <= most, self.depth, np.float32(0)))

    def _cut(self, near: float | None, far: float | None) -> "Prediction":
        """Without the points outside of a range that was given."""
        low, high = (0.0 if near is None else near), (math.inf if far is None else far)
        if not low < high:
            raise ValueError(f"near must be below far, not {near} and {far}")
        if (low, high) == (0.0, math.inf):
            return self
        return replace(self, depth=np.where((self.depth >= low) & (self.depth <= high), self.depth, np.float32(0)))

    def save(
        self,
        path: str | os.PathLike,
        *,
        image: Image.Image | None = None,
        longest: int | None = None,
        near: float | None = None,
        far: float | None = None,
        size_mm: float = 100.0,
        relief_mm: float | None = None,
        base_mm: float = 2.0,
        smoothing_mm: float = 0.0,
        frame_mm: float = 0.0,
        invert: bool = False,
        remove_edges: bool | None = None,
        max_uncertainty: float | None = None,
        warn: bool = True,
    ) -> Path:
        """Write the depth map in the format of the suffix; after an error an older file is unchanged.

        .png: 16-bit grey, millimetres; depth beyond 65.534 m becomes 0 (no depth), with a warning.
        .npy: float32 metres. .npz: `depth` as float32 metres, `uncertainty` as float16 if there is one, and `about`
        with camera, photo, model and calibration.
        .json: the content of `about` only, a sidecar for the file of the same name.
        .ply: coloured point cloud, .glb: textured surface; both in metres, x right, y up, z towards the viewer.
        .stl, .3mf: printable relief, millimetres.

        Args:
            path: file to write.
            image: colours for .ply and .glb; by default `self.image`, without it the colours of the depth.
            longest: maximum number of points along the longer side of a 3-D file; by default 1024 for .ply and .glb,
                400 for .stl and .3mf.
            near: metres; .ply and .glb leave nearer points out, and the relief is flat there.
            far: metres; .ply and .glb leave farther points out, and the relief is flat there.
            size_mm: longer side of the relief.
            relief_mm: height of the relief above its base; by default a fifth of the longer side.
            base_mm: thickness below the lowest point of the relief.
            smoothing_mm: standard deviation of a Gaussian that smooths the relief; 0 for none.
            frame_mm: width of a frame around the relief, within its longer side; 0 for none.
            invert: the farthest point of the relief is the highest, as in a lithophane.
            remove_edges: leave out triangles, or points, between a near and a far surface; by default only from .glb.
            max_uncertainty: points of 3-D files with a larger `uncertainty` count as without depth.
            warn: warn of what the format cannot hold, see `lost`.

        Returns:
            The path written.

        Raises:
            ValueError: another suffix, a map without depth, or a value that makes no sense.
            ImportError: a 3-D file needs packages that are not installed.
            OSError: the file cannot be written.
        """
        path = Path(path)
        writers = {
            ".png": files.write_png,
            ".npy": files.write_npy,
            ".npz": lambda *content: files.write_npz(*content, self.uncertainty),
            ".json": files.write_sidecar,
        }
        suffix = path.suffix.lower()
        if suffix in SOLID_SUFFIXES:
            from depth_unet import mesh  # only here: importing trimesh takes long

            smaller = self.shrink(_checked_longest(_LONGEST[suffix] if longest is None else longest))
            smaller = smaller._without_doubt(max_uncertainty)
            if suffix in (".stl", ".3mf"):
                solid = mesh.relief(
                    smaller.depth, size_mm, relief_mm, base_mm, near, far, smoothing_mm, frame_mm, invert
                )
            else:
                smaller = smaller._cut(near, far)
                image = image or self.image or smaller.colorize(scale_bar=False)
                build = mesh.point_cloud if suffix == ".ply" else mesh.surface
                remove_edges = suffix == ".glb" if remove_edges is None else remove_edges
                solid = build(smaller.depth, smaller.camera, image, mesh.STEEPEST if remove_edges else None)
            files.write_atomically(path, mesh.encode(solid, suffix[1:]))
        elif suffix in writers:
            if warn and (lost := self.lost(suffix)):
                warnings.warn(f"{path.name}: {lost}", stacklevel=2)
            writers[suffix](path, self.depth, self.about())
        else:
            known = ", ".join((*writers, *SOLID_SUFFIXES))
            raise ValueError(f"cannot save {path.name!r}: the suffix must be one of {known}")
        return path

    def save_colors(
        self,
        path: str | os.PathLike,
        cmap: str = "turbo",
        near: float | None = None,
        far: float | None = None,
        scale_bar: bool = True,
    ) -> Path:
        """Write the picture of `colorize` as a PNG with a palette, much faster than Pillow does.

        Its text chunk "depth" holds `about`, by which `python -m depth_unet` recognises its own results.

        Raises:
            ValueError: as `colorize_depth`, or the suffix is not .png.
            OSError: the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(f"cannot save {path.name!r}: the suffix must be .png")
        indices, palette = colour_indices(self.depth, cmap, near, far, scale_bar)
        files.write_atomically(
            path, lambda file: file.writelines(files.encode_png(indices, self.about(), palette=palette))
        )
        return path

    def save_uncertainty(self, path: str | os.PathLike) -> Path:
        """Write `uncertainty` as 16-bit grey PNG; one step is 0.0001, larger values than 6.5534 are written as that.

        Raises:
            ValueError: the model predicts no uncertainty, or the suffix is not .png.
            OSError: the file cannot be written.
        """
        path = Path(path)
        if self.uncertainty is None:
            raise ValueError("there is no uncertainty to save: the model predicts none")
        if path.suffix.lower() != ".png":
            raise ValueError(f"cannot save {path.name!r}: the suffix must be .png")
        files.write_uncertainty(path, self.uncertainty, self.about())
        return path

    def lost(self, suffix: str) -> str | None:
        """What a file with this suffix cannot hold, as a sentence; None if nothing is lost.

        Example:
            >>> Prediction(np.full((4, 6), 70.0, np.float32), Camera.from_fov(6, 4, 60)).lost(".png")
            '24 pixels beyond 65.534 m are saved as 0 (no depth); use .npy or .npz to keep them'
        """
        beyond = files.count_beyond_png(self.depth) if suffix.lower() == ".png" else 0
        if not beyond:
            return None
        metres = files.MILLIMETRES_MAX / 1000
        return f"{beyond} pixels beyond {metres} m are saved as 0 (no depth); use .npy or .npz to keep them"

    @classmethod
    def load(cls, path: str | os.PathLike, mmap: bool = False) -> "Prediction":
        """Read a file that `save` wrote; a .png is exact to half a millimetre.

        Args:
            path: .npz, .npy (with the .json of the same name, if it exists), .png, or a .json beside one of these.
            mmap: map a .npy into memory instead of reading it.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a depth map, damaged, too large, or with a description that makes no sense.

        Example:
            >>> import tempfile
            >>> prediction = Prediction(np.full((4, 6), 2.0, np.float32), Camera.from_fov(6, 4, 60), name="room.jpg")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Prediction.load(prediction.save(f"{folder}/room.npz")).name
            'room.jpg'
        """
        path = Path(path)
        depth, about, uncertainty = files.read_depth(path, mmap)
        try:
            return cls.described(depth, about, uncertainty)
        except (TypeError, ValueError, OverflowError) as error:
            reason = str(error)[:300]  # it may repeat a value of any length
            raise ValueError(f"the description of {path.name} cannot be used: {reason}") from error

    @classmethod
    def described(cls, depth: np.ndarray, about: dict[str, Any], uncertainty: np.ndarray | None = None) -> "Prediction":
        """The prediction with this depth and uncertainty, and the rest as `about` describes it.

        Raises:
            TypeError, ValueError, OverflowError: the description makes no sense.
        """
        return cls(depth, **_described(about, *depth.shape), uncertainty=uncertainty)

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
            "uncertainty": self.mean_uncertainty(),
            "photo_error": self.photo_error,
            "pixel_error": self.pixel_error,
        }


def _described(about: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """The other fields of a `Prediction` from its description."""
    if about.get("unit", "metre") != "metre":
        raise ValueError(f"the unit must be metre, not {about['unit']!r}")
    texts = {"name": about.get("photo"), "camera_from": about.get("camera_from")}
    texts |= {name: about.get(name) for name in ("model", "revision", "licence")}
    for name, value in texts.items():
        if not isinstance(value, str | None):
            raise ValueError(f"{name} must be text, not {value!r}")
    numbers = {"calibration": about.get("calibration", 1.0)}
    numbers |= {name: about.get(name, usual) for name, usual in (("photo_error", 0.0), ("pixel_error", 1.0))}
    for name, value in numbers.items():
        least = math.nextafter(0, 1) if name == "calibration" else 0
        if isinstance(value, bool | str) or not least <= float(value) < math.inf:
            raise ValueError(f"{name} must be a {'positive number' if least else 'number of 0 or more'}, not {value!r}")
        numbers[name] = float(value)
    follows = about.get("metres_follow_lens", True)
    if not isinstance(follows, bool):
        raise ValueError(f"metres_follow_lens must be true or false, not {follows!r}")
    if "camera" in about:
        camera = Camera.from_dict(about["camera"]).checked(width, height)
        longest = max(width, height)
        # A focal length of 1/1000 of the picture is a field of view of 179.9 degrees, 1000 pictures one of 0.06.
        if not (1e-3 < min(camera.fx, camera.fy) / longest and max(map(abs, camera[2:])) / longest < 1e3):
            raise ValueError(f"no camera is like this: {camera}")
    else:
        camera, texts["camera_from"] = Camera.assumed(width, height), "assumed"
    return {**texts, **numbers, "camera": camera, "metres_follow_lens": follows}


def _checked_longest(longest: int) -> int:
    if not 2 <= longest < math.inf:
        raise ValueError(f"longest must be at least 2 points, not {longest}")
    return int(longest)
