"""Training batches: questions packed into rows of fixed length, each batch a pure function of the seed and the step."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from lamps_jax.embedded.questions.question import Question, Split
from lamps_jax.embedded.text import draw, pieces

CONTEXT_WEIGHT = 0.05
"""Weight of predicting questions and results, which the model never has to write."""

DECISION_TOKENS = 6
"""Tokens in which a call shows that it is one and what it does, or an answer that it is one."""

JOINED_SHARE = 0.15
"""Share of questions that see the one before them in their row, as the second turn of a chat."""

FILL = 0.97
"""Tokens drawn for a batch, as a share of its places; a question that fits into no row any more is dropped."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Packed questions.

    Attributes:
        token_ids: ``[rows, length + 1]``.
        segments: ``[rows, length]``; tokens attend only within their segment; 0 is padding.
        weights: ``[rows, length]``, of predicting the token that follows each place.
    """

    token_ids: NDArray[np.int32]
    segments: NDArray[np.int32]
    weights: NDArray[np.float32]


def make_batch(
    tokenizer: PreTrainedTokenizerFast,
    *,
    rows: int,
    length: int,
    seed: int,
    step: int,
    split: Split = "train",
    shares: Mapping[str, float] | None = None,
    decision_weight: float = 1.0,
) -> Rows:
    """The batch of `step`.

    Args:
        shares: Share of each kind among the questions; None for the usual ones.
        decision_weight: Weight of the first `DECISION_TOKENS` that the model writes after a question and after each result.
    """
    rng = random.Random(f"{seed} {step} {split}")
    batch = Rows(np.zeros((rows, length + 1), np.int32), np.zeros((rows, length), np.int32), np.zeros((rows, length), np.float32))
    used, num_drawn = [0] * rows, 0
    while num_drawn < FILL * rows * length:
        token_ids, own = encode(tokenizer, draw(rng, split, shares), separator="\n" if rng.random() < 0.8 else " ")
        num_drawn += len(token_ids)
        joined = rng.random() < JOINED_SHARE
        row = next((row for row in range(rows) if used[row] + len(token_ids) <= length), None)
        if row is not None:
            _place(batch, row, used[row], token_ids, own, joined=joined, decision_weight=decision_weight)
            used[row] += len(token_ids)
    return batch


def encode(tokenizer: PreTrainedTokenizerFast, question: Question, *, separator: str = "\n") -> tuple[list[int], list[bool]]:
    """Tokens of a question, cut where the engine cuts them, each with whether the model is to write it."""
    token_ids: list[int] = []
    own: list[bool] = []
    for piece in pieces(question, separator):
        ids = tokenizer.encode(piece.text, add_special_tokens=False)
        token_ids += ids
        own += [piece.own] * len(ids)
    end = tokenizer.eos_token_id
    assert isinstance(end, int)
    return [*token_ids, end], [*own, True]


def _place(
    batch: Rows, row: int, start: int, token_ids: list[int], own: list[bool], *, joined: bool, decision_weight: float
) -> None:
    end = start + len(token_ids)
    before = batch.segments[row, start - 1] if start else 0
    batch.token_ids[row, start:end] = token_ids
    batch.segments[row, start:end] = before if joined and start else before + 1
    weights = np.where(own, 1.0, CONTEXT_WEIGHT)
    for at in np.flatnonzero(np.diff(own, prepend=False) & own):  # where the model's own pieces begin
        weights[at : at + DECISION_TOKENS] *= np.where(own[at : at + DECISION_TOKENS], decision_weight, 1.0)
    batch.weights[row, start : end - 1] = weights[1:]
