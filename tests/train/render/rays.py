"""Rays cast by the tests themselves: every triangle, in float64 (Moeller and Trumbore, 1997)."""

import numpy as np

from train.render.camera import Cast, Surfaces


def intersect(corners: np.ndarray, eye: np.ndarray, ray: np.ndarray) -> tuple[int, float]:
    """The first triangle on a ray and the distance to it in lengths of the ray; (-1, 0) if there is none."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.cross(ray, c - a)
        inverse = 1 / ((b - a) * p).sum(1)
        u = ((eye - a) * p).sum(1) * inverse
        q = np.cross(eye - a, b - a)
        v, t = (q * ray).sum(1) * inverse, (q * (c - a)).sum(1) * inverse
        t = np.where((u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-6), t, np.inf)
    first = int(t.argmin())
    return (first, float(t[first])) if np.isfinite(t[first]) else (-1, 0.0)


def cast_slowly(surfaces: Surfaces) -> Cast:
    """A `Cast` that needs no Blender."""
    a, b, c = surfaces.corners[:, 0], surfaces.corners[:, 1], surfaces.corners[:, 2]
    normals = np.cross(b - a, c - a)

    def cast(eye: np.ndarray, rays: np.ndarray) -> np.ndarray:
        # Signed volumes: a ray passes through a triangle if it has the three edges on the same side.
        u, v, w = (rays @ np.cross(p - eye, q - eye).T for p, q in ((a, b), (b, c), (c, a)))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (normals * (a - eye)).sum(1) / (rays @ normals.T)
        inside = ((u >= -1e-9) & (v >= -1e-9) & (w >= -1e-9)) | ((u <= 1e-9) & (v <= 1e-9) & (w <= 1e-9))
        t = np.where(inside & (t > 1e-6), t, np.inf)
        first = t.argmin(1)
        return np.where(np.isfinite(t[np.arange(len(t)), first]), first, -1)

    return cast
