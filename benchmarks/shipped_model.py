"""The model inside depth_unet, from its data: trains it small, goes on larger, then twice with another head.

`python -m benchmarks.shipped_model --train nyu_train_0.tar nyu_train_1.tar --val nyu_val.tar --encoder-weights
tf_efficientnet_lite2_timm.safetensors` leaves the model in runs/shipped/best. What was stopped goes on with the same
command.
"""

import argparse
import shutil
from pathlib import Path

import torch

from benchmarks.training import train
from depth_unet import DepthUNet
from depth_unet.files import sha256_of
from depth_unet.model import WEIGHTS_FILE
from train.prepare import main as prepare
from train.run import BEST, CURVES, HISTORY, RunFolder

PREPARED = ["--size", "288x384", "--quality", "95", "--holdout", "0"]
BINS = 48
BEFORE = "--no-frozen-norm"  # the first two stages are older than that
# Pasted parts and stronger colours keep 665 pictures from being learnt by heart.
VARIETY = "--mix 0.5 --colour 0.4 --learning-rate 5e-4"
STAGES = {
    # The whole cosine is 40 epochs; the best by validation lies about half-way.
    "small": f"{BEFORE} --depth-bins 0 --mare-weight 1 --log-weight 0.5 --epochs 40 --validate-every 4",
    "large": f"{BEFORE} {VARIETY} --input-size 256x352 --epochs 14 --validate-every 2 --seed 3",
}
HEAD_SEED = 5
# Two that begin with the same weights end in the same valley, and their mean lies lower in it (model soups, Wortsman
# et al. 2022).
AVERAGED = {
    "skipping": f"{VARIETY} --drop-path 0.2 --epochs 9 --seed {HEAD_SEED}",
    "whole": f"{VARIETY} --epochs 8 --validate-every 2 --seed {HEAD_SEED + 1}",
}


def average(models: list[DepthUNet]) -> DepthUNet:
    """The first, with the mean of all their weights."""
    states = [model.state_dict() for model in models]
    models[0].load_state_dict(
        {
            key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
            for key, value in states[0].items()
        }
    )
    return models[0]


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", type=Path, required=True, help="folders or tars of RGB-D pairs")
    parser.add_argument("--val", type=Path, required=True, help="likewise, to choose the best epoch with")
    parser.add_argument("--encoder-weights", required=True, help="ImageNet weights of EfficientNet-Lite2")
    parser.add_argument("--precision", default="auto", help="as of `python -m train`")
    parser.add_argument("--epochs", nargs=4, type=int, help="fewer in each stage, to try the command")
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"), help="folder to work in")
    options = parser.parse_args()
    data = [f"--val-data=rgbd/nyu:{options.val}", f"--precision={options.precision}"]
    for source in options.train:
        prepared = options.runs / source.stem
        if not (prepared / "dataset.json").exists() and prepare(
            [f"rgbd/nyu:{source}", *PREPARED, "--output", str(prepared)]
        ):
            raise SystemExit(2)
        data.append(f"--data=prepared:{prepared}")
    fewer = iter([f"--epochs={number}"] for number in options.epochs or [])

    def once(name: str, begin: list[str], choices: str) -> Path:
        output, shorter = options.runs / name, next(fewer, [])
        train(output, [*data, *begin, *choices.split(), *shorter])  # a finished run is left as it is
        return output / BEST

    best = once("small", ["--encoder-weights", options.encoder_weights], STAGES["small"])
    best = once("large", ["--model", str(best)], STAGES["large"])
    begin = options.runs / "begin"
    torch.manual_seed(HEAD_SEED)
    DepthUNet.from_pretrained(best).with_config(depth_bins=BINS).save_pretrained(begin)
    members = [once(name, ["--model", str(begin)], choices) for name, choices in AVERAGED.items()]
    shipped = RunFolder(options.runs)
    average([DepthUNet.from_pretrained(member) for member in members]).save_pretrained(shipped.best, half=True)
    for name in (HISTORY, CURVES):  # with which train.publish can make a card of it, as of a run
        shutil.copyfile(members[0].parent / name, options.runs / name)
    record = RunFolder(members[0].parent).read()
    sha256, origins = sha256_of(shipped.best / WEIGHTS_FILE), RunFolder(best.parent).read().origins
    shipped.write(record._replace(origins=origins, best=None, sha256=sha256, averaged=len(members)))


if __name__ == "__main__":
    main()
