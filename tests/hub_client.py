"""A hub of one's own for a test, and a process whose huggingface_hub speaks with it (it reads its settings once)."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("hub_server.py")
TOKENS = {"owner": "hf_ownersSecret", "stranger": "hf_strangersSecret", "reader": "hf_readersSecret"}


class Hub:
    """A running server with the users owner and stranger; "reader" is a token of owner's that may only read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        users = {"owner": "owner", "stranger": "stranger", "reader": "owner:read"}
        tokens = [f"--token={TOKENS[name]}={user}" for name, user in users.items()]
        self.process = subprocess.Popen([sys.executable, SERVER, folder, *tokens], stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().strip()

    def break_route(self, kind: str | None = None, how: str = "503") -> None:
        """Let a kind of request fail from now on; none for all to work again."""
        (self.folder / "faults").write_text(f"{kind} {how}\n" if kind else "")

    def stop(self) -> None:
        """End the server; its files stay."""
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Client:
    """A process of its own, in which functions of a test module are called.

    Args:
        endpoint: address of the hub to speak with.
        home: folder for the cache.
    """

    def __init__(self, endpoint: str, home: Path) -> None:
        self.settings = {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def call(self, function: Callable, *arguments: Any, token: str | None = None, **options: Any) -> Any:
        """The function's result, or its exception, with the token of one of `TOKENS` (or another, or none) set."""
        before = dict(os.environ)
        os.environ.update(self.settings)  # the process begins with the first call, and inherits
        os.environ.pop("HF_TOKEN", None)
        try:
            return self.pool.submit(_with_token, TOKENS.get(token, token), function, arguments, options).result()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def close(self) -> None:
        """End the process."""
        self.pool.shutdown()


def _with_token(token: str | None, function: Callable, arguments: tuple, options: dict) -> Any:
    if token is None:
        os.environ.pop("HF_TOKEN", None)
    else:
        os.environ["HF_TOKEN"] = token
    return function(*arguments, **options)
