#!/usr/bin/env python3
"""Render the example photographs of the page.

Three furnished rooms are modelled here from primitives and procedural textures and path-traced
with Blender's Cycles::

    python3.11 -m venv blender && blender/bin/pip install "bpy==4.5.*" numpy pillow
    blender/bin/python docs/examples/render.py

For each room it writes ``depth_unet/page/examples/NAME.jpg``, whose EXIF 35 mm equivalent focal
length (by the diagonal) is that of the camera. The rendered depth is checked against rays cast
into the model and is not kept.

The units are metres. A room has its floor at z = 0 and its front left corner at the origin; the
camera stands near the front wall (y = 0) and looks towards the back wall (y = depth).
"""

import argparse
import contextlib
import dataclasses
import itertools
import math
import random
import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector, noise
from PIL import Image

WIDTH, HEIGHT = 960, 720
FOCAL_35MM = 28  # EXIF stores whole millimetres, so the camera is made to fit the number.
FOCAL_PX = FOCAL_35MM * math.hypot(WIDTH, HEIGHT) / math.hypot(36, 24)
WALL = 0.28  # Thickness of the outer walls: it shows in the window reveals.


# ---------------------------------------------------------------------------------------------
# Materials
# ---------------------------------------------------------------------------------------------


def rgb(code, gain=1.0):
    """Turns an sRGB code such as "#c8b090" into a linear RGBA tuple, scaled by `gain`."""
    channels = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return (*(min(1.0, gain * c) for c in linear), 1.0)


class Shader:
    """Builds one node material; methods return output sockets, so that calls can be nested."""

    def __init__(self, name):
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def node(self, kind, inputs=None, output=0, **attributes):
        """Adds a node, sets its attributes and its inputs (values or sockets)."""
        node = self.tree.nodes.new("ShaderNode" + kind)
        for key, value in attributes.items():
            setattr(node, key, value)
        for key, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[key])
            else:
                node.inputs[key].default_value = value
        return node.outputs[output]

    def ramp(self, factor, colours, constant=False):
        """Maps a factor onto evenly spaced or (position, colour) stops."""
        socket = self.node("ValToRGB", {0: factor})
        ramp = socket.node.color_ramp
        ramp.interpolation = "CONSTANT" if constant else "LINEAR"
        if not isinstance(colours[0][0], (int, float)) or len(colours[0]) != 2:
            colours = [(i / max(1, len(colours) - 1), c) for i, c in enumerate(colours)]
        while len(ramp.elements) < len(colours):
            ramp.elements.new(1.0)
        for element, (position, colour) in zip(ramp.elements, colours, strict=True):
            element.position, element.color = position, colour
        return socket

    def mix(self, factor, first, second, blend="MIX"):
        """Blends two colours."""
        return self.node("Mix", {0: factor, 6: first, 7: second}, 2, data_type="RGBA", blend_type=blend)

    def noise(self, vector, scale, detail=3.0, distortion=0.0):
        """Returns fractal noise between 0 and 1."""
        inputs = {"Vector": vector, "Scale": scale, "Detail": detail, "Distortion": distortion}
        return self.node("TexNoise", inputs)

    def position(self):
        """Returns world coordinates: patterns then run on from one object to the next."""
        return self.node("NewGeometry")

    def local(self, scale=(1, 1, 1)):
        """Returns object coordinates in metres, shifted at random from object to object."""
        shift = self.node("ObjectInfo", output=5)  # "Random"
        shift = self.node("Math", {0: shift, 1: 50.0}, operation="MULTIPLY")
        inputs = {"Vector": self.node("TexCoord", output=3), "Location": shift, "Scale": scale}
        return self.node("Mapping", inputs)

    def bump(self, height, distance, strength=1.0):
        """Returns a normal disturbed by a height map."""
        return self.node("Bump", {"Height": height, "Distance": distance, "Strength": strength})

    def surface(self, colour, roughness=0.5, normal=None, **inputs):
        """Finishes the material with a principled shader."""
        inputs = {key.replace("_", " ").title(): value for key, value in inputs.items()}
        inputs |= {"Base Color": colour, "Roughness": roughness}
        if normal is not None:
            inputs["Normal"] = normal
        return self.finish(self.node("BsdfPrincipled", inputs))

    def finish(self, shader):
        """Connects the shader to the output."""
        target = self.tree.nodes.new("ShaderNodeOutputMaterial")
        self.tree.links.new(shader, target.inputs["Surface"])
        return self.material


def plain(code, roughness=0.5, **inputs):
    """An even surface such as metal, plastic or glazed ceramic."""
    return Shader("plain").surface(rgb(code), roughness, **inputs)


def metal(code="#c8c8c8", roughness=0.28):
    """Brushed or painted metal."""
    return plain(code, roughness, metallic=1.0)


def paint(code, roughness=0.6):
    """Wall paint: faint clouds and the texture left by the roller."""
    s = Shader("paint")
    where = s.position()
    colour = s.ramp(s.noise(where, 1.6, 4), [rgb(code, 0.93), rgb(code, 1.05)])
    return s.surface(colour, roughness, s.bump(s.noise(where, 160, 2), 0.0008, 0.35))


def wood(light, dark, along="x", roughness=0.42):
    """Veneer or solid wood with its grain along one axis of the object."""
    s = Shader("wood")
    stretch = {axis: 1.3 if axis == along else 16.0 for axis in "xyz"}
    where = s.local(tuple(stretch.values()))
    broad = s.noise(where, 1.0, 5, 1.2)
    fine = s.noise(where, 6.0, 3)
    colour = s.ramp(broad, [(0.3, rgb(dark)), (0.52, rgb(light)), (0.72, rgb(dark, 1.3))])
    colour = s.mix(0.35, colour, s.ramp(fine, [rgb("#707070"), rgb("#ffffff")]), "MULTIPLY")
    return s.surface(colour, roughness, s.bump(fine, 0.0006, 0.3))


def fabric(code, other=None, scale=1.0):
    """Woven cloth, mottled thread by thread."""
    s = Shader("fabric")
    where = s.local()
    thread = s.noise(where, 190 / scale, 2)
    other = rgb(other) if other else rgb(code, 1.35)
    colour = s.ramp(thread, [(0.35, rgb(code, 0.72)), (0.68, other)])
    cloud = s.ramp(s.noise(where, 5, 3), [rgb("#d0d0d0"), rgb("#ffffff")])
    colour = s.mix(0.8, colour, cloud, "MULTIPLY")
    bump = s.bump(thread, 0.002 * scale, 0.5)
    return s.surface(colour, 0.92, bump, sheen_weight=0.25)


def stripes(code, other, width, axis=0):
    """Striped cloth."""
    s = Shader("stripes")
    where = s.local()
    split = s.node("SeparateXYZ", {0: where}, axis)
    phase = s.node("Math", {0: split, 1: width}, operation="PINGPONG")
    factor = s.node("Math", {0: phase, 1: width / 2}, operation="GREATER_THAN")
    colour = s.mix(factor, rgb(code), rgb(other))
    return s.surface(colour, 0.9, s.bump(s.noise(where, 220, 2), 0.002, 0.4), sheen_weight=0.2)


def bricks(s, plane, size, joint, offset, turned=False):
    """Returns a random grey per brick and the mask of the joints, in world coordinates."""
    split = s.node("SeparateXYZ", {0: s.position()}).node
    first, second = (split.outputs["XYZ".index(axis)] for axis in plane.upper())
    if turned:
        first, second = second, first
    where = s.node("CombineXYZ", {0: first, 1: second})
    inputs = {
        "Vector": where,
        "Color1": (0, 0, 0, 1),
        "Color2": (1, 1, 1, 1),
        "Mortar": (0.5, 0.5, 0.5, 1),
        "Scale": 1.0,
        "Mortar Size": joint / 2,
        "Mortar Smooth": 0.2,
        "Brick Width": size[0],
        "Row Height": size[1],
    }
    node = s.node("TexBrick", inputs, offset=offset).node
    return where, node.outputs["Color"], node.outputs["Fac"]


def planks(light, dark, turned=True):
    """A floor of wooden boards, each with its own tint and grain."""
    s = Shader("planks")
    where, tint, joint = bricks(s, "xy", (1.25, 0.13), 0.003, 0.37, turned)
    shift = s.node("VectorMath", {0: tint, 1: (37.0, 11.0, 23.0)}, operation="MULTIPLY")
    grain = s.node("VectorMath", {0: where, 1: (1.4, 17.0, 1.0)}, operation="MULTIPLY")
    grain = s.node("VectorMath", {0: grain, 1: shift}, operation="ADD")
    grain = s.noise(grain, 1.0, 6, 1.5)
    colour = s.ramp(grain, [(0.28, rgb(dark)), (0.6, rgb(light))])
    colour = s.mix(0.55, colour, s.ramp(tint, [rgb("#9c9088"), rgb("#ffffff")]), "MULTIPLY")
    colour = s.mix(joint, colour, rgb(dark, 0.35))
    depth = s.node("Math", {0: 1.0, 1: joint}, operation="SUBTRACT")
    return s.surface(colour, s.ramp(grain, [rgb("#a0a0a0"), rgb("#848484")]), s.bump(depth, 0.002))


def tiles(code, joint_code, size, plane="xy", offset=0.0, joint=0.005, roughness=0.2):
    """Ceramic tiles with joints."""
    s = Shader("tiles")
    where, tint, mask = bricks(s, plane, size, joint, offset)
    colour = s.ramp(tint, [rgb(code, 0.86), rgb(code, 1.06)])
    speckle = s.ramp(s.noise(where, 14, 5), [(0.3, rgb("#d8d4cf")), (0.7, rgb("#ffffff"))])
    colour = s.mix(0.7, colour, speckle, "MULTIPLY")
    colour = s.mix(mask, colour, rgb(joint_code))
    depth = s.node("Math", {0: 1.0, 1: mask}, operation="SUBTRACT")
    rough = s.mix(mask, (roughness,) * 3 + (1,), (0.8, 0.8, 0.8, 1))
    return s.surface(colour, rough, s.bump(depth, 0.0015))


def stone(light, dark, roughness=0.25):
    """A speckled worktop."""
    s = Shader("stone")
    where = s.position()
    colour = s.ramp(s.noise(where, 70, 6), [(0.38, rgb(dark)), (0.62, rgb(light))])
    return s.surface(colour, roughness)


