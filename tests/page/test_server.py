"""Server processes as they run: ended, killed, several at once, with HTTPS and behind a proxy."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image
from test_page import PATIENCE, ROOT

from depth_unet import DepthUNet, DepthUNetConfig
from depth_unet.page.__main__ import main

RUN = "import sys, depth_unet.page.server as server, depth_unet.page.__main__ as page\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Path:
    """A model's folder."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    DepthUNet(tiny_config).eval().save_pretrained(folder)
    return folder


class Running:
    """A server in its own process; `served` is where it may leave nothing."""

    def __init__(self, model: Path, folder: Path, *options: str, before: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder.mkdir(exist_ok=True)
        self.folder, self.served, self.log = folder, folder / "served", folder / f"log{self.port}.txt"
        self.url = f"http{'s' if '--ssl-certfile' in options else ''}://127.0.0.1:{self.port}/"
        command = [sys.executable, "-c", f"{RUN}{before}\nsys.exit(page.main())", "--model", str(model)]
        command += ["--port", str(self.port), *options]
        environment = {
            **os.environ,
            "GRADIO_TEMP_DIR": str(self.served),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.2)

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}health", verify=False, timeout=5).status_code == 200
        return False

    def upload(self, content: bytes, name: str = "room.jpg") -> str:
        return httpx.post(f"{self.url}gradio_api/upload", files={"files": (name, content)}).json()[0]

    def call(self, path: str) -> str:
        sent = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "npy", None]}
        event = httpx.post(f"{self.url}gradio_api/call/predict", json=sent).json()["event_id"]
        return httpx.get(f"{self.url}gradio_api/call/predict/{event}", timeout=PATIENCE).text

    def end(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)

    def left(self) -> list[Path]:
        return [path for path in self.served.rglob("*") if path.is_file()]


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Iterator[Any]:
    started: list[Running] = []

    def start(*options: str, folder: str = "app", **more: Any) -> Running:
        started.append(Running(saved, tmp_path / folder, *options, **more))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(60)


def test_a_path_below_a_file_does_not_end_the_deletion(run: Any, photo: Path):
    server = run(before="server.CLEAN_UP = (1, 4)")
    path = Path(server.upload(photo.read_bytes()))
    for wrong in (path / "x", path / "x" / "y", path.with_name("gone.jpg"), path.parent, path.parent.parent, "/x"):
        assert "event: error" in server.call(str(wrong))
    assert "event: complete" in server.call(str(path))
    time.sleep(8)
    assert not path.exists()
    later = Path(server.upload(photo.read_bytes(), "later.jpg"))
    assert later.exists()
    time.sleep(8)
    assert not later.exists()
    arrival = {"depth.npy", "depth.json", "photo.jpg", "view.png"}
    assert {path.name for path in server.left()} == {*arrival, "lock"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="about signals that this system lacks")
