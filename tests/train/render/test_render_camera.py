"""Views: where cameras may be, how they are distributed, and exact depth along their axis."""

import math
import random

import numpy as np
import pytest
from rays import cast_slowly, intersect

from depth_unet import Camera
from train.render.camera import LIMITS, Surfaces, View, draw_lens, find_views, judge
from train.render.catalogue import by_role
from train.render.furnish import furnish
from train.render.layout import Box, Item
from train.render.mesh import Paint, Shape
from train.render.plan import Room, build_shell

ROLES = by_role([])


def box_room(width: float = 4, depth: float = 3, height: float = 2.5) -> Surfaces:
    """A room seen from inside."""
    shape = Shape()
    shape.box((width / 2, depth / 2, 0), (width, depth, height), Paint())
    mesh = shape.mesh()
    return Surfaces.of([Item("room", mesh, (width, depth, height), 0, 0, 0, 0, "floor")])


def test_depth_is_planar_at_pixel_centres() -> None:
    surfaces = box_room()
    view = View((1.0, 1.5, 1.2), 0.0, 0.0, 0.0, 60.0, "standing")
    eye, rays = np.array(view.eye), view.rays(12, 16)
    depth = surfaces.depth(eye, rays, cast_slowly(surfaces)(eye, rays)).reshape(12, 16)
    assert np.allclose(depth[5:7, 6:10], 3.0)  # the whole far wall has one depth, not one distance
    camera = Camera.from_fov(16, 12, 60.0)
    below = (11.5 - camera.cy) / camera.fy  # of the lowest row's centres
    assert depth[11, 8] == pytest.approx(min(3.0, 1.2 / below))


def test_pitch_and_roll_turn_the_camera_as_documented() -> None:
    level, down, rolled = (View((0, 0, 0), 0.0, pitch, roll, 60.0, "") for pitch, roll in ((0, 0), (-0.5, 0), (0, 0.3)))
    assert np.allclose(level.rotation, [[0, 0, -1], [-1, 0, 0], [0, 1, 0]])  # looks along x, right is -y, up is z
    assert -down.rotation[2, 2] == pytest.approx(math.sin(-0.5))
    assert rolled.rotation[2, 0] < 0 < rolled.rotation[2, 1]  # clockwise: its right side points down
    for view in (level, down, rolled):
        assert np.allclose(view.rotation @ view.rotation.T, np.eye(3)) and np.linalg.det(
            view.rotation
        ) == pytest.approx(1)


def test_exact_against_rays_of_the_test() -> None:
    rng = random.Random(3)
    room = build_shell("study", rng)
    furnish(room, ROLES, rng)
    surfaces = Surfaces.of([*room.shell, *room.layout.items])
    (x, y) = room.layout.zones[0].centre
    view = View((x, y, 1.5), 0.7, -0.3, 0.05, 64.0, "standing")
    eye, rays = np.array(view.eye), view.rays(9, 12)
    depth = surfaces.depth(eye, rays, cast_slowly(surfaces)(eye, rays))
    direct = np.array([intersect(surfaces.corners, eye, ray)[1] for ray in rays])
    assert np.median(abs(depth / direct - 1)) < 1e-9 and (depth > 0).all()


def test_clear_glass_has_the_depth_behind_it_and_panes_have_their_own() -> None:
    shape = Shape()
    for y, opacity in ((1.0, 0.15), (2.0, 1.0)):
        shape.quad([(-5, y, -5), (5, y, -5), (5, y, 5), (-5, y, 5)], Paint(opacity=opacity))
    surfaces = Surfaces.of([Item("panes", shape.mesh(), (10, 2, 10), 0, 0, 0, 0, "floor")])
    eye, rays = np.zeros(3), View((0, 0, 0), math.pi / 2, 0, 0, 40.0, "").rays(3, 3)
    assert np.allclose(surfaces.depth(eye, rays, cast_slowly(surfaces)(eye, rays)), 2.0)


