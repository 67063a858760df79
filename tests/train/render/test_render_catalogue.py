"""Furniture libraries: sizes, licences, roles, and models turned upright in their true size."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from train.render.catalogue import RULES, Library, by_role, primitives, read_libraries
from train.render.mesh import Mesh, Paint, Shape, load

# A box of 2 x 1 x 4 (y up), red but for its back (-z), which is of glass.
OBJ = """mtllib box.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 0 0 4
v 2 0 4
v 2 1 4
v 0 1 4
usemtl red
f 5 6 7 8
f 1 2 6 5
f 3 4 8 7
usemtl glass
f 2 1 4 3
"""
MTL = "newmtl red\nKd 1 0 0\n\nnewmtl glass\nKd 0 0 1\nd 0.2\n"
CATALOGUE = """name=Test library
license=Creative Commons Attribution 3.0
id#1=t#sofa
name#1=Sofa
category#1=Living room
model#1=/things/box.obj
width#1=200
depth#1=80
height#1=\\
  70
creator#1=Somebody
name#2=No model
category#2=Living room
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "test.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", CATALOGUE.encode("latin-1"))
        archive.writestr("things/box.obj", OBJ)
        archive.writestr("things/box.mtl", MTL)
    return path


def corners_of(mesh: Mesh, glass: bool) -> np.ndarray:
    """Corners of the faces of the glass, or of the others."""
    slots = [number for number, paint in enumerate(mesh.paints) if (paint.opacity < 1) is glass]
    return mesh.vertices[mesh.faces[np.isin(mesh.slots, slots)]].reshape(-1, 3)


def test_library_states_names_sizes_licence_and_creator(library: Path) -> None:
    (model,) = read_libraries([library])
    assert (model.name, model.category, model.creator) == ("Sofa", "Living room", "Somebody")
    assert model.size == (2.0, 0.8, 0.7)
    assert model.library == Library("Test library", "Creative Commons Attribution 3.0", library)
    assert model in by_role([model])["sofa"] and model not in by_role([model])["bed"]


def test_folder_of_libraries(library: Path) -> None:
    assert [model.name for model in read_libraries([library.parent])] == ["Sofa"]


def test_model_stands_upright_in_its_size_with_its_front_to_minus_y(library: Path) -> None:
    mesh = load(read_libraries([library])[0])
    assert np.allclose(mesh.bounds, [(-1, -0.4, 0), (1, 0.4, 0.7)])
    assert np.allclose(corners_of(mesh, glass=True)[:, 1], 0.4)  # -z of the file, the back of Sweet Home 3D
    colours = {paint.colour: paint.opacity for paint in mesh.paints}
    assert colours == {(1, 0, 0): 1.0, (0, 0, 1): 0.2}


def test_rotation_of_the_catalogue_is_applied(library: Path) -> None:
    (model,) = read_libraries([library])
    turned = load(model._replace(rotation=(-1.0, 0, 0, 0, 1, 0, 0, 0, -1), name="turned"))
    assert np.allclose(corners_of(turned, glass=True)[:, 1], -0.4)


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("Public domain", True), ("Creative Commons Attribution 3.0 United States license", True), ("CC-0", True),
        ("GNU GPL / CC-BY 3.0", True), ("CC-BY-NC 4.0", False), ("none stated", False),
        ("Creative Commons Attribution NonCommercial", False),
    ],
)  # fmt: skip
def test_free_licences(licence: str, free: bool) -> None:
    assert Library("", licence, None).free is free


def folder_of_models(path: Path, table: str) -> Path:
    path.mkdir()
    (path / "box.obj").write_text(OBJ)
    (path / "box.mtl").write_text(MTL)
    (path / "sizes.csv").write_text(table)
    return path


def test_folder_of_models_with_sizes(tmp_path: Path) -> None:
    table = "file,name,role,width,depth,height,creator,licence\nbox.obj,My desk,desk,1.2,0.6,0.75,Me,CC0\n"
    (model,) = read_libraries([folder_of_models(tmp_path / "mine", table)])
    assert by_role([model])["desk"] == [model] and model.library.licence == "CC0"
    assert np.allclose(load(model).bounds[1], (0.6, 0.3, 0.75))


def test_glb_models(tmp_path: Path) -> None:
    (tmp_path / "box.glb").write_bytes(trimesh.creation.box((1, 2, 3)).export(file_type="glb"))
    (tmp_path / "sizes.csv").write_text("file,name,role,width,depth,height\nbox.glb,Box,thing,0.1,0.2,0.3\n")
    mesh = load(read_libraries([tmp_path])[0])
    assert np.allclose(mesh.bounds, [(-0.05, -0.1, 0), (0.05, 0.1, 0.3)]) and len(mesh.faces) == 12


@pytest.mark.parametrize(
    "row",
    ["box.obj,Desk,throne,1,1,1", "box.obj,Desk,desk,1,1,one", "none.obj,Desk,desk,1,1,1", "box.obj,Desk,desk,1,1,0"],
)
def test_unusable_rows_name_their_line(tmp_path: Path, row: str) -> None:
    folder = folder_of_models(tmp_path / "mine", f"file,name,role,width,depth,height\n{row}\n")
    with pytest.raises(ValueError, match="line 2"):
        read_libraries([folder])


def test_what_is_not_a_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no furniture library"):
        read_libraries([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match="sizes.csv"):
        read_libraries([tmp_path])
    (tmp_path / "text.sh3f").write_text("not a zip")
    with pytest.raises(ValueError, match="not a .sh3f library"):
        read_libraries([tmp_path / "text.sh3f"])
    with zipfile.ZipFile(tmp_path / "other.sh3f", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(ValueError, match="no furniture catalogue"):
        read_libraries([tmp_path / "other.sh3f"])


def test_every_role_has_a_primitive_of_its_size() -> None:
    assert set(RULES) <= set(by_role([]))
    for model in primitives():
        low, high = load(model).bounds
        assert np.allclose(high - low, model.size) and low[2] == 0


def test_layers_are_where_things_can_stand() -> None:
    shelves = Shape()
    for z in (0.0, 0.4, 0.8):
        shelves.box((0, 0, z), (1.0, 0.3, 0.02), Paint())
    shelves.box((0.3, 0, 0.42), (0.4, 0.3, 0.38), Paint())  # fills the right of the middle board
    layers = shelves.mesh().survey.layers
    assert [round(layer.height, 3) for layer in layers] == [0.02, 0.42, 0.82]
    lowest, middle, top = layers
    assert np.isclose(np.median(lowest.clearance), 0.38) and np.isinf(top.clearance).all()
    assert (middle.clearance[:, :20] > 0.3).all()
    assert not (middle.carries & (middle.clearance > 0.05))[:, 26:38].any()
