"""Stated uncertainties cover what they claim, and the measures of it tell good from bad ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import write_rgbd

from depth_unet import Camera, DepthSample, DepthUNet, DepthUNetConfig, Prediction
from depth_unet.data import open_data
from train import calibrate, evaluate
from train.uncertainty import Pixels, Quality, area, covered, fitted_factor, fitted_lengths, pool, relative

WIDTH, HEIGHT = 48, 36
CAMERA = Camera.from_fov(WIDTH, HEIGHT, 60)


def simulated(
    photo_error: float, pixel_error: float, seed: int, frames: int = 12
) -> list[tuple[DepthSample, Prediction]]:
    """Frames whose errors are drawn as the uncertainty states them: samples and predictions."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(frames):
        truth = rng.uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32)
        sigma = rng.uniform(0.02, 0.2, truth.shape).astype(np.float32)
        error = rng.normal(0, photo_error) + pixel_error * sigma * rng.normal(size=truth.shape)
        prediction = Prediction(
            (truth * np.exp(error)).astype(np.float32), CAMERA, uncertainty=sigma, photo_error=photo_error
        )
        prediction = replace(prediction, pixel_error=pixel_error)
        depth = torch.from_numpy(truth)[None]
        made.append((DepthSample(torch.zeros(3, HEIGHT, WIDTH), depth, depth > 0, CAMERA, "x"), prediction))
    return made


def test_lengths_are_as_uncertain_as_stated() -> None:
    errors = []
    for sample, prediction in simulated(0.08, 0.7, seed=1, frames=600):
        true = replace(prediction, depth=sample.depth[0].numpy())
        rng = np.random.default_rng(len(errors))
        for _ in range(8):
            ends = [(int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))) for _ in range(2)]
            if ends[0] != ends[1]:
                stated = prediction.length_uncertainty(ends)
                errors.append((prediction.length(ends) - true.length(ends)) / stated)
    assert np.mean(np.abs(errors) < 1) == pytest.approx(0.683, abs=0.05)
    assert np.mean(np.abs(errors) < 2) == pytest.approx(0.954, abs=0.03)


def test_the_parts_of_a_length_are_found_again() -> None:
    for photo_error, pixel_error in ((0.1, 0.5), (0.0, 1.0), (0.15, 0.0)):
        frames = simulated(photo_error, pixel_error, seed=2, frames=60)
        found = pool([Pixels.of(sample, prediction, seed) for seed, (sample, prediction) in enumerate(frames)])
        fitted = fitted_lengths(found.length_error, found.independent)
        assert fitted[0] == pytest.approx(photo_error, abs=0.045)
        assert fitted[1] == pytest.approx(pixel_error, abs=0.25)
        stated = np.hypot(fitted[0], fitted[1] * found.independent)
        assert covered(found.length_error, stated)[0] == pytest.approx(0.683, abs=0.02)


@pytest.mark.parametrize("wrong_by", [0.5, 1.0, 3.0])
def test_the_factor_makes_the_coverage_right(wrong_by: float) -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.05, 0.3, 20_000)
    error = sigma * rng.normal(size=sigma.size)
    factor = fitted_factor(error, sigma * wrong_by)
    assert factor == pytest.approx(1 / wrong_by, rel=0.05)
    one, two = covered(error, factor * wrong_by * sigma)
    assert one == pytest.approx(0.683, abs=0.02) and two == pytest.approx(0.954, abs=0.01)


def test_sparsification_tells_a_good_order_from_a_bad_one() -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.01, 0.5, 50_000)
    error = np.abs(sigma * rng.normal(size=sigma.size))
    perfect, good, useless, reversed_ = (area(error, doubt) for doubt in (error, sigma, rng.random(sigma.size), -sigma))
    assert perfect.ours == 0
    assert 0 < good.ours < 0.7 * good.random
    assert useless.ours == pytest.approx(useless.random, rel=0.03)
    assert reversed_.ours > 1.3 * reversed_.random
    assert good.curves["predicted"][0] == pytest.approx(error.mean())
    assert good.curves["oracle"][-1] < good.curves["predicted"][-1] < good.curves["random"][-1]


