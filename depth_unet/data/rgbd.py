"""Pairs of picture and depth map in a folder or a tar: one's own recordings, frames of benchmarks, ..."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from depth_unet.camera import Camera
from depth_unet.data.archive import open_archive
from depth_unet.data.dataset import DataOptions, DepthData
from depth_unet.data.depth_map import DepthMap, is_depth_map, parse_depth, parse_unit
from depth_unet.data.kitti import KITTI
from depth_unet.data.layout import Layout
from depth_unet.data.nyu import NYU
from depth_unet.data.origin import ORIGIN_FILE, OWN_RECORDINGS, Origin, parse_origin
from depth_unet.data.pairs import Patterns, find_pairs
from depth_unet.data.sample import DepthSample, SampleError
from depth_unet.files import METRES_PER_UNIT, UNIT_KEY
from depth_unet.images import read_photo, to_tensor
from depth_unet.reading import parse_camera, parse_json

CAMERA_FILE = "camera.json"
PAIRS_KEY = "pairs"  # of camera.json, besides the camera and the unit
LAYOUTS: dict[str, Layout | None] = {"plain": None, "nyu": NYU, "kitti": KITTI}
SAME_ASPECT = 0.01  # largest relative difference of two aspect ratios that count as the same
_LOOKED_AT = 8  # depth maps that are looked at for their origin
Shape = tuple[int, int]  # (height, width) in pixels


class RgbdFolder(DepthData):
    """Pictures with depth maps.

    A depth map is found beside its picture, as NAME.png/.npy/.npz next to NAME.jpg or as NAME_depth.png/.npy/.npz, or
    in a folder `depth` or `depths` next to the picture's folder (`rgb`, `image`, `images` or `color`), in any case of
    letters; or by `pairs`. Arrays of floats are in metres; 0, NaN, infinity, and 65535 in 16-bit files, mean "not
    measured". A picture that is larger than its depth map, and of the same aspect within 1 %, is shrunk to it. A
    depth map of the shape that a turned picture (EXIF) is stored in is turned with it; one of the upright shape is
    not.

    A file camera.json holds the fields of `Camera` and may hold `metres_per_unit` and `pairs`; it applies to the
    folder that it lies in and to those below. A file origin.json in the root, or in the one folder that the root or
    tar holds, is an `Origin`. Depth maps that this package wrote (`Prediction.save`, `train.label`) contain their
    camera and their unit, which have priority over all files beside them.

    Args:
        path: folder or uncompressed tar; both are searched through all levels.
        camera: intrinsics of all pictures; else those in the depth map, else those of the nearest camera.json, else
            those of `layout`, else EXIF, else `Camera.assumed`.
        metres_per_unit: of integer depth maps where camera.json does not say; None: that of `layout`, else 1/1000.
        layout: "nyu" for frames of NYU Depth V2: the Kinect's camera, the white frame around a picture is invalid,
            and scoring counts the Eigen crop; "kitti" for frames of KITTI: depth in 1/256 m, and scoring counts the
            crop of Garg et al.; "plain" for everything else.
        origin: of a folder or tar without origin.json.
        pairs: `Patterns` of the names of pictures and depth maps where camera.json has none; None: the usual names.

    Raises:
        FileNotFoundError: no such path, or no pair in it.
        ValueError: not a readable tar, unknown layout, unusable camera.json, origin.json or `pairs`.
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
        unit, origin, pairs = options.metres_per_unit, options.origin, options.pairs
        return cls(path, metres_per_unit=unit, layout=part or "plain", origin=origin, pairs=pairs)

    def __init__(
        self,
        path: str | os.PathLike,
        camera: Camera | None = None,
        metres_per_unit: float | None = None,
        layout: str = "plain",
        origin: Origin | None = None,
        pairs: tuple[str, str] | None = None,
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
        self.layout = LAYOUTS[layout]
        own_unit = self.layout.metres_per_unit if self.layout else METRES_PER_UNIT
        self.metres_per_unit = own_unit if metres_per_unit is None else parse_unit(metres_per_unit)
        self.camera = camera
        self._archive = open_archive(Path(path))
        self.cameras: dict[PurePosixPath, Camera] = {}
        self.units: dict[PurePosixPath, float] = {}
        patterns = {PurePosixPath(): Patterns.checked(pairs)} if pairs else {}
        self._read_cameras(patterns)
        self.pairs = self._find_pairs(patterns)
        if not self.pairs:
            shown = " or ".join(f"{each.picture} with {each.depth}" for each in patterns.values())
            raise FileNotFoundError(
                f"no pair of picture and depth map in {path}: expected "
                + (shown or "NAME.jpg beside NAME.png, NAME.npy, NAME_depth.png or NAME_depth.npy, or rgb/ and depth/")
            )
        if self.layout:
            self.rule, self.mask = self.layout.rule, self.layout.mask
        models, looked_at = self._models()
        known = self._read_origin() or (self.layout.origin if self.layout else origin)
        if known or not models:
            self.origins = (known or OWN_RECORDINGS,)
        else:
            recorded = (OWN_RECORDINGS,) if None in models else ()
            named = (Origin(f"predictions of {model}", terms="those of the model") for model in models if model)
            self.origins = (*recorded, *named)
        self.hints = self._hints(models, looked_at)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def key(self, index: int) -> str:
        """The picture's name in the folder or tar, without suffix."""
        name = str(PurePosixPath(self.pairs[index][0]).with_suffix(""))
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # names may be of another encoding

    def files(self, index: int) -> list[Path]:
        """The pair's own two files, or the tar that holds them."""
        return self._archive.paths(self.pairs[index])

    def _find_pairs(self, patterns: dict[PurePosixPath, Patterns]) -> list[tuple[str, str]]:
        places = self._archive.places
        pairs = find_pairs(
            places, patterns, lambda name: is_depth_map(self._archive.head(name)), self._archive.read_text
        )
        # Once each, though links may lead to a file under several names.
        unique = {tuple(places.get(name, name) for name in pair): pair for pair in reversed(pairs)}
        return sorted(unique.values())

    def _read_origin(self) -> Origin | None:
        tops = {PurePosixPath(name).parts[0].lower() for name in self._archive.places}
        wanted = {ORIGIN_FILE, f"{min(tops)}/{ORIGIN_FILE}"} if len(tops) == 1 else {ORIGIN_FILE}
        name = next((name for name in self._archive.places if name.lower() in wanted), None)
        return None if name is None else parse_origin(self._archive.read_text(name), ORIGIN_FILE)

    def _read_cameras(self, patterns: dict[PurePosixPath, Patterns]) -> None:
        """Read every camera.json: cameras, units and patterns by folder."""
        for name in sorted(self._archive.places):
            folder = PurePosixPath(name).parent
            if PurePosixPath(name).name.lower() != CAMERA_FILE:
                continue
            try:
                values = parse_json(self._archive.read_text(name))
                extras = (values.pop(UNIT_KEY, None), values.pop(PAIRS_KEY, None)) if isinstance(values, dict) else ()
                for extra, found, parse in zip(
                    extras, (self.units, patterns), (parse_unit, Patterns.checked), strict=False
                ):
                    if extra is not None:
                        found[folder] = parse(extra)
                if values or all(extra is None for extra in extras):  # a file may hold these alone
                    self.cameras[folder] = parse_camera(values)
            except (OSError, ValueError) as error:
                raise ValueError(f"{name} cannot be used: {str(error)[:400]}") from error

    def _models(self) -> tuple[dict[str | None, int], int]:
        """How many of the depth maps that are looked at this package predicted, by model; None: recorded ones."""
        chosen = sorted({int(index) for index in np.linspace(0, len(self) - 1, _LOOKED_AT).round()})
        found: list[str | None] = []
        for index in chosen:
            try:
                about = self._read_depth(self.pairs[index][1]).about
            except (OSError, ValueError):
                continue  # named when the pair is read
            found.append(f"{about.get('model') or 'an unnamed model'}"[:80] if about else None)
        models = {model: found.count(model) for model in dict.fromkeys(found)}
        return (models if set(models) - {None} else {}), len(found)

    def _hints(self, models: dict[str | None, int], looked_at: int) -> tuple[str, ...]:
        hints = [
            f"predictions of {model}, not measurements: {count} of {looked_at} depth maps looked at"
            for model, count in models.items()
            if model
        ]
        folders = {part.lower() for part in (*self._archive.folders, *PurePosixPath(self.pairs[0][0]).parts[:-1])}
        if not self.layout and "nyu" in folders and self.origins == (OWN_RECORDINGS,):
            try:
                photo = read_photo(self._archive.read(self.pairs[0][0]), enough=(1, 1))
            except (OSError, ValueError):
                return tuple(hints)  # named when the pair is read
            if (photo.width, photo.height) == (NYU.camera.width, NYU.camera.height):
                hints.append("640x480 pictures in a folder named nyu: frames of NYU Depth V2 are named rgbd/nyu:PATH")
        return tuple(hints)

    def __getitem__(self, index: int) -> DepthSample:
        """One sample; its key is the picture's name without suffix.

        Raises:
            SampleError: a file is damaged, sizes differ, or no pixel is valid.
        """
        picture, depth_name = self.pairs[index]
        key = self.key(index)
        try:
            depth, about = self._read_depth(depth_name)
            photo = read_photo(self._archive.read(picture), enough=(max(depth.shape), max(depth.shape)))
            orientation = photo.orientation
            upright = (photo.height, photo.width)
            stored = upright[::-1] if orientation >= 5 else upright
            is_stored = _is_stored(depth.shape, upright, stored) and not about  # predictions are upright
            depth = turned_upright(depth, orientation) if is_stored else depth
            height, width = depth.shape
            if about and self.camera is None:
                camera = parse_camera(about["camera"]).checked(width, height)
            elif camera := self._camera(picture):
                camera = _fitted(camera, upright, stored, orientation, is_stored).resize(width, height)
            elif photo.focal_35mm:
                camera = Camera.from_focal_35mm(width, height, photo.focal_35mm)
            else:
                camera = Camera.assumed(width, height)
        except (OSError, ValueError) as error:
            raise SampleError(f"{key}: {error}") from error
        image, target = to_tensor(photo.image, (height, width)), torch.from_numpy(np.ascontiguousarray(depth))[None]
        if self.layout is not None:
            return self.layout.sample(image, target, camera, key)
        return DepthSample.checked(image, target, torch.ones_like(target, dtype=torch.bool), camera, key)

    def _camera(self, picture: str) -> Camera | None:
        return self.camera or _nearest(self.cameras, picture) or (self.layout.camera if self.layout else None)

    def _read_depth(self, name: str) -> DepthMap:
        beside = str(PurePosixPath(name).with_suffix(".json"))
        text = (
            self._archive.read_text(beside)
            if name.lower().endswith(".npy") and beside in self._archive.places
            else None
        )
        return parse_depth(self._archive.read(name), name, _nearest(self.units, name) or self.metres_per_unit, text)


def turned_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Values (H, W) of a stored picture, turned or mirrored as its EXIF orientation (1 to 8) asks.

    Example:
        >>> turned_upright(np.array([[1, 2, 3]]), 6).tolist()
        [[1], [2], [3]]
    """
    values = values.T if orientation >= 5 else values
    values = values[:, ::-1] if orientation in (2, 3, 6, 7) else values
    return values[::-1] if orientation in (3, 4, 7, 8) else values


def _is_stored(shape: Shape, upright: Shape, stored: Shape) -> bool:
    """Whether a depth map belongs to the picture as it is stored; where both are possible, it does.

    Raises:
        ValueError: it belongs to neither.
    """
    fits = []  # 2: equal, 1: the picture is larger, 0: neither
    for size in (stored, upright):
        is_smaller = shape[0] <= size[0] and shape[1] <= size[1] and _same_aspect(shape, size)
        fits.append(2 if shape == size else int(is_smaller))
    if not any(fits):
        raise ValueError(
            f"a depth map of {shape[1]}x{shape[0]} does not fit the picture of {upright[1]}x{upright[0]}: it must have "
            "the same aspect and be no larger"
        )
    return fits[0] >= fits[1]


def _fitted(camera: Camera, upright: Shape, stored: Shape, orientation: int, is_stored: bool) -> Camera:
    """The camera of the upright picture, from that of the picture as stored or of the upright one.

    Raises:
        ValueError: it is of a picture of another shape.
    """
    shape = (camera.height, camera.width)
    fits_upright, fits_stored = _same_aspect(shape, upright), _same_aspect(shape, stored)
    if not fits_upright and not fits_stored:
        raise ValueError(
            f"a camera of {camera.width}x{camera.height} pixels does not fit the picture of {upright[1]}x{upright[0]}: "
            "give that of these pictures in camera.json"
        )
    return camera.transpose(orientation) if fits_stored and (is_stored or not fits_upright) else camera


def _same_aspect(shape: Shape, other: Shape) -> bool:
    return abs(shape[1] * other[0] / (shape[0] * other[1]) - 1) <= SAME_ASPECT


def _nearest(by_folder: dict[PurePosixPath, Any], name: str) -> Any | None:
    """What belongs to the nearest folder above a file."""
    return next((by_folder[folder] for folder in PurePosixPath(name).parents if folder in by_folder), None)
