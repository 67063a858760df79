"""The shell of a room: rectangles, doorways, windows, and the surfaces of walls, floors and ceilings."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from train.render import things
from train.render.catalogue import table
from train.render.layout import Box, Item, Layout, Opening, Wall, Zone
from train.render.mesh import Mesh, Paint, Shape
from train.render.things import Rng, colour

KINDS = {row["kind"]: row for row in table("rooms.csv")}  # sizes in metres; chances follow the words


def chances(cell: str) -> list[tuple[str, float]]:
    """Words and their chances of a cell of a table: "sofa .9 coffee_table 1"."""
    words = [word.replace("_", " ") for word in cell.split()]
    return [(word, float(chance)) for word, chance in zip(words[::2], words[1::2], strict=True)]


SKIRTING = 0.08  # metres


class Light(NamedTuple):
    """A lamp, the sky in a window, or the sun.

    Args:
        kind: "area", "point" or "sun".
        place: in the room, metres.
        aim: direction that it shines in.
        size: width and height of an area, or diameter of a lamp, in metres.
        power: watts, or W/m2 of the sun.
        colour: sRGB.
    """

    kind: str
    place: tuple[float, float, float]
    aim: tuple[float, float, float]
    size: tuple[float, float]
    power: float
    colour: tuple[float, float, float]


@dataclass
class Room:
    """A room before it is built in Blender.

    Args:
        kind: one of `KINDS`.
        layout: its rectangles and what stands in them.
        shell: walls, floors, ceilings, doors and windows.
        windows: wall, opening of each window, for the light that falls in.
        lights: of lamps and windows.
        ambient: radiance that fills the shadows.
        night: no daylight.
        trim: paint of frames.
        skirting: its paint, or None.
        cloth: paint of curtains.
        dressing: of windows: "curtains", "blind" or "none".
        sky: what is seen through windows.
    """

    kind: str
    layout: Layout
    night: bool
    trim: Paint
    skirting: Paint | None
    cloth: Paint
    dressing: str
    sky: Paint
    shell: list[Item] = field(default_factory=list)
    windows: list[tuple[Wall, Opening]] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: float = 0.3

    def add_shell(self, name: str, mesh: Mesh, x: float, y: float, yaw: float) -> None:
        """Add a part of the shell; its mesh begins on the floor."""
        self.shell.append(Item(name, mesh, (0, 0, 0), x, y, 0, yaw, "wall", role="shell"))


def build_shell(kind: str, rng: Rng) -> Room:
    """Draw the rectangles, openings and surfaces of a room.

    Args:
        kind: one of `KINDS`.
        rng: decides everything.
    """
    low, high = float(KINDS[kind]["narrowest"]), float(KINDS[kind]["widest"])
    wide, deep = rng.uniform(low, high), rng.uniform(low, high) if kind != "corridor" else rng.uniform(5, 11)
    public = KINDS[kind]["use"] == "public"
    height = rng.uniform(2.4, 3.2) if public else min(2.9, max(2.25, rng.gauss(2.5, 0.13)))
    layout = Layout([Zone(0, 0, wide, deep, kind)], height, rng)
    if min(wide, deep) > 3 and rng.random() < 0.25:
        _extend(layout, kind, rng, whole=True)
    if rng.random() < (0.6 if kind in ("corridor", "dining room", "kitchen", "living room") else 0.38):
        _extend(layout, rng.choice(KINDS[kind]["behind"].split("/")), rng)
    white = Paint(colour(rng, 0.1, rng.uniform(0, 0.08), rng.uniform(0.75, 0.93)), roughness=0.45)
    night, trim = rng.random() < 0.25, things.wood(rng) if rng.random() < 0.3 else white
    sky = Paint((1, 1, 1), "outside", glow=0.03 if night else rng.choice([1.5, 2.5, 5.0, 9.0]))
    skirting = rng.choice([trim, trim, things.wood(rng), None])
    dressing = rng.choice(["curtains", "curtains", "curtains", "blind", "none"])
    room = Room(kind, layout, night, trim, skirting, things.fabric(rng), dressing, sky)
    for zone in layout.zones:
        _open_walls(zone, layout, rng)
    _surfaces(room, rng)
    _daylight(room, rng)
    return room


def _extend(layout: Layout, kind: str, rng: Rng, whole: bool = False) -> None:
    """Add a rectangle behind a wall of the first: through a doorway, or as the foot of an L."""
    zone = layout.zones[0]
    side = rng.choice([side for side in range(4) if not zone.openings[side]])
    wall = zone.wall(side)
    if whole:
        width, high, thick = rng.uniform(0.45, 0.8) * wall.length, layout.height, 0.0
        middle, across, offset = rng.choice([-1, 1]) * (wall.length - width) / 2, width, 0.0
    else:
        wide, thick = rng.random() < 0.45, rng.uniform(0.08, 0.25)
        width = min(rng.uniform(1.2, 2.6), wall.length - 0.6) if wide else rng.uniform(0.78, 1.0)
        if width < 0.78 or wall.length < width + 0.5:
            return
        middle = rng.uniform(-1, 1) * (wall.length - width - 0.4) / 2
        high = rng.choice([2.05, 2.15, layout.height - 0.05]) if wide else rng.uniform(2.0, 2.1)
        across = rng.uniform(max(width + 0.6, 2.5), 5.5)
        offset = rng.uniform(-1, 1) * (across - width - 0.4) / 2
    deep = rng.uniform(1.5, 3.2) if whole else rng.uniform(2.4, 5)
    (ax, ay), (bx, by) = (wall.at(middle + offset + k * across / 2, -thick - (k > 0) * deep) for k in (-1, 1))
    new = Zone(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by), kind)
    shared = [(min(new.x1, z.x1) - max(new.x0, z.x0), min(new.y1, z.y1) - max(new.y0, z.y0)) for z in layout.zones]
    if any(min(sides) > 0.01 for sides in shared):
        return
    passage = Opening(middle, width, 0.0, high, "passage", thick)
    zone.openings[side].append(passage)
    new.openings[(side + 2) % 4].append(passage._replace(u=offset, thick=0.0))
    layout.zones.append(new)
    layout.keep_free(Box(*wall.at(middle), width, 1.4 + thick, 0, 2, wall.yaw))


def _open_walls(zone: Zone, layout: Layout, rng: Rng) -> None:
    """Windows in one or two walls, and doors."""
    is_lit = rng.random() > float(KINDS[zone.kind]["windowless"])
    for side in rng.sample(range(4), rng.choice([1, 1, 2])) if is_lit else []:
        wall, count = zone.wall(side), rng.choice([1, 1, 2, 3])
        low = rng.uniform(0, 0.3) if rng.random() < 0.2 else rng.uniform(0.75, 1.1)
        high = min(layout.height - 0.2, rng.uniform(1.95, 2.35))
        width, thick = min(rng.uniform(0.6, 1.9), (wall.length - 0.6) / count - 0.3), rng.uniform(0.09, 0.28)
        if width > 0.4 and not zone.openings[side]:
            middles = [((k + 0.5) / count - 0.5) * (wall.length - 0.2) for k in range(count)]
            zone.openings[side] += [Opening(u, width, low, high, "window", thick) for u in middles]
    for _ in range(3 if zone.kind == "corridor" else rng.choice([0, 1, 1, 2])):
        side, width = rng.randrange(4), rng.uniform(0.75, 0.95)
        wall, near = zone.wall(side), zone.openings[side]
        u = rng.uniform(-1, 1) * (wall.length - width - 0.3) / 2
        if wall.length > width + 0.5 and all(abs(u - h.u) > (width + h.width) / 2 + 0.25 for h in near):
            near.append(Opening(u, width, 0.0, rng.uniform(1.98, 2.1), "door", rng.uniform(0.01, 0.08)))
            layout.keep_free(Box(*wall.at(u, 0.4), width + 0.1, 0.8, 0, 2.1, wall.yaw))


def _surface(rng: Rng, kind: str, part: str) -> Paint:
    """Paint, paper, tiles, boards or carpet of the walls or floors of a kind of room."""
    patterns, weights = zip(*chances(KINDS[kind][part]), strict=True)
    pattern = rng.choices(patterns, weights)[0]
    hue = rng.choice([0.08, 0.1, 0.11, 0.12, 0.55, 0.6, 0.3, 0.95, rng.random()])
    saturation, value = rng.uniform(0, 0.6) ** 2, rng.uniform(*rng.choices([(0.76, 0.95), (0.5, 0.8)], [4, 1])[0])
    if pattern in ("planks", "wood"):
        hue, saturation = rng.uniform(0.05, 0.1), rng.uniform(0.15, 0.7)
    if part == "floors":
        value = rng.uniform(0.28, 0.9)
    low, high = {"tile": (0.4, 1.6), "print": (0.3, 1)}.get(pattern, (0.7, 1.8))
    dull = pattern in ("carpet", "plaster", "print")
    rough, shine = (0.9, 0.05) if dull else (rng.uniform(0.15, 0.6), rng.uniform(0.1, 0.5))
    look = f"{pattern}{rng.randrange(4)}", rng.uniform(low, high), rough
    return Paint(colour(rng, hue, saturation, value), *look, specular=shine, turned=rng.random() < 0.5)


def _surfaces(room: Room, rng: Rng) -> None:
    """Walls with their openings, floors, ceilings and skirting."""
    layout, kind, height = room.layout, room.kind, room.layout.height
    walls, accent, floor = (_surface(rng, kind, part) for part in ("walls", "walls", "floors"))
    for zone in layout.zones:
        use = KINDS[zone.kind]["use"]
        if zone.kind != kind:
            floor, walls = _surface(rng, zone.kind, "floors"), walls if rng.random() < 0.6 else accent
        above = f"{'acoustic' if use == 'public' and rng.random() < 0.6 else 'plaster'}{rng.randrange(4)}"
        ceiling = Paint(colour(rng, 0.12, rng.uniform(0, 0.06), rng.uniform(0.84, 0.96)), above, 1.2, 0.9)
        flat, (x, y) = Shape(), ((zone.x1 - zone.x0) / 2, (zone.y1 - zone.y0) / 2)
        flat.quad([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)], floor)
        flat.quad([(-x, y, height), (x, y, height), (x, -y, height), (-x, -y, height)], ceiling)
        room.add_shell("floor and ceiling", flat.mesh(), *zone.centre, 0)
        for side in range(4):
            paint = accent if rng.random() < 0.07 and use != "wet" else walls
            _wall(room, zone, side, paint, floor, rng)


def _wall(room: Room, zone: Zone, side: int, paint: Paint, floor: Paint, rng: Rng) -> None:
    """One wall: panels around its openings, reveals, trim, doors and windows."""
    wall, height, solid, holes = zone.wall(side), room.layout.height, Shape(), zone.openings[side]
    half, keep = wall.length / 2, room.layout.keep_free
    cuts = sorted({-half, half, *(max(-half, min(half, h.u + k * h.width / 2)) for h in holes for k in (-1, 1))})
    levels = sorted({0.0, height, *(edge for h in holes for edge in (h.low, h.high))})

    def is_open(u: float, z: float) -> bool:
        return any(abs(u - h.u) < h.width / 2 and h.low < z < h.high for h in holes)

    for a, b in pairwise(cuts):
        for low, high in pairwise(levels):
            if not is_open((a + b) / 2, (low + high) / 2):
                solid.front(a, b, low, high, 0, paint)
        if room.skirting and not is_open((a + b) / 2, SKIRTING / 2):
            solid.box(((a + b) / 2, -0.007, 0), (b - a, 0.014, SKIRTING), room.skirting)
    for h in holes:
        a, b, t, rim, filling = h.u - h.width / 2, h.u + h.width / 2, h.thick, rng.uniform(0.05, 0.1), Shape()
        if t > 0:
            reveal = room.trim if h.kind != "passage" or rng.random() < 0.5 else paint
            corners = [(a, h.low), (a, h.high), (b, h.high), (b, h.low), (a, h.low)]
            for (u, z), (v, w) in pairwise(corners):
                lower = floor if h.kind == "passage" and z == w == h.low else reveal
                solid.quad([(u, 0, z), (u, t, z), (v, t, w), (v, 0, w)], lower)
        if h.kind == "window":
            things.window(filling, rng, h, room.trim, room.dressing, room.cloth, room.sky)
            room.windows.append((wall, h))
            bottom = float(filling.mesh().bounds[0][2]) if room.dressing == "curtains" else h.low - 0.03
            keep(Box(*wall.at(h.u, 0.05), h.width + 0.5, 0.29, bottom, min(height, h.high + 0.14), wall.yaw))
        elif h.kind == "door" or h.high < height - 0.15:
            things.door(filling, rng, h, room.trim, rim)
            keep(Box(*wall.at(h.u), h.width + 2 * rim + 0.02, 0.05, 0, h.high + rim, wall.yaw))
        if filling.parts:
            room.add_shell(h.kind, filling.mesh(), *wall.at(h.u), wall.yaw)
    if solid.parts:
        room.add_shell("wall", solid.mesh(), wall.x, wall.y, wall.yaw)


def _daylight(room: Room, rng: Rng) -> None:
    """Light of the sky through the windows, sometimes of the sun, and what fills the shadows."""
    day = 0.0 if room.night or not room.windows else rng.choice([1, 1, 2.5, 6])
    tint = colour(rng, rng.choice([0.6, 0.6, 0.1]), rng.uniform(0, 0.25), 1)
    room.ambient = rng.uniform(0.15, 0.8) * (1 + day * 0.4)
    for wall, h in room.windows if day else []:
        size, aim = (h.width * 0.92, (h.high - h.low) * 0.92), np.subtract(wall.at(0, 1), wall.at(0))
        place, watts = (*wall.at(h.u, 0.08 - h.thick), (h.low + h.high) / 2), 8 * day * np.pi * size[0] * size[1]
        room.lights.append(Light("area", place, (*aim, 0.0), size, watts * rng.uniform(0.5, 1), tint))
    if day and rng.random() < 0.4:
        wall, h = rng.choice(room.windows)
        aim = np.subtract(wall.at(0, 1), wall.at(0)) + (rng.gauss(0, 0.5), rng.gauss(0, 0.5))
        sun = colour(rng, 0.1, rng.uniform(0.05, 0.35), 1)
        beam = (*aim.tolist(), -rng.uniform(0.4, 1.3))
        room.lights.append(Light("sun", (0, 0, 3), beam, (0, 0), 8 * day * rng.uniform(1.5, 6), sun))
