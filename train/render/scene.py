"""The room in Blender: meshes, materials and lights for Cycles, and the ray casting that gives exact depth."""

import json
import math
import random
import tempfile
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Color, Matrix, Vector
from mathutils.bvhtree import BVHTree

from train.render import materials
from train.render.camera import Cast, Surfaces, View
from train.render.layout import Item
from train.render.mesh import Mesh, Paint
from train.render.plan import Light, Room

GAIN = 1.66  # textures have a mean of 0.8 in sRGB, which is 1 / 1.66 of white


def linear(colour: Sequence[float]) -> tuple[float, ...]:
    """sRGB to linear light."""
    return tuple(Color(colour).from_srgb_to_scene_linear())


def cast_by_tree(surfaces: Surfaces) -> Cast:
    """Find the first triangle on each ray with Blender's bounding volume hierarchy."""
    mesh = _triangles("surfaces", surfaces.corners.reshape(-1, 3), np.arange(surfaces.corners.size // 3))
    item, alone = bpy.data.objects.new("surfaces", mesh), bpy.data.scenes.new("surfaces")
    alone.collection.objects.link(item)
    alone.view_layers[0].update()
    tree = BVHTree.FromObject(item, alone.view_layers[0].depsgraph)
    bpy.data.scenes.remove(alone)
    bpy.data.meshes.remove(mesh)

    def cast(eye: np.ndarray, rays: np.ndarray) -> np.ndarray:
        start, find = Vector(eye), tree.ray_cast
        hits = [find(start, ray)[2] for ray in rays.tolist()]
        return np.array([-1 if hit is None else hit for hit in hits])

    return cast


def _triangles(name: str, points: np.ndarray, corners: np.ndarray) -> bpy.types.Mesh:
    """A Blender mesh of (V, 3) points and the (3 F,) indices of its triangles' corners."""
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(points))
    data.vertices.foreach_set("co", points.astype(np.float32).ravel())
    data.loops.add(len(corners))
    data.loops.foreach_set("vertex_index", corners.astype(np.int32))
    data.polygons.add(len(corners) // 3)
    data.polygons.foreach_set("loop_start", np.arange(0, len(corners), 3, dtype=np.int32))
    data.update(calc_edges=True)
    return data


class Scene:
    """Blender with Cycles; one room at a time.

    Args:
        size: (height, width) of the pictures.
        samples: rays for each pixel, at most; the picture is denoised.
    """

    def __init__(self, size: tuple[int, int], samples: int) -> None:
        self.size, self.samples = size, samples

    def build(self, room: Room, rng: random.Random, pictures: Sequence[Path] = ()) -> None:
        """Replace the scene by a room.

        Args:
            room: furnished.
            rng: decides colours and textures.
            pictures: for posters and screens.
        """
        bpy.ops.wm.read_factory_settings(use_empty=True)  # only this makes Cycles forget the last room
        self.scene = bpy.context.scene
        for owner, settings in json.loads(Path(__file__).with_name("cycles.json").read_text("utf-8")).items():
            for name, value in settings.items():
                setattr(attrgetter(owner)(self.scene), name, value)
        self.scene.render.resolution_y, self.scene.render.resolution_x = self.size
        self.scene.cycles.samples, self.scene.cycles.adaptive_min_samples = self.samples, max(4, self.samples // 2)
        self.camera = self.scene.camera = self._place("camera", bpy.data.cameras.new("camera"))
        self.camera.data.sensor_fit, self.camera.data.clip_start = "HORIZONTAL", 0.02
        self.scene.world = bpy.data.worlds.new("world")
        self._paints: dict[tuple, bpy.types.Material] = {}
        self._special = {"atlas": materials.atlas(rng, pictures), "outside": materials.outside(rng)}
        meshes: dict[int, bpy.types.Mesh] = {}
        for item in [*room.shell, *room.layout.items]:
            if id(item.mesh) not in meshes:
                meshes[id(item.mesh)] = self._mesh(item, rng)
            placed = self._place(item.name, meshes[id(item.mesh)], (item.x, item.y, item.z))
            placed.rotation_euler.z, placed.scale = item.yaw, (item.scale,) * 3
            placed.visible_shadow = "lamp" not in item.role  # lamps let the light inside them out
        for light in room.lights:
            self._light(light)
        background = next(node for node in self.scene.world.node_tree.nodes if node.type == "BACKGROUND")
        background.inputs[0].default_value, background.inputs[1].default_value = (1, 0.97, 0.92, 1), room.ambient

    def _place(self, name: str, data: bpy.types.ID, at: Sequence[float] = (0, 0, 0)) -> bpy.types.Object:
        placed = bpy.data.objects.new(name, data)
        placed.location = at
        self.scene.collection.objects.link(placed)
        return placed

    def _mesh(self, item: Item, rng: random.Random) -> bpy.types.Mesh:
        mesh = item.mesh
        data = _triangles(item.name, mesh.vertices, mesh.faces.ravel())
        data.polygons.foreach_set("material_index", mesh.slots.astype(np.int32))
        data.uv_layers.new(name="uv").data.foreach_set("uv", mesh.uv[mesh.faces].astype(np.float32).ravel())
        for paint in mesh.paints:
            shown = materials.dye(paint, item.name, rng) if item.model else paint
            data.materials.append(self._material(shown, mesh, item.name))
        data.validate()  # furniture files have faces without area
        data.shade_smooth()
        data.set_sharp_from_angle(angle=0.6)
        return data

    def _material(self, paint: Paint, mesh: Mesh, name: str) -> bpy.types.Material:
        key = (paint, id(mesh) if paint.skin >= 0 else 0)
        if key in self._paints:
            return self._paints[key]
        material = self._paints[key] = bpy.data.materials.new(name)
        material.cycles.emission_sampling = "NONE"  # lamps have their own lights
        nodes, links = material.node_tree.nodes, material.node_tree.links
        shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")

        def fill(node: bpy.types.Node, inputs: dict[str | int, Any]) -> None:
            """Set the inputs of a node, or link them to the outputs of others."""
            for socket, value in inputs.items():
                if isinstance(value, bpy.types.NodeSocket):
                    links.new(value, node.inputs[socket])
                else:
                    node.inputs[socket].default_value = value

        base, picture = (*linear(paint.colour), 1), self._picture(paint, mesh, name)
        seen: Any = base
        if picture:
            image = nodes.new("ShaderNodeTexImage")
            image.image, seen = picture, image.outputs["Color"]
            if paint.skin < 0 and paint.pattern not in self._special:
                place, mapping, mix = (nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "Mapping", "Mix"))
                image.projection, image.projection_blend = "BOX", 0.05
                turn = (0, 0, math.pi / 2 * paint.turned)
                fill(mapping, {0: place.outputs["Object"], "Scale": (1 / paint.scale,) * 3, "Rotation": turn})
                fill(image, {0: mapping.outputs[0]})
                mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
                fill(mix, {0: 1, 6: seen, 7: (*(c * GAIN for c in base[:3]), 1)})
                seen = mix.outputs[2]
            if paint.shift != (0.5, 1.0, 1.0):
                shift = nodes.new("ShaderNodeHueSaturation")
                fill(shift, dict(zip(("Hue", "Saturation", "Value"), paint.shift, strict=True)) | {"Color": seen})
                seen = shift.outputs["Color"]
        fill(shader, {
            "Roughness": paint.roughness, "Metallic": paint.metallic, "Specular IOR Level": paint.specular,
            "Alpha": paint.opacity, "Emission Strength": paint.glow, "Emission Color": seen if paint.glow else base,
            "Base Color": (0, 0, 0, 1) if paint.glow and picture else seen,
        })  # fmt: skip
        return material

    def _picture(self, paint: Paint, mesh: Mesh, name: str) -> bpy.types.Image | None:
        """The texture of a paint."""
        label = f"{name} {id(mesh)} {paint.skin}" if paint.skin >= 0 else paint.pattern
        if not label or label in bpy.data.images:
            return bpy.data.images.get(label)
        pixels = mesh.images[paint.skin] if paint.skin >= 0 else self._special.get(label)
        pixels = materials.texture(label) if pixels is None else pixels
        image = bpy.data.images.new(label, pixels.shape[1], pixels.shape[0])
        rgba = np.ones((*pixels.shape[:2], 4), np.float32)
        rgba[..., :3] = pixels[::-1, :, :3] / np.float32(255)
        image.pixels.foreach_set(rgba.ravel())
        image.update()
        return image

    def _light(self, light: Light) -> None:
        data = bpy.data.lights.new("light", light.kind.upper())
        data.energy, data.color = light.power, linear(light.colour)
        if light.kind == "area":
            data.shape, (data.size, data.size_y) = "RECTANGLE", light.size
        elif light.kind == "point":
            data.shadow_soft_size = light.size[0] / 2
        placed = self._place("light", data, light.place)
        placed.visible_camera = False
        placed.rotation_euler = Vector(light.aim).to_track_quat("-Z", "Y").to_euler()

    def shoot(self, view: View, seed: int) -> np.ndarray:
        """Render a view.

        Args:
            view: the camera.
            seed: of the sampling.

        Returns:
            (H, W, 3) float32 linear radiance.
        """
        self.camera.matrix_world = Matrix.LocRotScale(view.eye, Matrix(view.rotation.tolist()), None)
        self.camera.data.angle = math.radians(view.fov_deg)
        self.scene.cycles.seed = seed
        pixels = np.empty(self.size[0] * self.size[1] * 4, np.float32)
        with tempfile.TemporaryDirectory() as folder:
            self.scene.render.filepath = str(Path(folder) / "picture.exr")
            bpy.ops.render.render(write_still=True)
            image = bpy.data.images.load(self.scene.render.filepath)
            image.pixels.foreach_get(pixels)
            bpy.data.images.remove(image)
        return pixels.reshape(*self.size, -1)[::-1, :, :3]
