"""`python -m train`: train a DepthUNet on pictures with depth maps."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from depth_unet import DepthUNet, DepthUNetConfig
from depth_unet.data.sample import SampleError
from depth_unet.files import write_json
from train import data
from train.card import sources_of
from train.config import TrainConfig
from train.loop import BEST, TrainingError, fit
from train.publish import Destination, PublishError, check_access, publish


def _size(text: str) -> list[int]:
    try:
        height, width = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, e.g. 192x256, not {text!r}") from None
    return [height, width]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train",
        description="Train a DepthUNet on pictures with depth maps. On several devices: accelerate launch -m train ...",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--data", action="append", required=True, help=data.HELP)
    made.add_argument(
        "--val-data", action="append", default=[], help="likewise; else DIODE's own, or the last tenth of --data"
    )
    made.add_argument("--output", type=Path, required=True, help="folder for checkpoints, history and pictures")
    made.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --output")
    made.add_argument("--workers", type=int, default=1, help="processes that read data; 0: none but this one")
    made.add_argument("--threads", type=int, default=0, help="threads of the CPU to compute with; 0: all")
    made.add_argument(
        "--precision", default="auto", choices=("auto", "no", "bf16", "fp16"), help="auto: bf16 on GPUs that have it"
    )
    made.add_argument("--skip-bad", action="store_true", help="leave out samples that cannot be read, and count them")
    made.add_argument(
        "--tracker", choices=("tensorboard", "trackio"), help="log each step and epoch there, too  (default: none)"
    )
    made.add_argument("--validate-every", type=int, default=1, help="epochs from one validation to the next")
    made.add_argument("--checkpoint-minutes", type=float, default=10.0, help="minutes between states saved")
    made.add_argument("--publish-to", metavar="OWNER/NAME", help="publish the best model on a hub at the end")

    network = made.add_argument_group("network")
    network.add_argument(
        "--model",
        help="folder or owner/name of a model to go on from, at another --input-size or with a new head of other "
        "--depth-bins if need be; else a new one:",
    )
    network.add_argument(
        "--preset",
        default="default",
        choices=("default", "paper"),
        help="paper: a plain U-Net, and defaults of ten epochs and SSIM + MARE alone",
    )
    network.add_argument("--encoder", help="of segmentation-models-pytorch  (default: the preset's)")
    network.add_argument("--encoder-weights", help="imagenet, or a safetensors file  (default: random)")
    network.add_argument("--decoder-channels", type=int, nargs="+", help="coarse to fine  (default: the preset's)")
    network.add_argument("--input-size", type=_size, help="HEIGHTxWIDTH in pixels  (default: the preset's)")
    network.add_argument("--depth-bins", type=int, help="distances in the head's distribution  (default: the preset's)")
    network.add_argument("--min-depth", type=float, help="nearest depth, metres  (default: the preset's)")
    network.add_argument("--max-depth", type=float, help="farthest depth, metres  (default: the preset's)")
    TrainConfig.add_options(made)
    return made


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options; a preset changes the defaults of others."""
    made = parser()
    if made.parse_args(arguments).preset == "paper":
        made.set_defaults(**TrainConfig.paper().to_dict())
    return made.parse_args(arguments)


def new_model(options: argparse.Namespace) -> DepthUNet:
    """The network that the command line asks for."""
    names = ("decoder_channels", "input_size", "depth_bins", "min_depth", "max_depth")
    chosen = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.model:
        model = DepthUNet.from_pretrained(options.model)
        fixed = [name for name in ("encoder", "encoder_weights", *chosen) if getattr(options, name) is not None]
        if set(fixed) - {"input_size", "depth_bins"}:
            raise ValueError(
                "--model brings its own network: of its options only --input-size and --depth-bins can be given, "
                f"not {fixed}"
            )
        bins = chosen.pop("depth_bins", None)
        model.config = replace(model.config, **chosen)
        return model if bins in (None, model.config.depth_bins) else model.with_another_head(bins)
    if options.preset == "paper":
        if options.encoder:
            raise ValueError("--preset paper has its own encoder; leave out --encoder")
        config = DepthUNetConfig.paper(**chosen)
    else:
        config = DepthUNetConfig.for_encoder(options.encoder or DepthUNetConfig().encoder, **chosen)
    return DepthUNet(config, options.encoder_weights)


def precision_here(asked: str) -> str:
    """What `--precision` means on this machine."""
    if asked == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    if asked == "bf16" and not torch.accelerator.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX2":
        print("note: this processor has no bf16 arithmetic; --precision no is many times faster")
    return asked


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 2 for a mistake in what was asked, 130 after Ctrl-C."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        config = TrainConfig.from_options(options)
        if not (options.encoder_weights or options.model):  # random weights have no statistics to keep
            config = replace(config, frozen_norm=False)
        if options.publish_to:
            check_access(Destination(options.publish_to))  # hours before it is needed
        torch.manual_seed(config.seed)
        model = new_model(options)
        training, validation = data.open_split(options.data, options.val_data)
        accelerator = Accelerator(
            # accelerate joins processes without a GPU only when it is told that CPUs are meant
            cpu=int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.accelerator.is_available(),
            mixed_precision=precision_here(options.precision),
            log_with=options.tracker,
            project_dir=options.output,
        )
        if options.tracker:
            accelerator.init_trackers("depth_unet", {**config.to_dict(), "encoder": model.config.encoder})
        accelerator.print(
            f"{model.config.encoder}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, input "
            f"{model.config.input_size[0]}x{model.config.input_size[1]}; {len(training)} samples to train on, "
            f"{len(validation)} to validate; {accelerator.num_processes} process(es) on {accelerator.device}"
        )
        rows = fit(
            model,
            training,
            validation,
            config,
            options.output,
            resume=options.resume,
            workers=options.workers,
            skip_bad=options.skip_bad,
            checkpoint_minutes=options.checkpoint_minutes,
            validate_every=options.validate_every,
            accelerator=accelerator,
        )
    except (TrainingError, PublishError, SampleError, ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if accelerator.is_main_process:
        best = min(rows, key=lambda row: row["val_abs_rel"])
        sources = sources_of(training) + (["earlier_model"] if options.model else [])
        settings = {
            "train": config.to_dict(),
            "model": model.config.to_dict(),
            "trained_on": sources,
            "best": best,
        }
        write_json(options.output / "run.json", settings)
        print(f"best: epoch {best['epoch']:.0f}, AbsRel {best['val_abs_rel']:.4f}, in {options.output / BEST}")
    accelerator.end_training()
    if options.publish_to and accelerator.is_main_process:
        names = " and ".join(Path(name.partition(":")[2]).name for name in options.val_data or options.data)
        name = names if options.val_data else f"the validation part of {names}"
        try:
            print(publish(options.output, Destination(options.publish_to), {name: validation}))
        except (PublishError, OSError, ValueError) as error:
            command = f"python -m train.publish --model {options.output} --repo {options.publish_to}"
            print(f"error: the model is trained, but not published: {error}\nLater: {command}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
