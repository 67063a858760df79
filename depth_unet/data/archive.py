"""The files of a data set, in a folder or in a tar, by their path relative to it."""

import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from depth_unet.reading import LARGEST_FILE, LARGEST_TEXT, read_bytes

_LEFT_OUT = {"__macosx", "@eadir"}  # what macOS and NAS devices add; names with a dot in front are left out too
_HEAD = 1 << 16  # bytes


class Archive:
    """Files that a data set consists of; hidden ones are left out.

    Attributes:
        path: of the folder or tar.
        folders: names of the folders above, where they can mean something.
        places: where each file is, by name; the same place for the same content under two names.
    """

    path: Path
    folders: tuple[str, ...] = ()
    places: dict[str, Any]

    def paths(self, names: tuple[str, ...]) -> list[Path]:
        """The files on the disk that hold these."""
        raise NotImplementedError

    def read(self, name: str, most: int = LARGEST_FILE) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: no such file in the data set.
            OSError, ValueError: it cannot be read, or has more than `most` bytes.
        """
        raise NotImplementedError

    def head(self, name: str) -> bytes:
        """The first bytes of a file, which hold the headers of a picture."""
        raise NotImplementedError

    def read_text(self, name: str) -> bytes:
        """The content of a JSON file or a table; the errors are those of `read`."""
        return self.read(name, LARGEST_TEXT)


def open_archive(path: Path) -> Archive:
    """The files below a folder, or in an uncompressed tar.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a readable tar.
    """
    return Tar(path) if path.is_file() else Folder(path)


class Folder(Archive):
    """Files below a folder. Linked folders are followed, and each folder is read once.

    Args:
        path: of the folder.

    Raises:
        FileNotFoundError: no such folder.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise FileNotFoundError(f"no folder or tar at {path}")
        self.path, self.folders, self.places = path, path.resolve().parts, {}
        seen: set[str] = set()
        pending, linked = [""], []
        while pending or linked:
            top = pending.pop() if pending else linked.pop(0)  # a folder's own place goes before links to it
            real = os.path.realpath(path / top)
            if real in seen:
                continue
            seen.add(real)
            for entry in sorted(os.scandir(real), key=lambda each: each.name):
                name, is_link = top + entry.name, entry.is_symlink()
                if is_hidden(entry.name):
                    continue
                # A link that leads to itself is neither: pathlib, unlike os.scandir, does not raise.
                if Path(entry.path).is_dir() if is_link else entry.is_dir():
                    (linked if is_link else pending).append(name + "/")
                elif Path(entry.path).is_file() if is_link else entry.is_file():
                    self.places[name] = os.path.realpath(entry.path) if is_link else entry.path

    def paths(self, names: tuple[str, ...]) -> list[Path]:
        """See `Archive`."""
        return [self.path / name for name in names]

    def read(self, name: str, most: int = LARGEST_FILE) -> bytes:
        """See `Archive`."""
        if name not in self.places:
            raise FileNotFoundError(f"there is no {name}")
        return read_bytes(self.path / name, most)

    def head(self, name: str) -> bytes:
        """See `Archive`."""
        with (self.path / name).open("rb") as file:
            return file.read(_HEAD)


class Tar(Archive):
    """Files in an uncompressed tar, read where they lie; safe to share between worker processes.

    Args:
        path: of the tar.

    Raises:
        ValueError: not a readable tar.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.places = path, {}
        links: dict[str, str] = {}
        last = -1
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.offset <= last or member.size < 0:  # tarfile would read the same header for ever
                        raise ValueError(f"a header at {member.offset} has an impossible size")
                    last = member.offset
                    name = _plain(member.name)
                    if is_hidden(name):
                        continue
                    if member.islnk():
                        links[name] = _plain(member.linkname)
                    elif member.issym():
                        links[name] = _plain(os.path.normpath(f"{PurePosixPath(name).parent}/{member.linkname}"))
                    elif member.isfile():  # of two with one name the later counts, as when a tar is unpacked
                        self.places[name] = (member.offset_data, -1 if member.issparse() else member.size)
        except Exception as error:  # tarfile raises errors of many classes for damaged headers
            raise ValueError(f"{path.name} is not an uncompressed tar: {error}") from error
        self.places |= {name: self.places[target] for name, target in links.items() if target in self.places}

    def paths(self, names: tuple[str, ...]) -> list[Path]:
        """See `Archive`."""
        return [self.path]

    def read(self, name: str, most: int = LARGEST_FILE) -> bytes:
        """See `Archive`."""
        if name not in self.places:
            raise FileNotFoundError(f"there is no {name} in {self.path.name}")
        offset, size = self.places[name]
        if size < 0:
            raise ValueError(f"{name} is stored sparse in {self.path.name}: pack it without --sparse")
        if size > most:
            raise ValueError(f"{name} has {size:,} bytes; at most {most:,} are read")
        with self.path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise OSError(f"{name} is cut off in {self.path.name}")
        return content

    def head(self, name: str) -> bytes:
        """See `Archive`."""
        offset, size = self.places[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(min(max(size, 0), _HEAD))


def is_hidden(name: str) -> bool:
    """Whether a file is hidden, or one that a system put beside those of its user."""
    return any(part.startswith(".") or part.lower() in _LEFT_OUT for part in PurePosixPath(name).parts)


def _plain(name: str) -> str:
    """Without "./" or "/" in front: some archives call their files so."""
    return str(PurePosixPath(name.replace(os.sep, "/"))).lstrip("/")
