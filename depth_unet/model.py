"""`DepthUNet`, from RGB to metres: `forward` for training, `predict` for photos."""

import copy
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from depth_unet.config import DepthUNetConfig
from depth_unet.files import sha256_of, write_atomically, write_json
from depth_unet.hub import find_files, front_matter, licence_in
from depth_unet.predictor import Predictor
from depth_unet.reading import LARGEST_TEXT, parse_json, read_bytes
from depth_unet.torchvision_guard import import_torchvision_safely

import_torchvision_safely()
import segmentation_models_pytorch as smp  # noqa: E402  (the guard must run first)

DEFAULT_MODEL = str(Path(__file__).parent / "pretrained")
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_EPSILON = 1e-4  # of the log range; keeps the logit of the bins' mean finite
_EXPECTED_ERROR = 0.15  # of log depth, before training
_SCALES = (-7.0, 3.0)  # of the logarithm of the expected error: beyond all that occurs, and finite
_CLASSIFIER_KEYS = ("conv_head.", "bn2.", "classifier.", "fc.", "head.", "last_linear.")
_PROBE_SIZE = (64, 96)
_ACCEPTED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # of weights in a file
_COUNTER = "num_batches_tracked"


class DepthDetails(NamedTuple):
    """All outputs of the network, for losses.

    Args:
        depth: (N, 1, H, W) float32, metres of the canonical camera.
        bin_logits: (N, depth_bins, h, w) float32 at half the size, or None without bins.
        log_scale: (N, 1, h, w) float32 at half the size, log of the mean absolute error of log depth that the network
            expects, or None without `config.uncertainty`.
    """

    depth: torch.Tensor
    bin_logits: torch.Tensor | None
    log_scale: torch.Tensor | None


