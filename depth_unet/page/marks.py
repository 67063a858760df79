"""Measured points drawn into a picture."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

INK, HALO = "#ffffff", "#00343a"  # one of the two shows on any ground


def draw_marks(image: Image.Image, points: Sequence[tuple[float, float]], label: str = "") -> Image.Image:
    """A copy of the picture with rings around one or two points, a line between two, and what was measured.

    Args:
        image: any picture.
        points: (x, y) in pixels of the picture.
        label: written beside the point, or beside the middle of the line, inside the picture.

    Example:
        >>> draw_marks(Image.new("RGB", (80, 60)), [(40, 30)], "2.50 m").size
        (80, 60)
    """
    marked = image.convert("RGB")
    if marked is image:
        marked = image.copy()
    if not points:
        return marked
    draw = ImageDraw.Draw(marked)
    unit = max(2.0, max(marked.size) / 320)  # as large to the eye in any picture
    if len(points) > 1:
        for width, colour in ((2.6 * unit, HALO), (1.2 * unit, INK)):
            draw.line(list(points), fill=colour, width=round(width))
    for x, y in points:
        for radius, colour in ((4.5, HALO), (3.5, INK), (1.8, HALO), (0.9, INK)):
            reach = radius * unit
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    if label:
        font = ImageFont.load_default(9 * unit)
        x, y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
        left, top, right, bottom = draw.textbbox((x, y - 8 * unit), label, font=font, anchor="mb")
        pad = 2.5 * unit
        # Beside the edge of the picture the label moves inside; at the top it goes below the point.
        across = max(0, pad - left) - max(0, right + pad - marked.width)
        down = 8 * unit + (y - top) if top < pad else 0
        box = (left - pad + across, top - pad + down, right + pad + across, bottom + pad + down)
        draw.rounded_rectangle(box, radius=pad, fill=HALO)
        draw.text((x + across, y - 8 * unit + down), label, font=font, fill=INK, anchor="mb")
    return marked
