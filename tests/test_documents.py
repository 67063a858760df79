"""What the documents show is what happens."""

import re
from pathlib import Path

import pytest

from depth_unet import DEFAULT_MODEL

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in (ROOT / "README.md", ROOT / "model_card.md") if path.is_file()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "room.jpg").write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict = {}
    for block in blocks:
        # A hub repository in an example is the model that is here.
        code = re.sub(r'from_pretrained\("[\w.-]+/[\w.-]+"(, revision="[^"]*")?\)', "from_pretrained()", block)
        exec(compile(code, document.name, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", document.read_text("utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def test_continuous_integration_finds_the_test_command():
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"<!-- test command -->\n```\n(.*?)\n```", text)
    assert block is not None and "python -m pytest" in block[1]


def test_the_default_model_is_small_and_tells_of_itself():
    folder = Path(DEFAULT_MODEL)
    assert (folder / "model.safetensors").stat().st_size <= 16_000_000
    assert "abs_rel" in (folder / "README.md").read_text("utf-8")
