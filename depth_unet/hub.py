"""Find the files of a model in a folder, or download them from a hub into its cache."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import constants, errors, hf_hub_download

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
# The error class of the HTTP client of this huggingface_hub version; interrupted downloads raise it directly.
HTTPError = errors.HfHubHTTPError.__bases__[0]


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


def find_files(
    model: str | os.PathLike,
    wanted: tuple[str, ...],
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
) -> ModelFiles:
    """Find a model's files, and download those that are not in the cache; all files are of one commit.

    Args:
        model: a folder, or "owner/name" on a hub.
        wanted: file names; nothing else is downloaded.
        revision: branch, tag or commit on the hub.
        token: for a private repository; by default the one that `hf auth login` stored.
        cache_dir: folder for downloads; by default that of huggingface_hub.
        local_files_only: use earlier downloads only, without a request to the hub.

    Raises:
        FileNotFoundError: no such folder, repository, revision or file.
        ValueError: a revision of a folder.
        ConnectionError: the hub cannot be reached and nothing is in the cache, or it refuses the token.
    """
    name = os.fspath(model)
    if Path(name).is_dir():
        if revision is not None:
            raise ValueError(f"{name} is a folder, which has no revision {revision!r}; leave the revision out")
        for file in wanted:
            if not (Path(name) / file).is_file():
                inside = Path(name) / "best"
                hint = f"; did you mean {inside}?" if (inside / file).is_file() else ""
                raise FileNotFoundError(f"{name} contains no {file}: it is not a saved DepthUNet{hint}")
        return ModelFiles(Path(name), Path(name).resolve().name, None)
    if not _REPO_ID.fullmatch(name):
        raise FileNotFoundError(f"{name} is neither a folder nor the owner/name of a hub repository")
    options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
    # Not snapshot_download: it does not report files that the repository, or offline the cache, lacks.
    folder = _download(name, wanted[0], revision=revision, **options).parent
    for file in wanted[1:]:
        # The cache names this folder by its commit; a push between two downloads must not mix versions.
        _download(name, file, revision=folder.name, **options)
    return ModelFiles(folder, name, folder.name)


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
