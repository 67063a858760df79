"""Which picture belongs to which depth map, by their names."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from depth_unet.folders import DEPTH_ENDING, DEPTH_FOLDERS
from depth_unet.images import SUFFIXES

DEPTH_SUFFIXES = (".png", ".npy", ".npz")
PICTURE_FOLDERS = ("rgb", "image", "images", "color")
ASSOCIATIONS = ("associations.txt", "associate.txt", "associated.txt")  # time, file, time, file in each line, as of TUM
NEAREST_S = 0.020001  # greatest difference of time stamps: that of TUM's associate.py, and rounding
_TIME = re.compile(r"\d+\.\d+")

Pair = tuple[str, str]  # names of picture and depth map


class Patterns(NamedTuple):
    """Names of pictures and depth maps with "{}" for what they share and "*" for what they do not.

    Args:
        picture: e.g. "rgb_{}.jpg"; folders in front of it are shared too.
        depth: e.g. "sync_depth_{}.png".
    """

    picture: str
    depth: str

    @classmethod
    def checked(cls, values: Any) -> "Patterns":
        """Two patterns, from the command line or from JSON.

        Raises:
            ValueError: not two texts with the same number of "{}" and known suffixes.
        """
        if not isinstance(values, list | tuple) or len(values) != 2 or not all(isinstance(v, str) for v in values):
            raise ValueError(f"pairs must be two patterns, of pictures and of depth maps, not {values!r}")
        values = [value.replace("\\", "/").removeprefix("./") for value in values]
        for value, suffixes in zip(values, (SUFFIXES, DEPTH_SUFFIXES), strict=True):
            if PurePosixPath(value).suffix.lower() not in suffixes:
                raise ValueError(f"the pattern {value!r} must end in one of {', '.join(suffixes)}")
        if values[0].count("{}") != values[1].count("{}") or "{}" not in values[0]:
            raise ValueError(
                f"the patterns {values[0]!r} and {values[1]!r} must share one or more {{}}, in equal number"
            )
        return cls(*values)


def find_pairs(
    names: Iterable[str],
    patterns: dict[PurePosixPath, Patterns],
    is_depth_map: Callable[[str], bool],
    read: Callable[[str], bytes],
) -> list[Pair]:
    """All pairs among the files of a data set, sorted.

    Args:
        names: of all files, relative to the root of the data set.
        patterns: by the folder that they apply to; the deepest counts. Elsewhere the usual names do.
        is_depth_map: whether a .png is a 16-bit depth map.
        read: the content of a file.

    Raises:
        ValueError: a list of associations cannot be used.
    """
    rest, pairs = set(names), []
    for folder in sorted(patterns, key=lambda path: -len(path.parts)):
        inside = {name for name in rest if folder in PurePosixPath(name).parents}
        pairs += _matched(inside, patterns[folder], read)
        rest -= inside
    return sorted([*pairs, *_usual(rest, is_depth_map)])


def _usual(names: set[str], is_depth_map: Callable[[str], bool]) -> Iterator[Pair]:
    """NAME.jpg with NAME_depth.png or NAME.png beside it, or in a folder depth/ beside its own; any case of letters."""
    by_lower = {name.lower(): name for name in sorted(names)}
    folders = {parent for name in by_lower for parent in PurePosixPath(name).parents}

    def present(*candidates: PurePosixPath) -> list[str]:
        found = (str(c) if str(c) in names else by_lower.get(str(c).lower()) for c in candidates)
        return [name for name in found if name]

    for name in sorted(names):
        picture = PurePosixPath(name)
        stem, parent = picture.stem, picture.parent
        if picture.suffix.lower() not in SUFFIXES or stem.lower().endswith(DEPTH_ENDING):
            continue
        arrays = present(picture.with_suffix(".npy"), picture.with_suffix(".npz"))
        if arrays and picture.suffix.lower() == ".png":
            above = PurePosixPath(str(parent.parent).lower())
            has_pictures = any(above / each in folders for each in PICTURE_FOLDERS)
            if (has_pictures and parent.name.lower() in DEPTH_FOLDERS) or is_depth_map(name):
                continue  # the depth once more, or coloured
        places = [parent / f"{stem}{DEPTH_ENDING}", parent / stem]
        if parent.name.lower() in PICTURE_FOLDERS:
            beside = [parent.parent / folder for folder in DEPTH_FOLDERS]
            places += [place / f"{stem}{end}" for place in beside for end in ("", DEPTH_ENDING)]
        found = present(*(place.with_name(place.name + suffix) for place in places for suffix in DEPTH_SUFFIXES))
        found = [other for other in found if other != name]
        if found:
            # A .png of the same name may be another picture; only looked at where there is a choice.
            certain = (o for o in found if len(found) == 1 or not o.lower().endswith(".png") or is_depth_map(o))
            yield name, next(certain, found[0])


def _matched(names: set[str], patterns: Patterns, read: Callable[[str], bytes]) -> Iterator[Pair]:
    """Pairs by patterns: by a list of associations where there is one, else by equal keys, else by nearest times."""
    keys = [{}, {}]  # of pictures and of depth maps: possible keys by name
    for found, pattern in zip(keys, patterns, strict=True):
        expression = re.compile(
            "".join({"{}": "(.+?)", "*": "[^/]*"}.get(part, re.escape(part)) for part in re.split(r"({}|\*)", pattern)),
            re.IGNORECASE,
        )
        for name in sorted(names):
            if possible := [tuple(map(str.lower, key)) for key in _keys(name, expression)]:
                found[name] = possible
    pictures, depths = keys
    listed = {picture: depth for name in sorted(names) for picture, depth in _associated(name, pictures, read)}
    yield from listed.items()
    with_list = {str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).name.lower() in ASSOCIATIONS}
    by_key = {key: name for name in reversed(depths) for key in depths[name]}
    alone = []
    for picture, possible in pictures.items():
        if with_list and any(str(parent) in with_list for parent in PurePosixPath(picture).parents):
            continue
        if equal := next((by_key[key] for key in possible if key in by_key), None):
            yield picture, equal
        else:
            alone.append(picture)
    yield from _nearest_in_time({picture: pictures[picture] for picture in alone}, depths)


def _keys(name: str, expression: re.Pattern) -> Iterator[tuple[str, ...]]:
    """The folders in front of what matches, and what "{}" stand for; any number of folders may be in front."""
    for begin in (0, *(slash.end() for slash in re.finditer("/", name))):
        if match := expression.fullmatch(name, begin):
            yield name[:begin], *match.groups()


def _associated(name: str, pictures: dict[str, Any], read: Callable[[str], bytes]) -> Iterator[Pair]:
    if PurePosixPath(name).name.lower() not in ASSOCIATIONS:
        return
    for number, line in enumerate(read(name).decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 4:
            raise ValueError(f"{name}, line {number}: expected time, file, time and file, not {line[:80]!r}")
        first, second = (str(PurePosixPath(name).parent / word) for word in (words[1], words[3]))
        if first in pictures or second in pictures:
            yield (first, second) if first in pictures else (second, first)


def _nearest_in_time(pictures: dict[str, list[tuple]], depths: dict[str, list[tuple]]) -> Iterator[Pair]:
    """Pairs of which the last part of the keys is a time in seconds, the nearest first, each file once."""
    times: dict[tuple, list[tuple[float, str]]] = {}
    for name, possible in depths.items():
        for *shared, last in possible:
            if _TIME.fullmatch(last):
                times.setdefault(tuple(shared), []).append((float(last), name))
    for each in times.values():
        each.sort()
    close = []
    for picture, possible in pictures.items():
        for *shared, last in possible:
            if _TIME.fullmatch(last) and (near := times.get(tuple(shared))):
                time = float(last)
                begin = bisect_left(near, (time - NEAREST_S,))
                end = bisect_right(near, (time + NEAREST_S, "\uffff"))
                close += [(abs(other - time), picture, depth) for other, depth in near[begin:end]]
    used: set[str] = set()
    for _, picture, depth in sorted(close):
        if not {picture, depth} & used:
            used |= {picture, depth}
            yield picture, depth
