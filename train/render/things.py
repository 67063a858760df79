"""Things built from boxes, quads and cloth: books, papers, pictures, screens, shelves, lamps, curtains, cushions."""

import math
import random
from collections.abc import Callable
from colorsys import hsv_to_rgb

import numpy as np
from scipy.ndimage import convolve, maximum_filter

from train.render.layout import Opening
from train.render.mesh import Mesh, Paint, Shape, shaped, turned

ATLAS = Paint(pattern="atlas", mapped=True, colour=(1, 1, 1), roughness=0.5)
PICTURES, PAPERS, COVERS, SCREENS = range(0, 32), range(32, 40), range(40, 56), range(56, 64)  # tiles of the atlas
WHITE, DARK = Paint((0.86, 0.85, 0.83), roughness=0.5), Paint((0.07, 0.07, 0.08), roughness=0.4)
METAL = Paint((0.66, 0.66, 0.65), metallic=0.9, roughness=0.35)
SIDE = 512  # pixels of a texture
MIRROR = Paint((0.92, 0.93, 0.93), metallic=1.0, roughness=0.02)

Rng = random.Random


def tile(number: int) -> tuple[float, float, float, float]:
    """Texture coordinates of one of the 64 tiles of the atlas."""
    u, v, rim = number % 8 / 8, 1 - (number // 8 + 1) / 8, 0.003
    return u + rim, v + rim, u + 1 / 8 - rim, v + 1 / 8 - rim


def any_tile(rng: Rng, *kinds: range) -> Callable[[], tuple[float, ...]]:
    """A function that returns a tile of one of these kinds."""
    return lambda: tile(rng.choice(rng.choice(kinds)))


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
    turned_ = rng.random() < 0.5
    return Paint(dye, f"wood{rng.randrange(4)}", rng.uniform(0.6, 1.4), rng.uniform(0.25, 0.6), turned=turned_)


def books(solid: Shape, rng: Rng, size: tuple, at: tuple = (0, 0, 0)) -> None:
    """A row of standing books; now and then the last one leans."""
    width, depth, height = size
    x = -width / 2
    while x < width / 2 - 0.012:
        thick = min(rng.uniform(0.012, 0.05), width / 2 - x)
        place = np.array([x + thick / 2, depth * 0.04 * rng.random(), 0]) + at
        sides = (thick * 0.96, depth * rng.uniform(0.75, 0.96), height * rng.uniform(0.65, 1))
        solid.box(place, sides, ATLAS, tile=any_tile(rng, COVERS))
        x += thick


def stack(solid: Shape, rng: Rng, size: tuple, at: tuple = (0, 0, 0)) -> None:
    """Lying books, magazines and papers."""
    width, depth, height = size
    z = 0.0
    while z < height - 0.003:
        thick = min(rng.choice([0.004, 0.015, 0.03, 0.04]), height - z)
        sides = (width * rng.uniform(0.7, 0.92), depth * rng.uniform(0.7, 0.92), thick)
        shown = tile(rng.choice(rng.choice([COVERS, PAPERS, PICTURES])))
        solid.box((at[0], at[1], at[2] + z), sides, ATLAS, rng.gauss(0, 0.05), lambda shown=shown: shown)
        z += thick


def carton(solid: Shape, rng: Rng, size: tuple, at: tuple = (0, 0, 0)) -> None:
    """A packet or box, printed or plain."""
    dye = colour(rng, rng.choice([0.08, 0.1, rng.random()]), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.9))
    paint = ATLAS if rng.random() < 0.6 else Paint(dye, roughness=0.8)
    solid.box(at, size, paint, tile=any_tile(rng, COVERS, COVERS, PICTURES))


