"""`OnnxDepthUNet`: a DepthUNet that onnxruntime runs. `onnx_export` writes its files.

Needs `pip install "depth_unet[onnx]"`.
"""

import json
import os
from pathlib import Path

import torch

from depth_unet.config import DepthUNetConfig
from depth_unet.hub import find_files
from depth_unet.predictor import Predictor

ONNX_FILE = "model.onnx"
INPUT, OUTPUT = "images", "depth"
CONFIG_KEY = "depth_unet_config"


class ForeignModelError(ValueError):
    """A sound ONNX file, but not one of this package."""


class OnnxDepthUNet(Predictor):
    """A DepthUNet that onnxruntime runs, with the same `predict` and `predict_batch`.

    Args:
        path: file that `export` or `quantize` wrote.
        threads: of the CPU; 0 leaves it to onnxruntime.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, of a newer version, or, as `ForeignModelError`, an ONNX file of somebody else.
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 0) -> None:
        runtime = import_extra("onnxruntime")
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no ONNX file at {path}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only; failures are raised in any case
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes have nothing in common but this
            raise ValueError(f"{path} is not an ONNX file, or damaged: {error}") from error
        about = self.session.get_modelmeta().custom_metadata_map
        if CONFIG_KEY not in about:
            raise ForeignModelError(
                f"{path} is no DepthUNet: make it with `python -m depth_unet.engines.onnx_export MODEL {path.name}`"
            )
        try:
            self.config = DepthUNetConfig.from_dict(json.loads(about[CONFIG_KEY]))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: its configuration cannot be used: {error}") from error
        self.name, self.revision = about["name"], about["revision"] or None

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Depth of a batch, as the canonical camera would have it; see `Predictor.run`."""
        (depths,) = self.session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(depths)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        threads: int = 0,
    ) -> "OnnxDepthUNet":
        """Load model.onnx from a folder or from "owner/name" on a hub; see `DepthUNet.from_pretrained`."""
        found = find_files(
            model,
            (ONNX_FILE,),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        loaded = cls(found.folder / ONNX_FILE, threads)
        loaded.name, loaded.revision = found.name, found.commit
        return loaded


def import_extra(name: str):
    """Import an optional package.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(f'{name} is needed for this: pip install "depth_unet[onnx]"') from error
