"""Wrong requests: each gets one sentence that names no path of the server, and none costs the others anything."""

import base64
import io
import itertools
import json
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from test_page import PATIENCE, running_app

from depth_unet import DepthUNetConfig
from depth_unet.page.refusals import GONE

RIGHT = {
    "predict": [None, "npy", None],
    "measure": [None, [[1, 2]], None, None, None],
    "solid": [None, "glb", 100, None, None, 2.0, None, None, 0.0],
}
OPTIONAL = {"predict": [2], "measure": [2], "solid": [3, 4, 6, 7]}  # places of numbers that may be None
NEEDED = {"predict": [], "measure": [], "solid": [2, 5, 8]}
FROM_0 = {("solid", 6), ("solid", 8)}
SCALARS = [
    True, False, 0, -1, 1e-300, 1e300, -1e300, 10**400, math.nan, math.inf, -math.inf, "", " ", "60", "npy", "NPY",
    "nan", "\0", "\ud800", "../../x", "ⅧⅧ", "🦊" * 50, "x" * 100_000, [], [60], [[]], {}, {"a": 1}, {"path": "x"},
    [None], [[[[[1]]]]],
]  # fmt: skip
POINTS = [
    [[1]], [[1, 2, 3]], [[1, "x"]], [["1", "2"]], [[None, None]], [[True, False]], [[1.5, 2]], [[math.nan, 1]],
    [[math.inf, 1]], [[-1, 2]], [[1, -2]], [[160, 0]], [[0, 120]], [[1e300, 0]], [[10**400, 0]], [[1, 2]] * 3,
    [[1, 2]] * 10_000, [1, 2], [[[1, 2]]], {"x": 1, "y": 2}, [{"x": 1, "y": 2}], [[1, 2], 3], [[1, 2], []], "[[1, 2]]",
    [[{}, {}]], [[[], []]],
]  # fmt: skip


