"""`DepthUNet`, from RGB to metres: `forward` for training, `predict` for people."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from depth_unet.config import DepthUNetConfig
from depth_unet.hub import find_files
from depth_unet.predictor import Predictor
from depth_unet.torchvision_guard import import_torchvision_safely

import_torchvision_safely()
import segmentation_models_pytorch as smp  # noqa: E402  (after the guard, which repairs what this imports)

DEFAULT_MODEL = str(Path(__file__).parent / "pretrained")
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_EPSILON = 1e-4  # of the log range: where the mean of the bins ends, lest its logit become infinite
_CLASSIFIER_KEYS = ("conv_head.", "bn2.", "classifier.", "fc.", "head.", "last_linear.")


class DepthUNet(nn.Module, Predictor):
    """A U-Net that sees one photo and says how far away everything is, in metres.

    depth = exp(log(min) + (log(max) - log(min)) * sigmoid(logit)), so that an equal step of the logit is an equal
    ratio of distances (Eigen et al. 2014 argue for the logarithm). With `config.depth_bins`, the logit is that of the
    mean of a distribution over log depth, said at half the size (soft argmax, Kendall et al. 2017; over bins of depth,
    Bhat et al. 2021), plus what the decoder's last stage corrects.

    Args:
        config: the network and its camera.
        encoder_weights: None for random, "imagenet" to download what segmentation-models-pytorch offers, or the
            path of a safetensors file with an ImageNet classifier of the same architecture (timm or torchvision).

    Raises:
        ValueError: unknown encoder, or weights that do not fit it.
        FileNotFoundError: no file at the path given.
        ConnectionError: "imagenet" could not be downloaded.

    Example:
        >>> import numpy as np
        >>> model = DepthUNet.from_pretrained(DEFAULT_MODEL)
        >>> model.predict(np.zeros((120, 160, 3), np.uint8)).depth.shape
        (120, 160)
    """

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
            nn.init.zeros_(self.unet.segmentation_head[0].weight)  # nothing to correct yet
        # The normalisation belongs to the config, not to the weights.
        self.register_buffer("image_mean", torch.tensor(config.image_mean).view(1, 3, 1, 1), persistent=False)
        places = torch.linspace(0, 1, config.depth_bins).view(1, -1, 1, 1)
        self.register_buffer("bin_places", places, persistent=False)
        self.register_buffer("image_std", torch.tensor(config.image_std).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # 1.3 to 1.9 times faster on CPUs, and right for tensor cores

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Depth as the canonical camera would have it: `predict` turns it into the metres of the photo's camera.

        Args:
            images: (N, 3, H, W) RGB in [0, 1]; any size.

        Returns:
            (N, 1, H, W) float32, metres, taking the focal length for `config.canonical_focal_px` pixels.
        """
        normalised = ((images - self.image_mean) / self.image_std).contiguous(memory_format=torch.channels_last)
        image, *features = self.unet.encoder(normalised)
        half, full = self._decode(image, [self.drop_down(feature) for feature in features])
        logits = self.unet.segmentation_head(full).float()
        if self.config.depth_bins:
            mean = (self.bins(half).float().softmax(1) * self.bin_places).sum(1, keepdim=True)
            logits = logits + F.interpolate(torch.logit(mean, _EPSILON), logits.shape[2:], mode="bilinear")
        near, far = math.log(self.config.min_depth), math.log(self.config.max_depth)
        return torch.exp(near + (far - near) * torch.sigmoid(logits))

    def _decode(self, image: torch.Tensor, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder's last stage starts from and what it makes of it; smp's own `forward` keeps the former."""
        decoder = self.unet.decoder
        *skips, deepest = features
        x = decoder.center(deepest)
        for block, skip, larger in zip(decoder.blocks, [*skips[::-1], None], [*skips[::-1], image], strict=True):
            before, x = x, block(x, *larger.shape[2:], skip_connection=skip)
        return before, x

    def with_another_head(self, depth_bins: int) -> "DepthUNet":
        """A model to be trained on, which shares this one's encoder and decoder and has a new head.

        Args:
            depth_bins: of the new head, as in the config.
        """
        made = DepthUNet(replace(self.config, depth_bins=depth_bins))
        made.unet.encoder, made.unet.decoder = self.unet.encoder, self.unet.decoder
        return made

    @torch.inference_mode()
    def run(self, images: torch.Tensor) -> torch.Tensor:
        """`forward` as predicting wants it: without dropout or gradients, from and to the CPU."""
        was_training = self.training
        self.eval()
        try:
            return self(images.to(self.image_mean.device)).cpu()
        finally:
            self.train(was_training)

    def save_pretrained(self, folder: str | os.PathLike, half: bool = False) -> None:
        """Write config.json and model.safetensors, which `from_pretrained` reads.

        Args:
            folder: made if it is not there.
            half: store convolutions in half precision (half the size); the rest stays as it is.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            key: (value.half() if half and value.ndim == 4 else value).contiguous()
            for key, value in self.state_dict().items()
        }
        # Each file appears whole or not at all.
        unfinished = folder / (WEIGHTS_FILE + ".part")
        save_file(tensors, unfinished, metadata={"format": "pt"})
        unfinished.replace(folder / WEIGHTS_FILE)
        unfinished = folder / (CONFIG_FILE + ".part")
        unfinished.write_text(json.dumps(self.config.to_dict(), indent=2) + "\n")
        unfinished.replace(folder / CONFIG_FILE)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
    ) -> "DepthUNet":
        """Load a model, ready to predict: strictly, from safetensors only.

        Args:
            model: a folder with config.json and model.safetensors, or "owner/name" on a hub.
            revision: branch, tag or commit on the hub.
            token: for a private repository; else the one that `hf auth login` stored.
            cache_dir: where downloads are kept; else huggingface_hub's own place.
            local_files_only: use what was downloaded before, ask nobody.

        Raises:
            FileNotFoundError: no such folder, repository, revision or file.
            ConnectionError: the hub cannot be reached and nothing is in the cache, or it refuses the token.
            ValueError: not a model of this package, damaged, or of a newer version.
        """
        found = find_files(
            model,
            (CONFIG_FILE, WEIGHTS_FILE),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        try:
            config = DepthUNetConfig.from_dict(json.loads((found.folder / CONFIG_FILE).read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{model}: {CONFIG_FILE} cannot be used: {error}") from error
        try:
            tensors = load_file(found.folder / WEIGHTS_FILE)
        except SafetensorError as error:
            # In a cache the file is a link: what it points to has to go, or it is found again.
            raise ValueError(
                f"{model}: {WEIGHTS_FILE} is damaged or not whole ({error}): delete "
                f"{(found.folder / WEIGHTS_FILE).resolve()} and download it again"
            ) from error
        built = cls(config)
        _load_strictly(built, tensors, f"{model}: {WEIGHTS_FILE}")
        built.name, built.revision = found.name, found.commit
        return built.eval()


def _build_unet(config: DepthUNetConfig, download: bool) -> smp.Unet:
    try:
        return smp.Unet(
            config.encoder,
            encoder_depth=len(config.decoder_channels),
            # For timm encoders smp takes any value but None, False too, for "pretrained".
            encoder_weights="imagenet" if download else None,
            decoder_channels=config.decoder_channels,
            classes=1,
        )
    except (OSError, hub_errors.HfHubHTTPError) as error:
        raise ConnectionError(
            f"the ImageNet weights of {config.encoder} cannot be downloaded; give the path of a safetensors "
            "file instead, or None to begin at random"
        ) from error
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"no encoder {config.encoder!r} in segmentation-models-pytorch: {error}") from error


def _load_encoder(encoder: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no encoder weights at {path}")
    wanted = encoder.state_dict().keys()
    # smp holds timm networks one level down, and neither keeps the classifier.
    prefix = "model." if all(key.startswith("model.") for key in wanted) else ""
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no safetensors file, or damaged: {error}") from error
    tensors = {prefix + key: value for key, value in stored.items()}
    tensors = {
        key: value
        for key, value in tensors.items()
        if key in wanted or not key.removeprefix(prefix).startswith(_CLASSIFIER_KEYS)
    }
    _load_strictly(encoder, tensors, path.name)


def _load_strictly(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    wanted = module.state_dict()
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    # Old files lack BatchNorm's counter of batches, which nothing here uses.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    misshapen = [k for k in wanted.keys() & tensors.keys() if wanted[k].shape != tensors[k].shape]
    problems = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    described = [f"{len(keys)} {what} (e.g. {keys[0]})" for what, keys in problems.items() if keys]
    if described:
        raise ValueError(f"{source} does not fit the network: {', '.join(described)} tensors")
    # smp's encoders override load_state_dict to expect a classifier; the plain one is meant.
    nn.Module.load_state_dict(module, tensors, strict=False)
