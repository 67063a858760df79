"""The folder for the files of a server: its own, and tidy."""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "photo-page-"
LOCK, FILES = "lock", "files"


@contextlib.contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, deleted at the end; those of processes that were killed are deleted at the start.

    A process holds the lock beside its files as long as it lives.

    Raises:
        OSError: the folder cannot be made.

    Example:
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     with own_folder(Path(parent)) as folder:
        ...         is_there = folder.is_dir()
        ...     print(is_there, folder.is_dir())
        True False
    """
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, Timeout):  # of another user, or in use
            _remove(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    lock, files = FileLock(folder / LOCK), folder / FILES
    try:
        with lock:
            files.mkdir()  # under the lock: nobody tries the lock of a folder without files
            yield files
            shutil.rmtree(files, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Windows deletes no file that is open, as the lock was until now


def _remove(folder: Path) -> None:
    """Delete the folder of a process that has ended.

    Raises:
        Timeout: it has not ended.
    """
    if (folder / FILES).is_dir():
        with FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder / FILES, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


class Keeper:
    """Deletes the files of a folder that are too old, and the oldest of those that take too much space.

    Args:
        folder: with subfolders; what is there already is kept.
        age: seconds after which a file is deleted.
        most_bytes: of all files together.
    """

    def __init__(self, folder: Path, age: float, most_bytes: float) -> None:
        self.folder, self.age, self.most_bytes = folder, age, most_bytes
        self.kept = set(folder.rglob("*"))
        self.ended = threading.Event()

    def sweep(self) -> None:
        """Delete what must go now."""
        files, total = [], 0
        for path in set(self.folder.rglob("*")) - self.kept:
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

    @contextlib.contextmanager
    def at_work(self, interval: float) -> Iterator[None]:
        """Sweep every `interval` seconds, in a thread."""

        def work() -> None:
            while not self.ended.wait(interval):
                self.sweep()

        thread = threading.Thread(target=work, daemon=True, name="keeper of files")
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join()
