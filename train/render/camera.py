"""Cameras: where a person would hold one, what it sees in coarse rays, and which views are worth rendering."""

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from depth_unet import Camera
from train.render.catalogue import USES, numbers, table
from train.render.layout import Box, Item, Layout
from train.render.plan import Room

GRID = (12, 16)  # rows and columns of the rays that judge a view
TABLE = {row["kind"]: row for row in table("cameras.csv")}
# Nearest 2 % of the pixels, range of the median depth, largest share of one plane.
LIMITS = {kind: numbers(row["limits"]) for kind, row in TABLE.items()}
STAND = {kind: numbers(row["stand"]) for kind, row in TABLE.items()}  # metres to where a person stands, highest pitch


class View(NamedTuple):
    """A camera in the room; x to the right of the picture, y up, looking along -z before it is turned.

    Args:
        eye: metres.
        yaw: direction that it looks in, counter-clockwise from the room's x axis, radians.
        pitch: above the horizon, radians.
        roll: clockwise turn of the camera about its axis, radians.
        fov_deg: field of view across.
        kind: one of cameras.csv.
    """

    eye: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    fov_deg: float
    kind: str

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) matrix whose columns are right, up and backward in the room."""
        turns = self.yaw - math.pi / 2, self.pitch + math.pi / 2, -self.roll
        return Rotation.from_euler("ZXZ", turns).as_matrix()

    def rays(self, height: int, width: int) -> np.ndarray:
        """Directions through the pixel centres, (height * width, 3); 1 m long along the camera's axis."""
        points = Camera.from_fov(width, height, self.fov_deg).unproject(np.ones((height, width)))
        return points.reshape(-1, 3) * (1, -1, -1) @ self.rotation.T


