"""The page as a person sees it: headless Chromium against a real server."""

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_app import PATIENCE, ROOT, running_app

from depth_unet import DepthUNet, DepthUNetConfig

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)

# Chromium's own chatter with its maker would look like requests of the page.
SILENT = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
FILE, DEPTH = "input[type=file]", "img[alt^='The depth of the photo']"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Iterator[tuple[str, DepthUNet]]:
    with running_app(tmp_path_factory.mktemp("app"), tiny_config) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *SILENT])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "playwright.Browser", server: tuple[str, DepthUNet]) -> Iterator["playwright.Page"]:
    """The page, opened; whatever the test does, it may speak to its own server only and log no error."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    strangers, errors = [], []
    page.on("request", lambda r: r.url.startswith((server[0], "blob:", "data:")) or strangers.append(r.url))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server[0])
    page.wait_for_selector(FILE, state="attached")
    yield page
    context.close()
    assert strangers == []
    assert errors == []


def shown(page: "playwright.Page", photo: str) -> np.ndarray:
    """The pixels of the depth picture that the browser has loaded for a photo of that name."""
    picture = page.locator(f"{DEPTH}[src$='{photo}_color.png']")
    picture.wait_for()
    encoded = picture.evaluate(
        """async image => {
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png");
        }"""
    )
    with Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_photo_to_depth_and_files(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path):
    buttons = [page.get_by_role("button", name=name) for name in ("Download PNG", "Download NPY")]
    assert not any(button.is_visible() for button in buttons)

    page.set_input_files(FILE, photo)

    expected = server[1].predict(photo)
    np.testing.assert_array_equal(shown(page, "room"), np.asarray(expected.colorize()))
    playwright.expect(page.locator(".readout")).to_contain_text(f"Median{np.median(expected.depth):.2f} m")
    playwright.expect(page.get_by_role("status").filter(has_text="Field of view 63°, assumed")).to_be_visible()
    for button, name in zip(buttons, ("room_depth.png", "room_depth.npy"), strict=True):
        with page.expect_download() as download:
            button.click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "room_depth.npy"), expected.depth)
    with Image.open(tmp_path / "room_depth.png") as millimetres:
        assert millimetres.size == (160, 120)


def test_bad_file_is_refused_and_nothing_stale_stays(page: "playwright.Page", photo: Path, tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture at all")
    page.set_input_files(FILE, photo)
    shown(page, "room")

    page.set_input_files(FILE, broken)

    sentence = page.get_by_text("broken.jpg is not a picture in a known format")
    sentence.wait_for()
    assert sentence.count() == 1
    page.locator(DEPTH).wait_for(state="detached")
    playwright.expect(page.locator(".readout")).to_contain_text("Median–")
    playwright.expect(page.get_by_role("button", name="Download NPY")).to_be_hidden()

    page.set_input_files(FILE, photo)  # and the page goes on working
    assert np.ptp(shown(page, "room")) > 0


def test_nothing_is_wider_than_a_phone(page: "playwright.Page", photo: Path):
    page.set_input_files(FILE, photo)
    shown(page, "room")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_control_has_a_name(page: "playwright.Page", photo: Path):
    page.set_input_files(FILE, photo)
    shown(page, "room")
    unnamed = page.locator("button:visible, input:visible, a:visible, img:visible").evaluate_all(
        """all => {
            const name = e => e.ariaLabel || e.title || e.alt || e.innerText?.trim();
            return all.filter(e => ![e, e.closest("button, a"), ...e.querySelectorAll("*")].some(e => e && name(e)))
                .map(e => e.outerHTML);
        }"""
    )
    assert unnamed == []


@pytest.mark.skipif(not [*(ROOT / "docs" / "examples").glob("*.jpg")], reason="docs/examples has no pictures")
def test_example(page: "playwright.Page"):
    first = sorted(path.stem for path in (ROOT / "docs" / "examples").glob("*.jpg"))[0]
    page.locator(".gallery-item").first.click()
    assert np.ptp(shown(page, first)) > 0
