"""What a command could not write at its end, and what it could not read of its own, is refused at its start."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scenes import write_rgbd
from test_reading import NOT_JSON

from depth_unet import DepthUNet, DepthUNetConfig, RgbdFolder
from train import evaluate, inspect, prepare, publish
from train.card import read_history
from train.config import TrainConfig
from train.history import write_history
from train.loop import fit
from train.outputs import check_output
from train.run import RunFolder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_rgbd(tmp_path / "data", 4)


@pytest.fixture
def saved(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refused(capsys: pytest.CaptureFixture, words: str) -> None:
    """One sentence, and no work was done before."""
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and words in captured.err
    assert "samples, split" not in captured.out  # not even the data were opened


@pytest.mark.parametrize("name", ["folder", "file/x.json", "x.json"])
def test_evaluate_checks_its_outputs(
    recording: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "x_worst.jpg").mkdir()
    command = ["--model", str(saved), "--data", f"rgbd:{recording}", "--output", str(tmp_path / name)]
    assert evaluate.main(command) == 2
    refused(capsys, {"folder": "is a folder", "file/x.json": "cannot be written", "x.json": "is a folder"}[name])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no file card.md"),
        (b"no block", "must have one block"),
        (b"\xff\xfe", "decode"),
        ("folder", "folder"),
    ],
)
def test_evaluate_checks_its_cards(
    recording: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes | str | None, words: str
) -> None:
    card = tmp_path / "card.md"
    if content == "folder":
        card.mkdir()
    elif content is not None:
        card.write_bytes(content)
    command = ["--model", str(saved), "--data", f"rgbd:{recording}", "--output", str(tmp_path / "x.json")]
    assert evaluate.main([*command, "--card", str(card)]) == 2
    refused(capsys, words)


@pytest.mark.parametrize(
    ("name", "words"),
    [("sheet", "--output must end in"), ("sheet.txt", "--output must end in"), ("folder.jpg", "is a folder")],
)
def test_inspect_checks_its_output(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str, words: str
) -> None:
    (tmp_path / "folder.jpg").mkdir()
    assert inspect.main(["--data", f"rgbd:{recording}", "--output", str(tmp_path / name)]) == 2
    refused(capsys, words)


def test_prepare_checks_its_output_and_list(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert prepare.main([f"rgbd:{recording}", "--output", str(tmp_path / "file")]) == 2
    refused(capsys, "is a file: name a folder")
    assert prepare.main([f"rgbd:{recording}", "--output", str(tmp_path / "out"), "--meta", str(tmp_path / "file")]) == 2
    refused(capsys, "no official list")
    assert (
        prepare.main([f"diode:{recording}", "--output", str(tmp_path / "out"), "--meta", str(tmp_path / "none")]) == 2
    )
    refused(capsys, "there is no file none")


@pytest.mark.parametrize("content", [*NOT_JSON, b"[]", b"null", b"{}"])
def test_prepare_continues_nothing_that_is_damaged(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes
) -> None:
    command = [f"rgbd:{recording}", "--output", str(tmp_path / "out"), "--workers", "0"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset.json").write_bytes(content)
    assert prepare.main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and ("cannot be used" in error or "was prepared with" in error)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"bytes": 3}', b"null", b"[" * 100_000])
def test_a_damaged_index_is_written_again(recording: Path, tmp_path: Path, content: bytes) -> None:
    command = [f"rgbd:{recording}", "--output", str(tmp_path / "out"), "--workers", "0", "--holdout", "0"]
    assert prepare.main(command) == 0
    index = tmp_path / "out" / "train-00000.json"
    whole = index.read_bytes()
    index.write_bytes(content)
    assert prepare.main(command) == 0 and json.loads(index.read_bytes())["keys"] == json.loads(whole)["keys"]


@pytest.mark.parametrize("kind", ["file", "not empty", "below a file"])
def test_a_dry_run_checks_its_folder(
    recording: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str
) -> None:
    place = tmp_path / "hub"
    if kind == "file":
        place.write_text("")
    elif kind == "not empty":
        place.mkdir()
        (place / "x").write_text("")
    else:
        (tmp_path / "x").write_text("")
        place = tmp_path / "x" / "hub"
    command = ["--model", str(saved), "--repo", "a/b", "--data", f"rgbd:{recording}", "--dry-run", str(place)]
    assert publish.main([*command, "--trained-on", "diode"]) == 2
    refused(capsys, "is not empty" if kind == "not empty" else "cannot be written")


def test_a_file_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("old")
    check_output(tmp_path / "x.json")
    check_output(tmp_path / "new" / "deep" / "x.json")
    assert (tmp_path / "x.json").read_text() == "old" and os.listdir(tmp_path / "new" / "deep") == []


# --- what a run reads of its own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"epoch,val_abs_rel\n1,abc\n",
        b"epoch,val_abs_rel\n1,nan\n",
        b"epoch,val_abs_rel\n1,inf\n",
        b"epoch,val_abs_rel\n1,\n",
        b"epoch,val_abs_rel\n,0.1\n",
        b"epoch,val_abs_rel\n1,0.1,7\n",
        b"epoch,loss\n1,0.1\n",
        b"1,0.1\n2,0.2\n",
        b"\xff\xfe\x00",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d",
        b'epoch,val_abs_rel\n"1,0.1\n',
    ],
)
def test_a_history_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"history\.csv is not the history of a run"):
        read_history(tmp_path / "history.csv")


def test_a_history_is_read_as_written(tmp_path: Path) -> None:
    rows = [
        {"epoch": 1, "loss": 0.75, "val_abs_rel": 0.25},
        {"epoch": 2, "loss": 0.5, "val_abs_rel": 0.125, "val_missed": 2},
    ]
    write_history(rows, tmp_path)
    assert read_history(tmp_path / "history.csv") == rows


NETWORK = DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8] * 5, input_size=[32, 64])
RUN = TrainConfig(epochs=2, batch_size=2, frozen_norm=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RgbdFolder, Path]:
    """A run that was stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    data = RgbdFolder(write_rgbd(folder / "data", 4))
    torch.manual_seed(0)
    fit(DepthUNet(NETWORK), data, data, RUN, folder / "run", stop_after_steps=3)
    return data, folder / "run"


