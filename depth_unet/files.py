"""Atomic writing of files, and the file formats of depth maps."""

import hashlib
import io
import itertools
import json
import math
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from depth_unet.images import MAX_PIXELS

MILLIMETRES_MAX = 65534  # the largest depth in a 16-bit PNG; many readers take 65535 for no depth
UNCERTAINTY_STEP = 0.0001  # of log depth, in a 16-bit PNG
METRES_PER_UNIT = 0.001  # of a 16-bit PNG whose text chunk has no other
UNIT_KEY = "metres_per_unit"
READABLE = (".npy", ".npz", ".png")  # a sidecar belongs to the first of these that exists
MARK = b"depth_unet"  # in every 3-D file of this package

_STRIP = 1 << 16  # pixels that are processed at a time, so that they stay in the processor's cache
_JSON_LONGEST = 1_000_000  # bytes; a description has some hundreds
_HEADER_LONGEST = 1 << 16  # bytes of a .npy file in which its header must end

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


def strips(depth: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows of a depth map after the other, with their place."""
    rows = max(1, _STRIP // max(1, depth.shape[1]))
    for top in range(0, depth.shape[0], rows):
        yield slice(top, top + rows), depth[top : top + rows]


def write_png(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """Write 16-bit grey, 0 for no depth and what does not fit, with `about` in the text chunk "depth".

    One step is a millimetre, or `about["metres_per_unit"]`.
    """
    per_metre = np.float32(1 / about.get(UNIT_KEY, METRES_PER_UNIT))
    steps = np.empty(depth.shape, ">u2")
    for place, part in strips(depth):
        with np.errstate(over="ignore"):
            values = part * per_metre
        np.rint(values, out=values)
        if not (values.min() >= 0 and values.max() <= MILLIMETRES_MAX):  # also for NaN
            values = np.where((values >= 0) & (values <= MILLIMETRES_MAX), values, 0)
        steps[place] = values
    write_atomically(path, lambda file: file.writelines(encode_png(steps, about)))


def count_beyond_png(depth: np.ndarray) -> int:
    """The number of pixels whose depth is too large for a 16-bit PNG of millimetres."""
    limit = (MILLIMETRES_MAX + 0.5) / 1000
    if not np.fmax.reduce(depth, axis=None, initial=0) > limit:
        return 0
    return int(((depth > limit) & np.isfinite(depth)).sum())


def encode_png(pixels: np.ndarray, about: dict[str, Any], palette: bytes | None = None) -> Iterator[bytes]:
    """The parts of a PNG file with `about` in the text chunk "depth".

    Pillow tries five filters on each row, which takes longer than the network; depth maps are smooth, so that "up" is
    always a good one.

    Args:
        pixels: (H, W), big-endian uint16 grey, or uint8 indices into the palette; or (H, W, 3) uint8 colours.
        about: for JSON.
        palette: RGB bytes.
    """
    height, width = pixels.shape[:2]
    depth_and_type = (8, 2) if pixels.ndim == 3 else (16, 0) if palette is None else (8, 3)
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *depth_and_type, 0, 0, 0))
    if palette is not None:
        yield _chunk(b"PLTE", palette)
    yield _chunk(b"tEXt", b"depth\0" + json.dumps(about).encode("ascii"))
    # Higher levels take ten times as long for a tenth of the size; few colours repeat themselves, depths do not.
    strategy = zlib.Z_DEFAULT_STRATEGY if palette is None else zlib.Z_RLE
    compress = zlib.compressobj(level=1, strategy=strategy)
    rows = pixels.view(np.uint8).reshape(height, -1)
    above = np.zeros(rows.shape[1], np.uint8)
    for _, part in strips(rows):
        filtered = np.empty((len(part), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = 2  # the filter "up"
        np.subtract(part[0], above, out=filtered[0, 1:])
        np.subtract(part[1:], part[:-1], out=filtered[1:, 1:])
        above = part[-1]
        if compressed := compress.compress(filtered):
            yield _chunk(b"IDAT", compressed)
    yield _chunk(b"IDAT", compress.flush())
    yield _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


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


def write_npz(path: Path, depth: np.ndarray, about: dict[str, Any], uncertainty: np.ndarray | None = None) -> None:
    """Write `depth`, float32 metres, `about`, JSON text, and `uncertainty`, float16, if there is one."""
    arrays = {"depth": depth, "about": np.array(json.dumps(about))}
    if uncertainty is not None:
        arrays["uncertainty"] = uncertainty.astype(np.float16)
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def write_uncertainty(path: Path, uncertainty: np.ndarray, about: dict[str, Any]) -> None:
    """Write 16-bit grey in steps of `UNCERTAINTY_STEP`, with `about` in the text chunk "depth"."""
    steps = np.clip(np.rint(uncertainty / UNCERTAINTY_STEP), 0, MILLIMETRES_MAX).astype(">u2")
    about = {**about, "values": "uncertainty", "per_unit": UNCERTAINTY_STEP}
    write_atomically(path, lambda file: file.writelines(encode_png(steps, about)))


def write_sidecar(path: Path, depth: np.ndarray, about: dict[str, Any]) -> None:
    """Write `about` as JSON, for a depth map of the same name beside it."""
    write_json(path, about)


def written_about(path: Path) -> dict[str, Any] | None:
    """What this package recorded in one of its files: {} if only that it wrote the file, None if it did not.

    A PNG has a text chunk, a 3-D file a mark, an .npz and a .json their own description; an .npy and an .mp4 have a
    .json of the same name beside them.
    """
    suffix = path.suffix.lower()
    if not path.is_file():  # a named pipe would block
        return None
    try:
        if suffix == ".png":
            with PngImageFile(path) as image:
                return _own(_parse(image.info["depth"]))
        if suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return _own(_parse(_read_text(archive)))
        if suffix in (".json", ".npy", ".mp4"):
            return _own(_read_json(path.with_suffix(".json")))
        if suffix in (".ply", ".glb", ".stl", ".3mf"):
            with path.open("rb") as file:
                start = file.read(1 << 16)
                file.seek(max(0, path.stat().st_size - 100))
                return {} if MARK in start or MARK in file.read() else None
    except Exception:  # other people's files may be anything; what cannot be read is not ours
        return None
    return None


def _own(about: dict[str, Any]) -> dict[str, Any] | None:
    return about if about.get("unit") == "metre" and "model" in about else None


class DepthFile(NamedTuple):
    """The content of a file with a depth map.

    Args:
        depth: (H, W) float32, metres.
        about: its description; {} without one.
        uncertainty: (H, W) float32, or None.
    """

    depth: np.ndarray
    about: dict[str, Any]
    uncertainty: np.ndarray | None = None


def read_depth(path: Path, mmap: bool = False) -> DepthFile:
    """Read a depth map and its description; sizes are checked before memory is taken.

    Args:
        path: .png (16-bit grey, millimetres), .npy or .npz (`depth`, floating-point metres), or the .json beside one.
        mmap: map a .npy of float32 into memory instead of reading it.

    Raises:
        FileNotFoundError: no such file, or no depth map beside the sidecar.
        ValueError: another suffix, damaged, too large, or not a depth map.
    """
    suffix = path.suffix.lower()
    if suffix not in (*READABLE, ".json"):
        raise ValueError(f"cannot load {path.name!r}: the suffix must be one of {', '.join(READABLE)}, .json")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name}")
    if suffix == ".json":
        beside = [path.with_suffix(other) for other in READABLE if path.with_suffix(other).is_file()]
        if not beside:
            raise FileNotFoundError(f"there is no depth map ({', '.join(READABLE)}) beside {path.name}")
        return read_depth(beside[0], mmap)._replace(about=_read(path, lambda: _read_json(path)))
    if suffix == ".npz":
        return _read(path, lambda: _read_npz(path))
    if suffix == ".png":
        return _read(path, lambda: _read_png(path))
    depth = _read(path, lambda: _read_npy(path, mmap))
    sidecar = path.with_suffix(".json")
    return DepthFile(depth, _read(sidecar, lambda: _read_json(sidecar)) if sidecar.is_file() else {})


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except _Refused as error:
        raise ValueError(f"{path.name} {error}") from None
    except Exception as error:  # decoders raise errors of any class for damaged files, with whole paths in their text
        raise ValueError(f"{path.name} is damaged, or not a depth map of this package") from error


class _Refused(ValueError):
    """The predicate of a sentence about a file."""


def _read_png(path: Path) -> DepthFile:
    with PngImageFile(path) as image:
        if image.mode not in ("I;16", "I;16B", "I"):
            raise _Refused(f"is a PNG of mode {image.mode}; a depth map is 16-bit grey")
        _check_size(image.size[::-1])
        depth = np.asarray(image).astype(np.float32)
        text = image.text.get("depth", "")
    # Other programs write other things under this name.
    about = _parse(text) if text.lstrip().startswith("{") else {}
    if about.get("values", "depth") != "depth":
        raise _Refused(f"holds {about['values']}, not depth")
    step = about.get(UNIT_KEY, METRES_PER_UNIT)
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
        raise _Refused(f"holds {UNIT_KEY} {step!r}; it must be a positive number")
    depth /= np.float32(1 / step)
    return DepthFile(depth, about)


def _read_npz(path: Path) -> DepthFile:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "depth.npy" not in names:
            raise _Refused(f"contains no array depth, only {', '.join(names[:5]) or 'nothing'}")
        with archive.open("depth.npy") as file:
            depth = _read_array(file)
        uncertainty = None
        if "uncertainty.npy" in names:
            with archive.open("uncertainty.npy") as file:
                uncertainty = _read_array(file)
            if uncertainty.shape != depth.shape:
                raise _Refused(f"holds an uncertainty of shape {uncertainty.shape} for a depth of {depth.shape}")
            if not (np.isfinite(uncertainty).all() and (uncertainty >= 0).all()):
                raise _Refused("holds an uncertainty that is negative or not a finite number")
        return DepthFile(depth, _parse(_read_text(archive)) if "about.npy" in names else {}, uncertainty)


def _read_npy(path: Path, mmap: bool) -> np.ndarray:
    with path.open("rb") as file:
        if not mmap:
            return _read_array(file)
        start = file.read(_HEADER_LONGEST)
    shape, is_fortran, dtype, offset = _read_header(start)
    _check_depth(shape, dtype)
    mapped = np.memmap(path, dtype, "r", offset, shape, "F" if is_fortran else "C")
    return mapped if dtype == np.float32 else _to_float32(mapped)


def _read_array(file: BinaryIO) -> np.ndarray:
    start = file.read(_HEADER_LONGEST)
    shape, is_fortran, dtype, offset = _read_header(start)
    _check_depth(shape, dtype)
    missing = math.prod(shape) * dtype.itemsize - (len(start) - offset)
    content = start[offset:] + (file.read(missing) if missing > 0 else b"")
    depth = np.frombuffer(content, dtype, math.prod(shape)).reshape(shape, order="F" if is_fortran else "C")
    return _to_float32(depth)


def _read_header(start: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, type and offset of the data of a .npy file, from its first bytes."""
    file = io.BytesIO(start)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise _Refused(f"is of the unknown version {version} of .npy files")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return *read(file), file.tell()


def _check_depth(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or dtype.kind != "f":
        raise _Refused(f"holds {dtype} of shape {shape}; a depth map is (H, W) floating-point metres")
    _check_size(shape)


def _check_size(shape: tuple[int, int]) -> None:
    height, width = shape
    if not 0 < height * width <= MAX_PIXELS or min(shape) < 1:
        raise _Refused(f"has {width}x{height} pixels; a depth map has 1 to {MAX_PIXELS:,}")


def _to_float32(depth: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array(depth, np.float32, order="C")


def _read_text(archive: zipfile.ZipFile) -> str:
    with archive.open("about.npy") as file:
        start = file.read(_JSON_LONGEST)
    shape, _, dtype, offset = _read_header(start[:_HEADER_LONGEST])
    if shape != () or dtype.kind != "U":
        raise _Refused("holds something other than text under the name about")
    return str(np.frombuffer(start, dtype, 1, offset)[0])


def _read_json(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return _parse(file.read(_JSON_LONGEST).decode("utf-8-sig"))


def _parse(text: str) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise _Refused(f"holds {name}, which is no number")

    try:
        about = json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise _Refused("is nested too deeply") from None
    if not isinstance(about, dict):
        raise _Refused("holds no description of a depth map")
    return about
