"""Data sets of pictures with depth: `open_data` opens them by name, KIND:PATH.

A new kind of data is one file with a `DepthData` and one line in `KINDS`.
"""

import argparse
from pathlib import Path
from typing import Any

from depth_unet.data.dataset import DataOptions, DepthData, Joined, Part
from depth_unet.data.depth_map import parse_unit
from depth_unet.data.diode import DiodeDataset
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.origin import read_origin
from depth_unet.data.pairs import Patterns
from depth_unet.data.rgbd import RgbdFolder
from depth_unet.data.shards import ShardDataset
from depth_unet.files import METRES_PER_UNIT

__all__ = ["KINDS", "DataOptions", "DepthData", "Joined", "Part", "open_data", "splits_of", "split_for"]

KINDS: dict[str, type[DepthData]] = {
    kind.kind: kind for kind in (RgbdFolder, DiodeDataset, NyuDataset, ShardDataset)
}  # fmt: skip

# Which split serves a purpose: the first of these that the data have.
_SUITABLE = {"train": ("train", "all"), "validate": ("val", "all"), "score": ("val", "test", "all")}


def usage() -> str:
    """The help text of --data."""
    return "KIND:PATH: " + "; ".join(kind.usage for kind in KINDS.values())


def parse_name(name: str) -> tuple[type[DepthData], str, str]:
    """Kind, part ("" for all) and path of KIND:PATH or KIND/PART:PATH.

    Raises:
        ValueError: not of that form, or unknown kind or part.
    """
    kind, colon, path = name.partition(":")
    kind, slash, part = kind.partition("/")
    if not colon or not path or kind not in KINDS:
        raise ValueError(f"data must be given as KIND:PATH with KIND one of {', '.join(KINDS)}, not {name!r}")
    if slash and part not in KINDS[kind].parts:
        known = ", ".join(f"{kind}/{each}:PATH" for each in KINDS[kind].parts) or "no parts"
        raise ValueError(f"{kind} data have {known}, not {name!r}")
    return KINDS[kind], part, str(Path(path).expanduser())


def splits_of(name: str) -> tuple[str, ...]:
    """The splits that the data KIND:PATH have.

    Raises:
        ValueError, FileNotFoundError: as `open_data`.
    """
    kind, _, path = parse_name(name)
    return kind.splits_at(path)


def split_for(name: str, purpose: str) -> str:
    """The split of the data KIND:PATH that serves a purpose.

    Args:
        name: KIND:PATH.
        purpose: "train", "validate" (choose a checkpoint) or "score".

    Raises:
        ValueError: the data have no such split; or as `open_data`.
    """
    splits = splits_of(name)
    found = next((split for split in _SUITABLE[purpose] if split in splits), None)
    if found is None:
        has = f"{name} has only the split{'s' if len(splits) > 1 else ''} {', '.join(splits)}"
        raise ValueError(
            {
                "train": f"{has}: there is nothing to train on",
                "validate": f"{has}: none to choose a checkpoint with; without --val-data, the last tenth of the "
                "training data is held back",
                "score": f"{has}: name the one to score with --split",
            }[purpose]
        )
    return found


def open_data(name: str, split: str | None = None, options: DataOptions | None = None) -> DepthData:
    """Open a data set of `DepthSample`.

    Args:
        name: KIND:PATH, see `usage`.
        split: one of `splits_of(name)`; None: the one to score.
        options: defaults for facts that the data files do not contain.

    Raises:
        ValueError: not of that form, unknown kind or split, or not such data.
        FileNotFoundError: nothing there.

    Example:
        >>> open_data("rgbd:missing")
        Traceback (most recent call last):
        FileNotFoundError: no folder or tar at missing
    """
    kind, part, path = parse_name(name)
    splits = kind.splits_at(path)
    if split is None:
        split = split_for(name, "score")
    elif split not in splits:
        raise ValueError(f"{name} has no split {split!r}, only {', '.join(splits)}")
    data = kind.open(path, part, split, options or DataOptions())
    data.name = name
    return data


def _unit(text: str) -> float:
    try:
        return parse_unit(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_options(parser: Any) -> None:
    """Give a command line the options that `options_of` reads."""
    parser.add_argument(
        "--metres-per-unit",
        type=_unit,
        metavar="M",
        help=f"rgbd: one step of integer depth maps, e.g. 1/5000, where camera.json has none  "
        f"(default: {METRES_PER_UNIT:g})",
    )
    parser.add_argument(
        "--origin", type=Path, metavar="FILE", help="rgbd: origin.json (title, url, terms, weights) of data without one"
    )
    parser.add_argument(
        "--pairs",
        nargs=2,
        metavar=("IMAGE-PATTERN", "DEPTH-PATTERN"),
        help='rgbd: names of pictures and depth maps, {} for what they share, e.g. "rgb_{}.jpg" "sync_depth_{}.png"  '
        "(default: by the usual names)",
    )


def options_of(options: argparse.Namespace, edge_filter: bool | None = None) -> DataOptions:
    """What `add_options` read.

    Raises:
        ValueError, FileNotFoundError: the file of --origin or the patterns of --pairs cannot be used.
    """
    origin = read_origin(options.origin) if options.origin else None
    pairs = Patterns.checked(options.pairs) if options.pairs else None
    return DataOptions(options.metres_per_unit, origin, edge_filter, pairs)
