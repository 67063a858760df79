"""The tab for the webcam, live."""

from typing import Any

import gradio as gr

from depth_unet.page.components import QUIET, picture
from depth_unet.page.look import COLOUR_MAPS
from depth_unet.page.notices import note, refusals
from depth_unet.page.visits import Visits


def live_view(visits: Visits) -> None:
    """Build the tab."""
    with gr.Row():
        webcam = gr.WebcamOptions(mirror=False, constraints={"video": {"width": 640, "height": 480}})
        texts = {"label": "Camera", "alt_text": "What the camera sees"}
        camera = picture(**texts, sources=["webcam"], streaming=True, webcam_options=webcam)
        texts = {"label": "Depth", "alt_text": "The depth of what the camera sees, in colours with a scale in metres"}
        live = picture(**texts, type="numpy", format="jpeg", interactive=False, streaming=True)
    middle = gr.HTML(note("Start the camera to see depth live."), label="Middle")

    @refusals()
    def look(frame: dict[str, Any] | None) -> Any:
        if frame is None:
            return gr.skip()
        prediction = visits.predict(visits.received_frame(frame))
        height, width = prediction.depth.shape
        text = f"Middle of the picture: {prediction.distance(width // 2, height // 2):.2f} m"
        return prediction.colorize(COLOUR_MAPS[0]), f'<p class="measured">{text}</p>'

    limits = {"stream_every": 0.25, "time_limit": 300, "concurrency_id": "live", "concurrency_limit": 4}
    camera.stream(look, camera, [live, middle], preprocess=False, **limits, **QUIET)
