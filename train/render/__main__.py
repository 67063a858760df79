"""`python -m train.render`: furnished rooms with exact metric depth, rendered by Blender's Cycles."""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from depth_unet import Camera
from depth_unet.data.origin import ORIGIN_FILE, TERMS_OF_WEIGHTS, Origin, read_origin
from depth_unet.files import write_atomically
from depth_unet.images import SUFFIXES
from train.render import catalogue, folder
from train.render.plan import KINDS

EXAMPLES = {"living_room": ("living room", 0), "kitchen": ("kitchen", 0), "bedroom": ("bedroom", 0)}
EXAMPLES_SIZE, EXAMPLES_FOCAL_35MM = (720, 960), 28


def parser() -> argparse.ArgumentParser:
    """The command line."""
    of = argparse.ArgumentParser(
        prog="python -m train.render", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    of.add_argument("--output", type=Path, metavar="DIR", help="folder of the rooms, read as rgbd:DIR")
    of.add_argument("--rooms", type=int, default=100, metavar="N", help="number of rooms; a larger number continues")
    of.add_argument("--first", type=int, default=0, metavar="N", help="number of the first room")
    of.add_argument("--furniture", type=Path, nargs="+", default=[], metavar="LIBRARY",
                    help=".sh3f libraries, Sweet Home 3D's jar, folders of them, or a folder of OBJ/GLB models with sizes.csv")  # fmt: skip
    of.add_argument(
        "--kinds", nargs="+", choices=sorted(KINDS), metavar="KIND", default=[], help=f"only these: {', '.join(KINDS)}"
    )
    of.add_argument("--size", default="240x320", metavar="HxW", help="height and width of a frame in pixels")
    of.add_argument("--views", type=int, default=6, help="frames of each room, at most")
    of.add_argument(
        "--fov",
        type=float,
        nargs=2,
        default=(50.0, 85.0),
        metavar=("LOW", "HIGH"),
        help="field of view across, degrees",
    )
    of.add_argument("--seed", type=int, default=0, help="the same seed gives the same layout, cameras and depth")
    of.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="of the photo model: 0 for clean renderings, 1 for phones and a Kinect",
    )
    of.add_argument("--pictures", type=Path, metavar="FOLDER", help="pictures for posters and screens")
    of.add_argument(
        "--pictures-terms",
        choices=TERMS_OF_WEIGHTS,
        help="terms of weights trained on these pictures; else FOLDER/origin.json, else unknown",
    )
    of.add_argument("--samples", type=int, default=9, help="rays for each pixel before denoising, at most")
    of.add_argument("--threads", type=int, default=1, help="threads of each process")
    of.add_argument("--processes", type=int, default=1, help="processes that share the rooms")
    of.add_argument(
        "--sheet", type=Path, metavar="FILE", help="also write a JPEG of a frame of each of the first 24 rooms"
    )
    of.add_argument("--examples", nargs="?", type=Path, const=Path("depth_unet", "page", "examples"), metavar="DIR",
                    help="render the page's example photos instead")  # fmt: skip
    return of


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        height = width = 0
    if min(height, width) < 16:
        raise ValueError(f"--size must be HEIGHTxWIDTH of at least 16 pixels each, e.g. 240x320, not {text!r}")
    return height, width


def _pictures(options: argparse.Namespace) -> tuple[list[Path], Origin | None]:
    """Pictures for walls and screens, and their origin."""
    if options.pictures is None:
        return [], None
    found = sorted(path for path in options.pictures.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"there is no picture in {options.pictures}")
    if options.pictures_terms:
        return found, Origin(options.pictures.name, weights=options.pictures_terms)
    if (options.pictures / ORIGIN_FILE).is_file():
        return found, read_origin(options.pictures / ORIGIN_FILE)
    return found, Origin(options.pictures.name)


