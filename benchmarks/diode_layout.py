"""Writes rendered scenes as DIODE lays out its files, of as many gigabytes as wanted, to test and measure with.

`python -m benchmarks.diode_layout DIR --train 100 --val 10`: about 11 MB a sample, as the real ones.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from depth_unet.data.diode import CAMERA, SCENE_TYPES

SCANS_PER_SCENE, SAMPLES_PER_SCAN = 2, 4


class Scene(NamedTuple):
    """A rendered view.

    Args:
        picture: (768, 1024, 3) uint8.
        depth: (768, 1024) float32, metres.
        mask: (768, 1024) bool; False in the sky.
        planted: (768, 1024) bool; where `depth` is false because it was mixed across an edge.
        truth: (768, 1024) float32, metres, without what was planted.
    """

    picture: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    planted: np.ndarray
    truth: np.ndarray


def render(seed: int, outdoor: bool, outliers: bool = False, reduce: int = 1) -> Scene:
    """Boxes and posts on a floor, in a room or under the sky, by casting a ray through every pixel.

    Args:
        seed: of the scene.
        outdoor: 3 to about 120 metres and no walls, instead of 1.5 to 8 metres.
        outliers: give pixels at depth edges depths from between, and put a few specks in, as scanners do.
        reduce: render at this fraction of the size and repeat pixels, for quick tests.
    """
    rng = np.random.default_rng(seed)
    camera = CAMERA.resize(CAMERA.width // reduce, CAMERA.height // reduce)
    rays = camera.unproject(np.ones((camera.height, camera.width)))  # x right, y down, z = 1: hits are at depth t
    far, floor = (120.0, 1.6) if outdoor else (float(rng.uniform(5, 8)), 1.3)
    depth = np.full(rays.shape[:2], np.inf)
    thing = np.zeros(rays.shape[:2], np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = floor / rays[..., 1]
        depth, thing = np.where((ground > 0) & (ground < far), ground, depth), np.where(ground > 0, 1, thing)
        if not outdoor:
            for number, wall in enumerate((np.full_like(depth, far), 2.2 / np.abs(rays[..., 0]))):
                thing, depth = np.where(wall < depth, 2 + number, thing), np.minimum(wall, depth)
        for number in range(14):
            near = rng.uniform(3, 60) if outdoor else rng.uniform(1.5, far - 1)
            middle = rng.uniform(-0.5, 0.5) * near
            size = rng.uniform(0.03, 0.25, 2) * near * np.array([1.0, 1.6])
            if number % 3 == 0:
                size[0] *= 0.08  # a post
            low = np.array([middle - size[0] / 2, floor - size[1], near])
            high = np.array([middle + size[0] / 2, floor, near + rng.uniform(0.05, 0.3) * near])
            ends = np.stack([low / rays, high / rays])
            enter, leave = ends.min(0).max(-1), ends.max(0).min(-1)
            hit = (enter > 0) & (enter <= leave) & (enter < depth)
            depth, thing = np.where(hit, enter, depth), np.where(hit, 10 + number, thing)
    mask = np.isfinite(depth)
    colours = rng.uniform(0.15, 0.95, (64, 3))
    shade = np.where(mask, 1 / (1 + np.where(mask, depth, 0) / far), 1.2)
    picture = colours[thing] * (0.5 + 0.7 * shade[..., None])
    repeat = (reduce, reduce)
    picture, depth, mask = (np.kron(a, np.ones(repeat + (1,) * (a.ndim - 2), a.dtype)) for a in (picture, depth, mask))
    # Grain of all sizes: a flat picture would be read faster than a real one.
    for cell in (128, 32, 8, 2):
        grain = rng.normal(0, 0.05, (CAMERA.height // cell, CAMERA.width // cell, 1)).astype(np.float32)
        picture *= 1 + np.repeat(np.repeat(grain, cell, 0), cell, 1)
    picture += rng.normal(0, 0.012, picture.shape)
    truth = np.where(mask, depth * (1 + rng.normal(0, 0.0005, depth.shape)), 0).astype(np.float32)
    planted = np.zeros_like(mask)
    measured = truth
    if outliers:
        measured, planted = _with_outliers(truth, mask, rng)
    return Scene((picture.clip(0, 1) * 255).astype(np.uint8), measured, mask, planted, truth)


def _with_outliers(truth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    measured, planted = truth.copy(), np.zeros_like(mask)
    for axis in (0, 1):
        # Between pixel i and i + 3 lies an edge: one or both of the two pixels inside get a depth from between.
        size = truth.shape[axis] - 3
        first, last = (np.take(truth, range(start, start + size), axis) for start in (0, 3))
        known = np.take(mask, range(size), axis) & np.take(mask, range(3, size + 3), axis)
        edge = known & (np.maximum(first, last) > 1.4 * np.minimum(first, last))
        edge &= rng.random(edge.shape) < 0.5
        for inside in (1, 2):
            share = rng.uniform(0.2, 0.8, edge.shape)
            mixed = first * share + last * (1 - share)
            chosen = edge & (rng.random(edge.shape) < 0.6)
            window = tuple(slice(inside, inside + size) if a == axis else slice(None) for a in (0, 1))
            measured[window] = np.where(chosen, mixed, measured[window])
            planted[window] |= chosen
    specks = mask & (rng.random(mask.shape) < 2e-4)
    measured = np.where(specks, measured * rng.uniform(0.3, 0.7, mask.shape), measured)
    planted |= specks
    # What fell near the truth after all is no outlier.
    planted &= mask & (np.abs(measured - truth) > 0.1 * truth)
    return measured.astype(np.float32), planted


def write_sample(folder: Path, name: str, scene: Scene) -> None:
    """NAME.png, NAME_depth.npy (H, W, 1) and NAME_depth_mask.npy (H, W), 0 or 1 in a float64."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.picture).save(folder / f"{name}.png")
    np.save(folder / f"{name}_depth.npy", scene.depth[..., None])
    np.save(folder / f"{name}_depth_mask.npy", scene.mask.astype(np.float64))


