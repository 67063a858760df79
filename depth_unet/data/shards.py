"""Prepared data: compact shards, tars in the manner of WebDataset with an index beside each, read at random.

What `python -m train.prepare` writes and `--data prepared:DIR` reads. A sample is three files of one name in a tar:
NAME.jpg, NAME.depth.png (16-bit, the logarithm of depth) and NAME.json (key and camera). Any WebDataset reader can
stream them; `ShardDataset` finds sample `index` with one read.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from depth_unet.camera import Camera
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.images import read_photo, to_tensor

MANIFEST = "dataset.json"
FORMAT = "depth_unet shards 1"
PARTS = ("jpg", "depth.png", "json")

# Code 0 is "no measurement", code c is NEAREST * exp(STEP * (c - 1)) metres. Rounding changes a depth by at most
# STEP / 2, 0.025%, at any distance; finer steps would only store the sensor's noise, and larger files.
NEAREST, STEP = 0.01, 0.0005
_METRES = (NEAREST * np.exp(STEP * (np.arange(65536) - 1.0))).astype(np.float32)
_METRES[0] = 0.0


def encode_depth(depth: torch.Tensor, valid: torch.Tensor) -> np.ndarray:
    """Metres and mask as 16-bit codes, logarithmic.

    Args:
        depth: (1, H, W) metres.
        valid: (1, H, W) bool; depths below `NEAREST` count as not measured too.

    Returns:
        (H, W) uint16.
    """
    known = (valid & (depth >= NEAREST))[0].numpy()
    codes = np.rint(np.log(np.where(known, depth[0].numpy().astype(np.float64), NEAREST) / NEAREST) / STEP) + 1
    return np.where(known, np.minimum(codes, 65535), 0).astype(np.uint16)


def decode_depth(codes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (1, H, W) float32 in metres and mask (1, H, W) bool; the inverse of `encode_depth` to 0.025%."""
    return torch.from_numpy(_METRES.take(codes)[None]), torch.from_numpy((codes > 0)[None])


def encode_sample(sample: DepthSample, quality: int = 92) -> dict[str, bytes]:
    """The contents of a sample's three files, by ending.

    Args:
        sample: any size.
        quality: of the JPEG, 1 to 100.
    """
    picture, depth = io.BytesIO(), io.BytesIO()
    pixels = (sample.image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    # subsampling=0: colours keep their full resolution, edges in the picture stay where depth has them
    Image.fromarray(pixels).save(picture, "JPEG", quality=quality, subsampling=0)
    Image.fromarray(encode_depth(sample.depth, sample.valid)).save(depth, "PNG")
    about = {
        "key": sample.key,
        "camera": sample.camera.to_dict(),
        "depth": f"{NEAREST} * exp({STEP} * (code - 1)) metres, 0: not measured",
    }
    return dict(zip(PARTS, (picture.getvalue(), depth.getvalue(), json.dumps(about).encode()), strict=True))


def decode_sample(picture: bytes, depth: bytes, about: bytes) -> DepthSample:
    """The inverse of `encode_sample`, as far as a JPEG can be."""
    described = json.loads(about)
    with Image.open(io.BytesIO(picture)) as image:
        photo = read_photo(image)
    with Image.open(io.BytesIO(depth)) as image:
        metres, valid = decode_depth(np.asarray(image))
    image = to_tensor(photo.image, (photo.height, photo.width))
    return DepthSample(image, metres, valid, Camera.from_dict(described["camera"]), described["key"])


class ShardDataset(Dataset):
    """Prepared data, by index, in the order of the data they were prepared from.

    Args:
        root: the folder that `train.prepare` wrote, or its URL for fsspec, e.g. hf://datasets/OWNER/NAME: a sample
            is then fetched with one ranged request when it is asked for.
        split: "train", "val" or "test".

    Raises:
        FileNotFoundError: no prepared data there, or no such split.
        ValueError: preparing did not finish, a shard is cut off, or the format is another one.
    """

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        self.root = os.fspath(root)
        self._remote = "://" in self.root
        self._opened: tuple[int, Any, str] | None = None
        try:
            manifest = json.loads(self._read(MANIFEST))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no prepared data in {self.root}: write them with python -m train.prepare"
            ) from None
        if manifest.get("format") != FORMAT:
            raise ValueError(f"{self.root}/{MANIFEST} is of {manifest.get('format')!r}, this program reads {FORMAT!r}")
        if not manifest["finished"]:
            raise ValueError(f"{self.root} is not fully prepared: run the same train.prepare command again")
        self.splits: list[str] = list(manifest["splits"])
        self.origin: list[str] = manifest["origin"]  # the data sets whose terms apply
        if split not in self.splits:
            raise FileNotFoundError(f"{self.root} has no split {split!r}, but {', '.join(self.splits)}")
        self.shards: list[str] = manifest["splits"][split]
        keys: list[str] = []
        places: list[list[int]] = []
        for number, shard in enumerate(self.shards):
            index = json.loads(self._read(index_name(shard)))
            if not self._remote:
                size = (Path(self.root) / shard).stat().st_size
                if size != index["bytes"]:
                    raise ValueError(f"{shard} has {size} bytes instead of {index['bytes']}: copy or prepare it again")
            keys += index["keys"]
            places += [[number, *place] for place in index["places"]]
        self.keys = keys
        # One array, which processes that read share, instead of many small objects, which they would copy.
        self.places = np.array(places, np.int64).reshape(-1, 1 + 2 * len(PARTS))

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.keys)

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is that of the data it was prepared from.

        Raises:
            SampleError: it cannot be read.
        """
        shard, *places = self.places[index].tolist()
        starts, sizes = places[::2], places[1::2]
        begin, end = starts[0], starts[-1] + sizes[-1]  # the three files lie one after the other: one read
        try:
            content = self._read(self.shards[shard], begin, end)
            if len(content) != end - begin:
                raise ValueError(f"{self.shards[shard]} is cut off")
            files = (content[start - begin : start - begin + size] for start, size in zip(starts, sizes, strict=True))
            return decode_sample(*files)
        except (OSError, SyntaxError, ValueError, KeyError) as error:
            raise SampleError(f"{self.keys[index]}: {error}") from error

    def _read(self, name: str, begin: int = 0, end: int | None = None) -> bytes:
        if not self._remote:
            with (Path(self.root) / name).open("rb") as file:
                file.seek(begin)
                return file.read(-1 if end is None else end - begin)
        if self._opened is None or self._opened[0] != os.getpid():  # connections do not survive a fork
            self._opened = (os.getpid(), *fsspec.core.url_to_fs(self.root))
        _, files, base = self._opened
        return files.cat_file(f"{base}/{name}", begin or None, end)

    def __getstate__(self) -> dict[str, Any]:
        """Connections stay behind when the data set goes to another process."""
        return self.__dict__ | {"_opened": None}


def index_name(shard: str) -> str:
    """The index that lies beside a shard."""
    return shard.removesuffix(".tar") + ".json"
