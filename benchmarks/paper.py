"""The paper's recipe beside the default one: a plain U-Net, SSIM + MARE, ten epochs, on NYU and in DIODE's layout.

`python -m benchmarks.paper --data KIND:PATH ... --val-data KIND:PATH --encoder-weights FILE` trains four times into
runs/paper (what is finished there is not trained again) and fills docs/paper.md with tables and pictures. DIODE's
layout is filled with rendered scenes. The paper's network begins at random, as in the paper.
"""

import argparse
import shutil
from pathlib import Path

from benchmarks.diode_layout import write_diode
from benchmarks.training import train
from depth_unet import data
from train.card import read_history
from train.documents import fill, markdown_table

DOCS = Path(__file__).parent.parent / "docs"
EPOCHS, SIZE = 10, "64x96"  # a size at which a CPU trains the plain U-Net in half an hour
TRAIN_SCENES, VAL_SCENES = 96, 16
# Time per step, the loss that is trained, cross-entropy over depth bins: the columns of the paper's Table 1; and ours.
COLUMNS = {
    "step_ms": ("ms per step", ".0f"),
    "loss": ("loss", ".4f"),
    "cross_entropy": ("cross-entropy", ".3f"),
    "val_loss": ("val. loss", ".4f"),
    "val_cross_entropy": ("val. cross-entropy", ".3f"),
    "val_abs_rel": ("val. AbsRel", ".3f"),
    "val_rmse": ("val. RMSE, m", ".3f"),
    "val_delta1": ("val. delta1", ".3f"),
}


def table_of(histories: dict[str, list[dict[str, float]]]) -> str:
    """First, middle and last epoch of each recipe."""
    rows = [
        [name, f"{row['epoch']:.0f}", *(format(row[column], form) for column, (_, form) in COLUMNS.items())]
        for name, history in histories.items()
        for row in (history[0], history[len(history) // 2 - 1], history[-1])
    ]
    return markdown_table(["", "epoch", *(title for title, _ in COLUMNS.values())], rows)


def main() -> None:
    """Train what is not there, then fill the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help=data.usage())
    parser.add_argument("--val-data", required=True, help="KIND:PATH to score on")
    parser.add_argument("--encoder-weights", required=True, help="of the default recipe")
    parser.add_argument("--runs", type=Path, default=Path("runs/paper"), help="folder of the trainings")
    options = parser.parse_args()
    diode = options.runs / "diode"
    if not (diode / "diode_meta.json").exists():
        write_diode(diode, TRAIN_SCENES, VAL_SCENES)
    sets = {
        "nyu": [f"--data={name}" for name in options.data] + [f"--val-data={options.val_data}"],
        "diode": [f"--data=diode:{diode}", "--max-depth=150"],
    }
    presets = {
        "paper": ["--preset", "paper"],
        "default": ["--encoder-weights", options.encoder_weights],
    }
    for place, named in sets.items():
        histories = {}
        for preset, choices in presets.items():
            output = options.runs / f"{place}_{preset}"
            length = ["--epochs", str(EPOCHS), "--input-size", SIZE, "--precision", "bf16"]
            train(output, [*choices, *named, *length])
            histories[preset] = read_history(output / "history.csv")
            shutil.copyfile(output / f"epoch_{EPOCHS:03d}.jpg", DOCS / f"{place}_{preset}.jpg")
        fill(DOCS / "paper.md", place, table_of(histories))


if __name__ == "__main__":
    main()
