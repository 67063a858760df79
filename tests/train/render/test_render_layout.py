"""Furnished rooms: nothing floats, nothing passes through another thing, and the rooms are full and differ."""

import math
import random

import numpy as np
import pytest
from soundness import problems

from train.render.catalogue import BUILT, RULES, by_role, table
from train.render.furnish import CLOTHS, furnish
from train.render.layout import Box, Item, Layout, Zone, overlap, penetrate
from train.render.materials import texture
from train.render.mesh import PARTS, Paint, Shape, turned
from train.render.plan import KINDS, Room, build_shell, chances
from train.render.things import BUILDERS

ROLES = by_role([])


def furnished(kind: str, seed: int) -> Room:
    rng = random.Random(f"{kind} {seed}")
    room = build_shell(kind, rng)
    furnish(room, ROLES, rng)
    return room


def block(width: float = 0.4, depth: float = 0.4, height: float = 0.4) -> Item:
    shape = Shape()
    shape.box((0, 0, 0), (width, depth, height), Paint())
    return Item.of("block", shape.mesh())


def empty(width: float = 4.0, depth: float = 3.0) -> Layout:
    return Layout([Zone(0, 0, width, depth, "study")], 2.5, random.Random(0))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_floats_or_passes_through_another(kind: str) -> None:
    for seed in range(3):
        assert problems(furnished(kind, seed).layout) == []


def test_the_check_finds_what_is_wrong() -> None:
    layout = empty()
    block_ = layout.put(block(), layout.zones[0], 1, 1, 0.3)
    assert problems(layout) == []
    block_.z = 0.1
    assert "not carried by floor" in problems(layout)[0]
    block_.z = 0.0
    other = block(0.2, 0.2, 0.8)
    other.x, other.y = 1.15, 1.0
    layout.add(other)
    assert "pass through each other" in problems(layout)[0]
    layout.items.remove(other)
    block_.x = 5.0
    assert "outside the room" in problems(layout)[0]


def test_overlap_of_turned_boxes() -> None:
    square = Box(0, 0, 1, 1, 0, 1)
    assert overlap(square, Box(0.9, 0, 1, 1, 0, 1)) == pytest.approx(0.1)
    assert (
        overlap(square, Box(1.1, 1.1, 1, 1, 0, 1, math.pi / 4))
        < 0
        < overlap(square, Box(0.8, 0.8, 1, 1, 0, 1, math.pi / 4))
    )
    assert overlap(square, Box(0, 0, 1, 1, 1.2, 2)) == pytest.approx(-0.2)


def test_chairs_go_under_tables_but_not_through_them() -> None:
    layout = empty()
    table, chair = layout.make(ROLES["table"][0]), layout.make(ROLES["chair"][0])
    layout.put(table, layout.zones[0], 2, 1.5, 0)
    edge = 1.5 - table.size[1] / 2
    assert layout.put(chair, layout.zones[0], 2, edge, math.pi) is None  # boxes overlap
    assert layout.put(chair, layout.zones[0], 2, edge, math.pi, close=(table,)) is chair  # surfaces do not
    assert not penetrate(chair, table) and problems(layout) == []
    low = layout.make(ROLES["coffee table"][0])
    low.x, low.y = 2, edge
    assert penetrate(chair, low)


def test_small_things_stand_on_surfaces_with_their_whole_base() -> None:
    layout = empty()
    shelves = layout.make(ROLES["bookcase"][0])
    layout.put(shelves, layout.zones[0], 2, 1.5, 0.7)
    put = [layout.set_on(block(0.1, 0.1, 0.15), shelves, inside=True) for _ in range(30)]
    heights = {round(item.z, 2) for item in put if item}
    assert len([item for item in put if item]) > 10 and len(heights) >= 4
    assert problems(layout) == []
    assert layout.set_on(block(2, 2, 0.1), shelves) is None
    tall = [layout.set_on(block(0.05, 0.05, 0.5), shelves, inside=True) for _ in range(30)]  # higher than a shelf
    assert {round(item.z, 2) for item in tall if item} == {round(shelves.size[2], 2)}
    assert layout.set_on(block(0.1, 0.1, 2.0), shelves) is None  # below the ceiling


def test_wall_coordinates_agree_with_the_turn_of_furniture() -> None:
    zone = Zone(1, 2, 4, 7, "study")
    for side in range(4):
        wall = zone.wall(side)
        x, y = wall.at(0.3, 0.5)
        assert zone.holds(x, y)
        item = block()
        item.yaw = wall.yaw
        item.x, item.y = wall.at(0, 0.2)
        assert np.allclose(item.at(0, 0.2), wall.at(0))  # its back touches the wall


def test_doorways_and_windows_stay_free() -> None:
    for seed in range(6):
        for kind in ("bedroom", "office"):
            layout = furnished(kind, seed).layout
            for item in layout.items:
                if not item.soft and item.on == "floor":
                    assert all(overlap(item.box, box) < 0.01 for box, thing in layout.boxes if thing is None)


