"""What programs call by name, through gradio_client or as MCP tools; the calls are independent of each other."""

from pathlib import Path
from typing import Any, Literal

import gradio as gr

from depth_unet.images import read_photo
from depth_unet.page.look import COLOUR_MAPS, SHOWN_LONGEST
from depth_unet.page.notices import facts, refusals, save_loudly
from depth_unet.page.visits import Visits

SOLID_LONGEST = 512  # points along the longer side of what is shown and printed
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
        if kind not in ENDINGS:
            raise ValueError(f"kind must be one of {', '.join(ENDINGS)}, not {kind!r}")
        prediction = visits.predict(visits.received(photo), horizontal_fov_deg)
        path = visits.new_file(f"{Path(prediction.name).stem}_{ENDINGS[kind]}")
        if kind == "picture":
            prediction.colorize(COLOUR_MAPS[0]).save(path, quality=92, subsampling=0)
        else:
            save_loudly(prediction, path)
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
        prediction = visits.predict(visits.received(photo), horizontal_fov_deg)
        if true_metres is not None:
            prediction = prediction.calibrate_length(pixels(true_points or []), true_metres)
        return {"metres": prediction.length(pixels(points)), "calibration": prediction.calibration}

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
        path = visits.received(photo)
        prediction = visits.predict(path, horizontal_fov_deg)
        target = visits.new_file(f"{Path(prediction.name).stem}.{kind}")
        image = read_photo(path, enough=(SHOWN_LONGEST, SHOWN_LONGEST)).image
        prediction.save(target, image=image, size_mm=size_mm, longest=SOLID_LONGEST)
        return handed(target)

    for function in (predict, measure, solid):
        gr.api(function, api_name=function.__name__, concurrency_id="model")


def pixels(points: Any) -> list[tuple[int, int]]:
    """Points from outside as pixels.

    Raises:
        ValueError: not a list of pairs of whole numbers.
    """
    try:
        return [(int(x), int(y)) for x, y in points]
    except (TypeError, ValueError):
        raise ValueError(f"points must be pairs of pixels, [[x, y], ...], not {points!r}") from None