def diamonds(*codes, size=0.2):
    """A woven pattern of nested diamonds, for rugs."""
    s = Shader("diamonds")
    where = s.node("TexCoord", output=3)
    inputs = {"Vector": where, "Scale": 1 / size, "Randomness": 0.0}
    cell = s.node("TexVoronoi", inputs, distance="MANHATTAN", voronoi_dimensions="2D", feature="F1")
    thread = s.noise(where, 130, 2)
    wobble = s.node("MapRange", {0: thread, 3: -0.08, 4: 0.08})
    cell = s.node("Math", {0: cell, 1: wobble}, operation="ADD")
    stops = [(i / len(codes), rgb(code)) for i, code in enumerate(codes)]
    colour = s.ramp(cell, stops, constant=True)
    shade = s.ramp(thread, [(0.3, rgb("#b0b0b0")), (0.7, rgb("#ffffff"))])
    colour = s.mix(0.9, colour, shade, "MULTIPLY")
    return s.surface(colour, 0.95, s.bump(thread, 0.004, 0.6), sheen_weight=0.3)


def artwork(*codes, scale=5.0, bands=False, glow=0.0):
    """An abstract print; with `bands` it looks like a landscape in layers."""
    s = Shader("artwork")
    where = s.local((0.6, 1, 2.2) if bands else (1, 1, 1))
    factor = s.noise(where, scale, 4, 0.6)
    if bands:
        height = s.node("SeparateXYZ", {0: s.node("TexCoord", output=3)}, 2)
        height = s.node("MapRange", {0: height, 1: -0.3, 2: 0.3, 3: -0.25, 4: 0.25})
        factor = s.node("Math", {0: factor, 1: height}, operation="ADD")
    stops = [(0.25 + 0.5 * i / len(codes), rgb(code)) for i, code in enumerate(codes)]
    colour = s.ramp(factor, stops, constant=True)
    return s.surface(colour, 0.5, emission_color=colour, emission_strength=glow)


def translucent(code, share=0.5, glow=0.0, threads=True):
    """Thin cloth or paper that lets light through: curtains and lamp shades."""
    s = Shader("translucent")
    colour = rgb(code)
    if threads:
        shade = s.ramp(s.noise(s.local(), 160, 2), [(0.3, rgb(code, 0.8)), (0.7, rgb(code, 1.1))])
        colour = shade
    front = s.node("BsdfDiffuse", {"Color": colour})
    back = s.node("BsdfTranslucent", {"Color": colour})
    shader = s.node("MixShader", {0: share, 1: front, 2: back})
    if glow:
        light = s.node("Emission", {"Color": rgb(code), "Strength": glow})
        shader = s.node("AddShader", {0: shader, 1: light})
    return s.finish(shader)


def glowing(code, strength):
    """A bulb or a lit screen."""
    s = Shader("glowing")
    return s.finish(s.node("Emission", {"Color": rgb(code), "Strength": strength}))


def leaf_green(code, other):
    """Leaves: glossy, and a little light passes through."""
    s = Shader("leaf")
    colour = s.ramp(s.noise(s.local(), 4, 4), [rgb(code), rgb(other)])
    front = s.node("BsdfPrincipled", {"Base Color": colour, "Roughness": 0.35})
    back = s.node("BsdfTranslucent", {"Color": colour})
    return s.finish(s.node("MixShader", {0: 0.25, 1: front, 2: back}))


# ---------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------


class Stage:
    """A room under construction: it places objects relative to a movable frame.

    Positions name the middle of an object's underside, so that things can be stood on each other.
    """

    def __init__(self, size, seed):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.size = size
        self.random = random.Random(seed)
        self.frame = Matrix.Identity(4)
        self.outdoors = []  # Objects and lamps that have no depth.

    @contextlib.contextmanager
    def at(self, x, y, z=0.0, turn=0.0):
        """Moves the frame, and turns it about the vertical by `turn` degrees, for a while."""
        before = self.frame
        turned = Matrix.Rotation(math.radians(turn), 4, "Z")
        self.frame = before @ Matrix.Translation((x, y, z)) @ turned
        yield
        self.frame = before

    def against(self, wall):
        """Moves the frame onto a wall: x runs rightwards along it, y points out of the room."""
        width, depth, _ = self.size
        corner = {
            "back": (0, depth, 0, 0),
            "right": (width, depth, 0, -90),
            "left": (0, 0, 0, 90),
            "front": (width, 0, 0, 180),
        }
        return self.at(*corner[wall])

    def jitter(self, amount):
        """Returns a random number between -amount and amount."""
        return self.random.uniform(-amount, amount)

    def put(self, data, at, material=None, turn=(0, 0, 0)):
        """Places object data in the frame; `turn` holds Euler angles in degrees."""
        thing = bpy.data.objects.new("thing", data)
        bpy.context.scene.collection.objects.link(thing)
        angles = Euler([math.radians(a) for a in turn]).to_matrix().to_4x4()
        thing.matrix_world = self.frame @ Matrix.Translation(at) @ angles
        if material is not None:
            data.materials.append(material)
        return thing

    def mesh(self, points, faces, at, material, turn=(0, 0, 0), smooth=True):
        """Places a mesh."""
        data = bpy.data.meshes.new("mesh")
        data.from_pydata([tuple(p) for p in points], [], faces)
        data.polygons.foreach_set("use_smooth", [smooth] * len(data.polygons))
        return self.put(data, at, material, turn)

    def box(self, size, at, material, turn=(0, 0, 0), bevel=0.004):
        """A box with slightly rounded edges, because no real edge is sharp."""
        x, y, z = size[0] / 2, size[1] / 2, size[2]
        points = [(i * x, j * y, k * z) for k in (0, 1) for j in (-1, 1) for i in (-1, 1)]
        faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
        thing = self.mesh(points, faces, at, material, turn, smooth=False)
        if bevel:
            modifier = thing.modifiers.new("bevel", "BEVEL")
            modifier.width = min(bevel, 0.4 * min(size))
            modifier.segments = 2
        return thing

    def grid(self, columns, rows, place, at, material, turn=(0, 0, 0), thickness=0.0):
        """A sheet whose point (u, v), both from 0 to 1, lies at place(u, v)."""
        points = [place(i / columns, j / rows) for j in range(rows + 1) for i in range(columns + 1)]
        faces = [
            (k, k + 1, k + columns + 2, k + columns + 1)
            for k in (j * (columns + 1) + i for j in range(rows) for i in range(columns))
        ]
        thing = self.mesh(points, faces, at, material, turn)
        if thickness:
            thing.modifiers.new("solidify", "SOLIDIFY").thickness = thickness
        return thing

    def cushion(self, size, at, material, turn=(0, 0, 0), radius=0.05, crown=0.0, wrinkle=0.004):
        """An upholstered block: rounded edges, a domed top and small dents."""
        half = [s / 2 for s in size]
        radius = min(radius, *half)
        steps = []
        for h in half:
            # Equal angles round the edges, equal steps between them.
            rim = [h - radius + radius * math.tan(math.radians(15 * i)) for i in range(4)]
            middle = [(h - radius) * i / 5 for i in range(-4, 5)]
            steps.append([-r for r in reversed(rim)] + middle + rim)
        seed = Vector((self.jitter(50), self.jitter(50), 0))
        index, points, faces = {}, [], []

        def corner(p):
            key = tuple(round(c, 6) for c in p)
            if key not in index:
                rims = [h - radius for h in half]
                inner = Vector([max(-r, min(r, c)) for c, r in zip(p, rims, strict=True)])
                away = (Vector(p) - inner).normalized()
                q = inner + radius * away
                dome = max(0, 1 - (q.x / half[0]) ** 2) * max(0, 1 - (q.y / half[1]) ** 2)
                q.z += crown * dome * (1 if q.z > 0 else 0.15)
                q += away * wrinkle * noise.noise(q * 7 + seed)
                index[key] = len(points)
                points.append(q + Vector((0, 0, half[2])))
            return index[key]

        for axis, side in itertools.product(range(3), (-1, 1)):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            for (a0, a1), (b0, b1) in itertools.product(itertools.pairwise(steps[a]), itertools.pairwise(steps[b])):
                face = []
                for u, v in ((a0, b0), (a1, b0), (a1, b1), (a0, b1))[::side]:
                    p = [0.0] * 3
                    p[axis], p[a], p[b] = side * half[axis], u, v
                    face.append(corner(p))
                faces.append(face)
        return self.mesh(points, faces, at, material, turn)

    def pillow(self, size, at, material, turn=(0, 0, 0)):
        """A loose pillow, thin along its border, with pointed corners."""
        width, length, thick = size
        seed = Vector((self.jitter(50), self.jitter(50), 0))

        def place(u, v, side):
            u, v = 2 * u - 1, 2 * v - 1
            bulge = (max(0, 1 - u**4) * max(0, 1 - v**4)) ** 0.55
            x = u * width / 2 * (1 - 0.07 * (1 - v * v))
            y = v * length / 2 * (1 - 0.07 * (1 - u * u))
            dent = 0.18 * noise.noise(Vector((x * 7, y * 7, side)) + seed)
            return (x, y, thick / 2 * (1 + side * bulge * (1 + dent)))

        for side in (-1, 1):
            self.grid(18, 18, lambda u, v, side=side: place(u, v, side), at, material, turn)

    def lathe(self, profile, at, material, turn=(0, 0, 0), sides=40, smooth=True):
        """A body of revolution about z; the profile lists (radius, height)."""
        points = [
            (r * math.cos(a), r * math.sin(a), z)
            for r, z in profile
            for a in (2 * math.pi * i / sides for i in range(sides))
        ]
        faces = [
            (j * sides + i, j * sides + k, (j + 1) * sides + k, (j + 1) * sides + i)
            for j in range(len(profile) - 1)
            for i, k in ((i, (i + 1) % sides) for i in range(sides))
        ]
        return self.mesh(points, faces, at, material, turn, smooth)

    def rod(self, radius, height, at, material, turn=(0, 0, 0), top=None):
        """A cylinder, or a cone frustum if the top radius differs."""
        top = radius if top is None else top
        edge = min(0.003, 0.3 * radius)
        profile = [(0, 0), (radius - edge, 0), (radius, edge), (top, height - edge)]
        return self.lathe([*profile, (top - edge, height), (0, height)], at, material, turn, 28)

    def ball(self, radius, at, material, squash=1.0):
        """A sphere standing on its position."""
        angles = [math.pi * i / 16 for i in range(17)]
        profile = [(radius * math.sin(a), radius * squash * (1 - math.cos(a))) for a in angles]
        return self.lathe(profile, at, material, sides=28)

    def tube(self, points, radius, material):
        """A bent round bar through the points."""
        data = bpy.data.curves.new("tube", "CURVE")
        data.dimensions = "3D"
        data.bevel_depth = radius
        data.bevel_resolution = 4
        data.use_fill_caps = True
        spline = data.splines.new("NURBS")
        spline.points.add(len(points) - 1)
        for target, point in zip(spline.points, points, strict=True):
            target.co = (*point, 1)
        spline.use_endpoint_u = True
        spline.order_u = 3
        return self.put(data, (0, 0, 0), material)

    def lamp(self, kind, at, power, code="#ffffff", turn=(0, 0, 0), **attributes):
        """A light source that the camera does not see."""
        data = bpy.data.lights.new("lamp", kind)
        data.energy = power
        data.color = rgb(code)[:3]
        for key, value in attributes.items():
            setattr(data, key, value)
        thing = self.put(data, at, turn=turn)
        thing.visible_camera = False
        thing.visible_glossy = kind != "AREA"
        self.outdoors.append(thing)
        return thing


