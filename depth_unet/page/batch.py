"""The tab for several photos at once, into one archive."""

import functools
import html
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from depth_unet.__main__ import find_photos
from depth_unet.images import SUFFIXES
from depth_unet.page.look import PRIVATE
from depth_unet.page.refusals import REFUSED, received, refusals, sentence_of
from depth_unet.page.visits import Visits, thumbnail
from depth_unet.prediction import Prediction

MOST_BYTES = 1e9  # of an archive; the photo that exceeds it is the last
THUMBNAIL = 96  # pixels


def batch_view(visits: Visits) -> None:
    """Build the tab."""
    files = gr.File(label="Photos", file_count="multiple", file_types=[*SUFFIXES], height=220, elem_id="photos")
    with gr.Row():
        start = gr.Button("Start", size="md", variant="primary")
        stop = gr.Button("Cancel", size="md")
        archive = gr.DownloadButton("Download all as ZIP", size="md", interactive=False)
    template = Path(__file__).with_name("rows.html").read_text("utf-8")
    table = gr.HTML([], html_template=template, js_on_load=None, label="Results")
    growing = gr.State(None)  # the path of the archive, until it is offered
    writing = threading.Lock()

    def run(photos: list[dict[str, Any]] | None, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        with refusals():
            if not (photos and isinstance(photos, list)):
                raise ValueError("choose some photos first")
            paths, rows = [received(photo) for photo in photos], []
            target = visits.new_folder() / "growing.zip"
            yield {table: rows, archive: gr.DownloadButton(value=None, interactive=False), growing: target}
            for path, result in progress.tqdm(list(find_photos(paths, target.parent)), unit="photo"):
                try:
                    if target.exists() and target.stat().st_size > MOST_BYTES:
                        raise ValueError("left out: the archive is full; send fewer photos at once")
                    prediction = visits.predict(path)
                    with writing:
                        add_results(prediction, result, target)
                    rows = [*rows, row(path.name, prediction)]
                except REFUSED as error:
                    rows = [*rows, row(path.name, error)]
                yield {table: rows}

    @refusals()
    def offer(target: Path | None) -> Any:
        """Offer the archive, from a place where a cancelled run, which goes on until its next photo, writes no more."""
        with writing:
            if target is None or not target.exists():
                return gr.skip()
            os.replace(target, done := visits.new_folder() / "depth.zip")
        return {archive: gr.DownloadButton(value=done, interactive=True), growing: None}

    events = {"preprocess": False, "concurrency_id": "batch", **PRIVATE}
    running = start.click(run, files, [table, archive, growing], show_progress_on=files, **events)
    # After Cancel both fire; the first to come offers the archive.
    running.then(offer, growing, [archive, growing], queue=False, **PRIVATE)
    stop.click(offer, growing, [archive, growing], cancels=[running], queue=False, **PRIVATE)


def add_results(prediction: Prediction, result: Path, archive: Path) -> None:
    """Add the files of a photo, whose names start like `result`, to a ZIP file, which may not exist yet."""
    save = functools.partial(prediction.save, warn=False)
    colour = functools.partial(prediction.save_colors, cmap="viridis")
    with zipfile.ZipFile(archive, "a") as target:
        for ending, write in {"depth.png": save, "depth.npy": save, "depth.json": save, "color.png": colour}.items():
            path = write(result.with_name(f"{result.name}_{ending}"))
            target.write(path, path.name)
            path.unlink()


def row(name: str, outcome: Prediction | Exception) -> str:
    """The row of a photo: its distances, or why there are none."""
    if isinstance(outcome, Exception):
        picture, cells = "", [f'<td colspan="3">{html.escape(sentence_of(outcome))}</td>']
    else:
        small = outcome.shrink(2 * THUMBNAIL).colorize("viridis", scale_bar=False)
        picture = f'<img alt="" src="{thumbnail(small, THUMBNAIL)}">'
        cells = [f"<td>{metres:.2f}</td>" for metres in outcome.summary()]
        cells.append(f"<td>{html.escape(lost)}</td>" if (lost := outcome.lost(".png")) else "")
    return f'<tr><td>{picture}</td><th scope="row">{html.escape(name)}</th>{"".join(cells)}</tr>'
