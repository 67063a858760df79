"""The rows of the ablations: which data each one trains on, and in which shares."""

import argparse
from pathlib import Path

import pytest
from scenes import write_rgbd

from benchmarks.ablations import ROWS, STEPS, Row, arguments, data_table_of, rooms_text, sizes
from train.__main__ import parse


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    sets = {name: f"rgbd:{write_rgbd(tmp_path / name, count)}" for name, count in (("a", 9), ("b", 4), ("c", 8))}
    return argparse.Namespace(
        data=[sets["a"]],
        also=[["rooms", sets["b"], sets["c"]]],
        val_data=sets["a"],
        encoders=tmp_path,
        runs=tmp_path / "runs",
    )


def test_a_share_of_a_group_is_divided_by_size(options: argparse.Namespace) -> None:
    row = Row("data", "x", epochs=3, shares={"nyu": 2, "rooms": 3})
    parsed = parse([*arguments(row, options), "--output", "x"])
    assert parsed.data == [options.data[0], *options.also[0][1:]]
    assert parsed.shares == [2, 1, 2] and parsed.limit_batches == STEPS and parsed.epochs == 3
    assert sizes(row, options) == {"samples": 21, "pictures": 3 * 2 * 8}


def test_a_row_without_shares_has_the_data_of_the_command(options: argparse.Namespace) -> None:
    parsed = parse([*arguments(Row("loss", "x"), options), "--output", "x"])
    assert parsed.data == options.data and parsed.shares is None and parsed.limit_batches == 0


def test_a_row_that_cannot_be_trained_is_refused_with_the_reason(options: argparse.Namespace) -> None:
    with pytest.raises(ValueError, match="needs --also places"):
        arguments(ROWS["places"], options)
    with pytest.raises(ValueError, match="do that one first"):
        arguments(ROWS["rooms_nyu"], options)
    (options.runs / "rooms_alone" / "best").mkdir(parents=True)
    parsed = parse([*arguments(ROWS["rooms_nyu"], options), "--output", "x"])
    assert parsed.model == str(options.runs / "rooms_alone" / "best") and parsed.encoder_weights is None


def test_every_row_begins_with_one_that_is_there_and_before_it() -> None:
    names = list(ROWS)
    for name, row in ROWS.items():
        assert not row.begin or names.index(row.begin) < names.index(name)


def test_the_table_of_data() -> None:
    scores = {"abs_rel": 0.2, "delta1": 0.7, "median_abs_rel": 0.1, "median_delta1": 0.8, "median_ratio": 0.9}
    first = {"name": "one", "samples": 1000, "pictures": 7968, "others": {"office": [0.3, 0.5]}, **scores}
    second = first | {"name": "two", "others": {}, "command": {"size": "96x128"}}
    lines = data_table_of({"a": first, "b": second}).splitlines()
    assert lines[2] == "| one | 1,000 | 7,968 | 0.2000 / 0.7000 | 0.1000 / 0.8000 | 0.3000 / 0.5000 | 0.900 |"
    assert lines[3].split("|")[6].strip() == ""
    assert "1,000 frames" in rooms_text(second) and "0.200 / 0.700" in rooms_text(second)
