"""CPU time of a rendered frame, by part, and how many frames two processes give.

`python -m benchmarks.render --furniture LIBRARY...` renders rooms with one process and with two, and fills the block
"render_speed" of docs/rendered_rooms.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from depth_unet.data.rgbd import RgbdFolder
from depth_unet.files import write_json
from train.documents import fill, markdown_table
from train.render.folder import ROOM_FILE

ROOT = Path(__file__).parent.parent


class Run(NamedTuple):
    """What a run of the command cost.

    Args:
        frames: rendered.
        wall_s: seconds on the clock.
        cpu_s: seconds of all its processes, with the start of Blender.
        parts: CPU seconds of each part, without the start.
    """

    frames: int
    wall_s: float
    cpu_s: float
    parts: dict[str, float]


def run(options: argparse.Namespace, processes: int) -> Run:
    """Render rooms in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "train.render",
            "--output",
            folder,
            "--furniture",
            *map(str, options.furniture),
        ]
        command += ["--rooms", str(options.rooms), "--views", str(options.views), "--processes", str(processes)]
        begin, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall, after = time.perf_counter() - begin, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        rooms = [json.loads(file.read_text("utf-8"))["cpu_s"] for file in Path(folder).glob(f"*/{ROOM_FILE}")]
        return Run(len(RgbdFolder(folder)), wall, cpu, {part: sum(room[part] for room in rooms) for part in rooms[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--furniture", type=Path, nargs="+", required=True, help="libraries, as of train.render")
    parser.add_argument("--rooms", type=int, default=12, help="rooms of each run")
    parser.add_argument("--views", type=int, default=6, help="frames of each room")
    options = parser.parse_args()
    one, two = run(options, 1), run(options, 2)
    rows = [[part, f"{seconds / one.frames:.2f}"] for part, seconds in one.parts.items()]
    rows.append(["all parts", f"{sum(one.parts.values()) / one.frames:.2f}"])
    rows.append(
        ["whole command, with the start of Blender and the first use of each model", f"{one.cpu_s / one.frames:.2f}"]
    )
    speed, cost = two.frames / two.wall_s / (one.frames / one.wall_s), two.cpu_s / two.frames / (one.cpu_s / one.frames)
    text = (
        f"{one.frames} frames of {options.rooms} rooms, 240x320, one thread. Two processes give {speed:.2f} times the "
        f"frames of one on the clock of a machine with {os.cpu_count()} processors, and need {cost:.2f} times its CPU "
        "seconds a frame."
    )
    table = markdown_table(["part", "CPU seconds a frame"], rows)
    print(f"{text}\n\n{table}")
    write_json(ROOT / "benchmarks/results/render.json", {"one": one._asdict(), "two": two._asdict()})
    fill(ROOT / "docs/rendered_rooms.md", "render_speed", f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
