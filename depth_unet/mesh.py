"""Depth maps as a point cloud or surface in metres, or as a printable relief in millimetres. Uses trimesh."""

import io
import zipfile

import numpy as np
from PIL import Image

try:
    import trimesh
    from trimesh.visual.material import PBRMaterial
except ImportError as error:
    raise ImportError(f'solids need {error.name}: pip install "depth_unet[solid]"') from error

from depth_unet.camera import Camera
from depth_unet.colorize import chosen_range
from depth_unet.files import MARK

STEEPEST = 12.0  # metres of depth per metre across; depth edges are steeper, visible floors are not
TEXTURE_LONGEST = 2048  # pixels; larger textures load slowly in a browser
LARGEST_MM = 10_000
SMALLEST_DEPTH = 1e-6  # metres; keeps the logarithm finite


def point_cloud(
    depth: np.ndarray, camera: Camera, image: Image.Image, steepest: float | None = None
) -> trimesh.PointCloud:
    """Build a coloured point for each pixel with depth, in the axes of `Camera.unproject`.

    Args:
        depth: (H, W) metres; not finite or not positive means no depth.
        camera: of the size of `depth`.
        image: the colours; resized to the size of `depth`.
        steepest: points that no triangle of `surface` uses are left out; None keeps all.

    Returns:
        Points in metres, x right, y down, z ahead, in pixel order.

    Raises:
        ValueError: no point is left, or the camera has another size.
    """
    known = _known(depth)
    if steepest is not None:
        used = _visible_faces(depth, known, camera, steepest)
        known = np.isin(np.arange(depth.size), used).reshape(depth.shape)
    colours = np.asarray(image.convert("RGB").resize((camera.width, camera.height), Image.Resampling.BILINEAR))
    return trimesh.PointCloud(camera.unproject(depth)[known].astype(np.float32), colors=colours[known])


def surface(
    depth: np.ndarray, camera: Camera, image: Image.Image, steepest: float | None = STEEPEST
) -> trimesh.Trimesh:
    """Build a textured mesh of the visible surfaces, with gaps at depth edges.

    Args:
        depth: (H, W) metres; not finite or not positive means no depth.
        camera: of the size of `depth`.
        image: the texture, any size.
        steepest: triangles with a steeper slope are left out: metres of depth per metre across at the nearest corner;
            None keeps all.

    Returns:
        Mesh in metres, in the axes of glTF: x right, y up, z towards the viewer, who is at the origin.

    Raises:
        ValueError: no triangle is left, or the camera has another size.
    """
    known = _known(depth)
    height, width = depth.shape
    points = (camera.unproject(np.where(known, depth, 1.0)) * (1, -1, -1)).reshape(-1, 3)
    faces = _visible_faces(depth, known, camera, steepest)
    used = np.unique(faces)
    renumbered = np.zeros(height * width, np.int64)
    renumbered[used] = np.arange(len(used))
    rows, columns = np.divmod(used, width)
    # In trimesh v = 1 is the upper edge of the image; its glTF export flips v.
    uv = np.stack([(columns + 0.5) / width, 1 - (rows + 0.5) / height], axis=1)
    material = PBRMaterial(
        baseColorTexture=_texture(image),
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
    near: float | None = None,
    far: float | None = None,
    smoothing_mm: float = 0.0,
    frame_mm: float = 0.0,
    invert: bool = False,
) -> trimesh.Trimesh:
    """Build a watertight plate for a 3-D printer, whose height is the negative logarithm of depth.

    Args:
        depth: (H, W) metres; pixels without depth are as low as the farthest ones.
        size_mm: longer side of the plate.
        relief_mm: height between the lowest and the highest point; by default a fifth of the longer side.
        base_mm: thickness below the lowest point.
        near: metres of the highest point; by default the 2nd percentile.
        far: metres of the lowest point; by default the 98th percentile.
        smoothing_mm: standard deviation of a Gaussian that smooths the height; 0 for none.
        frame_mm: width of a frame around the relief, as high as its highest point; 0 for none. It is part of `size_mm`.
        invert: the farthest point is the highest, as in a lithophane.

    Returns:
        Solid in millimetres: x right, y up, z towards the viewer, from (0, 0, 0).

    Raises:
        ValueError: a length is out of range, no pixel has depth, near is not below far, or fewer than 2 rows or
            columns.
    """
    lengths = {"size_mm": size_mm, "relief_mm": size_mm / 5 if relief_mm is None else relief_mm, "base_mm": base_mm}
    for name, value in lengths.items():
        if not 0 < value <= LARGEST_MM:
            raise ValueError(f"{name} must be above 0 and at most {LARGEST_MM} mm, not {value}")
    if not 0 <= smoothing_mm <= size_mm:
        raise ValueError(f"smoothing_mm must be between 0 and size_mm, not {smoothing_mm}")
    if not 0 <= frame_mm <= size_mm / 4:
        raise ValueError(f"frame_mm must be between 0 and a quarter of size_mm, not {frame_mm}")
    height, width = depth.shape
    if height < 2 or width < 2:
        raise ValueError(f"a relief needs at least 2x2 pixels, not {width}x{height}")
    known = _known(depth)
    near, far = chosen_range(depth, near, far)
    logarithm = np.log(np.clip(np.where(known, depth, far), max(near, SMALLEST_DEPTH), max(far, SMALLEST_DEPTH)))
    longest = max(height, width) - 1
    rim = round(frame_mm * longest / (size_mm - 2 * frame_mm))  # points
    pitch = size_mm / (longest + 2 * rim)
    steps = _smoothed(logarithm.max() - logarithm, smoothing_mm / pitch)
    # Scaled to the values that occur, so that the relief has the requested height.
    steps -= steps.min()
    steps /= max(float(steps.max()), 1e-9)
    steps = np.pad(1 - steps if invert else steps, rim, constant_values=1.0)
    height, width = steps.shape
    x, y = np.meshgrid(np.arange(width) * pitch, np.arange(height - 1, -1, -1) * pitch)
    top = np.stack([x, y, base_mm + lengths["relief_mm"] * steps], axis=-1).reshape(-1, 3)

    # The border points in order: right along the top, down, left along the bottom, up.
    grid = np.arange(height * width).reshape(height, width)
    border = np.concatenate([grid[0, :-1], grid[:-1, -1], grid[-1, :0:-1], grid[:0:-1, 0]])
    floor = np.arange(len(border)) + height * width
    centre = height * width + len(border)
    below = top[border] * (1, 1, 0)
    ahead, floor_ahead = np.roll(border, -1), np.roll(floor, -1)
    walls = [np.stack([border, ahead, floor], 1), np.stack([ahead, floor_ahead, floor], 1)]
    bottom = np.stack([floor, floor_ahead, np.full_like(floor, centre)], 1)
    vertices = np.concatenate([top, below, [[(width - 1) * pitch / 2, (height - 1) * pitch / 2, 0.0]]])
    faces = np.concatenate([_grid_faces(height, width), *walls, bottom])
    return trimesh.Trimesh(vertices, faces, process=False)


