"""The model inside depth_unet, from its data.

`python -m benchmarks.shipped_model --train nyu_train_0.tar nyu_train_1.tar --val nyu_val.tar --encoder-weights
tf_efficientnet_lite2_timm.safetensors --also rooms_train_0.tar 16 --also ...` trains it small on the training frames of
NYU Depth V2, goes on larger, then twice with another head; with the average of the two it goes on to rooms and other
places, and trains the uncertainty head; goes on from there twice, in two ways; and calibrates the average of these and
their start. The result is in runs/shipped/averaged. `--begin MODEL` starts with the stage of rooms and other places.
What was stopped goes on with the same command.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.averages import State, mean_of, state_of
from benchmarks.training import prepared, recipe_parser, train
from depth_unet import DepthUNet
from train.calibrate import main as calibrate
from train.run import BEST, CURVES, HISTORY, RunFolder

PREPARED = "288x384"  # height and width of the stored frames of NYU
BINS = 48
BEFORE = "--no-frozen-norm --no-uncertainty"  # the first two stages are older than these
# Pasted parts and stronger colours keep 665 pictures from being learnt by heart.
VARIETY = "--mix 0.5 --colour 0.4 --learning-rate 5e-4"
STAGES = {
    # The whole cosine is 40 epochs; the best by validation lies about half-way.
    "small": f"{BEFORE} --depth-bins 0 --mare-weight 1 --log-weight 0.5 --epochs 40 --validate-every 4",
    "large": f"{BEFORE} {VARIETY} --input-size 256x352 --epochs 14 --validate-every 2 --seed 3",
}
# More kinds of scenes, cameras and distances. Half of the samples are NYU: with NYU alone near scenes get worse, with
# fewer NYU gets worse.
WIDE = "--uncertainty --mix 0.3 --colour 0.4 --learning-rate 5e-4 --ema-decay 0.995 --epochs 3 --limit-batches 300"
NYU_SHARE = 48.0
HEAD_SEED, WIDE_SEED = 5, 11
# Two that go on from there are hardly better than their start; the average of all three is. The mean absolute relative
# error is least for predictions that are too near; without it the metres are right.
AGAIN = "--uncertainty --colour 0.4 --mare-weight 0 --log-weight 2 --ema-decay 0.99 --epochs 2 --validate-every 2"
MEMBERS = {
    "centred": f"{AGAIN} --mix 0 --learning-rate 4e-4 --limit-batches 200 --seed 21",
    "near": f"{AGAIN} --mix 0.3 --learning-rate 5e-4 --limit-batches 180 --seed 23",
}
# Two that begin with the same weights end in the same valley, and their mean lies lower in it (model soups, Wortsman
# et al. 2022).
AVERAGED = {
    "skipping": f"{VARIETY} --entropy-weight 0 --drop-path 0.2 --epochs 9 --seed {HEAD_SEED}",
    "whole": f"{VARIETY} --entropy-weight 0 --epochs 8 --validate-every 2 --seed {HEAD_SEED + 1}",
}


def average(begin: Path, states: list[State], run: Path, output: Path) -> Path:
    """Save a model with the mean of several weights.

    Args:
        begin: folder of a model of the same network.
        states: of all networks that are averaged.
        run: a run that led to one of them, whose record and history describe the average.
        output: folder to write.
    """
    model = DepthUNet.from_pretrained(begin)
    model.load_state_dict(mean_of(states))
    model.save_pretrained(output, half=True)
    RunFolder(output).write(RunFolder(run).read()._replace(best=None, sha256=None, averaged=len(states)))
    for name in (HISTORY, CURVES):
        shutil.copyfile(run / name, output / name)
    return output


def main() -> None:
    """Do what is not done yet."""
    parser = recipe_parser(__doc__, NYU_SHARE, "the last stage", "EfficientNet-Lite2")
    parser.add_argument("--begin", help="model to begin the stage of rooms and other places with")
    parser.add_argument(
        "--near",
        nargs=2,
        action="append",
        metavar=("DATA", "SHARE"),
        help="as --also, which is the default, for the last training",
    )
    parser.set_defaults(runs=Path("runs/shipped"))
    options = parser.parse_args()
    if not (options.encoder_weights or options.begin):
        parser.error("give --encoder-weights, or a model to --begin with")
    runs, data = options.runs, [f"--val-data=rgbd/nyu:{options.val}", f"--precision={options.precision}"]
    fewer = iter([f"--epochs={number}"] for number in options.epochs or [])

    def once(name: str, begin: list[str], choices: str, sets: list[str]) -> Path:
        train(runs / name, [*data, *sets, *begin, *choices.split(), *next(fewer, [])])  # a finished run stays as it is
        return runs / name / BEST

    def beside_nyu(name: str, model: Path | str, choices: str, also: list[list[str]]) -> Path:
        sets = [f"--data=rgbd/nyu:{source}" for source in options.train] + [f"--data=rgbd:{s}" for s, _ in also]
        shares = [str(NYU_SHARE / len(options.train))] * len(options.train) + [share for _, share in also]
        return once(name, ["--model", str(model), "--shares", *shares], choices, sets)

    begin = options.begin or _first_stages(options, once)
    wide = beside_nyu("wide", begin, f"{WIDE} --seed {WIDE_SEED}", options.also)
    states = [state_of(wide)]
    for name, choices in MEMBERS.items():
        beside_nyu(name, wide, choices, options.near if options.near and name == "near" else options.also)
        # Of the last step, whether or not it is better than the start.
        states.append(state_of(runs / name))
    model = average(wide, states, runs / name, runs / "averaged")
    if calibrate(["--model", str(model), "--data", f"rgbd/nyu:{options.val}"]):
        raise SystemExit(2)
    print(f"the model is in {model}")


def _first_stages(options: argparse.Namespace, once: Callable[[str, list[str], str, list[str]], Path]) -> Path:
    """Train on NYU alone, with the weights of the encoder; the folder of the model."""
    sets = [f"--data={prepared(source, options.runs, PREPARED)}" for source in options.train]
    best = once("small", ["--encoder-weights", options.encoder_weights], STAGES["small"], sets)
    best = once("large", ["--model", str(best)], STAGES["large"], sets)
    begin = options.runs / "begin"
    torch.manual_seed(HEAD_SEED)
    DepthUNet.from_pretrained(best).with_config(depth_bins=BINS).save_pretrained(begin)
    members = [once(name, ["--model", str(begin)], choices, sets) for name, choices in AVERAGED.items()]
    return average(begin, [state_of(member) for member in members], members[0].parent, options.runs / "first")


if __name__ == "__main__":
    main()
