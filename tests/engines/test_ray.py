"""Many photos on Ray Data: the same results as one process gives."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depth_unet import DepthUNet
from depth_unet.__main__ import main as main_of_one

ROOT = Path(__file__).parents[2]


def test_two_workers_do_what_one_process_does(tiny_model: DepthUNet, photo: Path, tmp_path: Path, capsys):
    pytest.importorskip("ray.data", reason='ray is not installed: pip install "ray[data]"')
    tiny_model.save_pretrained(tmp_path / "model")
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    with Image.open(photo) as image:
        for number in range(200):
            place = folder / "more" if number % 2 else folder
            image.rotate(number).save(place / f"{number:03d}.jpg", quality=90)
    (folder / "037_broken.jpg").write_bytes(photo.read_bytes()[:400])

    arguments = [str(folder), "--model", str(tmp_path / "model"), "--format", "npy,color", "--output"]
    assert main_of_one([*arguments, str(tmp_path / "one")]) == 1
    # Ray leaves threads and sockets behind, so it gets a process of its own.
    command = [sys.executable, "-m", "depth_unet.engines.ray", *arguments, str(tmp_path / "many"), "--workers", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1, done.stdout + done.stderr
    for error, out in (capsys.readouterr()[::-1], (done.stderr, done.stdout)):
        (line,) = [line for line in error.splitlines() if "failed:" in line]
        assert "037_broken.jpg" in line
        assert "200 of 201 photos done" in out

    one, many = ({path.relative_to(tmp_path / n) for path in (tmp_path / n).rglob("*.*")} for n in ("one", "many"))
    assert one == many and len(one) == 600
    for path in one:
        if path.suffix == ".npy":
            depths = [np.load(tmp_path / name / path) for name in ("one", "many")]
            np.testing.assert_allclose(*depths, rtol=1e-5)
    workers = re.findall(r"worker \S+: (\d+) photos, [\d.]+ images/s", done.stdout)
    assert len(workers) == 2 and sum(map(int, workers)) == 201 and min(map(int, workers)) > 20


def test_without_ray_it_says_what_to_install(photo: Path, tmp_path: Path, monkeypatch, capsys):
    from depth_unet.engines.ray import main

    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([str(photo), "--output", str(tmp_path)]) == 2
    assert 'pip install "depth_unet[ray]"' in capsys.readouterr().err
