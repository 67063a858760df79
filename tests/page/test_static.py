"""The page without a server as a person sees it: headless Chromium against Python's plain file server."""

import base64
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from depth_unet import DEFAULT_MODEL, DepthUNet, DepthUNetConfig

pytest.importorskip("onnx", reason="the optional package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the optional package onnxruntime is not installed")

from depth_unet.engines.onnx import OnnxDepthUNet  # noqa: E402
from depth_unet.page import static  # noqa: E402

PAGE = Path(static.__file__).parent
EXAMPLES = PAGE / "examples"
PATIENCE = 90  # seconds; for a busy machine
CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
ARGUMENTS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
UPRIGHT, LENS, LENGTH, PIXELS, RESOLUTION, UNIT = 274, 0xA405, 0x920A, 0xA002, 0xA20E, 0xA210
SHORT, LONG, RATIO, SIGNED, FLOAT, DOUBLE, TEXT = 3, 4, 5, 8, 11, 12, 2
FORMS = {SHORT: "H", LONG: "I", RATIO: "II", SIGNED: "h", FLOAT: "f", DOUBLE: "d", TEXT: "B"}


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives of npm, downloaded once."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    try:
        static._download(str(folder))
    except ValueError as error:
        pytest.skip(f"npm cannot download: {error}")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Path:
    """The folder of a tiny model whose depths differ from place to place."""
    torch.manual_seed(1)
    model = DepthUNet(tiny_config).eval()
    with torch.no_grad():
        model.unet.segmentation_head[0].weight *= 10
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, runtime: Path, tiny: Path) -> Path:
    """A site with a tiny model and ours, below the folder that is served."""
    folder = tmp_path_factory.mktemp("served") / "lab" / "depth"
    static.write_site(folder, [str(tiny), DEFAULT_MODEL], runtime=runtime)
    return folder


