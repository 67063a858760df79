"""`python -m train.prepare`: what it checks, what it writes, and that a kill does no harm."""

import csv
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
from scenes import write_rgbd

from benchmarks.diode_layout import write_diode
from depth_unet import DiodeDataset, RgbdFolder
from depth_unet.data import Joined, Part
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.shards import ShardDataset
from train import prepare
from train.prepare import main
from train.sources import open_training

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
    assert ShardDataset(prepared).origins == DiodeDataset(diode).origins
    assert [origin.weights for origin in DiodeDataset(diode).origins] == ["mit"]


def test_train_opens_both_alike(diode: Path, prepared: Path):
    for name in (f"diode:{diode}", f"prepared:{prepared}"):
        training, (validation,) = open_training([name], [])
        assert [len(training), len(validation)] == [6, 4]


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
    assert "note: train/indoors is missing as a whole: 3 samples" in printed
    with pytest.raises(FileNotFoundError):
        ShardDataset(output, "val")


def test_every_official_name_is_understood(shared: Path, diode: Path):
    meta = shared / "data/diode_meta.json"
    names = DiodeDataset.official_names(meta, "")
    problems, notes = prepare.compare_with_meta(names, {"train": DiodeDataset(diode)})
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
        while not list(output.glob("train-?????.tar")) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in output.glob("*-?????.tar")}
    assert 1 <= len(finished) < 5
    with pytest.raises(ValueError, match="not fully prepared"):
        ShardDataset(output)
    assert main(arguments) == 0
    assert not list(output.glob(".*.part*"))
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
    assert not [path for path in output.iterdir() if path.suffix == ".tar"]
    assert main(arguments) == 0


def test_rgbd_folders(tmp_path: Path, photo: Path):
    for number in range(3):
        shutil.copy(photo, tmp_path / f"frame.{number}.jpg")
        depth = np.full((120, 160), 1000 + 500 * number, np.uint16)
        depth[:30] = 0
        Image.fromarray(depth).save(tmp_path / f"frame.{number}_depth.png")
    output = tmp_path / "out"
    assert main([f"rgbd:{tmp_path}", "--output", str(output), "--size", "60x60", "--workers", "0"]) == 0
    raw, quick = RgbdFolder(tmp_path), Joined([ShardDataset(output), ShardDataset(output, "val")])
    assert len(quick) == len(raw) == 3
    for index in range(3):
        expected = raw[index].resize(60, 80)  # its own shape, just large enough
        assert quick[index].key == expected.key and quick[index].camera == expected.camera
        assert torch.equal(quick[index].valid, expected.valid)
        torch.testing.assert_close(quick[index].depth, expected.depth, rtol=1e-3, atol=0)
    assert main([f"rgbd:{tmp_path}", "--output", str(tmp_path / "all"), "--holdout", "0", "--workers", "0"]) == 0
    for name in (f"prepared:{output}", f"rgbd:{tmp_path}", f"prepared:{tmp_path / 'all'}"):
        training, (validation,) = open_training([name], [])
        assert [len(training), len(validation)] == [2, 1]


def test_real_frames_of_nyu(shared: Path, tmp_path: Path):
    name = f"rgbd/nyu:{shared}/data/nyu_val.tar"
    sources = {split: Part(part, range(2)) for split, part in prepare.open_sources(name).items()}
    prepare.prepare(sources, prepare.Settings("rgbd/nyu"), tmp_path)
    eigen = torch.zeros(1, 384, 512, dtype=torch.bool)
    eigen[:, 36:376, 32:480] = True  # rows 45:471 and columns 41:601 of 480x640
    assert torch.equal(ShardDataset(tmp_path, "val").scored(0).valid, ShardDataset(tmp_path, "val")[0].valid & eigen)
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
    assert [len(train), len(test)] == [3, 2] and train.origins[0].weights == "research-only"
    sample = train[1]
    assert sample.key == "nyu/0002" and sample.image.shape == (3, 480, 640)
    with h5py.File(labelled) as file:
        np.testing.assert_array_equal((sample.image[:, 7, 9] * 255).round().numpy(), file["images"][2, :, 9, 7])
        assert sample.depth[0, 100, 200] == file["depths"][2, 200, 100]
    assert sample.valid.sum() == (471 - 10) * (630 - 10) and sample.measured_part().valid.all()
    scored = train.scored(1)
    assert scored.valid.sum() == (471 - 45) * (601 - 41) and not scored.valid[0, 44].any()
    assert sample.camera.fx == 518.86

    output = tmp_path / "out"
    assert main([f"nyu:{labelled}", "--output", str(output), "--workers", "2"]) == 0
    assert ShardDataset(output, "test").keys == ["nyu/0001", "nyu/0004"]
    assert ShardDataset(output)[1].camera == sample.resize(384, 512).camera


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


@pytest.mark.parametrize("options", [["--meta", "x.json"], ["--metres-per-unit", "0"], ["--origin", "x.json"]])
def test_wrong_options_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str]):
    write_rgbd(tmp_path / "data", 1)
    arguments = [f"rgbd:{tmp_path / 'data'}", "--output", str(tmp_path / "out"), *options]
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse
        code = stopped.code
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and "error: " in error and not (tmp_path / "out").exists()


def test_units_and_origin_go_into_the_shards(tmp_path: Path):
    root = write_rgbd(tmp_path / "data", 2)
    (tmp_path / "origin.json").write_text('{"title": "Mine", "terms": "CC0", "weights": "mit"}')
    arguments = [f"rgbd:{root}", "--metres-per-unit", "1/500", "--origin", str(tmp_path / "origin.json")]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--workers", "0"]) == 0
    raw, quick = RgbdFolder(root)[0], ShardDataset(tmp_path / "out")
    torch.testing.assert_close(quick[0].depth, 2 * raw.depth, rtol=1e-3, atol=0)
    assert [origin.title for origin in quick.origins] == ["Mine"]
    assert main([f"rgbd:{root}", "--output", str(tmp_path / "out"), "--workers", "0"]) == 2  # would mix two units


def test_two_processes_do_not_write_to_one_folder(diode: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "out").mkdir()
    hold = "import sys, filelock as f; k = f.FileLock(sys.argv[1]); k.acquire(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "out" / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        arguments = [f"diode:{diode}", "--output", str(tmp_path / "out"), "--workers", "0"]
        assert main(arguments) == 2 and "another process" in capsys.readouterr().err
        other.kill()
    assert main(arguments) == 0  # the lock of a killed process does not stay
