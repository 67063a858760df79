"""The place of the ONNX code in 0.1.0; `depth_unet.engines.onnx` and `onnx_export` are its new ones."""

import sys
import warnings

from depth_unet.engines.onnx import OnnxDepthUNet
from depth_unet.engines.onnx_export import export, main, quantize

__all__ = ["OnnxDepthUNet", "export", "quantize"]

warnings.warn(
    "depth_unet.onnx is deprecated: use depth_unet.engines.onnx, and `python -m depth_unet.engines.onnx_export`",
    DeprecationWarning,
    stacklevel=2,
)

if __name__ == "__main__":
    sys.exit(main())
