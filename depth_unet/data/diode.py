"""DIODE (Vasiljevic et al. 2019): indoor and outdoor scenes with depth from a laser scanner."""

import io
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from depth_unet.camera import Camera
from depth_unet.data.dataset import DataOptions, DepthData
from depth_unet.data.origin import Origin
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.data.scoring import RULES
from depth_unet.images import read_photo, to_tensor
from depth_unet.reading import read_array, read_bytes, read_json

SPLITS = ("train", "val")
SCENE_TYPES = ("indoors", "outdoor")
CAMERA = Camera(1024, 768, 886.81, 927.06, 512.0, 384.0)  # the devkit's intrinsics.txt
STEEP = 0.1  # log depth per pixel: no surface that a scanner can measure is steeper
_NAME = re.compile(r"(\d{5})_(\d{5})_(indoors|outdoor)_(\d{3})_(\d{3})")


class DiodeName(NamedTuple):
    """The parts of a DIODE sample's name, e.g. 00019_00183_indoors_040_000."""

    scene: int
    scan: int
    scene_type: str
    azimuth_deg: int
    elevation_deg: int


def parse_name(name: str) -> DiodeName:
    """Read a sample's name, without folder and suffix.

    Raises:
        ValueError: it is not of the official form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not the name of a DIODE sample, like 00019_00183_indoors_040_000")
    scene, scan, scene_type, azimuth, elevation = match.groups()
    return DiodeName(int(scene), int(scan), scene_type, int(azimuth), int(elevation))


def without_edge_outliers(depth: torch.Tensor, valid: torch.Tensor, steep: float = STEEP) -> torch.Tensor:
    """Remove the false depths that a scanner leaves at depth edges from a mask.

    Where the beam, or the resampling of the points, straddles an edge, a pixel gets a depth at which there is no
    surface. Two kinds are removed. Between: along a row, column or diagonal, at one or two pixels' distance, log depth
    rises on both sides, or falls on both, by more than `steep` per pixel; the last pixel of each surface has such a
    step on one side only and stays. Isolated: fewer than two of the eight neighbours agree to `steep`, and more
    disagree. Bands of false depth wider than two pixels stay, because they look like real objects; a real object one
    or two pixels wide is removed if it stands between a nearer and a farther surface.

    Args:
        depth: (1, H, W) metres.
        valid: (1, H, W) bool.
        steep: difference of the natural logarithm of depth, about the relative difference.

    Returns:
        (1, H, W) bool, nowhere True where `valid` is not.

    Example:
        >>> row = torch.tensor([2.0, 2.0, 4.7, 9.0, 9.0]).expand(1, 5, 5)
        >>> without_edge_outliers(row, row > 0)[0, 2].tolist()
        [True, True, False, True, True]
    """
    # A comparison with NaN is False: pixels without depth neither count nor are removed.
    logs = torch.where(valid, depth.clamp(min=1e-6).log(), torch.nan)[0]
    height, width = logs.shape
    between = torch.zeros_like(logs, dtype=torch.bool)
    agree, disagree = (torch.zeros_like(logs, dtype=torch.int8) for _ in range(2))
    for reach in (1, 2):
        for down, across in ((0, reach), (reach, 0), (reach, reach), (reach, -reach)):
            # first and second: the same picture cut at either end, so that [i] are `reach` pixels apart
            first = (slice(0, height - down), slice(max(0, -across), width - max(0, across)))
            second = (slice(down, height), slice(max(0, across), width - max(0, -across)))
            step = logs[second] - logs[first]
            rising, falling = step > steep * reach, step < -steep * reach
            if reach == 1:
                near = (step.abs() <= steep).to(torch.int8)
                far = (rising | falling).to(torch.int8)
                for side in (first, second):
                    agree[side] += near
                    disagree[side] += far
            # A pixel is between two others where the step to it and the step from it are both steep, the same way.
            to, on = torch.zeros_like(between), torch.zeros_like(between)
            for steps in (rising, falling):
                to[second], on[first] = steps, steps
                between |= to & on
    isolated = (agree < 2) & (disagree > agree)
    return valid & ~(between | isolated)


def _read_floats(path: Path) -> np.ndarray:
    try:
        values = read_array(io.BytesIO(read_bytes(path)), "biuf")
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be used: {error}") from error
    with np.errstate(over="ignore", invalid="ignore"):  # infinite after it: no measurement
        return values.astype(np.float32)


class DiodeDataset(DepthData):
    """DIODE as it is downloaded: SPLIT/TYPE/scene_N/scan_N/NAME.png, NAME_depth.npy and NAME_depth_mask.npy.

    Args:
        root: the folder that holds train/ and val/, or one of these itself.
        split: "train" or "val".
        scene_type: "indoors", "outdoor" or "all".
        edge_filter: remove false depths at depth edges from the masks, see `without_edge_outliers`. None: outdoors
            in the training split only, where the steps are large, and never in scoring.

    Raises:
        FileNotFoundError: no such folder, or no sample in it.
        ValueError: unknown split or scene type.
    """

    kind, parts = "diode", SCENE_TYPES
    usage = "diode:ROOT is DIODE as downloaded, diode/indoors:ROOT or diode/outdoor:ROOT a part of it"
    frame_size = (CAMERA.height, CAMERA.width)
    origins = (Origin("DIODE (Vasiljevic et al. 2019)", "https://diode-dataset.org", "MIT licence", "mit"),)

    @classmethod
    def splits_at(cls, path: str) -> tuple[str, ...]:
        """See `DepthData`."""
        return SPLITS

    @classmethod
    def open(cls, path: str, part: str, split: str, options: DataOptions) -> "DiodeDataset":
        """See `DepthData`."""
        return cls(path, split, part or "all", options.edge_filter)

    def __init__(
        self,
        root: str | os.PathLike,
        split: str = "train",
        scene_type: str = "all",
        edge_filter: bool | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
        if scene_type not in (*SCENE_TYPES, "all"):
            raise ValueError(f"scene_type must be one of {(*SCENE_TYPES, 'all')}, not {scene_type!r}")
        self.split, self.edge_filter = split, edge_filter
        self.rule = RULES["diode" if scene_type == "all" else f"diode-{scene_type}"]
        if edge_filter:
            self.mask = "the data set's own mask without false depths at edges"
        root = Path(root)
        self.folder = root if root.name == split and not (root / split).is_dir() else root / split
        types = SCENE_TYPES if scene_type == "all" else (scene_type,)
        self.pictures = [
            path
            for kind in types
            for path in sorted((self.folder / kind).glob("scene_*/scan_*/*.png"))
            if _NAME.fullmatch(path.stem)
        ]
        if not self.pictures:
            wanted = " or ".join(str(self.folder / kind / "scene_*/scan_*") for kind in types)
            raise FileNotFoundError(f"no DIODE sample in {wanted}")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.pictures)

    def key(self, index: int) -> str:
        """The official name."""
        return self.pictures[index].stem

    def part_of(self, index: int) -> str:
        """Its scene type."""
        return parse_name(self.key(index)).scene_type

    def files(self, index: int) -> list[Path]:
        """Picture, depth map and mask."""
        picture = self.pictures[index]
        return [picture, *(picture.with_name(picture.stem + end) for end in ("_depth.npy", "_depth_mask.npy"))]

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is the official name.

        Raises:
            SampleError: a file of the sample is missing, damaged or has no valid pixel.
        """
        outdoor = self.part_of(index) == "outdoor"
        return self._read(index, outdoor and self.split == "train" if self.edge_filter is None else self.edge_filter)

    def unscored(self, index: int) -> DepthSample:
        """One sample with DIODE's own mask, unless the edge filter was asked for."""
        return self._read(index, bool(self.edge_filter))

    def _read(self, index: int, edge_filter: bool) -> DepthSample:
        key = self.key(index)
        picture, depth_file, mask_file = self.files(index)
        try:
            photo = read_photo(picture)
            # On disk depth is (H, W, 1) and the mask (H, W), 0 or 1 in a float.
            depth, mask = map(_read_floats, (depth_file, mask_file))
        except (OSError, EOFError, ValueError) as error:
            raise SampleError(f"{key}: {error}") from error
        shape = (photo.height, photo.width)
        if not {depth.shape, mask.shape} <= {shape, (*shape, 1)}:
            raise SampleError(f"{key}: depth {depth.shape} and mask {mask.shape} do not fit the picture {shape}")
        sample = DepthSample.checked(
            to_tensor(photo.image, shape),
            torch.from_numpy(depth.reshape(1, *shape)),
            torch.from_numpy(mask.reshape(1, *shape) > 0.5),
            CAMERA.resize(photo.width, photo.height),
            key,
        )
        if edge_filter:
            return DepthSample.checked(*sample[:2], without_edge_outliers(sample.depth, sample.valid), *sample[3:])
        return sample

    @classmethod
    def official_names(cls, path: Path, part: str) -> dict[str, set[str]]:
        """The names in diode_meta.json of DIODE's devkit, by SPLIT/TYPE.

        Args:
            path: diode_meta.json.
            part: "indoors", "outdoor" or "" for both.

        Raises:
            ValueError: the file is not such a list.
        """
        try:
            found = {
                f"{split}/{kind}": {name for scans in scenes.values() for names in scans.values() for name in names}
                for split, kinds in read_json(path).items()
                for kind, scenes in kinds.items()
                if part in (kind, "")
            }
            for name in set().union(*found.values()):
                parse_name(name)
            return found
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is not DIODE's list of names: {error}") from error
