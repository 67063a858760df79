"""The small, fast model inside depth_unet, from its data.

`python -m benchmarks.nano_model --train nyu_train_0.tar nyu_train_1.tar --also rooms_train_0.tar 30 --also ... --val
nyu_val.tar --encoder-weights tf_efficientnet_lite0_timm.safetensors` trains a small network on everything but NYU Depth
V2 first, then on NYU and the rest in halves, twice, calibrates its uncertainty, and writes an ONNX file in 8 bits
beside it. The result is in runs/nano/centred/best. What was stopped goes on with the same command.
"""

import tempfile
from pathlib import Path

from benchmarks.training import prepared, recipe_parser, train
from depth_unet import DepthUNet
from depth_unet.engines.onnx_export import calibration_photos, export, quantize
from train.calibrate import main as calibrate
from train.run import BEST

# The decoder's fine stages and the heads cost most of the time; the encoder ends at a sixteenth of the input.
NETWORK = "--encoder tu-tf_efficientnet_lite0 --decoder-channels 128 64 16 8 --input-size 128x160 --depth-bins 16"
RECIPE = "--batch-size 16 --limit-batches 250 --encoder-rate 0.5"
STAGES = {
    "rooms": "--epochs 10 --learning-rate 1.5e-3 --validate-every 3 --seed 1",
    "mixed": "--epochs 20 --learning-rate 1.5e-3 --validate-every 3 --seed 2",
    # The mean absolute relative error is least for predictions that are too near. Without it the metres are right.
    "centred": "--epochs 5 --learning-rate 5e-4 --mare-weight 0 --log-weight 2 --seed 3",
}
NYU_SHARE = 104.0  # half of the samples of the later stages, where the other sets' shares sum to as much
PREPARED = "192x256"  # height and width of the stored frames of NYU
ONNX_FILE = "model_int8.onnx"


def write_int8(model: Path, photos: Path) -> Path:
    """Write the model's ONNX file in 8 bits into its folder."""
    with tempfile.TemporaryDirectory() as folder:
        exact = export(DepthUNet.from_pretrained(model), Path(folder) / "model.onnx")
        return quantize(exact, model / ONNX_FILE, calibration_photos(photos))


def main() -> None:
    """Do what is not done yet."""
    parser = recipe_parser(__doc__, NYU_SHARE, "the later stages", "EfficientNet-Lite0")
    parser.set_defaults(precision="bf16", runs=Path("runs/nano"))
    options = parser.parse_args()
    if not (options.encoder_weights and options.also):
        parser.error("give --encoder-weights and --also: the first stage needs both")
    runs, begin = options.runs, [*NETWORK.split(), "--uncertainty", "--encoder-weights", options.encoder_weights]
    sets = [f"--data=rgbd:{source}" for source, _ in options.also]
    shares = [share for _, share in options.also]
    fewer = iter([f"--epochs={number}"] for number in options.epochs or [])

    for name, choices in STAGES.items():
        if name == "mixed":
            sets = [f"--data={prepared(source, runs, PREPARED)}" for source in options.train] + sets
            shares = [str(NYU_SHARE / len(options.train))] * len(options.train) + shares
        chosen = [f"--val-data=rgbd/nyu:{options.val}", f"--precision={options.precision}", *RECIPE.split()]
        train(runs / name, [*begin, *sets, "--shares", *shares, *chosen, *choices.split(), *next(fewer, [])])
        best = runs / name / BEST
        begin = ["--model", str(best)]
    if calibrate(["--model", str(best), "--data", f"rgbd/nyu:{options.val}"]):
        raise SystemExit(2)
    write_int8(best, options.train[0])
    print(f"the model is in {best}")


if __name__ == "__main__":
    main()
