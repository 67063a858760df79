"""Publishing to a hub: the real client, a real server, a real run."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_client import TOKENS, Client, Hub
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, hf_hub_download, snapshot_download
from PIL import Image
from scenes import write_rgbd

import train.__main__
from depth_unet import DEFAULT_MODEL, DepthUNet, DepthUNetConfig
from depth_unet.hub import BUILT_IN
from train import publish
from train.card import read_history
from train.documents import filled
from train.run import read_record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures with depth maps: the ground and a wall, in colours that tell them apart."""
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    for index in range(10):
        depth = np.minimum(np.linspace(6, 1, 64)[:, None], rng.uniform(2, 5)) * np.ones((1, 96))
        shade = np.stack([40 * depth, 255 - 40 * depth, rng.uniform(0, 255, depth.shape)], axis=-1)
        Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.jpg")
        Image.fromarray((depth * 1000).astype(np.uint16)).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    started = Client(hub.endpoint, tmp_path_factory.mktemp("home"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def run(client: Client, recordings: Path, tmp_path_factory: pytest.TempPathFactory, tiny_config) -> Path:
    """A short training that published its result as owner/trained."""
    start, output = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("runs") / "run"
    DepthUNet(tiny_config).save_pretrained(start)
    options = f"--model {start} --data rgbd:{recordings} --output {output} --workers 0 --publish-to owner/trained"
    code, said = client.call(command, "train", f"{options} --epochs 1 --batch-size 3 --threads 1", token="owner")
    assert code == 0, said
    return output


# These run in the client's process.


def command(which: str, options: str) -> tuple[int, str]:
    """Exit code and everything that was said."""
    main = {"train": train.__main__.main, "publish": publish.main}[which]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        code = main(options.split())
    return code, said.getvalue()


def look(repo: str, revision: str = "main") -> dict:
    """All that a hub has of a repository."""
    api = HfApi()
    card = ModelCard(Path(hf_hub_download(repo, "README.md", revision=revision)).read_text("utf-8"))
    result = card.data.eval_results[0]
    return {
        "folder": Path(snapshot_download(repo, revision=revision)),
        "commits": [commit.title for commit in api.list_repo_commits(repo, revision=revision)],
        "tags": {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).tags},
        "sha": api.model_info(repo, revision=revision).sha,
        "private": api.model_info(repo).private,
        "card": card.data.to_dict(),
        "protocol": result.dataset_args["protocol"],
        "results": {found.metric_type: found.metric_value for found in card.data.eval_results},
    }


def commits(repo: str) -> list[str]:
    return [commit.title for commit in HfApi().list_repo_commits(repo)]


def exists(repo: str) -> bool:
    return HfApi().repo_exists(repo)


def run_card(repo: str, photo: Path, folder: Path) -> list[str]:
    """Run the card's Python as a reader would, and name the files that it leaves."""
    card = Path(hf_hub_download(repo, "README.md")).read_text("utf-8")
    folder.mkdir()
    shutil.copyfile(photo, folder / "room.jpg")
    before = Path.cwd()
    os.chdir(folder)
    try:
        names: dict = {}
        with contextlib.redirect_stdout(io.StringIO()):
            for block in re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE):
                exec(block, names)
    finally:
        os.chdir(before)
    return sorted(path.name for path in folder.iterdir())


def spoil(repo: str) -> None:
    """Somebody else's commit."""
    HfApi().create_commit(repo, [CommitOperationAdd("note.txt", b"hello")], commit_message="Note")


# And these in pytest's.


def test_training_publishes_its_best_model_in_one_commit(client: Client, run: Path):
    found = client.call(look, "owner/trained")
    assert found["commits"] == ["Publish trained", "initial commit"]
    names = {path.name for path in found["folder"].iterdir()} - {".gitattributes"}
    assert names == {"README.md", "config.json", "model.safetensors", "history.csv", "curves.png"}
    for name in ("config.json", "model.safetensors"):
        assert (found["folder"] / name).read_bytes() == (run / "best" / name).read_bytes()
    assert DepthUNet.from_pretrained(found["folder"]).config == DepthUNet.from_pretrained(run / "best").config