# ---------------------------------------------------------------------------------------------
# The shell of a room
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Opening:
    """A window: the wall it is in, its left and right edge, its sill and its head."""

    wall: str
    left: float
    right: float
    sill: float
    head: float


def shell(s, walls, floor, opening, skirting):
    """Builds floor, ceiling and walls; `walls` names a material for each wall."""
    width, depth, height = s.size
    across, along = width + 2 * WALL, depth + 2 * WALL
    middle = (width / 2, depth / 2)
    s.box((across, along, 0.1), (*middle, -0.1), floor, bevel=0)
    s.box((across, along, 0.1), (*middle, height), paint("#f3f1ec"), bevel=0)
    for wall, material in walls.items():
        length = width if wall in ("back", "front") else depth
        with s.against(wall):
            pieces = [(-WALL, length + WALL, 0, height)]
            if wall == opening.wall:
                left, right, sill, head = dataclasses.astuple(opening)[1:]
                pieces = [(-WALL, left, 0, height), (right, length + WALL, 0, height)]
                pieces += [(left, right, 0, sill), (left, right, head, height)]
            for x0, x1, z0, z1 in pieces:
                place = ((x0 + x1) / 2, WALL / 2, z0)
                s.box((x1 - x0, WALL, z1 - z0), place, material, bevel=0)
            s.box((length, 0.015, 0.09), (length / 2, -0.0075, 0), skirting, bevel=0.005)
            # The cove hides the hard line between wall and ceiling.
            s.box((length, 0.05, 0.05), (length / 2, -0.025, height - 0.05), paint("#f3f1ec"))


def window(s, opening, power, sun=None, inside=None):
    """Fills the opening with a casement, and lights the room through it.

    The lamp hangs outside, or `inside` so far from the wall, past a curtain that would take all
    of its light and turn white.
    """
    left, right, sill, head = dataclasses.astuple(opening)[1:]
    white = plain("#efede8", 0.35)
    width, height = right - left, head - sill
    centre = (left + right) / 2
    with s.against(opening.wall):
        for z in (sill, head - 0.06):
            s.box((width, 0.07, 0.06), (centre, 0.12, z), white)
        for x in (left + 0.03, centre, right - 0.03):
            # Between the two others: faces that coincide would render black.
            bar = (0.06 if x != centre else 0.09, 0.07, height - 0.12)
            s.box(bar, (x, 0.12, sill + 0.06), white)
        s.box((0.02, 0.03, 0.12), (centre + 0.01, 0.075, sill + 0.45 * height), metal())
        s.box((width + 0.12, 0.2, 0.03), (centre, 0.0, sill - 0.025), white, bevel=0.008)
        place = (centre, -inside if inside else WALL + 0.05, sill + height / 2)
        s.lamp(
            "AREA",
            place,
            power,
            "#eef4ff",
            (-90, 0, 0),
            shape="RECTANGLE",
            size=width,
            size_y=height,
        )
        # The garden: a lawn and a hedge, out of focus enough for noise to do.
        green = Shader("green")
        colour = green.ramp(green.noise(green.position(), 3, 8), [(0.3, rgb("#35502a")), (0.7, rgb("#8fae68"))])
        green = green.surface(colour, 0.9)
        s.outdoors.append(s.box((40, 20, 0.1), (centre, 10.5, -0.7), green, bevel=0))
        for x in range(-8, 9):
            place = (centre + 1.4 * x, 8 + s.jitter(0.6), -0.6)
            size = (2.2, 1.5, 1.7 + s.jitter(0.4))
            s.outdoors.append(s.cushion(size, place, green, radius=0.7, wrinkle=0.5))
        if sun:
            turn, strength = sun
            s.lamp("SUN", (centre, 3, 4), strength, "#ffe9c8", turn, angle=0.012)


def curtains(s, opening, material, top, bottom, spread, open_width):
    """A pair of drapes on a rod, drawn aside to `open_width` each."""
    left, right = opening.left - spread, opening.right + spread
    dark = metal("#5a5148", 0.4)
    with s.against(opening.wall):
        s.rod(0.012, right - left + 0.3, (left - 0.15, -0.11, top + 0.02), dark, (0, 90, 0))
        for x in (left - 0.17, right + 0.13):
            s.ball(0.022, (x, -0.11, top), dark)
        for x0, x1 in ((left, left + open_width), (right - open_width, right)):
            folds = round((x1 - x0) / 0.085)
            seed = s.jitter(40)

            def place(u, v, x0=x0, x1=x1, folds=folds, seed=seed):
                sway = noise.noise(Vector((6 * u, 1.5 * v, seed)))
                depth = 0.034 * math.sin(2 * math.pi * folds * u + 0.9 * sway)
                depth *= 0.7 + 0.5 * (1 - v) + 0.3 * sway
                x = x0 + (x1 - x0) * u + 0.02 * sway * (1 - v)
                return (x, -0.11 + depth, bottom + (top - bottom) * v)

            s.grid(folds * 14, 24, place, (0, 0, 0), material)


def sheer(s, opening, material, top, bottom):
    """A thin curtain closed over the whole window."""
    with s.against(opening.wall):
        width = opening.right - opening.left + 0.3

        def place(u, v):
            x = opening.left - 0.15 + width * u
            wave = 0.018 * math.sin(2 * math.pi * x / 0.07 + 2 * noise.noise(Vector((5 * u, v, 3))))
            return (x, -0.05 + wave * (0.6 + 0.4 * (1 - v)), bottom + (top - bottom) * v)

        s.grid(round(width * 120), 8, place, (0, 0, 0), material)


def radiator(s, x, width, height=0.5):
    """A panel radiator on the wall."""
    white = plain("#eeece6", 0.4)
    s.box((width, 0.07, height), (x, -0.085, 0.13), white, bevel=0.01)
    ribs = round(width / 0.045)
    for i in range(ribs):
        place = (x + width * ((i + 0.5) / ribs - 0.5), -0.124, 0.16)
        s.box((0.022, 0.012, height - 0.06), place, white, bevel=0.006)
    s.rod(0.01, 0.13, (x - width / 2 + 0.04, -0.08, 0), white)


def picture(s, x, z, width, height, print_, frame, border=0.05):
    """A framed print hanging on the wall."""
    for dx, dz, w, h in (
        (0, 0, width, 0.025),
        (0, height - 0.025, width, 0.025),
        (-(width - 0.025) / 2, 0.025, 0.025, height - 0.05),
        ((width - 0.025) / 2, 0.025, 0.025, height - 0.05),
    ):
        s.box((w, 0.03, h), (x + dx, -0.016, z + dz), frame, bevel=0.003)
    s.box((width - 0.02, 0.01, height - 0.02), (x, -0.01, z + 0.01), plain("#f4f1ea", 0.6), bevel=0)
    size = (width - 2 * border - 0.05, 0.004, height - 2 * border - 0.05)
    # The print's own coordinates are centred on it, so it is placed by its middle.
    with s.at(x, -0.0165, z + height / 2):
        s.box(size, (0, 0, -size[2] / 2), print_, bevel=0)


def socket(s, x, z=0.3):
    """A wall socket or, higher up, a light switch."""
    s.box((0.08, 0.012, 0.08), (x, -0.006, z), plain("#f1efe9", 0.3), bevel=0.004)
    s.box((0.05, 0.012, 0.05), (x, -0.009, z + 0.015), plain("#e6e4de", 0.3), bevel=0.004)


# ---------------------------------------------------------------------------------------------
# Furniture
# ---------------------------------------------------------------------------------------------

BOOKS = ("#7a2f2a", "#28425e", "#d9cfb8", "#3f5a41", "#b98a3e", "#20252b", "#8c8f93", "#a65a3a")
BOOKS += ("#e8e4da", "#54344f", "#2f6f78")


def books(s, x0, x1, y, z, room, covers):
    """Fills a shelf with standing books, backs flush with y."""
    x = x0
    lean = 0.0
    while True:
        thick = s.random.uniform(0.016, 0.042)
        height = min(room - 0.015, s.random.uniform(0.17, 0.285))
        depth = s.random.uniform(0.13, 0.2)
        if x + thick > x1:
            return
        lean = s.random.choice((0, 0, 0, 0, 0, 6)) if x > x0 + 0.1 else 0
        place = (x + thick / 2, y + depth / 2, z)
        if lean:
            x += height * math.sin(math.radians(lean))
            place = (x + thick / 2, y + depth / 2, z + 0.002)
        s.box((thick, depth, height), place, s.random.choice(covers), (0, -lean, 0), 0.002)
        x += thick + 0.0015


def stack(s, at, covers, count, size=(0.24, 0.17)):
    """A pile of lying books."""
    z = at[2]
    for i in range(count):
        thick = s.random.uniform(0.016, 0.035)
        scale = 1 - 0.09 * i
        turn = (0, 0, s.jitter(14))
        place = (at[0] + s.jitter(0.012), at[1] + s.jitter(0.012), z)
        cover = s.random.choice(covers)
        s.box((size[0] * scale, size[1] * scale, thick), place, cover, turn, 0.002)
        z += thick
    return z


