"""Deprecated path of 0.1.0: use `depth_unet.engines.onnx` and `depth_unet.engines.onnx_export`."""

import sys
import warnings

from depth_unet.engines.onnx import ONNX_FILE, ForeignModelError, OnnxDepthUNet
from depth_unet.engines.onnx_export import (
    CALIBRATION_PHOTOS,
    OPSET,
    calibration_photos,
    export,
    largest_difference,
    main,
    quantize,
)

__all__ = [
    "CALIBRATION_PHOTOS",
    "ONNX_FILE",
    "OPSET",
    "ForeignModelError",
    "OnnxDepthUNet",
    "calibration_photos",
    "export",
    "largest_difference",
    "main",
    "quantize",
]

warnings.warn(
    "depth_unet.onnx is deprecated: use depth_unet.engines.onnx, and depth_unet.engines.onnx_export to write files",
    DeprecationWarning,
    stacklevel=1 if __name__ == "__main__" else 2,  # shown by default only where __main__ is the origin
)

if __name__ == "__main__":
    sys.exit(main())
