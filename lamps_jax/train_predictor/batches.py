"""Examples in padded batches, those of a batch of similar length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from lamps_jax.train_predictor.data import Examples, Side


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded examples.

    Attributes:
        token_ids: Padding is 0 where `valid` is not.
        labels: The bin of each example's length.
        weights: Of each example in the loss; they add up to one, and rows that fill the batch up have none.
    """

    token_ids: Int[np.ndarray, "batch length"]
    valid: Bool[np.ndarray, "batch length"]
    labels: Int[np.ndarray, " batch"]
    weights: Float[np.ndarray, " batch"]


def pad(rows: Sequence[Int[np.ndarray, " length"]], shape: tuple[int, int], side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Token ids ``[batch, length]`` of `rows` padded on one side, and where they are tokens; rows that lack are one token 0."""
    token_ids, valid = np.zeros(shape, np.int32), np.zeros(shape, bool)
    valid[len(rows) :, 0] = True
    for place, row in enumerate(rows):
        filled = slice(shape[1] - len(row), None) if side == "left" else slice(0, len(row))
        token_ids[place, filled], valid[place, filled] = row, True
    return token_ids, valid


def bucket_of(length: int, *, smallest: int = 32) -> int:
    """The padded length of texts of `length` tokens: `smallest`, or it doubled and once half as much again, as often as needed.

    Steps of a half and a third waste a seventh of the places on the average, and there are few programs.
    """
    bucket = smallest
    while bucket < length:
        bucket = bucket * 3 // 2 if bucket & (bucket - 1) == 0 else bucket // 3 * 4
    return bucket


class Batches:
    """The batches of each epoch, a pure function of the seed and the epoch; the examples of a batch are of similar length.

    Args:
        labels: The bin of each example.
        max_length: No batch is longer.
    """

    def __init__(
        self,
        examples: Examples,
        labels: Int[np.ndarray, " n"],
        *,
        batch_size: int,
        max_length: int,
        seed: int = 0,
        padding: Side = "right",
    ):
        self.examples, self.batch_size = examples, batch_size
        self._labels, self._max_length, self._seed = labels, max_length, seed
        self._padding: Side = padding
        counts = examples.num_tokens
        bucket = {int(count): min(bucket_of(int(count)), max_length) for count in np.unique(counts)}
        self._buckets = np.asarray([bucket[int(count)] for count in counts])
        _, sizes = np.unique(self._buckets, return_counts=True)
        self._num_batches = int((-(-sizes // batch_size)).sum())

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._num_batches

    @property
    def mean_tokens(self) -> float:
        """Tokens of a batch on the average, without padding."""
        return float(self.examples.num_tokens.sum()) / len(self)

    def epoch(self, epoch: int) -> list[Int[np.ndarray, " batch"]]:
        """The examples of each batch, by number."""
        rng, buckets = np.random.default_rng((self._seed, epoch)), self._buckets
        order = rng.permutation(len(self.examples))
        chosen = [
            alike[start : start + self.batch_size]
            for bucket in np.unique(buckets)
            for alike in (order[buckets[order] == bucket],)
            for start in range(0, len(alike), self.batch_size)
        ]
        return [chosen[place] for place in rng.permutation(len(chosen))]

    def batch(self, chosen: Int[np.ndarray, " batch"]) -> Batch:
        """The batch of the given examples, filled up to `batch_size`."""
        rows = [self.examples.token_ids(int(index)) for index in chosen]
        length = min(bucket_of(max(map(len, rows))), self._max_length)
        token_ids, valid = pad(rows, (self.batch_size, length), self._padding)
        labels, weights = np.zeros(self.batch_size, np.int32), np.zeros(self.batch_size, np.float32)
        labels[: len(chosen)], weights[: len(chosen)] = self._labels[chosen], 1.0 / len(chosen)
        return Batch(token_ids, valid, labels, weights)
