"""`python -m train`: train a DepthUNet on pictures with depth maps."""

import argparse
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from depth_unet import DepthUNet, DepthUNetConfig, data, open_model
from depth_unet.data import DepthData
from depth_unet.data.origin import Origin
from depth_unet.data.sample import SampleError
from depth_unet.hub import find_files
from depth_unet.model import CONFIG_FILE
from train.batches import quotas
from train.config import TrainConfig
from train.loop import fit
from train.network import joined_on_cpu
from train.publish import Destination, PublishError, check_access, publish
from train.run import BEST, CARD, TrainingError, origins_of_model, parts_of
from train.sources import open_training


def _size(text: str) -> list[int]:
    try:
        height, width = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, e.g. 192x256, not {text!r}") from None
    return [height, width]


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that are values."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False, []) else action.help


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train",
        description="Train a DepthUNet on pictures with depth maps. On several devices: accelerate-launch -m train ...",
        formatter_class=_Help,
    )
    made.add_argument("--data", action="append", required=True, help=f"may be given several times; {data.usage()}")
    made.add_argument(
        "--val-data",
        action="append",
        default=[],
        help="KIND:PATH to validate on, may be given several times; the first chooses the best epoch  (default: the "
        "validation split of each --data, or else its last tenth, which is then held back)",
    )
    made.add_argument(
        "--shares",
        type=float,
        nargs="+",
        metavar="SHARE",
        help="part of each --data in an epoch, in their order, e.g. 2 1 1  (default: by number of samples)",
    )
    data.add_options(made)
    made.add_argument("--output", type=Path, required=True, help="folder of the run: checkpoints, history, pictures")
    made.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
    made.add_argument("--workers", type=int, default=1, help="processes that read data; 0: the training process reads")
    made.add_argument("--threads", type=int, default=0, help="CPU threads for computation; 0: all")
    made.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "no", "bf16", "fp16"),
        help="auto: that of accelerate's launcher; without it bf16 on GPUs that support it",
    )
    made.add_argument(
        "--skip-bad", action="store_true", help="leave out training samples that cannot be read, and count them"
    )
    made.add_argument(
        "--tracker", choices=("tensorboard", "trackio"), help="also log each step and epoch there  (default: none)"
    )
    made.add_argument("--compile", action="store_true", help="train with torch.compile; CUDA only")
    made.add_argument("--validate-every", type=int, default=1, help="epochs from one validation to the next")
    made.add_argument(
        "--checkpoint-minutes", type=float, default=10.0, help="minutes between checkpoints within an epoch"
    )
    made.add_argument("--publish-to", metavar="OWNER/NAME", help="publish the best model on a hub at the end")

    network = made.add_argument_group("network")
    network.add_argument(
        "--model",
        help="folder or owner/name of a model to fine-tune, or nano; --input-size, --depth-bins and --uncertainty can "
        "change it  (default: a new network)",
    )
    network.add_argument(
        "--preset",
        default="default",
        choices=("default", "paper"),
        help="paper: a plain U-Net, ten epochs, SSIM + MARE alone",
    )
    network.add_argument("--encoder", help="of segmentation-models-pytorch  (default: the preset's)")
    network.add_argument("--encoder-weights", help="imagenet, or a safetensors file  (default: random)")
    network.add_argument("--decoder-channels", type=int, nargs="+", help="coarse to fine  (default: the preset's)")
    network.add_argument("--input-size", type=_size, help="HEIGHTxWIDTH in pixels  (default: the preset's)")
    network.add_argument(
        "--depth-bins", type=int, help="number of log-spaced depth bins of the head; 0: none  (default: the preset's)"
    )
    network.add_argument(
        "--uncertainty",
        action=argparse.BooleanOptionalAction,
        help="a head that predicts the uncertainty of depth  (default: the preset's)",
    )
    network.add_argument("--min-depth", type=float, help="nearest depth, metres  (default: the preset's)")
    network.add_argument("--max-depth", type=float, help="farthest depth, metres  (default: the preset's)")
    TrainConfig.add_options(made)
    return made


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; a preset changes the defaults of other options."""
    made = parser()
    if made.parse_args(arguments).preset == "paper":
        made.set_defaults(**TrainConfig.paper().to_dict())
    return made.parse_args(arguments)


def new_model(options: argparse.Namespace) -> DepthUNet:
    """The network that the command line asks for."""
    names = ("decoder_channels", "input_size", "depth_bins", "min_depth", "max_depth")
    chosen = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.uncertainty is not None:
        chosen["uncertainty"] = options.uncertainty * DepthUNetConfig().uncertainty
    if options.model:
        model = open_model(options.model)
        if not isinstance(model, DepthUNet):
            raise ValueError(f"{model.name} is no DepthUNet and cannot be trained; `train.label` can use it as teacher")
        fixed = [name for name in ("encoder", "encoder_weights", *chosen) if getattr(options, name) is not None]
        if set(fixed) - {"input_size", "depth_bins", "uncertainty"}:
            raise ValueError(
                "--model comes with its network: only --input-size, --depth-bins and --uncertainty can be "
                f"given, not {fixed}"
            )
        if chosen.get("uncertainty") and model.config.uncertainty:
            del chosen["uncertainty"]  # it has the head, and perhaps a calibrated one
        return model.with_config(**chosen) if chosen else model
    if options.preset == "paper":
        if options.encoder:
            raise ValueError("--preset paper has its own encoder; leave out --encoder")
        config = DepthUNetConfig.paper(**chosen)
    else:
        config = DepthUNetConfig.for_encoder(options.encoder or DepthUNetConfig().encoder, **chosen)
    return DepthUNet(config, options.encoder_weights)


def origins_before(model: str | None) -> tuple[Origin, ...] | None:
    """Origins of the data that `--model` was trained on; None without one."""
    if not model:
        return None
    found = find_files(model, (CONFIG_FILE,))
    folder = found.folder
    if found.commit:
        try:
            find_files(found.name, (CARD,), revision=found.commit)
        except (FileNotFoundError, ConnectionError):
            pass  # a repository without a card: the origins are unknown
    return origins_of_model(folder)


def precision_here(asked: str) -> str:
    """What `--precision` means on this machine, under this launcher."""
    if asked == "auto":
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION")
        return launched or ("bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no")
    if asked == "bf16" and not torch.accelerator.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX2":
        print("note: this processor has no bf16 arithmetic; --precision no is many times faster")
    return asked


def recorded(options: argparse.Namespace) -> dict[str, Any]:
    """The options for run.json."""
    return {
        name: str(value) if isinstance(value, Path) or value in (math.inf, -math.inf) else value
        for name, value in vars(options).items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 for a mistake in the options or the data, 130 after Ctrl-C."""
    options = parse(arguments)
    try:
        if options.threads < 0:
            raise ValueError(f"--threads must be at least 0, not {options.threads}")
        if options.threads:
            torch.set_num_threads(options.threads)
        if options.tracker and options.tracker not in [tracker.value for tracker in get_available_trackers()]:
            raise ImportError(f"--tracker {options.tracker} is not installed: pip install {options.tracker}")
        config = TrainConfig.from_options(options)
        if not (options.encoder_weights or options.model):  # random weights have no pretrained statistics
            config = replace(config, frozen_norm=False)
        if options.publish_to:
            check_access(Destination(options.publish_to))  # before hours of training
        torch.manual_seed(config.seed)
        model = new_model(options)
        training, validations = open_training(options.data, options.val_data, data.options_of(options))
        if options.shares is not None:
            quotas(training.lengths, options.shares)  # refused before anything is written
        accelerator = Accelerator(
            cpu=joined_on_cpu(),
            mixed_precision=precision_here(options.precision),
            log_with=options.tracker,
            project_dir=options.output,
        )
        if options.tracker:
            accelerator.init_trackers("depth_unet", {**config.to_dict(), "encoder": model.config.encoder})
        report(model, training.sets, validations, accelerator)
        rows = fit(
            model,
            training,
            validations,
            config,
            options.output,
            resume=options.resume,
            workers=options.workers,
            skip_bad=options.skip_bad,
            checkpoint_minutes=options.checkpoint_minutes,
            validate_every=options.validate_every,
            accelerator=accelerator,
            shares=options.shares,
            continues=origins_before(options.model),
            options=recorded(options),
            compiled=options.compile,
        )
    except (TrainingError, PublishError, SampleError, ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if accelerator.is_main_process:
        best = min(rows, key=lambda row: row["val_abs_rel"])
        print(f"best: epoch {best['epoch']:.0f}, AbsRel {best['val_abs_rel']:.4f}, in {options.output / BEST}")
    accelerator.end_training()
    if options.publish_to and accelerator.is_main_process:
        try:
            print(publish(options.output, Destination(options.publish_to), validations))
        except (PublishError, OSError, ValueError) as error:
            command = f"python -m train.publish --model {options.output} --repo {options.publish_to}"
            print(f"error: the model is trained, but not published: {error}\nLater: {command}", file=sys.stderr)
            return 2
    return 0


def report(model: DepthUNet, training: list[DepthData], validations: list[DepthData], accelerator: Accelerator) -> None:
    """Print the network, the devices, and a line for each data set."""
    if not accelerator.is_main_process:
        return
    rows, columns = model.config.input_size
    print(
        f"{model.config.encoder}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, input "
        f"{rows}x{columns}; {accelerator.num_processes} process(es) on {accelerator.device}, precision "
        f"{accelerator.mixed_precision}"
    )
    for purpose, sets in (("train", training), ("validate", [part for each in validations for part in parts_of(each)])):
        for each in sets:
            print(f"{purpose}: {each.describe()}")


if __name__ == "__main__":
    sys.exit(main())
