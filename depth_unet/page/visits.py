"""The files of visitors: what they send, and what is kept for their next clicks."""

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
from depth_unet.images import read_photo, read_size
from depth_unet.page.look import SHOWN_LONGEST
from depth_unet.page.notices import GONE
from depth_unet.prediction import Prediction
from depth_unet.predictor import Predictor

KEPT_LONGEST = 4096  # pixels of the depth maps that the page keeps; the endpoints for programs return all pixels
FRAME_CHARACTERS, FRAME_PIXELS = 10_000_000, 8_300_000  # at most, of a webcam's picture
FRAME_FORMATS = ("JPEG", "PNG", "WEBP")


class Record(NamedTuple):
    """A visitor's current prediction, kept on the disk: memory does not grow with visitors.

    Args:
        folder: of its files.
        stem: of the photo's name.
        earlier: the folder of the visitor's last record, for clicks that are under way.
    """

    folder: Path
    stem: str
    earlier: Path | None = None

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
        with Image.open(self.path("photo.jpg"), formats=("JPEG",)) as image:
            return image.convert("RGB")


class Visits:
    """What all views share: the model, used by one visitor at a time, and the folder for files.

    Args:
        model: predicts.
        page: its upload folder is the folder for files, which `serve` keeps tidy.
    """

    def __init__(self, model: Predictor, page: gr.Blocks) -> None:
        self.model, self.page = model, page
        self.cache = Path(page.GRADIO_CACHE).resolve()
        self.lock = threading.Lock()
        self.ended = False
        self.make_room: Callable[[], None] = lambda: None  # deletes what takes too much space

    def predict(self, photo: Path | Image.Image, fov_deg: float | None = None) -> Prediction:
        """Predict the depth of an uploaded file or a picture.

        Raises:
            ValueError: the photo or the angle cannot be used, or the server is ending.
        """
        camera = None
        if fov_deg is not None:
            height, width = read_size(photo)
            camera = Camera.from_fov(width, height, fov_deg)
        with self.lock:  # Serialised: concurrent predictions only slow each other down.
            if self.ended:
                raise ValueError("the server is shutting down")
            return self.model.predict(photo, camera)

    def received(self, sent: Any) -> Path:
        """The file that the browser or a client sent.

        Raises:
            FileNotFoundError: it has been deleted.
            ValueError: not a file, or not an uploaded one: gradio accepts the path of any file on the server.
        """
        sent = sent.model_dump() if isinstance(sent, gr.FileData) else sent
        if isinstance(sent, dict) and isinstance(sent.get("video"), dict):
            sent = sent["video"]
        name = sent.get("path") if isinstance(sent, dict) else None
        try:
            path = Path(name).resolve()
            is_inside, is_file, is_absent = path.is_relative_to(self.cache), path.is_file(), not path.exists()
        except (TypeError, ValueError, OSError, RuntimeError):  # no text, odd characters, too long, a loop of links
            is_inside = False
        if not name or not is_inside or not (is_file or is_absent):
            raise ValueError("the photo must be uploaded as a file")
        if is_absent:
            raise FileNotFoundError(GONE)
        return path

    def received_frame(self, sent: Any) -> Image.Image:
        """A frame of the webcam: as text within the message, or as an uploaded file.

        Raises:
            FileNotFoundError, ValueError: as `received`, or no picture of a webcam.
        """
        url = sent.get("url") if isinstance(sent, dict) else None
        kind, comma, text = url.partition(",") if isinstance(url, str) else ("", "", "")
        as_text = comma and kind.startswith("data:image/")
        if as_text and len(text) > FRAME_CHARACTERS:
            raise ValueError(f"a camera's picture has at most {FRAME_CHARACTERS:,} characters, not {len(text):,}")
        source = None if as_text else self.received(sent)
        try:
            source = source or io.BytesIO(base64.b64decode(text, validate=True))
            with Image.open(source, formats=FRAME_FORMATS) as image:
                width, height = image.size
                frame = read_photo(image).image if width * height <= FRAME_PIXELS else None
        except Exception:  # decoders raise anything
            raise ValueError("the camera's picture cannot be read") from None
        if frame is None:
            raise ValueError(f"a camera's picture has at most {FRAME_PIXELS:,} pixels, not {width}x{height}")
        return frame

    def keep(self, prediction: Prediction, photo: Path | Image.Image, replaced: Record | None) -> Record:
        """Write what later clicks need, and delete what the visitor's clicks no longer need."""
        record = Record(
            self._new_folder(),
            Path(prediction.name or "photo").stem,
            replaced.folder if replaced else None,
        )
        if replaced and replaced.earlier:
            shutil.rmtree(replaced.earlier, ignore_errors=True)
        prediction = prediction.shrink(KEPT_LONGEST)
        prediction.save(record.path("depth.npy"))
        prediction.save(record.path("depth.json"))
        if isinstance(photo, Path):
            photo = read_photo(photo, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
            photo.thumbnail((SHOWN_LONGEST, SHOWN_LONGEST))
        save_picture(photo, record.path("photo.jpg"))
        return record

    def answer(self, name: str, write: Callable[[Path], Any], *request: Any) -> gr.FileData:
        """The file that answers a request of a program; the same request again finds it and takes no more space."""
        folder = self.cache / hashlib.sha256(repr(request).encode("utf-8", "surrogatepass")).hexdigest()[:40]
        path = folder / name
        if path.exists():
            os.utime(path)  # it is as young as the request, for those who delete old files
        else:
            self.make_room()
            folder.mkdir(exist_ok=True)
            write(path)
        return gr.FileData(path=str(path), orig_name=name)

    def new_file(self, name: str) -> str:
        """A path for a file, in a folder of its own."""
        return str(self._new_folder() / name)

    def _new_folder(self) -> Path:
        self.make_room()
        return Path(tempfile.mkdtemp(dir=self.cache))


def save_picture(image: Image.Image, path: str | Path) -> None:
    """Write a PNG or a JPEG for people, whole or not at all."""
    options = {
        ".png": {"format": "PNG", "compress_level": 1},
        ".jpg": {"format": "JPEG", "quality": 92, "subsampling": 0},
    }
    write_atomically(path, lambda file: image.save(file, **options[Path(path).suffix]))