@pytest.fixture
def copied(run: tuple[RgbdFolder, Path], tmp_path: Path) -> Path:
    for name in ("last.safetensors", "run.json"):
        (tmp_path / name).write_bytes((run[1] / name).read_bytes())
    return tmp_path


def resume(run: tuple[RgbdFolder, Path], output: Path) -> None:
    fit(DepthUNet(NETWORK), run[0], run[0], RUN, output, resume=True)


RECORDS = [
    lambda record: record | {"origins": [{"title": None}]},
    lambda record: record | {"origins": 3},
    lambda record: record | {"data": {"train": 3, "validation": []}},
    lambda record: record | {"data": {"train": [{"name": "x"}], "validation": []}},
    lambda record: record | {"data": {"train": [None], "validation": []}},
    lambda record: record | {"data": None},
    lambda record: record | {"shares": ["a"]},
    lambda record: record | {"shares": 3},
    lambda record: record | {"best": [1]},
    lambda record: record | {"best": {"val_abs_rel": "small"}},
    lambda record: record | {"best": {"val_abs_rel": None}},
    lambda record: record | {"averaged": "1"},
    lambda record: record | {"batch_size": 1.5},
    lambda record: record | {"processes": "two"},
    lambda record: record | {"version": None},
    lambda record: record | {"sha256": 3},
    lambda record: record | {"options": 3},
    lambda record: record | {"train": "x"},
    lambda record: record | {"novelty": 1},
    lambda record: {name: value for name, value in record.items() if name != "origins"},
    lambda record: {name: value for name, value in record.items() if name != "shares"},
    lambda record: [record],
]


@pytest.mark.parametrize("change", RECORDS)
def test_a_record_of_wrong_values_is_refused(copied: Path, change) -> None:
    path = copied / "run.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"run\.json cannot be used"):
        RunFolder(copied).read()


@pytest.mark.parametrize("content", NOT_JSON)
def test_a_record_that_is_no_json(copied: Path, content: bytes) -> None:
    (copied / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json cannot be used"):
        RunFolder(copied).read()


def without(*names: str):
    return lambda tensors, progress: [tensors.pop(name) for name in names]


def with_(name: str, value):
    return lambda tensors, progress: tensors.update({name: value(tensors[name]) if callable(value) else value})


def saying(**values: object):
    return lambda tensors, progress: progress.update(values)


WEIGHT = "model/bins.weight"
CHECKPOINTS = [
    without("random"),
    without(WEIGHT),
    without("average/module.bins.weight"),
    without("optimizer/0/exp_avg"),
    without("optimizer/1/step"),
    with_("random", lambda tensor: tensor[:9].clone()),
    with_("random", lambda tensor: tensor.float()),
    with_(WEIGHT, lambda tensor: tensor[:3].clone()),
    with_(WEIGHT, lambda tensor: tensor.to(torch.int8)),
    with_(WEIGHT, lambda tensor: tensor.double()),
    with_("optimizer/0/exp_avg", lambda tensor: tensor[:1].clone()),
    with_("optimizer/0/exp_avg_sq", lambda tensor: tensor.to(torch.int32)),
    with_("optimizer/99999/exp_avg", torch.ones(3)),
    with_("optimizer/x/exp_avg", torch.ones(3)),
    with_("optimizer/-1/exp_avg", torch.ones(3)),
    with_("model/novelty", torch.ones(3)),
    saying(rows=3),
    saying(rows=[3]),
    saying(rows=[{}]),
    saying(rows=[{"epoch": 1, "val_abs_rel": None}]),
    saying(epoch=-1),
    saying(epoch=1.5),
    saying(epoch=None),
    saying(step="1"),
    saying(steps=None),
    saying(seconds="long"),
    saying(best="low"),
    saying(sums=3),
    saying(sums={"loss": None}),
    saying(bad=3),
    saying(bad=[3]),
    saying(config=None),
    saying(config={}),
    saying(config={"batch_size": 0}),
    saying(model=None),
    saying(processes=-2),
]


@pytest.mark.parametrize("number", range(len(CHECKPOINTS)))
def test_a_checkpoint_of_wrong_values_is_refused(run: tuple[RgbdFolder, Path], copied: Path, number: int) -> None:
    path = copied / "last.safetensors"
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    CHECKPOINTS[number](tensors, progress)
    save_file(tensors, path, {"progress": json.dumps(progress)})
    with pytest.raises(
        ValueError, match=r"last\.safetensors is (not a checkpoint that can be resumed|of another network)"
    ):
        resume(run, copied)


def test_what_is_right_is_resumed(run: tuple[RgbdFolder, Path], copied: Path) -> None:
    resume(run, copied)
