"""An ONNX file predicts what its model predicts."""

import hashlib
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_unet import Camera, DepthUNet, DepthUNetConfig, Prediction

onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the optional package onnxruntime is not installed")

from depth_unet.engines.onnx import OnnxDepthUNet  # noqa: E402
from depth_unet.engines.onnx_export import (  # noqa: E402
    calibration_photos,
    export,
    largest_difference,
    main,
    quantize,
)

ROOT = Path(__file__).parents[2]
# TensorFlow's padding depends on the size: the hardest case for a file in which all sizes are free.
ENCODERS = ["mobilenet_v2", "tu-tf_efficientnet_lite0", "vgg13_bn"]


@pytest.fixture
def lively_model(tiny_config: DepthUNetConfig) -> DepthUNet:
    """A new model whose depths differ from place to place."""
    torch.manual_seed(1)
    model = DepthUNet(tiny_config).eval()
    with torch.no_grad():
        model.unet.segmentation_head[0].weight *= 10
    return model


@pytest.fixture
def file(lively_model: DepthUNet, tmp_path: Path) -> Path:
    return export(lively_model, tmp_path / "model.onnx")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_file_computes_what_the_network_computes_at_any_size(encoder: str, tmp_path: Path):
    torch.manual_seed(0)
    channels = [8, 8, 8, 8] if encoder == "vgg13_bn" else [8, 8, 8, 8, 8]
    model = DepthUNet(DepthUNetConfig.for_encoder(encoder, decoder_channels=channels, input_size=[64, 96]))
    path = export(model, tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    sizes = [tuple(map(int, size)) for size in rng.integers((1, 33, 33), (4, 140, 140), (5, 3))]
    assert largest_difference(model, path, [(1, 64, 96), (3, 32, 32), (1, 33, 47), *sizes]) < 1e-3


def test_exporting_leaves_the_model_as_it_was(tiny_model: DepthUNet, tmp_path: Path):
    tiny_model.train()
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    export(tiny_model, tmp_path / "model.onnx")
    assert tiny_model.training
    assert all(torch.equal(value, before[key]) for key, value in tiny_model.state_dict().items())


def test_predictions_are_the_same_down_to_the_camera(lively_model: DepthUNet, file: Path, photo: Path):
    lively_model.name = "kept in the file"
    runner = OnnxDepthUNet(export(lively_model, file))
    assert runner.config == lively_model.config
    assert runner.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    array = np.random.default_rng(0).integers(0, 255, (50, 130, 3), dtype=np.uint8)
    images, cameras = [photo, array, photo], [None, Camera.from_fov(130, 50, 90), Camera.from_fov(160, 120, 40)]
    ours = runner.predict_batch(images, cameras, batch_size=2)
    for mine, theirs in zip(ours, lively_model.predict_batch(images, cameras), strict=True):
        assert isinstance(mine, Prediction)
        np.testing.assert_allclose(mine.depth, theirs.depth, rtol=1e-3)
        assert (mine.camera, mine.name, mine.model) == (theirs.camera, theirs.name, "kept in the file")
    np.testing.assert_allclose(runner.predict(photo).depth, ours[0].depth, rtol=1e-3)


def test_eight_bits_are_smaller_and_close(lively_model: DepthUNet, file: Path, photo: Path, tmp_path: Path):
    small = quantize(file, tmp_path / "int8.onnx", [photo] * 3)
    assert small.stat().st_size < 0.5 * file.stat().st_size
    runner = OnnxDepthUNet(small)
    assert runner.config == lively_model.config
    depth, exact = runner.predict(photo).depth, lively_model.predict(photo).depth
    assert np.mean(np.abs(depth - exact) / exact) < 0.1
    with pytest.raises(ValueError, match="needs photos"):
        quantize(file, tmp_path / "none.onnx", [])


def test_the_head_stays_in_float(file: Path, photo: Path, tmp_path: Path):
    graph = onnx.load(quantize(file, tmp_path / "int8.onnx", [photo])).graph
    makers = {output: node for node in graph.node for output in node.output}
    pending, head = [graph.output[0].name], []
    while pending:  # from the depth back to the last convolutions
        node = makers.get(pending.pop())
        if node is not None:
            head.append(node)
            pending += node.input[1:] if node.op_type == "Conv" else node.input
    assert {"Conv", "Softmax", "Sigmoid", "Exp"} <= {node.op_type for node in head}
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in head}
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) > 20, "the rest is in 8 bits"


