"""The history of a run: a table, loss curves, and a picture of validation samples."""

import csv
import io
import re
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from depth_unet import DepthSample, Prediction, colorize_depth
from depth_unet.colorize import depth_range
from depth_unet.files import write_atomically
from train.run import CURVES, HISTORY

# Column, heading, format. The first three after the epoch are the columns of the paper's Table 1.
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


def columns(validations: int = 1) -> list[tuple[str, str, str]]:
    """`COLUMNS`, and AbsRel and delta1 of each further validation.

    Args:
        validations: number of data sets that are validated on.
    """
    further = (("abs_rel", "AbsRel"), ("delta1", "delta1"))
    more = [(f"val{n}_{name}", f"{title} {n}", ".4f") for n in range(2, validations + 1) for name, title in further]
    return COLUMNS + more


def heading(validations: int = 1) -> str:
    """The first line of the table."""
    return "  ".join(f"{title:>{_width(title)}}" for _, title, _ in columns(validations))


def table_row(row: dict[str, float], validations: int = 1) -> str:
    """The line of an epoch; what was not measured is left blank."""
    cells = ((format(row[name], form) if name in row else "", title) for name, title, form in columns(validations))
    return "  ".join(f"{cell:>{_width(title)}}" for cell, title in cells)


def _width(title: str) -> int:
    return max(7, len(title))


def write_history(rows: list[dict[str, float]], folder: Path) -> None:
    """Write history.csv (all columns of all epochs) and curves.png."""
    names = list(dict.fromkeys([name for name, _, _ in COLUMNS] + [name for row in rows for name in row]))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / HISTORY, buffer.getvalue())

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = {
        "loss": "loss",
        "cross-entropy over depth bins": "cross_entropy",
        "AbsRel": "abs_rel",
        "delta1": "delta1",
    }
    for axes, (title, measure) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in [measure, *(name for name in names if re.fullmatch(rf"val\d*_{measure}", name))]:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            if points:
                label = "training" if name == measure else f"validation {name.partition('_')[0][3:]}".strip()
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(folder / CURVES, buffer.getvalue())


def sample_sheet(samples: list[DepthSample], predictions: list[Prediction], titles: list[str]) -> Image.Image:
    """A picture with a row for each sample: input | target | prediction | relative error (dark is small).

    Target and prediction have the same colour scale; grey is "no measurement".
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
            # The colour scale ends at an error of half the distance.
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
