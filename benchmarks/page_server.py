"""The page in a process of its own, for the commands that measure or photograph it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the page on a free port with one thread; it ends with the block.

    Args:
        folder: for log.txt and the files of visitors; it must exist.
        options: of `python -m depth_unet.page`, besides the port.

    Yields:
        The page's address, with a slash at its end, and the process.

    Raises:
        RuntimeError: the page did not start; the message contains its log.
        TimeoutError: it takes more than ten minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "depth_unet.page", *options, "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder / "served")}
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(3000):  # the start takes minutes on a busy machine
                try:
                    urllib.request.urlopen(url + "health", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    if server.poll() is not None:
                        raise RuntimeError(f"the page did not start: {(folder / 'log.txt').read_text()}") from None
                    time.sleep(0.2)
            else:
                raise TimeoutError("the page did not start")
            yield url, server
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(300)  # as with the start
            server.kill()
