"""After a failed write nothing unfinished has a final name, and an older file is unchanged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depth_unet.files import (
    encode_png,
    finished_or_absent,
    remove_unfinished,
    sha256_of,
    write_atomically,
    write_json,
    written_about,
)

ROOT = Path(__file__).parent.parent


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with finished_or_absent(path) as place:
        assert place.parent == tmp_path and place.suffix == ".txt"
        place.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    write_atomically(path, "sécond")
    assert path.read_bytes() == "sécond".encode()
    write_json(path, {"a": [1]})
    assert json.loads(path.read_text()) == {"a": [1]} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_older_file(error: type, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("older")

    def half(file) -> None:
        file.write(b"new")
        raise error

    with pytest.raises(error):
        write_atomically(path, half)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target.txt").write_text("older")
    try:
        (tmp_path / "link.txt").symlink_to(tmp_path / "target.txt")
    except OSError:
        pytest.skip("this system does not let users create symbolic links")
    write_atomically(tmp_path / "link.txt", "newer")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "target.txt").read_text() == "newer"


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    write_atomically(tmp_path / ".hidden.txt", "kept")
    code = (
        "import os, sys\nfrom depth_unet.files import finished_or_absent\n"
        "with finished_or_absent(sys.argv[1]) as place: place.write_text('half'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"], cwd=ROOT, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden.txt"]


def test_a_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# Writes every kind of file under a limit to the size of files, in the folder given; prints the error of each.
FULL_DISK = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from depth_unet import Camera, DepthUNet, DepthUNetConfig, Prediction
from depth_unet.__main__ import check, parser, process
from depth_unet.folders import Place
from depth_unet.engines.onnx_export import export, quantize
from depth_unet.video import write_video

warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
noise = np.random.default_rng(0)
images = [Image.fromarray(noise.integers(0, 255, (64, 96, 3), dtype=np.uint8)) for _ in range(9)]


def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


class FullAfterDepth(Prediction):
    def save_colors(self, *arguments):
        limit(50)
        return super().save_colors(*arguments)


class Noise:
    def predict_batch(self, images, batch_size):
        return [FullAfterDepth(prediction.depth, prediction.camera) for _ in images]


def command(path):
    place = Place(images_folder / "photo.png", path.with_name("x"))
    (outcome,) = process(Noise(), [place], options)
    if outcome.error:
        raise OSError(outcome.error)


prediction = Prediction(noise.uniform(1, 2, (64, 96)).astype(np.float32), Camera.from_fov(96, 64, 60))
model = DepthUNet(DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[64, 96]))
images_folder = folder / "images"
images_folder.mkdir()
images[0].save(images_folder / "photo.png")
options = parser().parse_args(["photo.png"])
check(options)
complete = folder / "complete.onnx"
writers = {f"x.{kind}": prediction.save for kind in ("png", "npy", "npz", "json", "ply", "glb", "stl", "3mf")}
writers |= {
    "x.mp4": lambda path: write_video(path, iter(images), 10),
    "model.safetensors": lambda path: model.save_pretrained(path.parent),
    "x_color.png": command,
    "x.onnx": lambda path: export(model, path),
    "x_int8.onnx": lambda path: quantize(complete, path, images),
}
export(model, complete)
sizes = {"x_color.png": 10**6, "x.onnx": complete.stat().st_size - 100}
for name, write in writers.items():
    for older in (False, True):
        path = folder / name / str(older) / name
        path.parent.mkdir(parents=True)
        if older:
            path.write_bytes(b"older")
        if older and name == "x_color.png":
            prediction.save_colors(path)
        limit(sizes.get(name, 50))
        try:
            write(path)
            error = None
        except Exception as raised:
            error = type(raised)
        limit(hard)
        print(name, error.__name__ if error else "no error", error is not None and issubclass(error, OSError))
"""


def test_a_full_disk_leaves_nothing_unfinished(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limit to the size of files")
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", FULL_DISK, tmp_path]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert len(lines) == 26
    for name, error, is_os_error in lines:
        # onnxruntime writes its own intermediate files, and raises its own errors.
        assert error != "no" and (is_os_error == "True" or name == "x_int8.onnx"), f"{name}: {error}"
        earlier = {"x_depth.png"} if name == "x_color.png" else set()
        assert {path.name for path in (tmp_path / name / "False").iterdir()} == earlier
        assert {path.name for path in (tmp_path / name / "True").iterdir()} == {name} | earlier
        if name == "x_color.png":  # only an older result of the command is in the way of a new one
            with Image.open(tmp_path / name / "True" / name) as image:
                assert image.height == 64
        else:
            assert (tmp_path / name / "True" / name).read_text() == "older"


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (400, 700)])
@pytest.mark.parametrize("kind", ["grey", "palette"])
def test_our_pngs_are_those_that_others_read(shape: tuple[int, int], kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    palette = None if kind == "grey" else rng.integers(0, 256, 768, dtype=np.uint8).tobytes()
    values = rng.integers(0, 65536 if kind == "grey" else 256, shape).astype(">u2" if kind == "grey" else np.uint8)
    write_atomically(tmp_path / "x.png", b"".join(encode_png(values, {"a": "\u00fc"}, palette)))
    with Image.open(tmp_path / "x.png") as image:
        image.load()
        assert image.mode == ("I;16" if kind == "grey" else "P") and json.loads(image.info["depth"]) == {"a": "\u00fc"}
        np.testing.assert_array_equal(np.asarray(image), values)
        if palette:
            assert bytes(image.getpalette()) == palette
    with Image.open(tmp_path / "x.png") as image:
        image.verify()  # the check sums


@pytest.mark.parametrize(
    ("name", "bytes_of_others"),
    [
        ("x.png", b"\x89PNG\r\n\x1a\n"),
        ("x.npz", b"PK\x03\x04"),
        ("x.json", b"[1, 2]"),
        ("x.json", b'{"unit": "metre"}'),
        ("x.json", b"[" * 100_000),
        ("x.npy", b""),
        ("x.glb", b"glTF"),
        ("x.stl", b"solid"),
        ("x.mp4", b"depth_unet"),
        ("x.txt", b"depth_unet"),
    ],
)
def test_files_of_others_are_not_ours(name: str, bytes_of_others: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bytes_of_others)
    assert written_about(tmp_path / name) is None
    assert written_about(tmp_path / f"missing{name}") is None
