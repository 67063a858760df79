"""Read what others wrote: files of bounded size, strict JSON, cameras, and arrays without pickles."""

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from depth_unet.camera import Camera

LARGEST_FILE = 1 << 30  # bytes; of pictures and depth maps
LARGEST_TEXT = 1 << 26  # bytes; of JSON and tables
LARGEST_INTEGER = 1 << 53  # what a JSON number holds exactly
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_bytes(path: str | os.PathLike, most: int = LARGEST_FILE) -> bytes:
    """The content of a file of at most `most` bytes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder or a device, or too large.
    """
    path = Path(path)
    if not path.is_file():
        if path.exists():
            raise ValueError(f"{path.name} is a folder or a device, not a file")
        raise FileNotFoundError(f"there is no file {path.name}")
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path.name} has {size:,} bytes; at most {most:,} are read")
    return path.read_bytes()


def parse_json(content: bytes | str) -> Any:
    """Parse JSON as its standard defines it: NaN and infinite numbers are refused, as is deep nesting.

    Raises:
        ValueError: not JSON.

    Example:
        >>> parse_json(b'{"fx": Infinity}')
        Traceback (most recent call last):
        ValueError: Infinity is not a finite number
    """

    def refuse(text: str) -> None:
        raise ValueError(f"{text[:20]} is not a finite number")

    def real(text: str) -> float:
        return float(text) if math.isfinite(float(text)) else refuse(text)

    def integer(text: str) -> int:
        return int(text) if len(text) < 20 and abs(int(text)) <= LARGEST_INTEGER else refuse(text)

    try:
        values = json.loads(content, parse_constant=refuse, parse_float=real, parse_int=integer)
        json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate could be neither printed nor saved
        return values
    except UnicodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | os.PathLike) -> Any:
    """Parse a JSON file; the errors are those of `read_bytes` and `parse_json`, and name the file."""
    content = read_bytes(path, LARGEST_TEXT)
    try:
        return parse_json(content)
    except ValueError as error:
        raise ValueError(f"{Path(path).name} cannot be used: {error}") from error


def parse_camera(values: Any) -> Camera:
    """A camera from the contents of a JSON file, with every value plausible.

    Raises:
        ValueError: a value is missing, unknown, not a number, or impossible for a camera.

    Example:
        >>> parse_camera({"width": 640, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240}).fx
        500.0
    """
    if not isinstance(values, dict) or set(values) != set(Camera._fields):
        raise ValueError(f"a camera needs the numbers {', '.join(Camera._fields)}, not {_shortened(values)}")
    if not all(type(value) in (int, float) for value in values.values()):
        raise ValueError(f"the values of a camera must be numbers, not {_shortened(values)}")
    width, height = values["width"], values["height"]
    if not all(float(side).is_integer() and 1 <= side <= 1_000_000 for side in (width, height)):
        raise ValueError(
            f"a camera needs an image of 1 to 1,000,000 whole pixels along each side, not {width}x{height}"
        )
    longest = max(width, height)
    if not all(1e-3 * longest <= values[name] <= 1e3 * longest for name in ("fx", "fy")):
        raise ValueError(
            f"focal lengths of {values['fx']} and {values['fy']} px do not fit an image of {width}x{height}"
        )
    if not all(abs(values[name]) <= 10 * longest for name in ("cx", "cy")):
        raise ValueError(f"a centre at {values['cx']}, {values['cy']} px does not fit an image of {width}x{height}")
    return Camera.from_dict(values)


def read_array(file: BinaryIO, kinds: str = "iuf", most: int = LARGEST_FILE) -> np.ndarray:
    """Read the content of a .npy; memory is taken only after the header is checked.

    Args:
        file: at the beginning of the array.
        kinds: accepted kinds of numpy types: "b" bool, "i" and "u" integer, "f" real, "U" text.
        most: bytes.

    Raises:
        ValueError: not such an array, of another kind, too large or cut off.
    """
    try:
        shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception as error:  # numpy's parser raises errors of many classes, tokenizer errors among them
        raise ValueError("it is not a .npy array") from error
    if dtype.kind not in kinds:
        raise ValueError(f"it holds {'pickled objects' if dtype.hasobject else dtype}, not numbers")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > most:
        raise ValueError(f"its shape {_shortened(shape)} is impossible or takes more than {most:,} bytes")
    content = file.read(size)
    if len(content) != size:
        raise ValueError(f"it is cut off: {len(content):,} of {size:,} bytes are there")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _shortened(values: Any) -> str:
    text = repr(values)
    return text if len(text) <= 200 else text[:200] + "..."
