"""`python -m depth_unet.engines.ray folder/ --output out/ --workers 2`: many photos with Ray Data.

Writes the same files as `python -m depth_unet`, with one model per worker. On a cluster, photos, model and output must
have the same paths on every machine. Needs `pip install "ray[data]"`.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_unet.__main__ import GPU_BATCH, Outcome, check, find, make_folder, printable, process, summary
from depth_unet.__main__ import parser as parser_of_one
from depth_unet.engines import open_metric, open_model
from depth_unet.folders import Place
from depth_unet.hub import BUILT_IN

PER_CALL = 16  # photos per call of a worker


class Worker:
    """A model that stays in memory and processes batches of photos.

    Args:
        options: of the command line.
        places: all photos, and where their results go.
    """

    def __init__(self, options: argparse.Namespace, places: Sequence[Place]) -> None:
        import torch

        threads = max(1, int(options.cpus))
        torch.set_num_threads(threads)  # by default every worker would use all cores
        self.options, self.places = options, places
        # Ray shows each worker its own GPU, and none to those without.
        device = options.device if options.gpus or options.device != "auto" else "cpu"
        self.model = open_model(options.model, device=device, dtype=options.dtype, threads=threads)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict photos and write their files.

        Args:
            batch: "number", which of the photos.

        Returns:
            "number", "error", "note" and "existed" (see `Outcome`), "seconds" and "worker" of each.
        """
        rows: dict[str, list] = {name: [] for name in ("number", "error", "note", "existed", "seconds", "worker")}
        size = self.options.batch_size or (GPU_BATCH if self.options.gpus else 1)
        for start in range(0, len(batch["number"]), size):
            numbers = batch["number"][start : start + size]
            began = time.perf_counter()
            outcomes = process(self.model, [self.places[number] for number in numbers], self.options)
            seconds = (time.perf_counter() - began) / len(numbers)
            worker = f"{platform.node()}:{os.getpid()}"
            for number, outcome in zip(numbers, outcomes, strict=True):
                row = (number, printable(outcome.error), printable(outcome.note), outcome.existed, seconds, worker)
                for values, value in zip(rows.values(), row, strict=True):
                    values.append(value)
        return {name: np.array(values) for name, values in rows.items()}


def parser() -> argparse.ArgumentParser:
    """The command line: the options of `python -m depth_unet` and those of Ray."""
    made = parser_of_one()
    made.prog = "python -m depth_unet.engines.ray"
    group = made.add_argument_group("ray")
    group.add_argument("--workers", type=int, default=2, help="models in parallel")
    group.add_argument("--cpus", type=float, default=1, help="CPUs of each worker")
    group.add_argument("--gpus", type=float, default=0, help="GPUs of each worker, e.g. 1 or 0.5")
    group.add_argument("--address", help="of a running cluster, or auto  (default: this machine only)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, 1 if a photo failed, 2 if nothing could be started."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    try:
        import ray
        import ray.data
    except ImportError:
        print('error: Ray is not installed: pip install "depth_unet[ray]"', file=sys.stderr)
        return 2
    try:
        check(options)
        # Workers have other working directories.
        options.output = options.output.absolute()
        options.photos = [photo.absolute() for photo in options.photos]
        if options.model not in BUILT_IN and Path(options.model).exists():
            options.model = str(Path(options.model).absolute())
        places = find(options)
        open_metric(options.model, "cpu", options.dtype)  # report an error once, not in every worker
        make_folder(options)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return 2
    # Declare as many CPUs as the workers need and one for the scheduler.
    local = {} if options.address else {"num_cpus": int(options.workers * options.cpus) + 1, "include_dashboard": False}
    ray.init(address=options.address, log_to_driver=False, **local)
    began = time.perf_counter()
    try:
        pieces = min(len(places), max(options.workers, len(places) // PER_CALL))
        numbers = [{"number": number} for number in range(len(places))]
        data = ray.data.from_items(numbers, override_num_blocks=pieces).map_batches(
            Worker,
            fn_constructor_args=(options, places),
            batch_size=PER_CALL,
            compute=ray.data.ActorPoolStrategy(size=options.workers),
            num_cpus=options.cpus,
            num_gpus=options.gpus or None,
        )
        rows = data.take_all()
    finally:
        seconds = time.perf_counter() - began
        ray.shutdown()
    outcomes = [
        Outcome(places[row["number"]].source, row["error"], row["note"], bool(row["existed"]))
        for row in sorted(rows, key=lambda row: row["number"])
    ]
    for outcome in outcomes:
        if line := outcome.describe():
            print(line, file=sys.stderr)
    for worker in sorted({row["worker"] for row in rows}):
        own = [row["seconds"] for row in rows if row["worker"] == worker]
        print(f"worker {worker}: {len(own)} photos, {len(own) / sum(own):.2f} images/s")
    print(f"{printable(summary(outcomes, len(places), options.output))}; {seconds:.0f} s including start-up")
    return 1 if any(outcome.error for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
