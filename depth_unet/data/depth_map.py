"""Depth maps in files: 16-bit PNG, .npy and .npz, of any program."""

import io
import zipfile
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from depth_unet.files import METRES_PER_UNIT, UNIT_KEY
from depth_unet.images import MAX_PIXELS
from depth_unet.reading import LARGEST_TEXT, parse_json, read_array

NO_DEPTH = 65535  # of 16-bit files: what sensors write for "too far" or "unknown"


def parse_unit(text: str | float) -> float:
    """Metres of one step of an integer depth map, given as a number or a fraction such as "1/5000".

    Raises:
        ValueError: not a positive number.
    """
    steps, slash, of = str(text).partition("/")
    try:
        unit = float(steps) / float(of if slash else 1)
    except (ValueError, ZeroDivisionError):
        unit = 0.0
    if not 0 < unit < float("inf"):
        raise ValueError(f"metres per unit must be a positive number or fraction, e.g. 0.001 or 1/5000, not {text!r}")
    return unit


class DepthMap(NamedTuple):
    """A depth map and what its file says about it.

    Args:
        depth: (H, W) float32 metres; 0, NaN or infinite where not measured.
        about: of a prediction of this package: its camera, model and more; {} of other depth maps.
    """

    depth: np.ndarray
    about: dict[str, Any]


def parse_depth(content: bytes, name: str, unit: float, beside: bytes | None = None) -> DepthMap:
    """Parse the bytes of a depth map.

    Args:
        content: of the file.
        name: of the file, for its suffix and for errors.
        unit: metres of one step of integers, unless the description contains another.
        beside: content of a .json of the same name.

    Raises:
        ValueError: not a depth map, damaged or too large.
    """
    try:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix == ".npz":
            values, text = _from_npz(content)
        elif suffix == ".npy":
            values, text = read_array(io.BytesIO(content)), beside
        else:
            values, text = _from_png(content)
        while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
            values = values[0] if values.shape[0] == 1 else values[..., 0]
        if values.ndim != 2 or not 0 < values.size <= MAX_PIXELS:
            raise ValueError(f"its shape is {values.shape}, not (height, width)")
    except ValueError as error:
        raise ValueError(f"{name} cannot be used as a depth map: {error}") from error
    about = parse_about(text)
    if values.dtype.kind in "iu":
        if about:
            unit = parse_unit(about.get(UNIT_KEY, METRES_PER_UNIT))
        elif values.dtype.itemsize == 2:
            values = np.where(values == NO_DEPTH, 0, values)
        return DepthMap(values.astype(np.float32) * np.float32(unit), about)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite after it: no measurement
        return DepthMap(values.astype(np.float32), about)


def parse_about(text: bytes | str | None) -> dict[str, Any]:
    """The description that this package writes into or beside its depth maps; {} if the text is another."""
    try:
        about = parse_json(text or b"{}")
    except ValueError:
        return {}
    return about if isinstance(about, dict) and about.get("unit") == "metre" and "camera" in about else {}


def is_depth_map(content: bytes) -> bool:
    """Whether a .png is a 16-bit depth map, or a coloured one of this package, and not a picture."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return image.mode.startswith("I") or "depth" in image.info
    except Exception:  # damaged: reported when it is read as the picture that it may be
        return False


def _from_png(content: bytes) -> tuple[np.ndarray, str | None]:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if not image.mode.startswith("I"):
                raise ValueError(f"it is a picture of mode {image.mode}, not a 16-bit depth map")
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width}x{image.height} pixels, at most {MAX_PIXELS:,} are read")
            return np.array(image).astype(np.uint16), image.info.get("depth")
    except ValueError:
        raise
    except Exception as error:  # decoders raise errors of many classes
        raise ValueError(f"it is not a PNG, or damaged ({type(error).__name__})") from error


def _from_npz(content: bytes) -> tuple[np.ndarray, str | None]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            wanted = "depth.npy" if "depth.npy" in names or len(names) != 1 else names[0]
            if wanted not in names:
                raise ValueError(f"it has no array 'depth', but {', '.join(names)[:200] or 'none'}")
            with archive.open(wanted) as file:
                depth = read_array(file)
            if "about.npy" not in names:
                return depth, None
            with archive.open("about.npy") as file:
                return depth, str(read_array(file, "U", LARGEST_TEXT))
    except ValueError:
        raise
    except Exception as error:  # zipfile and its decompressors raise errors of many classes
        raise ValueError(f"it is not a .npz archive, or damaged ({type(error).__name__})") from error
