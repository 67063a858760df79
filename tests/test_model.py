"""Every network is built, trains, saves and loads the same; what does not fit is refused."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.layers import convert_sync_batchnorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from depth_unet import Camera, DepthLoss, DepthUNet, DepthUNetConfig
from depth_unet.images import to_tensor
from depth_unet.losses import bin_cross_entropy
from depth_unet.model import DepthDetails, _build_unet

NARROW = {"decoder_channels": [16, 16, 8, 8, 8], "input_size": [64, 96]}
CONFIGS = {
    "paper": DepthUNetConfig.paper(decoder_channels=[32, 16, 16, 8], input_size=[32, 64]),
    **{
        name: DepthUNetConfig.for_encoder(name, **NARROW)
        for name in (
            "resnet34",
            "densenet121",
            "mobilenet_v2",
            "tu-tf_efficientnet_lite0",
            "tu-tf_efficientnet_lite2",
        )
    },
    "without bins": DepthUNetConfig.for_encoder("tu-tf_efficientnet_lite0", depth_bins=0, **NARROW),
    "shallow": DepthUNetConfig.for_encoder("mobilenet_v2", decoder_channels=[8, 8, 8], input_size=[64, 64]),
    "shallow and default": DepthUNetConfig(decoder_channels=[8, 8, 8], input_size=[64, 96]),
    "an unused last layer": DepthUNetConfig.for_encoder("efficientnet-b0", **NARROW),
    "a called, unused branch": DepthUNetConfig.for_encoder(
        "tu-xception41", decoder_channels=[8, 8, 8], input_size=[64, 96]
    ),
}


@pytest.fixture(scope="module")
def paper_model() -> DepthUNet:
    torch.manual_seed(0)
    return DepthUNet(CONFIGS["paper"])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_network_trains_saves_and_loads(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    torch.manual_seed(0)
    model = DepthUNet(config).train()
    before = {key: value.clone() for key, value in model.named_parameters()}
    images = torch.rand(2, 3, *config.input_size)
    target = torch.full((2, 1, *config.input_size), 2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    depth, *heads = model(images, details=True)
    loss = DepthLoss(config.min_depth, config.max_depth, entropy_weight=0.3, scale_weight=0.1)(
        depth, target, target > 0, *heads
    )
    assert torch.isfinite(loss)
    loss.backward()
    assert not [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    optimizer.step()
    moved = [key for key, value in model.named_parameters() if not torch.equal(value, before[key])]
    assert any(key.startswith("unet.encoder") for key in moved) and any("segmentation_head" in key for key in moved)
    assert all(torch.isfinite(p).all() for p in model.parameters())

    model.eval()
    with torch.inference_mode():
        wanted = model(images)
    assert wanted.shape == target.shape and wanted.dtype == torch.float32
    assert (config.min_depth <= wanted).all() and (wanted <= config.max_depth).all()
    model.save_pretrained(tmp_path / "exact")
    model.save_pretrained(tmp_path / "half", half=True)
    loaded = DepthUNet.from_pretrained(tmp_path / "exact")
    assert loaded.config == config and not loaded.training and loaded.name == "exact"
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), wanted, rtol=0, atol=0)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("half", "exact")]
    assert sizes[0] < 0.6 * sizes[1]
    if name != "paper":  # whose encoder takes seconds to build, for the sake of a classifier that smp throws away
        halved = DepthUNet.from_pretrained(tmp_path / "half")
        with torch.inference_mode():
            torch.testing.assert_close(halved(images), wanted, rtol=0.02, atol=0)
        assert all(p.dtype == torch.float32 for p in halved.parameters())
    assert sorted(p.name for p in (tmp_path / "exact").iterdir()) == ["config.json", "model.safetensors"]


def test_the_papers_network_is_a_plain_unet(paper_model: DepthUNet) -> None:
    config = DepthUNetConfig.paper()
    assert config.dropout > 0 and config.decoder_channels == [512, 256, 128, 64]
    assert any(isinstance(m, torch.nn.MaxPool2d) for m in paper_model.modules())
    assert all(m.kernel_size in ((3, 3), (1, 1)) for m in paper_model.modules() if isinstance(m, torch.nn.Conv2d))


# --- encoder stages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "channels", "gone"),
    [
        ("mobilenet_v2", [8, 8, 8], "unet.encoder.features.18."),
        ("tu-tf_efficientnet_lite2", [8, 8, 8], "unet.encoder.model.blocks.6."),
        ("efficientnet-b0", [8] * 5, "unet.encoder._conv_head."),
        ("resnet18", [8] * 5, None),
    ],
)
def test_unused_stages_are_not_built(encoder: str, channels: list[int], gone: str | None, tmp_path: Path) -> None:
    config = DepthUNetConfig.for_encoder(encoder, decoder_channels=channels, input_size=[64, 96])
    torch.manual_seed(0)
    whole = _build_unet(config, download=False).eval().to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    model = DepthUNet(config)
    assert model.training and all(module.training for module in model.modules())
    state = {key.removeprefix("unet."): value for key, value in model.state_dict().items()}
    assert (gone in model.unbuilt) if gone else model.unbuilt == ()
    for key, value in whole.state_dict().items():
        assert (key in state) != f"unet.{key}".startswith(model.unbuilt)
        if key in state and not key.startswith("segmentation_head"):
            assert torch.equal(state[key], value), "the seed gives other weights, or statistics have changed"
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        wanted, got = whole.encoder(images), model.eval().unet.encoder(images)
    assert all(torch.equal(a, b) for a, b in zip(got, wanted[: len(got)], strict=True))

    # A model of 0.1.0 has the tensors of all stages.
    model.save_pretrained(tmp_path)
    old = {f"unet.{key}": value for key, value in whole.state_dict().items()} | model.state_dict()
    old = {key: value.contiguous() for key, value in old.items()}
    save_file(old, tmp_path / "model.safetensors")
    assert gone is None or any(key.startswith(gone) for key in old)
    loaded = DepthUNet.from_pretrained(tmp_path)
    assert torch.equal(loaded.run(images), model.run(images))
    loaded.load_state_dict(old)
    save_file({**old, "unet.encoder.wings": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 unknown \(e\.g\. unet\.encoder\.wings"):
        DepthUNet.from_pretrained(tmp_path)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_model_can_be_built_without_gradients(mode: type, tiny_config: DepthUNetConfig) -> None:
    torch.manual_seed(0)
    wanted, after = DepthUNet(replace(tiny_config, decoder_channels=[8, 8, 8])), torch.rand(1)
    torch.manual_seed(0)
    with mode():
        built = DepthUNet(wanted.config)
    assert torch.equal(torch.rand(1), after) and built.unbuilt == wanted.unbuilt
    built(torch.rand(2, 3, 32, 32)).sum().backward()


@pytest.mark.parametrize("name", ["tu-swin_tiny_patch4_window7_224", "tu-vit_tiny_patch16_224", "tu-inception_v3"])
def test_an_encoder_of_fixed_input_size_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DepthUNet(DepthUNetConfig.for_encoder(name))


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One gloo process, in which DistributedDataParallel checks the same as among several."""
    path = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", init_method=path.as_uri(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("find_unused", [False, True])
