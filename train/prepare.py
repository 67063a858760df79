"""`python -m train.prepare`: check a data set, and write it small and quick to read."""

import argparse
import csv
import hashlib
import io
import json
import os
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from tqdm import tqdm

from depth_unet import DepthSample, DiodeDataset, RgbdFolder
from depth_unet.data.diode import CAMERA, SPLITS
from depth_unet.data.nyu import NyuDataset
from depth_unet.data.sample import NoDepthError, SampleError
from depth_unet.data.shards import FORMAT, MANIFEST, PARTS, encode_sample, index_name
from depth_unet.files import write_atomically, write_json
from train.card import sources_of
from train.data import HELP, split_name

PROBLEMS = "problems.csv"
SHOWN = 10  # problems of each kind that are printed; all are in the file
# As the authors publish them beside the downloads.
DIODE_MD5 = {"train.tar.gz": "3a94632398fe1d002d89f11743f748b1", "val.tar.gz": "5c895d09201b88973c8fe4552a67dd85"}


class Problem(NamedTuple):
    """A sample that was left out.

    Args:
        split: "train", "val" or "test".
        key: the sample's name.
        kind: "missing", "corrupt", "shape", "no depth", or "unlisted" for one that is prepared all the same.
        text: what was found.
    """

    split: str
    key: str
    kind: str
    text: str


class Settings(NamedTuple):
    """What decides the contents of shards.

    Args:
        source: kind of data, and the part of it.
        size: (height, width) that pictures are shrunk to, just large enough to cover it; None: left as they are.
        quality: of the JPEGs.
        edge_filter: of `DiodeDataset`.
        shard: samples in each shard.
    """

    source: str
    size: tuple[int, int] | None = (384, 512)
    quality: int = 92
    edge_filter: bool | None = None
    shard: int = 256


class Shard(NamedTuple):
    """A shard to be written.

    Args:
        split: of its samples.
        name: of its file.
        indices: of its samples in the source.
        fingerprint: of settings and source files; a shard with another one is out of date.
    """

    split: str
    name: str
    indices: range
    fingerprint: str


class Report(NamedTuple):
    """What became of a shard.

    Args:
        shard: the plan.
        written: number of samples in it.
        problems: the others.
        kept: it was there already.
        failure: why it could not be written, if so.
    """

    shard: Shard
    written: int
    problems: list[Problem]
    kept: bool = False
    failure: str = ""


def shrunk(sample: DepthSample, size: tuple[int, int] | None) -> DepthSample:
    """The sample in its own shape, just large enough to cover `size`, never enlarged."""
    height, width = sample.depth.shape[-2:]
    scale = max(size[0] / height, size[1] / width) if size else 1.0
    return sample if scale >= 1 else sample.resize(round(height * scale), round(width * scale))


def source_state(source: Dataset, index: int) -> list:
    """Names, sizes and times of the files that a sample is read from: whether it has changed since."""
    if isinstance(source, Subset):
        return source_state(source.dataset, source.indices[index])
    if isinstance(source, DiodeDataset):
        picture = source.pictures[index]
        files = [picture, *(picture.with_name(picture.stem + end) for end in ("_depth.npy", "_depth_mask.npy"))]
    elif isinstance(source, RgbdFolder):
        files = source.paths(index)
    else:
        files = [source.path]
    states = [(file.stat() if file.exists() else None) for file in files]
    return [
        (file.name, state and (state.st_size, state.st_mtime_ns)) for file, state in zip(files, states, strict=True)
    ]


def plan(sources: dict[str, Dataset], settings: Settings) -> list[Shard]:
    """The shards of all splits, in order."""
    shards = []
    for split, source in sources.items():
        for number, start in enumerate(range(0, len(source), settings.shard)):
            indices = range(start, min(start + settings.shard, len(source)))
            state = [settings, [source_state(source, index) for index in indices]]
            fingerprint = hashlib.sha256(json.dumps(state).encode()).hexdigest()
            shards.append(Shard(split, f"{split}-{number:05d}.tar", indices, fingerprint))
    return shards


