"""Where the files of a model are: in a folder, or on a hub, from which they are fetched into its cache."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import constants, errors, hf_hub_download

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Of whichever HTTP client this version of huggingface_hub uses: connections that break off raise it as it is.
HTTPError = errors.HfHubHTTPError.__bases__[0]


class ModelFiles(NamedTuple):
    """A model's files, side by side in one folder.

    Args:
        folder: holds every file asked for.
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
    """The files of a model, downloaded if they are on a hub and not in the cache; all of one commit.

    Args:
        model: a folder, or "owner/name" on a hub.
        wanted: names of files; nothing else is downloaded.
        revision: branch, tag or commit on the hub.
        token: for a private repository; else the one that `hf auth login` stored.
        cache_dir: where downloads are kept; else huggingface_hub's own place.
        local_files_only: use what was downloaded before, ask nobody.

    Raises:
        FileNotFoundError: no such folder, repository, revision or file.
        ConnectionError: the hub cannot be reached and nothing is in the cache, or it refuses the token.
    """
    name = os.fspath(model)
    if Path(name).is_dir():
        for file in wanted:
            if not (Path(name) / file).is_file():
                inside = Path(name) / "best"
                hint = f"; did you mean {inside}?" if (inside / file).is_file() else ""
                raise FileNotFoundError(f"{name} holds no {file}: it is not a saved DepthUNet{hint}")
        return ModelFiles(Path(name), Path(name).resolve().name, None)
    if not _REPO_ID.fullmatch(name):
        raise FileNotFoundError(f"{name} is neither a folder nor the owner/name of a hub repository")
    options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
    folder = _download(name, wanted[0], revision=revision, **options).parent
    for file in wanted[1:]:
        # The cache names snapshots by their commit; a push in between must not mix two versions.
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
            raise ConnectionError(f"the hub does not let this token read {repo}") from error
        hub = "may not be asked (offline)" if local_files_only or constants.HF_HUB_OFFLINE else "cannot be reached"
        raise ConnectionError(
            f"{where}: {file} is not in the cache and the hub {hub}; connect once, or download the repository "
            "elsewhere and give its folder"
        ) from error
    except errors.GatedRepoError as error:
        raise FileNotFoundError(f"{repo} asks for its terms to be accepted first, on its page") from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo} has no revision {revision!r}") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{where} holds no {file}: it is not a saved DepthUNet (pickled weights are never read)"
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
        raise ConnectionError(f"{where}: the download of {file} broke off ({error}); try again") from error