def test_the_card_holds_what_was_measured(client: Client, run: Path):
    found = client.call(look, "owner/trained")
    row = min(read_history(run / "history.csv"), key=lambda row: row["val_abs_rel"])
    # The validation of the run and the evaluation for the card are the same frames and the same protocol.
    assert found["results"]["abs_rel"] == pytest.approx(row["val_abs_rel"], abs=2e-3)
    assert found["results"]["delta1"] == pytest.approx(row["val_delta1"], abs=5e-3)
    assert re.match(r"1 frames of recordings\d* \(split the last tenth of all\), whole frames", found["protocol"])
    assert found["card"]["pipeline_tag"] == "depth-estimation" and found["card"]["library_name"] == "depth_unet"
    assert found["card"]["license"] == "unknown"  # of somebody's recordings, nothing is known
    text = (found["folder"] / "README.md").read_text("utf-8")
    assert f"| none | {found['results']['abs_rel']:.4f} |" in text
    assert re.findall(r"<!-- (\w+) -->\n<!-- /\1 -->", text) == []  # no block is left empty
    weights = hashlib.sha256((run / "best" / "model.safetensors").read_bytes()).hexdigest()
    assert f"`{weights}`" in text and found["card"]["depth_unet"]["sha256"] == weights
    assert [origin["title"] for origin in found["card"]["depth_unet"]["trained_on"]] == [
        "recordings of its publisher",
        "the data of the model that this training continued from",  # of --model, whose folder has no card
    ]


def test_the_examples_of_the_card_run(client: Client, run: Path, recordings: Path, photo: Path, tmp_path: Path):
    options = f"--model {run} --repo owner/with-onnx --data rgbd:{recordings} --onnx"
    pytest.importorskip("onnxruntime")
    code, said = client.call(command, "publish", options, token="owner")
    assert code == 0, said
    left = client.call(run_card, "owner/with-onnx", photo, tmp_path / "reader")
    assert left == ["room.jpg", "room_color.png", "room_depth.png"]


def test_versions_branches_and_proposals(client: Client, run: Path):
    options = f"--model {run} --repo owner/versions --private"
    assert client.call(command, "publish", options + " --tag v1", token="owner")[0] == 0
    first = client.call(look, "owner/versions", token="owner")
    assert first["tags"] == {"v1": first["sha"]} and first["private"]

    code, said = client.call(command, "publish", options + " --tag v1", token="owner")
    assert code == 2 and "has a tag v1 already" in said

    code, said = client.call(command, "publish", options + " --revision trial --trained-on diode", token="owner")
    assert code == 0, said
    trial = client.call(look, "owner/versions", "trial", token="owner")
    assert trial["card"]["license"] == "mit"
    assert [origin["title"][:5] for origin in trial["card"]["depth_unet"]["trained_on"]] == ["DIODE"]
    assert client.call(look, "owner/versions", token="owner")["sha"] == first["sha"]


def test_a_stranger_may_propose(client: Client, run: Path):
    before = client.call(commits, "owner/trained")
    options = f"--model {run} --repo owner/trained --trained-on nyu"
    code, said = client.call(command, "publish", options, token="stranger")
    assert code == 2 and "no right to write to owner/trained" in said and "--create-pr" in said
    code, said = client.call(command, "publish", options + " --create-pr", token="stranger")
    assert code == 0 and "/owner/trained/discussions/1" in said
    assert client.call(commits, "owner/trained") == before
    proposal = client.call(look, "owner/trained", "refs/pr/1")
    assert proposal["card"]["license_name"] == "research-only"


