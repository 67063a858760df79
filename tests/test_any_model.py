"""Depth models of transformers at every place where a model is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the optional package transformers is not installed")

from depth_models import save_model  # noqa: E402
from scenes import write_rgbd  # noqa: E402

import train.__main__  # noqa: E402
from depth_unet import RgbdFolder, open_model  # noqa: E402
from train import evaluate, label  # noqa: E402

ROOT = Path(__file__).parent.parent
METRIC = ("depth_anything_metric", "zoedepth", "glpn", "depth_pro")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: save_model(kind, root / kind) for kind in (*METRIC, "dpt", "depth_anything")}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rgbd(tmp_path_factory.mktemp("data") / "data", 3)


@pytest.mark.parametrize("kind", [*METRIC, "dpt", "depth_anything"])
def test_it_is_scored_in_the_alignments_that_suit_it(kind: str, models, root: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "scores.json"
    given = ["--model", str(models[kind]), "--data", f"rgbd:{root}", "--output", str(output), "--worst", "1"]
    assert evaluate.main([*given, "--protocol", "nyu-eigen", "--device", "cpu"]) == 0
    result = json.loads(output.read_text("utf-8"))
    assert list(result["metrics"])[0] == ("none" if kind in METRIC else "scale_shift_disparity")
    assert result["licence"] == "unknown" and result["model"] == kind and "nyu-eigen" in capsys.readouterr().out


@pytest.mark.parametrize("kind", METRIC)
def test_it_is_a_teacher(kind: str, models, photo: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels"
    given = [str(photo), "--teacher", str(models[kind]), "--output", str(output), "--disagreement", "99"]
    assert label.main([*given, "--device", "cpu"]) == 0
    sample, prediction = RgbdFolder(output)[0], open_model(models[kind]).predict(photo)
    assert sample.camera == pytest.approx(prediction.camera)
    np.testing.assert_allclose(sample.depth[0], prediction.depth, atol=0.00051)


@pytest.mark.parametrize("kind", ["dpt", "depth_anything"])
def test_relative_depth_teaches_no_metres(kind: str, models, photo: Path, tmp_path: Path, capsys) -> None:
    assert label.main([str(photo), "--teacher", str(models[kind]), "--output", str(tmp_path / "x")]) == 2
    assert "without metres" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_only_our_own_network_can_be_trained(models, root: Path, tmp_path: Path, capsys) -> None:
    given = ["--model", str(models["glpn"]), "--data", f"rgbd:{root}", "--output", str(tmp_path / "run")]
    assert train.__main__.main(given) == 2
    assert "glpn is no DepthUNet" in capsys.readouterr().err


def test_the_page_needs_metres(models, capsys) -> None:
    pytest.importorskip("gradio", reason="the optional package gradio is not installed")
    from depth_unet.page.__main__ import main

    assert main(["--model", str(models["dpt"])]) == 2
    assert "without metres" in capsys.readouterr().err
    # In a process of its own: gradio leaves an event loop behind.
    code = f"""
from depth_unet import open_model
from depth_unet.page.server import build
page = build(open_model({str(models["glpn"])!r}))
print(*(getattr(block, "value", None) for block in page.blocks.values()), sep="\\n")
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "**Model:** glpn; licence of its weights: unknown." in ran.stdout, ran.stderr
