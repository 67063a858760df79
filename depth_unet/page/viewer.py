"""The viewer on the page: what the browser gets of a depth map, and the files that it asks for."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from depth_unet.camera import Camera
from depth_unet.files import MILLIMETRES_MAX, encode_png, png_step, write_atomically
from depth_unet.page.api import SURFACE_LONGEST, chosen, number, optional
from depth_unet.page.look import COLOUR_MAPS, SHOWN_LONGEST
from depth_unet.page.visits import Record
from depth_unet.prediction import Prediction
from depth_unet.predictor import Predictor

FOLDER = Path(__file__).parent
SCRIPTS, STYLE = ("scene.js", "viewer.js"), "viewer.css"
KINDS = ("png", "npy", "glb", "ply", "stl", "3mf")  # of files that the server writes; the browser writes the others
# Uncertainties in a byte, 1 to 255: LEAST * RATIO ** (byte - 1), from .001 to 2; 0 is none.
LEAST, RATIO = 1e-3, 2000 ** (1 / 254)
MOST_METRES, MOST_SCALE = 1e6, 1e4
RELIEF = {  # options in millimetres, with the least and the most that makes sense
    "size_mm": (10, 1000),
    "relief_mm": (0.1, 500),
    "base_mm": (0.1, 100),
    "frame_mm": (0, 100),
    "smoothing_mm": (0, 10),
}
UNLIKELY = 0.05  # part of the pixels at the ends of the model's range: more are not in photos like its training


def viewer_head() -> str:
    """Scripts and style of the viewer, for the head of a page."""
    scripts = "".join(f"<script>{(FOLDER / name).read_text('utf-8')}</script>" for name in SCRIPTS)
    return f"<style>{(FOLDER / STYLE).read_text('utf-8')}</style>{scripts}"


def viewer_component(value: dict[str, Any] | None) -> gr.HTML:
    """The component that shows `shown`; its event `take` asks for a file, see `take_away`."""
    return gr.HTML(
        value,
        html_template="<div></div>",
        js_on_load="depthPage.view(element, props, watch, data => trigger('take', data))",
        apply_default_css=False,
        label="Depth",
        elem_id="viewer",
    )


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


def shown(record: Record, whole: Prediction, note: str | None) -> dict[str, Any]:
    """What the browser's viewer shows: see `show` in viewer.js.

    Args:
        record: of the visitor; the depth is written into its folder.
        whole: what was predicted.
        note: a warning about the result, or None.
    """
    prediction = whole.shrink(SHOWN_LONGEST)
    png = encode_png(pack(prediction), prediction.about())
    write_atomically(record.path("view.png"), lambda file: file.writelines(png))
    uncertain = prediction.uncertainty is not None
    return {
        "photo": handed(record.path("photo.jpg")),
        "depth": handed(record.path("view.png")),
        "step": png_step(prediction.depth),
        "least": LEAST if uncertain else 0,
        "ratio": RATIO,
        "photoError": prediction.photo_error,
        "pixelError": prediction.pixel_error,
        "width": prediction.camera.width,
        "height": prediction.camera.height,
        "photoSize": {"width": whole.camera.width, "height": whole.camera.height},
        "camera": {name: getattr(prediction.camera, name) for name in ("fx", "fy", "cx", "cy")},
        "cameraFrom": prediction.camera_from,
        "metresFollowLens": prediction.metres_follow_lens,
        "name": prediction.name,
        "model": prediction.model,
        "revision": prediction.revision,
        "licence": prediction.licence,
        "note": note,
    }


def handed(path: str) -> dict[str, Any]:
    """A file as gradio hands it to the browser."""
    return gr.FileData(path=path, orig_name=Path(path).name).model_dump()


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
    if model.config is None:
        return None
    doubt, limit = prediction.mean_uncertainty(), model.config.doubtful
    if limit and doubt is not None and doubt > limit:
        return (
            "Doubtful: the predicted uncertainty is higher than for photos like those of the training. "
            "The metres may be far off."
        )
    ratio = 1.0
    if prediction.metres_follow_lens:
        rows, columns = model.network_size(*prediction.depth.shape)
        ratio = prediction.camera.resize(columns, rows).focal_px / model.config.canonical_focal_px
    depth = prediction.depth / ratio
    part = np.mean((depth < model.config.min_depth * 1.02) | (depth > model.config.max_depth / 1.02))
    if part <= UNLIKELY:
        return None
    return (
        f"Doubtful: {part:.0%} of the pixels are at the ends of what this model can predict. "
        "The photo is unlike those that it was trained on, and the metres may be far off."
    )


class Look(NamedTuple):
    """What is on a visitor's screen: the colours, the lens, the calibration and the relief."""

    cmap: str
    near: float
    far: float
    blend: float
    fov_deg: float | None
    calibration: float
    remove_edges: bool
    relief: dict[str, Any]

    @classmethod
    def of(cls, state: Any) -> "Look":
        """Read what viewer.js or a stranger sends as `state()`.

        Raises:
            ValueError: a value is missing or makes no sense.
        """
        state = state if isinstance(state, dict) else {}
        sent = state.get("print") if isinstance(state.get("print"), dict) else {}
        relief = {name: number(sent.get(name), name, *limits) for name, limits in RELIEF.items()}
        relief |= {side: optional(sent.get(side), side, 0, MOST_METRES) for side in ("near", "far")}
        return cls(
            chosen(state.get("cmap"), "the colours", COLOUR_MAPS),
            number(state.get("near"), "near", -MOST_METRES, MOST_METRES),
            number(state.get("far"), "far", -MOST_METRES, MOST_METRES),
            number(state.get("blend"), "blend", 0, 1),
            optional(state.get("fov"), "the field of view", 1, 179),
            number(state.get("calibration"), "calibration", 1 / MOST_SCALE, MOST_SCALE),
            state.get("edges") is True,
            {**relief, "invert": sent.get("invert") is True},
        )

    def seen(self, prediction: Prediction) -> Prediction:
        """A prediction with this lens and calibration."""
        if self.fov_deg is not None:
            height, width = prediction.depth.shape
            prediction = prediction.with_camera(Camera.from_fov(width, height, self.fov_deg))
        depth = (prediction.depth * np.float32(self.calibration)).astype(np.float32)
        return replace(prediction, depth=depth, calibration=prediction.calibration * self.calibration)

    def picture(self, prediction: Prediction, photo: Image.Image) -> Image.Image:
        """The photo with the colours of its depth over it."""
        colours = prediction.shrink(max(photo.size)).colorize(self.cmap, self.near, self.far, scale_bar=False)
        return Image.blend(photo, colours.resize(photo.size), self.blend)


def take_away(record: Record, kind: Any, state: Any) -> dict[str, Any]:
    """Write one file of what is on the visitor's screen, and hand it to the browser.

    Args:
        record: of the visitor.
        kind: of `KINDS`.
        state: of the viewer, as `Look.of` reads it.

    Raises:
        ValueError: the kind or the state makes no sense, or the file cannot hold such a map.
    """
    kind, look = chosen(kind, "kind", KINDS), Look.of(state)
    prediction = look.seen(record.prediction)
    # A folder of its own: the record of the first result is everybody's.
    place = Path(tempfile.mkdtemp(dir=record.folder))
    path = place / f"{record.stem}{'_depth' if kind in ('png', 'npy') else ''}.{kind}"
    options: dict[str, Any] = look.relief if kind in ("stl", "3mf") else {}
    if kind in ("glb", "ply"):
        options = {"image": look.picture(prediction, record.photo), "longest": SURFACE_LONGEST}
        options["remove_edges"] = look.remove_edges
    prediction.save(path, **options, warn=False)
    return {"file": handed(str(path)), "note": prediction.lost(path.suffix)}
