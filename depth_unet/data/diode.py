"""DIODE (Vasiljevic et al. 2019): indoor and outdoor scenes with depth from a laser scanner."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from depth_unet.camera import Camera
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.images import read_photo, to_tensor

SPLITS = ("train", "val")
SCENE_TYPES = ("indoors", "outdoor")
CAMERA = Camera(1024, 768, 886.81, 927.06, 512.0, 384.0)  # the devkit's intrinsics.txt
STEEP = 0.1  # log depth per pixel: no surface that a scanner can measure runs away from the camera faster
_NAME = re.compile(r"(\d{5})_(\d{5})_(indoors|outdoor)_(\d{3})_(\d{3})")


class DiodeName(NamedTuple):
    """What the name of a DIODE sample says, e.g. 00019_00183_indoors_040_000."""

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
    """The mask less the false depths that a scanner leaves at depth edges.

    Where its beam, or the resampling of its points, straddles an edge, a pixel gets a depth at which there is
    nothing. Two kinds are taken out. Between: along a row, column or diagonal, on both sides at one or two pixels'
    distance, the logarithm of depth goes on climbing, or falling, by more than `steep` per pixel; the last pixel of
    each surface has such a step on one side only and stays. Lonely: fewer than two of the eight neighbours agree to
    `steep`, and more disagree. Bands of false depth wider than two pixels stay, for they look like real things, and
    a real thing one or two pixels wide goes if it stands between something nearer and something farther.

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
    # A comparison with NaN is False, so that pixels without depth neither judge nor are judged.
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
    lonely = (agree < 2) & (disagree > agree)
    return valid & ~(between | lonely)


class DiodeDataset(Dataset):
    """DIODE as it is downloaded: SPLIT/TYPE/scene_N/scan_N/NAME.png, NAME_depth.npy and NAME_depth_mask.npy.

    Args:
        root: the folder that holds train/ and val/, or one of these itself.
        split: "train" or "val".
        scene_type: "indoors", "outdoor" or "all".
        edge_filter: take false depths at depth edges out of the masks, see `without_edge_outliers`; None does so
            outdoors, where the steps are large.

    Raises:
        FileNotFoundError: no such folder, or no sample in it.
        ValueError: unknown split or scene type.
    """

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
        self.edge_filter = edge_filter
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

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is the official name.

        Raises:
            SampleError: a file of the sample is missing, damaged or has no valid pixel.
        """
        path = self.pictures[index]
        try:
            photo = read_photo(path)
            # On disk depth is (H, W, 1) and the mask (H, W), 0 or 1 in a float.
            depth = np.load(path.with_name(path.stem + "_depth.npy"), allow_pickle=False).astype(np.float32)
            mask = np.load(path.with_name(path.stem + "_depth_mask.npy"), allow_pickle=False).astype(np.float32)
        except (OSError, EOFError, ValueError) as error:
            raise SampleError(f"{path.stem}: {error}") from error
        shape = (photo.height, photo.width)
        if not {depth.shape, mask.shape} <= {shape, (*shape, 1)}:
            raise SampleError(f"{path.stem}: depth {depth.shape} and mask {mask.shape} do not fit the picture {shape}")
        sample = DepthSample.checked(
            to_tensor(photo.image, shape),
            torch.from_numpy(depth.reshape(1, *shape)),
            torch.from_numpy(mask.reshape(1, *shape) > 0.5),
            CAMERA.resize(photo.width, photo.height),
            path.stem,
        )
        outdoor = parse_name(path.stem).scene_type == "outdoor"
        if outdoor if self.edge_filter is None else self.edge_filter:
            return DepthSample.checked(*sample[:2], without_edge_outliers(sample.depth, sample.valid), *sample[3:])
        return sample