class Asked:
    """The endpoints of a server over plain HTTP, and its log."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.web = httpx.Client(base_url=url, timeout=PATIENCE)
        self.json = {"Content-Type": "application/json"}

    def upload(self, content: bytes, name: str) -> dict[str, Any]:
        (path,) = self.web.post("gradio_api/upload", files={"files": (name, content)}).json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def answer(self, endpoint: str, data: Any) -> tuple[str, Any]:
        """What a call ends with: "complete" and its values, "error" and its sentence, or "refused" and a status."""
        begun = self.web.post(f"gradio_api/call/{endpoint}", content=json.dumps({"data": data}), headers=self.json)
        if begun.status_code != 200:
            return "refused", begun.status_code
        text = self.web.get(f"gradio_api/call/{endpoint}/{begun.json()['event_id']}").text
        event, content = re.findall(r"^event: (\w+)\ndata: (.*)$", text, re.MULTILINE)[-1]
        content = json.loads(content)
        return event, content["error"] if event == "error" else content

    def log(self) -> str:
        return (self.folder / "log.txt").read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("app")
    with running_app(folder, tiny_config) as (url, _):
        asked = Asked(url, folder)
        yield asked
        asked.web.close()


@pytest.fixture(scope="module")
def uploaded(asked: Asked, photo: Path) -> dict[str, Any]:
    return asked.upload(photo.read_bytes(), "room.jpg")


def is_a_sentence(asked: Asked, sentence: Any) -> bool:
    return (
        isinstance(sentence, str)
        and 10 < len(sentence) < 400
        and "\n" not in sentence
        and str(asked.folder) not in sentence
        and not re.search(r"/(tmp|root|home|usr|work)\b|site-packages|Traceback|Error\b|object at 0x", sentence)
    )


def wrong_values(endpoint: str) -> Iterator[tuple[int, Any]]:
    """(place, value) that the endpoint must refuse."""
    if endpoint == "measure":
        yield from ((1, value) for value in [*SCALARS, *POINTS, None])
    else:
        yield from ((1, value) for value in [*SCALARS, None, 3] if value != "npy" or endpoint == "solid")
    for place in OPTIONAL[endpoint] + NEEDED[endpoint]:
        wrong = [*SCALARS, None] if place in NEEDED[endpoint] else SCALARS
        in_range = (0, 1e-300) if (endpoint, place) in FROM_0 else ()
        yield from ((place, value) for value in wrong if isinstance(value, bool) or value not in in_range)


@pytest.mark.parametrize("endpoint", RIGHT)
def test_wrong_values_get_one_sentence(endpoint: str, asked: Asked, uploaded: dict[str, Any]):
    tried = 0
    for place, value in wrong_values(endpoint):
        data = [uploaded, *RIGHT[endpoint][1:]]
        data[place] = value
        event, sentence = asked.answer(endpoint, data)
        assert event == "error" and is_a_sentence(asked, sentence), (
            place,
            value,
            event,
            sentence,
        )
        tried += 1
    assert tried > 60
    assert asked.answer(endpoint, [uploaded, *RIGHT[endpoint][1:]])[0] == "complete"
    assert "Traceback" not in asked.log()


def test_wrong_calibrations_get_one_sentence(asked: Asked, uploaded: dict[str, Any]):
    known = [[20, 30], [100, 60]]
    pairs = [(value, known) for value in [*SCALARS, None]] + [(2.0, points) for points in [*SCALARS, *POINTS, None]]
    for metres, points in pairs:
        event, sentence = asked.answer("measure", [uploaded, [[1, 2]], None, metres, points])
        assert event == "error" and is_a_sentence(asked, sentence), (metres, points, sentence)
    assert "Traceback" not in asked.log()


def wrong_files(asked: Asked, path: str) -> list[Any]:
    """What is sent instead of an uploaded photo."""
    mark = {"meta": {"_type": "gradio.FileData"}}
    secret = asked.folder / "secret.jpg"
    Image.new("RGB", (40, 30)).save(secret)
    own = Path(path).parent
    places = [
        f"{path}/x", f"{path}/../x", f"{path}\0", f"{path}\0.jpg", str(own), str(own.parent), "/", "/etc/passwd",
        "/dev/zero", "/dev/stdin", "/proc/self/environ", "..", ".", "~", "room.jpg", str(secret), "\ud800", "x" * 5000,
        "/" * 5000, f"{own}/../../lock", f"{own}/../../../../secret.jpg", f"{own.parent}/{'0' * 64}/room.jpg",
        f"file://{path}", "http://127.0.0.1:1/x.jpg", "https://", "data:image/png;base64,xx", "//127.0.0.1/x/y.jpg",
        "C:\\Windows\\win.ini", "\\\\server\\share\\x.jpg", "%2e%2e/x", path.upper(), f"{path}%00",
    ]  # fmt: skip
    marked = [{"path": place, **mark} for place in places] + [{"path": place} for place in places]
    odd = [
        *SCALARS,
        None,
        path,
        [path],
        [{"path": path, **mark}],
        {"path": [path], **mark},
        {"path": {"path": path}, **mark},
    ]
    odd += [
        {**mark},
        {"path": None, **mark},
        {"path": 3, **mark},
        {"path": "", **mark},
        {"url": "http://127.0.0.1:1/x"},
    ]
    odd += [{"video": {"path": f"{path}/x", **mark}}, {"video": None}, {"path": str(secret), "is_stream": True, **mark}]
    return (
        marked
        + odd
        + [{"path": str(secret), "url": f"/gradio_api/file={path}", **mark}, {"path": str(secret), "size": "x", **mark}]
    )


@pytest.mark.parametrize("endpoint", RIGHT)
def test_only_uploaded_files_are_read(endpoint: str, asked: Asked, uploaded: dict[str, Any]):
    for sent in wrong_files(asked, uploaded["path"]):
        event, sentence = asked.answer(endpoint, [sent, *RIGHT[endpoint][1:]])
        assert event == "error" and is_a_sentence(asked, sentence), (sent, event, sentence)
    assert asked.answer(endpoint, [uploaded, *RIGHT[endpoint][1:]])[0] == "complete"
    assert "Traceback" not in asked.log()


@pytest.mark.parametrize("endpoint", RIGHT)
def test_calls_of_another_shape(endpoint: str, asked: Asked, uploaded: dict[str, Any]):
    right = [uploaded, *RIGHT[endpoint][1:]]
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    shapes = [
        [],
        [uploaded],
        right[:-1],
        None,
        {},
        "x",
        3,
        [right],
        [*right, 1, 2, 3],
        deep,
        [deep] * len(right),
        [uploaded, deep],
    ]
    for data in shapes:
        event, sentence = asked.answer(endpoint, data)
        if event != "complete":
            assert event == "refused" or is_a_sentence(asked, sentence), (str(data)[:80], sentence)
    for content in (
        b"",
        b"{",
        b"[]",
        b'{"data": [NaN]}',
        b"\xff\xfe",
        b'{"data": "' + b"x" * 100_000 + b'"}',
        b"[" * 50_000,
    ):
        assert asked.web.post(f"gradio_api/call/{endpoint}", content=content, headers=asked.json).status_code < 500
    assert asked.answer(endpoint, right)[0] == "complete"
    assert "Traceback" not in asked.log()


ODD_PHOTOS = {
    "empty.jpg": b"", "text.jpg": b"no picture", "zeros.png": bytes(5000), "list.png": b"#EXTM3U\nsecret.jpg\n",
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "page.pdf": b"%PDF-1.4\n",
    "vector.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "program.jpg": b"MZ\0\0" * 99,
    "half.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x20", "..jpg": b"x", ".jpg": b"",
    "🦊 'quoted' \"name\".jpg": b"x", "<b>bold<b>.jpg": b"x", "x" * 200 + ".jpg": b"x",
}  # fmt: skip


@pytest.mark.parametrize("endpoint", RIGHT)
def test_what_is_no_photo(endpoint: str, asked: Asked):
    for name, content in ODD_PHOTOS.items():
        event, sentence = asked.answer(endpoint, [asked.upload(content, name), *RIGHT[endpoint][1:]])
        assert event == "error" and is_a_sentence(asked, sentence), (name, sentence)
    assert "Traceback" not in asked.log()


def bomb(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG", optimize=True)
    return file.getvalue()


def used(asked: Asked) -> int:
    return sum(path.stat().st_size for path in (asked.folder / "served").rglob("*") if path.is_file())


def test_a_small_upload_cannot_fill_the_disk(asked: Asked):
    """The same request again takes no more space."""
    sent = asked.upload(bomb(3000), "bomb.png")
    assert asked.answer("predict", [sent, "npy", None])[0] == "complete"
    before = used(asked)
    for _ in range(5):
        assert asked.answer("predict", [sent, "npy", None])[0] == "complete"
    assert used(asked) - before < 1_000_000
    event, sentence = asked.answer("predict", [asked.upload(bomb(20_000), "larger.png"), "npy", None])
    assert event == "error" and is_a_sentence(asked, sentence)


def test_a_small_upload_gets_no_huge_answer_and_writes_it_once(asked: Asked):
    content = bomb(6000)
    assert len(content) < 100_000
    sent, before = asked.upload(content, "flat.png"), used(asked)
    about, file = asked.answer("predict", [sent, "npy", None])[1]
    assert used(asked) - before < 4096 * 4096 * 4 + 1000 and about["camera"]["width"] == 4096
    first = Path(file["path"]).stat()
    _, (_, again) = asked.answer("predict", [sent, "npy", None])
    second = Path(again["path"]).stat()
    assert second.st_ino == first.st_ino, "written again"
    assert second.st_mtime > first.st_mtime, "as old as before: those who delete old files would take it"


def test_a_photo_of_many_pixels_gets_all_of_them(asked: Asked):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 4500, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    about, _ = asked.answer("predict", [asked.upload(file.getvalue(), "wide.jpg"), "npy", None])[1]
    assert (about["camera"]["width"], about["camera"]["height"]) == (4500, 60)


def test_two_clicks_at_once_get_their_own_answers(asked: Asked, uploaded: dict[str, Any]):
    """The same photo at several angles, begun before the first answer."""
    angles = [40, 60, 80, 100]
    begun = [
        asked.web.post("gradio_api/call/predict", json={"data": [uploaded, "npy", angle]}).json()
        for angle in angles * 2
    ]
    depths = []
    for event in begun:
        text = asked.web.get(f"gradio_api/call/predict/{event['event_id']}").text
        _, written = json.loads(text.partition("event: complete\ndata: ")[2])
        depths.append(np.load(io.BytesIO(asked.web.get("gradio_api/file=" + written["path"]).content)))
    for first, again in zip(depths[:4], depths[4:], strict=True):
        np.testing.assert_array_equal(first, again)
    for nearer, farther in itertools.pairwise(depths[:4][::-1]):
        assert farther.mean() > nearer.mean()


def test_answers_of_others_are_not_told(asked: Asked, uploaded: dict[str, Any]):
    """Neither the folder nor the lock of the server can be read over HTTP."""
    files = Path(uploaded["path"]).parents[1]
    for place in (files, files.parent, files.parent / "lock", files.parent.parent, asked.folder / "log.txt"):
        answer = asked.web.get(f"gradio_api/file={place}")
        assert answer.status_code in (403, 404), place


def test_gradios_own_recorder_is_not_offered(asked: Asked, photo: Path):
    """It writes outside the server's folder, and runs a program where that is installed."""
    for end in ("", "/"):
        answer = asked.web.post(f"gradio_api/process_recording{end}", files={"video": ("x.mp4", photo.read_bytes())})
        assert answer.status_code == 404
    paths = {path.relative_to(asked.folder / "served").parts[0] for path in asked.folder.rglob("served/*/**/*")}
    assert len(paths) == 1


