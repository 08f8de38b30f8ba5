"""Distributions with a given mean and deviation, drawn by one uniform number each.

A draw is a fixed function of a uniform number, so the same numbers with other parameters move every value the same way: two
workloads that differ in one parameter differ in nothing else. `Random.random` is the only source, since it alone is promised to
stay the same between versions of Python.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random
from statistics import NormalDist
from typing import Protocol

_NORMAL = NormalDist()
_BISECTIONS = 48


class Drawable(Protocol):
    """Something to draw from."""

    def value_at(self, uniform: float) -> float:
        """The value that a uniform number stands for; evenly spaced numbers make up the distribution."""
        ...


class Distribution(Drawable, Protocol):
    """Lengths or durations."""

    def spread(self, factor: float) -> "Distribution":
        """The same mean with `factor` times the deviation; unless the factor is 1, nothing is clamped above."""
        ...


def draw(distribution: Drawable, rng: Random) -> float:
    """One value."""
    return distribution.value_at(rng.random())


def draw_tokens(distribution: Drawable, rng: Random, *, least: int = 1) -> int:
    """One value as a length: rounded, and `least` at least."""
    return max(least, round(draw(distribution, rng)))


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same, however spread."""

    value: float

    def value_at(self, uniform: float) -> float:
        return self.value

    def spread(self, factor: float) -> "Constant":
        return self


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A lognormal distribution above `least`, clamped at `most`, whose mean and deviation, clamping counted, are the given ones.

    Why lognormal: lengths and durations are positive and skewed, and given a trace's moments its medians come near the trace's,
    81 tokens per segment of the math problems and 21 per prompt of the chats. Why clamped and not cut off: the traces themselves
    are, durations at 60 s and contexts at the model's length, so that a part of the mass lies on the limit.

    Raises:
        ValueError: If no distribution within the limits has the mean and the deviation.
    """

    mean: float
    std: float
    least: float = 0.0
    most: float = math.inf

    def __post_init__(self) -> None:
        if not (self.least < self.mean < self.most and self.std > 0):
            raise ValueError(f"the mean must lie between the limits and the deviation be positive, got {self}")
        if self.std**2 >= (self.mean - self.least) * (self.most - self.mean):
            raise ValueError(f"no distribution within these limits has so large a deviation: {self}")

    def value_at(self, uniform: float) -> float:
        mu, sigma = _fit(self.mean - self.least, self.std, self.most - self.least)
        return min(self.most, self.least + _lognormal_quantile(mu, sigma, uniform))

    def spread(self, factor: float) -> "Lognormal":
        return self if factor == 1.0 else Lognormal(self.mean, self.std * factor, self.least)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Lognormal parts that are given by their medians: (share, median, deviation of the logarithm), clamped at `most`.

    Why: gaps between the requests of an agent have two causes, a tool that runs and a person who is asked, and even their
    logarithms are skewed. One uniform number chooses the part and the place in it.
    """

    parts: tuple[tuple[float, float, float], ...]
    most: float = math.inf

    def __post_init__(self) -> None:
        if not math.isclose(sum(share for share, _, _ in self.parts), 1.0) or min(min(part) for part in self.parts) <= 0:
            raise ValueError(f"shares must add up to 1, and all numbers be positive, got {self.parts}")

    def value_at(self, uniform: float) -> float:
        (*others, (share, median, sigma)), below = self.parts, 0.0
        for part in others:
            if uniform < below + part[0]:
                share, median, sigma = part
                break
            below += part[0]
        return min(self.most, _lognormal_quantile(math.log(median), sigma, (uniform - below) / share))

    def spread(self, factor: float) -> "Mixture":
        """As above, for each part."""
        if factor == 1.0:
            return self

        def part(share: float, median: float, sigma: float) -> tuple[float, float, float]:
            wider = math.sqrt(math.log1p(factor**2 * math.expm1(sigma**2)))
            return share, median * math.exp((sigma**2 - wider**2) / 2), wider

        return Mixture(tuple(part(*numbers) for numbers in self.parts))


