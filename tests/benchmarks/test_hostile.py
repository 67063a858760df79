"""The bench of hostile inputs: it runs, it repeats, and it can fail."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hostile import CLEAR, RIGHT, WRONG, judge, make, outcomes, run, table, workplace
from benchmarks.hostile_inputs import KINDS, Case, Workplace
from depth_unet import Prediction
from depth_unet.data.sample import SampleError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the bench forks its processes, which needs POSIX")
ALONE = [kind for kind in KINDS if kind != "requests"]


@pytest.fixture(scope="module")
def place() -> Workplace:
    with workplace([]) as made:
        yield made


def test_a_few_of_each_kind() -> None:
    pytest.importorskip("av", reason="the optional package av is not installed")
    found = run(ALONE, list(range(5)))
    assert not [outcome for outcome in found if outcome.column == WRONG]
    assert [(outcome.kind, outcome.number) for outcome in found] == [(kind, n) for kind in ALONE for n in range(5)]
    assert {outcome.column for outcome in found} == {RIGHT, CLEAR}
    assert table(found).splitlines()[-1].startswith("| all | 30 |")


@pytest.mark.parametrize("kind", [kind for kind in ALONE if kind != "clips"])
def test_the_seed_makes_the_same_input(kind: str, place: Workplace, tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        folder = tmp_path / name / "x"
        folder.mkdir(parents=True)
        made.append((make(kind, 3, 7, place._replace(folder=folder)).what, written(folder)))
    assert made[0] == made[1]


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_wrong_value_is_found(monkeypatch: pytest.MonkeyPatch, place: Workplace) -> None:
    """A reader that is wrong by two hundredths."""
    load = Prediction.load.__func__

    def wrong(cls: type[Prediction], *arguments: object, **options: object) -> Prediction:
        loaded = load(cls, *arguments, **options)
        return Prediction(loaded.depth + np.float32(0.02), loaded.camera, loaded.name)

    monkeypatch.setattr(Prediction, "load", classmethod(wrong))
    found = list(outcomes("arrays and files", list(range(12)), 0, place))
    assert WRONG in {outcome.column for outcome in found}


def raised(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


SENTENCE = "room.jpg is not a picture; give another"
JUDGED = [
    (Case("", lambda: 2, lambda value: None), RIGHT),
    (Case("", lambda: 2, lambda value: "another value"), WRONG),
    (Case("", lambda: 2, None, True), WRONG),  # accepted
    (Case("", raised(ValueError(SENTENCE)), None, True), CLEAR),
    (Case("", raised(SampleError(SENTENCE)), None, True), CLEAR),
    (Case("", raised(ValueError(SENTENCE)), lambda value: None), WRONG),  # legal, and refused
    (Case("", raised(KeyError(SENTENCE)), None, True), WRONG),
    (Case("", raised(UnicodeError(SENTENCE)), None, True), WRONG),
    (Case("", raised(ValueError("Traceback (most recent call last)")), None, True), WRONG),
    (Case("", raised(ValueError("cannot open /tmp/somewhere/x")), None, True), WRONG),
    (Case("", raised(ValueError("cannot open /tmp/somewhere/x")), None, True, "/tmp/somewhere"), CLEAR),
    (Case("", raised(ValueError("")), None, True), WRONG),
    (Case("", raised(ValueError("two\nlines of text")), None, True), WRONG),
    (Case("", raised(ValueError("x" * 5000)), None, True), WRONG),
]


@pytest.mark.parametrize(("case", "column"), JUDGED)
def test_what_counts_as_what(case: Case, column: str) -> None:
    assert judge(case)[0] == column


def test_crashes_hangs_and_memory_are_wrong(monkeypatch: pytest.MonkeyPatch, place: Workplace) -> None:
    """Each costs its own input alone."""

    def hostile(rng: random.Random, place: Workplace) -> Case:
        number = int(place.folder.name)
        acts = [lambda: 2, lambda: os._exit(3), lambda: 2, lambda: time.sleep(99), lambda: np.ones(40_000_000).sum()]
        return Case("", (acts * 2)[number], lambda value: None)

    monkeypatch.setitem(KINDS, "photos", hostile)
    monkeypatch.setattr("benchmarks.hostile.LIMIT_BYTES", 200_000_000)
    found = list(outcomes("photos", list(range(6)), 0, place, limit_s=5))
    assert [outcome.column for outcome in found] == [RIGHT, WRONG, RIGHT, WRONG, WRONG, RIGHT]
    assert "ended with 3" in found[1].why and "more than 5 s" in found[3].why and "MB of memory" in found[4].why
