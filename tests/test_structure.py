"""Who may import whom, what is never used, and which names are promised."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import depth_unet

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for folder in ("depth_unet", "train", "benchmarks") for p in (ROOT / folder).rglob("*.py"))
SOURCES += [ROOT / "app.py"] if (ROOT / "app.py").exists() else []
FORBIDDEN = {
    "depth_unet": {"train", "app", "gradio", "accelerate", "benchmarks", "tests"},
    "train": {"app", "gradio", "benchmarks", "tests"},
    "app.py": {"train", "accelerate", "benchmarks", "tests"},
    "benchmarks": {"app"},
}


def imported(path: Path) -> set[str]:
    """The top packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0]
    assert not imported(path) & FORBIDDEN[part]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled(path: Path) -> None:
    assert not imported(path) & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert f"{node.value.id}.{node.attr}" not in ("torch.load", "torch.save")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            keywords = {k.arg: k.value for k in node.keywords}
            assert not getattr(keywords.get("allow_pickle"), "value", False)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_error_is_swallowed_and_no_input_asserted(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if path.relative_to(ROOT).parts[0] != "benchmarks":
            assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
            assert not (everything and all(isinstance(x, ast.Pass) for x in node.body)), f"line {node.lineno}"


def test_no_grab_bags() -> None:
    assert not {"utils.py", "helpers.py", "common.py", "misc.py"} & {path.name for path in SOURCES}


def test_public_names() -> None:
    promised = {
        "DepthUNet", "DepthUNetConfig", "Prediction", "Camera", "DEFAULT_MODEL", "open_model", "DiodeDataset",
        "NyuDataset", "RgbdFolder", "DepthSample", "DepthLoss", "structural_similarity",
        "mean_absolute_relative_error", "depth_metrics", "colorize_depth",
    }  # fmt: skip
    assert set(depth_unet.__all__) == promised and len(depth_unet.__all__) == len(promised)
    assert all(hasattr(depth_unet, name) for name in promised)


@pytest.mark.parametrize("name", depth_unet.__all__)
def test_public_names_say_what_they_are(name: str) -> None:
    thing = getattr(depth_unet, name)
    if not isinstance(thing, str):
        assert thing.__doc__ and not thing.__doc__.startswith(f"{name}(")
        for method, value in vars(thing).items() if isinstance(thing, type) else ():
            if callable(value) and not method.startswith("_"):
                assert value.__doc__, f"{name}.{method}"


def python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter; what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


# Raises as soon as a connection, a listening socket or a process is wanted.
WATCH = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn"):
        if event == "subprocess.Popen" and str(arguments[0]).endswith(("ldconfig", "uname", "gcc")):
            return
        raise RuntimeError(f"{event} {arguments}")
sys.addaudithook(watch)
"""


def test_the_package_imports_little_and_starts_nothing() -> None:
    loaded = python(WATCH + "import depth_unet; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert "depth_unet" in loaded and not {"gradio", "accelerate", "train", "app", "onnxruntime", "trimesh"} & set(
        loaded
    )
