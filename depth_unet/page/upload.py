"""How photos reach the server; the browser's part is upload.js."""

from pathlib import Path

import gradio as gr

from depth_unet.page.components import PRIVATE

SENT_LONGEST = 2560  # pixels of a JPEG that the browser sends; the networks see a quarter of them
SCRIPT = Path(__file__).with_name("upload.js")


def upload_script(kept_seconds: float) -> str:
    """The browser's part, for the head of the page.

    Args:
        kept_seconds: how long the server keeps a photo.
    """
    values = f"window.depthPage = {{sentLongest: {SENT_LONGEST}, keptSeconds: {kept_seconds}}};"
    return f"<script>{values}\n{SCRIPT.read_text('utf-8')}</script>"


def upload_controls(page: gr.Blocks, source: gr.UploadButton) -> gr.Button:
    """Build the switch for photos in full size, and keep the photo of `source` in its tab across reloads.

    Args:
        page: the whole page.
        source: where photos are chosen; its `elem_id` must be "photo".

    Returns:
        The button that removes the photo.
    """
    with gr.Row():
        label = f"Send photos in full size, not {SENT_LONGEST:,} pixels"
        gr.Checkbox(label=label, elem_id="full-size", container=False, scale=3)
        remove = gr.Button("Remove photo", size="sm", min_width=120)
    source.upload(None, source, js="file => depthPage.keep(file)", **PRIVATE)
    remove.click(None, js="() => depthPage.keep(null)", **PRIVATE)
    page.load(None, js="() => depthPage.restore()")
    return remove
