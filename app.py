"""`python app.py`: the page in the browser, which shows what `depth_unet` computes."""

import argparse
import base64
import functools
import importlib.util
import inspect
import io
import os
import re
import signal
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it while it is imported

import gradio as gr  # noqa: E402
from PIL import Image  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

from depth_unet import DEFAULT_MODEL, Camera, DepthUNet, Prediction  # noqa: E402
from depth_unet.__main__ import find_photos  # noqa: E402
from depth_unet.colorize import colour_steps  # noqa: E402
from depth_unet.images import read_photo, read_size  # noqa: E402
from depth_unet.page.marks import draw_marks  # noqa: E402
from depth_unet.video import VideoReport, depth_video  # noqa: E402

EXAMPLES = Path(__file__).parent / "docs" / "examples"
CLEAN_UP = (600, 3600)  # seconds: every ten minutes, files older than an hour
MOST_WAITING = 32  # photos in the queue; whoever comes then is told to try again later
LARGEST_FILE = "100mb"
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
SHOWN_LONGEST = 1280  # pixels of the pictures on the page; the downloads have all
SOLID_LONGEST = 512  # points along the longer side of what is shown and printed
MOST_FRAMES = 450  # of a clip: half a minute
# Equal steps of depth look equal in the first five; the others show more at the price of that.
COLOUR_MAPS = ["viridis", "magma", "inferno", "plasma", "cividis", "turbo", "Spectral", "gray"]

THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    # Fonts that every machine has: the page asks nobody but its own server.
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(body_text_color_subdued="*neutral_600")  # gradio's own grey is too pale to read on white
CSS = """
.html-container:has(.readout, .scale, .note) { padding: 0; }
.readout { display: grid; grid-template-columns: repeat(3, 1fr); gap: var(--layout-gap); margin: 0; }
.readout > div { padding: .5rem .75rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--block-radius); background: var(--block-background-fill); }
.readout dt { color: var(--body-text-color-subdued); font-size: .85rem; }
.readout dd { margin: 0; font-size: clamp(1.1rem, 4.5vw, 1.5rem); font-weight: 600; white-space: nowrap; }
.note { margin: .6rem 0 0; color: var(--body-text-color-subdued); font-size: .9rem; }
.calibrated { padding: .1rem .5rem; border-radius: 1rem; background: var(--primary-700); color: white; }
.measured { font-size: 1.25rem; font-weight: 600; color: var(--body-text-color); }
.scale .ramp { height: .9rem; border-radius: .3rem; }
.scale .ticks { display: flex; justify-content: space-between; font-size: .85rem; font-variant-numeric: tabular-nums; }
.clickable img { cursor: crosshair; }
"""
# gradio's thumbnails are buttons without a name, and the pictures of its slider have no text: a screen reader gets
# both from here, for the slider each time it shows something new.
ARRIVE = """() => {
  document.querySelectorAll("button.gallery-item").forEach(button => {
    const file = button.querySelector("img")?.src.split("/").pop() ?? "";
    button.ariaLabel = "Example: " + decodeURIComponent(file).replace(/\\.[^.]*$/, "").replaceAll("_", " ");
  });
  const name = () => document.querySelectorAll("#slider img").forEach(image => {
    const text = image.src.includes("_color.") ? "The depth of the photo in colours" : "The photo";
    if (image.alt !== text) image.alt = text;
  });
  new MutationObserver(name).observe(document.body, {subtree: true, childList: true, attributeFilter: ["src", "alt"]});
}"""
# A click on the example that the address names.
TAKE_EXAMPLE = """() => {
  const wanted = "/" + encodeURIComponent(new URLSearchParams(location.search).get("example")) + ".";
  [...document.querySelectorAll("button.gallery-item img")].find(image => image.src.includes(wanted))?.click();
}"""
# The address tells example and colours, so that it can be shared; photos that visitors bring stay out of it.
ADDRESS = """(cmap, near, far) => {
  const file = image => decodeURIComponent(image.src.split("/").pop()).replace(/\\.[^.]*$/, "");
  const shown = [...document.querySelectorAll("#slider img")].map(file);
  const examples = [...document.querySelectorAll("button.gallery-item img")].map(file);
  const example = examples.find(name => shown.includes(name + "_color"));
  const told = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries({example, cmap, near, far}))
    value && value !== "DEFAULT" ? told.set(key, value) : told.delete(key);
  const address = location.pathname + (String(told) && "?" + told);
  if (address !== location.pathname + location.search) history.replaceState(history.state, "", address);
}""".replace("DEFAULT", COLOUR_MAPS[0])

SILENT = {"queue": False, "api_visibility": "private"}


