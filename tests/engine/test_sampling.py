"""Tokens are drawn from the distribution asked for, and each row's token depends on nothing but the row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jaxtyping import Array
from scipy.stats import chi2
from transformers import TopKLogitsWarper, TopPLogitsWarper

from lamps_jax.engine.sampling import SamplingRows, _keep_likely, sample

EOS = (3, 5)
FALSE_ALARM = 1e-9
"""Probability that a correct sampler fails a test of frequencies; with these seeds it does or does not for ever."""

jitted = jax.jit(sample, static_argnums=2)
keep_likely = jax.jit(_keep_likely)


def random_logits(batch: int, vocab: int, *, seed: int = 0, scale: float = 3.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((batch, vocab))).astype(np.float32)


def rows(batch: int, **fields: object) -> SamplingRows:
    """Rows of one kind, or of as many as a field lists; greedy by default."""
    values = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0, "position": 0, "ban_eos": False} | fields
    types = {"temperature": "f4", "top_p": "f4", "top_k": "i4", "seed": "u4", "position": "i4", "ban_eos": "?"}
    return SamplingRows(**{name: jnp.asarray(np.broadcast_to(np.asarray(values[name], types[name]), batch)) for name in types})


def draw(logits: np.ndarray, sampling: SamplingRows) -> np.ndarray:
    return np.asarray(jitted(jnp.asarray(logits), sampling, EOS))


def softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x.astype(np.float64) - x.max())
    return exponentials / exponentials.sum()


def assert_frequencies(tokens: np.ndarray, probabilities: np.ndarray) -> None:
    """Pearson's chi-square over the tokens that are expected at least five times."""
    counts, expected = np.bincount(tokens, minlength=len(probabilities)), probabilities * len(tokens)
    assert not counts[probabilities == 0].any()
    often = expected >= 5
    statistic = ((counts - expected)[often] ** 2 / expected[often]).sum()
    assert statistic < chi2.isf(FALSE_ALARM, often.sum() - 1)


def test_temperature_zero_takes_the_likeliest_token() -> None:
    logits = random_logits(16, 50)
    np.testing.assert_array_equal(draw(logits, rows(16, top_k=3, top_p=0.5, seed=7)), logits.argmax(-1))


def test_greedy_rows_stay_greedy_beside_rows_that_draw() -> None:
    logits = random_logits(16, 50)
    tokens = draw(logits, rows(16, temperature=[0, 5] * 8, position=range(16)))
    np.testing.assert_array_equal(tokens[::2], logits[::2].argmax(-1))
    assert (tokens[1::2] != logits[1::2].argmax(-1)).any()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_softmax_at_the_temperature(temperature: float) -> None:
    count, logits = 20_000, random_logits(1, 12, scale=1.0)
    tokens = draw(np.repeat(logits, count, 0), rows(count, temperature=temperature, seed=11, position=range(count)))
    assert_frequencies(tokens, softmax(logits[0] / temperature))


def test_frequencies_over_seeds_are_those_of_the_softmax_too() -> None:
    count, logits = 20_000, random_logits(1, 12, scale=1.0)
    tokens = draw(np.repeat(logits, count, 0), rows(count, temperature=1.0, seed=range(count), position=100))
    assert_frequencies(tokens, softmax(logits[0]))


def test_tokens_at_neighbouring_positions_are_drawn_independently() -> None:
    count, vocab = 20_000, 12
    tokens = draw(np.zeros((count, vocab), np.float32), rows(count, temperature=1.0, seed=5, position=range(count)))
    assert_frequencies(vocab * tokens[0::2] + tokens[1::2], np.full(vocab**2, vocab**-2.0))


def test_filtered_frequencies_are_those_of_transformers_probabilities() -> None:
    count, logits = 20_000, random_logits(1, 12, scale=1.0)
    tokens = draw(np.repeat(logits, count, 0), rows(count, temperature=0.8, top_k=8, top_p=0.9, seed=2, position=range(count)))
    assert_frequencies(tokens, softmax(transformers_filter(logits / np.float32(0.8), 8, 0.9)[0]))