def vase(s, at, material, height=0.25, radius=0.07):
    """A bellied vase with an open neck."""
    shape = [(0, 0), (0.6, 0), (0.85, 0.12), (1, 0.35), (0.85, 0.62), (0.45, 0.84), (0.5, 1)]
    shape += [(0.42, 1), (0.36, 0.84)]
    thing = s.lathe([(radius * r, height * z) for r, z in shape], at, material)
    thing.modifiers.new("smooth", "SUBSURF").render_levels = 2
    return thing


def mug(s, at, material):
    """A mug with a handle."""
    x, y, z = at
    s.lathe(
        [
            (0, 0),
            (0.036, 0),
            (0.04, 0.005),
            (0.04, 0.092),
            (0.036, 0.092),
            (0.034, 0.01),
            (0, 0.01),
        ],
        at,
        material,
    )
    arc = [(x + 0.038, y, z + 0.075), (x + 0.075, y, z + 0.075), (x + 0.075, y, z + 0.025)]
    s.tube([*arc, (x + 0.038, y, z + 0.022)], 0.0055, material)


def bowl(s, at, material, radius=0.14, height=0.08):
    """An open bowl."""
    outer = [(radius * math.sin(a), height * (1 - math.cos(a))) for a in np.linspace(0.3, 1.57, 8)]
    inner = [(0.95 * r, z + 0.006) for r, z in reversed(outer)]
    s.lathe([(0, 0.0), *outer, *inner, (0, inner[-1][1])], at, material)


def plant(s, at, height, spread, stems, leaf_size):
    """A leafy pot plant."""
    x0, y0, z0 = at
    pot = plain("#d8d2c6", 0.55)
    r = 0.16
    profile = [(0, 0), (0.72 * r, 0), (0.78 * r, 0.01), (r, 0.29), (r, 0.31), (0.93 * r, 0.31)]
    s.lathe([*profile, (0.9 * r, 0.26)], at, pot)
    s.rod(0.9 * r, 0.01, (x0, y0, z0 + 0.265), plain("#2c2019", 0.95))
    bark = plain("#5b4632", 0.8)
    greens = [leaf_green("#2d5a27", "#4f8440"), leaf_green("#234a22", "#3d7034")]
    for stem in range(stems):
        angle = 2 * math.pi * stem / stems + s.jitter(0.4)
        lean = spread * s.random.uniform(0.25, 0.6)
        top = height * s.random.uniform(0.75, 1.0) - 0.27

        def along(t, angle=angle, lean=lean, top=top):
            reach = 0.04 + lean * t**1.6
            return Vector((x0 + reach * math.cos(angle), y0 + reach * math.sin(angle), z0 + 0.27 + top * t))

        s.tube([along(t / 5) for t in range(6)], 0.007, bark)
        count = max(5, round(top / 0.07))
        for i in range(count):
            t = 0.25 + 0.75 * i / (count - 1)
            size = leaf_size * s.random.uniform(0.75, 1.15) * (1.1 - 0.3 * t)
            droop = s.random.uniform(0.3, 0.9)

            def blade(u, v, size=size, droop=droop):
                half = 0.27 * size * math.sin(math.pi * min(1, u**0.8)) ** 0.8
                side = (2 * v - 1) * half
                return (size * u, side, 0.25 * abs(side) + size * (0.35 * u - droop * u * u))

            heading = math.degrees(angle) + 137.5 * i + s.jitter(20)
            turn = (s.jitter(15), -s.random.uniform(5, 50), heading)
            s.grid(10, 4, blade, along(t), s.random.choice(greens), turn)


def shade_lamp(s, at, height, radius, foot, power, glow):
    """A lamp with a cloth shade on a pole, for the floor or, if short, for a table."""
    x, y, z = at
    base = 0.14 if height > 1 else 0.065
    s.rod(base, 0.02, at, foot)
    s.rod(0.011, height - 0.12, (x, y, z + 0.02), foot)
    tall = 1.15 * radius
    low = height - tall
    s.lathe(
        [(radius, low), (0.78 * radius, height), (0.775 * radius, height), (0.995 * radius, low)],
        at,
        translucent("#f3e3c6", 0.55, glow),
    )
    s.ball(0.03, (x, y, z + low + 0.4 * tall), glowing("#ffdca8", 4.0))
    s.lamp("POINT", (x, y, z + low + 0.5 * tall), power, "#ffcf95", shadow_soft_size=0.06)


def sofa(s, width, cloth, pillows, blanket=None):
    """A three-seater with its back at y = 0, facing -y, the middle of the seats at x = 0."""
    depth, arm, seat = 0.92, 0.2, 0.43
    feet = wood("#6b4a30", "#3d2717", "z")
    for x, y in itertools.product((-1, 1), (-depth + 0.08, -0.08)):
        s.rod(0.018, 0.13, (x * (width / 2 - 0.09), y, 0), feet, top=0.026)
    s.cushion((width - 0.04, depth - 0.05, 0.2), (0, -depth / 2, 0.12), cloth, radius=0.03)
    for side in (-1, 1):
        place = (side * (width / 2 - arm / 2), -depth / 2, 0.12)
        s.cushion((arm, depth, 0.5), place, cloth, radius=0.07, crown=0.01)
    s.cushion((width - 2 * arm + 0.1, 0.24, 0.68), (0, -0.13, 0.13), cloth, radius=0.08)
    each = (width - 2 * arm) / 3
    for i in (-1, 0, 1):
        place = (i * each, -depth / 2 - 0.1, 0.29 + s.jitter(0.003))
        s.cushion((each - 0.006, 0.7, 0.16), place, cloth, radius=0.045, crown=0.03, wrinkle=0.012)
        turn = (-12, 0, s.jitter(1.5))
        place = (i * each, -0.335, seat - 0.02)
        s.cushion((each - 0.02, 0.2, 0.46), place, cloth, turn, 0.085, wrinkle=0.02)
    for x, cover, tilt, heading in pillows:
        s.pillow((0.45, 0.45, 0.17), (x, -0.56, seat + 0.245), cover, (68, tilt, heading))
    if blanket is not None:

        def place(u, v):
            # The cross-section of the arm: up the inside, over the top, down the outside.
            path = 0.95 * v
            fold = 0.008 * math.sin(37 * u + 3 * math.sin(5 * v)) + 0.006 * noise.noise(Vector((8 * u, 8 * v, 1)))
            reach, top = arm / 2 + 0.015, 0.645
            if path < 0.16:
                x, z = -reach - fold, top - 0.16 + path
            elif path < 0.16 + 2 * reach:
                t = (path - 0.16) / (2 * reach)
                x, z = reach * (2 * t - 1), top + 0.012 * math.sin(math.pi * t) + abs(fold)
            else:
                x, z = reach + 0.004 + fold, top - (path - 0.16 - 2 * reach)
            return (x, 0.5 * (u - 0.5) * (1 + 0.05 * math.sin(6 * v)), z)

        s.grid(40, 60, place, (width / 2 - arm / 2, -0.55, 0), blanket, thickness=0.008)


def armchair(s, cloth, pillow):
    """A small armchair with its middle at the origin, facing -y."""
    feet = wood("#6b4a30", "#3d2717", "z")
    for x, y in itertools.product((-0.29, 0.29), (-0.3, 0.3)):
        s.rod(0.014, 0.17, (x, y, 0), feet, top=0.022)
    s.cushion((0.72, 0.74, 0.14), (0, 0, 0.16), cloth, radius=0.04)
    s.cushion((0.54, 0.6, 0.16), (0, -0.07, 0.29), cloth, radius=0.055, crown=0.03)
    s.cushion((0.6, 0.17, 0.62), (0, 0.28, 0.27), cloth, (-11, 0, 0), 0.08)
    for x in (-0.31, 0.31):
        s.cushion((0.11, 0.7, 0.36), (x, 0, 0.22), cloth, radius=0.05)
    s.pillow((0.42, 0.34, 0.15), (0.02, 0.09, 0.62), pillow, (66, 4, 0))


def bookcase(s, width, height, shelves, material, covers):
    """An open bookcase with its back on the wall and its left side at x = 0."""
    depth, board = 0.3, 0.022
    for x in (board / 2, width - board / 2):
        s.box((board, depth, height), (x, -depth / 2, 0), material, bevel=0.002)
    s.box((width, 0.008, height), (width / 2, -0.006, 0), material, bevel=0)
    gap = (height - 0.08 - board) / shelves
    for i in range(shelves + 1):
        z = 0.08 + i * gap
        place = (width / 2, -depth / 2, z)
        s.box((width - 2 * board, depth - 0.01, board), place, material, bevel=0.002)
        if i == shelves:
            break
        left, right = board + 0.01, width - board - 0.01
        ornament = i % 3
        free = right - (0.3 if ornament != 1 else 0.06)
        books(s, left + (0.22 if ornament == 1 else 0), free, -0.26, z + board, gap - board, covers)
        if ornament == 0:
            vase(s, (right - 0.13, -0.16, z + board), plain("#e6e1d6", 0.3), 0.2, 0.07)
        elif ornament == 1:
            stack(s, (left + 0.11, -0.16, z + board), covers, 4, (0.18, 0.14))
        else:
            s.box((0.2, 0.2, 0.17), (right - 0.14, -0.15, z + board), fabric("#a98f6b"), bevel=0.01)
    s.box((width, 0.012, 0.08), (width / 2, -depth + 0.03, 0), material)


def coffee_table(s, material, legs, covers):
    """A low table with a shelf, centred at the origin."""
    length, width, height = 1.1, 0.6, 0.42
    s.box((length, width, 0.032), (0, 0, height - 0.032), material, bevel=0.006)
    s.box((length - 0.12, width - 0.1, 0.018), (0, 0, 0.15), material)
    for x, y in itertools.product((-1, 1), (-1, 1)):
        place = (x * (length / 2 - 0.04), y * (width / 2 - 0.04), 0)
        s.box((0.05, 0.05, height - 0.032), place, legs)
    stack(s, (-0.28, 0.05, height), covers, 3, (0.28, 0.21))
    stack(s, (0.15, 0.0, 0.168), covers, 2, (0.28, 0.21))
    mug(s, (0.08, -0.16, height), plain("#e9e4da", 0.3))
    bowl(s, (0.3, 0.08, height), plain("#54707a", 0.3), 0.13, 0.07)
    for dx, dy in ((-0.04, 0.02), (0.045, 0.03), (0.0, -0.045)):
        s.ball(0.037, (0.3 + dx, 0.08 + dy, height + 0.025), plain("#c9722a", 0.45), 0.95)
    s.box((0.045, 0.16, 0.018), (-0.02, 0.12, height), plain("#1d1d1f", 0.4), (0, 0, 35), 0.006)


