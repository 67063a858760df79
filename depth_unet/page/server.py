"""The page as a whole, and its server."""

import signal
from pathlib import Path

try:
    import gradio as gr
except ImportError as error:
    raise ImportError(f'the page needs {error.name}: pip install "depth_unet[page]"') from error
from starlette.responses import JSONResponse
from starlette.routing import Route

from depth_unet.hub import forbids_commercial_use
from depth_unet.page.api import endpoints
from depth_unet.page.batch import batch_view
from depth_unet.page.live import live_view
from depth_unet.page.photo import photo_view
from depth_unet.page.video import video_view
from depth_unet.page.visits import Visits
from depth_unet.predictor import Predictor

FOLDER = Path(__file__).parent
CLEAN_UP = (600, 3600)  # seconds: every ten minutes, files older than an hour
MOST_WAITING = 32  # photos in the queue; further ones are refused
LARGEST_FILE = "100mb"

THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],  # of the system: the page requests nothing from other servers
    font_mono=["ui-monospace", "monospace"],
).set(body_text_color_subdued="*neutral_600")  # gradio's own grey is too pale to read on white


def build(model: Predictor) -> gr.Blocks:
    """The page for one model, not yet served."""
    with gr.Blocks(title="Depth from one photo", delete_cache=CLEAN_UP) as page:
        visits = Visits(model, page)
        model.check_metric()
        gr.Markdown("# Depth from one photo\nOne picture in, the distance of everything in it out: in metres.")
        tabs = {"One photo": photo_view, "Several photos": batch_view, "Video": video_view, "Camera, live": live_view}
        with gr.Tabs():
            for title, view in tabs.items():
                with gr.Tab(title):
                    view(visits)
        at = f", revision {model.revision}" if model.revision else ""
        forbidden = ", which forbids commercial use" if forbids_commercial_use(model.licence) else ""
        gr.Markdown(f"Model: {model.name}{at}; licence of its weights: {model.licence}{forbidden}.")
        endpoints(visits)
        page.load(None, js="() => depthPage.describe()")
    # Serialised: concurrent predictions only slow each other down.
    return page.queue(default_concurrency_limit=1, max_size=MOST_WAITING)


def serve(model: Predictor, host: str, port: int, mcp: bool = False) -> None:
    """Serve the page until interrupted, then delete the files of its visitors.

    Raises:
        OSError: the port is taken, or there is no such address.
    """
    page = build(model)
    # A service manager ends the server like Ctrl-C: gradio then deletes the files of its visitors.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    health = {"status": "ok", "model": model.name, "revision": model.revision}
    try:
        page.launch(
            server_name=host,
            server_port=port,
            theme=THEME,
            css_paths=FOLDER / "page.css",
            head=f"<script>{(FOLDER / 'page.js').read_text('utf-8')}</script>",
            max_file_size=LARGEST_FILE,
            footer_links=["api", "settings"],
            share=False,
            mcp_server=mcp,
            app_kwargs={"routes": [Route("/health", lambda request: JSONResponse(health))]},
        )
    except (OSError, OverflowError):
        raise OSError(f"cannot listen at {host}:{port}; is another program there?") from None
    finally:
        # gradio deletes them too, unless an open connection keeps it from ending in time.
        cache = Path(page.GRADIO_CACHE).resolve()
        for path in {Path(path).resolve() for kept in page.temp_file_sets for path in kept}:
            if path.is_relative_to(cache):
                path.unlink(missing_ok=True)