class Look(NamedTuple):
    """How depth is coloured: what a person has chosen; near and far in metres, nothing or 0 for automatic."""

    cmap: str
    near: float | None
    far: float | None

    def range_of(self, prediction: Prediction) -> tuple[float, float]:
        summary = prediction.summary()
        near, far = self.near or summary.near, self.far or summary.far  # 0 is automatic
        if not 0 <= near < far:
            raise ValueError(f"near must be below far: {near:.2f} m is not below {far:.2f} m")
        return near, far


class Record(NamedTuple):
    """A prediction that a visitor works with, kept on the disk: memory does not grow with visitors."""

    folder: Path
    stem: str  # of the photo's name

    def path(self, ending: str) -> str:
        return str(self.folder / f"{self.stem}_{ending}")

    @property
    def prediction(self) -> Prediction:
        return Prediction.load(self.path("depth.npy"), mmap=True)

    @property
    def photo(self) -> Image.Image:
        with Image.open(self.path("photo.jpg")) as image:
            return image.convert("RGB")


class Desk:
    """What all views share: the model, one visitor at a time, and a place for files."""

    def __init__(self, model: DepthUNet, page: gr.Blocks) -> None:
        self.model, self.page = model, page
        self.cache = Path(page.GRADIO_CACHE)
        self.turn = threading.Lock()

    def predict(self, photo: Path | Image.Image, fov_deg: float | None = None) -> Prediction:
        """Depth of an uploaded file or a picture. Two at once would only make both late."""
        camera = None
        if fov_deg is not None:
            height, width = read_size(photo)
            camera = Camera.from_fov(width, height, fov_deg)
        with self.turn:
            return self.model.predict(photo, camera)

    def received(self, sent: dict[str, Any] | gr.FileData | None) -> Path:
        """The file behind what the browser or a client sent; it is deleted in time, however it came.

        Raises:
            ValueError: not a file, or one that nobody uploaded: gradio lets the path of any file on the server through.
        """
        sent = sent.model_dump() if isinstance(sent, gr.FileData) else sent
        if isinstance(sent, dict) and isinstance(sent.get("video"), dict):
            sent = sent["video"]
        name = (sent.get("path") if isinstance(sent, dict) else None) or ""
        path = Path(name).resolve()
        if not path.is_relative_to(self.cache.resolve()) or path.is_dir():
            raise ValueError("the photo must be uploaded as a file")
        self.page.upload_file_set.add(name)
        if path.stem == "file":  # so gradio calls what came as text through MCP, of which it forgets a second copy
            self.page.upload_file_set.update(map(str, self.cache.glob(f"*/{path.name}")))
        return path

    def received_frame(self, sent: dict[str, Any]) -> Path | Image.Image:
        """A frame of the webcam: as text within the message, or as an uploaded file.

        Raises:
            ValueError: as `received`, or the text is no picture.
        """
        kind, comma, text = (sent.get("url") or "").partition(",")
        if not (comma and kind.startswith("data:image/")):
            return self.received(sent)
        try:
            return read_photo(Image.open(io.BytesIO(base64.b64decode(text)))).image
        except (OSError, ValueError):
            raise ValueError("the camera's picture cannot be read") from None

    def keep(self, prediction: Prediction, photo: Path | Image.Image) -> Record:
        """Write what later clicks need."""
        stem = Path(prediction.name or "photo").stem
        paths = [self.new_file(f"{stem}_depth.npy")]
        record = Record(Path(paths[0]).parent, stem)
        paths += [record.path("depth.json"), record.path("photo.jpg")]
        self.page.upload_file_set.update(paths)
        for path in paths[:2]:
            prediction.save(path)
        if isinstance(photo, Path):
            photo = read_photo(photo, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
            photo.thumbnail((SHOWN_LONGEST, SHOWN_LONGEST))
        photo.save(paths[2], quality=90)
        return record

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.cache))

    def new_file(self, name: str) -> str:
        """A place of its own for a file, which gradio deletes like those that visitors send."""
        path = str(self.new_folder() / name)
        self.page.upload_file_set.add(path)
        return path


def build(model: DepthUNet) -> gr.Blocks:
    """The page for one model, not yet served."""
    with gr.Blocks(title="Depth from one photo", delete_cache=CLEAN_UP) as page:
        desk = Desk(model, page)
        gr.Markdown("# Depth from one photo\nOne picture in, the distance of everything in it out: in metres.")
        with gr.Tabs():
            with gr.Tab("One photo"):
                photo_view(desk)
            with gr.Tab("Several photos"):
                batch_view(desk)
            with gr.Tab("Video"):
                video_view(desk)
            with gr.Tab("Camera, live"):
                live_view(desk)
        endpoints(desk)
        page.load(None, js=ARRIVE)
    # One prediction keeps all cores busy: a second one beside it would only make both late.
    return page.queue(default_concurrency_limit=1, max_size=MOST_WAITING)


