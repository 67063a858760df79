"""The small model inside the package, under its short name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depth_unet import DepthUNet, Prediction, data, open_model
from depth_unet.__main__ import main
from depth_unet.engines.onnx import OnnxDepthUNet
from depth_unet.files import sha256_of
from depth_unet.hub import BUILT_IN
from train.__main__ import new_model, origins_before, parse
from train.evaluate import measure
from train.publish import main as publish

FOLDER = Path(BUILT_IN["nano"])
INT8 = FOLDER / "model_int8.onnx"


def test_it_is_small() -> None:
    for file in (FOLDER / "model.safetensors", INT8):
        assert file.stat().st_size <= 4_000_000


def test_the_short_name_opens_the_weights_wherever_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nano").mkdir()  # somebody's own folder
    monkeypatch.chdir(tmp_path)
    for model in (open_model("nano"), DepthUNet.from_pretrained("nano")):
        assert isinstance(model, DepthUNet) and model.sha256 == sha256_of(FOLDER / "model.safetensors")
    for own in (Path("nano"), "./nano"):
        with pytest.raises(FileNotFoundError, match="contains no config.json"):
            open_model(own)
    with pytest.raises(ValueError, match="no revision 'v1'"):
        open_model("nano", revision="v1")


def test_the_8_bit_file_is_of_the_same_model(photo: Path) -> None:
    small, exact = open_model(INT8), open_model("nano")
    assert isinstance(small, OnnxDepthUNet) and small.config == exact.config
    assert small.licence == exact.licence != "unknown"
    found, wanted = small.predict(photo), exact.predict(photo)
    assert np.median(np.abs(found.depth / wanted.depth - 1)) < 0.05
    assert np.median(np.abs(found.uncertainty / wanted.uncertainty - 1)) < 0.2


@pytest.mark.parametrize("name", ["nano", str(INT8)])
def test_commands_take_it(name: str, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "room.jpg")
    assert main([str(tmp_path / "room.jpg"), "--model", name, "--output", str(tmp_path), "--format", "npz"]) == 0
    prediction = Prediction.load(tmp_path / "room_depth.npz")
    np.testing.assert_allclose(prediction.depth, open_model(name).predict(photo).depth, rtol=1e-5)


def test_workers_of_ray_take_it_beside_a_folder_of_that_name(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    (tmp_path / "nano").mkdir()
    shutil.copy(photo, tmp_path / "room.jpg")
    command = [sys.executable, "-m", "depth_unet.engines.ray", "room.jpg", "--model", "nano", "--output", "out"]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "room_depth.png").exists()


def test_it_can_be_trained_on_and_published(tmp_path: Path) -> None:
    options = parse(["--data", "rgbd:x", "--output", str(tmp_path), "--model", "nano"])
    assert new_model(options).config == open_model("nano").config
    assert origins_before("nano")
    folder = tmp_path / "published"
    assert publish(["--model", "nano", "--repo", "a/b", "--dry-run", str(folder)]) == 0
    assert sha256_of(folder / "model.safetensors") == sha256_of(FOLDER / "model.safetensors")
    assert json.loads((folder / "config.json").read_text()) == open_model("nano").config.to_dict()


@pytest.mark.parametrize("name", ["nano", str(INT8)])
def test_it_is_as_accurate_as_promised(name: str, shared: Path) -> None:
    frames = data.open_data(f"rgbd/nyu:{shared / 'data' / 'nyu_val.tar'}")
    means = measure(open_model(name), frames).means["none"]
    assert means["abs_rel"] <= 0.185 and means["delta1"] >= 0.71


def test_its_8_bit_weights_leave_room_for_sums_of_16_bits() -> None:
    """Processors without VNNI add two products of weight and activation in 16 bits, and clip the sum."""
    onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    tensors = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(INT8).graph.initializer]
    weights = [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim > 1]
    assert len(weights) > 20 and max(abs(tensor.astype(int)).max() for tensor in weights) * 2 * 255 < 2**15