def test_calibration_photos_are_spread_over_a_folder(tmp_path: Path, photo: Path):
    for index in range(10):
        (tmp_path / f"{index}.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    assert [path.name for path in calibration_photos(tmp_path, 4)] == ["0.jpg", "3.jpg", "6.jpg", "9.jpg"]
    assert len(calibration_photos(tmp_path, 99)) == 10
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no images"):
        calibration_photos(tmp_path / "empty")


def test_other_files_are_refused(file: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        OnnxDepthUNet(tmp_path / "none.onnx")
    (tmp_path / "half.onnx").write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        OnnxDepthUNet(tmp_path / "half.onnx")
    graph = onnx.load(file)
    described = [({}, "is not a DepthUNet")]
    for text in ('{"encoder": 3}', "{", "[" * 9999, '{"encoder": "resnet18", "min_depth": NaN}'):
        described.append(({"depth_unet_config": text}, "other.onnx: its configuration cannot be used"))
    for about, wanted in described:
        del graph.metadata_props[:]
        onnx.helper.set_model_props(graph, about)
        onnx.save(graph, tmp_path / "other.onnx")
        with pytest.raises(ValueError, match=wanted):
            OnnxDepthUNet(tmp_path / "other.onnx")


def test_a_file_of_a_newer_format_is_refused_in_one_sentence(file: Path, tmp_path: Path):
    """onnxruntime describes it in many lines, or at great length."""
    graph = onnx.load(file)
    graph.ir_version = 99
    onnx.save(graph, tmp_path / "newer.onnx")
    with pytest.raises(ValueError, match=r"newer\.onnx is not an ONNX file, or damaged: ") as caught:
        OnnxDepthUNet(tmp_path / "newer.onnx")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500 + len(str(tmp_path))


def test_a_folder_with_the_file_loads(file: Path, photo: Path):
    loaded = OnnxDepthUNet.from_pretrained(file.parent, threads=1)
    assert loaded.name == file.parent.name and loaded.predict(photo).depth.shape == (120, 160)
    with pytest.raises(FileNotFoundError, match=r"contains no model\.onnx"):
        OnnxDepthUNet.from_pretrained(file.parent.parent)


def test_the_command(tiny_model: DepthUNet, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    tiny_model.save_pretrained(tmp_path / "model")
    output = tmp_path / "new" / "out.onnx"
    assert main([str(tmp_path / "model"), str(output), "--int8", str(photo.parent)]) == 0
    assert "differs from torch by at most" in capsys.readouterr().out
    assert {path.name for path in output.parent.iterdir()} == {"out.onnx", "out_int8.onnx"}
    assert main([str(tmp_path / "none"), str(output)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_file_runs_without_the_exporter(file: Path, photo: Path):
    code = (
        "import sys\nfor name in ('onnx', 'onnxscript'): sys.modules[name] = None\n"
        "from depth_unet import open_model\n"
        f"print(open_model({str(file)!r}).predict({str(photo)!r}).depth.shape)\n"
        "assert 'depth_unet.engines.onnx_export' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.stdout.strip() == "(120, 160)", ran.stderr


def test_an_engine_can_be_pickled(file: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(file.parent)
    runner = OnnxDepthUNet(file.name, threads=1)
    runner.name, runner.revision = "owner/name", "abc"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copy = pickle.loads(pickle.dumps(runner))
    assert (copy.name, copy.revision, copy.sha256) == ("owner/name", "abc", runner.sha256)
    assert copy.config == runner.config and copy.threads == 1
    expected = runner.predict(photo).depth
    np.testing.assert_array_equal(copy.predict(photo).depth, expected)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(runner.predict, photo).result().depth, expected)
    content = pickle.dumps(runner)
    assert len(content) < 10_000
    file.unlink()
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        pickle.loads(content)


def shape(graph: "onnx.ModelProto", output: bool = True) -> list[int | str]:
    place = (graph.graph.output if output else graph.graph.input)[0]
    return [side.dim_value or side.dim_param for side in place.type.tensor_type.shape.dim]


def test_the_graph_states_its_one_channel(file: Path, photo: Path, tmp_path: Path):
    for path in (file, quantize(file, tmp_path / "int8.onnx", [photo])):
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
        assert shape(graph)[1] == 1 and shape(graph, output=False)[1] == 3
        free = [*shape(graph)[2:], *shape(graph, output=False)[2:]]
        assert all(isinstance(side, str) for side in free)


@pytest.mark.parametrize("fixed", [(0,), (2,), (3,), (2, 3), (0, 2, 3)])
def test_a_file_of_fixed_size_is_refused(file: Path, tmp_path: Path, fixed: tuple[int, ...]):
    graph = onnx.load(file)
    for axis in fixed:
        graph.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 1 if axis == 0 else 64
    onnx.save(graph, tmp_path / "fixed.onnx")
    with pytest.raises(ValueError, match=r"^fixed\.onnx accepts only .*fixed size.*64|^fixed\.onnx.*1x3") as caught:
        OnnxDepthUNet(tmp_path / "fixed.onnx")
    assert "\n" not in str(caught.value)


def test_a_file_of_other_inputs_or_outputs_is_refused(file: Path, tmp_path: Path):
    for rename in ("input", "output"):
        graph = onnx.load(file)
        old = getattr(graph.graph, rename)[0].name
        getattr(graph.graph, rename)[0].name = "other"
        for node in graph.graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    names[index] = "other" if name == old else name
        onnx.save(graph, tmp_path / "other.onnx")
        with pytest.raises(ValueError, match=r"^other\.onnx maps .*other"):
            OnnxDepthUNet(tmp_path / "other.onnx")


def test_the_file_has_the_uncertainty_as_second_output(
    lively_model: DepthUNet, file: Path, photo: Path, tmp_path: Path
):
    runner = OnnxDepthUNet(file)
    assert runner.predicts_uncertainty
    images = torch.rand(2, 3, 71, 90)
    for found, wanted in zip(
        runner.run_with_uncertainty(images), lively_model.run_with_uncertainty(images), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    wanted = lively_model.predict(photo)
    np.testing.assert_allclose(runner.predict(photo).uncertainty, wanted.uncertainty, rtol=1e-2)
    small = OnnxDepthUNet(quantize(file, tmp_path / "int8.onnx", [photo]))
    assert small.predicts_uncertainty and small.predict(photo).uncertainty.shape == wanted.depth.shape


def test_a_file_without_it_runs_as_before(lively_model: DepthUNet, photo: Path, tmp_path: Path):
    old = OnnxDepthUNet(export(lively_model.with_config(uncertainty=0.0), tmp_path / "old.onnx"))
    assert not old.predicts_uncertainty and [output.name for output in old.session.get_outputs()] == ["depth"]
    prediction = old.predict(photo)
    assert prediction.uncertainty is None
    np.testing.assert_allclose(prediction.depth, lively_model.predict(photo).depth, rtol=1e-3)
