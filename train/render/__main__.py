"""`python -m train.render`: furnished rooms with exact metric depth, rendered by Blender's Cycles."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from depth_unet import Camera
from depth_unet.data.origin import ORIGIN_FILE, Origin, read_origin
from depth_unet.files import write_atomically
from depth_unet.folders import photos_in
from train.render import catalogue, folder
from train.render.plan import KINDS

EXAMPLES = {
    "living_room": ("living room", 1, 3), "kitchen": ("kitchen", 3, 3), "bedroom": ("bedroom", 3, 1),
    "desk": ("office", 1, 1),
}  # fmt: skip
EXAMPLES_SIZE, EXAMPLES_LENS = (720, 960), 28  # height and width; focal length as a 35 mm equivalent
EXAMPLES_FOLDER = Path(__file__).parents[2] / "depth_unet" / "page" / "examples"
FURNITURE = ".sh3f libraries, Sweet Home 3D's jar, folders of them, or a folder of OBJ or GLB models with sizes.csv"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    of = argparse.ArgumentParser("python -m train.render", description=__doc__, formatter_class=formatter)
    add = of.add_argument
    add("--output", type=Path, metavar="DIR", help="folder of the rooms, read as rgbd:DIR")
    add("--rooms", type=int, default=100, metavar="N", help="number of rooms; a larger number continues")
    add("--furniture", type=Path, nargs="+", default=[], metavar="LIBRARY", help=FURNITURE)
    add("--kinds", nargs="+", choices=KINDS, metavar="KIND", default=[], help=f"only these rooms: {', '.join(KINDS)}")
    add("--size", default="240x320", metavar="HxW", help="height and width of a frame in pixels")
    add("--views", type=int, default=6, help="frames of each room, at most")
    add("--fov", type=float, nargs=2, default=[50, 85], help="narrowest and widest field of view across, degrees")
    add("--seed", type=int, default=0, help="the same seed gives the same layout, cameras and depth")
    add("--strength", type=float, default=1.0, help="of the photo model: 0 for clean pictures, 1 for those of phones")
    add("--pictures", type=Path, metavar="FOLDER", help="pictures for posters and screens, with origin.json")
    add("--samples", type=int, default=9, help="rays for each pixel before denoising, at most")
    add("--processes", type=int, default=1, help="processes that share the rooms")
    add("--examples", action="store_true", help="render the page's examples instead")
    return of


def _pictures(options: argparse.Namespace) -> tuple[list[Path], Origin | None]:
    """Pictures for walls and screens, and their origin."""
    if options.pictures is None:
        return [], None
    found, _ = photos_in(options.pictures)
    if not found:
        raise FileNotFoundError(f"there is no picture in {options.pictures}")
    stated = options.pictures / ORIGIN_FILE
    return found, read_origin(stated) if stated.is_file() else Origin(options.pictures.name, weights="unknown")


@contextmanager
def _silent() -> Iterator[None]:
    """Blender prints on the C level; keep that out of the output."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _models(options: argparse.Namespace) -> list[catalogue.Model]:
    """The furniture, announced with its licences."""
    models = catalogue.read_libraries(options.furniture)
    for library, count in Counter(model.library for model in models).items():
        print(f"{library.name}: {count} models, licence: {library.licence}")
    if not models:
        print("warning: without --furniture the rooms hold boxes and simple shapes, for tests only", file=sys.stderr)
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

    (low, high), size = options.fov, re.fullmatch(r"(\d+)x(\d+)", options.size.lower())
    if not size or min(int(side) for side in size.groups()) < 16:
        raise ValueError(f"--size must be HEIGHTxWIDTH of at least 16 pixels each, not {options.size!r}")
    if not 20 <= low <= high <= 120:
        raise ValueError(f"--fov must be two angles between 20 and 120 degrees, the smaller first, not {low} {high}")
    if min(options.rooms, options.views, options.samples, options.processes) < 1 or options.strength < 0:
        raise ValueError("the numbers of rooms, views, samples and processes must be at least 1, --strength 0")
    frame = options.seed, (int(size[1]), int(size[2])), options.views, (low, high), options.strength
    settings, models = Settings(*frame, tuple(options.kinds), options.samples), _models(options)
    pictures, origin = _pictures(options)
    options.output.mkdir(parents=True, exist_ok=True)
    written = folder.write_origin(options.output, {m.library for m in models or catalogue.primitives()}, origin)
    print(f"terms of weights trained on these rooms: {written.weights}")
    studio, frames = Studio(settings, catalogue.by_role(models), pictures), 0
    names = [f"{options.seed}-{number:05d}" for number in range(options.rooms)]
    try:
        with tqdm(total=options.rooms, unit="room", initial=folder.finished(options.output, names)) as bar:
            for number, name in enumerate(names):
                with folder.claimed(options.output, name) as place, _silent():
                    frames += folder.write_room(place, *studio.room(number)) if place else 0
                bar.set_postfix(frames=frames, refresh=False)
                bar.update(folder.finished(options.output, names) - bar.n)
    finally:
        folder.write_licences(options.output)
    return frames


def render_examples(options: argparse.Namespace) -> None:
    """Render the photos that the page offers as examples, with the lens in their EXIF.

    `EXAMPLES` states kind and number of the room, and the number of the view in it.
    """
    from train.render.photo import with_focal_35mm
    from train.render.studio import Settings, Studio

    if not options.furniture:
        raise ValueError("--examples needs --furniture: the page shows furnished rooms")
    fov = Camera.from_focal_35mm(*EXAMPLES_SIZE[::-1], EXAMPLES_LENS).horizontal_fov_deg
    roles = catalogue.by_role(_models(options))
    for name, (kind, number, index) in EXAMPLES.items():
        with _silent():
            studio = Studio(Settings(0, EXAMPLES_SIZE, 4, (fov, fov), 0.3, (kind,), 16), roles)
            built = studio.build(number)
            frame = next(studio.frames(number, built._replace(views=built.views[index:])))
        write_atomically(EXAMPLES_FOLDER / f"{name}.jpg", with_focal_35mm(frame.jpeg, EXAMPLES_LENS))
        print(f"wrote {name}.jpg")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 2 if it could not be done, 130 if interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    command, quiet = [sys.executable, "-m", "train.render", *arguments, "--processes", "1"], subprocess.DEVNULL
    others = [subprocess.Popen(command, stdout=quiet, stderr=quiet) for _ in range(options.processes - 1)]
    try:
        if importlib.util.find_spec("bpy") is None:
            raise ValueError('rendering needs Python 3.11 and Blender\'s module: pip install "depth_unet[render]"')
        if options.examples:
            render_examples(options)
        elif options.output:
            print(f"rendered {render(options)} frames in {options.output}")
        else:
            raise ValueError("--output DIR is needed")
        return max((other.wait() for other in others), default=0)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    finally:
        for other in others:
            other.terminate()


if __name__ == "__main__":
    sys.exit(main())
