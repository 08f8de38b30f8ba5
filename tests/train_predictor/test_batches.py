"""Every example is in one batch of an epoch, and a batch holds what its examples are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.train_predictor.batches import Batches, bucket_of, pad
from lamps_jax.train_predictor.data import Examples, Side

SIDES: tuple[Side, ...] = ("left", "right")
MAX_LENGTH = 80
LADDER = sorted(size << doubled for size in (32, 48) for doubled in range(8))
"""32, 48, 64, 96, 128, …"""


def examples_of(counts: list[int]) -> Examples:
    """Texts of so many tokens, no two with the same tokens."""
    tokens = np.arange(1, sum(counts) + 1, dtype=np.int32)
    return Examples(tokens, np.cumsum(counts), np.arange(len(counts), dtype=np.int32), ("",) * len(counts), 0)


def batches(counts: list[int], *, batch_size: int = 4, seed: int = 0, padding: Side = "right") -> Batches:
    labels = np.arange(len(counts), dtype=np.int32) % 5
    return Batches(examples_of(counts), labels, batch_size=batch_size, max_length=MAX_LENGTH, seed=seed, padding=padding)


MIXED = [int(count) for count in np.random.default_rng(0).integers(1, MAX_LENGTH + 1, 53)]

counts_of_tokens = st.lists(st.integers(1, MAX_LENGTH), min_size=1, max_size=40)


@given(counts_of_tokens, st.integers(1, 9), st.integers(0, 2))
def test_every_example_is_in_one_batch_of_each_epoch(counts: list[int], batch_size: int, seed: int) -> None:
    made = batches(counts, batch_size=batch_size, seed=seed)
    for epoch in range(2):
        chosen = made.epoch(epoch)
        assert len(chosen) == len(made)
        assert sorted(np.concatenate(chosen).tolist()) == list(range(len(counts)))
        assert all(1 <= len(each) <= batch_size for each in chosen)


@given(counts_of_tokens, st.integers(1, 9), st.sampled_from(SIDES))
def test_a_batch_is_its_examples_and_no_longer_than_they_need(counts: list[int], batch_size: int, padding: Side) -> None:
    made = batches(counts, batch_size=batch_size, padding=padding)
    for chosen in made.epoch(0):
        batch = made.batch(chosen)
        longest = max(counts[index] for index in chosen)
        length = min(next(size for size in LADDER if size >= longest), MAX_LENGTH)
        assert batch.token_ids.shape == batch.valid.shape == (batch_size, length)
        for row, index in enumerate(chosen):
            wanted = made.examples.token_ids(int(index)).tolist()
            filling = [0] * (length - len(wanted))
            assert batch.token_ids[row].tolist() == (wanted + filling if padding == "right" else filling + wanted)
            assert batch.valid[row].tolist() == (batch.token_ids[row] > 0).tolist()
            assert batch.labels[row] == index % 5
        assert batch.valid[len(chosen) :].sum(1).tolist() == [1] * (batch_size - len(chosen))
        np.testing.assert_allclose(batch.weights[: len(chosen)], 1 / len(chosen), rtol=1e-6)
        assert not batch.weights[len(chosen) :].any()


def test_a_batch_holds_examples_of_one_padded_length() -> None:
    made = batches(MIXED)
    for chosen in made.epoch(0):
        assert len({next(size for size in LADDER if size >= MIXED[index]) for index in chosen}) == 1


def test_the_same_seed_and_epoch_give_the_same_batches_and_others_do_not() -> None:
    def epoch(seed: int, epoch: int) -> list[list[int]]:
        return [chosen.tolist() for chosen in batches(MIXED, seed=seed).epoch(epoch)]

    made = batches(MIXED, seed=1)
    made.epoch(0)
    assert [chosen.tolist() for chosen in made.epoch(3)] == epoch(1, 3)
    assert epoch(1, 3) != epoch(1, 4)
    assert epoch(1, 3) != epoch(2, 3)


def test_lengths_are_mixed_over_an_epoch_and_examples_over_batches() -> None:
    made = batches(MIXED)
    lengths = [made.batch(chosen).valid.shape[1] for chosen in made.epoch(0)]
    assert lengths != sorted(lengths)
    beside = [{frozenset(map(int, chosen)) for chosen in made.epoch(epoch)} for epoch in range(2)]
    assert not beside[0] & {each for each in beside[1] if len(each) > 1}


def test_mean_tokens_is_without_padding() -> None:
    made = batches(MIXED)
    filled = [made.batch(chosen).valid[: len(chosen)].sum() for chosen in made.epoch(0)]
    assert made.mean_tokens == pytest.approx(np.mean(filled))


def test_padded_lengths_are_the_smallest_of_the_ladder_that_suffice() -> None:
    assert [bucket_of(length) for length in range(1, 3000)] == [
        next(size for size in LADDER if size >= length) for length in range(1, 3000)
    ]
    assert all(4 / 3 <= above / below <= 3 / 2 for below, above in pairwise(LADDER))
    assert [bucket_of(length, smallest=4) for length in (1, 4, 5, 7, 9)] == [4, 4, 6, 8, 12]


@pytest.mark.parametrize("side", SIDES)
def test_rows_that_lack_are_one_token_wherever_the_padding_is(side: Side) -> None:
    token_ids, valid = pad([np.array([5, 6], np.int32)], (3, 3), side)
    assert token_ids.tolist() == [[5, 6, 0] if side == "right" else [0, 5, 6], [0, 0, 0], [0, 0, 0]]
    assert valid.tolist() == [[True, True, False] if side == "right" else [False, True, True], *[[True, False, False]] * 2]
