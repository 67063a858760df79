"""What every data set knows of itself: its splits, its origin, the files behind a sample, and how it is scored."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
from torch.utils.data import Dataset

from depth_unet.data.origin import OWN_RECORDINGS, Origin, distinct
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.data.scoring import WHOLE_FRAME, ScoringRule

_LOOKED_AT = 8  # samples behind the median depth of `describe`


class DataOptions(NamedTuple):
    """Defaults from the command line for facts that the data files do not contain.

    Args:
        metres_per_unit: length of one step of an integer depth map, metres; None: 1/1000.
        origin: of data without an origin.json; None: recordings of the publisher.
        edge_filter: see `DiodeDataset`.
        pairs: patterns of pictures and depth maps of rgbd data, see `depth_unet.data.pairs.Patterns`.
    """

    metres_per_unit: float | None = None
    origin: Origin | None = None
    edge_filter: bool | None = None
    pairs: tuple[str, str] | None = None


class DepthData(Dataset):
    """A data set of `DepthSample`. A new kind is one subclass in one file, and one line in `depth_unet.data.KINDS`.

    Subclasses define `kind`, `usage`, `splits_at`, `open`, `__len__` and `__getitem__`, and replace of the rest what
    they know better.

    Attributes:
        name: KIND:PATH or KIND/PART:PATH.
        split: one of `splits_at`.
        rule: how it is scored by default.
        mask: what its masks are, in words, for protocols.
        origins: where its pictures come from.
        shown: the part of a frame that is predicted, in words.
        hints: what a person who opens it should know.
        frame_size: (height, width) in pixels where all frames have the same, else None.
    """

    kind: ClassVar[str]
    usage: ClassVar[str]  # completes the help text of --data
    parts: ClassVar[tuple[str, ...]] = ()  # what may stand behind KIND/
    is_prepared: ClassVar[bool] = False  # already what `train.prepare` writes

    name: str = ""
    split: str = "all"
    rule: ScoringRule = WHOLE_FRAME
    mask: str = "the data set's own mask"
    origins: tuple[Origin, ...] = (OWN_RECORDINGS,)
    shown: str = "whole frames"
    hints: tuple[str, ...] = ()
    frame_size: tuple[int, int] | None = None

    @classmethod
    def splits_at(cls, path: str) -> tuple[str, ...]:
        """The names of the splits that data of this kind have there."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: str, part: str, split: str, options: DataOptions) -> Self:
        """Open one split.

        Args:
            path: what follows the colon of KIND:PATH.
            part: what follows the slash of KIND/PART:PATH, or "".
            split: one of `splits_at`.
            options: defaults for facts that the data files do not contain.
        """
        raise NotImplementedError

    @classmethod
    def official_names(cls, path: Path, part: str) -> dict[str, set[str]]:
        """The keys that the makers' list of the data set holds, by SPLIT/PART.

        Raises:
            ValueError: there is no such list of this kind of data, or the file is not one.
        """
        raise ValueError(f"{cls.kind} data have no official list of names")

    def __len__(self) -> int:
        """Number of samples."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> DepthSample:
        """One sample, with the mask to train with.

        Raises:
            SampleError: it cannot be read, or has no valid pixel.
        """
        raise NotImplementedError

    def key(self, index: int) -> str:
        """Name of a sample, without reading it."""
        return f"{index:06d}"

    def part_of(self, index: int) -> str:
        """Which of `parts` a sample belongs to; "" where the data have none."""
        return ""

    def files(self, index: int) -> list[Path]:
        """The files that a sample is read from."""
        return []

    def unscored(self, index: int) -> DepthSample:
        """One sample with the data set's own mask, to which a scoring rule is applied."""
        return self[index]

    def scored(self, index: int) -> DepthSample:
        """One sample with only those pixels valid that the data set's rule counts.

        Raises:
            SampleError: as `__getitem__`.
        """
        return self.rule.applied(self.unscored(index))

    @property
    def title(self) -> str:
        """The name without its folders, for documents."""
        return Path(self.name.partition(":")[2]).name

    def fingerprint(self) -> str:
        """SHA-256 of the keys in their order: the same data, wherever they lie."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(self.key(index).encode() + b"\n")
        return digest.hexdigest()

    def describe(self) -> str:
        """One line for people: number of samples, split, median depth (a wrong unit shows in it), and hints."""
        depths = []
        for index in sorted({int(i) for i in np.linspace(0, len(self) - 1, _LOOKED_AT).round()}):
            try:
                sample = self.unscored(index)
                depths.append(float(sample.depth[sample.valid].median()))
            except SampleError:
                continue  # named when the sample is used
        median = f"median depth {np.median(depths):.2f} m" if depths else "no depth in the first samples looked at"
        lines = [f"{self.name}: {len(self)} samples, split {self.split}, {median}"]
        return "\n".join([*lines, *(f"note: {hint}" for hint in self.hints)])


class _Selection(DepthData):
    """Samples of other data sets; subclasses say which."""

    def _place(self, index: int) -> tuple[DepthData, int]:
        raise NotImplementedError

    def __getitem__(self, index: int) -> DepthSample:
        """See `DepthData`."""
        data, place = self._place(index)
        return data[place]

    def key(self, index: int) -> str:
        """See `DepthData`."""
        data, place = self._place(index)
        return data.key(place)

    def files(self, index: int) -> list[Path]:
        """See `DepthData`."""
        data, place = self._place(index)
        return data.files(place)

    def unscored(self, index: int) -> DepthSample:
        """See `DepthData`."""
        data, place = self._place(index)
        return data.unscored(place)

    def scored(self, index: int) -> DepthSample:
        """See `DepthData`: scored by the rule of the data set that it belongs to."""
        data, place = self._place(index)
        return data.scored(place)


class Part(_Selection):
    """Some samples of a data set.

    Args:
        whole: the data set.
        indices: of the samples, in the order wanted.
        split: name of the part; by default that of the whole.
    """

    def __init__(self, whole: DepthData, indices: Sequence[int], split: str | None = None) -> None:
        self.whole, self.indices = whole, indices
        self.name, self.rule, self.mask = whole.name, whole.rule, whole.mask
        self.origins, self.hints, self.frame_size = whole.origins, whole.hints, whole.frame_size
        self.split = split or whole.split

    def _place(self, index: int) -> tuple[DepthData, int]:
        return self.whole, self.indices[index]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.indices)


class Joined(_Selection):
    """Several data sets one after the other; each sample is scored by the rule of its own set.

    Args:
        sets: at least one.

    Raises:
        ValueError: no data set is given.
    """

    def __init__(self, sets: Sequence[DepthData]) -> None:
        if not sets:
            raise ValueError("at least one data set is needed")
        self.sets = list(sets)
        self.lengths = [len(each) for each in self.sets]
        self._ends = list(accumulate(self.lengths))
        self.name = " + ".join(each.name for each in self.sets)
        self.split = self.sets[0].split
        self.rule = self.sets[0].rule
        self.origins = distinct(origin for each in self.sets for origin in each.origins)

    def _place(self, index: int) -> tuple[DepthData, int]:
        number = bisect_right(self._ends, index)
        return self.sets[number], index - (self._ends[number] - self.lengths[number])

    def __len__(self) -> int:
        """Number of samples of all sets together."""
        return self._ends[-1]

    def describe(self) -> str:
        """The lines of all sets."""
        return "\n".join(each.describe() for each in self.sets)