def test_every_network_trains_under_ddp(process_group: None, name: str, find_unused: bool) -> None:
    config = CONFIGS[name]
    wrapped = DistributedDataParallel(DepthUNet(config), find_unused_parameters=find_unused)
    for _ in range(2):  # the second forward fails if a parameter had no gradient in the first
        output = wrapped(torch.rand(2, 3, 32, 64), details=True)
        assert isinstance(output, DepthDetails) and (output.log_scale is None) == (not config.uncertainty)
        sum(values.sum() for values in output if values is not None).backward()


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "tu-tf_efficientnet_lite0", "vgg13_bn", "efficientnet-b0", "resnet18", "densenet121"]
)
def test_synchronised_batch_norm_keeps_the_output(name: str) -> None:
    channels = [8, 8, 8, 8] if name == "vgg13_bn" else [8] * 5
    model = DepthUNet(DepthUNetConfig.for_encoder(name, decoder_channels=channels, input_size=[64, 96])).eval()
    images = torch.rand(1, 3, 64, 96)
    before = model.run(images)
    converted = convert_sync_batchnorm(model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in converted.modules())
    torch.testing.assert_close(converted.eval().run(images), before)


def test_torchs_own_conversion_would_change_the_default_network() -> None:
    model = DepthUNet(DepthUNetConfig(**NARROW)).eval()
    images = torch.rand(1, 3, 64, 96)
    before = model.run(images)
    after = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model).eval().run(images)
    assert ((after - before).abs() / before).max() > 0.01, "timm's conversion is no longer needed"


