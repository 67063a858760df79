"""`python -m train.publish`: a trained model, measured and described, as a repository on a hub."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, errors

from depth_unet import DepthUNet, data
from depth_unet.data import KINDS, DepthData
from depth_unet.data.origin import Origin, read_origin
from depth_unet.engines.onnx import ONNX_FILE
from depth_unet.engines.onnx_export import export, largest_difference
from depth_unet.files import write_atomically
from depth_unet.hub import HTTPError, path_of
from depth_unet.model import CONFIG_FILE, WEIGHTS_FILE
from train.card import Result, model_card, read_history
from train.evaluate import add_scoring_options, measure, metrics_table, open_scored
from train.outputs import check_output
from train.run import BEST, CARD, CURVES, HISTORY, RunRecord, read_record

SAMPLES = "samples.jpg"
OWNED = (CONFIG_FILE, WEIGHTS_FILE, CARD, HISTORY, CURVES, SAMPLES, ONNX_FILE)
LARGEST_DIFFERENCE = 1e-3  # relative, between torch and the ONNX file
# Data sets that know where they come from, by the names of --data.
_KNOWN = {name: kind.origins[0] for name, kind in KINDS.items() if kind.origins != DepthData.origins}


class PublishError(RuntimeError):
    """Publishing failed, wholly or in part; the message gives the reason and what to do, and never contains a token."""


class Destination(NamedTuple):
    """Where a model is published.

    Args:
        repo: owner/name.
        private: make the repository private if it does not exist yet.
        revision: branch; made if it is not there.
        create_pr: propose the change instead of making it.
        tag: name for the new commit, e.g. "v1".
    """

    repo: str
    private: bool = False
    revision: str = "main"
    create_pr: bool = False
    tag: str | None = None


def assemble(
    model: Path,
    repo: str,
    folder: Path,
    datasets: list[DepthData],
    *,
    trained_on: tuple[Origin, ...] = (),
    onnx: bool = False,
    samples: bool = False,
) -> list[Path]:
    """Write all that is published into an empty folder.

    Args:
        model: folder of a run (its best checkpoint is taken, with its history), or of a saved model.
        repo: owner/name, for the examples in the model card.
        folder: to write into; made if it is not there.
        datasets: to measure the model on. Without any, a run's own validation is quoted.
        trained_on: origins of the training data, where no record of the training lies beside the model.
        onnx: add the ONNX file.
        samples: add the run's picture of validation samples, which shows frames of its data.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: no model there.
        ValueError: damaged, or the training data or the accuracy of these weights are not known.
    """
    weights = model / BEST if (model / BEST / CONFIG_FILE).is_file() else model
    loaded = DepthUNet.from_pretrained(weights)
    record = read_record(model)
    if trained_on:
        record = record._replace(origins=trained_on)
    if not record.origins:
        raise ValueError(
            f"the training data of {model} are not recorded, and decide its licence: name them with --trained-on"
        )
    history = read_history(model / HISTORY) if (model / HISTORY).is_file() else []
    if record.best and all(row["epoch"] != record.best["epoch"] for row in history):
        history.append(record.best)  # the run was killed between its weights and its history

    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(weights / name, folder / name)
    for name in (HISTORY, CURVES):
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / name)
    best = min(history, key=lambda row: row["val_abs_rel"], default=None)
    if samples and best and (picture := model / f"epoch_{best['epoch']:03.0f}.jpg").is_file():
        shutil.copyfile(picture, folder / SAMPLES)
    if onnx:
        export(loaded, folder / ONNX_FILE)
        rows, columns = loaded.config.input_size
        found = largest_difference(loaded, folder / ONNX_FILE, [(1, rows, columns), (2, rows - 5, columns + 9)])
        if found > LARGEST_DIFFERENCE:
            raise ValueError(f"the ONNX file differs from the model by {found:.1e} of the depth, too much to publish")
    measured = [measure(loaded, dataset) for dataset in datasets]
    results = [Result(m.data, m.origins, m.protocol, m.means, m.table) for m in measured]
    results = results or [_quoted(model, best, record, loaded.sha256)]
    names = [path.name for path in folder.iterdir()]
    write_atomically(folder / CARD, model_card(loaded, repo, results, record, history, names))
    return sorted(folder / name for name in OWNED if (folder / name).is_file())


def _quoted(model: Path, best: dict[str, float] | None, record: RunRecord, sha256: str) -> Result:
    """What the run itself measured at its best epoch.

    Raises:
        ValueError: the run did not measure these weights.
    """
    if best is None or record.averaged != 1 or record.sha256 not in (None, sha256):
        raise ValueError(f"{model} has no measurement of these weights to quote: give --data to measure them on")
    means = {"none": {name: best[f"val_{name}"] for name in ("abs_rel", "rmse", "delta1", "median_ratio")}}
    protocol = "the run's own validation data, whole frames, prediction at full resolution, mean over frames"
    return Result("validation", record.origins, protocol, means, metrics_table(means))


def check_access(destination: Destination) -> None:
    """Find out early, before anything is trained or measured, whether publishing can work.

    Raises:
        PublishError: no token, one that the hub refuses or that may not write, or the hub cannot be reached.
        ValueError: the destination contradicts itself.
    """
    if destination.tag and destination.create_pr:
        raise ValueError("a proposal is not tagged: leave out --tag, and tag when it is merged")
    if destination.create_pr and destination.revision != "main":
        raise ValueError("a proposal goes to the main branch: leave out --revision")
    api = HfApi(library_name="depth_unet")
    with _explained(destination.repo):
        role = api.whoami().get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise PublishError(
                f"this token may only read; publishing {destination.repo} needs one that may write: `hf auth login`"
            )
        if destination.tag and _exists(api, destination.repo):
            tags = [ref.name for ref in api.list_repo_refs(destination.repo).tags]
            if destination.tag in tags:
                raise PublishError(f"{destination.repo} has a tag {destination.tag} already: choose another")


def upload(folder: Path, destination: Destination) -> str:
    """Publish the files of a folder made by `assemble`, in one commit: all of them or none.

    Files of an earlier publication that this one lacks (an ONNX file of older weights, say) go in the same commit.

    Returns:
        Address of the commit, or of the proposal.

    Raises:
        PublishError: nothing was published, or not tagged.
    """
    check_access(destination)
    repo, api = destination.repo, HfApi(library_name="depth_unet")
    files = {name: folder / name for name in OWNED if (folder / name).is_file()}
    with _explained(destination.repo):
        api.create_repo(repo, private=True if destination.private else None, exist_ok=True)
        if destination.revision != "main":
            api.create_branch(repo, branch=destination.revision, exist_ok=True)
        head = api.model_info(repo, revision=destination.revision)
        there = {sibling.rfilename for sibling in head.siblings or []}
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, path) for name, path in files.items()]
            + [CommitOperationDelete(name) for name in OWNED if name in there and name not in files],
            commit_message=f"Publish {repo.partition('/')[2]}" + (f" {destination.tag}" if destination.tag else ""),
            revision=destination.revision,
            create_pr=destination.create_pr,
            parent_commit=head.sha,  # if somebody else published meanwhile, the hub refuses
        )
    if destination.tag:
        try:
            api.create_tag(repo, tag=destination.tag, revision=commit.oid)
        except (HTTPError, OSError) as error:
            raise PublishError(
                f"{repo} is published as commit {commit.oid[:8]}, but not tagged; do it with "
                f"`hf repos tag create {repo} {destination.tag} --revision {commit.oid}`"
            ) from error
    return commit.pr_url or commit.commit_url


def _exists(api: HfApi, repo: str) -> bool:
    try:
        return api.repo_exists(repo)
    except errors.HfHubHTTPError:
        return False


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turns what the hub's client raises into a `PublishError` of one sentence."""
    try:
        yield
    except (errors.HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        # Not chained: the client's own message may be long and may contain addresses.
        raise PublishError(_sentence(error, repo)) from None


def _sentence(error: Exception, repo: str) -> str:
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    again = "nothing was published; run the same command again to retry"
    match error:
        case errors.LocalTokenNotFoundError():
            return "no token for the hub: log in with `hf auth login`, or set HF_TOKEN"
        case errors.HFValidationError():
            return f"{repo!r} is not the owner/name of a repository"
        case errors.OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set: unset it to publish"
        case errors.RevisionNotFoundError():
            return f"{repo} has no such branch; {again}"
        case errors.RepositoryNotFoundError():
            return f"{repo} does not exist, or this token may not see it; nothing was published"
        case errors.HfHubHTTPError() if status == 401:
            return "the hub refuses the token: log in again with `hf auth login`, or set another HF_TOKEN"
        case errors.HfHubHTTPError() if status == 403:
            return f"this token has no right to write to {repo}: use another, or propose with --create-pr"
        case errors.HfHubHTTPError() if status == 412:
            return f"somebody else changed {repo} at the same moment; {again}"
        case errors.HfHubHTTPError():
            return f"the hub answered {status} for {repo}; {again}"
        case ValueError():
            return f"the hub does not accept the model card; nothing was published: {' '.join(str(error).split())}"
    return f"the hub cannot be reached, or the connection broke off; {again}"


def publish(model: Path, destination: Destination, datasets: list[DepthData], **options) -> str:
    """`assemble` in a folder of its own, then `upload`; the address of what was published."""
    with tempfile.TemporaryDirectory() as folder:
        assemble(model, destination.repo, Path(folder), datasets, **options)
        return upload(Path(folder), destination)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 2 if nothing, or not all, was published."""
    parser = argparse.ArgumentParser(
        "python -m train.publish",
        description="Measure a model, write its card, and publish both in one commit. The token is the one of "
        "`hf auth login`, or HF_TOKEN.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", type=path_of, required=True, help="folder of a run or of a saved model")
    parser.add_argument("--repo", required=True, help="owner/name; made if it does not exist")
    parser.add_argument("--data", action="append", default=[], help=f"to measure it on: {data.usage()}")
    add_scoring_options(parser)
    parser.add_argument(
        "--trained-on",
        nargs="+",
        metavar="ORIGIN",
        help=f"for the licence, {', '.join(_KNOWN)} or an origin.json  (default: what was recorded)",
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--revision", default="main", help="branch; made if it does not exist")
    parser.add_argument("--create-pr", action="store_true", help="propose the change instead of making it")
    parser.add_argument("--tag", help="name for the new commit, e.g. v1")
    parser.add_argument("--onnx", action="store_true", help=f"add {ONNX_FILE}")
    parser.add_argument(
        "--samples", action="store_true", help="add the run's picture of validation frames: only if you may show them"
    )
    parser.add_argument(
        "--dry-run",
        type=Path,
        nargs="?",
        const=Path("runs/hub"),
        metavar="DIR",
        help="write what would be published into DIR, runs/hub by default, and ask no hub",
    )
    options = parser.parse_args(arguments)
    destination = Destination(options.repo, options.private, options.revision, options.create_pr, options.tag)
    try:
        if options.repo.count("/") != 1 or not all(options.repo.split("/")):
            raise ValueError(f"{options.repo!r} is not the owner/name of a repository")
        trained_on = tuple(
            _KNOWN[name] if name in _KNOWN else read_origin(Path(name)) for name in options.trained_on or []
        )
        if options.dry_run:
            if options.dry_run.is_dir() and any(options.dry_run.iterdir()):
                raise ValueError(f"{options.dry_run} is not empty: choose another folder")
            check_output(options.dry_run / CARD)
        datasets = [open_scored(name, options) for name in options.data]
        for opened in datasets:
            print(opened.describe())
        chosen = {"trained_on": trained_on, "onnx": options.onnx, "samples": options.samples}
        if options.dry_run:
            files = assemble(options.model, options.repo, options.dry_run, datasets, **chosen)
            print(f"{options.repo} would hold, as in {options.dry_run}:")
            for path in files:
                print(f"{path.stat().st_size:>12,}  {path.name}")
        else:
            check_access(destination)
            print(publish(options.model, destination, datasets, **chosen))
    except (PublishError, OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
