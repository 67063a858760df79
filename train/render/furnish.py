"""What belongs in which room and where: furniture, things on it, things on walls and floor, lamps."""

import math
import random

from train.render import things
from train.render.catalogue import Model
from train.render.layout import Item, Zone
from train.render.mesh import CELL, Mesh, Paint, shaped
from train.render.plan import PUBLIC, WET, Light, Room, daylight
from train.render.things import colour

ALONG_WALLS = {  # role and probability, in the order of placing
    "living room": "bookcase .7 armchair .5 plant .5 floor-lamp .5 chest .4 piano .15 fireplace .2 bookcase .4 rack .3",
    "dining room": "chest .7 bookcase .5 plant .5 small-table .3 fireplace .1 rack .2",
    "bedroom": "wardrobe .75 chest .55 desk .4 bookcase .4 armchair .35 plant .3 floor-lamp .3 chest .2 rack .25",
    "kitchen": "washer .3 rack .25 stool .2 small-table .2",
    "bathroom": "washer .4 radiator .4 small-table .1",
    "office": "filing .8 office-cabinet .5 bookcase .6 filing .5 cooler .3 plant .5 armchair .2 rack .5 rack .3",
    "study": "desk 1 rack .8 rack .5 armchair .6 bookcase .6 plant .35 floor-lamp .5 filing .4 piano .12 rack .3",
    "classroom": "rack .8 filing .4 office-cabinet .4 plant .3 desk .4",
    "meeting room": "plant .6 chest .5 office-cabinet .4 cooler .3 filing .3",
    "library": "armchair .6 plant .5 small-table .4 desk .4",
    "shop": "chest .3 fridge .4 plant .3",
    "corridor": "plant .5 chest .4 chair .5 radiator .4 filing .3 bike .25 rack .3",
    "basement": "rack .9 rack .5 rack .4 washer .6 cellar .9 cellar .6 gym .5 bike .6 wardrobe .4 desk .4 fridge .2",
    "cafe": "base-cabinet .9 base-cabinet .7 plant .6 rack .6 fridge .5 sofa .3 plant .3",
}  # fmt: skip
SMALL = {"bathroom": "bath thing"} | dict.fromkeys(("kitchen", "dining room", "cafe"), "kitchen thing")
SMALL |= dict.fromkeys(("office", "study", "classroom", "meeting room"), "office thing")
CARRIERS = {
    "bedside", "chest", "coffee table", "table", "small table", "desk", "tv stand", "bookcase", "piano",
    "base cabinet", "sink", "cooker", "island", "washer", "basin", "filing", "office cabinet", "fireplace",
    "wardrobe", "fridge", "crib",
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
        recipe = getattr(work, zone.kind.replace(" ", "_"), None)
        if recipe and (index == 0 or zone.kind != room.kind):
            recipe(zone)
        work.along_walls(zone)
        work.everywhere(zone)
    daylight(room, rng)
    for zone in room.layout.zones:
        work.lamps(zone)


class _Furnishing:
    """A method for each kind of room, and the groups of things that they share."""

    def __init__(self, room: Room, roles: dict[str, list[Model]], rng: random.Random) -> None:
        self.room, self.layout, self.roles, self.rng = room, room.layout, roles, rng
        self.between, self.some = rng.uniform, rng.choice
        self.glow = rng.choice([0.0, 0.4, 0.8, 1.5])  # of screens
        self.board = rng.choice([things.wood(rng), things.wood(rng), things.WHITE, things.METAL, things.DARK])
        self.mess = rng.choice([0.5, 0.8, 1.2, 1.2, 1.8, 2.4])
        self.style = {role: rng.choice(models) for role, models in roles.items()}  # of rows of equal furniture

    def likely(self, probability: float) -> bool:
        return self.rng.random() < probability

    # Placing

    def make(self, role: str, same: bool = False) -> Item | None:
        item = self.layout.make(self.style[role] if same else self.some(self.roles[role]))
        if item:
            item.role = role
        return item

    def against(self, what: str | Item | None, zone: Zone, side: int | None = None, u: float | None = None,
                gap: float = 0.02, z: float = 0.0, tries: int = 14, jitter: float = 0.0) -> Item | None:  # fmt: skip
        """A thing with its back to a wall, often in a corner."""
        if what == "rack":
            return self.rack(zone, side)
        item = self.make(what) if isinstance(what, str) else what
        if item and z:
            item.z, item.on = z, "wall"
        for _ in range(tries if item else 0):
            chosen = self.rng.randrange(4) if side is None else side
            play = zone.wall(chosen).length / 2 - item.size[0] / 2 - 0.03
            if play > 0:
                place = self.some([-play, play]) if self.likely(0.3) else self.between(-play, play)
                if self.layout.on_wall(item, zone, chosen, place if u is None else u, gap, jitter):
                    return item
        return None

    def beside(
        self, item: Item, what: str | Item, u: float, v: float, turn: float = 0.0, close: bool = False
    ) -> Item | None:
        """A thing at a place in another's coordinates; `close` lets it go under the other."""
        new = self.make(what) if isinstance(what, str) else what
        under = (item,) if close else ()
        return new and self.layout.put(new, self.zone_of(item), *item.at(u, v), item.yaw + turn, close=under)

    def zone_of(self, item: Item) -> Zone:
        return next((zone for zone in self.layout.zones if zone.holds(item.x, item.y)), self.layout.zones[0])

    def middle(self, what: str | Item | None, zone: Zone, margin: float = 0.5) -> Item | None:
        """A thing away from the walls."""
        item = self.make(what) if isinstance(what, str) else what
        for _ in range(14 if item else 0):
            yaw = self.rng.randrange(4) * math.pi / 2 + self.rng.gauss(0, 0.03)
            turned = item.box._replace(yaw=yaw)
            px = (zone.x1 - zone.x0) / 2 - turned.reach(0) - margin
            py = (zone.y1 - zone.y0) / 2 - turned.reach(math.pi / 2) - margin
            x, y = zone.centre
            if px > 0 and py > 0:
                x, y = x + self.between(-px, px), y + self.between(-py, py)
                if self.layout.put(item, zone, x, y, yaw, pad=0.04):
                    return item
        return None

    def stand(self, carrier: Item, item: Item | None, u: float, v: float, turn: float = 0.0) -> Item | None:
        """A thing at a certain place on a piece of furniture, if all its base is carried."""
        if item is None:
            return None
        (width, depth, height), signs = item.size, ((0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1))
        heights = [carrier.height_at(u + 0.4 * a * width, v + 0.4 * b * depth) for a, b in signs]
        rim = max(abs(u) + (width - carrier.size[0]) / 2, abs(v) + (depth - carrier.size[1]) / 2)
        item.x, item.y = carrier.at(u, v)
        item.z, item.yaw, item.on = max(heights) + 0.0005, carrier.yaw + turn, carrier
        flat = rim < 0.03 and max(heights) - min(heights) < 0.006 and min(heights) > carrier.z + 0.2
        fits = item.z + height < self.layout.height - 0.05 and self.layout.free(item.box, (carrier,), doors=True)
        return self.layout.add(item) if flat and fits else None

    def rack(self, zone: Zone, side: int | None = None, style: str = "", height: float = 0.0) -> Item | None:
        """Filled shelves against a wall."""
        plain = ["books"] if zone.kind in ("library", "study") else ["books", "mixed", "goods"]
        height = height or min(self.layout.height - 0.2, self.between(1.1, 2.2))
        size = (self.between(0.7, 1.6), self.between(0.28, 0.42), height)
        mesh = things.rack(self.rng, size, style or self.some(plain), self.board)
        return self.against(Item.of("shelves", mesh, role="rack"), zone, side)

    # Groups of things

    def small(self, carrier: Item | None, count: int, kind: str = "thing", inside: bool = False) -> None:
        """Things on or in a piece of furniture."""
        for _ in range(count if carrier else 0):
            bath = kind == "bath thing"
            if bath or self.likely(0.5):
                item = self.make(kind if bath or self.likely(0.75) else self.some(["thing", "small plant"]))
            else:
                item = Item.of(*things.small(self.rng))
            if item and max(item.size[:2]) < 0.9 * max(carrier.size[:2]):
                self.layout.set_on(item, carrier, inside, 0.0 if item.name in ("books", "frame") else None)

    def cloth(
        self, carrier: Item, u: float, v: float, size: tuple, thick: float, hang: float, turn: float = 0.1
    ) -> None:
        """A blanket, tablecloth or garment lying on furniture."""
        top, paint = carrier.mesh.survey.top * carrier.scale, things.fabric(self.rng)
        yaw = self.rng.gauss(0, turn)
        mesh = things.drape(self.rng, top, CELL * carrier.scale, (u, v), size, yaw, thick, hang, paint)
        if mesh:
            (x, y, z), (right, back, _) = mesh.bounds
            cloth = Item.of("cloth", mesh, carrier, carrier.z + z, soft=True)
            (cloth.x, cloth.y), cloth.yaw = carrier.at((x + right) / 2, (y + back) / 2), carrier.yaw
            if self.layout.inside(self.zone_of(carrier), cloth.box):
                self.layout.add(cloth)

    def garment(self, carrier: Item) -> None:
        """A piece of clothing dropped on furniture."""
        (width, depth, _), size = carrier.size, (self.between(0.25, 0.6), self.between(0.25, 0.6))
        self.cloth(carrier, self.between(-0.2, 0.2) * width, self.between(-0.2, 0.1) * depth, size, 0.05, 0.03, 3)

    def cushion(self, carrier: Item, u: float, v: float, side: float, aspect: float, lean: float) -> None:
        """A pillow on a bed or sofa."""
        mesh = things.cushion(self.rng, (side, side * aspect, 0.15), lean, things.fabric(self.rng))
        item = Item.of("cushion", mesh, carrier, carrier.height_at(u, v - 0.05) - 0.01, soft=True)
        (item.x, item.y), item.yaw = carrier.at(u, v), carrier.yaw + self.rng.gauss(0, 0.15)
        if carrier.z + 0.2 < item.z < carrier.z + 0.8:
            self.layout.add(item)

    def rug(self, zone: Zone, place: tuple[float, float], width: float, depth: float, yaw: float) -> None:
        """A carpet that lies within the zone, thin enough for furniture to stand on it."""
        item = Item.of("rug", things.rug(self.rng, width, depth), z=0.001, soft=True, role="rug")
        (item.x, item.y), item.yaw = place, yaw
        if self.layout.inside(zone, item.box):
            self.layout.add(item)

    def around(self, table: Item, count: int | None = None, role: str = "chair") -> None:
        """Chairs around a table, some drawn out."""
        each = max(1, int(table.size[0] / 0.62))
        along = [((k + 0.5) / each - 0.5) * table.size[0] for k in range(each)]
        spots = [(u, False, side) for u in along for side in (-1, 1)]
        spots += [(0.0, True, side) for side in (-1, 1)] if table.size[1] > 0.65 else []
        self.rng.shuffle(spots)
        for u, across, side in spots[: count or len(spots)]:
            self.draw_up(table, role, u, side, across)

    def draw_up(
        self, table: Item, role: str, u: float, side: int = -1, across: bool = False, same: bool = True
    ) -> None:
        """A chair at an edge of a table, pushed under it as far as it fits."""
        chair = self.make(role, same)
        turn = (math.pi if side < 0 else 0.0) - (math.pi / 2 if across else 0.0) + self.rng.gauss(0, 0.12)
        for out in (self.between(-0.28, 0.0), self.between(0.0, 0.15), 0.25, 0.45, 0.58) if chair else ():
            reach = side * (table.size[0 if across else 1] / 2 + chair.size[1] * out)
            if self.beside(table, chair, *((reach, u) if across else (u, reach)), turn, close=True):
                return

    def table_group(
        self, zone: Zone, role: str = "table", count: int | None = None, kind: str = "kitchen thing"
    ) -> Item | None:
        """A laid table with its chairs."""
        table = self.middle(role, zone, 0.55)
        if table:
            self.around(table, count, self.some(["chair"] * 6 + ["stool"]) if zone.kind == "kitchen" else "chair")
            if self.likely(0.25):
                self.cloth(table, 0, 0, (table.size[0] * 1.05, table.size[1] * 1.08), 0.004, 0.2, 0.0)
            self.small(table, self.rng.randrange(1, 9), kind)
        return table

    def work_place(self, desk: Item | None, office: bool = False) -> None:
        """Screens, papers and a chair at a desk."""
        if desk is None:
            return
        rng, (width, depth, _) = self.rng, desk.size
        u, x = self.between(-0.22, 0.22) * width, rng.random()
        if x < 0.68:
            for shift in (0.0, -0.68 if u > 0 else 0.68)[: 2 if width > 1.3 and self.likely(0.4) else 1]:
                screen = Item.of("monitor", things.monitor(rng, self.glow), role="screen")
                self.stand(desk, screen, u + shift, depth * self.between(0.05, 0.2), rng.gauss(0, 0.15) - 0.3 * shift)
            self.stand(desk, Item.of("keyboard", things.keyboard(rng)), u, -depth * 0.22, rng.gauss(0, 0.06))
        elif x < 0.92:
            laptop = Item.of("laptop", things.laptop(rng, self.glow), role="screen")
            self.stand(desk, laptop, u, -depth * 0.05, rng.gauss(0, 0.2))
        else:
            self.stand(desk, self.make("computer"), u, 0, rng.gauss(0, 0.2))
        self.draw_up(desk, "office chair" if self.likely(0.75) else "chair", u, same=office)
        self.small(desk, rng.randrange(3, 10), "office thing")
        if self.likely(0.45):
            self.lamp_on(desk)

    def lamp_on(self, carrier: Item) -> None:
        """A lamp somewhere on a piece of furniture."""
        lamp = self.make("table lamp")
        if lamp:
            self.layout.set_on(lamp, carrier)

    def soften(self, sofa: Item) -> None:
        """Cushions and a blanket on a sofa."""
        width = sofa.size[0]
        for _ in range(self.rng.randrange(0, 5)):
            u, lean = self.between(-0.38, 0.38) * width, self.between(1.0, 1.35)
            self.cushion(sofa, u, 0.02, self.between(0.35, 0.48), 1.0, lean)
        if self.likely(0.4):
            size = (self.between(0.5, 0.9), self.between(0.6, 0.9))
            self.cloth(sofa, self.between(-0.35, 0.35) * width, -0.05, size, 0.02, 0.15, 0.3)

    # Rooms

    def living_room(self, zone: Zone) -> None:
        role = "corner sofa" if self.likely(0.2) else "sofa"
        sofa, facing = self.against(role, zone, gap=self.some([0.03, 0.05, 0.3, 0.9])), None
        if sofa:
            width, depth, _ = sofa.size
            facing = next((s for s in range(4) if math.cos(zone.wall(s).yaw - sofa.yaw) < -0.9), None)
            if self.likely(0.6):
                place = sofa.at(0, -depth / 2 - 0.6)
                self.rug(zone, place, self.between(1.7, 2.6), self.between(1.2, 1.9), sofa.yaw)
            u, v = self.between(-0.2, 0.2), -depth / 2 - self.between(0.6, 0.9)
            self.small(self.beside(sofa, "coffee table", u, v), 6)
            for side in (-1, 1):
                if self.likely(0.55):
                    role = self.some(["bedside", "floor lamp", "plant", "small table"])
                    table = self.beside(sofa, role, side * (width / 2 + 0.36), 0.1)
                    if table and role in CARRIERS:
                        self.lamp_on(table)
                if self.likely(0.45):
                    u, v = side * (width / 2 + self.between(0.1, 0.5)), -depth / 2 - self.between(0.6, 1.1)
                    self.beside(sofa, "armchair", u, v, -side * self.between(0.8, 1.6))
            self.soften(sofa)
        stand = self.against("tv stand", zone, side=facing if self.likely(0.7) else None)
        if stand:
            tv = self.stand(stand, self.make("tv"), 0, 0)
            if tv:
                tv.role = "screen"
        if self.likely(0.3) and min(zone.x1 - zone.x0, zone.y1 - zone.y0) > 4:
            self.table_group(zone)

    def dining_room(self, zone: Zone) -> None:
        table = self.table_group(zone)
        if table and self.likely(0.35):
            self.rug(zone, (table.x, table.y), table.size[0] + 1.2, table.size[1] + 1.1, table.yaw)

    def bedroom(self, zone: Zone) -> None:
        rng, child = self.rng, self.likely(0.2)
        bed = self.against(self.some(["bunk", "bed"]) if child else "bed", zone, gap=0.03, tries=30)
        if bed is None:
            return
        width, depth, _ = bed.size
        for side in (-1, 1):
            table = self.beside(bed, "bedside", side * (width / 2 + 0.3), depth / 2 - 0.28)
            if table:
                self.lamp_on(table)
        if bed.z + 0.15 < bed.height_at(0, -0.1) < 0.85:
            if self.likely(0.75):
                size = (width * self.between(0.95, 1.15), depth * self.between(0.5, 0.85))
                thick, hang = self.between(0.03, 0.08), self.between(0.08, 0.35)
                self.cloth(bed, 0, (size[1] - depth) / 2, size, thick, hang, 0.05)
            for _ in range(rng.randrange(1, 5)):
                u, v = self.between(-0.3, 0.3) * width, self.between(0.25, 0.34) * depth
                self.cushion(bed, u, v, self.between(0.4, 0.65), 0.7, self.between(0, 0.6))
            for _ in range(rng.randrange(0, 3)):
                self.garment(bed)
        if child:
            self.against("crib", zone)
        if self.likely(0.55):
            place = bed.at(self.between(-1, 1), -depth / 2)
            self.rug(zone, place, self.between(1.2, 2.2), self.between(0.9, 1.6), bed.yaw)

    def kitchen(self, zone: Zone) -> None:
        spread = [zone.wall(side).length - 2 * len(zone.openings[side]) + self.between(0, 1.5) for side in range(4)]
        first, hang = spread.index(max(spread)), self.between(1.4, 1.5)
        for side in [first, (first + self.some([1, 2, 3])) % 4][: self.some([1, 2, 2])]:
            half = zone.wall(side).length / 2
            todo = ["sink", "cooker", "fridge"] if side == first else ["cooker"]
            self.rng.shuffle(todo)
            u, end = -half + 0.02, half - self.some([0.03, 0.03, 0.7])
            while u < end - 0.4:
                role = todo.pop() if todo and self.likely(0.5) else "base cabinet"
                unit = self.make(role, same=role == "base cabinet" and self.likely(0.8))
                if unit is None or u + unit.size[0] > end:
                    break
                placed = self.against(unit, zone, side, u + unit.size[0] / 2 + 0.003, tries=1)
                if placed and role != "fridge":
                    upper = self.make("wall cabinet", same=self.likely(0.85))
                    if upper and self.likely(0.7) and hang + upper.size[2] < self.layout.height:
                        middle = u + max(unit.size[0], upper.size[0]) / 2 + 0.003
                        self.against(upper, zone, side, middle, gap=0.005, z=hang, tries=1)
                u += (unit.size[0] if placed else 0.25) + 0.006
        if self.likely(0.3):
            self.middle("island", zone, 0.7)
        elif self.likely(0.75):
            self.table_group(zone, self.some(["table", "small table"]), self.some([2, 3, 4]))

    def bathroom(self, zone: Zone) -> None:
        self.against("bath" if self.likely(0.7) else "shower", zone, tries=30)
        basin = self.against("basin", zone, tries=30)
        if basin:
            bottom = max(1.15, basin.size[2] + 0.2)
            tall = min(self.between(0.5, 0.9), self.layout.height - 0.1 - bottom)
            if tall > 0.3:
                face = things.MIRROR if self.likely(0.6) else things.WHITE
                mirror = things.panel(self.between(0.4, 0.8), tall, self.some([things.METAL, things.WHITE]), face)
                item = Item.of("mirror", mirror, "wall", bottom)
                self.beside(basin, item, 0, basin.size[1] / 2 + 0.019 - item.size[1] / 2)
        self.small(self.against("toilet", zone, tries=30), 1, "bath thing")
        for _ in range(self.rng.randrange(1, 3)):
            self.against("towel rail", zone, z=self.between(0.9, 1.3), gap=0.005)
        if self.likely(0.6):
            self.rug(zone, zone.centre, self.between(0.6, 0.9), 0.5, self.some([0, math.pi / 2]))

    def office(self, zone: Zone) -> None:
        for _ in range(max(1, min(9, int(zone.area / self.between(4.5, 8))))):
            desk = self.make("desk", same=self.likely(0.8))
            self.work_place(self.against(desk, zone) if self.likely(0.7) else self.middle(desk, zone, 0.6), True)

    def classroom(self, zone: Zone) -> None:
        face, desk = self.rng.randrange(4), self.some(["small table", "desk", "desk"])
        wall, role = zone.wall(face), self.some(["chair", "chair", "office chair"])
        board = self.some([things.WHITE, Paint((0.1, 0.2, 0.15), "plaster1", 1, 0.6)])
        mesh = things.panel(min(self.between(1.8, 3.6), wall.length - 0.6), 1.15, things.METAL, board)
        self.against(Item.of("board", mesh), zone, face, 0.0, gap=0.001, z=0.9, tries=1)
        wide, deep, _ = self.style[desk].size
        wide, deep = wide + self.between(0.15, 0.6), deep + self.between(0.75, 1.05)
        columns, rows = int((wall.length - 1) / wide), int((zone.wall((face + 1) % 4).length - 1.6) / deep)
        for row, column in ((row, column) for row in range(rows) for column in range(columns) if self.likely(0.92)):
            item, place = self.make(desk, True), wall.at((column + 0.5 - columns / 2) * wide, 1.5 + (row + 0.5) * deep)
            if item and self.layout.put(item, zone, *place, wall.yaw + self.rng.gauss(0, 0.03)):
                seats = max(1, int(item.size[0] / 0.65))
                for seat in range(seats):
                    self.draw_up(item, role, ((seat + 0.5) / seats - 0.5) * item.size[0])

    def meeting_room(self, zone: Zone) -> None:
        self.style["table"] = max(self.rng.sample(self.roles["table"], 2), key=lambda model: model.size[0])
        table = self.middle(self.make("table", same=True), zone, 0.7)
        if table:
            self.around(table, None, self.some(["office chair", "chair"]))
            for _ in range(self.rng.randrange(0, 4)):
                self.layout.set_on(Item.of("laptop", things.laptop(self.rng, self.glow), role="screen"), table)
        board = things.panel(self.between(1.2, 2.2), 1.1, things.METAL, things.WHITE)
        self.against(Item.of("board", board), zone, gap=0.001, z=0.95)

    def library(self, zone: Zone) -> None:
        for _ in range(self.rng.randrange(4, 10)):
            self.rack(zone, style="books", height=self.between(1.5, min(2.3, self.layout.height - 0.1)))
        self.aisles(zone, "books", self.between(1.3, 2.0), self.rng.randrange(0, 5))
        for _ in range(self.rng.randrange(1, 4)):
            self.table_group(zone, kind="office thing")

    def shop(self, zone: Zone) -> None:
        for side in self.rng.sample(range(4), 3) * 4:
            self.rack(zone, side, "goods", self.between(1.6, 2.2))
        self.aisles(zone, "goods", self.between(1.1, 1.9), 12)
        self.middle("desk", zone)
        for _ in range(4):
            self.middle("floor thing", zone, 0.1)

    def aisles(self, zone: Zone, style: str, height: float, most: int) -> None:
        """Rows of free-standing shelves."""
        yaw, step, count = self.some([0.0, math.pi / 2]), [1.25, self.between(1.7, 2.3)], 0
        dx, dy = step[::-1] if yaw else step
        for i in range(int((zone.x1 - zone.x0 - 2) / dx)):
            for j in range(int((zone.y1 - zone.y0 - 2) / dy)):
                if count < most:
                    mesh = things.rack(self.rng, (1.2, 0.4, height), style, self.board, back=False)
                    place = zone.x0 + 1.5 + i * dx, zone.y0 + 1.5 + j * dy
                    count += self.layout.put(Item.of("shelves", mesh, role="rack"), zone, *place, yaw) is not None

    def cafe(self, zone: Zone) -> None:
        role = self.some(["small table", "small table", "table"])
        for _ in range(max(3, int(zone.area / self.between(4, 8)))):
            table = self.middle(self.make(role, same=True), zone, 0.5)
            if table:
                self.around(table, self.some([2, 3, 4]))

    # Everywhere

    def along_walls(self, zone: Zone) -> None:
        """Further furniture, as much as fits a lived-in room of this size."""
        words = ALONG_WALLS[zone.kind].split()
        chances = [(role.replace("-", " "), float(p)) for role, p in zip(words[::2], words[1::2], strict=True)]
        extra = self.rng.choices([role for role, _ in chances], [p for _, p in chances], k=int(zone.area / 5))
        for role in [role for role, p in chances if self.likely(p)] + extra:
            item = self.against(role, zone, jitter=0.03 if role in ("armchair", "plant", "chair") else 0.0)
            if item and role == "desk":
                self.work_place(item)
            elif item and role == "sofa":
                self.soften(item)

    def everywhere(self, zone: Zone) -> None:
        """Clutter on every surface, on the floor and on the walls."""
        rng, kind, mine = self.rng, zone.kind, SMALL.get(zone.kind, "thing")
        if self.likely(0.45) and kind not in WET:
            self.against("radiator", zone, gap=0.03)
        if self.likely(0.3):
            self.against("wall unit", zone, z=self.between(1.3, 1.7), gap=0.003)
        for _ in range(0 if kind in ("bathroom", "corridor") else self.some([0, 1, 1, 2])):
            shelf = things.wall_shelf(rng, self.between(0.5, 1.4), self.between(0.15, 0.28), self.board)
            self.hang(shelf, "wall shelf", zone, self.between(1.2, 1.65))
        self.pictures(zone, self.some([3, 6, 9] if kind in ("classroom", "corridor") else [1, 2, 3, 4, 6, 9]))
        for item in [item for item in self.layout.items if zone.holds(item.x, item.y)]:
            surface = min(1.6, item.size[0] * item.size[1])
            if item.role in CARRIERS:
                self.small(item, 1 + int(self.mess * self.between(1, 12) * surface), mine)
            if item.role in SHELVED:
                self.small(item, rng.randrange(3, 12), mine, inside=True)
            if item.role in ("coffee table", "desk", "chair", "armchair", "sofa") and self.likely(0.1 * self.mess):
                self.garment(item)
        for _ in range(int(self.mess * zone.area / 2.7)):
            item = self.make("floor thing") if self.likely(0.55) else self.dropped(kind)
            if item and self.likely(0.4):
                self.against(item, zone, tries=6, jitter=0.25)
            elif item:
                place = self.between(zone.x0, zone.x1), self.between(zone.y0, zone.y1)
                self.layout.put(item, zone, *place, self.between(0, 6))
        for _ in range(rng.randrange(1, 4)):
            self.hang(things.switch(), "switch", zone, self.some([0.25, 1.1]))

    def dropped(self, kind: str) -> Item:
        """Clothes, papers or a box on the floor."""
        rng, name = self.rng, self.some(["stack", "carton", "carton"] + ["clothes"] * (kind not in PUBLIC))
        if name == "clothes":
            mesh = things.heap(rng, self.between(0.15, 0.4), self.between(0.04, 0.14), things.fabric(rng))
        else:
            size = (self.between(0.2, 0.4), 0.3, self.some([0.004, self.between(0.05, 0.4)]))
            mesh = shaped(things.FILLERS[name])(rng, size)
        return Item.of(name, mesh, z=0.014)  # on a rug or beside it

    def hang(self, mesh: Mesh, name: str, zone: Zone, z: float) -> None:
        """A thing on any wall."""
        self.against(Item.of(name, mesh), zone, gap=0.001, z=z, tries=4)

    def pictures(self, zone: Zone, count: int) -> None:
        """Pictures and posters at eye level."""
        for _ in range(count):
            paper = zone.kind in PUBLIC and self.likely(0.5)
            width, height = (0.3, 0.42) if paper else (self.between(0.18, 1.0), self.between(0.18, 0.9))
            z = min(self.rng.gauss(1.6, 0.15) - height / 2, self.layout.height - height - 0.1)
            self.hang(things.picture(self.rng, width, height), "picture", zone, z)

    def lamps(self, zone: Zone) -> None:
        """Lamps at the ceiling, and the light of those that stand on floors and tables."""
        rng, layout, room = self.rng, self.layout, self.room
        day = any(light.kind == "area" and light.aim[2] == 0 for light in room.lights)
        warm = colour(rng, self.between(0.07, 0.13), self.between(0.1, 0.55), 1)
        cool = colour(rng, self.some([0.12, 0.45, 0.6]), self.between(0, 0.12), 1)
        lit = not day or self.likely(0.6 if zone is layout.zones[0] else 0.85)
        power = zone.area * self.between(6, 16) * (self.between(0.2, 1) if day else 1)
        strips = zone.kind in (*PUBLIC, "basement") and zone.kind != "cafe" and self.likely(0.75)
        wide, deep, columns, rows = zone.x1 - zone.x0, zone.y1 - zone.y0, 1, 1
        if strips or zone.area > 22 or self.likely(0.2):
            columns, rows = max(1, round(wide / 2.4)), max(1, round(deep / 2.4))
        glow = Paint((1, 0.97, 0.9), glow=self.between(8, 30) if lit else 0.0)
        panel, hanging = self.some([(1.2, 0.3), (1.2, 0.3), (0.6, 0.6)]), self.make("ceiling lamp")
        for i, j in ((i, j) for i in range(columns) for j in range(rows)):
            if strips:
                lamp = Item.of("ceiling panel", things.ceiling_panel(*panel, glow))
            elif hanging and hanging.size[2] < layout.height - 1.9 and self.likely(0.9):
                lamp = layout.make(hanging.model)
            else:
                lamp = Item.of("ceiling lamp", things.ceiling_bowl(glow))
            lamp.on, lamp.role, lamp.z = "ceiling", "ceiling lamp", layout.height - lamp.size[2]
            place = zone.x0 + (i + 0.5) * wide / columns, zone.y0 + (j + 0.5) * deep / rows
            if layout.put(lamp, zone, *place, 0.0) and lit:
                below = (*place, lamp.z + 0.4 * lamp.size[2] if lamp.model else lamp.z - 0.05)
                watts = power / (columns * rows)
                spot = Light("area", below, (0, 0, -1), panel, watts, cool)
                room.lights.append(spot if strips else Light("point", below, (0, 0, -1), (0.24, 0), 1.3 * watts, warm))
        for item in layout.items:
            lamp = item.role in ("table lamp", "floor lamp") and zone.holds(item.x, item.y)
            if lamp and self.likely(0.2 if day else 0.5):
                place = (item.x, item.y, item.z + 0.8 * item.size[2])
                room.lights.append(Light("point", place, (0, 0, -1), (0.14, 0), self.between(6, 30), warm))
