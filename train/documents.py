"""Documents with measured numbers: Markdown tables, and blocks of a document that a command fills."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from depth_unet.files import write_atomically


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; None is an empty cell.

    Args:
        headings: of the columns.
        rows: as many cells each as there are headings; numbers are formatted by the caller.

    Raises:
        ValueError: a row has another number of cells.

    Example:
        >>> print(markdown_table(["model", "AbsRel"], [["ours", "0.162"]]))
        | model | AbsRel |
        |---|---|
        | ours | 0.162 |
    """
    lines = [headings, ["---"] * len(headings), *rows]
    if wrong := [line for line in lines if len(line) != len(headings)]:
        raise ValueError(f"a row has {len(wrong[0])} cells for {len(headings)} columns: {wrong[0]}")
    cells = [
        ["" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines
    ]
    return "\n".join(f"|{'|'.join(line)}|" if line is cells[1] else f"| {' | '.join(line)} |" for line in cells)


def filled(text: str, block: str, content: str, name: str = "the document") -> str:
    """The text with `content` between `<!-- block -->` and `<!-- /block -->`.

    Raises:
        ValueError: there is no such block, or more than one.
    """
    begin, end = f"<!-- {block} -->", f"<!-- /{block} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{name} must have one block from {begin} to {end}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def fill(document: Path, block: str, content: str) -> None:
    """`filled` for a file.

    Raises:
        FileNotFoundError: no such document.
        ValueError: it has no such block, or more than one.
    """
    write_atomically(document, filled(document.read_text("utf-8"), block, content, document.name))
