"""The study: any number of models in one table."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import write_rgbd

from benchmarks import distil
from benchmarks.study import main, titles_of
from depth_unet import DepthUNet, open_model
from depth_unet.data import Part, open_data
from depth_unet.data.scoring import RULES
from depth_unet.files import sha256_of
from depth_unet.predictor import Predictor
from train.evaluate import interval, measure


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_rgbd(tmp_path / "data", 4)


@pytest.fixture
def saved(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


def test_models_of_every_kind_in_one_table(saved: Path, root: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("transformers", reason="the optional package transformers is not installed")
    from depth_models import save_model

    relative = save_model("depth_anything", tmp_path / "relative")
    named = [str(saved), str(relative), str(save_model("glpn", tmp_path / "glpn"))]
    options = [f"--model={name}" for name in named] + ["--rounds", "1", "--device", "cpu"]
    assert main(["--data", f"rgbd:{root}", *options, "--output", str(tmp_path / "out")]) == 0
    said, table = capsys.readouterr().out, (tmp_path / "out" / "study.md").read_text("utf-8")
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("|")]
    assert all(line in said for line in table.splitlines() if line.startswith("|"))
    assert "scoring rule whole-frame" in said and [row[0] for row in rows[2:]] == ["| ours", "| relative", "| glpn"]
    result = json.loads((tmp_path / "out" / "study.json").read_text("utf-8"))
    assert [each["sha256"] for each in result["models"]] == [
        sha256_of(Path(name) / "model.safetensors") for name in named
    ]
    assert [list(each["metrics"]) for each in result["models"]][1] == ["scale_shift_disparity"]
    ours, measured = result["models"][0], measure(open_model(saved), open_data(f"rgbd:{root}"))
    assert ours["metrics"]["none"]["abs_rel"] == pytest.approx(measured.means["none"]["abs_rel"], rel=1e-4)
    low, high = interval(measured.frames, "abs_rel")
    assert ours["intervals"]["none"]["abs_rel"] == pytest.approx([low, high], rel=1e-4)
    assert f"{measured.means['none']['abs_rel']:.3f} ({low:.3f} to {high:.3f})" in table
    assert rows[3][1:4] == ["", "", ""] and ours["latency_ms"] > 0
    assert ours["size_mb"] == pytest.approx((saved / "model.safetensors").stat().st_size / 1e6)
    with Image.open(tmp_path / "out" / "study.png") as picture:
        assert picture.width > 600


@pytest.mark.parametrize("protocol", ["kitti-garg", "nyu-eigen", "diode-indoors", "diode-outdoor"])
def test_the_protocol_is_printed_and_applied(protocol: str, saved: Path, root: Path, tmp_path: Path, capsys) -> None:
    options = ["--rounds", "1", "--frames", "1", "--protocol", protocol, "--output", str(tmp_path / "out")]
    assert main(["--data", f"rgbd:{root}", "--model", str(saved), *options]) == 0
    assert f"scoring rule {RULES[protocol]}" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "study.json").read_text("utf-8"))
    data = open_data(f"rgbd:{root}")
    data.rule = RULES[protocol]
    expected = measure(open_model(saved), Part(data, [0])).means["none"]["abs_rel"]
    assert result["models"][0]["metrics"]["none"]["abs_rel"] == pytest.approx(expected, rel=1e-4)
    assert result["models"][0]["frames"] == 1


def test_equal_names_are_told_apart() -> None:
    def models(*names: str) -> list[Predictor]:
        made = [Predictor() for _ in names]
        for model, name in zip(made, names, strict=True):
            model.name = name
        return made

    assert titles_of(["a/best", "b/best", "c"], models("best", "best", "c")) == ["a/best", "b/best", "c"]
    assert titles_of(["x", "x"], models("x", "x")) == ["x (1)", "x (2)"]


def test_wrong_input(saved: Path, root: Path, tmp_path: Path, capsys) -> None:
    output = ["--output", str(tmp_path / "out")]
    for data, model, more, message in (
        (f"rgbd:{root}", tmp_path / "none", [], "none"),
        ("rgbd:missing", saved, [], "no folder or tar"),
        (f"rgbd:{root}", saved, ["--rounds", "0"], "at least 1"),
        (f"rgbd:{root}", saved, ["--min-depth", "5", "--max-depth", "2"], "min_depth < max_depth"),
    ):
        assert main(["--data", data, "--model", str(model), *output, *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_student_learns_from_labels_alone(saved: Path, root: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("<!-- distil -->\n<!-- /distil -->\n", "utf-8")
    for path in root.glob("*.png"):
        path.unlink()  # there is no true depth
    for number in range(4, 12):
        (root / f"{number:04d}.jpg").write_bytes((root / f"{number % 4:04d}.jpg").read_bytes())
    options = ["--teacher", str(saved), "--encoder", "mobilenet_v2", "--input-size", "32x64", "--epochs", "1"]
    places = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "distil.json"), "--card", str(card)]
    assert distil.main([str(root), *options, *places]) == 0
    result = json.loads((tmp_path / "distil.json").read_text("utf-8"))
    assert (result["photos"], result["held_back_photos"]) == (11, 1)
    errors = result["abs_rel_to_teacher"]
    assert np.isfinite(errors["student"]) and result["ratio"] == errors["student"] / errors["median_map"]
    assert f"{errors['median_map']:.3f}" in card.read_text("utf-8")
    times, steps = result["seconds_per_1000_photos"], [".label", ".inspect", ".prepare", ", each epoch", ".evaluate"]
    assert list(times) == [f"train{step}" for step in steps] and min(times.values()) > 0
    assert all(f"| `{step}` | {seconds:.0f} |" in card.read_text("utf-8") for step, seconds in times.items())
    assert distil.recipe_times(tmp_path / "runs", 11) == times  # no command runs twice
