"""The tab for one photo: its depth in colours, measurements, solids and files."""

import re
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from depth_unet.camera import Camera
from depth_unet.page.components import PICTURE_HEIGHT, PRIVATE, QUIET, download, picture
from depth_unet.page.look import COLOUR_MAPS, SHOWN_LONGEST, Look, look_of_address, scale_bar
from depth_unet.page.marks import draw_marks
from depth_unet.page.notices import facts, measurement, readout, refusals, save_and_warn
from depth_unet.page.upload import upload_controls
from depth_unet.page.visits import Record, Visits, save_picture
from depth_unet.prediction import Prediction

EXAMPLES = sorted(map(str, Path(__file__).with_name("examples").glob("*.jpg")))
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
TYPED = "320, 240   400, 250"
# The default colours stay out of the address.
ADDRESS = f'(cmap, near, far) => depthPage.updateAddress(cmap === "{COLOUR_MAPS[0]}" ? "" : cmap, near, far)'


def photo_view(visits: Visits) -> None:
    """Build the tab."""
    record, points = gr.State(None), gr.State([])
    with gr.Row():
        with gr.Column():
            webcam, sources = gr.WebcamOptions(mirror=False), ["upload", "webcam", "clipboard"]
            source = picture(
                label="Photo", alt_text="The photo", elem_id="photo", sources=sources, webcam_options=webcam
            )
            examples = gr.Examples([[path] for path in EXAMPLES], source, label="No photo at hand? Take one of these")
            remove = upload_controls(visits.page, source)
        with gr.Column(), gr.Tabs():
            with gr.Tab("See", render_children=True):
                options = {"type": "filepath", "interactive": False, "buttons": ["fullscreen"], "max_height": 420}
                slider = gr.ImageSlider(label="Photo and depth", elem_id="slider", **options)
                scale = gr.HTML(scale_bar(None, None), label="Scale")
                with gr.Row():
                    cmap = gr.Dropdown(COLOUR_MAPS, value=COLOUR_MAPS[0], label="Colours", min_width=120)
                    near = gr.Number(0, label="Near, m (0: auto)", min_width=90)
                    far = gr.Number(0, label="Far, m (0: auto)", min_width=90)
            with gr.Tab("Measure", render_children=True):
                texts = {"label": "Click a point, or two", "alt_text": "The photo, with the points that are measured"}
                marked = picture(**texts, interactive=False, elem_classes="clickable")
                measured = gr.HTML(measurement(None, []), label="Measured")
                with gr.Row():
                    metres = gr.Number(None, label="True length, m", min_width=110)
                    calibrate = gr.Button("Calibrate", size="md", variant="primary", min_width=100)
                    undo = gr.Button("Undo", size="md", min_width=80)
                    clear = gr.Button("Clear points", size="md", min_width=110)
                with gr.Accordion("Points by keyboard", open=False), gr.Row():
                    typed = gr.Textbox(label="Pixels x, y of one point or two", placeholder=TYPED, scale=3)
            with gr.Tab("3-D", render_children=True):
                options = {"interactive": False, "clear_color": (0.5, 0.5, 0.5, 0), "camera_position": (90, 90, None)}
                space = gr.Model3D(label="Drag to turn, scroll to come closer", height=PICTURE_HEIGHT, **options)
                with gr.Row():
                    size_mm = gr.Number(100, label="Longer side of the print, mm", minimum=10, maximum=1000)
                    solid = gr.Button("Build", size="md", variant="primary")
                with gr.Row(visible=False) as solids:
                    in_space = [space, *map(download, ("GLB (surface)", "PLY (points)", "STL (to print)"))]
    with gr.Row(equal_height=True):
        with gr.Column(scale=4):
            distances = gr.HTML(readout(None), label="Distances")
        with gr.Column(scale=1, min_width=190):
            fov = gr.Number(None, label="Field of view, degrees", minimum=1, maximum=179, precision=1)
    with gr.Row(visible=False) as downloads:
        labels = "PNG (16-bit, mm)", "NPY (metres)", "NPZ (all in one)", "JSON (about)", "Picture in colours"
        png, npy, npz, sidecar, coloured = map(download, labels)
    with gr.Accordion("Camera and model", open=False):
        about = gr.JSON(label="About the depth map", show_label=False)

    look = [cmap, near, far]
    views = [record, points, slider, scale, marked, measured, distances, about, fov, npy, sidecar]
    rest = [png, npz, coloured]
    unqueued = {"queue": False, **PRIVATE}

    def shown(known: Record | None, chosen: list, *look: Any) -> list[Any]:
        """A value for each of `views`."""
        if known is None:
            return [None, [], None, scale_bar(None, None), None, measurement(None, []), readout(None), *[None] * 4]
        prediction = known.prediction
        pictures = *colours(known, prediction, Look.chosen(*look)), *marks(known, prediction, chosen)
        fov_deg, files = round(prediction.camera.horizontal_fov_deg, 1), map(known.path, ("depth.npy", "depth.json"))
        return [known, chosen, *pictures, readout(prediction), facts(prediction), fov_deg, *files]

    def colours(known: Record, prediction: Prediction, look: Look) -> tuple[tuple[str, str], str]:
        near, far = look.range_of(prediction)
        path = known.new_picture("color.jpg")
        save_picture(prediction.shrink(SHOWN_LONGEST).colorize(look.cmap, near, far, scale_bar=False), path)
        return (known.path("photo.jpg"), path), scale_bar(look.cmap, (near, far))

    def marks(known: Record, prediction: Prediction, chosen: list) -> tuple[str, str]:
        photo = known.photo
        ratio = photo.width / prediction.camera.width
        label = f"{prediction.length(chosen):.2f} m" if chosen else ""
        path = known.new_picture("marked.jpg")
        save_picture(draw_marks(photo, [((x + 0.5) * ratio, (y + 0.5) * ratio) for x, y in chosen], label), path)
        return path, measurement(prediction, chosen)

    @refusals()
    def take(photo: dict[str, Any] | None, last: Record | None, *look: Any) -> list[Any]:
        if photo is None:
            return [gr.skip(), *shown(None, [], *look)]
        path = visits.received(photo)
        known = visits.keep(visits.predict(path), path, last)
        visible = gr.skip() if path.suffix.lower() in SHOWN_BY_BROWSERS else known.path("photo.jpg")
        return [visible, *shown(known, [], *look)]

    @refusals()
    def redraw(known: Record | None, *look: Any) -> Any:
        return colours(known, known.prediction, Look.chosen(*look)) if known else gr.skip()

    @refusals()
    def mark(known: Record | None, chosen: list, click: gr.SelectData) -> Any:
        if known is None:
            return gr.skip()
        prediction = known.prediction
        with Image.open(known.path("photo.jpg")) as photo:
            ratio = prediction.camera.width / photo.width
        height, width = prediction.depth.shape
        try:
            x, y = (max(0, int((side + 0.5) * ratio)) for side in click.index)
        except (TypeError, ValueError, OverflowError):
            raise ValueError("click in the picture") from None
        # The third click starts a new measurement.
        chosen = [*(chosen if len(chosen) < 2 else []), (min(x, width - 1), min(y, height - 1))]
        return chosen, *marks(known, prediction, chosen)

    @refusals()
    def mark_typed(known: Record | None, text: str) -> Any:
        if known is None:
            return gr.skip()
        chosen = parse_points(text)
        return chosen, *marks(known, known.prediction, chosen)

    @refusals()
    def unmark(known: Record | None) -> Any:
        return ([], *marks(known, known.prediction, [])) if known else gr.skip()

    @refusals()
    def rescale(known: Record | None, chosen: list, metres: float | None, *look: Any) -> list[Any]:
        if known is None or not chosen:
            raise ValueError("click a point or two in the picture first, then type what you measured there")
        if not metres:
            raise ValueError("type the true length in metres")
        true = known.prediction.calibrate_length(chosen, metres)
        return shown(visits.keep(true, known.photo, known), chosen, *look)

    @refusals()
    def forget_scale(known: Record | None, chosen: list, *look: Any) -> Any:
        if known is None or known.prediction.calibration == 1:
            return gr.skip()
        return shown(visits.keep(known.prediction.uncalibrated(), known.photo, known), chosen, *look)

    @refusals()
    def change_camera(known: Record | None, chosen: list, fov_deg: float | None, *look: Any) -> Any:
        if known is None or fov_deg is None:
            return gr.skip()
        prediction = known.prediction
        if abs(prediction.camera.horizontal_fov_deg - fov_deg) < 0.06:
            return gr.skip()  # the field lost the focus unchanged: the camera is still the photo's own
        height, width = prediction.depth.shape
        changed = prediction.with_camera(Camera.from_fov(width, height, fov_deg))
        return shown(visits.keep(changed, known.photo, known), chosen, *look)

    @refusals()
    def write_rest(known: Record | None, *look: Any) -> tuple[Any, ...]:
        if known is None:
            return None, None, None, gr.Row(visible=False)
        prediction, look = known.prediction, Look.chosen(*look)
        paths = [known.path(ending) for ending in ("depth.png", "depth.npz", "color.png")]
        save_and_warn(prediction, paths[0])
        prediction.save(paths[1])
        save_picture(prediction.colorize(look.cmap, *look.range_of(prediction)), paths[2])
        # The row, not its buttons: gradio does not track the files of a changed button and never deletes them.
        return *paths, gr.Row(visible=True)

    @refusals()
    def build_solid(known: Record | None, size_mm: float | None) -> tuple[Any, ...]:
        if known is None:
            raise ValueError("choose a photo first")
        if not size_mm:
            raise ValueError("type the size of the print in millimetres")
        prediction, photo = known.prediction, known.photo
        paths = [str(known.folder / f"{known.stem}.{kind}") for kind in ("glb", "ply", "stl")]
        for path in paths:
            prediction.save(path, image=photo, size_mm=size_mm)
        summary = prediction.summary()
        # The viewer turns around the middle of the surface: from a step behind the photo's camera all of it shows.
        stand = (90, 90, 1.3 * (summary.near + summary.far) / 2)
        return gr.Model3D(paths[0], camera_position=stand), *paths, gr.Row(visible=True)

    def finish(changed: gr.events.Dependency) -> None:
        """After a new depth map: write its files, and clear the solids of the last one."""
        changed.success(None, js="() => depthPage.show('#slider')", **PRIVATE)
        changed.success(lambda: [*[None] * 4, gr.Row(visible=False)], None, [*in_space, solids], **unqueued)
        written = changed.success(write_rest, [record, *look], [*rest, downloads], **PRIVATE)
        written.then(None, look, js=ADDRESS, **PRIVATE)

    def begin(predicted: gr.events.Dependency) -> None:
        finish(predicted)
        # After a bad file clear the results of the last photo, and the file, which no browser can show.
        everything = [source, *views, *rest, *in_space, downloads, solids]
        predicted.failure(
            lambda: [None, *shown(None, []), *[None] * 7, *[gr.Row(visible=False)] * 2], None, everything, **unqueued
        )

    # Without preprocessing the file arrives as it was sent; gr.Image re-encodes some and fails on others.
    run = {"fn": take, "inputs": [source, record, *look], "outputs": [source, *views], "preprocess": False}
    run |= {"concurrency_id": "model", **PRIVATE}
    # `input` fires once for each photo; `change` fires twice where one photo replaces another.
    begin(remove.click(lambda: None, None, source, **QUIET).then(**run))
    begin(source.input(**run, trigger_mode="always_last"))
    begin(examples.load_input_event.then(**run))

    quiet = {**QUIET, "trigger_mode": "always_last"}
    opened = visits.page.load(look_of_address, None, look, **quiet)
    opened.then(None, js="() => depthPage.takeExample()", **quiet)
    triggers = [cmap.input, near.submit, near.blur, far.submit, far.blur]
    chosen = gr.on(triggers, redraw, [record, *look], [slider, scale], **quiet)
    chosen.success(write_rest, [record, *look], [*rest, downloads], **quiet)
    chosen.success(None, look, js=ADDRESS, **quiet)
    marking = [points, marked, measured]
    marked.select(mark, [record, points], marking, **quiet)
    typed.submit(mark_typed, [record, typed], marking, **quiet)
    clear.click(unmark, record, marking, **quiet)
    change = {**PRIVATE, "outputs": views}
    finish(gr.on([calibrate.click, metres.submit], rescale, [record, points, metres, *look], **change))
    finish(undo.click(forget_scale, [record, points, *look], **change))
    finish(gr.on([fov.submit, fov.blur], change_camera, [record, points, fov, *look], **change))
    solid.click(build_solid, [record, size_mm], [*in_space, solids], **PRIVATE)


def parse_points(text: str) -> list[tuple[int, int]]:
    """One point or two as typed, like `TYPED`.

    Raises:
        ValueError: neither two nor four numbers.
    """
    numbers = [int(number) for number in re.findall(r"-?\d+", text)]
    if len(numbers) not in (2, 4):
        raise ValueError(f"type two numbers for one point, four for two: {TYPED}")
    return list(zip(numbers[::2], numbers[1::2], strict=True))