def test_a_few_errors_by_hand() -> None:
    found = area(np.array([1.0, 2.0, 3.0, 6.0]), np.array([0.0, 2.0, 1.0, 3.0]))
    half = len(found.curves["oracle"]) // 2
    assert found.curves["predicted"][half] == pytest.approx(2.0)  # 1 and 3 are left
    assert found.curves["oracle"][half] == pytest.approx(1.5)  # 1 and 2
    np.testing.assert_allclose(relative(np.log([1.2, 0.9])), [0.2, 0.1])


def test_only_valid_pixels_count_and_a_scale_error_vanishes_when_aligned() -> None:
    sample, prediction = simulated(0.0, 0.0, seed=3, frames=1)[0]
    valid = torch.zeros_like(sample.valid)
    valid[:, 10:30, 10:40] = True
    scaled = replace(prediction, depth=np.where(valid[0], 1.25 * prediction.depth, np.nan).astype(np.float32))
    pixels = Pixels.of(sample._replace(valid=valid), scaled, seed=0)
    assert len(pixels.error) == 600
    np.testing.assert_allclose(pixels.error, np.log(1.25), atol=1e-4)
    np.testing.assert_allclose(pixels.aligned, 0, atol=1e-4)
    np.testing.assert_allclose(pixels.length_error, 0.2, atol=1e-3)  # 1 - 1 / 1.25


def test_quality_is_in_the_report(tmp_path: Path, tiny_config: DepthUNetConfig, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    DepthUNet(tiny_config).save_pretrained(tmp_path / "model")
    root = write_rgbd(tmp_path / "data", 4)
    output = tmp_path / "out.json"
    options = ["--data", f"rgbd:{root}", "--output", str(output), "--worst", "0"]
    assert evaluate.main(["--model", str(tmp_path / "model"), *options]) == 0
    printed = capsys.readouterr().out
    assert "within 1 and 2 sigma" in printed and "AUSE" in printed and "boundary_f1" in printed
    assert (tmp_path / "out_sparsification.png").read_bytes()[:4] == b"\x89PNG"
    assert '"coverage"' in output.read_text() and '"rim"' in output.read_text()
    DepthUNet(replace(tiny_config, uncertainty=0.0)).save_pretrained(tmp_path / "old")
    assert evaluate.main(["--model", str(tmp_path / "old"), *options]) == 0
    assert "sigma" not in capsys.readouterr().out


def test_calibration_changes_the_config_alone(
    tmp_path: Path, tiny_config: DepthUNetConfig, capsys: pytest.CaptureFixture
) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "model"
    DepthUNet(replace(tiny_config, uncertainty=0.01)).save_pretrained(folder)
    weights = (folder / "model.safetensors").read_bytes()
    root = write_rgbd(tmp_path / "data", 8)
    assert calibrate.main(["--model", str(folder), "--data", f"rgbd:{root}"]) == 0
    assert "fitted on 4 frames" in capsys.readouterr().out
    model = DepthUNet.from_pretrained(folder)
    assert model.config.uncertainty > 0.05 and (folder / "model.safetensors").read_bytes() == weights
    assert model.config == replace(
        tiny_config,
        uncertainty=model.config.uncertainty,
        photo_error=model.config.photo_error,
        pixel_error=model.config.pixel_error,
    )
    pixels: list[Pixels] = []
    data = open_data(f"rgbd:{root}")
    evaluate.evaluate(model, evaluate.Part(data, range(4)), pixels=pixels)
    quality = Quality.of(pixels, model.config.photo_error, model.config.pixel_error)
    assert quality.coverage[0] == pytest.approx(0.683, abs=0.15)  # of the frames that it was fitted on
    assert quality.lengths[0] == pytest.approx(0.683, abs=0.05)


def test_what_cannot_be_calibrated_is_refused(
    tmp_path: Path, tiny_config: DepthUNetConfig, capsys: pytest.CaptureFixture
) -> None:
    root = write_rgbd(tmp_path / "data", 2)
    DepthUNet(replace(tiny_config, uncertainty=0.0)).save_pretrained(tmp_path / "old")
    assert calibrate.main(["--model", str(tmp_path / "old"), "--data", f"rgbd:{root}"]) == 2
    assert "predicts no uncertainty" in capsys.readouterr().err
    assert calibrate.main(["--model", str(tmp_path / "none"), "--data", f"rgbd:{root}"]) == 2
