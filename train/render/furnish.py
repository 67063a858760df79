"""What belongs in which room and where: furniture, things on it, things on walls and floor, lamps.

rooms.csv lists the furniture of each kind of room, companions.csv what stands beside, under and on it: `across` and
`along` are a share of half the anchor's width or depth, and a range in metres to be added; `turn` is in radians.
"""

import math

import numpy as np

from train.render import things
from train.render.catalogue import BUILT, RULES, USES, Model, numbers, table
from train.render.layout import Item, Zone
from train.render.mesh import Paint, Shape
from train.render.plan import KINDS, Light, Room, chances
from train.render.things import Rng, colour

COMPANIONS = table("companions.csv")
CLOTHS = {  # share of the carrier's width and depth, range of metres added, thickness with folds, how far it hangs
    "cover": (1.05, 0.65, -0.1, 0.1, 0.05, 0.2), "blanket": (0, 0, 0.5, 0.9, 0.02, 0.15),
    "tablecloth": (1.05, 1.08, 0, 0.02, 0.004, 0.2), "garment": (0, 0, 0.25, 0.6, 0.05, 0.03),
}  # fmt: skip


def furnish(room: Room, roles: dict[str, list[Model]], rng: Rng) -> None:
    """Fill a room and those behind its doorways, and hang up the lamps.

    Args:
        room: from `train.render.plan.build_shell`; things and lights are added to it.
        roles: the models that can play each role.
        rng: decides everything.
    """
    for zone in room.layout.zones:
        _Furnishing(room, zone, roles, rng).fill()


