"""gradio's components and events with the options that all tabs use."""

import functools

import gradio as gr

PICTURE_HEIGHT = "min(26rem, 85vw)"
# Events of the page, which are no endpoints for programs; the quiet ones show no progress over their outputs.
PRIVATE = {"api_visibility": "private"}
QUIET = {**PRIVATE, "show_progress": "hidden"}

picture = functools.partial(gr.Image, type="filepath", height=PICTURE_HEIGHT, buttons=["fullscreen"])
download = functools.partial(gr.DownloadButton, size="md", min_width=120)
