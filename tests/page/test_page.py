"""The page as a program sees it: a real server in its own process, asked through gradio_client."""

import base64
import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import trimesh
import yaml
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError
from PIL import Image

from depth_unet import Camera, DepthUNet, DepthUNetConfig, Prediction
from depth_unet.__main__ import main as command_line
from depth_unet.page.__main__ import main, parser
from depth_unet.page.server import MOST_WAITING, conditions

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "depth_unet" / "page" / "examples"
PATIENCE = 180  # seconds; a busy machine imports torch slowly


@contextmanager
def running_app(folder: Path, config: DepthUNetConfig) -> Iterator[tuple[str, DepthUNet]]:
    """`python app.py` with a new model, and the same model for comparison."""
    torch.manual_seed(0)
    model = DepthUNet(config).eval()
    model.save_pretrained(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, str(ROOT / "app.py"), "--model", str(folder / "model"), "--port", str(port), "--mcp"]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "served"), "OMP_NUM_THREADS": "1"}
    environment["GRADIO_SERVER_PORT"] = ""  # counts as unset
    with (folder / "log.txt").open("w") as log:
        # From another folder: the page may not depend on where it was started.
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"app.py did not start:\n{(folder / 'log.txt').read_text()}")
            time.sleep(0.2)
        yield url, model
    finally:
        process.terminate()
        process.wait(60)
    left = {path.name for path in (folder / "served").rglob("*") if path.is_file()}
    assert left <= {path.name for path in EXAMPLES.iterdir()}, "photos of visitors stay on the disk"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Iterator[tuple[str, DepthUNet]]:
    with running_app(tmp_path_factory.mktemp("app"), tiny_config) as running:
        yield running


@pytest.fixture(scope="module")
def model(server: tuple[str, DepthUNet]) -> DepthUNet:
    return server[1]