def transformers_filter(scores: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    kept = torch.from_numpy(scores)
    if top_k:
        kept = TopKLogitsWarper(top_k)(None, kept)
    if top_p < 1:
        kept = TopPLogitsWarper(top_p)(None, kept)
    return kept.numpy()


@pytest.mark.parametrize("top_k", [0, 1, 2, 17, 50, 1000])
@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999, 1.0])
def test_kept_tokens_are_those_of_transformers(top_k: int, top_p: float) -> None:
    logits = np.concatenate([random_logits(16, 50, scale=scale) for scale in (0.1, 1.0, 5.0)])
    ours = np.asarray(keep_likely(jnp.asarray(logits), rows(len(logits), temperature=1.0, top_k=top_k, top_p=top_p)))
    np.testing.assert_array_equal(ours, transformers_filter(logits, top_k, top_p))


def test_filters_of_rows_in_one_batch_do_not_mix() -> None:
    logits, kinds = random_logits(4, 50), [(0, 1.0), (5, 1.0), (0, 0.4), (5, 0.4)]
    top_k, top_p = zip(*kinds, strict=True)
    ours = np.asarray(keep_likely(jnp.asarray(logits), rows(4, temperature=1.0, top_k=top_k, top_p=top_p)))
    for row, (k, p) in enumerate(kinds):
        np.testing.assert_array_equal(ours[row], transformers_filter(logits[row : row + 1], k, p)[0])


def test_token_depends_on_seed_and_position_and_not_on_the_batch() -> None:
    logits = random_logits(16, 50, scale=1.0)
    fields = {
        "temperature": [0.0, 0.7, 1.0, 1.5, 1.0, 0.3, 1.0, 2.0] * 2,
        "top_k": [0, 0, 9, 0, 4, 0, 0, 30] * 2,
        "top_p": [1.0, 0.8, 1.0, 1.0, 0.9, 1.0, 0.99, 1.0] * 2,
        "seed": [0, 1, 2, 2**32 - 1, 4, 5, 6, 7] * 2,
        "position": range(16),
        "ban_eos": [True, False, False] * 5 + [True],
    }
    together = draw(logits, rows(16, **fields))
    order = np.random.default_rng(0).permutation(16)
    shuffled = draw(logits[order], rows(16, **{name: np.asarray(values)[order] for name, values in fields.items()}))
    np.testing.assert_array_equal(shuffled, together[order])
    alone = [draw(logits[i : i + 1], rows(1, **{name: values[i] for name, values in fields.items()}))[0] for i in range(16)]
    np.testing.assert_array_equal(alone, together)


def test_other_seeds_and_other_positions_draw_other_tokens() -> None:
    logits = np.zeros((64, 1000), np.float32)
    by_seed = draw(logits, rows(64, temperature=1.0, seed=range(64)))
    by_position = draw(logits, rows(64, temperature=1.0, position=range(64)))
    assert len(set(by_seed.tolist())) > 48
    assert len(set(by_position.tolist())) > 48
    assert len(set(draw(logits, rows(64, temperature=1.0)).tolist())) == 1


@pytest.mark.parametrize("temperature", [0.0, 1.0, 10.0])
def test_banned_end_of_text_is_never_chosen(temperature: float) -> None:
    logits = random_logits(256, 8)
    logits[:, EOS] += 20
    banned = rows(256, temperature=temperature, position=range(256), ban_eos=True)
    assert not np.isin(draw(logits, banned), EOS).any()
    assert np.isin(draw(logits, banned._replace(ban_eos=jnp.zeros(256, bool))), EOS).any()


def test_banned_end_of_text_leaves_room_for_top_k_others() -> None:
    logits = np.tile(np.array([1, 1, 1, 9, 0, 9, 0, 0], np.float32), (256, 1))
    tokens = draw(logits, rows(256, temperature=1.0, top_k=3, position=range(256), ban_eos=True))
    assert set(tokens.tolist()) == {0, 1, 2}


def test_model_without_end_of_text_bans_nothing() -> None:
    logits: Array = jnp.asarray(random_logits(4, 8))
    np.testing.assert_array_equal(sample(logits, rows(4, ban_eos=True), ()), logits.argmax(-1))
