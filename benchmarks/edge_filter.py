"""What the filter of false depths does to planted ones, and what it costs.

`python -m benchmarks.edge_filter` renders outdoor scenes, plants outliers at depth edges, writes
benchmarks/results/edge_filter.json and docs/edge_filter.jpg, and fills the block "edge_filter" of docs/training.md.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.diode_layout import Scene, render
from depth_unet import colorize_depth
from depth_unet.data.diode import without_edge_outliers
from depth_unet.files import write_json
from train.documents import fill, markdown_table

ROOT = Path(__file__).parent.parent


def kept(scene: Scene) -> np.ndarray:
    """The filtered mask."""
    return without_edge_outliers(torch.from_numpy(scene.depth)[None], torch.from_numpy(scene.mask)[None])[0].numpy()


def picture(scene: Scene, side: int = 128, zoom: int = 5) -> Image.Image:
    """The part with the most outliers, magnified: photo, depth before, depth after, what was planted."""
    counts = np.add.reduceat(np.add.reduceat(scene.planted, range(0, 768, side), 0), range(0, 1024, side), 1)
    row, column = (side * int(place) for place in np.unravel_index(counts.argmax(), counts.shape))
    part = slice(row, row + side), slice(column, column + side)
    known = scene.depth[part][scene.mask[part]]
    near, far = float(known.min()), float(np.percentile(known, 98))

    def coloured(values: np.ndarray, valid: np.ndarray) -> Image.Image:
        return colorize_depth(np.where(valid, values, 0)[part], near=near, far=far, scale_bar=False)

    panels = {
        "picture": Image.fromarray(scene.picture[part]),
        f"before, {near:.0f} to {far:.0f} m": coloured(scene.depth, scene.mask),
        "after (grey: removed, or no depth)": coloured(scene.depth, kept(scene)),
        "planted (white)": Image.fromarray((scene.planted[part] * 255).astype(np.uint8)).convert("RGB"),
    }
    size, heading = side * zoom // 2, 18
    sheet = Image.new("RGB", (len(panels) * (size + 4), size + heading), "white")
    for number, (text, panel) in enumerate(panels.items()):
        sheet.paste(panel.resize((size, size), Image.Resampling.NEAREST), (number * (size + 4), heading))
        ImageDraw.Draw(sheet).text((number * (size + 4) + 2, 3), text, fill="black")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scenes", type=int, default=10, help="rendered scenes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenes = [render(100 + seed, outdoor=True, outliers=True) for seed in range(options.scenes)]
    before, after = [], []
    for scene in scenes:
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.abs(scene.depth - scene.truth) / scene.truth
        good, left = scene.mask & ~scene.planted, kept(scene)
        before.append((scene.planted.sum() / scene.mask.sum(), error[scene.mask].mean(), 1.0))
        after.append(((scene.planted & left).sum() / left.sum(), error[left].mean(), (good & left).sum() / good.sum()))
    rows = dict(zip(("before", "after"), (np.mean(values, 0) for values in (before, after)), strict=True))
    result = {
        name: dict(zip(("false_depths", "mean_relative_error", "true_depths_kept"), map(float, row), strict=True))
        for name, row in rows.items()
    }
    result["removed"] = 1 - float(
        np.sum([(s.planted & kept(s)).sum() for s in scenes]) / sum(s.planted.sum() for s in scenes)
    )
    text = f"{options.scenes} rendered scenes; {result['removed']:.0%} of the planted false depths are removed."
    table = markdown_table(
        ["mask", "false depths", "mean relative error of the target", "true depths kept"],
        [[name, *(f"{share:.3%}" for share in row)] for name, row in rows.items()],
    )
    print(f"{text}\n\n{table}")
    picture(max(scenes, key=lambda scene: scene.planted.sum())).save(ROOT / "docs/edge_filter.jpg", quality=92)
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    write_json(ROOT / "benchmarks/results/edge_filter.json", result)
    fill(ROOT / "docs/training.md", "edge_filter", f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
