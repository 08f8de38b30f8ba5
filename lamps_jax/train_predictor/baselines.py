"""Predictors of output lengths that know little: what a trained one must beat.

Each is fitted on examples and gives distributions over the same bins as the classifier. None gives a bin no share at all: where
an example says nothing, the distribution of all training lengths remains.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax, softmax

from lamps_jax.train_predictor.data import Examples
from lamps_jax.train_predictor.evaluate import checked_lengths
from lamps_jax.train_predictor.lengths import Bins

KEY_STRENGTH = 10.0
"""As many examples of its own a key needs for its distribution to count as much as that of all."""

MAX_WORDS = 2048
MAX_ITERATIONS = 200
PENALTY = 30.0
"""With less, texts of hundreds of different tokens are learned by heart, and the baseline falls behind the constant one."""


class Baseline(Protocol):
    """Distributions of lengths, by what was learned from examples."""

    @classmethod
    def fit(cls, bins: Bins, examples: Examples) -> Self:
        """The baseline that fits the examples; the same for the same examples.

        Raises:
            ValueError: If there are none, not equally many texts, lengths and keys, a text has no token, or all lengths lie in
                one bin.
        """
        ...

    def probabilities(self, examples: Examples) -> Float[np.ndarray, "n bins"]:
        """A distribution for each example, whose length is not looked at."""
        ...


def _labels(bins: Bins, examples: Examples) -> Int[np.ndarray, " n"]:
    labels = bins.labels(checked_lengths(examples.lengths))
    counts = {"texts": len(examples.ends), "lengths": len(labels), "keys": len(examples.keys)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"an example needs a text, a length and a key, got {counts}")
    if examples.num_tokens.min() < 1:
        raise ValueError(f"every text needs a token, but text {examples.num_tokens.argmin()} has none; leave it out")
    if (labels == labels[0]).all():
        raise ValueError(
            f"lengths must lie in at least two bins to learn from, but all {len(labels)} lie in bin {labels[0]}; "
            f"use narrower or more bins than {bins.count} of {bins.width_tokens} tokens"
        )
    return labels


def _shares(bins: Bins, labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " bins"]:
    """Shares of the bins, where one more example is spread evenly over all."""
    return (np.bincount(labels, minlength=bins.count) + 1 / bins.count) / (len(labels) + 1)


def _smoothed(
    probabilities: Float[np.ndarray, "n bins"], pooled: Float[np.ndarray, " bins"], num_examples: int
) -> Float[np.ndarray, "n bins"]:
    """Distributions learned from some examples, and one example's worth of that of all."""
    return (num_examples * probabilities + pooled) / (num_examples + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """The distribution of all training lengths, whatever the example."""

    pooled: Float[np.ndarray, " bins"]

    @classmethod
    def fit(cls, bins: Bins, examples: Examples) -> Self:
        return cls(_shares(bins, _labels(bins, examples)))

    def probabilities(self, examples: Examples) -> Float[np.ndarray, "n bins"]:
        return np.tile(self.pooled, (len(examples), 1))


@dataclass(frozen=True, slots=True, eq=False)
class ByKey:
    """The distribution of training lengths with the example's key, drawn towards that of all if the key is rare.

    The empty key is one like others; one that was never seen has the distribution of all.
    """

    pooled: Float[np.ndarray, " bins"]
    by_key: Mapping[str, Float[np.ndarray, " bins"]]

    @classmethod
    def fit(cls, bins: Bins, examples: Examples, *, strength: float = KEY_STRENGTH) -> Self:
        labels = _labels(bins, examples)
        pooled = _shares(bins, labels)
        places: dict[str, list[int]] = defaultdict(list)
        for place, key in enumerate(examples.keys):
            places[key].append(place)
        counts = {key: np.bincount(labels[of_key], minlength=bins.count) for key, of_key in places.items()}
        by_key = {key: (count + strength * pooled) / (count.sum() + strength) for key, count in counts.items()}
        return cls(pooled, by_key)

    def probabilities(self, examples: Examples) -> Float[np.ndarray, "n bins"]:
        return np.stack([self.by_key.get(key, self.pooled) for key in examples.keys])


@dataclass(frozen=True, slots=True, eq=False)
class PromptLength:
    """A line through length against the logarithm of the text's tokens, and around it what was left over in training.

    Lengths that the bins clamp count as their limit, as all beyond it are one to the bins.
    """

    bins: Bins
    pooled: Float[np.ndarray, " bins"]
    slope: float
    intercept: float
    residuals: Float[np.ndarray, " train"]
    """In ascending order."""

    @classmethod
    def fit(cls, bins: Bins, examples: Examples) -> Self:
        pooled = _shares(bins, _labels(bins, examples))
        x, y = _log_tokens(examples), np.minimum(examples.lengths, bins.limit_tokens)
        # Where all texts are equally long, least squares of least norm still give the mean.
        (slope, intercept), *_ = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y)
        return cls(bins, pooled, float(slope), float(intercept), np.sort(y - slope * x - intercept))

    def probabilities(self, examples: Examples) -> Float[np.ndarray, "n bins"]:
        on_line = self.slope * _log_tokens(examples) + self.intercept
        inner_edges = np.arange(1, self.bins.count) * self.bins.width_tokens
        below = np.searchsorted(self.residuals, inner_edges - on_line[:, None]) / len(self.residuals)
        return _smoothed(np.diff(below, axis=1, prepend=0.0, append=1.0), self.pooled, len(self.residuals))


