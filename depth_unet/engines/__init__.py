"""Other ways to run a model than torch in this process, and `open_model` for all of them."""

import os
from pathlib import Path

import torch

from depth_unet.engines.onnx import OnnxDepthUNet
from depth_unet.model import DepthUNet
from depth_unet.predictor import Predictor


def open_model(
    name: str | os.PathLike,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    threads: int = 0,
) -> Predictor:
    """Load a model with the engine that its name asks for.

    Args:
        name: a folder or "owner/name[@revision]" on a hub for a `DepthUNet`, or an .onnx file that
            `depth_unet.engines.onnx_export` wrote for an `OnnxDepthUNet`.
        revision: branch, tag or commit on the hub; the same as after "@".
        device: of a `DepthUNet`, e.g. "cuda"; by default the CPU. ONNX files run on the CPU only.
        threads: CPU threads of onnxruntime, 0 for its own choice; for torch use `torch.set_num_threads`.

    Returns:
        A predictor: `predict`, `predict_batch`, `alignments`.

    Raises:
        FileNotFoundError: no such file, folder, repository or revision.
        ConnectionError: the hub cannot be reached.
        ValueError: not a model of this package, damaged, or options that this engine does not have.
        ImportError: onnxruntime is needed and not installed.

    Example:
        >>> from depth_unet import DEFAULT_MODEL
        >>> open_model(DEFAULT_MODEL).config.encoder
        'tu-tf_efficientnet_lite2'
    """
    path = Path(name)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        if revision is not None:
            raise ValueError(f"{path} is a file, which has no revision {revision!r}; leave the revision out")
        if device is not None and torch.device(device).type != "cpu":
            raise ValueError(f"{path} cannot run on {device}: ONNX files run on the CPU only")
        return OnnxDepthUNet(path, threads)
    if path.is_file():
        raise ValueError(f"{path} is not a model; give a folder, an .onnx file, or the owner/name of a hub repository")
    name = os.fspath(name)
    if "@" in name and not path.is_dir():
        if revision is not None:
            raise ValueError(f"{name} names a revision, and revision={revision!r} another; give one of them")
        name, _, revision = name.partition("@")
    model = DepthUNet.from_pretrained(name, revision=revision)
    return model if device is None else model.to(device)
