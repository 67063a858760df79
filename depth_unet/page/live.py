"""The tab for the webcam, live."""

from typing import Any

import gradio as gr
from PIL import Image, ImageDraw

from depth_unet.colorize import depth_range
from depth_unet.page.components import QUIET, picture
from depth_unet.page.notices import note, refusals
from depth_unet.page.visits import Visits
from depth_unet.prediction import Prediction

# On phones the camera at the back, which looks at the room.
CAMERA = {"video": {"width": 640, "height": 480, "facingMode": {"ideal": "environment"}}}
ADAPTATION = 0.05  # of the way to each picture's own range: colours keep their meaning, and follow into another room


def live_view(visits: Visits) -> None:
    """Build the tab."""
    span = gr.State(None)  # near and far of the colours, metres
    with gr.Row():
        texts = {"label": "Camera", "alt_text": "What the camera sees"}
        webcam = gr.WebcamOptions(mirror=False, constraints=CAMERA)
        camera = picture(**texts, sources=["webcam"], streaming=True, webcam_options=webcam)
        texts = {"label": "Depth", "alt_text": "The depth of what the camera sees, in colours with a scale in metres"}
        live = picture(**texts, type="numpy", format="jpeg", interactive=False, streaming=True)
    middle = gr.HTML(note("Start the camera to see depth live."), label="Middle")

    @refusals()
    def look(frame: dict[str, Any] | None, span: tuple[float, float] | None) -> Any:
        if frame is None:
            return gr.skip()
        prediction = visits.predict(visits.received_frame(frame))
        span = adapted(span, depth_range(prediction.depth))
        height, width = prediction.depth.shape
        text = f"At the cross: {prediction.distance(width // 2, height // 2):.2f} m"
        return with_cross(prediction, span), f'<p class="measured">{text}</p>', span

    limits = {"stream_every": 0.25, "time_limit": 300, "concurrency_id": "live", "concurrency_limit": 4}
    camera.stream(look, [camera, span], [live, middle, span], preprocess=False, **limits, **QUIET)


def adapted(span: tuple[float, float] | None, own: tuple[float, float]) -> tuple[float, float]:
    """The range of colours after one more picture, metres.

    Args:
        span: the range so far, None before the first picture.
        own: the range of the picture.
    """
    if span is None:
        return own
    near, far = (old + ADAPTATION * (new - old) for old, new in zip(span, own, strict=True))
    return near, far


def with_cross(prediction: Prediction, span: tuple[float, float]) -> Image.Image:
    """The depth in colours of a fixed range, with a cross where the distance is measured."""
    picture = prediction.colorize("viridis", *span).convert("RGB")
    draw, reach = ImageDraw.Draw(picture), picture.height // 24
    height, width = prediction.depth.shape
    x, y = width // 2, height // 2
    for colour, thick in (("#00343a", 5), ("#ffffff", 2)):  # one of the two shows on any ground
        draw.line((x - reach, y, x + reach, y), colour, thick)
        draw.line((x, y - reach, x, y + reach), colour, thick)
    return picture