class _Furnishing:
    """Furniture and clutter of one zone."""

    def __init__(self, room: Room, zone: Zone, roles: dict[str, list[Model]], rng: Rng) -> None:
        self.room, self.layout, self.zone, self.roles, self.rng = room, room.layout, zone, roles, rng
        self.between, self.some = rng.uniform, rng.choice
        self.kind, self.table = zone.kind, KINDS[zone.kind]
        board = rng.choice([things.wood(rng), things.wood(rng), things.WHITE, things.METAL, things.DARK])
        goods = rng.choice(self.table["rack"].split("/"))
        self.decor = things.Decor(board, rng.choice([0.0, 0.4, 0.8, 1.5]), goods, rng.uniform(1.1, 2.0))
        self.mess = rng.choice([0.5, 0.8, 1.2, 1.2, 1.8, 2.4])
        self.usual = {role: rng.choice(models) for role, models in roles.items()}  # of rows of equal furniture

    def likely(self, probability: float) -> bool:
        return self.rng.random() < probability

    def fill(self) -> None:
        """All furniture, clutter on every surface, on the floor and on the walls, and lamps."""
        if self.kind in ("shop", "library"):
            self.grid("aisle rack", 12 if self.kind == "shop" else self.rng.randrange(5))
        elif self.kind == "classroom":
            self.grid(self.some(["small table", "desk", "desk"]), 99)
        along = chances(self.table["along"])
        more = self.rng.choices([role for role, _ in along], [p for _, p in along], k=int(self.zone.area / 5))
        for role in [role for role, p in along if self.likely(p)] + more:
            self.against(self.make(self.some(role.split("/"))))
        for role in [role for role, p in chances(self.table["middle"]) if self.likely(p)]:
            self.middle(self.make(self.some(role.split("/"))))
        rng, zone = self.rng, self.zone
        for role, often in chances(self.table["hung"]):
            for _ in range(int(often * self.between(0, 2) + rng.random())):
                self.against(self.make(role), tries=5)
        for item in [item for item in self.layout.items if zone.holds(item.x, item.y)]:
            uses, surface = USES[item.role], min(1.6, item.size[0] * item.size[1])
            if "carries" in uses:
                self.small(item, 1 + int(self.mess * self.between(1, 12) * surface))
            if "shelved" in uses:
                self.small(item, rng.randrange(3, 12), inside=True)
            if "clothes" in uses and self.likely(0.1 * self.mess):
                self.drape(item, "garment", self.between(-0.2, 0.2) * item.size[0], 0, 3)
        for _ in range(int(self.mess * zone.area / 2.7)):
            item = self.make(self.some(self.table["dropped"].split("/")), 0)
            if item:
                place = self.between(zone.x0, zone.x1), self.between(zone.y0, zone.y1)
                self.layout.put(item, zone, *place, self.between(0, 6))
        self.lamps()

    def make(self, role: str, usual: float = 0.6) -> Item | None:
        """A thing that plays a role: built, or furniture, as often as stated the usual one of this room."""
        if role in BUILT:
            least, most, height = (numbers(BUILT[role][key]) for key in ("least", "most", "height"))
            size = tuple(map(self.between, least, most))
            solid = Shape()
            things.BUILDERS[role](solid, self.rng, size, self.decor)
            item = Item.of(role, solid.mesh(), soft=bool(BUILT[role]["soft"]))
        else:
            height = RULES[role].height
            item = self.layout.make(self.usual[role] if self.likely(usual) else self.some(self.roles[role]))
        if item:
            item.role, item.z = role, self.between(*height) if height else 0.0
            item.on = "wall" if item.z > 0.1 else "floor"
        return item

    def against(self, item: Item | None, tries: int = 16) -> None:
        """Place a thing, and its companions, with its back to a wall, often in a corner."""
        for _ in range(tries if item else 0):
            wall = self.zone.wall(self.rng.randrange(4))
            play, gap = (wall.length - item.size[0]) / 2 - 0.003, 0.003 if item.on == "wall" else 0.02
            u = self.between(-play, play) if self.likely(0.7) else self.some([0.03 - play, play - 0.03])
            if play > 0 and self.layout.put(item, self.zone, *wall.at(u, item.size[1] / 2 + gap), wall.yaw):
                return self.arrange(item)

    def middle(self, item: Item | None, margin: float = 0.45) -> None:
        """Place a thing, and its companions, away from the walls."""
        zone = self.zone
        for _ in range(16 if item else 0):
            yaw = self.rng.randrange(4) * math.pi / 2 + self.rng.gauss(0, 0.03)
            x, y = (item.box._replace(yaw=yaw).reach(axis) + margin for axis in (0, math.pi / 2))
            place = self.between(zone.x0 + x, zone.x1 - x), self.between(zone.y0 + y, zone.y1 - y)
            if zone.holds(*place, margin) and self.layout.put(item, zone, *place, yaw):
                return self.arrange(item)

    def arrange(self, anchor: Item) -> None:
        """Place the companions of a thing, and theirs."""
        if anchor.role in ("table", "small table") and anchor.on == "floor":
            self.around(anchor, "office chair" if self.kind in ("office", "meeting room") else "chair")
        for row in COMPANIONS:
            if anchor.role in row["anchor"].split("/") and self.likely(float(row["chance"])):
                ranges = zip((numbers(row["across"]), numbers(row["along"])), anchor.size, strict=False)
                u, v = (share * side / 2 + self.between(low, high) for (share, low, high), side in ranges)
                placed = getattr(self, row["how"])(anchor, self.some(row["what"].split("/")), u, v, float(row["turn"]))
                if placed:
                    self.arrange(placed)

    def beside(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A thing at a place in the coordinates of another."""
        item = self.make(role)
        return item and self.layout.put(item, self.zone, *anchor.at(u, v), anchor.yaw + turn)

    def row(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A thing in one line with the back of another: left or right of it, or above it."""
        item = self.make(role, 0.85)
        if item:
            u += math.copysign(item.size[0] / 2, u) if abs(u) >= anchor.size[0] / 2 else 0.0
            v += (anchor.size[1] - item.size[1]) / 2
        return item and self.layout.put(item, self.zone, *anchor.at(u, v), anchor.yaw + turn)

    def under(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A chair at the edge of a table, pushed under it as far as it fits."""
        chair, yaw, (x, y) = self.make(role, 0.9), anchor.yaw + turn + self.rng.gauss(0, 0.12), anchor.at(u, v)
        away = np.array([-math.sin(yaw), math.cos(yaw)])
        for share in (self.between(-0.28, 0.0), self.between(0.0, 0.15), 0.25, 0.45, 0.58) if chair else ():
            place = (x, y) + share * chair.size[1] * away
            if self.layout.put(chair, self.zone, *place, yaw, close=(anchor,)):
                return chair
        return None

    def on(self, anchor: Item, role: str, u: float, v: float, turn: float) -> Item | None:
        """A thing on a piece of furniture, or beside another on the furniture that carries it."""
        item, carrier = self.make(role), anchor.on if isinstance(anchor.on, Item) else anchor
        return item and self.layout.set_on(item, carrier, yaw=anchor.yaw - carrier.yaw + turn, near=anchor.at(u, v))

    def lay(self, anchor: Item, role: str, u: float, v: float, turn: float) -> None:
        """A rug on the floor, thin enough for furniture to stand on it, or a cushion on a bed or sofa."""
        item = self.make(role)
        (item.x, item.y), item.yaw = anchor.at(u, v), anchor.yaw + self.rng.gauss(turn, 0.05)
        if role in ("cushion", "pillow"):
            item.z, item.on = anchor.height_at(u, v - 0.05) - 0.01, anchor
        if self.layout.inside(self.zone, item.box) and (item.on == "floor" or 0.2 < item.z - anchor.z < 0.8):
            self.layout.add(item)

    def drape(self, carrier: Item, role: str, u: float, v: float, turn: float) -> None:
        """A blanket, tablecloth or garment on furniture."""
        wide, deep, low, high, thick, hang = CLOTHS[role]
        size = [share * side + self.between(low, high) for share, side in zip((wide, deep), carrier.size, strict=False)]
        mesh = things.drape(self.rng, carrier, (u, v), size, self.rng.gauss(0, turn), thick, hang)
        if mesh:
            (x, y, z), (right, back, _) = mesh.bounds
            cloth = Item.of(role, mesh, carrier, carrier.z + z, soft=True)
            (cloth.x, cloth.y), cloth.yaw = carrier.at((x + right) / 2, (y + back) / 2), carrier.yaw
            if self.layout.inside(self.zone, cloth.box):
                self.layout.add(cloth)

    def around(self, table: Item, role: str, pupils: bool = False) -> None:
        """Chairs around a table, some drawn out; of pupils on one side only."""
        (width, depth, _), each = table.size, max(1, int(table.size[0] / 0.62))
        spots = [(((k + 0.5) / each - 0.5) * width, -depth / 2, math.pi) for k in range(each)]
        if not pupils:
            spots += [(u, depth / 2, 0.0) for u, _, _ in spots]
            spots += [(k * width / 2, 0.0, -k * math.pi / 2) for k in (-1, 1) if depth > 0.65]
        least = len(spots) if pupils else len(spots) // 2
        for u, v, turn in self.rng.sample(spots, self.rng.randint(least, len(spots))):
            self.under(table, role, u, v, turn)

    def grid(self, role: str, most: int) -> None:
        """Rows of shelves in a shop or library, or of tables with chairs that face one wall of a classroom."""
        wall, chair, pupils = self.zone.wall(self.rng.randrange(4)), self.some(["chair", "office chair"]), role in RULES
        (wide, deep, _), aisle = self.make(role, 1).size, self.between(0.8, 1.05) if pupils else self.between(1.3, 1.9)
        across = np.arange(wide / 2 + 0.5 - wall.length / 2, wall.length / 2 - wide / 2, wide + 0.4 * pupils)
        spots = [(u, v) for v in np.arange(1.6, self.zone.area / wall.length - 0.8, deep + aisle) for u in across]
        for u, v in spots[:most]:
            item = self.make(role, 1)
            if self.likely(0.92) and item and self.layout.put(item, self.zone, *wall.at(u, v), wall.yaw) and pupils:
                self.around(item, chair, pupils)

    def small(self, carrier: Item, count: int, inside: bool = False) -> None:
        """Things on or in a piece of furniture."""
        for _ in range(count):
            item = self.make(self.some(self.table["small"].split("/")), 0)
            if item and max(item.size[:2]) < 0.9 * max(carrier.size[:2]):
                self.layout.set_on(item, carrier, inside, 0.0 if item.role in ("books", "frame") else None)

    def lamps(self) -> None:
        """Lamps at the ceiling, and the light of those that stand on floors and tables."""
        rng, layout, zone, lights = self.rng, self.layout, self.zone, self.room.lights
        day = self.room.windows and not self.room.night
        shining = 0.2 if day else 0.5
        warm = colour(rng, self.between(0.07, 0.13), self.between(0.1, 0.55), 1)
        cool = colour(rng, self.some([0.12, 0.45, 0.6]), self.between(0, 0.12), 1)
        lit = not day or self.likely(0.6 if zone is layout.zones[0] else 0.85)
        strips = (self.table["use"] == "public" or self.kind == "basement") and self.likely(0.7)
        wide, deep = zone.x1 - zone.x0, zone.y1 - zone.y0
        apart = 2.4 if strips or zone.area > 22 or self.likely(0.2) else 30
        columns, rows = max(1, round(wide / apart)), max(1, round(deep / apart))
        watts = zone.area * self.between(6, 16) * (self.between(0.2, 1) if day else 1) / (columns * rows)
        glow = Paint((1, 0.97, 0.9), glow=self.between(8, 30) if lit else 0.0)
        panel, hanging = self.some([(1.2, 0.3), (1.2, 0.3), (0.6, 0.6)]), self.make("ceiling lamp")
        for i, j in np.ndindex(columns, rows):
            if hanging and not strips and hanging.size[2] < layout.height - 1.9:
                lamp = layout.make(hanging.model)
            else:
                size = (*panel, 0.03) if strips else (0.32, 0.32, 0.09)
                lamp = Item.of("luminaire", Shape().assemble("luminaire", size, body=things.WHITE, face=glow).mesh())
            lamp.on, lamp.role, lamp.z = "ceiling", "ceiling lamp", layout.height - lamp.size[2]
            place = zone.x0 + (i + 0.5) * wide / columns, zone.y0 + (j + 0.5) * deep / rows
            if layout.put(lamp, zone, *place, 0.0) and lit:
                below = (*place, lamp.z + 0.4 * lamp.size[2] if lamp.model else lamp.z - 0.05)
                spot = Light("area", below, (0, 0, -1), panel, watts, cool)
                lights.append(spot if strips else Light("point", below, (0, 0, -1), (0.24, 0), 1.3 * watts, warm))
        for item in layout.items:
            if item.role in ("table lamp", "floor lamp") and zone.holds(*item.at(0, 0)) and self.likely(shining):
                place = (item.x, item.y, item.z + 0.8 * item.size[2])
                lights.append(Light("point", place, (0, 0, -1), (0.14, 0), self.between(6, 30), warm))
