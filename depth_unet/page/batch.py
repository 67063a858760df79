"""The tab for several photos at once, into one archive."""

import base64
import html
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from depth_unet.__main__ import find_photos
from depth_unet.images import SUFFIXES, shrunk
from depth_unet.page.components import PRIVATE
from depth_unet.page.notices import refusals
from depth_unet.page.visits import Visits
from depth_unet.prediction import Prediction

MOST_BYTES = 1e9  # of an archive; the photo that exceeds it is the last
THUMBNAIL = 96  # pixels
TABLE = """<table class="rows"><caption>Distances in metres</caption>
<thead><tr><th>Depth</th><th>Photo</th><th>Near</th><th>Median</th><th>Far</th></tr></thead>
<tbody>${value.join("")}</tbody></table>"""


def batch_view(visits: Visits) -> None:
    """Build the tab."""
    files = gr.File(label="Photos", file_count="multiple", file_types=[*SUFFIXES], height=220, elem_id="photos")
    with gr.Row():
        start = gr.Button("Start", size="md", variant="primary")
        stop = gr.Button("Cancel", size="md")
        archive = gr.DownloadButton("Download all as ZIP", size="md", interactive=False)
    table = gr.HTML([], html_template=TABLE, js_on_load=None, label="Results")
    growing = gr.State(None)  # the path of the archive, until it is offered
    writing = threading.Lock()

    def run(photos: list[dict[str, Any]] | None, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        with refusals():
            if not (photos and isinstance(photos, list)):
                raise ValueError("choose some photos first")
            paths = [visits.received(photo) for photo in photos]
            target, rows = Path(visits.new_file("growing.zip")), []
            yield {table: rows, archive: gr.DownloadButton(value=None, interactive=False), growing: str(target)}
            for path, result in progress.tqdm(list(find_photos(paths, target.parent)), unit="photo"):
                try:
                    if target.exists() and target.stat().st_size > MOST_BYTES:
                        raise ValueError("left out: the archive is full; send fewer photos at once")
                    prediction = visits.predict(path)
                    with writing:
                        add_results(prediction, result, target)
                    rows = [*rows, row(path.name, prediction)]
                except (FileNotFoundError, ValueError) as error:
                    rows = [*rows, row(path.name, error)]
                yield {table: rows}

    def offer(target: str | None) -> Any:
        """Offer the archive, from a place where a cancelled run, which goes on until its next photo, writes no more."""
        with writing:
            if target is None or not Path(target).exists():
                return gr.skip()
            os.replace(target, done := visits.new_file("depth.zip"))
        return {archive: gr.DownloadButton(value=done, interactive=True), growing: None}

    events = {"preprocess": False, "concurrency_id": "batch", **PRIVATE}
    running = start.click(run, files, [table, archive, growing], show_progress_on=files, **events)
    # After Cancel both fire; the first to come offers the archive.
    running.then(offer, growing, [archive, growing], queue=False, **PRIVATE)
    stop.click(offer, growing, [archive, growing], cancels=[running], queue=False, **PRIVATE)


def add_results(prediction: Prediction, result: Path, archive: Path) -> None:
    """Add the files of a photo to an archive.

    Args:
        prediction: of the photo.
        result: the path of its files, without their endings.
        archive: a ZIP file, which may not exist yet.
    """
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as target:
        for ending in ("depth.png", "depth.npy", "depth.json", "color.png"):
            path = result.with_name(f"{result.name}_{ending}")
            if ending == "color.png":
                prediction.save_colors(path, "viridis")
            else:
                prediction.save(path, warn=False)
            target.write(path, path.name)
            path.unlink()


def row(name: str, outcome: Prediction | Exception) -> str:
    """The row of a photo: its distances, or why there are none."""
    if isinstance(outcome, Exception):
        picture, cells = "", f'<td colspan="3">{html.escape(str(outcome))}</td>'
    else:
        encoded = io.BytesIO()
        small = shrunk(outcome.shrink(2 * THUMBNAIL).colorize("viridis", scale_bar=False), THUMBNAIL)
        small.convert("RGB").save(encoded, "JPEG", quality=80)
        picture = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}">'
        cells = "".join(f"<td>{metres:.2f}</td>" for metres in outcome.summary())
        if lost := outcome.lost(".png"):
            cells += f"<td>{html.escape(lost)}</td>"
    return f'<tr><td>{picture}</td><th scope="row">{html.escape(name)}</th>{cells}</tr>'