def test_rooms_are_as_full_as_lived_in_ones() -> None:
    shares, things = [], []
    for kind in ("living room", "bedroom", "office", "kitchen", "study", "dining room"):
        for seed in range(4):
            room = furnished(kind, seed)
            zone = room.layout.zones[0]
            standing = [i for i in room.layout.items if i.on == "floor" and not i.soft and zone.holds(i.x, i.y)]
            shares.append(sum(i.size[0] * i.size[1] for i in standing) / zone.area)
            things.append(len(room.layout.items))
    assert 0.2 < np.mean(shares) < 0.6 and min(shares) > 0.05
    assert np.mean(things) > 40


def test_what_a_room_is_for_is_in_it() -> None:
    needed = {
        "bedroom": {"bed", "bunk"}, "kitchen": {"base cabinet"}, "bathroom": {"bath", "shower"}, "office": {"desk"},
        "living room": {"sofa", "corner sofa"}, "library": {"rack"}, "shop": {"rack"},
    }  # fmt: skip
    for kind, roles in needed.items():
        found = [roles & {item.role for item in furnished(kind, seed).layout.items} for seed in range(8)]
        assert sum(map(bool, found)) >= 6, kind
    for seed in range(8):
        room = furnished("kitchen", seed)
        mine = room.layout.zones[0]
        assert not {"bed", "bunk", "sofa", "bath"} & {i.role for i in room.layout.items if mine.holds(i.x, i.y)}


def test_rooms_differ_and_a_seed_repeats_them() -> None:
    first, again, other = (furnished("living room", seed).layout for seed in (1, 1, 2))

    def places(layout: Layout) -> list[tuple]:
        return [(item.name, item.x, item.y, item.z, item.yaw) for item in layout.items]

    assert places(first) == places(again) != places(other)


def test_light_and_windows() -> None:
    rooms = [furnished(kind, seed) for kind in KINDS for seed in range(3)]
    assert all(room.lights for room in rooms)  # no room is dark
    lit = [room for room in rooms if any(light.kind == "area" and light.aim[2] == 0 for light in room.lights)]
    assert 0.2 < len(lit) / len(rooms) < 0.8
    assert all(room.windows and not room.night for room in lit)


def test_a_thing_is_set_on_furniture_near_a_place() -> None:
    layout = empty()
    table = layout.make(ROLES["table"][0])
    layout.put(table, layout.zones[0], 2, 1.5, 0.5)
    wanted = table.at(0.25, -0.1)
    placed = layout.set_on(block(0.2, 0.2, 0.1), table, yaw=0.0, near=wanted)
    assert math.dist((placed.x, placed.y), wanted) < 0.03 and abs(placed.yaw - 0.5) < 0.5
    assert layout.set_on(block(0.2, 0.2, 0.1), table, near=table.at(2, 0)) is None
    beside = layout.set_on(block(0.2, 0.2, 0.1), table, near=wanted)  # there stands the first one
    assert beside is None or math.dist((beside.x, beside.y), wanted) < 0.15


def test_tables_name_what_exists() -> None:
    known = {*RULES, *BUILT}
    for row in table("companions.csv"):
        assert set(row["anchor"].split("/")) <= known and 0 < float(row["chance"]) <= 1, row
        assert set(row["what"].split("/")) <= known | CLOTHS.keys(), row
        assert (row["how"] == "drape") == (row["what"] in CLOTHS), row
    for kind, row in KINDS.items():
        roles = {role for column in ("along", "middle", "hung") for role, _ in chances(row[column])}
        roles |= {*row["small"].split("/"), *row["dropped"].split("/")}
        assert {part for role in roles for part in role.split("/")} <= known, kind
        assert set(row["behind"].split("/")) <= KINDS.keys() and float(row["narrowest"]) < float(row["widest"])
        for pattern, _ in chances(row["walls"]) + chances(row["floors"]):
            assert texture(f"{pattern}0").shape == (512, 512, 3)
    assert BUILT.keys() == BUILDERS.keys()
    for rule in RULES.values():
        assert max(rule.usual) <= 2.5, rule.role  # of the primitive, which has to fit into a room
        assert rule.shape in {part["thing"] for part in PARTS} and all(
            a < b for a, b in zip(rule.least, rule.most, strict=True)
        ), rule.role


def test_what_belongs_together_stands_together() -> None:
    """A keyboard lies before a screen on the same desk, and bedside tables stand at the wall behind the bed."""
    lined = 0
    for seed in range(6):
        items = furnished("office", seed).layout.items
        for item in (item for item in items if item.role == "keyboard"):
            screens = [other for other in items if other.role == "monitor" and other.on is item.on]
            assert min(math.dist((item.x, item.y), (other.x, other.y)) for other in screens) < 0.6
        items = furnished("bedroom", seed).layout.items
        for bed in (item for item in items if item.role == "bed"):
            backs = [o.at(0, o.size[1] / 2) for o in items if o.role == "bedside"]
            for place in [place for place in backs if math.dist(place, bed.at(0, bed.size[1] / 2)) < 1.6]:
                u, v = turned(np.array([place[0] - bed.x, place[1] - bed.y, 0]), -bed.yaw)[:2]
                assert abs(u) > bed.size[0] / 2 and abs(v - bed.size[1] / 2) < 0.05  # in one line with its back
                lined += 1
    assert lined > 4
