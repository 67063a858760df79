"""What programs call by name, through gradio_client or as MCP tools; the calls are independent of each other."""

import functools
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from depth_unet.page.look import COLOUR_MAPS
from depth_unet.page.refusals import Degrees, Photo, Pixels, between, checked, received
from depth_unet.page.visits import KEPT_LONGEST, Visits, save_picture

ENDINGS = {"npy": "depth.npy", "png": "depth.png", "npz": "depth.npz", "picture": "color.jpg"}
SURFACE_LONGEST = 512  # points of glb and ply along the longer side: 1024 take ten seconds
Millimetres, Metres = between(0.01, 10_000), between(0, 1e5)
MOST_TIMES_LARGER = 100  # than its upload is a depth map of all pixels; a photo from a camera stays far below


def endpoints(visits: Visits) -> None:
    """Add the endpoints /predict, /measure and /solid."""

    @checked
    def predict(
        photo: Photo,
        kind: Literal["npy", "png", "npz", "picture"] = "npy",
        horizontal_fov_deg: Degrees | None = None,
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
        file = received(photo)
        prediction = visits.predict(file, horizontal_fov_deg)
        if prediction.depth.nbytes > MOST_TIMES_LARGER * file.stat().st_size:
            prediction = prediction.shrink(KEPT_LONGEST)
        about = {name: round(metres, 3) for name, metres in prediction.summary()._asdict().items()}
        about |= {"horizontal_fov_deg": round(prediction.camera.horizontal_fov_deg, 2)}
        about |= {"fov_from": prediction.camera_from, **prediction.about()}
        name = f"{Path(prediction.name).stem}_{ENDINGS[kind]}"
        if lost := prediction.lost(Path(name).suffix):
            gr.Warning(f"{name}: {lost}")
        write = functools.partial(prediction.save, warn=False)
        if kind == "picture":
            write = functools.partial(save_picture, prediction.colorize(COLOUR_MAPS[0]))
        return about, visits.answer(name, write, file, kind, horizontal_fov_deg)

    @checked
    def measure(
        photo: Photo,
        points: Pixels,
        horizontal_fov_deg: Degrees | None = None,
        true_metres: between(1e-3, 1e5) | None = None,
        true_points: Pixels | None = None,
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
        if (true_metres is None) != (true_points is None):
            raise ValueError("true_metres and true_points belong together: give both or neither")
        prediction = visits.predict(received(photo), horizontal_fov_deg)
        if true_points:
            prediction = prediction.calibrate_length(true_points, true_metres)
        lengths = {"metres": prediction.length(points), "uncertainty_metres": prediction.length_uncertainty(points)}
        return {**lengths, "calibration": prediction.calibration}

    @checked
    def solid(
        photo: Photo,
        kind: Literal["glb", "ply", "stl", "3mf"] = "glb",
        size_mm: between(1, 10_000) = 100.0,
        horizontal_fov_deg: Degrees | None = None,
        relief_mm: Millimetres | None = None,
        base_mm: Millimetres = 2.0,
        near: Metres | None = None,
        far: between(0.001, 1e5) | None = None,
        smoothing_mm: between(0, 10_000) = 0.0,
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
        options = {"size_mm": size_mm, "relief_mm": relief_mm, "base_mm": base_mm, "smoothing_mm": smoothing_mm}
        options |= {"near": near, "far": far, "longest": SURFACE_LONGEST if kind in ("glb", "ply") else None}
        file = received(photo)
        prediction = visits.predict(file, horizontal_fov_deg)
        write = functools.partial(prediction.save, **options)
        name = f"{Path(prediction.name).stem}.{kind}"
        return visits.answer(name, write, file, kind, horizontal_fov_deg, options)

    for function in (predict, measure, solid):
        gr.api(function, api_name=function.__name__, concurrency_id="model")