class Shards(Dataset):
    """Writes shard number `i` when asked for item `i`, so that a DataLoader's processes share the work.

    Args:
        sources: data sets of `DepthSample` by split.
        shards: the plan.
        settings: how to write.
        output: folder.
    """

    def __init__(self, sources: dict[str, Dataset], shards: list[Shard], settings: Settings, output: Path) -> None:
        self.sources, self.shards, self.settings, self.output = sources, shards, settings, output

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.shards)

    def __getitem__(self, number: int) -> Report:
        """Write the shard, unless it is there and up to date."""
        shard = self.shards[number]
        kept = self._finished(shard)
        if kept is not None:
            return kept
        try:
            return self._write(shard)
        except OSError as error:
            return Report(shard, 0, [], failure=error.strerror or str(error))

    def _finished(self, shard: Shard) -> Report | None:
        try:
            index = json.loads((self.output / index_name(shard.name)).read_text())
            if (self.output / shard.name).stat().st_size != index["bytes"]:
                return None
        except (FileNotFoundError, ValueError):
            return None
        if index["fingerprint"] != shard.fingerprint:
            return None
        return Report(shard, len(index["keys"]), [Problem(*p) for p in index["problems"]], kept=True)

    def _write(self, shard: Shard) -> Report:
        index: dict[str, list] = {"keys": [], "places": [], "problems": []}
        names: set[str] = set()
        # The process id keeps apart what a killed run's last process may still be writing.
        unfinished = self.output / f"{shard.name}.{os.getpid()}.part"
        try:
            with unfinished.open("wb") as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
                    for item in shard.indices:
                        sample = self._sample(shard.split, item)
                        if isinstance(sample, Problem):
                            index["problems"].append(sample)
                            continue
                        # WebDataset takes what follows the first dot for the ending.
                        name = sample.key.replace(".", "_")
                        name = f"{name}_{item}" if name in names else name
                        names.add(name)
                        places = []
                        for part, content in encode_sample(sample, self.settings.quality).items():
                            member = tarfile.TarInfo(f"{name}.{part}")
                            member.size = len(content)
                            archive.addfile(member, io.BytesIO(content))
                            padded = -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                            places += [archive.offset - padded, len(content)]
                        index["keys"].append(sample.key)
                        index["places"].append(places)
                file.flush()
                os.fsync(file.fileno())
            index |= {"bytes": unfinished.stat().st_size, "fingerprint": shard.fingerprint, "parts": PARTS}
            # A shard counts by its tar: the index first, so that there is never one without the other.
            write_atomically(self.output / index_name(shard.name), json.dumps(index))
            unfinished.replace(self.output / shard.name)
        finally:
            unfinished.unlink(missing_ok=True)
        return Report(shard, len(index["keys"]), index["problems"])

    def _sample(self, split: str, item: int) -> DepthSample | Problem:
        source = self.sources[split]
        key = source.pictures[item].stem if isinstance(source, DiodeDataset) else f"sample {item}"
        try:
            missing = [name for name, state in source_state(source, item) if state is None]
            if missing:
                return Problem(split, key, "missing", ", ".join(missing))
            sample = source[item]
            found = tuple(sample.depth.shape[1:])
            if isinstance(source, DiodeDataset) and found != (CAMERA.height, CAMERA.width):
                return Problem(split, key, "shape", f"{found} instead of {(CAMERA.height, CAMERA.width)}")
            sample = shrunk(sample, self.settings.size)
            if not sample.valid.any():
                return Problem(split, sample.key, "no depth", f"no valid pixel is left at {self.settings.size}")
            return sample
        except NoDepthError as error:
            return Problem(split, key, "no depth", str(error))
        except SampleError as error:
            return Problem(split, key, "corrupt", str(error))


