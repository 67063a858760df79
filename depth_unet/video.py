"""Depth of a video: one colour range for all frames, with temporal smoothing against flicker. Uses PyAV."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

try:
    import av
except ImportError as error:
    raise ImportError(f'clips need {error.name}: pip install "depth_unet[video]"') from error

from depth_unet.colorize import colorize_depth, depth_range
from depth_unet.files import finished_or_absent
from depth_unet.images import MAX_PIXELS
from depth_unet.prediction import Prediction

STILL = 6.0  # grey levels of 255: a pixel that changes by less is regarded as still
CODECS = ("libx264", "mpeg4")  # the first plays in every browser, but some builds of PyAV lack it


class Frame(NamedTuple):
    """One frame of a video and its time in seconds."""

    image: Image.Image
    seconds: float


class Step(NamedTuple):
    """Progress in frames; `total` is an estimate until the last one."""

    done: int
    total: int


class VideoReport(NamedTuple):
    """Summary of a processed video.

    Args:
        frames: number of frames.
        near: metres of the first colour.
        far: metres of the last colour.
        flicker_before: mean `flicker` of the predicted depth.
        flicker_after: mean `flicker` of the smoothed depth.
    """

    frames: int
    near: float
    far: float
    flicker_before: float
    flicker_after: float


def read_video(path: str | os.PathLike, longest: int = 640, fps: float = 15.0, most: int = 900) -> Iterator[Frame]:
    """Read the frames of a video, upright.

    Args:
        path: any file that FFmpeg reads.
        longest: larger frames are reduced to this many pixels along their longer side.
        fps: maximum number of frames per second.
        most: maximum number of frames.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a video, damaged before its first frame, or too large.
    """
    path = Path(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path.name} has no pictures")
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise ValueError(
                    f"{path.name} has {stream.width}x{stream.height} pixels, at most {MAX_PIXELS:,} are read"
                )
            next_seconds, count = -math.inf, 0
            for frame in container.decode(stream):
                seconds = frame.time or 0.0
                if seconds < next_seconds - 1e-6:
                    continue
                next_seconds = max(next_seconds, seconds) + 1 / fps if count else seconds + 1 / fps
                image = frame.to_image()
                if frame.rotation % 360:
                    image = image.rotate(frame.rotation, expand=True)  # a phone held upright
                image.thumbnail((longest, longest))
                yield Frame(image, seconds)
                count += 1
                if count >= most:
                    return
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path.name}") from None
    except av.FFmpegError as error:
        # The error's text contains the whole path.
        raise ValueError(f"{path.name} is not a video that can be read ({error.strerror})") from error


def flicker(earlier: np.ndarray, later: np.ndarray, still: np.ndarray) -> float:
    """Change of depth where the image is still: mean |ln(later / earlier)| over `still` pixels.

    Args:
        earlier: (H, W) metres.
        later: (H, W) metres, of the next frame.
        still: (H, W) bool.

    Returns:
        Approximately the relative change, 0.01 for 1 %; NaN without still pixels.

    Example:
        >>> round(flicker(np.full((2, 2), 1.0), np.full((2, 2), 1.1), np.ones((2, 2), bool)), 3)
        0.095
    """
    return float(np.abs(np.log(later[still] / earlier[still])).mean()) if still.any() else math.nan


def smooth(earlier: np.ndarray, later: np.ndarray, change: np.ndarray, strength: float) -> np.ndarray:
    """Blend a depth map with the previous one where the image has hardly changed.

    ln(out) = w ln(earlier) + (1 - w) ln(later) with w = strength exp(-(change / STILL)^2): no smoothing, and so no
    trail, where something moves.

    Args:
        earlier: (H, W) metres, smoothed.
        later: (H, W) metres, as predicted.
        change: (H, W) absolute difference of the two frames in grey levels.
        strength: 0 for no smoothing, towards 1 for more.
    """
    weight = strength * np.exp(-np.square(change / STILL))
    return np.exp(weight * np.log(earlier) + (1 - weight) * np.log(later)).astype(np.float32)


def depth_video(
    predict: Callable[[Image.Image], Prediction],
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    strength: float = 0.8,
    cmap: str = "viridis",
    near: float | None = None,
    far: float | None = None,
    longest: int = 640,
    fps: float = 15.0,
    most: int = 900,
) -> Iterator[Step | VideoReport]:
    """Write the coloured depth of a video as an MP4, with one range of metres for all frames.

    A generator: the caller can show progress, or stop, which leaves no file.

    Args:
        predict: returns the depth of one frame, positive everywhere.
        source: the video, see `read_video`.
        target: .mp4 file to write.
        strength: of the smoothing, in [0, 1); 0 for none.
        cmap: colour map.
        near: metres of the first colour; by default the 2nd percentile of the whole video.
        far: metres of the last colour; by default the 98th percentile of the whole video.
        longest: see `read_video`.
        fps: see `read_video`; also the frame rate of the result.
        most: see `read_video`.

    Yields:
        A `Step` for each frame, and at the end a `VideoReport`.

    Raises:
        FileNotFoundError, ValueError: as `read_video`, or strength out of range.
        OSError: the file cannot be written.
    """
    if not 0 <= strength < 1:
        raise ValueError(f"the strength of smoothing must be in [0, 1), not {strength}")
    target, before, after, total = Path(target), [], [], _expected(Path(source), fps, most)
    # Depth is kept on the disk until the range of the whole video is known.
    with tempfile.TemporaryFile() as store:
        raw = smoothed = grey = None
        ranges = []
        for done, frame in enumerate(read_video(source, longest, fps, most), 1):
            depth = predict(frame.image).depth
            levels = np.asarray(frame.image.convert("L"), np.float32)
            if raw is None:
                smoothed = depth
            else:
                change = np.abs(levels - grey)
                still = change < STILL
                blended = smooth(smoothed, depth, change, strength)
                before.append(flicker(raw, depth, still))
                after.append(flicker(smoothed, blended, still))
                smoothed = blended
            raw, grey = depth, levels
            ranges.append(depth_range(smoothed))
            np.save(store, smoothed.astype(np.float16))
            yield Step(done, max(done, total))
        if raw is None:
            raise ValueError(f"{Path(source).name} has no pictures")
        near = float(np.percentile([low for low, _ in ranges], 10)) if near is None else near
        far = float(np.percentile([high for _, high in ranges], 90)) if far is None else far
        store.seek(0)
        maps = (np.load(store).astype(np.float32) for _ in ranges)
        write_video(target, (colorize_depth(depth, cmap, near, max(far, near + 0.01)) for depth in maps), fps)
    yield VideoReport(len(ranges), near, far, _mean(before), _mean(after))


def write_video(path: Path, pictures: Iterator[Image.Image], fps: float) -> None:
    """Write images of one size as an MP4 that browsers play."""
    codec = next(name for name in CODECS if name in av.codecs_available)
    with finished_or_absent(path) as place, av.open(str(place), "w", format="mp4") as container:
        stream = None
        for picture in pictures:
            width, height = (side - side % 2 or 2 for side in picture.size)  # H.264 needs even sides
            if stream is None:
                stream = container.add_stream(codec, rate=round(fps))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            frame = av.VideoFrame.from_image(picture.crop((0, 0, width, height)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _expected(path: Path, fps: float, most: int) -> int:
    try:
        with av.open(str(path)) as container:
            seconds = (container.duration or 0) / av.time_base
    except (av.FFmpegError, OSError):
        return 0  # read_video reports the error
    return min(most, max(1, round(seconds * fps)))


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
