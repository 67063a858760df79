"""The viewer on the page: what the browser gets of a depth map, and the files that it asks for."""

import math
import reprlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
from PIL import Image
from pydantic import BaseModel

from depth_unet.camera import Camera
from depth_unet.files import MILLIMETRES_MAX, encode_png, png_step, write_atomically
from depth_unet.page.api import SURFACE_LONGEST
from depth_unet.page.look import COLOUR_MAPS, SHOWN_LONGEST
from depth_unet.page.refusals import Degrees, between
from depth_unet.page.visits import Record
from depth_unet.prediction import Prediction
from depth_unet.predictor import Predictor

KINDS = ("png", "npy", "glb", "ply", "stl", "3mf")  # of files that the server writes; the browser writes the others
# Uncertainties in a byte, 1 to 255: LEAST * RATIO ** (byte - 1), from .001 to 2; 0 is none.
LEAST, RATIO = 1e-3, 2000 ** (1 / 254)
UNLIKELY = 0.05  # part of the pixels at the ends of the model's range: more are not in photos like its training


def pack(prediction: Prediction) -> np.ndarray:
    """Depth and uncertainty as (H, W, 3) uint8: two bytes of steps of `png_step`, 0 for none, and the uncertainty.

    Example:
        >>> from depth_unet import Camera
        >>> pack(Prediction(np.array([[0.3, 70.0]], np.float32), Camera.from_fov(2, 1, 60))).tolist()
        [[[0, 150, 0], [136, 184, 0]]]
    """
    depth = prediction.depth
    known = np.isfinite(depth) & (depth > 0)
    steps = np.where(known, depth, 0) / png_step(depth)
    steps = np.where(known, steps.round().clip(1, MILLIMETRES_MAX), 0).astype(np.uint16)
    doubt = np.zeros(depth.shape)
    if prediction.uncertainty is not None:
        doubt = 1 + np.log(np.maximum(prediction.uncertainty, LEAST) / LEAST) / math.log(RATIO)
    return np.stack([steps >> 8, steps & 255, doubt.round().clip(0, 255)], axis=-1).astype(np.uint8)


def unpack(packed: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray | None]:
    """The depth in metres and the uncertainty, both (H, W) float32, of what `pack` made."""
    depth = (packed[..., 0].astype(np.float32) * 256 + packed[..., 1]) * np.float32(step)
    doubt = LEAST * RATIO ** (packed[..., 2].astype(np.float32) - 1) if packed[..., 2].any() else None
    return depth, doubt


def shown(folder: Path, whole: Prediction, note: str | None) -> dict[str, Any]:
    """What page.js shows in the viewer: a prediction, its photo.jpg in a folder, and a warning or None."""
    prediction = whole.shrink(SHOWN_LONGEST)
    png = encode_png(pack(prediction), prediction.about())
    write_atomically(folder / "view.png", lambda file: file.writelines(png))
    return {
        "photo": handed(folder / "photo.jpg"),
        "depth": handed(folder / "view.png"),
        "step": png_step(prediction.depth),
        "least": 0 if prediction.uncertainty is None else LEAST,
        "ratio": RATIO,
        "photoSize": {"width": whole.camera.width, "height": whole.camera.height},
        "about": prediction.about(),
        "note": note,
    }


def handed(path: Path) -> dict[str, Any]:
    """A file as gradio hands it to the browser."""
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()


def purpose(model: Predictor) -> str:
    """For which photos the metres of a model are meant, one sentence."""
    if model.config is None:  # of another package, which does not say
        return f"The model in use is {model.name}."
    least, most = model.config.min_depth, model.config.max_depth
    rooms = " It is made for rooms; outdoors its metres mean little." if most <= 20 else ""
    return f"The model in use predicts distances from {least:g} to {most:g} m.{rooms}"


def doubt_of(prediction: Prediction, model: Predictor) -> str | None:
    """A warning about a photo unlike those of the training; None without a reason for one.

    The reason is a mean uncertainty that photos like those of the training do not have (close-ups and drawings have
    it), or a number of pixels at the ends of the model's range, which has no room for their true depth (outdoors).
    """
    config, doubt = model.config, prediction.mean_uncertainty() or 0
    if config is None:
        return None
    if 0 < config.doubtful < doubt:
        reason = "the predicted uncertainty is higher than for photos like those of the training. The"
        return f"Doubtful: {reason} metres may be far off."
    ratio = 1.0
    if prediction.metres_follow_lens:
        rows, columns = model.network_size(*prediction.depth.shape)
        ratio = prediction.camera.resize(columns, rows).focal_px / config.canonical_focal_px
    depth = prediction.depth / ratio
    part = np.mean((depth < config.min_depth * 1.02) | (depth > config.max_depth / 1.02))
    reason = f"{part:.0%} of the pixels are at the ends of what this model can predict. The photo is unlike those"
    return f"Doubtful: {reason} that it was trained on, and the metres may be far off." if part > UNLIKELY else None


class Relief(BaseModel):
    """The relief that is printed: millimetres, and the metres where it is cut."""

    size_mm: between(10, 1000)
    relief_mm: between(0.1, 500)
    base_mm: between(0.1, 100)
    frame_mm: between(0, 100)
    smoothing_mm: between(0, 10)
    near: between(0, 1e6) | None = None
    far: between(0, 1e6) | None = None
    invert: bool = False


class Look(BaseModel):
    """What is on a visitor's screen, as viewer.js sends its state."""

    cmap: Literal[*COLOUR_MAPS]
    near: between(-1e6, 1e6)
    far: between(-1e6, 1e6)
    blend: between(0, 1)
    fov: Degrees | None = None
    calibration: between(1e-4, 1e4)
    edges: bool = True
    print: Any = None

    def seen(self, prediction: Prediction) -> Prediction:
        """A prediction with this lens and calibration."""
        if self.fov is not None:
            height, width = prediction.depth.shape
            prediction = prediction.with_camera(Camera.from_fov(width, height, self.fov))
        depth = (prediction.depth * np.float32(self.calibration)).astype(np.float32)
        return replace(prediction, depth=depth, calibration=prediction.calibration * self.calibration)

    def picture(self, prediction: Prediction, photo: Image.Image) -> Image.Image:
        """The photo with the colours of its depth over it."""
        colours = prediction.shrink(max(photo.size)).colorize(self.cmap, self.near, self.far, scale_bar=False)
        return Image.blend(photo, colours.resize(photo.size), self.blend)


def take_away(record: Record, kind: Any, state: Any) -> dict[str, Any]:
    """Write one file of `KINDS` of what is on a visitor's screen, a `Look`, and hand it to the browser."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {reprlib.repr(kind)}")
    look = Look.model_validate(state)
    prediction, options = look.seen(record.prediction), {}
    if kind in ("stl", "3mf"):
        options = dict(Relief.model_validate(look.print))
    elif kind in ("glb", "ply"):
        picture = look.picture(prediction, record.photo)
        options = {"image": picture, "longest": SURFACE_LONGEST, "remove_edges": look.edges}
    name = f"{Path(prediction.name or 'photo').stem}{'_depth' if kind in ('png', 'npy') else ''}.{kind}"
    # In a folder of its own: the record of the first result is everybody's.
    path = prediction.save(Path(tempfile.mkdtemp(dir=record.folder), name), **options, warn=False)
    return {"file": handed(path), "note": prediction.lost(path.suffix)}
