"""Time of `python -m depth_unet` for a folder of 12-megapixel photos, against `predict` alone on the same photos.

`python -m benchmarks.folders` writes benchmarks/results/folders.json and fills the block "folders" of
benchmarks/README.md. The photos are the examples of the page, enlarged, moved and with noise. Everything runs in one
process, with the imports done: predict, command, predict.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from depth_unet import DEFAULT_MODEL, open_model
from depth_unet.__main__ import main as command
from depth_unet.files import write_json
from train.documents import fill

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parent / "depth_unet" / "page" / "examples").glob("*.jpg"))
SIZE = (4000, 3000)


def write_photos(folder: Path, count: int) -> list[Path]:
    """Photos as a phone makes them, all different."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        with Image.open(EXAMPLES[number % len(EXAMPLES)]) as example:
            left, top = (int(rng.integers(0, side // 10 + 1)) for side in example.size)
            box = (left, top, left + example.width * 9 // 10, top + example.height * 9 // 10)
            picture = example.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC, box)
        noise = Image.fromarray(rng.integers(0, 24, SIZE[::-1], dtype=np.uint8)).convert("RGB")
        paths.append(folder / f"{number:03d}.jpg")
        Image.blend(picture, noise, 0.1).save(paths[-1], quality=90)
    return paths


def measure(photos: list[Path], model: str, threads: int, output: Path) -> tuple[float, float]:
    """Seconds of `predict` alone, the mean of one pass before and one after the command, and of the command."""
    torch.set_num_threads(threads)
    loaded = open_model(model, threads=threads)
    loaded.predict(photos[0])
    alone = []
    for turn in range(2):
        if turn:
            began = time.perf_counter()
            if command([str(photos[0].parent), "--output", str(output), "--model", model, "--device", "cpu"]):
                raise RuntimeError("the command failed")
            whole = time.perf_counter() - began
        began = time.perf_counter()
        for photo in photos:
            loaded.predict(photo)
        alone.append(time.perf_counter() - began)
    return float(np.mean(alone)), whole


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--photos", type=int, default=100, help="number of photos")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="cores to use, one run for each")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, owner/name on a hub, or .onnx file")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder for the JSON")
    parser.add_argument("--card", type=Path, default=HERE / "README.md", help="document to fill")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (source := Path(folder) / "photos").mkdir()
        photos = write_photos(source, options.photos)
        for threads in options.threads:
            alone, whole = measure(photos, options.model, threads, Path(folder) / f"out{threads}")
            rows.append({"threads": threads, "predict_s": alone, "command_s": whole, "ratio": whole / alone})
            print(f"{threads} threads: predict {alone:.1f} s, command {whole:.1f} s, ratio {whole / alone:.2f}")
    options.output.mkdir(exist_ok=True, parents=True)
    about = (
        f"{options.photos} photos of {SIZE[0]}x{SIZE[1]} on {platform.machine()}: time of `python -m depth_unet`, "
        "which writes a depth map and a picture in colours for each, divided by the time of `predict` alone"
    )
    write_json(options.output / "folders.json", {"about": about, "rows": rows})
    ratios = ", ".join(f"{row['ratio']:.2f} with {row['threads']} threads" for row in rows)
    fill(options.card, "folders", f"{about}: {ratios}.")


if __name__ == "__main__":
    main()
