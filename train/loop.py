"""The training loop: what happens between the data and the best checkpoint."""

import math
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depth_unet import DepthLoss, DepthSample, DepthUNet
from depth_unet.data.sample import SampleError
from depth_unet.files import write_atomically
from depth_unet.losses import bin_cross_entropy
from train.checkpoint import LAST, load_checkpoint, save_checkpoint
from train.config import TrainConfig
from train.evaluate import predict_samples, score
from train.history import heading, sample_sheet, table_row, write_history
from train.views import Batch, EpochBatches, Views, collate, network_view

BEST = "best"
PICTURED = 5  # validation samples in the picture of each epoch


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


def learning_rate(step: int, steps: int, highest: float, warmup: float) -> float:
    """Linear from near 0 over the share `warmup` of all steps, then a cosine down to near 0."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return highest * (step + 1) / rising
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def averaged(model: DepthUNet, decay: float) -> AveragedModel:
    """A copy that follows the model as an exponential moving average, quicker while it has seen little."""

    def follow(averages: list[torch.Tensor], values: list[torch.Tensor], seen: torch.Tensor) -> None:
        weight = 1 - min(decay, (1 + int(seen)) / (10 + int(seen)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, weight)
        else:
            torch._foreach_copy_(averages, values)

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(follow), use_buffers=True)


def freeze_norm(encoder: torch.nn.Module) -> None:
    """Let BatchNorm normalise by the statistics it has, as in predicting, until the next `train()`.

    Those of a few pictures at a time say what else is in the batch, which no photo tells later.
    """
    for module in encoder.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def set_drop_path(encoder: torch.nn.Module, highest: float) -> None:
    """Skip residual blocks at random in training, the deeper the oftener (stochastic depth, Huang et al. 2016)."""
    from timm.layers import DropPath  # not before depth_unet, which mends what timm imports

    blocks = [module for module in encoder.modules() if hasattr(module, "drop_path")]
    for index, block in enumerate(blocks):
        block.drop_path = DropPath(highest * index / len(blocks)) if highest else torch.nn.Identity()


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


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Turns a full disk and a missing right to write into a sentence; what was complete before stays."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        for rest in output.rglob("*.part"):  # takes room and is good for nothing
            with suppress(OSError):
                rest.unlink()
        why = getattr(error, "strerror", None) or error
        kept = f"{output / LAST} is the last good state: " if (output / LAST).exists() else ""
        raise TrainingError(
            f"{output} cannot be written to ({why}); {kept}make room or allow writing there, then "
            + ("go on with --resume" if kept else "start again")
        ) from error


def _nothing_to_learn(model: DepthUNet) -> Batch:
    """A batch without a valid pixel: its loss and gradients are zero."""
    image = torch.full((1, 3, *model.config.input_size), 0.5)
    depth = torch.ones_like(image[:, :1])
    return Batch(image, depth, torch.zeros_like(depth, dtype=torch.bool), [], [])


def fit(
    model: DepthUNet,
    training: Dataset,
    validation: Dataset,
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
) -> list[dict[str, float]]:
    """Train a model; keep the best in `output`/best, and the state to resume from in `output`/last.safetensors.

    Args:
        model: changed in place.
        training: of `DepthSample`.
        validation: of `DepthSample`; the lowest AbsRel, whole frames, without alignment, is the best.
        config: how to train.
        output: folder for checkpoints, history.csv, curves.png and a picture for each epoch.
        resume: go on from the last checkpoint in `output`.
        workers: processes that read data; 0 reads in this one.
        skip_bad: leave out samples that cannot be read, and count them, instead of stopping.
        checkpoint_minutes: how often the state is saved within an epoch; it is at the end of each in any case.
        validate_every: epochs from one validation, and row of the history, to the next; the last epoch has one in any
            case. A row's training columns are means over all epochs since the row before.
        accelerator: devices, precision and processes; by default this process on the best device.
        stop_after_steps: save and return after so many more steps, as Ctrl-C would.

    Returns:
        The history, a row for each validated epoch.

    Raises:
        TrainingError: the loss is no longer a number, or there is nothing to resume from, or something to overwrite,
            or `output` cannot be written to.
        SampleError: a sample cannot be read and skip_bad is False.
        ValueError: validate_every is below 1.
    """
    if validate_every < 1:
        raise ValueError(f"validate_every must be at least 1, not {validate_every}")
    accelerator = accelerator or Accelerator()
    last = output / LAST
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
        if accelerator.is_main_process:  # said now, and not after the first epoch
            write_atomically(output / "writable", b"")
            (output / "writable").unlink()
    if last.exists() and not resume:
        raise TrainingError(f"{last} exists: add --resume to go on with that run, or choose another --output")
    if resume and not last.exists():
        raise TrainingError(f"there is no {last} to resume from")

    encoder = {id(p) for p in model.unet.encoder.parameters()}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in encoder], "rate": 1.0},
        {"params": list(model.unet.encoder.parameters()), "rate": config.encoder_rate},
    ]
    device = accelerator.device
    model.to(device)
    set_drop_path(model.unet.encoder, config.drop_path)
    optimizer = torch.optim.AdamW(
        groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    average = averaged(model, config.ema_decay)
    loss_of = config.loss(model.config)
    torch.manual_seed(config.seed + accelerator.process_index)
    progress = {"epoch": 0, "step": 0, "best": None, "rows": [], "sums": {}, "seconds": 0.0, "bad": []}
    if resume:
        saved = load_checkpoint(last, {"model": model, "average": average}, optimizer)
        if saved["config"] != config.to_dict() or saved["model"] != model.config.to_dict():
            accelerator.print("note: options differ from those that this run began with")
        progress = {key: saved[key] for key in progress}
    many = accelerator.num_processes > 1
    if many and device.type == "cuda":
        # Each GPU alone would normalise by the statistics of its few pictures. CPUs have no such layer.
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    trained, optimizer = accelerator.prepare(model, optimizer)

    def save() -> None:
        if accelerator.is_main_process:
            state = progress | {"config": config.to_dict(), "model": model.config.to_dict()}
            with _writing(output):
                save_checkpoint(last, {"model": model, "average": average}, optimizer, state)

    def together(values: dict[str, float]) -> dict[str, float]:
        """The sums over all processes, in which each then decides alike."""
        if not many:
            return values
        summed = accelerator.reduce(torch.tensor(list(values.values()), dtype=torch.float64, device=device), "sum")
        return dict(zip(values, summed.tolist(), strict=True))

    batches = EpochBatches(
        len(training),
        config.batch_size,
        config.epochs,
        config.seed,
        (progress["epoch"], progress["step"]),
        accelerator.process_index,
        accelerator.num_processes,
    )
    loader = iter(
        DataLoader(
            Views(training, model.config, config),
            batch_sampler=batches,
            generator=torch.Generator(),  # torch's own would be a draw ahead of a run without a break
            collate_fn=collate,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            worker_init_fn=_prepare_worker,
        )
    )
    everything = batches.steps * config.epochs
    logged = ("steps", "loss", *(name for name, weight in loss_of.weights.items() if weight), "cross_entropy")
    accelerator.print(heading())
    for row in progress["rows"]:
        accelerator.print(table_row(row))
    done = 0
    with _stop_on_signal() as received:
        for epoch in range(progress["epoch"], config.epochs):
            trained.train()
            if config.frozen_norm:
                freeze_norm(model.unet.encoder)
            sums = Counter(progress["sums"])
            began = saved_at = time.monotonic()
            before = progress["seconds"]
            with tqdm(
                total=batches.steps * batches.together,
                initial=progress["step"] * batches.together,
                desc=f"epoch {epoch + 1}/{config.epochs}",
                unit="img",
                leave=False,
                disable=not accelerator.is_main_process,
            ) as bar:
                for step in range(progress["step"], batches.steps):
                    batch = next(loader)
                    if batch.bad and not skip_bad:
                        raise SampleError(batch.bad[0])
                    rate = learning_rate(epoch * batches.steps + step, everything, config.learning_rate, config.warmup)
                    for group in optimizer.param_groups:
                        group["lr"] = rate * group["rate"]
                    # Named by its place: a resumed run draws the same dropout, on every process and device.
                    place = f"{config.seed} {epoch} {step} {accelerator.process_index}"
                    torch.manual_seed(random.Random(place).getrandbits(60))
                    values = dict.fromkeys(logged, 0.0)
                    if batch.keys:
                        values |= train_step(trained, loss_of, optimizer, batch, accelerator, config.clip_norm)
                    elif many:  # the others wait for this process's share of the gradient
                        train_step(trained, loss_of, optimizer, _nothing_to_learn(model), accelerator, config.clip_norm)
                    values = together(values | {"bad": len(batch.bad), "signals": len(received)})
                    if values.pop("bad"):
                        bad = gather_object(batch.bad)
                        progress["bad"] += bad
                        if accelerator.is_main_process:
                            tqdm.write("skipped " + "; ".join(bad))
                    signalled = values.pop("signals") > 0
                    if values["steps"]:
                        sums.update(values)
                        average.update_parameters(model)
                        if accelerator.trackers:
                            means = {name: total / values["steps"] for name, total in values.items() if name != "steps"}
                            accelerator.log(means | {"learning_rate": rate}, step=epoch * batches.steps + step + 1)
                    bar.update(batches.together)
                    done += 1
                    progress |= {"epoch": epoch, "step": step + 1, "sums": dict(sums)}
                    progress["seconds"] = before + time.monotonic() - began
                    stop = signalled or done == stop_after_steps
                    if stop or time.monotonic() - saved_at > 60 * checkpoint_minutes:
                        save()
                        saved_at = time.monotonic()
                    if stop:
                        bar.close()
                        accelerator.print(
                            f"\nStopped after step {step + 1} of epoch {epoch + 1}; everything is saved in {last}. "
                            "Run the same command with --resume to go on."
                        )
                        if signalled:
                            raise KeyboardInterrupt
                        return progress["rows"]
            if not sums["steps"]:
                raise TrainingError("not one of the training samples could be read")
            if (epoch + 1) % validate_every and epoch + 1 < config.epochs:
                progress |= {"epoch": epoch + 1, "step": 0}
                save()
                continue
            count = sums.pop("steps")
            steps = batches.steps * (epoch + 1 - (progress["rows"][-1]["epoch"] if progress["rows"] else 0))
            row = {"epoch": epoch + 1, "step_ms": 1000 * progress["seconds"] / steps}
            row |= {name: value / count for name, value in sums.items()}
            # As of the last step, which a resumed epoch may have behind it.
            last_step = (epoch + 1) * batches.steps - 1
            row["learning_rate"] = learning_rate(last_step, everything, config.learning_rate, config.warmup)
            kept = average.module if config.ema_decay else model
            row |= validate(
                kept, validation, loss_of, output, epoch, accelerator, progress["bad"] if skip_bad else None
            )
            row["skipped"] = len(progress["bad"])
            progress["rows"].append(row)
            accelerator.print(table_row(row))
            if accelerator.trackers:
                accelerator.log(
                    {f"epoch/{name}": value for name, value in row.items()}, step=(epoch + 1) * batches.steps
                )
            if accelerator.is_main_process:
                with _writing(output):
                    write_history(progress["rows"], output)
                    if progress["best"] is None or row["val_abs_rel"] < progress["best"]:
                        progress["best"] = row["val_abs_rel"]
                        kept.save_pretrained(output / BEST, half=True)
            progress |= {"epoch": epoch + 1, "step": 0, "sums": {}, "seconds": 0.0}
            save()
            accelerator.wait_for_everyone()
    if progress["bad"]:
        names = Counter(progress["bad"])
        accelerator.print(f"{len(names)} samples could not be read and were left out; see above.")
    return progress["rows"]


def train_step(
    model: torch.nn.Module,
    loss_of: DepthLoss,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    accelerator: Accelerator,
    clip_norm: float,
) -> dict[str, float]:
    """One step of gradient descent.

    Returns:
        "steps": 1, the loss, its terms, and the cross-entropy over depth bins, to be summed over steps.

    Raises:
        TrainingError: the loss is not finite; names the samples.
    """
    images, depths, valids = (
        tensor.to(accelerator.device, non_blocking=True) for tensor in (batch.images, batch.depths, batch.valids)
    )
    optimizer.zero_grad(set_to_none=True)
    with accelerator.autocast():
        predictions = model(images)
    terms = loss_of.terms(predictions, depths, valids)
    loss = sum(loss_of.weights[name] * value for name, value in terms.items())
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(model.parameters(), clip_norm)
    entropy = bin_cross_entropy(
        predictions.detach()[..., ::2, ::2],
        depths[..., ::2, ::2],
        valids[..., ::2, ::2],
        min_depth=loss_of.min_depth,
        max_depth=loss_of.max_depth,
    )
    # One wait for the device, after all of its work but the last is under way.
    value, *others = torch.stack([t.detach().float() for t in (loss, *terms.values(), entropy)]).tolist()
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss became {value} on the samples {', '.join(batch.keys)}: look at their depth maps, or lower "
            "--learning-rate; --resume goes on from the last checkpoint"
        )
    optimizer.step()
    return {"steps": 1, "loss": value, **dict(zip((*terms, "cross_entropy"), others, strict=True))}


def validate(
    model: DepthUNet,
    dataset: Dataset,
    loss_of: DepthLoss,
    output: Path,
    epoch: int,
    accelerator: Accelerator,
    bad: list[str] | None = None,
) -> dict[str, float]:
    """Metrics of whole frames, unaligned, and the loss at the network's own size; every frame is counted once.

    Also writes the epoch's picture. What is wrong with samples that cannot be scored is added to `bad`, if given.

    Raises:
        SampleError: a sample cannot be read, or has no depth within the model's range, and there is no `bad`.
        TrainingError: not one sample is left.
    """
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    cap = model.config.min_depth, model.config.max_depth

    def samples() -> Iterator[DepthSample]:
        for index in tqdm(mine, "validate", unit="img", leave=False, disable=not accelerator.is_main_process):
            try:
                sample = dataset[index]
                if not sample.within(*cap).valid.any():
                    raise SampleError(f"{sample.key}: no valid depth of {cap[0]} to {cap[1]} m")
                yield sample
            except SampleError as error:
                if bad is None:
                    raise
                missed.append(str(error))
                tqdm.write(f"skipped {error}")

    results, pictured, missed = [], [], []
    for sample, prediction in predict_samples(model, samples()):
        metrics = score(sample, prediction, ("none",), cap)
        target = network_view(sample, model.config)
        seen = sample._replace(depth=torch.from_numpy(prediction.depth)[None])
        result = {name: metrics.metrics["none"][name] for name in ("abs_rel", "rmse", "delta1", "median_ratio")}
        predicted, wanted, valid = network_view(seen, model.config).depth[None], target.depth[None], target.valid[None]
        result["loss"] = loss_of(predicted, wanted, valid).item()
        result["cross_entropy"] = bin_cross_entropy(
            predicted, wanted, valid, min_depth=loss_of.min_depth, max_depth=loss_of.max_depth
        ).item()
        results.append(result)
        if len(pictured) < PICTURED and len(results) % max(1, len(mine) // PICTURED) == 0:
            pictured.append((sample, prediction, f"{sample.key}: AbsRel {result['abs_rel']:.3f}"))
    if accelerator.is_main_process and pictured:
        sheet = sample_sheet(*map(list, zip(*pictured, strict=True)))
        with _writing(output):
            sheet.save(output / f"epoch_{epoch + 1:03d}.jpg", quality=88)
    results = gather_object(results)
    if bad is not None:
        bad += gather_object(missed)
    if not results:
        raise TrainingError("not one of the validation samples could be read")
    return {f"val_{name}": sum(r[name] for r in results) / len(results) for name in results[0]}


def _prepare_worker(worker: int) -> None:
    torch.set_num_threads(1)  # workers are many; more threads in each would fight over the cores
    # A terminal sends Ctrl-C to them as well, but the last step still needs its batch.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
