"""Make `import timm` and `import segmentation_models_pytorch` work with a torchvision of another build.

With a CPU build of torch and PyPI's CUDA build of torchvision, `import torchvision` fails with "operator
torchvision::nms does not exist": torchvision's compiled library, which declares its operators, cannot be loaded.
This package does not use these operators, so declaring their schemas is enough. A working torchvision is not changed.
Must run before timm or smp is imported.
"""

import sys

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # keeps the schemas registered


def import_torchvision_safely() -> bool:
    """Import torchvision, and declare its operators if the import fails because they are missing.

    Returns:
        True if the operators had to be declared.

    Raises:
        RuntimeError: torchvision fails for another reason.
    """
    global _library
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return False  # not installed: importing timm reports it
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
