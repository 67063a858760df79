"""`python -m depth_unet.engines.ray folder/ --output out/ --workers 2`: many photos with Ray Data.

Writes the same files as `python -m depth_unet`, with one model per worker. On a cluster, photos, model and output must
have the same paths on every machine. Needs `pip install "ray[data]"`.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from depth_unet.__main__ import find_photos, write_results
from depth_unet.__main__ import parser as parser_of_one
from depth_unet.engines import open_metric, open_model


class Worker:
    """A model that stays in memory and processes batches of photos.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        threads = max(1, int(options.cpus))
        torch.set_num_threads(threads)  # by default every worker would use all cores
        self.options = options
        # Ray shows each worker its own GPU, and none to those without.
        device = options.device if options.gpus or options.device != "auto" else "cpu"
        self.model = open_model(options.model, device=device, dtype=options.dtype, threads=threads)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict photos and write their files.

        Args:
            batch: "photo" and "result", paths.

        Returns:
            "photo", "error" (empty without one), "seconds" and "worker" of each.
        """
        rows: dict[str, list[Any]] = {"photo": [], "error": [], "seconds": [], "worker": []}
        for photo, result in zip(batch["photo"], batch["result"], strict=True):
            began, error = time.perf_counter(), ""
            try:
                write_results(self.model, Path(str(photo)), Path(str(result)), self.options)
            except (OSError, ValueError) as failure:
                error = str(failure)
            seconds = time.perf_counter() - began
            worker = f"{platform.node()}:{os.getpid()}"
            for name, value in zip(rows, (str(photo), error, seconds, worker), strict=True):
                rows[name].append(value)
        return {name: np.array(values) for name, values in rows.items()}


def parser() -> argparse.ArgumentParser:
    """The command line: the options of `python -m depth_unet` and those of Ray."""
    made = parser_of_one()
    made.prog = "python -m depth_unet.engines.ray"
    group = made.add_argument_group("ray")
    group.add_argument("--workers", type=int, default=2, help="models in parallel")
    group.add_argument("--cpus", type=float, default=1, help="CPUs of each worker")
    group.add_argument("--gpus", type=float, default=0, help="GPUs of each worker, e.g. 1 or 0.5")
    group.add_argument("--batch-size", type=int, default=16, help="photos per call of a worker")
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
        open_metric(options.model, "cpu", options.dtype)  # report an error once, not in every worker
        # Workers have other working directories.
        options.output = options.output.absolute()
        photos = [
            {"photo": str(photo.absolute()), "result": str(result)}
            for photo, result in find_photos(options.photos, options.output)
        ]
        if not photos:
            raise FileNotFoundError(f"no images in {', '.join(map(str, options.photos))}")
        options.output.mkdir(parents=True, exist_ok=True)
        if Path(options.model).exists():
            options.model = str(Path(options.model).absolute())
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Declare as many CPUs as the workers need and one for the scheduler.
    local = {} if options.address else {"num_cpus": int(options.workers * options.cpus) + 1, "include_dashboard": False}
    ray.init(address=options.address, log_to_driver=False, **local)
    began = time.perf_counter()
    try:
        pieces = min(len(photos), max(options.workers, len(photos) // options.batch_size))
        data = ray.data.from_items(photos, override_num_blocks=pieces).map_batches(
            Worker,
            fn_constructor_args=(options,),
            batch_size=options.batch_size,
            compute=ray.data.ActorPoolStrategy(size=options.workers),
            num_cpus=options.cpus,
            num_gpus=options.gpus or None,
        )
        rows = data.take_all()
    finally:
        seconds = time.perf_counter() - began
        ray.shutdown()
    failed = [row for row in rows if row["error"]]
    for row in failed:
        print(f"failed: {row['photo']}: {row['error']}", file=sys.stderr)
    for worker in sorted({row["worker"] for row in rows}):
        own = [row["seconds"] for row in rows if row["worker"] == worker]
        print(f"worker {worker}: {len(own)} photos, {len(own) / sum(own):.2f} images/s")
    done = f"{len(rows) - len(failed)} of {len(photos)} photos done in {seconds:.0f} s including start-up"
    print(f"{done}, results in {options.output}" + (f"; {len(failed)} failed" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
