"""The tab for one photo: choose it, and look at its depth in the viewer."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from depth_unet.page.arrival import ARRIVAL, EXAMPLES, arrival_of
from depth_unet.page.components import PRIVATE, QUIET
from depth_unet.page.notices import GONE, note
from depth_unet.page.upload import upload_controls
from depth_unet.page.viewer import doubt_of, shown, take_away, viewer_component
from depth_unet.page.visits import Record, Visits
from depth_unet.prediction import Prediction

CAPTIONS: dict[str, dict[str, str]] = json.loads((EXAMPLES / "captions.json").read_text("utf-8"))
THUMBNAIL = (160, 120)  # pixels


def photo_view(visits: Visits) -> None:
    """Build the tab."""

    def result(prediction: Prediction, photo: Path, last: Record | None) -> tuple[Record, dict[str, Any]]:
        known = visits.keep(prediction, photo, last)
        value = shown(known, prediction, doubt_of(prediction, visits.model))
        if photo.parent == EXAMPLES:
            value |= {"example": photo.stem, **CAPTIONS[photo.stem]}
        return known, value

    first, arrival = result(arrival_of(visits.model), ARRIVAL, None)
    arrival["example"] = ""  # the address stays as it is, so that a reload computes nothing either
    record = gr.State(None)
    with gr.Row(elem_classes="choose"):
        with gr.Column(elem_id="photo", scale=1, min_width=200):
            source = gr.UploadButton("Choose a photo", file_types=["image"], variant="primary", size="md")
            camera = gr.Button("Use camera", size="sm", elem_id="camera")  # phones offer theirs when a photo is chosen
        examples = gr.HTML(
            [{"name": name, "thumbnail": thumbnail(name), **about} for name, about in CAPTIONS.items()],
            html_template=EXAMPLE_BUTTONS,
            js_on_load="depthPage.examples(element, name => trigger('choose', {name}))",
            apply_default_css=False,
            label="Examples",
        )
        notice = gr.HTML("", label="What happens", elem_id="notice")
    viewer = viewer_component(arrival)
    remove = upload_controls(visits.page, source)
    answer = gr.HTML(None, html_template=" ", js_on_load="watch('value', () => depthPage.answer(props.value))")

    def take(find: Callable[[], Path], last: Record | None) -> tuple[Any, ...]:
        try:
            photo = find()
            return *result(visits.predict(photo), photo, last), ""
        except (FileNotFoundError, ValueError) as error:  # the picture before it stays
            sentence = GONE if isinstance(error, FileNotFoundError) else str(error)
            return gr.skip(), gr.skip(), note(sentence, "alert")

    def take_photo(photo: dict[str, Any] | None, last: Record | None) -> tuple[Any, ...]:
        return take(lambda: visits.received(photo), last) if photo else (gr.skip(), gr.skip(), "")

    def take_example(last: Record | None, click: gr.EventData) -> tuple[Any, ...]:
        name = next((name for name in CAPTIONS if name == told(click, "name")), ARRIVAL.stem)
        return take(lambda: EXAMPLES / f"{name}.jpg", last)

    def write(known: Record | None, asked: gr.EventData) -> dict[str, Any]:
        ticket = told(asked, "ticket")
        visits.make_room()
        try:
            return {"ticket": ticket, **take_away(known or first, told(asked, "kind"), told(asked, "state"))}
        except (FileNotFoundError, ValueError) as error:
            return {"ticket": ticket, "refused": GONE if isinstance(error, FileNotFoundError) else str(error)}

    run = {"outputs": [record, viewer, notice], "concurrency_id": "model", "show_progress_on": notice, **PRIVATE}
    # Without preprocessing the file arrives as it was sent.
    taken = source.upload(take_photo, [source, record], preprocess=False, trigger_mode="always_last", **run)
    refused = "document.querySelector('#notice [role=alert]')"
    taken.success(None, js=f"() => depthPage.show({refused} ? '#notice' : '#viewer')", **PRIVATE)
    examples.choose(take_example, record, trigger_mode="always_last", **run)
    camera.click(None, None, notice, js="() => depthPage.camera()", **QUIET)
    remove.click(lambda: (None, None, arrival, ""), None, [source, record, viewer, notice], **QUIET)
    written = viewer.take(write, record, answer, concurrency_id="files", concurrency_limit=2, **QUIET)
    written.failure(None, js="() => depthPage.answer({refused: 'The server could not write this file.'})", **QUIET)


def told(event: gr.EventData, name: str) -> Any:
    """A value that the browser sent with an event; None where a stranger sent none."""
    try:
        return getattr(event, name)
    except (AttributeError, TypeError):
        return None


def thumbnail(name: str) -> str:
    """A small picture of an example as a data URL."""
    with Image.open(EXAMPLES / f"{name}.jpg", formats=("JPEG",)) as image:
        image.thumbnail(THUMBNAIL)
        encoded = io.BytesIO()
        image.convert("RGB").save(encoded, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


EXAMPLE_BUTTONS = """<div class="examples" role="group" aria-label="Examples">{{#each value}}
<button type="button" data-example="{{this.name}}" title="{{this.caption}}" aria-label="Example: {{this.caption}}">
<img src="{{this.thumbnail}}" alt=""></button>{{/each}}</div>"""
