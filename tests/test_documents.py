"""What the documents show is what happens."""

import argparse
import importlib
import importlib.util
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from depth_unet import DEFAULT_MODEL

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CARDS = [ROOT / "model_card.md", Path(DEFAULT_MODEL) / "README.md"]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "benchmarks").glob("*.md")) + CARDS
ALL = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
WITH_PYTHON = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *CARDS]
MACHINE_PATH = re.compile(r"(?<![\w.~/])/(?:work|root|home|tmp|mnt|media|opt|Users)/|\b[A-Z]:\\|\.\./shared")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"(?:(?:python|torchrun|accelerate-launch)\b.*? -m (?P<module>[\w.]+)|(?P<left_out>[\w.]+)(?= -)"
    r"|python (?P<script>[\w/]+)\.py|(?P<entry>depth-unet[\w-]*))(?: (?P<rest>.*))?"
)


@ALL
def test_python_blocks_run(document: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "room.jpg").write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    blocks = [code for language, code in FENCED.findall(document.read_text("utf-8")) if language == "python"]
    assert blocks or document not in WITH_PYTHON
    names: dict = {"DEFAULT_MODEL": DEFAULT_MODEL}
    for block in blocks:
        # A hub repository in an example is the model that is here.
        code = re.sub(r'from_pretrained\("[\w.-]+/[\w.-]+"(, revision="[^"]*")?\)', "from_pretrained()", block)
        code = re.sub(r'open_model\("[\w.-]+/[\w.@-]+"\)', "open_model(DEFAULT_MODEL)", code)
        exec(compile(code, document.name, "exec"), names)


@ALL
def test_links_lead_somewhere(document: Path):
    text = FENCED.sub("", document.read_text("utf-8"))
    for path, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        target = document.parent / path if path else document
        assert target.exists(), path
        if heading:
            titles = re.findall(r"^#+ (.*)$", FENCED.sub("", target.read_text("utf-8")), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


class Command(NamedTuple):
    """A command line in a document.

    Args:
        text: as written.
        module: of this project that it runs.
        arguments: of the module.
        is_whole: nothing is left out.
    """

    text: str
    module: str
    arguments: list[str]
    is_whole: bool

    @property
    def source(self) -> Path:
        """File of the module."""
        return (ROOT / self.module.replace(".", "/")).with_suffix(".py")


def commands(document: Path) -> Iterator[Command]:
    """The command lines in code blocks and in backticks that run a module of ours."""
    text = document.read_text("utf-8")
    blocks = "\n".join(block for _, block in FENCED.findall(text)).replace("\\\n", " ")
    lines = [line for all_of_it in blocks.splitlines() for line in all_of_it.partition(" # ")[0].split(" && ")]
    lines += re.findall(r"`([^`]+)`", FENCED.sub("", text))
    for line in (" ".join(line.split()) for line in lines):
        if match := COMMAND.fullmatch(line):
            if match["entry"]:
                assert match["entry"] in PROJECT["scripts"], line
                module = PROJECT["scripts"][match["entry"]].partition(":")[0]
            else:
                module = match["module"] or match["left_out"] or match["script"].replace("/", ".")
                if not any((ROOT / module.partition(".")[0]).with_suffix(suffix).exists() for suffix in ("", ".py")):
                    continue  # pytest, pip, ...
            arguments = shlex.split(match["rest"] or "")
            yield Command(line, module, arguments, not match["left_out"] and "..." not in arguments)


class _FoundParser(Exception):
    pass


def parser_of(module: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser | None:
    """The parser with which a module is about to read its command line; None if it reads none."""
    is_package = importlib.util.find_spec(module).submodule_search_locations is not None
    main = importlib.import_module(f"{module}.__main__" if is_package else module).main
    if "parse_args" not in Path(inspect.getfile(main)).read_text("utf-8"):
        return None

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _FoundParser(parser)

    with monkeypatch.context() as patch, pytest.raises(_FoundParser) as raised:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        main()
    return raised.value.args[0]


@ALL
def test_commands_have_these_modules_and_options(document: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    for command in commands(document):
        assert command.source.is_file() or importlib.util.find_spec(command.module), command.text
        if not command.arguments:
            continue
        parser = parser_of(command.module, monkeypatch)
        assert parser is not None, f"{command.module} has no options: {command.text}"
        options = {word for word in command.arguments if word.startswith("--")}
        assert options <= set(parser._option_string_actions), command.text
        if command.is_whole:
            try:
                parser.parse_args(command.arguments)
            except SystemExit as error:
                assert error.code == 0, f"{command.text}\n{capsys.readouterr().err}"


@ALL
def test_packages_have_these_extras(document: Path):
    known = PROJECT["optional-dependencies"]
    asked = re.findall(r"(?:depth_unet|\.)\[(\w+)\]", document.read_text("utf-8"))
    assert set(asked) <= set(known)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d not in CARDS], ids=lambda path: str(path.name))
def test_every_picture_has_its_command(document: Path):
    """A command that the document names writes it: it gets the path, or has all parts of the name in its source."""
    sources = {command.source for command in commands(document)}
    texts = [source.read_text("utf-8") for source in sources if source.is_file()]
    texts += re.findall(r"^python -m .*$", document.read_text("utf-8"), re.MULTILINE)
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", document.read_text("utf-8")):
        parts = [*Path(picture).stem.split("_"), Path(picture).suffix]
        assert any(all(part in text for part in parts) for text in texts), picture


@ALL
def test_no_document_names_a_path_of_one_machine(document: Path):
    assert not MACHINE_PATH.findall(document.read_text("utf-8"))


def test_continuous_integration_finds_the_test_command():
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"<!-- test command -->\n```\n(.*?)\n```", text)
    assert block is not None and "python -m pytest" in block[1]


def test_the_default_model_is_small_and_has_a_measured_card():
    folder = Path(DEFAULT_MODEL)
    assert (folder / "model.safetensors").stat().st_size <= 16_000_000
    assert "abs_rel" in (folder / "README.md").read_text("utf-8")
