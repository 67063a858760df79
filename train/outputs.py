"""Files that a command writes at its end, checked at its start."""

import tempfile
from pathlib import Path


def check_output(path: Path) -> None:
    """Make the folder of a file, and check that the file can be written.

    Raises:
        ValueError: a folder has that name.
        OSError: its folder cannot be made or written to.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
