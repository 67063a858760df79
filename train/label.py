"""`python -m train.label`: photos with the depth of a large model, as data to train a small one on.

For each photo it writes NAME.jpg and NAME_depth.png, which `rgbd:DIR` reads: depth in metres with the photo's camera
in the file, and no depth where the model disagrees with its own prediction for the mirrored photo. If the command is
interrupted, run it again: finished photos are kept.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from depth_unet import Camera, Prediction, __version__
from depth_unet.__main__ import find_photos, is_clip
from depth_unet.data.origin import ORIGIN_FILE, Origin, read_origin
from depth_unet.engines import add_model_options, open_metric
from depth_unet.files import UNIT_KEY, png_step, remove_unfinished, write_atomically, write_json, write_png
from depth_unet.folders import DEPTH_ENDING
from depth_unet.hub import forbids_commercial_use
from depth_unet.images import read_photo
from depth_unet.predictor import Predictor
from depth_unet.reading import read_json
from train.network import joined_on_cpu

LABELS_FILE = "labels.json"
QUALITY = 92  # of the JPEG files


class Label(NamedTuple):
    """A photo to label.

    Args:
        photo: its file.
        place: of the results, without endings.
    """

    photo: Path
    place: Path

    @property
    def picture(self) -> Path:
        """The photo as the model sees it."""
        return self.place.with_name(f"{self.place.name}.jpg")

    @property
    def depth(self) -> Path:
        """Its depth map, which is written last."""
        return self.place.with_name(f"{self.place.name}{DEPTH_ENDING}.png")

    @property
    def is_done(self) -> bool:
        """Both files are there."""
        return self.depth.is_file() and self.picture.is_file()


def find_labels(sources: list[Path], output: Path) -> list[Label]:
    """The photos below files and folders, each with its place in `output`.

    Hidden files, depth maps (NAME_depth) and clips are no photos.

    Raises:
        FileNotFoundError: no photos there.
    """
    missing = [source for source in sources if not source.exists()]
    if missing:
        raise FileNotFoundError(f"there is no {missing[0]}")
    found = [
        Label(photo, place)
        for photo, place in find_photos(sources, output)
        if not photo.stem.endswith(DEPTH_ENDING)
        and not is_clip(photo)
        and not any(part.startswith(".") for part in place.relative_to(output).parts)
    ]
    if not found:
        raise FileNotFoundError(f"no photos in {', '.join(map(str, sources))}")
    return found


def shrunk(photo: Path, longest: int) -> tuple[Image.Image, Camera | None]:
    """A photo with at most `longest` pixels along its longer side, and the camera of its EXIF data, if any.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    read = read_photo(photo)
    scale = min(1.0, longest / max(read.width, read.height))
    size = tuple(max(1, round(scale * side)) for side in (read.width, read.height))
    image = read.image if size == read.image.size else read.image.resize(size, Image.Resampling.LANCZOS)
    return image, None if read.focal_35mm is None else Camera.from_focal_35mm(*size, read.focal_35mm)


def agreeing(depth: np.ndarray, mirrored: np.ndarray, disagreement: float) -> np.ndarray:
    """Where two predictions of one photo agree.

    Args:
        depth: (H, W) metres.
        mirrored: (H, W) metres, predicted for the mirrored photo.
        disagreement: largest difference, as a share of `depth`.

    Returns:
        (H, W) bool; False where `depth` is no depth.

    Example:
        >>> agreeing(np.array([[2.0, 2.0, 0.0]]), np.array([[0.0, 2.3, 2.1]]), 0.1)
        array([[ True, False, False]])
    """
    with np.errstate(invalid="ignore"):
        difference = np.abs(mirrored[:, ::-1] - depth)
        return np.isfinite(depth) & (depth > 0) & (difference <= disagreement * depth)


def label_batch(
    teacher: Predictor, pictures: list[Image.Image], cameras: list[Camera | None], disagreement: float
) -> list[Prediction]:
    """Predict pictures, with depth 0 where the teacher disagrees with itself."""
    predictions = teacher.predict_batch(pictures, cameras, len(pictures))
    flipped = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
    mirrored = teacher.predict_batch(flipped, [each.camera.flip() for each in predictions], len(pictures))
    return [
        Prediction(
            np.where(agreeing(first.depth, second.depth, disagreement), first.depth, np.float32(0)),
            first.camera,
            model=first.model,
            revision=first.revision,
            camera_from=first.camera_from,
            licence=first.licence,
            metres_follow_lens=first.metres_follow_lens,
        )
        for first, second in zip(predictions, mirrored, strict=True)
    ]


def write_label(label: Label, picture: Image.Image, prediction: Prediction) -> None:
    """Write the two files of a photo.

    Raises:
        ValueError: no pixel has a depth.
        OSError: a file cannot be written.
    """
    if not prediction.depth.any():
        raise ValueError("the teacher disagrees with itself everywhere")
    label.place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(label.picture, lambda file: picture.save(file, "JPEG", quality=QUALITY))
    about = prediction.about() | {"photo": label.photo.name, UNIT_KEY: png_step(prediction.depth)}
    write_png(label.depth, prediction.depth, about)


def label_photos(
    teacher: Predictor, labels: list[Label], size: int, disagreement: float, batch_size: int, bar: tqdm
) -> Iterator[tuple[str, str]]:
    """Label photos; yields the name of each that could not be labelled, with the reason."""
    for start in range(0, len(labels), batch_size):
        chosen: list[tuple[Label, Image.Image, Camera | None]] = []
        for label in labels[start : start + batch_size]:
            try:
                chosen.append((label, *shrunk(label.photo, size)))
            except (OSError, ValueError) as error:
                yield str(label.photo), str(error)
        if chosen:
            _, pictures, cameras = map(list, zip(*chosen, strict=True))
            for (label, picture, _), prediction in zip(
                chosen, label_batch(teacher, pictures, cameras, disagreement), strict=True
            ):
                try:
                    write_label(label, picture, prediction)
                except ValueError as error:
                    yield str(label.photo), str(error)
        bar.update(len(labels[start : start + batch_size]))