def jars(solid: Shape, rng: Rng, size: tuple, at: tuple = (0, 0, 0)) -> None:
    """Bottles, tins and jars side by side."""
    width, depth, height = size
    radius = min(rng.uniform(0.025, 0.05), depth / 2 - 0.005, width / 2)
    dyes = [colour(rng, rng.random(), rng.uniform(0, 0.7), rng.uniform(0.2, 0.95)) for _ in range(2)]
    count = max(1, int(width / (2.2 * radius)))
    for k in range(count):
        x, tall, neck = ((k + 0.5) / count - 0.5) * width, height * rng.uniform(0.5, 1), rng.choice([1, 0.45])
        place = np.array([x, rng.uniform(-1, 1) * (depth / 2 - radius) * 0.8, 0]) + at
        profile = np.array([(0, 0), (1, 0), (1, 0.7), (neck, 0.85), (0.4, 1), (0, 1)]) * (radius, tall)
        solid.grid(_lathe(profile) + place, Paint(dyes[k % 2], roughness=0.3))


def _lathe(profile, steps: int = 12) -> np.ndarray:
    """Turn a profile of (radius, height) about the vertical axis."""
    angles = np.linspace(0, 2 * math.pi, steps + 1)
    return np.array([[(r * math.cos(a), r * math.sin(a), z) for a in angles] for r, z in profile])


def standing_frame(solid: Shape, rng: Rng, size: tuple, at: tuple = (0, 0, 0)) -> None:
    """A small framed photo that stands."""
    width, _, height = size
    solid.box(at, (width, 0.02, height), rng.choice([DARK, METAL, WHITE]))
    (x, y, z), half, rim = at, 0.42 * width, 0.08 * height
    solid.front((x - half, x + half), (z + rim, z + height - rim), y - 0.0112, ATLAS, tile(rng.choice(PICTURES)))


FILLERS = {"books": books, "stack": stack, "carton": carton, "jars": jars, "frame": standing_frame}


def small(rng: Rng) -> tuple[str, Mesh]:
    """A small thing for a table or shelf, and its name."""
    name, side = rng.choice(["books", "stack", "stack", "papers", "carton", "jars", "frame"]), rng.uniform(0.06, 0.3)
    size = {
        "books": (side + 0.1, 0.17, 0.24), "stack": (0.22, 0.28, rng.uniform(0.03, 0.16)),
        "papers": (0.21, 0.29, rng.choice([0.004, 0.008, 0.02])),
        "carton": (side, side * rng.uniform(0.5, 1), 0.7 * side), "jars": (side, 0.09, rng.uniform(0.08, 0.28)),
        "frame": (0.16, 0.06, 0.2),
    }[name]  # fmt: skip
    return name, shaped(FILLERS["stack" if name == "papers" else name])(rng, size)


@shaped
def rack(solid: Shape, rng: Rng, size: tuple, style: str, paint: Paint, back: bool = True) -> None:
    """A set of shelves with its contents: style "books", "goods" or "mixed"."""
    (width, depth, height), board = size, 0.022
    for side in (-1, 1):
        solid.box((side * (width - board) / 2, 0, 0), (board, depth, height), paint)
    if back:
        solid.box((0, depth / 2 - 0.005, 0), (width - 2 * board, 0.01, height), paint)
    count = max(2, round(height / rng.uniform(0.28, 0.42)))
    step = (height - 0.06 - board) / count
    kinds = {"books": ["books"] * 6 + ["stack", "frame"], "goods": ["carton", "jars", "carton"]}.get(style, [*FILLERS])
    for level in range(count + 1):
        z = 0.06 + step * level
        solid.box((0, -0.005 * back, z), (width - 2 * board, depth - 0.01 * back, board), paint)
        x = -width / 2 + board + 0.01
        while level < count and x < width / 2 - board - 0.07:
            wide = min(rng.uniform(0.07, 0.45), width / 2 - board - x)
            if rng.random() < 0.88:
                sides = (wide, depth * rng.uniform(0.6, 0.9), (step - board) * rng.uniform(0.5, 0.95))
                FILLERS[rng.choice(kinds)](solid, rng, sides, (x + wide / 2, -depth * 0.04, z + board))
            x += wide + (0.1 if rng.random() < 0.1 else 0.003)


