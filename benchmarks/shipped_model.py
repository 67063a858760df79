"""The model inside depth_unet, from its data: prepares them, trains small, then goes on larger with more variety.

`python -m benchmarks.shipped_model --train nyu_train_0.tar nyu_train_1.tar --val nyu_val.tar --encoder-weights
tf_efficientnet_lite2_timm.safetensors` leaves the model in runs/shipped/large/best. What was stopped goes on with the
same command.
"""

import argparse
from pathlib import Path

from benchmarks.training import train
from train.prepare import main as prepare

PREPARED = ["--size", "288x384", "--quality", "95", "--holdout", "0"]
# Pasted parts and stronger colours keep 665 pictures from being learnt by heart.
VARIETY = "--mix 0.5 --colour 0.4"
STAGES = {
    "small": f"{VARIETY} --epochs 18 --validate-every 3",
    "large": f"{VARIETY} --input-size 256x352 --epochs 10 --validate-every 1 --learning-rate 5e-4 --seed 1",
}


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", type=Path, required=True, help="folders or tars of RGB-D pairs")
    parser.add_argument("--val", type=Path, required=True, help="likewise, to choose the best epoch with")
    parser.add_argument("--encoder-weights", required=True, help="ImageNet weights of EfficientNet-Lite2")
    parser.add_argument("--precision", default="auto", help="as of `python -m train`")
    parser.add_argument("--epochs", nargs=2, type=int, metavar=("SMALL", "LARGE"), help="fewer, to try the command")
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"), help="folder to work in")
    options = parser.parse_args()
    data = [f"--val-data=rgbd:{options.val}", f"--precision={options.precision}"]
    for source in options.train:
        prepared = options.runs / source.stem
        if not (prepared / "dataset.json").exists() and prepare(
            [f"rgbd:{source}", *PREPARED, "--output", str(prepared)]
        ):
            raise SystemExit(2)
        data.append(f"--data=prepared:{prepared}")
    begin = ["--encoder-weights", options.encoder_weights]
    for number, (name, choices) in enumerate(STAGES.items()):
        output = options.runs / name
        shorter = ["--epochs", str(options.epochs[number])] if options.epochs else []
        if not (output / "run.json").exists():
            train(output, [*data, *begin, *choices.split(), *shorter])
        begin = ["--model", str(output / "best")]


if __name__ == "__main__":
    main()
