"""Pairs of picture and depth map in a folder or a tar: recordings of one's own, NYU Depth V2 frames, ..."""

import io
import json
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import Dataset

from depth_unet.camera import Camera
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.images import SUFFIXES, read_photo, to_tensor

CAMERA_FILE = "camera.json"
METRES_PER_UNIT = 0.001  # of integer depth maps


class Layout(NamedTuple):
    """What is known about the frames of a recording device.

    Args:
        camera: intrinsics of a frame.
        scored: (top, bottom, left, right): the part of a frame whose depth is to be trusted.
        filled: the same, with what was filled in around it: everything but the white frame around the picture.
        depth_range: (nearest, farthest) metres that count.
    """

    camera: Camera
    scored: tuple[int, int, int, int]
    filled: tuple[int, int, int, int]
    depth_range: tuple[float, float]

    def sample(self, image: torch.Tensor, depth: torch.Tensor, camera: Camera, key: str, filled: bool) -> DepthSample:
        """A frame, of which `scored` or `filled` is valid; all of it if it has another size.

        Raises:
            SampleError: no pixel has a valid depth.
        """
        if depth.shape[1:] != (self.camera.height, self.camera.width):
            return DepthSample.checked(image, depth, torch.ones_like(depth, dtype=torch.bool), camera, key)
        nearest, farthest = self.depth_range
        valid = (depth >= nearest) & (depth <= farthest)
        top, bottom, left, right = self.filled if filled else self.scored
        trusted = torch.zeros_like(valid)
        trusted[:, top:bottom, left:right] = True
        return DepthSample.checked(image, depth, valid & trusted, camera, key)


# Kinect intrinsics of the official toolbox; the crop of Eigen et al. 2014, outside which depth is only in-filled.
NYU = Layout(Camera(640, 480, 518.86, 519.47, 325.58, 253.74), (45, 471, 41, 601), (10, 470, 10, 630), (0.3, 10.0))


class RgbdFolder(Dataset):
    """Pictures with depth maps of the same size.

    A depth map is found beside its picture, as NAME.png/.npy next to NAME.jpg or as NAME_depth.png/.npy, or in a
    folder `depth` next to the picture's folder (`rgb`, `image`, `images` or `color`). Integer depth maps are in
    units of `metres_per_unit`, .npy of floats in metres; 0, NaN and infinity mean "not measured".

    Args:
        path: folder or uncompressed tar; both are searched through all levels.
        camera: intrinsics of all pictures; else those of the nearest camera.json (the fields of `Camera`) beside a
            picture or above it, else those of NYU where `layout` is that, else EXIF, else `Camera.assumed`.
        metres_per_unit: of integer depth maps.
        layout: "nyu" scores 640x480 Kinect frames in the Eigen crop and 0.3-10 m, the rest is marked invalid;
            "auto" does so for files in a folder called nyu; "plain" never.
        filled: for training: all but the white frame around a picture is valid. Around the crop depth is no
            measurement, but a network that is trained without it says nonsense along the edges of a picture.

    Raises:
        FileNotFoundError: no such path, or no pair in it.
        ValueError: not a readable tar, unknown layout, unusable camera.json.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        camera: Camera | None = None,
        metres_per_unit: float = METRES_PER_UNIT,
        layout: str = "auto",
        filled: bool = False,
    ) -> None:
        if layout not in ("auto", "nyu", "plain"):
            raise ValueError(f"layout must be auto, nyu or plain, not {layout!r}")
        self.files = _Tar(Path(path)) if Path(path).is_file() else _Folder(Path(path))
        self.pairs = _find_pairs(self.files.names)
        if not self.pairs:
            raise FileNotFoundError(
                f"no pair of picture and depth map in {path}: expected NAME.jpg beside NAME.png, NAME.npy, "
                "NAME_depth.png or NAME_depth.npy, or folders rgb/ and depth/"
            )
        self.metres_per_unit = metres_per_unit
        self.layout = layout
        self.filled = filled
        self.camera = camera
        self.cameras = self._read_cameras()

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def paths(self, index: int) -> list[Path]:
        """The files that a pair is read from: its own two, or the tar that holds them."""
        if isinstance(self.files, _Tar):
            return [self.files.path]
        return [self.files.root / name for name in self.pairs[index]]

    def layout_of(self, picture: str) -> Layout | None:
        """The known layout of a picture, given its name in the folder or tar."""
        folders = (*self.files.folders, *PurePosixPath(picture).parts[:-1])
        return NYU if self.layout == "nyu" or (self.layout == "auto" and "nyu" in folders) else None

    def _read_cameras(self) -> dict[PurePosixPath, Camera]:
        """The cameras of the folders that have a camera.json."""
        cameras = {}
        for name in sorted(self.files.names):
            if PurePosixPath(name).name == CAMERA_FILE:
                try:
                    camera = Camera.from_dict(json.loads(self.files.read(name)))
                    cameras[PurePosixPath(name).parent] = camera.checked(camera.width, camera.height)
                except ValueError as error:
                    raise ValueError(f"{name} cannot be used: {error}") from error
        return cameras

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is the picture's name without suffix.

        Raises:
            SampleError: a file is damaged, sizes differ, or no pixel is valid.
        """
        picture, depth_name = self.pairs[index]
        key = str(PurePosixPath(picture).with_suffix(""))
        try:
            with _opened(self.files.read(picture), picture) as image:
                photo = read_photo(image)
            depth = self._read_depth(depth_name)
        except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
            raise SampleError(f"{key}: {error}") from error
        height, width = photo.height, photo.width
        if depth.shape != (height, width):
            raise SampleError(f"{key}: depth map {depth.shape} does not fit the picture {(height, width)}")
        layout = self.layout_of(picture)
        near = (self.cameras[f] for f in PurePosixPath(picture).parents if f in self.cameras)
        camera = self.camera or next(near, layout.camera if layout else None)
        if camera is not None:
            camera = camera.resize(width, height)
        elif photo.focal_35mm:
            camera = Camera.from_focal_35mm(width, height, photo.focal_35mm)
        else:
            camera = Camera.assumed(width, height)
        target = torch.from_numpy(depth)[None]
        image = to_tensor(photo.image, (height, width))
        if layout is not None:
            return layout.sample(image, target, camera, key, self.filled)
        return DepthSample.checked(image, target, torch.ones_like(target, dtype=torch.bool), camera, key)

    def _read_depth(self, name: str) -> np.ndarray:
        content = self.files.read(name)
        if name.endswith(".npy"):
            depth = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            with _opened(content, name) as image:
                if image.mode not in ("I;16", "I;16B", "I"):
                    raise ValueError(f"{name} is a picture of mode {image.mode}, not a 16-bit depth map")
                depth = np.array(image)
        if depth.ndim == 3 and depth.shape[2] == 1:
            depth = depth[:, :, 0]
        scale = self.metres_per_unit if np.issubdtype(depth.dtype, np.integer) else 1.0
        return depth.astype(np.float32) * np.float32(scale)


class _Folder:
    """Files below a folder, by their path relative to it."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"no folder or tar at {root}")
        self.root = root
        self.folders = root.resolve().parts
        self.names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

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
                self.places = {str(PurePosixPath(m.name)): (m.offset_data, m.size) for m in archive if m.isfile()}
        except tarfile.TarError as error:
            raise ValueError(f"{path.name} is not an uncompressed tar: {error}") from error
        self.names = set(self.places)

    def read(self, name: str) -> bytes:
        offset, size = self.places[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise OSError(f"{name} is cut off in {self.path.name}")
        return content


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
