"""A small room whose depth is known everywhere, and the files in which others would hand it over."""

from pathlib import Path

import numpy as np
from PIL import Image

from depth_unet import Camera

FLOOR, WALL = 1.4, 6.0  # metres below and ahead of the camera
BOX = ((-0.6, 0.3, 2.5), (0.5, 1.4, 3.5))  # two opposite corners


def render(camera: Camera, axes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cast a ray through every pixel: RGB (H, W, 3) uint8 and metres along the optical axis (H, W) float32.

    `axes`, a rotation matrix, is for a camera that does not look straight at the wall.
    """
    rays = camera.unproject(np.ones((camera.height, camera.width)))  # z = 1, so that a ray's length is the depth
    if axes is not None:
        rays = rays @ axes.T
    with np.errstate(divide="ignore"):
        depth = np.minimum(WALL / rays[..., 2], np.where(rays[..., 1] > 0, FLOOR / rays[..., 1], np.inf))
        sides = np.sort([np.array(corner) / rays for corner in BOX], axis=0)  # entering and leaving each pair of planes
    entering, leaving = sides[0].max(-1), sides[1].min(-1)
    depth = np.where(entering <= leaving, np.minimum(depth, entering), depth)
    checks = np.floor(rays * depth[..., None] * 2 + 1e-6).sum(-1).astype(int) % 2
    shade = 60 + 100 * checks + 90 * (1 - depth / WALL)
    image = np.stack([shade, 255 - shade, np.full_like(shade, 128)], -1)
    return image.clip(0, 255).astype(np.uint8), depth.astype(np.float32)


def write_diode(
    root: Path, split: str, scene_type: str, count: int = 2, size: tuple[int, int] = (96, 128)
) -> list[str]:
    """The official layout: depth (H, W, 1) float32, mask (H, W) of 0.0 and 1.0. Returns the names written."""
    names = []
    for number in range(count):
        name = f"{19 + number // 2:05d}_{183 + number:05d}_{scene_type}_{10 * number:03d}_{number:03d}"
        folder = root / split / scene_type / f"scene_{name[:5]}" / f"scan_{name[6:11]}"
        folder.mkdir(parents=True, exist_ok=True)
        camera = Camera.from_fov(size[1], size[0], 55 + 5 * number)
        image, depth = render(camera)
        mask = np.ones(size)
        mask[:4, :7] = 0
        depth[:4, :7] = 0  # as where the scanner saw sky
        Image.fromarray(image).save(folder / f"{name}.png")
        np.save(folder / f"{name}_depth.npy", depth[:, :, None])
        np.save(folder / f"{name}_depth_mask.npy", mask)
        names.append(name)
    return names


def write_rgbd(root: Path, count: int = 4, size: tuple[int, int] = (72, 96)) -> Path:
    """NAME.jpg beside NAME.png in millimetres, each seen from a camera of its own place, and camera.json."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        camera = Camera.from_fov(size[1], size[0], 60).crop(5 * (number - count // 2), 0, size[1], size[0])
        image, depth = render(camera)
        Image.fromarray(image).save(root / f"{number:04d}.jpg", quality=95)
        Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(root / f"{number:04d}.png")
    return root
