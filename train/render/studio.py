"""One room from its number to its frames: layout, views, pictures and exact depth."""

import random
import time
from collections import namedtuple
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from depth_unet import Camera
from train.render import photo
from train.render.camera import LIMITS, Cast, Surfaces, View, draw_lens, find_views
from train.render.catalogue import Model
from train.render.furnish import furnish
from train.render.plan import KINDS, Room, build_shell
from train.render.scene import Scene, cast_by_tree


class Settings(NamedTuple):
    """What decides the frames.

    Args:
        seed: of everything.
        size: (height, width) of a frame.
        views: at most, in each room.
        fov: narrowest and widest field of view across, degrees.
        strength: of the photo model; 0 for clean pictures.
        kinds: of rooms; all of `train.render.plan.KINDS` if empty.
        samples: rays for each pixel.
    """

    seed: int = 0
    size: tuple[int, int] = (240, 320)
    views: int = 6
    fov: tuple[float, float] = (50.0, 85.0)
    strength: float = 1.0
    kinds: tuple[str, ...] = ()
    samples: int = 9


Frame = namedtuple("Frame", "view jpeg depth")


class Built(NamedTuple):
    """A furnished room with its cameras, before it is rendered.

    Args:
        room: the room.
        surfaces: its triangles.
        views: its cameras.
        camera: intrinsics of all of them.
        cast: ray casting in it.
        seconds: CPU time of "building" and "view search".
    """

    room: Room
    surfaces: Surfaces
    views: list[View]
    camera: Camera
    cast: Cast
    seconds: dict[str, float]


class Studio:
    """Builds and renders rooms; the same settings and number give the same layout, cameras and depth.

    Args:
        settings: of the frames.
        roles: the models that can play each role.
        pictures: for posters and screens; procedural ones without.
    """

    def __init__(self, settings: Settings, roles: dict[str, list[Model]], pictures: Sequence[Path] = ()) -> None:
        self.settings, self.roles, self.pictures = settings, roles, pictures
        self.scene = Scene(settings.size, settings.samples)

    def _stream(self, number: int, purpose: str) -> random.Random:
        """Random numbers that depend on nothing but seed, room and purpose."""
        return random.Random(f"{self.settings.seed}/{number}/{purpose}")

    def build(self, number: int) -> Built:
        """Lay out, build and search a room."""
        begin, rng = time.process_time(), self._stream(number, "layout")
        kinds = self.settings.kinds or [*KINDS]
        room = build_shell(rng.choices(kinds, [float(KINDS[kind]["share"]) for kind in kinds])[0], rng)
        furnish(room, self.roles, rng)
        self.scene.build(room, self._stream(number, "paint"), self.pictures)
        surfaces = Surfaces.of([*room.shell, *room.layout.items])
        cast = cast_by_tree(surfaces)
        built, rng = time.process_time(), self._stream(number, "camera")
        fov = draw_lens(rng, *self.settings.fov)
        views = find_views(room, surfaces, cast, self.settings.views, fov, rng)
        seconds = {"building": built - begin, "view search": time.process_time() - built}
        return Built(room, surfaces, views, Camera.from_fov(*self.settings.size[::-1], fov), cast, seconds)

    def frames(self, number: int, built: Built) -> Iterator[Frame]:
        """Render the views of the room that was built last; those too near, black or blown out are left out.

        Yields:
            The camera, a JPEG, and (H, W) metres along its axis at the pixel centres, 0 where there is nothing.
        """
        device = self._stream(number, "photo").getrandbits(64)
        for index, view in enumerate(built.views):
            begin = time.process_time()
            depth = exact_depth(built, view, self.settings.size)
            if np.percentile(depth, 1) < 0.7 * LIMITS[view.kind][0]:  # something thin between the coarse rays
                continue
            linear = self.scene.shoot(view, index)
            rendered, rng = time.process_time(), self._stream(number, f"photo {index}")
            look = photo.draw_look(random.Random(device), rng, self.settings.strength)
            jpeg = photo.develop(linear, look, rng) if photo.is_lit(linear) else None
            for part, cost in (("rendering", rendered - begin), ("developing", time.process_time() - rendered)):
                built.seconds[part] = built.seconds.get(part, 0.0) + cost
            if jpeg:
                yield Frame(view, jpeg, depth)

    def room(self, number: int) -> tuple[Iterator[Frame], Camera, dict[str, Any]]:
        """Build a room: its frames, rendered as they are asked for, their camera, and what room.json states."""
        built = self.build(number)
        models = {item.model for item in built.room.layout.items if item.model}
        credits = sorted({(model.library.name, model.library.licence, model.creator, model.name) for model in models})
        about = {
            "kind": built.room.kind, "seed": self.settings.seed, "number": number, "night": built.room.night,
            "fov_deg": built.camera.horizontal_fov_deg, "lights": len(built.room.lights),
            "things": len(built.room.layout.items), "cpu_s": built.seconds,
            "models": [dict(zip(("library", "licence", "creator", "name"), m, strict=True)) for m in credits],
        }  # fmt: skip
        return self.frames(number, built), built.camera, about


def exact_depth(built: Built, view: View, size: tuple[int, int]) -> np.ndarray:
    """Depth along the axis at the pixel centres, (H, W) metres: plane of the triangle that each centre's ray hits."""
    eye, rays = np.array(view.eye), view.rays(*size)
    return built.surfaces.depth(eye, rays, built.cast(eye, rays)).reshape(size)
