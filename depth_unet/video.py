"""Depth of a video: one colour range for all frames, with temporal smoothing against flicker. Uses PyAV."""

import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

try:
    import av
except ImportError as error:
    raise ImportError(f'clips need {error.name}: pip install "depth_unet[video]"') from error

from depth_unet.colorize import colorize_depth, depth_range
from depth_unet.files import finished_or_absent
from depth_unet.images import MAX_PIXELS
from depth_unet.prediction import Prediction

# FFmpeg chooses the container by the file's content. Those not listed here can name other files, devices or servers
# (playlists, picture sequences, session descriptions, scripts), which it would open.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "ogg", "flv", "asf", "mxf", "nut",
    "gif", "apng", "dv", "h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "ivf", "m4v", "mjpeg", "yuv4mpegpipe",
    "wav", "mp3", "aac", "flac", "aiff", "amr",
)  # fmt: skip
OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
STILL = 6.0  # grey levels of 255: a pixel that changes by less is regarded as still
CODECS = ("libx264", "mpeg4")  # the first plays in every browser, but some builds of PyAV lack it
CLOCK = 60_000  # ticks a second of what is written: whole numbers at all usual frame rates and for milliseconds
RESPONSE = 0.5  # seconds after which a generator yields even without a new frame, so that it can be stopped
MOST_ERRORS = 100  # in a row, after which the rest of a file is given up
USUAL_RATE = 25.0  # frames per second where the file does not say


