"""The head of the page's HTML: title, description, icon and preview picture, for people, search engines, messengers."""

import html
import re
from pathlib import Path

from gradio.route_utils import get_root_url
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).parent
TITLE = "Depth from one photo"
DESCRIPTION = "One picture in, the distance of everything in it out: in metres."
ICON = FOLDER / "icon.svg"
PICTURES = [Route(f"/{p.name}", lambda _, p=p: FileResponse(p)) for p in (ICON, FOLDER / "preview.jpg")]
GRADIOS_OWN = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')


def own_head(app: ASGIApp, root_path: str) -> ASGIApp:
    """ASGI middleware that replaces what gradio writes about itself into the HTML of the page.

    `root_path` is the path or URL below which a reverse proxy shows the page; "" without one.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def replace(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(raw=message["headers"])["content-length"]
            elif message.get("body"):
                address = get_root_url(Request(scope), "/", root_path)
                message["body"] = with_own_head(message["body"].decode(), address).encode()
            await send(message)

        # A proxy may or may not cut off its own path.
        is_page = scope["type"] == "http" and scope["path"] in ("/", f"{scope.get('root_path', '')}/")
        await app(scope, receive, replace if is_page and scope["method"] == "GET" else send)

    return answer


def with_own_head(page: str, address: str) -> str:
    """HTML of gradio with a head of our own, for a page at an address without a slash at its end."""
    template = (FOLDER / "head.html").read_text("utf-8")
    own = template.format(title=TITLE, description=DESCRIPTION, address=html.escape(address))
    # The manifest's address starts with a slash, which leads out of a page below a path.
    page = GRADIOS_OWN.sub("", page).replace('href="/manifest.json"', 'href="manifest.json"')
    return page.replace("</head>", own + "</head>", 1)
