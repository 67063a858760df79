"""The training loop: from data sets to the best weights."""

import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch.utils.data import DataLoader
from tqdm import tqdm

from depth_unet import DepthUNet, __version__
from depth_unet.data import DepthData, Part
from depth_unet.data.origin import Origin, distinct
from depth_unet.data.sample import SampleError
from train.batches import Batch, EpochBatches, collate
from train.checkpoint import load_checkpoint, save_checkpoint
from train.config import TrainConfig
from train.ema import MovingAverage
from train.history import heading, table_row, write_history
from train.network import freeze_norm, parameter_groups, set_drop_path, synchronise_norm
from train.run import RunFolder, RunRecord, SetRecord, TrainingError, parts_of
from train.schedule import learning_rate
from train.step import Step, train_step
from train.usable import check_training, check_validation
from train.validate import Validation, validate
from train.views import Views


@dataclass
class Progress:
    """How far a run is; everything that a checkpoint holds besides tensors.

    Args:
        epoch: the current one, from 0.
        step: number of steps done in it.
        best: lowest AbsRel of the first validation.
        rows: the history.
        sums: of the training columns since the last row.
        steps: number of steps since the last row.
        seconds: spent on these steps.
        bad: messages about samples that could not be read.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    bad: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Progress":
        """The progress in a checkpoint, whose other values are checked too.

        Raises:
            KeyError, TypeError, ValueError: a value is missing, of another type or impossible.
        """
        made = cls(**{f.name: saved[f.name] for f in fields(cls) if f.name in saved})
        processes, batch_size = saved.get("processes") or 1, saved["config"]["batch_size"]
        whole = (made.epoch, made.step, made.steps, processes, batch_size)
        if not isinstance(saved["model"], dict) or not all(isinstance(message, str) for message in made.bad):
            raise TypeError("the config of the network or a message is of another type")
        real = (made.seconds, 0.0 if made.best is None else made.best, *made.sums.values())
        columns = [(row["epoch"], row["val_abs_rel"]) for row in made.rows]
        for value in (*real, *(number for pair in columns for number in pair)):
            if not isinstance(value, int | float):
                raise TypeError(f"{value!r} is not a number")
        if not all(isinstance(value, int) and value >= 0 for value in whole) or not batch_size or not processes:
            raise ValueError(f"{whole} are not numbers of epochs, steps, processes and samples")
        return made


def fit(
    model: DepthUNet,
    training: DepthData,
    validation: DepthData | Sequence[DepthData],
    config: TrainConfig,
    output: Path,
    *,
    resume: bool = False,
    workers: int = 0,
    skip_bad: bool = False,
    checkpoint_minutes: float = 10.0,
    validate_every: int = 1,
    accelerator: Accelerator | None = None,
    stop_after_steps: int | None = None,
    shares: Sequence[float] | None = None,
    continues: Sequence[Origin] | None = None,
    options: dict[str, Any] | None = None,
    compiled: bool = False,
) -> list[dict[str, float]]:
    """Train a model; save the best weights in `output`/best and the state of the run in `output`/last.safetensors.

    Args:
        model: changed in place.
        training: the samples to train on.
        validation: one or more data sets. The lowest AbsRel on the first, unaligned, chooses the best epoch; its
            columns are val_*, those of the others val2_*, val3_*, ...
        config: the training options.
        output: folder of the run, see `RunFolder`.
        resume: continue from the last checkpoint in `output`.
        workers: processes that read data; 0: this one reads.
        skip_bad: leave out training samples that cannot be read, and count them, instead of stopping. Validation
            frames that cannot be scored are always left out, named and counted (val_missed).
        checkpoint_minutes: time between checkpoints within an epoch; there is one at the end of each in any case.
        validate_every: epochs from one validation, and row of the history, to the next; the last epoch always has
            one. The training columns of a row are means over all epochs since the row before.
        accelerator: devices, precision and processes; by default this process on the best device.
        stop_after_steps: save and return after this number of steps, as Ctrl-C does.
        shares: of each part of `training` in an epoch, see `train.batches.quotas`; None: by size.
        continues: origins of the data that `model` was trained on before; None: it was not. With them the history
            begins with row 0, the score of `model` itself, which counts for the best.
        options: of the command, for run.json.
        compiled: train with torch.compile; CUDA only.

    Returns:
        The history, a row for each validated epoch.

    Raises:
        TrainingError: there is no depth to learn from or to score; the loss is not finite; there is nothing to
            resume, or a run to overwrite; the data differ from those of the run to resume; another run uses `output`,
            or it cannot be written to.
        SampleError: a training sample cannot be read and skip_bad is False.
        ValueError: validate_every, `shares` or the batch size makes no sense, or `compiled` without CUDA.
    """
    if validate_every < 1:
        raise ValueError(f"validate_every must be at least 1, not {validate_every}")
    accelerator = accelerator or Accelerator()
    if compiled and accelerator.device.type != "cuda":
        raise ValueError(f"--compile needs a CUDA GPU, this process runs on {accelerator.device}: leave it out")
    validations = [validation] if isinstance(validation, DepthData) else list(validation)
    if config.limit_batches:
        most = config.limit_batches * config.batch_size
        validations = [Part(data, range(min(most, len(data)))) for data in validations]
    folder = RunFolder(output)
    with folder.locked() if accelerator.is_main_process else nullcontext():
        folder.check(resume)
        record = RunRecord(
            version=__version__,
            options=options,
            train=config.to_dict(),
            model=model.config.to_dict(),
            training=tuple(SetRecord.of(part) for part in parts_of(training)),
            validation=tuple(SetRecord.of(data) for data in validations),
            shares=None if shares is None else tuple(shares),
            batch_size=config.batch_size,
            processes=accelerator.num_processes,
            origins=distinct([*training.origins, *(continues or ())]),
        )
        run = _Run(model, config, accelerator, folder, record, validations, skip_bad, compiled)
        if resume:
            run.load()
        progress = run.progress
        batches = EpochBatches(
            [len(part) for part in parts_of(training)],
            config.batch_size,
            config.epochs,
            config.seed,
            (progress.epoch, progress.step),
            accelerator.process_index,
            accelerator.num_processes,
            shares,
        )
        batches.steps = min(batches.steps, config.limit_batches or batches.steps)
        if progress.epoch < config.epochs:
            for note in check_training(training, model.config):
                accelerator.print(f"note: {note}")
            for data in validations:
                check_validation(data, model.config)
        run.begin(starting_model=continues is not None)
        loader = iter(_loader(Views(training, model.config, config), batches, workers, accelerator))
        with _stop_on_signal() as received:
            saved_at = time.monotonic()
            for epoch in range(progress.epoch, config.epochs):
                if run.is_stalled():
                    break
                with run.epoch(batches) as bar:
                    for _ in range(progress.step, batches.steps):
                        began = time.monotonic()
                        step = run.step(next(loader), batches, stop=bool(received))
                        progress.seconds += time.monotonic() - began
                        bar.update(batches.together)
                        if stop_after_steps is not None:
                            stop_after_steps -= 1
                        if progress.step % config.accumulate and progress.step < batches.steps:
                            continue  # the gradients of an unfinished group are not saved
                        if step.stop or (stop_after_steps is not None and stop_after_steps <= 0):
                            run.save()
                            bar.close()
                            return run.stopped(by_signal=step.stop)
                        if time.monotonic() - saved_at > 60 * checkpoint_minutes:
                            run.save()
                            saved_at = time.monotonic()
                run.end_epoch(batches, validated=(epoch + 1) % validate_every == 0 or epoch + 1 == config.epochs)
                saved_at = time.monotonic()
        run.end()
    return progress.rows


class _Run:
    """The state of a run, and the parts of the loop.

    Args:
        model: what is trained.
        config: the training options.
        accelerator: devices, precision and processes.
        folder: of the run.
        record: of the run.
        validations: data sets.
        skip_bad: leave out samples that cannot be read.
        compiled: train with torch.compile.
    """

    def __init__(
        self,
        model: DepthUNet,
        config: TrainConfig,
        accelerator: Accelerator,
        folder: RunFolder,
        record: RunRecord,
        validations: list[DepthData],
        skip_bad: bool,
        compiled: bool = False,
    ) -> None:
        self.compiled = compiled
        self.model, self.config, self.accelerator, self.skip_bad = model, config, accelerator, skip_bad
        self.folder, self.record, self.validations, self.progress = folder, record, validations, Progress()
        self.missed: set[str] = set()  # messages about validation frames that were printed
        self.loss_of = config.loss(model.config)
        cuda = accelerator.device.type == "cuda"
        model.to(accelerator.device)
        set_drop_path(model.unet.encoder, config.drop_path)
        if cuda and accelerator.num_processes > 1:
            synchronise_norm(model)  # there is no such layer for CPUs
        self.average = MovingAverage(model, config.ema_decay)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, config.encoder_rate),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=cuda and accelerator.scaler is None,  # a fused step does not report that it was skipped
        )
        torch.manual_seed(config.seed + accelerator.process_index)

    def load(self) -> None:
        """Load the last checkpoint.

        Raises:
            TrainingError: the run was begun with other data, or stopped within an epoch of other batches.
            ValueError: the checkpoint is damaged, or of another network.
        """
        modules = {"model": self.model, "average": self.average}
        saved = load_checkpoint(self.folder.last, modules, self.optimizer)
        try:
            self.progress = Progress.of(saved)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{self.folder.last} is not a checkpoint that can be resumed: {error!r}") from error
        before, now, scaler = self.folder.read(), self.record, self.accelerator.scaler
        for what, old, new in (
            ("training", before.training, now.training),
            ("validation", before.validation, now.validation),
        ):
            if old and [each.fingerprint for each in old] != [each.fingerprint for each in new]:
                names = " and ".join(f"{each.name} ({each.samples} samples)" for each in old)
                raise TrainingError(
                    f"the run in {self.folder.path} has other {what} data, {names}: resume with these, or choose "
                    "another --output"
                )
        if before.training and before.shares != now.shares:
            shares = "no --shares" if before.shares is None else "--shares " + " ".join(map(str, before.shares))
            raise TrainingError(f"the run in {self.folder.path} was begun with {shares}: resume with the same")
        processes = saved.get("processes") or now.processes
        together = saved["config"]["batch_size"] * processes
        if self.progress.step and together != now.batch_size * now.processes:
            raise TrainingError(
                f"the run in {self.folder.path} stopped within an epoch of batches of {together} samples on "
                f"{processes} process(es): resume it with the same, not {now.batch_size * now.processes} on "
                f"{now.processes}"
            )
        if "steps" not in saved:  # version 0.1.0
            last_row = self.progress.rows[-1]["epoch"] if self.progress.rows else 0
            per_epoch = sum(each.samples for each in now.training) // together
            self.progress.steps = int((self.progress.epoch - last_row) * per_epoch) + self.progress.step
        if scaler is not None and saved.get("scaler"):
            scaler.load_state_dict(saved["scaler"])
        old = TrainConfig().to_dict() | saved["config"] | saved["model"] | {"processes": processes}
        new = self.config.to_dict() | self.model.config.to_dict() | {"processes": now.processes}
        changed = [f"{name} {old.get(name)} -> {new[name]}" for name in new if old.get(name) != new[name]]
        if changed:
            self.accelerator.print("note: options differ from those of the run so far: " + ", ".join(changed))
        self.record = now._replace(
            origins=distinct([*now.origins, *before.origins]), best=before.best, sha256=before.sha256
        )

    def begin(self, starting_model: bool) -> None:
        """Write run.json, prepare the network for several processes, and score the starting model.

        Args:
            starting_model: begin the history of a new run with its score.
        """
        # Nothing is written where a finished run is resumed.
        if self.accelerator.is_main_process and self.progress.epoch < self.config.epochs:
            self.folder.write(self.record)
        self.trained, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        if self.compiled:
            self.trained = torch.compile(self.trained)
        self.accelerator.print(heading(len(self.validations)))
        for row in self.progress.rows:
            self.accelerator.print(table_row(row, len(self.validations)))
        if starting_model and not self.progress.rows and (self.progress.epoch, self.progress.step) == (0, 0):
            self._add_row({"epoch": 0} | self._validated(self.model, 0), at_step=0, weights=self.model)

    @contextmanager
    def epoch(self, batches: EpochBatches) -> Iterator[tqdm]:
        """Set the network to training; a progress bar over the images of the epoch."""
        self.trained.train()
        if self.config.frozen_norm:
            freeze_norm(self.model.unet.encoder)
        with tqdm(
            total=batches.steps * batches.together,
            initial=self.progress.step * batches.together,
            desc=f"epoch {self.progress.epoch + 1}/{self.config.epochs}",
            unit="img",
            leave=False,
            disable=not self.accelerator.is_main_process,
        ) as bar:
            yield bar

    def step(self, batch: Batch, batches: EpochBatches, stop: bool) -> Step:
        """One step, and what is noted of it.

        Raises:
            SampleError: a process has a sample that cannot be read, and they are not skipped.
        """
        progress, config = self.progress, self.config
        number = progress.epoch * batches.steps + progress.step
        rate = learning_rate(number, batches.steps * config.epochs, config.learning_rate, config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        # A seed of its own for each step: a resumed run draws the same dropout, on every process and device.
        place = f"{config.seed} {progress.epoch} {progress.step} {self.accelerator.process_index}"
        torch.manual_seed(random.Random(place).getrandbits(60))
        within = progress.step % config.accumulate
        group = min(config.accumulate, batches.steps - progress.step + within)  # the last one may be smaller
        step = train_step(
            self.trained,
            self.loss_of,
            self.optimizer,
            batch,
            self.accelerator,
            config.clip_norm,
            stop,
            (within, group),
        )
        if step.bad:
            self._note_bad(gather_object(batch.bad))
        if step.taken:
            self.average.update_parameters(self.model)
        count = step.sums["steps"]
        if count:
            progress.sums = {name: progress.sums.get(name, 0.0) + value for name, value in step.sums.items()}
            if self.accelerator.trackers:
                means = {name: total / count for name, total in step.sums.items() if name != "steps"}
                self.accelerator.log(means | {"learning_rate": rate}, step=number + 1)
        progress.step += 1
        progress.steps += 1
        return step

    def _note_bad(self, bad: list[str]) -> None:
        if not self.skip_bad:
            raise SampleError(bad[0])
        self.progress.bad += bad
        if self.accelerator.is_main_process:
            tqdm.write("skipped " + "; ".join(bad))

    def end_epoch(self, batches: EpochBatches, validated: bool) -> None:
        """Validate if it is time for it, and save the state.

        Raises:
            TrainingError: no training sample could be read.
        """
        progress, config = self.progress, self.config
        if not progress.sums.get("steps"):
            raise TrainingError("no training sample could be read")
        progress.epoch, progress.step = progress.epoch + 1, 0
        if validated:
            done = progress.epoch * batches.steps
            row = {"epoch": progress.epoch, "step_ms": 1000 * progress.seconds / progress.steps}
            count = progress.sums["steps"]
            row |= {name: total / count for name, total in progress.sums.items() if name != "steps"}
            row["learning_rate"] = learning_rate(
                done - 1, batches.steps * config.epochs, config.learning_rate, config.warmup
            )
            weights = self.average.module if config.ema_decay else self.model
            row |= self._validated(weights, progress.epoch)
            row["skipped"] = len(progress.bad)
            self._add_row(row, done, weights)
            progress.sums, progress.steps, progress.seconds = {}, 0, 0.0
        self.save()
        self.accelerator.wait_for_everyone()

    def _validated(self, weights: DepthUNet, epoch: int) -> dict[str, float]:
        """The columns of all validations; saves the picture of the first."""
        if self.accelerator.num_processes > 1:  # statistics that are not synchronised differ a little
            broadcast(dict(weights.named_buffers()))
        columns = {}
        for number, data in enumerate(self.validations, start=1):
            result = validate(weights, data, self.loss_of, self.accelerator)
            self._note_missed(result, data)
            prefix = "val" if number == 1 else f"val{number}"
            columns |= {f"{prefix}_{name}": value for name, value in result.means.items()}
            columns[f"{prefix}_missed"] = len(result.missed)
            if number == 1 and result.picture is not None and self.accelerator.is_main_process:
                with self.folder.writing():
                    self.folder.save_picture(result.picture, epoch)
        return columns

    def _note_missed(self, result: Validation, data: DepthData) -> None:
        """Print which frames could not be scored; each once in a run."""
        new = [message for message in result.missed if message not in self.missed]
        self.missed.update(new)
        if new:
            for message in new:
                self.accelerator.print(f"not scored: {message}")
            scored = result.samples - len(result.missed)
            self.accelerator.print(
                f"scored {scored} of {result.samples} frames of {data.name or 'the validation data'}"
            )

    def _add_row(self, row: dict[str, float], at_step: int, weights: DepthUNet) -> None:
        """Add a row to the history, and save the weights if they are the best so far."""
        progress = self.progress
        progress.rows.append(row)
        self.accelerator.print(table_row(row, len(self.validations)))
        if self.accelerator.trackers:
            self.accelerator.log({f"epoch/{name}": value for name, value in row.items()}, step=at_step)
        best = progress.best is None or row["val_abs_rel"] < progress.best
        if best:
            progress.best = row["val_abs_rel"]
        if self.accelerator.is_main_process:
            if best:
                self.record = self.folder.keep_best(weights, row, self.record)
            with self.folder.writing():
                write_history(progress.rows, self.folder.path)

    def save(self) -> None:
        """Save the state of the run."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = asdict(self.progress) | {
                "config": self.config.to_dict(),
                "model": self.model.config.to_dict(),
                "processes": self.accelerator.num_processes,
                "scaler": None if scaler is None else scaler.state_dict(),
            }
            modules = {"model": self.model, "average": self.average}
            with self.folder.writing():
                save_checkpoint(self.folder.last, modules, self.optimizer, state)

    def stopped(self, by_signal: bool) -> list[dict[str, float]]:
        """Report where the run stopped, and return the history.

        Raises:
            KeyboardInterrupt: a signal stopped it.
        """
        self.accelerator.print(
            f"\nStopped after step {self.progress.step} of epoch {self.progress.epoch + 1}; everything is saved in "
            f"{self.folder.last}. Run the same command with --resume to continue."
        )
        if by_signal:
            raise KeyboardInterrupt
        return self.progress.rows

    def is_stalled(self) -> bool:
        """Whether the last `config.patience` validations are no better than one before."""
        errors = [row["val_abs_rel"] for row in self.progress.rows]
        return 0 < self.config.patience < len(errors) - errors.index(min(errors)) if errors else False

    def end(self) -> None:
        """Report what a user should know at the end."""
        rows, bad = self.progress.rows, self.progress.bad
        if self.progress.epoch < self.config.epochs:
            self.accelerator.print(
                f"Stopped after epoch {self.progress.epoch}: no better validation in the last {self.config.patience}."
            )
        if bad:
            names = len(set(bad))
            self.accelerator.print(f"{names} samples could not be read and were left out; see above.")
        if len(rows) > 1 and rows[0]["epoch"] == 0 and rows[0]["val_abs_rel"] <= self.progress.best:
            self.accelerator.print(
                f"No epoch improves on the starting model (AbsRel {rows[0]['val_abs_rel']:.4f}): {self.folder.best} "
                "holds its weights."
            )


def _loader(views: Views, batches: EpochBatches, workers: int, accelerator: Accelerator) -> DataLoader:
    return DataLoader(
        views,
        batch_sampler=batches,
        generator=torch.Generator(),  # torch's own would be a draw ahead of a run without a break
        collate_fn=collate,
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=_prepare_worker,
    )


def _prepare_worker(worker: int) -> None:
    torch.set_num_threads(1)  # several workers with several threads each would compete for the cores
    # A terminal sends Ctrl-C to workers as well, but the last step still needs its batch.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C or a termination request; a second one ends the program at once."""
    received: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each, previous in before.items():
            signal.signal(each, previous)

    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield received
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