class Frame(NamedTuple):
    """One frame of a video.

    Args:
        image: upright RGB.
        seconds: time since the first frame.
        duration: seconds until the next frame, or until the end.
    """

    image: Image.Image
    seconds: float
    duration: float


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
        damaged: number of damaged places that were skipped.
        uncertainty: mean of the smoothed `Prediction.uncertainty`; None if the model predicts none.
    """

    frames: int
    near: float
    far: float
    flicker_before: float
    flicker_after: float
    damaged: int = 0
    uncertainty: float | None = None


def read_video(path: str | os.PathLike, longest: int = 640, fps: float = 15.0, most: int = 900) -> Iterator[Frame]:
    """Read the frames of a video, upright, with square pixels and at their own times.

    Frames are left out at regular intervals, over the whole length, until both limits hold. Damaged places are
    skipped. Where the file's clock starts again, time goes on.

    Args:
        path: a regular file in one of `CONTAINERS`.
        longest: larger frames are reduced to this many pixels along their longer side.
        fps: maximum number of frames per second.
        most: maximum number of frames.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a video, without a frame that can be decoded, too large, or a limit that is not positive.
    """
    return (frame for frame in _Reader(Path(path), longest, fps, most) if frame)


class _Reader:
    """Iterate over the frames of a file; None comes every `RESPONSE` seconds in which no frame is ready.

    Args:
        path, longest, fps, most: see `read_video`.

    Attributes:
        total: expected number of frames.
        damaged: number of damaged places so far.
    """

    def __init__(self, path: Path, longest: int, fps: float, most: int) -> None:
        for name, value in (("longest", longest), ("fps", fps), ("most", most)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, not {value}")
        self.path, self.longest, self.fps, self.most = path, longest, fps, most
        self.total = self.damaged = 0

    def __iter__(self) -> Iterator[Frame | None]:
        asked = time.monotonic()
        for frame in self._frames():
            if frame or time.monotonic() > asked + RESPONSE:
                yield frame
                asked = time.monotonic()

    def _frames(self) -> Iterator[Frame | None]:
        """The frames, and None at each packet or frame before the next one."""
        count, seconds = 0, 0.0
        with self._opened() as (container, stream):
            step = 1 / _rate(stream)
            clock = _Clock(step)
            # Headers can be wrong or absent: count the packets, which takes far less time than decoding.
            for packet in self._packets(container, stream):
                if packet.size:
                    count, seconds = count + 1, clock.seconds(packet.dts, packet.time_base)
                yield None
        self.damaged = 0
        step = seconds / (count - 1) if count > 1 and seconds else step
        spacing = max(1 / self.fps, count * step / self.most)
        self.total = max(1, min(count, self.most, round(count * step / spacing)))
        yield from self._thinned(step, spacing)

    def _thinned(self, step: float, spacing: float) -> Iterator[Frame | None]:
        """Those nearest to a grid of times, each as soon as its duration is known."""
        kept, count, due, end = None, 0, 0.0, 0.0
        with self._opened() as (container, stream):
            clock = _Clock(step)
            for frame in self._decoded(container, stream):
                yield None
                if frame is None:
                    continue
                # AVI numbers pictures as they are stored, which is not the order in which they are shown.
                stamp = frame.dts if container.format.name == "avi" else frame.pts
                seconds = clock.seconds(stamp, frame.time_base)
                end = max(end, seconds + (float(frame.duration * frame.time_base) if frame.duration else step))
                if seconds < due - step / 2 or count == self.most:
                    continue
                due += spacing * (1 + max(0, math.floor((seconds + step / 2 - due) / spacing)))
                if kept:
                    yield kept._replace(duration=seconds - kept.seconds)
                kept, count = Frame(self._picture(frame, stream), seconds, 0.0), count + 1
        if kept is None:
            raise ValueError(f"{self.path.name} has no pictures that can be decoded")
        yield kept._replace(duration=end - kept.seconds)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        name = self.path.name
        if not self.path.exists():
            raise FileNotFoundError(f"there is no file {name}")
        if not self.path.is_file():  # reading a pipe or a device could wait for ever
            raise ValueError(f"{name} is not a regular file")
        try:
            with av.open(str(self.path.resolve()), options=OPTIONS, metadata_errors="replace") as container:
                streams = [stream for stream in container.streams.video if not _is_cover(stream)]
                if not streams or streams[0].codec_context is None:
                    raise ValueError(f"{name} has no pictures" + (" of a known codec" if streams else ""))
                self._check_size(streams[0].width, streams[0].height)
                yield container, streams[0]
        except av.FFmpegError as error:
            # The error's text contains the whole path.
            raise ValueError(
                f"{name} is not a video that can be read ({error.strerror}); MP4, MOV, MKV, WebM, AVI and MPEG are read"
            ) from error

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """The packets of a file, also of those after a damaged place."""
        errors, packets = 0, container.demux(stream)
        while errors < MOST_ERRORS:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                errors, packets = errors + 1, container.demux(stream)
                self.damaged += 1
                continue
            if packet is None:
                return
            errors = 0
            yield packet

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """The frames of a file; None for a packet without one."""
        for packet in self._packets(container, stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                frames = []
            yield from frames or [None]

    def _picture(self, frame: Any, stream: Any) -> Image.Image:
        """Upright, with square pixels, at most `longest` pixels long."""
        self._check_size(frame.width, frame.height)
        ratio = float(stream.sample_aspect_ratio or 1)
        width, height = frame.width * (ratio if 1 / 8 <= ratio <= 8 else 1), frame.height
        scale = min(1, self.longest / max(width, height))
        width, height = (max(1, round(side * scale)) for side in (width, height))
        image = frame.reformat(width, height, "rgb24", interpolation="AREA").to_image()
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3).astype(float)
                across, down = matrix[0, 0], matrix[1, 1]
                if abs(matrix[0, 1]) > abs(across):
                    image = image.transpose(Image.Transpose.TRANSPOSE)
                    across, down = matrix[1, 0], matrix[0, 1]
                image = ImageOps.mirror(image) if across < 0 else image
                image = ImageOps.flip(image) if down < 0 else image
        return image

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise ValueError(f"{self.path.name} has {width}x{height} pixels, at most {MAX_PIXELS:,} are read")


class _Clock:
    """Time since the first stamp of a stream, never backwards.

    Args:
        step: seconds between two frames where a stamp is missing or the clock starts again.
    """

    def __init__(self, step: float) -> None:
        self.step, self.now, self.shift = step, None, None

    def seconds(self, stamp: int | None, unit: Fraction | None) -> float:
        """The time of a frame with this stamp in units of seconds."""
        following = 0.0 if self.now is None else self.now + self.step
        if stamp is None or unit is None:
            self.now = following
        else:
            raw = float(stamp * unit)
            # A few frames out of order are no new clock.
            if self.shift is None or raw + self.shift < self.now - 2.5 * self.step:
                self.shift = following - raw
            self.now = max(self.now or 0.0, raw + self.shift)
        return self.now


def _is_cover(stream: Any) -> bool:
    """A picture that is attached to sound."""
    return bool(stream.disposition & stream.disposition.__class__.attached_pic)


def _rate(stream: Any) -> float:
    """Frames per second, as the header says or as usual."""
    known = stream.guessed_rate or stream.average_rate
    return float(known) if known and 1 <= known <= 240 else USUAL_RATE


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
    """Blend a depth map, or its uncertainty, with the previous one where the image has hardly changed.

    ln(out) = w ln(earlier) + (1 - w) ln(later) with w = strength exp(-(change / STILL)^2): no smoothing, and so no
    trail, where something moves.

    Args:
        earlier: (H, W) positive, smoothed.
        later: (H, W) positive, as predicted.
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

    It lasts as long as the source: each picture has its own time. A generator: the caller can show progress, or stop,
    which leaves no file.

    Args:
        predict: returns the depth of one frame, positive everywhere.
        source: the video, see `read_video`.
        target: file to write, in the format MP4.
        strength: of the smoothing, in [0, 1); 0 for none.
        cmap: colour map.
        near: metres of the first colour; by default the 2nd percentile of the whole video.
        far: metres of the last colour; by default the 98th percentile of the whole video.
        longest: see `read_video`.
        fps: see `read_video`.
        most: see `read_video`.

    Yields:
        A `Step` for each frame, the same again after half a second without a new one, and at the end a `VideoReport`.

    Raises:
        FileNotFoundError, ValueError: as `read_video`, or strength, colours or metres that make no sense.
        OSError: the file cannot be written.
    """
    if not 0 <= strength < 1:
        raise ValueError(f"the strength of smoothing must be in [0, 1), not {strength}")
    if not all(limit is None or (math.isfinite(limit) and limit >= 0) for limit in (near, far)):
        raise ValueError(f"near and far must be metres of at least 0, not {near} and {far}")
    colorize_depth(np.ones((1, 1)), cmap, near, far)  # refuses other wrong colours and metres
    reader, before, after, times = _Reader(Path(source), longest, fps, most), [], [], []
    # Depth is kept on the disk until the range of the whole video is known.
    with tempfile.TemporaryFile() as store:
        raw = smoothed = doubt = grey = None
        ranges, shapes, doubts = [], [], []
        for frame in reader:
            if frame is None:
                yield Step(len(times), max(len(times), reader.total))
                continue
            prediction = predict(frame.image)
            depth = prediction.depth
            levels = np.asarray(frame.image.convert("L"), np.float32)
            if raw is None or raw.shape != depth.shape:  # the pictures of some recordings change their size
                smoothed, doubt = depth, prediction.uncertainty
            else:
                change = np.abs(levels - grey)
                still = change < STILL
                blended = smooth(smoothed, depth, change, strength)
                before.append(flicker(raw, depth, still))
                after.append(flicker(smoothed, blended, still))
                smoothed = blended
                if doubt is not None:
                    doubt = smooth(doubt, prediction.uncertainty, change, strength)
            if doubt is not None:
                doubts.append(float(doubt.mean()))
            raw, grey = depth, levels
            ranges.append(depth_range(smoothed))
            times.append((frame.seconds, frame.duration))
            shapes.append(depth.shape)
            np.save(store, smoothed.astype(np.float16))
            yield Step(len(times), max(len(times), reader.total))
        near = float(np.percentile([low for low, _ in ranges], 10)) if near is None else near
        far = float(np.percentile([high for _, high in ranges], 90)) if far is None else far
        far = max(far, near + 0.01)
        size = colorize_depth(np.ones(max(shapes, key=math.prod)), cmap, near, far).size
        store.seek(0)
        maps = (np.load(store).astype(np.float32) for _ in times)
        coloured = (colorize_depth(depth, cmap, near, far) for depth in maps)
        frames = (Frame(picture, *when) for picture, when in zip(coloured, times, strict=True))
        asked = time.monotonic()
        for _ in _written(Path(target), frames, size, len(times) / sum(times[-1])):
            if time.monotonic() > asked + RESPONSE:
                yield Step(len(times), len(times))
                asked = time.monotonic()
    doubt = _mean(doubts) if doubts else None
    yield VideoReport(len(times), near, far, _mean(before), _mean(after), reader.damaged, doubt)


def write_video(path: Path, pictures: Iterable[Image.Image], fps: float) -> None:
    """Write images at a constant rate as an MP4 that browsers play; they are fitted into the size of the first."""
    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        raise ValueError("a video needs at least one picture")
    frames = (Frame(picture, n / fps, 1 / fps) for n, picture in enumerate(itertools.chain([first], pictures)))
    for _ in _written(path, frames, first.size, fps):
        pass


def _written(path: Path, frames: Iterable[Frame], size: tuple[int, int], fps: float) -> Iterator[None]:
    """Write frames at their own times; yields after each.

    Args:
        path: file to write.
        frames: in the order of time.
        size: (width, height); pictures of another shape get black bars.
        fps: average rate, a hint for the encoder.
    """
    codec = next(name for name in CODECS if name in av.codecs_available)
    width, height = (side - side % 2 or 2 for side in size)  # H.264 needs even sides
    durations = {}
    with finished_or_absent(path) as place, av.open(str(place), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000) or 1)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.codec_context.max_b_frames = 0

        def mux(packets: list[Any]) -> None:
            for packet in packets:
                packet.duration = durations.pop(packet.pts)  # the last one has no next frame to end it
                container.mux(packet)

        ticks = -1
        for picture, seconds, duration in frames:
            if picture.size == size:
                picture = picture.crop((0, 0, width, height))
            else:
                picture = ImageOps.pad(picture, (width, height))
            frame = av.VideoFrame.from_image(picture)
            ticks = max(round(seconds * CLOCK), ticks + 1)
            frame.pts, frame.time_base = ticks, Fraction(1, CLOCK)
            durations[ticks] = max(1, round(duration * CLOCK))
            mux(stream.encode(frame))
            yield
        mux(stream.encode(None))


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
