"""`python -m depth_unet` on files as people have them."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depth_unet import Camera, DepthUNet, Prediction
from depth_unet.__main__ import find_photos, main


@pytest.fixture
def model_folder(tiny_model: DepthUNet, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(model_folder: str):
    """Call the command with this model."""
    return lambda *arguments: main([*map(str, arguments), "--model", model_folder])


@pytest.fixture
def folder(photo: Path, tmp_path: Path) -> Path:
    """A folder with one photo."""
    made = tmp_path / "holiday"
    made.mkdir()
    (made / "room.jpg").write_bytes(photo.read_bytes())
    return made


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> set[str]:
    return set(content(folder))


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system does not let users create symbolic links")


def test_files_and_folders(run, tiny_model: DepthUNet, photo: Path, folder: Path, tmp_path: Path, capsys):
    (folder / "day 2").mkdir()
    with Image.open(photo) as image:
        image.rotate(180).save(folder / "day 2" / "room.jpg")
        image.save(folder / "room.png")
    (folder / "notes.txt").write_text("no picture")
    output = tmp_path / "out"

    assert run(photo, folder, "--output", output, "--format", "png,npy,color") == 0

    stems = ["room", "room_jpg", "room_png", "day 2/room"]
    endings = ("depth.png", "depth.npy", "depth.json", "color.png")
    assert names(output) == {f"{stem}_{end}" for stem in stems for end in endings}
    expected = tiny_model.predict(photo)
    depth = np.load(output / "room_depth.npy")
    assert depth.dtype == np.float32 and depth.shape == (120, 160)
    np.testing.assert_array_equal(depth, expected.depth)
    for name in ("room_depth.png", "room_depth.npy"):
        loaded = Prediction.load(output / name)
        np.testing.assert_allclose(loaded.depth, depth, atol=0.00051)
        assert (
            loaded.about() == expected.about() | {"model": loaded.model, "uncertainty": None}
            and loaded.name == "room.jpg"
        )
    with Image.open(output / "room_color.png") as coloured:
        np.testing.assert_array_equal(np.asarray(coloured.convert("RGB")), np.asarray(expected.colorize()))
    out = capsys.readouterr().out
    assert "4 of 4 photos done" in out and "left out: 1 .txt" in out


def test_the_default_is_a_depth_map_and_its_colours(run, photo: Path, tmp_path: Path):
    assert run(photo, "--output", tmp_path / "out") == 0
    assert names(tmp_path / "out") == {"room_depth.png", "room_color.png"}


def test_every_format(run, photo: Path, tmp_path: Path):
    formats = ".PNG, npz,npy,json,ply,glb,stl,3mf,png"
    output = tmp_path / "out"
    assert run(photo, "--output", output, "--format", formats, "--size-mm", 50, "--longest", 40) == 0
    kinds = ("png", "npz", "npy", "json", "ply", "glb", "stl", "3mf")
    assert names(output) == {f"room_depth.{kind}" for kind in kinds}
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert run(photo, "--output", output, "--format", formats) == 0  # all of them are recognised and replaced
    assert all(path.stat().st_mtime_ns > before[path] for path in before)


def test_bad_files_are_named_and_the_rest_is_done(run, photo: Path, tmp_path: Path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:500])
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.webp").write_text("no picture")
    output = tmp_path / "out"

    wrong = [broken, tmp_path / "missing.jpg", tmp_path / "empty.png", tmp_path / "words.webp"]
    status = run(*wrong, photo, "--output", output)

    captured = capsys.readouterr()
    assert status == 1
    failures = [line for line in captured.err.splitlines() if "failed:" in line]
    assert len(failures) == 4
    assert all(path.name in line for path, line in zip(wrong, failures, strict=True))
    assert "1 of 5 photos done" in captured.out
    assert names(output) == {"room_depth.png", "room_color.png"}


@pytest.mark.parametrize("place", ["beside", "parent", "inside"])
def test_results_are_not_taken_for_photos(place: str, run, folder: Path, tmp_path: Path, capsys):
    (folder / "day 2").mkdir()
    (folder / "day 2" / "room.jpg").write_bytes((folder / "room.jpg").read_bytes())
    output = {"beside": folder, "parent": tmp_path, "inside": folder / "depth"}[place]
    sources = [folder, tmp_path] if place == "parent" else [folder]
    every = ["--format", "png,color,npy,npz,glb,stl"]
    assert run(folder, "--output", output, *every) == 0
    before = names(tmp_path)
    assert len(before) == 2 + 2 * 7

    for source in sources:
        capsys.readouterr()
        assert run(source, "--output", output, *every) == 0
        captured = capsys.readouterr()
        assert "2 of 2 photos done" in captured.out
        if place == "beside":
            assert "left out: 14 results of this command" in captured.out
        if source == folder:
            assert names(tmp_path) == before


def test_a_results_folder_inside_is_left_out(photo: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    for name in ("room.jpg", "out/room_color.png"):
        (tmp_path / name).write_bytes(photo.read_bytes())
    found = [source for source, _ in find_photos([tmp_path], tmp_path / "out")]
    assert found == [tmp_path / "room.jpg"]


def test_results_named_by_a_wildcard_are_left_out(run, folder: Path, capsys):
    assert run(folder, "--output", folder) == 0
    assert run(*sorted(folder.iterdir()), "--output", folder) == 0
    assert "left out: 2 results" in capsys.readouterr().out and len(names(folder)) == 3


def test_photos_named_like_results_are_photos(run, photo: Path, tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(photo) as image:
        for name in ("sunset_color.png", "sunset_depth.png", "x_depth.jpg", "depth.png"):
            image.save(folder / name)
    assert run(folder, "--output", tmp_path / "out") == 0
    stems = ("sunset_color", "sunset_depth", "x_depth", "depth")
    assert names(tmp_path / "out") == {f"{stem}_{end}.png" for stem in stems for end in ("depth", "color")}


def write_recorded(path: Path) -> None:
    """Depth that somebody measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.full((120, 160), 2000, np.uint16)
    if path.suffix == ".npy":
        np.save(path, depth / np.float32(1000))
    elif path.suffix == ".npz":
        np.savez(path, depth=depth / np.float32(1000))
    elif path.suffix == ".png":
        Image.fromarray(depth).save(path)
    else:
        path.write_bytes(b"solid of somebody else")


