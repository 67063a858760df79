"""The page as a whole, and its server."""

import argparse
import json
import logging
import os
import shutil
import signal
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

try:
    import gradio as gr
except ImportError as error:
    raise ImportError(f'the page needs {error.name}: pip install "depth_unet[page]"') from error
from gradio.utils import get_function_description
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from depth_unet.hub import forbids_commercial_use
from depth_unet.images import MAX_PIXELS
from depth_unet.page.api import endpoints
from depth_unet.page.batch import batch_view
from depth_unet.page.head import DESCRIPTION, ICON, PICTURES, TITLE, own_head
from depth_unet.page.live import live_view
from depth_unet.page.look import SENT_LONGEST
from depth_unet.page.photo import photo_view
from depth_unet.page.store import Keeper, own_folder
from depth_unet.page.video import MOST_FRAMES, video_view
from depth_unet.page.viewer import purpose
from depth_unet.page.visits import Visits
from depth_unet.predictor import Predictor

FOLDER = Path(__file__).parent
CLEAN_UP = (600, 3600)  # seconds: every ten minutes, files older than an hour
MOST_BYTES = 4e9  # of visitors' files; beyond them, or half of the free disk, the oldest are deleted
MOST_WAITING = 32  # photos in the queue; further ones are refused
LARGEST_MEGABYTES = 100  # of an upload
# gradio runs the ffmpeg program, where there is one, on what strangers send to these.
NOT_OFFERED = ("/gradio_api/process_recording", "/gradio_api/process_recording/")
GRACE = 2  # seconds for answers that are under way when the server ends
TABS = {"photo": "One photo", "photos": "Several photos", "clip": "Video", "live": "Camera, live"}
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # no font of other servers
# gradio's own grey and teal are too pale to read on white, and so is white on them.
READABLE = {"body_text_color_subdued": "*neutral_600", "color_accent": "*primary_700"}
READABLE |= {f"button_primary_background_fill{end}": "*primary_700" for end in ("", "_dark")}
READABLE |= {f"button_primary_background_fill_hover{end}": "*primary_800" for end in ("", "_dark")}
THEME = gr.themes.Default(primary_hue="teal", neutral_hue="slate", **FONTS).set(**READABLE)


