"""Documents with measured numbers in them: blocks that a command fills, so that nobody types them."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCard
from torch.utils.data import ConcatDataset, Dataset, Subset

from depth_unet import DepthUNet, DiodeDataset, RgbdFolder
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.shards import ShardDataset
from depth_unet.files import write_atomically
from train.history import COLUMNS

TEMPLATE = Path(__file__).parent.parent / "model_card.md"
_SHOWN_EPOCHS = 10


class Source(NamedTuple):
    """Where training pictures come from, and what may be done with what was learnt from them.

    Args:
        title: as a link.
        terms: what its makers allow.
        weights: what that makes of weights trained on it: "mit", "research-only" or "unknown".
    """

    title: str
    terms: str
    weights: str


SOURCES = {
    "nyu_depth_v2": Source(
        "[NYU Depth V2](https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html) (Silberman et al. 2012)",
        "states no licence, and is used for research",
        "research-only",
    ),
    "diode": Source("[DIODE](https://diode-dataset.org) (Vasiljevic et al. 2019)", "MIT licence", "mit"),
    "own_recordings": Source("recordings of its publisher", "their publisher decides", "unknown"),
    "earlier_model": Source("what the model it went on from was trained on", "see there", "unknown"),
}


class Measured(NamedTuple):
    """What an evaluation found.

    Args:
        data: name of the data set.
        source: a key of `SOURCES`.
        protocol: how it was measured, in words.
        means: metrics by alignment, then by name.
        table: the same as Markdown.
    """

    data: str
    source: str
    protocol: str
    means: dict[str, dict[str, float]]
    table: str


def sources_of(dataset: Dataset) -> list[str]:
    """The keys of `SOURCES` that a data set's pictures come from."""
    if isinstance(dataset, ConcatDataset):
        return sorted({source for part in dataset.datasets for source in sources_of(part)})
    if isinstance(dataset, Subset):
        return sources_of(dataset.dataset)
    if isinstance(dataset, ShardDataset):
        return dataset.origin
    if isinstance(dataset, DiodeDataset):
        return ["diode"]
    if isinstance(dataset, NyuDataset):
        return ["nyu_depth_v2"]
    if isinstance(dataset, RgbdFolder) and dataset.layout_of(dataset.pairs[0][0]) is not None:
        return ["nyu_depth_v2"]
    return ["own_recordings"]


def filled(text: str, block: str, content: str, name: str = "the document") -> str:
    """The text with `content` between `<!-- block -->` and `<!-- /block -->`.

    Raises:
        ValueError: there is no such block, or more than one.
    """
    begin, end = f"<!-- {block} -->", f"<!-- /{block} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{name} must have one block from {begin} to {end}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def fill(document: Path, block: str, content: str) -> None:
    """`filled` for a file.

    Raises:
        FileNotFoundError: no such document.
        ValueError: it has no such block, or more than one.
    """
    write_atomically(document, filled(document.read_text("utf-8"), block, content, document.name))


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def model_card(
    model: DepthUNet,
    repo: str,
    measured: list[Measured],
    trained_on: list[str],
    run: dict | None,
    history: list[dict[str, float]],
    files: Iterable[str],
) -> str:
    """README.md of a hub repository, from `TEMPLATE`.

    Args:
        model: what is published.
        repo: owner/name.
        measured: at least one evaluation; the tables and the model-index.
        trained_on: keys of `SOURCES`.
        run: contents of the run's run.json, if it is known.
        history: rows of its history.csv.
        files: names of the files that lie beside the card.

    Raises:
        ValueError: nothing was measured.
    """
    if not measured:
        raise ValueError("a model card needs an evaluation: give --data")
    files = set(files)
    text = TEMPLATE.read_text("utf-8")
    text = text.replace("DepthUNet.from_pretrained()", f'DepthUNet.from_pretrained("{repo}")')
    if "model.onnx" in files:
        text = filled(text, "usage", _block(text, "usage") + "\n\n" + _ONNX_USAGE.format(repo=repo))
    sections = {
        "model": _facts(model),
        "metrics": "\n\n".join(f"{m.protocol[0].upper()}{m.protocol[1:]}.\n\n{m.table}" for m in measured),
        "training": _training(trained_on, run, history, files),
        "limits": _limits(model, trained_on),
        "licence": _licence(trained_on),
    }
    for block, content in sections.items():
        text = filled(text, block, content, TEMPLATE.name)

    card = ModelCard(text)
    card.data.model_name = repo.partition("/")[2]
    card.data.datasets = [source for source in trained_on if source in ("nyu_depth_v2", "diode")] or None
    terms = _terms_of_weights(trained_on)
    card.data.license = "other" if terms == "research-only" else terms
    if terms == "research-only":
        card.data.license_name = terms
    card.data.eval_results = [result for m in measured for result in _results(m)]
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
    bins = f"a distribution over {config.depth_bins} distances, its mean corrected at full size"
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| encoder | `{config.encoder}` |",
            f"| decoder | U-Net, channels {', '.join(map(str, config.decoder_channels))} |",
            f"| head | {bins if config.depth_bins else 'log depth'} |",
            f"| parameters | {parameters:.2f} million |",
            f"| runs at | {rows}x{columns} (height x width) or another shape of that area, multiples of 32 |",
            f"| depth it can say | {config.min_depth:g} to {config.max_depth:g} m |",
        ]
    )