def test_what_the_new_version_lacks_goes_and_what_is_not_ours_stays(client: Client, run: Path):
    pytest.importorskip("onnxruntime")
    options = f"--model {run} --repo owner/stale"
    assert client.call(command, "publish", options + " --onnx", token="owner")[0] == 0
    client.call(spoil, "owner/stale", token="owner")
    assert client.call(command, "publish", options, token="owner")[0] == 0
    names = {path.name for path in client.call(look, "owner/stale")["folder"].iterdir()}
    assert "note.txt" in names and "model.onnx" not in names


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        (None, "no token for the hub: log in"),
        ("hf_wrongSecret", "the hub refuses the token"),
        ("reader", "may only read"),
        ("stranger", "no right to write to owner/refused"),
    ],
)
def test_who_may_not_publish_reads_why(token: str | None, wanted: str, client: Client, run: Path):
    code, said = client.call(command, "publish", f"--model {run} --repo owner/refused", token=token)
    assert code == 2 and wanted in said and "Traceback" not in said
    assert not any(secret in said for secret in [*TOKENS.values(), "hf_wrongSecret"])
    assert not client.call(exists, "owner/refused", token="owner")


def test_training_finds_out_at_its_start(client: Client, recordings: Path, tmp_path: Path):
    options = f"--data rgbd:{recordings} --output {tmp_path / 'run'} --publish-to owner/refused"
    code, said = client.call(command, "train", options, token="reader")
    assert code == 2 and "may only read" in said and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("route", "how"), [("commit", "500"), ("commit", "412"), ("validate_yaml", "400")])
def test_a_failed_upload_changes_nothing_and_works_when_repeated(
    route: str, how: str, hub: Hub, client: Client, run: Path
):
    options = f"--model {run} --repo owner/broken-{route}-{how}"
    hub.break_route(route, how)
    try:
        code, said = client.call(command, "publish", options, token="owner")
    finally:
        hub.break_route()
    assert code == 2 and ("nothing was published" in said or "model card" in said) and "Traceback" not in said
    assert client.call(commits, f"owner/broken-{route}-{how}") == ["initial commit"]
    assert client.call(command, "publish", options, token="owner")[0] == 0
    assert len(client.call(commits, f"owner/broken-{route}-{how}")) == 2


def test_a_push_in_between_is_not_overwritten(hub: Hub, client: Client, run: Path):
    """The commit names the one that it was prepared for; the hub refuses it when somebody else was quicker."""
    options = f"--model {run} --repo owner/contested"
    assert client.call(command, "publish", options, token="owner")[0] == 0
    hub.break_route("preupload", "push")
    try:
        code, said = client.call(command, "publish", f"{options} --trained-on diode", token="owner")
    finally:
        hub.break_route()
    assert code == 2 and "somebody else changed owner/contested" in said
    assert client.call(commits, "owner/contested")[0] == "Somebody else's"


def test_a_commit_that_could_not_be_tagged_says_so(hub: Hub, client: Client, run: Path):
    hub.break_route("tag", "500")
    try:
        code, said = client.call(command, "publish", f"--model {run} --repo owner/tagless --tag v1", token="owner")
    finally:
        hub.break_route()
    assert code == 2 and re.search(r"`hf repos tag create owner/tagless v1 --revision \w{40}`", said)
    assert client.call(commits, "owner/tagless") == ["Publish tagless v1", "initial commit"]


