"""The picture at the top of README.md: `python -m docs.figure` puts an example beside its depth map."""

from pathlib import Path

from PIL import Image

from depth_unet import DepthUNet
from depth_unet.files import finished_or_absent

HERE = Path(__file__).parent
PHOTO = HERE.parent / "depth_unet" / "page" / "examples" / "living_room.jpg"


def main() -> None:
    """Write docs/living_room.jpg."""
    depth = DepthUNet.from_pretrained().predict(PHOTO).colorize()
    with Image.open(PHOTO) as photo:
        figure = Image.new("RGB", (photo.width + depth.width, photo.height), "white")
        figure.paste(photo, (0, 0))
        figure.paste(depth, (photo.width, 0))
    figure.thumbnail((figure.width * 3 // 4, figure.height * 3 // 4), Image.Resampling.LANCZOS)
    with finished_or_absent(HERE / "living_room.jpg") as place:
        figure.save(place, quality=88)


if __name__ == "__main__":
    main()
