"""`DepthUNetConfig`: the content of config.json, from which a saved model is built."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT_VERSION = 1

# Mean and standard deviation with which the encoders were trained.
_TENSORFLOW_LITE = ([127 / 255] * 3, [128 / 255] * 3)
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


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
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Check every value, so that a wrong file fails before the network is built."""
        if not isinstance(self.encoder, str) or not self.encoder:
            raise TypeError(f"encoder must be the name of an encoder, not {self.encoder!r}")
        self._check_list("decoder_channels", int, at_least=1)
        self._check_list("input_size", int, length=2, at_least=32)
        self._check_list("image_mean", float, length=3)
        self._check_list("image_std", float, length=3)
        if not 3 <= len(self.decoder_channels) <= 5:
            raise ValueError(f"decoder_channels must have 3 to 5 stages, not {self.decoder_channels}")
        if any(side % 32 for side in self.input_size):
            raise ValueError(f"input_size must be multiples of 32, not {self.input_size}")
        if min(self.image_std) <= 0:
            raise ValueError(f"image_std must be positive, not {self.image_std}")
        if type(self.depth_bins) is not int:
            raise TypeError(f"depth_bins must be an integer, not {self.depth_bins!r}")
        if self.depth_bins < 0 or self.depth_bins == 1:
            raise ValueError(f"depth_bins must be 0, or 2 and more, not {self.depth_bins}")
        for name in ("min_depth", "max_depth", "canonical_focal", "dropout"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int | float):
                raise TypeError(f"{name} must be a number, not {getattr(self, name)!r}")
        if not 0 < self.min_depth < self.max_depth < float("inf"):
            raise ValueError(f"need 0 < min_depth < max_depth, not {self.min_depth} and {self.max_depth}")
        if not 0 < self.canonical_focal < float("inf"):
            raise ValueError(f"canonical_focal must be positive, not {self.canonical_focal}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        self._check_version(self.format_version)

    @staticmethod
    def _check_version(version: Any) -> None:
        if version != FORMAT_VERSION:
            raise ValueError(
                f"this model was saved in format {version!r}, this depth_unet reads {FORMAT_VERSION}: "
                "upgrade depth_unet"
            )

    def _check_list(self, name: str, kind: type, length: int | None = None, at_least: float = -float("inf")) -> None:
        values = getattr(self, name)
        accepted = int if kind is int else int | float
        if not isinstance(values, list | tuple) or not all(isinstance(v, accepted) for v in values):
            raise TypeError(f"{name} must be a list of {kind.__name__}, not {values!r}")
        if (length is not None and len(values) != length) or any(v < at_least for v in values):
            raise ValueError(f"{name} has a wrong length or value: {values!r}")
        object.__setattr__(self, name, [kind(v) for v in values])

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
        plain = {"decoder_channels": [512, 256, 128, 64], "depth_bins": 0, "dropout": 0.1}
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
        return cls(**{"depth_bins": 0, **values})  # files without this key are older than the depth-bin head

    def to_dict(self) -> dict[str, Any]:
        """The contents of config.json."""
        return asdict(self)
