"""Which files of a folder count, and where their results go."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL.PngImagePlugin import PngImageFile

from depth_unet.files import written_about
from depth_unet.images import SUFFIXES

# Containers and raw streams of pictures in motion. A file with another suffix is opened as a photo, a GIF too.
CLIP_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".ogv",
    ".ogg", ".flv", ".wmv", ".asf", ".mxf", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".h265", ".265", ".ivf",
    ".obu",
)  # fmt: skip
DEPTH_ENDING = "_depth"  # of the names of recorded depth maps
DEPTH_FOLDERS = ("depth", "depths")
_NOT_THE_USERS = {"__MACOSX", "@eaDir"}  # what archives of macOS and network storage add
_RESULTS, _DEPTH_MAPS, _UNREADABLE = "results of this command", "recorded depth maps", "folders that cannot be read"


class Place(NamedTuple):
    """A photo or clip, and where its results go.

    Args:
        source: the file.
        result: path of its results without endings.
    """

    source: Path
    result: Path


class Search(NamedTuple):
    """What was found in files and folders.

    Args:
        places: the photos and clips.
        left_out: number of the other files by suffix or kind.
    """

    places: list[Place]
    left_out: Counter[str]

    def describe_left_out(self) -> str:
        """One line; empty if nothing was left out."""
        return ", ".join(f"{count} {kind}" for kind, count in self.left_out.most_common())


def is_hidden(name: str) -> bool:
    """A file or folder that the user did not put there, or that the system hides."""
    return name.startswith(".") or name in _NOT_THE_USERS


def walk(folder: Path, skip: Path | None = None) -> list[Path]:
    """All files of a folder and its subfolders, sorted; hidden ones are left out.

    Links are followed. A file that is there under several names is found once, under its own name if that is in the
    folder. A folder that cannot be read is in the list itself.

    Args:
        folder: to search.
        skip: a subfolder to leave out.
    """
    waiting, linked, seen = [folder], [], {_identity(folder)}
    if skip is not None:
        seen.add(_identity(skip))
    found: dict[str, Path] = {}
    linked_files: list[Path] = []
    while waiting or linked:
        # Links at the end, so that what they point to gets its own name.
        current = waiting.pop() if waiting else linked.pop()
        if current != folder and current.is_symlink() and not _is_new(current, seen):
            continue
        try:
            inside = sorted(current.iterdir())
        except OSError:  # may not be read, or has gone
            found[_identity(current)] = current
            continue
        for path in inside:
            if is_hidden(path.name):
                continue
            if os.path.isdir(path):
                if path.is_symlink():
                    linked.append(path)
                elif _is_new(path, seen):
                    waiting.append(path)
            elif path.is_symlink():
                linked_files.append(path)
            else:
                found.setdefault(_identity(path), path)
    for path in linked_files:
        found.setdefault(_identity(path), path)
    return sorted(found.values())


def _identity(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _is_new(path: Path, seen: set[str]) -> bool:
    identity = _identity(path)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def photos_in(folder: Path, skip: Path | None = None) -> tuple[list[Path], Counter[str]]:
    """The photos of a folder and its subfolders, and the number of other files by suffix or kind.

    Neither results of this package nor recorded depth maps count as photos.

    Args:
        folder: to search, see `walk`.
        skip: a subfolder to leave out.
    """
    files = walk(folder, skip)
    stems = Counter((path.parent, path.stem) for path in files if path.suffix.lower() in SUFFIXES)
    photos, left_out = [], Counter()
    for path in files:
        suffix = path.suffix.lower()
        if os.path.isdir(path):
            left_out[_UNREADABLE] += 1
        elif written_about(path) is not None:
            left_out[_RESULTS] += 1
        elif suffix not in SUFFIXES or not path.is_file():
            left_out[suffix or "without suffix"] += 1
        elif _is_depth_map(path, has_photo=stems[path.parent, path.stem] > 1):
            left_out[_DEPTH_MAPS] += 1
        else:
            photos.append(path)
    return photos, left_out


def _is_depth_map(path: Path, has_photo: bool) -> bool:
    """Whether a file is the recorded depth of a photo: 16-bit grey, and named so or with a photo beside it."""
    if path.suffix.lower() != ".png":
        return False
    if not (has_photo or path.stem.lower().endswith(DEPTH_ENDING) or path.parent.name.lower() in DEPTH_FOLDERS):
        return False
    try:
        with PngImageFile(path) as image:
            return image.mode.startswith("I")
    except Exception:  # decoders raise errors of any class; the photo will be reported when it is read
        return False


def search(sources: Iterable[Path], output: Path) -> Search:
    """Find photos in files and folders, each once, and give each a name for its results.

    Folders are searched with all their levels, which the results keep; a folder `output` inside them is left out.
    Equal names get their suffix or a number appended. Results of this package are left out also where they are named.

    Args:
        sources: files and folders; a file counts as a photo, or a clip, whatever it is.
        output: folder for the results.
    """
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    taken: set[str] = set()
    places = []
    for path, relative in _candidates(sources, output, left_out):
        if _is_new(path, seen):
            places.append(Place(path, output / _free_name(relative, taken)))
    return Search(places, left_out)


def _candidates(sources: Iterable[Path], output: Path, left_out: Counter[str]) -> Iterator[tuple[Path, Path]]:
    for source in sources:
        if os.path.isdir(source):
            is_inside = output.resolve() != source.resolve() and source.resolve() in output.resolve().parents
            photos, others = photos_in(source, output if is_inside else None)
            left_out.update(others)
            yield from ((path, path.relative_to(source)) for path in photos)
        elif os.path.isfile(source) and written_about(source) is not None:
            left_out[_RESULTS] += 1
        else:
            yield source, Path(source.name)


def _free_name(place: Path, taken: set[str]) -> Path:
    """A relative path without suffix that no other file system takes for one in `taken`; it is added there."""
    names = [place.with_suffix(""), place.with_name(f"{place.stem}_{place.suffix[1:].lower()}")]
    number = 2
    while (key := unicodedata.normalize("NFC", str(names[0])).casefold()) in taken:
        names.pop(0)
        if not names:
            names.append(place.with_name(f"{place.stem}_{number}"))
            number += 1
    taken.add(key)
    return names[0]
