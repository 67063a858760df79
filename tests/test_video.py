"""A clip goes through: as many pictures, one range, less flicker, and nothing left when it is stopped."""

import http.server
import itertools
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from depth_unet import Camera, Prediction
from depth_unet.folders import CLIP_SUFFIXES
from depth_unet.images import SUFFIXES
from depth_unet.video import (
    Step,
    VideoReport,
    _Clock,
    depth_video,
    read_video,
    smooth,
    write_video,
)

FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still room in which a white square walks to the right."""
    rng = np.random.default_rng(1)
    room = Image.fromarray(rng.integers(60, 160, (9, 12, 3), dtype=np.uint8)).resize((96, 72), Image.Resampling.BICUBIC)
    pictures = []
    for number in range(FRAMES):
        picture = room.copy()
        picture.paste("white", (5 * number, 20, 5 * number + 12, 32))
        pictures.append(picture)
    path = tmp_path_factory.mktemp("clip") / "walk.mp4"
    write_video(path, iter(pictures), 10)
    return path


def flickering(image: Image.Image, rng: np.random.Generator = np.random.default_rng(0)) -> Prediction:  # noqa: B008
    """2 m, the square 1 m, and a different 5 % too much or too little each time."""
    near = np.asarray(image.convert("L")) > 230
    depth = np.where(near, 1.0, 2.0) * np.exp(rng.normal(0, 0.05))
    return Prediction(depth.astype(np.float32), Camera.from_fov(*image.size, 60))


def test_a_clip_comes_back(clip: Path):
    frames = list(read_video(clip, fps=30))
    assert len(frames) == FRAMES and frames[0].image.size == (96, 72)
    assert np.diff([frame.seconds for frame in frames]) == pytest.approx(0.1, abs=1e-3)
    assert len(list(read_video(clip, fps=5))) == FRAMES // 2
    assert len(list(read_video(clip, fps=30, most=3))) == 3
    assert next(read_video(clip, longest=48)).image.size == (48, 36)


def test_smoothing_takes_flicker_and_leaves_motion(clip: Path, tmp_path: Path):
    reports = {}
    for strength in (0.0, 0.8):
        *steps, report = depth_video(flickering, clip, tmp_path / f"{strength}.mp4", strength=strength, fps=10)
        assert steps == [Step(number + 1, FRAMES) for number in range(FRAMES)]
        assert isinstance(report, VideoReport) and report.frames == FRAMES
        reports[strength] = report
    assert reports[0.0].flicker_after == pytest.approx(reports[0.0].flicker_before)
    assert reports[0.8].flicker_before > 0.02
    assert reports[0.8].flicker_after < reports[0.8].flicker_before / 3

    earlier, later = np.full((2, 2), 2.0), np.full((2, 2), 1.0)
    moved = smooth(earlier, later, np.array([[0.0, 200.0], [0.0, 200.0]]), 0.8)
    np.testing.assert_allclose(moved, [[2**0.8, 1.0]] * 2, rtol=1e-5)


def test_the_written_clip_has_one_range(clip: Path, tmp_path: Path):
    *_, report = depth_video(flickering, clip, tmp_path / "x.mp4", near=1.0, far=4.0, cmap="gray", fps=10)
    assert (report.near, report.far) == (1.0, 4.0)
    frames = list(read_video(tmp_path / "x.mp4"))
    assert len(frames) == FRAMES
    walls = [np.asarray(frame.image.convert("L"))[60:70, 2:90].mean() for frame in frames]
    assert np.mean(walls) == pytest.approx(85, abs=15) and np.std(walls) < 8


def test_stopped_in_between_leaves_nothing(clip: Path, tmp_path: Path):
    work = depth_video(flickering, clip, tmp_path / "x.mp4")
    next(work)
    work.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no video", None])
def test_what_is_no_video(content: bytes | None, photo: Path, tmp_path: Path):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=r"broken\.mp4") as refused:
        list(depth_video(flickering, path, tmp_path / "x.mp4"))
    assert str(tmp_path) not in str(refused.value)


def test_strength_must_make_sense(clip: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="strength"):
        next(depth_video(flickering, clip, tmp_path / "x.mp4", strength=1.0))


def test_sound_alone_has_no_pictures(tmp_path: Path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ValueError, match=r"sound\.wav has no pictures"):
        list(read_video(tmp_path / "sound.wav"))


def record(
    path: Path,
    times: Sequence[float],
    *,
    unit: Fraction = Fraction(1, 90_000),
    size: tuple[int, int] = (96, 72),
    codec: str = "libx264",
    format: str | None = None,
    options: dict[str, str] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
    noise: bool = False,
) -> Path:
    """A clip as a camera writes it, one picture at each time; the number of a picture is in its grey."""
    with av.open(str(path), "w", format=format) as container:
        usual = np.median(np.diff(times)) if len(times) > 1 else 1 / 25
        stream = container.add_stream(codec, rate=Fraction(1 / usual).limit_denominator(1001), options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = unit
        if codec == "libvpx":  # as browsers record
            stream.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", **stream.options}
        prepare(stream)
        for number, seconds in enumerate(times):
            pixels = np.full((size[1], size[0], 3), 40 + 150 * number // len(times), np.uint8)
            if noise:
                pixels += np.random.default_rng(number).integers(0, 60, pixels.shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = round(seconds / unit), unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def even(count: int, fps: float, start: float = 0.0) -> list[float]:
    return [start + number / fps for number in range(count)]


def greys(path: Path, **limits: float) -> list[float]:
    return [float(np.asarray(frame.image.convert("L")).mean()) for frame in read_video(path, **limits)]


def plain(image: Image.Image) -> Prediction:
    """2 m everywhere."""
    return Prediction(np.full(image.size[::-1], 2.0, np.float32), Camera.from_fov(*image.size, 60))


def length(path: Path) -> tuple[float, list[float]]:
    """Seconds that a player shows, and the times of the pictures."""
    with av.open(str(path)) as container:
        return container.duration / av.time_base, [frame.time for frame in container.decode(video=0)]


RATES = [10, 12.5, 15, 20, 24_000 / 1001, 24, 25, 30_000 / 1001, 30, 48, 50, 60_000 / 1001, 60, 120]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("limit", [15, 120])
def test_a_depth_clip_lasts_as_long_as_its_clip(rate: float, limit: float, tmp_path: Path):
    times = even(round(2.2 * rate), rate)
    source = record(tmp_path / "clip.mp4", times)
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=limit)
    shown, starts = length(tmp_path / "depth.mp4")
    assert shown == pytest.approx(length(source)[0], abs=1 / rate) == pytest.approx(len(times) / rate, abs=1 / rate)
    assert report.frames == len(starts) == pytest.approx(2.2 * min(rate, limit), abs=1)
    # Each picture is one of the source, at its own time.
    assert np.abs(np.subtract.outer(starts, times)).min(1).max() < 1e-4
    assert np.diff(starts).max() < 1 / min(rate, limit) + 1 / rate


# Clocks: the times of the pictures, the unit of the stamps, and the container.
UNEVEN = np.cumsum([0, 0.03, 0.2, 0.04, 0.04, 0.9, 0.02, 0.3, 0.033, 0.5]).tolist()
CLOCKS = {
    "variable": (UNEVEN, Fraction(1, 90_000), "mp4"),
    "milliseconds": ([round(t, 3) for t in even(66, 30)], Fraction(1, 1000), "mkv"),
    "milliseconds, variable": ([round(t, 3) for t in UNEVEN], Fraction(1, 1000), "mkv"),
    "a still picture for long": ([0.0, 0.1, 7.0, 7.1], Fraction(1, 1000), "mkv"),
    "starts late": (even(30, 15, start=5.0), Fraction(1, 15_360), "mp4"),
    "starts late, transport stream": (even(30, 15, start=100.0), Fraction(1, 90_000), "ts"),
    "two pictures": ([0.0, 0.5], Fraction(1, 1000), "mkv"),
    "one picture": ([0.0], Fraction(1, 1000), "mkv"),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_every_picture_has_its_own_time(clock: str, tmp_path: Path):
    times, unit, suffix = CLOCKS[clock]
    source = record(tmp_path / f"clip.{suffix}", times, unit=unit)
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=1000)
    _, starts = length(tmp_path / "depth.mp4")
    assert report.frames == len(times)
    np.testing.assert_allclose(starts, np.subtract(times, times[0]), atol=0.0015)


def test_browser_recordings(tmp_path: Path):
    """VP8 in WebM with stamps of milliseconds, uneven steps and, as it was streamed, no duration in the header."""
    rng = np.random.default_rng(0)
    times = np.round(np.cumsum(rng.uniform(0.016, 0.06, 80)), 3).tolist()
    source = record(tmp_path / "clip.webm", times, unit=Fraction(1, 1000), codec="libvpx")
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=30)
    shown, starts = length(tmp_path / "depth.mp4")
    assert shown == pytest.approx(times[-1] - times[0], abs=0.1)
    assert np.abs(np.subtract.outer(starts, np.subtract(times, times[0]))).min(1).max() < 0.001


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "flv"])
def test_pictures_that_are_stored_out_of_order(suffix: str, tmp_path: Path):
    source = record(tmp_path / f"clip.{suffix}", even(50, 25), unit=Fraction(1, 25), options={"bf": "3", "g": "20"})
    assert len(list(read_video(source, fps=100))) == pytest.approx(50, abs=1)
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=25)
    assert length(tmp_path / "depth.mp4")[0] == pytest.approx(2, abs=0.081)
    assert all(earlier < later for earlier, later in itertools.pairwise(greys(source)))


@pytest.mark.parametrize("most", [1, 2, 7, 20, 44, 45, 900])
def test_a_limit_of_frames_keeps_the_whole_length(most: int, tmp_path: Path):
    source = record(tmp_path / "clip.mp4", even(90, 30))
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=15, most=most)
    assert report.frames == min(most, 45)
    assert length(tmp_path / "depth.mp4")[0] == pytest.approx(3, abs=0.04)
    assert greys(source, most=most)[-1] > 189 - 150 / min(most, 45) - 4


@pytest.mark.parametrize(
    "codec, suffix",
    [("libx264", ".h264"), ("libx264", ".264"), ("libx265", ".hevc"), ("mjpeg", ".mjpeg"), ("mpeg4", ".m4v")],
)
@pytest.mark.parametrize("frames", [2, 3, 30])
def test_a_stream_without_container_keeps_its_frames(codec: str, suffix: str, frames: int, tmp_path: Path):
    format = {".264": "h264"}.get(suffix, suffix[1:])
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}

    def prepare(stream: Any) -> None:
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"

    source = record(
        tmp_path / f"clip{suffix}", even(frames, 25), unit=Fraction(1, 25), codec=codec, format=format, options=options,
        prepare=prepare,
    )  # fmt: skip
    assert len(greys(source, fps=1000)) == frames
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=1000)
    assert report.frames == frames
    assert length(tmp_path / "depth.mp4")[0] == pytest.approx(frames / 25, rel=0.3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "h264", "flv", "webm"])
@pytest.mark.parametrize("damage", ["zeros", "noise", "cut out"])
def test_a_damaged_stretch_costs_only_itself(suffix: str, damage: str, tmp_path: Path):
    codec = "libvpx" if suffix == "webm" else "libx264"
    options = {"g": "10"} if codec == "libvpx" else {"g": "10", "bf": "0"}
    unit = Fraction(1, 1000) if suffix == "webm" else Fraction(1, 25)
    path = tmp_path / f"clip.{suffix}"
    record(path, even(100, 25), unit=unit, codec=codec, options=options, noise=True)
    rng = np.random.default_rng(0)
    content = bytearray(path.read_bytes())
    start, end = int(0.45 * len(content)), int(0.5 * len(content))
    if damage == "cut out":
        if suffix in ("mp4", "avi"):
            pytest.skip("an index of the whole file would point to the wrong places")
        del content[start:end]
    else:
        content[start:end] = bytes(end - start) if damage == "zeros" else rng.bytes(end - start)
    path.write_bytes(content)
    frames = list(read_video(path, fps=1000))
    assert len(frames) >= 80
    *_, report = depth_video(plain, path, tmp_path / "depth.mp4", fps=25)
    assert report.frames >= 80
    assert length(tmp_path / "depth.mp4")[0] == pytest.approx(4, abs=0.7)


def test_damage_is_counted(tmp_path: Path):
    whole = record(tmp_path / "whole.mp4", even(60, 30), options={"g": "5", "bf": "0"}, size=(320, 240))
    *_, report = depth_video(plain, whole, tmp_path / "depth.mp4")
    assert report.damaged == 0
    with av.open(str(whole)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(whole.read_bytes())
    for position, size in packets[20:23]:
        content[position : position + size] = b"\xff" * size
    (tmp_path / "broken.mp4").write_bytes(content)
    *_, report = depth_video(plain, tmp_path / "broken.mp4", tmp_path / "depth.mp4", fps=30)
    assert 1 <= report.damaged <= 3 and report.frames >= 57


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi", "h264", "webm", "flv"])
def test_a_recording_that_was_cut_off(suffix: str, share: float, tmp_path: Path):
    codec = "libvpx" if suffix == "webm" else "libx264"
    path = record(tmp_path / f"clip.{suffix}", even(100, 25), unit=Fraction(1, 25), codec=codec, noise=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    *_, report = depth_video(plain, path, tmp_path / "depth.mp4", fps=25, most=100)
    assert report.frames > 60 * share


def test_a_clock_that_starts_again(tmp_path: Path):
    parts = [record(tmp_path / f"{n}.ts", even(25, 25), unit=Fraction(1, 25)).read_bytes() for n in range(3)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    frames = list(read_video(tmp_path / "joined.ts", fps=100))
    assert len(frames) == pytest.approx(75, abs=1)
    *_, report = depth_video(plain, tmp_path / "joined.ts", tmp_path / "depth.mp4", fps=25)
    assert report.frames == pytest.approx(75, abs=1)
    assert length(tmp_path / "depth.mp4")[0] == pytest.approx(3, abs=0.13)


def test_the_clock():
    unit = Fraction(1, 10)
    stamps = {
        "constant": [5, 6, 7, 8],
        "missing": [None, None, None, None],
        "missing at first": [None, 7, 8, 9],
        "missing in between": [0, None, 2, 3],
        "starts again": [100, 101, 0, 1],
        "starts again below zero": [0, 1, -90, -89],
        "jitter": [0, 1, 2, 3],
    }
    for what, values in stamps.items():
        clock = _Clock(0.1)
        assert [clock.seconds(value, unit) for value in values] == pytest.approx([0, 0.1, 0.2, 0.3]), what
    clock = _Clock(0.1)
    assert [clock.seconds(value, unit) for value in [0, 2, 1, 3]] == pytest.approx([0, 0.2, 0.2, 0.3])


def test_pictures_that_change_size(tmp_path: Path):
    sizes = [(96, 72), (192, 144), (144, 192), (96, 72)]
    parts = [record(tmp_path / f"{n}.ts", even(10, 10), unit=Fraction(1, 10), size=s) for n, s in enumerate(sizes)]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(read_video(tmp_path / "joined.ts", fps=100))
    assert [size for size, _ in itertools.groupby(frame.image.size for frame in frames)] == sizes
    *_, report = depth_video(plain, tmp_path / "joined.ts", tmp_path / "depth.mp4", cmap="gray", near=1, far=3)
    assert report.frames == pytest.approx(40, abs=3)
    written = list(read_video(tmp_path / "depth.mp4"))
    assert {frame.image.height for frame in written} == {144} or {frame.image.height for frame in written} == {192}


@pytest.mark.parametrize(
    "ratio, size, shown",
    [
        (Fraction(4, 3), (72, 72), (96, 72)),
        (Fraction(64, 45), (72, 58), (102, 58)),
        (Fraction(1, 2), (96, 72), (48, 72)),
        (Fraction(1, 1), (96, 72), (96, 72)),
        (Fraction(500, 1), (96, 72), (96, 72)),
    ],
)
def test_pixels_that_are_not_square(ratio: Fraction, size: tuple[int, int], shown: tuple[int, int], tmp_path: Path):
    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = ratio

    source = record(tmp_path / "clip.mkv", even(3, 10), unit=Fraction(1, 1000), size=size, prepare=prepare)
    assert {frame.image.size for frame in read_video(source)} == {shown}


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90])
def test_turned_and_mirrored_recordings_are_upright(degrees: int, flip: bool, tmp_path: Path):
    upright = np.zeros((80, 64, 3), np.uint8)
    upright[:40, :32], upright[:40, 32:], upright[40:, :32] = 250, 170, 90
    # What the sensor recorded: the display matrix turns it first and mirrors it then.
    stored = np.rot90(upright[:, ::-1] if flip else upright, -degrees // 90)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.height, stream.width = stored.shape[:2]
        stream.set_display_rotation(degrees, hflip=flip)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored))))
        container.mux(stream.encode(None))
    frame = next(read_video(tmp_path / "clip.mp4"))
    seen = np.asarray(frame.image).astype(int)
    assert seen.shape == upright.shape and np.abs(seen - upright).mean() < 8


def test_only_sound_or_a_cover(tmp_path: Path):
    for name, codec in (("sound.mp4", "aac"), ("sound.mkv", "aac"), ("sound.ts", "mp2"), ("sound.aac", "aac")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 20_000), np.int16), layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with pytest.raises(ValueError, match=f"{name} has no pictures"):
            list(read_video(tmp_path / name))


def test_a_clip_without_frames(tmp_path: Path):
    with av.open(str(tmp_path / "empty.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        container.start_encoding()
    with pytest.raises(ValueError, match=r"empty\.mp4"):
        list(depth_video(plain, tmp_path / "empty.mp4", tmp_path / "x.mp4"))
    assert not (tmp_path / "x.mp4").exists()


@pytest.fixture
def strangers() -> Iterator[tuple[str, list]]:
    """A server that nobody may ask, and what was asked."""
    asked: list[str] = []

    class Watch(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Watch)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()


M3U8 = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{0}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "m3u8": M3U8,
    "m3u8 of playlists": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{0}\n",
    "m3u8 with a map": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="{0}"\n#EXTINF:9,\n{0}\n#EXT-X-ENDLIST\n',
    "m3u8 with a key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXTINF:9,\n{0}\n',
    "ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "concat list": "file '{0}'\nfile '{0}'\n",
    "m3u": "#EXTM3U\n{0}\n",
    "pls": "[playlist]\nFile1={0}\nNumberOfEntries=1\n",
    "asx": '<asx version="3.0"><entry><ref href="{0}"/></entry></asx>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{0}\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{0}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>",
    "smooth": '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2"><StreamIndex Type="video" Url="{0}"/>'
    "</SmoothStreamingMedia>",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{0}"/></svg>',
    "avisynth": 'DirectShowSource("{0}")\n',
    "realmedia": "rtsptext\n{0}\n",
    "imf": '<?xml version="1.0"?><AssetMap><Path>{0}</Path></AssetMap>',
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n{0}\n",
    "reference": "[Reference]\r\nRef1={0}\r\n",
}
NAMES = [
    "list.m3u8",
    "clip.mp4",
    "clip.avi",
    "clip.webm",
    "clip.h264",
    "clip.ffconcat",
    "clip.sdp",
    "clip.m3u",
    "clip%03d.jpg",
    "clip.ts",
    "clip",
]


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_no_clip(kind: str, clip: Path, strangers: tuple[str, list], tmp_path: Path):
    url, asked = strangers
    (tmp_path / "secret.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "secret.ts").write_bytes(record(tmp_path / "made.ts", even(5, 5)).read_bytes())
    targets = [url + "a.ts", url + "list.m3u8", str(tmp_path / "secret.mp4"), "secret.ts", "secret.mp4"]
    targets += [
        (tmp_path / "secret.ts").as_uri(),
        f"concat:{tmp_path / 'secret.ts'}",
        f"subfile,,start,0,end,0,,:{tmp_path / 'secret.ts'}",
    ]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        targets += [str(tmp_path / "pipe"), "pipe"]
    began = time.monotonic()
    for target, name in itertools.product(targets, NAMES):
        (tmp_path / name).write_text(PLAYLISTS[kind].format(target))
        with pytest.raises(ValueError, match=re.escape(name)) as refused:
            list(depth_video(plain, tmp_path / name, tmp_path / "depth.mp4"))
        assert str(tmp_path) not in str(refused.value) and "\n" not in str(refused.value)
        (tmp_path / name).unlink()
    assert asked == [] and not (tmp_path / "depth.mp4").exists()
    assert time.monotonic() - began < 60


def test_names_that_ffmpeg_would_expand(clip: Path, strangers: tuple[str, list], tmp_path: Path, monkeypatch):
    url, asked = strangers
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        Image.new("RGB", (96, 72), "red").save(tmp_path / f"frame{number:03d}.jpg")
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    names = ["frame%03d.jpg", "frame*.jpg", "concat:a.mp4|a.mp4", "file:a.mp4", "async:a.mp4", url, f"{url}a.mp4"]
    names += [
        "pipe:0",
        "-",
        "tcp://127.0.0.1:1",
        "lavfi:testsrc",
        "testsrc",
        "/dev/video0",
        "subfile,,start,0,end,9,,:a.mp4",
        "a.mp4\0",
    ]
    for name in names:
        with pytest.raises((ValueError, FileNotFoundError)):
            list(depth_video(plain, name, tmp_path / "depth.mp4"))
    assert asked == []


def test_only_regular_files_are_opened(tmp_path: Path):
    (tmp_path / "folder.mp4").mkdir()
    places = [tmp_path / "folder.mp4"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        (tmp_path / "link.mp4").symlink_to(tmp_path / "pipe.mp4")
        places += [tmp_path / "pipe.mp4", tmp_path / "link.mp4", Path("/dev/zero")]
    began = time.monotonic()
    for place in places:
        with pytest.raises(ValueError, match="is not a regular file"):
            list(read_video(place))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "photo.jpg", "clip"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_photo_is_no_clip(kind: str, name: str, tmp_path: Path):
    Image.new("RGB", (96, 72), "red").save(tmp_path / name, kind)
    with pytest.raises(ValueError, match="not a video"):
        list(read_video(tmp_path / name))


def test_a_suffix_means_a_photo_or_a_clip():
    assert not set(CLIP_SUFFIXES) & set(SUFFIXES) and ".gif" in SUFFIXES


def test_containers_that_people_have(tmp_path: Path):
    kinds = {
        "mp4": "libx264",
        "mov": "libx264",
        "mkv": "libx264",
        "webm": "libvpx-vp9",
        "avi": "mpeg4",
        "ts": "libx264",
        "flv": "flv",
        "mpg": "mpeg2video",
        "3gp": "libx264",
        "wmv": "mpeg4",
        "m2ts": "libx264",
        "m4v": "mpeg4",
    }
    for suffix, codec in kinds.items():
        assert f".{suffix}" in CLIP_SUFFIXES
        path = record(
            tmp_path / f"clip.{suffix}",
            even(10, 25),
            unit=Fraction(1, 25),
            codec=codec,
            format={"wmv": "asf", "m2ts": "mpegts", "mpg": "mpeg", "m4v": "mp4"}.get(suffix),
        )
        assert len(greys(path, fps=100)) == pytest.approx(10, abs=1), suffix
        hidden = path.rename(tmp_path / "upload")  # the content decides
        assert len(greys(hidden, fps=100)) == pytest.approx(10, abs=1), suffix
    frames = [Image.new("RGB", (96, 72), (20 * n, 0, 0)) for n in range(5)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=200)
    *_, report = depth_video(plain, tmp_path / "moving.gif", tmp_path / "depth.mp4")
    assert report.frames == 5 and length(tmp_path / "depth.mp4")[0] == pytest.approx(1, abs=0.2)


WRONG = [
    {"strength": 1.0}, {"strength": -0.1}, {"strength": math.nan}, {"cmap": "nosuch"}, {"cmap": ""}, {"near": -1.0},
    {"near": math.nan}, {"far": math.inf}, {"near": 3.0, "far": 2.0}, {"fps": 0.0}, {"fps": math.nan}, {"fps": -15.0},
    {"most": 0}, {"most": -1}, {"longest": 0}, {"longest": -5},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_values_that_make_no_sense_are_refused_before_the_first_frame(wrong: dict, clip: Path, tmp_path: Path):
    def predict(image: Image.Image) -> Prediction:
        pytest.fail("predicted")

    with pytest.raises(ValueError):
        list(depth_video(predict, clip, tmp_path / "x.mp4", **wrong))


def test_it_can_be_stopped_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While packets are counted, frames left out, and pictures written."""
    monkeypatch.setattr("depth_unet.video.RESPONSE", -1.0)  # an answer at every chance
    source = record(tmp_path / "clip.mp4", even(800, 100), options={"preset": "ultrafast"})
    steps = [step.done for step in depth_video(plain, source, tmp_path / "depth.mp4", most=40) if type(step) is Step]
    assert steps == sorted(steps) and set(steps) == set(range(41))
    assert steps.count(0) > 1 and steps.count(40) > 2 and sum(steps.count(done) > 1 for done in range(1, 40)) > 10
    work = depth_video(plain, source, tmp_path / "again.mp4", most=40)
    for step in itertools.islice((step for step in work if step.done == 40), 3):  # while it writes
        assert step == Step(40, 40)
    work.close()
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "depth.mp4"}


