"""`python -m docs.page` takes the pictures of the page in docs/; it needs Chromium and playwright.

page.jpg (measuring, in README.md), page_arrival.jpg, page_space.jpg, page_print.jpg and page_phone.jpg.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.page_server import serving
from depth_unet.files import write_atomically

ROOT = Path(__file__).parent.parent
PATIENCE = 300  # seconds
# From the left and from the top, as parts of the picture's sides.
TABLE, CUSHIONS, BACK = ((0.34, 0.82), (0.59, 0.63)), ((0.51, 0.32), (0.91, 0.42)), ((0.74, 0.9), (0.72, 0.31))


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (url, _), sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        wide = opened(browser.new_page(viewport={"width": 1280, "height": 800}), url)
        take(wide, "page_arrival")
        for tool, points in (("Line", TABLE), ("Line", CUSHIONS), ("Height", BACK)):
            wide.get_by_role("tab", name="Measure").click()
            wide.get_by_role("radio", name=tool).check(force=True)
            for point in points:
                wide.mouse.click(*place(wide, *point))
        wide.mouse.move(*place(wide, 0.55, 0.5))
        take(wide, "page")
        wide.get_by_role("tab", name="3-D").click()
        wide.locator("[data-part=space]").focus()
        for _ in range(4):
            wide.keyboard.press("ArrowLeft")
        wide.keyboard.press("ArrowUp")
        take(wide, "page_space")
        wide.get_by_role("tab", name="Print").click()
        wide.get_by_label("Frame, mm").fill("4")
        take(wide, "page_print")
        phone = browser.new_context(
            viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, color_scheme="dark"
        )
        take(opened(phone.new_page(), url), "page_phone")
        browser.close()


def opened(page: Page, url: str) -> Page:
    """The page with its first result."""
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(url)
    page.locator("[data-part=distance]").filter(has_text=" m").wait_for()
    return page


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place in the picture is on the screen."""
    page.locator(".dv-frame").scroll_into_view_if_needed()
    box = page.locator(".dv-frame").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def take(page: Page, name: str) -> None:
    """Write one picture, once all is drawn."""
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(2000)
    write_atomically(ROOT / "docs" / f"{name}.jpg", page.screenshot(type="jpeg", quality=85))


if __name__ == "__main__":
    main()