@pytest.fixture(scope="module")
def client(server: tuple[str, DepthUNet], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(server[0], verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield client
    client.close()


def ask(client: Client, path: Path, kind: str = "npy", **more) -> tuple[dict, str]:
    return client.predict(handle_file(path), kind, api_name="/predict", **more)


def test_files_and_facts_of_a_photo(client: Client, model: DepthUNet, photo: Path):
    expected = model.predict(photo)
    about, npy = ask(client, photo)
    assert about["near"] <= about["median"] <= about["far"]
    assert about["median"] == pytest.approx(np.median(expected.depth), abs=0.001)
    assert about["fov_from"] == "assumed"
    assert about["photo"] == "room.jpg" and about["unit"] == "metre" and about["camera"]["width"] == 160

    assert np.load(npy).dtype == np.float32
    np.testing.assert_array_equal(np.load(npy), expected.depth)
    others = {kind: ask(client, photo, kind) for kind in ("png", "npz", "picture")}
    assert all(more == about for more, _ in others.values())
    files = {kind: Path(file) for kind, (_, file) in others.items()}
    with Image.open(files["png"]) as millimetres:
        assert millimetres.mode == "I;16"
        np.testing.assert_allclose(np.asarray(millimetres) / 1000, expected.depth, atol=0.00051)
    with Image.open(files["picture"]) as coloured:
        wanted = np.asarray(expected.colorize("viridis")).astype(int)
        assert np.abs(np.asarray(coloured) - wanted).mean() < 3
    np.testing.assert_array_equal(Prediction.load(files["npz"]).depth, expected.depth)
    assert [Path(npy).name, *(file.name for file in files.values())] == [
        "room_depth.npy",
        "room_depth.png",
        "room_depth.npz",
        "room_color.jpg",
    ]
    with pytest.raises(AppError, match="kind must be 'npy', 'png', 'npz' or 'picture', not 'exe'"):
        ask(client, photo, "exe")


def test_the_readme_tells_how_to_ask(server: tuple[str, DepthUNet], model: DepthUNet, photo: Path, monkeypatch):
    block = re.search(r"^```py\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)[1]
    monkeypatch.chdir(photo.parent)
    names: dict = {}
    exec(compile(block.replace("http://127.0.0.1:7860/", server[0]), "README.md", "exec"), names)
    names["client"].close()
    expected = model.predict(photo)
    np.testing.assert_allclose(Prediction.load(names["file"]).depth, expected.depth, atol=0.00051)
    assert names["length"] == pytest.approx(expected.distance_between((20, 30), (100, 60)))


def test_page_command_line_and_code_agree(client: Client, model: DepthUNet, tmp_path: Path):
    photo = EXAMPLES / "living_room.jpg"  # with a focal length in its EXIF data
    model.save_pretrained(tmp_path / "model")
    arguments = [str(photo), "--output", str(tmp_path), "--model", str(tmp_path / "model"), "--format", "npy"]
    assert command_line(arguments) == 0

    in_code = model.predict(photo).depth
    np.testing.assert_array_equal(np.load(tmp_path / "living_room_depth.npy"), in_code)
    np.testing.assert_array_equal(np.load(ask(client, photo)[1]), in_code)


def grey_16_bit(image: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)


def phone_upright(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif.get_ifd(0x8769)[0xA405] = 26  # millimetres, 35 mm equivalent
    image.save(path, exif=exif)


def animated(image: Image.Image, path: Path) -> None:
    image.save(path, save_all=True, append_images=[image.rotate(180)], duration=100)


ODD_FILES: dict[str, Callable[[Image.Image, Path], None]] = {
    "grey16.png": grey_16_bit,
    "print.jpg": lambda image, path: image.convert("CMYK").save(path),
    "alpha.png": lambda image, path: image.convert("RGBA").rotate(30).save(path),
    "palette.png": lambda image, path: image.quantize(16).save(path),
    "turned.jpg": phone_upright,
    "moving.gif": animated,
    "scan.tif": lambda image, path: image.save(path),
    "small.webp": lambda image, path: image.save(path),
    "Grüße aus Köln.JPG": lambda image, path: image.save(path),
    "png inside.jpg": lambda image, path: image.save(path, format="PNG"),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_same_depth_as_predict(name: str, client: Client, model: DepthUNet, photo: Path, tmp_path: Path):
    with Image.open(photo) as image:
        ODD_FILES[name](image.convert("RGB"), tmp_path / name)

    about, npy = ask(client, tmp_path / name)

    expected = model.predict(tmp_path / name)
    np.testing.assert_array_equal(np.load(npy), expected.depth)
    assert about["camera"] == pytest.approx(expected.camera.to_dict())
    assert about["fov_from"] == ("exif" if name == "turned.jpg" else "assumed")
    assert Path(npy).stem == f"{Path(name).stem}_depth"


@pytest.mark.parametrize("content", [b"", b"no picture at all", "half"], ids=["empty", "text", "cut off"])
def test_bad_file_gets_one_sentence(content: bytes | str, client: Client, photo: Path, tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:900] if content == "half" else content)

    with pytest.raises(AppError) as failure:
        ask(client, broken)

    message = str(failure.value)
    assert "broken.jpg" in message
    assert "\n" not in message and "/" not in message and "Error" not in message, "a path or a traceback shows"


def test_files_of_the_server_are_not_served(server: tuple[str, DepthUNet], photo: Path):
    # Not uploaded, but named: with and without the mark by which gradio knows files.
    for marked in ({}, {"meta": {"_type": "gradio.FileData"}}):
        begun = httpx.post(f"{server[0]}gradio_api/call/predict", json={"data": [{"path": str(photo), **marked}]})
        answer = httpx.get(f"{server[0]}gradio_api/call/predict/{begun.json()['event_id']}", timeout=PATIENCE).text
        assert "event: error" in answer and "complete" not in answer
        assert str(photo) not in answer


def test_only_what_is_meant_for_programs_has_a_name(client: Client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert named.keys() == {"/predict", "/measure", "/solid"}
    types = {p["parameter_name"]: p["python_type"]["type"] for p in named["/measure"]["parameters"]}
    assert types["photo"] == "filepath" and types["points"].startswith("list[list[int")
    assert all(endpoint["description"] for endpoint in named.values())


def test_field_of_view_of_a_client(client: Client, model: DepthUNet, photo: Path):
    about, npy = ask(client, photo, horizontal_fov_deg=80)
    expected = model.predict(photo, Camera.from_fov(160, 120, 80))
    np.testing.assert_array_equal(np.load(npy), expected.depth)
    assert about["fov_from"] == "given"


def test_measure(client: Client, model: DepthUNet, photo: Path):
    def measure(points: list[list[int]], **more) -> dict:
        return client.predict(handle_file(photo), points, api_name="/measure", **more)

    expected = model.predict(photo)
    assert measure([[20, 30]])["metres"] == pytest.approx(expected.distance(20, 30))
    between = expected.distance_between((20, 30), (100, 60))
    both = [[20, 30], [100, 60]]
    assert measure(both)["metres"] == pytest.approx(between)
    assert measure(both)["uncertainty_metres"] == pytest.approx(expected.length_uncertainty(both))
    known = {"true_metres": 2.0, "true_points": [[20, 30], [100, 60]]}
    true = measure([[20, 30]], **known)
    assert true["metres"] == pytest.approx(expected.distance(20, 30) * 2 / between)
    assert true["calibration"] == pytest.approx(2 / between)


@pytest.mark.parametrize("points", [[], [[1, 2, 3]], [[1, "x"]], [[500, 2]], [[1, 2]] * 3, "nothing"])
def test_measure_refuses_in_one_sentence(points, client: Client, photo: Path):
    with pytest.raises(AppError) as failure:
        client.predict(handle_file(photo), points, api_name="/measure")
    assert "\n" not in str(failure.value) and "Traceback" not in str(failure.value)


def test_solid(client: Client, model: DepthUNet, photo: Path):
    def solid(*options, **more) -> Any:
        return trimesh.load(client.predict(handle_file(photo), *options, api_name="/solid", **more))

    assert len(solid().geometry) == 1
    assert len(solid("ply").vertices) == 160 * 120
    far = float(np.median(model.predict(photo).depth))
    assert 0.4 < len(solid("ply", far=far).vertices) / (160 * 120) < 0.6
    for kind in ("stl", "3mf"):
        plate = solid(kind, 60, relief_mm=7, base_mm=3)
        plate = plate if kind == "stl" else plate.to_geometry()
        assert plate.is_watertight and plate.extents[0] == pytest.approx(60, rel=1e-4)
        assert plate.extents[2] == pytest.approx(10, abs=1e-3)
    rough, smooth = (solid("stl", 60, smoothing_mm=sigma).area for sigma in (0, 3))
    assert smooth < rough
    with pytest.raises(AppError, match="smoothing_mm must be between 0 and size_mm, not 61"):
        solid("stl", 60, smoothing_mm=61)
    with pytest.raises(AppError, match="near must be below far"):
        solid("stl", near=3, far=2)


def test_a_relief_of_a_large_photo_is_no_huge_file(client: Client, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((2000, 1500)).save(tmp_path / "large.jpg")
    file = client.predict(handle_file(tmp_path / "large.jpg"), "stl", api_name="/solid")
    assert Path(file).stat().st_size < 20e6


def test_head_of_the_page(server: tuple[str, DepthUNet]):
    page = httpx.get(server[0]).text
    head = page[: page.index("</head>")]
    stated = dict(re.findall(r'<meta (?:property|name)="([\w:]+)" content="([^"]*)">', head))
    assert "<title>Depth from one photo</title>" in head and stated["og:title"] == "Depth from one photo"
    assert stated["description"] == stated["og:description"] and "metres" in stated["description"]
    assert "Gradio" not in stated.values() and head.count("og:image") == 2  # the picture and its text
    assert stated["og:url"] == server[0] and stated["og:image"].startswith(server[0])
    with Image.open(io.BytesIO(httpx.get(stated["og:image"]).content)) as preview:
        assert preview.size == (1200, 630)
    icon = re.search(r'<link rel="icon"[^>]* href="([^"/]+)"', head)[1]
    assert httpx.get(server[0] + icon).headers["content-type"] == "image/svg+xml"
    (manifest,) = re.findall(r'<link rel="manifest" href="([^"]+)"', head)
    assert not manifest.startswith("/") and httpx.get(server[0] + manifest).status_code == 200


def test_texts_about_the_endpoints(server: tuple[str, DepthUNet]):
    info = httpx.get(f"{server[0]}gradio_api/info").json()["named_endpoints"]
    for endpoint in info.values():
        for parameter in endpoint["parameters"]:
            assert parameter["label"] == parameter["parameter_name"]
            assert re.fullmatch(r"[A-Z].{10,}\.", parameter["python_type"]["description"])
        assert all(len(value["label"]) > 5 for value in endpoint["returns"])
    assert "glb for a surface" in info["/solid"]["parameters"][1]["python_type"]["description"].lower()


def test_limits_come_from_where_they_are_enforced(tiny_model: DepthUNet, monkeypatch):
    text = conditions(tiny_model)
    assert "at most 100 MB" in text and "120 megapixels" in text and "450 frames" in text and "32 requests" in text
    assert "60 to 70 minutes" in text and tiny_model.name in text and "licence of its weights: unknown" in text
    for name, value in {"CLEAN_UP": (60, 120), "LARGEST_MEGABYTES": 7, "MAX_PIXELS": 5e6, "MOST_WAITING": 3}.items():
        monkeypatch.setattr(f"depth_unet.page.server.{name}", value)
    text = conditions(tiny_model)
    assert "at most 7 MB" in text and "5 megapixels" in text and "3 requests" in text and "2 to 3 minutes" in text


def test_health(server: tuple[str, DepthUNet]):
    answer = httpx.get(f"{server[0]}health")
    assert answer.json() == {"status": "ok", "model": "model", "revision": None}


def mcp(server: str, method: str, **params) -> dict:
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(
        f"{server}gradio_api/mcp/", json=asked, headers=headers, follow_redirects=True, timeout=PATIENCE
    )
    return json.loads(answer.text.partition("data: ")[2] or answer.text)["result"]


def test_mcp_tools(server: tuple[str, DepthUNet], model: DepthUNet, photo: Path):
    tools = {tool["name"].removeprefix("app_"): tool for tool in mcp(server[0], "tools/list")["tools"]}
    assert tools.keys() == {"predict", "measure", "solid"}
    assert all("photo" in tool["inputSchema"]["properties"] for tool in tools.values())

    picture = "data:image/jpeg;base64," + base64.b64encode(photo.read_bytes()).decode()
    sent = {"photo": picture, "points": [[20, 30]]}
    answer = mcp(server[0], "tools/call", name=tools["measure"]["name"], arguments=sent)
    assert not answer.get("isError"), answer
    expected = model.predict(photo).distance(20, 30)
    assert f"{expected:.4f}"[:-1] in answer["content"][0]["text"]


def test_a_full_queue_says_so_and_loses_no_answer(server: tuple[str, DepthUNet], model: DepthUNet, tmp_path: Path):
    large = tmp_path / "large.png"  # takes longer to answer than to ask for
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(large)
    expected = model.predict(large).distance(20, 30)
    with large.open("rb") as file:
        sent = httpx.post(f"{server[0]}gradio_api/upload", files={"files": file}, timeout=PATIENCE).json()[0]
    visitor = Client(server[0], verbose=False, download_files=False, ssl_verify=ssl.create_default_context())
    waiting = {"path": sent, "meta": {"_type": "gradio.FileData"}}
    jobs = [visitor.submit(waiting, [[20, 30]], api_name="/measure") for _ in range(MOST_WAITING + 30)]
    right, refused = 0, []
    for job in jobs:
        try:
            right += job.result(timeout=PATIENCE)["metres"] == pytest.approx(expected)
        except QueueError as error:
            refused.append(str(error))
    assert right >= MOST_WAITING and right + len(refused) == len(jobs)
    assert refused and all("queue" in sentence.lower() for sentence in refused), set(refused)
    assert visitor.predict(waiting, [[20, 30]], api_name="/measure")["metres"] == pytest.approx(expected)
    visitor.close()


def test_front_matter_runs_as_a_space(monkeypatch):
    front = yaml.safe_load((ROOT / "README.md").read_text("utf-8").split("---")[1])
    assert front["sdk"] == "gradio" and (ROOT / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    for host, port, expected in (("0.0.0.0", "7861", ("0.0.0.0", 7861)), ("", "", ("127.0.0.1", 7860))):
        monkeypatch.setenv("GRADIO_SERVER_NAME", host)
        monkeypatch.setenv("GRADIO_SERVER_PORT", port)
        options = parser().parse_args([])
        assert (options.host, options.port) == expected


def test_answers_do_not_mix(server: tuple[str, DepthUNet], model: DepthUNet, tmp_path: Path):
    paths = []
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 255, (60 + 4 * number, 90, 3), dtype=np.uint8)
        paths.append(tmp_path / f"photo{number}.png")
        Image.fromarray(pixels).save(paths[-1])

    def visit(path: Path) -> np.ndarray:
        visitor = Client(server[0], verbose=False, download_files=path.with_suffix(""))
        try:
            return np.load(ask(visitor, path)[1])
        finally:
            visitor.close()

    with ThreadPoolExecutor(16) as pool:
        depths = list(pool.map(visit, paths))

    for path, depth in zip(paths, depths, strict=True):
        np.testing.assert_array_equal(depth, model.predict(path).depth)


@pytest.mark.parametrize("model", ["nobody/nothing", "missing", "empty"])
def test_a_model_that_cannot_be_loaded_ends_with_one_sentence(model: str, tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)

    assert main(["--model", model]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"error: {model}")