def test_the_other_encoder_keeps_the_times_too(clip: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("depth_unet.video.CODECS", ("mpeg4",))
    source = record(tmp_path / "clip.mkv", [0, 0.04, 0.3, 0.301, 2.5], unit=Fraction(1, 1000))
    *_, report = depth_video(plain, source, tmp_path / "depth.mp4", fps=1000)
    np.testing.assert_allclose(length(tmp_path / "depth.mp4")[1], [0, 0.04, 0.3, 0.301, 2.5], atol=0.001)


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_uncertainty_is_smoothed_with_the_depth(strength: float, clip: Path, tmp_path: Path):
    levels = iter([0.1, 0.4] * FRAMES)

    def unsure(image: Image.Image) -> Prediction:
        flat = np.full((image.height, image.width), 2.0, np.float32)
        camera = Camera.from_fov(image.width, image.height, 60)
        return Prediction(flat, camera, uncertainty=np.full_like(flat, next(levels)))

    *_, report = depth_video(unsure, clip, tmp_path / "x.mp4", strength=strength, fps=10)
    if strength:
        assert 0.1 < report.uncertainty < 0.24, "smoothed in the logarithm, most of it stays near the geometric mean"
    else:
        assert report.uncertainty == pytest.approx(0.25, abs=0.02)
    *_, without = depth_video(flickering, clip, tmp_path / "y.mp4", fps=10)
    assert without.uncertainty is None
