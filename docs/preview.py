"""`python -m docs.preview` makes the picture that messengers show for a link to the page: a photo and its depth."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from depth_unet import DepthUNet
from depth_unet.files import write_atomically

PAGE = Path(__file__).parent.parent / "depth_unet" / "page"
PHOTO, SIZE = PAGE / "examples" / "living_room.jpg", (1200, 630)
TEXT = "Depth from one photo, in metres"


def main() -> None:
    prediction = DepthUNet.from_pretrained().predict(PHOTO)
    width, height = SIZE
    picture, half = Image.new("RGB", SIZE, "#0f172a"), (width // 2, 540)
    for left, image in ((0, prediction.image), (half[0], prediction.colorize("viridis", scale_bar=False))):
        scale = max(half[0] / image.width, half[1] / image.height)
        filled = image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)))
        x, y = (filled.width - half[0]) // 2, (filled.height - half[1]) // 2
        picture.paste(filled.crop((x, y, x + half[0], y + half[1])), (left, 0))
    draw = ImageDraw.Draw(picture)
    draw.text((width / 2, (height + half[1]) / 2), TEXT, "white", ImageFont.load_default(44), anchor="mm")
    write_atomically(PAGE / "preview.jpg", lambda file: picture.save(file, "JPEG", quality=85))


if __name__ == "__main__":
    main()
