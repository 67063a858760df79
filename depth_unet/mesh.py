"""Depth maps as solids: a point cloud and a surface in metres, a relief to print in millimetres.

The geometry and the files are those of trimesh.
"""

import io

import numpy as np
from PIL import Image

try:
    import trimesh
    from trimesh.visual.material import PBRMaterial
except ImportError as error:
    raise ImportError(f'solids need {error.name}: pip install "depth_unet[solid]"') from error

from depth_unet.camera import Camera
from depth_unet.colorize import depth_range

STEEPEST = 12.0  # metres of depth per metre across: at a depth edge it is more, on a floor that one can see less
TEXTURE_LONGEST = 2048  # pixels; more than this makes a page wait


def point_cloud(depth: np.ndarray, camera: Camera, image: Image.Image) -> trimesh.PointCloud:
    """A coloured point for each pixel that has a depth, in the axes of `Camera.unproject`.

    Args:
        depth: (H, W) metres; not finite or not positive means no depth.
        camera: of the size of `depth`.
        image: the colours, resized where its size is another.

    Returns:
        Points in metres, x right, y down, z ahead, in the order of the pixels.

    Raises:
        ValueError: no pixel has a depth, or the camera has another size.
    """
    known = _known(depth)
    colours = np.asarray(image.convert("RGB").resize((camera.width, camera.height), Image.Resampling.BILINEAR))
    return trimesh.PointCloud(camera.unproject(depth)[known].astype(np.float32), colors=colours[known])


def surface(
    depth: np.ndarray, camera: Camera, image: Image.Image, steepest: float | None = STEEPEST
) -> trimesh.Trimesh:
    """The visible side of things as a textured mesh, torn where depth jumps.

    Args:
        depth: (H, W) metres; not finite or not positive means no depth.
        camera: of the size of `depth`.
        image: the texture; any size of the same picture.
        steepest: triangles are left out where depth changes by more metres for each metre across; None keeps all.

    Returns:
        Mesh in metres, in the axes of glTF: x right, y up, z towards the viewer, who is at the origin.

    Raises:
        ValueError: no two neighbours have a depth, or the camera has another size.
    """
    known = _known(depth)
    height, width = depth.shape
    points = (camera.unproject(np.where(known, depth, 1.0)) * (1, -1, -1)).reshape(-1, 3)
    faces = _grid_faces(height, width)
    corners = depth.reshape(-1)[faces]
    keep = known.reshape(-1)[faces].all(axis=1)
    if steepest is not None:
        with np.errstate(invalid="ignore"):
            across = corners.min(axis=1) / camera.focal_px  # metres between neighbours
            keep &= corners.max(axis=1) - corners.min(axis=1) <= steepest * across
    faces = faces[keep]
    if not len(faces):
        raise ValueError("the depth map has no surface: no neighbours of like depth")
    used = np.unique(faces)
    renumbered = np.zeros(height * width, np.int64)
    renumbered[used] = np.arange(len(used))
    rows, columns = np.divmod(used, width)
    # v = 1 is the upper edge of the picture for trimesh, which turns it round for glTF.
    uv = np.stack([(columns + 0.5) / width, 1 - (rows + 0.5) / height], axis=1)
    material = PBRMaterial(
        # Light is in the photo already: it must not be shaded a second time.
        baseColorFactor=[0, 0, 0, 255],
        emissiveTexture=_texture(image),
        emissiveFactor=[1.0, 1.0, 1.0],
        metallicFactor=0.0,
        roughnessFactor=1.0,
        doubleSided=True,
    )
    return trimesh.Trimesh(
        points[used].astype(np.float32),
        renumbered[faces],
        visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
        process=False,
    )


def relief(
    depth: np.ndarray,
    size_mm: float = 100.0,
    relief_mm: float | None = None,
    base_mm: float = 2.0,
) -> trimesh.Trimesh:
    """A watertight plate whose upper side rises towards what is near, for a 3-D printer.

    Height follows the logarithm of depth, so that an equal ratio of distances is an equal step; nearer than the 2nd
    or farther than the 98th percentile is level.

    Args:
        depth: (H, W) metres; where there is none the plate is as low as at the farthest.
        size_mm: the longer side of the picture.
        relief_mm: from the lowest to the highest point of the upper side; by default a fifth of the longer side.
        base_mm: thickness below the lowest point.

    Returns:
        Solid in millimetres: x right, y up the picture, z towards the viewer, from (0, 0, 0).

    Raises:
        ValueError: a measure is not positive, no depth, or fewer than 2 rows or columns.
    """
    relief_mm = size_mm / 5 if relief_mm is None else relief_mm
    for name, value in (("size_mm", size_mm), ("relief_mm", relief_mm), ("base_mm", base_mm)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, not {value}")
    height, width = depth.shape
    if height < 2 or width < 2:
        raise ValueError(f"a relief needs at least 2x2 pixels, not {width}x{height}")
    known = _known(depth)
    near, far = depth_range(depth)
    logarithm = np.log(np.clip(np.where(known, depth, far), near, far))
    # Stretched over what is there, so that the plate gets the height asked for.
    steps = logarithm.max() - logarithm
    steps /= max(float(steps.max()), 1e-9)
    pitch = size_mm / (max(height, width) - 1)
    x, y = np.meshgrid(np.arange(width) * pitch, np.arange(height - 1, -1, -1) * pitch)
    top = np.stack([x, y, base_mm + relief_mm * steps], axis=-1).reshape(-1, 3)

    # The rim, once round: from the upper left corner to the right, down, back and up.
    grid = np.arange(height * width).reshape(height, width)
    rim = np.concatenate([grid[0, :-1], grid[:-1, -1], grid[-1, :0:-1], grid[:0:-1, 0]])
    floor = np.arange(len(rim)) + height * width
    centre = height * width + len(rim)
    below = top[rim] * (1, 1, 0)
    ahead, floor_ahead = np.roll(rim, -1), np.roll(floor, -1)
    walls = [np.stack([rim, ahead, floor], 1), np.stack([ahead, floor_ahead, floor], 1)]
    bottom = np.stack([floor, floor_ahead, np.full_like(floor, centre)], 1)
    vertices = np.concatenate([top, below, [[(width - 1) * pitch / 2, (height - 1) * pitch / 2, 0.0]]])
    faces = np.concatenate([_grid_faces(height, width), *walls, bottom])
    return trimesh.Trimesh(vertices, faces, process=False)


def _known(depth: np.ndarray) -> np.ndarray:
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise ValueError("the depth map is empty: no pixel has a depth")
    return known


def _grid_faces(height: int, width: int) -> np.ndarray:
    """Two triangles for each square of four neighbours, counter-clockwise as seen by the viewer."""
    grid = np.arange(height * width).reshape(height, width)
    upper_left, upper_right = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel()
    lower_left, lower_right = grid[1:, :-1].ravel(), grid[1:, 1:].ravel()
    one = np.stack([upper_left, lower_left, upper_right], axis=1)
    other = np.stack([upper_right, lower_left, lower_right], axis=1)
    return np.concatenate([one, other])


def _texture(image: Image.Image) -> Image.Image:
    # As JPEG, which trimesh stores as it is; a PNG would be ten times as large.
    image = image.convert("RGB")
    image.thumbnail((TEXTURE_LONGEST, TEXTURE_LONGEST))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return Image.open(encoded)
