"""What is installed: a small core, extras that say how to get them, and everything that the page needs."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from test_structure import MODULES, ROOT, imports, part_of, python

import depth_unet

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Names under which packages are imported, where they differ; timm and starlette are parts of those that they are for.
PACKAGES = {
    "gradio_client": "gradio",  # which requires it and is released with it
    "PIL": "pillow",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "timm": "segmentation-models-pytorch",
    "torchvision": "segmentation-models-pytorch",
    "starlette": "gradio",
    "pydantic": "gradio",
    "filelock": "huggingface_hub",
    "yaml": "huggingface_hub",
    "mathutils": "bpy",
    "pillow_heif": "pillow-heif",
}
# The modules of the core that need an extra; nothing imports them before it is asked for what they do.
NEED_EXTRAS = {
    "depth_unet.images": ["page"],  # pillow-heif, for photos of phones
    "depth_unet.mesh": ["solid"],
    "depth_unet.video": ["video"],
    "depth_unet.data.nyu": ["train"],
    "depth_unet.engines.onnx": ["onnx"],
    "depth_unet.engines.onnx_export": ["onnx"],
    "depth_unet.engines.ray": ["ray"],
    "depth_unet.engines.transformers": ["transformers"],
}


def lines_of(*extras: str) -> list[str]:
    """The requirements of the core and of extras, with those that they refer to."""
    found = list(PROJECT["dependencies"])
    for extra in extras:
        for line in EXTRAS[extra]:
            inner = re.fullmatch(r"depth_unet\[(.*)\]", line)
            found += lines_of(*inner[1].split(","))[len(PROJECT["dependencies"]) :] if inner else [line]
    return found


def names_of(*extras: str) -> set[str]:
    return {re.match(r"[\w-]+", line)[0] for line in lines_of(*extras)}


def test_requirements_are_core_page_and_train() -> None:
    listed = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert sorted(listed) == sorted(lines_of("page", "train"))


def test_all_is_everything() -> None:
    assert set(lines_of("all")) == set(lines_of(*(extra for extra in EXTRAS if extra != "render")))


@pytest.mark.parametrize("line", lines_of("all"))
def test_every_requirement_has_a_lower_and_an_upper_bound(line: str) -> None:
    assert re.fullmatch(r"[\w-]+(\[\w+\])?>=[\d.]+,<[\d.]+", line)


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) != "benchmarks"])
def test_whatever_is_imported_is_required(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    used = {name.partition(".")[0] for name in imports(tree)} - {*sys.stdlib_module_names, "depth_unet", "train"}
    extras = {"depth_unet.page": ["page"], "train": ["train", "render", "solid"]}.get(
        part_of(module), NEED_EXTRAS.get(module, [])
    )
    assert {PACKAGES.get(name, name) for name in used} <= names_of(*extras) | {"tensorboard", "trackio"}


# What people run without an extra, the packages that are missing then, and the extra that the error must name.
WITHOUT = {
    "solid": (["trimesh"], "prediction.save('room.glb')"),
    "video": (["av"], "import depth_unet.video"),
    "page": (["gradio", "av", "trimesh"], "from depth_unet.page.__main__ import main; main(['--model', folder])"),
    "train": (
        ["h5py", "scipy"],
        "import depth_unet.data.nyu as nyu; nyu.NyuDataset('labeled.mat', split='train')",
    ),
    "onnx": (["onnx", "onnxruntime"], "from depth_unet.engines.onnx import OnnxDepthUNet; OnnxDepthUNet('m.onnx')"),
    "transformers": (
        ["transformers"],
        "import depth_unet; depth_unet.engines.TransformersDepth.from_pretrained(folder)",
    ),
    "ray": (["ray"], "from depth_unet.engines.ray import main; main(['room.jpg'])"),
}


@pytest.mark.parametrize("extra", WITHOUT)
def test_without_an_extra_one_sentence_says_how_to_install_it(extra: str, tmp_path: Path) -> None:
    missing, statement = WITHOUT[extra]
    code = f"""
import contextlib, io, sys
for name in {[*missing, "pillow_heif", "lxml", "accelerate"]}:
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
from depth_unet import DEFAULT_MODEL as folder, Camera, Prediction
prediction = Prediction(np.ones((4, 6), np.float32), Camera.from_fov(6, 4, 60))
prediction.save({str(tmp_path / "room.npz")!r})
prediction.colorize()
try:
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        {statement}
    print(printed.getvalue())
except ImportError as error:
    print("raised:", error)
"""
    (said,) = python(code).splitlines()
    assert f'pip install "depth_unet[{extra}]"' in said
    assert said.startswith("error: " if "main(" in statement else "raised: ")


def test_the_wheel_holds_what_the_commands_need(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "depth_unet", tmp_path / "depth_unet", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools import build_meta; build_meta.build_wheel('wheels')"
    ran = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert depth_unet.__version__ in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info" not in name}
        (commands,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    source = (path.relative_to(tmp_path).as_posix() for path in (tmp_path / "depth_unet").rglob("*") if path.is_file())
    assert inside == set(source)
    assert {"depth_unet/page/examples/kitchen.jpg", "depth_unet/pretrained/model.safetensors"} <= inside
    assert "depth-unet = depth_unet.__main__:main" in commands
    assert "depth-unet-page = depth_unet.page.__main__:main" in commands


REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="passes"/>
<testcase classname="tests.test_a" name="skips"><skipped message="{reason}">test_a.py:1: {reason}</skipped></testcase>
<testcase classname="" name="tests.test_b"><skipped message="collection skipped">{whole}</skipped></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("reason", "whole", "status"),
    [
        ("trackio is not installed", "the real data set is not on this machine (../shared/data)", 0),
        ("no chromium on this machine", "trackio is not installed", 1),
        ("no chromium on this machine, and trackio is not installed", "trackio is not installed", 1),
        ("trackio is not installed", "('tests/test_b.py', 1, 'Skipped: no chromium on this machine')", 1),
    ],
)
def test_integration_fails_on_other_skips(reason: str, whole: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT.format(reason=reason, whole=whole))
    command = [sys.executable, str(ROOT / ".ci" / "skips.py"), str(tmp_path / "report.xml")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == status and ("no chromium" in ran.stderr) == bool(status)
