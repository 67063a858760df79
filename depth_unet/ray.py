"""The place of the Ray command in 0.1.0; `depth_unet.engines.ray` is its new one."""

import sys
import warnings

from depth_unet.engines.ray import main

__all__ = ["main"]

warnings.warn("depth_unet.ray is deprecated: use `python -m depth_unet.engines.ray`", DeprecationWarning, stacklevel=2)

if __name__ == "__main__":
    sys.exit(main())
