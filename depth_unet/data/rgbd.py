"""Pairs of picture and depth map in a folder or a tar: one's own recordings, frames of benchmarks, ..."""

import io
import json
import os
import tarfile
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from depth_unet.camera import Camera
from depth_unet.data.dataset import DataOptions, DepthData
from depth_unet.data.kitti import KITTI
from depth_unet.data.layout import Layout
from depth_unet.data.nyu import NYU
from depth_unet.data.origin import ORIGIN_FILE, OWN_RECORDINGS, Origin, parse_origin
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.files import METRES_PER_UNIT, UNIT_KEY
from depth_unet.images import SUFFIXES, read_photo, to_tensor

CAMERA_FILE = "camera.json"
LAYOUTS: dict[str, Layout | None] = {"plain": None, "nyu": NYU, "kitti": KITTI}


def parse_unit(text: str | float) -> float:
    """Metres of one step of an integer depth map, given as a number or a fraction such as "1/5000".

    Raises:
        ValueError: not a positive number.
    """
    try:
        unit = float(Fraction(str(text)))
    except (ValueError, ZeroDivisionError, OverflowError):
        unit = 0.0
    if not 0 < unit < float("inf"):
        raise ValueError(f"metres per unit must be a positive number or fraction, e.g. 0.001 or 1/5000, not {text!r}")
    return unit


