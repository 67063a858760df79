"""Other ways to run a model than torch in this process, and `open_model` for all of them."""

import argparse
import os
import sys
from pathlib import Path

import torch

from depth_unet.engines.onnx import OnnxDepthUNet
from depth_unet.engines.transformers import TransformersDepth
from depth_unet.hub import ModelFiles, find_files, forbids_commercial_use, front_matter, licence_in
from depth_unet.model import CONFIG_FILE, DEFAULT_MODEL, DepthUNet
from depth_unet.predictor import Predictor
from depth_unet.reading import LARGEST_TEXT, parse_json, read_bytes

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def open_model(
    name: str | os.PathLike,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    subfolder: str = "",
    threads: int = 0,
) -> Predictor:
    """Load a model with the engine that its name and its config.json ask for.

    Args:
        name: a folder or "owner/name[@revision]" on a hub for a `DepthUNet` or a depth model of transformers, "nano"
            for the small, fast `DepthUNet` inside the package, or an .onnx file that
            `depth_unet.engines.onnx_export` wrote for an `OnnxDepthUNet`.
        revision: branch, tag or commit on the hub; the same as after "@".
        device: e.g. "cuda"; "auto" for a GPU where there is one; by default the CPU. ONNX files run on the CPU only.
        dtype: "float32", "float16" or "bfloat16", of the weights and the computation; by default float32.
        subfolder: of the folder or repository, with the model's files.
        threads: CPU threads of onnxruntime, 0 for its own choice; for torch use `torch.set_num_threads`.

    Returns:
        A predictor: `predict`, `predict_batch`, `alignments`, `licence`.

    Raises:
        FileNotFoundError: no such file, folder, repository or revision.
        ConnectionError: the hub cannot be reached.
        ValueError: not a depth model, damaged, or options that this engine does not have.
        ImportError: onnxruntime or transformers is needed and not installed.

    Example:
        >>> from depth_unet import DEFAULT_MODEL
        >>> open_model(DEFAULT_MODEL).config.encoder
        'tu-tf_efficientnet_lite2'
    """
    path, dtype = Path(name), _dtype(dtype)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        if revision is not None or subfolder:
            what = f"subfolder {subfolder!r}" if revision is None else f"revision {revision!r}"
            raise ValueError(f"{path} is a file, which has no {what}; leave the {what.partition(' ')[0]} out")
        if device not in (None, "auto") and torch.device(device).type != "cpu":
            raise ValueError(f"{path} cannot run on {device}: ONNX files run on the CPU only")
        if dtype not in (None, torch.float32):
            raise ValueError(f"{path} cannot run in {dtype}: its number format was chosen when it was written")
        model = OnnxDepthUNet(path, threads)
        model.licence = licence_in(front_matter(ModelFiles(path.parent, path.name, None)))
        return model
    if path.is_file():
        raise ValueError(f"{path} is not a model; give a folder, an .onnx file, or the owner/name of a hub repository")
    engine = TransformersDepth if _is_of_transformers(name, revision, subfolder) else DepthUNet
    return engine.from_pretrained(
        name, revision=revision, subfolder=subfolder, device=find_device(device), dtype=dtype or torch.float32
    )


def _dtype(asked: str | torch.dtype | None) -> torch.dtype | None:
    if asked is None or asked in DTYPES.values():
        return asked
    if asked not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {asked!r}")
    return DTYPES[asked]


def find_device(asked: str | torch.device | None) -> torch.device:
    """The device of an option of `open_model`: "auto" is a GPU where there is one, None the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if asked == "auto":
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(asked or "cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Only the first sentence: torch's own message may go on with a list of all devices.
        raise ValueError(f"cannot run on {asked}: {str(error).partition('. ')[0]}") from error
    return device


def _is_of_transformers(name: str | os.PathLike, revision: str | None, subfolder: str) -> bool:
    """Whether config.json is one of transformers; if it cannot be parsed, `DepthUNet` reports why."""
    try:
        found = find_files(name, (CONFIG_FILE,), revision=revision, subfolder=subfolder)
        config = parse_json(read_bytes(found.folder / CONFIG_FILE, LARGEST_TEXT))
    except ValueError:
        return False
    return isinstance(config, dict) and "model_type" in config and "encoder" not in config


def add_model_options(
    parser: argparse.ArgumentParser, option: str = "--model", default: str | None = DEFAULT_MODEL
) -> None:
    """Give a command line the options that `open_chosen` and `open_metric` read."""
    parser.add_argument(
        option,
        default=default,
        required=default is None,
        help="folder, owner/name[@revision] on a hub, or .onnx file, of depth_unet or a depth model of transformers; "
        "nano: the small, fast model of this package",
    )
    add_device_options(parser)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Give a command line --device and --dtype."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps, ...; auto: a GPU where there is one")
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES), help="of the weights and the computation")


def open_chosen(name: str, device: str, dtype: str, threads: int = 0) -> Predictor:
    """`open_model` for a command line: prints a warning if the licence forbids commercial use."""
    model = open_model(name, device=device, dtype=dtype, threads=threads)
    if forbids_commercial_use(model.licence):
        print(f"warning: the licence of {model.name} forbids commercial use: {model.licence}", file=sys.stderr)
    return model


def open_metric(name: str, device: str, dtype: str, threads: int = 0) -> Predictor:
    """`open_chosen`, for what needs metres.

    Raises:
        ValueError: the model predicts no metres; or as `open_model`.
    """
    model = open_chosen(name, device, dtype, threads)
    model.check_metric()
    return model
