"""Meshes: furniture loaded in its catalogue size, shapes built from boxes, and the surfaces that carry things."""

import io
import math
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, wraps
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import trimesh

from train.render.catalogue import Model

CELL = 0.025  # metres, of the grids in which surfaces are searched
Point = tuple[float, float, float]
Tiles = Callable[[], tuple[float, ...]]


class Paint(NamedTuple):
    """How a surface looks.

    Args:
        colour: sRGB in [0, 1].
        pattern: a texture of `train.render.materials`, multiplied by the colour; "" for none.
        scale: metres that the texture covers.
        roughness, metallic, specular: of the Principled shader.
        glow: emitted radiance; 0 for none.
        opacity: below 1 for glass.
        turned: rotate the texture by 90 degrees.
        mapped: use the mesh's own texture coordinates instead of a box projection.
        skin: number of the texture of a furniture model; -1 for none, -2 for an unknown colour.
        shift: hue, saturation and value by which that texture is changed; (0.5, 1, 1) leaves it.
    """

    colour: tuple[float, float, float] = (0.8, 0.8, 0.8)
    pattern: str = ""
    scale: float = 1.0
    roughness: float = 0.6
    metallic: float = 0.0
    specular: float = 0.4
    glow: float = 0.0
    opacity: float = 1.0
    turned: bool = False
    mapped: bool = False
    skin: int = -1
    shift: tuple[float, float, float] = (0.5, 1.0, 1.0)


class Layer(NamedTuple):
    """A horizontal surface of a piece of furniture.

    Args:
        height: metres above its base.
        carries: (rows, columns) whether a cell of `CELL` metres belongs to it; rows along y.
        clearance: (rows, columns) free metres above each cell.
    """

    height: float
    carries: np.ndarray
    clearance: np.ndarray


class Survey(NamedTuple):
    """Surfaces of a mesh.

    Args:
        layers: the horizontal surfaces that can carry things, from the lowest to the highest.
        top: (rows, columns) height of the highest surface in each cell, 0 where there is none.
        voxels: (N, 3) centres of the cubes of `CELL` metres that the surface passes through.
    """

    layers: list[Layer]
    top: np.ndarray
    voxels: np.ndarray


class Mesh:
    """Triangles with paints; the base is at z = 0, the centre at x = y = 0, the front looks towards -y.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) indices of vertices.
        uv: (V, 2) texture coordinates.
        slots: (F,) index of each face's paint.
        paints: of the faces.
        images: textures, (H, W, 3|4) uint8, that `Paint.skin` counts.
    """

    def __init__(
        self,
        vertices: np.ndarray,
        faces: np.ndarray,
        uv: np.ndarray,
        slots: np.ndarray,
        paints: Sequence[Paint],
        images: Sequence[np.ndarray] = (),
    ) -> None:
        self.vertices, self.faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
        self.uv, self.slots, self.paints, self.images = uv, slots, list(paints), list(images)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest corner."""
        return self.vertices.min(0), self.vertices.max(0)

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Points on the surface, (N, 3), at most about 2 cm apart; 1 on faces that look up, -1 down, else 0."""
        corners = self.vertices[self.faces]
        edges = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        up = np.trunc(normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-12) / 0.9)
        steps = np.clip(np.ceil(edges / 0.02), 1, 160).astype(int)
        points, upward = [], []
        for n in np.unique(steps):
            chosen = steps == n
            i, j = np.nonzero(np.add.outer(np.arange(n), np.arange(n)) < n)
            weights = np.stack([(i + 1 / 3) / n, (j + 1 / 3) / n, 1 - (i + j + 2 / 3) / n])
            points.append(np.einsum("wk,fwc->fkc", weights, corners[chosen]).reshape(-1, 3))
            upward.append(np.repeat(up[chosen], len(i)))
        return np.concatenate(points), np.concatenate(upward)

    @cached_property
    def survey(self) -> Survey:
        """What layout needs to know of the surface."""
        points, faces = self.samples()
        upward, downward = faces > 0, faces < 0
        heights, (low, high) = points[:, 2], self.bounds
        shape = np.maximum(1, np.ceil((high - low)[1::-1] / CELL - 1e-9).astype(int))
        row, column = np.clip(((points[:, 1::-1] - low[1::-1]) / CELL).astype(int), 0, shape - 1).T
        cells, count = row * shape[1] + column, int(shape.prod())
        top = np.zeros(count)
        np.maximum.at(top, cells, heights)
        layers: list[Layer] = []
        found, counts = np.unique(np.round(heights[upward] / 0.01).astype(int), return_counts=True)
        for k in found[counts >= 40]:
            here = upward & (np.abs(heights - k * 0.01) < 0.0051)
            if here.sum() < 40 or (layers and k * 0.01 - layers[-1].height < 0.015):
                continue
            height = float(np.median(heights[here]))
            carries, clearance = np.zeros(count, bool), np.full(count, np.inf)
            carries[cells[here & (np.abs(heights - height) < 0.003)]] = True
            carries[cells[downward & (np.abs(heights - height) < 0.003)]] = False  # something stands there
            above = heights > height + 0.004
            np.minimum.at(clearance, cells[above], heights[above] - height)
            if (carries & (clearance > 0.06)).sum() >= 16:
                layers.append(Layer(height, carries.reshape(shape), clearance.reshape(shape)))
        voxels = (np.unique(np.floor(points / CELL).astype(int), axis=0) + 0.5) * CELL
        return Survey(layers, top.reshape(shape), voxels.astype(np.float32))


