"""What a visitor reads: results as HTML, refusals in one sentence, warnings."""

import html
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


def note(text: str, role: str = "status") -> str:
    """A line that screen readers announce when it changes, as HTML."""
    return f'<p class="note" role="{role}">{html.escape(text)}</p>'