@contextmanager
def serving(site: Path) -> Iterator[tuple[str, Path]]:
    """`python -m http.server`, with the site two folders below its root: the address, and the log of all requests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root, log = site.parents[1], site.parents[1] / f"log{port}.txt"
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(root)]
    address = f"http://127.0.0.1:{port}/{site.relative_to(root).as_posix()}/"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}licences.txt", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address, log
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[tuple[str, Path]]:
    with serving(site) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Any, address: str) -> Iterator[Any]:
    """A new visitor's page, once the model is loaded; whatever the test does, other hosts get no request."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    strangers, page.errors = [], []
    host = re.match("http://[^/]+/", address)[0]
    context.on("request", lambda r: r.url.startswith((host, "blob:", "data:")) or strangers.append(r.url))
    page.on("console", lambda m: m.type == "error" and page.errors.append(m.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    wait_for(page, "Ready")
    yield page
    context.close()
    assert strangers == []
    assert page.errors == []


@pytest.fixture
def page(browser: Any, server: tuple[str, Path]) -> Iterator[Any]:
    with visiting(browser, server[0]) as page:
        yield page


def wait_for(page: Any, status: str) -> None:
    page.locator("#status", has_text=status).or_(page.locator("#error:not(:empty)")).first.wait_for()
    assert page.locator("#error").inner_text() == ""


def choose(page: Any, photo: Path, model: int = 0) -> None:
    """Choose a model and a photo, and wait for its depth."""
    if page.locator("#model").input_value() != str(model):
        page.locator("#model").select_option(str(model))
        page.locator("#progress").wait_for(state="hidden")
    page.evaluate("parts.status.textContent = ''")
    page.set_input_files("#file", photo)
    wait_for(page, "Predicted")


def save(page: Any, title: str, folder: Path) -> Path:
    """What the browser downloads when a file of the menu is chosen."""
    page.get_by_role("tab", name="Save").click()
    with page.expect_download() as waiting:
        page.get_by_role("tabpanel").get_by_text(title, exact=True).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def predicted(page: Any, photo: Path, model: int = 0) -> dict[str, Any]:
    """What the worker answers for a photo, without the page around it."""
    content = base64.b64encode(photo.read_bytes()).decode()
    answer = page.evaluate(
        """async ([content, name, model]) => {
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            const made = await ask("predict", {photo: new File([bytes], name), name, model});
            made.photo.close();
            return {...made, photo: null, depth: Array.from(made.depth)};
        }""",
        [content, photo.name, model],
    )
    answer["depth"] = np.reshape(answer["depth"], (answer["height"], answer["width"])).astype(np.float32)
    return answer


def model_of(site: Path, index: int) -> OnnxDepthUNet:
    """The file of the site, run by Python."""
    found = re.search(r'id="site">(.*?)</script>', (site / "index.html").read_text())[1]
    return OnnxDepthUNet(site / json.loads(found)["models"][index]["file"], threads=1)


def difference(shown: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Median and 99th percentile of the relative difference to a depth map of another size, at its places."""
    height, width = shown.shape
    depth = torch.nn.functional.interpolate(torch.from_numpy(expected)[None, None], (height, width), mode="area")
    relative = np.abs(shown / depth[0, 0].numpy() - 1)
    return float(np.median(relative)), float(np.percentile(relative, 99))


def directory(tags: dict[int, tuple[int, Any]], order: str, place: int) -> bytes:
    """A directory of TIFF at its place; each tag has a type, and a number or several."""
    entries, extra, after = b"", b"", place + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        values = value if isinstance(value, tuple | bytes) else (value,)
        count = len(values) // len(FORMS[kind])
        data = struct.pack(order + FORMS[kind] * count, *values)
        at = struct.pack(order + "I", after + len(extra)) if len(data) > 4 else data.ljust(4, b"\0")
        extra += data + bytes(len(data) % 2) if len(data) > 4 else b""
        entries += struct.pack(order + "HHI", tag, kind, count) + at
    return struct.pack(order + "H", len(tags)) + entries + bytes(4) + extra


def exif(tags: dict[int, tuple[int, Any]], order: str = "<") -> bytes:
    """EXIF data with the orientation in the first directory and all other tags in the second."""
    first = {tag: value for tag, value in tags.items() if tag == UPRIGHT} | {0x8769: (LONG, 0)}
    second = 8 + len(directory(first, order, 8))
    first[0x8769] = (LONG, second)
    rest = {tag: value for tag, value in tags.items() if tag != UPRIGHT}
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + start + directory(first, order, 8) + directory(rest, order, second)


# A phone without the 35 mm equivalent: 4.2 mm in front of a sensor 6 mm wide.
SENSOR = {LENGTH: (RATIO, (42, 10)), PIXELS: (LONG, 4000), RESOLUTION: (RATIO, (4000 * 254, 60)), UNIT: (SHORT, 2)}
MADE = {
    **{f"turned {number}": exif({UPRIGHT: (SHORT, number), LENS: (SHORT, 26)}) for number in range(10)},
    **{f"{length} mm": exif({LENS: (SHORT, length)}) for length in (0, 7, 8, 24, 50, 200, 1000, 1001)},
    **{f"unit {unit}": exif({**SENSOR, UNIT: (SHORT, unit), RESOLUTION: (RATIO, resolution)})
       for unit, resolution in ((1, (4000, 6)), (2, (101600, 6)), (3, (40000, 6)), (4, (4000, 6)), (5, (4, 6000)))},
    "no unit": exif({tag: value for tag, value in SENSOR.items() if tag != UNIT}),
    "no length": exif({tag: value for tag, value in SENSOR.items() if tag != LENGTH}),
    "turned sensor": exif({UPRIGHT: (SHORT, 6), **SENSOR}),
    "both": exif({LENS: (SHORT, 35), **SENSOR}),
    "wrong lens, right sensor": exif({LENS: (SHORT, 3), **SENSOR}),
    "no resolution": exif({**SENSOR, RESOLUTION: (RATIO, (0, 1))}),
    "ratio to 0": exif({LENS: (RATIO, (26, 0)), **SENSOR}),
    "big-endian": exif({UPRIGHT: (SHORT, 8), LENS: (SHORT, 28)}, ">"),
    "long": exif({UPRIGHT: (LONG, 6), LENS: (LONG, 52)}),
    "ratio": exif({LENS: (RATIO, (555, 10))}),
    "float": exif({LENS: (FLOAT, 33.5)}),
    "double": exif({LENS: (DOUBLE, 33.5)}),
    "negative": exif({LENS: (SIGNED, -26)}),
    "two numbers": exif({UPRIGHT: (SHORT, (6, 6)), LENS: (SHORT, (26, 26))}),
    "text": exif({LENS: (TEXT, b"26\0")}),
    "none": b"",
}  # fmt: skip


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six photos: three of them turned, with lenses; of several sizes and formats."""
    folder = tmp_path_factory.mktemp("rooms")
    turned = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}
    made = {}

    def write(name: str, room: str, size: tuple[int, int], orientation: int = 1, lens: int = 0) -> None:
        with Image.open(EXAMPLES / f"{room}.jpg") as image:
            image = image.resize(size, Image.Resampling.LANCZOS)
        image = image.transpose(turned[orientation]) if orientation in turned else image
        tags = exif({UPRIGHT: (SHORT, orientation), LENS: (SHORT, lens)}) if lens else b""
        made[name] = folder / name
        image.save(made[name], quality=92, exif=tags)

    write("small.jpg", "bedroom", (480, 360))
    write("plain.png", "living_room", (1000, 750))
    write("phone.jpg", "kitchen", (4000, 3000))
    write("portrait.jpg", "living_room", (1600, 1200), orientation=6, lens=24)
    write("other.jpg", "bedroom", (1200, 900), orientation=8, lens=50)
    write("below.webp", "kitchen", (960, 720), orientation=3, lens=35)
    return made


@pytest.mark.parametrize("name", ["small.jpg", "plain.png", "phone.jpg", "portrait.jpg", "other.jpg", "below.webp"])
def test_depth_is_that_of_python(page: Any, site: Path, rooms: dict[str, Path], name: str):
    expected = model_of(site, 1).predict(rooms[name])
    made = predicted(page, rooms[name], 1)
    median, worst = difference(made["depth"], expected.depth)
    print(f"{name}: median {median:.2%}, 99th percentile {worst:.2%}")
    assert (made["photoSize"]["height"], made["photoSize"]["width"]) == expected.depth.shape
    assert made["cameraFrom"] == expected.camera_from
    assert median < 0.002 and worst < 0.02
