"""The tab for a clip, with one range of colours and less flicker."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from pydantic import BaseModel

from depth_unet.page.look import COLOUR_MAPS, PICTURE_HEIGHT, PRIVATE
from depth_unet.page.refusals import between, note, received, refusals
from depth_unet.page.visits import Visits
from depth_unet.video import VideoReport, depth_video

MOST_FRAMES = 450  # of a clip: half a minute


class Options(BaseModel):
    """How a clip is coloured."""

    strength: between(0, 0.95)
    cmap: Literal[*COLOUR_MAPS]


def video_view(visits: Visits) -> None:
    """Build the tab."""
    with gr.Row():
        clip = gr.Video(label="Clip", sources=["upload", "webcam"], height=PICTURE_HEIGHT, elem_id="clip")
        template, script = (Path(__file__).with_name(name).read_text("utf-8") for name in ("clips.html", "video.js"))
        compared = gr.HTML(None, html_template=template, js_on_load=script, label="Depth", min_height=200)
    with gr.Row():
        strength = gr.Slider(0, 0.95, 0.8, step=0.05, label="Smoothing against flicker")
        cmap = gr.Dropdown(COLOUR_MAPS, value=COLOUR_MAPS[0], label="Colours of the clip")
    with gr.Row():
        start = gr.Button("Start video", size="md", variant="primary")
        stop = gr.Button("Cancel video", size="md")
        result = gr.DownloadButton("Download depth clip", size="md", interactive=False)
    about = gr.HTML(video_note(None), label="What was measured")

    def run(clip: Any, strength: float, cmap: str, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        with refusals():
            if not clip:
                raise ValueError("choose a clip first")
            options, source = dict(Options(strength=strength, cmap=cmap)), received(clip)
            target = visits.new_folder() / f"{source.stem}_depth.mp4"
            yield {compared: None, result: gr.DownloadButton(value=None, interactive=False), about: video_note(None)}
            for step in depth_video(visits.predict_moving, source, target, most=MOST_FRAMES, **options):
                if isinstance(step, VideoReport):
                    clips = [gr.FileData(path=str(path)).model_dump() for path in (source, target)]
                    offered = gr.DownloadButton(value=target, interactive=True)
                    yield {compared: clips, result: offered, about: video_note(step)}
                else:
                    progress(step, unit="frames")
                    yield {about: gr.skip()}  # Cancel stops it here

    inputs, outputs = [clip, strength, cmap], [compared, result, about]
    events = {"preprocess": False, "concurrency_id": "video", "show_progress_on": compared, **PRIVATE}
    running = start.click(run, inputs, outputs, **events)
    stop.click(None, cancels=[running], **PRIVATE)


def video_note(report: VideoReport | None) -> str:
    """What was written and the effect of the smoothing, as HTML."""
    text = f"At most 15 frames a second and {MOST_FRAMES} of the whole clip; the colours mean the same throughout."
    if report:
        text = f"{report.frames} frames, colours from {report.near:.2f} to {report.far:.2f} m."
        if report.damaged:
            text += f" {report.damaged} damaged places of the clip were skipped."
        if not math.isnan(report.flicker_before):  # NaN where nothing stood still
            before, after = 100 * report.flicker_before, 100 * report.flicker_after
            text += f" Flicker where the picture stands still: {before:.2f} % before, {after:.2f} % after smoothing."
    return note(text)