def origin_of(teacher: Predictor, options: dict[str, Any], photos: Origin | None) -> Origin:
    """Origin of the labels: the photos, the teacher and its licence."""
    at = f" at {teacher.revision}" if teacher.revision else ""
    chosen = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
    weights = "research-only" if forbids_commercial_use(teacher.licence) else "unknown"
    if photos is not None and photos.weights == "research-only":
        weights = photos.weights
    title = photos.title if photos else "photos of its publisher"
    return Origin(
        f"{title}, with depth predicted by {teacher.name}{at} ({chosen})",
        photos.url if photos else "",
        f"photos: {photos.terms if photos else 'none stated'}; licence of {teacher.name}: {teacher.licence}",
        weights,
    )


def check_same(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The labels.json of a folder, {} without one; refuses labels of another teacher or with other options.

    Raises:
        ValueError: `folder` has other labels, or its labels.json is damaged.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return {}
    try:
        before = read_json(path)
        different = [name for name in about if before[name] != about[name]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be used: {error!r}; choose another --output") from error
    if different:
        changes = ", ".join(f"{name} {before[name]!r}, not {about[name]!r}" for name in different)
        raise ValueError(f"{folder} holds labels of {changes}: choose another --output")
    return before


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train.label", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("photos", nargs="+", type=Path, help="image files, or folders of them")
    add_model_options(made, "--teacher", None)
    made.add_argument("--output", type=Path, required=True, help="folder for the pairs")
    made.add_argument("--size", type=int, default=640, help="most pixels along a picture's longer side")
    made.add_argument(
        "--disagreement",
        type=float,
        default=0.1,
        help="largest difference to the prediction for the mirrored photo, as a share of the depth",
    )
    made.add_argument("--batch-size", type=int, default=4, help="photos at once, per process")
    made.add_argument("--origin", type=Path, metavar="FILE", help="origin.json of the photos")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if photos could not be labelled, 2 if nothing could be done."""
    options = parser().parse_args(arguments)
    try:
        if options.size < 32 or options.batch_size < 1:
            raise ValueError(f"need --size from 32 and --batch-size from 1, not {options.size}, {options.batch_size}")
        if not 0 < options.disagreement < float("inf"):
            raise ValueError(f"--disagreement must be positive, not {options.disagreement}")
        labels = find_labels(options.photos, options.output)
        photos_origin = read_origin(options.origin) if options.origin else None
        state = PartialState(cpu=joined_on_cpu())
        device = str(state.device) if options.device == "auto" and state.num_processes > 1 else options.device
        teacher = open_metric(options.teacher, device, options.dtype)
        return _label(teacher, labels, options, photos_origin, state)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to continue.", file=sys.stderr)
        return 130


def _label(
    teacher: Predictor,
    labels: list[Label],
    options: argparse.Namespace,
    photos_origin: Origin | None,
    state: PartialState,
) -> int:
    chosen = {name: getattr(options, name) for name in ("size", "disagreement", "dtype")}
    about = {
        "sources": [str(source) for source in options.photos],
        "teacher": teacher.name,
        "revision": teacher.revision,
        "licence": teacher.licence,
        "sha256": teacher.sha256,
        "options": chosen,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    with _locked(options.output) if state.is_main_process else nullcontext():
        return _label_all(teacher, labels, options, origin_of(teacher, chosen, photos_origin), about, state)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder; the lock ends with the process."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(f"{folder} is used by another command: wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def _label_all(
    teacher: Predictor,
    labels: list[Label],
    options: argparse.Namespace,
    origin: Origin,
    about: dict[str, Any],
    state: PartialState,
) -> int:
    before = check_same(options.output, about)
    if state.is_main_process:
        for folder in {options.output, *(label.place.parent for label in labels)}:
            remove_unfinished(folder)
        write_json(options.output / ORIGIN_FILE, origin._asdict())
        # From the start, so that a run that is killed can only be continued with the same teacher.
        write_json(options.output / LABELS_FILE, {"version": __version__, **before, **about})
    state.wait_for_everyone()
    pending = [label for label in labels if not label.is_done]
    state.wait_for_everyone()  # every process has seen the same files
    mine = pending[state.process_index :: state.num_processes]
    began = time.perf_counter()
    with tqdm(total=len(mine), unit="photo", file=sys.stderr, disable=not state.is_main_process) as bar:
        failed = []
        for name, reason in label_photos(teacher, mine, options.size, options.disagreement, options.batch_size, bar):
            failed.append((name, reason))
            bar.write(f"failed: {name}: {reason}", file=sys.stderr)
    seconds = time.perf_counter() - began
    failed = gather_object(failed)
    if not state.is_main_process:
        return 0
    done = sum(label.is_done for label in labels)
    result = {"photos": len(labels), "labelled": done, "failed": [{"photo": n, "reason": r} for n, r in failed]}
    per_photo = 1000 * seconds / len(pending) if pending else before.get("seconds_per_1000_photos")
    result["seconds_per_1000_photos"] = per_photo
    write_json(options.output / LABELS_FILE, {"version": __version__, **about, **result})
    kept = f", {len(labels) - len(pending)} of them before" if len(pending) < len(labels) else ""
    print(
        f"{done} of {len(labels)} photos labelled{kept}, in {options.output}"
        + (f"; {len(failed)} failed" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