def encode(solid: trimesh.Trimesh | trimesh.PointCloud, kind: str) -> bytes:
    """A solid as a file, with the mark by which this package recognises its own.

    Args:
        solid: as `point_cloud` returns it for ply, `surface` for glb, `relief` for stl and 3mf.
        kind: "ply", "glb", "stl" or "3mf".
    """
    if kind == "glb":
        return solid.export(file_type="glb", tree_postprocessor=_finish_gltf)
    if kind == "ply":
        solid = solid.copy()
        solid.vertices = solid.vertices * (1, -1, -1)
        comment = b"comment %s: metres, x right, y up, z towards the viewer\n" % MARK
        return solid.export(file_type="ply").replace(b"\nelement", b"\n" + comment + b"element", 1)
    if kind == "stl":
        return (MARK + b": relief in millimetres, z up").ljust(80) + solid.export(file_type="stl")[80:]
    solid = solid.copy()
    solid.vertices = solid.vertices.round(4)  # written as decimal numbers
    archive = io.BytesIO(solid.export(file_type="3mf"))
    with zipfile.ZipFile(archive, "a") as file:
        file.comment = MARK
    return archive.getvalue()


def _finish_gltf(tree: dict) -> None:
    tree["asset"]["generator"] = MARK.decode()
    # The photo already contains the light: viewers must not shade it again.
    for material in tree["materials"]:
        material["extensions"] = {"KHR_materials_unlit": {}}
    tree["extensionsUsed"] = ["KHR_materials_unlit"]


def _smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve with a Gaussian along both axes; values beyond the border equal those at it."""
    reach = int(np.ceil(3 * sigma))
    if not reach:
        return values
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for _ in range(2):
        padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
        values = sum(weight * padded[k : k + len(values)] for k, weight in enumerate(weights / weights.sum())).T
    return values


def _known(depth: np.ndarray) -> np.ndarray:
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise ValueError("the depth map is empty: no pixel has a depth")
    return known


def _visible_faces(depth: np.ndarray, known: np.ndarray, camera: Camera, steepest: float | None) -> np.ndarray:
    """The triangles between neighbouring pixels with depth, without those that are steeper."""
    faces = _grid_faces(*depth.shape)
    corners = depth.reshape(-1)[faces]
    keep = known.reshape(-1)[faces].all(axis=1)
    if steepest is not None:
        with np.errstate(invalid="ignore"):
            across = corners.min(axis=1) / camera.focal_px  # metres between neighbouring pixels
            keep &= corners.max(axis=1) - corners.min(axis=1) <= steepest * across
    if not keep.any():
        raise ValueError("the depth map has no surface: no neighbouring pixels of similar depth")
    return faces[keep]


def _grid_faces(height: int, width: int) -> np.ndarray:
    """Two triangles for each square of four neighbouring pixels, counter-clockwise as seen by the viewer."""
    grid = np.arange(height * width).reshape(height, width)
    upper_left, upper_right = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel()
    lower_left, lower_right = grid[1:, :-1].ravel(), grid[1:, 1:].ravel()
    one = np.stack([upper_left, lower_left, upper_right], axis=1)
    other = np.stack([upper_right, lower_left, lower_right], axis=1)
    return np.concatenate([one, other])


def _texture(image: Image.Image) -> Image.Image:
    # trimesh stores a JPEG unchanged; a PNG would be ten times as large.
    image = image.convert("RGB")
    image.thumbnail((TEXTURE_LONGEST, TEXTURE_LONGEST))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return Image.open(encoded, formats=["JPEG"])
