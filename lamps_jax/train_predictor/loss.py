"""What training minimises: the distance of a predicted distribution from the bin that came true."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Loss = Callable[[Float[Array, "batch bins"], Int[Array, " batch"]], Float[Array, " batch"]]
"""Scores and true bins to losses."""


def cross_entropy(smoothing: float = 0.0) -> Loss:
    """Minus the log probability of the true bin; of its neighbours too, where labels are smoothed.

    Args:
        smoothing: Share of the label that the two bins beside the true one get; at an end the one that there is gets half of it.
    """

    def loss(scores: Float[Array, "batch bins"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
        log_probabilities = jax.nn.log_softmax(scores)
        away = jnp.abs(jnp.arange(scores.shape[1]) - labels[:, None])
        beside = jnp.where(away == 1, 0.5 * smoothing, 0.0)
        wanted = jnp.where(away == 0, 1.0 - beside.sum(1, keepdims=True), beside)
        return -(wanted * log_probabilities).sum(1)

    return loss


def ranked_probability_score() -> Loss:
    """Squared distance between the predicted and the true cumulative distribution, in bins: far is worse than near.

    Source: Epstein, 1969, A scoring system for probability forecasts of ranked categories; a proper score.
    """

    def loss(scores: Float[Array, "batch bins"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
        predicted = jnp.cumsum(jax.nn.softmax(scores), axis=1)
        happened = (jnp.arange(scores.shape[1]) >= labels[:, None]).astype(jnp.float32)
        return jnp.square(predicted - happened).sum(1)

    return loss
