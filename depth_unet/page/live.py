"""The tab for the webcam, live."""

import base64
import io
from typing import Any

import gradio as gr
from PIL import Image, ImageDraw

from depth_unet.colorize import depth_range
from depth_unet.images import read_photo
from depth_unet.page.look import PICTURE_HEIGHT, QUIET
from depth_unet.page.refusals import note, refusals
from depth_unet.page.visits import Visits
from depth_unet.prediction import Prediction

# On phones the camera at the back, which looks at the room.
CAMERA = {"video": {"width": 640, "height": 480, "facingMode": {"ideal": "environment"}}}
MOST_PIXELS = 8_300_000  # of a picture that the browser sends
ADAPTATION = 0.05  # of the way to each picture's own range: colours keep their meaning, and follow into another room


def live_view(visits: Visits) -> None:
    """Build the tab."""
    span = gr.State(None)  # near and far of the colours, metres
    looks = {"height": PICTURE_HEIGHT, "buttons": ["fullscreen"], "streaming": True}
    webcam = {"sources": "webcam", "webcam_options": gr.WebcamOptions(mirror=False, constraints=CAMERA)}
    with gr.Row():
        camera = gr.Image(label="Camera", alt_text="What the camera sees", **webcam, **looks)
        text = "The depth of what the camera sees, in colours with a scale in metres"
        live = gr.Image(label="Depth", alt_text=text, format="jpeg", interactive=False, **looks)
    middle = gr.HTML(note("Start the camera to see depth live."), label="Middle")

    @refusals()
    def look(sent: dict[str, Any] | None, span: tuple[float, float] | None) -> Any:
        if sent is None:
            return gr.skip()
        prediction = visits.predict_moving(frame(sent))
        span = adapted(span, depth_range(prediction.depth))
        height, width = prediction.depth.shape
        text = f"At the cross: {prediction.distance(width // 2, height // 2):.2f} m"
        return with_cross(prediction, span), f'<p class="measured">{text}</p>', span

    limits = {"stream_every": 0.25, "time_limit": 300, "concurrency_id": "live", "concurrency_limit": 4}
    camera.stream(look, [camera, span], [live, middle, span], preprocess=False, **limits, **QUIET)


def frame(sent: Any) -> Image.Image:
    """The picture of a webcam, which the browser sends as text."""
    try:
        content = io.BytesIO(base64.b64decode(sent["url"].partition(",")[2], validate=True))
        with Image.open(content, formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height <= MOST_PIXELS:
                return read_photo(image).image
    except Exception:  # decoders raise anything
        raise ValueError("the camera's picture cannot be read") from None
    raise ValueError(f"a camera's picture has at most {MOST_PIXELS:,} pixels, not {image.width}x{image.height}")


def adapted(span: tuple[float, float] | None, own: tuple[float, float]) -> tuple[float, float]:
    """The range of colours after one more picture, metres: the range so far (None at first) moved towards its own."""
    near, far = (old + ADAPTATION * (new - old) for old, new in zip(span or own, own, strict=True))
    return near, far


def with_cross(prediction: Prediction, span: tuple[float, float]) -> Image.Image:
    """The depth in colours of a fixed range, with a cross where the distance is measured."""
    picture = prediction.colorize("viridis", *span).convert("RGB")
    draw, reach = ImageDraw.Draw(picture), picture.height // 24
    y, x = (side // 2 for side in prediction.depth.shape)
    for colour, thick in (("#00343a", 5), ("#ffffff", 2)):  # one of the two shows on any ground
        draw.line((x - reach, y, x + reach, y), colour, thick)
        draw.line((x, y - reach, x, y + reach), colour, thick)
    return picture
