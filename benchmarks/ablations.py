"""What each choice of the recipe is worth: the same short training with one thing changed.

`python -m benchmarks.ablations --data KIND:PATH ... --val-data KIND:PATH --encoders FOLDER` trains row by row into
runs/ablations (what is there already is not trained again), writes benchmarks/results/ablations.json and fills
benchmarks/ablations.md. `--rows NAME ...` does only some; several such commands may run side by side. The rows about
data need `--also GROUP KIND:PATH ...` for the groups that they name, e.g. `--also rooms rgbd:rooms_train_0.tar`.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.training import train
from depth_unet import DepthUNet, DepthUNetConfig, data
from depth_unet.data import DepthData
from depth_unet.files import write_json
from train import evaluate
from train.config import TrainConfig
from train.documents import fill, markdown_table

HERE = Path(__file__).parent
ROOMS = HERE.parent / "docs" / "rendered_rooms.md"
RESULTS = HERE / "results" / "ablations.json"
EPOCHS, SIZE = 10, "96x128"  # ten, as in the paper
ENCODERS = {  # the files of --encoders
    "tu-tf_efficientnet_lite2": "tf_efficientnet_lite2_timm.safetensors",
    "tu-tf_efficientnet_lite0": "tf_efficientnet_lite0_timm.safetensors",
    "mobilenet_v2": "mobilenet_v2_torchvision_features.safetensors",
}
# What every row changes one thing of: the recipe as it was before the rows that say "the default" decided.
TERMS = {"ssim_weight": 1.0, "mare_weight": 1.0, "edge_weight": 1.0, "log_weight": 0.5, "gradient_weight": 0.5}
BASE = TERMS | {"frozen_norm": False, "depth_bins": 0}
NOW = TrainConfig().to_dict() | DepthUNetConfig().to_dict()
DEFAULT = {name: NOW[name] for name in BASE}
STEPS = 83  # of an epoch in the rows about data: those of 665 photos in batches of 8


class Row(NamedTuple):
    """One training.

    Args:
        group: what kind of choice it is about.
        name: what is different from `BASE`, in words.
        options: the same as options of `python -m train`.
        encoder: of the network.
        pretrained: begin with ImageNet weights.
        epochs: passes over the data.
        size: input, HEIGHTxWIDTH.
        shares: how much of an epoch comes from --data ("nyu") and from the groups of --also; {} for --data alone.
            An epoch then has at most `STEPS` steps, so that these rows see equally many pictures.
        begin: row whose model this one begins with, instead of ImageNet weights.
    """

    group: str
    name: str
    options: dict[str, object] = {}
    encoder: str = "tu-tf_efficientnet_lite2"
    pretrained: bool = True
    epochs: int = EPOCHS
    size: str = SIZE
    shares: dict[str, float] = {}
    begin: str = ""


def _loss(*terms: str) -> dict[str, object]:
    """Those terms with their weights in `BASE`, the others without any."""
    return {name: 0.0 for name in TERMS if name.removesuffix("_weight") not in terms}


def _on(name: str, shares: dict[str, float], epochs: int = 12, begin: str = "") -> Row:
    """Today's defaults on other data."""
    return Row("data", name, DEFAULT, epochs=epochs, shares=shares, begin=begin)


