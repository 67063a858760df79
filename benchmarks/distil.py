"""Distillation: a small network learns from the labels of a larger one alone, without any true depth.

`python -m benchmarks.distil PICTURES... --encoder-weights FILE` takes the pictures of RGB-D tars or of folders,
labels them with the teacher (`train.label`), trains a smaller network on these labels (`python -m train`), and compares
it with the teacher on the last tenth of each source, which neither training nor the choice of the epoch has seen. The
baseline is the median of the training labels at each pixel. Writes benchmarks/results/distil.json and fills the block
"distil" of docs/training.md, with the time of each step of the recipe there. What is finished in --runs is not done
again. Nothing but the pictures of the sources is read, so that no true depth can help.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.training import FINISHED, train
from depth_unet import DEFAULT_MODEL, DepthUNet, RgbdFolder, depth_metrics, open_model
from depth_unet.files import write_atomically, write_json
from depth_unet.images import SUFFIXES
from train import evaluate, inspect, prepare
from train.card import read_history
from train.config import TrainConfig
from train.documents import fill, markdown_table
from train.label import LABELS_FILE
from train.run import HISTORY

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "training.md"
HELD_BACK = 0.1  # share of each source, at its end
SAMPLES = 200  # that are inspected


def pictures_of(source: Path) -> list[tuple[str, bytes]]:
    """The pictures of a tar or a folder by name, without depth maps (PNG)."""
    names = tuple(suffix for suffix in SUFFIXES if suffix != ".png")
    if source.is_dir():
        return [(p.name, p.read_bytes()) for p in sorted(source.rglob("*")) if p.suffix.lower() in names]
    with tarfile.open(source, "r:") as archive:
        members = sorted((m for m in archive if m.name.lower().endswith(names)), key=lambda member: member.name)
        return [(member.name.replace("/", "_"), archive.extractfile(member).read()) for member in members]


def collect(sources: list[Path], output: Path, every: int = 1) -> None:
    """Write the pictures of all sources into `output`/train and `output`/held.

    Args:
        sources: RGB-D tars or folders.
        output: folder.
        every: take one picture of so many.
    """
    for source in sources:
        found = pictures_of(source)[::every]
        cut = len(found) - max(1, round(HELD_BACK * len(found)))
        for number, (name, content) in enumerate(found):
            folder = output / ("train" if number < cut else "held") / source.stem
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)


def label(photos: Path, teacher: str, output: Path) -> None:
    """Run `train.label`, which keeps what is finished."""
    command = [sys.executable, "-m", "train.label", str(photos), "--teacher", teacher, "--output", str(output)]
    if subprocess.run(command, check=False).returncode not in (0, 1):  # 1: photos without a label
        raise RuntimeError(f"labelling {photos} failed")


def timed(place: Path, count: int, main: Callable[[list[str]], int], arguments: list[str]) -> float:
    """Run a command, unless it was run before; its seconds per 1000 photos.

    Args:
        place: JSON file with the times of the commands that were run.
        count: photos that the command reads.
        main: of the command.
        arguments: of the command.
    """
    known, step = json.loads(place.read_text("utf-8")) if place.exists() else {}, main.__module__
    if step not in known:
        began = time.perf_counter()
        if main(arguments) > 1:  # 1: some photos could not be used
            raise RuntimeError(f"{step} {' '.join(arguments)} failed")
        known[step] = 1000 * (time.perf_counter() - began) / count
        write_json(place, known)
    return known[step]


def epoch_seconds(run: Path) -> float:
    """Seconds of a training for an epoch of 1000 photos, from the steps that its history records."""
    steps = [row["step_ms"] for row in read_history(run / HISTORY) if "step_ms" in row]
    return statistics.mean(steps) / TrainConfig().batch_size


def recipe_times(runs: Path, photos: int) -> dict[str, float]:
    """Seconds per 1000 photos of each step of the recipe in docs/training.md, all on the labels for training."""
    data, seen, kept = f"rgbd:{runs / 'train'}", min(SAMPLES, photos), runs / "seconds.json"
    look = ["--data", data, "--samples", str(seen), "--output", str(runs / "labels.jpg")]
    score = ["--data", data, "--model", str(runs / "student" / "best"), "--output", str(runs / "evaluation.json")]
    return {
        "train.label": json.loads((runs / "train" / LABELS_FILE).read_text("utf-8"))["seconds_per_1000_photos"],
        "train.inspect": timed(kept, seen, inspect.main, look),
        "train.prepare": timed(kept, photos, prepare.main, [data, "--output", str(runs / "prepared")]),
        "train, each epoch": epoch_seconds(runs / "student"),
        "train.evaluate": timed(kept, photos, evaluate.main, score),
    }


def median_map(labels: RgbdFolder, size: tuple[int, int]) -> np.ndarray:
    """The median of all labels at each pixel, at a common size; (height, width) metres."""
    maps = []
    for index in range(len(labels)):
        sample = labels[index].resize(*size)
        maps.append(torch.where(sample.valid, sample.depth, torch.nan)[0].numpy())
    middle = np.nanmedian(np.stack(maps), axis=0)
    return np.where(np.isfinite(middle), middle, np.nanmedian(middle)).astype(np.float32)


def compare(student: DepthUNet, baseline: np.ndarray, held: RgbdFolder) -> dict[str, float]:
    """AbsRel against the teacher, the median over frames, of the student and of the baseline."""
    errors: dict[str, list[float]] = {"student": [], "median_map": []}
    for index in range(len(held)):
        sample = held[index]
        image = (sample.image * 255).round().byte().permute(1, 2, 0).numpy()
        height, width = sample.depth.shape[1:]
        stretched = F.interpolate(torch.from_numpy(baseline)[None, None], (height, width), mode="bilinear")[0, 0]
        predictions = {"student": student.predict(image, sample.camera).depth, "median_map": stretched.numpy()}
        for name, depth in predictions.items():
            metrics = depth_metrics(depth, sample.depth[0].numpy(), sample.valid[0].numpy())
            errors[name].append(metrics["abs_rel"])
    return {name: statistics.median(values) for name, values in errors.items()}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.distil", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("pictures", nargs="+", type=Path, help="RGB-D tars or folders, of which only pictures are read")
    made.add_argument("--teacher", default=DEFAULT_MODEL, help="as for train.label")
    made.add_argument("--encoder", default="tu-tf_efficientnet_lite0", help="of the student")
    made.add_argument("--encoder-weights", help="ImageNet weights of the student's encoder  (default: random)")
    made.add_argument("--input-size", default="96x128", help="of the student, HEIGHTxWIDTH")
    made.add_argument("--epochs", type=int, default=16, help="of the student's training")
    made.add_argument("--every", type=int, default=1, help="take one picture of so many")
    made.add_argument("--runs", type=Path, default=Path("runs/distil"), help="folder of photos, labels and training")
    made.add_argument("--output", type=Path, default=HERE / "results" / "distil.json", help="JSON to write")
    made.add_argument("--card", type=Path, default=DOCUMENT, help="document whose block 'distil' is filled")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Label, train, compare, write."""
    options = parser().parse_args(arguments)
    runs = options.runs
    if not (runs / "photos" / FINISHED).exists():
        collect(options.pictures, runs / "photos", options.every)
        write_atomically(runs / "photos" / FINISHED, b"")
    for part in ("train", "held"):
        label(runs / "photos" / part, options.teacher, runs / part)
    choices = ["--encoder", options.encoder, "--input-size", options.input_size, "--epochs", str(options.epochs)]
    if options.encoder_weights:
        choices += ["--encoder-weights", options.encoder_weights]
    train(runs / "student", [f"--data=rgbd:{runs / 'train'}", *choices, "--learning-rate", "2e-3"])
    labels, held = RgbdFolder(runs / "train"), RgbdFolder(runs / "held")
    student = DepthUNet.from_pretrained(runs / "student" / "best")
    size = tuple(student.config.input_size)
    errors = compare(student, median_map(labels, size), held)
    teacher = open_model(options.teacher)
    result = {
        "teacher": teacher.name,
        "teacher_sha256": teacher.sha256,
        "student_sha256": student.sha256,
        "student_parameters": sum(parameter.numel() for parameter in student.parameters()),
        "photos": len(labels),
        "held_back_photos": len(held),
        "epochs": options.epochs,
        "input_size": list(size),
        "abs_rel_to_teacher": errors,
        "ratio": errors["student"] / errors["median_map"],
        "seconds_per_1000_photos": recipe_times(runs, len(labels)),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, result)
    fill(options.card, "distil", text(result))
    print(text(result))
    return 0


def text(result: dict) -> str:
    """The block of the document."""
    rows, columns = result["input_size"]
    table = markdown_table(
        ["", f"AbsRel against the teacher, median of {result['held_back_photos']} held-back photos"],
        [
            ["median of the labels at each pixel", f"{result['abs_rel_to_teacher']['median_map']:.3f}"],
            [
                f"student, {result['student_parameters'] / 1e6:.2f} M parameters, input {rows}x{columns}",
                f"{result['abs_rel_to_teacher']['student']:.3f}",
            ],
            ["ratio", f"{result['ratio']:.2f}"],
        ],
    )
    times = markdown_table(
        ["step", "seconds per 1,000 photos"],
        [[f"`{step}`", f"{seconds:.0f}"] for step, seconds in result["seconds_per_1000_photos"].items()],
    )
    return (
        f"{result['photos']} photos labelled by {result['teacher']} (SHA-256 `{result['teacher_sha256'][:8]}...`), "
        f"{result['epochs']} epochs, one CPU thread; no true depth was used.\n\n{table}\n\n{times}"
    )


if __name__ == "__main__":
    sys.exit(main())