@dataclass(frozen=True, slots=True)
class BetaBinomial:
    """Whole numbers from `least` to `most` with a given mean and deviation.

    Why: the numbers of calls per request lie between two small limits and vary more than a binomial distribution does; math
    problems, say, take one call or four, seldom two. Of the distributions on a range this one has a closed form for both moments.

    Raises:
        ValueError: If the mean is not within the limits, or the deviation is not above the binomial distribution's and below the
            largest that the limits allow.
    """

    mean: float
    std: float
    least: int
    most: int

    def __post_init__(self) -> None:
        if not self.least < self.mean < self.most:
            raise ValueError(f"the mean must lie between the limits, got {self}")
        if self.most - self.least < 2 or not 0 < self._correlation() < 1:
            raise ValueError(f"the deviation is too small or too large for the limits: {self}")

    def _correlation(self) -> float:
        n, p = self.most - self.least, (self.mean - self.least) / (self.most - self.least)
        return (self.std**2 / (n * p * (1 - p)) - 1) / (n - 1)

    def value_at(self, uniform: float) -> float:
        p, sum_ab = (self.mean - self.least) / (self.most - self.least), 1 / self._correlation() - 1
        below = _beta_binomial_below(self.most - self.least, p * sum_ab, (1 - p) * sum_ab)
        return self.least + min(bisect_left(below, uniform), self.most - self.least)


def _lognormal_quantile(mu: float, sigma: float, probability: float) -> float:
    return math.exp(mu + sigma * _NORMAL.inv_cdf(min(max(probability, 1e-12), 1 - 1e-12)))


@lru_cache(maxsize=1024)
def _fit(mean: float, std: float, most: float) -> tuple[float, float]:
    """Mean and deviation of the logarithm of the lognormal distribution that has these moments once it is clamped at `most`."""
    if math.isinf(most):
        variance = math.log1p((std / mean) ** 2)
        return math.log(mean) - variance / 2, math.sqrt(variance)
    # With the mean held, the deviation grows with that of the logarithm: two bisections, one within the other.
    low, high = 1e-4, 30.0
    for _ in range(_BISECTIONS):
        sigma = (low + high) / 2
        _, second = _clamped_moments(_mu_for(mean, sigma, most), sigma, most)
        low, high = (sigma, high) if second - mean**2 < std**2 else (low, sigma)
    sigma = (low + high) / 2
    return _mu_for(mean, sigma, most), sigma


def _mu_for(mean: float, sigma: float, most: float) -> float:
    low, high = math.log(mean) - sigma**2 - 40.0, math.log(most) + sigma**2 + 40.0
    for _ in range(_BISECTIONS):
        mu = (low + high) / 2
        low, high = (mu, high) if _clamped_moments(mu, sigma, most)[0] < mean else (low, mu)
    return (low + high) / 2


def _clamped_moments(mu: float, sigma: float, most: float) -> tuple[float, float]:
    """First and second moment of min(X, most), X lognormal: a partial moment below the limit, and the mass on it."""
    z = (math.log(most) - mu) / sigma
    on_limit = _upper_tail(z)
    first = _partial(mu + sigma**2 / 2, _upper_tail(sigma - z)) + most * on_limit
    second = _partial(2 * mu + 2 * sigma**2, _upper_tail(2 * sigma - z)) + most**2 * on_limit
    return first, second


def _partial(log_moment: float, share: float) -> float:
    """exp(log_moment) · share without overflow where the share is tiny."""
    return math.exp(log_moment + math.log(share)) if share > 0 else 0.0


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


@lru_cache(maxsize=256)
def _beta_binomial_below(n: int, a: float, b: float) -> tuple[float, ...]:
    """Probability of at most k, for k from 0 to n."""

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    masses = (math.comb(n, k) * math.exp(log_beta(k + a, n - k + b) - log_beta(a, b)) for k in range(n + 1))
    return tuple(accumulate(masses))
