"""The model card: README.md of a hub repository, filled with measured numbers."""

import csv
import io
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCard

from depth_unet import DepthUNet, DepthUNetConfig
from depth_unet.data.origin import Origin, strictest
from depth_unet.reading import LARGEST_TEXT, read_bytes
from train.documents import filled, markdown_table
from train.history import COLUMNS
from train.run import CARD_KEY, RunRecord

TEMPLATE = Path(__file__).parent.parent / "model_card.md"
_SHOWN_EPOCHS = 10


class Result(NamedTuple):
    """A measurement as the card quotes it.

    Args:
        data: name of the data set.
        origins: of the data set.
        protocol: how it was measured, in words.
        means: metrics by alignment, then by name.
        table: the same in Markdown.
    """

    data: str
    origins: tuple[Origin, ...]
    protocol: str
    means: dict[str, dict[str, float]]
    table: str


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.csv.

    Raises:
        ValueError: not a history: a text instead of a number, or a row without epoch or AbsRel.
    """
    try:
        table = csv.DictReader(io.StringIO(read_bytes(path, LARGEST_TEXT).decode()))
        rows = [{name: float(value) for name, value in row.items() if value} for row in table]
        if not all(math.isfinite(row["epoch"]) and math.isfinite(row["val_abs_rel"]) for row in rows):
            raise ValueError("an epoch or AbsRel that is not finite")
        return rows
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ValueError(f"{path} is not the history of a run: {error!r}") from error


def model_card(
    model: DepthUNet,
    repo: str,
    results: list[Result],
    record: RunRecord,
    history: list[dict[str, float]],
    files: Iterable[str],
) -> str:
    """README.md of a hub repository, from `TEMPLATE`.

    Args:
        model: what is published, as loaded from its file.
        repo: owner/name.
        results: at least one; the tables and the model-index.
        record: what is known of the training; its origins decide the licence.
        history: rows of its history.csv.
        files: names of the files that lie beside the card.

    Raises:
        ValueError: nothing was measured.
    """
    if not results:
        raise ValueError("a model card needs an evaluation: give --data")
    files = set(files)
    text = TEMPLATE.read_text("utf-8")
    text = text.replace("DepthUNet.from_pretrained()", f'DepthUNet.from_pretrained("{repo}")')
    if "model.onnx" in files:
        text = filled(text, "usage", _block(text, "usage") + "\n\n" + _ONNX_USAGE.format(repo=repo))
    sections = {
        "model": _facts(model),
        "metrics": "\n\n".join(f"{r.protocol[0].upper()}{r.protocol[1:]}.\n\n{r.table}" for r in results),
        "training": _training(record, history, files),
        "limits": _limits(model),
        "licence": _licence(record.origins),
    }
    for block, content in sections.items():
        text = filled(text, block, content, TEMPLATE.name)

    card = ModelCard(text)
    card.data.model_name = repo.partition("/")[2]
    terms = strictest(record.origins)
    card.data.license = "other" if terms == "research-only" else terms
    if terms == "research-only":
        card.data.license_name = terms
    card.data[CARD_KEY] = record.for_card(model.sha256)
    card.data.eval_results = [found for result in results for found in _eval_results(result)]
    return str(card)


_ONNX_USAGE = """`model.onnx` is the same network for onnxruntime:

```python
from depth_unet.engines.onnx import OnnxDepthUNet

prediction = OnnxDepthUNet.from_pretrained("{repo}").predict("room.jpg")
```"""


def _block(text: str, block: str) -> str:
    return text.partition(f"<!-- {block} -->")[2].partition(f"<!-- /{block} -->")[0].strip()


def _facts(model: DepthUNet) -> str:
    config = model.config
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    rows, columns = config.input_size
    bins = f"distribution over {config.depth_bins} log-spaced depth bins; its mean is corrected at full resolution"
    return markdown_table(
        ["", ""],
        [
            ["encoder", f"`{config.encoder}`"],
            ["decoder", f"U-Net, channels {', '.join(map(str, config.decoder_channels))}"],
            ["head", bins if config.depth_bins else "log depth"],
            ["uncertainty", _uncertainty(config)],
            ["parameters", f"{parameters:.2f} million"],
            ["input", f"{rows}x{columns} (height x width) or another shape of that area, multiples of 32"],
            ["depth range", f"{config.min_depth:g} to {config.max_depth:g} m for the canonical camera (see Limits)"],
            ["weights, SHA-256", f"`{model.sha256}`"],
        ],
    )


def _uncertainty(config: DepthUNetConfig) -> str:
    if not config.uncertainty:
        return "none"
    return (
        f"a second head, scaled by {config.uncertainty:g} to one standard deviation of log depth. Lengths: "
        f"{config.photo_error:.1%} common to the photo, {config.pixel_error:g} of each pixel's uncertainty"
    )


def _training(record: RunRecord, history: list[dict[str, float]], files: set[str]) -> str:
    parts = ["Trained on " + " and ".join(origin.link for origin in record.origins) + "."]
    if settings := record.train:
        weights = ", ".join(
            f"{name.removesuffix('_weight')} {value:g}" for name, value in settings.items() if name.endswith("_weight")
        )
        parts[0] += (
            f" {settings['epochs']} epochs with batches of {settings['batch_size']}, AdamW, learning rate up to "
            f"{settings['learning_rate']:g} (encoder: {settings['encoder_rate']:g} of it)"
            + (", exponential moving average of the weights" if settings["ema_decay"] else "")
            + f"; loss terms weighted {weights}."
        )
    if history:
        best = min(history, key=lambda row: row["val_abs_rel"])
        # The mean of several trainings has the score of no epoch.
        parts.append(_history_table(history, best, is_its_score=record.averaged == 1))
        parts.append(
            f"The weights are those of {_whose(best)} (bold), chosen by unaligned AbsRel on the validation data."
            if record.averaged == 1
            else f"The weights are the mean of those of {record.averaged} trainings. "
            "The table is of one of these trainings; no row of it is the score of these weights."
        )
        if "history.csv" in files:
            parts[-1] += " [history.csv](history.csv) has every epoch."
    if "curves.png" in files:
        parts.append("![Loss, cross-entropy, AbsRel and delta1 over the epochs](curves.png)")
    if "samples.jpg" in files:
        parts.append("Validation pictures at that epoch: input, truth, prediction, relative error.")
        parts.append("![Four columns: photo, true depth, predicted depth, error](samples.jpg)")
    return "\n\n".join(parts)


def _whose(row: dict[str, float]) -> str:
    return f"epoch {row['epoch']:.0f}" if row["epoch"] else "the starting model, which no epoch improved"


def _history_table(history: list[dict[str, float]], best: dict[str, float], is_its_score: bool) -> str:
    columns = [(name, title, form) for name, title, form in COLUMNS if any(name in row for row in history)]
    rows = []
    for row in _spread_rows(history, best):
        cells = [format(int(row[n]) if f == "d" else row[n], f) if n in row else "" for n, _, f in columns]
        rows.append([f"**{cell}**" if is_its_score and row is best and cell else cell for cell in cells])
    return markdown_table([title for _, title, _ in columns], rows)


def _spread_rows(history: list[dict[str, float]], best: dict[str, float]) -> list[dict[str, float]]:
    """About `_SHOWN_EPOCHS` rows, with the first, the last and the best among them."""
    step = max(1, -(-len(history) // _SHOWN_EPOCHS))
    return [row for i, row in enumerate(history) if i % step == 0 or row is history[-1] or row is best]


def _limits(model: DepthUNet) -> str:
    config = model.config
    return (
        "It is accurate on scenes like those it was trained on. For its canonical camera, whose focal length is "
        f"{config.canonical_focal:g} of the picture's width, it predicts {config.min_depth:g} to {config.max_depth:g} "
        "m; for another lens this range scales with the focal length. Without EXIF data or a given camera it assumes a "
        f"focal length of {config.canonical_focal:g} of the photo's longer side, and all metres are wrong by the ratio "
        "of the true focal length to that."
    )


def _licence(origins: tuple[Origin, ...]) -> str:
    weights = {
        "mit": "MIT",
        "unknown": "ask the publisher",
        "research-only": "for research only, because of the data. Train your own for anything else",
    }
    lines = [f"- Data: {origin.link}: {origin.terms}." for origin in origins]
    return "\n".join(["- Code: MIT.", *lines, f"- Weights: {weights[strictest(origins)]}."])


def _eval_results(result: Result) -> list[EvalResult]:
    """The model-index: metric depth, and the error that is left once the scale is fitted."""
    shown = {"abs_rel": "AbsRel", "rmse": "RMSE", "delta1": "delta1"}
    # The hub's name of a type of data has no spaces.
    kind = re.sub(r"\W+", "-", " and ".join(origin.title for origin in result.origins)).strip("-").lower()
    return [
        EvalResult(
            task_type="depth-estimation",
            task_name="Monocular depth estimation",
            dataset_type=kind,
            dataset_name=result.data,
            dataset_args={"protocol": result.protocol},
            metric_type=name if align == "none" else f"{name}_{align}_aligned",
            metric_name=title if align == "none" else f"{title}, {align}-aligned",
            metric_value=round(result.means[align][name], 4),
        )
        for align in ("none", "median")
        if align in result.means
        for name, title in shown.items()
    ]
