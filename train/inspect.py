"""`python -m train.inspect --data KIND:PATH`: what a data set holds, before a night of training."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from depth_unet import DepthSample, colorize_depth, data
from depth_unet.data import DepthData
from depth_unet.data.sample import SampleError
from depth_unet.files import finished_or_absent
from train.documents import markdown_table
from train.outputs import check_output

_SHOWN, _ACROSS = 24, 4  # samples on the contact sheet, and in each of its rows


class Contents(NamedTuple):
    """What was found in the samples that were read.

    Args:
        samples: number of samples in the data set.
        read: number of samples that were read.
        sizes: (height, width) in pixels, with how many samples have it.
        fields_of_view: horizontal, whole degrees, with how many samples have it.
        depth: 1st percentile, median and 99th percentile of valid depth, and nearest and farthest, metres.
        valid: share of valid pixels, mean over samples.
        bad: what was wrong with samples that could not be read.
    """

    samples: int
    read: int
    sizes: Counter
    fields_of_view: Counter
    depth: tuple[float, float, float, float, float]
    valid: float
    bad: list[str]


def inspect(dataset: DepthData, most: int) -> tuple[Contents, list[DepthSample]]:
    """Read samples, evenly spread over the data set, with a progress bar.

    Args:
        dataset: what to look at.
        most: number of samples that are read; 0: all.

    Returns:
        What was found, and the samples for a contact sheet.

    Raises:
        SampleError: not one sample can be read.
    """
    indices = _spread(len(dataset), most or len(dataset))
    shown = {indices[place] for place in _spread(len(indices), _SHOWN)}
    sizes, fields_of_view, valid, bad = Counter(), Counter(), [], []
    depths, extremes, sheet = [], [], []
    for index in tqdm(indices, "inspect", unit="img", leave=False):
        try:
            sample = dataset[index]
        except SampleError as error:
            bad.append(str(error))
            continue
        known = sample.depth[sample.valid].numpy()
        sizes[tuple(sample.depth.shape[1:])] += 1
        fields_of_view[round(sample.camera.horizontal_fov_deg)] += 1
        valid.append(float(sample.valid.float().mean()))
        depths.append(known[:: max(1, known.size // 2000)])
        extremes += [known.min(), known.max()]
        if index in shown:
            sheet.append(sample)
    if not depths:
        raise SampleError(f"not one of {len(indices)} samples can be read; the first: {bad[0]}")
    low, median, high = np.percentile(np.concatenate(depths), (1, 50, 99))
    depth = tuple(float(metres) for metres in (low, median, high, min(extremes), max(extremes)))
    return Contents(len(dataset), len(depths), sizes, fields_of_view, depth, float(np.mean(valid)), bad), sheet


def _spread(length: int, count: int) -> list[int]:
    """At most `count` of the numbers below `length`, evenly spread."""
    return sorted({int(index) for index in np.linspace(0, length - 1, min(length, count)).round()})


def contact_sheet(samples: list[DepthSample]) -> Figure:
    """Pictures with their depth beside them; grey is "not measured", and each depth map has its own colour range."""
    rows = -(-len(samples) // _ACROSS)
    figure = Figure(figsize=(4.2 * _ACROSS, 1.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 2 * _ACROSS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for number, sample in enumerate(samples):
        row, column = divmod(number, _ACROSS)
        picture, beside = grid[row, 2 * column : 2 * column + 2]
        depth = np.where(sample.valid[0].numpy(), sample.depth[0].numpy(), np.nan)
        picture.imshow(sample.image.permute(1, 2, 0).numpy())
        picture.set_title(sample.key[-24:], fontsize=6)
        beside.imshow(colorize_depth(depth, scale_bar=False))
        beside.set_title(f"{np.nanmin(depth):.2f} to {np.nanmax(depth):.2f} m", fontsize=6)
    return figure


def _counted(counts: Counter, text: str) -> str:
    shown = ", ".join(f"{text.format(value)} ({count})" for value, count in counts.most_common(6))
    return shown + (f", and {len(counts) - 6} more" if len(counts) > 6 else "")


def summary(dataset: DepthData, found: Contents) -> str:
    """What was found, as a table."""
    low, median, high, nearest, farthest = found.depth
    sizes = Counter({f"{height}x{width}": count for (height, width), count in found.sizes.items()})
    return markdown_table(
        [dataset.name, ""],
        [
            ["samples", f"{found.samples} in split {dataset.split}, {found.read} of them read"],
            ["sizes, height x width", _counted(sizes, "{}")],
            ["field of view, degrees", _counted(found.fields_of_view, "{}")],
            [
                "depth, metres",
                f"median {median:.3f}; 98 % from {low:.3f} to {high:.3f}; all {nearest:.3f} to {farthest:.3f}",
            ],
            ["valid pixels", f"{found.valid:.1%}; mask: {dataset.mask}"],
            ["scoring rule", str(dataset.rule)],
            *(["origin", f"{o.title}; terms: {o.terms}; weights: {o.weights}"] for o in dataset.origins),
            *(["note", hint] for hint in dataset.hints),
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if samples could not be read, 2 if nothing could be done."""
    parser = argparse.ArgumentParser(
        "python -m train.inspect", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", required=True, help=data.usage())
    parser.add_argument("--split", help="of the data  (default: train, or all)")
    parser.add_argument("--samples", type=int, default=200, help="samples that are read, evenly spread; 0: all")
    parser.add_argument("--output", type=Path, default=Path("runs/inspect.jpg"), help="contact sheet to write")
    data.add_options(parser)
    options = parser.parse_args(arguments)
    try:
        suffixes = FigureCanvasAgg.filetypes
        if options.output.suffix[1:].lower() not in suffixes:
            raise ValueError(f"--output must end in one of {', '.join(sorted(suffixes))}, not {options.output.name!r}")
        check_output(options.output)
        split = options.split or data.split_for(options.data, "train")
        dataset = data.open_data(options.data, split, data.options_of(options))
        found, samples = inspect(dataset, options.samples)
        print(summary(dataset, found))
        with finished_or_absent(options.output) as place:
            contact_sheet(samples).savefig(place, dpi=110)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"contact sheet: {options.output}")
    for reason in found.bad:
        print(f"cannot be read: {reason}", file=sys.stderr)
    return 1 if found.bad else 0


if __name__ == "__main__":
    sys.exit(main())
