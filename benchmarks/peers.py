"""Published networks of other makers, to be scored by the code that scores ours: files of LiteRT and onnxruntime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from depth_unet import Camera, DepthUNet, Prediction
from depth_unet.engines.onnx import ForeignModelError, OnnxDepthUNet
from depth_unet.metrics import ALIGNMENTS
from depth_unet.predictor import Predictor


class Peer:
    """A network with an input of fixed size, into which whole photos are squeezed.

    Attributes:
        name: the file's.
        alignments: in which its output can be scored.
    """

    name: str
    alignments: tuple[str, ...] = ALIGNMENTS

    def network(self, image: Image.Image) -> np.ndarray:
        """Depth (h, w), in metres or in proportion to them."""
        raise NotImplementedError

    def predict_batch(
        self, images: Sequence[np.ndarray], cameras: Sequence[Camera] | None = None, batch_size: int = 1
    ) -> list[Prediction]:
        """As `DepthUNet.predict_batch`; the cameras are not heeded, for these networks know of none."""
        predictions = []
        for image in images:
            height, width = image.shape[:2]
            depth = torch.from_numpy(self.network(Image.fromarray(image)))[None, None]
            depth = F.interpolate(depth, (height, width), mode="bilinear")[0, 0].numpy()
            predictions.append(Prediction(depth, Camera.assumed(width, height)))
        return predictions


class LiteRtDepth(Peer):
    """Metric depth in 8 bits, as FastDepth (Wofk et al. 2019): uint8 RGB (1, H, W, 3) to uint8 steps (1, H, W, 1).

    Args:
        path: a .tflite file.
        threads: of the CPU.

    Raises:
        FileNotFoundError: no such file.
        ImportError: ai-edge-litert is not installed.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        from ai_edge_litert.interpreter import Interpreter

        self.name = path.name
        self.interpreter = Interpreter(str(path), num_threads=threads)
        self.interpreter.allocate_tensors()
        (self.input,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def network(self, image: Image.Image) -> np.ndarray:
        """Metres."""
        _, height, width, _ = self.input["shape"]
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))[None]
        self.interpreter.set_tensor(self.input["index"], pixels)
        self.interpreter.invoke()
        scale, _ = self.output["quantization"]
        steps = self.interpreter.get_tensor(self.output["index"])[0, :, :, 0]
        return np.maximum(steps, 0.5).astype(np.float32) * scale  # no distance is 0


class OnnxDisparity(Peer):
    """Inverse depth of unknown scale and shift, as TCSmallNet (Li et al. 2021): float RGB 0..255 (1, 3, H, W).

    Args:
        path: an .onnx file.
        threads: of the CPU.

    Raises:
        FileNotFoundError: no such file.
        ImportError: onnxruntime is not installed.
    """

    alignments = ("scale_shift_disparity",)

    def __init__(self, path: Path, threads: int = 1) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        import onnxruntime

        self.name = path.name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def network(self, image: Image.Image) -> np.ndarray:
        """The reciprocal of what it says."""
        _, _, height, width = self.input.shape
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        (disparity,) = self.session.run(None, {self.input.name: pixels.transpose(2, 0, 1)[None]})
        return 1 / np.maximum(disparity[0, 0], 1e-6)


def open_model(name: str) -> Predictor | Peer:
    """Whatever can be scored.

    Args:
        name: folder or owner/name of a DepthUNet, an .onnx file of one, or a .tflite or .onnx file of another maker.

    Raises:
        FileNotFoundError, ValueError, ConnectionError, ImportError: as the classes that are made.
    """
    path = Path(name)
    if path.suffix == ".tflite":
        return LiteRtDepth(path)
    if path.suffix == ".onnx":
        try:
            return OnnxDepthUNet(path)
        except ForeignModelError:
            return OnnxDisparity(path)
    return DepthUNet.from_pretrained(name)
