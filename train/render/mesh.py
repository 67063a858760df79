"""Meshes: furniture loaded in its catalogue size, shapes built from boxes, and the surfaces that carry things."""

import io
import math
import zipfile
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import trimesh

from train.render.catalogue import SIDES, Model, table

CELL = 0.025  # metres, of the grids in which surfaces are searched
Point = tuple[float, float, float]
PARTS = table("parts.csv")


class Paint(NamedTuple):
    """How a surface looks.

    Args:
        colour: sRGB in [0, 1].
        pattern: a texture of `train.render.materials`, multiplied by the colour; "" for none; "atlas" and "outside" lie
            on the mesh by its own coordinates.
        scale: metres that the texture covers.
        roughness, metallic, specular: of the Principled shader.
        glow: emitted radiance; 0 for none.
        opacity: below 1 for glass.
        turned: rotate the texture by 90 degrees.
        tile: number of the picture where the pattern is "atlas".
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
    tile: int = -1
    skin: int = -1
    shift: tuple[float, float, float] = (0.5, 1.0, 1.0)


Layer = namedtuple("Layer", "height carries clearance")
Survey = namedtuple("Survey", "layers top voxels")  # of `Mesh.survey`


@dataclass(eq=False)
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

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    slots: np.ndarray
    paints: list[Paint]
    images: list[np.ndarray] = field(default_factory=list)

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
        """What layout needs to know of the surface.

        `layers`: the horizontal surfaces that can carry things, from the lowest to the highest, each with its height
        in metres above the base, (rows, columns) whether a cell of `CELL` metres belongs to it, and the free metres
        above each cell; rows are along y. `top`: (rows, columns) height of the highest surface in each cell, 0 where
        there is none. `voxels`: (N, 3) centres of the cubes of `CELL` metres that the surface passes through.
        """
        points, faces = self.samples()
        upward, downward = faces > 0, faces < 0
        heights, (low, high) = points[:, 2], self.bounds
        shape = np.maximum(1, np.ceil((high - low)[1::-1] / CELL - 1e-9).astype(int))
        row, column = np.clip(((points[:, 1::-1] - low[1::-1]) / CELL).astype(int), 0, shape - 1).T
        cells, count = row * shape[1] + column, int(shape.prod())
        top = np.zeros(count)
        np.maximum.at(top, cells, heights)
        layers: list[Layer] = []
        levels, counts = np.unique(np.round(heights[upward] / 0.01), return_counts=True)
        for level in levels[counts >= 40] * 0.01:
            if layers and level - layers[-1].height < 0.015:
                continue
            height = float(np.median(heights[upward & (np.abs(heights - level) < 0.0051)]))
            flush, above = np.abs(heights - height) < 0.003, heights > height + 0.004
            carries, clearance = np.zeros(count, bool), np.full(count, np.inf)
            carries[cells[upward & flush]] = True
            carries[cells[downward & flush]] = False  # something stands there
            np.minimum.at(clearance, cells[above], heights[above] - height)
            if (carries & (clearance > 0.06)).sum() >= 16:
                layers.append(Layer(height, carries.reshape(shape), clearance.reshape(shape)))
        cubes = np.floor(points / CELL).astype(int)
        filled = np.zeros(np.ptp(cubes, 0) + 1, bool)
        filled[tuple((cubes - cubes.min(0)).T)] = True
        voxels = (np.argwhere(filled) + cubes.min(0) + 0.5) * CELL
        return Survey(layers, top.reshape(shape), voxels.astype(np.float32))


def turned(points: np.ndarray, yaw: float) -> np.ndarray:
    """Rotate points about the vertical axis."""
    c, s = math.cos(yaw), math.sin(yaw)
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


CORNERS = np.array([(x, y, z) for z in (0, 1) for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
QUADS = np.array([(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7), (3, 2, 1, 0)])


class Shape:
    """Collects boxes, quads and grids of points, each moved by `origin`, into one mesh."""

    def __init__(self) -> None:
        self.origin: Point = (0, 0, 0)
        self.parts: list[tuple[np.ndarray, ...]] = []
        self.paints: dict[Paint, int] = {}

    def add(self, points: Sequence[Point] | np.ndarray, faces: np.ndarray, uv: np.ndarray, paint: Paint) -> None:
        """Add (N, 3) points with their (N, 2) texture coordinates and (F, 3) triangles."""
        slot = self.paints.setdefault(paint._replace(tile=-1), len(self.paints))
        self.parts.append((np.add(points, self.origin), faces, uv, np.full(len(faces), slot)))

    def quad(self, points: Sequence[Point] | np.ndarray, paint: Paint) -> None:
        """Four points counter-clockwise as seen from the front."""
        uv = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        if paint.tile >= 0:  # one of 8 x 8, without its rim
            uv = (np.clip(uv, 0.024, 0.976) + (paint.tile % 8, 7 - paint.tile // 8)) / 8
        self.add(points, np.array([(0, 1, 2), (0, 2, 3)]), uv, paint)

    def front(self, left: float, right: float, low: float, high: float, y: float, paint: Paint) -> None:
        """An upright rectangle that faces -y."""
        self.quad([(left, y, low), (right, y, low), (right, y, high), (left, y, high)], paint)

    def box(self, base: Point, size: Point, paint: Paint, yaw: float = 0.0) -> None:
        """A box on the centre of its base."""
        for side in (turned(CORNERS * size, yaw) + base)[QUADS]:
            self.quad(side, paint)

    def assemble(self, thing: str, size: Point, **paints: Paint) -> "Shape":
        """Add the boxes of a thing of parts.csv, which states their place and size as shares of its own."""
        for row in [row for row in PARTS if row["thing"] == thing]:
            place, sides = (np.array([float(row[key]) for key in keys]) * size for keys in ("xyz", SIDES))
            self.box(place, sides, paints[row["paint"]])
        return self

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
        points, faces, uv, slots = zip(*self.parts, strict=True)
        starts = np.cumsum([0, *map(len, points)])
        corners = np.concatenate([part + start for part, start in zip(faces, starts, strict=False)])
        return Mesh(np.concatenate(points), corners, np.concatenate(uv), np.concatenate(slots), list(self.paints))


class _Beside(trimesh.resolvers.FilePathResolver):
    """Materials and pictures beside a model in a folder or an archive, read when they are asked for."""

    def __init__(self, parent: Path | zipfile.Path) -> None:
        self.parent = parent

    def get(self, name: str) -> bytes:
        return (self.parent / PurePosixPath(name).name).read_bytes()


@lru_cache(maxsize=16)
def _opened(path: Path) -> Path | zipfile.Path:
    return path if path.is_dir() else zipfile.Path(io.BytesIO(path.read_bytes()))


@lru_cache(maxsize=400)
def load(model: Model) -> Mesh | None:
    """Load a model in its catalogue size; None if its file cannot be used.

    The base comes to z = 0, the centre to x = y = 0, and the front looks towards -y.
    """
    if model.library.path is None:
        return Shape().assemble(model.file, model.size, body=Paint(skin=-2)).mesh()
    file = _opened(model.library.path) / model.file
    source, kind = io.BytesIO(file.read_bytes()), PurePosixPath(model.file).suffix[1:]
    try:
        loaded = trimesh.load_scene(source, file_type=kind, resolver=_Beside(file.parent), process=False)
    except Exception:  # trimesh raises whatever its parsers meet in a damaged file
        return None
    solid, images = Shape(), []
    for part in loaded.dump():
        if isinstance(part, trimesh.Trimesh) and len(part.faces):
            solid.add(part.vertices, part.faces, *_looks(part, images))
    if not solid.parts:
        return None
    mesh = solid.mesh()
    mesh.images = images
    upright = mesh.vertices @ np.reshape(model.rotation or np.eye(3), (3, 3)).T
    low, high = upright.min(0), upright.max(0)
    unit = (upright - (low + high) / 2) / np.maximum(high - low, 1e-9) + (0, 0.5, 0)
    mesh.vertices = unit[:, [0, 2, 1]] * (1, -1, 1) * model.size  # y up becomes z up
    return mesh


def _looks(part: trimesh.Trimesh, images: list[np.ndarray]) -> tuple[np.ndarray, Paint]:
    """Texture coordinates of a part, and its colour, opacity and texture, which is added to the images."""
    material, uv = getattr(part.visual, "material", None), getattr(part.visual, "uv", None)
    flat = np.zeros((len(part.vertices), 2))
    if material is None:
        return flat, Paint(skin=-2)
    material = material.to_simple() if hasattr(material, "to_simple") else material
    opacity, colour = np.ravel(material.kwargs.get("d", 1.0)), (material.diffuse[:3] / 255).tolist()
    paint = Paint(tuple(colour), opacity=float(opacity[0]) if opacity.size else 1.0)
    if material.image is None or uv is None:
        return flat, paint
    image = material.image.convert("RGB")
    image.thumbnail((512, 512))
    images.append(np.asarray(image))
    return np.asarray(uv)[:, :2], paint._replace(skin=len(images) - 1)
