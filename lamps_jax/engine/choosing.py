"""The program that chooses the tokens of controlled requests, and what is packed for it.

The forward pass of such requests goes with the batch like any other. What they are to be chosen by is known only when the token
before is: so they are chosen by a program of their own, started once the step before has been collected, behind the forward pass
that the device is busy with by then.
"""

import enum
from itertools import islice

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from lamps_jax.engine.control import Control
from lamps_jax.engine.sampling import NUM_LIKELIEST, ControlRows, SamplingRows, controlled, likeliest, sample, without_banned
from lamps_jax.sched.request import MAX_LOGIT_BIASES

BITS = 32

MAX_PENALISED = 2048
"""Most different tokens of one request that are penalised, those that stand last in it: they are sent in every step."""


class Column(enum.IntEnum):
    """Columns of a row's header."""

    SLOT = 0
    POSITION = 1
    BAN_EOS = 2
    TEMPERATURE = 3
    TOP_P = 4
    TOP_K = 5
    SEED = 6
    MIN_P = 7
    REPETITION_PENALTY = 8
    WANTS_LOGPROBS = 9
    RUN = 10


HEADER = len(Column)


class ControlBuilder:
    """Packs controls into integers: a header, the allowed tokens, then ids, additions and marks of the tokens that change.

    Args:
        padding_slot: Of rows that are chosen by nothing here.
    """

    def __init__(self, *, vocab_size: int, max_model_len: int, padding_slot: int):
        self.num_words = -(-vocab_size // BITS)
        self.num_changed = min(vocab_size, min(max_model_len, MAX_PENALISED) + MAX_LOGIT_BIASES)
        self._padding_slot, self._no_token = padding_slot, vocab_size
        self._width = HEADER + self.num_words + 3 * self.num_changed

    def empty(self, size: int, *, run: int = 0) -> NDArray[np.int32]:
        """Rows that change nothing, ``[size, width]``, for the step's program of that number."""
        packed = np.zeros((size, self._width), np.int32)
        packed[:, Column.SLOT], packed[:, Column.RUN] = self._padding_slot, run
        packed[:, [Column.TOP_P, Column.REPETITION_PENALTY]] = _bits(1.0)
        packed[:, HEADER : HEADER + self.num_words] = -1
        packed[:, HEADER + self.num_words : HEADER + self.num_words + self.num_changed] = self._no_token
        return packed

    def fill(self, row: NDArray[np.int32], control: Control, *, slot: int, position: int, ban_eos: bool) -> None:
        """Writes one request into a row of `empty`."""
        sampling = control.sampling
        row[Column.SLOT], row[Column.POSITION] = slot, position
        row[Column.BAN_EOS] = ban_eos and control.allowed is None  # a constraint may leave nothing but the end
        row[Column.TEMPERATURE], row[Column.TOP_P] = _bits(sampling.temperature), _bits(sampling.top_p)
        row[Column.TOP_K], row[Column.SEED] = sampling.top_k, np.array(sampling.seed, np.uint32).view(np.int32)
        row[Column.MIN_P], row[Column.REPETITION_PENALTY] = _bits(sampling.min_p), _bits(sampling.repetition_penalty)
        row[Column.WANTS_LOGPROBS] = sampling.num_logprobs is not None
        if control.allowed is not None:
            row[HEADER : HEADER + self.num_words] = control.allowed
        ids, added, repeated = self._changed(control)
        for part, values in enumerate((ids, added.view(np.int32), repeated)):
            start = HEADER + self.num_words + part * self.num_changed
            row[start : start + len(values)] = values

    def _changed(self, control: Control) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
        """Tokens whose logits change, what is added to each, and whether it counts as repeated."""
        sampling = control.sampling
        added = dict(sampling.logit_bias)
        last = list(islice(dict.fromkeys(reversed(control.context)), MAX_PENALISED)) if sampling.penalises else []
        if sampling.presence_penalty or sampling.frequency_penalty:
            for token_id in last:
                if count := control.counts[token_id]:
                    penalty = sampling.presence_penalty + sampling.frequency_penalty * count
                    added[token_id] = added.get(token_id, 0.0) - penalty
        repeated = set(last) if sampling.repetition_penalty != 1.0 else set[int]()
        ids = sorted(repeated | added.keys())
        return (
            np.array(ids, np.int32),
            np.array([added.get(token_id, 0.0) for token_id in ids], np.float32),
            np.array([token_id in repeated for token_id in ids], np.int32),
        )

    def choose(
        self,
        logits: Float[Array, "batch vocab"],
        sampled: Int[Array, " batch"],
        last_tokens: Int[Array, " slots"],
        packed: Int[Array, "batch width"],
        *,
        eos_token_ids: tuple[int, ...],
    ) -> tuple[Array, Array, Array]:
        """The program: last tokens and samples, with those of the rows that are chosen here; and their log-probabilities.

        These are, for each row, its token's, then the likeliest tokens as bits of integers, then theirs,
        ``[batch, 1 + 2 likeliest]``.
        """
        header, rest = packed[:, :HEADER], packed[:, HEADER:]
        words, changed = rest[:, : self.num_words], rest[:, self.num_words :].reshape(-1, 3, self.num_changed)
        rows = SamplingRows(
            temperature=_floats(header[:, Column.TEMPERATURE]),
            top_p=_floats(header[:, Column.TOP_P]),
            top_k=header[:, Column.TOP_K],
            seed=lax.bitcast_convert_type(header[:, Column.SEED], jnp.uint32),
            position=header[:, Column.POSITION],
            ban_eos=header[:, Column.BAN_EOS] != 0,
        )
        control = ControlRows(
            allowed=lax.bitcast_convert_type(words, jnp.uint32),
            token_ids=changed[:, 0],
            added=_floats(changed[:, 1]),
            repeated=changed[:, 2] != 0,
            repetition_penalty=_floats(header[:, Column.REPETITION_PENALTY]),
            min_p=_floats(header[:, Column.MIN_P]),
        )
        possible = without_banned(logits, rows, eos_token_ids)  # what is banned is not what others are measured by
        chosen = sample(controlled(possible, control, rows.temperature), rows, eos_token_ids)
        mine = header[:, Column.SLOT] != self._padding_slot
        sampled = jnp.where(mine, chosen, sampled)
        last_tokens = last_tokens.at[header[:, Column.SLOT]].set(chosen)

        def report() -> Array:
            own, token_ids, values = likeliest(logits, sampled)
            return jnp.concatenate([own[:, None], lax.bitcast_convert_type(token_ids, jnp.float32), values], axis=1)

        num_likeliest = min(NUM_LIKELIEST, logits.shape[-1])
        nothing = jnp.zeros((logits.shape[0], 1 + 2 * num_likeliest), jnp.float32)
        return last_tokens, sampled, lax.cond((header[:, Column.WANTS_LOGPROBS] != 0).any(), report, lambda: nothing)


def read_logprobs(reported: NDArray[np.float32], count: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """A row of what `ControlBuilder.choose` reports: the token's own, and the `count` likeliest with theirs."""
    num_likeliest = (len(reported) - 1) // 2
    token_ids = reported[1 : 1 + num_likeliest].view(np.int32)[:count].tolist()
    values = reported[1 + num_likeliest :][:count].tolist()
    return float(reported[0]), tuple(zip(token_ids, values, strict=True))


def _bits(value: float) -> int:
    return int(np.array(value, np.float32).view(np.int32))


def _floats(integers: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    return lax.bitcast_convert_type(integers, jnp.float32)