class RgbdFolder(DepthData):
    """Pictures with depth maps of the same size.

    A depth map is found beside its picture, as NAME.png/.npy next to NAME.jpg or as NAME_depth.png/.npy, or in a
    folder `depth` next to the picture's folder (`rgb`, `image`, `images` or `color`). .npy of floats are in metres;
    0, NaN and infinity mean "not measured". A .png that this package wrote (`Prediction.save`, `train.label`) contains
    its camera and its unit, which have priority over all files beside it. A file camera.json holds the fields of
    `Camera` and may hold `metres_per_unit`; it applies to the folder that it lies in and to those below. A file
    origin.json in the root holds an `Origin`.

    Args:
        path: folder or uncompressed tar; both are searched through all levels.
        camera: intrinsics of all pictures; else those in the depth map, else those of the nearest camera.json, else
            those of `layout`, else EXIF, else `Camera.assumed`.
        metres_per_unit: of integer depth maps where camera.json does not say; None: that of `layout`, else 1/1000.
        layout: "nyu" for frames of NYU Depth V2: the Kinect's camera, the white frame around a picture is invalid,
            and scoring counts the Eigen crop; "kitti" for frames of KITTI: depth in 1/256 m, and scoring counts the
            crop of Garg et al.; "plain" for everything else.
        origin: of a folder or tar without origin.json.

    Raises:
        FileNotFoundError: no such path, or no pair in it.
        ValueError: not a readable tar, unknown layout, unusable camera.json or origin.json.
    """

    kind, parts = "rgbd", tuple(name for name, layout in LAYOUTS.items() if layout)
    usage = (
        "rgbd:PATH is a folder or tar of pictures with 16-bit PNG or .npy (m) depth maps, rgbd/nyu:PATH one of frames "
        "of NYU Depth V2, rgbd/kitti:PATH one of frames of KITTI"
    )

    @classmethod
    def splits_at(cls, path: str) -> tuple[str, ...]:
        """See `DepthData`."""
        return ("all",)

    @classmethod
    def open(cls, path: str, part: str, split: str, options: DataOptions) -> "RgbdFolder":
        """See `DepthData`."""
        unit, origin = options.metres_per_unit, options.origin
        return cls(path, metres_per_unit=unit, layout=part or "plain", origin=origin)

    def __init__(
        self,
        path: str | os.PathLike,
        camera: Camera | None = None,
        metres_per_unit: float | None = None,
        layout: str = "plain",
        origin: Origin | None = None,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
        self._files = _Tar(Path(path)) if Path(path).is_file() else _Folder(Path(path))
        self.pairs = _find_pairs(self._files.names)
        if not self.pairs:
            raise FileNotFoundError(
                f"no pair of picture and depth map in {path}: expected NAME.jpg beside NAME.png, NAME.npy, "
                "NAME_depth.png or NAME_depth.npy, or folders rgb/ and depth/"
            )
        self.layout = LAYOUTS[layout]
        own_unit = self.layout.metres_per_unit if self.layout else METRES_PER_UNIT
        self.metres_per_unit = own_unit if metres_per_unit is None else parse_unit(metres_per_unit)
        self.camera = camera
        self.origins = (self._read_origin() or (self.layout.origin if self.layout else origin or OWN_RECORDINGS),)
        if self.layout:
            self.rule, self.mask = self.layout.rule, self.layout.mask
        self.cameras, self.units = self._read_cameras()
        self.hints = self._hints()

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def key(self, index: int) -> str:
        """The picture's name in the folder or tar, without suffix."""
        return str(PurePosixPath(self.pairs[index][0]).with_suffix(""))

    def files(self, index: int) -> list[Path]:
        """The pair's own two files, or the tar that holds them."""
        return self._files.paths(self.pairs[index])

    def _read_origin(self) -> Origin | None:
        if ORIGIN_FILE not in self._files.names:
            return None
        return parse_origin(self._files.read(ORIGIN_FILE), ORIGIN_FILE)

    def _read_cameras(self) -> tuple[dict[PurePosixPath, Camera], dict[PurePosixPath, float]]:
        """Cameras and units of the folders that have a camera.json."""
        cameras, units = {}, {}
        for name in sorted(self._files.names):
            folder = PurePosixPath(name).parent
            if PurePosixPath(name).name == CAMERA_FILE:
                try:
                    values = json.loads(self._files.read(name))
                    unit = values.pop(UNIT_KEY, None) if isinstance(values, dict) else None
                    if unit is not None:
                        units[folder] = parse_unit(unit)
                    if values or unit is None:  # a file may hold the unit alone
                        camera = Camera.from_dict(values)
                        cameras[folder] = camera.checked(camera.width, camera.height)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{name} cannot be used: {error}") from error
        return cameras, units

    def _hints(self) -> tuple[str, ...]:
        folders = {part.lower() for part in (*self._files.folders, *PurePosixPath(self.pairs[0][0]).parts[:-1])}
        if self.layout or "nyu" not in folders or self.origins != (OWN_RECORDINGS,):
            return ()
        try:
            with _opened(self._files.read(self.pairs[0][0]), self.pairs[0][0]) as image:
                is_kinect = image.size == (NYU.camera.width, NYU.camera.height)
        except (OSError, ValueError):
            return ()  # named when the pair is read
        text = "640x480 pictures in a folder named nyu: if they are frames of NYU Depth V2, name them rgbd/nyu:PATH"
        return (text,) if is_kinect else ()

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is the picture's name without suffix.

        Raises:
            SampleError: a file is damaged, sizes differ, or no pixel is valid.
        """
        picture, depth_name = self.pairs[index]
        key = self.key(index)
        try:
            with _opened(self._files.read(picture), picture) as image:
                photo = read_photo(image)
            depth, own_camera = self._read_depth(depth_name)
        except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
            raise SampleError(f"{key}: {error}") from error
        height, width = photo.height, photo.width
        if depth.shape != (height, width):
            raise SampleError(f"{key}: depth map {depth.shape} does not fit the picture {(height, width)}")
        camera = self.camera or own_camera or _nearest(self.cameras, picture)
        camera = camera or (self.layout.camera if self.layout else None)
        if camera is not None:
            camera = camera.resize(width, height)
        elif photo.focal_35mm:
            camera = Camera.from_focal_35mm(width, height, photo.focal_35mm)
        else:
            camera = Camera.assumed(width, height)
        target = torch.from_numpy(depth)[None]
        image = to_tensor(photo.image, (height, width))
        if self.layout is not None:
            return self.layout.sample(image, target, camera, key)
        return DepthSample.checked(image, target, torch.ones_like(target, dtype=torch.bool), camera, key)

    def _read_depth(self, name: str) -> tuple[np.ndarray, Camera | None]:
        """Metres, and the camera that the file contains."""
        content, about = self._files.read(name), {}
        if name.endswith(".npy"):
            depth = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            with _opened(content, name) as image:
                if image.mode not in ("I;16", "I;16B", "I"):
                    raise ValueError(f"{name} is a picture of mode {image.mode}, not a 16-bit depth map")
                depth = np.array(image)
                about = described(image)
        if depth.ndim == 3 and depth.shape[2] == 1:
            depth = depth[:, :, 0]
        is_integer = np.issubdtype(depth.dtype, np.integer)
        unit = about.get(UNIT_KEY) or _nearest(self.units, name) or self.metres_per_unit
        camera = about.get("camera")
        if camera is not None:
            camera = Camera.from_dict(camera)
            camera = camera.checked(camera.width, camera.height)
        return depth.astype(np.float32) * np.float32(parse_unit(unit) if is_integer else 1.0), camera


def described(image: Image.Image) -> dict[str, Any]:
    """What a depth map that this package wrote says of itself, with its unit; {} for maps of other programs."""
    try:
        about = json.loads(getattr(image, "text", {}).get("depth", "{}"))
    except (ValueError, RecursionError):
        return {}
    return {UNIT_KEY: METRES_PER_UNIT, **about} if isinstance(about, dict) and about.get("unit") == "metre" else {}


def _nearest(by_folder: dict[PurePosixPath, Any], name: str) -> Any | None:
    """What belongs to the nearest folder above a file."""
    return next((by_folder[folder] for folder in PurePosixPath(name).parents if folder in by_folder), None)


class _Folder:
    """Files below a folder, by their path relative to it."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"no folder or tar at {root}")
        self.root = root
        self.folders = root.resolve().parts
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        self.names = {name.as_posix() for name in found if not _is_hidden(name)}

    def paths(self, names: tuple[str, ...]) -> list[Path]:
        return [self.root / name for name in names]

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


class _Tar:
    """Files in an uncompressed tar, read where they lie; safe to share between worker processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folders = ()
        try:
            with tarfile.open(path, "r:") as archive:
                # Some archives call their files ./NAME.
                found = ((PurePosixPath(member.name), member) for member in archive if member.isfile())
                self.places = {str(name): (m.offset_data, m.size) for name, m in found if not _is_hidden(name)}
        except tarfile.TarError as error:
            raise ValueError(f"{path.name} is not an uncompressed tar: {error}") from error
        self.names = set(self.places)

    def paths(self, names: tuple[str, ...]) -> list[Path]:
        return [self.path]

    def read(self, name: str) -> bytes:
        offset, size = self.places[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise OSError(f"{name} is cut off in {self.path.name}")
        return content


def _is_hidden(name: PurePath) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError:  # whose own words name an object in memory
        raise ValueError(f"{name} is not a picture in a known format") from None


def _find_pairs(names: set[str]) -> list[tuple[str, str]]:
    pairs = []
    for name in sorted(names):
        picture = PurePosixPath(name)
        if picture.suffix.lower() not in SUFFIXES or picture.stem.endswith("_depth"):
            continue
        candidates = [picture.with_name(f"{picture.stem}_depth{suffix}") for suffix in (".png", ".npy")]
        candidates += [picture.with_suffix(suffix) for suffix in (".png", ".npy")]
        if picture.parent.name in ("rgb", "image", "images", "color"):
            folder = picture.parent.parent / "depth"
            candidates += [folder / f"{picture.stem}{suffix}" for suffix in (".png", ".npy")]
        found = next((str(c) for c in candidates if str(c) in names and c != picture), None)
        if found is not None:
            pairs.append((name, found))
    return pairs
