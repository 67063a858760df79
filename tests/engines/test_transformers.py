"""Depth models of transformers give transformers' own numbers, times the ratio of focal lengths where it is known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

transformers = pytest.importorskip("transformers", reason="the optional package transformers is not installed")

from depth_models import MODELS, save_model  # noqa: E402

from depth_unet import Camera, DepthUNet, Prediction, open_model  # noqa: E402
from depth_unet.__main__ import main  # noqa: E402
from depth_unet.engines.transformers import FOCAL_OF_DATA, TRAINED_ON, TransformersDepth  # noqa: E402
from depth_unet.metrics import ALIGNMENTS  # noqa: E402

RELATIVE = ("depth_anything", "dpt")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A function that saves a tiny model of a kind in a folder of a name, once."""
    root = tmp_path_factory.mktemp("models")

    def save(kind: str, name: str = "", card: str = "") -> Path:
        folder = root / (name or kind)
        if not folder.is_dir():
            save_model(kind, folder)
            if card:
                (folder / "README.md").write_text(card, "utf-8")
        return folder

    return save


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)) for _ in range(3)]
    return [image.resize(size) for image, size in zip(coarse, [(160, 120), (96, 128), (160, 120)], strict=True)]


def expected(folder: Path, picture: Image.Image) -> dict:
    """Processor, network and post-processing as the models' cards call them."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForDepthEstimation.from_pretrained(folder)
    with torch.no_grad():
        outputs = network(**processor(images=picture, return_tensors="pt"))
    return processor.post_process_depth_estimation(outputs, [(picture.height, picture.width)])[0]


@pytest.mark.parametrize("kind", MODELS)
def test_the_numbers_are_those_of_transformers(kind: str, saved, pictures: list[Image.Image]) -> None:
    model = open_model(saved(kind))
    assert isinstance(model, TransformersDepth) and model.name == kind and len(model.sha256) == 64
    predictions = model.predict_scored(pictures, [None] * len(pictures))
    for picture, prediction in zip(pictures, predictions, strict=True):
        wanted = expected(saved(kind), picture)["predicted_depth"].numpy()
        assert np.ptp(wanted) > 0.005  # else anything would be right
        assert prediction.depth.dtype == np.float32
        got, wanted = (
            (1 / prediction.depth, np.maximum(wanted, 1e-6)) if kind in RELATIVE else (prediction.depth, wanted)
        )
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["depth_anything_metric", "zoedepth", "glpn"])
def test_they_are_those_of_its_pipeline(kind: str, saved, pictures: list[Image.Image]) -> None:
    pipeline = transformers.pipeline("depth-estimation", model=str(saved(kind)))
    wanted = pipeline(pictures[0])["predicted_depth"].numpy()
    np.testing.assert_allclose(open_model(saved(kind)).predict(pictures[0]).depth, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name", "data"),
    [
        ("depth_anything_metric", "Depth-Anything-V2-Metric-Indoor-Small-hf", "hypersim"),
        ("depth_anything_metric", "Depth-Anything-V2-Metric-Outdoor-Base-hf", "vkitti"),
        ("zoedepth", "zoedepth-nyu", "nyu"),
        ("glpn", "glpn-kitti", "kitti"),
        ("dpt", "dpt-dinov2-small-nyu", "nyu"),
    ],
)
def test_metres_of_one_known_camera_follow_the_lens(kind, name, data, saved, pictures: list[Image.Image]) -> None:
    model, picture = open_model(saved(kind, name)), pictures[0]
    wanted = expected(saved(kind, name), picture)["predicted_depth"].numpy()
    assumed = model.predict(picture)
    assert assumed.metres_follow_lens and assumed.camera_from == "assumed"
    assert assumed.camera == Camera.assumed(160, 120, FOCAL_OF_DATA[data])
    np.testing.assert_allclose(assumed.depth, wanted, rtol=1e-5)
    given = Camera(160, 120, 300.0, 300.0, 80.0, 60.0)
    other = model.predict(picture, given)
    assert other.camera == given and other.camera_from == "given"
    np.testing.assert_allclose(other.depth, wanted * 300 / (160 * FOCAL_OF_DATA[data]), rtol=1e-5)
    np.testing.assert_allclose(assumed.with_camera(given).depth, other.depth, rtol=1e-5)
    own = model.predict(picture, Camera.assumed(160, 120, FOCAL_OF_DATA[data]))
    np.testing.assert_allclose(own.depth, wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", ["depth_anything_metric", "zoedepth", "zoedepth_two_heads", "glpn"])
def test_metres_of_an_unknown_camera_are_left_and_marked(kind: str, saved, pictures, tmp_path: Path) -> None:
    model, given = open_model(saved(kind)), Camera.from_fov(160, 120, 100)
    plain, told = model.predict(pictures[0]), model.predict(pictures[0], given)
    assert not plain.metres_follow_lens and not told.metres_follow_lens
    np.testing.assert_array_equal(plain.depth, told.depth)
    assert told.camera == given and told.camera_from == "given"
    moved = plain.with_camera(given)
    np.testing.assert_array_equal(moved.depth, plain.depth)
    assert moved.camera == given and moved.distance_between((0, 0), (159, 119)) > plain.distance_between(
        (0, 0), (159, 119)
    )
    again = Prediction.load(plain.save(tmp_path / "a.npz"))
    assert not again.metres_follow_lens and again.licence == "unknown"
    calibrated = plain.calibrate(5, 5, 3.0)
    assert calibrated.with_camera(given).calibration == calibrated.calibration


def test_the_lens_of_a_photo_counts(saved, pictures: list[Image.Image], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0xA405: 50}
    pictures[0].save(tmp_path / "tele.jpg", exif=exif)
    prediction = open_model(saved("zoedepth", "zoedepth-nyu")).predict(tmp_path / "tele.jpg")
    camera = Camera.from_focal_35mm(160, 120, 50)
    assert prediction.camera == camera and prediction.camera_from == "exif" and prediction.name == "tele.jpg"
    with Image.open(tmp_path / "tele.jpg") as stored:
        wanted = expected(saved("zoedepth", "zoedepth-nyu"), stored)["predicted_depth"].numpy()
    np.testing.assert_allclose(prediction.depth, wanted * camera.focal_px / (160 * FOCAL_OF_DATA["nyu"]), rtol=1e-5)


def test_depth_pro_estimates_the_lens(saved, pictures: list[Image.Image]) -> None:
    model, wanted = open_model(saved("depth_pro")), expected(saved("depth_pro"), pictures[0])
    prediction = model.predict(pictures[0])
    assert prediction.camera_from == "model" and prediction.metres_follow_lens
    assert prediction.camera.fx == pytest.approx(float(wanted["focal_length"]), rel=1e-5)
    given = Camera.from_fov(160, 120, 90)
    told = model.predict(pictures[0], given)
    assert told.camera_from == "given"
    ratio = given.focal_px / float(wanted["focal_length"])
    np.testing.assert_allclose(told.depth, wanted["predicted_depth"].numpy() * ratio, rtol=1e-5)


def test_depth_pro_without_a_lens_is_of_a_focal_length_of_the_width(saved, pictures: list[Image.Image]) -> None:
    model = open_model(saved("depth_pro_without_lens"))
    for picture in pictures[:2]:
        prediction = model.predict(picture)
        assert prediction.camera.fx == picture.width and prediction.camera_from == "assumed"
        given = Camera.from_fov(picture.width, picture.height, 90)
        np.testing.assert_allclose(model.predict(picture, given).depth, prediction.depth / 2, rtol=1e-5)


def test_a_lens_that_cannot_be_is_not_used(saved, pictures: list[Image.Image], tmp_path: Path) -> None:
    save_model("depth_pro", tmp_path / "odd")
    network = transformers.AutoModelForDepthEstimation.from_pretrained(tmp_path / "odd")
    last = [module for module in network.fov_model.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    torch.nn.init.constant_(last.bias, -50.0)
    network.save_pretrained(tmp_path / "odd")
    prediction = open_model(tmp_path / "odd").predict(pictures[0])
    assert prediction.camera_from == "assumed" and not prediction.metres_follow_lens


@pytest.mark.parametrize("kind", RELATIVE)
def test_relative_depth_is_refused_where_metres_are_needed(kind, saved, photo: Path, tmp_path: Path, capsys) -> None:
    model = open_model(saved(kind))
    assert model.alignments == ("scale_shift_disparity",)
    for call in (lambda: model.predict(photo), lambda: model.predict_batch([photo])):
        with pytest.raises(ValueError, match=f"{kind} predicts relative depth without metres"):
            call()
    assert main([str(photo), "--model", str(saved(kind)), "--output", str(tmp_path / "out")]) == 2
    assert "without metres" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_card_says_what_a_dpt_was_trained_on(saved) -> None:
    card = "---\nlicense: cc-by-nc-4.0\ndatasets:\n- {}\n---\n# A model\n"
    metric = open_model(saved("dpt", "mine", card.format("sayakpaul/nyu_depth_v2")))
    assert metric.alignments == ALIGNMENTS and metric.kind.focal == FOCAL_OF_DATA["nyu"]
    assert metric.licence == "cc-by-nc-4.0"
    other = open_model(saved("dpt", "others", card.format("mix6")))
    assert other.alignments == ("scale_shift_disparity",)
    driving = open_model(saved("depth_anything_metric", "driving", card.format("virtual_kitti_2")))
    assert driving.kind.focal == FOCAL_OF_DATA["vkitti"]
    both = open_model(saved("glpn", "both", card.format("nyu\n- kitti")))
    assert both.kind.focal is None


def test_known_models_name_known_data() -> None:
    assert set(TRAINED_ON.values()) <= set(FOCAL_OF_DATA) and "zoedepth-nyu-kitti" not in TRAINED_ON
    assert all(name == name.lower() for name in TRAINED_ON)


def test_the_command_line_warns_and_records(saved, photo: Path, tmp_path: Path, capsys) -> None:
    folder = saved("glpn", "glpn-nyu", "---\nlicense: cc-by-nc-4.0\n---\n")
    options = ["--model", str(folder), "--output", str(tmp_path), "--device", "cpu", "--dtype", "float32"]
    assert main([str(photo), *options]) == 0
    assert "warning: the licence of glpn-nyu forbids commercial use: cc-by-nc-4.0" in capsys.readouterr().err
    about = Prediction.load(tmp_path / "room_depth.png").about()
    assert (about["model"], about["licence"], about["metres_follow_lens"]) == ("glpn-nyu", "cc-by-nc-4.0", True)


def test_half_precision_is_close(saved, pictures: list[Image.Image]) -> None:
    exact = open_model(saved("glpn")).predict(pictures[0]).depth
    half = open_model(saved("glpn"), dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    np.testing.assert_allclose(half.predict(pictures[0]).depth, exact, rtol=0.1)


def test_weights_in_several_files_and_a_subfolder(saved, pictures: list[Image.Image], tmp_path: Path) -> None:
    inner = tmp_path / "repo" / "small"
    save_model("glpn", inner)
    network = transformers.AutoModelForDepthEstimation.from_pretrained(inner)
    (inner / "model.safetensors").unlink()
    network.save_pretrained(inner, max_shard_size="20KB")
    assert (inner / "model.safetensors.index.json").is_file() and not (inner / "model.safetensors").exists()
    model = open_model(tmp_path / "repo", subfolder="small")
    np.testing.assert_array_equal(
        model.predict(pictures[0]).depth, open_model(saved("glpn")).predict(pictures[0]).depth
    )
    index = json.loads((inner / "model.safetensors.index.json").read_text("utf-8"))
    index["weight_map"] = dict.fromkeys(index["weight_map"], "pytorch_model.bin")
    (inner / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(ValueError, match="other files than safetensors"):
        open_model(inner)


def _spoil(folder: Path, what: str) -> None:
    weights = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    match what:
        case "no weights":
            weights.unlink()
        case "pickled":
            weights.rename(folder / "pytorch_model.bin")
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "no processor":
            (folder / "preprocessor_config.json").unlink()
        case "other weights":
            config["decoder_hidden_size"] = 12
        case "deeper":
            config["depths"] = [2, 1, 1, 1]
        case "unknown type":
            config["model_type"] = "depth_of_tomorrow"
        case "remote code":
            config |= {"model_type": "mine", "auto_map": {"AutoModelForDepthEstimation": "evil.Model"}}
            (folder / "evil.py").write_text("raise SystemExit('ran')", "utf-8")
        case "no depth":
            config = {"model_type": "vit"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("no weights", FileNotFoundError, "no model.safetensors"),
        ("pickled", FileNotFoundError, "no model.safetensors"),
        ("truncated", ValueError, "cannot be loaded"),
        ("no processor", FileNotFoundError, "no preprocessor_config.json"),
        ("other weights", ValueError, "cannot be loaded|do not fit"),
        ("deeper", ValueError, "weights do not fit: .* missing"),
        ("unknown type", ValueError, "depth_of_tomorrow"),
        ("remote code", ValueError, "cannot be loaded"),
        ("no depth", ValueError, "a vit model predicts no depth"),
    ],
)
def test_what_cannot_be_loaded(what: str, error: type, message: str, tmp_path: Path) -> None:
    _spoil(save_model("glpn", tmp_path / "model"), what)
    with pytest.raises(error, match=message):
        open_model(tmp_path / "model")


def test_wrong_options(saved, tiny_model: DepthUNet, tmp_path: Path, photo: Path) -> None:
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, bfloat16, not 'int8'"):
        open_model(saved("glpn"), dtype="int8")
    with pytest.raises(ValueError, match="cannot run on"):
        open_model(saved("glpn"), device="cuda:7" if torch.cuda.is_available() else "cuda")
    with pytest.raises(ValueError, match="must lie in the repository"):
        open_model(saved("glpn"), subfolder="../other")
    model = open_model(saved("glpn"))
    with pytest.raises(ValueError, match="2 images but 1 cameras"):
        model.predict_batch([photo, photo], [None])
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        model.predict_batch([photo], batch_size=0)
    with pytest.raises(ValueError, match="the image is 160x120"):
        model.predict(photo, Camera.from_fov(10, 10, 60))
    tiny_model.save_pretrained(tmp_path)
    assert open_model(tmp_path, device="auto", dtype="float32").config == tiny_model.config
    assert open_model(tmp_path, dtype="bfloat16").image_mean.dtype == torch.bfloat16
