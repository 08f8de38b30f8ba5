"""What controlled requests are chosen by: against the formulas written out in NumPy, and transformers' own processors."""

from collections import Counter
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor

from lamps_jax.engine.choosing import MAX_PENALISED, ControlBuilder, read_logprobs
from lamps_jax.engine.control import Control
from lamps_jax.sched.request import SamplingParams

VOCAB, SLOTS, EOS = 70, 5, (3,)
BUILDER = ControlBuilder(vocab_size=VOCAB, max_model_len=24, padding_slot=SLOTS)
choose = jax.jit(partial(BUILDER.choose, eos_token_ids=EOS))


def some_logits(rows: int, *, seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).standard_normal((rows, VOCAB))).astype(np.float32)


def control(context: list[int], *, num_prompt: int = 0, allowed: np.ndarray | None = None, **sampling: Any) -> Control:
    return Control("r", SamplingParams(**sampling), context, Counter(context[num_prompt:]), allowed)


def mask_of(token_ids: list[int]) -> np.ndarray:
    bits = np.zeros(32 * BUILDER.num_words, np.uint8)
    bits[token_ids] = 1
    return np.packbits(bits, bitorder="little").view(np.int32)


def chosen(
    logits: np.ndarray, controls: list[Control | None], *, ban_eos: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Last tokens, samples and reports; rows without a control keep the sample 7."""
    packed = BUILDER.empty(len(logits))
    for slot, (row, each) in enumerate(zip(packed, controls, strict=True)):
        if each is not None:
            BUILDER.fill(row, each, slot=slot, position=len(each.context), ban_eos=ban_eos)
    last = jnp.full(SLOTS + 1, 9, jnp.int32)
    results = choose(jnp.asarray(logits), jnp.full(len(logits), 7, jnp.int32), last, packed)
    return tuple(np.asarray(each) for each in results)  # type: ignore[return-value]


def test_rows_without_a_control_keep_their_sample_and_others_leave_theirs_on_the_device() -> None:
    logits = some_logits(3)
    last, sampled, _ = chosen(logits, [None, control([1]), None])
    assert sampled.tolist() == [7, logits[1].argmax(), 7]
    assert last[:SLOTS].tolist() == [9, logits[1].argmax(), 9, 9, 9]


def test_presence_and_frequency_penalties_are_those_of_the_openai_documentation() -> None:
    logits, context = some_logits(1), [5, 6, 11, 11, 11, 12]
    expected = logits[0].copy()
    for token_id, count in Counter(context[2:]).items():  # the prompt is not penalised
        expected[token_id] -= 1.5 * count + 0.7
    for bump in range(3):
        logits[0, 11] = expected[11] = 0.0
        logits[0, 11] += 4.0 + bump
        expected[11] = logits[0, 11] - 1.5 * 3 - 0.7
        _, sampled, _ = chosen(logits, [control(context, num_prompt=2, frequency_penalty=1.5, presence_penalty=0.7)])
        assert sampled[0] == expected.argmax()


def test_the_repetition_penalty_is_transformers() -> None:
    for seed in range(10):
        logits, context = some_logits(1, seed=seed), np.random.default_rng(seed).integers(0, VOCAB, 12).tolist()
        theirs = RepetitionPenaltyLogitsProcessor(3.0)(torch.tensor([context]), torch.tensor(logits))
        _, sampled, _ = chosen(logits, [control(context, num_prompt=4, repetition_penalty=3.0)])
        assert sampled[0] == int(theirs.argmax())


def test_biases_make_a_token_certain_or_impossible() -> None:
    logits = some_logits(2)
    best = int(logits[1].argmax())
    _, sampled, _ = chosen(logits, [control([1], logit_bias=((13, 100.0),)), control([1], logit_bias=((best, -100.0),))])
    assert sampled[0] == 13
    assert sampled[1] == np.delete(logits[1], best).argmax() + (np.delete(logits[1], best).argmax() >= best)


def test_only_allowed_tokens_are_chosen_and_the_end_even_where_it_is_banned_if_nothing_else_is_left() -> None:
    logits = some_logits(3)
    masks = [[2, 40, 69], [3], [3, 8]]
    _, sampled, _ = chosen(logits, [control([1], allowed=mask_of(mask)) for mask in masks], ban_eos=True)
    assert sampled.tolist() == [max(mask, key=lambda token_id, row=row: logits[row, token_id]) for row, mask in enumerate(masks)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_min_p_leaves_what_transformers_leaves(temperature: float) -> None:
    logits = some_logits(1)
    kept = MinPLogitsWarper(0.2)(torch.zeros(1, 1, dtype=torch.long), torch.tensor(logits / temperature))
    left = set(np.flatnonzero(np.isfinite(kept[0].numpy())).tolist())
    seen = {int(chosen(logits, [control([1], temperature=temperature, min_p=0.2, seed=seed)])[1][0]) for seed in range(150)}
    assert seen <= left
    assert len(seen) > len(left) / 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_banned_end_is_not_what_min_p_measures_others_by(temperature: float) -> None:
    logits = some_logits(1)
    logits[0, EOS] = 50.0
    _, sampled, _ = chosen(logits, [control([1], temperature=temperature, min_p=0.99)], ban_eos=True)
    logits[0, EOS] = -np.inf
    assert sampled[0] == logits[0].argmax()


def test_log_probabilities_are_the_model_s_own_whatever_the_token_was_chosen_by() -> None:
    logits = some_logits(2)
    exact = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    _, sampled, reported = chosen(
        logits, [control([1], num_logprobs=4, logit_bias=((13, 100.0),)), control([1], num_logprobs=0, temperature=1.0, seed=3)]
    )
    own, likeliest = read_logprobs(reported[0], 4)
    assert (sampled[0], own) == (13, pytest.approx(exact[0, 13], abs=1e-5))
    order = np.argsort(-exact[0])[:4].tolist()
    assert [token_id for token_id, _ in likeliest] == order
    assert [value for _, value in likeliest] == pytest.approx(exact[0, order], abs=1e-5)
    assert read_logprobs(reported[1], 0) == (pytest.approx(exact[1, sampled[1]], abs=1e-5), ())


def test_a_context_of_every_token_and_the_most_biases_fits() -> None:
    full = control(
        list(range(VOCAB))[:24], repetition_penalty=2.0, logit_bias=tuple((token_id, 1.0) for token_id in range(VOCAB))
    )
    _, sampled, _ = chosen(some_logits(1), [full])
    assert 0 <= sampled[0] < VOCAB


def test_of_a_long_context_the_tokens_that_stand_last_are_penalised() -> None:
    builder = ControlBuilder(vocab_size=5000, max_model_len=10_000, padding_slot=1)
    row = builder.empty(1)[0]
    builder.fill(row, control(list(range(5000)) * 2, repetition_penalty=2.0), slot=0, position=0, ban_eos=False)
    ids, _, repeated = row[-3 * builder.num_changed :].reshape(3, -1)
    assert sorted(ids[repeated != 0].tolist()) == list(range(5000 - MAX_PENALISED, 5000))
