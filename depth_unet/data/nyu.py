"""NYU Depth V2 (Silberman et al. 2012) as its authors publish it: nyu_depth_v2_labeled.mat with splits.mat."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from depth_unet.data.rgbd import NYU
from depth_unet.data.sample import DepthSample, SampleError

SPLITS = {"train": "trainNdxs", "test": "testNdxs"}
_INSTALL = 'NYU files need h5py and scipy: pip install "depth_unet[train]"'


class NyuDataset(Dataset):
    """The labelled set: 1449 Kinect frames, 795 to train on and 654 to test, with in-filled depth.

    As in `RgbdFolder`, the Eigen crop and 0.3 to 10 metres are valid. Keys are nyu/NNNN, the 0-based index.

    Args:
        path: nyu_depth_v2_labeled.mat (HDF5).
        split: "train" or "test", of the official splits.
        splits: splits.mat; by default beside `path`.
        filled: as in `RgbdFolder`.

    Raises:
        FileNotFoundError: one of the files is not there.
        ImportError: h5py or scipy are not installed.
        ValueError: unknown split, or not these files.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        split: str = "train",
        splits: str | os.PathLike | None = None,
        filled: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {tuple(SPLITS)}, not {split!r}")
        try:
            import h5py
            from scipy.io.matlab import MatReadError, loadmat
        except ImportError as error:
            raise ImportError(_INSTALL) from error
        self.path, self.filled = Path(path), filled
        splits = self.path.with_name("splits.mat") if splits is None else Path(splits)
        for file in (self.path, splits):
            if not file.is_file():
                raise FileNotFoundError(f"no {file}: NYU Depth V2 publishes it beside its labelled data set")
        try:
            numbers = loadmat(splits)[SPLITS[split]]
            with h5py.File(self.path) as file:
                count = len(file["depths"])
                missing = {"images", "depths"} - set(file)
        except (OSError, KeyError, ValueError, MatReadError) as error:
            raise ValueError(f"{self.path.name} and {splits.name} are not NYU's labelled set: {error}") from error
        self.indices = [int(number) - 1 for number in numbers.ravel()]
        if missing or max(self.indices) >= count:
            raise ValueError(f"{self.path.name} has {count} frames and lacks {missing or 'some'} of what is in splits")
        self._opened: tuple[int, Any] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.indices)

    def __getitem__(self, index: int) -> DepthSample:
        """One frame.

        Raises:
            SampleError: the file is damaged there.
        """
        import h5py

        if self._opened is None or self._opened[0] != os.getpid():  # HDF5 handles do not survive a fork
            self._opened = (os.getpid(), h5py.File(self.path))
        number = self.indices[index]
        key = f"nyu/{number:04d}"
        try:
            # Matlab counts the other way: (channel, column, row) and (column, row)
            image = np.ascontiguousarray(self._opened[1]["images"][number].transpose(0, 2, 1))
            depth = np.ascontiguousarray(self._opened[1]["depths"][number].T, np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise SampleError(f"{key}: {error}") from error
        height, width = depth.shape
        return NYU.sample(
            torch.from_numpy(image).float() / 255,
            torch.from_numpy(depth)[None],
            NYU.camera.resize(width, height),
            key,
            self.filled,
        )

    def __getstate__(self) -> dict[str, Any]:
        """The open file stays behind when the data set goes to another process."""
        return self.__dict__ | {"_opened": None}