ROWS = {
    "base": Row("", "one recipe"),
    "seed": Row("", "another seed: what differs less than this is noise", {"seed": 1}),
    "random": Row("encoder", "encoder from random weights", pretrained=False),
    "lite0": Row("encoder", "EfficientNet-Lite0", encoder="tu-tf_efficientnet_lite0"),
    "mobilenet_v2": Row("encoder", "MobileNet V2", encoder="mobilenet_v2"),
    "ssim": Row("loss", "SSIM only", _loss("ssim")),
    "mare": Row("loss", "MARE only, plain", _loss("mare")),
    "mare_edge": Row("loss", "MARE only, edges weighted", _loss("mare", "edge")),
    "both": Row("loss", "SSIM + MARE, plain", _loss("ssim", "mare")),
    "paper": Row("loss", "SSIM + MARE, edges weighted (the paper's)", _loss("ssim", "mare", "edge")),
    "log": Row("loss", "half the MARE, three times the log term: the default", {"mare_weight": 0.5, "log_weight": 1.5}),
    "no_log": Row("loss", "without the log term", _loss("ssim", "mare", "edge", "gradient")),
    "no_gradient": Row("loss", "without the slope term", _loss("ssim", "mare", "edge", "log")),
    "frozen": Row(
        "encoder", "BatchNorm keeps ImageNet's statistics in the encoder: the default", {"frozen_norm": True}
    ),
    "drop_path": Row("encoder", "residual blocks skipped at random", {"drop_path": 0.2}),
    "bins": Row("decoder", "a distribution over 48 distances: the default", {"depth_bins": 48}),
    "default": Row("", "all that is said to be the default: what `python -m train` does", DEFAULT),
    "default_skipping": Row("", "the same, and residual blocks skipped at random", DEFAULT | {"drop_path": 0.2}),
    "default_skipping_moving": Row(
        "",
        "the same, and BatchNorm's statistics move",
        DEFAULT | {"drop_path": 0.2, "frozen_norm": False},
    ),
    "no_zoom": Row("views", "no zoom", {"zoom": 1.0}),
    "no_turn": Row("views", "no turned camera", {"turn": 0.0}),
    "no_colour": Row("views", "no change of colours", {"colour": 0.0}),
    "no_ema": Row("schedule", "no averaged weights", {"ema_decay": 0.0}),
    "narrow": Row("decoder", "half as wide", {"decoder_channels": "64 32 24 16 8"}),
    "wide": Row("decoder", "twice as wide where it is coarse", {"decoder_channels": "256 128 64 32 16"}),
    "small": Row("input", "64x96", size="64x96"),
    "large": Row("input", "160x224", size="160x224"),
    "long": Row("schedule", "24 epochs", epochs=24),
    "nyu": _on("NYU alone", {"nyu": 1}),
    "places": _on("NYU and places, 2 : 1", {"nyu": 2, "places": 1}),
    "rooms": _on("NYU and rooms, 1 : 1", {"nyu": 1, "rooms": 1}),
    "all": _on("NYU, rooms and places, 2 : 1 : 1", {"nyu": 2, "rooms": 1, "places": 1}),
    "rooms_alone": _on("rooms alone", {"rooms": 1}),
    "close_alone": _on("close rooms alone", {"close": 1}),
    # Few frames, seen as often as the other rows see theirs together.
    "rendered": _on("frames of `train.render` alone", {"rendered": 1}, epochs=34),
    "rooms_nyu": _on("rooms alone, then NYU", {"nyu": 1}, begin="rooms_alone"),
    "rooms_rooms": _on("rooms alone, then NYU and rooms, 2 : 1", {"nyu": 2, "rooms": 1}, begin="rooms_alone"),
    "rooms_all": _on(
        "rooms alone, then NYU, rooms and places, 2 : 1 : 1", {"nyu": 2, "rooms": 1, "places": 1}, begin="rooms_alone"
    ),
    "mix": Row(
        "schedule", "24 epochs, parts of other pictures pasted in, colours", {"mix": 0.5, "colour": 0.4}, epochs=24
    ),
}


class FlipAveraged(DepthUNet):
    """A model that sees each photo also mirrored, and predicts the geometric mean: twice the time."""

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """As of `DepthUNet`."""
        return torch.sqrt(super().run(images) * super().run(images.flip(-1)).flip(-1))


def arguments(row: Row, options: argparse.Namespace) -> list[str]:
    """The options of `python -m train` for one row.

    Raises:
        ValueError: it needs data or another row that is not there.
    """
    given = ["--epochs", str(row.epochs), "--validate-every", str(row.epochs), "--input-size", row.size]
    given += ["--val-data", options.val_data]
    sets = _sets(row, options)
    for names in sets.values():
        given += [f"--data={name}" for name in names]
    if row.shares:
        given += ["--limit-batches", str(STEPS), "--shares"]
        for group, names in sets.items():  # within a group by size
            sizes = [_samples(name) for name in names]
            given += [str(row.shares[group] * size / sum(sizes)) for size in sizes]
    if row.begin:
        model = options.runs / row.begin / "best"
        if not model.is_dir():
            raise ValueError(f"the row {row.name!r} begins with the row {row.begin!r}: do that one first")
        return [*given, "--model", str(model), *_choices(row)]
    given += ["--encoder", row.encoder]
    if row.pretrained:
        given += ["--encoder-weights", str(options.encoders / ENCODERS[row.encoder])]
    return [*given, *_choices(row)]


def _sets(row: Row, options: argparse.Namespace) -> dict[str, list[str]]:
    given = {"nyu": options.data} | {group: names for group, *names in options.also}
    if missing := set(row.shares) - set(given):
        raise ValueError(f"the row {row.name!r} needs --also {missing.pop()} KIND:PATH ...")
    return {group: given[group] for group in row.shares or ["nyu"]}


def _samples(name: str) -> int:
    return len(data.open_data(name, data.split_for(name, "train")))


def sizes(row: Row, options: argparse.Namespace) -> dict[str, int]:
    """How many pictures a row trains on, and how often it sees one; not those of the row that it begins with."""
    samples = sum(_samples(name) for names in _sets(row, options).values() for name in names)
    batch = TrainConfig().batch_size
    steps = samples // batch  # no incomplete batch
    return {"samples": samples, "pictures": row.epochs * batch * (min(steps, STEPS) if row.shares else steps)}


def _choices(row: Row) -> list[str]:
    given = []
    for name, value in (BASE | row.options).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{option}" if value else f"--no-{option}")
        else:
            given += [f"--{option}", *str(value).split()]
    return given


