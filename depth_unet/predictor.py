"""From photos to `Prediction`s: what all engines that run a depth network share."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from depth_unet.camera import Camera
from depth_unet.config import DepthUNetConfig
from depth_unet.images import ImageSource, Photo, read_photo, shrunk, to_tensor
from depth_unet.metrics import ALIGNMENTS
from depth_unet.prediction import IMAGE_LONGEST, Prediction

MOST_ELONGATED = 3.0  # longer photos are squeezed to this ratio: training shows none beyond it


class Predictor:
    """A depth network that turns photos into `Prediction`s; subclasses implement `run`.

    Args:
        config: the network's input and its camera; None for a network of another package, which has its own.
        name: of the model.
        revision: its commit on the hub, or None.
        licence: of the weights, from the front matter of the README.md beside them; "unknown" without one.
        sha256: SHA-256 (hex) of the weights file that was loaded; None if there is none, or training may have
            changed the weights since.
        alignments: those of `metrics.ALIGNMENTS` in which the output can be scored; all of them for metric depth.
        predicts_uncertainty: its predictions have an `uncertainty`.
    """

    config: DepthUNetConfig | None = None
    name: str
    revision: str | None = None
    licence: str = "unknown"
    sha256: str | None = None
    alignments: tuple[str, ...] = ALIGNMENTS
    predicts_uncertainty: bool = False

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Predict the depth of a batch for the canonical camera.

        Args:
            images: (N, 3, H, W) float32, RGB in [0, 1], on the CPU.

        Returns:
            (N, 1, H, W) float32, metres, on the CPU.
        """
        raise NotImplementedError

    def run_with_uncertainty(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`run`, with the uncertainty.

        Args:
            images: as for `run`.

        Returns:
            Depth as from `run`, and (N, 1, H, W) float32, one standard deviation of log depth; None for a network that
            predicts none.
        """
        return self.run(images), None

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Input (height, width) for a photo: its aspect ratio, the area of `config.input_size`, multiples of 32."""
        rows, columns = self.config.input_size
        shape = min(max(width / height, 1 / MOST_ELONGATED), MOST_ELONGATED)
        columns_wanted = math.sqrt(rows * columns * shape)
        return tuple(max(32, 32 * round(side / 32)) for side in (columns_wanted / shape, columns_wanted))

    @property
    def enough(self) -> tuple[int, int]:
        """The (height, width) that is enough of a photo, for the network and for `Prediction.image`."""
        return tuple(max(side, IMAGE_LONGEST // 4) for side in self.config.input_size)

    def predict(self, image: ImageSource, camera: Camera | None = None) -> Prediction:
        """Metric depth of one photo.

        Args:
            image: a path, the content of a file as bytes, a binary file object, a PIL image, or an array (H, W),
                (H, W, 3) or (H, W, 4); see `images.read_photo`.
            camera: intrinsics in pixels of the upright photo; by default from EXIF data, without them
                `config.canonical_focal` of the longer side.

        Returns:
            Depth in metres at the size of the upright photo, with the camera used.

        Raises:
            FileNotFoundError, ValueError, TypeError: the image cannot be used, or the camera is not of its size.
        """
        return self.predict_batch([image], [camera])[0]

    def predict_batch(
        self,
        images: Sequence[ImageSource],
        cameras: Sequence[Camera | None] | None = None,
        batch_size: int = 8,
    ) -> list[Prediction]:
        """`predict` for several photos of any sizes; the results keep their order.

        Args:
            images: as for `predict`.
            cameras: one for each image, or None.
            batch_size: photos per pass of the network.

        Raises:
            ValueError: the numbers of images and cameras differ, or batch_size is below 1.
        """
        return self._in_chunks(images, cameras, batch_size)

    def _in_chunks(
        self, images: Sequence[ImageSource], cameras: Sequence[Camera | None] | None, batch_size: int
    ) -> list[Prediction]:
        cameras = [None] * len(images) if cameras is None else cameras
        if len(cameras) != len(images):
            raise ValueError(f"{len(images)} images but {len(cameras)} cameras")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        predictions: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            chosen = slice(start, start + batch_size)
            predictions += self._predict_chunk(images[chosen], cameras[chosen])
        return predictions

    def check_metric(self) -> None:
        """Refuse a model that predicts no metres.

        Raises:
            ValueError: the output can be scored only after it is aligned with true depth.
        """
        if "none" not in self.alignments:
            raise ValueError(
                f"{self.name} predicts relative depth without metres: use a metric model here; "
                "`python -m train.evaluate` can score it"
            )

    def predict_scored(
        self, images: Sequence[ImageSource], cameras: Sequence[Camera | None], batch_size: int = 8
    ) -> list[Prediction]:
        """As `predict_batch`, also of a model without metres: its depth is known up to one of `alignments`."""
        return self.predict_batch(images, cameras, batch_size)

    @torch.inference_mode()
    def _predict_chunk(self, images: Sequence[ImageSource], cameras: Sequence[Camera | None]) -> list[Prediction]:
        photos = [read_photo(image, enough=self.enough) for image in images]
        found = [self._camera_of(photo, camera) for photo, camera in zip(photos, cameras, strict=True)]
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, photo in enumerate(photos):
            by_size.setdefault(self.network_size(photo.height, photo.width), []).append(index)
        predictions: list[Prediction | None] = [None] * len(photos)
        for (height, width), indices in by_size.items():
            images = torch.stack([to_tensor(photos[index].image, (height, width)) for index in indices])
            depths, uncertainties = self.run_with_uncertainty(images)
            for place, index in enumerate(indices):
                photo, (camera, camera_from) = photos[index], found[index]
                scale = camera.resize(width, height).focal_px / self.config.canonical_focal_px
                size = photo.height, photo.width
                depth = F.interpolate(depths[place, None] * scale, size, mode="bilinear")
                uncertainty = None
                if uncertainties is not None:
                    uncertainty = F.interpolate(uncertainties[place, None], size, mode="bilinear")[0, 0].numpy()
                predictions[index] = Prediction(
                    depth[0, 0].numpy(),
                    camera,
                    name=photo.name,
                    model=self.name,
                    revision=self.revision,
                    camera_from=camera_from,
                    image=shrunk(photo.image, IMAGE_LONGEST),
                    licence=self.licence,
                    uncertainty=uncertainty,
                    photo_error=self.config.photo_error,
                    pixel_error=self.config.pixel_error,
                )
        return predictions

    def _camera_of(self, photo: Photo, camera: Camera | None) -> tuple[Camera, str]:
        assumed = Camera.assumed(photo.width, photo.height, self.config.canonical_focal), "assumed"
        return self._known_camera(photo, camera) or assumed

    @staticmethod
    def _known_camera(photo: Photo, camera: Camera | None) -> tuple[Camera, str] | None:
        if camera is not None:
            return camera.checked(photo.width, photo.height), "given"
        if photo.focal_35mm is not None:
            return Camera.from_focal_35mm(photo.width, photo.height, photo.focal_35mm), "exif"
        return None
