"""The order of a run: every sample in its turn, the same however often a run is resumed and on how many processes."""

from collections import Counter

import pytest

from train.batches import EpochBatches, quotas


@pytest.mark.parametrize(("length", "batch_size", "world"), [(10, 2, 1), (11, 2, 1), (23, 3, 2), (64, 4, 4), (5, 1, 5)])
def test_every_epoch_is_dealt_out_once(length: int, batch_size: int, world: int) -> None:
    ranks = [list(EpochBatches([length], batch_size, 3, 0, rank=rank, world=world)) for rank in range(world)]
    steps = length // (batch_size * world)
    assert {len(batches) for batches in ranks} == {3 * steps}
    assert all(len(batch) == batch_size for batches in ranks for batch in batches)
    for epoch in range(3):
        places = [
            place for batches in ranks for batch in batches[epoch * steps : (epoch + 1) * steps] for place in batch
        ]
        assert {e for e, _ in places} == {epoch}
        counts = Counter(index for _, index in places)
        assert set(counts.values()) == {1} and set(counts) <= set(range(length))
        assert length - len(counts) < batch_size * world


def test_epochs_differ_and_what_one_leaves_out_another_takes() -> None:
    batches = list(EpochBatches([10], 4, 12, 0))
    epochs = [[index for batch in batches[2 * e : 2 * e + 2] for _, index in batch] for e in range(12)]
    assert len({tuple(epoch) for epoch in epochs}) == 12
    assert {index for epoch in epochs for index in epoch} == set(range(10))
    assert batches == list(EpochBatches([10], 4, 12, 0)) != list(EpochBatches([10], 4, 12, 1))


@pytest.mark.parametrize("start", [(0, 0), (0, 2), (1, 0), (1, 3), (2, 3), (3, 0)])
def test_resumed_is_the_rest_of_the_whole(start: tuple[int, int]) -> None:
    whole = list(EpochBatches([13], 4, 3, 5))
    rest = EpochBatches([13], 4, 3, 5, start=start)
    done = start[0] * 3 + start[1]
    assert list(rest) == whole[done:] and len(rest) == len(whole) - done


def test_more_processes_share_the_same_steps() -> None:
    together = [{place for place in batch} for batch in EpochBatches([30], 6, 2, 0)]
    ranks = [list(EpochBatches([30], 2, 2, 0, rank=rank, world=3)) for rank in range(3)]
    assert [set().union(*step) for step in zip(*ranks, strict=True)] == together


def test_too_few_samples_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="3 samples.*8.*--batch-size"):
        EpochBatches([3], 4, 1, 0, world=2)


# --- shares ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "shares", "expected"),
    [
        ([100, 900], [1, 1], [500, 500]),
        ([100, 900], [1, 9], [100, 900]),
        ([10, 10, 10], [2, 1, 1], [15, 8, 7]),
        ([5, 5], [0, 2], [0, 10]),
        ([3, 3, 4], [1, 1, 1], [4, 3, 3]),
    ],
)
def test_quotas_sum_to_an_epoch(lengths: list[int], shares: list[float], expected: list[int]) -> None:
    assert quotas(lengths, shares) == expected and sum(expected) == sum(lengths)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ([1.0], "one number for each data set: 2, not 1"),
        ([1, 1, 1], "2, not 3"),
        ([2, -1], "at least 0 .*not 2 -1"),
        ([0, 0], "not all 0"),
        ([1, float("nan")], "at least 0"),
        ([1, float("inf")], "at least 0"),
    ],
)
def test_impossible_shares_are_refused(shares: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        EpochBatches([4, 4], 2, 1, 0, shares=shares)
    assert "\n" not in str(refused.value)


def test_sets_are_cycled_through_across_epochs() -> None:
    batches = EpochBatches([3, 9], 4, 12, 0, shares=[1, 1])
    epochs = [[place for step in list(batches)[3 * e : 3 * e + 3] for place in step] for e in range(12)]
    for epoch in epochs:
        assert len(epoch) == 12 and sum(index < 3 for _, index in epoch) == 6
        assert len(set(epoch)) == 12  # what comes twice has another pass, and so another view
    places = [place for epoch in epochs for place in epoch]
    # 72 draws are 24 passes over the first set and 8 over the second.
    assert Counter(index for turn, index in places if index < 3) == dict.fromkeys(range(3), 24)
    assert Counter(index for turn, index in places if index >= 3) == dict.fromkeys(range(3, 12), 8)
    assert len(set(places)) == len(places)
    assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])
    assert {index for _, index in epochs[0] if index >= 3} != set(range(3, 9))  # a permutation, not the first ones


@pytest.mark.parametrize("start", [(0, 2), (1, 0), (2, 1)])
def test_a_resumed_run_draws_the_same(start: tuple[int, int]) -> None:
    whole = list(EpochBatches([4, 9], 4, 3, 5, shares=[2, 1]))
    assert list(EpochBatches([4, 9], 4, 3, 5, start=start, shares=[2, 1])) == whole[3 * start[0] + start[1] :]
    ranks = [list(EpochBatches([4, 9], 2, 3, 5, rank=rank, world=2, shares=[2, 1])) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*ranks, strict=True)] == [sorted(batch) for batch in whole]


def test_without_shares_the_order_is_that_of_0_1_0() -> None:
    assert EpochBatches([3, 4], 2, 2, 7).order(1) == [(1, index) for index in (6, 1, 4, 2, 3, 0, 5)]
