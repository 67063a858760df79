"""The page in the browser; no other part of `depth_unet` imports gradio."""

import os

# gradio reads these when it is imported, and stops at an empty port.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
    if not os.environ.get(name):
        os.environ.pop(name, None)
