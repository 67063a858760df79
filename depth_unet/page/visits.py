"""The files of visitors: what they send, and what is kept for their next clicks."""

import base64
import io
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from depth_unet.camera import Camera
from depth_unet.images import read_photo, read_size
from depth_unet.page.look import SHOWN_LONGEST
from depth_unet.prediction import Prediction
from depth_unet.predictor import Predictor


class Record(NamedTuple):
    """A visitor's current prediction, kept on the disk: memory does not grow with visitors."""

    folder: Path
    stem: str  # of the photo's name

    def path(self, ending: str) -> str:
        """One of its files."""
        return str(self.folder / f"{self.stem}_{ending}")

    @property
    def prediction(self) -> Prediction:
        """The depth map, read as it is needed."""
        return Prediction.load(self.path("depth.npy"), mmap=True)

    @property
    def photo(self) -> Image.Image:
        """The photo, at most `SHOWN_LONGEST` pixels long."""
        with Image.open(self.path("photo.jpg")) as image:
            return image.convert("RGB")


class Visits:
    """What all views share: the model, used by one visitor at a time, and the folder for files."""

    def __init__(self, model: Predictor, page: gr.Blocks) -> None:
        self.model, self.page = model, page
        self.cache = Path(page.GRADIO_CACHE)
        self.lock = threading.Lock()

    def predict(self, photo: Path | Image.Image, fov_deg: float | None = None) -> Prediction:
        """Predict the depth of an uploaded file or a picture."""
        camera = None
        if fov_deg is not None:
            height, width = read_size(photo)
            camera = Camera.from_fov(width, height, fov_deg)
        with self.lock:  # Serialised: concurrent predictions only slow each other down.
            return self.model.predict(photo, camera)

    def received(self, sent: dict[str, Any] | gr.FileData | None) -> Path:
        """The file that the browser or a client sent; gradio deletes it in time, however it was sent.

        Raises:
            ValueError: not a file, or not an uploaded one: gradio accepts the path of any file on the server.
        """
        sent = sent.model_dump() if isinstance(sent, gr.FileData) else sent
        if isinstance(sent, dict) and isinstance(sent.get("video"), dict):
            sent = sent["video"]
        name = (sent.get("path") if isinstance(sent, dict) else None) or ""
        path = Path(name).resolve()
        if not path.is_relative_to(self.cache.resolve()) or path.is_dir():
            raise ValueError("the photo must be uploaded as a file")
        self.page.upload_file_set.add(name)
        if path.stem == "file":  # gradio's name for what came as text through MCP; it forgets a second copy
            self.page.upload_file_set.update(map(str, self.cache.glob(f"*/{path.name}")))
        return path

    def received_frame(self, sent: dict[str, Any]) -> Path | Image.Image:
        """A frame of the webcam: as text within the message, or as an uploaded file.

        Raises:
            ValueError: as `received`, or the text is no picture.
        """
        kind, comma, text = (sent.get("url") or "").partition(",")
        if not (comma and kind.startswith("data:image/")):
            return self.received(sent)
        try:
            return read_photo(Image.open(io.BytesIO(base64.b64decode(text)))).image
        except (OSError, ValueError):
            raise ValueError("the camera's picture cannot be read") from None

    def keep(self, prediction: Prediction, photo: Path | Image.Image) -> Record:
        """Write what later clicks need."""
        stem = Path(prediction.name or "photo").stem
        record = Record(Path(self.new_file(f"{stem}_depth.npy")).parent, stem)
        self.page.upload_file_set.update(map(record.path, ("depth.json", "photo.jpg")))
        prediction.save(record.path("depth.npy"))
        prediction.save(record.path("depth.json"))
        if isinstance(photo, Path):
            photo = read_photo(photo, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
            photo.thumbnail((SHOWN_LONGEST, SHOWN_LONGEST))
        photo.save(record.path("photo.jpg"), quality=90)
        return record

    def new_file(self, name: str) -> str:
        """A path for a file, in a folder of its own; gradio deletes it like those that visitors send."""
        path = str(Path(tempfile.mkdtemp(dir=self.cache)) / name)
        self.page.upload_file_set.add(path)
        return path
