"""Measure trainings of one network, and means of their weights, to choose which to average.

`python -m benchmarks.averages --data KIND:PATH --model start=FOLDER --model a=RUN ... --mean start+a ...` writes
benchmarks/results/averages.json and fills the block "averages" of shipped_model.md. RUN is the folder of a training,
whose last exponential moving average is loaded, whether or not it is better than its start. FOLDER is a saved model.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from depth_unet import DepthUNet, data
from depth_unet.files import write_json
from train.checkpoint import averaged_weights
from train.documents import fill, markdown_table
from train.evaluate import measure
from train.run import LAST

HERE = Path(__file__).parent
State = dict[str, torch.Tensor]


def mean_of(states: Sequence[State]) -> State:
    """Average the weights of trainings of one network; integer tensors are those of the first."""
    return {
        key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in states[0].items()
    }


def state_of(folder: Path) -> State:
    """Load the last exponential moving average of a training, or the weights of a saved model.

    Raises:
        OSError: there is neither.
        ValueError: it is broken.
    """
    last = folder / LAST
    return averaged_weights(last) if last.exists() else DepthUNet.from_pretrained(folder).state_dict()


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder) or "+" in name:
        raise argparse.ArgumentTypeError(f"give NAME=FOLDER, NAME without +, not {text!r}")
    return name, Path(folder)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", required=True, help=data.usage())
    made.add_argument(
        "--model", type=_named, action="append", required=True, help="NAME=FOLDER; the first is a saved model"
    )
    made.add_argument("--mean", action="append", default=[], metavar="NAME+NAME", help="measure the mean of these")
    made.add_argument("--threads", type=int, default=1, help="CPU threads")
    made.add_argument("--output", type=Path, default=HERE / "results" / "averages.json", help="JSON to write")
    made.add_argument("--card", type=Path, default=HERE / "shipped_model.md", help="document to fill with the table")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after an error."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        states = {name: state_of(folder) for name, folder in options.model}
        network = DepthUNet.from_pretrained(options.model[0][1])
        dataset = data.open_data(options.data, data.split_for(options.data, "score"))
        groups = [[name] for name in states] + [mean.split("+") for mean in options.mean]
        if unknown := {name for group in groups for name in group} - set(states):
            raise ValueError(f"--mean contains {', '.join(sorted(unknown))}, but no --model has that name")
        shapes = [{key: value.shape for key, value in state.items()} for state in states.values()]
        if others := [name for name, each in zip(states, shapes, strict=True) if each != shapes[0]]:
            raise ValueError(f"{others[0]} and {options.model[0][0]} are different networks and have no mean")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = []
    for group in groups:
        network.load_state_dict(mean_of([states[name] for name in group]))
        means = measure(network, dataset).means
        found.append({"models": group, **{kind: means[kind] for kind in ("none", "median")}})
        print(f"{' + '.join(group)}: {means['none']['abs_rel']:.4f} / {means['none']['delta1']:.4f}", flush=True)
    write_json(options.output, {"data": dataset.title, "rows": found})
    fill(options.card, "averages", table_of(found))
    return 0


def table_of(rows: list[dict]) -> str:
    """The table in Markdown."""
    cells = [
        [
            " + ".join(row["models"]),
            *(f"{row[kind]['abs_rel']:.4f} / {row[kind]['delta1']:.4f}" for kind in ("none", "median")),
            f"{row['none']['median_ratio']:.3f}",
        ]
        for row in rows
    ]
    return markdown_table(["mean of", "AbsRel / delta1, metres", "median-aligned", "p/t"], cells)


if __name__ == "__main__":
    sys.exit(main())
