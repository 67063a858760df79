"""`python -m train.prepare`: what it checks, what it writes, and that a kill does no harm."""

import csv
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

from benchmarks.diode_layout import write_diode
from depth_unet import DiodeDataset, RgbdFolder
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.shards import ShardDataset
from train import prepare
from train.card import sources_of
from train.data import open_split
from train.prepare import main

ROOT = Path(__file__).parents[2]
BROKEN = {"missing": 0, "corrupt": 1, "no depth": 2, "shape": 3}


@pytest.fixture(scope="module")
def diode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 samples to train on, 4 to validate, of the official size."""
    root = tmp_path_factory.mktemp("diode")
    write_diode(root, 6, 4, reduce=8)
    return root


@pytest.fixture(scope="module")
def prepared(diode: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "prepared"
    arguments = [f"diode:{diode}", "--output", str(output), "--workers", "2", "--samples-per-shard", "4"]
    assert main([*arguments, "--meta", str(diode / "diode_meta.json")]) == 0
    return output


def test_raw_and_prepared_are_equal(diode: Path, prepared: Path):
    for split in ("train", "val"):
        raw, quick = DiodeDataset(diode, split), ShardDataset(prepared, split)
        assert len(raw) == len(quick)
        for index in range(len(raw)):
            expected, sample = raw[index].resize(384, 512), quick[index]
            assert (sample.key, sample.camera) == (expected.key, expected.camera)
            assert torch.equal(sample.valid, expected.valid)
            known = sample.valid
            torch.testing.assert_close(sample.depth[known], expected.depth[known], rtol=1e-3, atol=0)
            assert (sample.image - expected.image).abs().mean() < 3 / 255  # the JPEG smooths the planted grain


def test_where_pictures_come_from_is_not_forgotten(diode: Path, prepared: Path):
    """Their terms go into the card of every model trained on them."""
    assert sources_of(ShardDataset(prepared)) == sources_of(DiodeDataset(diode)) == ["diode"]


def test_train_opens_both_alike(diode: Path, prepared: Path):
    raw, quick = (open_split([name], []) for name in (f"diode:{diode}", f"prepared:{prepared}"))
    assert [len(d) for d in raw] == [len(d) for d in quick] == [6, 4]


def test_what_is_wrong_is_reported_by_name(diode: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    root = tmp_path / "diode"
    shutil.copytree(diode / "val", root / "val")
    meta = json.loads((diode / "diode_meta.json").read_text())
    pictures = [DiodeDataset(root, "val").pictures[i] for i in range(4)]
    names = {kind: pictures[i].stem for kind, i in BROKEN.items()}
    (pictures[0].parent / f"{pictures[0].stem}_depth.npy").unlink()
    pictures[1].write_bytes(pictures[1].read_bytes()[:5000])
    np.save(pictures[2].with_name(pictures[2].stem + "_depth_mask.npy"), np.zeros((768, 1024)))
    with Image.open(pictures[3]) as image:
        image.resize((512, 384)).save(pictures[3])
    for part in ("depth", "depth_mask"):
        path = pictures[3].with_name(f"{pictures[3].stem}_{part}.npy")
        np.save(path, np.load(path)[::2, ::2])
    scans = next(iter(next(iter(meta["val"]["outdoor"].values())).values()))
    scans.append("00090_00000_outdoor_350_050")
    (tmp_path / "meta.json").write_text(json.dumps(meta))

    output = tmp_path / "out"
    arguments = [f"diode:{root}", "--output", str(output), "--workers", "0", "--meta", str(tmp_path / "meta.json")]
    assert main(arguments) == 1

    with (output / "problems.csv").open() as file:
        found = {(row["kind"], row["key"]) for row in csv.DictReader(file)}
    assert found == {*names.items(), ("missing", "00090_00000_outdoor_350_050")}
    printed = capsys.readouterr().out
    assert all(name in printed for name in names.values())
    assert "note: train/indoors is not there at all: 3 samples" in printed
    with pytest.raises(FileNotFoundError):
        ShardDataset(output, "val")


def test_every_official_name_is_understood(shared: Path, diode: Path):
    meta = shared / "data/diode_meta.json"
    problems, notes = prepare.compare_with_meta(meta, {"train": DiodeDataset(diode)}, "all")
    scenes = [scans for kind in json.loads(meta.read_text())["train"].values() for scans in kind.values()]
    official = [name for scans in scenes for names in scans.values() for name in names]
    kinds = {kind: [p.key for p in problems if p.kind == kind] for kind in ("missing", "unlisted")}
    there = {path.stem for path in DiodeDataset(diode).pictures}
    assert len(official) == 25458
    assert set(kinds["missing"]) == set(official) - there and set(kinds["unlisted"]) == there - set(official)
    assert len(notes) == 2 and all(note.startswith("val/") for note in notes)


def test_finished_shards_are_kept_and_changed_ones_done_again(diode: Path, tmp_path: Path):
    root, output = tmp_path / "diode", tmp_path / "out"
    shutil.copytree(diode / "val", root / "val")
    arguments = [f"diode:{root}", "--output", str(output), "--workers", "0", "--samples-per-shard", "1"]
    assert main(arguments) == 0
    times = {path.name: path.stat().st_mtime_ns for path in output.glob("*.tar")}
    assert len(times) == 4
    os.utime(DiodeDataset(root, "val").pictures[2])
    (output / "val-00003.tar").unlink()
    assert main(arguments) == 0
    again = {path.name: path.stat().st_mtime_ns for path in output.glob("*.tar")}
    assert [name for name in times if times[name] != again[name]] == ["val-00002.tar", "val-00003.tar"]
    assert main([*arguments, "--size", "192x256"]) == 2  # would mix two sizes


def test_fewer_samples_leave_no_old_shard(diode: Path, tmp_path: Path):
    root, output = tmp_path / "diode", tmp_path / "out"
    shutil.copytree(diode / "val", root / "val")
    arguments = [f"diode:{root}", "--output", str(output), "--workers", "0", "--samples-per-shard", "1"]
    assert main(arguments) == 0
    DiodeDataset(root, "val").pictures[3].unlink()
    assert main(arguments) == 0
    assert len(list(output.glob("*.tar"))) == 3
    assert len(ShardDataset(output, "val")) == 3


def test_a_kill_leaves_nothing_that_looks_finished(diode: Path, prepared: Path, tmp_path: Path):
    output = tmp_path / "out"
    arguments = [f"diode:{diode}", "--output", str(output), "--workers", "2", "--samples-per-shard", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "train.prepare", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not list(output.glob("*.tar")) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in output.glob("*.tar")}
    assert 1 <= len(finished) < 5
    with pytest.raises(ValueError, match="not fully prepared"):
        ShardDataset(output)
    assert main(arguments) == 0
    assert not list(output.glob("*.part"))
    assert all((output / name).stat().st_mtime_ns == when for name, when in finished.items())
    for split in ("train", "val"):
        whole, resumed = ShardDataset(prepared, split), ShardDataset(output, split)
        assert whole.keys == resumed.keys
        for one, other in zip(
            (whole[i] for i in range(len(whole))), (resumed[i] for i in range(len(whole))), strict=True
        ):
            assert all(map(torch.equal, one[:3], other[:3]))


def test_full_disk_is_one_sentence(diode: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    output = tmp_path / "out"
    arguments = [f"diode:{diode}", "--output", str(output), "--workers", "0", "--samples-per-shard", "3"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # no file may grow beyond this
    try:
        assert main(arguments) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "train-00000.tar cannot be written" in error
    assert not [path for path in output.iterdir() if path.suffix in (".tar", ".part")]
    assert main(arguments) == 0


def test_md5_of_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    download = tmp_path / "val.tar.gz"
    download.write_bytes(b"cut off")
    assert main(["diode:nowhere", "--output", str(tmp_path / "out"), "--tar", str(download)]) == 2
    assert "download it again" in capsys.readouterr().err
    monkeypatch.setitem(prepare.DIODE_MD5, "val.tar.gz", hashlib.md5(b"cut off").hexdigest())
    prepare.check_md5(download)
    with pytest.raises(ValueError, match="published sums"):
        prepare.check_md5(tmp_path / "else.tar")


def test_rgbd_folders(tmp_path: Path, photo: Path):
    for number in range(3):
        shutil.copy(photo, tmp_path / f"frame.{number}.jpg")
        depth = np.full((120, 160), 1000 + 500 * number, np.uint16)
        depth[:30] = 0
        Image.fromarray(depth).save(tmp_path / f"frame.{number}_depth.png")
    output = tmp_path / "out"
    assert main([f"rgbd:{tmp_path}", "--output", str(output), "--size", "60x60", "--workers", "0"]) == 0
    raw, quick = RgbdFolder(tmp_path), ConcatDataset([ShardDataset(output), ShardDataset(output, "val")])
    assert len(quick) == len(raw) == 3
    for index in range(3):
        expected = raw[index].resize(60, 80)  # its own shape, just large enough
        assert quick[index].key == expected.key and quick[index].camera == expected.camera
        assert torch.equal(quick[index].valid, expected.valid)
        torch.testing.assert_close(quick[index].depth, expected.depth, rtol=1e-3, atol=0)
    for name in (f"prepared:{output}", f"rgbd:{tmp_path}"):
        assert [len(part) for part in open_split([name], [])] == [2, 1]
    assert main([f"rgbd:{tmp_path}", "--output", str(tmp_path / "all"), "--holdout", "0", "--workers", "0"]) == 0
    assert [len(part) for part in open_split([f"prepared:{tmp_path / 'all'}"], [])] == [2, 1]


def test_real_frames_of_nyu(shared: Path, tmp_path: Path):
    name = f"rgbd:{shared}/data/nyu_val.tar"
    sources = {split: Subset(part, range(2)) for split, part in prepare.open_sources(name).items()}
    prepare.prepare(sources, prepare.Settings("rgbd"), tmp_path)
    for split, source in sources.items():
        for index, sample in enumerate(ShardDataset(tmp_path, split)[i] for i in range(2)):
            expected = prepare.shrunk(source[index], (384, 512))
            assert sample.key == expected.key and torch.equal(sample.valid, expected.valid)
            known = sample.valid
            torch.testing.assert_close(sample.depth[known], expected.depth[known], rtol=1e-3, atol=0)
            assert (sample.image - expected.image).abs().mean() < 1.5 / 255


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A small nyu_depth_v2_labeled.mat and splits.mat, laid out as Matlab does."""
    h5py = pytest.importorskip("h5py", reason="h5py reads NYU's .mat")
    io = pytest.importorskip("scipy.io", reason="scipy reads NYU's splits.mat")
    rng = np.random.default_rng(0)
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w") as file:
        file["images"] = rng.integers(0, 255, (5, 3, 640, 480), dtype=np.uint8)
        file["depths"] = rng.uniform(0.7, 9.9, (5, 640, 480)).astype(np.float32)
    io.savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1], [3], [4]]), "testNdxs": np.array([[2], [5]])})
    return path


