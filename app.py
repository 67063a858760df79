"""`python app.py`: the page in the browser, which shows what `depth_unet` computes."""

import argparse
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it while it is imported

import gradio as gr  # noqa: E402
import numpy as np  # noqa: E402

from depth_unet import DEFAULT_MODEL, Camera, DepthUNet, Prediction  # noqa: E402
from depth_unet.colorize import depth_range  # noqa: E402

EXAMPLES = Path(__file__).parent / "docs" / "examples"
CLEAN_UP = (600, 3600)  # seconds: every ten minutes, files older than an hour
MOST_WAITING = 32  # photos in the queue; whoever comes then is told to try again later
LARGEST_FILE = "100mb"

THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    # Fonts that every machine has: the page asks nobody but its own server.
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(body_text_color_subdued="*neutral_600")  # gradio's own grey is too pale to read on white
CSS = """
.html-container:has(.readout) { padding: 0; }
.readout { display: grid; grid-template-columns: repeat(3, 1fr); gap: var(--layout-gap); margin: 0; }
.readout > div { padding: .5rem .75rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--block-radius); background: var(--block-background-fill); }
.readout dt { color: var(--body-text-color-subdued); font-size: .85rem; }
.readout dd { margin: 0; font-size: clamp(1.1rem, 4.5vw, 1.5rem); font-weight: 600; white-space: nowrap; }
.note { margin: .6rem 0 0; color: var(--body-text-color-subdued); font-size: .9rem; }
"""
# gradio's thumbnails are buttons without a name: give a screen reader that of the file.
NAME_EXAMPLES = """() => document.querySelectorAll("button.gallery-item").forEach(button => {
  const file = button.querySelector("img")?.src.split("/").pop() ?? "";
  button.ariaLabel = "Example: " + decodeURIComponent(file).replace(/\\.[^.]*$/, "").replaceAll("_", " ");
})"""


def build(model: DepthUNet) -> gr.Blocks:
    """The page for one model, not yet served."""
    with gr.Blocks(title="Depth from one photo", delete_cache=CLEAN_UP) as page:
        gr.Markdown("# Depth from one photo\nOne picture in, the distance of everything in it out: in metres.")
        photo_view(model)
        page.load(None, js=NAME_EXAMPLES)
    # One prediction keeps all cores busy: a second one beside it would only make both late.
    return page.queue(default_concurrency_limit=1, max_size=MOST_WAITING)


def photo_view(model: DepthUNet) -> None:
    """A photo with its depth beside it, the distances, and the files to take away."""
    with gr.Row():
        source = gr.Image(
            label="Photo",
            alt_text="The photo",
            type="filepath",
            sources=["upload", "webcam", "clipboard"],
            webcam_options=gr.WebcamOptions(mirror=False),
            buttons=["fullscreen"],
            height="min(26rem, 85vw)",
        )
        picture = gr.Image(
            label="Depth",
            alt_text="The depth of the photo in colours, with a scale in metres",
            type="filepath",
            interactive=False,
            buttons=["download", "fullscreen"],
            height="min(26rem, 85vw)",
        )
    distances = gr.HTML(readout(None), label="Distances")
    with gr.Row(visible=False) as downloads:
        png = gr.DownloadButton("Download PNG (16-bit, mm)")
        npy = gr.DownloadButton("Download NPY (metres)")
    with gr.Accordion("Camera and model", open=False):
        about = gr.JSON(label="About the depth map", show_label=False)
    results = [picture, about, png, npy]

    def predict(photo: dict[str, Any] | None) -> tuple[str | None, dict[str, Any] | None, str | None, str | None]:
        """Depth of one photo, in metres.

        Returns a picture of the depth in colours; distances, camera and model; the depth as 16-bit PNG in millimetres,
        where 0 is no depth; the depth as NumPy array, float32, in metres.
        """
        if photo is None:
            return None, None, None, None
        cache = Path(source.GRADIO_CACHE)
        try:
            prediction = model.predict(uploaded_file(photo, cache))
        except FileNotFoundError:
            raise refusal("The photo is no longer on the server: please choose it again.") from None
        except ValueError as error:
            raise refusal(str(error)) from None
        coloured, *files = write_files(prediction, Path(tempfile.mkdtemp(dir=cache)))
        return coloured, facts(prediction, model), *files

    def show(known: dict[str, Any] | None) -> tuple[str, gr.Row]:
        # The row, not its buttons: gradio would lose sight of the files of a changed button and never delete them.
        return readout(known), gr.Row(visible=known is not None)

    def react(predicted: gr.events.Dependency) -> None:
        silent = {"queue": False, "api_visibility": "private"}
        predicted.success(show, about, [distances, downloads], **silent)
        # After a bad file nothing of the last good photo may stay, nor the file, which no browser can show.
        emptied = predicted.failure(lambda: [None] * 5, None, [source, *results], **silent)
        emptied.then(show, about, [distances, downloads], **silent)

    # Without preprocessing the file comes as it was sent; gr.Image would re-encode some and stumble over others.
    run = {"fn": predict, "inputs": source, "outputs": results, "preprocess": False, "concurrency_id": "model"}
    # `input` fires once for each photo; `change` fires twice where one photo replaces another.
    react(source.input(**run, api_name="predict", trigger_mode="always_last"))
    photos = sorted(path for path in EXAMPLES.glob("*.jpg") if not path.stem.endswith("_depth"))
    if photos:
        examples = gr.Examples([[str(path)] for path in photos], source, label="No photo at hand? Take one of these")
        react(examples.load_input_event.then(**run, api_visibility="private"))


