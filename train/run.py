"""The folder of a training run: names of its files, its lock, and run.json, the record of the run."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import SafetensorError, safe_open

from depth_unet import DepthUNet
from depth_unet.data import DepthData, Joined
from depth_unet.data.origin import EARLIER_MODEL, Origin, distinct
from depth_unet.data.shards import ORIGINS_OF_0_1
from depth_unet.files import remove_unfinished, sha256_of, write_atomically, write_json
from depth_unet.model import WEIGHTS_FILE
from depth_unet.reading import LARGEST_TEXT, parse_json, read_bytes

LAST, BEST, RECORD, HISTORY, CURVES = "last.safetensors", "best", "run.json", "history.csv", "curves.png"
CARD = "README.md"  # of a published model
CARD_KEY = "depth_unet"  # of the front matter of a card: what `RunRecord.for_card` returns
_LOCK = ".lock"


class TrainingError(RuntimeError):
    """Training cannot continue; the message says why and what to do."""


class SetRecord(NamedTuple):
    """One data set of a run.

    Args:
        name: KIND:PATH.
        split: name of the split.
        samples: number of samples.
        fingerprint: SHA-256 of the sample keys in order.
    """

    name: str
    split: str
    samples: int
    fingerprint: str

    @classmethod
    def of(cls, data: DepthData) -> "SetRecord":
        """The record of a data set."""
        return cls(data.name, data.split, len(data), data.fingerprint())


class RunRecord(NamedTuple):
    """How a model was trained, as far as it is recorded; the contents of run.json.

    Args:
        version: of depth_unet.
        options: of the command, or None.
        train: fields of `TrainConfig`, or None.
        model: fields of `DepthUNetConfig`, or None.
        training: the data trained on.
        validation: the data validated on; the first chooses the best epoch.
        shares: of the data sets in an epoch; None: by size.
        batch_size: per process.
        processes: number of processes.
        origins: of everything that the weights were trained on.
        best: row of the history of the weights in best/, or None.
        sha256: of best/model.safetensors, or None.
        averaged: number of trainings whose weights were averaged; 1: the weights are those of `best`.
    """

    version: str = ""
    options: dict[str, Any] | None = None
    train: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    training: tuple[SetRecord, ...] = ()
    validation: tuple[SetRecord, ...] = ()
    shares: tuple[float, ...] | None = None
    batch_size: int | None = None
    processes: int | None = None
    origins: tuple[Origin, ...] = ()
    best: dict[str, float] | None = None
    sha256: str | None = None
    averaged: int = 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = self._asdict()
        sets = {"train": values.pop("training"), "validation": values.pop("validation")}
        values["data"] = {name: [each._asdict() for each in records] for name, records in sets.items()}
        values["origins"] = [origin._asdict() for origin in self.origins]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunRecord":
        """Build from the contents of a run.json, also of version 0.1.0.

        Raises:
            ValueError: not such contents.
        """
        try:
            if "trained_on" in values:  # version 0.1.0
                known = {name: values.get(name) for name in ("train", "model", "best")}
                averaged = values.get("averaged", 1)
                return cls("0.1.0", **known, origins=_named_origins(values["trained_on"]), averaged=averaged)._checked()
            values = dict(values)
            sets = values.pop("data")
            values |= {
                "training": tuple(SetRecord(**each) for each in sets["train"]),
                "validation": tuple(SetRecord(**each) for each in sets["validation"]),
                "origins": tuple(Origin.from_dict(each) for each in values["origins"]),
                "shares": None if values["shares"] is None else tuple(values["shares"]),
            }
            return cls(**values)._checked()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the record of a training run: {error!r}") from error

    def _checked(self) -> "RunRecord":
        """The record, if its values have the types of a record.

        Raises:
            TypeError: a value has another type.
        """
        numbers = [*(self.shares or ()), *(self.best or {}).values()]
        whole = [self.averaged, *(each.samples for each in (*self.training, *self.validation))]
        whole += [number for number in (self.batch_size, self.processes) if number is not None]
        texts = [
            text for each in (*self.training, *self.validation) for text in (each.name, each.split, each.fingerprint)
        ]
        texts += [self.version, self.sha256 or ""]
        tables = [table for table in (self.options, self.train, self.model, self.best) if table is not None]
        for values, kind in ((numbers, int | float), (whole, int), (texts, str), (tables, dict)):
            if wrong := [value for value in values if not isinstance(value, kind)]:
                raise TypeError(f"{wrong[0]!r} is of a wrong type")
        return self

    def for_card(self, sha256: str | None) -> dict[str, Any]:
        """For the front matter of a model card: the origins and the weights that they belong to."""
        origins = [origin._asdict() for origin in self.origins]
        return {"version": self.version, "sha256": sha256, "averaged": self.averaged, "trained_on": origins}


def _named_origins(names: Iterable[str]) -> tuple[Origin, ...]:
    return distinct(ORIGINS_OF_0_1.get(name, EARLIER_MODEL) for name in names)


def parts_of(data: DepthData) -> list[DepthData]:
    """The data sets that a data set consists of."""
    return data.sets if isinstance(data, Joined) else [data]


class RunFolder:
    """The files of a run.

    Args:
        path: the folder; created by `locked`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last, self.best, self.record = path / LAST, path / BEST, path / RECORD

    def picture(self, epoch: int) -> Path:
        """Path of the validation picture after an epoch."""
        return self.path / f"epoch_{epoch:03d}.jpg"

    def save_picture(self, picture: Image.Image, epoch: int) -> None:
        """Save the validation picture after an epoch."""
        write_atomically(self.picture(epoch), lambda file: picture.save(file, "JPEG", quality=88))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and keep other runs out of it; the lock ends with the process.

        Raises:
            TrainingError: another run uses the folder, or it cannot be written to.
        """
        with self.writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / _LOCK)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise TrainingError(
                    f"{self.path} is used by another run: wait for its end, or choose another --output"
                ) from None
        try:
            with self.writing():
                write_atomically(self.path / "writable", b"")  # fails now, not after the first epoch
                (self.path / "writable").unlink()
            self._remove_unfinished()
            yield
        finally:
            lock.release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Report a full disk or a missing permission in one sentence; complete files stay.

        Raises:
            TrainingError: the folder cannot be written to.
        """
        try:
            yield
        except (OSError, SafetensorError) as error:
            self._remove_unfinished()
            why = getattr(error, "strerror", None) or error
            kept = f"{self.last} is the last good state: " if self.last.exists() else ""
            raise TrainingError(
                f"{self.path} cannot be written to ({why}); {kept}make room or allow writing there, then "
                + ("continue with --resume" if kept else "start again")
            ) from error

    def _remove_unfinished(self) -> None:
        for folder in (self.path, self.best):
            with suppress(OSError):
                remove_unfinished(folder)
                for rest in folder.glob("*.part"):  # of version 0.1.0
                    rest.unlink()

    def check(self, resume: bool) -> None:
        """Refuse to overwrite a run, or to resume none.

        Raises:
            TrainingError: `resume` does not fit what is there.
        """
        if self.last.exists() and not resume:
            raise TrainingError(f"{self.last} exists: add --resume to continue that run, or choose another --output")
        if resume and not self.last.exists():
            raise TrainingError(f"there is no {self.last} to resume from")

    def read(self) -> RunRecord | None:
        """The record of the run; None if the folder holds no run.

        Raises:
            ValueError: run.json or the checkpoint is damaged.
        """
        if self.record.is_file():
            try:
                return RunRecord.from_dict(parse_json(read_bytes(self.record, LARGEST_TEXT)))
            except ValueError as error:
                raise ValueError(f"{self.record} cannot be used: {error}") from error
        if not self.last.is_file():
            return None
        try:  # a run of version 0.1.0 wrote run.json at its end
            with safe_open(self.last, "pt") as file:
                progress = json.loads(file.metadata()["progress"])
            best = min(progress["rows"], key=lambda row: row["val_abs_rel"], default=None)
            return RunRecord("0.1.0", train=progress["config"], model=progress["model"], best=best)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.last} is not a checkpoint of a run: {error}") from error

    def write(self, record: RunRecord) -> None:
        """Write run.json."""
        with self.writing():
            write_json(self.record, record.to_dict())

    def keep_best(self, model: DepthUNet, row: dict[str, float], record: RunRecord) -> RunRecord:
        """Save the weights of the best epoch so far, and record them.

        Args:
            model: the weights.
            row: of the history, of these weights.
            record: of the run.

        Returns:
            The new record.
        """
        with self.writing():
            model.save_pretrained(self.best, half=True)
            record = record._replace(best=row, sha256=sha256_of(self.best / WEIGHTS_FILE))
            self.write(record)
        return record


