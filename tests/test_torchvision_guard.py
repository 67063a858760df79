"""A torchvision of another build is made to import; one that works, or is not there, is left alone."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What torchvision does when its compiled library could not be loaded: register Python code for operators that
# nobody has declared. The second module shows whether parts of the failed import are left over.
BROKEN = """
import torch
from torchvision import part
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou_threshold: dets)
part.finished = True
"""
WORKING = """
import torch
from torchvision import part
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
part.finished = True
"""
GUARD = "from depth_unet.torchvision_guard import import_torchvision_safely as guard\n"


def python(folder: Path, source: str | None, code: str) -> subprocess.CompletedProcess:
    """Run code where `torchvision` is the source given, before any other."""
    if source is not None:
        (folder / "torchvision").mkdir()
        (folder / "torchvision" / "__init__.py").write_text(source)
        (folder / "torchvision" / "part.py").write_text("imported = __name__\nfinished = False\n")
    # The guard alone, without the package around it that would call it first.
    bare = (
        "import sys, types\npackage = sys.modules['depth_unet'] = types.ModuleType('depth_unet')\n"
        f"package.__path__ = [{str(ROOT / 'depth_unet')!r}]\n"
    )
    return subprocess.run(
        [sys.executable, "-c", bare + GUARD + code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_broken_one_is_cured(tmp_path: Path) -> None:
    ran = python(
        tmp_path,
        BROKEN,
        "try:\n    import torchvision\nexcept RuntimeError as error:\n    print(error)\n"
        "print(guard())\n"
        "import torchvision, torchvision.part\nprint(torchvision.part.finished)\n"
        "import torch; print(torch.ops.torchvision.nms, guard())\n",
    )
    assert ran.returncode == 0, ran.stderr
    before, *after = ran.stdout.split("\n")
    assert "torchvision::nms does not exist" in before
    assert after == ["True", "True", "torchvision.nms True", ""]


def test_a_working_one_is_left_alone(tmp_path: Path) -> None:
    ran = python(
        tmp_path,
        WORKING,
        "import torchvision as before\nprint(guard())\n"
        "import torchvision; print(torchvision is before, torchvision.part.finished)\n"
        "import torch; print(hasattr(torch.ops.torchvision, 'qnms'))\n",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n") == ["False", "True True", "False", ""]


def test_none_at_all(tmp_path: Path) -> None:
    ran = python(tmp_path, "raise ImportError('not installed')", "print(guard())")
    assert (ran.returncode, ran.stdout) == (0, "False\n"), ran.stderr


def test_another_problem_is_not_hidden(tmp_path: Path) -> None:
    ran = python(tmp_path, "raise RuntimeError('no memory')", "guard()")
    assert ran.returncode == 1 and "RuntimeError: no memory" in ran.stderr
