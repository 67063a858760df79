"""What programs call by name, through gradio_client or as MCP tools; the calls are independent of each other."""

import functools
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import gradio as gr

from depth_unet.page.look import COLOUR_MAPS
from depth_unet.page.notices import facts, refusals, save_and_warn
from depth_unet.page.visits import KEPT_LONGEST, Visits, save_picture

ENDINGS = {"npy": "depth.npy", "png": "depth.png", "npz": "depth.npz", "picture": "color.jpg"}
Solid = Literal["glb", "ply", "stl", "3mf"]
SURFACE_LONGEST = 512  # points of glb and ply along the longer side: 1024 take ten seconds
MOST_MM, MOST_METRES = 10_000, 1e5
MOST_TIMES_LARGER = 100  # than its upload is a depth map of all pixels; a photo from a camera stays far below


def endpoints(visits: Visits) -> None:
    """Add the endpoints /predict, /measure and /solid."""

    @refusals()
    def predict(
        photo: gr.FileData,
        kind: Literal["npy", "png", "npz", "picture"] = "npy",
        horizontal_fov_deg: float | None = None,
    ) -> tuple[dict[str, Any], gr.FileData]:
        """Metric depth of one photo.

        Args:
            photo: an image file.
            kind: npy in float32 metres, png in 16-bit millimetres, npz with camera and model, picture in colours.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.

        Returns:
            near, median and far in metres, camera and model.
            the file; its map has the size of the photo, or 4096 pixels if the upload is much smaller than such a map.
        """
        kind, fov_deg = chosen(kind, "kind", ENDINGS), angle(horizontal_fov_deg)
        file = visits.received(photo)
        prediction = visits.predict(file, fov_deg)
        if prediction.depth.nbytes > MOST_TIMES_LARGER * file.stat().st_size:
            prediction = prediction.shrink(KEPT_LONGEST)

        def write(path: Path) -> None:
            if kind == "picture":
                save_picture(prediction.colorize(COLOUR_MAPS[0]), path)
            else:
                save_and_warn(prediction, path)

        name = f"{Path(prediction.name).stem}_{ENDINGS[kind]}"
        return facts(prediction), visits.answer(name, write, file, kind, fov_deg)

    @refusals()
    def measure(
        photo: gr.FileData,
        points: list[list[int]],
        horizontal_fov_deg: float | None = None,
        true_metres: float | None = None,
        true_points: list[list[int]] | None = None,
    ) -> dict[str, Any]:
        """A distance in a photo, in metres along a straight line.

        Args:
            photo: an image file.
            points: one pixel [[x, y]], for its distance from the camera; or two, for the distance between them.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.
            true_metres: a length that is known, to calibrate all others.
            true_points: the one or two pixels of that known length.

        Returns:
            metres; uncertainty_metres, one standard deviation or None; calibration, the factor on the model's metres.
        """
        measured, fov_deg = pixels(points, "points"), angle(horizontal_fov_deg)
        if (true_metres is None) != (true_points is None):
            raise ValueError("true_metres and true_points belong together: give both or neither")
        if true_metres is not None:
            true = pixels(true_points, "true_points"), number(true_metres, "true_metres", 1e-3, MOST_METRES)
        prediction = visits.predict(visits.received(photo), fov_deg)
        if true_metres is not None:
            prediction = prediction.calibrate_length(*true)
        return {
            "metres": prediction.length(measured),
            "uncertainty_metres": prediction.length_uncertainty(measured),
            "calibration": prediction.calibration,
        }

    @refusals()
    def solid(
        photo: gr.FileData,
        kind: Solid = "glb",
        size_mm: float = 100.0,
        horizontal_fov_deg: float | None = None,
        relief_mm: float | None = None,
        base_mm: float = 2.0,
        near: float | None = None,
        far: float | None = None,
        smoothing_mm: float = 0.0,
    ) -> gr.FileData:
        """A photo as a solid.

        Args:
            photo: an image file.
            kind: glb for a surface and ply for points, both in metres; stl or 3mf for a watertight relief to print.
            size_mm: longer side of the relief, millimetres.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.
            relief_mm: height of the relief above its base, millimetres; None is a fifth of size_mm.
            base_mm: thickness below the lowest point of the relief, millimetres.
            near: metres; glb and ply leave out what is nearer, a relief is flat there; None cuts nothing off.
            far: metres; glb and ply leave out what is farther, a relief is flat there; None cuts nothing off.
            smoothing_mm: standard deviation of a Gaussian that smooths the relief, millimetres; 0 for none.

        Returns:
            the file.
        """
        kind, fov_deg = chosen(kind, "kind", get_args(Solid)), angle(horizontal_fov_deg)
        size_mm = number(size_mm, "size_mm", 1, MOST_MM)
        options = {
            "longest": SURFACE_LONGEST if kind in ("glb", "ply") else None,
            "size_mm": size_mm,
            "relief_mm": optional(relief_mm, "relief_mm", 0.01, MOST_MM),
            "base_mm": number(base_mm, "base_mm", 0.01, MOST_MM),
            "near": optional(near, "near", 0, MOST_METRES),
            "far": optional(far, "far", 0.001, MOST_METRES),
            "smoothing_mm": number(smoothing_mm, "smoothing_mm", 0, size_mm),
        }
        file = visits.received(photo)
        prediction = visits.predict(file, fov_deg)
        name = f"{Path(prediction.name).stem}.{kind}"
        write = functools.partial(prediction.save, **options)
        return visits.answer(name, write, file, kind, fov_deg, options)

    for function in (predict, measure, solid):
        gr.api(function, api_name=function.__name__, concurrency_id="model")


def chosen(value: Any, name: str, known: Iterable[str]) -> str:
    """A value from outside that must be one of those known.

    Raises:
        ValueError: it is not.
    """
    if not (isinstance(value, str) and value in known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {reprlib.repr(value)}")
    return value


def number(value: Any, name: str, least: float, most: float) -> float:
    """A number from outside.

    Raises:
        ValueError: it is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:  # not NaN either
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, not {reprlib.repr(value)}")
    return float(value)


def optional(value: Any, name: str, least: float, most: float) -> float | None:
    """A `number` from outside, or None."""
    return None if value is None else number(value, name, least, most)


def angle(value: Any) -> float | None:
    """A field of view from outside, degrees; None reads EXIF."""
    return optional(value, "horizontal_fov_deg", 1, 179)


def pixels(points: Any, name: str) -> list[tuple[int, int]]:
    """One or two points from outside.

    Raises:
        ValueError: not a list of one or two pairs of whole numbers.
    """

    def is_place(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6 and value % 1 == 0

    def is_list(value: Any, *lengths: int) -> bool:
        return isinstance(value, list | tuple) and len(value) in lengths

    if not (is_list(points, 1, 2) and all(is_list(point, 2) and all(map(is_place, point)) for point in points)):
        given = reprlib.repr(points)
        raise ValueError(f"{name} must be one or two pixels, [[x, y]] or [[x, y], [x, y]], not {given}")
    return [(int(x), int(y)) for x, y in points]
