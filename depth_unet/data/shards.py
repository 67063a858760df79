"""Prepared data: compact shards, WebDataset tars with an index beside each, for random access.

`python -m train.prepare` writes them and `--data prepared:DIR` reads them. A sample is three files of one name in a
tar: NAME.jpg, NAME.depth.png (16-bit, the logarithm of depth) and NAME.json (key and camera). Any WebDataset reader
can stream them; `ShardDataset` reads sample `index` with one access.
"""

import io
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from depth_unet.data.dataset import DataOptions, DepthData
from depth_unet.data.diode import DiodeDataset
from depth_unet.data.nyu import NYU
from depth_unet.data.origin import EARLIER_MODEL, OWN_RECORDINGS, Origin
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.data.scoring import RULES, WHOLE_FRAME
from depth_unet.images import MAX_PIXELS
from depth_unet.reading import parse_camera, parse_json, read_json

MANIFEST = "dataset.json"
FORMAT = "depth_unet shards 1"
PARTS = ("jpg", "depth.png", "json")
_SHARD = re.compile(r"\w[\w.-]*\.tar")
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
    """The inverse of `encode_sample`, as far as a JPEG can be.

    Raises:
        ValueError: not what `encode_sample` writes, or damaged.
    """
    described = parse_json(about)
    if not isinstance(described, dict) or not isinstance(described.get("key"), str):
        raise ValueError("its .json has no key")
    key = described["key"]
    pixels = _decoded(picture, "JPEG", "RGB")
    metres, valid = decode_depth(_decoded(depth, "PNG", "I;16"))
    height, width = pixels.shape[:2]
    camera = parse_camera(described.get("camera")).checked(width, height)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)
    return DepthSample.checked(image, metres, valid, camera, key)


def _decoded(content: bytes, kind: str, mode: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as image:
            if image.mode != mode or image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"a {kind} of mode {image.mode} and {image.width}x{image.height} pixels is not prepared data"
                )
            return np.array(image)
    except ValueError:
        raise
    except Exception as error:  # decoders raise errors of many classes
        raise ValueError(f"its {kind} is damaged ({type(error).__name__})") from error


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
        places: list[np.ndarray] = []
        for number, shard in enumerate(self.shards):
            found, where = _read_index(self.root / index_name(shard), self.root / shard)
            keys += found
            places.append(np.insert(where, 0, number, axis=1))
        self.keys = keys
        # One array, which reading processes share, instead of many small objects, which they would copy.
        self.places = np.concatenate(places) if places else np.empty((0, 1 + 2 * len(PARTS)), np.int64)

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
        except SampleError:
            raise
        except (OSError, ValueError) as error:
            raise SampleError(f"{self.keys[index]}: {error}") from error


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of prepared data.

    Raises:
        FileNotFoundError: no prepared data there.
        ValueError: of another format, or preparing did not finish.
    """
    try:
        manifest = read_json(root / MANIFEST)
    except FileNotFoundError:
        raise FileNotFoundError(f"no prepared data in {root}: write them with python -m train.prepare") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ValueError(f"{root / MANIFEST} has the format {found!r}, this version reads {FORMAT!r}")
    if manifest.get("finished") is not True:
        raise ValueError(f"{root} is not fully prepared: run the same train.prepare command again")
    splits = manifest.get("splits")
    shards = [name for names in splits.values() for name in names] if _is_table(splits) else [None]
    if not all(isinstance(name, str) and _SHARD.fullmatch(name) for name in shards):
        raise ValueError(f"{root / MANIFEST} does not list shards by split: prepare the data again")
    return manifest


def _is_table(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(each, list) for each in values.values())


def _read_index(path: Path, shard: Path) -> tuple[list[str], np.ndarray]:
    """Keys of a shard's samples, and (N, 2 * parts) int64, first byte and size of each of their files.

    Raises:
        FileNotFoundError: no such shard, or no index beside it.
        ValueError: the shard is cut off, or the index is not one of it.
    """
    index = read_json(path)
    if not shard.is_file():
        raise FileNotFoundError(f"there is no {shard.name} in {shard.parent}: copy or prepare it again")
    size = shard.stat().st_size
    if not isinstance(index, dict) or index.get("bytes") != size:
        expected = index.get("bytes") if isinstance(index, dict) else None
        raise ValueError(f"{shard.name} has {size} bytes instead of {expected}: copy or prepare it again")
    keys, listed = index.get("keys"), index.get("places")
    try:
        places = np.array(listed or np.empty((0, 2 * len(PARTS)), np.int64))
        starts, ends = places[:, ::2], places[:, ::2] + places[:, 1::2]
        follows = (starts[:, 1:] >= ends[:, :-1]).all() and (starts[:, 0] >= 0).all() and (places[:, 1::2] >= 0).all()
        is_right = places.shape == (len(keys), 2 * len(PARTS)) and places.dtype == np.int64 and follows
        is_right = is_right and (ends <= size).all() and isinstance(keys, list)
        is_right = is_right and all(isinstance(key, str) for key in keys)
    except (ValueError, TypeError, IndexError, OverflowError):  # other things than a table of integers
        is_right = False
    if not is_right:
        raise ValueError(f"{path.name} does not fit {shard.name}: copy or prepare it again")
    return keys, places


class _About(NamedTuple):
    rule: str
    mask: str
    origins: tuple[Origin, ...]
    hints: tuple[str, ...]


def _about(manifest: dict[str, Any], split: str) -> _About:
    """How a split is scored and where it comes from, also from a manifest of version 0.1.0.

    Raises:
        ValueError: the manifest does not say, or names what is not known.
    """
    try:
        about = _described(manifest, split)
        if about.rule not in RULES or not isinstance(about.mask, str):
            raise ValueError(f"there is no scoring rule {about.rule!r}")
        return about
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{MANIFEST} does not describe the split {split!r} ({error}): prepare the data again"
        ) from error


def _described(manifest: dict[str, Any], split: str) -> _About:
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
