"""Marks are where they were put, and the label can always be read."""

import numpy as np
import pytest
from PIL import Image

from depth_unet.page.marks import draw_marks


@pytest.mark.parametrize("ground", ["black", "white", "#808080"])
def test_marks_show_on_any_ground(ground: str):
    image = Image.new("RGB", (640, 480), ground)
    marked = np.asarray(draw_marks(image, [(100, 200), (500, 300)], "2.50 m")).astype(int)
    changed = np.abs(marked - np.asarray(image)).max(-1) > 60
    for x, y in ((100, 200), (500, 300), (200, 225)):
        assert changed[y - 8 : y + 9, x - 8 : x + 9].any()
    assert not changed[:150].any() and not changed[350:].any()
    assert np.asarray(image).std() == 0, "the picture given stays as it is"


@pytest.mark.parametrize("point", [(0, 0), (639, 0), (0, 479), (639, 479), (320, 12)])
def test_the_label_stays_inside(point: tuple[int, int]):
    image = Image.new("RGB", (640, 480), "#808080")
    bare, labelled = (np.asarray(draw_marks(image, [point], label)).astype(int) for label in ("", "12.34 m"))
    rows, columns = np.nonzero(np.abs(bare - labelled).max(-1))
    assert 0 < columns.min() or point[0] == 0
    middle = np.asarray(draw_marks(image, [(320, 240)], "12.34 m")).astype(int)
    whole = np.nonzero(np.abs(middle - np.asarray(draw_marks(image, [(320, 240)])).astype(int)).max(-1))
    assert np.ptp(columns) >= np.ptp(whole[1]) - 4 and np.ptp(rows) >= np.ptp(whole[0]) - 4


def test_nothing_to_mark():
    image = Image.new("L", (9, 9), 7)
    assert (np.asarray(draw_marks(image, [])) == 7).all()