def measure(model: DepthUNet, options: argparse.Namespace) -> dict:
    """The scores of the table, and the interval of AbsRel."""
    measured = evaluate.measure(model, data.open_data(options.val_data))
    means = measured.means
    return {
        "sha256": model.sha256,
        "protocol": measured.protocol,
        **{name: means["none"][name] for name in ("abs_rel", "rmse", "delta1", "median_ratio")},
        **{f"median_{name}": means["median"][name] for name in ("abs_rel", "delta1")},
        "interval": evaluate.interval(measured.frames, "abs_rel"),
        "others": {dataset.title: _accuracy(model, dataset) for dataset in map(data.open_data, options.others)},
    }


def _accuracy(model: DepthUNet, dataset: DepthData) -> list[float]:
    means = evaluate.measure(model, dataset).means["none"]
    return [means["abs_rel"], means["delta1"]]


def data_table_of(results: dict[str, dict]) -> str:
    """A row for each training on other data, with the accuracy on other places."""
    rows, others = [], list(dict.fromkeys(title for result in results.values() for title in result["others"]))
    for result in results.values():
        pairs = [(result["abs_rel"], result["delta1"]), (result["median_abs_rel"], result["median_delta1"])]
        pairs += [result["others"].get(title) for title in others]
        rows.append(
            [
                result["name"],
                f"{result['samples']:,}",
                f"{result['pictures']:,}",
                *(pair and f"{pair[0]:.4f} / {pair[1]:.4f}" for pair in pairs),
                f"{result['median_ratio']:.3f}",
            ]
        )
    return markdown_table(["trained on", "pictures", "seen", "nyu_val", "median-aligned", *others, "p/t"], rows)


def rooms_text(result: dict) -> str:
    """What docs/rendered_rooms.md quotes."""
    return (
        f"A network of {result['command']['size']} that saw {result['samples']:,} frames of this command "
        f"({result['pictures']:,} views of them), ImageNet weights and no real depth: nyu_val "
        f"{result['abs_rel']:.3f} / {result['delta1']:.3f} (AbsRel / delta1) in metres, "
        f"{result['median_abs_rel']:.3f} / {result['median_delta1']:.3f} median-aligned. "
        "[ablations.md](../benchmarks/ablations.md#data) has it beside other data."
    )


def table_of(results: dict[str, dict]) -> str:
    """A row for each training, with its difference to the first."""
    base, rows = results.get("base"), []
    for result in results.values():
        changes = [f"{result[m] - base[m]:+.4f}" if base and result is not base else "" for m in ("abs_rel", "delta1")]
        aligned = f"{result['median_abs_rel']:.4f} / {result['median_delta1']:.4f}"
        accuracy = [
            f"{result['abs_rel']:.4f}",
            changes[0],
            f"{result['rmse']:.3f}",
            f"{result['delta1']:.4f}",
            changes[1],
        ]
        rows.append([result["group"], result["name"], *accuracy, f"{result['median_ratio']:.3f}", aligned])
    headings = ["", "changed", "AbsRel", "", "RMSE, m", "delta1", "", "p/t", "median-aligned AbsRel / delta1"]
    return markdown_table(headings, rows)


def main() -> None:
    """Train what is not there, then write the table of all that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help=data.usage())
    parser.add_argument("--val-data", required=True, help="KIND:PATH to score on")
    parser.add_argument(
        "--also", nargs="+", action="append", default=[], metavar=("GROUP", "KIND:PATH"), help="data of other rows"
    )
    parser.add_argument("--others", nargs="*", default=[], metavar="KIND:PATH", help="score on these too, unaligned")
    parser.add_argument("--encoders", type=Path, required=True, help="folder with ImageNet weights")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS), help="(default: all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="folder of the trainings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for key in options.rows:
        scores, output = options.runs / f"{key}.json", options.runs / key
        if scores.exists():
            continue
        train(output, arguments(ROWS[key], options))
        row = {"group": ROWS[key].group, "name": ROWS[key].name, "command": ROWS[key]._asdict()}
        row |= sizes(ROWS[key], options)
        write_json(scores, row | measure(DepthUNet.from_pretrained(output / "best"), options))
        if key == "base":
            row["group"], row["name"] = "predicting", "the mean with the mirrored photo"
            write_json(
                options.runs / "flip.json", row | measure(FlipAveraged.from_pretrained(output / "best"), options)
            )
    found = json.loads(RESULTS.read_text())
    for key in (*ROWS, "flip"):
        if (scores := options.runs / f"{key}.json").exists():
            found[key] = json.loads(scores.read_text())
    results = {key: found[key] for key in (*ROWS, "flip") if key in found}
    about_data = {key: result for key, result in results.items() if result["group"] == "data"}
    tables = {
        "ablations": table_of({key: result for key, result in results.items() if key not in about_data}),
        "data": data_table_of(about_data),
    }
    write_json(RESULTS, results)
    for block, table in tables.items():
        print(table)
        fill(HERE / "ablations.md", block, table)
    if "rendered" in results:
        fill(ROOMS, "rooms", rooms_text(results["rendered"]))


if __name__ == "__main__":
    main()
