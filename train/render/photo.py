"""From linear light to what a phone or a Kinect saves: exposure, white balance, vignette, blur, noise, curve, JPEG."""

import io
import random
from collections import namedtuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from train.render.catalogue import table

SETTINGS = table("looks.csv")
Look = namedtuple("Look", [row["setting"] for row in SETTINGS], defaults=[float(row["clean"]) for row in SETTINGS])


def draw_look(device: random.Random, rng: random.Random, strength: float = 1.0) -> Look:
    """Settings of a phone or a Kinect.

    Args:
        device: decides what the pictures of a room have in common: the lens and the processing.
        rng: decides what differs from picture to picture.
        strength: 1 for what such cameras do, 0 for none of it, values between for less.

    Returns:
        The settings of one photo; `Look()` is the clean picture. brightness: mean of the picture that the exposure
        aims at. balance: share of the light's colour that white balance removes; red, blue: gains left by it. vignette:
        loss of light in the corners. black: share of the darkest per cent that is subtracted. blur: in pixels. noise:
        at mid grey. gamma: of the tone curve; shoulder: highlights are compressed (1) or clipped (0).
    """
    camera, look = "kinect" if device.random() < 0.3 else "phone", Look()
    for row in SETTINGS:
        (law, *values), source = row[camera].split(), device if row["drawn"] == "device" else rng
        numbers = [float(value) for value in values]
        full = source.choice(numbers) if law == "choice" else getattr(source, law)(*numbers)
        clean = getattr(look, row["setting"])
        look = look._replace(**{row["setting"]: clean + strength * (full - clean)})
    return look


def is_lit(linear: np.ndarray) -> bool:
    """Whether a rendering is neither nearly black nor so unevenly lit that one exposure cannot show most of it."""
    grey = np.nan_to_num(linear).mean(2)
    dark, middle, bright = np.percentile(grey, (25, 60, 99))
    return middle > 0.004 and bright > 1.15 * dark and bright < 400 * max(middle, 1e-9)


def blurred(picture: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian blur of an (H, W, C) picture; its border is repeated."""
    return gaussian_filter(picture, (deviation, deviation, 0), mode="nearest", truncate=3)


def develop(linear: np.ndarray, look: Look, rng: random.Random) -> bytes:
    """Develop a rendering into a JPEG.

    Args:
        linear: (H, W, 3) radiance.
        look: settings of the camera.
        rng: seeds the noise.

    Returns:
        The bytes of a JPEG file.
    """
    light = np.maximum(np.nan_to_num(linear.astype(np.float32), posinf=0), 0)
    mean = np.minimum(light, np.percentile(light, 95)).mean((0, 1)) + 1e-6
    light = light * np.clip((mean.mean() / mean) ** look.balance * (look.red, 1, look.blue), 0.45, 2.2)
    height, width = light.shape[:2]
    y, x = np.ogrid[-height : height : height * 1j, -width : width : width * 1j]
    light = light * (1 - look.vignette * (x * x + y * y) / (width**2 + height**2))[..., None]
    light = np.maximum(light - look.black * np.percentile(light.mean(2), 1), 0)

    def curve(value: np.ndarray) -> np.ndarray:
        if look.shoulder > 0.5:
            value = np.where(value < 0.6, value, 0.6 + 0.4 * (1 - np.exp(-(value - 0.6) / 0.4)))
        return np.clip(value, 0, 1) ** (1 / look.gamma)

    grey, low, high = light.mean(2), 1e-6, 1e6
    for _ in range(36):  # bisection of the exposure
        exposure = (low * high) ** 0.5
        low, high = (exposure, high) if curve(grey * exposure).mean() < look.brightness else (low, exposure)
    light = blurred(light * exposure, look.blur)
    if look.noise:
        deviation = look.noise * np.sqrt(np.maximum(light, 0) * 0.5 + 0.01)
        values = np.random.default_rng(rng.randrange(2**32))
        fine, coarse = values.standard_normal((2, *light.shape), np.float32)
        light = light + deviation * (0.35 * fine + 0.5 * blurred(coarse, 0.7))
    value = curve(np.maximum(light, 0))
    value = value + look.contrast * (value * value * (3 - 2 * value) - value)
    grey = value.mean(2, keepdims=True)
    value = np.clip(grey + (value - grey) * look.saturation, 0, 1)
    if look.sharpening:
        value = np.clip(value + look.sharpening * (value - blurred(value, 0.8)), 0, 1)
    out = io.BytesIO()
    Image.fromarray((value * 255 + 0.5).astype(np.uint8)).save(out, "JPEG", quality=round(look.quality))
    return out.getvalue()


def with_focal_35mm(jpeg: bytes, focal_mm: int) -> bytes:
    """The same JPEG with the lens, as a 35 mm equivalent in whole millimetres, in its EXIF."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        exif = image.getexif()
        exif.get_ifd(0x8769)[0xA405] = focal_mm
        image.save(out, "JPEG", quality="keep", exif=exif)
    return out.getvalue()
