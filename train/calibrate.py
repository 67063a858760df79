"""`python -m train.calibrate`: fit the scale of a model's uncertainty to recordings it was not trained on."""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from depth_unet import DepthUNet, data
from depth_unet.data import Part
from depth_unet.data.sample import SampleError
from depth_unet.files import write_json
from depth_unet.hub import path_of
from depth_unet.model import CONFIG_FILE
from train.evaluate import add_scoring_options, evaluate, open_scored
from train.outputs import check_output
from train.uncertainty import Pixels, Quality, fitted_factor, fitted_lengths, pool

USUAL = 0.975  # share of the frames that are not doubted as a whole


def calibrated(model: DepthUNet, frames: list[Pixels], means: Sequence[float]) -> DepthUNet:
    """The model with the factors that fit its uncertainty to its errors.

    Args:
        model: predicted `frames`.
        frames: pixels of each frame.
        means: mean uncertainty of each frame.
    """
    found = pool(frames)
    factor = fitted_factor(found.error, found.sigma)
    photo_error, pixel_error = fitted_lengths(found.length_error, factor * found.independent)
    return model.with_config(
        uncertainty=round(factor * model.config.uncertainty, 4),
        photo_error=round(photo_error, 4),
        pixel_error=round(pixel_error, 4),
        doubtful=round(factor * float(np.quantile(means, USUAL)), 4),
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train.calibrate",
        description="Fit the scale of a model's uncertainty on the first half of the frames, report it on the second, "
        "and write it into the model's config.json. Weights and depth stay as they are.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--model", type=path_of, required=True, help="folder of a saved model")
    made.add_argument("--data", required=True, help=data.usage())
    add_scoring_options(made)
    made.add_argument("--batch-size", type=int, default=8, help="frames at once")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after an error."""
    options = parser().parse_args(arguments)
    try:
        path = options.model / CONFIG_FILE
        check_output(path)
        model = DepthUNet.from_pretrained(options.model)
        if not model.predicts_uncertainty:
            raise ValueError(f"{model.name} predicts no uncertainty: train it with --uncertainty")
        dataset = open_scored(options.data, options)
        # Neighbouring frames look alike: the halves must not share a run of them.
        halves = Part(dataset, range(len(dataset) // 2)), Part(dataset, range(len(dataset) // 2, len(dataset)))
        model = calibrated(model, *_predicted(model, halves[0], options.batch_size))
        config = model.config
        pixels, means = _predicted(model, halves[1], options.batch_size)
        quality = Quality.of(pixels, config.photo_error, config.pixel_error)
        doubted = float(np.mean([mean > config.doubtful for mean in means]))
        write_json(path, config.to_dict())
        fitted = {name: getattr(config, name) for name in ("uncertainty", "photo_error", "pixel_error", "doubtful")}
        print(
            f"{model.name}: fitted on {len(halves[0])} frames of {dataset.title}, on the other {len(halves[1])}:\n"
            f"{quality.describe()}\nframes that are doubted as a whole: {doubted:.1%}\n"
            f"written to {path}: {', '.join(f'{name} {value}' for name, value in fitted.items())}"
        )
        return 0
    except (ValueError, OSError, SampleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _predicted(model: DepthUNet, frames: Part, batch_size: int) -> tuple[list[Pixels], list[float]]:
    pixels: list[Pixels] = []
    scored, _ = evaluate(model, frames, batch_size=batch_size, pixels=pixels)
    return pixels, [frame.details["uncertainty"] for frame in scored]


if __name__ == "__main__":
    sys.exit(main())
