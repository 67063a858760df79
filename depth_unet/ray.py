"""Deprecated path of 0.1.0: use `depth_unet.engines.ray`."""

import sys
import warnings

from depth_unet.engines.ray import Worker, main, parser

__all__ = ["Worker", "main", "parser"]

warnings.warn(
    "depth_unet.ray is deprecated: use depth_unet.engines.ray",
    DeprecationWarning,
    stacklevel=1 if __name__ == "__main__" else 2,  # shown by default only where __main__ is the origin
)

if __name__ == "__main__":
    sys.exit(main())