@pytest.mark.parametrize("options", [[], ["--skip-existing"]])
@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("room_depth.png", "color,png"),
        ("room_color.png", "png,color"),
        ("room_depth.npy", "png,npy"),
        ("room_depth.json", "png,npy"),
        ("room_depth.npz", "png,npz"),
        ("room_depth.ply", "png,ply"),
        ("room_depth.glb", "png,glb"),
        ("room_depth.stl", "png,stl"),
        ("room_depth.3mf", "png,3mf"),
    ],
)
def test_recorded_depth_is_never_overwritten(name: str, formats: str, options: list, run, folder: Path, capsys):
    write_recorded(folder / name)
    (folder / "other.jpg").write_bytes((folder / "room.jpg").read_bytes())
    before = content(folder)

    assert run(folder, "--output", folder, "--format", formats, *options) == 1

    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "failed:" in line]
    assert "room.jpg" in line and name in line
    after = content(folder)
    assert before.items() <= after.items()
    added = after.keys() - before.keys()
    assert added and all(new.startswith(("other_", "room_color_")) for new in added)


def test_a_photo_in_the_way_is_kept(run, folder: Path):
    with Image.open(folder / "room.jpg") as image:
        image.save(folder / "room_depth.png")  # a photo that happens to have this name
    before = content(folder)
    assert run(folder / "room.jpg", "--output", folder) == 1
    assert content(folder) == before


def test_what_is_no_file_is_in_the_way_too(run, folder: Path):
    (folder / "room_depth.png").mkdir()
    assert run(folder / "room.jpg", "--output", folder) == 1
    assert names(folder) == {"room.jpg"}


def test_a_link_to_nothing_is_in_the_way_too(run, folder: Path, tmp_path: Path):
    link(folder / "room_color.png", tmp_path / "nowhere.png")
    assert run(folder / "room.jpg", "--output", folder) == 1
    assert names(tmp_path) == {"holiday/room.jpg"}


def test_a_calibrated_depth_map_is_kept(run, folder: Path):
    assert run(folder, "--output", folder) == 0
    path = folder / "room_depth.png"
    Prediction.load(path).calibrate(5, 5, 1.0).save(path)
    before = path.read_bytes()
    assert run(folder, "--output", folder) == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["room_depth.png", "room_depth.npy", "depth/room.png", "room.png"])
