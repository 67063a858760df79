"""Gives the product thousands of odd, damaged and wrong inputs, and counts what comes of them.

`python -m benchmarks.hostile` writes benchmarks/results/hostile.json and fills the block "hostile" of
benchmarks/README.md. An input counts as right if the value known from how it was made comes back, and as a clear error
if one sentence says why it is refused. Everything else is wrong: another exception, a wrong value, a refused input
that is legal, an accepted one that is not, more than a minute or 2 GB. `--only photos:17` repeats one input.
"""

import argparse
import importlib.util
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.hostile_inputs import KINDS, TINY, Case, Workplace
from benchmarks.page_server import serving
from depth_unet import DepthUNet
from depth_unet.data.sample import NoDepthError, SampleError
from depth_unet.engines.onnx import ForeignModelError
from depth_unet.files import write_json
from train.documents import fill, markdown_table

HERE = Path(__file__).parent
RIGHT, CLEAR, WRONG = "right", "clear error", "wrong"
ERRORS = (ValueError, TypeError, FileNotFoundError, SampleError, NoDepthError, ForeignModelError)  # no others
LIMIT_S = 60
LIMIT_BYTES = 2_000_000_000
LONGEST = 1200  # characters of a sentence
# A path of the machine, a traceback, or the name of an object.
UNCLEAR = re.compile(r"\n|Traceback|site-packages|object at 0x|(?<![\w.~<])/(tmp|root|home|usr|work|var|Users)/")
NEEDS = {"requests": ("gradio", "httpx"), "clips": ("av",)}


class Outcome(NamedTuple):
    """What came of one input.

    Args:
        kind: of `KINDS`.
        number: with seed and kind, all that is needed to make it again.
        column: `RIGHT`, `CLEAR` or `WRONG`.
        what: how it was made.
        why: the error, or what is wrong.
        seconds: that it took.
    """

    kind: str
    number: int
    column: str
    what: str
    why: str
    seconds: float = 0.0


def judge(case: Case) -> tuple[str, str]:
    """The column of a case, and the error or what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = case.act()
            wrong = case.check(value) if case.check else f"accepted, though it is wrong: {value!r:.200}"
    except Exception as error:  # of any class: which one is what is judged
        text = " ".join(map(str, error.args)) if isinstance(error, FileNotFoundError) else str(error)
        described = f"{type(error).__name__}: {text}"
        if not case.refusable:
            return WRONG, f"refused, though it is right: {described}"
        rest = text.replace(case.named, "PATH") if case.named else text
        if type(error) not in ERRORS or UNCLEAR.search(rest) or not 8 <= len(text) <= LONGEST:
            return WRONG, described
        return CLEAR, described
    return (WRONG, wrong) if wrong else (RIGHT, "")


def make(kind: str, number: int, seed: int, place: Workplace) -> Case:
    """An input again."""
    return KINDS[kind](random.Random(f"{seed}/{kind}/{number}"), place)


def _try(kind: str, numbers: list[int], seed: int, place: Workplace, results: Connection) -> None:
    """In a process of its own: judge these inputs, one after the other."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # decoders print there
    torch.set_num_threads(1)
    start = peak_bytes()
    for number in numbers:
        folder = place.folder / kind / f"{number}"
        folder.mkdir(parents=True)
        try:
            case = make(kind, number, seed, place._replace(folder=folder))
        except Exception as error:
            results.send(f"not made: {error!r}")
            raise
        results.send(case.what)
        began = time.monotonic()
        column, why = judge(case)
        taken = peak_bytes() - start
        if taken > LIMIT_BYTES:
            column, why = WRONG, f"{taken / 1e6:.0f} MB of memory"
        results.send(Outcome(kind, number, column, case.what, why, time.monotonic() - began))
        shutil.rmtree(folder, ignore_errors=True)
        if taken > LIMIT_BYTES:
            return  # the peak stays: the rest needs another process


