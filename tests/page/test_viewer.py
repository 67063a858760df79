"""What the server gives the viewer, and the files that it writes for what is on the screen."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import trimesh
from PIL import Image
from scenes import render

import depth_unet.page
from depth_unet import DEFAULT_MODEL, Camera, DepthUNet, DepthUNetConfig, Prediction
from depth_unet.files import encode_png, png_step, sha256_of
from depth_unet.page.arrival import ARRIVAL, STORED, arrival_of
from depth_unet.page.look import COLOUR_MAPS
from depth_unet.page.refusals import sentence_of
from depth_unet.page.viewer import (
    LEAST,
    RATIO,
    doubt_of,
    pack,
    purpose,
    shown,
    take_away,
    unpack,
)
from depth_unet.page.visits import Record, Visits

CAMERA = Camera.from_fov(160, 120, 70)
STATE = {
    "cmap": "magma",
    "near": 1.0,
    "far": 5.0,
    "blend": 0.5,
    "fov": None,
    "calibration": 1.0,
    "edges": True,
    "print": {"size_mm": 80, "relief_mm": 10, "base_mm": 3, "frame_mm": 0, "smoothing_mm": 0.5},
}


def of_room(**more: Any) -> Prediction:
    return Prediction(render(CAMERA)[1], CAMERA, name="my room.jpg", model="tiny", **more)


@pytest.fixture
def visits(tiny_model: DepthUNet, tmp_path: Path) -> Visits:
    return Visits(tiny_model, tmp_path)


@pytest.fixture
def room_photo(tmp_path: Path) -> Path:
    Image.fromarray(render(CAMERA)[0]).save(tmp_path / "room.png")
    return tmp_path / "room.png"


@pytest.fixture
def record(visits: Visits, room_photo: Path) -> Record:
    return visits.keep(of_room(), room_photo, None)


@pytest.mark.parametrize("farthest", [0.3, 12.0, 65.0, 66.0, 900.0])
def test_depth_survives_the_way_to_the_browser(farthest: float, tmp_path: Path):
    depth = np.linspace(0.001, farthest, 160 * 120, dtype=np.float32).reshape(120, 160)
    depth[0, :3] = 0, np.nan, np.inf
    packed, step = pack(Prediction(depth, CAMERA)), png_step(depth)
    (tmp_path / "packed.png").write_bytes(b"".join(encode_png(packed, {})))
    with Image.open(tmp_path / "packed.png") as image:
        assert image.mode == "RGB"
        received, uncertainty = unpack(np.asarray(image), step)
    assert (received[0, :3] == 0).all() and uncertainty is None
    assert step == 0.001 or farthest > 65
    np.testing.assert_allclose(received[1:], depth[1:], atol=0.51 * step)
    assert (received[1:] > 0).all(), "what has a depth keeps one"


def test_uncertainty_survives_the_way_to_the_browser():
    depth = np.ones((1, 100), np.float32)
    doubt = np.geomspace(0.002, 1.9, 100, dtype=np.float32)[None]
    received = unpack(pack(Prediction(depth, Camera.from_fov(100, 1, 60), uncertainty=doubt)), 0.001)[1]
    np.testing.assert_allclose(received, doubt, rtol=0.016)
    assert LEAST * RATIO**254 == pytest.approx(2)


def test_the_browser_gets_what_it_shows(record: Record):
    value = shown(record.folder, of_room(), "a warning")
    assert json.loads(json.dumps(value)) == value
    with Image.open(value["depth"]["path"]) as image:
        depth = unpack(np.asarray(image), value["step"])[0]
    np.testing.assert_allclose(depth, record.prediction.depth, atol=0.0006)
    assert value["about"] == of_room().about()
    assert value["photoSize"] == {"width": 160, "height": 120} and value["note"] == "a warning" and value["least"] == 0


def test_the_last_two_records_of_a_visitor_stay(visits: Visits, room_photo: Path):
    records: list[Record] = []
    for _ in range(4):
        records.append(visits.keep(of_room(), room_photo, records[-1] if records else None))
    assert [record.folder.is_dir() for record in records] == [False, False, True, True]


def test_numbers_taken_away_have_the_lens_and_the_calibration_of_the_screen(record: Record):
    answer = take_away(record, "npy", {**STATE, "fov": 50, "calibration": 1.5})
    expected = of_room().with_camera(Camera.from_fov(160, 120, 50)).depth * 1.5
    np.testing.assert_allclose(np.load(answer["file"]["path"]), expected, rtol=1e-6)
    assert answer["file"]["orig_name"] == "my room_depth.npy" and answer["note"] is None
    # The prediction that is kept stays as it was, and so does the file: others may see the same photo.
    np.testing.assert_array_equal(np.load(take_away(record, "npy", STATE)["file"]["path"]), of_room().depth)
    np.testing.assert_allclose(np.load(answer["file"]["path"]), expected, rtol=1e-6)


def test_a_surface_has_the_colours_of_the_screen(record: Record):
    for state in ({**STATE, "blend": 1.0}, {**STATE, "blend": 0.0}):
        mesh = trimesh.load(take_away(record, "glb", state)["file"]["path"], force="mesh")
        colours = of_room().colorize("magma", 1.0, 5.0, scale_bar=False)
        wanted, seen = (colours if state["blend"] else record.photo), mesh.visual.material.baseColorTexture
        # In blocks of 8x8 pixels, as JPEG keeps colours.
        wanted, seen = (np.asarray(image.convert("RGB").reduce(8)).astype(int) for image in (wanted, seen))
        assert np.abs(seen - wanted).mean() < 3


@pytest.mark.parametrize("kind", ["glb", "ply"])
def test_edges_are_removed_where_they_are_on_the_screen(kind: str, visits: Visits, room_photo: Path):
    room = of_room()
    room.depth[60, 80] /= 3  # between two surfaces
    record = visits.keep(room, room_photo, None)

    def size(edges: bool) -> int:
        made = trimesh.load(take_away(record, kind, {**STATE, "edges": edges})["file"]["path"])
        return len(made.to_geometry().faces if kind == "glb" else made.vertices)

    assert size(False) == (2 * 159 * 119 if kind == "glb" else 160 * 120)
    assert 0.9 * size(False) < size(True) < size(False)


def test_a_relief_has_the_size_of_the_screen(record: Record):
    plate = trimesh.load(take_away(record, "stl", STATE)["file"]["path"])
    assert plate.is_watertight
    np.testing.assert_allclose(plate.extents, [80, 80 * 119 / 159, 13], rtol=1e-4)


def test_what_a_png_cannot_hold_is_said(tiny_model: DepthUNet, record: Record):
    answer = take_away(record, "png", {**STATE, "calibration": 100})
    assert "beyond 65.534 m" in answer["note"]


WRONG = [
    ("exe", STATE, "kind"),
    ("npy", None, "dictionary"),
    ("npy", {**STATE, "calibration": 0}, "calibration"),
    ("npy", {**STATE, "calibration": float("nan")}, "calibration"),
    ("npy", {**STATE, "fov": 180}, "fov must be a number from 1 to 179, not 180"),
    ("npy", {**STATE, "cmap": "../etc"}, "cmap must be 'viridis'"),
    ("glb", {**STATE, "blend": 2}, "blend"),
    ("stl", {**STATE, "print": {**STATE["print"], "size_mm": "wide"}}, "size_mm"),
    ("stl", {**STATE, "print": {**STATE["print"], "frame_mm": 30}}, "frame_mm"),
    ("stl", {**STATE, "print": None}, "dictionary"),
    ("stl", {**STATE, "print": {}}, "size_mm"),
    ("stl", {**STATE, "print": {**STATE["print"], "near": 3, "far": 2}}, "near"),
]


@pytest.mark.parametrize(("kind", "state", "what"), WRONG)
def test_a_state_that_makes_no_sense_is_refused(kind: str, state: Any, what: str, record: Record):
    with pytest.raises(ValueError) as refused:
        take_away(record, kind, state)
    assert what in sentence_of(refused.value)


def test_a_photo_unlike_the_training_is_doubted(tiny_model: DepthUNet):
    config = tiny_model.config
    ratio = CAMERA.resize(*tiny_model.network_size(120, 160)[::-1]).focal_px / config.canonical_focal_px
    depth = np.full((120, 160), np.sqrt(config.min_depth * config.max_depth) * ratio, np.float32)
    assert doubt_of(Prediction(depth, CAMERA), tiny_model) is None
    for end in (config.min_depth, config.max_depth):
        for rows, doubted in ((5, False), (7, True)):  # 4 and 6 % of 120
            odd = depth.copy()
            odd[:rows] = end * ratio
            assert (doubt_of(Prediction(odd, CAMERA), tiny_model) is not None) == doubted
    assert "6%" in doubt_of(Prediction(odd, CAMERA), tiny_model)


@pytest.mark.parametrize(("limit", "doubted"), [(0.0, False), (0.2, True), (0.4, False)])
def test_a_photo_that_the_model_is_unsure_of_is_doubted(limit: float, doubted: bool, tiny_model: DepthUNet) -> None:
    depth = np.full((CAMERA.height, CAMERA.width), 2.0, np.float32)
    unsure = Prediction(depth, CAMERA, uncertainty=np.full_like(depth, 0.3))
    model = tiny_model.with_config(doubtful=limit)
    assert (doubt_of(unsure, model) is not None) == doubted
    assert doubt_of(Prediction(depth, CAMERA), model) is None


def test_a_model_says_what_it_is_for(tiny_config: DepthUNetConfig):
    assert "rooms" in purpose(DepthUNet(tiny_config))
    far = DepthUNetConfig.from_dict({**tiny_config.to_dict(), "max_depth": 80.0})
    assert "80 m" in purpose(DepthUNet(far)) and "rooms" not in purpose(DepthUNet(far))


def test_the_result_at_the_start_is_that_of_the_default_model(tiny_model: DepthUNet):
    with Image.open(STORED) as image:
        stored = json.loads(image.text["depth"])["sha256"]
    assert stored == sha256_of(Path(DEFAULT_MODEL) / "model.safetensors"), "run python -m depth_unet.page.arrival"
    default = DepthUNet.from_pretrained(DEFAULT_MODEL)
    default.predict = None  # nothing is computed
    arrived = arrival_of(default)
    del default.predict
    computed = default.predict(ARRIVAL)
    np.testing.assert_allclose(arrived.depth, computed.depth, atol=0.002)
    np.testing.assert_allclose(arrived.uncertainty, computed.uncertainty, rtol=0.02)  # a byte each
    means = arrived.mean_uncertainty(), computed.mean_uncertainty()
    assert arrived.about() | {"uncertainty": 0} == computed.about() | {"uncertainty": 0}
    assert means[0] == pytest.approx(means[1], rel=1e-2)
    np.testing.assert_array_equal(arrival_of(tiny_model).depth, tiny_model.predict(ARRIVAL).depth)


def test_every_example_has_a_caption():
    captions = json.loads((ARRIVAL.parent / "captions.json").read_text("utf-8"))
    assert {path.stem for path in ARRIVAL.parent.glob("*.jpg")} == captions.keys()
    assert all(about["caption"] and about.keys() <= {"caption", "note"} for about in captions.values())


def test_the_colours_in_the_browser_are_those_of_the_library():
    script = Path(depth_unet.page.__file__).with_name("viewer.js").read_text("utf-8")
    listed = re.findall(r'^    (\w+): "([0-9a-f]+)",$', script, re.MULTILINE)
    assert [name for name, _ in listed] == COLOUR_MAPS
    for name, stops in listed:
        rgb = np.array(list(bytes.fromhex(stops))).reshape(-1, 3)
        expected = matplotlib.colormaps[name](np.linspace(0, 1, len(rgb)))[:, :3] * 255
        np.testing.assert_allclose(rgb, expected, atol=0.51)
