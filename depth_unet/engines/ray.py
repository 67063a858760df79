"""`python -m depth_unet.engines.ray folder/ --output out/ --workers 2`: photos too many for one process, on Ray Data.

The same files as `python -m depth_unet` writes, by one model per worker; on a cluster, photos and output must lie
where every machine sees them under the same path. Needs Ray: pip install "ray[data]".
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from depth_unet.__main__ import find_photos, write_results
from depth_unet.__main__ import parser as parser_of_one
from depth_unet.model import DepthUNet


class Worker:
    """A model that stays in memory, and works through batches of photos.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        torch.set_num_threads(max(1, int(options.cpus)))  # else every worker would take the whole machine
        self.options = options
        self.model = DepthUNet.from_pretrained(options.model)
        if options.gpus:
            self.model.to("cuda")

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict photos and write their files.

        Args:
            batch: "photo" and "result", paths.

        Returns:
            "photo", "error" (empty if all went well), "seconds" and "worker" of each.
        """
        rows: dict[str, list[Any]] = {"photo": [], "error": [], "seconds": [], "worker": []}
        for photo, result in zip(batch["photo"], batch["result"], strict=True):
            began, error = time.perf_counter(), ""
            try:
                write_results(self.model, Path(str(photo)), Path(str(result)), self.options)
            except (OSError, ValueError) as failure:
                error = str(failure)
            seconds = time.perf_counter() - began
            for name, value in zip(
                rows, (str(photo), error, seconds, f"{os.uname().nodename}:{os.getpid()}"), strict=True
            ):
                rows[name].append(value)
        return {name: np.array(values) for name, values in rows.items()}


def parser() -> argparse.ArgumentParser:
    """The command line: that of `python -m depth_unet`, and what Ray needs to know."""
    made = parser_of_one()
    made.prog = "python -m depth_unet.engines.ray"
    group = made.add_argument_group("ray")
    group.add_argument("--workers", type=int, default=2, help="models that work side by side")
    group.add_argument("--cpus", type=float, default=1, help="CPUs of each worker")
    group.add_argument("--gpus", type=float, default=0, help="GPUs of each worker, e.g. 1 or 0.5")
    group.add_argument("--batch-size", type=int, default=16, help="photos that a worker is handed at once")
    group.add_argument("--address", help="of a running cluster, or auto  (default: this machine alone)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 if a photo failed, 2 if nothing could begin."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here reports to anybody
    try:
        import ray
        import ray.data
    except ImportError:
        print('error: Ray is not installed: pip install "depth_unet[ray]"', file=sys.stderr)
        return 2
    try:
        DepthUNet.from_pretrained(options.model)  # a mistake is told here, and not by every worker
        # Workers run in folders of their own.
        options.output = options.output.absolute()
        photos = [
            {"photo": str(photo.absolute()), "result": str(result)}
            for photo, result in find_photos(options.photos, options.output)
        ]
        if not photos:
            raise FileNotFoundError(f"no pictures in {', '.join(map(str, options.photos))}")
        options.output.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(options.model):
            options.model = os.path.abspath(options.model)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # On this machine as many CPUs are declared as the workers ask for, and one to hand out the work.
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
    done = f"{len(rows) - len(failed)} of {len(photos)} photos done in {seconds:.0f} s, the workers' start included"
    print(f"{done}, results in {options.output}" + (f"; {len(failed)} failed" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