def events_of_the_page(asked: Asked) -> Iterator[dict[str, Any]]:
    for event in asked.web.get("config").json()["dependencies"]:
        if event["backend_fn"] and event["api_name"] not in RIGHT:
            yield event


def outcome(asked: Asked, event: dict[str, Any], values: list[Any], session: str, **more: Any) -> dict[str, Any]:
    """What an event of the page ends with."""
    sent = {"data": values, "fn_index": event["id"], "session_hash": session, **more}
    place = "queue/join" if event["queue"] is not False else "run/predict"
    begun = asked.web.post(f"gradio_api/{place}", content=json.dumps(sent), headers=asked.json)
    if place == "run/predict" or begun.status_code != 200:
        return begun.json()
    with asked.web.stream("GET", f"gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            message = json.loads(line[5:]) if line.startswith("data:") else {}
            # A stream of frames goes on after the first answer.
            if message.get("msg") in ("process_completed", "process_streaming", "process_generating"):
                return message["output"]
    return {"error": "the stream ended without an answer"}


def test_events_of_the_page_refuse_wrong_values_too(asked: Asked, uploaded: dict[str, Any]):
    """What its buttons and fields send is checked like all that strangers send."""
    wrong = (None, -1, "x", [], {"path": f"{uploaded['path']}/x"})
    calls = list(enumerate(itertools.product(events_of_the_page(asked), wrong)))

    def call(numbered: tuple[int, tuple[dict[str, Any], Any]]) -> dict[str, Any]:
        number, (event, value) = numbered
        return outcome(asked, event, [value] * len(event["inputs"]), f"stranger{number}")

    with ThreadPoolExecutor(16) as pool:
        for (_, (event, value)), output in zip(calls, pool.map(call, calls), strict=True):
            assert "error" not in output or is_a_sentence(asked, output["error"]), (event["id"], value, output)
    assert len(calls) > 40
    assert asked.answer("predict", [uploaded, "npy", None])[0] == "complete"
    assert "Traceback" not in asked.log()


def camera_event(asked: Asked) -> dict[str, Any]:
    """The event of the live view."""
    (event,) = [event for event in events_of_the_page(asked) if event["targets"][0][1] == "stream"]
    return event


def test_the_live_view_refuses_what_is_no_frame(asked: Asked, uploaded: dict[str, Any], photo: Path):
    def as_text(content: bytes, kind: str = "jpeg") -> dict[str, Any]:
        url = f"data:image/{kind};base64," + base64.b64encode(content).decode()
        return {"path": None, "url": url}

    event, frame = camera_event(asked), as_text(photo.read_bytes())
    gif, tiff = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 48)).save(gif, "GIF")
    Image.new("RGB", (64, 48)).save(tiff, "TIFF")
    wrong = [as_text(bomb(side), "png") for side in (3000, 9000, 20_000)]
    wrong += [as_text(content) for content in (b"", b"x", photo.read_bytes()[:700], gif.getvalue(), tiff.getvalue())]
    wrong += [{**frame, "url": f"data:image/png;base64,{text}"} for text in ("", "%%%", "=", "x" * 11_000_000)]
    wrong += [{**frame, "url": url} for url in ("data:text/html,x", "data:image/", "http://127.0.0.1:1/x", 3, [])]
    wrong += [{"path": uploaded["path"] + "/x"}, {}, [], "x", 3]
    for number, sent in enumerate(wrong):
        output = outcome(asked, event, [sent, None], f"camera{number}")  # the second is the server's own state
        assert is_a_sentence(asked, output.get("error")), (str(sent)[:90], output)
    assert "error" not in outcome(asked, event, [frame, None], "camera")
    assert "Traceback" not in asked.log()


@pytest.mark.parametrize(
    ("endpoint", "rest"),
    [("predict", []), ("predict", ["png"]), ("measure", [[[20, 30]]]), ("solid", []), ("solid", ["stl", 100, None])],
)
def test_the_last_values_may_be_left_out(endpoint: str, rest: list, asked: Asked, uploaded: dict[str, Any]):
    assert asked.answer(endpoint, [uploaded, *rest])[0] == "complete"


def test_values_without_a_default_may_not(asked: Asked, uploaded: dict[str, Any]):
    assert asked.answer("measure", [uploaded])[0] == "error"


def test_a_photo_that_was_deleted_is_asked_for_again(asked: Asked, photo: Path):
    sent = asked.upload(photo.read_bytes(), "gone.jpg")
    Path(sent["path"]).unlink()
    assert asked.answer("predict", [sent]) == ("error", GONE)
