"""Peak memory of reading a photo of 100 megapixels and more, and of predicting its depth; Linux.

`python -m benchmarks.large_photos` writes benchmarks/results/large_photos.json and fills the block "large_photos" of
benchmarks/README.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from depth_unet import DEFAULT_MODEL, DepthUNet
from depth_unet.files import write_json
from depth_unet.images import read_photo
from train.documents import fill, markdown_table

HERE = Path(__file__).parent
PHOTO = HERE.parent / "depth_unet" / "page" / "examples" / "living_room.jpg"


def _resized(width: int, height: int) -> Image.Image:
    with Image.open(PHOTO, formats=["JPEG"]) as photo:
        return photo.resize((width, height))


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _deep(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 4095, width).astype(np.uint16), (height, 1)))


# Each writes one file.
PHOTOS: dict[str, Callable[[Path], None]] = {
    "JPEG, 108 megapixels": lambda path: _resized(12000, 9000).save(path, "JPEG"),
    "progressive JPEG, 108 megapixels": lambda path: _resized(12000, 9000).save(path, "JPEG", progressive=True),
    "JPEG, 108 megapixels, turned": lambda path: _resized(12000, 9000).save(path, "JPEG", exif=_turned()),
    "PNG of one colour, 100 megapixels": lambda path: Image.new("RGB", (10000, 10000)).save(path, "PNG"),
    "PNG, 120 megapixels": lambda path: _resized(12000, 10000).save(path, "PNG", compress_level=1),
    "PNG with transparency, 120 megapixels": lambda path: Image.new("RGBA", (12000, 10000), "#80402080").save(
        path, "PNG"
    ),
    "PNG, 12 of 16 bits grey, 120 megapixels": lambda path: _deep(12000, 10000).save(path, "PNG", compress_level=1),
    "TIFF, LZW, turned, 120 megapixels": lambda path: _resized(12000, 10000).save(
        path, "TIFF", compression="tiff_lzw", exif=_turned()
    ),
    "WebP, 60 megapixels": lambda path: Image.new("RGB", (10000, 6000), "#804020").save(path, "WEBP", method=0),
}


def _status(key: str) -> int:
    """Bytes of VmRSS or VmHWM, the resident memory of this process now and at its peak."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return 1024 * int(line.split()[1])


def peak_bytes(model: str, path: Path, action: str) -> None:
    """Print the memory that one action adds at its peak; the model, and the array of an .npy, are loaded before."""
    predictor = DepthUNet.from_pretrained(model)
    predictor.predict(PHOTO)
    source = np.load(path) if path.suffix == ".npy" else path
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    done = read_photo(source) if action == "read" else predictor.predict(source)
    size = done.camera if action == "predict" else done
    print(json.dumps({"pixels": size.width * size.height, "bytes": _status("VmHWM") - before}))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    parser.add_argument("--only", default="", help="measure the photos whose description contains this, write nothing")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "ACTION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        peak_bytes(options.model, Path(options.measure[0]), options.measure[1])
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, write in PHOTOS.items():
            if options.only not in name:
                continue
            path = Path(folder) / "photo"
            write(path)
            row = {"photo": name, "file": path.stat().st_size}
            for action in ("read", "predict"):  # a process for each: memory that one has freed would serve the next
                command = [sys.executable, "-m", "benchmarks.large_photos", "--model", options.model]
                command += ["--measure", str(path), action]
                done = subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True, text=True)
                measured = json.loads(done.stdout.splitlines()[-1])
                row |= {action: measured["bytes"], "pixels": measured["pixels"]}
            rows.append(row)
            print(row, flush=True)

    heads = [
        "photo",
        "file, MB",
        "reading, MB",
        "reading, bytes a pixel",
        "predicting, MB",
        "predicting, bytes a pixel",
    ]
    lines = []
    for row in rows:
        costs = [(f"{row[key] / 1e6:.0f}", f"{row[key] / row['pixels']:.1f}") for key in ("read", "predict")]
        lines.append((row["photo"], f"{row['file'] / 1e6:.1f}", *costs[0], *costs[1]))
    table = markdown_table(heads, lines)
    print(table)
    if not options.only:
        write_json(HERE / "results/large_photos.json", {"rows": rows})
        about = "Added at the peak to a process with the model loaded: by `read_photo` at full size, and by `predict`."
        fill(HERE / "README.md", "large_photos", f"{about}\n\n{table}")


if __name__ == "__main__":
    main()
