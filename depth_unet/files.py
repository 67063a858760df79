"""Atomic writing of files, and the file formats of depth maps."""

import hashlib
import itertools
import json
import math
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

MILLIMETRES_MAX = 65535  # the largest depth in a 16-bit PNG
METRES_PER_UNIT = 0.001  # of a 16-bit PNG whose text chunk has no other
UNIT_KEY = "metres_per_unit"
READABLE = (".npy", ".npz", ".png")  # a sidecar belongs to the first of these that exists

_UNFINISHED = ".part"
_counter = itertools.count()


@contextmanager
def finished_or_absent(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path for a file that gets its final name only when it is complete.

    It has the same folder and suffix. When the block ends without an exception, the file is flushed to the disk and
    renamed; otherwise it is deleted, and an older file under the final name is unchanged.

    Args:
        path: the final name; a symbolic link is followed.

    Raises:
        OSError: the folder does not exist, is not writable, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with finished_or_absent(f"{folder}/a.txt") as place:
        ...         _ = place.write_text("complete")
        ...     os.listdir(folder)
        ['a.txt']
    """
    path = Path(os.path.realpath(path))
    unique = f"{os.getpid()}-{threading.get_ident()}-{next(_counter)}"
    place = path.with_name(f".{path.stem[:100]}.{unique}{_UNFINISHED}{path.suffix}")
    try:
        yield place
        with place.open("rb+") as file:
            os.fsync(file.fileno())
        place.replace(path)
    except BaseException:  # also after Ctrl-C
        with suppress(OSError):
            place.unlink(missing_ok=True)
        raise


def write_atomically(path: str | os.PathLike, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write a whole file or none; an older one is replaced only at the end.

    Args:
        path: file to write.
        content: text (as UTF-8), bytes, or a function that writes to a binary file.

    Raises:
        OSError: as `finished_or_absent`.
    """
    with finished_or_absent(path) as place, place.open("wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Write indented JSON with `write_atomically`."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_unfinished(folder: Path) -> None:
    """Delete temporary files that killed processes left in a folder; call it only while holding the folder's lock."""
    for place in folder.glob(f".*{_UNFINISHED}*"):
        with suppress(OSError):
            place.unlink()


def write_png(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """Write 16-bit grey, 0 for no depth, with `about` in the text chunk "depth".

    One step is a millimetre, or `about["metres_per_unit"]`. Warns where a depth does not fit into 16 bits.
    """
    step = about.get(UNIT_KEY, METRES_PER_UNIT)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.rint(np.asarray(depth, np.float32) / np.float32(step))
        fits = (steps >= 0) & (steps <= MILLIMETRES_MAX)
    if not fits.all():
        warnings.warn(
            f"{path.name}: {(~fits).sum()} pixels beyond {MILLIMETRES_MAX * step:g} m are saved as 0 (no depth); "
            "use .npy or .npz to keep them",
            stacklevel=3,
        )
        steps = np.where(fits, steps, 0)
    info = PngInfo()
    info.add_text("depth", json.dumps(about))
    image = Image.fromarray(steps.astype(np.uint16))
    # Higher levels take ten times as long for a tenth of the size.
    write_atomically(path, lambda file: image.save(file, "PNG", pnginfo=info, compress_level=1))


def png_step(depth: np.ndarray) -> float:
    """The finest step of `write_png` with which a whole depth map fits, whole millimetres, in metres.

    Example:
        >>> png_step(np.array([[65.0]])), png_step(np.array([[80.0]]))
        (0.001, 0.002)
    """
    farthest = float(np.max(depth, initial=0.0, where=np.isfinite(depth)))
    return max(1, math.ceil(farthest * 1000 / MILLIMETRES_MAX)) / 1000


def write_npy(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """Write float32 metres; `about` belongs into a sidecar."""
    write_atomically(path, lambda file: np.save(file, depth, allow_pickle=False))


def write_npz(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """Write `depth`, float32 metres, and `about`, JSON text."""
    write_atomically(path, lambda file: np.savez_compressed(file, depth=depth, about=np.array(json.dumps(about))))


def write_sidecar(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """Write `about` as JSON, for a depth map of the same name beside it."""
    write_json(path, about)


def read_depth(path: Path, mmap: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a depth map and its description.

    Args:
        path: .png, .npy, .npz, or the .json beside one of them.
        mmap: map a .npy into memory instead of reading it.

    Returns:
        Depth, (H, W) float32 metres; its description, {} without one.

    Raises:
        FileNotFoundError: no such file, or no depth map beside the sidecar.
        ValueError: another suffix, or not a file that this package writes.
    """
    suffix = path.suffix.lower()
    if suffix not in (*READABLE, ".json"):
        raise ValueError(f"cannot load {path.name!r}: the suffix must be one of {', '.join(READABLE)}, .json")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name}")
    try:
        if suffix == ".json":
            beside = [path.with_suffix(other) for other in READABLE if path.with_suffix(other).is_file()]
            if not beside:
                raise FileNotFoundError(f"there is no depth map ({', '.join(READABLE)}) beside {path.name}")
            depth, _ = read_depth(beside[0], mmap)
            about = json.loads(path.read_text("utf-8"))
        elif suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                depth, about = arrays["depth"], json.loads(str(arrays["about"]))
        elif suffix == ".npy":
            depth = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
            sidecar = path.with_suffix(".json")
            about = json.loads(sidecar.read_text("utf-8")) if sidecar.is_file() else {}
        else:
            depth, about = _read_png(path)
    except FileNotFoundError:
        raise
    except (KeyError, EOFError, SyntaxError, OSError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        # Without the error's text, which may contain the whole path.
        raise ValueError(f"{path.name} is damaged or not a depth map of this package") from error
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if depth.ndim != 2 or depth.dtype != np.float32 or not isinstance(about, dict):
        raise ValueError(f"{path.name} holds {depth.dtype} of shape {depth.shape}, not (H, W) float32 metres")
    return depth, about


def _read_png(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    with Image.open(path) as image:
        if image.mode not in ("I;16", "I;16B", "I"):
            raise ValueError(f"a depth map is a 16-bit grey PNG, this one is of mode {image.mode}")
        about = json.loads(image.text.get("depth", "{}"))
        step = about.get(UNIT_KEY, METRES_PER_UNIT) if isinstance(about, dict) else METRES_PER_UNIT
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
            raise ValueError(f"{UNIT_KEY} must be a positive number, not {step!r}")
        return np.asarray(image).astype(np.float32) * np.float32(step), about
