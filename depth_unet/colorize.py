"""Colour depth maps, with a scale bar in metres."""

import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

NO_DEPTH = (96, 96, 96)
BAR_WIDTH = 104  # pixels, for an image of 480 rows


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
    depth = np.asarray(depth)
    if not np.issubdtype(depth.dtype, np.floating):
        depth = depth.astype(np.float32)
    if depth.ndim != 2 or 0 in depth.shape:
        raise ValueError(f"depth must have shape (H, W), not {depth.shape}")
    if cmap not in matplotlib.colormaps:
        raise ValueError(f"no colour map {cmap!r}; try turbo, viridis, magma, inferno, cividis or Spectral")
    automatic = depth_range(depth)
    near = automatic[0] if near is None else float(near)
    far = max(automatic[1], near + 0.01) if far is None else float(far)
    if not near < far:
        raise ValueError(f"near must be below far, not {near} and {far}")
    colours = matplotlib.colormaps[cmap].resampled(256)
    known = np.isfinite(depth) & (depth > 0)
    complete = known.all()
    index = (depth if complete else np.where(known, depth, near)) - near
    index *= 255 / (far - near)
    # A palette image: Pillow looks up 256 colours much faster than numpy.
    picture = Image.fromarray(np.clip(index, 0, 255, out=index).astype(np.uint8))
    table = (colours(np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    picture.putpalette(table.tobytes())
    picture = picture.convert("RGB")
    if not complete:
        picture.paste(NO_DEPTH, mask=Image.fromarray(~known))
    if not scale_bar:
        return picture
    bar = _scale_bar(picture.height, table, near, far)
    whole = Image.new("RGB", (picture.width + bar.width, picture.height), "white")
    whole.paste(picture, (0, 0))
    whole.paste(bar, (picture.width, 0))
    return whole


def _scale_bar(height: int, colours: np.ndarray, near: float, far: float) -> Image.Image:
    # Drawn at 480 rows and resized, so that text scales with the image; matplotlib's colour bar takes longer than the
    # network.
    bar = Image.new("RGB", (BAR_WIDTH, 480), "white")
    top, bottom, left, right = 16, 464, 12, 36
    ramp = Image.fromarray(colours[None, ::-1].transpose(1, 0, 2))
    bar.paste(ramp.resize((right - left, bottom - top), Image.Resampling.BILINEAR), (left, top))
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
    return bar.resize((max(1, round(bar.width * height / bar.height)), height), Image.Resampling.LANCZOS)
