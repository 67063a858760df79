"""Metric depth in metres from one photo.

>>> from depth_unet import DepthUNet
>>> model = DepthUNet.from_pretrained()
>>> model.config.input_size == list(model.network_size(480, 640))
True
"""

from depth_unet.camera import Camera
from depth_unet.colorize import colorize_depth
from depth_unet.config import DepthUNetConfig
from depth_unet.data.diode import DiodeDataset
from depth_unet.data.rgbd import RgbdFolder
from depth_unet.data.sample import DepthSample
from depth_unet.losses import DepthLoss, mean_absolute_relative_error, structural_similarity
from depth_unet.metrics import depth_metrics
from depth_unet.model import DEFAULT_MODEL, DepthUNet
from depth_unet.prediction import Prediction

__version__ = "0.2.0"

__all__ = [
    "DEFAULT_MODEL",
    "Camera",
    "DepthLoss",
    "DepthSample",
    "DepthUNet",
    "DepthUNetConfig",
    "DiodeDataset",
    "Prediction",
    "RgbdFolder",
    "colorize_depth",
    "depth_metrics",
    "mean_absolute_relative_error",
    "structural_similarity",
]