def _training(trained_on: list[str], run: dict | None, history: list[dict[str, float]], files: set[str]) -> str:
    parts = ["Trained on " + " and ".join(SOURCES[source].title for source in trained_on) + "."]
    if run:
        knobs = run["train"]
        weights = ", ".join(
            f"{name.removesuffix('_weight')} {value:g}" for name, value in knobs.items() if name.endswith("_weight")
        )
        parts[0] += (
            f" {knobs['epochs']} epochs with batches of {knobs['batch_size']}, AdamW, learning rate up to "
            f"{knobs['learning_rate']:g} (encoder: {knobs['encoder_rate']:g} of it), averaged weights; loss terms "
            f"weighted {weights}."
        )
    if history:
        best = min(history, key=lambda row: row["val_abs_rel"])
        shown = _spread_rows(history, best)
        columns = [(name, title, form) for name, title, form in COLUMNS if any(name in row for row in history)]
        lines = ["| " + " | ".join(title for _, title, _ in columns) + " |", "|---" * len(columns) + "|"]
        for row in shown:
            cells = [_cell(row.get(name), form) for name, _, form in columns]
            lines.append("| " + " | ".join(f"**{cell}**" if row is best and cell else cell for cell in cells) + " |")
        parts.append("\n".join(lines))
        weights = f"those of epoch {best['epoch']:.0f} (bold)"
        if run and "averaged" in run:
            weights = f"the mean of {weights} and the best of {run['averaged'] - 1} more from the same start"
        parts.append(f"The weights are {weights}, chosen by AbsRel on the validation data, without alignment.")
        if "history.csv" in files:
            parts[-1] += " [history.csv](history.csv) has every epoch."
    if "curves.png" in files:
        parts.append("![Loss, cross-entropy, AbsRel and delta1 over the epochs](curves.png)")
    if "samples.jpg" in files:
        parts.append("Validation pictures at that epoch: input, truth, prediction, relative error.")
        parts.append("![Four columns: photo, true depth, predicted depth, error](samples.jpg)")
    return "\n\n".join(parts)


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return ""
    return format(int(value) if form == "d" else value, form)


def _spread_rows(history: list[dict[str, float]], best: dict[str, float]) -> list[dict[str, float]]:
    """About `_SHOWN_EPOCHS` rows, with the first, the last and the best among them."""
    step = max(1, -(-len(history) // _SHOWN_EPOCHS))
    return [row for i, row in enumerate(history) if i % step == 0 or row is history[-1] or row is best]


def _limits(model: DepthUNet, trained_on: list[str]) -> str:
    indoors = trained_on == ["nyu_depth_v2"]
    config = model.config
    seen = "It has seen the insides of homes, offices and shops, upright and at eye level, and little else. "
    return (
        (seen if indoors else "It knows scenes like those it was trained on. ")
        + f"It cannot say less than {config.min_depth:g} m or more than {config.max_depth:g} m"
        + (", and there was no truth beyond 10 m to learn from: outdoors it is lost. " if indoors else ". ")
        + f"Without EXIF data or a given camera it assumes a focal length of {config.canonical_focal:g} of the "
        "photo's longer side, and all metres are wrong by as much as that is."
    )


def _terms_of_weights(trained_on: list[str]) -> str:
    """The strictest of what the sources ask for."""
    asked = {SOURCES[source].weights for source in trained_on}
    return next(terms for terms in ("research-only", "unknown", "mit") if terms in asked)


def _licence(trained_on: list[str]) -> str:
    weights = {
        "mit": "MIT",
        "unknown": "ask whoever published them",
        "research-only": "for research only, because of the data. Train your own for anything else",
    }
    lines = [f"- Data: {SOURCES[source].title}: {SOURCES[source].terms}." for source in trained_on]
    return "\n".join(["- Code: MIT.", *lines, f"- Weights: {weights[_terms_of_weights(trained_on)]}."])


def _results(measured: Measured) -> list[EvalResult]:
    """The model-index: metric depth, and what is left of the error once the scale is fitted."""
    shown = {"abs_rel": "AbsRel", "rmse": "RMSE", "delta1": "delta1"}
    return [
        EvalResult(
            task_type="depth-estimation",
            task_name="Monocular depth estimation",
            dataset_type=measured.source,
            dataset_name=measured.data,
            dataset_args={"protocol": measured.protocol},
            metric_type=name if align == "none" else f"{name}_{align}_aligned",
            metric_name=title if align == "none" else f"{title}, {align}-aligned",
            metric_value=round(measured.means[align][name], 4),
        )
        for align in ("none", "median")
        if align in measured.means
        for name, title in shown.items()
    ]
