"""The files of visitors: what is kept for their next clicks, and what is written for programs."""

import base64
import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from depth_unet.camera import Camera
from depth_unet.files import write_atomically
from depth_unet.images import read_photo, read_size, shrunk
from depth_unet.page.look import SHOWN_LONGEST
from depth_unet.prediction import Prediction
from depth_unet.predictor import Predictor

KEPT_LONGEST = 4096  # pixels of the depth maps that the page keeps; the endpoints for programs return all pixels


class Record(NamedTuple):
    """A visitor's current prediction, kept on the disk: memory does not grow with visitors."""

    folder: Path
    earlier: Path | None = None  # the folder of the visitor's last record, for clicks that are under way

    @property
    def prediction(self) -> Prediction:
        """The depth map, read as it is needed."""
        return Prediction.load(self.folder / "depth.npy", mmap=True)

    @property
    def photo(self) -> Image.Image:
        """The photo, at most `SHOWN_LONGEST` pixels long."""
        with Image.open(self.folder / "photo.jpg", formats=("JPEG",)) as image:
            return image.convert("RGB")


class Visits:
    """What all views share: the models, used by one visitor at a time, and the folder where gradio puts uploads."""

    def __init__(self, model: Predictor, folder: Path, moving: Predictor | None = None) -> None:
        self.model, self.moving, self.folder = model, moving or model, folder.resolve()
        self.lock = threading.Lock()
        self.ended = False
        self.make_room: Callable[[], None] = lambda: None  # deletes what takes too much space

    def predict(self, photo: Path | Image.Image, fov_deg: float | None = None) -> Prediction:
        """Predict the depth of an uploaded file or a picture.

        Raises:
            ValueError: the photo or the angle cannot be used, or the server is ending.
        """
        camera = None if fov_deg is None else Camera.from_fov(*reversed(read_size(photo)), fov_deg)
        return self._predict(self.model, photo, camera)

    def predict_moving(self, picture: Image.Image) -> Prediction:
        """Predict the depth of a picture of a clip or a webcam, with the model for these.

        Raises:
            ValueError: as `predict`.
        """
        return self._predict(self.moving, picture, None)

    def _predict(self, model: Predictor, photo: Path | Image.Image, camera: Camera | None) -> Prediction:
        with self.lock:  # Serialised: concurrent predictions only slow each other down.
            if self.ended:
                raise ValueError("the server is shutting down")
            return model.predict(photo, camera)

    def keep(self, prediction: Prediction, photo: Path, replaced: Record | None) -> Record:
        """Write what later clicks need, and delete what the visitor's clicks no longer need."""
        record = Record(self.new_folder(), replaced and replaced.folder)
        if replaced and replaced.earlier:
            shutil.rmtree(replaced.earlier, ignore_errors=True)
        kept = prediction.shrink(KEPT_LONGEST)
        for name in ("depth.npy", "depth.json"):
            kept.save(record.folder / name)
        image = read_photo(photo, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
        image.thumbnail((SHOWN_LONGEST, SHOWN_LONGEST))
        save_picture(image, record.folder / "photo.jpg")
        return record

    def answer(self, name: str, write: Callable[[Path], Any], *request: Any) -> gr.FileData:
        """The file that answers a request of a program; the same request again finds it and takes no more space."""
        folder = self.folder / hashlib.sha256(repr(request).encode("utf-8", "surrogatepass")).hexdigest()[:40]
        path = folder / name
        if path.exists():
            os.utime(path)  # it is as young as the request, for those who delete old files
        else:
            self.make_room()
            folder.mkdir(exist_ok=True)
            write(path)
        return gr.FileData(path=str(path), orig_name=name)

    def new_folder(self) -> Path:
        """A folder for files that belong together."""
        self.make_room()
        return Path(tempfile.mkdtemp(dir=self.folder))


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a JPEG for people, whole or not at all."""
    write_atomically(path, lambda file: image.save(file, "JPEG", quality=92, subsampling=0))


def thumbnail(image: Image.Image, longest: int) -> str:
    """A small picture as a URL that holds it."""
    encoded = io.BytesIO()
    shrunk(image.convert("RGB"), longest).save(encoded, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
