"""What belongs in which room and where: furniture, things on it, things on walls and floor, lamps."""

import math
import random
from collections.abc import Sequence

from train.render import things
from train.render.catalogue import Model
from train.render.layout import Box, Item, Zone
from train.render.mesh import CELL, Paint
from train.render.plan import PUBLIC, WET, Light, Room, daylight
from train.render.things import colour

Chance = tuple[str, float]
ALONG_WALLS: dict[str, Sequence[Chance]] = {  # role and probability, in the order of placing
    "living room": (("bookcase", 0.7), ("armchair", 0.5), ("plant", 0.5), ("floor lamp", 0.5), ("chest", 0.4), ("piano", 0.15),
                    ("fireplace", 0.15), ("small table", 0.3), ("bookcase", 0.4), ("plant", 0.3), ("rack", 0.3)),
    "dining room": (("chest", 0.7), ("bookcase", 0.5), ("plant", 0.5), ("small table", 0.3), ("fireplace", 0.1), ("rack", 0.2)),
    "bedroom": (("wardrobe", 0.75), ("chest", 0.55), ("desk", 0.4), ("bookcase", 0.4), ("armchair", 0.35), ("plant", 0.3),
                ("floor lamp", 0.3), ("chest", 0.2), ("rack", 0.25)),
    "kitchen": (("washer", 0.3), ("rack", 0.25), ("stool", 0.2), ("small table", 0.2)),
    "bathroom": (("washer", 0.4), ("radiator", 0.4), ("small table", 0.1)),
    "office": (("filing", 0.8), ("office cabinet", 0.5), ("bookcase", 0.6), ("filing", 0.5), ("cooler", 0.3), ("plant", 0.5),
               ("armchair", 0.2), ("rack", 0.5), ("rack", 0.3)),
    "study": (("rack", 0.8), ("rack", 0.5), ("armchair", 0.6), ("bookcase", 0.6), ("plant", 0.35), ("floor lamp", 0.5),
              ("filing", 0.4), ("piano", 0.12), ("rack", 0.3)),
    "classroom": (("rack", 0.8), ("filing", 0.4), ("office cabinet", 0.4), ("plant", 0.3), ("desk", 0.4)),
    "meeting room": (("plant", 0.6), ("chest", 0.5), ("office cabinet", 0.4), ("cooler", 0.3), ("filing", 0.3)),
    "library": (("armchair", 0.6), ("plant", 0.5), ("small table", 0.4), ("desk", 0.4)),
    "shop": (("chest", 0.3), ("fridge", 0.4), ("plant", 0.3)),
    "corridor": (("plant", 0.5), ("chest", 0.4), ("chair", 0.5), ("radiator", 0.4), ("filing", 0.3), ("bike", 0.25), ("rack", 0.3)),
    "basement": (("washer", 0.6), ("cellar", 0.9), ("cellar", 0.6), ("gym", 0.5), ("bike", 0.6), ("wardrobe", 0.4), ("desk", 0.4),
                 ("sofa", 0.25), ("washer", 0.3), ("cellar", 0.4), ("fridge", 0.2)),
    "cafe": (("plant", 0.6), ("rack", 0.6), ("fridge", 0.5), ("sofa", 0.3), ("plant", 0.3)),
}  # fmt: skip
SMALL = {"kitchen": "kitchen thing", "dining room": "kitchen thing", "cafe": "kitchen thing", "bathroom": "bath thing",
         "office": "office thing", "study": "office thing", "classroom": "office thing", "meeting room": "office thing"}  # fmt: skip
CARRIERS = {
    "bedside", "chest", "coffee table", "table", "small table", "desk", "tv stand", "bookcase", "piano", "base cabinet", "sink",
    "cooker", "island", "washer", "basin", "filing", "office cabinet", "fireplace", "wardrobe", "fridge", "crib",
}  # fmt: skip
SHELVED = {"bookcase", "chest", "office cabinet", "wardrobe", "tv stand"}


def furnish(room: Room, roles: dict[str, list[Model]], rng: random.Random) -> None:
    """Fill a room and those behind its doorways, and hang up the lamps.

    Args:
        room: from `train.render.plan.build_shell`; things and lights are added to it.
        roles: the models that can play each role.
        rng: decides everything.
    """
    work = _Furnishing(room, roles, rng)
    for index, zone in enumerate(room.layout.zones):
        whole = index == 0 or zone.kind != room.kind or zone.area > 9
        if whole and (zone.kind != room.kind or index == 0):
            getattr(work, zone.kind.replace(" ", "_"), lambda zone: None)(zone)
        work.along_walls(zone)
        work.everywhere(zone)
    daylight(room, rng)
    for zone in room.layout.zones:
        work.lamps(zone)


