"""`python -m depth_unet photo.jpg folder/ --output out/`: write the depth maps of photos and clips."""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from depth_unet.camera import Camera
from depth_unet.colorize import checked_cmap
from depth_unet.engines import add_model_options, find_device, open_metric
from depth_unet.files import write_json, written_about
from depth_unet.folders import CLIP_SUFFIXES, Place, search
from depth_unet.images import SUFFIXES
from depth_unet.prediction import SOLID_SUFFIXES, Prediction
from depth_unet.predictor import Predictor

FORMATS = ("png", "color", "uncertainty", "npy", "npz", "json", *(suffix[1:] for suffix in SOLID_SUFFIXES))
MOST_WORKERS = 8  # each holds a photo and its depth map in memory
GPU_BATCH = 8


class Outcome(NamedTuple):
    """What became of a photo or clip.

    Args:
        source: the file.
        error: one sentence; empty if all went well.
        note: what its files cannot hold, or empty.
        existed: its files were there already.
    """

    source: Path
    error: str = ""
    note: str = ""
    existed: bool = False

    def describe(self) -> str:
        """A line for the user; empty if there is nothing to say."""
        text, kind = (self.error, "failed") if self.error else (self.note, "note")
        return printable(f"{kind}: {self.source}: {text}") if text else ""


def find_photos(sources: list[Path], output: Path) -> Iterator[Place]:
    """Each photo with the path of its results below `output`, without endings; see `folders.search`."""
    return iter(search(sources, output).places)


def is_clip(path: Path) -> bool:
    """Whether a file is processed as a clip."""
    return path.suffix.lower() in CLIP_SUFFIXES


def result_files(place: Place, options: argparse.Namespace) -> dict[str, Path]:
    """The files to write for a photo or clip, by format."""
    if options.single:
        kind = options.output.suffix[1:].lower()
        files = {"color" if kind == "png" and options.formats == ["color"] else kind: options.output}
    elif is_clip(place.source):
        files = {"mp4": place.result.with_name(f"{place.result.name}_depth.mp4")}
    else:
        named = {kind: f"_{kind}.png" for kind in ("color", "uncertainty")}
        endings = {kind: named.get(kind, f"_depth.{kind}") for kind in options.formats}
        files = {kind: place.result.with_name(place.result.name + ending) for kind, ending in endings.items()}
    if "npy" in files or "mp4" in files:  # which cannot hold the mark that this command looks for
        files = {"json": next(iter(files.values())).with_suffix(".json"), **files}
    return files


def process(model: Predictor, places: Sequence[Place], options: argparse.Namespace) -> list[Outcome]:
    """Predict photos and clips together, and write their files; a failed one costs the others nothing.

    Args:
        model: predicts.
        places: where from and where to; folders are created.
        options: of the command line, after `check`.
    """
    outcomes: dict[Place, Outcome] = {}
    waiting: list[Place] = []
    for place in places:
        try:
            if not _exists(place, result_files(place, options), options):
                waiting.append(place)
            else:
                outcomes[place] = Outcome(place.source, existed=True)
        except Exception as error:  # whatever a file causes must not end the folder
            outcomes[place] = Outcome(place.source, _sentence(error))
    photos = [place for place in waiting if not is_clip(place.source)]
    for place, prediction in zip(photos, _predict(model, [place.source for place in photos]), strict=True):
        outcomes[place] = _attempt(place, lambda place, found=prediction: _write(place, found, options))
    for place in waiting:
        if is_clip(place.source):
            outcomes[place] = _attempt(place, lambda place: _write_clip(place, model, options))
    return [outcomes[place] for place in places]


def _exists(place: Place, files: dict[str, Path], options: argparse.Namespace) -> bool:
    """Whether there is nothing to do.

    Raises:
        FileNotFoundError, ValueError: the source is no file.
        FileExistsError: a file of somebody else has the name of a result.
    """
    if not place.source.is_file():  # a named pipe would block
        if os.path.lexists(place.source):
            raise ValueError(f"{place.source.name} is not a file with a photo")
        raise FileNotFoundError(f"there is no file {place.source.name}")
    existing = [path for path in files.values() if os.path.lexists(path)]
    about = [written_about(path) for path in existing]
    for path, known in zip(existing, about, strict=True):
        if known is None or known.get("calibration", 1) != 1:
            raise FileExistsError(
                f"{path} was not written by this command and is kept: move it away, or choose another --output"
            )
    own = all(known.get("photo", place.source.name) == place.source.name for known in about)
    return options.skip_existing and own and len(existing) == len(files)


def _predict(model: Predictor, photos: list[Path]) -> list[Prediction | Exception]:
    if not photos:
        return []
    try:
        return model.predict_batch(photos, batch_size=len(photos))
    except Exception as error:  # decoders raise errors of any class
        return [error] if len(photos) == 1 else [found for photo in photos for found in _predict(model, [photo])]


