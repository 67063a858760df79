"""Scores are those of whole pictures, predicted as a user would, each frame counted once."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import write_diode, write_rgbd

from benchmarks import weights
from depth_unet import DEFAULT_MODEL, DepthUNet, Prediction, RgbdFolder, depth_metrics, open_model
from depth_unet.data import open_data
from depth_unet.data.sample import SampleError
from depth_unet.data.scoring import RULES, ScoringRule
from depth_unet.metrics import ALIGNMENTS, METRICS
from train.documents import fill, filled, markdown_table
from train.evaluate import (
    Centre,
    Frame,
    distance_table,
    evaluate,
    interval,
    main,
    mean_over_frames,
    measure,
    metrics_table,
    predict_samples,
    score,
    worst_frames,
)

RULE = ScoringRule("test", 0.3, 10.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_rgbd(tmp_path / "data", 5)


@pytest.fixture
def data(root: Path) -> RgbdFolder:
    opened = RgbdFolder(root)
    opened.rule = RULE
    return opened


def test_samples_are_predicted_as_their_files_are(tiny_model: DepthUNet, data: RgbdFolder, root: Path) -> None:
    got = list(predict_samples(tiny_model, data, batch_size=2))
    assert [sample.key for sample, _ in got] == [f"{n:04d}" for n in range(5)]
    for number, (sample, prediction) in enumerate(got):
        path = root / f"{number:04d}.jpg"
        np.testing.assert_allclose(prediction.depth, tiny_model.predict(path, sample.camera).depth, rtol=1e-4)


def test_every_frame_counts_once_and_the_same(tiny_model: DepthUNet, data: RgbdFolder) -> None:
    frames, missed = evaluate(tiny_model, data, batch_size=2)
    assert not missed and [frame.key for frame in frames] == [f"{n:04d}" for n in range(5)]
    means = mean_over_frames(frames)
    assert list(means) == list(ALIGNMENTS)
    wanted = []
    for sample in data:
        image = (sample.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        depth = tiny_model.predict(image, sample.camera).depth
        target, valid = sample.depth[0].numpy(), sample.valid[0].numpy()
        wanted.append(depth_metrics(depth, target, valid, align="median", min_depth=0.3, max_depth=10.0))
    for name in METRICS:
        assert means["median"][name] == pytest.approx(np.mean([w[name] for w in wanted]), rel=1e-3)
    assert {name: means["none"][name] for name in METRICS} != {name: means["median"][name] for name in METRICS}


def test_a_frame_that_cannot_be_scored_is_named(tiny_model: DepthUNet, data: RgbdFolder) -> None:
    sample = data[2]
    (pair,) = predict_samples(tiny_model, [sample])
    with pytest.raises(SampleError, match="^0002: no valid pixel"):
        score(*pair, ("none",), ScoringRule("far", 100.0, 200.0))
    broken = pair[1].depth.copy()
    broken[10, 10] = np.nan
    with pytest.raises(SampleError, match="^0002: .*not finite"):
        score(sample, replace(pair[1], depth=broken), ("none",), RULE)


def test_masked_pixels_do_not_score(tiny_model: DepthUNet, data: RgbdFolder) -> None:
    sample = data[0]
    (pair,) = predict_samples(tiny_model, [sample])
    valid = torch.zeros_like(sample.valid)
    valid[:, :30, :40] = True
    part = sample._replace(valid=valid, depth=sample.depth.where(valid, 9.0))
    got = score(part, pair[1], ("none",), RULE).metrics["none"]
    wanted = depth_metrics(pair[1].depth[:30, :40], sample.depth[0, :30, :40].numpy(), min_depth=0.3, max_depth=10.0)
    assert got == pytest.approx(wanted)


# --- the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tiny_model: DepthUNet, tmp_path: Path) -> Path:
    tiny_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_command_prints_writes_and_fills_in(
    saved: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    card, output = tmp_path / "card.md", tmp_path / "deep" / "scores.json"
    card.write_text("# Card\n<!-- metrics -->\nold\n<!-- /metrics -->\nend\n")
    arguments = [
        "--model",
        str(saved),
        "--data",
        f"rgbd:{root}",
        "--output",
        str(output),
        "--card",
        str(card),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    scores = json.loads(output.read_text())
    assert scores["data"] == "data" and len(scores["frames"]) == 5 and scores["missed"] == []
    assert scores["protocol"] == (
        "5 frames of data (split all), whole frames, prediction at full resolution; scoring rule whole-frame: whole "
        "frame, true depth 0.001 to 80 m; mask: the data set's own mask; mean over frames"
    )
    assert scores["sha256"] == hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest()
    table = metrics_table(scores["metrics"])
    assert table in printed and table in card.read_text() and "old" not in card.read_text()
    for align in ALIGNMENTS:
        frames = [frame["metrics"][align]["rmse"] for frame in scores["frames"]]
        assert scores["metrics"][align]["rmse"] == pytest.approx(np.mean(frames))
    rows = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    assert rows.keys() >= set(ALIGNMENTS) and f"{scores['metrics']['none']['abs_rel']:.4f}" in rows["none"]
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert str(tmp_path) not in output.read_text() + card.read_text()  # no path of the machine that measured


def test_the_command_scores_diode(saved: Path, tmp_path: Path) -> None:
    write_diode(tmp_path, "val", "indoors", 2)
    write_diode(tmp_path, "val", "outdoor", 1)
    for name, count in (("diode", 3), ("diode/indoors", 2), ("diode/outdoor", 1)):
        output = tmp_path / "scores.json"
        assert main(["--model", str(saved), "--data", f"{name}:{tmp_path}", "--output", str(output)]) == 0
        assert len(json.loads(output.read_text())["frames"]) == count


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--data", "kitti:/tmp"], "KIND:PATH"),
        (["--data", "rgbd:/no/such/place"], "/no/such/place"),
        (["--model", "./no/model"], "no/model"),
        (["--min-depth", "50", "--max-depth", "60"], "not one of 5 frames .* 0000: no valid pixel"),
        (["--min-depth", "5", "--max-depth", "1"], "min_depth"),
        (["--split", "val"], "no split 'val', only all"),
        (["--origin", "no_origin.json"], "no_origin.json"),
        (["--card", "no_card.md"], "no_card.md"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    saved: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, change: list[str], words: str
) -> None:
    given = ["--model", str(saved), "--data", f"rgbd:{root}", "--output", str(tmp_path / "x.json"), *change]
    assert main(given) == 2
    error = capsys.readouterr().err.split("\r")[-1].strip()
    assert error.startswith("error: ") and re.search(words, error) and "\n" not in error


def test_a_corrupt_sample_is_named_and_the_rest_scored(
    saved: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    Image.new("RGB", (9, 9)).save(root / "0003.png")
    output = tmp_path / "x.json"
    assert main(["--model", str(saved), "--data", f"rgbd:{root}", "--output", str(output)]) == 1
    printed, scores = capsys.readouterr(), json.loads(output.read_text())
    assert "not scored: 0003: " in printed.err and "scored 4 of 5 frames" in printed.out
    assert scores["protocol"].startswith("4 of 5 frames of data") and len(scores["frames"]) == 4
    assert [reason.partition(":")[0] for reason in scores["missed"]] == ["0003"]


@pytest.mark.parametrize(
    ("kind", "options", "rule"),
    [
        ("rgbd", [], "whole-frame: whole frame, true depth 0.001 to 80 m"),
        ("rgbd/nyu", [], "nyu-eigen: rows 45:471, columns 41:601 of 480x640, true depth 0.001 to 10 m"),
        (
            "rgbd/nyu",
            ["--max-depth", "5"],
            "nyu-eigen: rows 45:471, columns 41:601 of 480x640, true depth 0.001 to 5 m",
        ),
    ],
)
def test_the_protocol_says_what_was_scored(
    saved: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, options: list[str], rule: str
) -> None:
    output = tmp_path / "x.json"
    given = ["--model", str(saved), "--data", f"{kind}:{root}", "--output", str(output), "--worst", "0", *options]
    assert main(given) == 0
    assert f"scoring rule {rule}" in capsys.readouterr().out
    pixels = json.loads(output.read_text())["frames"][0]["metrics"]["none"]["pixels"]
    expected = RULES["nyu-eigen" if "nyu" in kind else "whole-frame"]._replace(max_depth=5.0 if options else 80.0)
    assert pixels == int(expected.applied(RgbdFolder(root, layout=kind[5:] or "plain")[0]).valid.sum())


def test_the_shipped_weights_on_real_frames(shared: Path) -> None:
    """The scores that the documents quote, so that a change of the protocol or of the prediction shows."""
    written = json.loads((weights.HERE / "results" / "weights.json").read_text())
    quoted = written["data"]["nyu_val.tar"][written["models"][-1]["title"]]
    data = open_data(f"rgbd/nyu:{shared / 'data' / 'nyu_val.tar'}")
    means = measure(open_model(DEFAULT_MODEL), data).means
    for alignment in ALIGNMENTS:
        # Processors differ in the order of sums, and pixels at the threshold of delta1 with them.
        assert means[alignment] == pytest.approx(quoted["metrics"][alignment], rel=1e-3), alignment


# --- documents ---------------------------------------------------------------------------------------------------


def test_a_table() -> None:
    table = markdown_table(["a", "b|c"], [[1, None], ["x\ny", 0.5]])
    assert table == "| a | b\\|c |\n|---|---|\n| 1 |  |\n| x y | 0.5 |"
    with pytest.raises(ValueError, match="3 cells for 2 columns"):
        markdown_table(["a", "b"], [[1, 2, 3]])
    assert filled("<!-- a --><!-- /a -->", "a", table).count("\n") == 5


def test_fill_replaces_a_block_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("a\n<!-- metrics -->\n1\n2\n<!-- /metrics -->\nb\n<!-- other -->\n3\n<!-- /other -->\n", "utf-8")
    fill(path, "metrics", r"Æ \1 \g<0>")
    first = path.read_text("utf-8")
    assert first == "a\n<!-- metrics -->\nÆ \\1 \\g<0>\n<!-- /metrics -->\nb\n<!-- other -->\n3\n<!-- /other -->\n"
    fill(path, "metrics", r"Æ \1 \g<0>")
    assert path.read_text("utf-8") == first
    fill(path, "other", "")
    assert "3" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    ["", "<!-- metrics -->", "<!-- /metrics --> <!-- metrics -->", "<!-- metrics --><!-- /metrics -->" * 2],
)
def test_fill_needs_one_block(tmp_path: Path, text: str) -> None:
    path = tmp_path / "card.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"card\.md.*metrics"):
        fill(path, "metrics", "x")
    assert path.read_text() == text
    with pytest.raises(FileNotFoundError):
        fill(tmp_path / "none.md", "metrics", "x")


def test_intervals_hold_the_mean_and_narrow_with_the_frames() -> None:
    rng = np.random.default_rng(0)

    def frames(count: int) -> list[Frame]:
        return [Frame(str(i), {"none": {"abs_rel": float(v)}}, {}) for i, v in enumerate(rng.normal(0.2, 0.05, count))]

    few, many = interval(frames(20), "abs_rel"), interval(frames(2000), "abs_rel")
    assert few[0] < 0.2 < few[1] and many[0] < 0.2 < many[1]
    # 1.96 standard errors on either side
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * 0.05 / np.sqrt(2000), rel=0.15)
    assert many[1] - many[0] < few[1] - few[0]


def test_errors_are_told_by_distance(tiny_model: DepthUNet, data: RgbdFolder) -> None:
    sample = data[0]
    target = torch.full_like(sample.depth, 1.5)
    target[..., :10] = 5.0
    sample = sample._replace(depth=target, valid=torch.ones_like(sample.valid))
    depth = target[0].numpy().copy()
    depth[:, :10] *= 1.5  # the far part is wrong by half
    frame = score(sample, Prediction(depth, sample.camera), ("none",), RULE, whole=True)
    near, far = distance_table([frame, frame])
    assert (near["distance"], far["distance"]) == ("1 to 2 m", "4 to 6 m")
    assert near["abs_rel"] == pytest.approx(0, abs=1e-6) and near["delta1"] == 1
    assert far["abs_rel"] == pytest.approx(0.5, rel=1e-5) and far["delta1"] == 0
    assert near["share"] + far["share"] == pytest.approx(1) and far["share"] == pytest.approx(10 / depth.shape[1])


def test_the_worst_come_first() -> None:
    frames = [Frame(str(i), {"none": {"abs_rel": v}}, {}) for i, v in enumerate((0.1, 0.4, 0.2))]
    assert worst_frames(frames, 2) == [1, 2]


def test_the_centre_has_its_own_camera(data: RgbdFolder) -> None:
    data.rule = ScoringRule("top half", 0.3, 10.0, (0.0, 0.5, 0.0, 1.0))
    middle = Centre(data, 0.75)
    assert torch.equal(
        middle.scored(0).valid, data.scored(0).valid[:, 9:63, 12:84]
    )  # the rule's crop is of whole frames
    assert len(middle) == len(data)
    sample, whole = middle[0], data[0]
    assert sample.depth.shape == (1, 54, 72) and torch.equal(sample.depth, whole.depth[:, 9:63, 12:84])
    assert sample.camera == whole.camera.crop(12, 9, 72, 54)
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match="share"):
            Centre(data, share)


def test_our_own_onnx_files_are_scored_in_metres(tiny_model: DepthUNet, data: RgbdFolder, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from depth_unet.engines.onnx_export import export

    export(tiny_model, tmp_path / "model.onnx")
    models = (tiny_model, open_model(str(tmp_path / "model.onnx")))
    ours, same = (mean_over_frames(evaluate(model, data)[0]) for model in models)
    assert list(same) == list(ALIGNMENTS)
    assert same["none"]["abs_rel"] == pytest.approx(ours["none"]["abs_rel"], rel=1e-3)