def compare_with_meta(meta: Path, sources: dict[str, DiodeDataset], part: str) -> tuple[list[Problem], list[str]]:
    """Compare names with the official list.

    Args:
        meta: diode_meta.json of DIODE's devkit.
        sources: by split.
        part: "indoors", "outdoor" or "all".

    Returns:
        What is missing or not in the list, and notes on whole parts that are not there.

    Raises:
        ValueError: the file is not such a list.
    """
    try:
        listed = {
            (split, kind): {name for scans in scenes.values() for names in scans.values() for name in names}
            for split, kinds in json.loads(meta.read_text()).items()
            for kind, scenes in kinds.items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{meta} is not DIODE's list of names: {error}") from error
    problems, notes = [], []
    for (split, kind), wanted in sorted(listed.items()):
        if part not in (kind, "all"):
            continue
        pictures = sources[split].pictures if split in sources else []
        found = {path.stem for path in pictures if path.parts[-4] == kind}
        if not found:
            notes.append(f"{split}/{kind} is not there at all: {len(wanted)} samples")
            continue
        problems += [Problem(split, key, "missing", "in the official list") for key in sorted(wanted - found)]
        problems += [Problem(split, key, "unlisted", "not in the official list") for key in sorted(found - wanted)]
    return problems, notes


def check_md5(path: Path) -> None:
    """Compare a download of DIODE with the published sum, with a progress bar.

    Raises:
        ValueError: it differs, or the file's name is none of `DIODE_MD5`.
    """
    if path.name not in DIODE_MD5:
        raise ValueError(f"only {' and '.join(DIODE_MD5)} have published sums, not {path.name}")
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file, tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True) as bar:
        while block := file.read(1 << 22):
            digest.update(block)
            bar.update(len(block))
    if digest.hexdigest() != DIODE_MD5[path.name]:
        raise ValueError(f"{path.name} has MD5 {digest.hexdigest()}, not {DIODE_MD5[path.name]}: download it again")


def open_sources(name: str, edge_filter: bool | None = None, holdout: float = 0.1) -> dict[str, Dataset]:
    """The data sets by split that KIND:PATH names.

    Args:
        name: see `train.data.HELP`.
        edge_filter: of `DiodeDataset`.
        holdout: share at the end of an rgbd folder that becomes "val", as in `train.data.open_split`.

    Raises:
        ValueError, FileNotFoundError: as `train.data.open_data`, or the kind is prepared already.
    """
    kind, part, path = split_name(name)
    if kind == "rgbd":
        if not 0 <= holdout <= 1:
            raise ValueError(f"holdout must be a share between 0 and 1, not {holdout}")
        whole = RgbdFolder(path, filled=True)
        held = min(len(whole), max(1, int(len(whole) * holdout))) if holdout else 0
        cut = len(whole) - held
        parts = {"train": Subset(whole, range(cut)), "val": Subset(RgbdFolder(path), range(cut, len(whole)))}
        return {split: part for split, part in parts.items() if len(part)}
    if kind == "nyu":
        return {split: NyuDataset(path, split, filled=split == "train") for split in ("train", "test")}
    if kind != "diode":
        raise ValueError(f"{kind} data need no preparing")
    sources, errors = {}, []
    for split in SPLITS:
        try:
            sources[split] = DiodeDataset(path, split, part or "all", edge_filter)
        except FileNotFoundError as error:
            errors.append(error)
    if not sources:
        raise errors[0]
    return sources


