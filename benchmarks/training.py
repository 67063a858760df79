"""A training as a command of its own, which resumes after an interruption and runs once."""

import subprocess
import sys
from pathlib import Path

FINISHED = "finished"  # a file in the folder of a run that came to its end


def train(output: Path, arguments: list[str]) -> None:
    """Run `python -m train` with one thread and no worker process, unless it is finished; it logs to `output`/log.txt.

    Raises:
        RuntimeError: it failed; the message names the log.
    """
    if (output / FINISHED).exists():
        return
    command = [sys.executable, "-m", "train", "--output", str(output), "--threads", "1", "--workers", "0", *arguments]
    if (output / "last.safetensors").exists():
        command += ["--resume"]
    output.mkdir(parents=True, exist_ok=True)
    with (output / "log.txt").open("a") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
            raise RuntimeError(f"training {output.name} failed: see {output / 'log.txt'}")
    (output / FINISHED).touch()