@shaped
def wall_shelf(solid: Shape, rng: Rng, width: float, depth: float, paint: Paint) -> None:
    """A board with things on it."""
    solid.box((0, 0, 0), (width, depth, 0.025), paint)
    x = -width / 2 + 0.04
    while x < width / 2 - 0.16:
        wide = min(rng.uniform(0.1, 0.3), width / 2 - 0.02 - x)
        sides = (wide, depth * 0.8, rng.uniform(0.1, 0.26))
        FILLERS[rng.choice([*FILLERS])](solid, rng, sides, (x + wide / 2, 0, 0.025))
        x += wide + rng.uniform(0.01, 0.18)


@shaped
def picture(solid: Shape, rng: Rng, width: float, height: float) -> None:
    """A framed picture or a bare poster; its back lies at y = 0."""
    shown = tile(rng.choice(rng.choice([PICTURES, PICTURES, PICTURES, COVERS, PAPERS])))
    rim, thick = (rng.uniform(0.012, 0.05), 0.028) if rng.random() < 0.65 else (0.0, 0.004)
    frame = rng.choice([DARK, WHITE, METAL, wood(rng)]) if rim else WHITE
    solid.box((0, -thick / 2, 0), (width, thick, height), frame)
    solid.front((rim - width / 2, width / 2 - rim), (rim, height - rim), -thick - 0.0012, ATLAS, shown)


@shaped
def panel(solid: Shape, width: float, height: float, rim: Paint, face: Paint) -> None:
    """A board or mirror in a thin rim."""
    solid.box((0, -0.0125, 0), (width, 0.025, height), rim)
    solid.front((0.03 - width / 2, width / 2 - 0.03), (0.03, height - 0.03), -0.0262, face)


@shaped
def monitor(solid: Shape, rng: Rng, glow: float) -> None:
    """A monitor on its foot; the screen shows a tile of the atlas."""
    width = rng.uniform(0.42, 0.66)
    height, body = width * rng.choice([0.57, 0.6, 0.66, 0.78]), rng.choice([DARK, DARK, WHITE, METAL])
    solid.box((0, 0.02, 0), (width * 0.4, 0.18, 0.015), body)
    solid.box((0, 0.05, 0.015), (0.06, 0.03, 0.2), body)
    solid.box((0, 0, 0.09), (width, 0.035, height), body)
    x, screen = width / 2 - 0.015, ATLAS._replace(glow=glow, roughness=0.2)
    solid.front((-x, x), (0.11, 0.075 + height), -0.0187, screen, tile(rng.choice(SCREENS)))


@shaped
def laptop(solid: Shape, rng: Rng, glow: float) -> None:
    """An open laptop."""
    x, lean, body = rng.uniform(0.15, 0.19), rng.uniform(0.1, 0.5), rng.choice([DARK, METAL, WHITE])
    deep, c, s = x * 1.32, math.cos(lean), math.sin(lean)
    solid.box((0, 0, 0), (2 * x, deep, 0.016), body)
    keys = [(-0.88, -0.1), (0.88, -0.1), (0.88, 0.42), (-0.88, 0.42)]
    solid.quad([(u * x, v * deep, 0.0165) for u, v in keys], DARK)

    def lid(rim: float, low: float, high: float, off: float) -> list[tuple[float, float, float]]:
        corners = [(-rim, low), (rim, low), (rim, high), (-rim, high)]
        return [(u * x, deep / 2 - 0.01 + v * deep * s - off * c, 0.018 + v * deep * c + off * s) for u, v in corners]

    for off in (0.0, -0.006):
        solid.quad(lid(1, 0, 1, off), body)
    solid.quad(lid(0.95, 0.05, 0.96, 0.004), ATLAS._replace(glow=glow, roughness=0.2), tile(rng.choice(SCREENS)))


@shaped
def keyboard(solid: Shape, rng: Rng) -> None:
    """A keyboard with a mouse."""
    body = rng.choice([DARK, DARK, WHITE])
    solid.box((-0.06, 0, 0), (0.42, 0.14, 0.02), body)
    solid.box((-0.06, 0.01, 0.02), (0.39, 0.1, 0.004), Paint((0.3, 0.3, 0.31)))
    solid.box((0.23, 0, 0), (0.06, 0.1, 0.03), body)


