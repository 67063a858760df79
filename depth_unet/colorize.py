"""Colour depth maps, with a scale bar in metres."""

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from depth_unet.files import strips

NO_DEPTH = (96, 96, 96)
BAR_WIDTH = 104  # pixels, for an image of 480 rows
# The palette: the colours of the map, that of no depth, and greys from black to white for the bar.
_STEPS = 240
_GREYS = 15


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """(near, far) of the colour range in metres: the 2nd and 98th percentile of the valid depths.

    Args:
        depth: (H, W) metres; not finite or not positive means no depth.
    """
    sparse = depth[:: max(1, depth.shape[0] // 256), :: max(1, depth.shape[1] // 256)]
    known = sparse[np.isfinite(sparse) & (sparse > 0)]
    if not known.size:
        return 0.0, 1.0
    near, far = np.percentile(known, (2, 98))
    return float(near), float(max(far, near + 0.01))


def chosen_range(depth: np.ndarray, near: float | None, far: float | None) -> tuple[float, float]:
    """(near, far) in metres, those that are None from `depth_range`.

    Raises:
        ValueError: near is not below far.
    """
    lowest, highest = depth_range(depth)
    if near is None:
        near = lowest if far is None else min(lowest, far - 0.01)
    if far is None:
        far = max(highest, near + 0.01)
    if not near < far:
        raise ValueError(f"near must be below far, not {near} and {far}")
    return float(near), float(far)


def checked_cmap(name: str) -> str:
    """Return the name of a colour map, if there is one.

    Raises:
        ValueError: there is none.
    """
    if name not in matplotlib.colormaps:
        raise ValueError(f"no colour map {name!r}; try turbo, viridis, magma, inferno, cividis or Spectral")
    return name


def colour_steps(cmap: str, count: int = 32) -> list[str]:
    """Evenly spaced colours of a colour map as "#rrggbb", from near to far.

    Example:
        >>> colour_steps("gray", 3)
        ['#000000', '#808080', '#ffffff']
    """
    return [matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps[cmap](np.linspace(0, 1, count))]


def colorize_depth(
    depth: np.ndarray,
    cmap: str = "turbo",
    near: float | None = None,
    far: float | None = None,
    scale_bar: bool = True,
) -> Image.Image:
    """Colour a depth map.

    Args:
        depth: (H, W) metres; pixels without a finite, positive depth become grey.
        cmap: name of a matplotlib colour map.
        near: metres of the first colour; by default the 2nd percentile.
        far: metres of the last colour; by default the 98th percentile.
        scale_bar: add a bar with metres on the right.

    Returns:
        RGB image of height H and width W, plus the width of the bar.

    Raises:
        ValueError: unknown colour map, depth that is not two-dimensional, or near not below far.

    Example:
        >>> colorize_depth(np.array([[1.0, 2.0]]), scale_bar=False).size
        (2, 1)
    """
    indices, palette = colour_indices(depth, cmap, near, far, scale_bar)
    image = Image.fromarray(indices)
    image.putpalette(palette)
    return image.convert("RGB")


def colour_indices(
    depth: np.ndarray,
    cmap: str = "turbo",
    near: float | None = None,
    far: float | None = None,
    scale_bar: bool = True,
) -> tuple[np.ndarray, bytes]:
    """The picture of `colorize_depth` as uint8 indices into a palette, and the palette as RGB bytes."""
    depth = np.asarray(depth)
    if not np.issubdtype(depth.dtype, np.floating):
        depth = depth.astype(np.float32)
    if depth.ndim != 2 or 0 in depth.shape:
        raise ValueError(f"depth must have shape (H, W), not {depth.shape}")
    colours = matplotlib.colormaps[checked_cmap(cmap)].resampled(_STEPS)(np.arange(_STEPS))[:, :3]
    near, far = chosen_range(depth, near, far)
    bar = _scale_bar(depth.shape[0], near, far) if scale_bar else np.empty((depth.shape[0], 0), np.uint8)
    indices = np.empty((depth.shape[0], depth.shape[1] + bar.shape[1]), np.uint8)
    indices[:, depth.shape[1] :] = bar
    for place, part in strips(depth):
        complete = part.min() > 0 and part.max() < np.inf  # not for NaN
        known = True if complete else (part > 0) & (part < np.inf)
        values = np.clip(part if complete else np.where(known, part, near), near, far)
        values -= near
        values *= _STEPS / (far - near)
        np.minimum(values, _STEPS - 1, out=values)
        indices[place, : depth.shape[1]] = values if complete else np.where(known, values, _STEPS)
    greys = np.linspace(0, 255, _GREYS).round()[:, None].repeat(3, axis=1)
    palette = np.concatenate([(colours * 255).round(), [NO_DEPTH], greys])
    return indices, palette.astype(np.uint8).tobytes()


def _scale_bar(height: int, near: float, far: float) -> np.ndarray:
    # Drawn at 480 rows and resized, so that text scales with the image; matplotlib's colour bar takes longer than the
    # network.
    bar = Image.new("L", (BAR_WIDTH, 480), "white")
    top, bottom, left, right = 16, 464, 12, 36
    draw = ImageDraw.Draw(bar)
    draw.rectangle((left, top, right, bottom), outline="black")
    font = ImageFont.load_default(13)
    ticks = [value for value in MaxNLocator(8).tick_values(near, far) if near <= value <= far]
    digits = next((n for n in range(5) if all(abs(value - round(value, n)) < 1e-9 for value in ticks)), 5)
    for value in ticks:
        # Far is at the top.
        row = bottom - (value - near) / (far - near) * (bottom - top)
        draw.line((right, row, right + 5, row), fill="black")
        draw.text((right + 8, row), f"{value:.{digits}f} m", fill="black", font=font, anchor="lm")
    scale = height / 480
    bar = bar.resize((max(1, round(BAR_WIDTH * scale)), height), Image.Resampling.LANCZOS)
    indices = (np.asarray(bar) / 255 * (_GREYS - 1)).round().astype(np.uint8) + _STEPS + 1
    first, last, start, end = (round(side * scale) for side in (top + 1, bottom, left + 1, right))
    ramp = np.linspace(_STEPS - 1, 0, max(0, last - first)).round().astype(np.uint8)
    indices[first:last, start:end] = ramp[:, None]
    return indices
