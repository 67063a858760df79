"""Where things stand: rooms of rectangles with openings, and placing without overlap."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from train.render.catalogue import Model
from train.render.mesh import CELL, Layer, Mesh, load, turned

TOLERANCE = 0.004  # metres by which neighbours may touch


def _moved(x: float, y: float, yaw: float, u: float, v: float) -> tuple[float, float]:
    c, s = math.cos(yaw), math.sin(yaw)
    return x + u * c - v * s, y + u * s + v * c


class Wall(NamedTuple):
    """One side of a zone, seen from inside: `u` runs along it from its middle, to the right.

    Args:
        x, y: middle of the wall.
        yaw: turn of a thing whose back is to the wall.
        length: in metres.
    """

    x: float
    y: float
    yaw: float
    length: float

    def at(self, u: float, inward: float = 0.0) -> tuple[float, float]:
        """A point on the floor, `u` along the wall and `inward` from it."""
        return _moved(self.x, self.y, self.yaw, u, -inward)


class Opening(NamedTuple):
    """A hole in a wall.

    Args:
        u: its middle along the wall.
        width: in metres.
        low, high: heights of its lower and upper edge.
        kind: "window", "door" or "passage".
        thick: of the wall there; 0 where the other side already has it.
    """

    u: float
    width: float
    low: float
    high: float
    kind: str
    thick: float


@dataclass
class Zone:
    """A rectangle of floor with its four walls (north, east, south, west) and their openings."""

    x0: float
    y0: float
    x1: float
    y1: float
    kind: str
    openings: list[list[Opening]] = field(default_factory=lambda: [[], [], [], []])

    @property
    def area(self) -> float:
        """Square metres."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the floor."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def wall(self, side: int) -> Wall:
        """The wall of side 0 to 3."""
        (x, y), wide, deep = self.centre, self.x1 - self.x0, self.y1 - self.y0
        x, y = ((x, self.y1), (self.x1, y), (x, self.y0), (self.x0, y))[side]
        return Wall(x, y, -math.pi / 2 * side, deep if side % 2 else wide)

    def holds(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point lies in the rectangle, at least `margin` from its walls."""
        return self.x0 + margin < x < self.x1 - margin and self.y0 + margin < y < self.y1 - margin


class Box(NamedTuple):
    """An upright box that may be turned about the vertical.

    Args:
        x, y: its centre.
        width, depth: along its own axes.
        low, high: from the floor.
        yaw: its turn.
    """

    x: float
    y: float
    width: float
    depth: float
    low: float
    high: float
    yaw: float = 0.0

    def reach(self, axis: float) -> float:
        """Half its extent along a horizontal axis, given by the angle to the room's x axis."""
        turn = self.yaw - axis
        return (self.width * abs(math.cos(turn)) + self.depth * abs(math.sin(turn))) / 2

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest corner of the box around it along the axes of the room."""
        x, y = self.reach(0), self.reach(math.pi / 2)
        return np.array([self.x - x, self.y - y, self.low]), np.array([self.x + x, self.y + y, self.high])


def overlap(a: Box, b: Box) -> float:
    """Metres by which two boxes overlap along the axis where they do least; 0 or less if they are apart.

    Example:
        >>> round(overlap(Box(0, 0, 1, 1, 0, 1), Box(0.9, 0, 1, 1, 0, 1)), 6)
        0.1
    """
    least = min(a.high, b.high) - max(a.low, b.low)
    for axis in (a.yaw, a.yaw + math.pi / 2, b.yaw, b.yaw + math.pi / 2):
        apart = abs((b.x - a.x) * math.cos(axis) + (b.y - a.y) * math.sin(axis))
        least = min(least, a.reach(axis) + b.reach(axis) - apart)
    return least


@dataclass(eq=False)
class Item:
    """A thing in the room.

    Args:
        name: what it is.
        mesh: in its own coordinates.
        size: width, depth and height of its box, scaled.
        x, y, z: middle of its base.
        yaw: its turn.
        on: what carries it: "floor", "wall", "ceiling", or another thing.
        scale: of the mesh.
        model: of the furniture library, if it is one.
        soft: cloth that lies on others and may touch them.
        role: the part it plays.
    """

    name: str
    mesh: Mesh
    size: tuple[float, float, float]
    x: float
    y: float
    z: float
    yaw: float
    on: "str | Item"
    scale: float = 1.0
    model: Model | None = None
    soft: bool = False
    role: str = ""

    @classmethod
    def of(cls, name: str, mesh: Mesh, on: "str | Item" = "floor", z: float = 0.0, **more: Any) -> "Item":
        """A thing of a mesh, which is moved onto its own middle and base; `more` fields may follow."""
        low, high = mesh.bounds
        mesh.vertices -= ((low + high) / 2 * (1, 1, 0)) + low * (0, 0, 1)
        del mesh.bounds
        return cls(name, mesh, tuple(float(v) for v in high - low), 0, 0, z, 0, on, **more)

    @property
    def box(self) -> Box:
        """The box around it."""
        width, depth, height = self.size
        return Box(self.x, self.y, width, depth, self.z, self.z + height, self.yaw)

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Room coordinates of a point `u` to its right and `v` to its back."""
        return _moved(self.x, self.y, self.yaw, u, v)

    def vertices(self) -> np.ndarray:
        """Its vertices in the room."""
        return turned(self.mesh.vertices * self.scale, self.yaw) + (self.x, self.y, self.z)

    def height_at(self, u: float, v: float) -> float:
        """Height of its highest surface, in the room, at a point in its own coordinates."""
        top, low = self.mesh.survey.top, self.mesh.bounds[0]
        row = int(np.clip((v / self.scale - low[1]) / CELL, 0, top.shape[0] - 1))
        column = int(np.clip((u / self.scale - low[0]) / CELL, 0, top.shape[1] - 1))
        return self.z + self.scale * float(top[row, column])


def penetrate(a: Item, b: Item) -> bool:
    """Whether the surfaces of two things pass through the same space, in cubes of 2.5 cm."""
    points = turned(a.mesh.survey.voxels * a.scale, a.yaw) + (a.x - b.x, a.y - b.y, a.z - b.z)
    points = turned(points, -b.yaw) / b.scale
    low, high = b.mesh.bounds
    points = points[((points > low) & (points < high)).all(1)]
    cubes = np.floor(np.concatenate([points, b.mesh.survey.voxels]) / CELL).astype(np.int64) + 10_000
    codes = cubes @ (1 << 40, 1 << 20, 1)
    return len(np.intersect1d(codes[: len(points)], codes[len(points) :])) > 3


class Layout:
    """The rooms and what stands in them.

    Args:
        zones: rectangles of floor; the first is the room itself.
        height: of the ceiling.
        rng: decides everything that is left open.
    """

    def __init__(self, zones: list[Zone], height: float, rng: random.Random) -> None:
        self.zones, self.height, self.rng = zones, height, rng
        self.items: list[Item] = []
        self.boxes: list[tuple[Box, Item | None]] = []  # with the thing in it; None stays free: before doors, windows
        self._low, self._high = np.empty((0, 3)), np.empty((0, 3))  # corners of the boxes
        self._scales: dict[Model, float] = {}

    def keep_free(self, box: Box, item: Item | None = None) -> None:
        """Let nothing be placed here, but a thing that may stand there already."""
        self.boxes.append((box, item))
        low, high = box.bounds
        self._low, self._high = np.vstack([self._low, low]), np.vstack([self._high, high])

    def touching(self, box: Box) -> Iterator[tuple[Box, Item | None]]:
        """What overlaps with a box."""
        low, high = box.bounds
        for index in np.flatnonzero(((self._low < high) & (self._high > low)).all(1)):
            if overlap(box, self.boxes[index][0]) > TOLERANCE:
                yield self.boxes[index]

    def free(self, box: Box, ignore: Sequence[Item] = (), doors: bool = False) -> bool:
        """Whether nothing overlaps with a box, apart from some things, and from doorways with `doors`."""
        return all(item in ignore if item else doors for _, item in self.touching(box))

    def holds(self, x: float, y: float, margin: float) -> bool:
        """Whether a point lies in a room, at least `margin` from the walls of its rectangle."""
        return any(zone.holds(x, y, margin) for zone in self.zones)

    def inside(self, zone: Zone, box: Box) -> bool:
        """Whether a box lies within a zone."""
        low, high = box.bounds
        within = (low >= (zone.x0 - 1e-6, zone.y0 - 1e-6, 0)) & (high <= np.add((zone.x1, zone.y1, self.height), 1e-6))
        return bool(within.all())

    def add(self, item: Item) -> Item:
        """Put a thing where it is, unchecked."""
        self.items.append(item)
        if not item.soft:
            self.keep_free(item.box, item)
        return item

    def make(self, model: Model) -> Item | None:
        """A piece of furniture at the origin, in this room's scale of it."""
        mesh, scale = load(model), self._scales.setdefault(model, self.rng.uniform(0.94, 1.06))  # one scale in a room
        size = tuple(side * scale for side in model.size)
        return mesh and Item(model.name, mesh, size, 0, 0, 0, 0, "floor", scale, model)

    def put(self, item: Item, zone: Zone, x: float, y: float, yaw: float, close: Sequence[Item] = ()) -> Item | None:
        """Place a thing if it fits: by boxes, and against the things in `close` by their surfaces."""
        item.x, item.y, item.yaw = x, y, yaw
        if not self.inside(zone, item.box) or not self.free(item.box, close):
            return None
        for other in close:
            if overlap(item.box, other.box) > TOLERANCE and (penetrate(item, other) or penetrate(other, item)):
                return None
        return self.add(item)

    def set_on(
        self, item: Item, carrier: Item, inside: bool = False, yaw: float | None = None, near: tuple | None = None
    ) -> Item | None:
        """Place a small thing where a horizontal surface of furniture carries all of it.

        Args:
            item: to be placed.
            carrier: the furniture.
            inside: on any surface, instead of mostly the highest.
            yaw: its turn on the carrier, about; any if None.
            near: point in the room from which it may be 15 cm away; anywhere if None.
        """
        layers = [layer for layer in carrier.mesh.survey.layers if layer.height * carrier.scale + carrier.z > 0.02]
        for _ in range(4 if layers else 0):
            turn = self.rng.uniform(-math.pi, math.pi) if yaw is None else yaw + self.rng.gauss(0, 0.1)
            layer = layers[-1] if not inside and self.rng.random() < 0.7 else self.rng.choice(layers)
            if near:
                layer = max(layers, key=lambda layer: layer.carries.sum())
            box = Box(0, 0, *item.size[:2], 0, item.size[2] + 0.015, turn)
            places = self._places(layer, box, carrier.scale) + carrier.mesh.bounds[0][:2] * carrier.scale
            if near:
                wanted = turned(np.array([near[0] - carrier.x, near[1] - carrier.y, 0]), -carrier.yaw)[:2]
                away = np.linalg.norm(places - wanted, axis=1)
                places = places[away < 0.15][np.argsort(away[away < 0.15])][:1]
            if not len(places):
                continue
            item.x, item.y = carrier.at(*places[self.rng.randrange(len(places))])
            item.z, item.yaw, item.on = carrier.z + layer.height * carrier.scale + 0.0005, carrier.yaw + turn, carrier
            if item.z + item.size[2] < self.height and self.free(item.box, (carrier,), doors=True):
                return self.add(item)
        return None

    def _places(self, layer: Layer, box: Box, scale: float) -> np.ndarray:
        """(N, 2) places, in metres from the corner, where a layer carries and clears all of a box."""
        columns, rows = np.maximum(1, np.ceil(box.bounds[1][:2] * 2 / scale / CELL)).astype(int)
        good = layer.carries & (layer.clearance * scale > box.high)
        share = uniform_filter(good.astype(float), (rows, columns))  # of the cells around each
        whole = share[rows // 2 : len(good) - (rows - 1) // 2, columns // 2 : good.shape[1] - (columns - 1) // 2]
        return (np.argwhere(whole > 0.9699)[:, ::-1] + (columns / 2, rows / 2)) * CELL * scale
