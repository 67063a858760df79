"""From linear light to what a phone or a Kinect saves: exposure, white balance, vignette, blur, noise, curve, JPEG."""

import io
import random
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


class Look(NamedTuple):
    """The settings of one photo; `Look()` is the clean picture.

    Args:
        brightness: mean of the picture that the exposure aims at, in [0, 1].
        balance: share of the light's colour that white balance removes.
        red, blue: gains left by it.
        vignette: loss of light in the corners.
        black: share of the darkest per cent that is subtracted.
        bloom: light scattered in the lens.
        blur: standard deviation in pixels.
        noise: at mid grey, before the tone curve.
        gamma: of the tone curve.
        shoulder: compress highlights instead of clipping them: 1 yes, 0 no.
        contrast, saturation, sharpening: of the camera's processing.
        quality: of the JPEG.
    """

    brightness: float = 0.45
    balance: float = 0.8
    red: float = 1.0
    blue: float = 1.0
    vignette: float = 0.0
    black: float = 0.0
    bloom: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    gamma: float = 2.2
    shoulder: int = 1
    contrast: float = 0.4
    saturation: float = 1.0
    sharpening: float = 0.0
    quality: int = 95


def draw_look(device: random.Random, rng: random.Random, strength: float = 1.0) -> Look:
    """Settings of a phone or a Kinect.

    Args:
        device: decides what the pictures of a room have in common: the lens and the processing.
        rng: decides what differs from picture to picture.
        strength: 1 for what such cameras do, 0 for none of it, values between for less.
    """
    kinect = device.random() < 0.3
    full = Look(
        brightness=min(0.6, max(0.28, rng.gauss(0.46, 0.07))),
        balance=device.uniform(0.4, 0.95),
        red=rng.gauss(1.07, 0.07),
        blue=rng.gauss(0.97, 0.06),
        vignette=device.uniform(0, 0.45),
        black=rng.uniform(0.2, 1.0),
        bloom=rng.choice([0, 0.02, 0.05, 0.1]),
        blur=rng.choice([0.4, 0.6, 0.8] if kinect else [0, 0, 0.3, 0.5]),
        noise=rng.choice([0.03, 0.05, 0.08] if kinect else [0.015, 0.03, 0.05, 0.1]),
        gamma=device.uniform(1.85, 2.3),
        shoulder=int(device.random() < 0.6),
        contrast=device.uniform(0.2, 1.1),
        saturation=device.uniform(0.75, 1.2),
        sharpening=device.uniform(0.2, 1.0) * (0.6 if kinect else 1.0),
        quality=rng.randrange(60, 96),
    )
    return Look(*(type(a)(a + strength * (b - a)) for a, b in zip(Look(), full, strict=True)))


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
    random_values = np.random.default_rng(rng.randrange(2**32))
    light = np.maximum(np.nan_to_num(linear.astype(np.float32), posinf=0), 0)
    mean = np.minimum(light, np.percentile(light, 95)).mean((0, 1)) + 1e-6
    light = light * np.clip((mean.mean() / mean) ** look.balance * (look.red, 1, look.blue), 0.45, 2.2)
    height, width = light.shape[:2]
    y, x = np.mgrid[:height, :width]
    radius = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / (width**2 + height**2) * 4
    light = light * (1 - look.vignette * radius)[..., None]
    light = np.maximum(light - look.black * np.percentile(light.mean(2), 1), 0)
    if look.bloom:
        light = light + look.bloom * blurred(np.minimum(light, np.percentile(light, 99.5)), width / 50)

    def curve(value: np.ndarray) -> np.ndarray:
        if look.shoulder:
            value = np.where(value < 0.6, value, 0.6 + 0.4 * (1 - np.exp(-(value - 0.6) / 0.4)))
        return np.clip(value, 0, 1) ** (1 / look.gamma)

    grey, low, high = light.mean(2), 1e-6, 1e6
    for _ in range(36):  # bisection of the exposure
        exposure = (low * high) ** 0.5
        low, high = (exposure, high) if curve(grey * exposure).mean() < look.brightness else (low, exposure)
    light = blurred(light * exposure, look.blur)
    if look.noise:
        deviation = look.noise * np.sqrt(np.maximum(light, 0) * 0.5 + 0.01)
        fine, coarse = (random_values.standard_normal(light.shape).astype(np.float32) for _ in range(2))
        light = light + deviation * (0.35 * fine + 0.5 * blurred(coarse, 0.7))
    value = curve(np.maximum(light, 0))
    value = value + look.contrast * (value * value * (3 - 2 * value) - value)
    grey = value.mean(2, keepdims=True)
    value = np.clip(grey + (value - grey) * look.saturation, 0, 1)
    if look.sharpening:
        value = np.clip(value + look.sharpening * (value - blurred(value, 0.8)), 0, 1)
    out = io.BytesIO()
    Image.fromarray((value * 255 + 0.5).astype(np.uint8)).save(out, "JPEG", quality=look.quality)
    return out.getvalue()


def with_focal_35mm(jpeg: bytes, focal_mm: int) -> bytes:
    """The same JPEG with the lens, as a 35 mm equivalent in whole millimetres, in its EXIF."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        exif = image.getexif()
        exif.get_ifd(0x8769)[0xA405] = focal_mm
        image.save(out, "JPEG", quality="keep", exif=exif)
    return out.getvalue()