def _attempt(place: Place, write: Any) -> Outcome:
    try:
        return Outcome(place.source, note=write(place))
    except Exception as error:  # whatever a file causes must not end the folder
        return Outcome(place.source, _sentence(error))


def _write(place: Place, prediction: Prediction | Exception, options: argparse.Namespace) -> str:
    """Write the files of a photo; what they cannot hold."""
    if isinstance(prediction, Exception):
        raise prediction
    if options.fov is not None:
        height, width = prediction.depth.shape
        prediction = prediction.with_camera(Camera.from_fov(width, height, options.fov))
    note = ""
    for kind, path in result_files(place, options).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "color":
            prediction.save_colors(path, options.cmap, options.near, options.far)
        elif kind == "uncertainty":
            prediction.save_uncertainty(path)
        else:
            note = note or prediction.lost(path.suffix) or ""
            prediction.save(path, **_solid_options(options), warn=False)
    return note


def _write_clip(place: Place, model: Predictor, options: argparse.Namespace) -> str:
    from depth_unet.video import VideoReport, depth_video  # only here: an optional package

    def predict(image: Any) -> Prediction:
        camera = None if options.fov is None else Camera.from_fov(image.width, image.height, options.fov)
        return model.predict(image, camera)

    files = result_files(place, options)
    files["mp4"].parent.mkdir(parents=True, exist_ok=True)
    clip = {"cmap": options.cmap, "near": options.near, "far": options.far}
    with tqdm(desc=printable(place.source.name), unit="frame", file=sys.stderr, leave=False) as bar:
        for step in depth_video(predict, place.source, files["mp4"], **clip):
            if isinstance(step, VideoReport):
                about = {"unit": "metre", "photo": place.source.name, "model": model.name}
                about |= {"revision": model.revision, "licence": model.licence}
                write_json(files["json"], {**about, **step._asdict()})
            else:
                bar.total = step.total
                bar.update()
    return ""


def _solid_options(options: argparse.Namespace) -> dict[str, Any]:
    names = ("longest", "near", "far", "size_mm", "relief_mm", "base_mm", "smoothing_mm", "max_uncertainty")
    return {name: getattr(options, name) for name in names}


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def printable(text: object) -> str:
    """Text in one line that any terminal can show."""
    encoding = sys.stdout.encoding or "ascii"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return text.encode(encoding, "backslashreplace").decode(encoding)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m depth_unet",
        description="Metric depth of photos and clips: NAME_depth.png (16-bit, millimetres) and NAME_color.png for "
        "each photo, NAME_depth.mp4 for each clip.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("photos", nargs="+", type=_path, help="image files, folders of them, or clips")
    made.add_argument("--output", type=_path, default=Path("out"), help="folder, or for one photo a file")
    add_model_options(made)
    made.add_argument("--format", default="png,color", help=f"of the results, with commas: {', '.join(FORMATS)}")
    made.add_argument("--skip-existing", action="store_true", help="leave out photos whose results exist")
    made.add_argument("--fov", type=float, help="horizontal field of view, degrees  (default: from EXIF)")
    made.add_argument("--cmap", default="turbo", help="matplotlib colour map")
    made.add_argument("--near", type=float, help="metres of the first colour; cuts solids  (default: from each photo)")
    made.add_argument("--far", type=float, help="metres of the last colour; cuts solids  (default: from each photo)")
    made.add_argument("--batch-size", type=int, help=f"photos at a time  (default: 1, on a GPU {GPU_BATCH})")
    solid = made.add_argument_group("ply, glb (metres), stl and 3mf (relief to print, millimetres)")
    solid.add_argument("--longest", type=int, help="points along the longer side  (default: 1024, of a relief 400)")
    solid.add_argument(
        "--max-uncertainty", type=float, help="leave out points of higher uncertainty  (default: keep all)"
    )
    solid.add_argument("--size-mm", type=float, default=100.0, help="longer side of the relief")
    solid.add_argument("--relief-mm", type=float, help="height above the base  (default: a fifth of the longer side)")
    solid.add_argument("--base-mm", type=float, default=2.0, help="thickness of the base")
    solid.add_argument("--smoothing-mm", type=float, default=0.0, help="standard deviation of a Gaussian; 0 for none")
    return made


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a path must not be empty")
    return Path(os.path.expanduser(text))