# --- forward -----------------------------------------------------------------------------------------------------


def test_the_uncertainty_is_that_of_the_head_times_the_factor(tiny_config: DepthUNetConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = DepthUNet(tiny_config).eval()
    torch.nn.init.normal_(model.scale[-1].weight, std=2.0)
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        _, logits, log_scale = model(images, details=True)
    shares = logits.softmax(1)
    bins = torch.exp(-(shares * shares.log()).sum(1, keepdim=True))  # their effective number
    wanted = torch.nn.functional.interpolate(log_scale + bins.log() / 2, (64, 96), mode="bilinear").exp()
    depth, found = model.run_with_uncertainty(images)
    assert torch.equal(depth, model.run(images))
    torch.testing.assert_close(found, tiny_config.uncertainty * wanted)
    assert found.std() > 0.01, "the head has no influence"
    # Another factor is another config, not other weights, and survives a file.
    model.with_config(uncertainty=3.0, photo_error=0.1, pixel_error=0.5).save_pretrained(tmp_path)
    loaded = DepthUNet.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.run_with_uncertainty(images)[1], 3 * wanted)
    prediction = loaded.predict(np.zeros((50, 80, 3), np.uint8))
    assert prediction.uncertainty.shape == (50, 80) and (prediction.uncertainty > 0).all()
    assert (prediction.photo_error, prediction.pixel_error) == (0.1, 0.5)


def test_a_network_without_the_head_has_no_uncertainty(tiny_config: DepthUNetConfig) -> None:
    without = DepthUNetConfig.from_dict({k: v for k, v in tiny_config.to_dict().items() if k != "uncertainty"})
    model = DepthUNet(without).eval()
    assert not model.predicts_uncertainty and not any(key.startswith("scale") for key in model.state_dict())
    assert model.run_with_uncertainty(torch.rand(1, 3, 64, 96))[1] is None
    assert model.predict(np.zeros((64, 96, 3), np.uint8)).uncertainty is None
    grown = model.with_config(uncertainty=1.5)
    images = torch.rand(1, 3, 64, 96)
    assert grown.predicts_uncertainty and torch.equal(grown.run(images), model.run(images)), "the depth has changed"


@pytest.mark.parametrize("bins", [0, 5])
def test_details_are_what_losses_need(tiny_config: DepthUNetConfig, bins: int) -> None:
    model = DepthUNet(replace(tiny_config, depth_bins=bins)).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        depth, logits, log_scale = model(images, details=True)
        assert torch.equal(depth, model(images)) and log_scale.shape == (2, 1, 32, 48)
    if not bins:
        assert logits is None
        return
    assert logits.shape == (2, bins, 32, 48) and logits.dtype == torch.float32
    # The correction of a new model is 0, so that depth is the mean of the distribution.
    torch.nn.init.zeros_(model.unet.segmentation_head[0].bias)
    with torch.inference_mode():
        depth, logits, _ = model(images, details=True)
    mean = (logits.softmax(1) * torch.linspace(0, 1, bins).view(1, -1, 1, 1)).sum(1, keepdim=True)
    place = torch.nn.functional.interpolate(mean.logit(), depth.shape[2:], mode="bilinear").sigmoid()
    near, far = model.config.min_depth, model.config.max_depth
    torch.testing.assert_close(depth, near * (far / near) ** place)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 96), (100, 41)])
