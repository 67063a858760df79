"""Prepared data: how exact they are, and how they are read."""

import gc
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from depth_unet import Camera, DepthSample
from depth_unet.data import DepthData
from depth_unet.data.sample import SampleError
from depth_unet.data.shards import MANIFEST, ShardDataset, decode_depth, decode_sample, encode_depth, encode_sample
from train.prepare import Settings, prepare


class Ramps(DepthData):
    """Smooth pictures with depths from 0.3 to 300 metres and a hole."""

    def __init__(self, count: int = 7) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"walk/frame.{index}"

    def __getitem__(self, index: int) -> DepthSample:
        rng = torch.Generator().manual_seed(index)
        image = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8, generator=rng), (48, 64), mode="bicubic")[0]
        image = (image.clamp(0, 1) * 255).round() / 255
        depth = torch.logspace(np.log10(0.3), np.log10(300), 48 * 64).reshape(1, 48, 64).roll(index, -1)
        valid = torch.ones(1, 48, 64, dtype=torch.bool)
        valid[:, 10:20, 5 + index : 30] = False
        camera = Camera(64, 48, 55.5 + index, 57.25, 31.0, 24.0)
        return DepthSample.checked(image, depth, valid, camera, self.key(index))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ramps]:
    folder = tmp_path_factory.mktemp("prepared")
    source = Ramps()
    assert prepare({"train": source, "val": Ramps(2)}, Settings("ramps", shard=3), folder / "out") == []
    return folder / "out", source


def test_metres_are_right_to_a_thousandth():
    depth = torch.logspace(np.log10(0.3), np.log10(300), 200_000).reshape(1, 400, 500)
    metres, valid = decode_depth(encode_depth(depth, torch.ones_like(depth, dtype=torch.bool)))
    assert valid.all()
    assert ((metres - depth).abs() / depth).max() < 0.0003


def test_what_is_no_measurement_stays_none():
    depth = torch.tensor([[[0.0, 1.0, torch.nan, torch.inf, 5.0, 0.005]]])
    valid = torch.tensor([[[True, True, False, False, False, True]]])
    metres, known = decode_depth(encode_depth(depth, valid))
    assert known.tolist() == [[[False, True, False, False, False, False]]]
    assert metres[~known].eq(0).all()


def test_a_sample_survives():
    sample = Ramps(4)[3]
    again = decode_sample(*encode_sample(sample).values())
    assert (again.key, again.camera) == (sample.key, sample.camera)
    assert torch.equal(again.valid, sample.valid)
    torch.testing.assert_close(again.depth, sample.depth, rtol=3e-4, atol=0)
    assert (again.image - sample.image).abs().mean() < 2 / 255  # what the JPEG costs, in strong colours
    assert [(a.dtype, a.shape) for a in again[:3]] == [(a.dtype, a.shape) for a in sample[:3]]


def test_random_access_in_the_sources_order(prepared: tuple[Path, Ramps]):
    folder, source = prepared
    samples = ShardDataset(folder)
    assert (
        samples.splits_at(str(folder)) == ("train", "val") and len(samples.shards) == 3 and len(samples) == len(source)
    )
    for index in (6, 0, 3, 2):
        assert samples[index].key == samples.keys[index] == source[index].key
        torch.testing.assert_close(samples[index].depth, source[index].depth, rtol=3e-4, atol=0)
    assert len(ShardDataset(folder, "val")) == 2


def test_many_processes_read_the_same(prepared: tuple[Path, Ramps]):
    samples = ShardDataset(prepared[0])
    loader = DataLoader(samples, batch_size=None, num_workers=2)
    for index, sample in enumerate(loader):
        assert torch.equal(sample.image, samples[index].image)
    assert torch.equal(pickle.loads(pickle.dumps(samples))[4].depth, samples[4].depth)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files to the collector
def test_webdataset_reads_the_shards(prepared: tuple[Path, Ramps]):
    webdataset = pytest.importorskip("webdataset")
    folder, source = prepared
    shards = [str(folder / name) for name in ShardDataset(folder).shards]
    streamed = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    assert len(streamed) == len(source)
    for index, files in enumerate(streamed):
        sample = decode_sample(files["jpg"], files["depth.png"], files["json"])
        assert sample.key == source[index].key
    gc.collect()


def test_damage_is_named(prepared: tuple[Path, Ramps], tmp_path: Path):
    for path in prepared[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    samples = ShardDataset(tmp_path)
    shard = tmp_path / samples.shards[1]
    content = bytearray(shard.read_bytes())
    begin = samples.places[4, 1]
    content[begin : begin + 50] = bytes(50)
    shard.write_bytes(content)
    with pytest.raises(SampleError, match=r"walk/frame\.4"):
        samples[4]
    assert samples[5].valid.any()
    shard.write_bytes(content[:-600])
    with pytest.raises(ValueError, match="bytes instead of"):
        ShardDataset(tmp_path)


def test_what_is_not_ready_is_refused(prepared: tuple[Path, Ramps], tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no prepared data"):
        ShardDataset(tmp_path)
    with pytest.raises(FileNotFoundError, match="no split 'test', but train, val"):
        ShardDataset(prepared[0], "test")
    manifest = json.loads((prepared[0] / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"finished": False}))
    with pytest.raises(ValueError, match="not fully prepared"):
        ShardDataset(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"format": "other 7"}))
    with pytest.raises(ValueError, match="other 7"):
        ShardDataset(tmp_path)


# What version 0.1.0 wrote into its manifest of each kind of data, and what it means today.
OLD = {
    "nyu": ({"source": "nyu"}, ["nyu_depth_v2"], "nyu-eigen", "in-filled", "research-only", False),
    "frames of nyu": ({"source": "rgbd"}, ["nyu_depth_v2"], "nyu-eigen", "in-filled", "research-only", False),
    "pairs": ({"source": "rgbd"}, ["own_recordings"], "whole-frame", "own mask", "unknown", False),
    "diode": ({"source": "diode"}, ["diode"], "diode", "at edges outdoors", "mit", True),
    "indoors": ({"source": "diode/indoors"}, ["diode"], "diode-indoors", "own mask", "mit", False),
    "outdoor": ({"source": "diode/outdoor"}, ["diode"], "diode-outdoor", "at edges outdoors", "mit", True),
    "all": ({"source": "diode/indoors", "edge_filter": True}, ["diode"], "diode-indoors", "at edges", "mit", True),
    "off": ({"source": "diode", "edge_filter": False}, ["diode"], "diode", "own mask", "mit", False),
}


@pytest.mark.parametrize("kind", OLD)
def test_shards_of_0_1_0_are_read(prepared: tuple[Path, Ramps], tmp_path: Path, kind: str):
    settings, origin, rule, mask, weights, has_hint = OLD[kind]
    for path in prepared[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    old = {name: manifest[name] for name in ("format", "finished", "splits", "samples", "problems")}
    old |= {
        "settings": {"size": [384, 512], "quality": 92, "edge_filter": None, "shard": 3} | settings,
        "origin": origin,
    }
    (tmp_path / MANIFEST).write_text(json.dumps(old))
    for split in ("train", "val"):
        samples = ShardDataset(tmp_path, split)
        assert samples.rule.name == rule and mask in samples.mask and ("edges" in samples.mask) == ("edges" in mask)
        assert [o.weights for o in samples.origins] == [weights] and samples[0].valid.any()
        assert bool(samples.hints) == (has_hint and split == "val")
        assert ("edge-filtered" in samples.describe()) == (has_hint and split == "val")
