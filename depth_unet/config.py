"""`DepthUNetConfig`: the content of config.json, from which a saved model is built."""

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT_VERSION = 1

# Mean and standard deviation with which the encoders were trained.
_TENSORFLOW_LITE = ([127 / 255] * 3, [128 / 255] * 3)
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_ENCODER = re.compile(r"[A-Za-z0-9](\.?[\w-])*")
_NAMES = {int: "an integer", float: "a real number"}


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class DepthUNetConfig:
    """The network, its input, its depth range and its camera, as JSON scalars and lists.

    Args:
        encoder: name of a segmentation-models-pytorch encoder, e.g. "resnet34" or "tu-tf_efficientnet_lite2".
        decoder_channels: channels of the decoder's stages, coarse to fine; their number is the encoder's depth.
        input_size: (height, width) of the network's input in pixels, for photos of this shape; multiples of 32.
        min_depth: smallest depth that the network can predict, metres.
        max_depth: largest depth that the network can predict, metres.
        canonical_focal: focal length of the canonical camera, as a fraction of the input width. Also assumed (of the
            longer side) for photos without a known camera.
        image_mean: per-channel mean of RGB in [0, 1], subtracted first.
        image_std: per-channel standard deviation, divided by second.
        depth_bins: number of log-spaced depth bins; the head predicts a distribution over them and returns its mean,
            with a correction at full size. 0 for a head that regresses log depth directly, as in the paper.
        dropout: probability with which whole feature maps of encoder and decoder are dropped in training.
        uncertainty: factor from the scale that the head predicts beside depth to one standard deviation of log depth;
            `train.calibrate` fits it, sqrt(2) is that of a Laplace distribution. 0 for a head without it.
        photo_error: standard deviation of the error of log depth that all pixels of a photo share; for lengths.
        pixel_error: factor from a pixel's uncertainty to the part of its error that other pixels do not share.
        format_version: version of this file format.

    Raises:
        TypeError, ValueError: a value has a wrong type or is out of range; the message names it.
    """

    encoder: str = "tu-tf_efficientnet_lite2"
    decoder_channels: list[int] = field(default_factory=lambda: [128, 64, 48, 32, 16])
    input_size: list[int] = field(default_factory=lambda: [192, 256])
    min_depth: float = 0.3
    max_depth: float = 12.0
    canonical_focal: float = 0.8107
    image_mean: list[float] = field(default_factory=lambda: list(_TENSORFLOW_LITE[0]))
    image_std: list[float] = field(default_factory=lambda: list(_TENSORFLOW_LITE[1]))
    depth_bins: int = 48
    dropout: float = 0.0
    uncertainty: float = 2**0.5
    photo_error: float = 0.0
    pixel_error: float = 1.0
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Check every value, so that a wrong file fails before the network is built."""
        if not isinstance(self.encoder, str) or not self.encoder:
            raise TypeError(f"encoder must be the name of an encoder, not {self.encoder!r}")
        if not _ENCODER.fullmatch(self.encoder):  # timm takes "hf-hub:..." and "local-dir:..." for something to load
            raise ValueError(f"encoder must be a plain name without ':' or '/', not {self.encoder[:80]!r}")
        self._check_list("decoder_channels", int, (3, 4, 5), 1, 4096)
        self._check_list("input_size", int, (2,), 32, 4096)
        self._check_list("image_mean", float, (3,), -1e3, 1e3)
        self._check_list("image_std", float, (3,), 1e-3, 1e3)
        if any(side % 32 for side in self.input_size):
            raise ValueError(f"input_size must be multiples of 32, not {self.input_size}")
        self._check_number("depth_bins", int, 0, 4096)
        if self.depth_bins == 1:
            raise ValueError("depth_bins must be 0, or 2 and more, not 1")
        self._check_number("min_depth", float, 1e-4, 1e5)
        self._check_number("max_depth", float, 1e-4, 1e5)
        if not self.min_depth < self.max_depth:
            raise ValueError(f"min_depth must be less than max_depth, not {self.min_depth} and {self.max_depth}")
        self._check_number("canonical_focal", float, 0.01, 100)
        self._check_number("dropout", float, 0, 0.99)
        self._check_number("uncertainty", float, 0, 100)
        self._check_number("photo_error", float, 0, 10)
        self._check_number("pixel_error", float, 0, 10)
        self._check_version(self.format_version)

    @staticmethod
    def _check_version(version: Any) -> None:
        if type(version) is not int or version != FORMAT_VERSION:
            raise ValueError(
                f"this model was saved in format {version!r}, this depth_unet reads {FORMAT_VERSION}: "
                "upgrade depth_unet"
            )

    def _check_number(self, name: str, kind: type, least: float, most: float) -> None:
        value = getattr(self, name)
        if not _is_number(value, kind):
            raise TypeError(f"{name} must be {_NAMES[kind]}, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"{name} must be from {least:g} to {most:g}, not {value}")

    def _check_list(self, name: str, kind: type, lengths: tuple[int, ...], least: float, most: float) -> None:
        values = getattr(self, name)
        if not isinstance(values, list | tuple) or not all(_is_number(value, kind) for value in values):
            raise TypeError(f"{name} must be a list of numbers, each {_NAMES[kind]}, not {values!r}")
        if len(values) not in lengths or not all(least <= value <= most for value in values):
            count = " to ".join(str(length) for length in dict.fromkeys((min(lengths), max(lengths))))
            raise ValueError(f"{name} must be {count} numbers from {least:g} to {most:g}, not {values!r}")
        object.__setattr__(self, name, [kind(value) for value in values])

    @property
    def canonical_focal_px(self) -> float:
        """Focal length of the canonical camera in pixels of the network's input."""
        return self.canonical_focal * self.input_size[1]

    @classmethod
    def for_encoder(cls, encoder: str, **overrides: Any) -> "DepthUNetConfig":
        """The default configuration with another encoder and its normalisation."""
        mean, std = _TENSORFLOW_LITE if "tf_efficientnet_lite" in encoder else _IMAGENET
        return cls(**{"encoder": encoder, "image_mean": mean, "image_std": std, **overrides})

    @classmethod
    def paper(cls, **overrides: Any) -> "DepthUNetConfig":
        """The paper's plain U-Net: double 3x3 convolutions, max pooling, doubling channels, dropout in both halves."""
        plain = {"decoder_channels": [512, 256, 128, 64], "depth_bins": 0, "dropout": 0.1, "uncertainty": 0.0}
        return cls.for_encoder("vgg13_bn", **{**plain, **overrides})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DepthUNetConfig":
        """Build from the contents of a config.json.

        Raises:
            ValueError: an unknown key, or a file of another program or a newer version.
        """
        if not isinstance(values, dict) or "encoder" not in values:
            raise ValueError("not a depth_unet configuration: it has no 'encoder'")
        # First, because other formats may use other keys.
        cls._check_version(values.get("format_version", FORMAT_VERSION))
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"unknown configuration keys {unknown}: not a depth_unet model, or a newer one")
        # Files without these keys are older than the heads.
        return cls(**{"depth_bins": 0, "uncertainty": 0.0, **values})

    def to_dict(self) -> dict[str, Any]:
        """The contents of config.json."""
        return asdict(self)
