"""`push_to_hub`, subfolders and fresh downloads: the real client, a real server, real files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_client import Client, Hub
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, hf_hub_download

from depth_unet import DepthUNet, DepthUNetConfig, open_model
from depth_unet.files import sha256_of
from depth_unet.hub import forbids_commercial_use, licence_in


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    started = Client(hub.endpoint, tmp_path_factory.mktemp("home"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_config: DepthUNetConfig) -> dict[str, Path]:
    """Two saved models, one in half precision."""
    folders = {name: tmp_path_factory.mktemp("models") / name for name in ("half", "full")}
    for name, folder in folders.items():
        DepthUNet(tiny_config).save_pretrained(folder, half=name == "half")
    return folders


# These run in the client's process.


def push(folder: Path, repo: str, **options) -> str:
    return DepthUNet.from_pretrained(folder).push_to_hub(repo, **options)


def refusal(folder: Path, repo: str, **options) -> str:
    try:
        push(folder, repo, **options)
    except (ValueError, ConnectionError) as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def loaded(repo: str, **options) -> tuple[str, str | None, str, str | None]:
    model = open_model(repo, **options)
    return model.name, model.sha256, model.licence, model.revision


def card(repo: str, revision: str = "main") -> ModelCard:
    return ModelCard(Path(hf_hub_download(repo, "README.md", revision=revision)).read_text("utf-8"))


def commit(repo: str, files: dict[str, bytes | Path]) -> str:
    HfApi().create_repo(repo, exist_ok=True)
    return HfApi().create_commit(repo, [CommitOperationAdd(*file) for file in files.items()], commit_message="x").oid


def damage_and_load(repo: str) -> tuple[str, str | None]:
    """Load, damage what is in the cache, load again with and without a fresh download."""
    cached = Path(hf_hub_download(repo, "model.safetensors")).resolve()
    content = cached.read_bytes()
    cached.write_bytes(content[:-10])
    try:
        DepthUNet.from_pretrained(repo)
        said = "loaded"
    except ValueError as error:
        said = str(error)
    return said, DepthUNet.from_pretrained(repo, force_download=True).sha256


@pytest.mark.parametrize("name", ["half", "full"])
def test_a_pushed_model_is_the_same_file(name: str, client: Client, models: dict[str, Path]) -> None:
    repo = f"owner/{name}"
    address = client.call(push, models[name], repo, token="owner")
    sha256 = sha256_of(models[name] / "model.safetensors")
    assert repo in address and client.call(loaded, repo)[:3] == (repo, sha256, "unknown")
    written = client.call(card, repo)
    assert written.data.to_dict()["depth_unet"] == {"sha256": sha256} and f'from_pretrained("{repo}")' in written.text
    client.call(push, models[name], repo, token="owner")  # its own card does not refuse it


def test_numbers_of_other_weights_are_refused(client: Client, models: dict[str, Path]) -> None:
    client.call(push, models["half"], "owner/taken", token="owner")
    before = client.call(loaded, "owner/taken")
    said = client.call(refusal, models["full"], "owner/taken", token="owner")
    assert said.startswith("ValueError: the card of owner/taken has numbers of other weights")
    assert client.call(loaded, "owner/taken") == before
    sha256 = sha256_of(models["full"] / "model.safetensors")
    right = f"---\nlicense: mit\ndepth_unet:\n  sha256: {sha256}\n---\n# Measured\n"
    wrong = "---\nmodel-index:\n- name: x\n  results: []\n---\n# Measured\n"
    said = client.call(refusal, models["full"], "owner/taken", card=wrong, token="owner")
    assert "the given card has numbers of unknown weights" in said
    client.call(push, models["full"], "owner/taken", card=right, token="owner")
    assert client.call(loaded, "owner/taken")[1:3] == (sha256, "mit")


def test_a_changed_model_is_another(client: Client, models: dict[str, Path], tmp_path: Path) -> None:
    model = DepthUNet.from_pretrained(models["full"])
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save_pretrained(tmp_path)
    client.call(push, models["full"], "owner/changed", token="owner")
    assert "other weights" in client.call(refusal, tmp_path, "owner/changed", token="owner")


def test_who_may_not_push(client: Client, models: dict[str, Path], hub: Hub) -> None:
    for repo, token, message in (
        ("owner/mine", "stranger", "ConnectionError: nothing was uploaded to owner/mine"),
        ("owner/mine", None, "ConnectionError: nothing was uploaded"),
        ("no/such/name", "owner", "ValueError: 'no/such/name' is not the owner/name"),
    ):
        said = client.call(refusal, models["full"], repo, token=token)
        assert said.startswith(message) and "hf_" not in said and hub.endpoint not in said


def test_a_model_in_a_subfolder(client: Client, models: dict[str, Path]) -> None:
    files = {f"{name}/{path.name}": path for name in models for path in models[name].iterdir()}
    oid = client.call(
        commit, "owner/several", {**files, "README.md": b"---\nlicense: apache-2.0\n---\n"}, token="owner"
    )
    for name, folder in models.items():
        found = client.call(loaded, f"owner/several@{oid}", subfolder=name)
        assert found == (f"owner/several/{name}", sha256_of(folder / "model.safetensors"), "apache-2.0", oid)


def test_a_fresh_download_replaces_a_damaged_one(client: Client, models: dict[str, Path]) -> None:
    client.call(push, models["full"], "owner/fresh", token="owner")
    client.call(loaded, "owner/fresh")
    said, sha256 = client.call(damage_and_load, "owner/fresh")
    assert "damaged or not whole" in said and sha256 == sha256_of(models["full"] / "model.safetensors")


def test_a_transformers_model_from_a_hub(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the optional package transformers is not installed")
    from depth_models import save_model

    files = {path.name: path for path in save_model("glpn", tmp_path / "glpn").iterdir()}
    oid = client.call(commit, "owner/glpn-nyu", files, token="owner")
    sha256 = sha256_of(tmp_path / "glpn" / "model.safetensors")
    assert client.call(loaded, f"owner/glpn-nyu@{oid}") == ("owner/glpn-nyu", sha256, "unknown", oid)
    assert client.call(focal, "owner/glpn-nyu") == pytest.approx(0.8107)


def focal(repo: str) -> float:
    return open_model(repo).kind.focal


@pytest.mark.parametrize(
    ("front", "licence", "forbids"),
    [
        ({"license": "apache-2.0"}, "apache-2.0", False),
        ({"license": "cc-by-nc-sa-4.0"}, "cc-by-nc-sa-4.0", True),
        ({"license": "other", "license_name": "apple-ascl"}, "apple-ascl", True),
        ({"license": "other", "license_name": "my-non-commercial-terms"}, "my-non-commercial-terms", True),
        ({"license": "other", "license_name": "research-only"}, "research-only", True),
        ({"license": "other"}, "other", False),
        ({"license": ["mit", "cc-by-nc-4.0"]}, "mit, cc-by-nc-4.0", True),
        ({"license": None}, "unknown", False),
        ({}, "unknown", False),
        ({"license": "bsd-3-clause-clear"}, "bsd-3-clause-clear", False),
    ],
)
def test_licences(front: dict, licence: str, forbids: bool) -> None:
    assert licence_in(front) == licence and forbids_commercial_use(licence) == forbids


@pytest.mark.parametrize(
    "text", ["", "no front matter", "---\n: [\n---\n", "---\n- a list\n---\n", "---\nlicense: {}\n"]
)
def test_an_odd_card_is_no_obstacle(text: str, models: dict[str, Path]) -> None:
    (models["full"] / "README.md").write_text(text, "utf-8")
    assert open_model(models["full"]).licence == "unknown"
    (models["full"] / "README.md").unlink()
