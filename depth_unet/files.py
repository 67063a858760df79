"""Files: the one way to write them, whole or not at all, and the formats of a depth map."""

import itertools
import json
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

MILLIMETRES_MAX = 65535  # the farthest that a 16-bit PNG in millimetres can say
READABLE = (".npy", ".npz", ".png")  # in the order in which a sidecar looks for its depth map

_UNFINISHED = ".part"
_counter = itertools.count()


@contextmanager
def finished_or_absent(path: str | os.PathLike) -> Iterator[Path]:
    """A place to write a file that appears under its own name only when it is complete.

    The place lies in the same folder and has the same suffix. When the block ends without an exception, the file is
    flushed to the disk and renamed; otherwise it is removed, and an older file of that name stays as it was.

    Args:
        path: the file's own name; a symbolic link is followed.

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
    except BaseException:  # Ctrl-C, too, must not leave an unfinished file
        with suppress(OSError):
            place.unlink(missing_ok=True)
        raise


def write_atomically(path: str | os.PathLike, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file that is there complete or not at all; an older one stays until then.

    Args:
        path: file to write.
        content: text (as UTF-8), bytes, or a function that writes to the binary file that it is given.

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


def remove_unfinished(folder: Path) -> None:
    """Delete what killed processes left of `finished_or_absent` in a folder; call it only while holding its lock."""
    for place in folder.glob(f".*{_UNFINISHED}*"):
        with suppress(OSError):
            place.unlink()


def write_png(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """16-bit grey, millimetres, 0 for no depth; `about` goes into the text chunk "depth".

    Warns where a depth cannot be said in 16 bits of millimetres.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        millimetres = np.rint(np.asarray(depth, np.float32) * np.float32(1000))
        fits = (millimetres >= 0) & (millimetres <= MILLIMETRES_MAX)
    if not fits.all():
        warnings.warn(
            f"{path.name}: {(~fits).sum()} pixels not within {MILLIMETRES_MAX / 1000} m are saved as 0 (no depth); "
            "use .npy or .npz to keep them",
            stacklevel=4,
        )
        millimetres = np.where(fits, millimetres, 0)
    info = PngInfo()
    info.add_text("depth", json.dumps(about))
    # Higher levels take ten times as long for a tenth of the size.
    Image.fromarray(millimetres.astype(np.uint16)).save(path, pnginfo=info, compress_level=1)


def write_npy(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """float32 metres, and nothing of `about`: that is the sidecar's part."""
    with path.open("wb") as file:  # given a path, numpy would add .npy to a name that ends in .NPY
        np.save(file, depth, allow_pickle=False)


def write_npz(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """`depth`, float32 metres, and `about`, JSON text."""
    with path.open("wb") as file:
        np.savez_compressed(file, depth=depth, about=np.array(json.dumps(about)))


def write_sidecar(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """`about` as JSON, to lie beside a depth map of the same name."""
    path.write_text(json.dumps(about, indent=2) + "\n", "utf-8")


def read_depth(path: Path, mmap: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
    """What one of the files above holds.

    Args:
        path: .png, .npy, .npz, or the .json beside one of them.
        mmap: leave the numbers of a .npy on the disk until they are needed.

    Returns:
        Depth, (H, W) float32 metres; what is known about it, {} if the file does not say.

    Raises:
        FileNotFoundError: no such file, or none beside the sidecar.
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
        # Without the error's own words, some of which tell the whole path.
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
        depth = np.asarray(image).astype(np.float32) / np.float32(1000)
        return depth, json.loads(image.text.get("depth", "{}"))
