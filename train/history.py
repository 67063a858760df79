"""What a run tells about itself: a table, loss curves, and a picture of its progress."""

import csv
import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from depth_unet import DepthSample, Prediction, colorize_depth
from depth_unet.colorize import depth_range
from depth_unet.files import write_atomically

# Column, heading, format. The first three after the epoch are those of the paper's Table 1.
COLUMNS = [
    ("epoch", "epoch", "d"),
    ("step_ms", "ms/step", ".0f"),
    ("loss", "loss", ".4f"),
    ("cross_entropy", "cross-entropy", ".3f"),
    ("ssim", "1-SSIM", ".4f"),
    ("mare", "MARE", ".4f"),
    ("learning_rate", "rate", ".1e"),
    ("val_loss", "val loss", ".4f"),
    ("val_cross_entropy", "val c.-e.", ".3f"),
    ("val_abs_rel", "AbsRel", ".4f"),
    ("val_rmse", "RMSE m", ".3f"),
    ("val_delta1", "delta1", ".4f"),
    ("val_median_ratio", "p/t", ".3f"),
]


def heading() -> str:
    """The table's first line."""
    return "  ".join(f"{title:>{_width(title)}}" for _, title, _ in COLUMNS)


def table_row(row: dict[str, float]) -> str:
    """An epoch's line of the table; a term that was not trained is left blank."""
    cells = ((format(row[name], form) if name in row else "", title) for name, title, form in COLUMNS)
    return "  ".join(f"{cell:>{_width(title)}}" for cell, title in cells)


def _width(title: str) -> int:
    return max(7, len(title))


def write_history(rows: list[dict[str, float]], folder: Path) -> None:
    """Write history.csv (all columns of all epochs) and curves.png."""
    names = [name for name, _, _ in COLUMNS]
    names += [name for name in rows[0] if name not in names]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "history.csv", buffer.getvalue())

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in rows]
    panels = {
        "loss": ("loss", "val_loss"),
        "cross-entropy over depth bins": ("cross_entropy", "val_cross_entropy"),
        "AbsRel": ("val_abs_rel",),
        "delta1": ("val_delta1",),
    }
    for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in names:
            label = "validation" if name.startswith("val_") else "training"
            axes.plot(epochs, [row[name] for row in rows], marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(folder / "curves.png", buffer.getvalue())


def sample_sheet(samples: list[DepthSample], predictions: list[Prediction], titles: list[str]) -> Image.Image:
    """A picture with a row for each sample: input | target | prediction | error (relative, dark is right).

    Target and prediction share their colours; grey is "no measurement".
    """
    figure = Figure(figsize=(14, 2.8 * len(samples)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    rows = figure.subplots(len(samples), 4, squeeze=False)
    for axes, sample, prediction, title in zip(rows, samples, predictions, titles, strict=True):
        valid = sample.valid[0].numpy()
        target = np.where(valid, sample.depth[0].numpy(), np.nan)
        near, far = depth_range(target)
        with np.errstate(invalid="ignore"):
            error = np.abs(prediction.depth - target) / target
        pictures = (
            (sample.image.permute(1, 2, 0).numpy(), title),
            (colorize_depth(target, near=near, far=far, scale_bar=False), f"target, {near:.1f} to {far:.1f} m"),
            (prediction.colorize(near=near, far=far, scale_bar=False), "prediction"),
            # Errors of half the distance and more are all the same bad.
            (
                colorize_depth(error + 1e-6, cmap="magma", near=0, far=0.5, scale_bar=False),
                f"error, mean {np.nanmean(error):.3f}",
            ),
        )
        for axis, (picture, text) in zip(axes, pictures, strict=True):
            axis.imshow(picture)
            axis.set_title(text, fontsize=9)
            axis.axis("off")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
