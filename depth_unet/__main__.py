"""`python -m depth_unet photo.jpg folder/ --output out/`: write the depth maps of photos."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from depth_unet.camera import Camera
from depth_unet.engines import add_model_options, open_metric
from depth_unet.files import write_atomically
from depth_unet.images import SUFFIXES, read_size
from depth_unet.predictor import Predictor


def find_photos(sources: list[Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """Each photo with the path of its results below `output`, without endings.

    Folders are searched with all their levels, which the results keep; files in `output` are skipped. Equal names get
    their suffix or a number appended.
    """
    taken: set[Path] = set()
    for source in sources:
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            places = [(p, p.relative_to(source)) for p in inside if output.resolve() not in p.resolve().parents]
        else:
            places = [(source, Path(source.name))]
        for photo, place in places:
            name = place.with_suffix("")
            if name in taken:
                name = place.with_name(f"{place.stem}_{place.suffix[1:].lower()}")
            number = 2
            while name in taken:
                name = place.with_name(f"{place.stem}_{number}")
                number += 1
            taken.add(name)
            yield photo, output / name


def write_results(model: Predictor, photo: Path, result: Path, options: argparse.Namespace) -> None:
    """Predict one photo and write its files.

    Args:
        model: predicts.
        photo: image file.
        result: path of its results without endings; its folder is created.
        options: fov, cmap, near and far of the command line.

    Raises:
        OSError, ValueError: the photo cannot be read, or a result cannot be written.
    """
    camera = None
    if options.fov is not None:
        height, width = read_size(photo)
        camera = Camera.from_fov(width, height, options.fov)
    prediction = model.predict(photo, camera)
    result.parent.mkdir(parents=True, exist_ok=True)
    prediction.save(result.with_name(result.name + "_depth.png"))
    prediction.save(result.with_name(result.name + "_depth.npy"))
    coloured = prediction.colorize(options.cmap, options.near, options.far)
    write_atomically(result.with_name(result.name + "_color.png"), lambda file: coloured.save(file, "PNG"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m depth_unet",
        description="Metric depth of photos: NAME_depth.png (16-bit, millimetres), NAME_depth.npy (float32, metres) "
        "and NAME_color.png for each.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("photos", nargs="+", type=Path, help="image files, or folders of them")
    made.add_argument("--output", type=Path, default=Path("out"), help="folder for the results")
    add_model_options(made)
    made.add_argument("--fov", type=float, help="horizontal field of view, degrees  (default: from EXIF)")
    made.add_argument("--cmap", default="turbo", help="matplotlib colour map")
    made.add_argument("--near", type=float, help="metres of the first colour  (default: from each photo)")
    made.add_argument("--far", type=float, help="metres of the last colour  (default: from each photo)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a photo failed, 2 if nothing could be started."""
    options = parser().parse_args(arguments)
    try:
        model = open_metric(options.model, options.device, options.dtype)
        photos = list(find_photos(options.photos, options.output))
        if not photos:
            raise FileNotFoundError(f"no images ({', '.join(SUFFIXES)}) in {', '.join(map(str, options.photos))}")
        options.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = 0
    with tqdm(photos, unit="photo", file=sys.stderr) as bar:
        for photo, result in bar:
            try:
                write_results(model, photo, result, options)
            except (OSError, ValueError) as error:
                failed += 1
                bar.write(f"failed: {photo}: {error}", file=sys.stderr)
    done = len(photos) - failed
    print(
        f"{done} of {len(photos)} photos done, results in {options.output}" + (f"; {failed} failed" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
