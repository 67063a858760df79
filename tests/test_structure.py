"""Who may import whom, what is never used, and which names are promised."""

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import depth_unet

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for folder in ("depth_unet", "train", "benchmarks") for p in (ROOT / folder).rglob("*.py"))
SOURCES.append(ROOT / "app.py")
# The parts of the project, the longest name first, and what each may import of the others and of these two packages.
ARROWS = {
    "depth_unet.page": {"depth_unet.page", "depth_unet", "gradio"},
    "depth_unet": {"depth_unet"},
    "train": {"train", "depth_unet", "accelerate"},
    "benchmarks": {"benchmarks", "train", "depth_unet", "accelerate"},
    "app": {"depth_unet.page"},
}
OUTSIDE = {"gradio", "accelerate", "tests", "docs"}


def module_name(path: Path) -> str:
    """The name under which a source file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCES}


def imports(tree: ast.AST, at_once: bool = False) -> Iterator[str]:
    """The names of the modules that a file imports, anywhere in it, or only `at_once` when it is imported itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in inside)
        elif not (at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield from imports(node, at_once)


def part_of(module: str) -> str | None:
    """The part of the project, or the package in `OUTSIDE`, to which a module belongs."""
    return next((part for part in (*ARROWS, *OUTSIDE) if f"{module}.".startswith(f"{part}.")), None)


def imported(path: Path) -> set[str]:
    """The top packages that a file imports, anywhere in it."""
    return {name.partition(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    used = {part_of(name) for name in imports(ast.parse(MODULES[module].read_text("utf-8")))} - {None}
    assert used <= ARROWS[part_of(module)]


def test_no_modules_import_each_other() -> None:
    graph = {
        module: set(imports(ast.parse(path.read_text("utf-8")), at_once=True)) & MODULES.keys()
        for module, path in MODULES.items()
    }
    assert graph["app"] == {"depth_unet.page.__main__"} and "depth_unet.camera" in graph["depth_unet"]
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


@pytest.mark.parametrize("path", [p for p in SOURCES if "benchmarks" not in p.parts], ids=module_name)
def test_nothing_that_windows_and_macos_lack(path: Path) -> None:
    assert not imported(path) & {"fcntl", "grp", "pwd", "resource", "termios"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in {"fork", "link", "mkfifo", "uname"}, f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_is_unpickled(path: Path) -> None:
    assert not imported(path) & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert f"{node.value.id}.{node.attr}" not in ("torch.load", "torch.save")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            keywords = {k.arg: k.value for k in node.keywords}
            assert not getattr(keywords.get("allow_pickle"), "value", False)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_error_is_swallowed_and_no_input_asserted(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if path.relative_to(ROOT).parts[0] != "benchmarks":
            assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
            assert not (everything and all(isinstance(x, ast.Pass) for x in node.body)), f"line {node.lineno}"


@pytest.mark.parametrize("path", [p for p in SOURCES if "page" in p.parts], ids=module_name)
def test_the_page_names_the_formats_that_it_opens(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
            assert "formats" in {keyword.arg for keyword in node.keywords}, f"line {node.lineno}"


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


# What only some uses need: neither importing nor predicting may depend on it.
OF_EXTRAS = {"gradio", "av", "trimesh", "lxml", "pillow_heif", "accelerate", "h5py", "onnx", "onnxruntime", "ray"}
OF_EXTRAS |= {"transformers"}


@pytest.mark.parametrize("module", ["depth_unet", "app"])
def test_an_import_loads_little_and_starts_nothing(module: str) -> None:
    loaded = python(WATCH + f"import {module}; print(*{{name.partition('.')[0] for name in sys.modules}})").split()
    assert "depth_unet" in loaded and not (OF_EXTRAS | {"train"}) & set(loaded)


def test_the_page_reports_nothing_to_gradio() -> None:
    unset = "import os; os.environ.pop('GRADIO_ANALYTICS_ENABLED')\n"
    ask = "import depth_unet.page.server, gradio; print(gradio.Blocks().analytics_enabled)"
    assert python(unset + WATCH + ask) == "False"