class Surfaces(NamedTuple):
    """All triangles of a room.

    Args:
        corners: (T, 3, 3) metres.
        owners: (T,) number of the thing that each belongs to.
    """

    corners: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, items: Sequence[Item], clear: float = 0.4) -> "Surfaces":
        """The triangles of things, without clear glass (opacity below `clear`)."""
        corners = []
        for item in items:
            solid = np.array([paint.opacity >= clear for paint in item.mesh.paints])[item.mesh.slots]
            corners.append(item.vertices()[item.mesh.faces[solid]])
        return cls(np.concatenate(corners), np.repeat(np.arange(len(items)), [*map(len, corners)]))

    def planes(self, hit: np.ndarray) -> np.ndarray:
        """How many of these triangles lie in each plane of each thing."""
        normals = trimesh.triangles.cross(self.corners[hit])
        unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        offset = (unit * self.corners[hit, 0]).sum(1)
        keys = np.column_stack([np.round(unit * 10), np.round(offset * 10), self.owners[hit]])
        return np.unique(keys, axis=0, return_counts=True)[1]

    def depth(self, eye: np.ndarray, rays: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Depth along the camera's axis where the rays meet the planes of triangles, 0 where `hit` is -1."""
        normals = trimesh.triangles.cross(self.corners[hit])
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = (normals * (self.corners[hit, 0] - eye)).sum(1) / (normals * rays).sum(1)
        return np.where((hit >= 0) & np.isfinite(depth), depth, 0.0)


Cast = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (eye (3,), rays (N, 3)) -> (N,) first triangles hit, or -1


Judged = namedtuple("Judged", "reason score")  # why a view is rejected, or ""; lower scores are better


def judge(view: View, wanted: float, surfaces: Surfaces, cast: Cast, others: Sequence[View]) -> Judged:
    """Reject a view that is too near, of a single plane, or out of the room; score its contents.

    Args:
        view: to be judged.
        wanted: median depth that would be best, in metres.
        surfaces, cast: of the room.
        others: views of the room already chosen; similar ones score worse.
    """
    eye, rays = np.array(view.eye), view.rays(*GRID)
    hit = cast(eye, rays)
    depth = surfaces.depth(eye, rays, hit)
    near, low, high, most = LIMITS[view.kind]
    median, planes = float(np.median(depth)), surfaces.planes(hit)
    share = planes.max() / len(hit)
    faults = (hit < 0).mean() > 0.02, np.percentile(depth, 2) < near, not low < median < high, share > most
    if any(faults):
        return Judged(("void", "near", "median", "plane")[faults.index(True)], 9.0)
    things = len(np.unique(surfaces.owners[hit]))
    score = abs(math.log(median / wanted)) - 0.09 * min(9, things) - 0.03 * math.sqrt(len(planes))
    score += 1.5 * max(0.0, share - 0.35) * (view.kind != "front")
    score += 0.3 * max(0.0, 1.25 - np.percentile(depth, 95) / median)
    for other in others:
        score += 0.6 * (view.rotation[:, 2] @ other.rotation[:, 2] > 0.9 and math.dist(view.eye, other.eye) < 0.6)
    return Judged("", score)


def _stands(layout: Layout, x: float, y: float, z: float, reach: float) -> bool:
    """Whether a person can stand within `reach` of a point, and a camera fits at height z."""
    if not layout.holds(x, y, 0.08) or not layout.free(Box(x, y, 0.18, 0.18, z - 0.12, z + 0.15), doors=True):
        return False
    spots = [(x, y)] + [(x + reach * math.cos(a), y + reach * math.sin(a)) for a in np.arange(8) * math.pi / 4]
    return any(layout.holds(*p, 0.12) and layout.free(Box(*p, 0.3, 0.3, 0.12, 1.5), doors=True) for p in spots)


def _draw(kind: str, layout: Layout, fov_deg: float, rng: Random) -> View | None:
    """A camera of a kind, or None if it is nowhere near where a person can stand."""
    between = rng.uniform
    zone = layout.zones[0] if rng.random() < 0.8 else rng.choice(layout.zones)
    use = {"standing": "", "front": "screen" if rng.random() < 0.5 else "front"}.get(kind, kind)
    pool = [item for item in layout.items if use in USES[item.role]]
    if not pool:
        return None
    target = rng.choice(pool)
    (width, depth, height), (reach, highest) = target.size, STAND[kind]
    angle, away, aim = between(0, 2 * math.pi), between(0.9, 1.9) + max(target.size[:2]) / 2, (target.x, target.y)
    x, y, z = target.x + away * math.cos(angle), target.y + away * math.sin(angle), between(1.0, 1.75)
    middle = height * between(0.2, 0.9)
    if kind == "standing":
        x, y = between(zone.x0 + 0.2, zone.x1 - 0.2), between(zone.y0 + 0.2, zone.y1 - 0.2)
        aim, z = (target.x + rng.gauss(0, 0.4), target.y + rng.gauss(0, 0.4)), max(0.8, rng.gauss(1.38, 0.22))
    elif kind == "front":
        screen = "screen" in USES[target.role]
        u, share = (rng.gauss(0, 0.06), 0.5) if screen else (between(-0.3, 0.3) * width, between(0.15, 0.9))
        (x, y), aim = target.at(u + rng.gauss(0, 0.15), -depth / 2 - between(0.4, 1.05)), target.at(u, -depth / 2)
        middle = target.z + height * share
        z = middle + between(-0.1, 0.4)
    elif kind == "bent":
        shelf, v = height > 1.15, -depth / 2 - between(0, 0.45)
        v = v - 0.4 if shelf else v if rng.random() < 0.75 else between(-0.5, 0.5) * depth
        (x, y), middle = target.at(between(-0.5, 0.5) * width, v), height * (between(0.2, 0.8) if shelf else 1)
        aim = target.at(between(-0.35, 0.35) * width, between(-0.25, 0.4) * depth)
        z = middle + between(0.3, 0.8) - 0.3 * shelf
    z = min(1.8, max(0.55, z))
    pitch = max(math.radians(-75), math.atan2(middle - z, max(0.05, math.dist(aim, (x, y)))))
    if kind == "standing":
        pitch = math.radians(max(-35, rng.gauss(-12, 9)))
    if not _stands(layout, x, y, z, reach):
        return None
    yaw, roll = math.atan2(aim[1] - y, aim[0] - x), math.radians(min(8, max(-8, rng.gauss(0, 2))))
    return View((x, y, z), yaw, min(math.radians(highest), pitch), roll, fov_deg, kind)


def draw_lens(rng: Random, narrowest: float = 50, widest: float = 85) -> float:
    """Field of view across in degrees: most are 60 to 66, as phones and a Kinect have, the others anywhere."""
    low, high = max(narrowest, 60), min(widest, 66)
    return rng.uniform(low, high) if low < high and rng.random() < 0.6 else rng.uniform(narrowest, widest)


def find_views(room: Room, surfaces: Surfaces, cast: Cast, count: int, fov_deg: float, rng: Random) -> list[View]:
    """The best of many drawn cameras for each of `count` views; fewer if the room has no place for them.

    Args:
        room: with everything in it.
        surfaces, cast: of everything in it.
        count: number of views.
        fov_deg: of the lens, the same for all.
        rng: decides everything.
    """
    views: list[View] = []
    for _ in range(count):
        kind = rng.choices([*TABLE], [float(row["share"]) for row in TABLE.values()])[0]
        medians = {"standing": math.exp(rng.gauss(math.log(2.7), 0.33)), "single": rng.uniform(1.0, 2.0)}
        wanted = medians.get(kind, rng.uniform(0.45, 1.1))
        best: tuple[float, View] | None = None
        for attempt in range(60):
            if kind != "standing" and attempt == 40 and best is None:
                kind, wanted = "standing", 2.7
            view = _draw(kind, room.layout, fov_deg, rng)
            judged = view and judge(view, wanted, surfaces, cast, views)
            if judged and not judged.reason and (best is None or judged.score < best[0]):
                best = (judged.score, view)
                if judged.score < -0.85:
                    break
        if best:
            views.append(best[1])
    return views
