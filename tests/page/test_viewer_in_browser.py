"""The viewer alone, as a person uses it: headless Chromium, a room of known size, and nothing to ask."""

import base64
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from scenes import FLOOR, render

from depth_unet import Camera, Prediction
from depth_unet.mesh import relief

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)

FOLDER = Path(__file__).parents[2] / "depth_unet" / "page"
PATIENCE = 60_000  # milliseconds; a busy machine draws slowly
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
CAMERA = Camera.from_fov(320, 240, 65)
PHOTO, DEPTH = render(CAMERA)
ROOM = Prediction(DEPTH, CAMERA, name="my room.jpg")
SCRIPTS = "".join(f"<script>{(FOLDER / name).read_text('utf-8')}</script>" for name in ("scene.js", "viewer.js"))
BLANK = f"""<!doctype html><html lang="en"><head><title>Depth</title>{SCRIPTS}
    <meta name="viewport" content="width=device-width">
    <style>{(FOLDER / "viewer.css").read_text("utf-8")}
    :root {{ color-scheme: light dark }} body {{ background: light-dark(white, #0b1220) }}</style></head>
    <body><main><h1 style="color: light-dark(black, white)">Depth</h1><div id="place"></div></main></body></html>"""
SHOW = """async ({photo, depth, uncertainty, ...rest}) => {
    const floats = text => text && new Float32Array(Uint8Array.from(atob(text), letter => letter.charCodeAt()).buffer);
    window.viewer ??= new DepthViewer(document.querySelector("#place"), {onChange: state => (window.told = state)});
    await viewer.show({photo, depth: floats(depth), uncertainty: floats(uncertainty), ...rest});
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
}"""