class Page(gr.Blocks):
    """gradio's page, whose every error is a sentence without paths of the server."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Refuse addresses, whose content gradio would fetch, and add the last values, which may be left out."""
        traverse(inputs, _refuse_address, is_file_obj_with_meta)
        left_out = [block.value for block in block_fn.inputs[len(inputs) :]]
        return await super().preprocess_data(block_fn, [*inputs, *left_out], *args, **kwargs)

    async def process_api(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a request; what gradio cannot take from it is refused. Our own functions refuse by `refusals`."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:  # gradio and pydantic raise anything here, with paths in it
            logging.getLogger(__name__).info("refused: %s", error)
            sentence = "The request does not fit: values are missing or of another type, or a file was not uploaded."
            raise gr.Error(sentence, print_exception=False) from None

    def get_api_info(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What the page about the endpoints and gradio_client show: with the texts of the functions' docstrings."""
        info = super().get_api_info(*args, **kwargs)
        for function in self.fns.values():
            if endpoint := info["named_endpoints"].get(f"/{function.api_name}"):
                _, texts, returned = get_function_description(function.fn)
                for parameter in endpoint["parameters"]:
                    name = parameter["label"] = parameter["parameter_name"]
                    parameter["python_type"]["description"] = texts[name][0].upper() + texts[name][1:]
                for value, label in zip(endpoint["returns"], returned, strict=True):
                    value["label"] = label
        return info


def _refuse_address(file: dict[str, Any]) -> dict[str, Any]:
    if is_http_url_like(file["path"]):
        raise gr.Error("The photo must be uploaded: this server fetches no addresses.", print_exception=False)
    return file


def build(model: Predictor, moving: Predictor | None = None) -> Page:
    """The page, not yet served; `serve` deletes the files of its visitors.

    Args:
        model: for photos.
        moving: for clips and the webcam; None: the same.
    """
    model.check_metric()
    with Page(title=TITLE, fill_width=True) as page:
        page.visits = Visits(model, Path(page.GRADIO_CACHE), moving)
        gr.Markdown(f"# {TITLE}\n{DESCRIPTION} {purpose(model)}")
        with gr.Tabs():
            for (name, title), view in zip(TABS.items(), (photo_view, batch_view, video_view, live_view), strict=True):
                with gr.Tab(title, elem_id=f"{name}-tab"):
                    view(page.visits)
        gr.Markdown(conditions(*dict.fromkeys((page.visits.model, page.visits.moving))))
        endpoints(page.visits)
    # Serialised: concurrent predictions only slow each other down.
    return page.queue(default_concurrency_limit=1, max_size=MOST_WAITING)


def conditions(*models: Predictor) -> str:
    """What a visitor should know before sending anything, as Markdown: limits, how long files are kept, the models."""
    interval, age = CLEAN_UP
    about = []
    for what, model in zip(("Model", "Model for video and live view"), models, strict=False):
        revision = f", revision {model.revision}" if model.revision else ""
        forbidden = ", which forbids commercial use" if forbids_commercial_use(model.licence) else ""
        about.append(f"**{what}:** {model.name}{revision}; licence of its weights: {model.licence}{forbidden}.")
    return (
        f"**Limits:** files of at most {LARGEST_MEGABYTES} MB; photos of at most {MAX_PIXELS / 1e6:g} megapixels; of a "
        f"clip at most {MOST_FRAMES} frames, taken over its whole length; {MOST_WAITING} requests in the queue. "
        f"**Your files** are deleted from this server after {age / 60:g} to {(age + interval) / 60:g} minutes, and "
        f"when it ends. {' '.join(about)}"
    )


def scripts() -> str:
    """The browser's part, for the head of the page."""
    texts = {name: (FOLDER / name).read_text("utf-8") for name in ("scene.js", "viewer.js", "upload.js", "page.js")}
    values = json.dumps({"sentLongest": SENT_LONGEST, "keptSeconds": CLEAN_UP[1]})
    parts = [f"window.depthPage = {values};", *texts.values()]
    style = (FOLDER / "viewer.css").read_text("utf-8")
    return f"<style>{style}</style>" + "".join(f"<script>{part}</script>" for part in parts)


def check(options: argparse.Namespace) -> None:
    """Refuse a path below which no proxy can show the page, and files with which no server can speak HTTPS."""
    if options.root_path and not options.root_path.startswith(("/", "http://", "https://")):
        raise ValueError(f"--root-path must start with / or be a URL, not {options.root_path!r}")
    if options.ssl_keyfile and not options.ssl_certfile:
        raise ValueError("--ssl-keyfile needs --ssl-certfile")
    files = [file for file in (options.ssl_certfile, options.ssl_keyfile) if file]
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(f"there is no file {missing[0]}")
    try:
        if files:  # with an empty password, or OpenSSL would ask for it at the terminal
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*files, password="")
    except ssl.SSLError:
        names = " and ".join(map(str, files))
        raise ValueError(f"{names}: not a certificate with its key, both as PEM and the key without password") from None


def serve(model: Predictor, moving: Predictor | None, options: argparse.Namespace) -> None:
    """Serve the page of `build`, with the options of the command line, until interrupted or terminated."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # a person or a service manager may send them more than once
        signal.signal(number, lambda *_: ended.set())
    health = {"status": "ok", "model": model.name, "revision": model.revision}
    routes = [Route("/health", lambda _: JSONResponse(health)), *PICTURES]
    routes += [Route(path, lambda _: JSONResponse({}, 404), methods=["POST"]) for path in NOT_OFFERED]
    if not options.mcp:  # gradio's page about the endpoints asks for this; browsers report 404 as an error
        routes.append(Route("/gradio_api/mcp/schema", lambda _: JSONResponse({"detail": "start with --mcp"}, 300)))
    certificate, key = options.ssl_certfile, options.ssl_keyfile or options.ssl_certfile
    with own_folder(Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # where gradio puts uploads and its copies
        if "gradio.mcp" in sys.modules:  # which has read the variable already
            sys.modules["gradio.mcp"].DEFAULT_TEMP_DIR = str(folder)
        page = build(model, moving)
        interval, age = CLEAN_UP
        keeper = Keeper(folder, age, min(MOST_BYTES, shutil.disk_usage(folder).free / 2))
        page.visits.make_room = keeper.sweep
        try:
            page.launch(
                server_name=options.host,
                server_port=options.port,
                root_path=options.root_path,
                ssl_certfile=certificate and str(certificate),
                ssl_keyfile=key and str(key),
                ssl_verify=False,  # gradio asks its own server, whose certificate may be self-signed
                theme=THEME,
                css_paths=FOLDER / "page.css",
                head=scripts(),
                max_file_size=f"{LARGEST_MEGABYTES}mb",
                footer_links=["api", "settings"],
                share=False,
                mcp_server=options.mcp,
                favicon_path=ICON,
                app_kwargs={"routes": routes, "middleware": [Middleware(own_head, root_path=options.root_path)]},
                prevent_thread_lock=True,
            )
        except (OSError, OverflowError):
            raise OSError(f"cannot listen at {options.host}:{options.port}; is another program there?") from None
        swept = time.monotonic()
        while not ended.wait(0.2):  # with a timeout: Windows delivers Ctrl-C only in between
            if time.monotonic() > swept + interval:
                keeper.sweep()
                swept = time.monotonic()
        page.visits.ended = True
        for name in ("uvicorn.error", "asyncio"):  # they log each answer that is cut short
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        page.server.config.timeout_graceful_shutdown = GRACE
        page.close(verbose=False)
