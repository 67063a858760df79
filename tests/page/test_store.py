"""The folder for visitors' files: deleted with its process, by its successor otherwise, and never another's."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from depth_unet.page.store import Keeper, own_folder

HOLD = """
import sys
from pathlib import Path
from depth_unet.page.store import own_folder
with own_folder(Path(sys.argv[1])) as folder:
    (folder / "photo.jpg").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


def holder(parent: Path) -> tuple[subprocess.Popen, Path]:
    """A process with a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen, *, killed: bool) -> None:
    if killed:
        process.kill()
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


def test_a_process_deletes_its_own_folder_only(tmp_path: Path):
    (first, here), (second, there) = holder(tmp_path), holder(tmp_path)
    assert here != there
    end(first, killed=False)
    assert not here.exists() and (there / "photo.jpg").exists()
    end(second, killed=False)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_deleted_at_the_next_start(tmp_path: Path):
    processes = [holder(tmp_path) for _ in range(3)]
    for process, _ in processes[:2]:
        end(process, killed=True)
    assert all((folder / "photo.jpg").exists() for _, folder in processes)
    with own_folder(tmp_path) as folder:
        assert [place.exists() for _, place in processes] == [False, False, True]
        assert folder.is_dir()
    end(processes[2][0], killed=False)
    assert list(tmp_path.iterdir()) == []


def test_other_files_stay(tmp_path: Path):
    for name in ("photo-page-notes", "photo-page-new/lock", "photos/room.jpg"):
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with own_folder(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before  # a folder without files was just made


def test_many_at_once(tmp_path: Path):
    def start_and_end(number: int) -> bool:
        process, folder = holder(tmp_path)
        is_there = (folder / "photo.jpg").exists()
        end(process, killed=number % 2 == 0)
        return is_there

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(start_and_end, range(12)))
    with own_folder(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1


def test_an_error_deletes_it_too(tmp_path: Path):
    with pytest.raises(RuntimeError), own_folder(tmp_path / "new" / "parent") as folder:
        (folder / "a").mkdir()
        raise RuntimeError
    assert list((tmp_path / "new" / "parent").iterdir()) == []


def filled(folder: Path, count: int) -> list[Path]:
    """Files of 1,000 bytes, the first the oldest."""
    paths = []
    for number in range(count):
        path = folder / f"upload{number}" / "photo.jpg"
        path.parent.mkdir()
        path.write_bytes(bytes(1000))
        paths.append(path)
        time.sleep(0.02)
    return paths


def test_old_files_are_deleted(tmp_path: Path):
    example = tmp_path / "example.jpg"
    example.write_text("x")
    keeper = Keeper(tmp_path, 0.5, 1e9)
    (old,) = filled(tmp_path, 1)
    keeper.sweep()
    assert old.exists()
    time.sleep(0.6)
    new = tmp_path / "new.jpg"
    new.write_text("x")
    os.utime(new, (0, 0))  # a copy keeps the time of its original
    (tmp_path / "link").symlink_to(new)
    keeper.sweep()
    assert not old.exists() and new.exists() and example.exists()
    time.sleep(0.6)
    keeper.sweep()
    assert list(tmp_path.iterdir()) == [example]


def test_the_oldest_are_deleted_where_they_take_too_much_space(tmp_path: Path):
    keeper = Keeper(tmp_path, 3600, 3500)
    paths = filled(tmp_path, 6)
    keeper.sweep()
    assert [path.exists() for path in paths] == [False] * 3 + [True] * 3
    keeper.sweep()
    assert paths[3].exists()