def test_forward_takes_any_size(tiny_model: DepthUNet, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert tiny_model(torch.rand(1, 3, *size)).shape == (1, 1, *size)


def test_an_equal_step_of_the_logit_is_an_equal_ratio_of_depths(tiny_config: DepthUNetConfig) -> None:
    config = replace(tiny_config, depth_bins=0)
    model = DepthUNet(config).eval()
    head = model.unet.segmentation_head[0]
    torch.nn.init.zeros_(head.weight)
    answers = []
    for logit in (-50.0, 0.0, 50.0):
        torch.nn.init.constant_(head.bias, logit)
        with torch.inference_mode():
            answers.append(model(torch.rand(1, 3, 32, 32)).mean().item())
    middle = (config.min_depth * config.max_depth) ** 0.5
    assert answers == pytest.approx([config.min_depth, middle, config.max_depth], rel=1e-5)


def test_a_sure_bin_is_its_distance_and_doubt_is_the_mean_of_the_logarithms(tiny_config: DepthUNetConfig) -> None:
    config = replace(tiny_config, depth_bins=5)
    model = DepthUNet(config).eval()
    torch.nn.init.zeros_(model.bins.weight)
    near, far = config.min_depth, config.max_depth
    wanted = {(0,): near, (1,): near * (far / near) ** 0.25, (4,): far, (0, 4): (near * far) ** 0.5}
    for sure, depth in wanted.items():
        with torch.inference_mode():
            model.bins.bias.fill_(0.0)[list(sure)] = 40.0
            answer = model(torch.rand(1, 3, 33, 47))
        assert answer.shape == (1, 1, 33, 47)
        torch.testing.assert_close(answer, torch.full_like(answer, depth), rtol=5e-4, atol=0)


def test_a_model_of_before_has_no_bins(tiny_config: DepthUNetConfig) -> None:
    saved = {key: value for key, value in tiny_config.to_dict().items() if key != "depth_bins"}
    assert DepthUNetConfig.from_dict(saved).depth_bins == 0


def test_the_normalisation_is_the_models_own(tiny_config: DepthUNetConfig) -> None:
    other = DepthUNetConfig.from_dict({**tiny_config.to_dict(), "image_mean": [0, 0, 0], "image_std": [1, 1, 1]})
    torch.manual_seed(0)
    normal, plain = DepthUNet(tiny_config).eval(), DepthUNet(other).eval()
    plain.load_state_dict(normal.state_dict())
    images = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (tiny_config.image_mean, tiny_config.image_std))
    with torch.inference_mode():
        torch.testing.assert_close(normal(images), plain((images - mean) / std))


def test_dropout_only_in_training(paper_model: DepthUNet) -> None:
    model = paper_model
    images = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(images), model(images))
        for module in model.modules():  # so that only dropout can tell two passes apart
            if not isinstance(module, torch.nn.BatchNorm2d):
                module.training = True
        assert not torch.equal(model(images), model(images))
        before = model.predict(np.zeros((32, 64, 3), np.uint8)).depth
        assert np.array_equal(before, model.predict(np.zeros((32, 64, 3), np.uint8)).depth)


def test_dropout_acts_on_encoder_features_and_in_the_decoder(paper_model: DepthUNet) -> None:
    images = torch.rand(1, 3, 32, 64)
    decoder = [block.attention2 for block in paper_model.unet.decoder.blocks]
    for part in ([paper_model.drop_down], decoder):
        paper_model.eval()
        assert torch.equal(paper_model.run(images), paper_model.run(images))
        for module in part:
            module.train()
        with torch.no_grad():
            assert not torch.equal(paper_model(images), paper_model(images))


# --- predict -----------------------------------------------------------------------------------------------------

SIZES = [(120, 160), (160, 120), (1, 1), (1, 500), (500, 1), (33, 47), (64, 96), (97, 301), (700, 30), (240, 320)]


