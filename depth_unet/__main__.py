"""`python -m depth_unet photo.jpg folder/ --output out/`: depth maps of many photos."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from depth_unet.camera import Camera
from depth_unet.images import SUFFIXES, read_size
from depth_unet.model import DEFAULT_MODEL, DepthUNet


def find_photos(sources: list[Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """Each photo with the path, less its suffix, that its results get below `output`.

    Files are taken as they are, folders with all their levels, which the results keep. What lies in `output` is
    never taken for a photo. Names that would collide are told apart by their suffix or a number.
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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m depth_unet",
        description="Metric depth of photos: NAME_depth.png (16-bit, millimetres), NAME_depth.npy (float32, metres) "
        "and NAME_color.png for each.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("photos", nargs="+", type=Path, help="pictures, or folders of them")
    made.add_argument("--output", type=Path, default=Path("out"), help="folder for the results")
    made.add_argument("--model", default=DEFAULT_MODEL, help="folder, or owner/name on a hub")
    made.add_argument("--fov", type=float, help="horizontal field of view, degrees  (default: from EXIF)")
    made.add_argument("--cmap", default="turbo", help="matplotlib colour map")
    made.add_argument("--near", type=float, help="metres of the first colour  (default: from each photo)")
    made.add_argument("--far", type=float, help="metres of the last colour  (default: from each photo)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if a photo failed, 2 if nothing could begin."""
    options = parser().parse_args(arguments)
    try:
        model = DepthUNet.from_pretrained(options.model)
        photos = list(find_photos(options.photos, options.output))
        if not photos:
            raise FileNotFoundError(f"no pictures ({', '.join(SUFFIXES)}) in {', '.join(map(str, options.photos))}")
        options.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = 0
    with tqdm(photos, unit="photo", file=sys.stderr) as bar:
        for photo, result in bar:
            try:
                camera = None
                if options.fov is not None:
                    height, width = read_size(photo)
                    camera = Camera.from_fov(width, height, options.fov)
                prediction = model.predict(photo, camera)
                result.parent.mkdir(parents=True, exist_ok=True)
                prediction.save(result.with_name(result.name + "_depth.png"))
                prediction.save(result.with_name(result.name + "_depth.npy"))
                coloured = prediction.colorize(options.cmap, options.near, options.far)
                coloured.save(result.with_name(result.name + "_color.png"))
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