def test_official_nyu(labelled: Path, tmp_path: Path):
    import h5py

    train, test = NyuDataset(labelled), NyuDataset(labelled, "test")
    assert [len(train), len(test)] == [3, 2] and sources_of(train) == ["nyu_depth_v2"]
    sample = train[1]
    assert sample.key == "nyu/0002" and sample.image.shape == (3, 480, 640)
    with h5py.File(labelled) as file:
        np.testing.assert_array_equal((sample.image[:, 7, 9] * 255).round().numpy(), file["images"][2, :, 9, 7])
        assert sample.depth[0, 100, 200] == file["depths"][2, 200, 100]
    assert sample.valid.sum() == (471 - 45) * (601 - 41) and not sample.valid[0, 44].any()
    whole = NyuDataset(labelled, filled=True)[1]
    assert whole.valid.sum() == (470 - 10) * (630 - 10) and whole.measured_part().valid.all()
    assert sample.camera.fx == 518.86

    output = tmp_path / "out"
    assert main([f"nyu:{labelled}", "--output", str(output), "--workers", "2"]) == 0
    assert ShardDataset(output, "test").keys == ["nyu/0001", "nyu/0004"]
    assert ShardDataset(output)[1].camera == whole.resize(384, 512).camera


def test_nyu_that_is_not_there(tmp_path: Path):
    pytest.importorskip("h5py")
    (tmp_path / "labelled.mat").write_bytes(b"nothing")
    with pytest.raises(FileNotFoundError, match="splits.mat"):
        NyuDataset(tmp_path / "labelled.mat")
    (tmp_path / "splits.mat").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not NYU's"):
        NyuDataset(tmp_path / "labelled.mat")


@pytest.mark.parametrize("wrong", ["prepared:here", "diode:/no/such/folder", "video:x", "rgbd:/no/such/folder"])
def test_mistakes_are_one_sentence(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main([wrong, "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