@pytest.mark.parametrize("size", SIZES)
def test_the_depth_map_has_the_size_of_the_photo(tiny_model: DepthUNet, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    prediction = tiny_model.predict(image)
    assert prediction.depth.shape == size and prediction.depth.dtype == np.float32
    assert np.isfinite(prediction.depth).all() and (prediction.depth > 0).all()
    assert (prediction.camera.height, prediction.camera.width) == size


def test_network_size_keeps_shape_and_area(tiny_model: DepthUNet) -> None:
    rows, columns = tiny_model.config.input_size
    assert tiny_model.network_size(rows, columns) == (rows, columns)
    assert tiny_model.network_size(rows * 7, columns * 7) == (rows, columns)
    assert tiny_model.network_size(columns, rows) == (columns, rows)
    for height, width in SIZES:
        size = tiny_model.network_size(height, width)
        assert all(side % 32 == 0 and side >= 32 for side in size)
        assert size[0] * size[1] <= 2.5 * rows * columns


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_batch_is_its_photos_in_their_order(tiny_model: DepthUNet, photo: Path, batch_size: int) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in SIZES[:5]]
    images = [arrays[0], photo, arrays[1], Image.fromarray(arrays[2]), arrays[0][:, ::-1], str(photo), *arrays[3:]]
    cameras = [None, None, Camera.from_fov(120, 160, 90), None, Camera.from_fov(160, 120, 30), None, None, None]
    together = tiny_model.predict_batch(images, cameras, batch_size=batch_size)
    assert len(together) == len(images)
    for image, camera, got in zip(images, cameras, together, strict=True):
        alone = tiny_model.predict(image, camera)
        np.testing.assert_allclose(got.depth, alone.depth, rtol=1e-4)
        assert got.camera == alone.camera and got.name == alone.name
    assert [p.name for p in together if p.name] == ["room.jpg", "room.jpg"]


def test_a_batch_may_be_empty_and_its_mistakes_are_named(tiny_model: DepthUNet) -> None:
    assert tiny_model.predict_batch([]) == []
    image = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="2 images but 1 cameras"):
        tiny_model.predict_batch([image, image], [None])
    with pytest.raises(ValueError, match="batch_size"):
        tiny_model.predict_batch([image], batch_size=0)


@pytest.mark.parametrize("training", [True, False])
def test_predict_leaves_the_model_as_it_was(tiny_model: DepthUNet, photo: Path, training: bool) -> None:
    tiny_model.train(training)
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    tiny_model.predict(photo)
    with pytest.raises(FileNotFoundError):
        tiny_model.predict("nothing.jpg")
    assert all(module.training == training for module in tiny_model.modules())
    assert all(torch.equal(value, before[key]) for key, value in tiny_model.state_dict().items())


