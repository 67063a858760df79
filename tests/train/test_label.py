"""Photos with the depth of a teacher are data to train on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depth_unet import Camera, DepthUNet, DepthUNetConfig, Prediction, RgbdFolder, open_model
from depth_unet.data import open_data
from depth_unet.files import read_depth
from train.label import LABELS_FILE, agreeing, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def teacher(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "teacher")
    (tmp_path / "teacher" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", "utf-8")
    return tmp_path / "teacher"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photos in two folders, one of them with a lens, and two files that are none."""
    rng, root = np.random.default_rng(0), tmp_path / "photos"
    (root / "day 2").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x8769] = {0xA405: 28}
    for number, name in enumerate(("a.jpg", "b.png", "day 2/a.jpg", "day 2/c.JPG")):
        coarse = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
        coarse.resize((160, 120)).save(root / name, **({"exif": exif} if number == 0 else {}))
    (root / "day 2" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no")
    Image.fromarray(np.ones((120, 160), np.uint16)).save(root / "a_depth.png")
    return root


def run(photos: Path, teacher: Path, output: Path, *options: str) -> int:
    return main([str(photos), "--teacher", str(teacher), "--output", str(output), "--device", "cpu", *options])


def test_labels_are_pairs_to_train_on(photos: Path, teacher: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "labels"
    assert run(photos, teacher, output, "--size", "80", "--disagreement", "9") == 1
    said = capsys.readouterr()
    assert "4 of 5 photos labelled" in said.out and "1 failed" in said.out and "day 2/broken.jpg" in said.err
    data = open_data(f"rgbd:{output}")
    assert [data.key(index) for index in range(4)] == ["a", "b", "day 2/a", "day 2/c"]
    model = open_model(teacher)
    for index in range(4):
        sample = data[index]
        assert sample.image.shape[1:] == (60, 80)
        wide = index == 0
        assert sample.camera == (
            Camera.from_focal_35mm(80, 60, 28) if wide else Camera.assumed(80, 60, model.config.canonical_focal)
        )
        with Image.open(output / f"{data.key(index)}.jpg") as picture:
            predicted = model.predict(picture, sample.camera).depth
        # The teacher saw the picture before it was compressed.
        assert np.median(np.abs(sample.depth[0].numpy() / predicted - 1)) < 0.02
    about = json.loads((output / LABELS_FILE).read_text("utf-8"))
    assert about["teacher"] == "teacher" and about["sha256"] == model.sha256 and about["licence"] == "cc-by-nc-4.0"
    assert about["options"] == {"size": 80, "disagreement": 9.0, "dtype": "float32"} and about["labelled"] == 4
    assert [each["photo"].endswith("broken.jpg") for each in about["failed"]] == [True]
    (origin,) = data.origins
    assert origin.weights == "research-only" and "predicted by teacher" in origin.title and "size 80" in origin.title
    assert "cc-by-nc-4.0" in origin.terms


def test_pixels_where_the_teacher_disagrees_with_itself_have_no_depth(photos, teacher, tmp_path: Path) -> None:
    run(photos, teacher, tmp_path / "all", "--disagreement", "9")
    run(photos, teacher, tmp_path / "strict", "--disagreement", "0.002")
    model = open_model(teacher)
    with Image.open(photos / "b.png") as picture:
        first = model.predict(picture)
        second = model.predict(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).depth
    expected = np.abs(second[:, ::-1] - first.depth) <= 0.002 * first.depth
    assert 0.02 < expected.mean() < 0.98
    strict = read_depth(tmp_path / "strict" / "b_depth.png").depth
    assert ((strict > 0) != expected).mean() < 0.001  # a batch is rounded in another order
    expected &= strict > 0
    everything = read_depth(tmp_path / "all" / "b_depth.png").depth
    assert (everything > 0).all()
    np.testing.assert_allclose(strict[expected], first.depth[expected], atol=0.00051)


def test_no_depth_never_agrees() -> None:
    depth = np.array([[1.0, np.nan, -1.0, 0.0, np.inf, 1.0]])
    assert agreeing(depth, depth[:, ::-1], 0.5).tolist() == [[True, False, False, False, False, True]]


def test_far_depth_has_a_coarser_step(tmp_path: Path, photos: Path) -> None:
    config = DepthUNetConfig.for_encoder(
        "mobilenet_v2", decoder_channels=[8] * 5, input_size=[64, 96], min_depth=100.0, max_depth=300.0
    )
    DepthUNet(config).save_pretrained(tmp_path / "far")
    run(photos, tmp_path / "far", tmp_path / "labels", "--disagreement", "9")
    sample = RgbdFolder(tmp_path / "labels")[1]
    with Image.open(photos / "b.png") as picture:
        depth = open_model(tmp_path / "far").predict(picture).depth
    assert depth.min() > 65.535
    np.testing.assert_allclose(sample.depth[0], depth, atol=0.003)
    loaded = Prediction.load(tmp_path / "labels" / "b_depth.png")
    np.testing.assert_allclose(loaded.depth, sample.depth[0])


def test_finished_photos_are_kept(photos: Path, teacher: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "labels"
    run(photos, teacher, output)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.*") if path.suffix in (".jpg", ".png")}
    (output / "b_depth.png").unlink()
    leftover = output / ".c.1-2-3.part.png"
    leftover.write_bytes(b"")
    assert run(photos, teacher, output) == 1
    assert "4 of 5 photos labelled, 3 of them before" in capsys.readouterr().out and not leftover.exists()
    changed = {path.name for path, before in times.items() if path.stat().st_mtime_ns != before}
    assert changed == {"b.jpg", "b_depth.png"}


@pytest.mark.parametrize("options", [["--size", "64"], ["--disagreement", "0.2"], ["--dtype", "bfloat16"]])
def test_labels_of_other_options_are_not_mixed(options, photos, teacher, tmp_path: Path, capsys) -> None:
    run(photos, teacher, tmp_path / "labels")
    assert run(photos, teacher, tmp_path / "labels", *options) == 2
    assert "choose another --output" in capsys.readouterr().err


def test_wrong_input(photos: Path, teacher: Path, tmp_path: Path, capsys) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for source, options, message in (
        (tmp_path / "missing", [], "there is no"),
        (empty, [], "no photos in"),
        (photos, ["--size", "0"], "--size from 32"),
        (photos, ["--batch-size", "0"], "--batch-size from 1"),
        (photos, ["--disagreement", "0"], "must be positive"),
        (photos, ["--origin", str(empty / "origin.json")], "there is no file"),
    ):
        assert run(source, teacher, tmp_path / "labels", *options) == 2
        assert message in capsys.readouterr().err
    assert run(photos, tmp_path / "none", tmp_path / "labels") == 2
    assert not (tmp_path / "labels" / LABELS_FILE).exists()


def start(photos: Path, teacher: Path, output: Path, *launcher: str) -> subprocess.Popen:
    command = [sys.executable, "-m", *launcher, "train.label", str(photos), "--teacher", str(teacher)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "--output", str(output), "--batch-size", "1", "--device", "cpu"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_killed_run_is_continued(photo: Path, teacher: Path, tmp_path: Path) -> None:
    many, output = tmp_path / "many", tmp_path / "labels"
    many.mkdir()
    for number in range(60):
        (many / f"{number:02d}.jpg").write_bytes(photo.read_bytes())
    process = start(many, teacher, output)
    deadline = time.monotonic() + 120
    while len(list(output.glob("[0-9]*_depth.png"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    times = {path: path.stat().st_mtime_ns for path in output.glob("[0-9]*_depth.png")}
    assert 3 <= len(times) < 60
    assert main([str(many), "--teacher", str(teacher), "--output", str(output), "--device", "cpu"]) == 0
    assert all(path.stat().st_mtime_ns == before for path, before in times.items())
    data = RgbdFolder(output)
    assert len(data) == 60 and all(data[index].valid.any() for index in range(60))


def test_several_processes_share_the_photos(photos: Path, teacher: Path, tmp_path: Path) -> None:
    (photos / "day 2" / "broken.jpg").unlink()
    process = start(photos, teacher, tmp_path / "labels", "torch.distributed.run", "--nproc_per_node=2", "-m")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and said.count("4 of 4 photos labelled") == 1
    run(photos, teacher, tmp_path / "one")
    for path in (tmp_path / "one").rglob("*_depth.png"):
        other = tmp_path / "labels" / path.relative_to(tmp_path / "one")
        np.testing.assert_allclose(read_depth(other)[0], read_depth(path)[0], atol=0.0011)
