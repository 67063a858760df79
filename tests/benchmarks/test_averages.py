"""Means of the weights of several trainings, measured."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from scenes import write_rgbd

from benchmarks import averages
from depth_unet import DepthUNet, open_model
from depth_unet.data import open_data
from train.evaluate import measure


@pytest.fixture
def folders(tiny_model: DepthUNet, tmp_path: Path) -> dict[str, Path]:
    """A saved model, and two trainings that ended elsewhere."""
    found = {"start": tmp_path / "start", "a": tmp_path / "a", "b": tmp_path / "b"}
    tiny_model.save_pretrained(found["start"])
    generator = torch.Generator().manual_seed(1)
    for name in ("a", "b"):
        found[name].mkdir()
        state = {
            key: value + 0.1 * torch.randn(value.shape, generator=generator) if "head" in key else value
            for key, value in tiny_model.state_dict().items()
        }
        save_file(
            {f"average/module.{key}": value.contiguous() for key, value in state.items()},
            found[name] / "last.safetensors",
        )
    return found


def test_each_and_their_means_are_measured(folders: dict[str, Path], tmp_path: Path, capsys) -> None:
    data, card, output = f"rgbd:{write_rgbd(tmp_path / 'data', 2)}", tmp_path / "card.md", tmp_path / "averages.json"
    card.write_text("before\n<!-- averages -->\n<!-- /averages -->\nafter\n")
    given = [f"--model={name}={folder}" for name, folder in folders.items()] + ["--mean", "start+a+b", "--mean=a+b"]
    assert averages.main(["--data", data, *given, "--output", str(output), "--card", str(card)]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["models"] for row in rows] == [["start"], ["a"], ["b"], ["start", "a", "b"], ["a", "b"]]
    assert rows[0]["none"] == measure(open_model(folders["start"]), open_data(data)).means["none"]
    mean = DepthUNet.from_pretrained(folders["start"])
    states = [averages.state_of(folder) for folder in folders.values()]
    mean.load_state_dict({key: sum(s[key].double() for s in states) / 3 for key in states[0]})
    assert rows[3]["none"] == pytest.approx(measure(mean, open_data(data)).means["none"], rel=1e-4)
    assert len({row["none"]["abs_rel"] for row in rows}) == 5
    assert f"| start + a + b | {rows[3]['none']['abs_rel']:.4f} / {rows[3]['none']['delta1']:.4f} |" in card.read_text()
    assert card.read_text().startswith("before") and "a + b: " in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["start+c", "c"])
def test_means_of_unknown_models_are_refused(folders: dict[str, Path], tmp_path: Path, capsys, wrong: str) -> None:
    given = ["--data", f"rgbd:{write_rgbd(tmp_path / 'data', 1)}", f"--model=start={folders['start']}"]
    card = tmp_path / "card.md"
    assert averages.main([*given, "--mean", wrong, "--output", str(tmp_path / "x.json"), "--card", str(card)]) == 2
    assert re.fullmatch(r"error: --mean contains c, but no --model has that name\n", capsys.readouterr().err)
    assert not card.exists()


def test_another_network_is_refused(folders: dict[str, Path], tmp_path: Path, capsys) -> None:
    smaller = {"average/module.unet.bias": torch.zeros(3)}
    save_file(smaller, folders["a"] / "last.safetensors")
    given = ["--data", f"rgbd:{write_rgbd(tmp_path / 'data', 1)}", f"--model=start={folders['start']}"]
    assert averages.main([*given, f"--model=a={folders['a']}", "--output", str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err == "error: a and start are different networks and have no mean\n"


def test_counters_are_not_averaged() -> None:
    states = [
        {"weight": torch.tensor([1.0, 3.0]), "seen": torch.tensor(7)},
        {"weight": torch.zeros(2), "seen": torch.tensor(9)},
    ]
    found = averages.mean_of(states)
    assert found["weight"].tolist() == [0.5, 1.5] and found["seen"].item() == 7


@pytest.mark.parametrize("text", ["start", "=folder", "start=", "a+b=folder"])
def test_names_that_cannot_be_told_apart_are_refused(text: str, capsys) -> None:
    with pytest.raises(SystemExit):
        averages.parser().parse_args(["--data", "rgbd:x", "--model", text])
    assert "NAME=FOLDER" in capsys.readouterr().err
