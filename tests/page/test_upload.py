"""Photos on their way to the server, as a browser sends them: made smaller, pasted, dropped, kept for a reload."""

import base64
import io
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_page import EXAMPLES

from depth_unet import Camera, DepthUNet
from depth_unet.page.look import SENT_LONGEST

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
FILE = "#photo input[type=file]"
SHORT, LONG, RATIONAL = 3, 4, 5
ORIENTATION, FOCAL_35MM, FOCAL_LENGTH = 0x112, 0xA405, 0x920A
PIXELS_X, RESOLUTION_X, RESOLUTION_UNIT = 0xA002, 0xA20E, 0xA210


def exif(main: dict[int, tuple], more: dict[int, tuple], order: str = "<") -> bytes:
    """EXIF data: tag -> (type, value), in the first directory and in that of the camera."""

    def directory(tags: dict[int, tuple], place: int) -> bytes:
        entries, behind = b"", b""
        end = place + 2 + 12 * len(tags) + 4
        for tag, (kind, value) in sorted(tags.items()):
            field = {SHORT: f"{order}HH", LONG: f"{order}I"}.get(kind)
            if field:
                content = struct.pack(field, value, *[0] * (kind == SHORT))
            else:
                content, behind = (
                    struct.pack(f"{order}I", end + len(behind)),
                    behind + struct.pack(f"{order}II", *value),
                )
            entries += struct.pack(f"{order}HHI", tag, kind, 1) + content
        return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + behind

    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    first = directory({**main, 0x8769: (LONG, 0)}, 8)
    first = directory({**main, 0x8769: (LONG, 8 + len(first))}, 8)
    return b"Exif\0\0" + header + first + directory(more, 8 + len(first))


def sensor(orientation: int, unit: int = 2, order: str = "<") -> bytes:
    """A focal length of 8 mm, and a sensor of 4000 pixels with 635 a millimetre, in that unit (2: inches, 3: cm)."""
    resolution = (int(635 * {2: 25.4, 3: 10}[unit]), 1)
    more = {FOCAL_LENGTH: (RATIONAL, (80, 10)), PIXELS_X: (LONG, 4000), RESOLUTION_UNIT: (SHORT, unit)}
    return exif({ORIENTATION: (SHORT, orientation)}, {**more, RESOLUTION_X: (RATIONAL, resolution)}, order)


def film(orientation: int, order: str = "<") -> bytes:
    return exif({ORIENTATION: (SHORT, orientation)}, {FOCAL_35MM: (SHORT, 28)}, order)


XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="6"/>'
MADE: dict[str, dict] = {
    "plain": {},
    "film": {"exif": film(1)},
    "quarter turn": {"exif": film(6)},
    "other turn, big endian": {"exif": film(8, ">")},
    "upside down": {"exif": film(3)},
    "mirrored": {"exif": film(5)},
    "sensor": {"exif": sensor(1)},
    "sensor, turned": {"exif": sensor(6)},
    "sensor in cm, mirrored and turned": {"exif": sensor(7, 3, ">")},
    "turned by XMP": {"xmp": XMP.partition(b"\0")[2]},
    "odd orientation": {"exif": exif({ORIENTATION: (LONG, 6)}, {FOCAL_35MM: (SHORT, 28)})},
}


def large(path: Path, size: tuple[int, int] = (3200, 2400), **more: bytes) -> Path:
    with Image.open(EXAMPLES / "living_room.jpg") as image:
        image.convert("RGB").resize(size).save(path, quality=90, **more)
    return path


def sent(page: "playwright.Page", choose: Callable[[], None]) -> tuple[str, bytes]:
    """Name and content of the file that has travelled to the server, which is on this machine."""
    with page.expect_response(lambda answer: re.search(r"/gradio_api/upload(\?|$)", answer.url)) as answer:
        choose()
    path = Path(answer.value.json()[0])
    return path.name, path.read_bytes()


