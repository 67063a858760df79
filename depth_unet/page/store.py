"""The folder for the files of a server: its own, and tidy."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "photo-page-"


@contextlib.contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, deleted at the end; those of processes that were killed are deleted at the start.

    A process holds the lock beside its files as long as it lives.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for files in parent.glob(f"{PREFIX}*/files"):
        with contextlib.suppress(OSError, Timeout):  # of another user, or in use
            with FileLock(files.with_name("lock"), timeout=0):
                shutil.rmtree(files, ignore_errors=True)
            shutil.rmtree(files.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    files = folder / "files"
    try:
        with FileLock(folder / "lock"):
            files.mkdir()  # under the lock: nobody tries the lock of a folder without files
            yield files
            shutil.rmtree(files, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Windows deletes no file that is open, as the lock was until now


class Keeper:
    """Deletes files older than `age` seconds, and the oldest where all together exceed `most_bytes`.

    What is in the folder already is kept.
    """

    def __init__(self, folder: Path, age: float, most_bytes: float) -> None:
        self.folder, self.age, self.most_bytes = folder, age, most_bytes
        self.kept: set[Path] = set()
        self.kept = self._paths()

    def _paths(self) -> set[Path]:
        found = os.walk(self.folder)  # passes over what is deleted meanwhile
        return {Path(place, name) for place, folders, files in found for name in (*folders, *files)} - self.kept

    def sweep(self) -> None:
        """Delete what must go now."""
        files, total = [], 0
        for path in self._paths():
            with contextlib.suppress(OSError):  # deleted meanwhile, or open on Windows: later
                status = path.lstat()
                # A copy keeps the time of its original; the later time is that of its arrival.
                born = max(status.st_mtime, status.st_ctime)
                old = born < time.time() - self.age
                if path.is_dir() and not path.is_symlink():
                    if old and not any(path.iterdir()):
                        path.rmdir()
                elif old:
                    path.unlink()
                else:
                    files.append((born, status.st_size, path))
                    total += status.st_size
        for _, size, path in sorted(files):
            if total <= self.most_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