def photo_view(desk: Desk) -> None:
    """A photo and its depth: to look at, to measure in, to turn in space, to take away."""
    record, points = gr.State(None), gr.State([])
    with gr.Row():
        with gr.Column():
            source = gr.Image(
                label="Photo",
                alt_text="The photo",
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                webcam_options=gr.WebcamOptions(mirror=False),
                buttons=["fullscreen"],
                height="min(26rem, 85vw)",
            )
            samples = sorted(path for path in EXAMPLES.glob("*.jpg") if not path.stem.endswith("_depth"))
            examples = samples and gr.Examples(
                [[str(path)] for path in samples], source, label="No photo at hand? Take one of these"
            )
        with gr.Column(), gr.Tabs():
            with gr.Tab("See", render_children=True):
                slider = gr.ImageSlider(
                    label="Photo and depth",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=420,
                    elem_id="slider",
                )
                scale = gr.HTML(scale_bar(None, None), label="Scale")
                with gr.Row():
                    cmap = gr.Dropdown(COLOUR_MAPS, value=COLOUR_MAPS[0], label="Colours", min_width=120)
                    near = gr.Number(0, label="Near, m (0: auto)", min_width=90)
                    far = gr.Number(0, label="Far, m (0: auto)", min_width=90)
            with gr.Tab("Measure", render_children=True):
                marked = gr.Image(
                    label="Click a point, or two",
                    alt_text="The photo, with the points that are measured",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    height="min(26rem, 85vw)",
                    elem_classes="clickable",
                )
                measured = gr.HTML(measurement(None, []), label="Measured")
                with gr.Row():
                    metres = gr.Number(None, label="True length, m", min_width=110)
                    calibrate = gr.Button("Calibrate", size="md", variant="primary", min_width=100)
                    undo = gr.Button("Undo", size="md", min_width=80)
                    clear = gr.Button("Clear points", size="md", min_width=110)
                with gr.Accordion("Points by keyboard", open=False), gr.Row():
                    typed = gr.Textbox(
                        label="Pixels x, y of one point or two", placeholder="320, 240   400, 250", scale=3
                    )
            with gr.Tab("3-D", render_children=True):
                space = gr.Model3D(
                    label="Drag to turn, scroll to come closer",
                    interactive=False,
                    height="min(26rem, 85vw)",
                    clear_color=(0.5, 0.5, 0.5, 0.0),
                    camera_position=(90, 90, None),
                )
                with gr.Row():
                    size_mm = gr.Number(100, label="Longer side of the print, mm", minimum=10, maximum=1000)
                    solid = gr.Button("Build", size="md", variant="primary")
                with gr.Row(visible=False) as solids:
                    glb = gr.DownloadButton("GLB (surface)", size="md", min_width=120)
                    ply = gr.DownloadButton("PLY (points)", size="md", min_width=120)
                    stl = gr.DownloadButton("STL (to print)", size="md", min_width=120)
    with gr.Row(equal_height=True):
        with gr.Column(scale=4):
            distances = gr.HTML(readout(None), label="Distances")
        with gr.Column(scale=1, min_width=190):
            fov = gr.Number(None, label="Field of view, degrees", minimum=1, maximum=179, precision=1)
    with gr.Row(visible=False) as downloads:
        png = gr.DownloadButton("PNG (16-bit, mm)", size="md", min_width=130)
        npy = gr.DownloadButton("NPY (metres)", size="md", min_width=130)
        npz = gr.DownloadButton("NPZ (all in one)", size="md", min_width=130)
        sidecar = gr.DownloadButton("JSON (about)", size="md", min_width=130)
        coloured = gr.DownloadButton("Picture in colours", size="md", min_width=130)
    with gr.Accordion("Camera and model", open=False):
        about = gr.JSON(label="About the depth map", show_label=False)

    look = [cmap, near, far]
    views = [record, points, slider, scale, marked, measured, distances, about, fov, npy, sidecar]
    rest = [png, npz, coloured]
    in_space = [space, glb, ply, stl]

    def shown(known: Record | None, chosen: list, *look: Any) -> list[Any]:
        """A value for each of `views`."""
        if known is None:
            return [None, [], None, scale_bar(None, None), None, measurement(None, []), readout(None), *[None] * 4]
        prediction = known.prediction
        return [
            known,
            chosen,
            *colours(known, prediction, Look(*look)),
            *marks(known, prediction, chosen),
            readout(prediction),
            facts(prediction),
            round(prediction.camera.horizontal_fov_deg, 1),
            known.path("depth.npy"),
            known.path("depth.json"),
        ]

    def colours(known: Record, prediction: Prediction, look: Look) -> tuple[tuple[str, str], str]:
        near, far = look.range_of(prediction)
        picture = prediction.shrink(SHOWN_LONGEST).colorize(look.cmap, near, far, scale_bar=False)
        # A new name each time, or the browser would show the picture that it has.
        path = desk.new_file(f"{known.stem}_color.jpg")
        picture.save(path, quality=92, subsampling=0)
        return (known.path("photo.jpg"), path), scale_bar(look.cmap, (near, far))

    def marks(known: Record, prediction: Prediction, chosen: list) -> tuple[str, str]:
        photo = known.photo
        ratio = photo.width / prediction.camera.width
        label = f"{prediction.length(chosen):.2f} m" if chosen else ""
        path = desk.new_file(f"{known.stem}_marked.jpg")
        draw_marks(photo, [((x + 0.5) * ratio, (y + 0.5) * ratio) for x, y in chosen], label).save(path, quality=90)
        return path, measurement(prediction, chosen)

    @polite
    def take(photo: dict[str, Any] | None, *look: Any) -> list[Any]:
        if photo is None:
            return [gr.skip(), *shown(None, [], *look)]
        path = desk.received(photo)
        known = desk.keep(desk.predict(path), path)
        visible = gr.skip() if path.suffix.lower() in SHOWN_BY_BROWSERS else known.path("photo.jpg")
        return [visible, *shown(known, [], *look)]

    @polite
    def redraw(known: Record | None, *look: Any) -> Any:
        return colours(known, known.prediction, Look(*look)) if known else gr.skip()

    @polite
    def mark(known: Record | None, chosen: list, click: gr.SelectData) -> Any:
        if known is None:
            return gr.skip()
        prediction = known.prediction
        with Image.open(known.path("photo.jpg")) as photo:
            ratio = prediction.camera.width / photo.width
        height, width = prediction.depth.shape
        x, y = (int((side + 0.5) * ratio) for side in click.index)
        # The third click begins anew.
        chosen = [*(chosen if len(chosen) < 2 else []), (min(x, width - 1), min(y, height - 1))]
        return chosen, *marks(known, prediction, chosen)

    @polite
    def mark_typed(known: Record | None, text: str) -> Any:
        if known is None:
            return gr.skip()
        chosen = parse_points(text)
        return chosen, *marks(known, known.prediction, chosen)

    @polite
    def unmark(known: Record | None) -> Any:
        return ([], *marks(known, known.prediction, [])) if known else gr.skip()

    @polite
    def rescale(known: Record | None, chosen: list, metres: float | None, *look: Any) -> list[Any]:
        if known is None or not chosen:
            raise ValueError("click a point or two in the picture first, then type what you measured there")
        if not metres:
            raise ValueError("type the true length in metres")
        true = known.prediction.calibrate_length(chosen, metres)
        return shown(desk.keep(true, known.photo), chosen, *look)

    @polite
    def forget_scale(known: Record | None, chosen: list, *look: Any) -> Any:
        if known is None or known.prediction.calibration == 1:
            return gr.skip()
        return shown(desk.keep(known.prediction.uncalibrated(), known.photo), chosen, *look)

    @polite
    def see_through(known: Record | None, chosen: list, fov_deg: float | None, *look: Any) -> Any:
        if known is None or fov_deg is None:
            return gr.skip()
        prediction = known.prediction
        if abs(prediction.camera.horizontal_fov_deg - fov_deg) < 0.06:
            return gr.skip()  # left, not changed: the camera is still the photo's own
        height, width = prediction.depth.shape
        changed = prediction.with_camera(Camera.from_fov(width, height, fov_deg))
        return shown(desk.keep(changed, known.photo), chosen, *look)

    @polite
    def write_rest(known: Record | None, *look: Any) -> tuple[Any, ...]:
        if known is None:
            return None, None, None, gr.Row(visible=False)
        prediction, look = known.prediction, Look(*look)
        paths = [desk.new_file(f"{known.stem}_{ending}") for ending in ("depth.png", "depth.npz", "color.png")]
        save_loudly(prediction, paths[0])
        prediction.save(paths[1])
        prediction.colorize(look.cmap, *look.range_of(prediction)).save(paths[2], compress_level=1)
        # The row, not its buttons: gradio would lose sight of the files of a changed button and never delete them.
        return *paths, gr.Row(visible=True)

    @polite
    def build_solid(known: Record | None, size_mm: float | None) -> tuple[Any, ...]:
        if known is None:
            raise ValueError("choose a photo first")
        if not size_mm:
            raise ValueError("type the size of the print in millimetres")
        prediction, photo = known.prediction, known.photo
        paths = [desk.new_file(f"{known.stem}.{kind}") for kind in ("glb", "ply", "stl")]
        for path in paths:
            prediction.save(path, image=photo, size_mm=size_mm, longest=SOLID_LONGEST)
        summary = prediction.summary()
        # The viewer looks at the middle of the surface: from a step behind the photo's own place all of it is in view.
        stand = (90, 90, 1.3 * (summary.near + summary.far) / 2)
        return gr.Model3D(paths[0], camera_position=stand), *paths, gr.Row(visible=True)

    def finish(changed: gr.events.Dependency) -> None:
        """After a new depth map: files, and nothing of the last one in space."""
        changed.success(lambda: [*[None] * 4, gr.Row(visible=False)], None, [*in_space, solids], **SILENT)
        changed.success(write_rest, [record, *look], [*rest, downloads], api_visibility="private").then(
            None, look, js=ADDRESS, api_visibility="private"
        )

    def begin(predicted: gr.events.Dependency) -> None:
        finish(predicted)
        # After a bad file nothing of the last good photo may stay, nor the file, which no browser can show.
        everything = [source, *views, *rest, *in_space, downloads, solids]
        hidden = [gr.Row(visible=False)] * 2
        predicted.failure(lambda: [None, *shown(None, []), *[None] * 7, *hidden], None, everything, **SILENT)

    # Without preprocessing the file comes as it was sent; gr.Image would re-encode some and stumble over others.
    run = {
        "fn": take,
        "inputs": [source, *look],
        "outputs": [source, *views],
        "preprocess": False,
        "concurrency_id": "model",
        "api_visibility": "private",
    }
    # `input` fires once for each photo; `change` fires twice where one photo replaces another.
    begin(source.input(**run, trigger_mode="always_last"))
    if examples:
        begin(examples.load_input_event.then(**run))

    quiet = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
    desk.page.load(look_asked_for, None, look, **quiet).then(None, js=TAKE_EXAMPLE, **quiet)
    chosen = gr.on(
        [cmap.input, near.submit, near.blur, far.submit, far.blur], redraw, [record, *look], [slider, scale], **quiet
    )
    chosen.success(write_rest, [record, *look], [*rest, downloads], **quiet)
    chosen.success(None, look, js=ADDRESS, **quiet)
    marking = [points, marked, measured]
    marked.select(mark, [record, points], marking, **quiet)
    typed.submit(mark_typed, [record, typed], marking, **quiet)
    clear.click(unmark, record, marking, **quiet)
    change = {"api_visibility": "private", "outputs": views}
    finish(gr.on([calibrate.click, metres.submit], rescale, [record, points, metres, *look], **change))
    finish(undo.click(forget_scale, [record, points, *look], **change))
    finish(gr.on([fov.submit, fov.blur], see_through, [record, points, fov, *look], **change))
    solid.click(build_solid, [record, size_mm], [*in_space, solids], api_visibility="private")


