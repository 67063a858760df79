"""Published depth networks of other authors as predictors: TFLite files, and ONNX files that predict disparity."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from depth_unet import Camera, Prediction, open_model
from depth_unet.engines.onnx import ForeignModelError
from depth_unet.files import sha256_of
from depth_unet.images import ImageSource, read_photo
from depth_unet.predictor import Predictor


class Peer(Predictor):
    """A network with an input of fixed size, to which whole photos are resized; it knows no camera.

    Args:
        path: weights file.

    Raises:
        FileNotFoundError: no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
        self.name, self.sha256 = path.name, sha256_of(path)

    def network(self, image: Image.Image) -> np.ndarray:
        """Depth (h, w) float32, in metres or proportional to them."""
        raise NotImplementedError

    def predict_batch(
        self,
        images: Sequence[ImageSource],
        cameras: Sequence[Camera | None] | None = None,
        batch_size: int = 1,
    ) -> list[Prediction]:
        """As `Predictor.predict_batch`, one photo at a time; `cameras` are ignored."""
        predictions = []
        for photo in map(read_photo, images):
            depth = torch.from_numpy(self.network(photo.image))[None, None]
            depth = F.interpolate(depth, (photo.height, photo.width), mode="bilinear")[0, 0].numpy()
            camera = Camera.assumed(photo.width, photo.height)
            predictions.append(Prediction(depth, camera, photo.name, self.name, camera_from="assumed"))
        return predictions


class LiteRtDepth(Peer):
    """Metric depth in 8 bits, as FastDepth (Wofk et al. 2019): uint8 RGB (1, H, W, 3) to uint8 steps (1, H, W, 1).

    Args:
        path: a .tflite file.
        threads: CPU threads; 0 for LiteRT's own choice.

    Raises:
        FileNotFoundError: no such file.
        ImportError: ai-edge-litert is not installed.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        super().__init__(path)
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(path), num_threads=threads or None)
        self.interpreter.allocate_tensors()
        (self.input,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def network(self, image: Image.Image) -> np.ndarray:
        """Depth in metres."""
        _, height, width, _ = self.input["shape"]
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))[None]
        self.interpreter.set_tensor(self.input["index"], pixels)
        self.interpreter.invoke()
        scale, _ = self.output["quantization"]
        steps = self.interpreter.get_tensor(self.output["index"])[0, :, :, 0]
        return np.maximum(steps, 0.5).astype(np.float32) * scale  # depth must be positive


class OnnxDisparity(Peer):
    """Disparity up to scale and shift, as TCSmallNet (Li et al. 2021): float RGB in 0..255 (1, 3, H, W).

    Args:
        path: an .onnx file.
        threads: CPU threads; 0 for onnxruntime's own choice.

    Raises:
        FileNotFoundError: no such file.
        ImportError: onnxruntime is not installed.
    """

    alignments = ("scale_shift_disparity",)

    def __init__(self, path: Path, threads: int = 0) -> None:
        super().__init__(path)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]

    def network(self, image: Image.Image) -> np.ndarray:
        """The reciprocal of the predicted disparity."""
        _, _, height, width = self.input.shape
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        (disparity,) = self.session.run(None, {self.input.name: pixels.transpose(2, 0, 1)[None]})
        return 1 / np.maximum(disparity[0, 0], 1e-6)


def open_any(name: str, threads: int = 0, device: str | None = None, dtype: str | None = None) -> Predictor:
    """Open a model of this package or a peer.

    Args:
        name: as for `depth_unet.open_model`, or a .tflite or .onnx file of a peer.
        threads: CPU threads of onnxruntime or LiteRT; 0 for their own choice.
        device: as for `open_model`; peers run on the CPU.
        dtype: as for `open_model`.

    Raises:
        FileNotFoundError, ValueError, ConnectionError, ImportError: as `open_model` and the peers.
    """
    if Path(name).suffix == ".tflite":
        return LiteRtDepth(Path(name), threads)
    try:
        return open_model(name, device=device, dtype=dtype, threads=threads)
    except ForeignModelError:
        return OnnxDisparity(Path(name), threads)
