"""`python -m depth_unet` on pictures as people have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depth_unet import DepthUNet
from depth_unet.__main__ import find_photos, main


@pytest.fixture
def model_folder(tiny_model: DepthUNet, tmp_path: Path) -> str:
    tiny_model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_files_and_folders(model_folder: str, tiny_model: DepthUNet, photo: Path, tmp_path: Path, capsys):
    folder = tmp_path / "holiday"
    (folder / "day 2").mkdir(parents=True)
    with Image.open(photo) as image:
        image.save(folder / "room.jpg")
        image.rotate(180).save(folder / "day 2" / "room.jpg")
        image.save(folder / "room.png")
    (folder / "notes.txt").write_text("no picture")
    output = tmp_path / "out"

    assert main([str(photo), str(folder), "--output", str(output), "--model", model_folder]) == 0

    stems = ["room", "room_jpg", "room_png", "day 2/room"]
    expected = {f"{s}_{end}" for s in stems for end in ("depth.png", "depth.npy", "color.png")}
    assert {p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file()} == expected
    depth = np.load(output / "room_depth.npy")
    assert depth.dtype == np.float32 and depth.shape == (120, 160)
    np.testing.assert_array_equal(depth, tiny_model.predict(photo).depth)
    with Image.open(output / "room_depth.png") as millimetres:
        np.testing.assert_allclose(np.asarray(millimetres) / 1000, depth, atol=0.00051)
    assert "4 of 4 photos done" in capsys.readouterr().out


def test_bad_files_are_named_and_the_rest_is_done(model_folder: str, photo: Path, tmp_path: Path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:500])
    output = tmp_path / "out"

    status = main(
        [str(broken), str(tmp_path / "missing.jpg"), str(photo), "--output", str(output), "--model", model_folder]
    )

    captured = capsys.readouterr()
    assert status == 1
    failures = [line for line in captured.err.splitlines() if "failed:" in line]
    assert len(failures) == 2
    assert "broken.jpg" in failures[0] and "missing.jpg" in failures[1]
    assert "1 of 3 photos done" in captured.out
    assert (output / "room_depth.npy").is_file()


def test_results_are_not_taken_for_photos(photo: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    for name in ("room.jpg", "out/room_color.png"):
        (tmp_path / name).write_bytes(photo.read_bytes())
    found = [source for source, _ in find_photos([tmp_path], tmp_path / "out")]
    assert found == [tmp_path / "room.jpg"]


def test_field_of_view_scales_the_metres(model_folder: str, photo: Path, tmp_path: Path):
    for fov in ("60", "90"):
        assert main([str(photo), "--fov", fov, "--output", str(tmp_path / fov), "--model", model_folder]) == 0
    narrow, wide = (np.load(tmp_path / fov / "room_depth.npy") for fov in ("60", "90"))
    np.testing.assert_allclose(narrow / wide, np.tan(np.radians(45)) / np.tan(np.radians(30)), rtol=1e-4)


@pytest.mark.parametrize("wrong", [["--model", "no/such/folder"], []])
def test_nothing_to_begin_with(wrong: list[str], model_folder: str, tmp_path: Path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = wrong or ["--model", model_folder]
    assert main([str(empty), "--output", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")
