"""Rewritten files compute the same depth and uncertainty, with fewer operations."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_unet import DepthUNet, DepthUNetConfig

onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the optional package onnxruntime is not installed")

from depth_unet.engines.onnx_export import export  # noqa: E402
from depth_unet.engines.onnx_simplify import simplify  # noqa: E402


def outputs(model, images: np.ndarray) -> list[np.ndarray]:
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


@pytest.mark.parametrize(("bins", "uncertainty"), [(16, 0.2), (16, 0.0), (0, 0.2), (0, 0.0)])
def test_same_outputs_with_fewer_operations(
    tiny_config: DepthUNetConfig, bins: int, uncertainty: float, tmp_path: Path
):
    torch.manual_seed(2)
    model = DepthUNet(replace(tiny_config, depth_bins=bins, uncertainty=uncertainty)).eval()
    with torch.no_grad():
        for head in (model.unet.segmentation_head[0], *([model.bins] if bins else [])):
            torch.nn.init.normal_(head.weight, std=1)
    exported, simplified = (onnx.load(export(model, tmp_path / "model.onnx")) for _ in range(2))
    simplify(simplified)
    onnx.checker.check_model(simplified, full_check=True)
    for size in ((1, 3, 64, 96), (2, 3, 96, 32)):
        images = np.random.default_rng(0).random(size, np.float32)
        for made, expected in zip(outputs(simplified, images), outputs(exported, images), strict=True):
            assert expected.std() > 0.01 * expected.mean()
            assert np.allclose(made, expected, rtol=1e-4)
    kinds = Counter(node.op_type for node in simplified.graph.node)
    assert kinds["ConvTranspose"] == len(tiny_config.decoder_channels)
    assert kinds["Softmax"] == kinds["LogSoftmax"] == kinds["ReduceSum"] == 0
    assert len({tensor.name for tensor in simplified.graph.initializer}) == len(simplified.graph.initializer)


def test_files_of_older_operators_stay(tiny_model: DepthUNet, tmp_path: Path):
    older = onnx.load(export(tiny_model, tmp_path / "model.onnx"))
    older.opset_import[0].version = 17
    before = older.SerializeToString(deterministic=True)
    simplify(older)
    assert older.SerializeToString(deterministic=True) == before
