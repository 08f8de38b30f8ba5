"""A distribution has the moments that it was asked for, and draws within its limits."""

import math
from collections import Counter
from random import Random
from statistics import fmean, median, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamps_jax.sim.distributions import BetaBinomial, Constant, Distribution, Drawable, Lognormal, Mixture, draw, draw_tokens
from lamps_jax.sim.profiles import AGENT, MULTI_API, SINGLE_API, TOOLBENCH
from tests.properties import examples

LOGNORMALS = {
    value
    for profile in (*MULTI_API, *SINGLE_API)
    for part in (profile, *profile.round)
    for value in (getattr(part, name) for name in part.__dataclass_fields__)
    if isinstance(value, Lognormal)
} | {TOOLBENCH.prompt, TOOLBENCH.generated, TOOLBENCH.returned}


def evenly(distribution: Drawable, count: int = 2000) -> list[float]:
    """Values at evenly spaced probabilities: what many draws come to, without the luck."""
    return [distribution.value_at((number + 0.5) / count) for number in range(count)]


@pytest.mark.parametrize("distribution", sorted(LOGNORMALS, key=str), ids=str)
def test_a_clamped_lognormal_has_the_given_mean_and_deviation_and_limits(distribution: Lognormal) -> None:
    values = evenly(distribution)
    assert fmean(values) == pytest.approx(distribution.mean, rel=0.01)
    assert pstdev(values) == pytest.approx(distribution.std, rel=0.03)
    assert distribution.least <= min(values) and max(values) <= distribution.most


def test_moments_alone_reproduce_the_medians_of_the_traces() -> None:
    assert median(evenly(Lognormal(108, 262.7, 0, 1728))) == pytest.approx(21, rel=0.05)
    assert median(evenly(Lognormal(124.6, 138.9, 13, 1353))) == pytest.approx(81, rel=0.05)


def test_an_unclamped_lognormal_follows_the_closed_form() -> None:
    distribution = Lognormal(1.72, 3.33)
    assert distribution.value_at(0.5) == pytest.approx(math.exp(-0.237), rel=1e-3)
    assert math.log(distribution.value_at(0.841344746) / distribution.value_at(0.5)) == pytest.approx(1.248, rel=1e-3)


@given(mean=st.floats(0.1, 0.9), share=st.floats(0.02, 0.9))
@settings(max_examples=examples(25))
def test_any_feasible_moments_are_met(mean: float, share: float) -> None:
    distribution = Lognormal(mean, share * math.sqrt(mean * (1 - mean)), 0.0, 1.0)
    values = evenly(distribution, 4000)
    assert fmean(values) == pytest.approx(mean, abs=0.005)
    assert pstdev(values) == pytest.approx(distribution.std, abs=0.01)


@pytest.mark.parametrize(
    ("distribution", "counts"),
    [
        (BetaBinomial(2.81, 1.32, 1, 4), range(1, 5)),
        (BetaBinomial(5.35, 1.02, 4, 8), range(4, 9)),
        (BetaBinomial(2.45, 1.81, 1, 12), range(1, 13)),
    ],
)
def test_a_beta_binomial_has_the_given_moments_on_its_range(distribution: BetaBinomial, counts: range) -> None:
    values = evenly(distribution, 20_000)
    assert fmean(values) == pytest.approx(distribution.mean, rel=0.002)
    assert pstdev(values) == pytest.approx(distribution.std, rel=0.002)
    assert set(Counter(values)) == set(counts)


def test_math_problems_take_one_call_or_four_more_often_than_two_as_in_the_trace() -> None:
    counts = Counter(evenly(BetaBinomial(2.81, 1.32, 1, 4)))
    assert counts[1] > counts[2] and counts[4] > counts[3]


def test_a_mixture_has_the_quantiles_of_the_gaps_that_it_was_fitted_to() -> None:
    values = sorted(evenly(AGENT.tool_s, 10_000))
    found = [values[int(len(values) * share)] for share in (0.25, 0.5, 0.75, 0.9)]
    values = sorted(evenly(AGENT.user_s, 10_000))
    found += [values[int(len(values) * share)] for share in (0.25, 0.5, 0.75, 0.9)]
    assert found == pytest.approx([5, 9, 20, 77, 33, 91, 314, 2186], rel=0.3)


def test_a_mixture_takes_each_part_as_often_as_its_share_says() -> None:
    values = evenly(Mixture(((0.25, 1.0, 0.01), (0.75, 100.0, 0.01)), most=100.5))
    assert sum(value < 2 for value in values) / len(values) == pytest.approx(0.25)
    assert max(values) == 100.5


@pytest.mark.parametrize("distribution", [Lognormal(10, 3, 0, 20), Mixture(((0.5, 5.0, 0.4), (0.5, 10.0, 0.3)))])
def test_a_wider_spread_keeps_the_mean_and_multiplies_the_deviation(distribution: Distribution) -> None:
    wider, same = distribution.spread(2.0), distribution.spread(1.0)
    assert same == distribution and Constant(3).spread(2.0) == Constant(3)
    values, wide_values = evenly(distribution, 20_000), evenly(wider, 20_000)
    assert fmean(wide_values) == pytest.approx(fmean(values), rel=0.02)
    assert pstdev(wide_values) > 1.4 * pstdev(values)


def test_twice_the_spread_is_twice_the_deviation() -> None:
    assert Lognormal(10, 3, 0, 20).spread(2.0) == Lognormal(10, 6, 0)


@given(st.sampled_from([TOOLBENCH.tool_s, TOOLBENCH.prompt, TOOLBENCH.num_calls]), st.integers(0, 99))
def test_a_larger_number_stands_for_no_smaller_value(distribution: Drawable, percent: int) -> None:
    assert distribution.value_at(percent / 100) <= distribution.value_at((percent + 1) / 100)


def test_a_draw_takes_one_uniform_number() -> None:
    rng, other = Random(7), Random(7)
    assert draw(Lognormal(10, 3), rng) == Lognormal(10, 3).value_at(other.random())
    assert rng.random() == other.random()


def test_lengths_are_whole_and_not_below_the_least() -> None:
    assert draw_tokens(Constant(2.6), Random(0)) == 3
    assert draw_tokens(Constant(0.2), Random(0)) == 1 and draw_tokens(Constant(0.2), Random(0), least=0) == 0


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Lognormal, (5.0, 1.0, 6.0, 9.0), "the mean must lie between the limits"),
        (Lognormal, (5.0, 0.0), "the deviation be positive"),
        (Lognormal, (5.0, 5.1, 0.0, 10.0), "no distribution within these limits has so large a deviation"),
        (Mixture, (((0.5, 1.0, 1.0),),), "shares must add up to 1"),
        (Mixture, (((1.0, -1.0, 1.0),),), "all numbers be positive"),
        (BetaBinomial, (9.0, 1.0, 1, 8), "the mean must lie between the limits"),
        (BetaBinomial, (4.0, 0.5, 1, 8), "the deviation is too small or too large"),
        (BetaBinomial, (4.0, 3.5, 1, 8), "the deviation is too small or too large"),
    ],
)
def test_moments_that_no_distribution_has_are_an_error(kind: type, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(*arguments)