@pytest.mark.parametrize(
    ("eye", "yaw", "kind", "reason"),
    [
        ((3.8, 1.5, 1.2), 0.0, "standing", "near"),
        ((3.0, 1.5, 1.2), 0.0, "standing", "plane"),
        ((9.0, 1.5, 1.2), 0.0, "standing", "void"),
        ((0.3, 1.5, 1.2), 0.4, "bent", "median"),
    ],
)
def test_bad_views_are_rejected(eye: tuple, yaw: float, kind: str, reason: str) -> None:
    surfaces = box_room()
    view = View(eye, yaw, 0.0, 0.0, 60.0, kind)
    assert judge(view, 2.0, surfaces, cast_slowly(surfaces), []).reason == reason


def test_similar_views_score_worse() -> None:
    surfaces = box_room(6, 5)
    view = View((0.5, 0.5, 1.5), 0.7, -0.2, 0.0, 66.0, "standing")
    cast = cast_slowly(surfaces)
    alone, repeated = (judge(view, 2.7, surfaces, cast, others) for others in ([], [view]))
    assert alone.reason == "" and repeated.score == pytest.approx(alone.score + 0.6)


def test_lenses() -> None:
    rng = random.Random(0)
    drawn = np.array([draw_lens(rng) for _ in range(2000)])
    assert drawn.min() >= 50 and drawn.max() <= 85 and 0.6 < ((drawn >= 60) & (drawn <= 66)).mean() < 0.75
    assert draw_lens(rng, 70, 70) == 70


def boxed(item: Item) -> Item:
    """The box around a thing, to make casting quick."""
    shape = Shape()
    shape.box((0, 0, 0), item.size, Paint())
    return Item(item.name, shape.mesh(), item.size, item.x, item.y, item.z, item.yaw, item.on)


@pytest.fixture(scope="module")
def found() -> list[tuple[Room, list[tuple[View, float]]]]:
    """Rooms with their views and the median depth of each."""
    rooms = []
    for number, kind in enumerate(["living room", "office", "bedroom", "kitchen", "study", "dining room", "office"]):
        rng = random.Random(f"views {number}")
        room = build_shell(kind, rng)
        furnish(room, ROLES, rng)
        shell = [item for item in room.shell if item.name != "window"]
        surfaces = Surfaces.of([*shell, *(boxed(item) for item in room.layout.items)])
        cast, views = cast_slowly(surfaces), []
        for view in find_views(room, surfaces, cast, 7, draw_lens(rng), rng):
            rays = view.rays(12, 16)
            eye = np.array(view.eye)
            views.append((view, float(np.median(surfaces.depth(eye, rays, cast(eye, rays))))))
        rooms.append((room, views))
    return rooms


def test_every_room_has_views(found: list) -> None:
    assert min(len(views) for _, views in found) >= 4


def test_cameras_are_where_a_person_holds_them(found: list) -> None:
    for room, views in found:
        layout = room.layout
        for view, _ in views:
            x, y, z = view.eye
            assert any(zone.holds(x, y) for zone in layout.zones)
            assert layout.free(Box(x, y, 0.15, 0.15, z - 0.1, z + 0.1), doors=True)  # not within a thing
            spots = [
                (x + r * math.cos(a), y + r * math.sin(a))
                for r in (0, 0.3, 0.6, 0.75)
                for a in np.arange(8) * math.pi / 4
            ]
            assert any(layout.free(Box(px, py, 0.3, 0.3, 0.12, 1.5), doors=True) for px, py in spots)
            assert abs(view.roll) <= math.radians(8)
            if view.kind == "standing":
                assert 0.8 <= z <= 1.8 and math.radians(-35) <= view.pitch <= math.radians(10)
            else:
                assert 0.5 <= z <= 1.8 and math.radians(-75) <= view.pitch <= math.radians(10)


def test_distances_of_the_kinds_of_views(found: list) -> None:
    views = [pair for _, pairs in found for pair in pairs]
    for view, median in views:
        _, low, high, _ = LIMITS[view.kind]
        assert low < median < high
    bent = [median for view, median in views if view.kind == "bent"]
    near = [median for view, median in views if view.kind in ("bent", "front")]
    standing = [median for view, median in views if view.kind == "standing"]
    assert 0.4 < np.median(bent) < 1.2 and len(bent) / len(views) > 0.12
    assert 0.2 < len(near) / len(views) < 0.6
    assert 1.6 < np.median(standing) < 3.6


def test_views_of_a_room_differ(found: list) -> None:
    for _, views in found:
        poses = {(view.eye, view.yaw) for view, _ in views}
        assert len(poses) == len(views)
