"""Textures made by numpy: wood, tiles, carpet, plaster, fabric; pictures, papers, screens; dyes of furniture."""

import colorsys
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from depth_unet.images import read_photo
from train.render.mesh import Paint
from train.render.things import COVERS, PAPERS, PICTURES, SCREENS, SIDE, Rng, colour, noise

Values = np.random.Generator
Noise = Callable[..., np.ndarray]  # (power, stretch) -> (SIDE, SIDE)
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
TILE = 160  # pixels of a tile of the atlas
CLOTH = re.compile(r"(?i)sofa|couch|armchair|bed\b|futon|puff|curtain|chair|towel|cushion|ottoman")


def _grain(n: Noise) -> np.ndarray:
    return n(1.1, (1, 12)) + 0.5 * n(0.5, (1, 25)) + 0.8 * np.sin(8 * n(2.2, (1, 5)))


def _planks(n: Noise, k: int, values: Values) -> np.ndarray:
    rows = (6, 8, 5, 11)[k]
    row = (Y * rows).astype(int)
    length = X * (2 + k % 2) + values.random(rows)[row]
    tone = values.normal(0, 0.05 + 0.02 * (k % 3), (rows, 5))[row, length.astype(int)] + 0.05 * _grain(n)
    return tone - 0.3 * ((Y * rows % 1 < 0.02) | (length % 1 < 0.006))


TONES: dict[str, Callable[[Noise, int, Values], np.ndarray]] = {  # of (noise, variant, random values)
    "plaster": lambda n, k, _: 0.012 * n(1.6) + 0.014 * n(0.3) + 0.006 * n(2.2),
    "concrete": lambda n, k, _: 0.03 * n(1.3) + 0.03 * n(0.2),
    "carpet": lambda n, k, _: (0.05 + 0.015 * k) * n(0.1 + 0.1 * k) + 0.03 * n(1.5),
    "fabric": lambda n, k, _: 0.06 * np.sin((250 + 157 * k) * X) * np.sin((250 + 157 * k) * Y) + 0.05 * n(0.6),
    "wood": lambda n, k, _: 0.055 * _grain(n),
    "planks": _planks,
    "marble": lambda n, k, _: -0.25 * np.exp(-9 * np.abs(n(1.9))) + 0.03 * n(1.5),
    "terrazzo": lambda n, k, _: 0.12 * np.sign(n(0.9)) * (np.abs(n(0.8)) > 1.3) + 0.02 * n(0.2),
    "acoustic": lambda n, k, _: -0.18 * ((X * 2 % 1 < 0.02) | (Y * 2 % 1 < 0.02) | (n(0.5) > 1.8)) + 0.015 * n(0.2),
    "brick": lambda n, k, values: _bricks(values, (4, 12), True, 0.013, 0.06, 0.12) + 0.04 * n(0.5),
    "tile": lambda n, k, values: 0.012 * n(1) + 0.03 * n(1.7) * (k % 2) + _bricks(
        values, ((2, 2), (4, 4), (2, 4), (8, 8))[k], k == 2, 0.009, 0.03, 0.12 if k % 3 == 0 else -0.28),
}  # fmt: skip


@lru_cache(maxsize=128)
def texture(name: str) -> np.ndarray:
    """A texture that repeats at its borders, (512, 512, 3) uint8, of mean 0.8 so that a colour can be multiplied.

    Args:
        name: one of `TONES` (0 to 3) or print (0 to 15), with the number appended.
    """
    kind, number = re.fullmatch(r"([a-z]+)(\d+)", name).groups()
    values = np.random.default_rng([int(number), *kind.encode()])
    if kind == "print":
        return _as_bytes(_print(values, int(number)))
    if kind not in TONES:
        raise ValueError(f"there is no texture {name!r}")
    tone = TONES[kind](partial(noise, values), int(number), values)
    spread = (0.8, 1.0, 1.15) if kind in ("wood", "planks") else (1, 1, 1)
    return _as_bytes(0.8 + (tone - tone.mean())[..., None] * spread)