def test_offline_nothing_is_tried(run: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ownersSecret")  # the tests themselves run with HF_HUB_OFFLINE
    assert publish.main(["--model", str(run), "--repo", "owner/offline"]) == 2
    assert capsys.readouterr().err == "error: HF_HUB_OFFLINE is set: unset it to publish\n"


def test_a_dry_run_shows_the_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    target = tmp_path / "dry"
    arguments = ["--model", str(run), "--repo", "me/mine", "--dry-run", str(target)]
    assert publish.main(arguments) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert DepthUNet.from_pretrained(target).config == DepthUNet.from_pretrained(run / "best").config
    assert 'from_pretrained("me/mine")' in (target / "README.md").read_text("utf-8")
    assert publish.main(arguments) == 2 and "is not empty" in capsys.readouterr().err


def test_frames_of_the_data_are_shown_only_on_request(run: Path, tmp_path: Path):
    for flags in ([], ["--samples"]):
        target = tmp_path / f"dry{len(flags)}"
        assert publish.main(["--model", str(run), "--repo", "me/mine", "--dry-run", str(target), *flags]) == 0
        assert (target / "samples.jpg").is_file() == bool(flags)
        assert ("(samples.jpg)" in (target / "README.md").read_text("utf-8")) == bool(flags)


def test_a_model_of_unknown_origin_or_worth_is_not_published(
    tmp_path: Path, tiny_model: DepthUNet, capsys: pytest.CaptureFixture
):
    tiny_model.save_pretrained(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--repo", "me/mine", "--dry-run", str(tmp_path / "dry")]
    assert publish.main(arguments) == 2 and "--trained-on" in capsys.readouterr().err
    assert publish.main([*arguments, "--trained-on", "diode"]) == 2 and "--data" in capsys.readouterr().err
    assert publish.main([*arguments, "--trained-on", "kitti"]) == 2 and "kitti" in capsys.readouterr().err


# --- what the card says of a model -------------------------------------------------------------------------------


def card_of(model: Path, folder: Path, *options: str) -> ModelCard:
    """The card of a dry run."""
    assert publish.main(["--model", str(model), "--repo", "me/mine", "--dry-run", str(folder), *options]) == 0
    return ModelCard((folder / "README.md").read_text("utf-8"))


def test_the_card_names_the_origins_of_all_data(tiny_config: DepthUNetConfig, tmp_path: Path):
    terms = {"a": "mit", "b": "research-only"}
    for name, weights in terms.items():
        write_rgbd(tmp_path / name, 6)
        origin = {"title": f"Set {name}", "url": f"{name}.example", "terms": f"terms {name}", "weights": weights}
        (tmp_path / name / "origin.json").write_text(json.dumps(origin))
    DepthUNet(tiny_config).save_pretrained(tmp_path / "start")
    (tmp_path / "start" / "README.md").write_text(
        "---\ndepth_unet:\n  trained_on:\n  - {title: Set c, url: '', terms: terms c, weights: unknown}\n---\n"
    )
    options = f"--data rgbd:{tmp_path / 'a'} --data rgbd:{tmp_path / 'b'} --model {tmp_path / 'start'} --epochs 1"
    options += f" --batch-size 4 --workers 0 --threads 1 --output {tmp_path / 'run'}"
    assert train.__main__.main(options.split()) == 0
    card = card_of(tmp_path / "run", tmp_path / "dry")
    for name in "ab":
        assert f"[Set {name}](https://{name}.example): terms {name}." in card.text
    assert "- Data: Set c: terms c." in card.text and card.data.license_name == "research-only"
    # And a card of the published folder, which holds no run, repeats them.
    again = card_of(tmp_path / "dry", tmp_path / "again", "--data", f"rgbd:{tmp_path / 'a'}")
    assert again.data.to_dict()["depth_unet"] == card.data.to_dict()["depth_unet"]


@pytest.mark.parametrize("model", [Path(DEFAULT_MODEL), Path(BUILT_IN["nano"])], ids=["default", "nano"])
def test_the_shipped_models_can_be_published_as_they_are(model: Path, recordings: Path, tmp_path: Path):
    card = card_of(model, tmp_path / "dry", "--data", f"rgbd:{recordings}")
    assert card.data.license_name == "research-only" and "NYU Depth V2" in card.text
    shipped = ModelCard((model / "README.md").read_text("utf-8"))
    assert card.data["depth_unet"] == shipped.data["depth_unet"]


def test_one_training_has_the_score_of_an_epoch(recordings: Path, tmp_path: Path):
    nano = Path(BUILT_IN["nano"])
    best = min(read_history(nano / "history.csv"), key=lambda row: row["val_abs_rel"])
    card = card_of(nano, tmp_path / "dry", "--data", f"rgbd:{recordings}")
    epoch = f"{best['epoch']:.0f}"
    assert f"The weights are those of epoch {epoch} (bold)" in card.text and f"| **{epoch}** |" in card.text
    quoted = card_of(nano, tmp_path / "quoted")
    assert quoted.data.eval_results[0].metric_value == pytest.approx(best["val_abs_rel"], abs=5e-5)


def test_a_mean_of_trainings_has_the_score_of_no_epoch(recordings: Path, tmp_path: Path):
    card = card_of(Path(DEFAULT_MODEL), tmp_path / "dry", "--data", f"rgbd:{recordings}")
    assert "the mean of those of 3 trainings" in card.text
    assert "no row of it is the score of these weights" in card.text and "| **" not in card.text
    assert publish.main(["--model", str(DEFAULT_MODEL), "--repo", "me/mine", "--dry-run", str(tmp_path / "none")]) == 2


def test_a_score_of_other_weights_is_not_quoted(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    shutil.copytree(run, tmp_path / "run")
    model = DepthUNet.from_pretrained(tmp_path / "run" / "best")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save_pretrained(tmp_path / "run" / "best")
    arguments = ["--model", str(tmp_path / "run"), "--repo", "me/mine", "--dry-run", str(tmp_path / "dry")]
    assert publish.main(arguments) == 2 and "no measurement of these weights" in capsys.readouterr().err


def test_the_starting_model_is_no_epoch(run: Path, tmp_path: Path):
    """Row 0 of the history is its score; where no epoch was better, the card says whose the weights are."""
    rows = read_history(run / "history.csv")
    assert [row["epoch"] for row in rows] == [0, 1]
    best = min(rows, key=lambda row: row["val_abs_rel"])
    text = card_of(run, tmp_path / "dry").text
    assert ("those of the starting model" in text) == (best["epoch"] == 0)
    assert ("those of epoch 1" in text) == (best["epoch"] == 1) and "epoch 0" not in text


def test_the_range_is_that_of_the_canonical_camera(run: Path, tmp_path: Path):
    text = card_of(run, tmp_path / "dry").text
    assert "For its canonical camera" in text and "scales with the focal length" in text


def test_a_run_that_was_cut_short_can_be_published(tiny_config: DepthUNetConfig, recordings: Path, tmp_path: Path):
    """Killed without warning after its first validated epoch."""
    DepthUNet(tiny_config).save_pretrained(tmp_path / "start")
    options = f"--data rgbd:{recordings} --model {tmp_path / 'start'} --epochs 1000 --batch-size 3 --workers 0"
    command = [sys.executable, "-m", "train", *options.split(), "--output", str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not read_record(tmp_path / "run").best and time.monotonic() < deadline:
            time.sleep(0.005)  # the kill must not come while the next weights replace these
        process.kill()
    card = card_of(tmp_path / "run", tmp_path / "dry")
    assert "recordings of its publisher" in card.text and "| none | 0." in card.text
    # Killed before the history was written: the record has the row of these weights.
    (tmp_path / "run" / "history.csv").unlink(missing_ok=True)
    assert "| none | 0." in card_of(tmp_path / "run", tmp_path / "again").text


@pytest.mark.parametrize("repo", ["nobody", "a/b/c", "/x"])
def test_a_repository_is_owner_and_name(repo: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert publish.main(["--model", str(tmp_path), "--repo", repo]) == 2
    assert "owner/name" in capsys.readouterr().err


def test_the_template_is_a_card_with_every_block():
    card = ModelCard((ROOT / "model_card.md").read_text("utf-8"))
    assert card.data.pipeline_tag == "depth-estimation" and card.data.library_name == "depth_unet"
    text = (ROOT / "model_card.md").read_text("utf-8")
    for block in ("model", "usage", "metrics", "training", "limits", "licence"):
        assert filled(text, block, "x") != text