def uploaded_file(photo: dict[str, Any], cache: Path) -> Path:
    """The file behind what the browser or a client sent.

    Raises:
        ValueError: not a file, or one that nobody uploaded: gradio lets the path of any file on the server through.
    """
    path = Path(photo.get("path") or "").resolve()
    if not path.is_relative_to(cache.resolve()) or path.is_dir():
        raise ValueError("the photo must be uploaded as a file")
    return path


def refusal(message: str) -> gr.Error:
    # A bad file is the visitor's business: no traceback in the server's log.
    return gr.Error(message, print_exception=False)


def write_files(prediction: Prediction, folder: Path) -> tuple[str, str, str]:
    """Write the coloured picture, the 16-bit PNG and the NumPy array, named after the photo."""
    name = Path(prediction.name).stem
    coloured, png, npy = (str(folder / f"{name}_{kind}") for kind in ("color.png", "depth.png", "depth.npy"))
    prediction.colorize().save(coloured)
    prediction.save(npy)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        prediction.save(png)
    for note in notes:
        gr.Warning(str(note.message))
    return coloured, png, npy


def facts(prediction: Prediction, model: DepthUNet) -> dict[str, Any]:
    """What is known of a prediction, for the read-out and for clients; near and far are the ends of the colour bar."""
    near, far = depth_range(prediction.depth)
    camera = prediction.camera
    assumed = Camera.assumed(camera.width, camera.height, model.config.canonical_focal)
    return {
        "near": round(near, 3),
        "median": round(float(np.median(prediction.depth)), 3),
        "far": round(far, 3),
        "horizontal_fov_deg": round(camera.horizontal_fov_deg, 2),
        "fov_from": "assumed" if camera == assumed else "exif",
        **prediction.about(),
    }


def readout(known: dict[str, Any] | None) -> str:
    """The distances and what they rest on, as HTML."""
    metres = {name: f"{known[name]:.2f} m" if known else "–" for name in ("near", "median", "far")}
    tiles = "".join(f"<div><dt>{name.capitalize()}</dt><dd>{value}</dd></div>" for name, value in metres.items())
    note = "Choose a photo, paste one, or take one with the camera."
    if known:
        fov = f"Near and far leave out the outermost 2 %. Field of view {known['horizontal_fov_deg']:.0f}°"
        if known["fov_from"] == "exif":
            note = f"{fov}, from the photo's EXIF data."
        else:
            note = f"{fov}, assumed: the photo does not tell. Another lens would change all distances by one factor."
    return f'<dl class="readout">{tiles}</dl><p class="note" role="status">{note}</p>'


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python app.py",
        description="Serve the page: a photo goes in, its depth in metres comes out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    made.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets the network in")
    made.add_argument("--port", type=int, default=7860, help="port to listen at")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; 2 if it could not begin."""
    options = parser().parse_args(arguments)
    try:
        page = build(DepthUNet.from_pretrained(options.model))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Ended by a service manager as by Ctrl-C: gradio then deletes what visitors have left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        page.launch(
            server_name=options.host,
            server_port=options.port,
            theme=THEME,
            css=CSS,
            max_file_size=LARGEST_FILE,
            footer_links=["api", "settings"],
            share=False,
        )
    except (OSError, OverflowError):
        print(f"error: cannot listen at {options.host}:{options.port}; is another program there?", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
