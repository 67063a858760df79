"""What visitors and programs send, checked by its type; what cannot be used is refused in one sentence."""

import functools
import html
import inspect
import logging
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta
from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SkipValidation,
    ValidationError,
    WrapValidator,
    create_model,
)

GONE = "The photo is no longer on the server: please choose it again."
REFUSED = (FileNotFoundError, IndexError, ValueError)


def between(least: float, most: float) -> Any:
    """The type of a number in a range; neither NaN, a truth value nor text is one."""

    def check(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}, not {reprlib.repr(value)}")
        return float(value)

    return Annotated[float, PlainValidator(check)]


def _pixels(value: Any, check: Callable[[Any], list[list[int]]]) -> list[list[int]]:
    try:
        return check(value)
    except ValidationError:
        what = f"one or two pixels, [[x, y]] or [[x, y], [x, y]], not {reprlib.repr(value)}"
        raise ValueError(f"must be {what}") from None


_whole = BeforeValidator(lambda value: value if type(value) in (int, float) else None)
_Side = Annotated[int, _whole, Field(ge=-1e6, le=1e6)]
_Pixel = Annotated[list[_Side], Field(min_length=2, max_length=2)]
Pixels = Annotated[list[_Pixel], Field(min_length=1, max_length=2), WrapValidator(_pixels)]
Degrees = between(1, 179)
Photo = Annotated[gr.FileData, SkipValidation]  # for `received`


def received(sent: Any) -> Path:
    """The uploaded file that the browser or a client means.

    gradio takes files with its mark from its own folder only; what has no mark may name any file on the server.
    """
    sent = sent["video"] if isinstance(sent, dict) and "video" in sent else sent
    if not is_file_obj_with_meta(sent):
        raise ValueError("the photo must be uploaded as a file")
    if not (path := Path(sent["path"])).is_file():
        raise FileNotFoundError(GONE)
    return path


def sentence_of(error: Exception) -> str:
    """Why something is refused."""
    if not isinstance(error, ValidationError):
        return GONE if isinstance(error, FileNotFoundError) else str(error)
    wrong = error.errors()[0]
    reason = f"{wrong['msg'].replace('Input should', 'must')}, not {reprlib.repr(wrong['input'])}"
    return f"{'.'.join(map(str, wrong['loc'])) or 'this'} {wrong.get('ctx', {}).get('error', reason)}"


@contextmanager
def refusals() -> Iterator[None]:
    """Refuse what cannot be used; what else fails is logged, and its text stays on the server."""
    try:
        yield
    except gr.Error:
        raise
    except REFUSED as error:  # no error of the server: no traceback in its log
        raise gr.Error(sentence_of(error), print_exception=False) from None
    except Exception:
        logging.getLogger(__name__).exception("a request failed")
        raise gr.Error("The server failed at this request.", print_exception=False) from None


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint that refuses arguments that do not fit its annotations; the last ones may be left out."""
    parameters = inspect.signature(function).parameters.items()
    fields = {name: (p.annotation, ... if p.default is p.empty else p.default) for name, p in parameters}
    # Not `validate_call`: its frames of Rust abort a process that ends while the function runs.
    model = create_model(function.__name__, **fields)

    @functools.wraps(function)
    def call(*values: Any) -> Any:
        with refusals():
            return function(**dict(model.model_validate(dict(zip(fields, values, strict=False)))))

    return call


def note(text: str, role: str = "status") -> str:
    """A line that screen readers announce when it changes, as HTML."""
    return f'<p class="note" role="{role}">{html.escape(text)}</p>'
