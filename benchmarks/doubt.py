"""Whether a photo's mean uncertainty tells photos like those of the training from others.

`python -m benchmarks.doubt --inside rgbd/nyu:nyu_val.tar --outside rgbd:midair_meadow.tar ...` compares the mean of
`Prediction.uncertainty` of the photos of one data set with that of others and of two kinds that it draws: surfaces seen
from a hand's breadth, and line drawings. Prints the area under the ROC curve for each (1: perfect, 0.5: chance), writes
benchmarks/results/doubt.json and fills the block "doubt" of benchmarks/README.md.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from depth_unet import data, open_model
from depth_unet.engines import add_model_options
from depth_unet.files import write_json
from depth_unet.predictor import Predictor
from train.documents import fill, markdown_table
from train.evaluate import predict_samples

HERE = Path(__file__).parent
DRAWN = 60  # pictures of each kind
_SIZE = 320, 240


def close_texture(seed: int) -> Image.Image:
    """Grain of cloth, plaster or wood that fills the picture: noise of several sizes, stretched, tinted."""
    rng = np.random.default_rng(seed)
    layers = np.zeros(_SIZE[::-1])
    for octave in range(2, 7):
        rows, columns = (max(2, int(side / 2**octave * rng.uniform(0.5, 2))) for side in _SIZE[::-1])
        noise = Image.fromarray(rng.random((rows, columns)).astype(np.float32)).resize(_SIZE, Image.Resampling.BICUBIC)
        layers += np.asarray(noise) * rng.uniform(0.2, 1) * 2 ** (octave / 4)
    layers = (layers - layers.min()) / np.ptp(layers)
    tint = rng.uniform(0.3, 1.0, 3)
    return Image.fromarray((255 * layers[..., None] ** rng.uniform(0.5, 1.5) * tint).astype(np.uint8))


def drawing(seed: int) -> Image.Image:
    """Dark lines and circles on paper."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", _SIZE, tuple(int(value) for value in rng.integers(225, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(5, 25))):
        ends = [tuple(int(value) for value in rng.integers(0, _SIZE)) for _ in range(2)]
        ink, width = tuple(int(value) for value in rng.integers(0, 120, 3)), int(rng.integers(1, 5))
        if rng.random() < 0.6:
            pen.line(ends, ink, width)
        else:
            (left, right), (top, bottom) = (sorted(side) for side in zip(*ends, strict=True))
            pen.ellipse((left, top, right + 1, bottom + 1), outline=ink, width=width)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def doubts(model: Predictor, name: str) -> list[float]:
    """The mean uncertainty of each photo of a data set."""
    opened = data.open_data(name, data.split_for(name, "score"))
    samples = (opened[index] for index in range(len(opened)))
    return [prediction.mean_uncertainty() for _, prediction in predict_samples(model, samples)]


def area_under_roc(inside: list[float], outside: list[float]) -> float:
    """Probability that a photo from outside is doubted more than one from inside (Mann and Whitney 1947).

    Example:
        >>> area_under_roc([1.0, 2.0], [3.0, 1.5])
        0.75
    """
    difference = np.subtract.outer(np.array(outside), np.array(inside))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m benchmarks.doubt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(made)
    made.add_argument("--inside", required=True, help=f"photos like those of the training; {data.usage()}")
    made.add_argument("--outside", action="append", default=[], help="photos unlike them; may be given several times")
    made.add_argument("--output", type=Path, default=HERE / "results" / "doubt.json", help="JSON to write")
    made.add_argument("--card", type=Path, default=HERE / "README.md", help="document to fill")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after an error."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        model = open_model(options.model, device=options.device, dtype=options.dtype)
        if not model.predicts_uncertainty:
            raise ValueError(f"{model.name} predicts no uncertainty")
        inside = doubts(model, options.inside)
        found = {Path(name.partition(":")[2]).stem: doubts(model, name) for name in options.outside}
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, draw in (("close textures, drawn", close_texture), ("line drawings, drawn", drawing)):
        found[name] = [model.predict(draw(seed)).mean_uncertainty() for seed in range(DRAWN)]
    title = Path(options.inside.partition(":")[2]).stem
    areas = {name: area_under_roc(inside, values) for name, values in found.items()}
    rows = [[title, str(len(inside)), f"{np.median(inside):.3f}", ""]]
    rows += [[name, str(len(v)), f"{np.median(v):.3f}", f"{areas[name]:.2f}"] for name, v in found.items()]
    table = markdown_table(["photos", "number", "median of the mean uncertainty", f"area under ROC, to {title}"], rows)
    print(table)
    write_json(
        options.output,
        {"model": model.name, "sha256": model.sha256, "inside": {title: inside}, "outside": found, "areas": areas},
    )
    fill(options.card, "doubt", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
