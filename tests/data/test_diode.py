"""DIODE as it is downloaded is read right, and what is broken in it is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import render, write_diode

from depth_unet import Camera, DiodeDataset
from depth_unet.data.diode import DiodeName, parse_name
from depth_unet.data.sample import SampleError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for kind in ("indoors", "outdoor"):
            write_diode(tmp_path, split, kind, count=3 if split == "train" else 1)
    return tmp_path


def test_every_official_name_is_understood(shared: Path) -> None:
    tree = json.loads((shared / "data" / "diode_meta.json").read_text())
    counts = {"train": 0, "val": 0}
    seen = set()
    for split, kinds in tree.items():
        for kind, scenes in kinds.items():
            for scene, scans in scenes.items():
                for scan, names in scans.items():
                    for name in names:
                        parsed = parse_name(name)
                        assert (f"scene_{parsed.scene:05d}", f"scan_{parsed.scan:05d}") == (scene, scan)
                        assert parsed.scene_type == kind
                        counts[split] += 1
                        seen.add(name)
    # As many as the list holds: all of train, and of val 220 indoors and 392 outdoor.
    assert counts == {"train": 25_458, "val": 612} and len(seen) == 25_458 + 612


def test_a_name_by_hand() -> None:
    assert parse_name("00019_00183_indoors_040_010") == DiodeName(19, 183, "indoors", 40, 10)


@pytest.mark.parametrize("name", ["", "00019_00183_indoors_040", "00019_00183_indoor_040_010", "19_183_indoors_40_10",
                                  "00019_00183_indoors_040_010.png", "00019_00183_indoors_040_010_depth"])  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a DIODE sample"):
        parse_name(name)


@pytest.mark.parametrize(
    ("split", "kind", "count"),
    [("train", "all", 6), ("train", "indoors", 3), ("train", "outdoor", 3), ("val", "all", 2), ("val", "outdoor", 1)],
)
def test_splits_and_scene_types(root: Path, split: str, kind: str, count: int) -> None:
    keys = [sample.key for sample in DiodeDataset(root, split, kind)]
    assert len(keys) == len(set(keys)) == count
    assert kind == "all" or {parse_name(key).scene_type for key in keys} == {kind}
    assert keys == [sample.key for sample in DiodeDataset(str(root / split), split, kind)]


def test_a_sample_is_what_was_written(root: Path) -> None:
    sample = DiodeDataset(root, "train", "indoors")[0]
    image, depth = render(Camera.from_fov(128, 96, 55))
    assert sample.key == "00019_00183_indoors_000_000"
    assert sample.image.shape == (3, 96, 128) and sample.image.dtype == torch.float32
    assert sample.depth.shape == sample.valid.shape == (1, 96, 128)
    assert sample.depth.dtype == torch.float32 and sample.valid.dtype == torch.bool
    np.testing.assert_allclose(sample.image.permute(1, 2, 0).numpy(), image / 255, rtol=1e-6)
    masked = np.zeros((96, 128), bool)
    masked[:4, :7] = True
    np.testing.assert_array_equal(sample.valid[0].numpy(), ~masked)
    np.testing.assert_array_equal(sample.depth[0].numpy()[~masked], depth[~masked])
    assert torch.isfinite(sample.depth).all()


def test_the_camera_is_the_devkits(tmp_path: Path) -> None:
    (name,) = write_diode(tmp_path, "val", "outdoor", 1, size=(768, 1024))
    sample = DiodeDataset(tmp_path, "val")[0]
    assert sample.key == name and sample.camera == Camera(1024, 768, 886.81, 927.06, 512.0, 384.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, bool])
def test_masks_of_any_type(tmp_path: Path, dtype: type) -> None:
    write_diode(tmp_path, "val", "indoors", 1)
    (path,) = tmp_path.rglob("*_depth_mask.npy")
    np.save(path, np.load(path).astype(dtype))
    assert (~DiodeDataset(tmp_path, "val")[0].valid).sum() == 28


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_a_depth_that_is_none_is_invalid_whatever_the_mask_says(tmp_path: Path, value: float) -> None:
    write_diode(tmp_path, "val", "indoors", 1)
    (path,) = tmp_path.rglob("*_depth.npy")
    depth = np.load(path)
    depth[50, 60] = value
    np.save(path, depth)
    sample = DiodeDataset(tmp_path, "val")[0]
    assert not sample.valid[0, 50, 60] and sample.valid[0, 50, 61] and torch.isfinite(sample.depth).all()


def spoil(root: Path, suffix: str, content: bytes | np.ndarray | None) -> str:
    path = next(root.rglob(f"*_000_000{suffix}"))
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    return "00019_00183_indoors_000_000"


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".png", b"no picture"),
        (".png", b""),
        ("_depth.npy", None),
        ("_depth.npy", b""),
        ("_depth.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (96, 128, 1), }\n"),
        ("_depth.npy", b"not an array"),
        ("_depth.npy", np.ones((95, 128, 1), np.float32)),
        ("_depth.npy", np.ones((128, 96, 1), np.float32)),  # lying on its side
        ("_depth.npy", np.full((96, 128), None)),  # would need pickle
        ("_depth.npy", np.full((96, 128, 1), "far")),
        ("_depth_mask.npy", None),
        ("_depth_mask.npy", np.zeros((96, 128))),
        ("_depth_mask.npy", np.ones((128, 96))),
        ("_depth_mask.npy", np.ones(96 * 128)),
    ],
)
def test_a_broken_sample_is_named(tmp_path: Path, suffix: str, content: bytes | np.ndarray | None) -> None:
    write_diode(tmp_path, "train", "indoors", 2)
    data = DiodeDataset(tmp_path)
    name = spoil(tmp_path, suffix, content)
    with pytest.raises(SampleError, match=name):
        data[0]
    assert data[1].valid.any()


def test_a_missing_place_is_named(root: Path, tmp_path: Path) -> None:
    for wrong in (root / "nowhere", root / "train" / "indoors"):
        with pytest.raises(FileNotFoundError, match="scene_"):
            DiodeDataset(wrong)
    with pytest.raises(ValueError, match="test"):
        DiodeDataset(root, "test")
    with pytest.raises(ValueError, match="outdoors"):
        DiodeDataset(root, "train", "outdoors")


def test_other_pictures_among_the_samples_are_passed_over(root: Path) -> None:
    folder = next((root / "train" / "indoors").rglob("*_000_000.png")).parent
    Image.new("RGB", (8, 8)).save(folder / "preview.png")
    (folder / "._00019_00183_indoors_000_000.png").write_bytes(b"left by an archiver")
    assert len(DiodeDataset(root, "train", "indoors")) == 3