def read_record(folder: Path) -> RunRecord:
    """What is recorded beside a model: in run.json of its run, or in the front matter of its card.

    Args:
        folder: of a run, of its best model, or of a saved or downloaded model.

    Returns:
        The record; an empty one if there is none.

    Raises:
        ValueError: run.json is damaged.
    """
    for place in (folder, folder.parent) if folder.name == BEST else (folder,):
        record = RunFolder(place).read()
        if record is not None:
            return record
    if not (folder / CARD).is_file():
        return RunRecord()
    front = ModelCard((folder / CARD).read_text("utf-8"), ignore_metadata_errors=True).data.to_dict()
    try:
        about = front.get(CARD_KEY) or {}
        listed = about.get("trained_on") or front.get("trained_on")
        if listed is None:  # a card of version 0.1.0 names data sets only
            return RunRecord(origins=_named_origins(front.get("datasets") or []))
        origins = tuple(Origin.from_dict(each) for each in listed)
        known = {name: about[name] for name in ("version", "sha256", "averaged") if name in about}
        return RunRecord(**known, origins=origins)
    except (AttributeError, TypeError, ValueError):
        return RunRecord()  # a card that other software wrote


def origins_of_model(folder: Path) -> tuple[Origin, ...]:
    """Origins of the data that a model was trained on, or one that says they are unknown."""
    return read_record(folder).origins or (EARLIER_MODEL,)
