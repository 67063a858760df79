"""The photo's tab as a person sees it: headless Chromium against a real server, on a phone."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from test_page import EXAMPLES
from test_viewer_in_browser import written

from depth_unet import Camera, DepthUNet

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
FILE = "#photo input[type=file]"


def opened(page: "playwright.Page", photo: Path) -> None:
    page.set_input_files(FILE, photo)
    expect(page.locator(".dv-about")).to_contain_text(photo.name)


def place(page: "playwright.Page", x: float, y: float) -> tuple[float, float]:
    """Where pixel (x, y) of the depth map is on the screen."""
    page.locator(".dv-frame").scroll_into_view_if_needed()
    box = page.locator(".dv-frame").bounding_box()
    width, height = page.evaluate("(({width, height}) => [width, height])(document.querySelector('[data-part=depth]'))")
    return box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height


def saved(page: "playwright.Page", name: str, folder: Path) -> Path:
    page.get_by_role("tab", name="Save").click()
    with page.expect_download() as download:
        page.locator(".dv-files").get_by_role("button", name=name).click()
    download.value.save_as(folder / download.value.suggested_filename)
    return folder / download.value.suggested_filename


def test_a_finished_result_is_there_at_once(page: "playwright.Page", server: tuple[str, DepthUNet]):
    computed = []
    page.on("request", lambda request: "/queue/" in request.url and computed.append(request.url))
    page.reload()
    depth = server[1].predict(EXAMPLES / "living_room.jpg")
    expect(page.locator("[data-part=distance]")).to_have_text(written(depth, 480, 360))
    expect(page.get_by_text("from 0.3 to 12 m")).to_be_visible()  # what the model is for
    assert computed == []


def test_looking_and_measuring_asks_nobody(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path):
    opened(page, photo)
    page.wait_for_timeout(2000)
    asked = []
    # Chromium itself takes the icon again when the address names other colours.
    own = ("data:", "blob:", f"{server[0]}icon.svg")
    page.on("request", lambda request: request.url.startswith(own) or asked.append(request.url))
    expected = server[1].predict(photo)
    for x, y in ((20, 30), (140, 100)):
        page.mouse.move(*place(page, x, y))
        expect(page.locator("[data-part=distance]")).to_have_text(written(expected, x, y))
    page.get_by_role("radio", name="magma").check(force=True)
    page.mouse.click(*place(page, 20, 30))
    page.mouse.click(*place(page, 140, 100))
    (made,) = page.evaluate("depthPage.viewer.state().measurements")
    assert made["value"] == pytest.approx(expected.distance_between((20, 30), (140, 100)), abs=0.002)
    page.get_by_label("True length, m").fill("2.5")
    page.get_by_role("button", name="Calibrate").click()
    expect(page.get_by_text("Calibrated ×")).to_be_visible()
    assert page.evaluate("depthPage.viewer.state().measurements[0].value") == pytest.approx(2.5)
    assert asked == []


def test_files_of_what_is_on_the_screen(
    page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path
):
    opened(page, photo)
    page.locator("summary").click()
    page.get_by_label("Field of view").fill("80")
    page.get_by_role("button", name="Change").click()
    page.mouse.click(*place(page, 20, 30))
    page.mouse.click(*place(page, 140, 100))
    page.get_by_label("True length, m").fill("2.5")
    page.get_by_role("button", name="Calibrate").click()
    expected = server[1].predict(photo, Camera.from_fov(160, 120, 80)).calibrate_length([(20, 30), (140, 100)], 2.5)
    depth = saved(page, "Depth, metres", tmp_path)
    assert depth.name == "room_depth.npy"
    np.testing.assert_allclose(np.load(depth), expected.depth, rtol=0.002)
    with Image.open(saved(page, "Depth, 16 bit", tmp_path)) as image:
        np.testing.assert_allclose(np.asarray(image) / 1000, np.load(depth), atol=0.00051)
    assert len(trimesh.load(saved(page, "Surface", tmp_path)).geometry) == 1
    assert len(trimesh.load(saved(page, "Points", tmp_path)).vertices) == 160 * 120
    page.get_by_role("tab", name="Print").click()
    page.get_by_label("Longer side, mm").fill("60")
    with page.expect_download() as download:
        page.locator("[data-part=printers]").get_by_role("button", name="STL").click()
    download.value.save_as(tmp_path / "room.stl")
    plate = trimesh.load(tmp_path / "room.stl")
    assert plate.is_watertight and plate.extents[0] == pytest.approx(60)


def test_a_removed_photo_gives_way_to_the_first_result(
    page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path
):
    opened(page, photo)
    page.get_by_role("button", name="Remove photo").click()
    expect(page.locator(".dv-about")).to_contain_text("Living room")
    file = saved(page, "Depth, metres", tmp_path)
    assert file.name == "living_room_depth.npy"
    np.testing.assert_allclose(np.load(file), server[1].predict(EXAMPLES / "living_room.jpg").depth, atol=0.002)


def test_a_refused_file_leaves_the_picture(page: "playwright.Page", photo: Path, tmp_path: Path):
    opened(page, photo)
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture at all")
    page.set_input_files(FILE, broken)
    expect(page.get_by_text("broken.jpg is not a picture in a known format")).to_be_visible()
    expect(page.locator(".dv-frame")).to_be_visible()
    expect(page.locator(".dv-about")).to_contain_text("room.jpg")
    assert page.locator(".error, .toast-body").count() == 0
    opened(page, photo)
    expect(page.get_by_text("broken.jpg")).to_have_count(0)


def test_what_is_too_large_is_refused(page: "playwright.Page", photo: Path, tmp_path: Path):
    Image.new("1", (12000, 11000)).save(tmp_path / "wide.png")
    page.set_input_files(FILE, tmp_path / "wide.png")
    page.get_by_text("wide.png has 12000x11000 pixels, at most 120,000,000 are read").wait_for()
    with (tmp_path / "heavy.jpg").open("wb") as file:
        file.truncate(110_000_000)
    page.set_input_files(FILE, tmp_path / "heavy.jpg")
    page.get_by_text("exceed the maximum allowed size of 100").wait_for()
    opened(page, photo)
    page.forgive("404", "Response")  # how gradio refuses an upload


def test_a_photo_that_browsers_cannot_show_is_shown(page: "playwright.Page", photo: Path, tmp_path: Path):
    with Image.open(photo) as image:
        image.save(tmp_path / "scan.tif")
    opened(page, tmp_path / "scan.tif")
    shown = "[...document.querySelector('[data-part=photo]').getContext('2d').getImageData(0, 0, 160, 120).data]"
    pixels = np.array(page.evaluate(shown)).reshape(120, 160, 4)[..., :3]
    with Image.open(photo) as image:
        assert np.abs(pixels - np.asarray(image.convert("RGB")).astype(int)).mean() < 4


def test_the_address_tells_what_is_shown(page: "playwright.Page", server: tuple[str, DepthUNet]):
    page.goto(server[0] + "?__theme=light&example=kitchen&cmap=magma&far=5&near=nonsense")
    expect(page.locator(".dv-about")).to_contain_text("Kitchen")
    expect(page.locator("[data-part=far]")).to_have_text("5.00 m")
    expect(page.get_by_role("radio", name="magma")).to_be_checked()
    page.get_by_role("button", name="Automatic").click()
    page.wait_for_url(server[0] + "?__theme=light&example=kitchen&cmap=magma")
    page.get_by_role("button", name="Example: Bedroom").click()
    page.wait_for_url(server[0] + "?__theme=light&example=bedroom&cmap=magma")


def test_nothing_is_wider_than_a_phone(page: "playwright.Page", photo: Path):
    opened(page, photo)
    for name in ("Colours", "Measure", "3-D", "Print", "Save"):
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_control_has_a_name(page: "playwright.Page", photo: Path):
    opened(page, photo)
    unnamed = page.locator("button:visible, input:visible, a:visible, img:visible").evaluate_all(
        """all => {
            const name = e => e.ariaLabel || e.title || e.alt || e.labels?.[0]?.innerText.trim() || e.innerText?.trim();
            return all.filter(e => ![e, e.closest("button, a"), ...e.querySelectorAll("*")].some(e => e && name(e)))
                .map(e => e.outerHTML);
        }"""
    )
    assert unnamed == []
