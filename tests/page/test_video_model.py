"""A model of its own for clips and the webcam."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depth_unet import DepthUNet, open_model
from depth_unet.page.__main__ import main
from depth_unet.page.server import conditions

ROOT = Path(__file__).parent.parent.parent

# In a process of its own: gradio leaves an event loop behind.
USED = """
import base64, sys
from pathlib import Path
from PIL import Image
from depth_unet import open_model
from depth_unet.page import video
from depth_unet.page.server import build

own, other, photo = sys.argv[1:]
page = build(open_model(own), open_model(other) if other else None)
functions = {event.fn.__name__: event.fn for event in page.fns.values() if event.fn}
encoded = base64.b64encode(Path(photo).read_bytes()).decode()
_, text, _ = functions["look"]({"url": f"data:image/jpeg;base64,{encoded}"}, None)
used = []
picture = Image.open(photo).convert("RGB")
video.depth_video = lambda predict, *_, **__: used.append(predict(picture).model) or iter(())
clip = page.visits.folder / "clip.mp4"
clip.parent.mkdir(exist_ok=True)
clip.write_bytes(b"")
list(functions["run"]({"path": str(clip), "meta": {"_type": "gradio.FileData"}}, 0.5, "viridis"))
print(text, *used, page.visits.predict(photo).model, sep="|")
"""


@pytest.fixture
def other(tiny_model: DepthUNet, tmp_path: Path) -> DepthUNet:
    torch.manual_seed(5)
    model = DepthUNet(replace(tiny_model.config, max_depth=50.0)).eval()
    model.save_pretrained(tmp_path / "other")
    return open_model(tmp_path / "other")


@pytest.mark.parametrize("given", [True, False])
def test_only_what_moves_uses_it(
    given: bool, tiny_model: DepthUNet, other: DepthUNet, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model.save_pretrained(tmp_path / "own")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    names = [str(tmp_path / "own"), str(tmp_path / "other") if given else ""]
    command = [sys.executable, "-c", USED, *names, str(photo)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    text, of_clip, of_photo = ran.stdout.strip().splitlines()[-1].split("|")
    own, others = (model.predict(photo) for model in (tiny_model, other))
    x, y = own.camera.width // 2, own.camera.height // 2
    metres = {True: others.distance(x, y), False: own.distance(x, y)}
    assert abs(metres[True] - metres[False]) > 0.02, "the models must differ for this test"
    assert f"{metres[given]:.2f} m" in text
    assert (of_clip, of_photo) == ("other" if given else "own", "own")


def test_visitors_are_told(tiny_model: DepthUNet, other: DepthUNet) -> None:
    other.licence = "cc-by-nc-4.0"
    text = conditions(tiny_model, other)
    assert f"**Model:** {tiny_model.name};" in text and "**Model for video and live view:** other;" in text
    assert text.endswith("cc-by-nc-4.0, which forbids commercial use.")
    assert "video and live" not in conditions(tiny_model)


def test_a_wrong_one_is_refused_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--model", "nano", "--video-model", str(tmp_path / "none")]) == 2
    assert "neither a folder nor" in capsys.readouterr().err