def _log_tokens(examples: Examples) -> Float[np.ndarray, " n"]:
    return np.log(examples.num_tokens)


@dataclass(frozen=True, slots=True, eq=False)
class BagOfWords:
    """Multinomial logistic regression on how often each of the commonest tokens stands in the text."""

    pooled: Float[np.ndarray, " bins"]
    words: Int[np.ndarray, " words"]
    """Token ids in ascending order."""
    weights: Float[np.ndarray, "words bins"]
    bias: Float[np.ndarray, " bins"]
    num_examples: int

    @classmethod
    def fit(
        cls,
        bins: Bins,
        examples: Examples,
        *,
        max_words: int = MAX_WORDS,
        penalty: float = PENALTY,
        max_iterations: int = MAX_ITERATIONS,
    ) -> Self:
        """The regression whose cross-entropy, summed over examples, plus half `penalty` times the squared weights is least.

        Args:
            max_words: How many tokens count, those in most texts; of equally common ones the lower ids.
            max_iterations: Of L-BFGS, which may end before it has converged.

        Raises:
            ValueError: As `Baseline.fit` does.
        """
        labels = _labels(bins, examples)
        pooled, words = _shares(bins, labels), _commonest(examples, max_words)
        features, n = _word_counts(examples, words), len(examples)
        rows = np.arange(n)

        def loss(flat: Float[np.ndarray, " parameters"]) -> tuple[float, Float[np.ndarray, " parameters"]]:
            weights, bias = _split(flat, bins.count)
            log_p = log_softmax(features @ weights + bias, axis=1)
            value = penalty / 2 * np.square(weights).sum() - log_p[rows, labels].sum()
            errors = np.exp(log_p)
            errors[rows, labels] -= 1.0
            slopes = np.concatenate([features.T @ errors + penalty * weights, errors.sum(0, keepdims=True)])
            return float(value / n), slopes.ravel() / n

        start = np.concatenate([np.zeros(len(words) * bins.count), np.log(pooled)])
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iterations})
        return cls(pooled, words, *_split(found.x, bins.count), n)

    def probabilities(self, examples: Examples) -> Float[np.ndarray, "n bins"]:
        scores = _word_counts(examples, self.words) @ self.weights + self.bias
        return _smoothed(softmax(scores, axis=1), self.pooled, self.num_examples)


def _split(
    flat: Float[np.ndarray, " parameters"], num_bins: int
) -> tuple[Float[np.ndarray, "words bins"], Float[np.ndarray, " bins"]]:
    table = flat.reshape(-1, num_bins)
    return table[:-1], table[-1]


def _commonest(examples: Examples, max_words: int) -> Int[np.ndarray, " words"]:
    in_each = [np.unique(examples.token_ids(place)) for place in range(len(examples))]
    ids, counts = np.unique(np.concatenate(in_each), return_counts=True)
    return np.sort(ids[np.lexsort((ids, -counts))[:max_words]])


def _word_counts(examples: Examples, words: Int[np.ndarray, " words"]) -> csr_array:
    """The logarithm of one more than each word's count, a row for each text."""
    columns, values = [], []
    for place in range(len(examples)):
        found, counts = np.unique(examples.token_ids(place), return_counts=True)
        known = np.isin(found, words, assume_unique=True)
        columns.append(np.searchsorted(words, found[known]))
        values.append(np.log1p(counts[known]))
    starts = np.cumsum([0, *(len(each) for each in columns)])
    return csr_array((np.concatenate(values), np.concatenate(columns), starts), shape=(len(columns), len(words)))


BASELINES: dict[str, type[Baseline]] = {
    "constant": Constant,
    "by key": ByKey,
    "prompt length": PromptLength,
    "bag of words": BagOfWords,
}
"""Baselines by what tables and figures call them."""
