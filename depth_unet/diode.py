"""DIODE (Vasiljevic et al. 2019): indoor and outdoor scenes with depth from a laser scanner."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from depth_unet.camera import Camera
from depth_unet.images import read_photo, to_tensor
from depth_unet.samples import DepthSample, SampleError

SPLITS = ("train", "val")
SCENE_TYPES = ("indoors", "outdoor")
CAMERA = Camera(1024, 768, 886.81, 927.06, 512.0, 384.0)  # the devkit's intrinsics.txt
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


class DiodeDataset(Dataset):
    """DIODE as it is downloaded: SPLIT/TYPE/scene_N/scan_N/NAME.png, NAME_depth.npy and NAME_depth_mask.npy.

    Args:
        root: the folder that holds train/ and val/, or one of these itself.
        split: "train" or "val".
        scene_type: "indoors", "outdoor" or "all".

    Raises:
        FileNotFoundError: no such folder, or no sample in it.
        ValueError: unknown split or scene type.
    """

    def __init__(self, root: str | os.PathLike, split: str = "train", scene_type: str = "all") -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
        if scene_type not in (*SCENE_TYPES, "all"):
            raise ValueError(f"scene_type must be one of {(*SCENE_TYPES, 'all')}, not {scene_type!r}")
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
        return DepthSample.checked(
            to_tensor(photo.image, shape),
            torch.from_numpy(depth.reshape(1, *shape)),
            torch.from_numpy(mask.reshape(1, *shape) > 0.5),
            CAMERA.resize(photo.width, photo.height),
            path.stem,
        )