def test_predict_restores_the_mode_of_every_module(tiny_model: DepthUNet, photo: Path) -> None:
    tiny_model.train()
    norms = [module for module in tiny_model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms[::2]:  # as when their statistics are frozen
        module.eval()
    before = [module.training for module in tiny_model.modules()]
    tiny_model.predict(photo)
    assert [module.training for module in tiny_model.modules()] == before


def test_a_depth_map_may_be_changed(tiny_model: DepthUNet, photo: Path) -> None:
    first, second = tiny_model.predict_batch([photo, photo])
    unchanged = second.depth.copy()
    first.depth[:] = 1.0
    assert (first.depth == 1).all() and np.array_equal(second.depth, unchanged)


@pytest.mark.parametrize(("fx", "fy"), [(200.0, 200.0), (200.0, 50.0), (50.0, 200.0)])
def test_metres_follow_both_focal_lengths(tiny_model: DepthUNet, photo: Path, fx: float, fy: float) -> None:
    prediction = tiny_model.predict(photo, Camera(160, 120, fx, fy, 80.0, 60.0))
    height, width = tiny_model.network_size(120, 160)
    assert (height, width) == (64, 96)  # not the photo's aspect ratio: fx and fy are scaled differently
    with Image.open(photo) as image:
        canonical = tiny_model.run(to_tensor(image, (height, width))[None])
    focal_px = np.sqrt(fx * width / 160 * fy * height / 120)
    scaled = canonical * focal_px / tiny_model.config.canonical_focal_px
    wanted = torch.nn.functional.interpolate(scaled, (120, 160), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(prediction.depth, wanted, rtol=1e-5)


def test_the_weights_are_named_by_their_hash(saved: Path, tiny_model: DepthUNet, photo: Path) -> None:
    assert tiny_model.sha256 is None
    loaded = DepthUNet.from_pretrained(saved)
    wanted = hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest()
    loaded.predict(photo)
    assert loaded.sha256 == wanted and loaded.with_config(depth_bins=5).sha256 is None
    loaded.load_state_dict(loaded.state_dict())
    assert loaded.sha256 is None
    loaded = DepthUNet.from_pretrained(saved)
    assert loaded.eval().sha256 == wanted and loaded.train().sha256 is None


def test_a_reduced_decoding_predicts_as_the_whole_picture(tiny_model: DepthUNet, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as image:
        large = image.resize((2400, 1800), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as decoded:
        whole = tiny_model.predict(np.asarray(decoded)).depth
    reduced = tiny_model.predict(tmp_path / "large.jpg").depth
    assert reduced.shape == (1800, 2400)
    assert np.abs(reduced / whole - 1).max() < 0.02


# --- loading -----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_weights(folder: Path, change: object) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder: Path, **values: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **values}))


KEY = "unet.segmentation_head.0.weight"
DAMAGES = {
    "a renamed tensor": (lambda f: change_weights(f, lambda t: t.update({KEY + "s": t.pop(KEY)})), KEY),
    "a missing tensor": (lambda f: change_weights(f, lambda t: t.pop(KEY)), f"1 missing.*{KEY}"),
    "one too many": (lambda f: change_weights(f, lambda t: t.update(more=torch.ones(3))), "1 unknown.*more"),
    "a wrong shape": (lambda f: change_weights(f, lambda t: t.update({KEY: t[KEY][:, :3].clone()})), f"shape.*{KEY}"),
    "another width": (lambda f: change_config(f, decoder_channels=[8, 8, 8, 8, 16]), "does not fit"),
    "another encoder": (lambda f: change_config(f, encoder="resnet18"), "does not fit"),
    "an unknown encoder": (lambda f: change_config(f, encoder="resnet3"), "resnet3"),
    "an unknown key": (lambda f: change_config(f, colour="blue"), "colour"),
    "a newer format": (lambda f: change_config(f, format_version=99), "upgrade depth_unet"),
    "a wrong value": (lambda f: change_config(f, max_depth=0.1), "max_depth"),
    "a wrong type": (lambda f: change_config(f, input_size="64x96"), "input_size"),
    "no json": (lambda f: (f / "config.json").write_text("{"), "config.json"),
    "no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "config.json"),
    "cut off": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-99]),
        "damaged",
    ),
    "cut short": (lambda f: (f / "model.safetensors").write_bytes(b"\x10"), "damaged"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "damaged"),
    "a page": (lambda f: (f / "model.safetensors").write_text("<html>404</html>" * 9), "damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused(saved: Path, damage: str) -> None:
    change, words = DAMAGES[damage]
    change(saved)
    with pytest.raises(ValueError, match=words):
        DepthUNet.from_pretrained(saved)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved: Path, file: str) -> None:
    (saved / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        DepthUNet.from_pretrained(saved)


@pytest.mark.parametrize("name", ["./no/such/folder", "nothing", "a/b/c", ""])
def test_neither_folder_nor_repository(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        DepthUNet.from_pretrained(name)


def test_a_folder_is_loaded_without_the_network(
    saved: Path, monkeypatch: pytest.MonkeyPatch, photo: Path, tmp_path: Path
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked for")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    DepthUNet.from_pretrained(saved).predict(photo)
    monkeypatch.chdir(saved.parent.parent)  # a folder of the form owner/name is a folder all the same
    DepthUNet.from_pretrained(f"{saved.parent.name}/{saved.name}")
    for name in ("tu-tf_efficientnet_lite0", "resnet18", "densenet121"):
        DepthUNet(DepthUNetConfig.for_encoder(name, **NARROW))


def test_files_without_batch_counters_load(saved: Path, tiny_model: DepthUNet, photo: Path) -> None:
    def forget(tensors: dict) -> None:
        for key in [key for key in tensors if key.endswith("num_batches_tracked")]:
            del tensors[key]

    change_weights(saved, forget)
    np.testing.assert_array_equal(
        DepthUNet.from_pretrained(saved).predict(photo).depth, tiny_model.predict(photo).depth
    )


def test_saving_again_replaces_whole_files(saved: Path, tiny_config: DepthUNetConfig, photo: Path) -> None:
    torch.manual_seed(5)
    other = DepthUNet(tiny_config)
    other.save_pretrained(saved)
    np.testing.assert_array_equal(DepthUNet.from_pretrained(saved).predict(photo).depth, other.predict(photo).depth)
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors"]


# --- encoders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet3", "tu-resnet3", "", "tu-", "../resnet18"])
def test_an_unknown_encoder_is_named(name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"encoder.*{name}"):
        DepthUNet(DepthUNetConfig.for_encoder(name))


@pytest.mark.parametrize(
    ("encoder", "file"),
    [
        ("tu-tf_efficientnet_lite0", "tf_efficientnet_lite0_timm.safetensors"),
        ("tu-tf_efficientnet_lite2", "tf_efficientnet_lite2_timm.safetensors"),
        ("mobilenet_v2", "mobilenet_v2_torchvision_features.safetensors"),
    ],
)
def test_real_encoder_weights(shared: Path, encoder: str, file: str) -> None:
    path = shared / "encoders" / file
    model = DepthUNet(DepthUNetConfig.for_encoder(encoder, **NARROW), encoder_weights=path)
    stored = load_file(path)
    loaded = model.unet.encoder.state_dict()
    matched = [key for key in loaded if key.removeprefix("model.") in stored]
    assert len(matched) > 0.8 * len(loaded)
    for key in matched:
        torch.testing.assert_close(loaded[key], stored[key.removeprefix("model.")].to(loaded[key].dtype))


def test_encoder_weights_of_timm_and_of_torchvision_form(tmp_path: Path) -> None:
    for name, classifier in (
        ("tu-tf_efficientnet_lite0", "classifier.weight"),
        ("mobilenet_v2", "classifier.1.weight"),
    ):
        config = DepthUNetConfig.for_encoder(name, **NARROW)
        source = DepthUNet(config).unet.encoder.state_dict()
        tensors = {key.removeprefix("model."): value.contiguous() for key, value in source.items()}
        save_file({**tensors, classifier: torch.ones(10, 1280)}, tmp_path / "encoder.safetensors")
        loaded = DepthUNet(config, tmp_path / "encoder.safetensors").unet.encoder.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in source.items())


def test_encoder_weights_that_do_not_fit(tmp_path: Path, tiny_config: DepthUNetConfig) -> None:
    path = tmp_path / "encoder.safetensors"
    with pytest.raises(FileNotFoundError, match="encoder.safetensors"):
        DepthUNet(tiny_config, path)
    save_file({"features.0.0.weight": torch.ones(3, 3)}, path)
    with pytest.raises(ValueError, match="encoder.safetensors does not fit"):
        DepthUNet(tiny_config, path)
    path.write_bytes(b"no tensors at all")
    with pytest.raises(ValueError, match="encoder.safetensors"):
        DepthUNet(tiny_config, path)


def test_the_encoders_origin_is_not_saved(tmp_path: Path, tiny_config: DepthUNetConfig) -> None:
    DepthUNet(tiny_config).save_pretrained(tmp_path)
    assert "weights" not in (tmp_path / "config.json").read_text()


def test_no_hub_to_download_an_encoder_from(tiny_config: DepthUNetConfig) -> None:
    with pytest.raises(ConnectionError, match="mobilenet_v2.*safetensors"):
        DepthUNet(tiny_config, "imagenet")


# --- types of the parameters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cast", "tolerance"), [("half", 0.02), ("bfloat16", 0.1), ("double", 1e-4), ("float", 1e-4)])
@pytest.mark.parametrize("bins", [0, 64])
def test_a_model_of_another_type_predicts(
    tiny_config: DepthUNetConfig, photo: Path, cast: str, tolerance: float, bins: int
) -> None:
    torch.manual_seed(0)
    model = DepthUNet(replace(tiny_config, depth_bins=bins)).eval()
    expected = model.predict(photo).depth
    changed = getattr(model, cast)()
    for training in (False, True):
        changed.train(training)
        got = changed.predict(photo).depth
        assert got.dtype == np.float32 and np.abs(got / expected - 1).max() < tolerance
    for given in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        assert changed(torch.rand(1, 3, 32, 64).to(given)).dtype == torch.float32


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
@pytest.mark.parametrize("bins", [0, 8])
def test_a_model_of_another_type_learns(tiny_config: DepthUNetConfig, cast: str, bins: int) -> None:
    torch.manual_seed(0)
    model = getattr(DepthUNet(replace(tiny_config, depth_bins=bins)), cast)().train()
    before = model.unet.segmentation_head[0].bias.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    target = torch.full((2, 1, 64, 96), 2.0)
    loss_of = DepthLoss(model.config.min_depth, model.config.max_depth)
    loss_of(model(torch.rand(2, 3, 64, 96)), target, torch.ones_like(target, dtype=torch.bool)).backward()
    assert all(
        torch.isfinite(p.grad).all() and p.grad.dtype == p.dtype for p in model.parameters() if p.grad is not None
    )
    optimizer.step()
    assert not torch.equal(model.unet.segmentation_head[0].bias, before)


def test_bins_keep_their_places_in_half_precision(tiny_config: DepthUNetConfig) -> None:
    model = DepthUNet(replace(tiny_config, depth_bins=1000)).eval().bfloat16()
    torch.nn.init.zeros_(model.bins.weight)
    for sure in (1, 333, 998):
        with torch.inference_mode():
            model.bins.bias.fill_(0.0)[sure] = 60.0
            depth = model(torch.rand(1, 3, 32, 32))
        wanted = model.config.min_depth * (model.config.max_depth / model.config.min_depth) ** (sure / 999)
        torch.testing.assert_close(depth, torch.full_like(depth, wanted), rtol=1e-3, atol=0)


class NoFloat64(TorchDispatchMode):
    """What a device without float64 raises."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{function} makes a tensor of float64")
        return made


@pytest.mark.parametrize("bins", [0, 8])
def test_no_tensor_is_of_float64(tiny_config: DepthUNetConfig, photo: Path, bins: int) -> None:
    model = DepthUNet(replace(tiny_config, depth_bins=bins))
    loss_of = DepthLoss(model.config.min_depth, model.config.max_depth)
    images, target = torch.rand(2, 3, 64, 96), torch.full((2, 1, 64, 96), 2.0)
    valid = torch.ones_like(target, dtype=torch.bool)
    limits = {"min_depth": model.config.min_depth, "max_depth": model.config.max_depth}

    def step() -> None:
        depth = model(images)
        loss_of(depth, target, valid).backward()
        bin_cross_entropy(depth.detach(), target, valid, **limits)

    step()  # the windows of SSIM are made once, on the CPU
    with pytest.raises(TypeError, match="float64"), NoFloat64():
        torch.zeros(1).double()
    with NoFloat64():
        step()
        model.predict(photo)
        model.eval().predict(photo, Camera(160, 120, np.float64(200), np.float64(200), 80.0, 60.0))


# --- threads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_threads_predict_with_one_model(tiny_model: DepthUNet, training: bool) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(4)]
    expected = [tiny_model.predict(image).depth for image in images]
    tiny_model.train(training)
    statistics = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    modes: set[bool] = set()
    running = threading.Event()
    running.set()

    def watch() -> None:
        while running.is_set():
            modes.update(module.training for module in tiny_model.modules())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: tiny_model.predict(images[index % 4]).depth, range(40)))
    running.clear()
    watcher.join()
    for index, depth in enumerate(found):
        np.testing.assert_allclose(depth, expected[index % 4], rtol=1e-5)
    assert modes == {training}, "the mode changes while another thread predicts"
    assert all(torch.equal(value, statistics[key]) for key, value in tiny_model.state_dict().items())


def test_a_model_learns_while_another_thread_predicts(tiny_model: DepthUNet, photo: Path) -> None:
    tiny_model.train()
    norm = next(module for module in tiny_model.modules() if isinstance(module, torch.nn.BatchNorm2d))
    with ThreadPoolExecutor(2) as pool:
        predictions = [pool.submit(tiny_model.predict, photo) for _ in range(20)]
        for count in range(1, 11):
            tiny_model(torch.rand(2, 3, 32, 64)).sum().backward()
            assert int(norm.num_batches_tracked) == count, "a step ran in evaluation mode"
        assert all(np.isfinite(prediction.result().depth).all() for prediction in predictions)


def test_predict_in_training_uses_the_weights_of_now(tiny_model: DepthUNet, photo: Path) -> None:
    tiny_model.train()
    before = tiny_model.predict(photo).depth
    with torch.no_grad():
        tiny_model.unet.segmentation_head[0].bias += 1
    after = tiny_model.predict(photo).depth
    assert (after > before).all()
    assert {*map(id, tiny_model._evaluating().parameters())} == {*map(id, tiny_model.parameters())}
    np.testing.assert_array_equal(after, tiny_model.eval().predict(photo).depth)
