"""`python -m depth_unet.engines.onnx_export MODEL out.onnx`: write a DepthUNet as an ONNX file, in 32 or 8 bits.

Needs `pip install "depth_unet[onnx]"`.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from depth_unet.data.rgbd import RgbdFolder
from depth_unet.engines.onnx import CONFIG_KEY, INPUT, OUTPUT, UNCERTAINTY, OnnxDepthUNet, import_extra
from depth_unet.files import write_atomically
from depth_unet.folders import photos_in
from depth_unet.images import SUFFIXES, ImageSource, read_photo, to_tensor
from depth_unet.model import DEFAULT_MODEL, DepthUNet
from depth_unet.predictor import Predictor

OPSET = 18
CALIBRATION_PHOTOS = 64
LEAST_HALVED = 1024  # numbers; smaller tensors would save nothing


def export(model: DepthUNet, path: str | os.PathLike) -> Path:
    """Write a model as ONNX: `images` (N, 3, H, W), RGB in [0, 1], to `depth` (N, 1, H, W), metres; any N, H, W.

    `depth` is the output of `DepthUNet.forward`, for the canonical camera. A second output, `uncertainty` (N, 1, H, W),
    is one standard deviation of log depth, if the network predicts it. The file contains the config, with which
    `OnnxDepthUNet` scales depth to the photo's camera.

    Args:
        model: to export; stays as it is.
        path: file to write; its folder is created.

    Returns:
        The path written.

    Raises:
        ImportError: the package onnx is not installed.
        OSError: the file cannot be written.
    """
    onnx = import_extra("onnx")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A copy on the CPU: the caller's model keeps its device and mode.
    copy = DepthUNet(model.config)
    copy.load_state_dict({key: value.cpu() for key, value in model.state_dict().items()})
    free = {0: "batch", 2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = Path(folder) / "traced.onnx"
        # The tracing exporter: the newer one takes minutes for encoders whose padding depends on the size, and its
        # graph is no faster.
        outputs = [OUTPUT, UNCERTAINTY] if model.config.uncertainty else [OUTPUT]
        torch.onnx.export(
            _Outputs(copy).eval(),
            (torch.rand(2, 3, *model.config.input_size),),
            traced,
            input_names=[INPUT],
            output_names=outputs,
            dynamic_axes=dict.fromkeys([INPUT, *outputs], free),
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(traced)
    _pad_within_convolutions(graph.graph, onnx)
    for output in graph.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = 1  # the tracer leaves it open
    about = {CONFIG_KEY: json.dumps(model.config.to_dict()), "name": model.name, "revision": model.revision or ""}
    onnx.helper.set_model_props(graph, about)
    write_atomically(path, graph.SerializeToString())
    return path


class _Outputs(torch.nn.Module):
    """The outputs of the file, for the tracer."""

    def __init__(self, model: DepthUNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        details = self.model(images, details=True)
        uncertainty = self.model.uncertainty_of(details)
        return (details.depth,) if uncertainty is None else (details.depth, uncertainty)


def quantize(source: str | os.PathLike, path: str | os.PathLike, photos: Sequence[ImageSource]) -> Path:
    """Write an 8-bit version of an exported model; measure what it costs in accuracy.

    Static quantisation: activations get their ranges on `photos`, weights one range per channel.

    Args:
        source: file that `export` wrote.
        path: file to write; its folder is created.
        photos: some dozens, like those that the model will process.

    Returns:
        The path written.

    Raises:
        ValueError: no photos.
        ImportError: onnx or onnxruntime is not installed.
        OSError: the file cannot be written.
    """
    onnx = import_extra("onnx")
    import_extra("onnxruntime")
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not len(photos):
        raise ValueError("quantisation needs photos for calibration, and the list is empty")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)

    class Reader(quantization.CalibrationDataReader):
        batches = iter(_network_inputs(photos, OnnxDepthUNet(source)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            images = next(self.batches, None)
            return None if images is None else {INPUT: images}

    about = {prop.key: prop.value for prop in onnx.load(source).metadata_props}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(quantized),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # processors without VNNI add products in 16 bits, which full 8-bit weights overflow
            calibrate_method=quantization.CalibrationMethod.MinMax,
            nodes_to_exclude=_kept_in_float(onnx.load(prepared)),
        )
        graph = onnx.load(quantized)
    onnx.helper.set_model_props(graph, about)
    write_atomically(path, graph.SerializeToString())
    return path


def store_in_half(graph) -> None:
    """Store the large tensors of a loaded ONNX file as float16: half the size, the same float32 computation.

    A Cast follows each of them, which runtimes fold when they load the file.
    """
    onnx = import_extra("onnx")
    casts = []
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LEAST_HALVED or not np.abs(values).max() <= np.finfo("e").max:
            continue
        name, stored = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], f"{stored}_cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _pad_within_convolutions(graph, onnx) -> None:
    """Replace each traced Pad of TensorFlow's "same" padding by the convolution's attribute auto_pad=SAME_UPPER.

    The tracer writes the padding as arithmetic on sizes, which is half of all nodes; without them, 8-bit inference is
    10 % faster.
    """
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        pad = makers.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is not None and pad.op_type == "Pad" and pad.input[1] in makers:  # computed, not constant
            node.input[0] = pad.input[0]
            kept = [attribute for attribute in node.attribute if attribute.name not in ("pads", "auto_pad")]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("auto_pad", "SAME_UPPER")])
    remove_unused(graph)


def remove_unused(graph) -> None:
    """Remove the nodes and stored tensors of an ONNX graph from which no output is computed."""
    needed, kept = {output.name for output in graph.output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    stored = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(stored)


def _kept_in_float(graph) -> list[str]:
    """Names of the nodes that stay in float: the last convolutions and all nodes after them.

    A logit in 256 steps would show as terraces in the depth.
    """
    kept, convolved = [], set()  # tensors from which a later convolution is computed
    for node in reversed(graph.graph.node):
        is_head = not convolved & set(node.output)
        if is_head:
            kept.append(node.name)
        if not is_head or node.op_type == "Conv":
            convolved |= set(node.input)
    return kept


def _network_inputs(photos: Sequence[ImageSource], predictor: Predictor) -> Iterator[np.ndarray]:
    for photo in photos:
        image = read_photo(photo, enough=tuple(predictor.config.input_size)).image
        yield to_tensor(image, predictor.network_size(image.height, image.width))[None].numpy()


def calibration_photos(path: str | os.PathLike, count: int = CALIBRATION_PHOTOS) -> list[ImageSource]:
    """Up to `count` photos, evenly spread over a folder of images or an RGB-D tar that `RgbdFolder` reads.

    Raises:
        FileNotFoundError: no images there.
    """
    path = Path(path)
    if path.is_dir():
        found, _ = photos_in(path)
        if not found:
            raise FileNotFoundError(f"no images ({', '.join(SUFFIXES)}) in {path}")
        return [found[index] for index in _spread(len(found), count)]
    samples = RgbdFolder(path)
    return [
        Image.fromarray((samples[index].image * 255).round().byte().permute(1, 2, 0).numpy())
        for index in _spread(len(samples), count)
    ]


def _spread(length: int, count: int) -> list[int]:
    return sorted({int(index) for index in np.linspace(0, length - 1, min(length, count)).round()})


def largest_difference(model: DepthUNet, path: str | os.PathLike, sizes: Iterable[tuple[int, int, int]]) -> float:
    """Largest relative difference between a model and its ONNX file, on noise of each size (batch, height, width)."""
    runner, worst = OnnxDepthUNet(path), 0.0
    generator = torch.Generator().manual_seed(0)
    for batch, height, width in sizes:
        images = torch.rand(batch, 3, height, width, generator=generator)
        for found, expected in zip(
            runner.run_with_uncertainty(images), model.run_with_uncertainty(images), strict=True
        ):
            if expected is not None:
                worst = max(worst, float(((found - expected).abs() / expected).max()))
    return worst


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after an error."""
    parser = argparse.ArgumentParser(
        "python -m depth_unet.engines.onnx_export",
        description="Write a DepthUNet as ONNX, optionally with an 8-bit version beside it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    parser.add_argument("output", type=Path, help="file to write, e.g. out.onnx")
    parser.add_argument(
        "--int8",
        type=Path,
        metavar="PHOTOS",
        help="also write NAME_int8.onnx, calibrated with the images of this folder or RGB-D tar",
    )
    options = parser.parse_args(arguments)
    try:
        model = DepthUNet.from_pretrained(options.model)
        export(model, options.output)
        rows, columns = model.config.input_size
        sizes = ((1, rows, columns), (2, rows + 7, columns - 13))
        difference = largest_difference(model, options.output, sizes)
        print(f"{options.output}: {_megabytes(options.output)}, differs from torch by at most {difference:.1e}")
        if options.int8:
            small = options.output.with_name(f"{options.output.stem}_int8.onnx")
            quantize(options.output, small, calibration_photos(options.int8))
            print(f"{small}: {_megabytes(small)}")
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