def dining_chair(s, material, slats, seat):
    """A wooden chair centred at the origin, facing -y."""
    for x in (-0.19, 0.19):
        s.rod(0.014, 0.44, (x, -0.19, 0), material, (0, 0, 0), 0.019)
        s.tube([(x, 0.24, 0), (x, 0.19, 0.25), (x, 0.18, 0.5), (x, 0.25, 0.9)], 0.018, material)
        s.box((0.02, 0.37, 0.035), (x, 0, 0.39), material)
    s.box((0.38, 0.022, 0.035), (0, -0.19, 0.39), material)
    s.box((0.38, 0.022, 0.035), (0, 0.18, 0.39), material)
    s.cushion((0.45, 0.43, 0.045), (0, -0.015, 0.425), seat, radius=0.02, crown=0.015)
    for z, y in ((0.6, 0.186), (0.71, 0.2), (0.82, 0.222)):

        def slat(u, v, y=y, z=z):
            return (0.37 * (u - 0.5), y + 0.03 * (1 - (2 * u - 1) ** 2) + 0.01 * v, z + 0.07 * v)

        s.grid(14, 2, slat, (0, 0, 0), slats, thickness=0.014)


def dining_table(s, length, width, top, legs):
    """A table centred at the origin, its long side along x."""
    s.box((length, width, 0.035), (0, 0, 0.715), top, bevel=0.006)
    for y in (-1, 1):
        place = (0, y * (width / 2 - 0.08), 0.64)
        s.box((length - 0.2, 0.022, 0.075), place, top)
    for x, y in itertools.product((-1, 1), (-1, 1)):
        place = (x * (length / 2 - 0.07), y * (width / 2 - 0.07), 0)
        s.box((0.065, 0.065, 0.715), place, legs, bevel=0.006)


def front(s, x, z, width, height, y, material, handle, side=1, drawer=False):
    """A framed cupboard front with a handle, standing out from y towards the room."""
    gap, rim = 0.004, 0.065
    w, h = width - gap, height - gap
    s.box((w, 0.012, h), (x, y - 0.006, z + gap / 2), material, bevel=0.001)
    if drawer or w < 0.2 or h < 0.2:
        s.box((w, 0.01, h), (x, y - 0.014, z + gap / 2), material, bevel=0.003)
    else:
        for dx, dz, fw, fh in (
            (0, 0, w, rim),
            (0, h - rim, w, rim),
            (-(w - rim) / 2, rim, rim, h - 2 * rim),
            ((w - rim) / 2, rim, rim, h - 2 * rim),
        ):
            s.box((fw, 0.01, fh), (x + dx, y - 0.016, z + gap / 2 + dz), material, bevel=0.002)
    if drawer:
        ends = [(x - 0.07, z + h / 2), (x + 0.07, z + h / 2)]
    else:
        hx = x + side * (w / 2 - 0.033)
        middle = z + (h - 0.18 if z < 0.6 else 0.18) if h < 1.2 else 1.0
        ends = [(hx, middle - 0.07), (hx, middle + 0.07)]
    (xa, za), (xb, zb) = ends
    s.tube([(xa, y - 0.045, za), (xb, y - 0.045, zb)], 0.005, handle)
    for hx, hz in ends:
        s.tube([(hx, y - 0.012, hz), (hx, y - 0.046, hz)], 0.005, handle)


# ---------------------------------------------------------------------------------------------
# The rooms
# ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Camera:
    """Where the camera stands and looks; yaw is to the right, pitch downwards, in degrees."""

    x: float
    y: float
    yaw: float
    pitch: float
    exposure: float = 0.0
    z: float = 1.5


def living_room():
    """A sofa before the back wall, a bookcase, and a window in the right wall."""
    s = Stage((4.5, 5.2, 2.55), seed=4)
    wall = paint("#ddd6c8")
    opening = Opening("right", 0.85, 2.55, 0.75, 2.2)
    walls = {"back": wall, "left": wall, "right": wall, "front": wall}
    shell(s, walls, planks("#b98a5c", "#7d5433"), opening, plain("#f0eee8", 0.4))
    window(s, opening, 170, sun=((-52, 0, 0), 6.0))
    curtains(s, opening, translucent("#8f9a94", 0.25), 2.38, 0.03, 0.3, 0.42)
    with s.against("right"):
        radiator(s, 1.7, 1.3)
        socket(s, 0.35)
    covers = [plain(code, 0.55) for code in BOOKS]
    oak = wood("#a87b4f", "#6f4a2b")
    black = plain("#1c1a19", 0.4)
    with s.against("back"):
        with s.at(0.12, 0):
            bookcase(s, 0.95, 2.05, 6, wood("#a87b4f", "#75502f", "z"), covers)
        prints = (
            artwork("#e8e0d0", "#c98f5a", "#41586b", "#22313d", scale=4, bands=True),
            artwork("#f0e8da", "#b8573c", "#d9a75b", "#2f4858", scale=5),
            artwork("#e9ece6", "#7d9a8c", "#35564c", "#c9b27a", scale=4, bands=True),
        )
        picture(s, 2.0, 1.42, 0.5, 0.66, prints[0], black)
        picture(s, 2.68, 1.38, 0.62, 0.78, prints[1], oak)
        picture(s, 3.34, 1.48, 0.44, 0.56, prints[2], black)
        socket(s, 1.28)
    with s.at(2.72, 5.12):
        teal, rust = fabric("#4a6264", "#6d8587"), fabric("#8f5a43", "#b37c62")
        pillows = [
            (-0.66, teal, 6, 14),
            (-0.3, rust, -5, -8),
            (0.62, stripes("#e3dccd", "#6d7f86", 0.05), 4, -12),
        ]
        sofa(s, 2.15, fabric("#77756f", "#a09c92"), pillows, fabric("#c9b48d", "#e6d8b8", 3))
    s.cushion(
        (2.5, 1.75, 0.014),
        (2.6, 3.35, 0),
        diamonds("#b9ad97", "#8e4a35", "#e2d6bd", "#35505c"),
        (0, 0, 2),
        0.006,
        wrinkle=0.0,
    )
    with s.at(2.55, 3.35, 0.014, 3):
        coffee_table(s, oak, wood("#a87b4f", "#6f4a2b", "z"), covers)
    with s.at(3.72, 2.75, 0.0, -62):
        armchair(s, fabric("#8a7a3f", "#b5a35c"), fabric("#d8d0c0"))
    shade_lamp(s, (1.36, 4.86, 0), 1.6, 0.21, metal("#3a3530", 0.4), 9, 0.5)
    plant(s, (4.12, 4.82, 0), 1.45, 0.5, 5, 0.27)
    # A pouffe and a basket stand near the camera, so that the picture has a foreground.
    s.cushion((0.5, 0.5, 0.38), (1.15, 2.5, 0), fabric("#66706a", "#8b968f", 2), radius=0.16, crown=0.03)
    basket = fabric("#9a7a4e", "#c3a270", 6)
    s.lathe([(0, 0), (0.16, 0), (0.2, 0.3), (0.19, 0.3), (0.155, 0.02)], (0.42, 3.85, 0), basket)
    s.pillow((0.4, 0.4, 0.2), (0.42, 3.85, 0.2), fabric("#cfc3ae"), (12, 20, 30))
    s.lamp("AREA", (1.6, 0.5, 2.45), 40, "#fff2e0", (12, 0, 0), shape="RECTANGLE", size=2.4, size_y=0.9)
    return s, Camera(1.15, 0.35, 17, 9, 0.0)


def kitchen():
    """A dining table before a kitchen counter, and a window in the left wall."""
    s = Stage((3.9, 4.7, 2.6), seed=8)
    wall = paint("#e2dfd2")
    opening = Opening("left", 2.15, 3.55, 0.95, 2.2)
    walls = {"back": wall, "left": wall, "right": wall, "front": wall}
    floor = tiles("#b9ab98", "#8a8177", (0.33, 0.33), roughness=0.35)
    shell(s, walls, floor, opening, plain("#f0eee8", 0.4))
    window(s, opening, 150, sun=((-55, 0, 24), 5.0))
    beech = wood("#c79a66", "#96683c")
    beech_up = wood("#c79a66", "#96683c", "z")
    with s.against("left"):
        radiator(s, 2.85, 1.1)
        blind = translucent("#d9cfb4", 0.4)
        s.box((1.36, 0.004, 0.36), (2.85, 0.04, 1.86), blind, bevel=0)
        s.rod(0.025, 1.38, (2.16, 0.05, 2.17), plain("#e8e4da"), (0, 90, 0))
        s.box((1.36, 0.012, 0.025), (2.85, 0.04, 1.84), plain("#e8e4da"))
        plant(s, (2.45, -0.02, 0.95), 0.62, 0.12, 4, 0.09)
        vase(s, (3.3, 0.0, 0.95), plain("#3c6470", 0.25), 0.2, 0.06)
        picture(s, 3.83, 1.5, 0.34, 0.44, artwork("#efe6d2", "#d08a4a", "#7a8f5a"), beech, 0.04)
        socket(s, 3.85, 1.08)
    with s.against("back"):
        counter(s, beech)
    with s.at(1.72, 2.5, 0, 4):
        dining_table(s, 1.5, 0.85, beech, beech_up)
        seat = fabric("#5e6f7c", "#8799a6")
        for x, y, turn in (
            (-0.38, 0.52, 3),
            (0.4, 0.6, -6),
            (-0.36, -0.55, 184),
            (0.38, -0.62, 167),
        ):
            with s.at(x, y, 0, turn):
                dining_chair(s, beech_up, beech, seat)
        white = plain("#f0eee9", 0.2)
        mat = stripes("#7f8f6a", "#c9cdb2", 0.03)
        for x, y in ((-0.38, 0.24), (-0.38, -0.24), (0.42, 0.24)):
            s.box((0.42, 0.3, 0.004), (x, y, 0.75), mat, (0, 0, s.jitter(4)), 0.001)
            plate = [(0, 0), (0.07, 0), (0.125, 0.018), (0.124, 0.022), (0.075, 0.008), (0, 0.008)]
            s.lathe(plate, (x, y, 0.754), white)
            mug(s, (x + 0.17, y + 0.05, 0.754), plain("#b5533c", 0.3))
        bowl(s, (0.06, -0.02, 0.75), plain("#e5ded0", 0.3), 0.15, 0.085)
        for x, y, code in (
            (0, 0.05, "#a83226"),
            (0.06, -0.03, "#d0a02c"),
            (-0.06, -0.02, "#7f9a35"),
        ):
            s.ball(0.042, (0.06 + x, -0.02 + y, 0.775), plain(code, 0.35), 0.93)
        s.ball(0.04, (0.065, 0.0, 0.84), plain("#b8452c", 0.35), 0.93)
        s.box(
            (0.29, 0.21, 0.006),
            (0.47, -0.19, 0.75),
            artwork("#e9e9e6", "#bdbdbb", scale=30),
            (0, 0, 17),
        )
    # The pendant lamp, enamelled outside and white inside.
    x, y = 1.72, 2.5
    s.tube([(x, y, 2.6), (x, y, 2.2), (x, y, 1.98)], 0.004, plain("#202020"))
    s.rod(0.05, 0.03, (x, y, 2.57), plain("#35504e", 0.3))
    dome = [(0.21 * math.sin(a), 0.2 * math.cos(a)) for a in np.linspace(1.5, 0.12, 12)]
    s.lathe(dome, (x, y, 1.78), plain("#35504e", 0.3))
    s.lathe([(0.985 * r, 0.985 * z) for r, z in dome], (x, y, 1.779), plain("#f6f2e8", 0.5))
    s.ball(0.04, (x, y, 1.83), glowing("#ffdfae", 8.0))
    s.lamp("POINT", (x, y, 1.79), 12, "#ffd29a", shadow_soft_size=0.05)
    s.lamp("AREA", (2.3, 0.6, 2.5), 32, "#fff3e2", (12, 0, 0), shape="RECTANGLE", size=2, size_y=0.9)
    return s, Camera(2.95, 0.3, -17, 10, 0.0)


