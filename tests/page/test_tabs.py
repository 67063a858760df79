"""The tabs for several photos, clips and the webcam, and the page around them, as a person sees them."""

import io
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from depth_unet import Camera, DepthUNet, Prediction
from depth_unet.page.batch import row
from depth_unet.page.live import ADAPTATION, adapted, with_cross
from depth_unet.video import write_video

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
ENDINGS = ("depth.png", "depth.npy", "depth.json", "color.png")


def open_tab(page: "playwright.Page", name: str) -> None:
    """A tab that a phone has in a menu; the page is wide enough for it when it opens."""
    page.set_viewport_size({"width": 1000, "height": 900})
    page.reload()
    page.get_by_role("tab", name=name).click()


def downloaded(page: "playwright.Page", name: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_several_photos(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path):
    broken = tmp_path / "<b>broken.jpg"
    broken.write_text("no picture at all")
    open_tab(page, "Several photos")
    archive = page.get_by_role("button", name="Download all as ZIP")
    expect(archive).to_be_disabled()
    page.set_input_files("#photos input[type=file]", [photo, broken])
    page.get_by_role("button", name="Start").click()
    rows = page.locator(".rows tbody tr")
    expect(rows).to_have_count(2)
    expect(archive).to_be_enabled()

    expected = server[1].predict(photo)
    cells = rows.filter(has_text="room.jpg").locator("td").all_inner_texts()
    assert cells[1:] == [f"{metres:.2f}" for metres in expected.summary()]
    thumbnail = rows.filter(has_text="room.jpg").locator("img")
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    expect(rows.filter(has_text="is not a picture").locator("img")).to_have_count(0)
    expect(page.locator(".rows b")).to_have_count(0)  # names are no HTML
    name, content = downloaded(page, "Download all as ZIP")
    assert name == "depth.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        assert {*files.namelist()} == {f"room_{ending}" for ending in ENDINGS}
        np.testing.assert_array_equal(np.load(io.BytesIO(files.read("room_depth.npy"))), expected.depth)


def test_cancel_keeps_what_is_done_and_offers_it(page: "playwright.Page", photo: Path, tmp_path: Path):
    photos = [tmp_path / f"photo{number:02d}.jpg" for number in range(30)]
    with Image.open(photo) as image:
        image.resize((2400, 1800)).save(photos[0])  # takes time
    for other in photos[1:]:
        other.write_bytes(photos[0].read_bytes())
    open_tab(page, "Several photos")
    page.set_input_files("#photos input[type=file]", photos)
    page.get_by_role("button", name="Start").click()
    rows = page.locator(".rows tbody tr")
    rows.nth(1).wait_for()
    expect(page.get_by_role("button", name="Download all as ZIP")).to_be_disabled()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Download all as ZIP")).to_be_enabled()

    page.wait_for_timeout(4000)  # for what was under way
    done = rows.count()
    assert 2 <= done < 30
    _, content = downloaded(page, "Download all as ZIP")
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        assert files.testzip() is None
        kept = {name.partition("_")[0] for name in files.namelist()}
        assert len(files.namelist()) == 4 * len(kept)
    # The photo that was under way may have been written before it could be shown.
    assert {f"photo{number:02d}" for number in range(done)} <= kept and len(kept) <= done + 1


def test_video(page: "playwright.Page", tmp_path: Path):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)).resize((320, 240))
    write_video(tmp_path / "clip.mp4", iter([picture] * 12), 10)
    open_tab(page, "Video")
    expect(page.get_by_role("button", name="Download depth clip")).to_be_disabled()
    page.set_input_files("#clip input[type=file]", tmp_path / "clip.mp4")
    page.locator("#clip video").wait_for()
    page.get_by_role("button", name="Start video").click()
    page.get_by_text("12 frames, colours from").wait_for()
    clips = page.locator(".clips video")
    expect(clips).to_have_count(2)
    for clip in clips.all():
        page.wait_for_function("clip => clip.readyState >= 2 && !clip.error", arg=clip.element_handle())
    photo, depth = (clip.bounding_box() for clip in clips.all())
    assert photo["x"] == depth["x"] and photo["y"] == depth["y"]  # the scale hangs over at the right
    assert photo["height"] == pytest.approx(depth["height"], abs=1) and photo["width"] < depth["width"]
    page.locator(".between input").fill("25")
    hidden = float(clips.last.evaluate("clip => clip.style.clipPath.match(/([\\d.]+)%/)[1]"))
    assert hidden == pytest.approx(75 * photo["width"] / depth["width"], abs=0.5)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("[...document.querySelectorAll('.clips video')].every(clip => clip.currentTime > 0.2)")
    name, content = downloaded(page, "Download depth clip")
    assert name == "clip_depth.mp4" and content[4:8] == b"ftyp"


