"""The picture at the top of README.md: `python -m docs.figure` puts an example beside its depth map."""

from pathlib import Path

from PIL import Image

from depth_unet import DepthUNet

HERE = Path(__file__).parent


def main() -> None:
    """Write docs/living_room.jpg."""
    source = HERE / "examples/living_room.jpg"
    depth = DepthUNet.from_pretrained().predict(source).colorize()
    with Image.open(source) as photo:
        figure = Image.new("RGB", (photo.width + depth.width, photo.height), "white")
        figure.paste(photo, (0, 0))
        figure.paste(depth, (photo.width, 0))
    figure.resize((figure.width * 3 // 4, figure.height * 3 // 4), Image.Resampling.LANCZOS).save(
        HERE / "living_room.jpg", quality=88
    )


if __name__ == "__main__":
    main()
