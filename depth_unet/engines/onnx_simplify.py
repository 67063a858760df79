"""`simplify`: rewrite an exported DepthUNet so that it computes the same with fewer operations."""

from collections import defaultdict
from typing import Any

import numpy as np

from depth_unet.engines.onnx import INPUT, import_extra
from depth_unet.engines.onnx_export import OPSET, remove_unused

MEASURED_SIZE = (64, 96)  # (height, width) of the image on which shapes are measured


def simplify(model) -> None:
    """Rewrite a loaded ONNX file in place, for images whose sides are multiples of 32, as `Predictor` gives.

    - A 3x3 convolution of a tensor that nearest-neighbour interpolation enlarged twofold becomes a transposed
      convolution of the small tensor: 16 instead of 36 multiplications for each of its pixels and pair of channels.
    - Mean and entropy of the depth bins share one exponential function, and 1x1 convolutions are their sums: runtimes
      compute softmax and sums along channels without vector instructions.

    Nodes that are not of these forms stay as they are.

    Args:
        model: as `onnx.load` returns it.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
    """
    versions = {imported.domain: imported.version for imported in model.opset_import}
    if versions.get("", 0) >= OPSET:  # some operators had other inputs before
        _Rewriter(model).rewrite()


class _Rewriter:
    def __init__(self, model) -> None:
        self.onnx = import_extra("onnx")
        self.model, self.graph = model, model.graph
        self.makers = {output: node for node in self.graph.node for output in node.output}
        self.users = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                self.users[name].append(node)
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        fixed = [node for node in self.graph.node if node.op_type == "Constant"]
        self.constants |= {node.output[0]: node.attribute[0].t for node in fixed}

    def rewrite(self) -> None:
        enlarged = [node for node in self.graph.node if node.op_type == "Resize"]
        shapes = self._shapes([name for node in enlarged for name in (node.input[0], node.output[0])])
        made = {}
        for node in self.graph.node:
            if node.op_type == "Conv":
                made |= self._transposed(node, shapes)
            if node.op_type == "Softmax":
                made |= self._moments(node)
        nodes = [new for node in self.graph.node for new in made.get(node.output[0], [node])]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        remove_unused(self.graph)

    def _transposed(self, conv, shapes: dict[str, tuple[int, ...]]) -> dict[str, list]:
        """ConvTranspose(x) + Conv(skip) instead of Conv(Concat(Resize(x), skip)), or without a skip connection."""
        plain = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1], "group": 1}
        source = self.makers.get(conv.input[0])
        parts = list(source.input) if source is not None and source.op_type == "Concat" else [conv.input[0]]
        resize = self.makers.get(parts[0])
        if self._settings(conv) != plain or conv.input[1] not in self.constants or len(parts) > 2:
            return {}
        if resize is None or resize.op_type != "Resize" or self._settings(resize)["mode"] != b"nearest":
            return {}
        small, large = shapes[resize.input[0]], shapes[parts[0]]
        if large[2:] != (2 * small[2], 2 * small[3]):
            return {}
        weights = self._value(conv.input[1])
        flipped = weights[:, : small[1], ::-1, ::-1].transpose(1, 0, 2, 3)
        # An enlarged pixel is 2x2 equal ones: the kernel is summed over their four places.
        places = [((0, 0), (0, 0), (y, 1 - y), (x, 1 - x)) for y in (0, 1) for x in (0, 1)]
        kernel = self._constant(f"{conv.name}/enlarged", sum(np.pad(flipped, place) for place in places))
        whole = {"kernel_shape": [4, 4], "pads": [1] * 4, "strides": [2, 2]}
        (result,), bias = conv.output, list(conv.input[2:])
        if len(parts) == 1:
            return {result: [self._node("ConvTranspose", [resize.input[0], kernel, *bias], result, **whole)]}
        skip = self._constant(f"{conv.name}/skip", weights[:, small[1] :])
        terms = [f"{result}/enlarged", f"{result}/skip"]
        return {
            result: [
                self._node("ConvTranspose", [resize.input[0], kernel], terms[0], **whole),
                self._node("Conv", [parts[1], skip, *bias], terms[1], **plain),
                self._node("Add", terms, result),
            ]
        }

    def _moments(self, softmax) -> dict[str, list]:
        """Mean of constants, and sum of p log p, of the distribution p that a softmax over channels returns."""
        logits, name = softmax.input[0], softmax.name
        mean = self._sum_over_channels(softmax.output[0], self.constants)
        logarithms = [node for node in self.users[logits] if node.op_type == "LogSoftmax"]
        if mean is None or any(self._settings(node)["axis"] != 1 for node in (softmax, *logarithms)):
            return {}
        product, total = mean
        values = next(value for value in product.input if value in self.constants)
        if self._value(values).ndim != 4:
            return {}
        axis = self._constant(f"{name}/axis", np.array([1]))
        ones = self._constant(f"{name}/ones", np.ones_like(self._value(values)))
        kernel = self._constant(f"{name}/values", self._value(values))
        parts = ("most", "less", "powers", "norm", "weighted")
        most, less, powers, norm, weighted = (f"{name}/{part}" for part in parts)
        made = {
            total.output[0]: [
                self._node("ReduceMax", [logits, axis], most, keepdims=1),
                self._node("Sub", [logits, most], less),
                self._node("Exp", [less], powers),
                self._node("Conv", [powers, ones], norm),
                self._node("Conv", [powers, kernel], weighted),
                self._node("Div", [weighted, norm], total.output[0]),
            ]
        }
        for node in logarithms:
            exponentials = {user.output[0] for user in self.users[node.output[0]] if user.op_type == "Exp"}
            entropy = self._sum_over_channels(node.output[0], exponentials)
            if entropy is not None:
                result = entropy[1].output[0]
                steps = [f"{result}/{part}" for part in ("products", "sum", "mean", "norm")]
                made[result] = [
                    self._node("Mul", [powers, less], steps[0]),
                    self._node("Conv", [steps[0], ones], steps[1]),
                    self._node("Div", [steps[1], norm], steps[2]),
                    self._node("Log", [norm], steps[3]),
                    self._node("Sub", steps[2:], result),
                ]
        return made

    def _sum_over_channels(self, name: str, factors) -> tuple[Any, Any] | None:
        """The product of a tensor and one of `factors`, and its sum over the channels, which is its only use."""
        for product in self.users[name]:
            if product.op_type == "Mul" and any(factor in factors for factor in product.input):
                uses = self.users[product.output[0]]
                if [use.op_type for use in uses] == ["ReduceSum"] and self._settings(uses[0]).get("keepdims", 1):
                    axes = uses[0].input[1:]
                    if axes and axes[0] in self.constants and self._value(axes[0]).tolist() == [1]:
                        return product, uses[0]
        return None

    def _shapes(self, names: list[str]) -> dict[str, tuple[int, ...]]:
        """Shapes of tensors for one image, measured: shape inference does not know the sizes after Resize."""
        runtime = import_extra("onnxruntime")
        measured = self.onnx.ModelProto()
        measured.CopyFrom(self.model)
        del measured.graph.output[:]
        names = list(dict.fromkeys(names))
        measured.graph.output.extend(map(self.onnx.helper.make_empty_tensor_value_info, names))
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # no warnings; errors are raised
        session = runtime.InferenceSession(measured.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(names, {INPUT: np.zeros((1, 3, *MEASURED_SIZE), np.float32)})
        return {name: value.shape for name, value in zip(names, found, strict=True)}

    def _settings(self, node) -> dict[str, Any]:
        return {each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute}

    def _node(self, kind: str, inputs: list[str], output: str, **settings: Any):
        return self.onnx.helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **settings)

    def _value(self, name: str) -> np.ndarray:
        return self.onnx.numpy_helper.to_array(self.constants[name])

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
