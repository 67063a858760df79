"""The page under load: its overhead, its memory, and whether everybody gets their own answer.

`python -m benchmarks.demo` writes benchmarks/results/demo.json and fills the block "demo" of benchmarks/README.md.
`--requests 50` is a shorter run.
"""

import argparse
import functools
import json
import os
import ssl
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import torch
from gradio_client import Client, handle_file
from PIL import Image

from benchmarks.page_server import serving
from depth_unet import DEFAULT_MODEL, DepthUNet
from depth_unet.files import write_json
from train.documents import fill

HERE = Path(__file__).parent
ROOT = HERE.parent
PEOPLE = 16


def resident_mib(pid: int) -> float:
    """Memory that a process holds, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def overhead(url: str, model: DepthUNet, photo: Path, folder: Path, rounds: int) -> dict[str, float]:
    """Median seconds of `predict` and of requests for the same photo, taken in turns."""
    # gradio_client reads all certificates anew for each of its connections, also without encryption, unless it is
    # handed them once.
    certificates = {"request": ssl.create_default_context(), "request_plain": True}
    clients = {
        name: Client(url, verbose=False, download_files=folder, ssl_verify=verify)
        for name, verify in certificates.items()
    }
    web = httpx.Client(base_url=url, timeout=60)
    actions = {"predict": lambda: model.predict(photo), "request_http": lambda: over_http(web, photo)}
    for name, client in clients.items():
        actions[name] = functools.partial(client.predict, handle_file(photo), api_name="/predict")
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - began)
    for client in (*clients.values(), web):
        client.close()
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    requests = [name for name in medians if name != "predict"]
    ratios = {name.replace("request", "ratio"): medians[name] / medians["predict"] for name in requests}
    return {**medians, **ratios}


def over_http(web: httpx.Client, photo: Path) -> bytes:
    """What gradio_client does for a request, without its sleep of 50 ms between looks for the answer."""
    with photo.open("rb") as file:
        (path,) = web.post("gradio_api/upload", files={"files": file}).json()
    sent = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "npy", None]}
    event = web.post("gradio_api/call/predict", json=sent).json()["event_id"]
    answer = web.get(f"gradio_api/call/predict/{event}").text
    _, written = json.loads(answer.partition("event: complete\ndata: ")[2])
    return web.get("gradio_api/file=" + written["path"]).raise_for_status().content


def everybody(url: str, model: DepthUNet, folder: Path) -> int:
    """How many of `PEOPLE` at once get the depth of their own photo."""

    def visit(number: int) -> bool:
        pixels = np.random.default_rng(number).integers(0, 255, (96 + 8 * number, 160, 3), dtype=np.uint8)
        path = folder / f"person{number}.png"
        Image.fromarray(pixels).save(path)
        visitor = Client(url, verbose=False, download_files=folder / f"person{number}")
        try:
            answer = visitor.predict(handle_file(path), api_name="/predict")
        finally:
            visitor.close()
        with torch.inference_mode():
            return np.allclose(np.load(answer[1]), model.predict(path).depth, rtol=1e-4)

    with ThreadPoolExecutor(PEOPLE) as pool:
        return sum(pool.map(visit, range(PEOPLE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500, help="for the memory (default: 500)")
    parser.add_argument("--rounds", type=int, default=15, help="for the overhead (default: 15)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = DepthUNet.from_pretrained(DEFAULT_MODEL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = folder / "photo.jpg"
        with Image.open(ROOT / "depth_unet" / "page" / "examples" / "living_room.jpg") as image:
            image.resize((640, 480), Image.Resampling.LANCZOS).save(photo, quality=92)
        with serving(folder) as (url, server):
            timing = overhead(url, model, photo, folder / "downloads", options.rounds)
            client = Client(url, verbose=False, download_files=False, ssl_verify=ssl.create_default_context())
            right = everybody(url, model, folder)
            small = folder / "small.jpg"
            with Image.open(photo) as image:
                image.resize((160, 120)).save(small)
            memory = []
            for number in range(options.requests):
                client.predict(handle_file(small), api_name="/predict")
                if number % max(1, options.requests // 20) == 0:
                    memory.append(resident_mib(server.pid))
            memory.append(resident_mib(server.pid))
            client.close()
    half = len(memory) // 2
    early, late = max(memory[:half]), max(memory[half:])
    results = {
        "overhead": timing,
        "people": PEOPLE,
        "right_answers": right,
        "requests": options.requests,
        "memory_mib": [round(value, 1) for value in memory],
        "growth_mib": round(late - early, 1),
    }
    (HERE / "results").mkdir(exist_ok=True)
    write_json(HERE / "results" / "demo.json", results)
    fill(
        HERE / "README.md",
        "demo",
        "| what | measured |\n|---|---|\n"
        f"| request through gradio_client / `predict`, photo of 640x480 | {timing['ratio']:.2f} |\n"
        f"| the same requests over plain HTTP | {timing['ratio_http']:.2f} |\n"
        f"| through gradio_client without `ssl_verify=ssl.create_default_context()` | {timing['ratio_plain']:.2f} |\n"
        f"| right answers to {PEOPLE} people at once | {right} of {PEOPLE} |\n"
        f"| most memory during the first half of {options.requests} requests | {early:.0f} MiB |\n"
        f"| most memory during the second half | {late:.0f} MiB |",
    )
    print(results)


if __name__ == "__main__":
    main()
