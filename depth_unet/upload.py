"""Upload a model to a hub: what `DepthUNet.push_to_hub` does."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, errors
from yaml import YAMLError

from depth_unet.files import sha256_of
from depth_unet.hub import CARD, HTTPError

if TYPE_CHECKING:
    from depth_unet.model import DepthUNet

_NEW_CARD = """---
library_name: depth_unet
pipeline_tag: depth-estimation
tags:
- depth-estimation
- safetensors
depth_unet:
  sha256: {sha256}
---

# {name}

Metric depth from one photo. Nothing has been measured for these weights; `python -m train.publish` writes a card with
numbers.

```python
from depth_unet import DepthUNet

prediction = DepthUNet.from_pretrained("{repo}").predict("room.jpg")
```
"""


def push(
    model: "DepthUNet",
    repo_id: str,
    *,
    card: str | None = None,
    commit_message: str = "",
    revision: str = "main",
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Upload a model in one commit; see `DepthUNet.push_to_hub`."""
    api = HfApi(library_name="depth_unet", token=token)
    with tempfile.TemporaryDirectory() as folder:
        weights = save_as_loaded(model, Path(folder))
        sha256 = sha256_of(weights)
        if card is not None:
            check_numbers(card, sha256, "the given card")
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision != "main":
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            head = api.model_info(repo_id, revision=revision)
            if card is None and any(sibling.rfilename == CARD for sibling in head.siblings or []):
                place = api.hf_hub_download(repo_id, CARD, revision=head.sha, cache_dir=folder)
                check_numbers(Path(place).read_text("utf-8"), sha256, f"the card of {repo_id}")
            elif card is None:
                card = _NEW_CARD.format(sha256=sha256, name=repo_id.partition("/")[2], repo=repo_id)
            files: dict[str, Any] = {"config.json": weights.with_name("config.json"), weights.name: weights}
            if card is not None:
                files[CARD] = card.encode("utf-8")
            commit = api.create_commit(
                repo_id,
                [CommitOperationAdd(name, file) for name, file in files.items()],
                commit_message=commit_message or "Upload model",
                revision=revision,
                parent_commit=head.sha,  # if somebody else uploads meanwhile, the hub refuses
            )
        except errors.HFValidationError:
            raise ValueError(f"{repo_id!r} is not the owner/name of a repository") from None
        except (errors.HfHubHTTPError, HTTPError, OSError) as error:
            # Not chained: the client's own message may contain addresses.
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = f"the hub answered {status}" if status else "the hub cannot be reached, or there is no token"
            raise ConnectionError(
                f"nothing was uploaded to {repo_id}: {reason}; log in with `hf auth login`, or give a token that may "
                "write"
            ) from None
    return commit.commit_url


def save_as_loaded(model: "DepthUNet", folder: Path) -> Path:
    """Save a model in the number format of the file that it was loaded from; the path of its weights."""
    for half in (True, False):
        model.save_pretrained(folder, half=half)
        if sha256_of(folder / "model.safetensors") == model.sha256:
            break
    return folder / "model.safetensors"


def check_numbers(card: str, sha256: str, which: str) -> None:
    """Refuse a card with numbers that were not measured with these weights.

    Raises:
        ValueError: it names other weights, or its numbers name none.
    """
    try:
        front = ModelCard(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, YAMLError) as error:
        raise ValueError(f"{which} cannot be read: {' '.join(str(error).split())}") from None
    about = front.get("depth_unet")
    named = about.get("sha256") if isinstance(about, dict) else None
    if named != sha256 and (named or "model-index" in front):
        whose = f"of other weights (SHA-256 {str(named)[:8]}...)" if named else "of unknown weights"
        raise ValueError(
            f"{which} has numbers {whose}, these are {sha256[:8]}...: measure them with `python -m train.publish`, or "
            "choose another repository"
        )