@pytest.mark.parametrize("name", MADE)
def test_a_smaller_photo_has_the_same_camera_and_depth(
    name: str,
    lasting_page: "playwright.Page",
    server: tuple[str, DepthUNet],
    tmp_path: Path,
):
    path = large(tmp_path / "room.jpg", **MADE[name])

    sent_name, content = sent(lasting_page, lambda: lasting_page.set_input_files(FILE, path))

    assert sent_name == "room.jpg"
    original, arrived = server[1].predict(path), server[1].predict(content)
    with Image.open(io.BytesIO(content)) as image:
        if name != "odd orientation":  # which travels as it is
            assert max(image.size) == SENT_LONGEST and len(content) < path.stat().st_size
            assert image.getexif().get(ORIENTATION, 1) == (6 if name == "turned by XMP" else 1)  # XMP goes along, too
    assert arrived.camera_from == original.camera_from
    height, width = arrived.depth.shape
    assert original.camera.resize(width, height) == pytest.approx(arrived.camera, rel=1e-6)
    known = original.shrink(max(height, width)).depth
    assert np.median(np.abs(np.log(arrived.depth / known))) < 0.002, "turned otherwise, or of other colours"


def test_the_made_photos_have_the_cameras_that_they_should(server: tuple[str, DepthUNet], tmp_path: Path):
    across = math.degrees(2 * math.atan(4000 / 635 / 2 / 8))
    turned = math.degrees(2 * math.atan(3000 / 635 / 2 / 8))
    for name, fov_deg in {
        "sensor": across,
        "sensor, turned": turned,
        "sensor in cm, mirrored and turned": turned,
    }.items():
        path = large(tmp_path / "room.jpg", (400, 300), **MADE[name])
        assert server[1].predict(path).camera.horizontal_fov_deg == pytest.approx(fov_deg, rel=1e-3)
    path = large(tmp_path / "room.jpg", (400, 300), **MADE["film"])
    assert server[1].predict(path).camera == Camera.from_focal_35mm(400, 300, 28)