class DepthUNet(nn.Module, Predictor):
    """A U-Net that predicts the metric depth of one photo.

    depth = exp(log(min) + (log(max) - log(min)) * sigmoid(logit)), so that an equal step of the logit is an equal
    ratio of distances (Eigen et al. 2014 argue for the logarithm). With `config.depth_bins`, the head predicts a
    distribution over log-spaced depth bins at half the size; its mean (soft argmax, Kendall et al. 2017; Bhat et al.
    2021) gives the logit, to which the decoder's last stage adds a correction at full size. With `config.uncertainty`
    a second head predicts the scale of a Laplace distribution of log depth (Kendall and Gal 2017).

    Encoder stages that the decoder does not use are replaced by identities; `unbuilt` holds the prefixes of their
    state dict keys, and loading ignores tensors below them.

    Args:
        config: the network and its camera.
        encoder_weights: None for random, "imagenet" to download what segmentation-models-pytorch offers, or the
            path of a safetensors file with an ImageNet classifier of the same architecture (timm or torchvision).

    Raises:
        ValueError: unknown encoder, an encoder that expects one input size, or weights that do not fit it.
        FileNotFoundError: no file at the path given.
        ConnectionError: "imagenet" could not be downloaded.

    Example:
        >>> import numpy as np
        >>> model = DepthUNet.from_pretrained(DEFAULT_MODEL)
        >>> model.predict(np.zeros((120, 160, 3), np.uint8)).depth.shape
        (120, 160)
    """

    @torch.inference_mode(False)  # the search for unused stages needs gradients, wherever a model is built
    def __init__(self, config: DepthUNetConfig, encoder_weights: str | os.PathLike | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = "untrained"
        self.revision: str | None = None
        self.unet = _build_unet(config, download=encoder_weights == "imagenet")
        if encoder_weights not in (None, "imagenet"):
            _load_encoder(self.unet.encoder, Path(encoder_weights))
        if config.dropout:
            self.drop_down = nn.Dropout2d(config.dropout)
            for block in self.unet.decoder.blocks:
                block.attention2 = nn.Dropout2d(config.dropout)
        else:
            self.drop_down = nn.Identity()
        if config.depth_bins:
            self.bins = nn.Conv2d(config.decoder_channels[-2], config.depth_bins, 3, padding=1)
            nn.init.zeros_(self.unet.segmentation_head[0].weight)  # the correction starts at 0
        if config.uncertainty:
            channels = config.decoder_channels[-2]
            hidden, expected = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, 1, 1)
            nn.init.constant_(expected.bias, math.log(_EXPECTED_ERROR))
            self.scale = nn.Sequential(hidden, nn.ReLU(), expected)
        # The normalisation belongs to the config, not to the weights.
        self.register_buffer("image_mean", torch.tensor(config.image_mean).view(1, 3, 1, 1), persistent=False)
        # Whole numbers, which `half` and `bfloat16` leave as they are.
        self.register_buffer("bin_numbers", torch.arange(config.depth_bins), persistent=False)
        self.register_buffer("image_std", torch.tensor(config.image_std).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # 1.3 to 1.9 times faster on CPUs, and right for tensor cores
        self.unbuilt = _remove_unused_stages(self)

    def forward(self, images: torch.Tensor, details: bool = False) -> torch.Tensor | DepthDetails:
        """Predict depth for the canonical camera; `predict` scales it to the photo's camera.

        Args:
            images: (N, 3, H, W) RGB in [0, 1]; any size, cast to the type of the parameters.
            details: also return what losses on the depth bins need.

        Returns:
            (N, 1, H, W) float32, metres at a focal length of `config.canonical_focal_px` pixels; with `details`, a
            `DepthDetails` that contains them.
        """
        normalised = ((images - self.image_mean) / self.image_std).to(self.image_mean.dtype)
        image, *features = self.unet.encoder(normalised.contiguous(memory_format=torch.channels_last))
        half, full = self._decode(image, [self.drop_down(feature) for feature in features])
        logits, bin_logits = self.unet.segmentation_head(full).float(), None
        if self.config.depth_bins:
            bin_logits = self.bins(half).float()
            places = self.bin_numbers.view(1, -1, 1, 1) / (self.config.depth_bins - 1)
            mean = (bin_logits.softmax(1) * places).sum(1, keepdim=True)
            logits = logits + F.interpolate(torch.logit(mean, _EPSILON), logits.shape[2:], mode="bilinear")
        near, far = math.log(self.config.min_depth), math.log(self.config.max_depth)
        depth = torch.exp(near + (far - near) * torch.sigmoid(logits))
        if not details:
            return depth
        log_scale = None
        if self.config.uncertainty:
            log_scale = self.scale(half).float().clamp(*_SCALES)
        return DepthDetails(depth, bin_logits, log_scale)

    def _decode(self, image: torch.Tensor, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Input and output of the decoder's last stage; smp's own `forward` returns the output only."""
        decoder = self.unet.decoder
        *skips, deepest = features
        x = decoder.center(deepest)
        for block, skip, larger in zip(decoder.blocks, [*skips[::-1], None], [*skips[::-1], image], strict=True):
            before, x = x, block(x, *larger.shape[2:], skip_connection=skip)
        return before, x

    def with_config(self, **changes: Any) -> "DepthUNet":
        """Return a new model that reuses this encoder and decoder, and the heads that do not change.

        Args:
            changes: fields of `DepthUNetConfig` outside encoder and decoder.

        Example:
            >>> DepthUNet.from_pretrained(DEFAULT_MODEL).with_config(depth_bins=32).config.depth_bins
            32
        """
        config = replace(self.config, **changes)
        made = DepthUNet(config)
        made.name, made.revision, made.licence = self.name, self.revision, self.licence
        made.unet.encoder, made.unet.decoder = self.unet.encoder, self.unet.decoder
        if config.depth_bins == self.config.depth_bins:
            made.unet.segmentation_head = self.unet.segmentation_head
            if config.depth_bins:
                made.bins = self.bins
        if config.uncertainty and self.config.uncertainty:
            made.scale = self.scale
        return made.to(self.image_mean).train(self.training)

    @torch.inference_mode()
    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Depth of a batch from and to the CPU, in evaluation mode; see `Predictor.run`."""
        return self._evaluating()(images.to(self.image_mean.device)).cpu()

    @torch.inference_mode()
    def run_with_uncertainty(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Depth and uncertainty of a batch; see `Predictor.run_with_uncertainty`."""
        details = self._evaluating()(images.to(self.image_mean.device), details=True)
        uncertainty = self.uncertainty_of(details)
        return details.depth.cpu(), None if uncertainty is None else uncertainty.cpu()

    def uncertainty_of(self, details: DepthDetails) -> torch.Tensor | None:
        """One standard deviation of log depth, from the outputs of `forward`.

        The predicted scale, times the root of the effective number of bins (exp of the entropy) where there are bins:
        together they order pixels by error better than either alone.

        Args:
            details: as `forward` returns them.

        Returns:
            (N, 1, H, W) float32, or None for a network without `config.uncertainty`.
        """
        if details.log_scale is None:
            return None
        log_sigma = details.log_scale
        if details.bin_logits is not None:
            log_shares = details.bin_logits.log_softmax(1)
            entropy = -(log_shares.exp() * log_shares).sum(1, keepdim=True)
            log_sigma = log_sigma + 0.5 * entropy
        log_sigma = F.interpolate(log_sigma, details.depth.shape[2:], mode="bilinear")
        return self.config.uncertainty * log_sigma.exp()

    @property
    def predicts_uncertainty(self) -> bool:
        """Whether the network has the head for it."""
        return self.config.uncertainty > 0

    def _evaluating(self) -> "DepthUNet":
        """This model, or while a part of it is in training mode a copy in evaluation mode with the same tensors.

        The model keeps its modes, which other threads depend on.
        """
        if not any(module.training for module in self.modules()):
            return self
        shared = {id(tensor): tensor for tensor in chain(self.parameters(), self.buffers())}
        return copy.deepcopy(self, shared).eval()

    def train(self, mode: bool = True) -> "DepthUNet":
        """Set training or evaluation mode; training clears `sha256`, since the weights may change from then on."""
        if mode:
            self.sha256 = None
        return super().train(mode)

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights, except those of stages in `unbuilt`, which models of version 0.1.0 contain."""
        self.sha256 = None
        return super().load_state_dict(self._without_unbuilt(state_dict), strict, assign)

    def _without_unbuilt(self, tensors: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in tensors.items() if not key.startswith(self.unbuilt)}

    def save_pretrained(self, folder: str | os.PathLike, half: bool = False) -> None:
        """Write config.json and model.safetensors, which `from_pretrained` reads.

        Args:
            folder: created if it does not exist.
            half: store convolution weights in half precision, which halves the file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            key: (value.half() if half and value.ndim == 4 else value).contiguous()
            for key, value in self.state_dict().items()
        }
        write_atomically(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
        write_json(folder / CONFIG_FILE, self.config.to_dict())

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> "DepthUNet":
        """Load a model in evaluation mode, from safetensors only; every tensor must fit.

        Args:
            model: a folder with config.json and model.safetensors, "owner/name" on a hub, or "nano" for the small,
                fast model inside the package.
            revision: branch, tag or commit on the hub.
            token: for a private repository; by default the one that `hf auth login` stored.
            cache_dir: folder for downloads; by default that of huggingface_hub.
            local_files_only: use earlier downloads only, without a request to the hub.
            force_download: download again what is in the cache.
            subfolder: of the folder or repository, with the model's files.
            device: to predict on; by default the CPU.
            dtype: of the weights and the computation, e.g. torch.float16; by default float32.

        Raises:
            FileNotFoundError: no such folder, repository, revision or file.
            ConnectionError: the hub cannot be reached and nothing is in the cache, or it refuses the token.
            ValueError: not a model of this package, damaged, or of a newer version.
        """
        options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        options["force_download"] = force_download
        found = find_files(model, (CONFIG_FILE, WEIGHTS_FILE), revision=revision, subfolder=subfolder, **options)
        try:
            config = DepthUNetConfig.from_dict(parse_json(read_bytes(found.folder / CONFIG_FILE, LARGEST_TEXT)))
        except (ValueError, TypeError) as error:
            reason = str(error)[:300]  # it may repeat a value of any length
            raise ValueError(f"{model}: {CONFIG_FILE} cannot be used: {reason}") from error
        weights, source = found.folder / WEIGHTS_FILE, f"{model}: {WEIGHTS_FILE}"
        try:
            _check_header(config, weights, source)
            built = cls(config)
            _load_strictly(built, built._without_unbuilt(load_file(weights)), source)
        except SafetensorError as error:
            # In a cache the file is a link: its target must be deleted, or it is found again.
            reason = " ".join(str(error).split())[:200]  # it may repeat a value of any length
            raise ValueError(
                f"{source} is damaged or not whole ({reason}): delete {weights.resolve()} and download it again"
            ) from error
        built.name, built.revision = found.name, found.commit
        built.sha256 = sha256_of(weights)
        built.licence = licence_in(front_matter(found, **options))
        return built.to(device=device, dtype=dtype).eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: str | None = None,
        commit_message: str = "",
        revision: str = "main",
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Upload config.json, model.safetensors and README.md, the model card, in one commit.

        `python -m train.publish` measures a model and writes its card.

        Args:
            repo_id: owner/name; created if it does not exist.
            card: Markdown; by default the repository's own card stays, or a short one without numbers is written.
            commit_message: of the commit.
            revision: branch to commit to; created if it does not exist.
            private: make a new repository private.
            token: by default the one that `hf auth login` stored.

        Returns:
            Address of the commit.

        Raises:
            ValueError: the card has numbers of other weights, or the repository's name is none.
            ConnectionError: the hub cannot be reached, or refuses the token.
        """
        from depth_unet.upload import push  # only here: predicting needs no uploading

        return push(
            self,
            repo_id,
            card=card,
            commit_message=commit_message,
            revision=revision,
            private=private,
            token=token,
        )


def _build_unet(config: DepthUNetConfig, download: bool) -> smp.Unet:
    try:
        return smp.Unet(
            config.encoder,
            encoder_depth=len(config.decoder_channels),
            # For timm encoders smp takes any value except None as "pretrained", False too.
            encoder_weights="imagenet" if download else None,
            decoder_channels=config.decoder_channels,
            classes=1,
        )
    except (OSError, hub_errors.HfHubHTTPError) as error:
        raise ConnectionError(
            f"the ImageNet weights of {config.encoder} cannot be downloaded; give the path of a safetensors "
            "file instead, or None for random weights"
        ) from error
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]  # smp lists all that it knows
        raise ValueError(f"no encoder {config.encoder[:80]!r} in segmentation-models-pytorch: {reason}") from error
    except ValueError as error:
        stages = len(config.decoder_channels)
        raise ValueError(f"encoder {config.encoder!r} does not fit a U-Net of {stages} stages: {error}") from error


def _remove_unused_stages(model: DepthUNet) -> tuple[str, ...]:
    """Replace encoder modules that do not influence the output by identities, and return their key prefixes."""
    model.eval()  # no dropout, and BatchNorm statistics stay
    image = torch.linspace(0, 1, 3 * math.prod(_PROBE_SIZE), device=model.image_mean.device).view(1, 3, *_PROBE_SIZE)
    try:
        expected = model(image)
    except Exception as error:  # encoders raise errors of any class
        raise ValueError(
            f"encoder {model.config.encoder!r} cannot process an image of {_PROBE_SIZE[0]}x{_PROBE_SIZE[1]} pixels "
            f"({error}); choose an encoder that accepts any input size"
        ) from error
    unused = {p for p in model.parameters() if p.requires_grad} - _parameters_behind(expected)
    removed = list(_modules_of(unused, model.unet.encoder, "unet.encoder."))
    for parent, name, _, _ in removed:
        setattr(parent, name, nn.Identity())
    try:
        repeated = model(image) if removed else expected
        same = repeated.is_meta or torch.allclose(repeated, expected)
    except Exception:  # an identity instead of a module that is called, though its output is not used
        same = False
    if not same:  # keep them, but frozen: DistributedDataParallel waits for the gradient of every other parameter
        for parent, name, module, _ in removed:
            setattr(parent, name, module.requires_grad_(False))
        removed = []
    model.train()
    return tuple(prefix for *_, prefix in removed)


def _parameters_behind(output: torch.Tensor) -> set[nn.Parameter]:
    """The parameters in the autograd graph of a tensor, found without a backward pass."""
    pending, seen = [output.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            pending += [following for following, _ in node.next_functions]
    return {node.variable for node in seen if hasattr(node, "variable")}


def _modules_of(
    parameters: set[nn.Parameter], module: nn.Module, prefix: str
) -> Iterator[tuple[nn.Module, str, nn.Module, str]]:
    """The outermost modules that hold only these parameters: parent, attribute, module and key prefix."""
    for name, child in module.named_children():
        held = set(child.parameters())
        if held and held <= parameters:
            yield module, name, child, f"{prefix}{name}."
        else:
            yield from _modules_of(parameters, child, f"{prefix}{name}.")


def _load_encoder(encoder: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no encoder weights at {path}")
    wanted = encoder.state_dict().keys()
    # smp nests timm networks one level deeper, and neither has a classifier.
    prefix = "model." if all(key.startswith("model.") for key in wanted) else ""
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file, or damaged: {error}") from error
    tensors = {prefix + key: value for key, value in stored.items()}
    tensors = {
        key: value
        for key, value in tensors.items()
        if key in wanted or not key.removeprefix(prefix).startswith(_CLASSIFIER_KEYS)
    }
    _load_strictly(encoder, tensors, path.name)


def _check_header(config: DepthUNetConfig, weights: Path, source: str) -> None:
    """Compare a config with the header of its weights, before memory is taken for the network.

    Raises:
        SafetensorError: the file is damaged.
        ValueError: the weights are not those of such a network.
    """
    with safe_open(weights, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (not a dict)
    try:
        with torch.device("meta"):
            empty = DepthUNet(config)
    except ValueError:
        return  # some encoders cannot be built so; building it in memory gives the reason where there is one
    wanted = {name: tuple(value.shape) for name, value in empty.state_dict().items()}
    _check_fit(wanted, empty._without_unbuilt(shapes), source)


def _check_fit(wanted: dict[str, tuple[int, ...]], shapes: dict[str, tuple[int, ...]], source: str) -> None:
    missing, unknown = sorted(wanted.keys() - shapes.keys()), sorted(shapes.keys() - wanted.keys())
    # Old files lack BatchNorm's counter of batches, which nothing here uses.
    missing = [key for key in missing if not key.endswith(_COUNTER)]
    misshapen = sorted(k for k in wanted.keys() & shapes.keys() if wanted[k] != shapes[k])
    problems = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    described = [f"{len(keys)} {what} (e.g. {keys[0]})" for what, keys in problems.items() if keys]
    if described:
        raise ValueError(f"{source} does not fit the network: {', '.join(described)} tensors")


def _load_strictly(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    wanted = module.state_dict()
    shapes = ({name: tuple(value.shape) for name, value in each.items()} for each in (wanted, tensors))
    _check_fit(*shapes, source)
    real = [name for name, value in wanted.items() if value.is_floating_point() and name in tensors]
    if wrong := [name for name in real if tensors[name].dtype not in _ACCEPTED]:
        accepted = ", ".join(str(kind).removeprefix("torch.") for kind in _ACCEPTED)
        kind = str(tensors[wrong[0]].dtype).removeprefix("torch.")
        raise ValueError(f"{source} has weights of type {kind} (e.g. {wrong[0]}): {accepted} are accepted")
    # In the types of the network, where a large float64 may be infinite.
    tensors = {name: value.to(wanted[name].dtype) for name, value in tensors.items()}
    if wrong := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise ValueError(f"{source} has {len(wrong)} tensors with NaN or infinite weights (e.g. {wrong[0]})")
    # Not module.load_state_dict: smp's encoders override it to expect a classifier.
    nn.Module.load_state_dict(module, tensors, strict=False)