class _Furnishing:
    def __init__(self, room: Room, roles: dict[str, list[Model]], rng: random.Random) -> None:
        self.room, self.layout, self.roles, self.rng = room, room.layout, roles, rng
        self.glow = rng.choice([0.0, 0.4, 0.8, 1.5])  # of screens
        self.board = rng.choice([things.wood(rng), things.wood(rng), things.WHITE, things.METAL, things.DARK])
        self.mess = rng.choice([0.5, 0.8, 1.2, 1.2, 1.8, 2.4])
        self.style = {role: rng.choice(models) for role, models in roles.items()}  # of rows of equal furniture

    # Placing

    def make(self, role: str, same: bool = False) -> Item | None:
        model = self.style[role] if same else self.rng.choice(self.roles[role])
        item = self.layout.make(model)
        if item:
            item.role = role
        return item

    def against(self, what: str | Item, zone: Zone, side: int | None = None, u: float | None = None, gap: float | None = None,
                z: float = 0.0, tries: int = 14, jitter: float = 0.0, pad: float = 0.01) -> Item | None:  # fmt: skip
        """A thing with its back to a wall, often in a corner."""
        rng = self.rng
        if what == "rack":
            return self.rack(zone, side)
        item = self.make(what) if isinstance(what, str) else what
        if item is None:
            return None
        if z:
            item.z, item.on = z, "wall"
        for _ in range(tries):
            wall_side = rng.randrange(4) if side is None else side
            play = zone.wall(wall_side).length / 2 - item.size[0] / 2 - 0.03
            if play < 0:
                continue
            place = u if u is not None else rng.choice([-play, play]) if rng.random() < 0.3 else rng.uniform(-play, play)
            if self.layout.on_wall(item, zone, wall_side, place, rng.choice([0.02, 0.03, 0.06]) if gap is None else gap, jitter):
                return item
        return None

    def beside(self, item: Item, what: str | Item, u: float, v: float, turn: float = 0.0, close: Sequence[Item] = ()) -> Item | None:
        """A thing at a place in another's coordinates."""
        new, zone = self.make(what) if isinstance(what, str) else what, self.zone_of(item)
        return new and self.layout.put(new, zone, *item.at(u, v), item.yaw + turn, close=close)

    def zone_of(self, item: Item) -> Zone:
        return next((zone for zone in self.layout.zones if zone.holds(item.x, item.y)), self.layout.zones[0])

    def middle(self, what: str | Item, zone: Zone, margin: float = 0.5, tries: int = 14) -> Item | None:
        """A thing away from the walls."""
        item, rng = self.make(what) if isinstance(what, str) else what, self.rng
        for _ in range(tries if item else 0):
            yaw = rng.randrange(4) * math.pi / 2 + rng.gauss(0, 0.03)
            hx, hy = Box(0, 0, item.size[0], item.size[1], 0, 1, yaw).half
            (x, y), px, py = zone.centre, (zone.x1 - zone.x0) / 2 - hx - margin, (zone.y1 - zone.y0) / 2 - hy - margin
            if px > 0 and py > 0:
                if self.layout.put(item, zone, x + rng.uniform(-px, px), y + rng.uniform(-py, py), yaw, pad=0.04):
                    return item
        return None

    def stand(self, carrier: Item, item: Item | None, u: float, v: float, turn: float = 0.0) -> Item | None:
        """A thing at a certain place on a piece of furniture, if all its base is carried."""
        if item is None:
            return None
        corners = [(u + a * item.size[0] * 0.4, v + b * item.size[1] * 0.4) for a, b in ((0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1))]
        if max(abs(u) + item.size[0] / 2 - carrier.size[0] / 2, abs(v) + item.size[1] / 2 - carrier.size[1] / 2) > 0.03:
            return None
        heights = [carrier.height_at(*corner) for corner in corners]
        if max(heights) - min(heights) > 0.006 or min(heights) < carrier.z + 0.2:
            return None
        item.x, item.y = carrier.at(u, v)
        item.z, item.yaw, item.on = max(heights) + 0.0005, carrier.yaw + turn, carrier
        fits = item.z + item.size[2] < self.layout.height - 0.05 and self.layout.free(item.box, (carrier,), doors=True)
        return self.layout.add(item) if fits else None

    def rack(self, zone: Zone, side: int | None = None, style: str = "", height: float | None = None, width: float | None = None) -> Item | None:
        """Filled shelves against a wall."""
        rng = self.rng
        style = style or rng.choice(["books", "mixed", "goods"] if zone.kind not in ("library", "study") else ["books"])
        size = (width or rng.uniform(0.7, 1.6), rng.uniform(0.28, 0.42), height or min(self.layout.height - 0.2, rng.uniform(1.1, 2.2)))
        mesh = things.rack(rng, size, style, self.board, back=True)
        return self.against(Item.of("shelves", mesh, role="rack"), zone, side, gap=0.02)

    # Groups of furniture

    def small(self, carrier: Item | None, count: int, kind: str = "thing", inside: bool = False) -> None:
        """Things on or in a piece of furniture."""
        rng = self.rng
        for _ in range(count if carrier else 0):
            what = "model" if kind == "bath thing" else rng.choice(["model"] * 6 + ["books", "stack", "stack", "paper", "carton", "jars", "frame"])
            if what == "model":
                item = self.make(kind if kind == "bath thing" or rng.random() < 0.75 else rng.choice(["thing", "small plant"]))
            elif what == "paper":
                item = Item.of("papers", things.filler(rng, "stack", (0.21, 0.29, rng.choice([0.004, 0.008, 0.02]))))
            else:
                size = {"books": (rng.uniform(0.12, 0.4), 0.17, 0.24), "stack": (0.22, 0.28, rng.uniform(0.03, 0.16)),
                        "jars": (rng.uniform(0.06, 0.25), 0.09, rng.uniform(0.08, 0.28)), "frame": (0.16, 0.06, 0.2)}  # fmt: skip
                side = rng.uniform(0.06, 0.3)
                item = Item.of(what, things.filler(rng, what, size.get(what, (side, side * rng.uniform(0.5, 1), side * rng.uniform(0.3, 1)))))
            if item and max(item.size[:2]) < 0.9 * max(carrier.size[:2]):
                self.layout.set_on(item, carrier, inside, 0.0 if what in ("books", "frame") else None)

    def cloth(self, carrier: Item, u: float, v: float, size: tuple, turn: float, thick: float, hang: float) -> None:
        """A blanket, tablecloth or garment lying on furniture."""
        top = carrier.mesh.survey.top * carrier.scale
        mesh = things.drape(self.rng, top, CELL * carrier.scale, (u, v), size, turn, thick, hang, things.fabric(self.rng))
        if mesh:
            (x, y, z), (right, back, _) = mesh.bounds
            cloth = Item.of("cloth", mesh, carrier, carrier.z + z, soft=True)
            (cloth.x, cloth.y), cloth.yaw = carrier.at((x + right) / 2, (y + back) / 2), carrier.yaw
            if self.layout.inside(self.zone_of(carrier), cloth.box):
                self.layout.add(cloth)

    def cushion(self, carrier: Item, u: float, v: float, size: tuple, lean: float) -> None:
        """A pillow on a bed or sofa."""
        item = Item.of("cushion", things.cushion(self.rng, *size, lean, things.fabric(self.rng)), soft=True)
        item.x, item.y = carrier.at(u, v)
        item.z, item.yaw, item.on = carrier.height_at(u, v - 0.05) - 0.01, carrier.yaw + self.rng.gauss(0, 0.15), carrier
        if carrier.z + 0.2 < item.z < carrier.z + 0.8:
            self.layout.add(item)

    def rug(self, zone: Zone, x: float, y: float, width: float, depth: float, yaw: float) -> None:
        """A carpet that lies within the zone; thin enough for furniture to stand on it."""
        hx, hy = Box(0, 0, width, depth, 0, 1, yaw).half
        if 2 * hx < zone.x1 - zone.x0 - 0.1 and 2 * hy < zone.y1 - zone.y0 - 0.1:
            item = Item.of("rug", things.rug(self.rng, width, depth), z=0.001, soft=True, role="rug")
            item.x, item.y = (min(max(p, a + h + 0.03), b - h - 0.03) for p, a, b, h in ((x, zone.x0, zone.x1, hx), (y, zone.y0, zone.y1, hy)))
            item.yaw = yaw
            self.layout.add(item)

    def around(self, table: Item | None, count: int | None = None, role: str = "chair", same: bool = True) -> None:
        """Chairs around a table, some drawn out."""
        if table is None:
            return
        rng, (width, depth) = self.rng, table.size[:2]
        each = max(1, int(width / 0.62))
        spots = [((k + 0.5) / each * width - width / 2, side, turn) for k in range(each) for side, turn in ((-1, math.pi), (1, 0.0))]
        spots += [(0, side, turn) for side, turn in ((-2, math.pi / 2), (2, -math.pi / 2))] if depth > 0.65 else []
        rng.shuffle(spots)
        for along, side, turn in spots[: count or len(spots)]:
            chair = self.make(role, same)
            if chair:
                across = abs(side) == 2
                self.draw_up(table, chair, 0.0 if across else along, across, math.copysign(1, side), turn)

    def draw_up(self, table: Item, chair: Item, along: float, across: bool, side: float, turn: float) -> None:
        """A chair at an edge of a table, pushed under it as far as it fits."""
        rng = self.rng
        turn += rng.gauss(0, 0.1)
        for out in (rng.uniform(-0.28, 0.0), rng.uniform(0.0, 0.15), 0.25, 0.45, 0.58):
            reach = side * (table.size[0 if across else 1] / 2 + chair.size[1] * out)
            if self.beside(table, chair, reach if across else along, along if across else reach, turn, close=(table,)):
                return

    def table_group(self, zone: Zone, role: str = "table", count: int | None = None, kind: str = "kitchen thing", chair: str = "chair") -> Item | None:
        table = self.middle(role, zone, 0.55)
        if table:
            self.around(table, count, chair)
            if self.rng.random() < 0.25:
                self.cloth(table, 0, 0, (table.size[0] * 1.05, table.size[1] * 1.08), 0, 0.004, 0.2)
            else:
                self.small(table, self.rng.randrange(1, 9), kind)
        return table

    def work_place(self, desk: Item | None, office: bool = False) -> None:
        """Screens, papers and a chair at a desk."""
        if desk is None:
            return
        rng, (width, depth, _) = self.rng, desk.size
        u, x = rng.uniform(-0.22, 0.22) * width, rng.random()
        if x < 0.68:
            for shift in (0.0, *((0.68 if u < 0 else -0.68,) if width > 1.3 and rng.random() < 0.4 else ())):
                screen = Item.of("monitor", things.monitor(rng, self.glow), role="screen")
                self.stand(desk, screen, u + shift, depth * rng.uniform(0.05, 0.2), rng.gauss(0, 0.15) - 0.3 * shift)
            self.stand(desk, Item.of("keyboard", things.keyboard(rng)), u, -depth * 0.22, rng.gauss(0, 0.06))
        elif x < 0.92:
            self.stand(desk, Item.of("laptop", things.laptop(rng, self.glow), role="screen"), u, -depth * 0.05, rng.gauss(0, 0.2))
        else:
            computer = self.make("computer")
            if self.stand(desk, computer, u, 0, rng.gauss(0, 0.2)):
                computer.role = "screen"
        chair = self.make("office chair" if rng.random() < 0.75 else "chair", same=office)
        if chair:
            self.draw_up(desk, chair, u + rng.uniform(-0.1, 0.1), False, -1, math.pi + rng.gauss(0, 0.3))
        self.small(desk, rng.randrange(3, 10), "office thing")
        if rng.random() < 0.45:
            self.lamp_on(desk)

    def lamp_on(self, carrier: Item) -> None:
        lamp = self.make("table lamp")
        if lamp:
            self.layout.set_on(lamp, carrier, tries=2)

    # Rooms

    def living_room(self, zone: Zone) -> None:
        rng = self.rng
        sofa = self.against("corner sofa" if rng.random() < 0.2 else "sofa", zone, gap=rng.choice([0.03, 0.05, 0.3, 0.9]))
        facing = None
        if sofa:
            width, depth = sofa.size[:2]
            facing = next((s for s in range(4) if abs(math.cos(zone.wall(s).yaw - sofa.yaw) + 1) < 0.1), None)
            if rng.random() < 0.6:
                self.rug(zone, *sofa.at(0, -depth / 2 - 0.6), rng.uniform(1.7, 2.6), rng.uniform(1.2, 1.9), sofa.yaw)
            table = self.make("coffee table")
            if table and self.beside(sofa, table, rng.uniform(-0.2, 0.2), -depth / 2 - rng.uniform(0.35, 0.5) - table.size[1] / 2):
                self.small(table, rng.randrange(2, 8))
            for side in (-1, 1):
                if rng.random() < 0.55:
                    role = rng.choice(["bedside", "floor lamp", "plant", "small table"])
                    new = self.beside(sofa, role, side * (width / 2 + 0.36), 0.1)
                    if new and role in CARRIERS:
                        self.lamp_on(new)
                        self.small(new, 2)
                if rng.random() < 0.45:
                    self.beside(sofa, "armchair", side * (width / 2 + rng.uniform(0.1, 0.5)), -depth / 2 - rng.uniform(0.6, 1.1), -side * rng.uniform(0.8, 1.6))
            self.soften(sofa)
        stand = self.against("tv stand", zone, side=facing if rng.random() < 0.7 else None)
        if stand:
            tv = self.make("tv")
            if tv and self.stand(stand, tv, 0, 0):
                tv.role = "screen"
            self.small(stand, 4)
        if rng.random() < 0.3 and min(zone.x1 - zone.x0, zone.y1 - zone.y0) > 4:
            self.table_group(zone)

    def soften(self, sofa: Item) -> None:
        """Cushions and a blanket on a sofa."""
        rng, width = self.rng, sofa.size[0]
        for _ in range(rng.randrange(0, 5)):
            side = rng.uniform(0.35, 0.48)
            self.cushion(sofa, rng.uniform(-0.38, 0.38) * width, 0.02, (side, side, 0.14), rng.uniform(1.0, 1.35))
        if rng.random() < 0.4:
            self.cloth(sofa, rng.uniform(-0.35, 0.35) * width, -0.05, (rng.uniform(0.5, 0.9), rng.uniform(0.6, 0.9)), rng.uniform(-0.4, 0.4), 0.02, 0.15)

    def dining_room(self, zone: Zone) -> None:
        table = self.table_group(zone)
        if table and self.rng.random() < 0.35:
            self.rug(zone, table.x, table.y, table.size[0] + 1.2, table.size[1] + 1.1, table.yaw)

    def bedroom(self, zone: Zone) -> None:
        rng, child = self.rng, self.rng.random() < 0.2
        bed = self.against(rng.choice(["bunk", "bed"]) if child else "bed", zone, gap=0.03, tries=30)
        if bed is None:
            return
        width, depth, _ = bed.size
        for side in (-1, 1):
            table = self.beside(bed, "bedside", side * (width / 2 + 0.3), depth / 2 - 0.28)
            if table:
                self.lamp_on(table)
                self.small(table, rng.randrange(1, 4))
        level = bed.height_at(0, -0.1)
        if bed.z + 0.15 < level < 0.85:
            if rng.random() < 0.75:
                share = rng.uniform(0.5, 0.85)
                self.cloth(bed, 0, -depth * (1 - share) / 2, (width * rng.uniform(0.95, 1.15), depth * share), rng.gauss(0, 0.06), rng.uniform(0.03, 0.08), rng.uniform(0.08, 0.35))
            for _ in range(rng.randrange(1, 5)):
                side = rng.uniform(0.4, 0.65)
                self.cushion(bed, rng.uniform(-0.3, 0.3) * width, depth * rng.uniform(0.25, 0.34), (side, side * 0.7, 0.16), rng.uniform(0, 0.6))
            for _ in range(rng.randrange(0, 3)):
                size = (rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.6))
                self.cloth(bed, rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.4, 0.1) * depth, size, rng.uniform(0, 3), rng.uniform(0.03, 0.08), 0.02)
        if child:
            self.against("crib", zone)
        if rng.random() < 0.55:
            self.rug(zone, *bed.at(rng.uniform(-1, 1), -depth / 2), rng.uniform(1.2, 2.2), rng.uniform(0.9, 1.6), bed.yaw)

    def kitchen(self, zone: Zone) -> None:
        rng = self.rng
        first = max(range(4), key=lambda side: zone.wall(side).length - 2 * len(zone.openings[side]) + rng.uniform(0, 1.5))
        sides = [first, (first + rng.choice([1, 2, 3])) % 4][: rng.choice([1, 2, 2])]
        hang = rng.uniform(1.4, 1.5)
        for number, side in enumerate(sides):
            wall, todo = zone.wall(side), (["sink", "cooker", "fridge"] if number == 0 else ["cooker", "fridge"] * (rng.random() < 0.3))
            rng.shuffle(todo)
            u, end = -wall.length / 2 + 0.02, wall.length / 2 - rng.choice([0.03, 0.03, 0.7])
            while u < end - 0.4:
                role = todo.pop() if todo and rng.random() < 0.5 else "base cabinet"
                unit = self.make(role, same=role == "base cabinet" and rng.random() < 0.8)
                if unit is None or u + unit.size[0] > end:
                    break
                placed = self.against(unit, zone, side, u + unit.size[0] / 2 + 0.003, gap=0.02, tries=1)
                if placed and role != "fridge":
                    upper = self.make("wall cabinet", same=rng.random() < 0.85)
                    if upper and rng.random() < 0.7 and hang + upper.size[2] < self.layout.height:
                        self.against(upper, zone, side, u + max(unit.size[0], upper.size[0]) / 2 + 0.003, gap=0.005, z=hang, tries=1)
                    self.small(unit, rng.choice([0, 1, 2, 3]), "kitchen thing")
                u += (unit.size[0] if placed else 0.25) + 0.006
        if rng.random() < 0.3:
            self.small(self.middle("island", zone, 0.7), rng.randrange(2, 8), "kitchen thing")
        elif rng.random() < 0.75:
            self.table_group(zone, rng.choice(["table", "small table"]), rng.choice([2, 3, 4]), chair=rng.choice(["chair"] * 6 + ["stool"]))

    def bathroom(self, zone: Zone) -> None:
        rng = self.rng
        self.against("bath" if rng.random() < 0.7 else "shower", zone, gap=0.02, tries=30)
        basin = self.against("basin", zone, gap=0.02, tries=30)
        if basin:
            self.small(basin, rng.randrange(2, 6), "bath thing")
            bottom = max(1.15, basin.size[2] + 0.2)
            tall = min(rng.uniform(0.5, 0.9), self.layout.height - 0.1 - bottom)
            if tall > 0.3:
                wide = rng.uniform(0.4, 0.8)
                face = things.MIRROR if rng.random() < 0.6 else things.WHITE
                mirror = Item.of("mirror", things.panel(wide, tall, rng.choice([things.METAL, things.WHITE]), face))
                self.against_back_of(basin, mirror, bottom, zone)
        toilet = self.against("toilet", zone, gap=0.02, tries=30)
        self.small(toilet, 1, "bath thing")
        for _ in range(rng.randrange(1, 3)):
            self.against("towel rail", zone, z=rng.uniform(0.9, 1.3), gap=0.005)
        if rng.random() < 0.6:
            self.rug(zone, *zone.centre, rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.6), rng.choice([0, math.pi / 2]))

    def against_back_of(self, item: Item, new: Item, z: float, zone: Zone) -> None:
        """A thing on the wall behind another."""
        for side in range(4):
            wall = zone.wall(side)
            if abs(math.remainder(wall.yaw - item.yaw, 2 * math.pi)) < 0.1:
                u = (item.x - wall.x) * math.cos(wall.yaw) + (item.y - wall.y) * math.sin(wall.yaw)
                self.against(new, zone, side, u, gap=0.001, z=z, tries=1)

    def office(self, zone: Zone) -> None:
        rng = self.rng
        for _ in range(max(1, min(9, int(zone.area / rng.uniform(4.5, 8))))):
            desk = self.make("desk", same=rng.random() < 0.8)
            placed = desk and (self.against(desk, zone, gap=0.03) if rng.random() < 0.7 else self.middle(desk, zone, 0.6))
            self.work_place(placed, office=True)

    def study(self, zone: Zone) -> None:
        self.work_place(self.against("desk", zone, tries=30))

    def classroom(self, zone: Zone) -> None:
        rng, face = self.rng, self.rng.randrange(4)
        wall = zone.wall(face)
        desk, role = rng.choice(["small table", "desk", "desk"]), rng.choice(["chair", "chair", "office chair"])
        width, depth = self.style[desk].size[0] + rng.uniform(0.15, 0.6), self.style[desk].size[1] + rng.uniform(0.75, 1.05)
        deep = zone.wall((face + 1) % 4).length
        board = Item.of("board", things.panel(min(rng.uniform(1.8, 3.6), wall.length - 0.6), 1.15, things.METAL,
                        rng.choice([things.WHITE, Paint((0.1, 0.2, 0.15), "plaster1", 1, 0.6)])))  # fmt: skip
        self.against(board, zone, face, 0.0, gap=0.001, z=0.9, tries=1)
        for row in range(int((deep - 1.6) / depth)):
            for column in range(int((wall.length - 1.0) / width)):
                u = (column + 0.5) * width - int((wall.length - 1.0) / width) * width / 2
                item = self.make(desk, same=True)
                if item is None or rng.random() < 0.08:
                    continue
                if self.layout.put(item, zone, *wall.at(u, 1.5 + (row + 0.5) * depth), wall.yaw + rng.gauss(0, 0.03)):
                    seats = max(1, int(item.size[0] / 0.65))
                    for seat in range(seats):
                        chair = self.make(role, same=True)
                        if chair:
                            self.draw_up(item, chair, ((seat + 0.5) / seats - 0.5) * item.size[0], False, -1, math.pi)
                    self.small(item, rng.choice([0, 1, 2, 3]), "office thing")
        self.pictures(zone, rng.randrange(3, 10))

    def meeting_room(self, zone: Zone) -> None:
        self.style["table"] = max(self.rng.sample(self.roles["table"], min(4, len(self.roles["table"]))), key=lambda m: m.size[0])
        table = self.make("table", same=True)
        if table and self.middle(table, zone, 0.7):
            self.around(table, None, self.rng.choice(["office chair", "chair"]))
            for _ in range(self.rng.randrange(0, 4)):
                self.layout.set_on(Item.of("laptop", things.laptop(self.rng, self.glow), role="screen"), table)
            self.small(table, self.rng.randrange(2, 9), "office thing")
        board = Item.of("board", things.panel(self.rng.uniform(1.2, 2.2), 1.1, things.METAL, things.WHITE))
        self.against(board, zone, gap=0.001, z=0.95)

    def library(self, zone: Zone) -> None:
        rng = self.rng
        for _ in range(rng.randrange(4, 10)):
            self.rack(zone, style="books", height=rng.uniform(1.5, min(2.3, self.layout.height - 0.1)), width=rng.uniform(0.9, 1.6))
        self.aisles(zone, "books", rng.uniform(1.3, 2.0), rng.randrange(0, 5))
        for _ in range(rng.randrange(1, 4)):
            self.table_group(zone, kind="office thing")

    def shop(self, zone: Zone) -> None:
        rng = self.rng
        for side in rng.sample(range(4), 3):
            for _ in range(4):
                self.rack(zone, side, "goods", rng.uniform(1.6, 2.2))
        self.aisles(zone, "goods", rng.uniform(1.1, 1.9), 12)
        self.small(self.middle("desk", zone), 6)
        for _ in range(4):
            self.middle("floor thing", zone, 0.1)

    def aisles(self, zone: Zone, style: str, height: float, most: int) -> None:
        """Rows of free-standing shelves."""
        rng, yaw = self.rng, self.rng.choice([0.0, math.pi / 2])
        step, count = (rng.uniform(1.7, 2.3), 1.25) if yaw else (1.25, rng.uniform(1.7, 2.3)), 0
        for i in range(int((zone.x1 - zone.x0 - 2) / step[0])):
            for j in range(int((zone.y1 - zone.y0 - 2) / step[1])):
                if count < most:
                    rack = Item.of("shelves", things.rack(rng, (1.2, 0.4, height), style, self.board, back=False), role="rack")
                    x, y = zone.x0 + 1.5 + i * step[0], zone.y0 + 1.5 + j * step[1]
                    count += self.layout.put(rack, zone, x, y, yaw) is not None

    def corridor(self, zone: Zone) -> None:
        self.pictures(zone, self.rng.randrange(2, 6))

    def basement(self, zone: Zone) -> None:
        for _ in range(self.rng.randrange(1, 5)):
            self.rack(zone, style=self.rng.choice(["goods", "mixed"]))

    def cafe(self, zone: Zone) -> None:
        rng, role = self.rng, self.rng.choice(["small table", "small table", "table"])
        for _ in range(2):
            self.small(self.against("base cabinet", zone), 4, "kitchen thing")
        for _ in range(max(3, int(zone.area / rng.uniform(4, 8)))):
            table = self.make(role, same=True)
            if table and self.middle(table, zone, 0.5):
                self.around(table, rng.choice([2, 3, 4]))
                self.small(table, rng.randrange(0, 5), "kitchen thing")

    # Everywhere

    def along_walls(self, zone: Zone) -> None:
        """Further furniture, as much as fits a lived-in room of this size."""
        rng, chances = self.rng, ALONG_WALLS[zone.kind]
        extra = rng.choices([role for role, _ in chances], [p for _, p in chances], k=int(zone.area / 5))
        for role in [role for role, p in chances if rng.random() < p] + extra:
            item = self.against(role, zone, jitter=0.03 if role in ("armchair", "plant", "chair", "small table") else 0.0)
            if item is None:
                continue
            if role == "desk":
                self.work_place(item)
            elif role == "sofa":
                self.soften(item)

    def everywhere(self, zone: Zone) -> None:
        """Clutter on every surface, on the floor and on the walls."""
        rng, kind = self.rng, zone.kind
        if rng.random() < 0.45 and kind not in WET:
            self.against("radiator", zone, gap=0.03, tries=6)
        if rng.random() < 0.3:
            self.against("wall unit", zone, z=rng.uniform(1.3, 1.7), gap=0.003, tries=6)
        for _ in range(0 if kind in ("bathroom", "corridor") else rng.choice([0, 1, 1, 2])):
            shelf = Item.of("wall shelf", things.wall_shelf(rng, rng.uniform(0.5, 1.4), rng.uniform(0.15, 0.28), self.board))
            self.against(shelf, zone, gap=0.001, z=rng.uniform(1.2, 1.65), tries=6)
        self.pictures(zone, rng.choice([1, 2, 3, 4, 6, 9]))
        for item in [item for item in self.layout.items if item.role in CARRIERS and zone.holds(item.x, item.y)]:
            surface = min(1.6, item.size[0] * item.size[1])
            self.small(item, int(self.mess * rng.uniform(1, 12) * surface), SMALL.get(kind, "thing"))
            if item.role in SHELVED:
                self.small(item, rng.randrange(3, 12), SMALL.get(kind, "thing"), inside=True)
            elif item.role in ("coffee table", "desk") and rng.random() < 0.1 * self.mess:
                self.cloth(item, 0, 0, (0.4, 0.4), rng.uniform(0, 3), 0.04, 0.03)
        for item in [item for item in self.layout.items if item.role in ("chair", "armchair", "sofa") and zone.holds(item.x, item.y)]:
            if rng.random() < 0.12 * self.mess:
                self.cloth(item, 0, 0, (0.35, 0.35), rng.uniform(0, 3), 0.05, 0.03)
        for _ in range(int(self.mess * zone.area / 5)):
            item, yaw = self.make("floor thing"), rng.uniform(0, 2 * math.pi)
            if item and rng.random() < 0.6:
                self.against(item, zone, tries=6, jitter=0.25)
            elif item:
                self.layout.put(item, zone, rng.uniform(zone.x0, zone.x1), rng.uniform(zone.y0, zone.y1), yaw)
        for _ in range(int(self.mess * zone.area / 6)):
            if rng.random() < 0.35 and kind not in PUBLIC:
                size = rng.uniform(0.15, 0.4)
                item = Item.of("clothes", things.heap(rng, size, rng.uniform(0.04, 0.14), things.fabric(rng)))
            else:
                what = rng.choice(["stack", "carton", "carton"])
                item = Item.of(what, things.filler(rng, what, (rng.uniform(0.2, 0.4), 0.3, rng.choice([0.004, rng.uniform(0.05, 0.4)]))))
            item.z = 0.014
            self.layout.put(item, zone, rng.uniform(zone.x0, zone.x1), rng.uniform(zone.y0, zone.y1), rng.uniform(0, 6))
        for _ in range(rng.randrange(1, 4)):
            self.against(Item.of("switch", things.switch()), zone, gap=0.0005, z=rng.choice([0.25, 1.1]), tries=3)

    def pictures(self, zone: Zone, count: int) -> None:
        """Pictures and posters at eye level."""
        rng = self.rng
        for _ in range(count):
            width, height = rng.uniform(0.18, 1.0), rng.uniform(0.18, 0.9)
            if zone.kind in PUBLIC and rng.random() < 0.5:
                width, height = 0.3, 0.42
            item = Item.of("picture", things.picture(rng, width, height))
            self.against(item, zone, gap=0.001, z=min(rng.gauss(1.6, 0.15) - height / 2, self.layout.height - height - 0.1), tries=3)

    def lamps(self, zone: Zone) -> None:
        """Lamps at the ceiling, and the light of those that stand on floors and tables."""
        rng, layout, room = self.rng, self.layout, self.room
        day = any(light.kind == "area" for light in room.lights)
        warm, cool = colour(rng, rng.uniform(0.07, 0.13), rng.uniform(0.1, 0.55), 1), colour(rng, rng.choice([0.12, 0.45, 0.6]), rng.uniform(0, 0.12), 1)
        on = not day or rng.random() < (0.6 if zone is layout.zones[0] else 0.85)
        power = zone.area * rng.uniform(6, 16) * (rng.uniform(0.2, 1) if day else 1)
        strips = zone.kind in (*PUBLIC, "basement") and zone.kind != "cafe" and rng.random() < 0.75
        (x, y), wide, deep = zone.centre, zone.x1 - zone.x0, zone.y1 - zone.y0
        places = [(x + rng.gauss(0, 0.1) * wide / 3, y + rng.gauss(0, 0.1) * deep / 3)]
        if strips or zone.area > 22 or rng.random() < 0.2:
            columns, rows = max(1, round(wide / 2.4)), max(1, round(deep / 2.4))
            places = [(zone.x0 + (i + 0.5) * wide / columns, zone.y0 + (j + 0.5) * deep / rows) for i in range(columns) for j in range(rows)]
        glow = Paint((1, 0.97, 0.9), glow=rng.uniform(8, 30) if on else 0.0)
        panel, hanging = rng.choice([(1.2, 0.3), (1.2, 0.3), (0.6, 0.6)]), self.make("ceiling lamp")
        for place in places:
            if strips:
                lamp = Item.of("ceiling panel", things.ceiling_panel(*panel, glow), "ceiling")
            elif hanging and hanging.size[2] < layout.height - 1.9 and rng.random() < 0.9:
                lamp = layout.make(hanging.model)
            else:
                lamp = Item.of("ceiling lamp", things.ceiling_bowl(glow), "ceiling")
            lamp.on, lamp.role, lamp.z = "ceiling", "ceiling lamp", layout.height - lamp.size[2]
            if layout.put(lamp, zone, *place, 0.0) and on:
                below = lamp.z - 0.05 if strips or lamp.model is None else lamp.z + 0.4 * lamp.size[2]
                kind, size = ("area", panel) if strips else ("point", (0.24, 0))
                room.lights.append(Light(kind, (*place, below), (0, 0, -1), size, power / len(places) * (1 if strips else 1.3), cool if strips else warm))
        for item in layout.items:
            if item.role in ("table lamp", "floor lamp") and zone.holds(item.x, item.y) and rng.random() < (0.2 if day else 0.5):
                place = (item.x, item.y, item.z + 0.8 * item.size[2])
                room.lights.append(Light("point", place, (0, 0, -1), (0.14, 0), rng.uniform(6, 30), warm))

