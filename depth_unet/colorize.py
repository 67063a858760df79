"""Depth into colours with a scale in metres: the only colouring there is."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

NO_DEPTH = (96, 96, 96)


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """The (near, far) metres that colours should span: the 2nd and 98th percentile of the valid depths.

    Args:
        depth: (H, W) metres; not finite or not positive means no depth.
    """
    sparse = depth[:: max(1, depth.shape[0] // 256), :: max(1, depth.shape[1] // 256)]
    known = sparse[np.isfinite(sparse) & (sparse > 0)]
    if not known.size:
        return 0.0, 1.0
    near, far = np.percentile(known, (2, 98))
    return float(near), float(max(far, near + 0.01))


def colorize_depth(
    depth: np.ndarray,
    cmap: str = "turbo",
    near: float | None = None,
    far: float | None = None,
    scale_bar: bool = True,
) -> Image.Image:
    """Depth as colours.

    Args:
        depth: (H, W) metres; pixels without a finite, positive depth become grey.
        cmap: name of a matplotlib colour map.
        near: metres that get the first colour; by default the 2nd percentile.
        far: metres that get the last colour; by default the 98th percentile.
        scale_bar: add a bar with metres on the right.

    Returns:
        RGB picture, H high; W wide, or wider by the bar.

    Raises:
        ValueError: unknown colour map, not a two-dimensional depth, or near not below far.

    Example:
        >>> colorize_depth(np.array([[1.0, 2.0]]), scale_bar=False).size
        (2, 1)
    """
    depth = np.asarray(depth)
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
    table = (colours(np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    known = np.isfinite(depth) & (depth > 0)
    index = np.clip((np.where(known, depth, near) - near) * (255 / (far - near)), 0, 255).astype(np.uint8)
    pixels = table[index]
    pixels[~known] = NO_DEPTH
    picture = Image.fromarray(pixels)
    if not scale_bar:
        return picture
    bar = _scale_bar(picture.height, colours, near, far)
    whole = Image.new("RGB", (picture.width + bar.width, picture.height), "white")
    whole.paste(picture, (0, 0))
    whole.paste(bar, (picture.width, 0))
    return whole


def _scale_bar(height: int, colours: matplotlib.colors.Colormap, near: float, far: float) -> Image.Image:
    # Drawn at 480 rows, so that text keeps its share of the picture, and then resized.
    figure = Figure(figsize=(0.96, 4.8), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.12, 0.04, 0.25, 0.92))
    bar = Colorbar(axes, ScalarMappable(Normalize(near, far), colours))
    bar.set_label("metres")
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return drawn.resize((max(1, round(drawn.width * height / drawn.height)), height), Image.Resampling.LANCZOS)
