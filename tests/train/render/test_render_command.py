"""`python -m train.render`: what it writes, that it continues, that processes share a folder, and exact depth."""

import csv
import importlib.util
import io
import json
import math
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from rays import intersect

from depth_unet import Camera, RgbdFolder
from depth_unet.data.origin import Origin, read_origin
from depth_unet.files import write_json
from train.render import folder
from train.render.__main__ import _pictures, main, parser
from train.render.camera import View
from train.render.catalogue import Library

ROOT = Path(__file__).parents[3]
HAS_BPY = importlib.util.find_spec("bpy") is not None
needs_bpy = pytest.mark.skipif(not HAS_BPY, reason="bpy is not installed")


class FakeFrame:
    """As much of a frame as the folder needs."""

    jpeg, view = b"jpeg", View((0, 0, 1), 0, 0, 0, 60, "standing")
    depth = np.full((4, 6), 1.2345)


def write(place: Path, models: tuple = ()) -> int:
    about = {"models": [dict(zip(("library", "licence", "creator", "name"), m, strict=True)) for m in models]}
    return folder.write_room(place, [FakeFrame(), FakeFrame()], Camera.from_fov(6, 4, 60), about)


def test_a_room_appears_when_it_is_finished(tmp_path: Path) -> None:
    with folder.claimed(tmp_path, "0-00000") as place:
        assert write(place) == 2 and not (tmp_path / "0-00000").exists()
    files = {path.name for path in (tmp_path / "0-00000").iterdir()}
    assert files == {"000.jpg", "000.png", "001.jpg", "001.png", "camera.json", "room.json"}
    depth = np.asarray(Image.open(tmp_path / "0-00000" / "000.png"))
    assert depth.dtype == np.uint16 and (abs(depth / 1000 - 1.2345) <= 0.0005).all()
    assert [path.name for path in tmp_path.iterdir()] == ["0-00000"]
    with folder.claimed(tmp_path, "0-00000") as place:
        assert place is None
    assert folder.finished(tmp_path, ["0-00000", "0-00001"]) == 1


def test_a_failed_room_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), folder.claimed(tmp_path, "0-00000") as place:
        write(place)
        raise RuntimeError
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_one_process_at_a_room_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from train.render import folder\n"
        "with folder.claimed(Path(sys.argv[1]), '0-00000') as place:\n"
        "    (place / '000.jpg').write_text('half'); print('claimed', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert other.stdout.readline() == "claimed\n"
        with folder.claimed(tmp_path, "0-00000") as place:
            assert place is None
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with folder.claimed(tmp_path, "0-00000") as place:
        assert list(place.iterdir()) == []  # not what the killed process left
        write(place)
    assert (tmp_path / "0-00000" / "room.json").is_file()


def test_many_claims_at_once_give_each_room_to_one(tmp_path: Path) -> None:
    taken, start = [], threading.Barrier(6)

    def work() -> None:
        start.wait()
        for number in range(8):
            with folder.claimed(tmp_path, f"0-{number:05d}") as place:
                if place:
                    taken.append(number)
                    write(place)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sorted(taken) == list(range(8)) and folder.finished(tmp_path, [f"0-{number:05d}" for number in range(8)]) == 8
    )


def test_a_room_finished_while_its_lock_was_taken_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateLock(FileLock):
        def acquire(self, *args, **options):
            (tmp_path / "0-00000").mkdir()  # another process finishes it now
            return super().acquire(*args, **options)

    monkeypatch.setattr(folder, "FileLock", LateLock)
    with folder.claimed(tmp_path, "0-00000") as place:
        assert place is None
    assert list((tmp_path / "0-00000").iterdir()) == []


def test_origin_takes_the_strictest_terms(tmp_path: Path) -> None:
    free, unknown = Library("A", "CC-BY 4.0", None), Library("B", "none stated", None)
    assert folder.write_origin(tmp_path, [free], None).weights == "mit"
    assert folder.write_origin(tmp_path, [free], Origin("art", weights="unknown")).weights == "unknown"
    again = folder.write_origin(tmp_path, [free], None)  # the rooms of the run before are still there
    assert again.weights == "unknown" and again == read_origin(tmp_path / "origin.json")
    assert folder.write_origin(tmp_path, [unknown], Origin("art", weights="research-only")).weights == "research-only"
    assert "A (CC-BY 4.0)" in again.terms and "art" in again.terms


def test_licences_list_creators_of_what_was_used(tmp_path: Path) -> None:
    for number, name in enumerate(("Sofa", "Bed")):
        with folder.claimed(tmp_path, f"0-{number:05d}") as place:
            write(place, (("Lib", "CC0", "Ann", name), ("Lib", "CC0", "Bob", "Lamp")))
    assert folder.write_licences(tmp_path) == 2
    rows = list(csv.DictReader((tmp_path / "licences.csv").read_text().splitlines()))
    assert [(row["creator"], row["models"]) for row in rows] == [("Ann", "Bed; Sofa"), ("Bob", "Lamp")]


def test_terms_of_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "art.png")
    options = ["--pictures", str(tmp_path)]
    pictures, origin = _pictures(parser().parse_args(options))
    assert [path.name for path in pictures] == ["art.png"] and origin.weights == "unknown"
    write_json(tmp_path / "origin.json", {"title": "Art", "weights": "research-only"})
    assert _pictures(parser().parse_args(options))[1].title == "Art"