def _bricks(values: Values, shape: tuple, bond: bool, joint: float, spread: float, gap: float) -> np.ndarray:
    """Tones of (columns, rows) of bricks or tiles; `gap` in the joints."""
    columns, rows = shape
    u, v = X * columns + 0.5 * bond * ((Y * rows).astype(int) % 2), Y * rows
    tone = spread * values.standard_normal((rows, columns))[v.astype(int), u.astype(int) % columns]
    return np.where((u % 1 < joint * columns) | (v % 1 < joint * rows), gap, tone)


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _print(values: Values, k: int) -> np.ndarray:
    """Patterned cloth or wallpaper: stripes, checks, or a mirrored ornament."""
    palette = values.random((6, 3)) * 0.35 + values.random((6, 1)) * 0.4 + 0.25
    edges = np.cumsum(values.random(6) + 0.1)
    picture = palette[np.searchsorted(edges / edges[-1], X).clip(0, 5)]
    if k % 4 == 1:
        picture = (picture + picture.transpose(1, 0, 2)) / 2
    elif k % 4 > 1:
        field = noise(values, 1.6, side=SIDE // 4)
        field = np.tile(np.block([[field, field[:, ::-1]], [field[::-1], field[::-1, ::-1]]]), (2, 2))
        picture = palette[np.clip((field * 1.3 + 3).astype(int), 0, 5)]
    return 0.8 + (picture - picture.mean()) * values.uniform(0.5, 1.1) + 0.02 * noise(values, 0.2)[..., None]


def _landscape(values: Values, side: int) -> np.ndarray:
    """Sky above hills."""

    def tone(hues: list[float], most: float, low: float) -> np.ndarray:
        return np.array(colorsys.hsv_to_rgb(values.choice(hues), values.uniform(0.05, most), values.uniform(low, 0.9)))

    y, horizon = np.linspace(0, 1, side)[:, None, None], values.uniform(0.3, 0.6)
    canvas = (tone([0.55, 0.6, 0.6, 0.08], 0.4, 0.8) * (0.6 + 0.5 * y)).repeat(side, 1)
    canvas += 0.05 * noise(values, 1.5, (1, 2), side)[..., None]
    for _ in range(int(values.integers(2, 5))):
        line = horizon + 0.06 * np.interp(np.arange(side), np.linspace(0, side, 9), values.standard_normal(9))
        ground = tone([0.3, 0.25, 0.1, 0.6], 0.6, 0.1) * (1 + 0.25 * noise(values, 0.8, (1, 1), side)[..., None])
        canvas = np.where(y > line[:, None], ground, canvas)
        horizon += values.uniform(0.1, 0.25)
    return canvas


def _art(values: Values) -> np.ndarray:
    """A procedural picture: a landscape, or colour fields."""
    if values.random() < 0.6:
        return _landscape(values, TILE)
    power, palette = values.uniform(1, 2.4), values.random((3, 3)) - 0.4
    return 0.5 + 0.2 * sum(noise(values, power, side=TILE)[..., None] * tone for tone in palette)


def _lines(rng: Rng, canvas: np.ndarray, ink: float, left: int, step: int) -> None:
    """Rows of text."""
    for row in range(12, len(canvas) - 10, step):
        end = rng.randrange(left + 10, canvas.shape[1] - 4)
        canvas[row : row + 2, left:end] += ink * np.array([rng.random() > 0.22 for _ in range(left, end)])[:, None]


def atlas(rng: Rng, pictures: Sequence[Path] = ()) -> np.ndarray:
    """64 tiles of pictures, papers, covers of books and boxes, and screens, (1280, 1280, 3) uint8.

    Args:
        rng: decides everything.
        pictures: photos for posters and screens; without them all are procedural.
    """
    values, between = np.random.default_rng(rng.randrange(2**32)), rng.uniform

    def photo() -> np.ndarray:
        if pictures:
            with suppress(ValueError):  # a damaged one is replaced
                image = read_photo(rng.choice(pictures), enough=(TILE, TILE)).image
                return np.asarray(image.resize((TILE, TILE)), np.float32) / 255
        return _art(values)

    def tile(number: int) -> np.ndarray:
        if number in PICTURES:
            return photo()
        shown = number in SCREENS and rng.random() < 0.4
        canvas = photo() * between(0.3, 1) if shown else np.full((TILE, TILE, 3), rng.choice([0.05, 0.9, 0.95]))
        if number in PAPERS:
            canvas[:] = 0.92
            _lines(rng, canvas, -0.55, 14, rng.choice([5, 7, 9]))
        elif number in COVERS:
            hue = rng.choice([0.02, 0.08, 0.12, 0.6, rng.random()])
            canvas[:] = colour(rng, hue, between(0.05, 0.7), between(0.15, 0.95))
            canvas[100:150, 20:110] = photo()[100:150, 20:110] if rng.random() < 0.5 else 1 - canvas[:1, :1]
            _lines(rng, canvas, rng.choice([-0.5, 0.5]), 60, 30)
        else:
            for _ in range(rng.randrange(1, 4)):  # windows with text
                (x, y), dark = (rng.randrange(90), rng.randrange(90)), rng.random() < 0.4
                pane = canvas[y : y + rng.randrange(40, 100), x : x + rng.randrange(50, 120)]
                pane[:] = 0.12 if dark else 0.95
                pane[:7] = colour(rng, 0.6, between(0, 0.5), between(0.3, 0.9))
                _lines(rng, pane, 0.6 if dark else -0.6, 5, rng.choice([5, 7]))
        return canvas

    rows = [np.hstack([tile(8 * row + column) for column in range(8)]) for row in range(8)]
    return _as_bytes(np.vstack(rows))


def outside(rng: Rng) -> np.ndarray:
    """What is seen, out of focus, through a window: sky and hills; (256, 256, 3) uint8."""
    if rng.random() < 0.4:  # burnt-out sky
        return np.full((256, 256, 3), (rng.randrange(225, 256), 240, 255), np.uint8)
    canvas = _landscape(np.random.default_rng(rng.randrange(2**32)), 256)
    return np.asarray(Image.fromarray(_as_bytes(canvas)).filter(ImageFilter.GaussianBlur(4)))


def dye(paint: Paint, name: str, rng: Rng) -> Paint:
    """How one part of a model looks in this room: its colours and textures are varied.

    Args:
        paint: of the model's file.
        name: of the model; cloth is dyed more freely.
        rng: decides everything.
    """
    cloth, between, some = bool(CLOTH.search(name)), rng.uniform, rng.choice
    rough, specular = between(0.6, 1) if cloth else between(0.25, 0.8), between(0.1, 0.5)
    if paint.opacity < 0.95:  # clear glass stays so; frosted glass becomes opaque
        return paint._replace(opacity=0.15 if paint.opacity < 0.4 else 1.0, roughness=0.05, skin=max(paint.skin, -1))
    if paint.skin >= 0:
        hue = between(-0.5, 0.5) if cloth and rng.random() < 0.25 else between(-0.03, 0.03)
        shift = (0.5 + hue, between(0.5, 1.15), between(0.65, 1.3)) if rng.random() < 0.6 else paint.shift
        return paint._replace(roughness=rough, specular=specular, shift=shift)
    hue, saturation, value = colorsys.rgb_to_hsv(*paint.colour)
    if paint.skin == -2 or rng.random() < 0.35:  # its file states no colour, or it is dyed
        hue = some([0.06, 0.08, 0.1, 0.6, rng.random()])
        saturation = saturation * between(0.2, 0.9) + some([0, 0, 0, 0.1, 0.4])
        value = between(0.2, 0.9) if paint.skin == -2 else value
    value = min(0.93, max(0.05, value * between(0.7, 1.15) + between(-0.05, 0.08)))
    pattern, scale = "", between(0.25, 0.9) if cloth else between(0.5, 1.5)
    if rng.random() < (0.75 if cloth else 0.5):
        pattern = some(["fabric", "carpet", "print"] if cloth else ["wood", "wood", "plaster", "concrete", "marble"])
        pattern += str(rng.randrange(16 if pattern == "print" else 4))
    shown = colour(rng, hue, saturation * between(0.5, 1), value)
    return Paint(shown, pattern, scale, rough, specular=specular, turned=rng.random() < 0.5)