def write_diode(
    root: Path, train: int, val: int, *, reduce: int = 1, outliers: bool = True, progress: bool = False
) -> Path:
    """Write a data set, half indoors and half outdoor, with diode_meta.json as the devkit has it.

    Args:
        root: made if it is not there.
        train: number of samples of that split.
        val: likewise.
        reduce: see `render`.
        outliers: see `render`, outdoor only.
        progress: show a bar.

    Returns:
        The path of diode_meta.json.
    """
    meta: dict = {}
    for split, count, first_scene in (("train", train, 0), ("val", val, 90)):
        for number in tqdm(range(count), split, unit="sample", disable=not progress):
            kind = SCENE_TYPES[number % 2]
            scan = number // 2 // SAMPLES_PER_SCAN
            scene, azimuth = first_scene + scan // SCANS_PER_SCENE, 10 * (number // 2 % SAMPLES_PER_SCAN)
            places = f"scene_{scene:05d}", f"scan_{scan:05d}"
            name = f"{scene:05d}_{scan:05d}_{kind}_{azimuth:03d}_000"
            outdoor = kind == "outdoor"
            rendered = render(1000 * first_scene + number, outdoor, outliers and outdoor, reduce)
            write_sample(root.joinpath(split, kind, *places), name, rendered)
            scans = meta.setdefault(split, {}).setdefault(kind, {}).setdefault(places[0], {})
            scans.setdefault(places[1], []).append(name)
    path = root / "diode_meta.json"
    path.write_text(json.dumps(meta))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("root", type=Path, help="folder to write to")
    parser.add_argument("--train", type=int, default=40, help="samples to train on")
    parser.add_argument("--val", type=int, default=8, help="samples to validate on")
    options = parser.parse_args()
    write_diode(options.root, options.train, options.val, progress=True)


if __name__ == "__main__":
    main()