@pytest.mark.skipif(HAS_BPY, reason="bpy is installed")
def test_without_blender_there_is_one_sentence(capfd: pytest.CaptureFixture) -> None:
    assert main(["--output", "rooms"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ") and "pip install" in error and error.count("\n") == 1


@needs_bpy
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--size", "240"], "--size"), (["--fov", "80", "50"], "--fov"),
        (["--furniture", "nowhere"], "no furniture library"),
        (["--pictures", "nowhere"], "no picture"), (["--rooms", "0"], "at least 1"),
    ],
)  # fmt: skip
def test_wrong_options(tmp_path: Path, capfd: pytest.CaptureFixture, wrong: list[str], message: str) -> None:
    assert main(["--output", str(tmp_path / "rooms"), *wrong]) == 2
    assert message in capfd.readouterr().err


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny frames of a study, made by the command."""
    path = tmp_path_factory.mktemp("render") / "rooms"
    options = ["--rooms", "1", "--views", "2", "--size", "48x64", "--seed", "7", "--kinds", "study", "--samples", "2"]
    assert main(["--output", str(path), *options]) == 0
    return path


@needs_bpy
def test_two_frames_are_rgbd_data(rooms: Path) -> None:
    data = RgbdFolder(rooms)
    assert len(data) == 2 and data.origins[0].weights == "mit" and "primitives" in data.origins[0].terms
    about = json.loads((rooms / "7-00000" / "room.json").read_text())
    assert about["kind"] == "study" and set(about["cpu_s"]) == {"building", "view search", "rendering", "developing"}
    for number in range(2):
        sample = data[number]
        assert sample.image.shape == (3, 48, 64) and sample.valid.all()
        assert sample.image.std() > 0.05 and 0.2 < sample.image.mean() < 0.7  # lit
        assert sample.camera.horizontal_fov_deg == pytest.approx(about["fov_deg"], abs=0.01)


@needs_bpy
def test_the_command_continues_where_it_was(rooms: Path, capfd: pytest.CaptureFixture) -> None:
    before = (rooms / "7-00000" / "000.jpg").stat().st_mtime_ns
    assert (
        main(
            ["--output", str(rooms), "--rooms", "1", "--views", "2", "--size", "48x64", "--seed", "7", "--samples", "2"]
        )
        == 0
    )
    out = capfd.readouterr()
    assert "rendered 0 frames" in out.out and "boxes" in out.err and "Blender" not in out.out
    assert (rooms / "7-00000" / "000.jpg").stat().st_mtime_ns == before


@needs_bpy
def test_depth_is_exact_and_repeats(rooms: Path) -> None:
    import bpy

    from train.render.catalogue import by_role
    from train.render.studio import Settings, Studio, exact_depth

    studio = Studio(Settings(7, (48, 64), 2, (50, 85), 1.0, ("study",), 2), by_role([]))
    built = studio.build(0)
    graph = bpy.context.evaluated_depsgraph_get()
    rng = random.Random(0)
    pixels = [(rng.randrange(48), rng.randrange(64)) for _ in range(150)]
    for number, view in enumerate(built.views):
        depth = exact_depth(built, view, (48, 64))
        saved = np.asarray(Image.open(rooms / "7-00000" / f"{number:03d}.png")) / 1000
        assert (abs(saved - depth) <= 0.000501).all()  # the same layout and cameras; within half a millimetre
        camera, eye = built.camera, np.array(view.eye)
        ours, blenders = [], []
        for row, column in pixels:
            x, y = (column + 0.5 - camera.cx) / camera.fx, (row + 0.5 - camera.cy) / camera.fy
            ray = view.rotation @ (x, -y, -1)
            ours.append(intersect(built.surfaces.corners, eye, ray)[1])
            hit, place, *_ = bpy.context.scene.ray_cast(graph, eye.tolist(), (ray / np.linalg.norm(ray)).tolist())
            blenders.append((np.array(place) - eye) @ -view.rotation[:, 2] if hit else 0.0)
        chosen = depth[tuple(np.transpose(pixels))]
        assert np.median(abs(chosen / ours - 1)) < 1e-6  # the same triangles, other arithmetic
        assert np.median(abs(chosen / blenders - 1)) < 1e-6  # the objects that Blender renders
        assert (abs(chosen / blenders - 1) > 1e-3).mean() < 0.03  # but for rays along an edge


@needs_bpy
def test_picture_and_depth_show_the_same(tmp_path: Path) -> None:
    """Where the depth jumps, the clean picture of a room of plain colours changes."""
    from train.render.catalogue import by_role
    from train.render.studio import Settings, Studio

    studio = Studio(Settings(3, (96, 128), 3, (60, 60), 0.0, ("office",), 16), by_role([]))
    built = studio.build(1)
    for frame in studio.frames(1, built):
        grey = np.asarray(Image.open(io.BytesIO(frame.jpeg)).convert("L")).astype(float)
        jumps = abs(np.diff(np.log(frame.depth), axis=1)) > 0.1
        change = abs(np.diff(grey, axis=1))
        assert change[jumps].mean() > 2 * change[~jumps].mean()
        for wrong in (jumps[::-1], jumps[:, ::-1]):  # not so with the depth upside down or mirrored
            assert change[jumps].mean() > 1.5 * change[wrong].mean()


@needs_bpy
@pytest.mark.skipif(sys.platform == "win32", reason="a kill is another thing there")
def test_processes_share_a_folder(tmp_path: Path) -> None:
    options = [
        "--rooms",
        "3",
        "--views",
        "1",
        "--size",
        "32x48",
        "--samples",
        "1",
        "--kinds",
        "bathroom",
        "--processes",
        "2",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "train.render", "--output", str(tmp_path), *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        f"0-{number:05d}" for number in range(3)
    ]
    assert math.isclose(len(RgbdFolder(tmp_path)), 3, abs_tol=1)
