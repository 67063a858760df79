"""Data sets by name: each kind knows its splits, origin, files and rule, and a new kind needs one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import render, write_diode, write_rgbd

import benchmarks.diode_layout
import train.evaluate
import train.inspect
import train.prepare
from depth_unet import Camera, DepthSample, data
from depth_unet.data import KINDS, DataOptions, DepthData, Joined, Part, open_data, split_for, splits_of
from depth_unet.data.origin import OWN_RECORDINGS, Origin, distinct, strictest
from depth_unet.data.sample import SampleError
from depth_unet.data.scoring import RULES
from train.sources import open_training

CAMERA = Camera.from_fov(96, 72, 60)


class Toy(DepthData):
    """A new kind of data, in one class: three splits, of which each sample is a wall at another distance."""

    kind, parts = "toy", ("far",)
    usage = "toy:COUNT is a wall at COUNT distances"
    rule = RULES["nyu-eigen"]
    origins = (Origin("Walls", "walls.example", "free", "mit"),)

    @classmethod
    def splits_at(cls, path: str) -> tuple[str, ...]:
        return ("train", "val", "test")

    @classmethod
    def open(cls, path: str, part: str, split: str, options: DataOptions) -> "Toy":
        return cls(int(path), split, 5.0 if part else 1.0)

    def __init__(self, count: int, split: str, nearest: float) -> None:
        self.count, self.split, self.nearest = count, split, nearest

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> DepthSample:
        depth = torch.full((1, 72, 96), self.nearest + index)
        return DepthSample.checked(torch.rand(3, 72, 96), depth, depth > 0, CAMERA, self.key(index))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    monkeypatch.setitem(KINDS, "toy", Toy)
    return Toy


def test_one_line_adds_a_kind_to_every_command(
    toy: type[Toy], tiny_model, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert "toy:COUNT" in data.usage() and splits_of("toy:4") == ("train", "val", "test")
    tiny_model.save_pretrained(tmp_path / "model")
    output = tmp_path / "scores.json"
    options = ["--data", "toy/far:4", "--model", str(tmp_path / "model"), "--output", str(output), "--worst", "1"]
    assert train.evaluate.main(options) == 0
    assert "4 frames of 4 (split val)" in json.loads(output.read_text())["protocol"]
    assert train.inspect.main(["--data", "toy:3", "--output", str(tmp_path / "sheet.jpg")]) == 0
    printed = capsys.readouterr().out
    assert "3 in split train" in printed and "nyu-eigen: rows 45:471" in printed and "Walls" in printed
    assert train.prepare.main(["toy:3", "--output", str(tmp_path / "out"), "--workers", "0", "--size", "36x48"]) == 0
    for split in Toy.splits_at(""):
        prepared = open_data(f"prepared:{tmp_path / 'out'}", split)
        assert (prepared.rule, prepared.origins, len(prepared)) == (Toy.rule, Toy.origins, 3)
    training, (validation,) = open_training(["toy:6"], [])
    assert len(training) == len(validation) == 6 and validation.sets[0].split == "val"


# --- names and splits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rgbd", "rgbd:", ":x", "kitti:x", "rgbd/kinect:x", "nyu/x:y", "diode/attic:x", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="KIND:PATH|have"):
        open_data(name)


def test_a_path_may_hold_colons_and_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_rgbd(tmp_path / "a:b", 1)
    assert len(open_data(f"rgbd:{tmp_path / 'a:b'}")) == len(open_data("rgbd:~/a:b")) == 1


def test_each_purpose_has_its_split(toy: type[Toy], tmp_path: Path) -> None:
    chosen = {
        name: [split_for(f"{name}:1", purpose) for purpose in ("train", "validate", "score")]
        for name in ("toy", "rgbd", "diode")
    }
    assert chosen == {"toy": ["train", "val", "val"], "rgbd": ["all"] * 3, "diode": ["train", "val", "val"]}
    assert (split_for("nyu:x", "train"), split_for("nyu:x", "score")) == ("train", "test")
    with pytest.raises(ValueError, match="nyu:x has only the splits train, test: none to choose a checkpoint"):
        split_for("nyu:x", "validate")
    write_rgbd(tmp_path, 2)
    with pytest.raises(ValueError, match="no split 'val', only all"):
        open_data(f"rgbd:{tmp_path}", "val")
    with pytest.raises(ValueError, match="no split 'val', only train, test"):
        open_data("nyu:x", "val")


def test_what_is_held_back_is_not_trained_on(tmp_path: Path) -> None:
    write_rgbd(tmp_path / "a", 25)
    write_rgbd(tmp_path / "b", 3)
    write_diode(tmp_path / "c", "train", "indoors", 3)
    write_diode(tmp_path / "c", "val", "indoors", 2)
    names = [f"rgbd:{tmp_path / 'a'}", f"rgbd:{tmp_path / 'b'}", f"diode:{tmp_path / 'c'}"]
    training, validations = open_training(names, [])
    assert training.lengths == [23, 2, 3] and [v.lengths for v in validations] == [[2, 1, 2]]
    keys = [training.key(index) for index in range(len(training))]
    assert keys[:23] == [f"{n:04d}" for n in range(23)] and keys[23:25] == ["0000", "0001"]
    (validation,) = validations
    assert [validation.key(index) for index in range(3)] == ["0023", "0024", "0002"]
    training, validations = open_training(names[:1], [names[1], names[2]])
    assert len(training) == 25 and [(len(v), v.split) for v in validations] == [(3, "all"), (2, "val")]
    write_rgbd(tmp_path / "one", 1)
    with pytest.raises(ValueError, match="only one sample"):
        open_training([f"rgbd:{tmp_path / 'one'}"], [])


# --- parts and sums ----------------------------------------------------------------------------------------------


def test_joined_sets_keep_their_own_rules(tmp_path: Path) -> None:
    toys, folder = Toy(3, "val", 1.0), open_data(f"rgbd:{write_rgbd(tmp_path, 2)}")
    joined = Joined([toys, folder, Toy(1, "val", 9.0)])
    assert len(joined) == 6 and [joined.key(i) for i in range(6)] == [
        "000000",
        "000001",
        "000002",
        "0000",
        "0001",
        "000000",
    ]
    assert (
        joined[2].depth[0, 0, 0] == 3
        and torch.equal(joined[4].depth, folder[1].depth)
        and joined[5].depth[0, 0, 0] == 9
    )
    assert joined.files(3) == folder.files(0) and not joined.files(0)
    counted = [int(joined.scored(i).valid.sum()) for i in range(6)]
    eigen = len(range(int(45 / 480 * 72), int(471 / 480 * 72))) * len(range(int(41 / 640 * 96), int(601 / 640 * 96)))
    assert counted == [eigen, eigen, eigen, 72 * 96, 72 * 96, eigen]
    assert joined.origins == (*Toy.origins, OWN_RECORDINGS)
    with pytest.raises(ValueError, match="at least one"):
        Joined([])


def test_a_part_is_like_its_whole() -> None:
    whole = Toy(5, "train", 1.0)
    whole.name = "toy:5"
    part = Part(whole, range(3, 5), "the rest")
    assert len(part) == 2 and part.key(1) == whole.key(4) and torch.equal(part[0].depth, whole[3].depth)
    assert torch.equal(part.scored(0).valid, whole.scored(3).valid) and not part.scored(0).valid.all()
    assert (part.rule, part.origins, part.name, part.split) == (whole.rule, whole.origins, "toy:5", "the rest")


def test_a_fingerprint_is_of_the_names_in_their_order(tmp_path: Path) -> None:
    here, there = (open_data(f"rgbd:{write_rgbd(tmp_path / name, 3)}") for name in ("here", "there"))
    assert here.fingerprint() == there.fingerprint()
    changed = {Part(here, indices).fingerprint() for indices in ([0, 1], [1, 0], [0, 1, 2], [0, 2])}
    assert len(changed) == 4 and here.fingerprint() in changed
    ends = [Toy(2, "val", 1.0) for _ in range(2)]
    for data_set, names in zip(ends, (("ab", "c"), ("a", "bc")), strict=True):
        data_set.key = names.__getitem__
    assert ends[0].fingerprint() != ends[1].fingerprint()


def test_a_data_set_is_described_in_a_line(tmp_path: Path) -> None:
    write_rgbd(tmp_path, 12)
    opened = open_data(f"rgbd:{tmp_path}")
    median = np.median([np.median(opened[index].depth) for index in (0, 2, 3, 5, 6, 8, 9, 11)])
    assert opened.describe() == f"rgbd:{tmp_path}: 12 samples, split all, median depth {median:.2f} m"
    for number in range(12):
        (tmp_path / f"{number:04d}.png").write_bytes(b"")
    assert "no depth in the first samples" in opened.describe()


# --- origins -----------------------------------------------------------------------------------------------------


def test_the_strictest_terms_win() -> None:
    mit, unknown, research = (Origin(w, weights=w) for w in ("mit", "unknown", "research-only"))
    assert strictest([mit]) == "mit" and strictest([mit, unknown]) == strictest([]) == "unknown"
    assert strictest([mit, research, unknown]) == "research-only"
    assert distinct([mit, research, mit]) == (mit, research)
    assert Origin("a", "a.example").link == "[a](https://a.example)" and Origin("a").link == "a"
    assert Origin("a", "http://a.example").link == "[a](http://a.example)"


# --- how DIODE is scored -----------------------------------------------------------------------------------------


def test_diode_is_scored_on_its_own_mask(tmp_path: Path) -> None:
    street = benchmarks.diode_layout.render(3, outdoor=True, outliers=True)  # with false depths at its edges
    for split in ("train", "val"):
        folder = tmp_path / split / "outdoor" / "scene_00019" / "scan_00183"
        folder.mkdir(parents=True)
        benchmarks.diode_layout.write_sample(folder, "00019_00183_outdoor_000_000", street)
    train_set, val_set = (open_data(f"diode:{tmp_path}", split) for split in ("train", "val"))
    assert torch.equal(val_set[0].valid, train_set.unscored(0).valid)
    assert train_set[0].valid.sum() < val_set[0].valid.sum() == train_set.unscored(0).valid.sum()
    for opened in (train_set, Part(train_set, [0]), Joined([train_set])):  # scoring data that are trained on, too
        assert torch.equal(opened.scored(0).valid, val_set.scored(0).valid)
    asked = open_data(f"diode:{tmp_path}", "val", DataOptions(edge_filter=True))
    _, (validation,) = open_training([f"diode:{tmp_path}"], [], DataOptions(edge_filter=True))
    assert torch.equal(validation[0].valid, asked[0].valid)
    assert torch.equal(asked.scored(0).valid, train_set[0].valid & asked.rule.applied(train_set[0]).valid)
    assert "without false depths" in asked.mask and "without" not in val_set.mask
    never = open_data(f"diode:{tmp_path}", "train", DataOptions(edge_filter=False))
    assert torch.equal(never[0].valid, val_set[0].valid)
    # Prepared, too: the training split is filtered, the validation split is not.
    assert train.prepare.main([f"diode:{tmp_path}", "--output", str(tmp_path / "out"), "--size", "full"]) == 0
    for split, raw in (("train", train_set[0]), ("val", val_set[0])):
        prepared = open_data(f"prepared:{tmp_path / 'out'}", split)
        assert torch.equal(prepared[0].valid, raw.valid) and prepared.rule.name == "diode" and not prepared.hints


@pytest.mark.parametrize("scene_type", ["indoors", "outdoor"])
def test_the_rule_of_a_part_of_diode(tmp_path: Path, scene_type: str) -> None:
    write_diode(tmp_path, "val", scene_type, 1)
    opened = open_data(f"diode/{scene_type}:{tmp_path}")
    assert (opened.rule.name, opened.rule.range, opened.split) == (f"diode-{scene_type}", (0.6, 350.0), "val")


def test_a_broken_sample_costs_only_itself(toy: type[Toy], tiny_model, tmp_path: Path) -> None:
    folder = write_rgbd(tmp_path, 4)
    (folder / "0002.png").write_bytes(b"")
    frames, missed = train.evaluate.evaluate(tiny_model, open_data(f"rgbd:{folder}"))
    assert [frame.key for frame in frames] == ["0000", "0001", "0003"] and missed[0].startswith("0002: ")
    for number in range(4):
        (folder / f"{number:04d}.png").write_bytes(b"")
    with pytest.raises(SampleError, match="not one of 4 frames"):
        train.evaluate.evaluate(tiny_model, open_data(f"rgbd:{folder}"))


def test_scenes_are_as_deep_as_they_say() -> None:
    """The tests' own renderer: every other test stands on it."""
    _, depth = render(CAMERA)
    assert depth.min() > 1 and depth.max() == pytest.approx(6.0)