@shaped
def rug(solid: Shape, rng: Rng, width: float, depth: float) -> None:
    """A thin carpet, plain or with a border."""
    solid.box((0, 0, 0), (width, depth, 0.01), fabric(rng))
    if rng.random() < 0.5:
        solid.box((0, 0, 0.01), (width - 0.24, depth - 0.24, 0.002), fabric(rng))


def noise(values: np.random.Generator, power: float, stretch: tuple = (1, 1), side: int = SIDE) -> np.ndarray:
    """Noise that repeats at its borders, with spectrum 1 / f^power, mean 0 and deviation 1; `stretch` along x and y."""
    f = np.fft.fftfreq(side) * side
    radius = np.hypot(f[None] * stretch[0], f[:, None] * stretch[1])
    radius[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(values.standard_normal((side, side))) * radius**-power).real
    return field / field.std()


def waves(rng: Rng, side: int, roughness: float = 1.6) -> np.ndarray:
    """Smooth noise for folds, (side, side)."""
    return noise(np.random.default_rng(rng.randrange(2**32)), roughness, side=side)


@shaped
def heap(solid: Shape, rng: Rng, radius: float, height: float, paint: Paint) -> None:
    """Clothes dropped on a floor or a seat."""
    n = 18
    v, u = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    bulge = np.clip(1.05 - np.hypot(u, v) ** 2, 0, 1) * (1 + 0.35 * waves(rng, n, 1.3))
    wobble = 1 + 0.1 * waves(rng, n)
    z = np.maximum(height * 0.8 * bulge, 0.004)
    z[[0, -1]], z[:, [0, -1]] = 0, 0
    x, y = (np.clip(side * wobble, -1, 1) * radius for side in (u, v))
    solid.grid(np.stack([x, y, np.minimum(z, height)], -1), paint)


@shaped
def cushion(solid: Shape, rng: Rng, size: tuple[float, float, float], lean: float, paint: Paint) -> None:
    """A pillow, leaning back by an angle in radians."""
    (width, depth, thick), n = size, 9
    v, u = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    bulge = thick / 2 * np.sqrt(np.clip((1 - u**4) * (1 - v**4), 0, 1)) * (1 + 0.1 * waves(rng, n))
    x, y, c, s = u * width / 2 * (1 - 0.06 * v**2), v * depth / 2 * (1 - 0.06 * u**2), math.cos(lean), math.sin(lean)
    for side in (1, -1):
        sheet = np.stack([x, y * c - side * bulge * s, y * s + side * bulge * c], -1)
        solid.grid(sheet[:, ::side], paint)


