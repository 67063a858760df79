"""Networks of other authors predict through the interface of this package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.peers import open_any
from depth_unet import DepthUNet, RgbdFolder, depth_metrics
from depth_unet.files import sha256_of
from depth_unet.predictor import Predictor


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A network whose disparity is the red channel."""
    onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the optional package onnxruntime is not installed")
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 36, 48])
    disparity = onnx.helper.make_tensor_value_info("disparity", onnx.TensorProto.FLOAT, [1, 1, 36, 48])
    first = onnx.numpy_helper.from_array(np.array([0]), "first")
    node = onnx.helper.make_node("Gather", ["image", "first"], ["disparity"], axis=1)
    graph = onnx.helper.make_graph([node], "red", [image], [disparity], [first])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "red.onnx")
    return tmp_path / "red.onnx"


def test_a_disparity_network_is_a_predictor(red: Path, photo: Path) -> None:
    peer = open_any(str(red), threads=1)
    assert isinstance(peer, Predictor) and peer.alignments == ("scale_shift_disparity",)
    assert peer.name == "red.onnx" and peer.sha256 == sha256_of(red)
    with Image.open(photo) as image:
        small = np.asarray(image.resize((48, 36), Image.Resampling.BILINEAR), np.float32)[:, :, 0]
        array = np.asarray(image)
    depth = torch.from_numpy(1 / np.maximum(small, 1e-6))[None, None]
    wanted = torch.nn.functional.interpolate(depth, (120, 160), mode="bilinear")[0, 0].numpy()
    by_path, by_array = peer.predict_batch([photo, array])
    np.testing.assert_allclose(by_path.depth, wanted, rtol=1e-5)
    np.testing.assert_array_equal(by_path.depth, by_array.depth)
    assert peer.predict(photo).name == "room.jpg" and by_path.model == "red.onnx" and by_path.camera_from == "assumed"


def test_our_own_models_are_opened_as_ours(tiny_model: DepthUNet, red: Path, tmp_path: Path) -> None:
    from depth_unet.engines.onnx import OnnxDepthUNet
    from depth_unet.engines.onnx_export import export

    tiny_model.save_pretrained(tmp_path / "model")
    assert isinstance(open_any(str(tmp_path / "model")), DepthUNet)
    assert isinstance(open_any(str(export(tiny_model, tmp_path / "ours.onnx"))), OnnxDepthUNet)
    for missing in ("none.onnx", "none.tflite"):
        with pytest.raises(FileNotFoundError, match=missing):
            open_any(str(tmp_path / missing))


def test_fastdepth_predicts_metres(shared: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert, which runs the file, is not installed")
    peer = open_any(str(shared / "peers" / "fastdepth_224_int8.tflite"), threads=1)
    frames = RgbdFolder(shared / "data" / "nyu_val.tar")
    scores = {"none": [], "median": []}
    for index in range(0, len(frames), 13):
        sample = frames[index]
        image = (sample.image * 255).round().byte().permute(1, 2, 0).numpy()
        depth, target, valid = peer.predict(image).depth, sample.depth[0].numpy(), sample.valid[0].numpy()
        for align, found in scores.items():
            found.append(depth_metrics(depth, target, valid, align=align, min_depth=0.3, max_depth=10.0)["delta1"])
    assert np.mean(scores["median"]) > np.mean(scores["none"]) > 0.6