def turned(points: np.ndarray, yaw: float) -> np.ndarray:
    """Rotate points about the vertical axis."""
    c, s = math.cos(yaw), math.sin(yaw)
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


class Shape:
    """Collects boxes, quads and grids of points into one mesh."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.faces: list[np.ndarray] = []
        self.uv: list[np.ndarray] = []
        self.slots: list[np.ndarray] = []
        self.paints: dict[Paint, int] = {}
        self.count = 0

    def add(self, points: np.ndarray, faces: np.ndarray, uv: np.ndarray, paint: Paint) -> None:
        """Add (N, 3) points with their (N, 2) texture coordinates and (F, 3) triangles."""
        self.points.append(np.asarray(points, float))
        self.faces.append(faces + self.count)
        self.uv.append(uv)
        self.slots.append(np.full(len(faces), self.paints.setdefault(paint, len(self.paints))))
        self.count += len(points)

    def quad(self, points: Sequence[Point], paint: Paint, tile: tuple[float, ...] = (0, 0, 1, 1)) -> None:
        """Four points counter-clockwise as seen from the front; `tile` is (u0, v0, u1, v1) of the texture."""
        u0, v0, u1, v1 = tile
        uv = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
        self.add(np.array(points), np.array([(0, 1, 2), (0, 2, 3)]), uv, paint)

    def front(self, across: tuple, heights: tuple, y: float, paint: Paint, tile: tuple = (0, 0, 1, 1)) -> None:
        """An upright rectangle that faces -y: its left and right, its bottom and top."""
        (left, right), (low, high) = across, heights
        self.quad([(left, y, low), (right, y, low), (right, y, high), (left, y, high)], paint, tile)

    def box(self, base: Point, size: Point, paint: Paint, yaw: float = 0.0, tile: Tiles | None = None) -> None:
        """A box on the centre of its base; `tile` is called for the texture of each side."""
        x, y, z = size[0] / 2, size[1] / 2, size[2]
        loops = (
            ((-x, -y, 0), (x, -y, 0), (x, -y, z), (-x, -y, z)), ((x, -y, 0), (x, y, 0), (x, y, z), (x, -y, z)),
            ((x, y, 0), (-x, y, 0), (-x, y, z), (x, y, z)), ((-x, y, 0), (-x, -y, 0), (-x, -y, z), (-x, y, z)),
            ((-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)), ((-x, y, 0), (x, y, 0), (x, -y, 0), (-x, -y, 0)),
        )  # fmt: skip
        for loop in loops:
            self.quad(turned(np.array(loop, float), yaw) + base, paint, tile() if tile else (0, 0, 1, 1))

    def grid(self, points: np.ndarray, paint: Paint) -> None:
        """A sheet of (rows, columns, 3) points."""
        rows, columns, _ = points.shape
        a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
        b = a + columns
        faces = np.concatenate([np.stack([a, a + 1, b + 1], 1), np.stack([a, b + 1, b], 1)])
        v, u = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
        self.add(points.reshape(-1, 3), faces, np.stack([u, v], -1).reshape(-1, 2), paint)

    def mesh(self) -> Mesh:
        """All of it."""
        stacked = (np.concatenate(parts) for parts in (self.points, self.faces, self.uv, self.slots))
        return Mesh(*stacked, list(self.paints))


def shaped(build: Callable[..., None]) -> Callable[..., Mesh]:
    """Turn a function that fills a shape, its first argument, into one that returns the mesh of it."""

    @wraps(build)
    def make(*args: Any, **options: Any) -> Mesh:
        solid = Shape()
        build(solid, *args, **options)
        return solid.mesh()

    return make


@lru_cache(maxsize=16)
def _archive(path: Path) -> tuple[zipfile.ZipFile, dict[str, list[str]]]:
    """A library, read once, and the materials and pictures in each of its folders."""
    archive, folders = zipfile.ZipFile(io.BytesIO(path.read_bytes())), defaultdict(list)
    for name in archive.namelist():
        if name.lower().endswith((".mtl", ".png", ".jpg", ".jpeg")):
            folders[name.rpartition("/")[0]].append(name)
    return archive, folders


def _open(model: Model) -> tuple[io.BytesIO, trimesh.resolvers.Resolver]:
    """The bytes of a mesh file, and where the files beside it are found."""
    path, file = model.library.path, PurePosixPath(model.file)
    if path.is_dir():
        return io.BytesIO((path / file).read_bytes()), trimesh.resolvers.FilePathResolver(path / file)
    archive, folders = _archive(path)
    names = {name: name.rpartition("/")[2] for name in folders[str(file.parent)]}
    if len(names) > 60:  # many models share the folder
        names = {name: own for name, own in names.items() if own.startswith(file.stem)}
    beside = {own: io.BytesIO(archive.read(name)) for name, own in names.items()}
    return io.BytesIO(archive.read(model.file)), trimesh.resolvers.ZipResolver(beside)


@lru_cache(maxsize=400)
def load(model: Model) -> Mesh | None:
    """Load a model in its catalogue size; None if its file cannot be used.

    The base comes to z = 0, the centre to x = y = 0, and the front looks towards -y.
    """
    if model.library.path is None:
        return _primitive(model.file, model.size)
    file, resolver = _open(model)
    try:
        loaded = trimesh.load(file, file_type=PurePosixPath(model.file).suffix[1:], resolver=resolver, process=False)
    except Exception:  # trimesh raises whatever its parsers meet in a damaged file
        return None
    parts = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
    parts = [part for part in parts if isinstance(part, trimesh.Trimesh) and len(part.faces)]
    if not parts:
        return None
    vertices = np.concatenate([part.vertices for part in parts])
    if model.rotation:
        vertices = vertices @ np.array(model.rotation).reshape(3, 3).T
    low, high = vertices.min(0), vertices.max(0)
    width, depth, height = model.size
    vertices = (vertices - ((low + high) / 2 * (1, 0, 1) + low * (0, 1, 0))) / np.maximum(high - low, 1e-9)
    vertices = (vertices * (width, height, depth))[:, [0, 2, 1]] * (1, -1, 1)  # y up becomes z up
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, offsets, strict=False)])
    images: list[np.ndarray] = []
    paints, uvs = zip(*(_looks(part, images) for part in parts), strict=True)
    slots = np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts])
    return Mesh(vertices, faces, np.concatenate(uvs), slots, paints, images)


def _looks(part: trimesh.Trimesh, images: list[np.ndarray]) -> tuple[Paint, np.ndarray]:
    """Colour, opacity and texture of a part, and its texture coordinates."""
    uv = getattr(part.visual, "uv", None)
    material = getattr(part.visual, "material", None)
    if material is None:
        return Paint(skin=-2), np.zeros((len(part.vertices), 2))
    if hasattr(material, "to_simple"):
        material = material.to_simple()
    colour = tuple(float(c) / 255 for c in material.diffuse[:3])
    dissolve = material.kwargs.get("d", [1.0])
    opacity = float(np.ravel(dissolve)[0]) if np.size(dissolve) else 1.0
    skin = -1
    if material.image is not None and uv is not None:
        image = material.image.convert("RGB")
        image.thumbnail((512, 512))
        images.append(np.asarray(image))
        skin = len(images) - 1
    uv = np.zeros((len(part.vertices), 2)) if uv is None else np.asarray(uv)[:, :2]
    return Paint(colour, opacity=opacity, mapped=skin >= 0, skin=skin), uv


LEGS = [(0.46 * x, 0.46 * y, 0, 0.07, 0.07) for x in (-1, 1) for y in (-1, 1)]
PARTS = {  # middle of the base and size of the boxes of primitives, as shares of width, depth and height
    "table": [*((*leg, 0.94) for leg in LEGS), (0, 0, 0.94, 1, 1, 0.06)],
    "chair": [*((*leg, 0.45) for leg in LEGS), (0, 0, 0.45, 1, 1, 0.05), (0, 0.46, 0.5, 1, 0.08, 0.5)],
    "sofa": [(0, 0, 0, 1, 1, 0.5), (0, 0.38, 0.5, 1, 0.24, 0.5)],
    "bed": [(0, 0, 0, 1, 1, 0.55), (0, 0.485, 0.55, 1, 0.03, 0.45)],
    "lamp": [(0, 0, 0, 0.6, 0.6, 0.05), (0, 0, 0.05, 0.1, 0.1, 0.65), (0, 0, 0.7, 1, 1, 0.3)],
    "shelves": [(0, 0.49, 0, 1, 0.02, 1), (-0.485, -0.01, 0, 0.03, 0.98, 1), (0.485, -0.01, 0, 0.03, 0.98, 1),
                *((0, -0.01, 0.194 * k, 0.94, 0.98, 0.03) for k in range(6))],
    "box": [(0, 0, 0, 1, 1, 1)],
}  # fmt: skip


@shaped
def _primitive(solid: Shape, shape: str, size: tuple[float, float, float]) -> None:
    """A simple piece of furniture made of boxes."""
    for part in PARTS[shape]:
        solid.box(np.multiply(part[:3], size), np.multiply(part[3:], size), Paint(skin=-2))