def written(prediction: Prediction, x: int, y: int) -> str:
    """The distance of a pixel as the page states it."""
    metres, sigma = prediction.distance(x, y), prediction.distance_uncertainty(x, y)
    digits = 2 if sigma is None else min(max(-int(np.floor(np.log10(sigma))), 0), 3)
    return f"{metres:.{digits}f} m" if sigma is None else f"{metres:.{digits}f} ± {sigma:.{digits}f} m"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def show(page: "playwright.Page", prediction: Prediction = ROOM, photo: np.ndarray = PHOTO, **more: Any) -> None:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    camera, doubt = prediction.camera, prediction.uncertainty
    given = {
        "photo": f"data:image/png;base64,{encoded(file.getvalue())}",
        "depth": encoded(prediction.depth.astype("<f4").tobytes()),
        "uncertainty": None if doubt is None else encoded(doubt.astype("<f4").tobytes()),
        "width": camera.width,
        "height": camera.height,
        "camera": {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy")},
        "cameraFrom": "assumed",
        "name": prediction.name,
        "photoError": prediction.photo_error,
        "pixelError": prediction.pixel_error,
    }
    page.evaluate(SHOW, {**given, **more})


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """The viewer with the room; whatever the test does, it requests nothing and logs no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    playwright.expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    page.set_content(BLANK)
    requests, errors = [], []
    page.on("request", lambda request: request.url.startswith(("data:", "blob:")) or requests.append(request.url))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    show(page)
    yield page
    context.close()
    assert requests == [] and errors == []


def state(page: "playwright.Page") -> dict[str, Any]:
    return page.evaluate("viewer.state()")


def place(page: "playwright.Page", x: float, y: float) -> tuple[float, float]:
    """Where pixel (x, y) of the room is on the screen."""
    box = page.locator(".dv-frame").bounding_box()
    return box["x"] + (x + 0.5) * box["width"] / CAMERA.width, box["y"] + (y + 0.5) * box["height"] / CAMERA.height


def click(page: "playwright.Page", *points: tuple[float, float]) -> None:
    for point in points:
        page.mouse.click(*place(page, *point))


def tab(page: "playwright.Page", name: str) -> None:
    page.get_by_role("tab", name=name).click()


def pixels(page: "playwright.Page", part: str) -> np.ndarray:
    """(H, W, 3) of a canvas, once all that was asked for is drawn."""
    url = page.evaluate(
        """async part => {
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            return document.querySelector(`[data-part=${part}]`).toDataURL();
        }""",
        part,
    )
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def saved(page: "playwright.Page", name: str, folder: Path) -> Path:
    tab(page, "Save")
    with page.expect_download() as download:
        page.get_by_role("tabpanel").get_by_role("button", name=name).click()
    download.value.save_as(folder / download.value.suggested_filename)
    return folder / download.value.suggested_filename


def test_distance_under_the_pointer(page: "playwright.Page"):
    readout = page.locator("[data-part=distance]")
    playwright.expect(readout).to_have_text(f"{ROOM.distance(160, 120):.2f} m")  # in the middle, before any movement
    for x, y in ((5, 7), (161, 140), (310, 230)):
        page.mouse.move(*place(page, x, y))
        playwright.expect(readout).to_have_text(f"{ROOM.distance(x, y):.2f} m")


def test_places_without_depth_say_so(page: "playwright.Page"):
    depth = DEPTH.copy()
    depth[:40], depth[40:60] = 0, np.nan
    show(page, Prediction(depth, CAMERA))
    for y in (10, 50):
        page.mouse.move(*place(page, 100, y))
        playwright.expect(page.locator("[data-part=distance]")).to_have_text("No depth here")
        click(page, (100, y))
    assert state(page)["measurements"] == []
    np.testing.assert_array_equal(pixels(page, "depth")[:59], 96)


def test_colours_change_at_once(page: "playwright.Page"):
    for cmap in ("magma", "turbo"):
        page.get_by_role("radio", name=cmap).check()
        expected = np.asarray(ROOM.colorize(cmap, state(page)["near"], state(page)["far"], scale_bar=False)).astype(int)
        assert np.abs(pixels(page, "depth") - expected).mean() < 3
    near, far = state(page)["near"], state(page)["far"]
    assert (near, far) == pytest.approx(tuple(np.percentile(DEPTH, (2, 98))), abs=0.002)

    for name in ("Near", "Far"):
        page.get_by_role("slider", name=name).focus()
        for _ in range(30):
            page.keyboard.press("ArrowRight" if name == "Near" else "ArrowLeft")
    changed = state(page)
    assert near < changed["near"] < changed["far"] < far and not changed["automatic"]
    expected = np.asarray(ROOM.colorize("turbo", changed["near"], changed["far"], scale_bar=False)).astype(int)
    assert np.abs(pixels(page, "depth") - expected).mean() < 3
    playwright.expect(page.locator("[data-part=near]")).to_have_text(f"{changed['near']:.2f} m")
    page.get_by_role("button", name="Automatic").click()
    assert state(page)["near"] == near

    page.get_by_role("slider", name="From photo to depth").fill("0")
    page.wait_for_function("getComputedStyle(document.querySelector('[data-part=depth]')).opacity === '0'")
    assert page.evaluate("told.blend") == 0


def test_recolouring_takes_less_than_8_ms(page: "playwright.Page"):
    camera = CAMERA.resize(1280, 960)
    photo, depth = render(camera)
    show(page, Prediction(depth, camera), photo)
    code = """Array.from({length: 20}, () => {
        const start = performance.now();
        viewer.recolour();
        return performance.now() - start;
    })"""
    # The best of some rounds: other programs only ever add to it.
    best = min(float(np.median(page.evaluate(code))) for _ in range(10))
    if best >= 8 and os.getloadavg()[0] > 2:
        pytest.skip("other programs use this machine's processors")
    assert best < 8


def test_a_line(page: "playwright.Page"):
    click(page, (60, 200))
    page.mouse.move(*place(page, 250, 60))
    click(page, (250, 60))
    (made,) = state(page)["measurements"]
    assert made["kind"] == "line" and made["points"] == [[60, 200], [250, 60]]
    expected = ROOM.distance_between((60, 200), (250, 60))
    assert made["value"] == pytest.approx(expected, abs=0.002) and made["doubt"] is None
    playwright.expect(page.locator(".dv-list output")).to_have_text(f"{expected:.2f} m")
    assert page.locator("[data-part=profile]").is_visible() and pixels(page, "curve").any()
    part = np.arange(200) / 199
    along = DEPTH[np.floor(200.5 - 140 * part).astype(int), np.floor(60.5 + 190 * part).astype(int)]
    stated = page.locator("[data-part=curve]").get_attribute("aria-label").removeprefix("Depth along Line 1, from ")
    ends = [float(end.removesuffix(" m")) for end in stated.split(" to ")]
    assert ends == pytest.approx([along.min(), along.max()], abs=0.006)

    page.mouse.move(*place(page, 250, 60))  # drag to correct
    page.mouse.down()
    page.mouse.move(*place(page, 200, 90), steps=4)
    page.mouse.up()
    (made,) = state(page)["measurements"]
    assert made["points"] == [[60, 200], [200, 90]]
    assert made["value"] == pytest.approx(ROOM.distance_between((60, 200), (200, 90)), abs=0.002)

    page.get_by_label("Name of Line 1").fill("sofa, long side")
    page.get_by_role("button", name="Remove").click()
    assert state(page)["measurements"] == []


def test_a_double_click_is_one_point(page: "playwright.Page"):
    page.mouse.dblclick(*place(page, 60, 200))
    page.mouse.dblclick(*place(page, 250, 60))
    (made,) = state(page)["measurements"]
    assert made["points"] == [[60, 200], [250, 60]]
    assert made["value"] == pytest.approx(ROOM.distance_between((60, 200), (250, 60)), abs=0.002)


@pytest.mark.parametrize("tool", ["Point", "Height", "Area"])
def test_other_measures(tool: str, page: "playwright.Page"):
    tab(page, "Measure")
    page.get_by_role("radio", name=tool).check(force=True)
    corners = CAMERA.project(np.array([[-2, -1, 6], [1, -1, 6], [1, 0.5, 6], [-2, 0.5, 6]])) - 0.5
    points = {"Point": [(80, 40)], "Height": [(60, 220), (290, 60)], "Area": corners.round().astype(int).tolist()}[tool]
    click(page, *points)
    (made,) = state(page)["measurements"]
    assert made["kind"] == tool.lower()
    if tool == "Point":
        assert made["value"] == pytest.approx(ROOM.distance(80, 40), abs=0.002)
    elif tool == "Height":
        assert made["value"] == pytest.approx(FLOOR - ROOM.points()[60, 290, 1], abs=0.002)
    else:
        seen = CAMERA.unproject(np.full((240, 320), 6.0))[tuple(np.array(points)[:, ::-1].T)]
        sides = np.ptp(seen, axis=0)
        assert made["value"] == pytest.approx(sides[0] * sides[1], rel=0.002)
        playwright.expect(page.locator(".dv-list output")).to_have_text(f"{made['value']:.2f} m²")


def test_calibrate_with_a_known_length(page: "playwright.Page"):
    click(page, (60, 200), (250, 60))
    length = ROOM.distance_between((60, 200), (250, 60))
    far = state(page)["far"]
    page.get_by_label("True length, m").fill("nonsense")
    page.get_by_role("button", name="Calibrate").click()
    playwright.expect(page.get_by_text("Type the true length in metres")).to_be_visible()

    page.get_by_label("True length, m").fill(f"{2 * length:.3f}".replace(".", ","))  # as much of the world writes it
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".dv-list output")).to_have_text(f"{2 * length:.2f} m")
    playwright.expect(page.get_by_text("Calibrated × 2.00")).to_be_visible()
    page.mouse.move(*place(page, 30, 30))
    playwright.expect(page.locator("[data-part=distance]")).to_have_text(f"{2 * ROOM.distance(30, 30):.2f} m")
    assert state(page)["far"] == pytest.approx(2 * far, rel=0.001)
    assert not page.get_by_text("Type the true length in metres").is_visible()

    page.get_by_label("or an object").select_option(label="Bank card, long side, 0.0856 m")
    page.get_by_role("button", name="Calibrate").click()
    page.get_by_role("button", name="Keep").click()  # a hundredth: it is asked about
    assert state(page)["calibration"] == pytest.approx(2, rel=0.001)
    page.get_by_role("button", name="Calibrate").click()
    page.get_by_role("button", name="Rescale").click()
    assert state(page)["measurements"][0]["value"] == pytest.approx(0.0856)
    page.get_by_role("button", name="Undo").click()
    assert state(page)["calibration"] == pytest.approx(2, rel=0.001)
    page.get_by_role("button", name="Undo").click()
    assert state(page)["calibration"] == 1 and state(page)["far"] == pytest.approx(far)


def test_chosen_colours_follow_a_calibration(page: "playwright.Page"):
    page.get_by_role("slider", name="Near").fill("300")
    near = state(page)["near"]
    click(page, (60, 200), (250, 60))
    page.get_by_label("True length, m").fill(str(2 * state(page)["measurements"][0]["value"]))
    page.keyboard.press("Enter")
    assert state(page)["near"] == pytest.approx(2 * near)


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("calibrated", [False, True])
def test_another_lens(follows: bool, calibrated: bool, page: "playwright.Page"):
    prediction = Prediction(DEPTH, CAMERA, metres_follow_lens=follows)
    show(page, prediction, metresFollowLens=follows)
    click(page, (60, 200), (250, 60))
    if calibrated:
        page.get_by_label("True length, m").fill("3")
        page.keyboard.press("Enter")
        prediction = prediction.calibrate_length([(60, 200), (250, 60)], 3)
    lens = page.locator("summary")
    playwright.expect(lens).to_have_text("Lens: 65° wide, assumed")
    lens.click()
    page.get_by_label("Field of view").fill("190")
    page.get_by_role("button", name="Change").click()
    playwright.expect(page.get_by_text("Type an angle from 1 to 179 degrees.")).to_be_visible()
    page.get_by_label("Field of view").fill("80")
    page.keyboard.press("Enter")
    playwright.expect(lens).to_have_text("Lens: 80° wide, typed")
    expected = prediction.with_camera(Camera.from_fov(320, 240, 80))
    length = expected.distance_between((60, 200), (250, 60))
    seen = state(page)
    assert seen["measurements"][0]["value"] == pytest.approx(length, abs=0.002)
    assert seen["calibration"] == pytest.approx(expected.calibration, rel=1e-6) and seen["fov"] == 80
    page.get_by_role("button", name="Reset").click()
    playwright.expect(lens).to_have_text("Lens: 65° wide, assumed")
    before = prediction.distance_between((60, 200), (250, 60))
    assert state(page)["measurements"][0]["value"] == pytest.approx(before, abs=0.002)


def test_as_many_digits_as_the_uncertainty_allows(page: "playwright.Page"):
    doubt = np.linspace(0.002, 0.6, DEPTH.size, dtype=np.float32).reshape(DEPTH.shape)
    prediction = Prediction(DEPTH, CAMERA, uncertainty=doubt, photo_error=0.05, pixel_error=0.5)
    show(page, prediction)
    for y in (1, 60, 230):
        page.mouse.move(*place(page, 100, y))
        playwright.expect(page.locator("[data-part=distance]")).to_have_text(written(prediction, 100, y))
    click(page, (60, 200), (250, 60))
    points = [(60, 200), (250, 60)]
    assert state(page)["measurements"][0]["doubt"] == pytest.approx(prediction.length_uncertainty(points), rel=0.001)
    page.get_by_label("True length, m").fill("3")
    page.keyboard.press("Enter")
    calibrated = prediction.calibrate_length(points, 3).length_uncertainty(points)
    assert state(page)["measurements"][0]["doubt"] == pytest.approx(calibrated, rel=0.001)


def test_an_area_is_twice_as_doubtful_as_a_length(page: "playwright.Page"):
    prediction = Prediction(DEPTH, CAMERA, uncertainty=np.full_like(DEPTH, 0.2), photo_error=0.05, pixel_error=0.0)
    show(page, prediction)
    click(page, (60, 200), (250, 60))
    page.get_by_role("radio", name="Area").check(force=True)
    click(page, (100, 80), (140, 80), (140, 110), (100, 110))
    line, area = state(page)["measurements"]
    assert line["doubt"] == pytest.approx(0.05 * line["value"], rel=1e-6)
    assert area["doubt"] == pytest.approx(0.1 * area["value"], rel=1e-6)


def test_measurements_are_written_in_pixels_of_the_photo(page: "playwright.Page", tmp_path: Path):
    show(page, photoSize={"width": 3 * CAMERA.width, "height": 3 * CAMERA.height})
    click(page, (60, 200), (250, 60))
    assert saved(page, "Measurements", tmp_path).read_text("utf-8-sig").splitlines()[1].endswith('"181 601; 751 181"')


def test_a_desktop_saves_files_though_it_could_share_them(page: "playwright.Page", tmp_path: Path):
    page.evaluate("() => { navigator.canShare = () => true; navigator.share = async () => (window.shared = true); }")
    assert saved(page, "Measurements", tmp_path).is_file() and not page.evaluate("window.shared")


def test_keyboard(page: "playwright.Page"):
    page.locator(".dv-frame").focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    playwright.expect(page.get_by_role("status").first).to_have_text(f"{ROOM.distance(138, 118):.2f} m")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("status").first).to_have_text("Choose another point.")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    (made,) = state(page)["measurements"]
    assert made["points"] == [[138, 118], [138, 138]]
    playwright.expect(page.get_by_role("status").first).to_have_text(f"Line 1: {made['value']:.2f} m")
    page.get_by_role("tab", name="Measure").focus()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.get_by_role("tab", name="3-D")).to_be_focused()
    assert page.locator("[data-part=space]").is_visible()


def test_a_finger_drags_a_magnifier(page: "playwright.Page"):
    before = pixels(page, "marks")
    finger = """([kind, x, y]) => document.querySelector("[data-part=frame]").dispatchEvent(new PointerEvent(kind,
        {pointerId: 7, pointerType: "touch", clientX: x, clientY: y, bubbles: true}))"""
    page.evaluate("document.querySelector('[data-part=frame]').setPointerCapture = () => {}")  # of no real pointer
    page.evaluate(finger, ["pointerdown", *place(page, 160, 120)])
    page.evaluate(finger, ["pointermove", *place(page, 200, 180)])
    changed = np.abs(pixels(page, "marks") - before).max(-1) > 30
    assert changed.sum() > 5000, "a glass of 124 pixels"
    playwright.expect(page.locator("[data-part=distance]")).to_have_text(f"{ROOM.distance(200, 180):.2f} m")
    page.evaluate(finger, ["pointerup", *place(page, 200, 180)])
    assert state(page)["measurements"] == [] and (np.abs(pixels(page, "marks") - before).max(-1) > 30).sum() < 5000


@pytest.fixture
def phone(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """The viewer on a phone, whose browser offers a share sheet: `shared` is what it was given."""
    context = browser.new_context(**PHONE)
    context.set_default_timeout(PATIENCE)
    phone = context.new_page()
    phone.set_content(BLANK)
    phone.evaluate("""() => {
        window.shared = [];
        navigator.canShare = ({files}) => files.every(file => file.size);
        navigator.share = async ({files}) => {
            const bytes = new Uint8Array(await files[0].arrayBuffer());
            shared.push([files[0].name, files[0].type, [...bytes]]);
            if (window.refusal) throw new DOMException("no", window.refusal);
        };
    }""")
    errors = []
    phone.on("pageerror", lambda error: errors.append(str(error)))
    show(phone)
    yield phone
    context.close()
    assert errors == []


def test_a_phone_shares_files(phone: "playwright.Page", tmp_path: Path):
    tab(phone, "Save")
    for name in ("Measurements", "Depth, metres"):
        phone.get_by_role("tabpanel").get_by_role("button", name=name).click()
    phone.wait_for_function("shared.length === 2")
    table, depth = phone.evaluate("shared")
    assert table[:2] == ["my room_measurements.csv", "text/csv"] and depth[0] == "my room_depth.npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(bytes(depth[2]))), DEPTH)
    # Who closes the sheet wants no file; where the sheet cannot be shown, the file is downloaded.
    downloads = []
    phone.on("download", lambda download: downloads.append(download.suggested_filename))
    for refusal in ("AbortError", "NotAllowedError"):
        phone.evaluate("name => { window.refusal = name }", refusal)
        phone.get_by_role("tabpanel").get_by_role("button", name="Measurements").click()
        phone.wait_for_timeout(1000)
    assert downloads == ["my room_measurements.csv"]


def touch(phone: "playwright.Page", kind: str, *points: tuple[float, float]) -> None:
    """Fingers at pixels of the room, as the browser gets them from the screen."""
    fingers = [dict(zip("xy", place(phone, *point), strict=True), id=number) for number, point in enumerate(points)]
    phone.fingers = getattr(phone, "fingers", None) or phone.context.new_cdp_session(phone)
    phone.instant = getattr(phone, "instant", time.time()) + 0.05  # seconds: however slow the machine is
    sent = {"type": kind, "touchPoints": fingers, "timestamp": phone.instant}
    phone.fingers.send("Input.dispatchTouchEvent", sent)


def test_a_double_tap_is_one_point_and_a_pinch_is_none(phone: "playwright.Page"):
    tab(phone, "Measure")
    for point in ((60, 200), (60, 200), (250, 60), (250, 60)):
        touch(phone, "touchStart", point)
        touch(phone, "touchEnd")
    made = state(phone)["measurements"]
    assert [line["points"] for line in made] == [[[60, 200], [250, 60]]]
    for spread in (0, 40):  # two fingers that rest, or move apart
        touch(phone, "touchStart", (160, 120))
        touch(phone, "touchStart", (160, 120), (200, 150))
        for step in (0.25, 0.5, 0.75, 1):
            touch(phone, "touchMove", (160 - spread * step, 120), (200 + spread * step, 150))
        touch(phone, "touchEnd", (160 - spread, 120))
        touch(phone, "touchEnd")
        phone.wait_for_timeout(500)
    assert state(phone)["measurements"] == made
    assert phone.evaluate("visualViewport.scale") > 1
    touch(phone, "touchStart", (300, 20))
    touch(phone, "touchEnd")
    assert state(phone)["measurements"] == made, "a point was left that counts as the first one of this line"


def brightness(page: "playwright.Page") -> np.ndarray:
    return pixels(page, "space").sum(-1)


def test_three_dimensions(page: "playwright.Page"):
    page.get_by_role("slider", name="From photo to depth").fill("0")
    tab(page, "3-D")
    front = pixels(page, "space")
    height, width = front.shape[:2]
    left = (width - height * 4 // 3) // 2
    inner = np.asarray(Image.fromarray(PHOTO).resize((height * 4 // 3, height))).astype(int)
    seen = front[:, left : left + inner.shape[1]]
    assert np.abs(seen[20:-20, 20:-20] - inner[20:-20, 20:-20]).mean() < 20, "it starts as the photo"
    page.locator("[data-part=space]").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    turned = pixels(page, "space")
    gaps = np.ptp(turned, axis=-1).size - np.count_nonzero(np.abs(turned - turned[0, 0]).max(-1))
    page.get_by_label("Remove edges").uncheck()
    closed = pixels(page, "space")
    assert np.abs(closed - turned).max() > 60, "the gap behind the box is closed"
    assert gaps > closed.shape[0] * closed.shape[1] - np.count_nonzero(np.abs(closed - closed[0, 0]).max(-1))
    page.get_by_role("radio", name="Points").check(force=True)
    assert np.abs(pixels(page, "space") - closed).max() > 60
    page.get_by_role("radio", name="Surface").check(force=True)
    page.get_by_label("Remove edges").check()
    page.get_by_role("button", name="Turn back").click()
    np.testing.assert_array_equal(pixels(page, "space"), front)


def test_a_portrait_fits_in_3d(page: "playwright.Page"):
    upright = Camera.from_fov(120, 320, 30)
    photo, depth = render(upright)
    show(page, Prediction(depth, upright), photo)
    tab(page, "3-D")
    seen = np.abs(pixels(page, "space") - (15, 23, 41)).max(-1) > 12
    rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    assert rows.min() <= 3 and rows.max() >= seen.shape[0] - 4, "as high as the view"
    assert np.ptp(columns) == pytest.approx(seen.shape[0] * 120 / 320, rel=0.05)


def test_print(page: "playwright.Page", tmp_path: Path):
    tab(page, "Print")
    plain = pixels(page, "relief")
    assert plain.shape[:2] == (240, 320) and plain.std() > 5
    page.get_by_label("Invert").check()
    assert np.abs(pixels(page, "relief") - plain).max() > 40
    page.get_by_label("Frame, mm").fill("5")
    framed = pixels(page, "relief")
    assert framed.shape[1] > 330
    playwright.expect(page.locator("[data-part=size]")).to_contain_text("100 × 77 × 22 mm")
    page.get_by_label("Height, mm").fill("-3")
    playwright.expect(page.get_by_text("Height must be from 0.1 to 500.")).to_be_visible()
    np.testing.assert_array_equal(pixels(page, "relief"), framed)  # what was there stays
    page.get_by_role("tabpanel").get_by_role("button", name="STL").click()
    playwright.expect(page.get_by_text("Correct the values of the print first.")).to_be_visible()
    page.get_by_label("Height, mm").fill("10")
    page.get_by_label("Near cut, m").fill("2")
    page.get_by_label("Far cut, m").fill("5")
    assert not page.get_by_text("Height must be").is_visible()
    with page.expect_download() as download:
        page.get_by_role("tabpanel").get_by_role("button", name="STL").click()
    download.value.save_as(tmp_path / "room.stl")
    assert download.value.suggested_filename == "my room.stl"
    made = trimesh.load(tmp_path / "room.stl")
    expected = relief(DEPTH, 100, 10, 2, 2, 5, 0.5, 5, True)
    assert made.is_watertight and made.volume == pytest.approx(expected.volume, rel=1e-4)
    assert made.area == pytest.approx(expected.area, rel=1e-4), "smoothed otherwise"
    np.testing.assert_allclose(made.extents, expected.extents, rtol=1e-5)
    about = float(page.locator("[data-part=size]").inner_text().split("about ")[1].split(" MB")[0])
    assert about == pytest.approx((tmp_path / "room.stl").stat().st_size / 1e6, abs=0.06)


def test_files_that_the_browser_writes(page: "playwright.Page", tmp_path: Path):
    click(page, (60, 200), (250, 60))
    page.get_by_label("Name of Line 1").fill('wall, "left"')
    length = ROOM.distance_between((60, 200), (250, 60))

    table = saved(page, "Measurements", tmp_path)
    assert table.name == "my room_measurements.csv"
    lines = table.read_text("utf-8-sig").splitlines()
    assert lines[1] == f'"wall, ""left""","line","{length:.4f}","","m","60 200; 250 60"'

    with Image.open(saved(page, "Depth, 16 bit", tmp_path)) as image:
        assert image.mode.startswith("I")
        np.testing.assert_allclose(np.asarray(image) / 1000, DEPTH, atol=0.00051)
    np.testing.assert_array_equal(np.load(saved(page, "Depth, metres", tmp_path)), DEPTH)

    with Image.open(saved(page, "Picture", tmp_path)) as image:
        seen = np.asarray(image.convert("RGB")).astype(int)
    colours = np.asarray(ROOM.colorize("viridis", state(page)["near"], state(page)["far"], scale_bar=False))
    plain = (PHOTO.astype(int) + colours) // 2
    marked = np.abs(seen[:240] - plain).max(-1) > 25
    assert seen.shape[0] > 240 and seen.shape[1] == 320
    assert marked[196:205, 56:65].mean() > 0.3 and marked[56:65, 246:255].mean() > 0.3 and marked.mean() < 0.15

    with zipfile.ZipFile(saved(page, "Everything", tmp_path)) as archive:
        assert archive.testzip() is None
        names = {"_picture.png", "_measurements.csv", "_depth.png", "_depth.npy", ".stl"}
        assert {*archive.namelist()} == {f"my room{name}" for name in names}
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read("my room_depth.npy"))), DEPTH)


