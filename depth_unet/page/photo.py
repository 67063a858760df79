"""The tab for one photo: choose it, and look at its depth in the viewer."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from depth_unet.page.arrival import ARRIVAL, EXAMPLES, arrival_of
from depth_unet.page.look import PRIVATE, QUIET, SENT_LONGEST
from depth_unet.page.refusals import REFUSED, note, received, refusals, sentence_of
from depth_unet.page.viewer import doubt_of, shown, take_away
from depth_unet.page.visits import Record, Visits, thumbnail
from depth_unet.prediction import Prediction

CAPTIONS: dict[str, dict[str, str]] = json.loads((EXAMPLES / "captions.json").read_text("utf-8"))
FULL_SIZE = f"Send photos in full size, not {SENT_LONGEST:,} pixels"


def photo_view(visits: Visits) -> None:
    """Build the tab."""

    def result(prediction: Prediction, photo: Path, last: Record | None) -> tuple[Record, dict[str, Any]]:
        record = visits.keep(prediction, photo, last)
        example = {"example": photo.stem, **CAPTIONS[photo.stem]} if photo.parent == EXAMPLES else {}
        return record, {**shown(record.folder, prediction, doubt_of(prediction, visits.model)), **example}

    first, arrival = result(arrival_of(visits.model), ARRIVAL, None)
    arrival["example"] = ""  # the address stays as it is, so that a reload computes nothing either
    buttons = [
        {"name": name, "thumbnail": thumbnail(Image.open(EXAMPLES / f"{name}.jpg", formats=("JPEG",)), 160), **about}
        for name, about in CAPTIONS.items()
    ]
    record, plain = gr.State(None), {"apply_default_css": False}
    with gr.Row(elem_classes="choose"):
        with gr.Column(elem_id="photo", scale=1, min_width=200):
            source = gr.UploadButton("Choose a photo", file_types=["image"], variant="primary", size="md")
            camera = gr.Button("Use camera", size="sm", elem_id="camera")  # phones offer theirs when a photo is chosen
        on_load = "depthPage.examples(element, name => trigger('choose', {name})); depthPage.restore()"
        template = Path(__file__).with_name("examples.html").read_text("utf-8")
        examples = gr.HTML(buttons, html_template=template, js_on_load=on_load, label="Examples", **plain)
        notice = gr.HTML("", label="What happens", elem_id="notice")
    on_load = "depthPage.view(element, props, watch, data => trigger('take', data))"
    viewer = gr.HTML(arrival, html_template="<div></div>", js_on_load=on_load, label="Depth", elem_id="viewer", **plain)
    with gr.Row():
        gr.Checkbox(label=FULL_SIZE, elem_id="full-size", container=False, scale=3, min_width=260)
        remove = gr.Button("Remove photo", size="sm", min_width=120)
    answer = gr.HTML(None, html_template=" ", js_on_load="watch('value', () => depthPage.answer(props.value))")

    @refusals()
    def take(photo: Any, last: Record | None) -> tuple[Any, ...]:
        try:
            path = photo if isinstance(photo, Path) else received(photo)
            return *result(visits.predict(path), path, last), ""
        except REFUSED as error:  # the picture before it stays
            return gr.skip(), gr.skip(), note(sentence_of(error), "alert")

    def take_example(last: Record | None, click: gr.EventData) -> tuple[Any, ...]:
        name = next((name for name in CAPTIONS if name == told(click, "name")), ARRIVAL.stem)
        return take(EXAMPLES / f"{name}.jpg", last)

    @refusals()
    def write(known: Record | None, asked: gr.EventData) -> dict[str, Any]:
        ticket = {"ticket": told(asked, "ticket")}
        visits.make_room()
        try:
            return {**ticket, **take_away(known or first, told(asked, "kind"), told(asked, "state"))}
        except REFUSED as error:
            return {**ticket, "refused": sentence_of(error)}

    run = {"outputs": [record, viewer, notice], "concurrency_id": "model", "show_progress_on": notice, **PRIVATE}
    # Without preprocessing the file arrives as it was sent.
    taken = source.upload(take, [source, record], preprocess=False, trigger_mode="always_last", **run)
    refused = "document.querySelector('#notice [role=alert]')"
    taken.success(None, js=f"() => depthPage.show({refused} ? '#notice' : '#viewer')", **PRIVATE)
    source.upload(None, source, js="file => depthPage.keep(file)", **PRIVATE)
    examples.choose(take_example, record, trigger_mode="always_last", **run)
    camera.click(None, None, notice, js="() => depthPage.camera()", **QUIET)
    remove.click(None, js="() => depthPage.keep(null)", **PRIVATE)
    remove.click(lambda: (None, None, arrival, ""), None, [source, record, viewer, notice], **QUIET)
    written = viewer.take(write, record, answer, concurrency_id="files", concurrency_limit=2, **QUIET)
    written.failure(None, js="() => depthPage.answer({refused: 'The server could not write this file.'})", **QUIET)


def told(event: gr.EventData, name: str) -> Any:
    """A value that the browser sent with an event; None where a stranger sent none."""
    with suppress(AttributeError, TypeError):
        return getattr(event, name)