@contextmanager
def _silent() -> Iterator[None]:
    """Blender prints on the C level; keep that out of the output."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _models(options: argparse.Namespace) -> list[catalogue.Model]:
    """The furniture, announced with its licences."""
    models = catalogue.read_libraries(options.furniture)
    for library in dict.fromkeys(model.library for model in models):
        count = sum(model.library == library for model in models)
        print(
            f"{library.name}: {count} models, licence: {library.licence}{'' if library.free else ' (weights: unknown terms)'}"
        )
    if not models:
        print(
            "warning: without --furniture the rooms hold boxes and simple shapes, which are fit for tests only",
            file=sys.stderr,
        )
    return models


def render(options: argparse.Namespace) -> int:
    """Render rooms until all are finished, by this process or by others.

    Returns:
        The number of frames that this process rendered.

    Raises:
        FileNotFoundError: a library or the folder of pictures is missing.
        ValueError: an option makes no sense.
    """
    from train.render.studio import Settings, Studio  # imports Blender

    low, high = options.fov
    if not 20 <= low <= high <= 120:
        raise ValueError(
            f"--fov must be two angles between 20 and 120 degrees, the smaller one first, not {low} {high}"
        )
    if (
        min(options.rooms, options.views, options.samples, options.threads, options.processes) < 1
        or options.strength < 0
    ):
        raise ValueError(
            "--rooms, --views, --samples, --threads and --processes must be at least 1, --strength at least 0"
        )
    settings = Settings(options.seed, _size(options.size), options.views, (low, high), options.strength,
                        tuple(options.kinds), options.samples, options.threads)  # fmt: skip
    models, (pictures, origin) = _models(options), _pictures(options)
    options.output.mkdir(parents=True, exist_ok=True)
    used = {model.library for model in models} or {model.library for model in catalogue.primitives()}
    print(f"terms of weights trained on these rooms: {folder.write_origin(options.output, used, origin).weights}")
    studio, frames = Studio(settings, catalogue.by_role(models), pictures), 0
    numbers = range(options.first, options.first + options.rooms)
    try:
        with tqdm(
            total=options.rooms, unit="room", initial=folder.finished(options.output, options.seed, numbers)
        ) as bar:
            for number in numbers:
                with folder.claimed(options.output, folder.room_name(options.seed, number)) as place:
                    if place:
                        frames += _room(studio, number, place)
                bar.set_postfix(frames=frames, refresh=False)
                bar.update(folder.finished(options.output, options.seed, numbers) - bar.n)
    finally:
        folder.write_licences(options.output)
    return frames


def _room(studio, number: int, place: Path) -> int:
    """Render one room into a folder."""
    with _silent():
        built = studio.build(number)
        items = built.room.layout.items
        models = sorted(
            {(m.library.name, m.library.licence, m.creator, m.name) for m in (item.model for item in items) if m}
        )

        def about(views: list) -> dict:
            return {
                "kind": built.room.kind, "seed": studio.settings.seed, "number": number, "fov_deg": round(built.camera.horizontal_fov_deg, 3),
                "night": built.room.night, "lights": len(built.room.lights), "things": len(items),
                "views": [view._asdict() for view in views],
                "cpu_s": {part: round(seconds, 3) for part, seconds in built.seconds.items()},
                "models": [dict(zip(("library", "licence", "creator", "name"), model, strict=True)) for model in models],
            }  # fmt: skip

        return folder.write_room(place, studio.frames(number, built), built.camera, about)


def render_examples(options: argparse.Namespace) -> Iterator[Path]:
    """Render the photos that the page offers as examples, with the lens in their EXIF."""
    from train.render.photo import with_focal_35mm
    from train.render.studio import Settings, Studio

    if not options.furniture:
        raise ValueError("--examples needs --furniture: the page shows furnished rooms")
    roles = catalogue.by_role(_models(options))
    height, width = EXAMPLES_SIZE
    fov = Camera.from_focal_35mm(width, height, EXAMPLES_FOCAL_35MM).horizontal_fov_deg
    for name, (kind, number) in EXAMPLES.items():
        settings = Settings(0, EXAMPLES_SIZE, 6, (fov, fov), 0.5, (kind,), 48, os.cpu_count() or 1)
        with _silent():
            studio = Studio(settings, roles)
            built = studio.build(number)
            standing = [view for view in built.views if view.kind == "standing"]
            frame = next(studio.frames(number, built._replace(views=standing)))
        path = options.examples / f"{name}.jpg"
        write_atomically(path, with_focal_35mm(frame.jpeg, EXAMPLES_FOCAL_35MM))
        yield path


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 2 if it could not be done, 130 if interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    if importlib.util.find_spec("bpy") is None:
        print(
            'error: rendering needs Blender\'s module bpy: pip install "depth_unet[render]" under Python 3.11',
            file=sys.stderr,
        )
        return 2
    if options.output is None and options.examples is None:
        print("error: --output DIR is needed", file=sys.stderr)
        return 2
    helpers = [subprocess.Popen([sys.executable, "-m", "train.render", *arguments, "--processes", "1"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for _ in range(options.processes - 1)]  # fmt: skip
    try:
        if options.examples:
            for path in render_examples(options):
                print(f"wrote {path}")
            return 0
        frames = render(options)
        print(f"rendered {frames} frames in {options.output}")
        if options.sheet:
            print(f"{options.sheet} shows {folder.contact_sheet(options.output, options.sheet)} rooms")
        return max([helper.wait() for helper in helpers], default=0)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    finally:
        for helper in helpers:
            helper.terminate()


if __name__ == "__main__":
    sys.exit(main())
