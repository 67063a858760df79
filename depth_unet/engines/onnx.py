"""`OnnxDepthUNet`: run a DepthUNet with onnxruntime, from a file that `onnx_export` wrote.

Needs `pip install "depth_unet[onnx]"`.
"""

import os
from pathlib import Path
from typing import Any

import torch

from depth_unet.config import DepthUNetConfig
from depth_unet.files import sha256_of
from depth_unet.hub import find_files
from depth_unet.predictor import Predictor
from depth_unet.reading import parse_json

ONNX_FILE = "model.onnx"
INPUT, OUTPUT, UNCERTAINTY = "images", "depth", "uncertainty"
CONFIG_KEY = "depth_unet_config"


class ForeignModelError(ValueError):
    """A valid ONNX file that this package did not write."""


class OnnxDepthUNet(Predictor):
    """A DepthUNet that runs in onnxruntime, with the same `predict` and `predict_batch`.

    Args:
        path: file that `onnx_export.export` or `quantize` wrote.
        threads: CPU threads; 0 for onnxruntime's own choice.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, of a newer version, of a fixed input size, or, as `ForeignModelError`, written by another
            program.
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 0) -> None:
        runtime = import_extra("onnxruntime")
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no ONNX file at {path}")
        self.path, self.threads = path.absolute(), threads
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # no warnings; errors are raised
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no other common class
            reason = " ".join(str(error).split())[:400]
            raise ValueError(f"{path} is not an ONNX file, or damaged: {reason}") from error
        about = self.session.get_modelmeta().custom_metadata_map
        if CONFIG_KEY not in about:
            raise ForeignModelError(
                f"{path} is not a DepthUNet; write one with "
                f"`python -m depth_unet.engines.onnx_export MODEL {path.name}`"
            )
        try:
            self.config = DepthUNetConfig.from_dict(parse_json(about[CONFIG_KEY]))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: its configuration cannot be used: {str(error)[:300]}") from error
        _check_shapes(path.name, self.session)
        self.predicts_uncertainty = UNCERTAINTY in [output.name for output in self.session.get_outputs()]
        self.name, self.revision = about.get("name") or path.name, about.get("revision") or None
        self.sha256 = sha256_of(path)

    def __reduce__(self) -> tuple:
        """Pickle the path of the file instead of onnxruntime's session, for other processes of this machine."""
        return type(self), (self.path, self.threads), {"name": self.name, "revision": self.revision}

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Depth of a batch for the canonical camera; see `Predictor.run`."""
        (depths,) = self.session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(depths)

    def run_with_uncertainty(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Depth and uncertainty of a batch; None for files without the output `uncertainty`."""
        if not self.predicts_uncertainty:
            return self.run(images), None
        depths, uncertainties = self.session.run([OUTPUT, UNCERTAINTY], {INPUT: images.numpy()})
        return torch.from_numpy(depths), torch.from_numpy(uncertainties)

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


def _check_shapes(name: str, session: Any) -> None:
    inputs, outputs = (
        {place.name: place.shape for place in places} for places in (session.get_inputs(), session.get_outputs())
    )
    if set(inputs) != {INPUT} or OUTPUT not in outputs:
        raise ValueError(f"{name} maps {', '.join(inputs)} to {', '.join(outputs)}, not {INPUT} to {OUTPUT}")
    batch, _, *size = inputs[INPUT]
    if any(isinstance(side, int) for side in (batch, *size)):  # free sizes have names
        fixed = "x".join(map(str, inputs[INPUT]))
        raise ValueError(
            f"{name} accepts only {INPUT} of the fixed size {fixed}, but photos differ in size; "
            "export it with free batch, height and width"
        )
    for output in (OUTPUT, UNCERTAINTY):
        shape = outputs.get(output, [None, 1])
        if shape[1:2] not in ([1], [None]) and not isinstance(shape[1], str):
            raise ValueError(f"{name} outputs {shape[1]} channels instead of 1 as {output}")


def import_extra(name: str):
    """Import an optional package.

    Raises:
        ImportError: it is not installed; the message names the command that installs it.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(f'{name} is needed for this: pip install "depth_unet[onnx]"') from error
