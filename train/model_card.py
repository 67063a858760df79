"""Fills the blocks of documents that hold measured numbers, so that nobody types them."""

import re
from pathlib import Path

from train.history import write_atomically


def fill(document: Path, block: str, content: str) -> None:
    """Replace what stands between `<!-- block -->` and `<!-- /block -->`.

    Raises:
        FileNotFoundError: no such document.
        ValueError: it has no such block, or more than one.
    """
    text = document.read_text("utf-8")
    begin, end = f"<!-- {block} -->", f"<!-- /{block} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{document.name} must have one block from {begin} to {end}")
    write_atomically(document, pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text))
