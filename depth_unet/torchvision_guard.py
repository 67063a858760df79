"""Make `import timm` and `import segmentation_models_pytorch` work beside a torchvision of another build.

A CPU build of torch next to the CUDA build of torchvision that PyPI serves fails on `import torchvision` with
"operator torchvision::nms does not exist": torchvision registers Python code for operators that its own compiled
library, which could not be loaded, should have declared. Nothing here uses those operators, so declaring their
schemas is enough. A torchvision that imports is left alone. Must run before timm or smp is imported.
"""

import sys

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # the schemas live as long as this reference


def import_torchvision_safely() -> bool:
    """Import torchvision, declaring its missing operators when that import fails for want of them.

    Returns:
        True if the operators had to be declared.

    Raises:
        RuntimeError: torchvision is broken in another way.
    """
    global _library
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return False  # not installed: timm and smp say so themselves
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _library.define(operator + _SCHEMA)
        import torchvision  # noqa: F401
    return _library is not None
