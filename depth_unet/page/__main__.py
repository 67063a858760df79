"""`python -m depth_unet.page`, `depth-unet-page` or `python app.py`: serve the page for one model."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from depth_unet.engines import add_model_options, open_metric


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m depth_unet.page",
        description="Serve the page: a photo goes in, its depth in metres comes out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_model_options(made)
    made.add_argument("--video-model", help="another model for video and live view, for instance nano")
    # A Hugging Face Space sets these variables; an empty one counts as unset.
    host, port, root = (os.environ.get(f"GRADIO_{name}", "") for name in ("SERVER_NAME", "SERVER_PORT", "ROOT_PATH"))
    made.add_argument("--host", default=host or "127.0.0.1", help="address to listen at; 0.0.0.0 lets the network in")
    made.add_argument("--port", type=int, default=port or "7860", help="port to listen at")
    made.add_argument("--mcp", action="store_true", help="serve the endpoints as MCP tools too, at /gradio_api/mcp")
    made.add_argument("--ssl-certfile", type=Path, help="certificate (PEM): serve HTTPS")
    made.add_argument("--ssl-keyfile", type=Path, help="its private key (PEM)  (default: in the certificate's file)")
    below = "path or URL below which a reverse proxy shows the page: /depth"
    made.add_argument("--root-path", default=root, help=below)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; 2 if the server cannot start."""
    options = parser().parse_args(arguments)
    try:
        if options.mcp and importlib.util.find_spec("mcp") is None:
            raise ImportError('--mcp needs another package: pip install "gradio[mcp]"')
        from depth_unet.page.server import check, serve  # gradio: slow, or not there

        check(options)
        names = (options.model, options.video_model)
        models = (name and open_metric(name, options.device, options.dtype) for name in names)
        serve(*models, options)
    except KeyboardInterrupt:  # while the model was loaded
        return 130
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
