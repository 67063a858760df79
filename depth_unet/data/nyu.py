"""NYU Depth V2 (Silberman et al. 2012) as its authors publish it: nyu_depth_v2_labeled.mat with splits.mat."""

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_unet.camera import Camera
from depth_unet.data.dataset import DataOptions, DepthData
from depth_unet.data.layout import Layout
from depth_unet.data.origin import Origin
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.data.scoring import NYU_EIGEN
from depth_unet.images import MAX_PIXELS
from depth_unet.reading import LARGEST_TEXT, read_bytes

SPLITS = {"train": "trainNdxs", "test": "testNdxs"}
# Kinect intrinsics of the official toolbox.
NYU = Layout(
    camera=Camera(640, 480, 518.86, 519.47, 325.58, 253.74),
    shown=(10 / 480, 471 / 480, 10 / 640, 630 / 640),  # down to the last row of the Eigen crop
    farthest=10.0,
    rule=NYU_EIGEN,
    mask="in-filled depth without the white frame around the picture",
    origin=Origin(
        "NYU Depth V2 (Silberman et al. 2012)",
        "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
        "states no licence, and is used for research",
        "research-only",
    ),
)
_INSTALL = 'NYU files need h5py and scipy: pip install "depth_unet[train]"'


class NyuDataset(DepthData):
    """The labelled set: 1449 Kinect frames, 795 to train on and 654 to test, with in-filled depth.

    Everything within the white frame around a picture is valid, up to 10 metres; scoring counts the Eigen crop alone.
    Keys are nyu/NNNN, the 0-based index.

    Args:
        path: nyu_depth_v2_labeled.mat (HDF5).
        split: "train" or "test", of the official splits.
        splits: splits.mat; by default beside `path`.

    Raises:
        FileNotFoundError: one of the files is not there.
        ImportError: h5py or scipy are not installed.
        ValueError: unknown split, or not these files.
    """

    kind = "nyu"
    usage = "nyu:FILE is nyu_depth_v2_labeled.mat, with splits.mat beside it"
    rule, mask, origins = NYU.rule, NYU.mask, (NYU.origin,)

    @classmethod
    def splits_at(cls, path: str) -> tuple[str, ...]:
        """See `DepthData`."""
        return tuple(SPLITS)

    @classmethod
    def open(cls, path: str, part: str, split: str, options: DataOptions) -> "NyuDataset":
        """See `DepthData`."""
        return cls(path, split)

    def __init__(self, path: str | os.PathLike, split: str = "train", splits: str | os.PathLike | None = None) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {tuple(SPLITS)}, not {split!r}")
        try:
            import h5py
            from scipy.io import loadmat
        except ImportError as error:
            raise ImportError(_INSTALL) from error
        self.path, self.split = Path(path), split
        splits = self.path.with_name("splits.mat") if splits is None else Path(splits)
        for file in (self.path, splits):
            if not file.is_file():
                raise FileNotFoundError(f"no {file}: NYU Depth V2 publishes it beside its labelled data set")
        try:
            numbers = np.asarray(loadmat(io.BytesIO(read_bytes(splits, LARGEST_TEXT)))[SPLITS[split]]).ravel()
            self.indices = [int(number) - 1 for number in numbers]
            with h5py.File(self.path) as file:
                (count, *size), images = file["depths"].shape, file["images"].shape
                kinds = file["depths"].dtype.kind + file["images"].dtype.kind
        except Exception as error:  # h5py and scipy raise errors of many classes for damaged files
            raise ValueError(f"{self.path.name} and {splits.name} are not NYU's labelled set: {error}") from error
        if images != (count, 3, *size) or len(size) != 2 or not 0 < math.prod(size) <= MAX_PIXELS or kinds != "fu":
            raise ValueError(f"{self.path.name} is not NYU's labelled set: its pictures have the shape {images}")
        if not self.indices or not 0 <= min(self.indices) <= max(self.indices) < count:
            raise ValueError(f"{self.path.name} has {count} frames and lacks some of those in {splits.name}")
        self._opened: tuple[int, Any] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.indices)

    def key(self, index: int) -> str:
        """See `DepthData`."""
        return f"nyu/{self.indices[index]:04d}"

    def files(self, index: int) -> list[Path]:
        """See `DepthData`."""
        return [self.path]

    def __getitem__(self, index: int) -> DepthSample:
        """One frame.

        Raises:
            SampleError: the file is damaged there.
        """
        import h5py

        if self._opened is None or self._opened[0] != os.getpid():  # HDF5 handles do not survive a fork
            self._opened = (os.getpid(), h5py.File(self.path))
        number, key = self.indices[index], self.key(index)
        try:
            # Matlab's order of axes: (channel, column, row) and (column, row)
            image = np.ascontiguousarray(self._opened[1]["images"][number].transpose(0, 2, 1))
            depth = np.ascontiguousarray(self._opened[1]["depths"][number].T, np.float32)
        except Exception as error:  # h5py raises errors of many classes for damaged files
            raise SampleError(f"{key}: {error}") from error
        height, width = depth.shape
        return NYU.sample(
            torch.from_numpy(image).float() / 255,
            torch.from_numpy(depth)[None],
            NYU.camera.resize(width, height),
            key,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file: HDF5 handles cannot be sent to another process."""
        return self.__dict__ | {"_opened": None}
