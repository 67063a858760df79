"""`python -m docs.page` takes the picture of the page that README.md shows; it needs Chromium and playwright."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from depth_unet.files import write_atomically

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "depth_unet" / "page" / "examples" / "living_room.jpg"


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    server = subprocess.Popen([sys.executable, str(ROOT / "app.py"), "--port", str(port)], env={**os.environ})
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(url + "health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        with sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 820})
            page.goto(url)
            page.set_input_files("input[type=file] >> nth=0", PHOTO)
            page.get_by_role("button", name="PNG (16-bit").wait_for(timeout=120_000)
            page.get_by_role("tab", name="Measure").click()
            for x, y in ((288, 443), (672, 359)):
                box = page.locator(".clickable img").bounding_box()
                scale = min(box["width"] / 960, box["height"] / 720)
                left, top = (box["width"] - 960 * scale) / 2, (box["height"] - 720 * scale) / 2
                page.locator(".clickable img").click(position={"x": left + x * scale, "y": top + y * scale})
                page.locator(".measured").wait_for(timeout=60_000)
                page.wait_for_timeout(1500)
            write_atomically(ROOT / "docs" / "page.jpg", page.screenshot(type="jpeg", quality=80))
            browser.close()
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
