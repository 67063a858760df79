"""The folder of rendered rooms: one process renders a room, aside, and renames it when it is finished."""

import csv
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from depth_unet.camera import Camera
from depth_unet.data.origin import ORIGIN_FILE, Origin, read_origin, strictest
from depth_unet.data.rgbd import CAMERA_FILE
from depth_unet.files import finished_or_absent, write_atomically, write_json, write_png
from train.render.catalogue import Library

ROOM_FILE, LICENCES_FILE = "room.json", "licences.csv"


@contextmanager
def claimed(output: Path, name: str) -> Iterator[Path | None]:
    """A folder to write a room to, or None if the room is finished or another process is at it.

    The folder is renamed to the room's name when the block ends. The lock of a killed process is freed by the
    operating system, and what it left is deleted by the next one.
    """
    final, aside, lock = output / name, output / f".{name}", FileLock(output / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield None
        return
    try:
        if final.exists():
            yield None
            return
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        yield aside
        aside.rename(final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        lock.release()
        if final.exists():  # others check for the finished room after they get the lock, so that it may go
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)


def write_room(folder: Path, frames: Iterable, camera: Camera, about: dict[str, Any]) -> int:
    """Write the frames of a room, its camera and room.json.

    Args:
        folder: empty.
        frames: `train.render.studio.Frame`s, rendered while they are written.
        camera: of all of them.
        about: the contents of room.json, written when all frames are; their views are added.

    Returns:
        The number of frames.
    """
    views: list[dict[str, Any]] = []
    for number, frame in enumerate(frames):
        write_atomically(folder / f"{number:03d}.jpg", frame.jpeg)
        with finished_or_absent(folder / f"{number:03d}.png") as place:
            write_png(place, frame.depth, {})
        views.append(frame.view._asdict())
    write_json(folder / CAMERA_FILE, camera._asdict())
    write_json(folder / ROOM_FILE, about | {"views": views})
    return len(views)


def finished(output: Path, names: Iterable[str]) -> int:
    """How many of these rooms are finished."""
    return sum((output / name).is_dir() for name in names)


def write_origin(output: Path, libraries: Iterable[Library], pictures: Origin | None) -> Origin:
    """Write origin.json: the strictest terms of the furniture, of the pictures and of an earlier origin.json.

    Args:
        output: of the rooms.
        libraries: of the furniture.
        pictures: origin of foreign pictures on walls and screens, if there are any.
    """
    parts = {f"{library.name} ({library.licence})" for library in libraries}
    terms = [f"furniture: {', '.join(sorted(parts))}", f"creators in {LICENCES_FILE}"]
    asked = [Origin("", weights="mit" if library.free else "unknown") for library in libraries]
    if pictures:
        terms.append(f"pictures on walls and screens: {pictures.title} ({pictures.terms})")
        asked.append(pictures)
    if (output / ORIGIN_FILE).is_file():
        earlier = read_origin(output / ORIGIN_FILE)
        asked.append(earlier)
        terms = earlier.terms.split("; ") + terms
    title, told = "Rooms rendered by depth_unet (python -m train.render)", "; ".join(dict.fromkeys(terms))
    origin = Origin(title, "", told, strictest(asked))
    write_json(output / ORIGIN_FILE, origin._asdict())
    return origin


def write_licences(output: Path) -> int:
    """Write licences.csv: each library and creator whose models are in the finished rooms, with their names.

    Returns:
        The number of rows.
    """
    used: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for file in output.glob(f"*/{ROOM_FILE}"):
        for model in json.loads(file.read_text("utf-8"))["models"]:
            used[model["library"], model["licence"], model["creator"]].add(model["name"])
    table, rows = io.StringIO(), [(*key, "; ".join(sorted(names))) for key, names in sorted(used.items())]
    csv.writer(table, lineterminator="\n").writerows([("library", "licence", "creator", "models"), *rows])
    write_atomically(output / LICENCES_FILE, table.getvalue())
    return len(used)
