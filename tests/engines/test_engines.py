"""`open_model` finds the engine of a name; the paths of 0.1.0 still work."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_unet import DepthUNet, open_model
from depth_unet.__main__ import main
from depth_unet.metrics import ALIGNMENTS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def saved(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def file(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the optional package onnxruntime is not installed")
    from depth_unet.engines.onnx_export import export

    return export(tiny_model, tmp_path / "model.onnx")


def test_a_folder_is_a_depth_unet(saved: Path, tiny_model: DepthUNet, photo: Path) -> None:
    for name in (saved, str(saved)):
        model = open_model(name)
        assert isinstance(model, DepthUNet) and model.alignments == ALIGNMENTS and len(model.sha256) == 64
        np.testing.assert_array_equal(model.predict(photo).depth, tiny_model.predict(photo).depth)
    assert next(open_model(saved, device="meta").parameters()).device == torch.device("meta")


def test_a_folder_may_have_an_at_in_its_name(saved: Path) -> None:
    renamed = saved.rename(saved.with_name("me@home"))
    assert open_model(renamed).name == "me@home"


def test_an_onnx_file_is_an_engine_of_its_own(file: Path, tiny_model: DepthUNet, photo: Path) -> None:
    model = open_model(file, threads=1, device="cpu")
    assert not isinstance(model, DepthUNet) and model.alignments == ALIGNMENTS
    np.testing.assert_allclose(model.predict(photo).depth, tiny_model.predict(photo).depth, rtol=1e-3)
    with pytest.raises(ValueError, match="cuda.*CPU only"):
        open_model(file, device="cuda")
    with pytest.raises(ValueError, match="no revision 'v1'"):
        open_model(file, revision="v1")


def test_the_command_takes_an_onnx_file(file: Path, photo: Path, tmp_path: Path) -> None:
    assert main([str(photo), "--format", "npy", "--model", str(file), "--output", str(tmp_path / "out")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "room_depth.npy"), open_model(file).predict(photo).depth)


def test_what_is_no_model(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"room\.jpg is not a model"):
        open_model(photo)
    for missing in ("none.onnx", "no/such/folder", "nothing"):
        with pytest.raises(FileNotFoundError, match=missing):
            open_model(str(tmp_path / missing))
    with pytest.raises(ValueError, match="give one of them"):
        open_model("owner/name@v1", revision="v2")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="owner/name at v1:"):
        open_model("owner/name@v1")


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("old", "names", "new"),
    [
        (
            "depth_unet.onnx",
            "OnnxDepthUNet, ForeignModelError, ONNX_FILE, export, quantize, "
            "calibration_photos, largest_difference, main",
            "depth_unet.engines.onnx",
        ),
        ("depth_unet.ray", "Worker, parser, main", "depth_unet.engines.ray"),
    ],
)
def test_an_old_path_works_and_names_the_new_one(old: str, names: str, new: str) -> None:
    imported = python("-c", f"from {old} import {names}; print(*(x.__module__ for x in ({names}) if callable(x)))")
    assert imported.returncode == 0, imported.stderr
    assert all(module.startswith(new) for module in imported.stdout.split())
    started = python("-m", old, "--help")
    assert started.returncode == 0 and f"python -m {new}" in started.stdout
    for ran in (imported, started):
        assert f"DeprecationWarning: {old} is deprecated: use {new}" in ran.stderr


def test_the_old_command_still_exports(saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    ran = python("-m", "depth_unet.onnx", str(saved), "old.onnx", cwd=tmp_path)
    assert ran.returncode == 0 and (tmp_path / "old.onnx").is_file(), ran.stderr
