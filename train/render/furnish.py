"""What belongs in which room and where: furniture, things on it, things on walls and floor, lamps.

rooms.csv lists the furniture of each kind of room, companions.csv what stands beside, under and on it: `across` and
`along` are a share of half the anchor's width or depth, and a range in metres to be added; `turn` is in radians.
"""

import math
import random
from collections import defaultdict

import numpy as np

from train.render import things
from train.render.catalogue import RULES, Model, numbers, table
from train.render.layout import Item, Zone
from train.render.mesh import CELL, Mesh, Paint, assembled, shaped
from train.render.plan import KINDS, Light, Room, chances, daylight
from train.render.things import colour

COMPANIONS: dict[str, list[dict[str, str]]] = defaultdict(list)
for _row in table("companions.csv"):
    for _anchor in _row["anchor"].split("/"):
        COMPANIONS[_anchor].append(_row)
CARRIERS = {
    "bedside", "chest", "coffee table", "table", "small table", "desk", "tv stand", "bookcase", "piano",
    "base cabinet", "sink", "cooker", "island", "washer", "basin", "filing", "office cabinet", "fireplace",
    "wardrobe", "fridge", "crib",
}  # fmt: skip
CLOTHS = {  # share of the carrier's width and depth, range of metres added, thickness with folds, how far it hangs
    "cover": (1.05, 0.65, -0.1, 0.1, 0.05, 0.2), "blanket": (0, 0, 0.5, 0.9, 0.02, 0.15),
    "tablecloth": (1.05, 1.08, 0, 0.02, 0.004, 0.2), "garment": (0, 0, 0.25, 0.6, 0.05, 0.03),
}  # fmt: skip
HUNG = {  # range of the height of what is built and hangs on a wall
    "board": (0.9, 0.95), "mirror": (1.2, 1.3), "picture": (0.9, 1.7), "wall shelf": (1.2, 1.65), "switch": (0.25, 1.1),
}  # fmt: skip
SHELVED = {"bookcase", "chest", "office cabinet", "wardrobe", "tv stand"}


def furnish(room: Room, roles: dict[str, list[Model]], rng: random.Random) -> None:
    """Fill a room and those behind its doorways, and hang up the lamps.

    Args:
        room: from `train.render.plan.build_shell`; things and lights are added to it.
        roles: the models that can play each role.
        rng: decides everything.
    """
    zones = [_Furnishing(room, zone, roles, rng) for zone in room.layout.zones]
    for zone in zones:
        zone.fill()
    daylight(room, rng)
    for zone in zones:
        zone.lamps()