def counter(s, top):
    """A fitted kitchen along the wall: cupboards, sink, oven, hood and refrigerator."""
    sage, steel = plain("#93a08d", 0.4), metal("#c9cacb", 0.25)
    handle, black = metal("#8e8a83", 0.3), plain("#111214", 0.08)
    cream = plain("#e9e5da", 0.4)
    run, deep = 3.2, 0.6
    s.box((run, deep - 0.06, 0.1), (run / 2, -deep / 2 + 0.03, 0), plain("#4a4d48", 0.6))
    s.box((run, deep - 0.03, 0.77), (run / 2, -deep / 2 + 0.015, 0.1), sage, bevel=0.001)
    face = -deep + 0.03
    front(s, 0.3, 0.1, 0.6, 0.77, face, sage, handle)
    front(s, 0.8, 0.1, 0.4, 0.77, face, sage, handle)
    front(s, 1.2, 0.1, 0.4, 0.77, face, sage, handle, -1)
    for z, height in ((0.1, 0.31), (0.41, 0.26), (0.67, 0.2)):
        front(s, 1.625, z, 0.45, height, face, sage, handle, drawer=True)
    front(s, 2.64, 0.1, 0.38, 0.77, face, sage, handle)
    front(s, 3.015, 0.1, 0.37, 0.77, face, sage, handle, -1)

    # The worktop is laid in four pieces around the sink.
    hole = (0.72, 1.28, -0.5, -0.13)
    edge = -deep - 0.02
    for x0, x1, y0, y1 in (
        (0, hole[0], edge, 0),
        (hole[1], run, edge, 0),
        (hole[0], hole[1], edge, hole[2]),
        (hole[0], hole[1], hole[3], 0),
    ):
        s.box((x1 - x0, y1 - y0, 0.04), ((x0 + x1) / 2, (y0 + y1) / 2, 0.87), top, bevel=0.001)
    width, length = hole[1] - hole[0], hole[3] - hole[2]
    middle = (hole[0] + hole[1]) / 2, (hole[2] + hole[3]) / 2
    s.box((width, length, 0.005), (*middle, 0.875), steel)
    for dx, dy, w, d in (
        (0, length / 2, width + 0.03, 0.02),
        (0, -length / 2, width + 0.03, 0.02),
        (width / 2, 0, 0.02, length - 0.02),
        (-width / 2, 0, 0.02, length - 0.02),
    ):
        s.box((w, d, 0.045), (middle[0] + dx, middle[1] + dy, 0.872), steel, bevel=0.003)
    x, y = middle[0], -0.08
    s.rod(0.022, 0.05, (x, y, 0.91), steel)
    neck = [(x, y, 0.95), (x, y, 1.15), (x, y, 1.24), (x, y - 0.1, 1.25), (x, y - 0.19, 1.23)]
    s.tube([*neck, (x, y - 0.19, 1.15)], 0.011, steel)

    # Oven, hob and hood.
    s.box((0.594, 0.02, 0.59), (2.15, face - 0.01, 0.27), black, bevel=0.003)
    s.box((0.594, 0.022, 0.1), (2.15, face - 0.012, 0.765), steel, bevel=0.003)
    s.box((0.594, 0.02, 0.15), (2.15, face - 0.01, 0.11), sage, bevel=0.003)
    s.tube([(1.93, face - 0.06, 0.81 - 0.02), (2.37, face - 0.06, 0.81 - 0.02)], 0.009, steel)
    for x in (1.9, 1.97, 2.33, 2.4):
        s.rod(0.017, 0.02, (x, face - 0.02, 0.835), black, (90, 0, 0))
    towel = stripes("#efebe0", "#a8453a", 0.025)
    for y, low in ((-0.071, 0.42), (-0.048, 0.5)):
        s.box((0.24, 0.004, 0.8 - low), (2.2, face + y, low), towel, bevel=0.001)
    s.box((0.24, 0.026, 0.006), (2.2, face - 0.06, 0.798), towel, bevel=0.002)
    s.box((0.58, 0.5, 0.006), (2.15, -0.3, 0.91), black)
    pot = plain("#dcd8cc", 0.2)
    s.lathe([(0, 0), (0.1, 0), (0.105, 0.13), (0.11, 0.132), (0, 0.15)], (2.0, -0.2, 0.917), pot)
    s.ball(0.015, (2.0, -0.2, 1.066), black)
    kettle = plain("#a23a2d", 0.2)
    shape = [(0, 0), (0.1, 0), (0.11, 0.03), (0.095, 0.1), (0.05, 0.145), (0, 0.15)]
    s.lathe(shape, (2.3, -0.38, 0.917), kettle)
    arc = [(2.22, -0.38, 1.03), (2.22, -0.38, 1.17), (2.38, -0.38, 1.17), (2.38, -0.38, 1.03)]
    s.tube(arc, 0.008, black)
    s.tube([(2.2, -0.38, 0.97), (2.16, -0.38, 1.0), (2.14, -0.38, 1.06)], 0.013, kettle)
    s.box((0.6, 0.48, 0.07), (2.15, -0.24, 1.55), steel, bevel=0.003)
    s.box((0.28, 0.26, 0.98), (2.15, -0.13, 1.62), steel, bevel=0.003)

    # Tiles behind the worktop, cupboards and an open shelf above it.
    white = tiles("#f1efe8", "#bdb9b0", (0.2, 0.1), "xz", 0.5, 0.004, 0.12)
    s.box((run, 0.008, 0.56), (run / 2, -0.004, 0.91), white, bevel=0)
    for x in (1.45, 2.75):
        socket(s, x, 1.1)
    for x, side in ((0.3, 1), (0.9, -1), (2.665, 1), (3.04, -1)):
        w = 0.6 if x < 1 else 0.375
        s.box((w, 0.33, 0.72), (x, -0.165, 1.47), cream, bevel=0.001)
        front(s, x, 1.47, w, 0.72, -0.33, cream, handle, side)
    china = [plain(code, 0.25) for code in ("#f0eee9", "#8aa0a8", "#c98f5a", "#e0d9c8")]
    for z in (1.47, 1.83):
        s.box((0.6, 0.24, 0.026), (1.51, -0.12, z), top)
        for i in range(4):
            place = (1.29 + 0.145 * i, -0.12 + s.jitter(0.02), z + 0.026)
            if z < 1.6:
                jar = [
                    (0, 0),
                    (0.045, 0),
                    (0.045, 0.12),
                    (0.04, 0.13),
                    (0.047, 0.13),
                    (0.047, 0.15),
                ]
                s.lathe([*jar, (0, 0.152)], place, china[i])
            elif i % 2:
                mug(s, place, china[i])
            else:
                for k in range(4):
                    bowl(s, (*place[:2], place[2] + 0.016 * k), china[i], 0.066, 0.05)

    # Things standing on the worktop.
    board = wood("#8a5a35", "#5c3820", "z")
    s.box((0.28, 0.018, 0.38), (0.3, -0.09, 0.91), board, (-9, 0, 0), 0.01)
    s.box((0.2, 0.016, 0.28), (0.4, -0.14, 0.91), top, (-11, 0, 0), 0.01)
    s.box((0.11, 0.16, 0.22), (1.55, -0.2, 0.915), board, (14, 0, 8))
    for i in range(3):
        s.box((0.016, 0.025, 0.09), (1.52 + 0.03 * i, -0.19, 1.1), black, (14, 0, 8))
    s.box((0.28, 0.17, 0.18), (2.72, -0.2, 0.92), metal("#c6c3bd", 0.22), (0, 0, -6), 0.035)
    s.box((0.2, 0.03, 0.01), (2.72, -0.2, 1.096), black, (0, 0, -6))
    crock = [(0, 0), (0.055, 0), (0.06, 0.15), (0.054, 0.15), (0.05, 0.02)]
    s.lathe(crock, (3.04, -0.18, 0.91), china[1])
    for i in range(5):
        tip = (3.04 + 0.07 * math.cos(1.3 * i), -0.18 + 0.06 * math.sin(1.3 * i), 1.19 + 0.02 * i)
        s.tube([(3.04, -0.18, 0.95), (3.04, -0.18, 1.0), tip], 0.007, (top, board)[i % 2])
    s.lathe(
        [(0, 0), (0.035, 0), (0.036, 0.17), (0.013, 0.23), (0.013, 0.28), (0, 0.28)],
        (0.08, -0.3, 0.91),
        plain("#4d6127", 0.1),
    )
    s.lathe([(0, 0), (0.03, 0), (0.03, 0.13), (0.01, 0.16), (0, 0.19)], (1.36, -0.1, 0.91), china[2])

    # A clock above the shelf, at ten past ten.
    s.rod(0.15, 0.03, (1.51, 0, 2.28), black, (90, 0, 0))
    s.rod(0.135, 0.004, (1.51, -0.03, 2.28), cream, (90, 0, 0))
    for angle, reach in ((-55, 0.08), (60, 0.11)):
        s.box((0.01, 0.003, reach), (1.51, -0.036, 2.28), black, (0, angle, 0), 0)

    # The refrigerator with its notes.
    fridge = plain("#dddfdf", 0.3)
    s.box((0.62, 0.62, 1.85), (3.55, -0.33, 0.02), fridge, bevel=0.01)
    for z, height in ((0.05, 1.15), (1.21, 0.65)):
        s.box((0.615, 0.05, height), (3.55, -0.665, z), fridge, bevel=0.015)
    for z0, z1 in ((0.75, 1.12), (1.29, 1.55)):
        s.tube([(3.29, -0.715, z0), (3.29, -0.715, z1)], 0.01, steel)
    for x, z, code in ((3.55, 1.5, "#e8d36a"), (3.66, 1.38, "#e9e7e2"), (3.46, 1.36, "#a9c3d4")):
        s.box((0.1, 0.002, 0.12), (x, -0.691, z), plain(code, 0.7), (0, s.jitter(6), 0), 0)
    s.box((0.42, 0.3, 0.17), (3.52, -0.3, 1.87), fabric("#a88a5c", "#cbb07f", 4), (0, 0, 4), 0.02)


