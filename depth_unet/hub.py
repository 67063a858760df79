"""Find the files of a model in a folder, or download them from a hub into its cache."""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from huggingface_hub import ModelCard, constants, errors, hf_hub_download
from yaml import YAMLError

from depth_unet.reading import LARGEST_TEXT, read_bytes

CARD = "README.md"
_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
# The error class of the HTTP client of this huggingface_hub version; interrupted downloads raise it directly.
HTTPError = errors.HfHubHTTPError.__bases__[0]
# Short names of models inside the package. A folder of such a name is "./NAME", or given as a Path.
BUILT_IN = {"nano": str(Path(__file__).parent / "pretrained-nano")}


class ModelFiles(NamedTuple):
    """The folder with a model's files.

    Args:
        folder: contains every requested file.
        name: of the folder, or owner/name on the hub.
        commit: on the hub, or None.
    """

    folder: Path
    name: str
    commit: str | None


def path_of(name: str) -> Path:
    """The path that a command line means by the name of a model on the disk."""
    return Path(BUILT_IN.get(name, name))


def find_files(
    model: str | os.PathLike,
    wanted: tuple[str, ...],
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str = "",
) -> ModelFiles:
    """Find a model's files, and download those that are not in the cache; all files are of one commit.

    Args:
        model: a folder, "owner/name[@revision]" on a hub, or a name in `BUILT_IN`.
        wanted: file names; nothing else is downloaded.
        revision: branch, tag or commit on the hub.
        token: for a private repository; by default the one that `hf auth login` stored.
        cache_dir: folder for downloads; by default that of huggingface_hub.
        local_files_only: use earlier downloads only, without a request to the hub.
        force_download: download again what is in the cache.
        subfolder: of the folder or repository, with the files.

    Raises:
        FileNotFoundError: no such folder, repository, revision or file.
        ConnectionError: the hub cannot be reached and nothing is in the cache, or it refuses the token.
        ValueError: a revision of a folder, the subfolder lies outside, or two revisions are named.
    """
    name = BUILT_IN.get(model) or os.fspath(model)
    parts = PurePosixPath(subfolder).parts
    if ".." in parts or PurePosixPath(subfolder).is_absolute():
        raise ValueError(f"the subfolder must lie in the repository, not {subfolder!r}")
    if Path(name).is_dir():
        if revision is not None:
            raise ValueError(f"{name} is a folder, which has no revision {revision!r}: leave the revision out")
        name = str(Path(name, *parts))
        for file in wanted:
            if not (Path(name) / file).is_file():
                inside = Path(name) / "best"
                hint = f"; did you mean {inside}?" if (inside / file).is_file() else ""
                raise FileNotFoundError(f"{name} contains no {file}: it is not a saved DepthUNet{hint}")
        return ModelFiles(Path(name), Path(name).resolve().name, None)
    if "@" in name:
        if revision is not None:
            raise ValueError(f"{name} names a revision, and revision={revision!r} another; give one of them")
        name, _, revision = name.partition("@")
    if not _REPO_ID.fullmatch(name):
        raise FileNotFoundError(f"{name} is neither a folder nor the owner/name of a hub repository")
    options = {
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
        "force_download": force_download,
    }
    within = "".join(f"{part}/" for part in parts)
    # Not snapshot_download: it does not report files that the repository, or offline the cache, lacks.
    folder = _download(name, within + wanted[0], revision=revision, **options).parent
    commit = folder.parents[len(parts) - 1].name if parts else folder.name
    for file in wanted[1:]:
        # The cache names this folder by its commit; a push between two downloads must not mix versions.
        _download(name, within + file, revision=commit, **options)
    return ModelFiles(folder, f"{name}/{within}".rstrip("/"), commit)


def front_matter(found: ModelFiles, **options: Any) -> dict[str, Any]:
    """The front matter of the README.md beside a model's files, or in the root of their repository; {} without one.

    Args:
        found: the files, from `find_files`.
        options: token, cache_dir and local_files_only of `find_files`.
    """
    try:
        if found.commit is None:
            card = found.folder / CARD
        else:
            card = _download("/".join(found.name.split("/")[:2]), CARD, revision=found.commit, **options)
        return ModelCard(read_bytes(card, LARGEST_TEXT).decode(), ignore_metadata_errors=True).data.to_dict()
    except (OSError, ValueError, RecursionError, YAMLError):  # a model needs no card
        return {}


def licence_in(front: dict[str, Any]) -> str:
    """The licence that the front matter of a model card states; "unknown" if it states none.

    Example:
        >>> licence_in({"license": "other", "license_name": "apple-amlr"}), licence_in({})
        ('apple-amlr', 'unknown')
    """
    licence, named = front.get("license"), front.get("license_name")
    stated = named if licence in (None, "other") and named else licence
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or "unknown")


def forbids_commercial_use(licence: str) -> bool:
    """Whether a licence's name says that the weights may not be used commercially.

    Example:
        >>> [forbids_commercial_use(name) for name in ("cc-by-nc-4.0", "apple-amlr", "apache-2.0")]
        [True, True, False]
    """
    words = re.split(r"[^a-z0-9]+", licence.lower())
    return bool({"nc", "noncommercial", "research", "amlr", "ascl", "academic"} & set(words)) or (
        "non" in words and "commercial" in words
    )


def _download(repo: str, file: str, revision: str | None, local_files_only: bool, **options) -> Path:
    where = f"{repo} at {revision}" if revision else repo
    try:
        return Path(hf_hub_download(repo, file, revision=revision, local_files_only=local_files_only, **options))
    except errors.HFValidationError:
        raise FileNotFoundError(f"{repo} is neither a folder nor the owner/name of a hub repository") from None
    except errors.LocalEntryNotFoundError as error:
        if getattr(getattr(error.__cause__, "response", None), "status_code", None) == 403:
            raise ConnectionError(f"this token may not read {repo}; give another") from error
        hub = "may not be used (offline)" if local_files_only or constants.HF_HUB_OFFLINE else "cannot be reached"
        raise ConnectionError(
            f"{where}: {file} is not in the cache and the hub {hub}; connect once, or download the repository "
            "elsewhere and give its folder"
        ) from error
    except errors.GatedRepoError as error:
        raise FileNotFoundError(f"{repo} is gated: accept its terms on its page first") from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no revision {revision!r}") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{where} contains no {file}: it is not a saved DepthUNet (pickled weights are not supported)"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"no repository {repo} on the hub, and no folder of that name; if it is private, log in with "
            "`hf auth login` or give a token"
        ) from error
    except errors.HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise ConnectionError(
                f"the hub refuses the token: log in again with `hf auth login`, or give another, to load {repo}"
            ) from error
        raise ConnectionError(f"{where}: downloading {file} failed: {error}") from error
    except (HTTPError, OSError) as error:
        raise ConnectionError(f"{where}: the download of {file} was interrupted ({error}); try again") from error
