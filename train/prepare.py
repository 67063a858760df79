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
from filelock import FileLock, Timeout
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depth_unet import DepthSample, data
from depth_unet.data import DataOptions, DepthData, Part, open_data
from depth_unet.data.origin import distinct
from depth_unet.data.sample import NoDepthError, SampleError
from depth_unet.data.shards import FORMAT, MANIFEST, PARTS, encode_sample, index_name
from depth_unet.files import finished_or_absent, remove_unfinished, write_atomically, write_json
from depth_unet.reading import read_json

PROBLEMS = "problems.csv"
SHOWN = 10  # problems of each kind that are printed; all are in the file


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
        size: (height, width) that pictures are shrunk to, just large enough to cover it; None: full size.
        quality: of the JPEGs.
        edge_filter: of `DiodeDataset`.
        shard: samples in each shard.
        metres_per_unit: of `DataOptions`.
    """

    source: str
    size: tuple[int, int] | None = (384, 512)
    quality: int = 92
    edge_filter: bool | None = None
    shard: int = 256
    metres_per_unit: float | None = None


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


def source_state(source: DepthData, index: int) -> list[tuple[str, tuple[int, int] | None]]:
    """Names, sizes and times of the files that a sample is read from: whether it has changed since."""
    states = [(file, file.stat() if file.exists() else None) for file in source.files(index)]
    return [(file.name, state and (state.st_size, state.st_mtime_ns)) for file, state in states]


def plan(sources: dict[str, DepthData], settings: Settings) -> list[Shard]:
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

    def __init__(self, sources: dict[str, DepthData], shards: list[Shard], settings: Settings, output: Path) -> None:
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
            index = read_json(self.output / index_name(shard.name))
            if (self.output / shard.name).stat().st_size != index["bytes"] or index["fingerprint"] != shard.fingerprint:
                return None
            return Report(shard, len(index["keys"]), [Problem(*p) for p in index["problems"]], kept=True)
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # damaged: written again
            return None

    def _write(self, shard: Shard) -> Report:
        index: dict[str, list] = {"keys": [], "places": [], "problems": []}
        names: set[str] = set()
        with finished_or_absent(self.output / shard.name) as place:
            with tarfile.open(place, mode="w", format=tarfile.GNU_FORMAT) as archive:
                for item in shard.indices:
                    sample = self._sample(shard.split, item)
                    if isinstance(sample, Problem):
                        index["problems"].append(sample)
                        continue
                    # WebDataset takes what follows the first dot as the suffix.
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
            index |= {"bytes": place.stat().st_size, "fingerprint": shard.fingerprint, "parts": PARTS}
            # A shard is finished once its tar has its name: the index is written before.
            write_atomically(self.output / index_name(shard.name), json.dumps(index))
        return Report(shard, len(index["keys"]), index["problems"])

    def _sample(self, split: str, item: int) -> DepthSample | Problem:
        source = self.sources[split]
        key = source.key(item)
        try:
            missing = [name for name, state in source_state(source, item) if state is None]
            if missing:
                return Problem(split, key, "missing", ", ".join(missing))
            sample = source[item]
            found = tuple(sample.depth.shape[1:])
            if source.frame_size not in (None, found):
                return Problem(split, key, "shape", f"{found} instead of {source.frame_size}")
            sample = shrunk(sample, self.settings.size)
            if not sample.valid.any():
                return Problem(split, sample.key, "no depth", f"no valid pixel is left at {self.settings.size}")
            return sample
        except NoDepthError as error:
            return Problem(split, key, "no depth", str(error))
        except SampleError as error:
            return Problem(split, key, "corrupt", str(error))


def compare_with_meta(names: dict[str, set[str]], sources: dict[str, DepthData]) -> tuple[list[Problem], list[str]]:
    """Compare names with an official list.

    Args:
        names: the listed keys by SPLIT/PART, see `DepthData.official_names`.
        sources: by split.

    Returns:
        What is missing or not in the list, and notes on whole parts that are missing.
    """
    found: dict[str, set[str]] = {}
    for split, source in sources.items():
        for index in range(len(source)):
            found.setdefault(f"{split}/{source.part_of(index)}", set()).add(source.key(index))
    problems, notes = [], []
    for group in sorted({*names, *found}):
        split = group.partition("/")[0]
        wanted, keys = names.get(group, set()), found.get(group, set())
        if not keys:
            notes.append(f"{group} is missing as a whole: {len(wanted)} samples")
            continue
        problems += [Problem(split, key, "missing", "in the official list") for key in sorted(wanted - keys)]
        unlisted = sorted(keys - wanted)
        problems += [
            Problem(split, key, "unlisted", "not in the official list; prepared all the same") for key in unlisted
        ]
    return problems, notes


def open_sources(name: str, options: DataOptions | None = None, holdout: float = 0.1) -> dict[str, DepthData]:
    """The data sets by split that KIND:PATH names.

    Args:
        name: see `depth_unet.data.usage`.
        options: defaults for facts that the data files do not contain.
        holdout: share at the end of data without splits that becomes "val", as `train` holds it back.

    Raises:
        ValueError, FileNotFoundError: as `depth_unet.data.open_data`, or the data are prepared already.
    """
    kind, _, path = data.parse_name(name)
    if kind.is_prepared:
        raise ValueError(f"{name} is prepared already")
    sources, errors = {}, []
    for split in kind.splits_at(path):
        try:
            sources[split] = open_data(name, split, options)
        except FileNotFoundError as error:  # one split of two may be there
            errors.append(error)
    if not sources:
        raise errors[0]
    if "all" not in sources:
        return sources
    if not 0 <= holdout <= 1:
        raise ValueError(f"holdout must be a share between 0 and 1, not {holdout}")
    whole = sources["all"]
    cut = len(whole) - (min(len(whole), max(1, int(len(whole) * holdout))) if holdout else 0)
    parts = {"train": Part(whole, range(cut), "train"), "val": Part(whole, range(cut, len(whole)), "val")}
    return {split: part for split, part in parts.items() if len(part)}


def prepare(
    sources: dict[str, DepthData],
    settings: Settings,
    output: Path,
    workers: int = 0,
    known: list[Problem] | None = None,
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
        ValueError: `output` holds data prepared in another way, or another process is preparing there.
        OSError: `output` cannot be written to.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / ".lock", timeout=0):
            return _prepare(sources, settings, output, workers, known or [])
    except Timeout:
        raise ValueError(f"another process is writing to {output}: wait for it, or choose another --output") from None


def _prepare(
    sources: dict[str, DepthData], settings: Settings, output: Path, workers: int, known: list[Problem]
) -> list[Problem]:
    manifest = output / MANIFEST
    about = {"format": FORMAT, "finished": False, "settings": json.loads(json.dumps(settings._asdict()))}
    if manifest.exists():
        before = read_json(manifest)
        chosen = before.get("settings") if isinstance(before, dict) else None
        if chosen != about["settings"]:
            raise ValueError(f"{output} was prepared with {chosen}: choose another --output")
    write_json(manifest, about)
    remove_unfinished(output)
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
    problems = [*known, *(problem for report in reports for problem in report.problems)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([Problem._fields, *problems])
    write_atomically(output / PROBLEMS, table.getvalue())
    written = {split: [r for r in reports if r.shard.split == split and r.written] for split in sources}
    about |= {
        "finished": True,
        "origins": [
            origin._asdict() for origin in distinct(origin for source in sources.values() for origin in source.origins)
        ],
        "rules": {split: source.rule.name for split, source in sources.items()},
        "masks": {split: source.mask for split, source in sources.items()},
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
    made.add_argument("data", help=data.usage())
    made.add_argument("--output", type=Path, required=True, help="folder for the shards; train reads prepared:FOLDER")
    made.add_argument(
        "--size", type=_size, default=(384, 512), help="HEIGHTxWIDTH in pixels that pictures still cover, or full"
    )
    made.add_argument("--quality", type=int, default=92, help="of the JPEGs, 1 to 100")
    made.add_argument("--samples-per-shard", type=int, default=256, help="what a killed run does again, at most")
    made.add_argument(
        "--edge-filter",
        default="outdoor",
        choices=("outdoor", "all", "off"),
        help="diode: remove false depths at edges from the masks, of outdoor training samples or of all samples",
    )
    made.add_argument("--meta", type=Path, help="diode: diode_meta.json of its devkit, to find what is missing")
    made.add_argument("--holdout", type=float, default=0.1, help="rgbd: share at the end that is held back to validate")
    data.add_options(made)
    made.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; 0: none but this one")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if samples had to be left out, 2 if it could not be done."""
    options = parser().parse_args(arguments)
    edge_filter = {"outdoor": None, "all": True, "off": False}[options.edge_filter]
    try:
        if options.output.exists() and not options.output.is_dir():
            raise ValueError(f"{options.output} is a file: name a folder for --output")
        if options.meta:
            data.parse_name(options.data)[0].official_names(options.meta, "")  # refused before the data are read
        sources = open_sources(options.data, data.options_of(options, edge_filter), options.holdout)
        for source in sources.values():
            print(source.describe())
        known: list[Problem] = []
        if options.meta:
            kind, part, _ = data.parse_name(options.data)
            known, notes = compare_with_meta(kind.official_names(options.meta, part), sources)
            for note in notes:
                print(f"note: {note}")
        settings = Settings(
            options.data.partition(":")[0],
            options.size,
            options.quality,
            edge_filter,
            options.samples_per_shard,
            options.metres_per_unit,
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