def prepare(
    sources: dict[str, Dataset], settings: Settings, output: Path, workers: int = 0, known: list[Problem] | None = None
) -> list[Problem]:
    """Write the shards that are not there yet, then the manifest that declares the whole finished.

    Args:
        sources: data sets of `DepthSample` by split.
        settings: how to write.
        output: folder; made if it is not there.
        workers: processes; 0 does it in this one.
        known: problems found before, to be listed with the others.

    Returns:
        The samples that were left out, and those of `known`.

    Raises:
        ValueError: `output` holds data prepared in another way.
        OSError: `output` cannot be written to.
    """
    output.mkdir(parents=True, exist_ok=True)
    manifest = output / MANIFEST
    about = {"format": FORMAT, "finished": False, "settings": json.loads(json.dumps(settings._asdict()))}
    if manifest.exists():
        before = json.loads(manifest.read_text())
        if before.get("settings") != about["settings"]:
            raise ValueError(f"{output} was prepared with {before.get('settings')}: choose another --output")
    write_json(manifest, about)
    for rest in output.glob("*.part"):
        rest.unlink(missing_ok=True)
    shards = plan(sources, settings)
    writer = Shards(sources, shards, settings, output)
    loader = DataLoader(writer, batch_size=None, num_workers=workers, worker_init_fn=_one_thread)
    reports = []
    with tqdm(total=sum(map(len, sources.values())), desc="prepare", unit="sample") as bar:
        for report in loader:
            if report.failure:
                raise OSError(f"{output / report.shard.name} cannot be written: {report.failure}")
            reports.append(report)
            bar.update(len(report.shard.indices))
            if report.kept:
                bar.initial += len(report.shard.indices)  # the rate shown is that of the work done now
    names = {name for shard in shards for name in (shard.name, index_name(shard.name))}
    for path in output.iterdir():  # of a longer list, before files went away from the source
        if re.fullmatch(r"(train|val|test)-\d{5}\.(tar|json)", path.name) and path.name not in names:
            path.unlink()
    problems = [*(known or []), *(problem for report in reports for problem in report.problems)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([Problem._fields, *problems])
    write_atomically(output / PROBLEMS, table.getvalue())
    written = {split: [r for r in reports if r.shard.split == split and r.written] for split in sources}
    about |= {
        "finished": True,
        "origin": sources_of(ConcatDataset(sources.values())),
        "splits": {split: [r.shard.name for r in of] for split, of in written.items() if of},
        "samples": {split: sum(r.written for r in of) for split, of in written.items()},
        "problems": dict(Counter(problem.kind for problem in problems)),
    }
    write_json(manifest, about)
    return problems


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def summary(problems: list[Problem]) -> Iterator[str]:
    """Lines that tell how many of each kind there are, and the first few by name."""
    for kind, count in Counter(problem.kind for problem in problems).items():
        yield f"{count} {kind}:"
        chosen = [problem for problem in problems if problem.kind == kind]
        yield from (f"  {p.split} {p.key}: {p.text}" for p in chosen[:SHOWN])
        if count > SHOWN:
            yield f"  ... and {count - SHOWN} more in {PROBLEMS}"


def _size(text: str) -> tuple[int, int] | None:
    if text == "full":
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in match.groups():
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, e.g. 384x512, or full, not {text!r}")
    return int(match[1]), int(match[2])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "python -m train.prepare", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("data", help=HELP)
    made.add_argument("--output", type=Path, required=True, help="folder for the shards; train reads prepared:FOLDER")
    made.add_argument(
        "--size", type=_size, default=(384, 512), help="HEIGHTxWIDTH in pixels that pictures still cover, or full"
    )
    made.add_argument("--quality", type=int, default=92, help="of the JPEGs, 1 to 100")
    made.add_argument("--samples-per-shard", type=int, default=256, help="what a killed run does again, at most")
    made.add_argument(
        "--edge-filter", default="outdoor", choices=("outdoor", "all", "off"), help="DIODE: drop false depths at edges"
    )
    made.add_argument("--meta", type=Path, help="DIODE: diode_meta.json of its devkit, to find what is missing")
    made.add_argument("--tar", type=Path, action="append", default=[], help="DIODE: a download whose MD5 is compared")
    made.add_argument("--holdout", type=float, default=0.1, help="rgbd: share at the end that is set aside to validate")
    made.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; 0: none but this one")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if samples had to be left out, 2 if it could not be done."""
    options = parser().parse_args(arguments)
    edge_filter = {"outdoor": None, "all": True, "off": False}[options.edge_filter]
    try:
        for path in options.tar:
            check_md5(path)
        kind, part, _ = split_name(options.data)
        sources = open_sources(options.data, edge_filter, options.holdout)
        known: list[Problem] = []
        if options.meta:
            if kind != "diode":
                raise ValueError("--meta is for DIODE")
            known, notes = compare_with_meta(options.meta, sources, part or "all")
            for note in notes:
                print(f"note: {note}")
        settings = Settings(
            options.data.partition(":")[0], options.size, options.quality, edge_filter, options.samples_per_shard
        )
        problems = prepare(sources, settings, options.output, options.workers, known)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    for line in summary(problems):
        print(line)
    written = json.loads((options.output / MANIFEST).read_text())["samples"]
    print(f"prepared {', '.join(f'{count} {split}' for split, count in written.items())} in {options.output}")
    return 1 if any(problem.kind != "unlisted" for problem in problems) else 0


if __name__ == "__main__":
    sys.exit(main())