def test_recorded_depth_is_no_photo(name: str, run, folder: Path, tmp_path: Path, capsys):
    write_recorded(folder / name)
    assert run(folder, "--output", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert "1 of 1 photos done" in captured.out
    assert ("left out: 1 .npy" if name.endswith(".npy") else "left out: 1 recorded depth map") in captured.out


def test_a_grey_photo_of_16_bits_is_a_photo(run, tmp_path: Path):
    Image.fromarray(np.full((40, 50), 30000, np.uint16)).save(tmp_path / "scan.png")
    assert run(tmp_path, "--output", tmp_path / "out") == 0


def test_skip_existing_continues(run, folder: Path, tmp_path: Path, capsys):
    output = tmp_path / "out"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes((folder / "room.jpg").read_bytes())
    assert run(folder, "--output", output) == 0
    (output / "a_color.png").unlink()
    (output / "b_depth.png").write_bytes((output / "b_depth.png").read_bytes()[:20])  # not ours any more
    with Image.open(folder / "c.jpg") as image:
        image.save(folder / "c.png")  # another photo of this stem
    (folder / "c.jpg").unlink()
    before = {name: (output / name).stat().st_mtime_ns for name in names(output)}
    capsys.readouterr()

    assert run(folder, "--output", output, "--skip-existing") == 1

    captured = capsys.readouterr()
    assert "3 of 4 photos done" in captured.out and "1 existed" in captured.out
    changed = {name for name in names(output) if before.get(name) != (output / name).stat().st_mtime_ns}
    assert changed == {"a_depth.png", "a_color.png", "c_depth.png", "c_color.png"}


def test_linked_folders_are_followed_and_each_file_is_found_once(folder: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    for name in ("far.jpg", "deep/deep.jpg"):
        (elsewhere / name).write_bytes(b"")
    (folder / "z").mkdir()
    (folder / "z" / "inner.jpg").write_bytes(b"")
    link(folder / "a link", elsewhere)
    link(folder / "b to itself", folder)
    link(folder / "c to z", folder / "z")
    link(folder / "z" / "up", folder)
    link(elsewhere / "loop", elsewhere)
    link(folder / "a.jpg", folder / "room.jpg")
    link(folder / "x.jpg", elsewhere / "far.jpg")
    link(folder / "dangling.jpg", tmp_path / "nowhere.jpg")

    sources = [folder, folder / "room.jpg", folder, folder / "z", folder / "a.jpg", elsewhere]
    found = find_photos(sources, tmp_path / "out")

    wanted = {"room.jpg", "a link/far.jpg", "a link/deep/deep.jpg", "z/inner.jpg"}
    assert {source.relative_to(folder).as_posix() for source, _ in found} == wanted


def test_what_systems_add_is_left_out(photo: Path, tmp_path: Path):
    for name in (
        "._room.jpg", ".hidden.jpg", "__MACOSX/room.jpg", "__MACOSX/._room.jpg", ".ipynb_checkpoints/room.jpg",
        "@eaDir/room.jpg/thumb.jpg", ".git/x.png", "deep/@eaDir/x.jpg", "deep/.thumbs/x.jpg", "room.jpg", "deep/x.JPG",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo.read_bytes())
    found = {source.relative_to(tmp_path).as_posix() for source, _ in find_photos([tmp_path], tmp_path / "out")}
    assert found == {"room.jpg", "deep/x.JPG"}


def test_a_folder_that_is_hidden_itself_is_searched(photo: Path, tmp_path: Path):
    (tmp_path / ".photos").mkdir()
    (tmp_path / ".photos" / "a.jpg").write_bytes(b"")
    assert len(list(find_photos([tmp_path / ".photos"], tmp_path / "out"))) == 1


def test_what_is_left_out_is_counted(run, folder: Path, tmp_path: Path, capsys):
    for name in ("a.txt", "b.TXT", "clip.mp4", "README", "x/model.obj"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert run(folder, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    for part in ("2 .txt", "1 .mp4", "1 without suffix", "1 .obj"):
        assert part in out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipes_block_nothing(run, folder: Path, tmp_path: Path, capsys):
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(tmp_path / "named.jpg")
    os.mkfifo(folder / "pipe_depth.json")
    output = tmp_path / "out"
    output.mkdir()
    os.mkfifo(output / "room_depth.png")
    statuses = []
    thread = threading.Thread(
        target=lambda: statuses.append(run(folder, tmp_path / "named.jpg", "--output", output)), daemon=True
    )
    thread.start()
    thread.join(60)
    assert statuses == [1]
    captured = capsys.readouterr()
    assert "0 of 2 photos done" in captured.out and "1 .jpg" in captured.out
    assert sum("failed:" in line for line in captured.err.splitlines()) == 2


ODD_NAMES = [
    "two words",
    "ünï",
    "u\u0308",
    "日本",
    "new\nline",
    "semi;colon",
    "-dash",
    "dots.in.it",
    "'quote\"",
    "%s{}",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(name: str, run, photo: Path, tmp_path: Path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    try:
        (folder / f"{name}.jpg").write_bytes(photo.read_bytes())
        (folder / f"{name} broken.jpg").write_bytes(b"no picture")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    assert run(folder, "--output", tmp_path / "out") == 1
    assert names(tmp_path / "out") == {f"{name}_depth.png", f"{name}_color.png"}
    assert Prediction.load(tmp_path / "out" / f"{name}_depth.png").name == f"{name}.jpg"
    failures = [line for line in capsys.readouterr().err.splitlines() if "failed:" in line]
    assert len(failures) == 1 and "known format" in failures[0]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text(run, photo: Path, tmp_path: Path):
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    try:
        with open(folder + b"/\xff\xfe.jpg", "wb") as file:
            file.write(photo.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    assert run(tmp_path / "photos", "--output", tmp_path / "out") == 0
    assert len(names(tmp_path / "out")) == 2


def test_a_name_that_is_too_long_for_its_results(run, folder: Path, tmp_path: Path, capsys):
    (folder / f"{'x' * 248}.jpg").write_bytes((folder / "room.jpg").read_bytes())
    assert run(folder, tmp_path / ("y" * 5000), "--output", tmp_path / "out") == 1
    assert "1 of 3 photos done" in capsys.readouterr().out


def test_names_that_some_file_systems_hold_for_equal(photo: Path, tmp_path: Path):
    sources = []
    for number, name in enumerate(["room.jpg", "Room.jpg", "ROOM.png", "\u00fc.jpg", "u\u0308.jpg", "room.jpg"]):
        (tmp_path / str(number)).mkdir()
        sources.append(tmp_path / str(number) / name)
        sources[-1].write_bytes(photo.read_bytes())
    results = [str(result.name) for _, result in find_photos(sources, tmp_path / "out")]
    assert results == ["room", "Room_jpg", "ROOM_png", "\u00fc", "u\u0308_jpg", "room_2"]


def test_field_of_view_scales_the_metres(run, photo: Path, tmp_path: Path, tiny_model: DepthUNet):
    for fov in ("60", "90"):
        assert run(photo, "--fov", fov, "--output", tmp_path / fov, "--format", "npy") == 0
    narrow, wide = (Prediction.load(tmp_path / fov / "room_depth.npy") for fov in ("60", "90"))
    np.testing.assert_allclose(narrow.depth / wide.depth, np.tan(np.radians(45)) / np.tan(np.radians(30)), rtol=1e-4)
    expected = tiny_model.predict(photo, Camera.from_fov(160, 120, 60))
    np.testing.assert_allclose(narrow.depth, expected.depth, rtol=1e-5)
    assert narrow.camera == expected.camera and narrow.camera_from == "given"


def test_depth_that_a_png_cannot_hold_is_noted(run, photo: Path, tmp_path: Path, capsys):
    assert run(photo, "--fov", "0.5", "--output", tmp_path / "out") == 0
    assert "note:" in (err := capsys.readouterr().err) and "65.534" in err


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--model", "no/such/folder"], "no/such"),
        (["--cmap", "rainbows"], "rainbows"),
        (["--near", "3", "--far", "3"], "near"),
        (["--near", "5", "--far", "1"], "near"),
        (["--near", "nan"], "near"),
        (["--far", "inf"], "far"),
        (["--near", "-1"], "near"),
        (["--fov", "200"], "200"),
        (["--fov", "0"], "fov"),
        (["--fov", "nan"], "fov"),
        (["--format", "jpg"], "jpg"),
        (["--format", "png,tiff,bmp"], "tiff, bmp"),
        (["--format", ","], "nothing"),
        (["--format", "stl", "--size-mm", "0"], "size_mm"),
        (["--format", "3mf", "--base-mm", "-2"], "base_mm"),
        (["--format", "stl", "--relief-mm", "inf"], "relief_mm"),
        (["--format", "stl", "--smoothing-mm", "nan"], "smoothing_mm"),
        (["--format", "glb", "--longest", "1"], "longest"),
        (["--batch-size", "0"], "batch-size"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_wrong_values_are_refused_before_the_first_photo(
    wrong: list[str], words: str, model_folder: str, photo: Path, tmp_path: Path, capsys
):
    assert main([str(photo), "--output", str(tmp_path / "out"), "--model", model_folder, *wrong]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and words in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").is_dir() or not names(tmp_path / "out")


def test_nothing_to_begin_with(run, tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "--output", tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "output", ["out.png", "out.PNG", "out.npy", "out.glb", "out.jpg", "out.mp4", "notes", "notes/x"]
)
def test_many_photos_do_not_fit_into_a_file(output: str, run, folder: Path, tmp_path: Path, capsys):
    (tmp_path / "notes").write_text("mine")
    (folder / "b.jpg").write_bytes((folder / "room.jpg").read_bytes())
    assert run(folder, "--output", tmp_path / output) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert names(tmp_path) == {"notes", "holiday/room.jpg", "holiday/b.jpg"}


@pytest.mark.parametrize("name", ["x.png", "x.npz", "x.NPY", "x.glb", "x.stl", "new folder/x.png"])
def test_one_photo_to_one_file(name: str, run, photo: Path, tmp_path: Path):
    path = tmp_path / name
    for _ in range(2):  # the second replaces the first
        assert run(photo, "--output", path) == 0
    sidecar = {"x.json"} if name == "x.NPY" else set()
    assert names(tmp_path) == {name} | sidecar
    if path.suffix.lower() in (".png", ".npy", ".npz"):
        assert Prediction.load(path).name == "room.jpg"


def test_one_photo_to_its_colours(run, photo: Path, tmp_path: Path):
    assert run(photo, "--output", tmp_path / "x.png", "--format", "color") == 0
    with Image.open(tmp_path / "x.png") as image:
        assert image.convert("RGB").size[0] > 160


def test_a_photo_is_never_its_own_result(run, folder: Path):
    with Image.open(folder / "room.jpg") as image:
        image.save(folder / "room.png")
    before = content(folder)
    assert run(folder / "room.png", "--output", folder / "room.png") == 1
    assert content(folder) == before


def test_home_is_expanded(run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    assert run("~/room.jpg", "--output", "~/depth maps") == 0
    assert "depth maps/room_depth.png" in names(folder)


def test_batches_give_the_same_results(run, tiny_model: DepthUNet, photo: Path, tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(photo) as image:
        for number in range(5):
            image.rotate(90 * number, expand=True).save(folder / f"{number}.png")
    (folder / "3 broken.jpg").write_bytes(b"")
    for size in (1, 4):
        assert run(folder, "--output", tmp_path / str(size), "--batch-size", size, "--format", "npy") == 1
    for number in range(5):
        one, four = (np.load(tmp_path / size / f"{number}_depth.npy") for size in ("1", "4"))
        np.testing.assert_allclose(one, four, rtol=1e-4)
        np.testing.assert_array_equal(one, tiny_model.predict(folder / f"{number}.png").depth)


def test_clips(run, photo: Path, tmp_path: Path, capsys):
    av = pytest.importorskip("av")
    from depth_unet.video import write_video

    with Image.open(photo) as image:
        write_video(tmp_path / "clip.mp4", iter([image.rotate(10 * turn) for turn in range(3)]), 10)
    (tmp_path / "broken.mov").write_bytes(b"no clip")
    output = tmp_path / "out"
    for options in ([], ["--skip-existing"]):
        assert run(tmp_path / "clip.mp4", tmp_path / "broken.mov", photo, "--output", output, *options) == 1
        assert "2 of 3 photos done" in capsys.readouterr().out
    assert names(output) == {"clip_depth.mp4", "clip_depth.json", "room_depth.png", "room_color.png"}
    with av.open(str(output / "clip_depth.mp4")) as container:
        assert container.streams.video[0].height == 120
    about = json.loads((output / "clip_depth.json").read_text("utf-8"))
    assert about["photo"] == "clip.mp4" and about["frames"] == 3
    assert run(tmp_path / "clip.mp4", "--output", tmp_path / "x.mp4") == 0
    assert run(tmp_path / "clip.mp4", "--output", tmp_path / "x.png") == 2


def test_a_clip_of_somebody_else_is_kept(run, tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a_depth.mp4").write_bytes(b"mine")
    assert run(tmp_path / "a.mp4", "--output", tmp_path) == 1
    assert (tmp_path / "a_depth.mp4").read_bytes() == b"mine"


def test_an_interruption_says_how_to_go_on(run, folder: Path, tmp_path: Path, monkeypatch, capsys):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("depth_unet.__main__.process", interrupt)
    assert run(folder, "--output", tmp_path / "out") == 130
    captured = capsys.readouterr()
    assert "--skip-existing" in captured.err and "0 of 1 photos done" in captured.out