class _Furnishing:
    """Furniture and clutter of one zone."""

    def __init__(self, room: Room, zone: Zone, roles: dict[str, list[Model]], rng: random.Random) -> None:
        self.room, self.layout, self.zone, self.roles, self.rng = room, room.layout, zone, roles, rng
        self.between, self.some = rng.uniform, rng.choice
        self.kind, self.table = zone.kind, KINDS[zone.kind]
        self.glow = rng.choice([0.0, 0.4, 0.8, 1.5])  # of screens
        self.board = rng.choice([things.wood(rng), things.wood(rng), things.WHITE, things.METAL, things.DARK])
        self.mess = rng.choice([0.5, 0.8, 1.2, 1.2, 1.8, 2.4])
        self.usual = {role: rng.choice(models) for role, models in roles.items()}  # of rows of equal furniture

    def likely(self, probability: float) -> bool:
        return self.rng.random() < probability

    def fill(self) -> None:
        """All furniture and clutter."""
        if self.kind in ("kitchen", "classroom", "library", "shop"):
            {"kitchen": self.units, "classroom": self.rows}.get(self.kind, self.aisles)()
        along = chances(self.table["along"])
        more = [(role, 1.0) for role, _ in self.rng.choices(along, [p for _, p in along], k=int(self.zone.area / 5))]
        for place, listed in ((self.against, along + more), (self.middle, chances(self.table["middle"]))):
            for role, probability in listed:
                if self.likely(probability):
                    place(self.make(self.some(role.split("/"))))
        self.everywhere()

    # Single things

    def make(self, role: str, usual: float = 0.6) -> Item | None:
        """A thing that plays a role: built, or furniture, as often as stated the usual one of this room."""
        if role not in self.roles:
            item = Item.of(role, self.built(role), z=0.014 if role in things.FILLERS or role == "clothes" else 0.0)
            item.soft, hung = role in ("rug", "mat", "cushion", "pillow"), HUNG.get(role)
        else:
            item = self.layout.make(self.usual[role] if self.likely(usual) else self.some(self.roles[role]))
            hung = RULES[role].hung
        if item:
            item.role = role
            if hung:
                item.z, item.on = self.between(*hung), "wall"
        return item

    def built(self, role: str) -> Mesh:
        """The mesh of what is built from boxes and cloth."""
        rng, between, low = self.rng, self.between, {"rug": 1.2, "mat": 0.6}.get(role, 0.0)
        if role == "rack":
            size = between(0.7, 1.6), between(0.28, 0.42), min(self.layout.height - 0.2, between(1.1, 2.3))
            return things.rack(rng, size, self.some(self.table["rack"].split("/")), self.board)
        if role in ("cushion", "pillow"):
            side, (aspect, least, most) = between(0.35, 0.5), (1, 1.0, 1.35) if role == "cushion" else (0.7, 0.0, 0.6)
            return things.cushion(
                rng, (side / aspect**0.5, side * aspect, 0.15), between(least, most), things.fabric(rng)
            )
        if low:
            return things.rug(rng, between(low, 2 * low), between(0.75 * low, 1.5 * low))
        if role == "board":
            face = self.some([things.WHITE, things.WHITE, Paint((0.1, 0.2, 0.15), "plaster1")])
            return assembled("panel", (between(1.2, 3), 0.025, 1.15), body=things.METAL, face=face)
        if role == "mirror":
            face = self.some([things.MIRROR, things.WHITE])
            return assembled("panel", (between(0.4, 0.8), 0.025, between(0.5, 0.8)), body=things.METAL, face=face)
        if role == "picture":
            return things.picture(rng, between(0.18, 1.0), between(0.18, 0.9))
        if role == "wall shelf":
            return things.wall_shelf(rng, between(0.5, 1.4), between(0.15, 0.28), self.board)
        if role == "switch":
            return assembled("switch", (0.08, 0.01, 0.08), body=things.WHITE)
        if role == "clothes":
            return things.heap(rng, between(0.15, 0.4), between(0.04, 0.14), things.fabric(rng))
        if role == "keyboard":
            return things.keyboard(rng)
        if role in things.FILLERS:
            return shaped(things.FILLERS[role])(rng, (between(0.2, 0.4), 0.3, self.some([0.004, between(0.05, 0.4)])))
        return {"monitor": things.monitor, "laptop": things.laptop}[role](rng, self.glow)

    # Places

    def against(self, item: Item | None, side: int | None = None, u: float | None = None, tries: int = 16) -> bool:
        """Place a thing, and its companions, with its back to a wall, often in a corner."""
        for _ in range(tries if item else 0):
            wall = self.zone.wall(self.rng.randrange(4) if side is None else side)
            play = (wall.length - item.size[0]) / 2 - 0.003
            along = self.between(-play, play) if self.likely(0.7) else self.some([0.03 - play, play - 0.03])
            gap = item.size[1] / 2 + (0.003 if item.on == "wall" else 0.02)
            if play > 0 and self.layout.put(item, self.zone, *wall.at(along if u is None else u, gap), wall.yaw):
                self.arrange(item)
                return True
        return False

    def middle(self, item: Item | None, margin: float = 0.45) -> bool:
        """Place a thing, and its companions, away from the walls."""
        zone = self.zone
        for _ in range(16 if item else 0):
            yaw = self.rng.randrange(4) * math.pi / 2 + self.rng.gauss(0, 0.03)
            x, y = (item.box._replace(yaw=yaw).reach(axis) + margin for axis in (0, math.pi / 2))
            if x < zone.x1 - zone.x0 - x and y < zone.y1 - zone.y0 - y:
                place = self.between(zone.x0 + x, zone.x1 - x), self.between(zone.y0 + y, zone.y1 - y)
                if self.layout.put(item, zone, *place, yaw, pad=0.04):
                    self.arrange(item)
                    return True
        return False

    def arrange(self, anchor: Item) -> None:
        """Place the companions of a thing, and theirs."""
        if anchor.role in ("table", "small table") and anchor.on == "floor":
            self.around(anchor)
        for row in COMPANIONS[anchor.role]:
            if self.likely(float(row["chance"])):
                (p, left, right), (q, front, back) = numbers(row["across"]), numbers(row["along"])
                u, v = (
                    p * anchor.size[0] / 2 + self.between(left, right),
                    q * anchor.size[1] / 2 + self.between(front, back),
                )
                placed = getattr(self, row["how"])(anchor, self.some(row["what"].split("/")), u, v, float(row["turn"]))
                if placed:
                    self.arrange(placed)

    def beside(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A thing at a place in the coordinates of another."""
        item = self.make(role)
        return item and self.layout.put(item, self.zone, *anchor.at(u, v), anchor.yaw + turn)

    def under(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A chair at the edge of a table, pushed under it as far as it fits."""
        chair, yaw, (x, y) = self.make(role, 0.9), anchor.yaw + turn + self.rng.gauss(0, 0.12), anchor.at(u, v)
        for share in (self.between(-0.28, 0.0), self.between(0.0, 0.15), 0.25, 0.45, 0.58) if chair else ():
            out = share * chair.size[1]
            if self.layout.put(
                chair, self.zone, x - out * math.sin(yaw), y + out * math.cos(yaw), yaw, close=(anchor,)
            ):
                return chair
        return None

    def on(self, anchor: Item, role: str, u: float, v: float, turn: float, carrier: Item | None = None) -> Item | None:
        """A thing on a piece of furniture, near a place in the coordinates of the anchor."""
        item, carrier = self.make(role), carrier or anchor
        return item and self.layout.set_on(item, carrier, yaw=anchor.yaw - carrier.yaw + turn, near=anchor.at(u, v))

    def next(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A thing beside another, on the furniture that carries it."""
        return self.on(anchor, role, u, v, turn, anchor.on)

    def lean(self, anchor: Item, role: str, u: float, v: float, turn: float) -> None:
        """A pillow on a bed or sofa."""
        item = self.make(role)
        item.z, item.on, item.yaw = (
            anchor.height_at(u, v - 0.05) - 0.01,
            anchor,
            anchor.yaw + self.rng.gauss(turn, 0.15),
        )
        item.x, item.y = anchor.at(u, v)
        if anchor.z + 0.2 < item.z < anchor.z + 0.8:
            self.layout.add(item)

    def lie(self, anchor: Item, role: str, u: float, v: float, turn: float) -> None:
        """A rug on the floor, thin enough for furniture to stand on it."""
        item = self.make(role)
        (item.x, item.y), item.yaw = anchor.at(u, v), anchor.yaw + turn
        if self.layout.inside(self.zone, item.box):
            self.layout.add(item)

    def drape(self, carrier: Item, role: str, u: float, v: float, turn: float) -> None:
        """A blanket, tablecloth or garment on furniture."""
        wide, deep, low, high, thick, hang = CLOTHS[role]
        size = [share * side + self.between(low, high) for share, side in zip((wide, deep), carrier.size, strict=False)]
        top, cell, yaw = carrier.mesh.survey.top * carrier.scale, CELL * carrier.scale, self.rng.gauss(0, turn)
        mesh = things.drape(self.rng, top, cell, (u, v), size, yaw, thick, hang)
        if mesh:
            (x, y, z), (right, back, _) = mesh.bounds
            cloth = Item.of(role, mesh, carrier, carrier.z + z, soft=True)
            (cloth.x, cloth.y), cloth.yaw = carrier.at((x + right) / 2, (y + back) / 2), carrier.yaw
            if self.layout.inside(self.zone, cloth.box):
                self.layout.add(cloth)

    def around(self, table: Item) -> None:
        """Chairs around a table, some drawn out."""
        (width, depth, _), each = table.size, max(1, int(table.size[0] / 0.62))
        spots = [(((k + 0.5) / each - 0.5) * width, depth / 2, 0.0) for k in range(each)]
        spots += [(-u, -v, math.pi) for u, v, _ in spots]
        spots += [(width / 2, 0.0, -math.pi / 2), (-width / 2, 0.0, math.pi / 2)] if depth > 0.65 else []
        role = "office chair" if self.kind in ("office", "meeting room") else "chair"
        for u, v, turn in self.rng.sample(spots, self.rng.randint(len(spots) // 2, len(spots))):
            self.under(table, role, u, v, turn)

    def small(self, carrier: Item, count: int, inside: bool = False) -> None:
        """Things on or in a piece of furniture."""
        kind, bath = self.table["small"], self.kind == "bathroom"
        for _ in range(count):
            if bath or self.likely(0.5):
                item = self.make(kind if bath or self.likely(0.75) else self.some(["thing", "small plant"]), 0)
            else:
                item = Item.of(*things.small(self.rng))
            if item and max(item.size[:2]) < 0.9 * max(carrier.size[:2]):
                self.layout.set_on(item, carrier, inside, 0.0 if item.name in ("books", "frame") else None)

    # Rows

    def units(self) -> None:
        """Cabinets, cooker, sink and fridge in rows along walls of a kitchen, and wall cabinets above them."""
        lengths = [self.zone.wall(k).length - 2 * len(self.zone.openings[k]) + self.between(0, 1.5) for k in range(4)]
        first = lengths.index(max(lengths))
        for side in [first, (first + self.some([1, 2, 3])) % 4][: self.some([1, 2, 2])]:
            half = self.zone.wall(side).length / 2
            todo = self.rng.sample(["sink", "cooker", "fridge"], 3) if side == first else ["cooker"]
            u, end = 0.02 - half, half - self.some([0.03, 0.03, 0.7])
            while u < end - 0.4:
                unit = self.make(todo.pop() if todo and self.likely(0.5) else "base cabinet", 0.8)
                if unit is None or u + unit.size[0] > end:
                    break
                placed = self.against(unit, side, u + unit.size[0] / 2, tries=1)
                upper = self.make("wall cabinet", 0.85)
                if placed and upper and unit.role != "fridge" and self.likely(0.7):
                    self.against(upper, side, u + max(unit.size[0], upper.size[0]) / 2, tries=1)
                u += (unit.size[0] if placed else 0.25) + 0.006

    def rows(self) -> None:
        """Tables with chairs that face one wall of a classroom."""
        face, role = self.rng.randrange(4), self.some(["small table", "desk", "desk"])
        wall, chair = self.zone.wall(face), self.some(["chair", "chair", "office chair"])
        wide, deep = np.add(self.usual[role].size[:2], (self.between(0.15, 0.6), self.between(0.75, 1.05)))
        columns, rows = int((wall.length - 1) / wide), int((self.zone.wall((face + 1) % 4).length - 1.6) / deep)
        for row, column in ((row, column) for row in range(rows) for column in range(columns) if self.likely(0.92)):
            table = self.make(role, 1.0)
            place = wall.at((column + 0.5 - columns / 2) * wide, 1.5 + (row + 0.5) * deep)
            if table and self.layout.put(table, self.zone, *place, wall.yaw + self.rng.gauss(0, 0.03)):
                seats = max(1, int(table.size[0] / 0.65))
                for seat in range(seats):
                    u = ((seat + 0.5) / seats - 0.5) * table.size[0]
                    self.under(table, chair, u, -table.size[1] / 2, math.pi)

    def aisles(self) -> None:
        """Rows of free-standing shelves in a shop or library."""
        yaw, step, zone = self.some([0.0, math.pi / 2]), [1.25, self.between(1.7, 2.3)], self.zone
        dx, dy = step[::-1] if yaw else step
        height, most = self.between(1.1, 2.0), 12 if self.kind == "shop" else self.rng.randrange(5)
        for x, y in [
            (x, y) for x in np.arange(1.5, zone.x1 - zone.x0 - 1, dx) for y in np.arange(1.5, zone.y1 - zone.y0 - 1, dy)
        ][:most]:
            mesh = things.rack(self.rng, (1.2, 0.4, height), self.table["rack"], self.board, back=False)
            self.layout.put(Item.of("shelves", mesh, role="rack"), zone, zone.x0 + x, zone.y0 + y, yaw)

    # Everywhere

    def everywhere(self) -> None:
        """Clutter on every surface, on the floor and on the walls."""
        rng, zone, home = self.rng, self.zone, self.table["use"] != "public"
        pictures = self.some([3, 6, 9] if self.kind in ("classroom", "corridor") else [1, 2, 3, 4, 6, 9])
        hung = {
            "radiator": 0.45,
            "wall unit": 0.3,
            "wall shelf": self.some([0, 1, 1, 2]),
            "picture": pictures,
            "switch": 2,
        }
        for role, count in hung.items():
            for _ in range(int(count + rng.random())):
                self.against(self.make(role), tries=5)
        for item in [item for item in self.layout.items if zone.holds(item.x, item.y)]:
            surface = min(1.6, item.size[0] * item.size[1])
            if item.role in CARRIERS:
                self.small(item, 1 + int(self.mess * self.between(1, 12) * surface))
            if item.role in SHELVED:
                self.small(item, rng.randrange(3, 12), inside=True)
            if item.role in ("coffee table", "desk", "chair", "armchair", "sofa") and self.likely(0.1 * self.mess):
                self.drape(item, "garment", self.between(-0.2, 0.2) * item.size[0], 0, 3)
        for _ in range(int(self.mess * zone.area / 2.7)):
            item = self.make(self.some(["floor thing"] * 4 + ["stack", "carton", "carton"] + ["clothes"] * home), 0)
            if item:
                place = self.between(zone.x0, zone.x1), self.between(zone.y0, zone.y1)
                self.layout.put(item, zone, *place, self.between(0, 6))

    def lamps(self) -> None:
        """Lamps at the ceiling, and the light of those that stand on floors and tables."""
        rng, layout, zone, lights = self.rng, self.layout, self.zone, self.room.lights
        day = any(light.kind == "area" and light.aim[2] == 0 for light in lights)
        warm = colour(rng, self.between(0.07, 0.13), self.between(0.1, 0.55), 1)
        cool = colour(rng, self.some([0.12, 0.45, 0.6]), self.between(0, 0.12), 1)
        lit = not day or self.likely(0.6 if zone is layout.zones[0] else 0.85)
        strips = (self.table["use"] == "public" or self.kind == "basement") and self.likely(0.7)
        wide, deep, columns, rows = zone.x1 - zone.x0, zone.y1 - zone.y0, 1, 1
        if strips or zone.area > 22 or self.likely(0.2):
            columns, rows = max(1, round(wide / 2.4)), max(1, round(deep / 2.4))
        watts = zone.area * self.between(6, 16) * (self.between(0.2, 1) if day else 1) / (columns * rows)
        glow = Paint((1, 0.97, 0.9), glow=self.between(8, 30) if lit else 0.0)
        panel, hanging = self.some([(1.2, 0.3), (1.2, 0.3), (0.6, 0.6)]), self.make("ceiling lamp")
        for i, j in np.ndindex(columns, rows):
            if strips:
                lamp = Item.of("luminaire", assembled("luminaire", (*panel, 0.03), body=things.WHITE, face=glow))
            elif hanging and hanging.size[2] < layout.height - 1.9:
                lamp = layout.make(hanging.model)
            else:
                lamp = Item.of("ceiling lamp", things.ceiling_bowl(glow))
            lamp.on, lamp.role, lamp.z = "ceiling", "ceiling lamp", layout.height - lamp.size[2]
            place = zone.x0 + (i + 0.5) * wide / columns, zone.y0 + (j + 0.5) * deep / rows
            if layout.put(lamp, zone, *place, 0.0) and lit:
                below = (*place, lamp.z + 0.4 * lamp.size[2] if lamp.model else lamp.z - 0.05)
                spot = Light("area", below, (0, 0, -1), panel, watts, cool)
                lights.append(spot if strips else Light("point", below, (0, 0, -1), (0.24, 0), 1.3 * watts, warm))
        for item in layout.items:
            lamp = item.role in ("table lamp", "floor lamp") and zone.holds(item.x, item.y)
            if lamp and self.likely(0.2 if day else 0.5):
                place = (item.x, item.y, item.z + 0.8 * item.size[2])
                lights.append(Light("point", place, (0, 0, -1), (0.14, 0), self.between(6, 30), warm))