def test_live_camera(page: "playwright.Page"):
    asked = "navigator.mediaDevices.getUserMedia"
    page.add_init_script(
        f"const ask = {asked}.bind(navigator.mediaDevices); window.asked = [];"
        f"{asked} = wanted => (window.asked.push(wanted), ask(wanted))"
    )
    open_tab(page, "Camera, live")
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_text("Record", exact=True).click()  # to a screen reader gradio calls it "capture photo"
    page.get_by_text("At the cross:").wait_for()
    page.locator("img[alt^='The depth of what the camera sees']").wait_for()
    assert any("environment" in str(wanted["video"].get("facingMode")) for wanted in page.evaluate("asked"))
    page.forgive("Permissions")


def test_colours_follow_slowly():
    assert adapted(None, (1, 3)) == (1, 3)
    near, far = adapted((1, 3), (2, 9))
    assert (near, far) == pytest.approx((1 + ADAPTATION, 3 + 6 * ADAPTATION))
    span = (1.0, 3.0)
    for _ in range(200):
        span = adapted(span, (2, 9))
    assert span == pytest.approx((2, 9), rel=0.01)


def test_the_cross_is_in_the_middle_of_the_depth_and_colours_are_those_of_the_range():
    depth = np.full((120, 160), 2.0, np.float32)
    prediction = Prediction(depth, Camera.from_fov(160, 120, 60))
    picture = np.asarray(with_cross(prediction, (1, 3)))
    plain = np.asarray(prediction.colorize("viridis", 1, 3).convert("RGB"))
    rows, columns = np.nonzero((picture != plain).any(-1))
    assert (rows.min() + rows.max()) / 2 == pytest.approx(60, abs=1)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(80, abs=1)


def test_a_row_names_what_a_png_cannot_hold():
    far = Prediction(np.full((4, 6), 70.0, np.float32), Camera.from_fov(6, 4, 60))
    assert "beyond 65.534 m" in row("far.jpg", far) and "70.00" in row("far.jpg", far)
    assert "&lt;b&gt;" in row("<b>", ValueError("<i>")) and "&lt;i&gt;" in row("<b>", ValueError("<i>"))


def test_the_endpoints_are_explained_without_an_error(page: "playwright.Page"):
    page.set_viewport_size({"width": 1000, "height": 900})  # phones get no link to it
    page.get_by_role("button", name="Use via API").click()
    page.get_by_text("Python", exact=True).first.click()
    text = page.get_by_text("Angle that the photo spans from left to right")
    text.locator("visible=true").first.wait_for()
    assert page.title() == "Depth from one photo"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme: str, page: "playwright.Page", server: tuple[str, DepthUNet]):
    page.emulate_media(color_scheme=scheme)
    page.reload()
    page.locator("#photo input[type=file]").wait_for(state="attached")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, background.strip("rgba()").split(",")[:3])) / 3
    assert light > 200 if scheme == "light" else light < 60
    assert httpx.get(server[0] + "icon.svg").status_code == 200


def test_the_queue_is_visible(page: "playwright.Page", server: tuple[str, DepthUNet], photo: Path, tmp_path: Path):
    """Somebody who waits sees their place in the queue."""
    with Image.open(photo) as image:
        image.resize((4000, 3000)).save(tmp_path / "large.png")
    content = (tmp_path / "large.png").read_bytes()
    (path,) = httpx.post(f"{server[0]}gradio_api/upload", files={"files": ("large.png", content)}, timeout=60).json()
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "npz", None]}
    for _ in range(12):
        httpx.post(f"{server[0]}gradio_api/call/predict", json=data, timeout=60)
    page.set_input_files("#photo input[type=file]", photo)
    page.get_by_text("queue:").first.wait_for()
