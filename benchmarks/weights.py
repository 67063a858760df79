"""Two or more sets of weights, in one run: which of them should ship.

`python -m benchmarks.weights --data rgbd/nyu:nyu_val.tar --data rgbd:rooms_val.tar ... --model OLD --model NEW` scores
each model on each data set, writes benchmarks/results/weights.json and fills the blocks "weights" of
benchmarks/shipped_model.md and CHANGELOG.md. The first data set is shown in all alignments and by distance. What a
model says about its own uncertainty is scored on the second half of each data set: `train.calibrate` may have used the
first.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.study import latencies, titles_of
from depth_unet import data, open_model
from depth_unet.data import DepthData, Part
from depth_unet.files import write_json
from depth_unet.predictor import Predictor
from train.documents import fill, markdown_table
from train.evaluate import Measured, detail_means, distance_table, interval, lens_table, measure

HERE = Path(__file__).parent


class Row(NamedTuple):
    """A line of the table.

    Args:
        data: name of the data set.
        what: is measured.
        values: text for each model.
    """

    data: str
    what: str
    values: list[str]


def rows_of(dataset: DepthData, measured: list[Measured], second: list[Measured], first: bool) -> list[Row]:
    """The lines about one data set.

    Args:
        dataset: the data.
        measured: on all frames, for each model.
        second: on the second half.
        first: show all alignments and distances.
    """
    rows: list[Row] = []

    def add(what: str, values: list[str]) -> None:
        if any(values):
            rows.append(Row(dataset.title, what, values))

    for align in measured[0].means if first else ("none",):
        cells = []
        for each in measured:
            low, high = interval(each.frames, "abs_rel", align)
            found = each.means[align]
            cells.append(f"{found['abs_rel']:.4f} ({low:.3f} to {high:.3f}) / {found['delta1']:.4f}")
        add(f"AbsRel (95 % interval) / delta1, {'unaligned' if align == 'none' else align}", cells)
    add("median p/t", [f"{each.means['none']['median_ratio']:.3f}" for each in measured])
    if first:
        tables = [distance_table(each.frames) for each in measured]
        for lines in zip(*tables, strict=True):
            add(f"AbsRel / delta1, {lines[0]['distance']}", [f"{x['abs_rel']:.3f} / {x['delta1']:.3f}" for x in lines])
    details = [detail_means(each.frames) for each in measured]
    for name, title in (("boundary_f1", "boundary F1"), ("rim", "rim")):
        add(title, [f"{found[name]:.3f}" if name in found else "" for found in details])
    lenses = [lens_table(each.frames) for each in measured]
    if len(lenses[0]) > 1:
        for lines in zip(*lenses, strict=True):
            span = f"{lines[0]['from_deg']:.0f} to {lines[0]['to_deg']:.0f} degrees"
            add(f"median p/t, {span}", [f"{line['median_ratio']:.3f}" for line in lines])
    qualities = [each.uncertainty for each in second]
    add(
        "pixels within 1 / 2 sigma",
        ["{:.3f} / {:.3f}".format(*quality.coverage) if quality else "" for quality in qualities],
    )
    add(
        "lengths within 1 / 2 sigma",
        ["{:.3f} / {:.3f}".format(*quality.lengths) if quality else "" for quality in qualities],
    )
    for name, title in (("raw", "unaligned"), ("aligned", "median-aligned")):
        areas = [getattr(quality, name) if quality else None for quality in qualities]
        add(
            f"AUSE, {title} (to random order)",
            [f"{area.ours:.4f} ({area.ours / area.random:.2f})" if area else "" for area in areas],
        )
    return rows


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--data", action="append", required=True, help=data.usage())
    made.add_argument("--model", action="append", required=True, help="as for open_model; the first is the old one")
    made.add_argument("--latency-photos", type=int, default=15, help="photos whose median latency is compared")
    made.add_argument("--threads", type=int, default=1, help="CPU threads")
    made.add_argument("--output", type=Path, default=HERE / "results" / "weights.json", help="JSON to write")
    made.add_argument("--card", type=Path, default=HERE / "shipped_model.md", help="document to fill with the table")
    made.add_argument(
        "--changelog", type=Path, default=HERE.parent / "CHANGELOG.md", help="document to fill with the main numbers"
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after an error."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        models: list[Predictor] = [open_model(name) for name in options.model]
        sets = [data.open_data(name, data.split_for(name, "score")) for name in options.data]
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    titles, rows, results = titles_of(options.model, models), [], {}
    for number, dataset in enumerate(sets):
        measured = [measure(model, dataset) for model in models]
        half = Part(dataset, range(len(dataset) // 2, len(dataset)))
        second = [
            measure(model, half) if model.predicts_uncertainty else each
            for model, each in zip(models, measured, strict=True)
        ]
        rows += rows_of(dataset, measured, second, first=number == 0)
        results[dataset.title] = {
            title: _summary(each, part) for title, each, part in zip(titles, measured, second, strict=True)
        }
    times = latencies(dict(zip(titles, models, strict=True)), sets[0], options.latency_photos)
    rows.append(Row("one photo", "latency, to the first", [f"{times[t] / times[titles[0]]:.2f}" for t in titles]))
    table = markdown_table(["data", "measured", *titles], [[row.data, row.what, *row.values] for row in rows])
    hashes = ", ".join(f"{title} `{model.sha256[:8]}...`" for title, model in zip(titles, models, strict=True))
    text = f"SHA-256 of the weights: {hashes}.\n\n{table}"
    print(text)
    shown = [{"title": t, "sha256": m.sha256, "latency_ms": times[t]} for t, m in zip(titles, models, strict=True)]
    write_json(options.output, {"models": shown, "data": results, "rows": [row._asdict() for row in rows]})
    fill(options.card, "weights", text)
    fill(options.changelog, "weights", _summary_list(titles[0], titles[-1], results))
    return 0


def _summary_list(old: str, new: str, results: dict[str, dict[str, Any]]) -> str:
    """A line for each data set: accuracy in metres of the first model and of the last."""

    def cell(found: dict[str, Any]) -> str:
        means = found["metrics"]["none"]
        return f"{means['abs_rel']:.3f} / {means['delta1']:.3f}"

    lines = [f"  - {title}: {cell(found[old])} -> {cell(found[new])}" for title, found in results.items()]
    return "\n".join([f"- Weights, AbsRel / delta1 in metres, {old} -> {new}:", *lines])


def _summary(measured: Measured, second: Measured) -> dict[str, Any]:
    return {
        "protocol": measured.protocol,
        "metrics": measured.means,
        "intervals": {align: interval(measured.frames, "abs_rel", align) for align in measured.means},
        "details": detail_means(measured.frames),
        "uncertainty": second.uncertainty.to_dict() if second.uncertainty else None,
    }


if __name__ == "__main__":
    sys.exit(main())