def peak_bytes() -> int:
    """The most memory that this process has held; 0 where the system does not count it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def outcomes(kind: str, numbers: list[int], seed: int, place: Workplace, limit_s: float = LIMIT_S) -> Iterator[Outcome]:
    """Judge inputs in a process that is replaced after a crash, a hang, or too much memory."""
    numbers = list(numbers)
    while numbers:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        # Forked, so that the model is there at once.
        process = multiprocessing.get_context("fork").Process(target=_try, args=(kind, numbers, seed, place, sender))
        process.start()
        sender.close()
        try:
            while numbers:
                what, began = "not made", time.monotonic()
                try:
                    for _ in range(2):
                        if not receiver.poll(limit_s):
                            raise TimeoutError
                        received = receiver.recv()
                        what = received if isinstance(received, str) else what
                    numbers.remove(received.number)
                    yield received
                except TimeoutError:
                    yield Outcome(kind, numbers.pop(0), WRONG, what, f"more than {limit_s} s", time.monotonic() - began)
                    break
                except EOFError:
                    process.join()
                    if process.exitcode == 0:
                        break  # it ended for its memory
                    yield Outcome(kind, numbers.pop(0), WRONG, what, f"the process ended with {process.exitcode}")
                    break
        finally:
            process.kill()
            process.join()
            receiver.close()


@contextmanager
def workplace(kinds: list[str]) -> Iterator[Workplace]:
    """A tiny model with its files, and a server where it is needed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        model = DepthUNet(TINY).eval()
        model.save_pretrained(folder / "model")
        place = Workplace(folder / "cases", model, folder / "model")
        if "configs and weights" in kinds and all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))):
            from depth_unet.engines.onnx_export import export

            place = place._replace(onnx=Path(export(model, folder / "model.onnx")))
        if "requests" not in kinds:
            yield place
            return
        with serving(folder, "--model", str(folder / "model")) as (url, _):
            yield place._replace(url=url)


def possible(kinds: list[str]) -> list[str]:
    """The kinds whose packages are installed; prints why others are left out."""
    found = []
    for kind in kinds:
        missing = [name for name in NEEDS.get(kind, ()) if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{kind}: left out, {' and '.join(missing)} not installed")
        else:
            found.append(kind)
    return found


def run(kinds: list[str], numbers: list[int], seed: int = 0) -> list[Outcome]:
    """Make and judge these inputs of each kind."""
    with workplace(kinds) as place:
        every = (outcome for kind in kinds for outcome in outcomes(kind, numbers, seed, place))
        return list(tqdm(every, "inputs", total=len(kinds) * len(numbers), disable=None))


def table(found: list[Outcome]) -> str:
    """Counts by kind, and of all."""
    kinds = list(dict.fromkeys(outcome.kind for outcome in found))
    rows = []
    for name, chosen in [*((kind, [o for o in found if o.kind == kind]) for kind in kinds), ("all", found)]:
        columns = [outcome.column for outcome in chosen]
        rows.append([name, len(chosen), *(columns.count(column) for column in (RIGHT, CLEAR, WRONG))])
    return markdown_table(["kind", "tried", RIGHT, CLEAR, WRONG], rows)


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (default: 0)")
    parser.add_argument("--count", type=int, default=300, help="inputs of each kind (default: 300)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(default: all)")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="repeat one input; nothing is written")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    kinds, numbers = options.kinds, list(range(options.count))
    if options.only:
        kind, _, number = options.only.rpartition(":")
        if kind not in KINDS or not number.isdecimal():
            parser.error(f"--only takes one of {', '.join(KINDS)}, a colon and a number, not {options.only!r}")
        kinds, numbers = [kind], [int(number)]
    found = run(possible(kinds), numbers, options.seed)
    wrong = [outcome for outcome in found if outcome.column == WRONG]
    for each in found if options.only else wrong:
        print(f"--seed {options.seed} --only {each.kind!r}:{each.number}  {each.column}  {each.what}\n    {each.why}")
    counts = table(found)
    print(counts)
    if not options.only and kinds == list(KINDS):
        results = {"seed": options.seed, "count": options.count, "slowest_s": round(max(o.seconds for o in found), 1)}
        rows = [{**each._asdict(), "seconds": round(each.seconds, 2)} for each in wrong]
        by_kind = {kind: [o.column for o in found if o.kind == kind] for kind in kinds}
        columns = {kind: {c: all_of_it.count(c) for c in (RIGHT, CLEAR, WRONG)} for kind, all_of_it in by_kind.items()}
        (HERE / "results").mkdir(exist_ok=True)
        write_json(HERE / "results" / "hostile.json", {**results, "kinds": columns, "wrong": rows})
        fill(HERE / "README.md", "hostile", counts)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