def batch_view(desk: Desk) -> None:
    """Several photos at once, into one archive."""
    files = gr.File(label="Photos", file_count="multiple", file_types=["image"], height=220)
    with gr.Row():
        start = gr.Button("Start", size="md", variant="primary")
        stop = gr.Button("Cancel", size="md")
    table = gr.Dataframe(
        headers=["Photo", "Near", "Median", "Far", "Note"], interactive=False, label="Results, in metres", wrap=True
    )
    archive = gr.DownloadButton("Download all as ZIP", size="md")

    @polite
    def run(photos: list[dict[str, Any]] | None, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        if not photos:
            raise ValueError("choose some photos first")
        paths = [desk.received(photo) for photo in photos]
        folder, zipped = desk.new_folder(), desk.new_file("depth.zip")
        rows = []
        yield rows, None
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as target:
            for path, result in progress.tqdm(list(find_photos(paths, folder)), unit="photo"):
                try:
                    prediction = desk.predict(path)
                except (OSError, ValueError) as error:
                    rows.append([path.name, None, None, None, str(error)])
                else:
                    rows.append([path.name, *(f"{value:.2f}" for value in prediction.summary()), ""])
                    for ending in ("depth.png", "depth.npy", "depth.json"):
                        written = result.with_name(f"{result.name}_{ending}")
                        save_loudly(prediction, written)
                        target.write(written, written.name)
                        written.unlink()
                    written = result.with_name(f"{result.name}_color.png")
                    prediction.colorize(COLOUR_MAPS[0]).save(written, compress_level=1)
                    target.write(written, written.name)
                    written.unlink()
                yield rows, None
        yield rows, zipped

    running = start.click(
        run, files, [table, archive], preprocess=False, api_visibility="private", concurrency_id="batch"
    )
    stop.click(None, cancels=[running], api_visibility="private")


def video_view(desk: Desk) -> None:
    """A clip, with one range of colours and less flicker."""
    with gr.Row():
        clip = gr.Video(label="Clip", sources=["upload", "webcam"], height="min(26rem, 85vw)")
        result = gr.Video(label="Depth", interactive=False, height="min(26rem, 85vw)", buttons=["download"])
    with gr.Row():
        strength = gr.Slider(0, 0.95, 0.8, step=0.05, label="Smoothing against flicker")
        cmap = gr.Dropdown(COLOUR_MAPS, value=COLOUR_MAPS[0], label="Colours of the clip")
    with gr.Row():
        start = gr.Button("Start video", size="md", variant="primary")
        stop = gr.Button("Cancel video", size="md")
    note = gr.HTML(video_note(None), label="What was measured")

    @polite
    def run(clip: Any, strength: float, cmap: str, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        if not clip:
            raise ValueError("choose a clip first")
        source, target = desk.received(clip), desk.new_file("depth.mp4")
        yield None, video_note(None)
        for step in depth_video(desk.predict, source, target, strength=strength, cmap=cmap, most=MOST_FRAMES):
            if isinstance(step, VideoReport):
                yield target, video_note(step)
            else:
                progress(step, unit="frames")
                yield gr.skip(), gr.skip()  # the place to stop at

    running = start.click(
        run,
        [clip, strength, cmap],
        [result, note],
        preprocess=False,
        api_visibility="private",
        concurrency_id="video",
    )
    stop.click(None, cancels=[running], api_visibility="private")


def live_view(desk: Desk) -> None:
    """What the webcam sees, as it sees it."""
    with gr.Row():
        camera = gr.Image(
            label="Camera",
            alt_text="What the camera sees",
            sources=["webcam"],
            type="filepath",
            streaming=True,
            webcam_options=gr.WebcamOptions(mirror=False, constraints={"video": {"width": 640, "height": 480}}),
            height="min(26rem, 85vw)",
        )
        live = gr.Image(
            label="Depth",
            alt_text="The depth of what the camera sees, in colours with a scale in metres",
            type="numpy",
            format="jpeg",
            interactive=False,
            streaming=True,
            buttons=["fullscreen"],
            height="min(26rem, 85vw)",
        )
    middle = gr.HTML('<p class="note" role="status">Start the camera to see depth live.</p>', label="Middle")

    @polite
    def look(frame: dict[str, Any] | None) -> Any:
        if frame is None:
            return gr.skip()
        prediction = desk.predict(desk.received_frame(frame))
        height, width = prediction.depth.shape
        note = f'<p class="measured">Middle of the picture: {prediction.distance(width // 2, height // 2):.2f} m</p>'
        return prediction.colorize(COLOUR_MAPS[0]), note

    camera.stream(
        look,
        camera,
        [live, middle],
        preprocess=False,
        stream_every=0.25,
        time_limit=300,
        concurrency_id="live",
        concurrency_limit=4,
        api_visibility="private",
        show_progress="hidden",
    )


def endpoints(desk: Desk) -> None:
    """What programs call by name, through gradio_client or as MCP tools; each call stands for itself."""

    def handed(path: str) -> gr.FileData:
        return gr.FileData(path=path, orig_name=Path(path).name)

    @polite
    def predict(
        photo: gr.FileData,
        kind: Literal["npy", "png", "npz", "picture"] = "npy",
        horizontal_fov_deg: float | None = None,
    ) -> tuple[dict[str, Any], gr.FileData]:
        """Metric depth of one photo.

        Args:
            photo: an image file.
            kind: of file; npy is float32 metres, png 16-bit millimetres with 0 for no depth, npz all there is to
                know in one file, picture the depth in colours with a scale, for people.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.

        Returns:
            Near, median and far in metres, camera and model; the file.
        """
        endings = {"npy": "depth.npy", "png": "depth.png", "npz": "depth.npz", "picture": "color.jpg"}
        if kind not in endings:
            raise ValueError(f"kind must be one of {', '.join(endings)}, not {kind!r}")
        prediction = desk.predict(desk.received(photo), horizontal_fov_deg)
        path = desk.new_file(f"{Path(prediction.name).stem}_{endings[kind]}")
        if kind == "picture":
            prediction.colorize(COLOUR_MAPS[0]).save(path, quality=92, subsampling=0)
        else:
            save_loudly(prediction, path)
        return facts(prediction), handed(path)

    @polite
    def measure(
        photo: gr.FileData,
        points: list[list[int]],
        horizontal_fov_deg: float | None = None,
        true_metres: float | None = None,
        true_points: list[list[int]] | None = None,
    ) -> dict[str, Any]:
        """A distance in a photo, in metres along a straight line.

        Args:
            photo: an image file.
            points: one pixel [[x, y]], for its distance from the camera; or two, for the distance between them.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.
            true_metres: a length that is known, to calibrate all others.
            true_points: the one or two pixels of that known length.

        Returns:
            `metres`, and `calibration`, the factor by which the known length changed the model's metres.
        """
        prediction = desk.predict(desk.received(photo), horizontal_fov_deg)
        if true_metres is not None:
            prediction = prediction.calibrate_length(pixels(true_points or []), true_metres)
        return {"metres": prediction.length(pixels(points)), "calibration": prediction.calibration}

    @polite
    def solid(
        photo: gr.FileData,
        kind: Literal["glb", "ply", "stl"] = "glb",
        size_mm: float = 100.0,
        horizontal_fov_deg: float | None = None,
    ) -> gr.FileData:
        """A photo as a solid.

        Args:
            photo: an image file.
            kind: glb is a textured surface in metres, ply a coloured point cloud in metres, stl a watertight relief.
            size_mm: longer side of the relief, millimetres.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.

        Returns:
            The file.
        """
        path = desk.received(photo)
        prediction = desk.predict(path, horizontal_fov_deg)
        target = desk.new_file(f"{Path(prediction.name).stem}.{kind}")
        image = read_photo(path, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
        prediction.save(target, image=image, size_mm=size_mm, longest=SOLID_LONGEST)
        return handed(target)

    for function in (predict, measure, solid):
        gr.api(function, api_name=function.__name__, concurrency_id="model")


def look_asked_for(request: gr.Request) -> Look:
    """The colours that the page's address asks for; what makes no sense there is not heeded."""

    def metres(name: str) -> float:
        try:
            return max(0.0, min(float(asked.get(name, 0)), 1e4))
        except ValueError:
            return 0.0

    asked = request.query_params
    cmap = asked.get("cmap")
    return Look(cmap if cmap in COLOUR_MAPS else COLOUR_MAPS[0], metres("near"), metres("far"))


def polite(function: Callable) -> Callable:
    """Tell the visitor in one sentence what cannot be done; a bad file is no error of the server."""

    def told(error: Exception) -> gr.Error:
        if isinstance(error, FileNotFoundError):
            return refusal("The photo is no longer on the server: please choose it again.")
        return refusal(str(error))

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def steps(*values: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from function(*values, **named)
            except (FileNotFoundError, ValueError, IndexError) as error:
                raise told(error) from None

        return steps

    @functools.wraps(function)
    def called(*values: Any, **named: Any) -> Any:
        try:
            return function(*values, **named)
        except (FileNotFoundError, ValueError, IndexError) as error:
            raise told(error) from None

    return called


def pixels(points: Any) -> list[tuple[int, int]]:
    """Points from outside as pixels.

    Raises:
        ValueError: not a list of pairs of whole numbers.
    """
    try:
        return [(int(x), int(y)) for x, y in points]
    except (TypeError, ValueError):
        raise ValueError(f"points must be pairs of pixels, [[x, y], ...], not {points!r}") from None


def parse_points(text: str) -> list[tuple[int, int]]:
    """One point or two as typed, "320, 240   400, 250".

    Raises:
        ValueError: neither two nor four numbers.
    """
    numbers = [int(number) for number in re.findall(r"-?\d+", text)]
    if len(numbers) not in (2, 4):
        raise ValueError("type two numbers for one point, four for two: 320, 240   400, 250")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def refusal(message: str) -> gr.Error:
    # A bad file is the visitor's business: no traceback in the server's log.
    return gr.Error(message, print_exception=False)


def save_loudly(prediction: Prediction, path: str | Path) -> None:
    """Save, and tell the visitor what the file cannot hold."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        prediction.save(path)
    for note in notes:
        gr.Warning(str(note.message))


def facts(prediction: Prediction) -> dict[str, Any]:
    """What is known of a prediction, for the page and for clients."""
    return {
        **{name: round(value, 3) for name, value in prediction.summary()._asdict().items()},
        "horizontal_fov_deg": round(prediction.camera.horizontal_fov_deg, 2),
        "fov_from": prediction.camera_from,
        **prediction.about(),
    }


def readout(prediction: Prediction | None) -> str:
    """The distances and what they rest on, as HTML."""
    values = prediction.summary() if prediction else (None, None, None)
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{'–' if value is None else f'{value:.2f} m'}</dd></div>"
        for name, value in zip(("Near", "Median", "Far"), values, strict=True)
    )
    note = "Choose a photo, paste one, or take one with the camera."
    if prediction:
        source = {
            "exif": "from the photo's EXIF data.",
            "given": "as you said.",
            "assumed": "assumed: the photo does not tell. Another lens would change all distances by one factor.",
        }
        fov = f"{prediction.camera.horizontal_fov_deg:.0f}°, {source.get(prediction.camera_from, 'of unknown origin.')}"
        note = f"Near and far leave out the outermost 2 %. Field of view {fov}"
        if prediction.calibration != 1:
            note = f'<span class="calibrated">Calibrated × {prediction.calibration:.3f}</span> {note}'
    return f'<dl class="readout">{tiles}</dl><p class="note" role="status">{note}</p>'


def measurement(prediction: Prediction | None, points: list[tuple[int, int]]) -> str:
    """What was measured, as HTML."""
    if not points:
        return '<p class="note" role="status">One point tells its distance from the camera, two the line between.</p>'
    places = " and ".join(f"({x}, {y})" for x, y in points)
    what = f"from the camera to {places}" if len(points) == 1 else f"in a straight line between {places}"
    true = ", calibrated" if prediction.calibration != 1 else ""
    length = f'<span class="measured">{prediction.length(points):.2f} m</span>'
    return f'<p class="note" role="status">{length} {what}{true}</p>'


def video_note(report: VideoReport | None) -> str:
    """What the smoothing has done, as HTML."""
    text = f"At most {MOST_FRAMES} frames at 15 a second; the colours mean the same throughout."
    if report:
        text = f"{report.frames} frames, colours from {report.near:.2f} to {report.far:.2f} m."
        if report.flicker_before == report.flicker_before:  # NaN where nothing stood still
            before, after = 100 * report.flicker_before, 100 * report.flicker_after
            text += f" Flicker where the picture stands still: {before:.2f} % before, {after:.2f} % after smoothing."
    return f'<p class="note" role="status">{text}</p>'


def scale_bar(cmap: str | None, span: tuple[float, float] | None) -> str:
    """The colours with their metres, as HTML."""
    if span is None:
        return '<div class="scale"></div>'
    near, far = span
    ticks = "".join(f"<span>{near + (far - near) * part / 4:.2f} m</span>" for part in range(5))
    ramp = ", ".join(colour_steps(cmap))
    return (
        f'<div class="scale" role="img" aria-label="Colours from {near:.2f} to {far:.2f} metres">'
        f'<div class="ramp" style="background: linear-gradient(to right, {ramp})"></div>'
        f'<div class="ticks">{ticks}</div></div>'
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python app.py",
        description="Serve the page: a photo goes in, its depth in metres comes out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    # A Space says by these variables where it expects the page.
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), int(os.environ.get("GRADIO_SERVER_PORT", 7860))
    made.add_argument("--host", default=host, help="address to listen at; 0.0.0.0 lets the network in")
    made.add_argument("--port", type=int, default=port, help="port to listen at")
    made.add_argument("--mcp", action="store_true", help="serve the endpoints as MCP tools too, at /gradio_api/mcp")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; 2 if it could not begin."""
    options = parser().parse_args(arguments)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        print('error: --mcp needs another package: pip install "gradio[mcp]"', file=sys.stderr)
        return 2
    try:
        model = DepthUNet.from_pretrained(options.model)
        page = build(model)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Ended by a service manager as by Ctrl-C: gradio then deletes what visitors have left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "model": model.name, "revision": model.revision})

    try:
        page.launch(
            server_name=options.host,
            server_port=options.port,
            theme=THEME,
            css=CSS,
            max_file_size=LARGEST_FILE,
            footer_links=["api", "settings"],
            share=False,
            mcp_server=options.mcp,
            app_kwargs={"routes": [Route("/health", health)]},
        )
    except (OSError, OverflowError):
        print(f"error: cannot listen at {options.host}:{options.port}; is another program there?", file=sys.stderr)
        return 2
    finally:
        forget_visitors(page)
    return 0


def forget_visitors(page: gr.Blocks) -> None:
    """Delete what visitors have left; gradio does so too, unless an open connection keeps it from ending in time."""
    cache = Path(page.GRADIO_CACHE).resolve()
    for path in {Path(path).resolve() for kept in page.temp_file_sets for path in kept}:
        if path.is_relative_to(cache):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
