"""Things built from boxes, quads and cloth: books, papers, pictures, screens, shelves, curtains, cushions.

The `Decor` of a room is what they have in common: paint of shelves, radiance of screens, what fills shelves ("books",
"goods" or "mixed"), and the height of free-standing shelves.
"""

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from colorsys import hsv_to_rgb
from functools import partial
from random import Random as Rng

import numpy as np
import trimesh
from scipy.ndimage import convolve, maximum_filter

from train.render.layout import Item, Opening
from train.render.mesh import CELL, Mesh, Paint, Shape, turned

ATLAS = Paint(pattern="atlas", colour=(1, 1, 1), roughness=0.5)
PICTURES, PAPERS, COVERS, SCREENS = range(0, 32), range(32, 40), range(40, 56), range(56, 64)  # tiles of the atlas
WHITE, DARK = Paint((0.86, 0.85, 0.83), roughness=0.5), Paint((0.07, 0.07, 0.08), roughness=0.4)
METAL = Paint((0.66, 0.66, 0.65), metallic=0.9, roughness=0.35)
MIRROR = Paint((0.92, 0.93, 0.93), metallic=1.0, roughness=0.02)
SIDE = 512  # pixels of a texture
HERE = (0.0, 0.0, 0.0)

Decor = namedtuple("Decor", "board glow goods aisle")
Builder = Callable[[Shape, Rng, tuple, Decor], None]


def printed(rng: Rng, *kinds: range) -> Paint:
    """A picture of the atlas, of one of these kinds."""
    return ATLAS._replace(tile=rng.choice(rng.choice(kinds)))


def screen(rng: Rng, glow: float) -> Paint:
    """What a monitor shows."""
    return printed(rng, SCREENS)._replace(glow=glow, roughness=0.2)


