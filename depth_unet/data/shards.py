"""Prepared data: compact shards, WebDataset tars with an index beside each, for random access.

`python -m train.prepare` writes them and `--data prepared:DIR` reads them. A sample is three files of one name in a
tar: NAME.jpg, NAME.depth.png (16-bit, the logarithm of depth) and NAME.json (key and camera). Any WebDataset reader
can stream them; `ShardDataset` reads sample `index` with one access.
"""

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from depth_unet.camera import Camera
from depth_unet.data.dataset import DataOptions, DepthData
from depth_unet.data.diode import DiodeDataset
from depth_unet.data.nyu import NYU
from depth_unet.data.origin import EARLIER_MODEL, OWN_RECORDINGS, Origin
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.data.scoring import RULES, WHOLE_FRAME
from depth_unet.images import read_photo, to_tensor

MANIFEST = "dataset.json"
FORMAT = "depth_unet shards 1"
PARTS = ("jpg", "depth.png", "json")
# What version 0.1.0 wrote for an origin, here and in the run.json of a training run.
ORIGINS_OF_0_1 = {
    "nyu_depth_v2": NYU.origin,
    "diode": DiodeDataset.origins[0],
    "own_recordings": OWN_RECORDINGS,
    "earlier_model": EARLIER_MODEL,
}

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


class ShardDataset(DepthData):
    """Prepared data, by index, in the order of the data they were prepared from.

    Args:
        root: the folder that `train.prepare` wrote.
        split: "train", "val" or "test".

    Raises:
        FileNotFoundError: no prepared data there, or no such split.
        ValueError: preparing did not finish, a shard is cut off, or the format is another one.
    """

    kind, is_prepared = "prepared", True
    usage = "prepared:DIR is what train.prepare wrote"

    @classmethod
    def splits_at(cls, path: str) -> tuple[str, ...]:
        """See `DepthData`."""
        return tuple(read_manifest(Path(path))["splits"])

    @classmethod
    def open(cls, path: str, part: str, split: str, options: DataOptions) -> "ShardDataset":
        """See `DepthData`."""
        return cls(path, split)

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        self.root, self.split = Path(root), split
        manifest = read_manifest(self.root)
        splits = manifest["splits"]
        if split not in splits:
            raise FileNotFoundError(f"{self.root} has no split {split!r}, but {', '.join(splits)}")
        rule, self.mask, self.origins, self.hints = _about(manifest, split)
        self.rule = RULES[rule]
        self.shards: list[str] = splits[split]
        keys: list[str] = []
        places: list[list[int]] = []
        for number, shard in enumerate(self.shards):
            index = json.loads((self.root / index_name(shard)).read_bytes())
            size = (self.root / shard).stat().st_size
            if size != index["bytes"]:
                raise ValueError(f"{shard} has {size} bytes instead of {index['bytes']}: copy or prepare it again")
            keys += index["keys"]
            places += [[number, *place] for place in index["places"]]
        self.keys = keys
        # One array, which reading processes share, instead of many small objects, which they would copy.
        self.places = np.array(places, np.int64).reshape(-1, 1 + 2 * len(PARTS))

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.keys)

    def key(self, index: int) -> str:
        """The key in the data that it was prepared from."""
        return self.keys[index]

    def files(self, index: int) -> list[Path]:
        """The shard that holds it."""
        return [self.root / self.shards[self.places[index, 0]]]

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is that of the data it was prepared from.

        Raises:
            SampleError: it cannot be read.
        """
        shard, *places = self.places[index].tolist()
        starts, sizes = places[::2], places[1::2]
        begin, end = starts[0], starts[-1] + sizes[-1]  # the three files lie one after the other: one read
        try:
            with (self.root / self.shards[shard]).open("rb") as file:
                file.seek(begin)
                content = file.read(end - begin)
            if len(content) != end - begin:
                raise ValueError(f"{self.shards[shard]} is cut off")
            files = (content[start - begin : start - begin + size] for start, size in zip(starts, sizes, strict=True))
            return decode_sample(*files)
        except (OSError, SyntaxError, ValueError, KeyError) as error:
            raise SampleError(f"{self.keys[index]}: {error}") from error


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of prepared data.

    Raises:
        FileNotFoundError: no prepared data there.
        ValueError: of another format, or preparing did not finish.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no prepared data in {root}: write them with python -m train.prepare") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ValueError(f"{root / MANIFEST} has the format {found!r}, this version reads {FORMAT!r}")
    if not manifest["finished"]:
        raise ValueError(f"{root} is not fully prepared: run the same train.prepare command again")
    return manifest


class _About(NamedTuple):
    rule: str
    mask: str
    origins: tuple[Origin, ...]
    hints: tuple[str, ...]


def _about(manifest: dict[str, Any], split: str) -> _About:
    """How a split is scored and where it comes from, also from a manifest of version 0.1.0."""
    if "rules" in manifest:
        origins = tuple(map(Origin.from_dict, manifest["origins"]))
        return _About(manifest["rules"][split], manifest["masks"][split], origins, ())
    origins = tuple(ORIGINS_OF_0_1[name] for name in manifest["origin"])
    if origins == (NYU.origin,):
        return _About(NYU.rule.name, NYU.mask, origins, ())
    source, _, part = manifest["settings"]["source"].partition("/")
    if source != "diode":
        return _About(WHOLE_FRAME.name, DepthData.mask, origins, ())
    rule = f"diode-{part}" if part else "diode"
    everywhere = manifest["settings"]["edge_filter"]
    if not (everywhere or (everywhere is None and part != "indoors")):
        return _About(rule, DepthData.mask, origins, ())
    mask = f"{DepthData.mask} without false depths at edges" + ("" if everywhere else " outdoors")
    hint = "version 0.1.0 prepared it: its validation masks are edge-filtered, those of today are not"
    return _About(rule, mask, origins, (hint,) if split != "train" else ())


def index_name(shard: str) -> str:
    """The index that lies beside a shard."""
    return shard.removesuffix(".tar") + ".json"
