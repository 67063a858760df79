"""A clip goes through: as many pictures, one range, less flicker, and nothing left when it is stopped."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from depth_unet import Camera, Prediction
from depth_unet.video import Step, VideoReport, depth_video, read_video, smooth, write_video

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
