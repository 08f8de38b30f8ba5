"""Bins and point estimates, against loops over one distribution at a time."""

from collections.abc import Callable

import numpy as np
import pytest

from lamps_jax.train_predictor.lengths import POINT_ESTIMATES, TAIL, Bins, mean, median, mode, quantile, tail_inflated

BINS = [Bins(), Bins(width_tokens=7, count=5), Bins(width_tokens=1, count=2)]


def distributions(bins: Bins, *, seed: int = 0, number: int = 200) -> np.ndarray:
    """Some flat, some concentrated, some with bins of no share at all."""
    rng = np.random.default_rng(seed)
    rows = rng.gamma(rng.choice([0.05, 1.0, 20.0], size=(number, 1)), size=(number, bins.count)) + 1e-9
    rows[::3, 0] = 0.0
    rows[1::3, -1] = 0.0
    return rows / rows.sum(1, keepdims=True)


@pytest.mark.parametrize("bins", BINS)
def test_each_length_lies_in_the_bin_that_holds_it(bins: Bins) -> None:
    lengths = np.arange(bins.limit_tokens + 30)
    for length, label in zip(lengths.tolist(), bins.labels(lengths).tolist(), strict=True):
        holders = [k for k in range(bins.count) if k * bins.width_tokens <= length < (k + 1) * bins.width_tokens]
        assert label == (holders[0] if holders else bins.count - 1)


@pytest.mark.parametrize("bins", BINS)
def test_only_lengths_beyond_the_last_bin_are_clamped(bins: Bins) -> None:
    lengths = np.asarray([0, bins.limit_tokens - 1, bins.limit_tokens, bins.limit_tokens + 1])
    assert bins.clamped(lengths).tolist() == [False, False, True, True]
    assert bins.labels(lengths).tolist() == [0, *[bins.count - 1] * 3]


def test_bins_of_the_paper_are_the_default() -> None:
    bins = Bins()
    assert (bins.width_tokens, bins.count, bins.limit_tokens) == (10, 50, 500)
    assert bins.labels(np.asarray([9, 10, 489, 490, 2000])).tolist() == [0, 1, 48, 49, 49]
    assert bins.centres[[0, 1, 49]].tolist() == [5.0, 15.0, 495.0]


def test_lengths_of_a_bin_are_at_most_half_its_width_from_its_centre() -> None:
    bins = Bins(width_tokens=8, count=6)
    lengths = np.arange(bins.limit_tokens)
    assert np.abs(bins.centres[bins.labels(lengths)] - lengths).max() == 4.0


@pytest.mark.parametrize(
    ("given", "named"), [({"width_tokens": 0}, "bin_width_tokens.*got 0"), ({"count": 1}, "num_bins.*got 1")]
)
def test_bins_that_tell_nothing_apart_are_refused(given: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Bins(**given)


@pytest.mark.parametrize("bins", BINS)
def test_mode_and_mean_are_those_of_each_row(bins: Bins) -> None:
    rows = distributions(bins)
    modes, means = mode(bins, rows), mean(bins, rows)
    for row, found_mode, found_mean in zip(rows.tolist(), modes, means, strict=True):
        assert found_mode == (row.index(max(row)) + 0.5) * bins.width_tokens
        assert found_mean == pytest.approx(sum(share * (k + 0.5) * bins.width_tokens for k, share in enumerate(row)))


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("q", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_quantile_inverts_the_distribution_function(bins: Bins, q: float) -> None:
    rows = distributions(bins)
    edges = np.arange(bins.count + 1) * bins.width_tokens
    for row, found in zip(rows, quantile(bins, rows, q), strict=True):
        assert np.interp(found, edges, [0.0, *np.cumsum(row)]) == pytest.approx(q, abs=1e-9)


def test_quantile_of_equally_likely_lengths_is_the_middle_of_many_draws() -> None:
    bins = Bins(width_tokens=10, count=8)
    rows = distributions(bins, number=5)
    rng = np.random.default_rng(1)
    for row, found in zip(rows, quantile(bins, rows, 0.7), strict=True):
        draws = (rng.choice(bins.count, size=200_000, p=row) + rng.random(200_000)) * bins.width_tokens
        assert (draws < found).mean() == pytest.approx(0.7, abs=0.01)


def test_median_is_the_quantile_of_a_half() -> None:
    bins = Bins()
    rows = distributions(bins)
    np.testing.assert_array_equal(median(bins, rows), quantile(bins, rows, 0.5))


def test_quantiles_stay_within_the_bins_though_rounding_loses_a_little() -> None:
    bins = Bins(width_tokens=10, count=3)
    rows = np.asarray([[1 / 3, 1 / 3, 1 / 3 - 1e-6], [1.0, 0.0, 0.0]])
    assert (quantile(bins, rows, 0.999_999_9) <= 30.0).all()
    assert quantile(bins, rows, 1.0)[1] == 10.0


@pytest.mark.parametrize("bins", BINS)
def test_tail_inflated_is_half_the_mean_and_half_that_of_the_longest_tenth(bins: Bins) -> None:
    rows = distributions(bins)
    for row, found in zip(rows.tolist(), tail_inflated(bins, rows), strict=True):
        left, in_tail = TAIL, 0.0
        for k in reversed(range(bins.count)):
            taken = min(left, row[k])
            in_tail, left = in_tail + taken * (k + 0.5) * bins.width_tokens, left - taken
        whole = sum(share * (k + 0.5) * bins.width_tokens for k, share in enumerate(row))
        assert found == pytest.approx(0.5 * whole + 0.5 * in_tail / TAIL)


@pytest.mark.parametrize("bins", BINS)
def test_tail_inflated_is_never_below_the_mean(bins: Bins) -> None:
    rows = distributions(bins)
    assert (tail_inflated(bins, rows) >= mean(bins, rows) - 1e-9).all()


@pytest.mark.parametrize("estimate", POINT_ESTIMATES.values(), ids=POINT_ESTIMATES)
def test_a_certain_distribution_is_estimated_by_its_bins_centre(estimate: Callable) -> None:
    bins = Bins(width_tokens=10, count=6)
    np.testing.assert_allclose(estimate(bins, np.eye(bins.count)), bins.centres)
