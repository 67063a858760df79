"""Prepared data: how exact they are, and how they are read."""

import gc
import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from depth_unet import Camera, DepthSample
from depth_unet.data.sample import SampleError
from depth_unet.data.shards import MANIFEST, ShardDataset, decode_depth, decode_sample, encode_depth, encode_sample
from train.prepare import Settings, prepare


class Ramps(torch.utils.data.Dataset):
    """Smooth pictures with depths from 0.3 to 300 metres and a hole."""

    def __init__(self, folder: Path, count: int = 7) -> None:
        self.path, self.count = folder / "source", count
        self.path.write_text("")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> DepthSample:
        rng = torch.Generator().manual_seed(index)
        image = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8, generator=rng), (48, 64), mode="bicubic")[0]
        image = (image.clamp(0, 1) * 255).round() / 255
        depth = torch.logspace(np.log10(0.3), np.log10(300), 48 * 64).reshape(1, 48, 64).roll(index, -1)
        valid = torch.ones(1, 48, 64, dtype=torch.bool)
        valid[:, 10:20, 5 + index : 30] = False
        camera = Camera(64, 48, 55.5 + index, 57.25, 31.0, 24.0)
        return DepthSample.checked(image, depth, valid, camera, f"walk/frame.{index}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ramps]:
    folder = tmp_path_factory.mktemp("prepared")
    source = Ramps(folder)
    assert prepare({"train": source, "val": Ramps(folder, 2)}, Settings("ramps", shard=3), folder / "out") == []
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
    sample = Ramps.__getitem__(None, 3)
    again = decode_sample(*encode_sample(sample).values())
    assert (again.key, again.camera) == (sample.key, sample.camera)
    assert torch.equal(again.valid, sample.valid)
    torch.testing.assert_close(again.depth, sample.depth, rtol=3e-4, atol=0)
    assert (again.image - sample.image).abs().mean() < 2 / 255  # what the JPEG costs, in strong colours
    assert [(a.dtype, a.shape) for a in again[:3]] == [(a.dtype, a.shape) for a in sample[:3]]


def test_random_access_in_the_sources_order(prepared: tuple[Path, Ramps]):
    folder, source = prepared
    samples = ShardDataset(folder)
    assert samples.splits == ["train", "val"] and len(samples.shards) == 3 and len(samples) == len(source)
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


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves ranges of files, as hubs do, and counts what it sends."""

    sent: list[int] = []

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        self.send_response(206 if "Range" in self.headers else 200)
        if "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            total, content = len(content), content[int(first) : int(last) + 1]
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.sent.append(len(content))  # before the client can know
        self.wfile.write(content)


@pytest.fixture
def served(prepared: tuple[Path, Ramps]) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    _Ranges.sent.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=prepared[0])) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_remote_sample_is_one_small_request(prepared: tuple[Path, Ramps], served: str):
    there, here = ShardDataset(served), ShardDataset(prepared[0])
    before = len(_Ranges.sent)
    assert torch.equal(there[5].depth, here[5].depth)
    assert len(_Ranges.sent) == before + 1
    assert _Ranges.sent[-1] < (prepared[0] / here.shards[1]).stat().st_size / 2


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