def check(options: argparse.Namespace) -> None:
    """Refuse values that would fail with every photo, and add `formats` and `single` to the options.

    Raises:
        ValueError: a value makes no sense.
        ImportError: a format needs packages that are not installed.
    """
    formats = [name.strip().lower().removeprefix(".") for name in options.format.split(",") if name.strip()]
    options.formats = list(dict.fromkeys(formats))
    unknown = [name for name in options.formats if name not in FORMATS]
    if unknown or not options.formats:
        raise ValueError(f"--format must be some of {', '.join(FORMATS)}, not {', '.join(unknown) or 'nothing'}")
    checked_cmap(options.cmap)
    if options.fov is not None:
        Camera.from_fov(1, 1, options.fov)
    for name in ("near", "far"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"--{name} must be a distance in metres, not {value}")
    if None not in (options.near, options.far) and not options.near < options.far:
        raise ValueError(f"--near must be below --far, not {options.near} and {options.far}")
    if options.batch_size is not None and options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {options.batch_size}")
    options.model = os.path.expanduser(options.model)
    kind = options.output.suffix[1:].lower()
    # A name with the suffix of a result is a file, if it is not a folder that exists.
    options.single = not options.output.is_dir() and kind in {*FORMATS, "mp4"} - {"color", "uncertainty"}
    if not options.single and not options.output.is_dir():
        if os.path.lexists(options.output):
            raise ValueError(f"--output {options.output} is a file; give a folder")
        if f".{kind}" in (*SUFFIXES, *CLIP_SUFFIXES):
            raise ValueError(
                f"--output {options.output} names a file that is neither depth map nor solid; give a folder"
            )
    if f".{kind}" in SOLID_SUFFIXES or {f".{name}" for name in options.formats} & set(SOLID_SUFFIXES):
        # The smallest solid there is fails where every other one would.
        from depth_unet.mesh import relief

        lengths = _solid_options(options)
        if lengths.pop("longest") is not None and not options.longest >= 2:
            raise ValueError(f"--longest must be at least 2 points, not {options.longest}")
        if lengths.pop("max_uncertainty") is not None and not options.max_uncertainty > 0:
            raise ValueError(f"--max-uncertainty must be positive, not {options.max_uncertainty}")
        relief(np.ones((2, 2), np.float32), **{**lengths, "near": None, "far": None})


def find(options: argparse.Namespace) -> list[Place]:
    """What is to be processed; prints what is left out.

    Raises:
        FileNotFoundError: there is no photo.
        ValueError: several photos are to be written to one file.
    """
    found = search(options.photos, _folder(options))
    left_out = found.describe_left_out()
    if left_out:
        print(printable(f"left out: {left_out}"))
    if not found.places:
        raise FileNotFoundError(f"no photos ({', '.join(SUFFIXES)}) in {', '.join(map(str, options.photos))}")
    if options.single:
        if len(found.places) > 1 or any(map(os.path.isdir, options.photos)):
            raise ValueError(f"--output {options.output} is one file; give a folder for {len(found.places)} photos")
        if is_clip(found.places[0].source) != (options.output.suffix.lower() == ".mp4"):
            raise ValueError(f"--output {options.output}: a clip is written as .mp4, a photo is not")
    return found.places


def make_folder(options: argparse.Namespace) -> None:
    """Make the folder for the results.

    Raises:
        OSError: it cannot be written.
    """
    folder = _folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass  # if this fails, every photo would


def _folder(options: argparse.Namespace) -> Path:
    return options.output.parent if options.single else options.output


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a photo failed, 2 if nothing could be started, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    threads = torch.get_num_threads()
    try:
        check(options)
        places = find(options)
        is_onnx = options.model.lower().endswith(".onnx")
        on_gpu = not is_onnx and find_device(options.device).type != "cpu"
        size = options.batch_size or (GPU_BATCH if on_gpu else 1)
        chunks = [places[start : start + size] for start in range(0, len(places), size)]
        # Whole photos side by side use the cores better than the parts of one photo.
        workers = min(threads, MOST_WORKERS, len(chunks))
        model = open_metric(options.model, options.device, options.dtype, threads // workers)
        if not model.predicts_uncertainty and ("uncertainty" in options.formats or options.max_uncertainty is not None):
            raise ValueError(f"{model.name} predicts no uncertainty: leave out what asks for it")
        make_folder(options)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return 2
    outcomes: list[Outcome] = []
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        with tqdm(total=len(places), unit="photo", file=sys.stderr) as bar:
            for done in [pool.submit(process, model, chunk, options) for chunk in chunks]:
                for outcome in done.result():
                    outcomes.append(outcome)
                    if line := outcome.describe():
                        bar.write(line, file=sys.stderr)
                    bar.update()
    except KeyboardInterrupt:
        print("stopped; the same command with --skip-existing continues", file=sys.stderr)
        return 130
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
        print(printable(summary(outcomes, len(places), options.output)))
    return 1 if any(outcome.error for outcome in outcomes) else 0


def summary(outcomes: Sequence[Outcome], count: int, output: Path) -> str:
    """The last line."""
    failed = sum(bool(outcome.error) for outcome in outcomes)
    existed = sum(outcome.existed for outcome in outcomes)
    parts = [f"{len(outcomes) - failed} of {count} photos done, results in {output}"]
    if existed:
        parts.append(f"{existed} existed")
    if failed:
        parts.append(f"{failed} failed")
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
