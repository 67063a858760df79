"""Headless Chromium against a real server."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from test_page import PATIENCE, running_app

from depth_unet import DepthUNet, DepthUNetConfig

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
# Chromium's own chatter with its maker would look like requests of the page.
SILENT = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
# No camera is needed for the webcam.
DEVICES = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Iterator[tuple[str, DepthUNet]]:
    with running_app(tmp_path_factory.mktemp("app"), tiny_config) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *SILENT, *DEVICES])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: "Browser", url: str) -> Iterator["Page"]:
    """The page on a phone; whatever a test does, it may speak to its own server only and log no error."""
    from playwright.sync_api import expect

    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    context.set_default_timeout(PATIENCE * 1000 / 3)
    expect.set_options(timeout=PATIENCE * 1000 / 3)
    page = context.new_page()
    strangers, errors = [], []
    page.on("request", lambda r: r.url.startswith((url, "blob:", "data:")) or strangers.append(r.url))
    page.on("response", lambda r: r.status >= 400 and errors.append(f"{r.status} {r.url}"))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.locator("#photo input[type=file]").wait_for(state="attached")
    # Gradio notes that a page was left, for another address, before its first question was answered.
    forgiven = ["AbortError", "Connection errored out"]
    page.forgive = lambda *noise: forgiven.extend(noise)
    yield page
    context.close()
    assert strangers == []
    assert [error for error in errors if not any(noise in error for noise in forgiven)] == []


@pytest.fixture
def page(browser: "Browser", server: tuple[str, DepthUNet]) -> Iterator["Page"]:
    """The page, opened for one test."""
    with opened(browser, server[0]) as page:
        yield page


@pytest.fixture(scope="module")
def lasting_page(browser: "Browser", server: tuple[str, DepthUNet]) -> Iterator["Page"]:
    """The page, opened once for all tests of a file that leave it as they found it."""
    with opened(browser, server[0]) as page:
        yield page