def test_files_made_elsewhere_and_their_failure(page: "playwright.Page", tmp_path: Path):
    page.evaluate("""() => {
        const download = async (kind, state) => {
            if (kind === "ply") throw Error("There is no room for it.");
            return {name: `${state.cmap}.glb`, blob: new Blob(["solid"])};
        };
        document.querySelector("#place").replaceChildren();
        window.viewer = new DepthViewer(document.querySelector("#place"), {kinds: ["glb", "ply"], download});
    }""")
    show(page)
    assert saved(page, "Surface", tmp_path).read_text() == "solid"
    page.get_by_role("button", name="Points").click()
    playwright.expect(page.get_by_text("There is no room for it.")).to_be_visible()
    assert page.locator(".dv-frame").is_visible()


def test_a_warning_stands_above_the_picture(page: "playwright.Page"):
    assert not page.get_by_role("note").is_visible()
    show(page, note="Doubtful: <b>12 %</b>")
    playwright.expect(page.get_by_role("note")).to_have_text("Doubtful: <b>12 %</b>")


def test_another_photo_starts_anew(page: "playwright.Page"):
    click(page, (60, 200), (250, 60))
    page.get_by_label("True length, m").fill("3")
    page.keyboard.press("Enter")
    tab(page, "Colours")
    page.get_by_role("slider", name="Far").fill("500")
    show(page, Prediction(2 * DEPTH, CAMERA, name="other.jpg"), look={"cmap": "gray", "near": 1.5})
    seen = state(page)
    assert seen["measurements"] == [] and seen["calibration"] == 1 and seen["fov"] is None
    assert (seen["cmap"], seen["near"]) == ("gray", 1.5)
    assert seen["far"] == pytest.approx(np.percentile(2 * DEPTH, 98), abs=0.003)
    page.evaluate("viewer.clear()")
    assert not page.locator(".dv-frame").is_visible() and state(page) is None


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on this machine")
    packed = subprocess.run([npm, "pack", "axe-core@4.10.3", "--silent"], cwd=folder, capture_output=True, text=True)
    if packed.returncode:
        pytest.skip("npm cannot reach its registry")
    with tarfile.open(folder / packed.stdout.strip()) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme: str, page: "playwright.Page", axe: str):
    page.emulate_media(color_scheme=scheme)
    page.evaluate(axe)
    click(page, (60, 200), (250, 60))
    page.locator("summary").click()
    for name in ("Colours", "Measure", "3-D", "Print", "Save"):
        tab(page, name)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        found = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
        assert found == [], f"{name}: {json.dumps(found, indent=1)}"