def bedroom():
    """A bed with its head on the right wall; desk, window and wardrobe along the back wall."""
    s = Stage((3.8, 4.9, 2.5), seed=15)
    wall, accent = paint("#d5dad8"), paint("#93a6ad")
    opening = Opening("back", 1.42, 2.5, 0.85, 2.15)
    walls = {"back": wall, "left": wall, "right": accent, "front": wall}
    shell(s, walls, planks("#c2a582", "#947556", turned=False), opening, plain("#f0eee8", 0.4))
    window(s, opening, 75, inside=0.22)
    covers = [plain(code, 0.55) for code in BOOKS]
    white, dark = plain("#ebe8e1", 0.4), plain("#1d1e20", 0.45)
    oak = wood("#b48a5c", "#845c36")
    sheer(s, opening, translucent("#f4f1ea", 0.6), 2.26, 0.8)
    curtains(s, opening, translucent("#66788a", 0.15), 2.3, 0.03, 0.24, 0.26)
    with s.against("back"):
        radiator(s, 1.96, 0.9, 0.5)
        with s.at(0.68, -0.02):
            desk(s, oak, white, dark, covers)
        s.box((1.0, 0.2, 0.025), (0.64, -0.1, 1.55), oak)
        books(s, 0.18, 0.66, -0.19, 1.575, 0.32, covers)
        plant_pot = (0.98, -0.1, 1.575)
        s.lathe([(0, 0), (0.05, 0), (0.06, 0.1), (0.055, 0.1), (0.05, 0.08)], plant_pot, white)
        green = leaf_green("#48703c", "#7a9f5c")
        for i in range(16):
            reach = 0.16 + s.jitter(0.05)

            def leaf(u, v, reach=reach):
                droop = 0.12 * u - 0.2 * u * u
                return (reach * u, 0.03 * (2 * v - 1) * math.sin(math.pi * u), droop)

            turn = (0, -s.random.uniform(0, 60), 137.5 * i)
            s.grid(8, 2, leaf, (0.98, -0.1, 1.665), green, turn)
        with s.at(3.22, 0):
            wardrobe(s, white, metal("#7d7a74", 0.3))
    with s.against("right"):
        with s.at(2.02, 0):
            bed(s, oak, wood("#b48a5c", "#845c36", "y"), covers)
        with s.at(0.98, -0.24):
            s.box((0.42, 0.4, 0.42), (0, 0, 0.1), oak, bevel=0.003)
            for z in (0.12, 0.32):
                s.box((0.4, 0.018, 0.18), (0, -0.205, z), white, bevel=0.003)
                s.ball(0.013, (0, -0.225, z + 0.08), dark)
            for x, y in itertools.product((-0.18, 0.18), (-0.16, 0.16)):
                s.rod(0.012, 0.1, (x, y, 0), oak, top=0.016)
            shade_lamp(s, (-0.06, 0.04, 0.52), 0.46, 0.13, plain("#7c8c86", 0.3), 5, 0.7)
            stack(s, (0.1, -0.08, 0.52), covers, 2, (0.2, 0.14))
        picture(
            s,
            1.62,
            1.35,
            0.5,
            0.6,
            artwork("#eae6da", "#b9a58a", "#5c7480", bands=True, scale=3),
            oak,
        )
        picture(s, 2.3, 1.35, 0.5, 0.6, artwork("#eee9df", "#c4876a", "#7d8f86", scale=4), oak)
        socket(s, 1.26, 0.75)
    rug = diamonds("#d9d2c4", "#c5bba8", "#8f9aa0", "#d9d2c4", size=0.34)
    s.cushion((2.0, 2.3, 0.016), (1.45, 2.75, 0), rug, (0, 0, -2), 0.007, wrinkle=0.0)
    with s.at(0.82, 3.72, 0, 152):
        office_chair(s, fabric("#3b4149", "#5a626c"), dark)
    basket = fabric("#b79a6c", "#d8bf93", 5)
    s.lathe([(0, 0), (0.18, 0), (0.21, 0.5), (0.2, 0.5), (0.17, 0.02)], (2.62, 4.62, 0), basket)
    s.lamp("AREA", (1.5, 0.6, 2.4), 42, "#fff2e0", (12, 0, 0), shape="RECTANGLE", size=2.2, size_y=0.9)
    return s, Camera(0.5, 0.3, 24, 11, 0.05)


def desk(s, top, white, dark, covers):
    """A desk with its back at y = 0 and what a day's work leaves on it."""
    s.box((1.2, 0.6, 0.03), (0, -0.3, 0.71), top, bevel=0.003)
    s.box((0.38, 0.55, 0.66), (-0.39, -0.29, 0.05), white, bevel=0.002)
    for i in range(3):
        s.box((0.372, 0.018, 0.21), (-0.39, -0.575, 0.06 + 0.217 * i), white, bevel=0.003)
        s.box((0.1, 0.015, 0.01), (-0.39, -0.592, 0.2 + 0.217 * i), dark)
    for y in (-0.55, -0.05):
        s.box((0.04, 0.04, 0.71), (0.56, y, 0), white)
    s.box((0.03, 0.5, 0.04), (0.56, -0.3, 0.67), white)
    # Monitor, keyboard and mouse.
    s.box((0.22, 0.17, 0.012), (0, -0.17, 0.74), dark)
    s.box((0.05, 0.025, 0.22), (0, -0.13, 0.745), dark)
    s.box((0.56, 0.03, 0.34), (0, -0.17, 0.86), dark, bevel=0.005)
    screen = artwork("#24405c", "#3f6f8f", "#7fa8b8", "#d8c9a0", scale=3, bands=True, glow=0.6)
    with s.at(0, -0.186, 1.03):
        s.box((0.54, 0.002, 0.315), (0, 0, -0.155), screen, bevel=0)
    s.box((0.42, 0.13, 0.014), (0.0, -0.42, 0.74), plain("#2b2c2f", 0.5), (0, 0, 2))
    for row in range(4):
        s.box((0.4, 0.02, 0.006), (0.0, -0.375 - 0.028 * row, 0.753), plain("#4a4c50", 0.5), (0, 0, 2))
    s.ball(0.032, (0.28, -0.42, 0.735), dark, 0.6)
    # Desk lamp.
    s.rod(0.075, 0.018, (0.47, -0.13, 0.74), white)
    s.tube([(0.47, -0.13, 0.75), (0.53, -0.11, 1.0), (0.53, -0.11, 1.02)], 0.008, white)
    s.tube([(0.53, -0.11, 1.02), (0.45, -0.16, 1.12), (0.36, -0.22, 1.18)], 0.008, white)
    hood = [(0.075, 0), (0.06, 0.06), (0.025, 0.1), (0.02, 0.12), (0, 0.122)]
    s.lathe(hood, (0.34, -0.235, 1.1), white, (8, -18, 0))
    mug(s, (-0.36, -0.35, 0.74), plain("#c49a3c", 0.3))
    stack(s, (-0.44, -0.15, 0.74), covers, 4, (0.22, 0.16))
    s.box((0.21, 0.297, 0.004), (0.38, -0.38, 0.74), plain("#f2f0ea", 0.7), (0, 0, -12), 0)
    s.box((0.008, 0.14, 0.008), (0.37, -0.38, 0.744), plain("#9c3b2e", 0.5), (0, 0, 30), 0.002)
    pot = [(0, 0), (0.035, 0), (0.038, 0.1), (0.034, 0.1), (0.03, 0.01)]
    s.lathe(pot, (-0.28, -0.1, 0.74), plain("#56707c", 0.4))
    for i in range(5):
        tip = (-0.28 + 0.035 * math.cos(1.3 * i), -0.1 + 0.035 * math.sin(1.3 * i), 0.91)
        s.tube([(-0.28, -0.1, 0.76), (-0.28, -0.1, 0.8), tip], 0.0045, s.random.choice(covers))


