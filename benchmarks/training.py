"""A training as a command of its own, which goes on where an earlier one was stopped."""

import subprocess
import sys
from pathlib import Path


def train(output: Path, arguments: list[str]) -> None:
    """Run `python -m train` with one thread and no other process, its words in `output`/log.txt.

    Raises:
        RuntimeError: it failed; says where its words are.
    """
    command = [sys.executable, "-m", "train", "--output", str(output), "--threads", "1", "--workers", "0", *arguments]
    if (output / "last.safetensors").exists():
        command += ["--resume"]
    output.mkdir(parents=True, exist_ok=True)
    with (output / "log.txt").open("a") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
            raise RuntimeError(f"training {output.name} failed: see {output / 'log.txt'}")
