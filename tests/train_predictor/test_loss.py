"""Losses against optax's and against the definitions, written as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lamps_jax.train_predictor.loss import Loss, cross_entropy, ranked_probability_score

BINS = 6
SCORES = jnp.asarray(np.random.default_rng(0).normal(0.0, 3.0, (BINS, BINS)).astype(np.float32))
LABELS = jnp.arange(BINS, dtype=jnp.int32)
"""Every bin is true once."""

LOSSES = {"cross-entropy": cross_entropy(), "smoothed": cross_entropy(0.3), "ordinal": ranked_probability_score()}


def test_cross_entropy_is_that_of_optax() -> None:
    wanted = optax.softmax_cross_entropy_with_integer_labels(SCORES, LABELS)
    np.testing.assert_allclose(cross_entropy()(SCORES, LABELS), wanted, rtol=1e-6)


def test_smoothing_gives_the_neighbours_half_of_it_each_and_what_has_no_neighbour_to_the_true_bin() -> None:
    smoothed = np.zeros((BINS, BINS), np.float32)
    for row, label in enumerate(np.asarray(LABELS)):
        smoothed[row, label] = 1.0
        for neighbour in (label - 1, label + 1):
            if 0 <= neighbour < BINS:
                smoothed[row, neighbour] += 0.15
                smoothed[row, label] -= 0.15
    np.testing.assert_allclose(smoothed.sum(1), 1.0, rtol=1e-6)
    wanted = optax.softmax_cross_entropy(SCORES, jnp.asarray(smoothed))
    np.testing.assert_allclose(cross_entropy(0.3)(SCORES, LABELS), wanted, rtol=1e-5)


def test_the_ranked_probability_score_is_its_definition() -> None:
    wanted = []
    for scores, label in zip(np.asarray(SCORES, np.float64), np.asarray(LABELS), strict=True):
        probabilities = np.exp(scores) / np.exp(scores).sum()
        total = 0.0
        for threshold in range(BINS):
            below = sum(probabilities[: threshold + 1])
            total += (below - (1.0 if label <= threshold else 0.0)) ** 2
        wanted.append(total)
    np.testing.assert_allclose(ranked_probability_score()(SCORES, LABELS), wanted, rtol=1e-4)


def test_a_certain_mistake_costs_as_many_bins_as_it_is_wide_where_bins_are_ordered_and_the_same_where_not() -> None:
    certain = jnp.tile(20.0 * jax.nn.one_hot(0, BINS), (BINS, 1))
    np.testing.assert_allclose(ranked_probability_score()(certain, LABELS), np.arange(BINS), atol=1e-4)
    np.testing.assert_allclose(cross_entropy()(certain, LABELS)[1:], 20.0, rtol=1e-4)


@pytest.mark.parametrize("name", ["cross-entropy", "ordinal"])
def test_the_expected_loss_is_least_at_the_true_distribution(name: str) -> None:
    truth = jnp.asarray([0.05, 0.3, 0.1, 0.2, 0.15, 0.2], jnp.float32)

    def expected(scores: jax.Array) -> jax.Array:
        return (truth * LOSSES[name](jnp.tile(scores, (BINS, 1)), LABELS)).sum()

    np.testing.assert_allclose(jax.grad(expected)(jnp.log(truth)), 0.0, atol=1e-6)
    least = expected(jnp.log(truth))
    assert all(expected(jnp.log(truth) + 0.3 * each) > least for each in SCORES)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_and_gradients_are_finite_at_extreme_scores(loss: Loss) -> None:
    extreme = jnp.asarray([[0.0, -1e4, 1e4, 0.0, 0.0, 0.0]] * BINS, jnp.float32)
    values, gradient = jax.value_and_grad(lambda scores: loss(scores, LABELS).sum())(extreme)
    assert jnp.isfinite(values) and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_each_example_has_its_own_loss_which_stays_where_all_its_scores_rise(loss: Loss) -> None:
    together = loss(SCORES, LABELS)
    alone = jnp.concatenate([loss(SCORES[row : row + 1], LABELS[row : row + 1]) for row in range(BINS)])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    np.testing.assert_allclose(together, loss(SCORES + 5.0, LABELS), rtol=1e-4, atol=1e-5)
    assert together.shape == (BINS,) and (together >= 0).all()
