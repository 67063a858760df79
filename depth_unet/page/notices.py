"""What a visitor reads: results as HTML, refusals in one sentence, warnings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from depth_unet.prediction import Prediction

GONE = "The photo is no longer on the server: please choose it again."


@contextmanager
def refusals() -> Iterator[None]:
    """Report a file or value that cannot be used in one sentence: `@refusals()`, or `with` in a generator."""
    try:
        yield
    except (FileNotFoundError, ValueError, IndexError) as error:
        sentence = GONE if isinstance(error, FileNotFoundError) else str(error)
        # Not an error of the server: no traceback in its log.
        raise gr.Error(sentence, print_exception=False) from None


def save_and_warn(prediction: Prediction, path: str | Path) -> None:
    """Save, and report what the file cannot hold."""
    prediction.save(path, warn=False)
    if lost := prediction.lost(Path(path).suffix):
        gr.Warning(f"{Path(path).name}: {lost}")


def facts(prediction: Prediction) -> dict[str, Any]:
    """What is known of a prediction, for the page and for clients."""
    return {
        **{name: round(value, 3) for name, value in prediction.summary()._asdict().items()},
        "horizontal_fov_deg": round(prediction.camera.horizontal_fov_deg, 2),
        "fov_from": prediction.camera_from,
        **prediction.about(),
    }


def readout(prediction: Prediction | None) -> str:
    """The distances and the camera that they depend on, as HTML."""
    values = prediction.summary() if prediction else (None, None, None)
    tiles = "".join(
        f"<div><dt>{name}</dt><dd>{'–' if value is None else f'{value:.2f} m'}</dd></div>"
        for name, value in zip(("Near", "Median", "Far"), values, strict=True)
    )
    text = "Choose a photo, paste one, or take one with the camera."
    if prediction:
        source = {
            "exif": "from the photo's EXIF data.",
            "given": "as you said.",
            "assumed": "assumed: the photo has no EXIF focal length. Another lens scales all distances by one factor.",
        }
        fov = f"{prediction.camera.horizontal_fov_deg:.0f}°, {source.get(prediction.camera_from, 'of unknown origin.')}"
        text = f"Near and far leave out the outermost 2 %. Field of view {fov}"
        if prediction.calibration != 1:
            text = f'<span class="calibrated">Calibrated × {prediction.calibration:.3f}</span> {text}'
    return f'<dl class="readout">{tiles}</dl>{note(text)}'


def measurement(prediction: Prediction | None, points: list[tuple[int, int]]) -> str:
    """What was measured, as HTML."""
    if not points:
        return note("One point gives its distance from the camera, two the line between them.")
    places = " and ".join(f"({x}, {y})" for x, y in points)
    what = f"from the camera to {places}" if len(points) == 1 else f"in a straight line between {places}"
    true = ", calibrated" if prediction.calibration != 1 else ""
    return note(f'<span class="measured">{prediction.length(points):.2f} m</span> {what}{true}')


def note(text: str) -> str:
    """A line that screen readers announce when it changes, as HTML."""
    return f'<p class="note" role="status">{text}</p>'
