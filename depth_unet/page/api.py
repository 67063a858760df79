"""What programs call by name, through gradio_client or as MCP tools; the calls are independent of each other."""

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from depth_unet.images import read_photo
from depth_unet.page.look import COLOUR_MAPS, SHOWN_LONGEST
from depth_unet.page.notices import facts, refusals, save_and_warn
from depth_unet.page.visits import Visits, save_picture

SOLID_LONGEST = 512  # points along the longer side of what is shown and printed
SOLIDS = ("glb", "ply", "stl")
ENDINGS = {"npy": "depth.npy", "png": "depth.png", "npz": "depth.npz", "picture": "color.jpg"}


def endpoints(visits: Visits) -> None:
    """Add the endpoints /predict, /measure and /solid."""

    def handed(path: str) -> gr.FileData:
        return gr.FileData(path=path, orig_name=Path(path).name)

    @refusals()
    def predict(
        photo: gr.FileData,
        kind: Literal["npy", "png", "npz", "picture"] = "npy",
        horizontal_fov_deg: float | None = None,
    ) -> tuple[dict[str, Any], gr.FileData]:
        """Metric depth of one photo.

        Args:
            photo: an image file.
            kind: of file; npy is float32 metres, png 16-bit millimetres with 0 for no depth, npz the depth with all
                that is known about it, picture the depth in colours with a scale, for people.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.

        Returns:
            Near, median and far in metres, camera and model; the file.
        """
        kind, fov_deg = chosen(kind, ENDINGS), angle(horizontal_fov_deg)
        file = visits.received(photo)
        prediction = visits.predict(file, fov_deg)
        path = visits.place(f"{Path(prediction.name).stem}_{ENDINGS[kind]}", file, kind, fov_deg)
        if kind == "picture":
            save_picture(prediction.colorize(COLOUR_MAPS[0]), path)
        else:
            save_and_warn(prediction, path)
        return facts(prediction), handed(path)

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
            `metres`, and `calibration`, the factor by which the known length changed the model's metres.
        """
        measured, fov_deg = pixels(points, "points"), angle(horizontal_fov_deg)
        if (true_metres is None) != (true_points is None):
            raise ValueError("true_metres and true_points belong together: give both or neither")
        if true_metres is not None:
            true = pixels(true_points, "true_points"), number(true_metres, "true_metres", 1e-3, 1e5)
        prediction = visits.predict(visits.received(photo), fov_deg)
        if true_metres is not None:
            prediction = prediction.calibrate_length(*true)
        return {"metres": prediction.length(measured), "calibration": prediction.calibration}

    @refusals()
    def solid(
        photo: gr.FileData,
        kind: Literal["glb", "ply", "stl"] = "glb",
        size_mm: float = 100.0,
        horizontal_fov_deg: float | None = None,
    ) -> gr.FileData:
        """A photo as a solid.

        Args:
            photo: an image file.
            kind: glb is a textured surface in metres, ply a coloured point cloud in metres, stl a watertight relief.
            size_mm: longer side of the relief, millimetres.
            horizontal_fov_deg: angle that the photo spans from left to right, degrees; None reads EXIF.

        Returns:
            The file.
        """
        kind, fov_deg = chosen(kind, SOLIDS), angle(horizontal_fov_deg)
        size_mm = number(size_mm, "size_mm", 1, 10_000)
        path = visits.received(photo)
        prediction = visits.predict(path, fov_deg)
        target = visits.place(f"{Path(prediction.name).stem}.{kind}", path, kind, size_mm, fov_deg)
        image = read_photo(path, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
        prediction.save(target, image=image, size_mm=size_mm, longest=SOLID_LONGEST)
        return handed(target)

    for function in (predict, measure, solid):
        gr.api(function, api_name=function.__name__, concurrency_id="model")


def chosen(value: Any, known: Iterable[str]) -> str:
    """A value from outside that must be one of those known.

    Raises:
        ValueError: it is not.
    """
    if not (isinstance(value, str) and value in known):
        raise ValueError(f"kind must be one of {', '.join(known)}, not {shortened(value)}")
    return value


def number(value: Any, name: str, least: float, most: float) -> float:
    """A number from outside.

    Raises:
        ValueError: it is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:  # not NaN either
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, not {shortened(value)}")
    return float(value)


def angle(value: Any) -> float | None:
    """A field of view from outside, degrees; None reads EXIF.

    Raises:
        ValueError: no angle of a camera.
    """
    return None if value is None else number(value, "horizontal_fov_deg", 1, 179)


def pixels(points: Any, name: str = "points") -> list[tuple[int, int]]:
    """One or two points from outside.

    Raises:
        ValueError: not a list of one or two pairs of whole numbers.
    """
    refusal = ValueError(f"{name} must be one or two pixels, [[x, y]] or [[x, y], [x, y]], not {shortened(points)}")
    if not (isinstance(points, list | tuple) and len(points) in (1, 2)):
        raise refusal
    for point in points:
        if not (isinstance(point, list | tuple) and len(point) == 2):
            raise refusal
        for place in point:
            if isinstance(place, bool) or not isinstance(place, int | float) or not abs(place) < 1e6 or place % 1:
                raise refusal
    return [(int(x), int(y)) for x, y in points]


def shortened(value: Any) -> str:
    """A value from outside in one short line."""
    return reprlib.repr(value)
