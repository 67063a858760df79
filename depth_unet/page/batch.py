"""The tab for several photos at once, into one archive."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from depth_unet.__main__ import find_photos
from depth_unet.files import finished_or_absent
from depth_unet.page.components import PRIVATE
from depth_unet.page.look import COLOUR_MAPS
from depth_unet.page.notices import refusals, save_and_warn
from depth_unet.page.visits import Visits, save_picture

MOST_BYTES = 1e9  # of an archive; the photo that exceeds it is the last


def batch_view(visits: Visits) -> None:
    """Build the tab."""
    files = gr.File(label="Photos", file_count="multiple", file_types=["image"], height=220)
    with gr.Row():
        start = gr.Button("Start", size="md", variant="primary")
        stop = gr.Button("Cancel", size="md")
    headers = ["Photo", "Near", "Median", "Far", "Note"]
    table = gr.Dataframe(headers=headers, interactive=False, label="Results, in metres", wrap=True)
    archive = gr.DownloadButton("Download all as ZIP", size="md")

    def run(photos: list[dict[str, Any]] | None, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        with refusals():
            if not (photos and isinstance(photos, list)):
                raise ValueError("choose some photos first")
            paths = [visits.received(photo) for photo in photos]
            zipped, rows = Path(visits.new_file("depth.zip")), []
            yield rows, None
            with finished_or_absent(zipped) as place, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as target:
                for path, result in progress.tqdm(list(find_photos(paths, zipped.parent)), unit="photo"):
                    try:
                        if place.stat().st_size > MOST_BYTES:
                            raise ValueError("left out: the archive is full; send fewer photos at once")
                        prediction = visits.predict(path)
                    except (FileNotFoundError, ValueError) as error:
                        rows.append([path.name, None, None, None, str(error)])
                    else:
                        rows.append([path.name, *(f"{value:.2f}" for value in prediction.summary()), ""])
                        for ending in ("depth.png", "depth.npy", "depth.json", "color.png"):
                            written = result.with_name(f"{result.name}_{ending}")
                            if ending == "color.png":
                                save_picture(prediction.colorize(COLOUR_MAPS[0]), written)
                            else:
                                save_and_warn(prediction, written)
                            target.write(written, written.name)
                            written.unlink()
                    yield rows, None
            yield rows, str(zipped)

    running = start.click(run, files, [table, archive], preprocess=False, concurrency_id="batch", **PRIVATE)
    stop.click(None, cancels=[running], **PRIVATE)
