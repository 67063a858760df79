"""Trainings as commands of their own, which resume after an interruption and run once, and what their recipes share."""

import argparse
import subprocess
import sys
from pathlib import Path

from train.prepare import main as prepare

FINISHED = "finished"  # a file in the folder of a run that came to its end


def train(output: Path, arguments: list[str]) -> None:
    """Run `python -m train` with one thread and no worker process, unless it is finished; it logs to `output`/log.txt.

    Raises:
        RuntimeError: it failed; the message names the log.
    """
    if (output / FINISHED).exists():
        return
    command = [sys.executable, "-m", "train", "--output", str(output), "--threads", "1", "--workers", "0", *arguments]
    if (output / "last.safetensors").exists():
        command += ["--resume"]
    output.mkdir(parents=True, exist_ok=True)
    with (output / "log.txt").open("a") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
            raise RuntimeError(f"training {output.name} failed: see {output / 'log.txt'}")
    (output / FINISHED).touch()


def recipe_parser(about: str, nyu_share: float, where: str, encoder: str) -> argparse.ArgumentParser:
    """The options of a command that trains a model of the package in stages.

    Args:
        about: its description.
        nyu_share: share of NYU Depth V2 in an epoch, beside those of the other data.
        where: the stages in which it has that share.
        encoder: name of the encoder, for the help.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", type=Path, required=True, help="folders or tars of NYU Depth V2")
    parser.add_argument(
        "--also",
        nargs=2,
        action="append",
        default=[],
        metavar=("DATA", "SHARE"),
        help=f"other RGB-D pairs, and their share in an epoch of {where}, where NYU has {nyu_share:g} together",
    )
    parser.add_argument("--val", type=Path, required=True, help="likewise, to choose the best epoch with")
    parser.add_argument("--encoder-weights", help=f"ImageNet weights of {encoder}")
    parser.add_argument("--precision", default="auto", help="as of `python -m train`")
    parser.add_argument("--epochs", nargs="+", type=int, help="fewer in each stage, to try the command")
    parser.add_argument("--runs", type=Path, help="folder to work in")
    return parser


def prepared(source: Path, runs: Path, size: str) -> str:
    """Frames of NYU Depth V2, prepared once in that HEIGHTxWIDTH into a folder of `runs`, as KIND:PATH."""
    folder = runs / source.stem
    choices = ["--size", size, "--quality", "95", "--holdout", "0", "--output", str(folder)]
    if not (folder / "dataset.json").exists() and prepare([f"rgbd/nyu:{source}", *choices]):
        raise SystemExit(2)
    return f"prepared:{folder}"