def test_what_a_killed_server_left_is_deleted_and_others_keep_theirs(run: Any, photo: Path):
    first, second = run(), run()
    paths = [Path(server.upload(photo.read_bytes())) for server in (first, second)]
    assert all("event: complete" in server.call(str(path)) for server, path in zip((first, second), paths, strict=True))
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert all(path.exists() for path in paths)
    third = run()
    assert [path.exists() for path in paths] == [False, True]
    assert third.end() == 0
    assert paths[1].exists() and "event: complete" in second.call(str(paths[1]))
    arrival = next(path for path in second.left() if path.name == "view.png")
    assert httpx.get(f"{second.url}gradio_api/file={arrival}").status_code == 200
    assert second.end() == 0
    assert second.left() == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_with_waiting_jobs_ends_cleanly(how: int, run: Any, photo: Path, tmp_path: Path):
    server = run()
    with Image.open(photo) as image:
        image.resize((3000, 2250)).save(tmp_path / "large.png")
    sent = {"path": server.upload((tmp_path / "large.png").read_bytes(), "large.png")}
    data = {"data": [{**sent, "meta": {"_type": "gradio.FileData"}}, "npz", None]}
    events = [httpx.post(f"{server.url}gradio_api/call/predict", json=data).json()["event_id"] for _ in range(20)]

    def wait(event: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{server.url}gradio_api/call/predict/{event}", timeout=PATIENCE)

    waiting = [threading.Thread(target=wait, args=(event,)) for event in events[:5]]
    for thread in waiting:
        thread.start()
    time.sleep(1.5)
    began = time.monotonic()
    server.process.send_signal(how)
    time.sleep(0.3)
    if server.process.poll() is None:
        server.process.send_signal(how)  # an impatient service manager, or person
    assert server.process.wait(60) == 0
    assert time.monotonic() - began < 20
    for thread in waiting:
        thread.join(30)
    assert "Traceback" not in server.log.read_text() and "Error" not in server.log.read_text()
    assert server.left() == []


FETCHING = """
import gradio.processing_utils
async def fetch(*arguments, **more):
    open("fetched", "w").close()
    raise ValueError("fetched")
gradio.processing_utils.async_ssrf_protected_download = fetch
"""


def test_addresses_are_not_fetched(run: Any, photo: Path):
    server = run(before=FETCHING)
    for address in ("http://93.184.215.14/x.jpg", "https://example.com/x.jpg"):
        answer = server.call(address)
        assert "event: error" in answer and "must be uploaded: this server fetches no addresses" in answer
    assert not (server.folder / "fetched").exists()
    assert "event: complete" in server.call(server.upload(photo.read_bytes()))


def test_a_taken_port_costs_nothing(run: Any, saved: Path):
    server = run()
    path = Path(server.upload(b"x"))
    second = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--model", str(saved), "--port", str(server.port)],
        env={**os.environ, "GRADIO_TEMP_DIR": str(server.served)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert second.returncode == 2
    assert second.stderr == f"error: cannot listen at 127.0.0.1:{server.port}; is another program there?\n"
    assert path.exists() and len(list(server.served.glob("photo-page-*"))) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("in_one_file", [False, True])
def test_https(in_one_file: bool, run: Any, photo: Path, certificate: tuple[Path, Path], saved: Path, tmp_path: Path):
    cert, key = certificate
    files = [str(cert.with_name("both.pem"))] if in_one_file else [str(cert), "--ssl-keyfile", str(key)]
    server = run("--ssl-certfile", *files)
    trusted = ssl.create_default_context(cafile=cert)
    client = Client(server.url, verbose=False, download_files=tmp_path / "downloads", ssl_verify=trusted)
    _, file = client.predict(handle_file(photo), "npy", api_name="/predict")
    client.close()
    np.testing.assert_array_equal(np.load(file), DepthUNet.from_pretrained(saved).predict(photo).depth)
    page = httpx.get(server.url, verify=trusted).text
    assert "http://127.0.0.1" not in page
    assert server.end() == 0 and server.left() == []


def test_wrong_certificates_and_paths_end_with_one_sentence(
    certificate: tuple[Path, Path], saved: Path, tmp_path, capsys
):
    cert, key = map(str, certificate)
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "empty.pem").write_bytes(b"")
    locked, other = tmp_path / "locked.pem", tmp_path / "other.pem"
    lock = ["openssl", "rsa", "-aes128", "-passout", "pass:secret", "-in", key, "-out", locked]
    subprocess.run(lock, check=True, capture_output=True)
    subprocess.run(["openssl", "genrsa", "-out", other, "2048"], check=True, capture_output=True)
    wrong = [
        ["--ssl-keyfile", key],
        ["--ssl-certfile", cert],
        ["--ssl-certfile", key],
        ["--ssl-certfile", "missing.pem", "--ssl-keyfile", key],
        ["--ssl-certfile", cert, "--ssl-keyfile", "missing.pem"],
        ["--ssl-certfile", str(tmp_path / "text.pem")],
        ["--ssl-certfile", str(tmp_path / "empty.pem"), "--ssl-keyfile", key],
        ["--ssl-certfile", cert, "--ssl-keyfile", cert],
        ["--ssl-certfile", cert, "--ssl-keyfile", str(locked)],
        ["--ssl-certfile", cert, "--ssl-keyfile", str(other)],
        ["--ssl-certfile", str(tmp_path), "--ssl-keyfile", key],
        ["--root-path", "depth"],
        ["--root-path", "ftp://example.com"],
    ]
    for options in wrong:
        assert main(["--model", str(saved), *options]) == 2, options
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), options


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; client_max_body_size 100m;
  server {{
    listen 127.0.0.1:{port}{tls};
    location /depth/ {{
      proxy_pass http://127.0.0.1:{inner}/;
      proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, inner: int, certificate: tuple[Path, Path] | None) -> Iterator[str]:
    """A reverse proxy that shows a server below /depth/."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tls = " ssl; ssl_certificate {}; ssl_certificate_key {}".format(*certificate) if certificate else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, inner=inner, tls=tls))
    command = ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        else:
            pytest.fail((folder / "error.log").read_text())
        yield f"http{'s' if certificate else ''}://127.0.0.1:{port}/depth/"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("with_tls", [False, True])
def test_behind_a_proxy_below_a_path(with_tls: bool, run: Any, photo: Path, saved: Path, tmp_path: Path, request):
    certificate = request.getfixturevalue("certificate") if with_tls else None
    server = run("--root-path", "/depth")
    trusted = ssl.create_default_context(cafile=certificate[0] if certificate else None)
    with nginx(tmp_path / "nginx", server.port, certificate) as url:
        assert httpx.get(f"{url}health", verify=trusted).json()["status"] == "ok"
        page = httpx.get(url, verify=trusted)
        assert page.status_code == 200 and f'og:image" content="{url}preview.jpg"' in page.text
        assert httpx.get(f"{url}config", verify=trusted).json()["root"] == url.rstrip("/")
        client = Client(url, verbose=False, download_files=tmp_path / "downloads", ssl_verify=trusted)
        _, file = client.predict(handle_file(photo), "npy", api_name="/predict")
        np.testing.assert_array_equal(np.load(file), DepthUNet.from_pretrained(saved).predict(photo).depth)
        client.close()
        requested = (tmp_path / "nginx" / "access.log").read_text()
        assert all(line.split('"')[1].split()[1].startswith("/depth/") for line in requested.splitlines())


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_page_behind_a_proxy(run: Any, photo: Path, tmp_path: Path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    server = run("--root-path", "/depth")
    with nginx(tmp_path / "nginx", server.port, None) as url, playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        failed: list[str] = []
        page.on("response", lambda answer: answer.status >= 400 and failed.append(answer.url))
        page.on("request", lambda asked: asked.url.startswith((url, "blob:", "data:")) or failed.append(asked.url))
        page.goto(url)
        page.set_input_files("#photo input[type=file]", photo, timeout=60_000)
        page.locator(".dv-about").get_by_text(photo.name).wait_for(timeout=60_000)
        browser.close()
    assert failed == []