def test_full_size_small_photos_and_other_formats_travel_as_they_are(lasting_page: "playwright.Page", tmp_path: Path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    small = large(tmp_path / "small.jpg", (640, 480), exif=film(6))
    heic, png = tmp_path / "phone.HEIC", large(tmp_path / "screen.png", (2700, 300))
    with Image.open(small) as image:
        image.save(heic, format="HEIF")
    for path in (small, heic, png):
        assert sent(lasting_page, lambda path=path: lasting_page.set_input_files(FILE, path)) == (
            path.name,
            path.read_bytes(),
        )
    full = large(tmp_path / "full.jpg")
    lasting_page.get_by_label("full size").check()
    assert sent(lasting_page, lambda: lasting_page.set_input_files(FILE, full)) == (full.name, full.read_bytes())
    lasting_page.get_by_label("full size").uncheck()


def given(page: "playwright.Page", event: str, path: Path, target: str = "body") -> None:
    """Paste or drop a file."""
    content = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([event, content, name, type, target]) => {
            const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0)), data = new DataTransfer();
            data.items.add(new File([bytes], name, {type}));
            const options = {bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data};
            const made = event === "paste" ? new ClipboardEvent(event, options) : new DragEvent(event, options);
            document.querySelector(target).dispatchEvent(made);
        }""",
        [event, content, path.name, "video/mp4" if path.suffix == ".mp4" else "image/jpeg", target],
    )


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_pasted_and_dropped_anywhere(event: str, lasting_page: "playwright.Page", tmp_path: Path):
    path = large(tmp_path / "room.jpg")
    for target in ("body", "h1", "#viewer"):
        name, content = sent(lasting_page, lambda target=target: given(lasting_page, event, path, target))
        assert name == "room.jpg" and len(content) < path.stat().st_size


def test_a_photo_dropped_on_another_tab_opens_its_own(page: "playwright.Page", photo: Path):
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_role("tab", name="Camera, live").click()
    expect(page.locator("#photo")).to_be_hidden()
    assert sent(page, lambda: given(page, "drop", photo)) == (photo.name, photo.read_bytes())
    expect(page.locator("#photo")).to_be_visible()


@pytest.mark.parametrize("size", [(390, 844), (1280, 720)], ids=["phone", "laptop"])
def test_the_result_is_in_view_after_an_upload(size: tuple[int, int], page: "playwright.Page", tmp_path: Path):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.reload()
    page.locator(FILE).wait_for(state="attached")
    page.set_input_files(FILE, large(tmp_path / "desk.jpg", (1600, 1200)))
    page.wait_for_function("depthPage.viewer?.photo?.includes?.('desk') || sessionStorage.getItem('photo')")
    canvas = page.locator("#viewer canvas").first
    canvas.wait_for()
    page.wait_for_timeout(4000)
    box = canvas.bounding_box()
    assert box["y"] >= 0 and box["y"] + min(box["height"], 300) <= size[1], box
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_reload_keeps_the_photo_until_it_is_removed(page: "playwright.Page", photo: Path):
    first = sent(page, lambda: page.set_input_files(FILE, photo))
    page.wait_for_function("sessionStorage.getItem('photo')")
    assert sent(page, page.reload) == first
    page.wait_for_function("sessionStorage.getItem('photo')")
    page.get_by_role("button", name="Remove photo").click()
    page.wait_for_function("!sessionStorage.getItem('photo')")
    uploads: list[str] = []
    page.on("request", lambda request: "/upload" in request.url and uploads.append(request.url))
    page.reload()
    page.locator(FILE).wait_for(state="attached")
    page.wait_for_timeout(3000)
    assert uploads == []


def test_another_tab_knows_nothing_of_the_photo(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path):
    sent(page, lambda: page.set_input_files(FILE, photo))
    page.wait_for_function("sessionStorage.getItem('photo')")
    other = page.context.new_page()
    other.goto(server[0])
    other.locator(FILE).wait_for(state="attached")
    assert other.evaluate("sessionStorage.getItem('photo')") is None


def camera(page: "playwright.Page") -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_role("button", name="Use camera").click()


STREAMS = """() => {
    window.streams = [];
    const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async wanted => {
        if (window.refusal) throw new DOMException("no", window.refusal);
        const stream = await ask(wanted);
        streams.push(stream);
        return stream;
    };
}"""
OFF = "streams.length && streams.every(stream => stream.getTracks().every(track => track.readyState === 'ended'))"


def test_a_photo_from_the_camera(page: "playwright.Page"):
    page.evaluate(STREAMS)
    camera(page)
    dialog = page.get_by_role("dialog", name="Camera")
    expect(dialog.locator("video")).to_be_visible()
    assert not page.evaluate(OFF)
    name, content = sent(page, lambda: dialog.get_by_role("button", name="Take photo").click())
    with Image.open(io.BytesIO(content)) as image:
        assert name == "camera.jpg" and image.format == "JPEG" and min(image.size) >= 480
        assert np.asarray(image).std() > 20, "an empty picture"
    expect(page.locator(".dv-about")).to_contain_text("camera.jpg")
    expect(dialog).to_have_count(0)
    page.wait_for_function(OFF)


@pytest.mark.parametrize("close", ["Cancel", "Escape"])
def test_a_closed_camera_is_off_and_changes_nothing(close: str, page: "playwright.Page"):
    page.evaluate(STREAMS)
    expect(page.locator(".dv-about")).to_contain_text("model")
    shown = page.locator(".dv-about").inner_text()
    camera(page)
    dialog = page.get_by_role("dialog", name="Camera")
    expect(dialog).to_be_visible()
    if close == "Cancel":
        dialog.get_by_role("button", name="Cancel").click()
    else:
        page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_function(OFF)  # the dialog is hidden a moment before its event
    assert page.locator(".dv-about").inner_text() == shown


def test_without_a_camera_one_sentence_says_why(page: "playwright.Page"):
    page.evaluate(STREAMS)
    reasons = {"NotAllowedError": "allow it", "NotFoundError": "has no camera", "NotReadableError": "another program"}
    for name, reason in reasons.items():
        page.evaluate("name => { window.refusal = name }", name)
        camera(page)
        expect(page.locator("#notice [role=alert]")).to_contain_text(reason)
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    camera(page)
    expect(page.locator("#notice [role=alert]")).to_contain_text("HTTPS")
    assert page.locator("dialog").count() == 0 and page.locator(".dv-frame").is_visible()
