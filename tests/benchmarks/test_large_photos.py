"""Large photos cost what they must: their pixels once or twice, not each step of reading them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 8000, 5000
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system reports no peak")


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


PHOTOS = {
    "plain": lambda path: Image.new("RGB", (WIDTH, HEIGHT), "red").save(path, "PNG"),
    "turned": lambda path: Image.new("RGB", (WIDTH, HEIGHT), "red").save(path, "PNG", exif=turned()),
    "transparent": lambda path: Image.new("RGBA", (WIDTH, HEIGHT), "#f008").save(path, "PNG"),
    "deep": lambda path: Image.new("I;16", (WIDTH, HEIGHT), 4000).save(path, "PNG"),
    "float": lambda path: Image.new("F", (WIDTH, HEIGHT), 0.5).save(path, "TIFF"),
    "colours": lambda path: Image.new("P", (WIDTH, HEIGHT), 3).save(path, "PNG", transparency=3),
    "inks": lambda path: Image.new("CMYK", (WIDTH, HEIGHT), "red").save(path, "TIFF", compression="tiff_lzw"),
}


def bytes_a_pixel(path: Path, action: str) -> float:
    command = [sys.executable, "-m", "benchmarks.large_photos", "--measure", str(path), action]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["pixels"] == WIDTH * HEIGHT
    return measured["bytes"] / measured["pixels"]


@pytest.mark.parametrize("kind", PHOTOS)
def test_reading_costs_at_most_two_copies(tmp_path: Path, kind: str) -> None:
    PHOTOS[kind](tmp_path / "photo")
    assert bytes_a_pixel(tmp_path / "photo", "read") < 8.7  # 120 megapixels in less than 1 GB, and room for noise


@pytest.mark.parametrize("kind", ["transparent", "float"])
def test_predicting_costs_the_pixels_or_the_depth(tmp_path: Path, kind: str) -> None:
    PHOTOS[kind](tmp_path / "photo")
    assert bytes_a_pixel(tmp_path / "photo", "predict") < 10


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_predicting_from_an_array(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "array.npy", np.ones((HEIGHT, WIDTH), dtype))
    assert bytes_a_pixel(tmp_path / "array.npy", "predict") < 10
