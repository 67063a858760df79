"""The photo model: seeded, exposed, none of it at strength 0; textures; the folder of rooms."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from train.render import materials
from train.render.photo import Look, blurred, develop, draw_look, is_lit, with_focal_35mm


def ramp(gain: float = 1.0) -> np.ndarray:
    """A grey ramp of radiance, 48 x 64."""
    return np.repeat(np.linspace(0.02, 1, 64)[None, :, None], 48, 0).repeat(3, 2).astype(np.float32) * gain


def opened(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg))).astype(float) / 255


def test_strength_0_is_the_clean_look_and_1_is_not() -> None:
    clean = draw_look(random.Random(1), random.Random(2), 0.0)
    assert clean == Look()
    real, half = (draw_look(random.Random(1), random.Random(2), strength) for strength in (1.0, 0.5))
    assert real.noise > 0 and half.noise == pytest.approx(real.noise / 2)
    assert half.vignette == pytest.approx(real.vignette / 2)


def test_exposure_does_not_depend_on_the_brightness_of_the_lamps() -> None:
    dim, bright = (opened(develop(ramp(gain), Look(), random.Random(0))) for gain in (0.01, 50))
    assert abs(dim - bright).max() < 0.03 and abs(dim.mean() - 0.45) < 0.03


def test_clean_picture_keeps_order_and_size() -> None:
    picture = opened(develop(ramp(), Look(), random.Random(0)))
    assert picture.shape == (48, 64, 3)
    assert (np.diff(picture[24].mean(1)) > -0.02).all()


def test_white_balance_removes_the_colour_of_the_light() -> None:
    warm = ramp() * np.array([1.4, 1, 0.6], np.float32)
    full, none = (opened(develop(warm, Look(balance=balance), random.Random(0))) for balance in (1.0, 0.0))
    assert abs(full.mean((0, 1)) - full.mean()).max() < 0.02 < abs(none.mean((0, 1)) - none.mean()).max()


def test_vignette_noise_and_blur() -> None:
    flat = np.full((48, 64, 3), 0.3, np.float32)
    corners = opened(develop(flat, Look(vignette=0.4), random.Random(0)))
    assert corners[0, 0].mean() < corners[24, 32].mean() - 0.03
    noisy, again, other = (opened(develop(flat, Look(noise=0.1), random.Random(seed))) for seed in (1, 1, 2))
    assert noisy.std() > 0.01 and (noisy == again).all() and not (noisy == other).all()
    edge = np.zeros((9, 9, 1))
    edge[:, 5:] = 1
    soft = blurred(edge, 1.0)
    assert soft.sum() == pytest.approx(edge.sum(), abs=2) and 0 < soft[4, 4, 0] < soft[4, 5, 0] < 1


def test_black_and_blown_out_pictures_are_recognised() -> None:
    assert is_lit(ramp())
    assert not is_lit(ramp(1e-4))
    assert not is_lit(np.full((48, 64, 3), 0.5))  # nothing to be seen
    assert not is_lit(np.full((48, 64, 3), np.nan))


def test_lens_in_the_exif() -> None:
    jpeg = develop(ramp(), Look(), random.Random(0))
    with Image.open(io.BytesIO(with_focal_35mm(jpeg, 28))) as image:
        assert image.getexif().get_ifd(0x8769)[0xA405] == 28
        assert (np.asarray(image) == np.asarray(Image.open(io.BytesIO(jpeg)))).all()


TEXTURES = "wood0 planks1 tile2 carpet3 plaster0 fabric1 brick0 marble1 terrazzo2 acoustic0 concrete1 print0 print1"


@pytest.mark.parametrize("name", [*TEXTURES.split(), "print2", "print3"])
def test_textures_repeat_and_can_be_multiplied_by_a_colour(name: str) -> None:
    texture = materials.texture(name).astype(float) / 255
    assert texture.shape == (512, 512, 3) and 0.7 < texture.mean() < 0.88 and texture.std() > 0.003
    assert (texture == materials.texture(name).astype(float) / 255).all()
    for axis in (0, 1):
        steps = abs(np.diff(texture, axis=axis)).mean((1 - axis, 2))
        seam = abs(texture.take(0, axis) - texture.take(-1, axis)).mean()
        assert seam < 1.3 * steps.max() + 0.01


def test_unknown_texture() -> None:
    with pytest.raises(ValueError, match="no texture"):
        materials.texture("velvet0")


def test_atlas_takes_pictures(tmp_path) -> None:
    Image.new("RGB", (50, 40), (10, 200, 30)).save(tmp_path / "green.png")
    plain = materials.atlas(random.Random(0))
    own = materials.atlas(random.Random(0), [tmp_path / "green.png"])
    tile = own[160 + 80, 80]  # of the second row: a picture
    assert plain.shape == own.shape == (1280, 1280, 3) and (abs(tile.astype(int) - (10, 200, 30)) <= 1).all()
    assert (materials.atlas(random.Random(0)) == plain).all()


def test_a_damaged_picture_on_a_wall_costs_only_itself(tmp_path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n")
    sheet = materials.atlas(random.Random(0), sorted(tmp_path.iterdir()))
    assert sheet.std(axis=(0, 1)).min() > 10
