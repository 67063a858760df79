"""Downloading from a hub: the real client, a real server, real files."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_client import TOKENS, Client, Hub
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, errors, hf_hub_download, snapshot_download

from depth_unet import DepthUNet, DepthUNetConfig

CARD = "---\nlibrary_name: depth_unet\npipeline_tag: depth-estimation\n---\n\n# A model\n"
REPO = "owner/depth"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(hub: Hub, home: Path) -> Iterator[Client]:
    started = Client(hub.endpoint, home)
    yield started
    started.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> dict[str, Path]:
    """Two versions of a saved model."""
    folders = {name: tmp_path_factory.mktemp("models") / name for name in ("first", "second")}
    for folder in folders.values():
        DepthUNet(tiny_config).save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def published(client: Client, models: dict[str, Path]) -> str:
    """A repository: version 1 tagged v1, version 2 on main; returns the commit of v1."""
    return client.call(push_two_versions, REPO, models["first"], models["second"], token="owner")


# These run in the client's process.


def push(repo: str, files: dict[str, Path | bytes], **options) -> str:
    HfApi().create_repo(repo, exist_ok=True, private=options.pop("private", None))
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    return HfApi().create_commit(repo, operations, commit_message="Push", **options).oid


def push_two_versions(repo: str, first: Path, second: Path) -> str:
    commits = [
        push(repo, {"README.md": CARD.encode(), **{path.name: path for path in folder.iterdir()}})
        for folder in (first, second)
    ]
    HfApi().create_tag(repo, tag="v1", revision=commits[0])
    return commits[0]


def load(repo: str, **options) -> tuple[dict[str, np.ndarray], str, str | None]:
    model = DepthUNet.from_pretrained(repo, **options)
    return {key: value.numpy() for key, value in model.state_dict().items()}, model.name, model.revision


def refusal(repo: str, **options) -> str:
    """The name of the exception and its sentence."""
    try:
        DepthUNet.from_pretrained(repo, **options)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def round_trip(repo: str) -> dict:
    api = HfApi()
    api.create_branch(repo, branch="trial", exist_ok=True)
    push(repo, {"note.txt": b"only here"}, revision="trial")
    found = {"user": api.whoami()["name"], "card": ModelCard.load(repo).data.to_dict()}
    found["branches"] = sorted(ref.name for ref in api.list_repo_refs(repo).branches)
    found["tags"] = [ref.name for ref in api.list_repo_refs(repo).tags]
    found["commits"] = [commit.title for commit in api.list_repo_commits(repo)]
    found["trial"] = Path(hf_hub_download(repo, "note.txt", revision="trial")).read_bytes()
    found["files"] = sorted(path.name for path in Path(snapshot_download(repo, revision="v1")).iterdir())
    try:
        hf_hub_download(repo, "note.txt")
    except errors.EntryNotFoundError:
        found["absent from main"] = True
    return found


def same(tensors: dict[str, np.ndarray], folder: Path) -> bool:
    expected = DepthUNet.from_pretrained(folder).state_dict()
    return expected.keys() == tensors.keys() and all(np.array_equal(tensors[k], v) for k, v in expected.items())


# And these in pytest's.


def test_the_client_is_content_with_the_server(client: Client, published: str):
    found = client.call(round_trip, REPO, token="owner")
    assert found == {
        "user": "owner",
        "card": {"library_name": "depth_unet", "pipeline_tag": "depth-estimation"},
        "branches": ["main", "trial"],
        "tags": ["v1"],
        "commits": ["Push", "Push", "initial commit"],
        "trial": b"only here",
        "files": [".gitattributes", "README.md", "config.json", "model.safetensors"],
        "absent from main": True,
    }


def test_weights_arrive_byte_for_byte(hub: Hub, home: Path, client: Client, published: str, models: dict[str, Path]):
    tensors, name, commit = client.call(load, REPO)
    assert same(tensors, models["second"]) and name == REPO and len(commit) == 40
    cached = home / "hub" / "models--owner--depth" / "snapshots" / commit
    assert {path.name for path in cached.iterdir()} >= {"config.json", "model.safetensors"}
    assert (cached / "model.safetensors").read_bytes() == (models["second"] / "model.safetensors").read_bytes()


def test_all_files_are_of_one_commit(hub: Hub, client: Client, models: dict[str, Path], tmp_path: Path):
    first = client.call(push_two_versions, "owner/moving", models["first"], models["second"], token="owner")
    hub.break_route("resolve", "moved")
    tensors, _, commit = client.call(load, "owner/moving", cache_dir=tmp_path)
    assert same(tensors, models["second"]) and commit != first
    assert client.call(load, "owner/moving", cache_dir=tmp_path)[2] == first, "main has moved between two downloads"


@pytest.mark.parametrize("kind", ["tag", "commit"])
def test_an_older_version_by_its(kind: str, client: Client, published: str, models: dict[str, Path]):
    tensors, _, commit = client.call(load, REPO, revision="v1" if kind == "tag" else published)
    assert same(tensors, models["first"]) and commit == published


def test_a_private_repository_opens_to_its_owner_only(client: Client, models: dict[str, Path]):
    files = {path.name: path for path in models["first"].iterdir()}
    client.call(push, "owner/secret", files, private=True, token="owner")
    assert same(client.call(load, "owner/secret", token="owner")[0], models["first"])
    assert same(client.call(load, "owner/secret", token=TOKENS["reader"])[0], models["first"])


@pytest.mark.parametrize("token", [None, "stranger"])
def test_a_private_repository_looks_absent(token: str | None, hub: Hub, client: Client, models: dict[str, Path]):
    files = {path.name: path for path in models["first"].iterdir()}
    client.call(push, "owner/hidden", files, private=True, token="owner")
    said = client.call(refusal, "owner/hidden", token=token)
    assert said.startswith("FileNotFoundError: no repository owner/hidden") and "hf auth login" in said


def test_a_wrong_token_is_named_as_the_cause_and_not_shown(client: Client, published: str, tmp_path: Path):
    said = client.call(refusal, REPO, token="hf_wrongSecret", cache_dir=tmp_path)
    assert said.startswith("ConnectionError: the hub refuses the token") and "wrongSecret" not in said


def test_no_such_repository_or_revision(client: Client, published: str):
    assert "no repository owner/nothing on the hub" in client.call(refusal, "owner/nothing")
    assert client.call(refusal, REPO, revision="v9") == f"FileNotFoundError: {REPO} has no revision 'v9'"


def changed(config: DepthUNetConfig, **changes) -> bytes:
    return json.dumps({**config.to_dict(), **changes}).encode()


def test_only_whole_models_of_this_package_are_taken(
    client: Client, models: dict[str, Path], tiny_config: DepthUNetConfig
):
    weights = models["first"] / "model.safetensors"
    config = changed(tiny_config)
    half = weights.read_bytes()[: weights.stat().st_size // 2]
    cases = {
        "other": ({"config.json": b'{"model_type": "dpt"}', "model.safetensors": weights}, "not a depth_unet"),
        "pickle": ({"config.json": config, "pytorch_model.bin": b"pickle"}, "contains no model.safetensors"),
        "bare": ({"model.safetensors": weights}, "contains no config.json"),
        "keys": ({"config.json": changed(tiny_config, wings=2), "model.safetensors": weights}, "keys ['wings']"),
        "newer": ({"config.json": changed(tiny_config, format_version=2), "model.safetensors": weights}, "upgrade"),
        "half": ({"config.json": config, "model.safetensors": half}, "damaged or not whole"),
        "shape": (
            {"config.json": changed(tiny_config, decoder_channels=[8, 8, 8, 8, 4]), "model.safetensors": weights},
            "of another shape",
        ),
    }
    for name, (files, wanted) in cases.items():
        client.call(push, f"owner/{name}", files, token="owner")
        said = client.call(refusal, f"owner/{name}")
        assert wanted in said and said.startswith(("ValueError", "FileNotFoundError")), name


def test_a_download_that_breaks_off_is_taken_up_again(
    hub: Hub, client: Client, published: str, models: dict[str, Path], tmp_path: Path
):
    hub.break_route("resolve", "cut")
    assert same(client.call(load, REPO, cache_dir=tmp_path)[0], models["second"])


def test_half_a_file_is_no_file(hub: Hub, client: Client, published: str, models: dict[str, Path], tmp_path: Path):
    hub.break_route("resolve", "short")
    try:
        said = client.call(refusal, REPO, cache_dir=tmp_path)
    finally:
        hub.break_route()
    assert said.startswith("ConnectionError") and "interrupted" in said and "try again" in said
    assert same(client.call(load, REPO, cache_dir=tmp_path)[0], models["second"])


def test_a_damaged_cache_is_mended_by_following_the_advice(
    client: Client, published: str, models: dict[str, Path], tmp_path: Path
):
    _, _, commit = client.call(load, REPO, cache_dir=tmp_path)
    (link,) = tmp_path.rglob(f"{commit}/model.safetensors")
    link.resolve().write_bytes(b"cut off")
    said = client.call(refusal, REPO, cache_dir=tmp_path)
    assert said.startswith("ValueError") and f"delete {link.resolve()}" in said
    link.resolve().unlink()
    assert same(client.call(load, REPO, cache_dir=tmp_path)[0], models["second"])


def test_the_download_command_gives_a_folder_that_loads(
    client: Client, published: str, models: dict[str, Path], tmp_path: Path
):
    command = [Path(sys.executable).with_name("hf"), "download", REPO, "--revision", "v1", "--local-dir", tmp_path]
    client.call(subprocess.run, command, check=True, capture_output=True)
    model = DepthUNet.from_pretrained(tmp_path)
    assert same({key: value.numpy() for key, value in model.state_dict().items()}, models["first"])


@pytest.fixture(scope="module")
def cache(client: Client, published: str, home: Path) -> Path:
    """The cache after both versions were loaded."""
    client.call(load, REPO)
    client.call(load, REPO, revision="v1")
    return home / "hub"


def test_offline_the_cache_is_enough(cache: Path, published: str, models: dict[str, Path]):
    # The tests themselves run with HF_HUB_OFFLINE.
    for revision, version in ((None, "second"), ("v1", "first"), (published, "first")):
        model = DepthUNet.from_pretrained(REPO, revision=revision, cache_dir=cache)
        assert same({key: value.numpy() for key, value in model.state_dict().items()}, models[version])
    with pytest.raises(ConnectionError, match=r"config.json is not in the cache and the hub may not be used"):
        DepthUNet.from_pretrained("owner/unseen", cache_dir=cache)


def test_a_hub_that_is_gone_does_not_matter_to_what_is_cached(cache: Path, home: Path, models: dict[str, Path]):
    client = Client("http://127.0.0.1:9", home)  # nothing listens there
    try:
        assert same(client.call(load, REPO)[0], models["second"])
    finally:
        client.close()
