"""`python -m train.calibrate`: fit the scale of a model's uncertainty to recordings it was not trained on."""

import argparse
import sys
from pathlib import Path

from depth_unet import DepthUNet, data
from depth_unet.data import Part
from depth_unet.data.sample import SampleError
from depth_unet.files import write_json
from depth_unet.model import CONFIG_FILE
from train.evaluate import add_scoring_options, evaluate, open_scored
from train.outputs import check_output
from train.uncertainty import Pixels, Quality, fitted_factor, fitted_lengths, pool


def calibrated(model: DepthUNet, frames: list[Pixels]) -> DepthUNet:
    """The model with the factors that fit its uncertainty to the errors of `frames`, which it predicted."""
    found = pool(frames)
    factor = fitted_factor(found.error, found.sigma)
    photo_error, pixel_error = fitted_lengths(found.length_error, factor * found.independent)
    return model.with_config(
        uncertainty=round(factor * model.config.uncertainty, 4),
        photo_error=round(photo_error, 4),
        pixel_error=round(pixel_error, 4),
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train.calibrate",
        description="Fit the scale of a model's uncertainty on the first half of the frames, report it on the second, "
        "and write it into the model's config.json. Weights and depth stay as they are.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--model", type=Path, required=True, help="folder of a saved model")
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
        model = calibrated(model, _pixels(model, halves[0], options.batch_size))
        config = model.config
        quality = Quality.of(_pixels(model, halves[1], options.batch_size), config.photo_error, config.pixel_error)
        write_json(path, config.to_dict())
        print(
            f"{model.name}: fitted on {len(halves[0])} frames of {dataset.title}, on the other {len(halves[1])}:\n"
            f"{quality.describe()}\nuncertainty {config.uncertainty}, photo_error {config.photo_error}, pixel_error "
            f"{config.pixel_error}, written to {path}"
        )
        return 0
    except (ValueError, OSError, SampleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _pixels(model: DepthUNet, frames: Part, batch_size: int) -> list[Pixels]:
    pixels: list[Pixels] = []
    evaluate(model, frames, batch_size=batch_size, pixels=pixels)
    return pixels


if __name__ == "__main__":
    sys.exit(main())