def office_chair(s, cloth, dark):
    """A swivel chair centred at the origin, facing -y."""
    for i in range(5):
        a = 2 * math.pi * i / 5 + 0.3
        x, y = 0.29 * math.cos(a), 0.29 * math.sin(a)
        s.tube([(0, 0, 0.12), (0.5 * x, 0.5 * y, 0.1), (x, y, 0.07)], 0.017, dark)
        s.lathe([(0, 0), (0.028, 0), (0.028, 0.02), (0, 0.02)], (x, y, 0.028), dark, (90, 0, 20 * i))
    s.rod(0.025, 0.34, (0, 0, 0.1), metal("#606266", 0.3))
    s.box((0.24, 0.24, 0.03), (0, 0, 0.42), dark)
    s.cushion((0.49, 0.48, 0.085), (0, 0, 0.44), cloth, radius=0.04, crown=0.015)
    s.tube([(0, 0.1, 0.43), (0, 0.31, 0.43), (0, 0.3, 0.6), (0, 0.29, 0.75)], 0.02, dark)
    s.cushion((0.45, 0.075, 0.5), (0, 0.245, 0.6), cloth, (-8, 0, 0), 0.037)
    for x in (-0.27, 0.27):
        s.tube([(0.6 * x, 0.02, 0.44), (x, 0.02, 0.45), (x, 0.03, 0.56), (x, 0.0, 0.66)], 0.014, dark)
        s.box((0.06, 0.25, 0.03), (x, 0, 0.66), dark, bevel=0.012)


def wardrobe(s, material, handle):
    """A wardrobe with two doors and a drawer each, its back at y = 0, centred at x = 0."""
    width, deep, height = 1.04, 0.58, 2.08
    s.box((width, deep, height), (0, -deep / 2, 0), material, bevel=0.002)
    for side in (-1, 1):
        x = side * width / 4
        front(s, x, 0.38, width / 2, height - 0.4, -deep, material, handle, -side)
        front(s, x, 0.08, width / 2, 0.3, -deep, material, handle, drawer=True)
    for x, size, code in (
        (-0.22, (0.46, 0.4, 0.24), "#a08d70"),
        (0.27, (0.4, 0.36, 0.18), "#6f7d84"),
    ):
        s.box(size, (x, -0.3, height), fabric(code), (0, 0, s.jitter(5)), 0.01)


def bed(s, frame, rail, covers):
    """A made bed with its head at y = 0, centred at x = 0."""
    width, length, top = 1.4, 2.0, 0.5
    s.box((width + 0.1, 0.05, 1.0), (0, -0.035, 0), frame, bevel=0.01)
    for x in (-1, 1):
        s.box((0.03, length, 0.2), (x * (width / 2 + 0.02), -0.06 - length / 2, 0.14), rail)
    s.box((width + 0.07, 0.03, 0.26), (0, -length - 0.06, 0.14), frame)
    for x in (-0.68, 0.68):
        s.box((0.06, 0.06, 0.16), (x, -length - 0.03, 0), frame)
    linen = fabric("#e6e2d8", "#f5f2ea")
    s.cushion((width, length, 0.22), (0, -length / 2 - 0.06, 0.27), linen, radius=0.06, crown=0.01)

    def cover(start, end, drop, lift, seed, folds):
        """Returns the surface of a cloth hanging over the sides and the foot of the mattress."""

        def place(u, v):
            across = (2 * u - 1) * (width / 2 + drop)
            beyond = max(0.0, abs(across) - width / 2)
            y = start + (end - start) * v
            over = max(0.0, -length - 0.06 - y)
            hang = math.hypot(beyond, over)
            p = Vector((3 * across, 3 * y, seed))
            crease = 0.6 * noise.noise(p) + 0.4 * noise.noise(2.6 * p)
            wave = 0.018 * math.sin(folds * (y if beyond > over else across)) * min(1, hang / 0.15)
            out = 0.035 + 0.03 * min(1.0, hang / 0.1) + wave
            x = math.copysign(min(abs(across), width / 2), across)
            if beyond:
                x += math.copysign(out * min(1, beyond / 0.03), across)
            if over:
                y = -length - 0.06 - out * min(1, over / 0.03)
            z = top + lift - max(0.0, hang - 0.02) + 0.035 * crease * (1 if not hang else 0.2)
            return (x, y, z)

        return place

    duvet = fabric("#aab6b8", "#ccd5d5")
    for place, material, rows, thick in (
        (cover(-0.62, -length - 0.28, 0.24, 0.05, 4.0, 14), duvet, 110, 0.03),
        (cover(-1.35, -1.85, 0.16, 0.085, 4.0, 14), fabric("#8f6350", "#b78a74", 3), 40, 0.012),
    ):
        sheet = s.grid(110, rows, place, (0, 0, 0), material, thickness=thick)
        smooth = sheet.modifiers.new("smooth", "SMOOTH")
        smooth.iterations = 6
    # The upper edge of the duvet is folded back.
    s.cushion((width + 0.1, 0.3, 0.07), (0, -0.72, top + 0.03), linen, radius=0.03, wrinkle=0.02)
    for x in (-0.35, 0.35):
        s.pillow((0.66, 0.48, 0.2), (x, -0.26, top + 0.1), linen, (32, s.jitter(4), s.jitter(5)))
    s.pillow((0.44, 0.44, 0.16), (-0.12, -0.47, top + 0.16), fabric("#5f7f86"), (50, 5, 8))
    s.box((0.2, 0.14, 0.025), (0.35, -1.15, top + 0.085), covers[4], (0, 0, 25), 0.002)


ROOMS = {"living_room": living_room, "kitchen": kitchen, "bedroom": bedroom}


# ---------------------------------------------------------------------------------------------
# Pictures
# ---------------------------------------------------------------------------------------------


def set_up(camera, samples, threads):
    """Adds the camera and the sky, and sets the renderer."""
    scene = bpy.context.scene
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit = "HORIZONTAL"
    lens.sensor_width = 36.0
    lens.lens = 36.0 * FOCAL_PX / WIDTH
    lens.clip_start = 0.05
    thing = bpy.data.objects.new("camera", lens)
    thing.location = (camera.x, camera.y, camera.z)
    thing.rotation_euler = (math.radians(90 - camera.pitch), 0, math.radians(-camera.yaw))
    scene.collection.objects.link(thing)
    scene.camera = thing

    scene.world = bpy.data.worlds.new("sky")
    scene.world.use_nodes = True
    background = scene.world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = rgb("#b4cdea")
    background.inputs["Strength"].default_value = 3.0

    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.threads_mode = "FIXED"
    scene.render.threads = threads
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = 8
    scene.cycles.diffuse_bounces = 5
    scene.cycles.sample_clamp_indirect = 4.0
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.use_denoising = True
    scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = camera.exposure


def render(path, kind, **settings):
    """Renders the scene into a file."""
    scene = bpy.context.scene
    scene.render.filepath = str(path)
    scene.render.image_settings.file_format = kind
    for key, value in settings.items():
        setattr(scene.render.image_settings, key, value)
    bpy.ops.render.render(write_still=True)


def photograph(path, folder):
    """Renders the picture and saves it as a JPEG with the camera's focal length."""
    render(folder / "picture.png", "PNG", color_mode="RGB", color_depth="8")
    exif = Image.Exif()
    exif[0x010E] = "Computer-rendered room"  # ImageDescription
    exif.get_ifd(0x8769)[0xA405] = FOCAL_35MM  # Exif IFD: FocalLengthIn35mmFilm
    with Image.open(folder / "picture.png") as picture:
        picture.convert("RGB").save(path, quality=88, optimize=True, exif=exif)


def measure(stage, folder):
    """Renders the depth in metres along the optical axis; 0 where there is none.

    Every surface is made to shine as brightly as it is far away, which is exact also for sheer
    cloth. One sample through the middle of each pixel is taken, instead of many spread over it: an
    average of the two sides of an edge would be a distance at which there is nothing.
    """
    scene = bpy.context.scene
    shader = Shader("depth")
    distance = shader.node("CameraData", output=1)  # "View Z Depth"
    light = shader.node("Emission", {"Color": distance, "Strength": 1.0})
    bpy.context.view_layer.material_override = shader.finish(light)
    for thing in stage.outdoors:
        thing.hide_render = True
    scene.world = None
    scene.cycles.samples = 1
    scene.cycles.filter_width = 0.01
    scene.cycles.use_denoising = False
    scene.cycles.max_bounces = 0
    render(folder / "depth.exr", "OPEN_EXR", color_mode="RGB", color_depth="32")
    image = bpy.data.images.load(str(folder / "depth.exr"))
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(WIDTH * HEIGHT * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(HEIGHT, WIDTH, image.channels)[::-1, :, 0]  # Blender's rows go upwards.


def check(stage, depth, step=24):
    """Compares the depth with rays cast at the model, which share nothing with the renderer.

    Returns:
      The relative errors of the sampled pixels, the largest last, edges left out.
    """
    scene = bpy.context.scene
    for thing in stage.outdoors:
        thing.hide_viewport = True
    graph = bpy.context.evaluated_depsgraph_get()
    pose = scene.camera.matrix_world
    errors = []
    for row, column in itertools.product(range(8, HEIGHT, step), range(8, WIDTH, step)):
        patch = depth[row - 1 : row + 2, column - 1 : column + 2]
        if patch.min() == 0 or patch.max() > 1.02 * patch.min():
            continue
        x, y = (column + 0.5 - WIDTH / 2) / FOCAL_PX, (HEIGHT / 2 - row - 0.5) / FOCAL_PX
        ray = pose.to_3x3() @ Vector((x, y, -1))
        hit, point, *_ = scene.ray_cast(graph, pose.translation, ray)
        if hit:
            truth = -(pose.inverted() @ point).z
            errors.append(abs(depth[row, column] / truth - 1))
    return sorted(errors)


def main():
    """Renders the rooms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    examples = Path(__file__).resolve().parents[2] / "depth_unet" / "page" / "examples"
    parser.add_argument("--output", type=Path, default=examples, help="folder (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=24, help="per pixel (default: %(default)s)")
    parser.add_argument("--only", choices=ROOMS, metavar="NAME", help=f"one of {', '.join(ROOMS)}")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else ROOMS:
        stage, camera = ROOMS[name]()
        set_up(camera, options.samples, options.threads)
        with tempfile.TemporaryDirectory() as folder:
            photograph(options.output / f"{name}.jpg", Path(folder))
            depth = measure(stage, Path(folder))
        errors = check(stage, depth)
        known = depth[depth > 0]
        print(
            f"{name}: depth {known.min():.2f} to {known.max():.2f} m, {known.size / depth.size:.1%}"
            f" of the pixels; {len(errors)} rays agree within {errors[-1]:.2%}"
        )
        if errors[-1] > 0.01:
            sys.exit(f"{name}: the rendered depth is not that of the model")


if __name__ == "__main__":
    main()
