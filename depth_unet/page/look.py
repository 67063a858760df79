"""The colours of depth that a visitor chooses, and the metres that they span."""

from typing import Any, NamedTuple

import gradio as gr

from depth_unet.colorize import colour_steps
from depth_unet.prediction import Prediction

MOST_METRES = 1e4
SHOWN_LONGEST = 1280  # pixels of the pictures on the page; the downloads have all
# Equal steps of depth look equal in the first five; the others have more contrast instead.
COLOUR_MAPS = ["viridis", "magma", "inferno", "plasma", "cividis", "turbo", "Spectral", "gray"]


class Look(NamedTuple):
    """A visitor's choice of colours; near and far in metres, None or 0 for automatic."""

    cmap: str
    near: float | None
    far: float | None

    @classmethod
    def chosen(cls, cmap: Any, near: Any, far: Any) -> "Look":
        """A choice as a browser or a stranger sends it.

        Raises:
            ValueError: no colours of the page, or no metres.
        """
        if not (isinstance(cmap, str) and cmap in COLOUR_MAPS):
            raise ValueError(f"the colours must be one of {', '.join(COLOUR_MAPS)}")
        for metres in (near, far):
            if not (metres is None or (isinstance(metres, int | float) and 0 <= metres <= MOST_METRES)):
                raise ValueError(f"near and far must be metres from 0 to {MOST_METRES:g}")
        return cls(cmap, near, far)

    def range_of(self, prediction: Prediction) -> tuple[float, float]:
        """The metres of the first and the last colour.

        Raises:
            ValueError: near is not below far.
        """
        summary = prediction.summary()
        near, far = self.near or summary.near, self.far or summary.far  # 0 is automatic
        if not 0 <= near < far:
            raise ValueError(f"near must be below far: {near:.2f} m is not below {far:.2f} m")
        return near, far


def look_of_address(request: gr.Request) -> Look:
    """The colours that the page's address asks for; values that make no sense are ignored."""

    def metres(name: str) -> float:
        try:
            return max(0.0, min(float(asked.get(name, 0)), MOST_METRES))
        except ValueError:
            return 0.0

    asked = request.query_params
    cmap = asked.get("cmap")
    return Look(cmap if cmap in COLOUR_MAPS else COLOUR_MAPS[0], metres("near"), metres("far"))


def scale_bar(cmap: str | None, span: tuple[float, float] | None) -> str:
    """The colours with their metres, as HTML."""
    if span is None:
        return '<div class="scale"></div>'
    near, far = span
    ticks = "".join(f"<span>{near + (far - near) * part / 4:.2f} m</span>" for part in range(5))
    ramp = ", ".join(colour_steps(cmap))
    return (
        f'<div class="scale" role="img" aria-label="Colours from {near:.2f} to {far:.2f} metres">'
        f'<div class="ramp" style="background: linear-gradient(to right, {ramp})"></div>'
        f'<div class="ticks">{ticks}</div></div>'
    )
