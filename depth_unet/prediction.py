"""What `predict` gives back: a depth map in metres with its camera, and everything people do with it next."""

import json
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from depth_unet.camera import Camera
from depth_unet.colorize import colorize_depth

MILLIMETRES_MAX = 65535  # the farthest that a 16-bit PNG in millimetres can say


@dataclass(frozen=True, eq=False)
class Prediction:
    """A metric depth map.

    Args:
        depth: (H, W) float32, metres along the optical axis.
        camera: the intrinsics that the metres depend on, in pixels of `depth`.
        name: file name of the photo, or None.
        model: name of the model that said so.
        revision: its commit on the hub, or None.
        calibration: factor by which `calibrate` has changed the model's metres; 1 if it has not.

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

    def colorize(
        self,
        cmap: str = "turbo",
        near: float | None = None,
        far: float | None = None,
        scale_bar: bool = True,
    ) -> Image.Image:
        """The depth map in colours, see `colorize_depth`."""
        return colorize_depth(self.depth, cmap=cmap, near=near, far=far, scale_bar=scale_bar)

    def points(self) -> np.ndarray:
        """(H, W, 3) metres: where each pixel lies in space, x right, y down, z ahead."""
        return self.camera.unproject(self.depth)

    def distance(self, x: int, y: int) -> float:
        """Metres from the camera to what pixel (x, y) shows, in a straight line.

        Raises:
            IndexError: the pixel lies outside the picture.
        """
        return float(np.linalg.norm(self._point(x, y)))

    def distance_between(self, first: tuple[int, int], second: tuple[int, int]) -> float:
        """Metres in a straight line between what two pixels (x, y) show."""
        return float(np.linalg.norm(self._point(*first) - self._point(*second)))

    def _point(self, x: int, y: int) -> np.ndarray:
        height, width = self.depth.shape
        if not (0 <= x < width and 0 <= y < height):
            raise IndexError(f"pixel ({x}, {y}) lies outside the picture of {width}x{height}")
        across, down = (x + 0.5 - self.camera.cx) / self.camera.fx, (y + 0.5 - self.camera.cy) / self.camera.fy
        return float(self.depth[y, x]) * np.array([across, down, 1.0])

    def calibrate(self, x: int, y: int, metres: float) -> "Prediction":
        """The whole map rescaled so that it reads `metres` of depth at pixel (x, y).

        Depth is measured along the optical axis: beside the centre of the picture it is a little less than the
        straight line from the camera, which `distance` tells.

        Raises:
            IndexError: the pixel lies outside the picture.
            ValueError: the depth given, or the one that the map has there, is not positive.
        """
        if not (np.isfinite(metres) and metres > 0):
            raise ValueError(f"the true depth must be positive, not {metres}")
        known = self._point(x, y)[2]
        if not (np.isfinite(known) and known > 0):
            raise ValueError(f"the map has no depth at pixel ({x}, {y})")
        factor = metres / known
        return replace(self, depth=(self.depth * factor).astype(np.float32), calibration=self.calibration * factor)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the depth map; the suffix says how.

        .png: 16-bit grey, millimetres; what lies beyond 65.535 m becomes 0, which means "no depth", with a warning.
        .npy: float32 metres. .npz: the same as `depth`, with camera, photo name, model and calibration.

        Returns:
            The path written.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        writers = {".png": self._save_png, ".npy": self._save_npy, ".npz": self._save_npz}
        if path.suffix.lower() not in writers:
            raise ValueError(f"cannot save {path.name!r}: the suffix must be one of {', '.join(writers)}")
        writers[path.suffix.lower()](path)
        return path

    def _save_png(self, path: Path) -> None:
        millimetres = np.rint(self.depth.astype(np.float64) * 1000)
        beyond = ~((millimetres >= 0) & (millimetres <= MILLIMETRES_MAX))
        if beyond.any():
            warnings.warn(
                f"{path.name}: {beyond.sum()} pixels not within {MILLIMETRES_MAX / 1000} m are saved as 0 (no depth); "
                "use .npy or .npz to keep them",
                stacklevel=3,
            )
        values = np.where(beyond, 0, millimetres).astype(np.uint16)
        info = PngInfo()
        info.add_text("depth", json.dumps(self.about()))
        Image.fromarray(values).save(path, pnginfo=info)

    def _save_npy(self, path: Path) -> None:
        with path.open("wb") as file:  # given a path, numpy would add .npy to a name that ends in .NPY
            np.save(file, self.depth, allow_pickle=False)

    def _save_npz(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, depth=self.depth, about=np.array(json.dumps(self.about())))

    def about(self) -> dict:
        """Everything but the depth, for JSON: unit, camera, photo, model, calibration."""
        return {
            "unit": "metre",
            "camera": self.camera.to_dict(),
            "photo": self.name,
            "model": self.model,
            "revision": self.revision,
            "calibration": self.calibration,
        }
