"""The page as a person sees it: headless Chromium against a real server."""

import base64
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from test_page import EXAMPLES, PATIENCE, running_app

from depth_unet import Camera, DepthUNet, DepthUNetConfig, Prediction
from depth_unet.video import write_video

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)

# Chromium's own chatter with its maker would look like requests of the page.
SILENT = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
# No graphics card is needed for 3-D, and no camera for the webcam.
DEVICES = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
FILE, DEPTH = "input[type=file] >> nth=0", "#slider img[alt^='The depth of the photo']"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Iterator[tuple[str, DepthUNet]]:
    with running_app(tmp_path_factory.mktemp("app"), tiny_config) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *SILENT, *DEVICES])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "playwright.Browser", server: tuple[str, DepthUNet]) -> Iterator["playwright.Page"]:
    """The page, opened; whatever the test does, it may speak to its own server only and log no error."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    context.set_default_timeout(PATIENCE * 1000 / 6)
    playwright.expect.set_options(timeout=PATIENCE * 1000 / 6)
    page = context.new_page()
    strangers, errors = [], []
    page.on("request", lambda r: r.url.startswith((server[0], "blob:", "data:")) or strangers.append(r.url))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server[0])
    page.wait_for_selector(FILE, state="attached")
    # The 3-D viewer tries WebGPU first and says so where there is none; gradio notes that a page was left, for another
    # address, before its first question was answered.
    forgiven = ["WebGPU", "AbortError", "Connection errored out"]
    page.forgive = lambda *noise: forgiven.extend(noise)
    yield page
    context.close()
    assert strangers == []
    assert [error for error in errors if not any(noise in error for noise in forgiven)] == []


def shown(page: "playwright.Page", photo: str) -> np.ndarray:
    """The pixels of the depth picture that the browser has loaded for a photo of that name."""
    picture = page.locator(f"{DEPTH}[src$='{photo}_color.jpg']").first
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


def close(seen: np.ndarray, expected: Image.Image) -> bool:
    """Alike but for the compression of the picture on the page."""
    return np.abs(seen.astype(int) - np.asarray(expected.convert("RGB")).astype(int)).mean() < 8


def opened(page: "playwright.Page", photo: Path) -> None:
    page.set_input_files(FILE, photo)
    page.get_by_role("button", name="PNG (16-bit").wait_for()


def turn_to(page: "playwright.Page", name: str) -> None:
    """Open a tab, by keyboard, and look at it before doing more: gradio sets fields back while it builds a tab."""
    page.get_by_role("tab", name=name).press("Enter")
    page.wait_for_timeout(1500)


def click_at(page: "playwright.Page", x: int, y: int) -> None:
    """Click pixel (x, y) of the photo of 160x120 in the tab Measure, wherever the picture lies in its frame."""
    picture = page.locator(".clickable img")
    picture.wait_for()
    box = picture.bounding_box()
    scale = min(box["width"] / 160, box["height"] / 120, 1)  # a small picture is not enlarged
    left, top = (box["width"] - 160 * scale) / 2, (box["height"] - 120 * scale) / 2
    picture.click(position={"x": left + (x + 0.5) * scale, "y": top + (y + 0.5) * scale})


def test_photo_to_depth_and_files(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path):
    names = {"PNG": "room_depth.png", "NPY": "room_depth.npy", "NPZ": "room_depth.npz", "JSON": "room_depth.json"}
    names["Picture in colours"] = "room_color.png"
    buttons = {page.get_by_role("button", name=label): name for label, name in names.items()}
    assert not any(button.is_visible() for button in buttons)

    opened(page, photo)

    expected = server[1].predict(photo)
    assert close(shown(page, "room"), expected.colorize("viridis", scale_bar=False))
    playwright.expect(page.locator(".readout")).to_contain_text(f"Median{np.median(expected.depth):.2f} m")
    playwright.expect(page.get_by_role("status").filter(has_text="Field of view 63°, assumed")).to_be_visible()
    for button, name in buttons.items():
        with page.expect_download() as download:
            button.click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    for name in ("room_depth.json", "room_depth.npy", "room_depth.npz", "room_depth.png"):
        loaded = Prediction.load(tmp_path / name)
        np.testing.assert_allclose(loaded.depth, expected.depth, atol=0.00051 if name.endswith("png") else 0)
        assert loaded.about() == {**expected.about(), "model": "model"}  # named after its folder
    with Image.open(tmp_path / "room_color.png") as coloured:
        np.testing.assert_array_equal(np.asarray(coloured), np.asarray(expected.colorize("viridis")))


def test_see_in_other_colours(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path):
    opened(page, photo)
    first = page.locator(DEPTH).first.get_attribute("src")
    page.get_by_label("Far, m").fill("7.5")
    page.get_by_label("Far, m").press("Enter")
    playwright.expect(page.locator(".scale")).to_contain_text("7.50 m")
    playwright.expect(page.locator(DEPTH).first).not_to_have_attribute("src", first)
    assert close(shown(page, "room"), server[1].predict(photo).colorize("viridis", far=7.5, scale_bar=False))


def test_measure_and_calibrate(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path):
    opened(page, photo)
    turn_to(page, "Measure")
    click_at(page, 40, 60)
    playwright.expect(page.get_by_role("status").filter(has_text="from the camera to (40, 60)")).to_be_visible()
    expected = server[1].predict(photo)
    playwright.expect(page.locator(".measured").first).to_have_text(f"{expected.distance(40, 60):.2f} m")

    click_at(page, 120, 80)
    between = expected.distance_between((40, 60), (120, 80))
    playwright.expect(page.get_by_role("status").filter(has_text="between (40, 60) and (120, 80)")).to_be_visible()
    playwright.expect(page.locator(".measured").first).to_have_text(f"{between:.2f} m")

    page.get_by_label("True length, m").fill("2.5")
    page.get_by_role("button", name="Calibrate").click()
    playwright.expect(page.locator(".calibrated")).to_have_text(f"Calibrated × {2.5 / between:.3f}")
    playwright.expect(page.locator(".measured").first).to_have_text("2.50 m")
    median = np.median(expected.depth) * 2.5 / between
    playwright.expect(page.locator(".readout")).to_contain_text(f"Median{median:.2f} m")

    page.get_by_role("button", name="Undo").click()
    playwright.expect(page.locator(".calibrated")).to_have_count(0)
    playwright.expect(page.locator(".measured").first).to_have_text(f"{between:.2f} m")


def test_points_and_field_of_view_by_keyboard(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path):
    opened(page, photo)
    turn_to(page, "Measure")
    page.get_by_role("button", name="Points by keyboard").press("Enter")
    page.get_by_label("Pixels x, y").fill("40, 60 120, 80")
    page.get_by_label("Pixels x, y").press("Enter")
    playwright.expect(page.get_by_role("status").filter(has_text="between (40, 60) and (120, 80)")).to_be_visible()
    page.get_by_label("Field of view").fill("80")
    page.get_by_label("Field of view").press("Enter")
    playwright.expect(page.get_by_role("status").filter(has_text="Field of view 80°, as you said")).to_be_visible()
    expected = server[1].predict(photo, Camera.from_fov(160, 120, 80))
    length = expected.distance_between((40, 60), (120, 80))
    playwright.expect(page.locator(".measured").first).to_have_text(f"{length:.2f} m")


def test_three_dimensions(page: "playwright.Page", photo: Path, tmp_path: Path):
    opened(page, photo)
    turn_to(page, "3-D")
    page.get_by_label("Longer side of the print").fill("60")
    page.get_by_label("Longer side of the print").press("Tab")
    page.get_by_role("button", name="Build").click()
    for label, name in {"GLB": "room.glb", "PLY": "room.ply", "STL": "room.stl"}.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    assert len(trimesh.load(tmp_path / "room.glb").geometry) == 1
    assert len(trimesh.load(tmp_path / "room.ply").vertices) == 160 * 120
    plate = trimesh.load(tmp_path / "room.stl")
    assert plate.is_watertight and plate.extents[0] == pytest.approx(60)
    canvas = page.locator("canvas:visible")
    canvas.wait_for()
    seen = b""
    for _ in range(60):  # until the viewer has drawn the photo into its grey
        seen = canvas.screenshot()
        if np.asarray(Image.open(io.BytesIO(seen)).convert("RGB")).reshape(-1, 3).std(0).max() > 10:
            break
        page.wait_for_timeout(500)
    else:
        pytest.fail("nothing shows in the viewer")


def open_tab(page: "playwright.Page", name: str) -> None:
    """A tab that a phone has in a menu; the page is wide enough for it when it opens."""
    page.set_viewport_size({"width": 1000, "height": 900})
    page.reload()
    page.get_by_role("tab", name=name).click()


def test_video(page: "playwright.Page", tmp_path: Path):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)).resize((96, 72))
    write_video(tmp_path / "clip.mp4", iter([picture] * 6), 10)
    open_tab(page, "Video")
    page.set_input_files("input[type=file][accept*=video]", tmp_path / "clip.mp4")
    page.locator("video").first.wait_for()
    page.get_by_role("button", name="Start video").click()
    page.get_by_text("6 frames, colours from").wait_for()
    playwright.expect(page.locator("video[src*='depth']")).to_be_visible()


def test_several_photos(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture at all")
    open_tab(page, "Several photos")
    page.set_input_files("input[type=file][multiple]", [photo, broken])
    page.get_by_role("button", name="Start").click()
    page.get_by_text("broken.jpg is not a picture").locator("visible=true").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert {*archive.namelist()} == {f"room_{end}" for end in ("depth.png", "depth.npy", "depth.json", "color.png")}
        depth = np.load(io.BytesIO(archive.read("room_depth.npy")))
    np.testing.assert_array_equal(depth, server[1].predict(photo).depth)


def test_cancel_stops_and_the_page_goes_on(page: "playwright.Page", photo: Path, tmp_path: Path):
    photos = [tmp_path / f"photo{number:02d}.jpg" for number in range(40)]
    with Image.open(photo) as image:
        image.resize((2400, 1800)).save(photos[0])  # takes time
    for other in photos[1:]:
        other.write_bytes(photos[0].read_bytes())
    open_tab(page, "Several photos")
    page.set_input_files("input[type=file][multiple]", photos)
    page.get_by_role("button", name="Start").click()
    rows = page.locator("[data-row]:visible").filter(has_text="photo")
    rows.first.wait_for()
    page.get_by_role("button", name="Cancel").click()

    page.wait_for_timeout(2500)  # for what was under way
    done = rows.count()
    page.wait_for_timeout(2500)
    assert 0 < rows.count() == done < 20
    page.get_by_role("tab", name="One photo").click()
    opened(page, photo)


def test_live_camera(page: "playwright.Page"):
    open_tab(page, "Camera, live")
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_text("Record", exact=True).click()  # to a screen reader gradio calls it "capture photo"
    page.get_by_text("Middle of the picture").wait_for()
    page.locator("img[alt^='The depth of what the camera sees']").wait_for()


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
    playwright.expect(page.get_by_role("button", name="NPY")).to_be_hidden()

    page.set_input_files(FILE, photo)  # and the page goes on working
    assert np.ptp(shown(page, "room")) > 0


def test_what_is_too_large_is_refused(page: "playwright.Page", photo: Path, tmp_path: Path):
    Image.new("1", (12000, 11000)).save(tmp_path / "wide.png")
    page.set_input_files(FILE, tmp_path / "wide.png")
    page.get_by_text("wide.png has 12000x11000 pixels, at most 120,000,000 are read").wait_for()
    page.get_by_text("Drop Image Here").wait_for()  # clearing the refused file would also drop the next one
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
    uploaded = page.locator("img[alt='The photo'][src$='scan_photo.jpg']").first
    uploaded.wait_for()
    assert uploaded.evaluate("image => image.decode().then(() => image.naturalWidth)") == 160


def test_the_address_tells_what_is_shown(page: "playwright.Page", server: tuple[str, DepthUNet]):
    page.goto(server[0] + "?__theme=light&example=kitchen&cmap=magma&far=5&near=nonsense")
    shown(page, "kitchen")
    playwright.expect(page.locator(".scale")).to_contain_text("5.00 m")
    playwright.expect(page.locator("input[aria-label=Colours]")).to_have_value("magma")
    page.get_by_label("Far, m").fill("7.5")
    page.get_by_label("Far, m").press("Enter")
    page.wait_for_url(server[0] + "?__theme=light&example=kitchen&cmap=magma&far=7.5")
    page.locator(".gallery-item").first.click()
    page.wait_for_url(server[0] + "?__theme=light&example=bedroom&cmap=magma&far=7.5")


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


def test_example(page: "playwright.Page"):
    first = min(path.stem for path in EXAMPLES.iterdir())
    page.locator(".gallery-item").first.click()
    assert np.ptp(shown(page, first)) > 0