def drape(rng: Rng, top: np.ndarray, cell: float, at: tuple, size: tuple, yaw: float, thick: float, hang: float,
          paint: Paint) -> Mesh | None:  # fmt: skip
    """A cloth that lies on the highest surfaces of a thing and hangs over its edges.

    Args:
        rng: decides the folds.
        top: (rows, columns) heights of the thing, centred, in metres; `cell` metres apart.
        at: centre of the cloth in the thing's coordinates.
        size: width and depth of the cloth.
        yaw: its turn.
        thick: of the cloth with its folds.
        hang: how far it hangs below the surface at its centre.
        paint: of the cloth.
    """
    n = 26
    reach = math.ceil(max(size) / n / cell / 2)  # between two points of the cloth nothing may come through it
    top = maximum_filter(top, 2 * reach + 1, mode="constant")
    rows, columns = top.shape
    v, u = np.mgrid[-0.5 : 0.5 : n * 1j, -0.5 : 0.5 : n * 1j]
    flat = np.stack([u * size[0] + 0.02 * waves(rng, n), v * size[1] + 0.02 * waves(rng, n), 0 * u], -1)
    xy = turned(flat, yaw)[..., :2] + at[:2]
    i, j = (np.floor(xy[..., 1] / cell + rows / 2).astype(int), np.floor(xy[..., 0] / cell + columns / 2).astype(int))
    inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    z = np.where(inside, top[np.clip(i, 0, rows - 1), np.clip(j, 0, columns - 1)], 0)
    if not inside[n // 2, n // 2] or z[n // 2, n // 2] < 0.1:
        return None
    z = np.maximum(z, max(0.01, z[n // 2, n // 2] - hang))
    for _ in range(2):
        z = np.maximum(z, convolve(z, [[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], mode="nearest"))
    z = z + 0.004 + thick * (0.4 + 0.25 * np.clip(np.abs(waves(rng, n)), 0, 2))
    solid = Shape()
    solid.grid(np.concatenate([xy, z[..., None]], -1), paint)
    return solid.mesh()


@shaped
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
    solid.front((-x, x), (low, high), thick, pane)
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
            x_, levels = side * (x + 0.12 - wide * u), ((bottom, 1), (1.2, 0.9), (high + 0.1, 0.7))
            sheet = np.stack([np.stack([x_, -0.09 + fold * k, np.full(40, z)], 1) for z, k in levels])
            solid.grid(sheet[:, ::-side], cloth)
        solid.box((0, -0.0875, high + 0.1), (hole.width + 0.5, 0.025, 0.025), METAL)
    elif dressing == "blind":
        pitch, tilt = rng.uniform(0.03, 0.06), rng.uniform(0.1, 1.2)
        x, y, z = x - 0.01, pitch / 2 * math.cos(tilt), pitch / 2 * math.sin(tilt)
        for h in np.arange(low + (high - low) * rng.uniform(0.0, 0.85), high - 0.02, pitch):
            near, far, down, up = thick - 0.075 - y, thick - 0.075 + y, h - z, h + z
            solid.quad([(-x, near, down), (x, near, down), (x, far, up), (-x, far, up)], WHITE)


@shaped
def door(
    solid: Shape, rng: Rng, width: float, height: float, thick: float, trim: Paint, rim: float, leaf: bool
) -> None:
    """The trim around a doorway, with a closed door in it if it has a leaf."""
    side = rng.choice([-1, 1])
    for k in (-1, 1):
        solid.box((k * (width + rim) / 2, -0.009, 0), (rim, 0.018, height), trim)
    solid.box((0, -0.009, height), (width + 2 * rim, 0.018, rim), trim)
    if leaf:
        paint = rng.choice([WHITE, wood(rng), wood(rng), DARK])
        solid.box((0, thick + 0.02, 0), (width, 0.04, height), paint)
        for low, high in rng.choice([[], [(0.2, 0.9), (1.1, 1.85)], [(0.2, 1.85)]]):
            solid.box((0, thick - 0.004, low), (width - 0.24, 0.008, high - low), paint)
        solid.box((side * (width / 2 - 0.09), thick - 0.047, 1.0), (0.12, 0.02, 0.024), METAL)
        solid.box((side * (width / 2 - 0.06), thick - 0.018, 0.9), (0.04, 0.036, 0.2), METAL)


@shaped
def ceiling_panel(solid: Shape, width: float, depth: float, glow: Paint) -> None:
    """A flat luminaire, its top at z = 0.03."""
    x, y = width * 0.47, depth * 0.47
    solid.box((0, 0, 0.001), (width, depth, 0.029), WHITE)
    solid.quad([(-x, y, 0), (x, y, 0), (x, -y, 0), (-x, -y, 0)], glow)


@shaped
def ceiling_bowl(solid: Shape, glow: Paint) -> None:
    """A round ceiling lamp, its top at z = 0.09."""
    solid.grid(_lathe([(0.001, 0), (0.1, 0.012), (0.16, 0.04), (0.17, 0.06)], 20)[:, ::-1], glow)
    solid.grid(_lathe([(0.17, 0.06), (0.18, 0.06), (0.18, 0.09)], 20), WHITE)


@shaped
def switch(solid: Shape) -> None:
    """A light switch or socket."""
    solid.box((0, -0.004, 0), (0.08, 0.008, 0.08), WHITE)
    solid.box((0, -0.01, 0.02), (0.03, 0.004, 0.04), WHITE)