def colour(rng: Rng, hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """sRGB of a hue in turns, jittered a little."""
    return hsv_to_rgb((hue + rng.uniform(-0.02, 0.02)) % 1, min(1, max(0, saturation)), min(1, max(0, value)))


def fabric(rng: Rng) -> Paint:
    """Cloth: plain, woven or patterned."""
    pattern = rng.choice(["fabric", "carpet", "print", "print"])
    dye = colour(rng, rng.random(), rng.uniform(0, 0.75) ** 1.8, rng.uniform(0.2, 0.92))
    name = f"{pattern}{rng.randrange(16 if pattern == 'print' else 4)}"
    return Paint(dye, name, rng.uniform(0.25, 0.9), 0.95, specular=0.05)


def wood(rng: Rng) -> Paint:
    """Boards and furniture wood."""
    dye = colour(rng, rng.uniform(0.05, 0.1), rng.uniform(0.2, 0.7), rng.uniform(0.25, 0.85))
    name, along = f"wood{rng.randrange(4)}", rng.random() < 0.5
    return Paint(dye, name, rng.uniform(0.6, 1.4), rng.uniform(0.25, 0.6), turned=along)


def books(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """A row of standing books."""
    width, depth, height = size
    x = -width / 2
    while x < width / 2 - 0.012:
        thick = min(rng.uniform(0.012, 0.05), width / 2 - x)
        sides = (thick * 0.96, depth * rng.uniform(0.75, 0.96), height * rng.uniform(0.65, 1))
        solid.box((x + thick / 2, depth * 0.04 * rng.random(), 0), sides, printed(rng, COVERS))
        x += thick


def stack(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """Lying books, magazines and papers."""
    width, depth, height = size
    z = 0.0
    while z < height - 0.003:
        thick = min(rng.choice([0.004, 0.015, 0.03, 0.04]), height - z)
        sides = (width * rng.uniform(0.7, 0.92), depth * rng.uniform(0.7, 0.92), thick)
        solid.box((0, 0, z), sides, printed(rng, COVERS, PAPERS, PICTURES), rng.gauss(0, 0.05))
        z += thick


def carton(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """A packet or box, printed or plain."""
    dye = colour(rng, rng.choice([0.08, 0.1, rng.random()]), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.9))
    solid.box(HERE, size, printed(rng, COVERS, COVERS, PICTURES) if rng.random() < 0.6 else Paint(dye, roughness=0.8))


def jars(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """Bottles, tins and jars side by side."""
    width, depth, height = size
    radius = min(rng.uniform(0.025, 0.05), depth / 2 - 0.005, width / 2)
    dyes = [colour(rng, rng.random(), rng.uniform(0, 0.7), rng.uniform(0.2, 0.95)) for _ in range(2)]
    count = max(1, int(width / (2.2 * radius)))
    for k in range(count):
        tall, neck = height * rng.uniform(0.5, 1), rng.choice([1, 0.45])
        place = ((k + 0.5) / count - 0.5) * width, rng.uniform(-0.8, 0.8) * (depth / 2 - radius), 0
        profile = np.array([(0, 0), (1, 0), (1, 0.7), (neck, 0.85), (0.4, 1), (0, 1)]) * (radius, tall)
        jar = trimesh.creation.revolve(profile, sections=12)
        solid.add(jar.vertices + place, jar.faces, np.zeros((len(jar.vertices), 2)), Paint(dyes[k % 2], roughness=0.3))


def picture(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """A framed picture or a bare poster."""
    body, size = rng.choice([DARK, WHITE, METAL, wood(rng)]), (size[0], rng.choice([0.004, 0.028, 0.028]), size[2])
    solid.assemble("panel", size, body=body, face=printed(rng, PICTURES, PICTURES, PICTURES, COVERS, PAPERS))


FILLERS = {"books": books, "stack": stack, "carton": carton, "jars": jars, "frame": picture}


def _fill(solid: Shape, rng: Rng, size: tuple, z: float, kinds: list[str], decor: Decor) -> None:
    """Put things side by side on a board at height z: width, depth, and range of their height."""
    width, depth, heights = size
    x = 0.01 - width / 2
    while x < width / 2 - 0.07:
        wide = min(rng.uniform(0.07, 0.45), width / 2 - x)
        if rng.random() < 0.88:
            sides = (wide, depth * rng.uniform(0.6, 0.9), rng.uniform(*heights))
            solid.origin = (x + wide / 2, -0.04 * depth, z)
            FILLERS[rng.choice(kinds)](solid, rng, sides, decor)
        x += wide + rng.choice([0.003, 0.003, 0.003, 0.08])
    solid.origin = HERE


def rack(solid: Shape, rng: Rng, size: tuple, decor: Decor, back: bool = True) -> None:
    """A set of shelves with its contents; without back it is as high as all others of the room."""
    (width, depth, height), board, paint = size, 0.022, decor.board
    height = height if back else decor.aisle
    for side in (-1, 1):
        solid.box((side * (width - board) / 2, 0, 0), (board, depth, height), paint)
    if back:
        solid.box((0, depth / 2 - 0.005, 0), (width - 2 * board, 0.01, height), paint)
    count = max(2, round(height / rng.uniform(0.28, 0.42)))
    step = (height - 0.06 - board) / count
    kinds = {"books": ["books"] * 6 + ["stack", "frame"], "goods": ["carton", "jars"], "mixed": [*FILLERS]}[decor.goods]
    for level in range(count + 1):
        z, free = 0.06 + step * level, step - board
        solid.box((0, -0.005 * back, z), (width - 2 * board, depth - 0.01 * back, board), paint)
        if level < count:
            inner = width - 2 * board - 0.02, depth, (free * 0.5, free * 0.95)
            _fill(solid, rng, inner, z + board, kinds, decor)


def wall_shelf(solid: Shape, rng: Rng, size: tuple, decor: Decor) -> None:
    """A board with things on it."""
    width, depth, height = size
    solid.box(HERE, (width, depth, 0.025), decor.board)
    _fill(solid, rng, (width - 0.04, depth * 0.9, (0.1, height - 0.03)), 0.025, [*FILLERS], decor)


def panel(solid: Shape, rng: Rng, size: tuple, _: Decor, faces: Sequence[Paint]) -> None:
    """A board, a mirror or a switch, in a thin rim."""
    solid.assemble("panel", size, body=METAL, face=rng.choice(faces))


def monitor(solid: Shape, rng: Rng, size: tuple, decor: Decor) -> None:
    """A monitor on its foot."""
    solid.assemble("monitor", size, body=rng.choice([DARK, DARK, WHITE, METAL]), face=screen(rng, decor.glow))


def laptop(solid: Shape, rng: Rng, size: tuple, decor: Decor) -> None:
    """An open laptop; its screen leans back."""
    body, lean = rng.choice([DARK, METAL, WHITE]), rng.uniform(0.1, 0.5)
    solid.assemble("laptop", size, body=body, keys=DARK, face=screen(rng, decor.glow))
    for points, *_ in solid.parts:
        points[:, 1] += lean * np.maximum(points[:, 2] - 0.1 * size[2], 0)


def keyboard(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """A keyboard with a mouse."""
    solid.assemble("keyboard", size, body=rng.choice([DARK, DARK, WHITE]), face=Paint((0.3, 0.3, 0.31)))


def rug(solid: Shape, rng: Rng, size: tuple, _: Decor) -> None:
    """A thin carpet."""
    solid.box(HERE, (*size[:2], 0.01), fabric(rng))


def noise(values: np.random.Generator, power: float, stretch: tuple = (1, 1), side: int = SIDE) -> np.ndarray:
    """Noise that repeats at its borders, with spectrum 1 / f^power, mean 0 and deviation 1; `stretch` along x and y."""
    across, along = np.fft.rfftfreq(side) * side, np.fft.fftfreq(side) * side
    radius = np.hypot(across * stretch[0], along[:, None] * stretch[1])
    radius[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(values.standard_normal((side, side))) * radius**-power, (side, side))
    return field / field.std()


def _sheet(rng: Rng, n: int) -> tuple[np.ndarray, ...]:
    """Coordinates from -1 to 1 of n x n points along y and x, and smooth noise for folds."""
    v, u = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    return v, u, noise(np.random.default_rng(rng.randrange(2**32)), 1.5, side=n)


def cushion(solid: Shape, rng: Rng, size: tuple, _: Decor, least: float, most: float, folds: float) -> None:
    """A cushion, a pillow or crumpled clothes, leaning back by an angle between `least` and `most` radians."""
    paint, lean = fabric(rng), rng.uniform(least, most)
    (width, depth, thick), (v, u, waves) = size, _sheet(rng, 14)
    bulge = thick / 2 * np.sqrt(np.clip((1 - u**4) * (1 - v**4), 0, 1)) * (1 + folds * waves)
    x, y, c, s = u * width / 2 * (1 - 0.06 * v**2), v * depth / 2 * (1 - 0.06 * u**2), math.cos(lean), math.sin(lean)
    for side in (1, -1):
        sheet = np.stack([x, y * c - side * bulge * s, y * s + side * bulge * c], -1)
        solid.grid(sheet[:, ::side], paint)


def drape(rng: Rng, carrier: Item, at: tuple, size: tuple, yaw: float, thick: float, hang: float) -> Mesh | None:
    """A cloth that lies on the highest surfaces of a thing and hangs over its edges.

    Args:
        rng: decides the folds.
        carrier: the thing.
        at: centre of the cloth in the thing's coordinates.
        size: width and depth of the cloth.
        yaw: its turn.
        thick: of the cloth with its folds.
        hang: how far it hangs below the surface at its centre.
    """
    n, cell, top = 26, CELL * carrier.scale, carrier.mesh.survey.top * carrier.scale
    reach = math.ceil(max(size) / n / cell / 2)  # between two points of the cloth nothing may come through it
    top = np.pad(maximum_filter(top, 2 * reach + 1, mode="constant"), 1)
    v, u, waves = _sheet(rng, n)
    flat = np.stack([u * size[0] / 2 + 0.02 * waves, v * size[1] / 2 + 0.02 * waves.T, 0 * u], -1)
    xy = turned(flat, yaw)[..., :2] + at[:2]
    column, row = np.moveaxis(np.floor(xy / cell + np.divide(top.shape[::-1], 2)).astype(int), -1, 0)
    z = top[np.clip(row, 0, len(top) - 1), np.clip(column, 0, top.shape[1] - 1)]
    middle = z[n // 2, n // 2]
    if middle < 0.1:
        return None
    z = np.maximum(z, max(0.01, middle - hang))
    for _ in range(2):
        z = np.maximum(z, convolve(z, [[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], mode="nearest"))
    z = z + 0.004 + thick * (0.4 + 0.25 * np.clip(np.abs(waves), 0, 2))
    cloth = Shape()
    cloth.grid(np.concatenate([xy, z[..., None]], -1), fabric(rng))
    return cloth.mesh()


def window(solid: Shape, rng: Rng, hole: Opening, trim: Paint, dressing: str, cloth: Paint, pane: Paint) -> None:
    """A window with its frame, sill and curtains or blind; the wall's inner face is y = 0, the pane lies behind it.

    Args:
        solid: filled.
        rng: decides the bars and the folds.
        hole: its place above the floor, width, height and wall.
        trim, cloth, pane: paints.
        dressing: "curtains", "blind" or "none".
    """
    x, thick, low, high, bar = hole.width / 2, hole.thick, hole.low, hole.high, rng.uniform(0.035, 0.07)
    solid.front(-x, x, low, high, thick, pane)
    middles = rng.choice([(), (0,), (0,), (-1 / 3, 1 / 3)])
    for u in (bar / 2 - x, *(x * k for k in middles), x - bar / 2):
        solid.box((u, thick - 0.025, low), (bar, 0.04, high - low), trim)
    for z in (low, high - bar, *[(low + high) / 2][: rng.random() < 0.4]):
        solid.box((0, thick - 0.025, z), (hole.width - 2 * bar, 0.036, bar), trim)
    if low > 0.4:
        solid.box((0, -0.02, low - 0.03), (hole.width + 0.1, 0.1, 0.03), trim)
    if dressing == "curtains":
        bottom, u = 0.03 if low < 0.5 or rng.random() < 0.6 else low - 0.12, np.linspace(0, 1, 40)
        for side in (-1, 1):
            wide, folds = hole.width * rng.uniform(0.15, 0.5), rng.uniform(0.07, 0.13)
            fold = rng.uniform(0.015, 0.035) * np.sin(2 * math.pi * u * wide / folds + rng.uniform(0, 6))
            across, levels = side * (x + 0.12 - wide * u), ((bottom, 1), (1.2, 0.9), (high + 0.1, 0.7))
            sheet = np.stack([np.stack([across, -0.09 + fold * k, np.full(40, z)], 1) for z, k in levels])
            solid.grid(sheet[:, ::-side], cloth)
        solid.box((0, -0.0875, high + 0.1), (hole.width + 0.5, 0.025, 0.025), METAL)
    elif dressing == "blind":
        slat, tilt = rng.uniform(0.03, 0.06), rng.uniform(0.1, 1.2)
        y, z = slat / 2 * math.cos(tilt), slat / 2 * math.sin(tilt)
        for h in np.arange(low + (high - low) * rng.uniform(0.0, 0.85), high - 0.02, slat):
            near = [(k * (x - 0.01), thick - 0.075 - y, h - z) for k in (-1, 1)]
            solid.quad([*near, *((-u, v + 2 * y, w + 2 * z) for u, v, w in near)], WHITE)


def door(solid: Shape, rng: Rng, hole: Opening, trim: Paint, rim: float) -> None:
    """The trim around a doorway, `rim` wide, with a closed door in it if it has one."""
    width, height, thick, side = hole.width, hole.high, hole.thick, rng.choice([-1, 1])
    for k in (-1, 1):
        solid.box((k * (width + rim) / 2, -0.009, 0), (rim, 0.018, height), trim)
    solid.box((0, -0.009, height), (width + 2 * rim, 0.018, rim), trim)
    if hole.kind == "door":
        solid.box((0, thick + 0.02, 0), (width, 0.04, height), rng.choice([WHITE, wood(rng), wood(rng), DARK]))
        solid.box((side * (width / 2 - 0.09), thick - 0.047, 1.0), (0.12, 0.047, 0.024), METAL)


BUILDERS: dict[str, Builder] = FILLERS | {
    "rack": rack, "aisle rack": partial(rack, back=False), "wall shelf": wall_shelf, "rug": rug, "mat": rug,
    "picture": picture, "monitor": monitor, "laptop": laptop, "keyboard": keyboard, "papers": stack,
    "cushion": partial(cushion, least=1.0, most=1.35, folds=0.1),
    "pillow": partial(cushion, least=0.0, most=0.6, folds=0.1),
    "clothes": partial(cushion, least=0.0, most=0.0, folds=0.35),
    "board": partial(panel, faces=[WHITE, WHITE, DARK]), "mirror": partial(panel, faces=[MIRROR, WHITE]),
    "switch": partial(panel, faces=[WHITE]),
}  # fmt: skip
