"""A configuration survives JSON, and a wrong one fails with the name of what is wrong."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from depth_unet import DepthUNetConfig

ELSEWHERE = [  # what timm, or a later version of it, takes for the place of something to load
    "tu-hf-hub:owner/name",
    "tu-hf_hub:owner/name",
    "hf-hub:owner/name",
    "tu-local-dir:/models/x",
    "tu-timm/resnet18.a1_in1k",
    "tu-https://example.org/x",
    "file:///x",
    "tu-HF-HUB:owner/name@main",
    "../resnet18",
    "tu-..",
    "/resnet18",
    "C:\\resnet18",
    "resnet18 ",
    "resnet18\n",
    "-resnet18",
    "~resnet18",
    "resnet18?x",
    "resnet\u202e18",
]


@pytest.mark.parametrize(
    "config",
    [
        DepthUNetConfig(),
        DepthUNetConfig.paper(),
        DepthUNetConfig.for_encoder("resnet34", max_depth=350.0, min_depth=0.5),
        DepthUNetConfig(decoder_channels=(8, 8, 8), input_size=(32, 64)),
    ],
)
def test_json_round_trip(config: DepthUNetConfig) -> None:
    assert DepthUNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_value_is_plain_json() -> None:
    def plain(value: object) -> bool:
        return isinstance(value, str | int | float) or (isinstance(value, list) and all(map(plain, value)))

    assert all(map(plain, DepthUNetConfig(input_size=(64, 96)).to_dict().values()))


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        DepthUNetConfig().min_depth = 1.0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("encoder", "", TypeError),
        ("encoder", None, TypeError),
        ("decoder_channels", [8, 8], ValueError),
        ("decoder_channels", [8] * 6, ValueError),
        ("decoder_channels", [8, 8, 0], ValueError),
        ("decoder_channels", 16, TypeError),
        ("decoder_channels", [8, "8", 8], TypeError),
        ("input_size", [64], ValueError),
        ("input_size", [60, 64], ValueError),
        ("input_size", [0, 64], ValueError),
        ("input_size", [64.0, 64.0], TypeError),
        ("image_mean", [0.5, 0.5], ValueError),
        ("image_std", [1.0, 0.0, 1.0], ValueError),
        ("image_std", "abc", TypeError),
        ("min_depth", 0, ValueError),
        ("min_depth", 20.0, ValueError),
        ("min_depth", float("nan"), ValueError),
        ("min_depth", "1", TypeError),
        ("min_depth", True, TypeError),
        ("max_depth", float("inf"), ValueError),
        ("max_depth", None, TypeError),
        ("canonical_focal", -0.5, ValueError),
        ("canonical_focal", float("nan"), ValueError),
        ("depth_bins", 1, ValueError),
        ("depth_bins", -48, ValueError),
        ("depth_bins", 48.0, TypeError),
        ("depth_bins", True, TypeError),
        ("dropout", 1.0, ValueError),
        ("dropout", -0.1, ValueError),
        ("format_version", 2, ValueError),
        ("format_version", True, ValueError),
        ("format_version", 1.0, ValueError),
        ("decoder_channels", [10_000_000, 8, 8, 8, 8], ValueError),
        ("decoder_channels", [8, True, 8], TypeError),
        ("decoder_channels", [8, 8.0, 8], TypeError),
        ("decoder_channels", [-8, 8, 8], ValueError),
        ("decoder_channels", "888", TypeError),
        ("decoder_channels", {"a": 1}, TypeError),
        ("input_size", [10**9, 64], ValueError),
        ("input_size", [32, 1 << 70], ValueError),
        ("input_size", [True, 64], TypeError),
        ("input_size", [[64], 64], TypeError),
        ("image_mean", [0.5, float("nan"), 0.5], ValueError),
        ("image_mean", [0.5, 10**400, 0.5], ValueError),
        ("image_mean", [True, 0.5, 0.5], TypeError),
        ("image_std", [1.0, 1e-30, 1.0], ValueError),
        ("image_std", [1.0, float("inf"), 1.0], ValueError),
        ("image_std", [1.0, -1.0, 1.0], ValueError),
        ("min_depth", 1e-320, ValueError),
        ("min_depth", 10**400, ValueError),
        ("max_depth", 1e300, ValueError),
        ("max_depth", float("nan"), ValueError),
        ("canonical_focal", 1e-30, ValueError),
        ("canonical_focal", 1e30, ValueError),
        ("canonical_focal", False, TypeError),
        ("depth_bins", 1_000_000, ValueError),
        ("depth_bins", 1 << 80, ValueError),
        ("depth_bins", float("nan"), TypeError),
        ("dropout", float("nan"), ValueError),
        ("dropout", True, TypeError),
        ("encoder", 18, TypeError),
        *(("encoder", name, ValueError) for name in ELSEWHERE),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name if name != "format_version" else "upgrade depth_unet"):
        replace(DepthUNetConfig(), **{name: value})


@pytest.mark.parametrize("values", [[], None, "encoder", {}, {"model_type": "bert"}])
def test_another_programs_file(values: object) -> None:
    with pytest.raises(ValueError, match="encoder"):
        DepthUNetConfig.from_dict(values)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        DepthUNetConfig.from_dict({**DepthUNetConfig().to_dict(), "learning_rate": 1})


def test_a_newer_format_asks_for_an_upgrade_even_with_keys_unknown_today() -> None:
    with pytest.raises(ValueError, match="upgrade depth_unet"):
        DepthUNetConfig.from_dict({**DepthUNetConfig().to_dict(), "format_version": 7, "novelty": 1})


def test_the_normalisation_follows_the_encoders_own_training() -> None:
    lite, mobile = DepthUNetConfig.for_encoder("tu-tf_efficientnet_lite0"), DepthUNetConfig.for_encoder("mobilenet_v2")
    byte = 200  # TensorFlow's lite networks saw (byte - 127) / 128
    assert (byte / 255 - lite.image_mean[0]) / lite.image_std[0] == pytest.approx((byte - 127) / 128)
    assert mobile.image_mean == [0.485, 0.456, 0.406] and mobile.image_std == [0.229, 0.224, 0.225]
