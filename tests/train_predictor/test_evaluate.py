"""Measures of predictors, against loops over one example at a time and against predictors whose worth is known."""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from lamps_jax.train_predictor.evaluate import (
    FLOOR,
    QUANTILES,
    accuracy_name,
    accuracy_within,
    checked,
    kendall_tau,
    negative_log_likelihood,
    per_bin,
    point_errors,
    reliability,
    report,
    share_below_quantile,
)
from lamps_jax.train_predictor.lengths import POINT_ESTIMATES, Bins, mean

BINS = Bins(width_tokens=10, count=12)


def perfect(bins: Bins, lengths: np.ndarray) -> np.ndarray:
    return np.eye(bins.count)[bins.labels(lengths)]


def drawn(
    bins: Bins = BINS, *, number: int = 400, concentration: float = 0.3, seed: int = 0, clamped: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths drawn from distributions, and these: a calibrated predictor. If `clamped`, half of the last bin lies beyond it."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(bins.count, concentration), size=number)
    labels = (rows.cumsum(1) < rng.random((number, 1))).sum(1).clip(max=bins.count - 1)
    lengths = labels * bins.width_tokens + rng.integers(bins.width_tokens, size=number)
    beyond = 40 * rng.integers(2, size=number) * (labels == bins.count - 1)
    return lengths + beyond * clamped, rows


def test_accuracy_counts_likeliest_bins_at_most_so_far_from_the_true() -> None:
    lengths, rows = drawn()
    for distance in range(4):
        right = 0
        for length, row in zip(lengths.tolist(), rows.tolist(), strict=True):
            right += abs(row.index(max(row)) - min(length // 10, 11)) <= distance
        assert accuracy_within(BINS, lengths, rows, distance) == pytest.approx(right / len(lengths))


def test_accuracies_of_the_papers_bins_have_the_papers_names() -> None:
    assert [accuracy_name(Bins(), distance) for distance in (0, 1)] == ["Acc-5", "Acc-15"]
    assert accuracy_name(Bins(width_tokens=5), 1) == "Acc-7.5"


@pytest.mark.parametrize("estimate", POINT_ESTIMATES)
def test_a_perfect_predictor_is_at_most_half_a_bin_off_and_ranks_all_bins(estimate: str) -> None:
    lengths = np.random.default_rng(0).integers(BINS.limit_tokens, size=300)
    rows = perfect(BINS, lengths)
    assert accuracy_within(BINS, lengths, rows, 0) == accuracy_within(BINS, lengths, rows, 1) == 1.0
    assert negative_log_likelihood(BINS, lengths, rows) == 0.0
    assert reliability(BINS, lengths, rows).expected_error == 0.0
    errors = point_errors(BINS, lengths, POINT_ESTIMATES[estimate](BINS, rows))
    assert errors["mae_bins"] == errors["mae_bins_short"] == 0.0
    assert errors["mae_tokens"] is not None and errors["mae_tokens"] <= BINS.width_tokens / 2
    centres = BINS.centres[BINS.labels(lengths)].astype(np.int64)
    assert kendall_tau(centres, POINT_ESTIMATES[estimate](BINS, rows)) == pytest.approx(1.0)


def test_a_perfect_predictor_of_single_tokens_has_tau_one() -> None:
    bins = Bins(width_tokens=1, count=50)
    lengths = np.random.default_rng(0).integers(50, size=200)
    assert kendall_tau(lengths, mean(bins, perfect(bins, lengths))) == pytest.approx(1.0)


def test_point_errors_are_those_of_a_loop() -> None:
    lengths, rows = drawn(Bins(10, 40))
    estimates = mean(Bins(10, 40), rows)
    off = [estimate - length for estimate, length in zip(estimates.tolist(), lengths.tolist(), strict=True)]
    steps = [
        abs(min(int(estimate // 10), 39) - min(length // 10, 39))
        for estimate, length in zip(estimates.tolist(), lengths.tolist(), strict=True)
    ]
    short = [step for step, length in zip(steps, lengths.tolist(), strict=True) if length < 200]
    errors = point_errors(Bins(10, 40), lengths, estimates)
    n = len(lengths)
    assert 0 < len(short) < n
    assert errors == pytest.approx(
        {
            "mae_tokens": sum(map(abs, off)) / n,
            "mae_bins": sum(steps) / n,
            "mae_bins_short": sum(short) / len(short),
            "rmse_tokens": math.sqrt(sum(each * each for each in off) / n),
            "bias_tokens": sum(off) / n,
            "kendall_tau": kendalltau(estimates, lengths).statistic,
        }
    )


def test_tau_counts_pairs_in_order_and_leaves_ties_out_of_the_whole() -> None:
    lengths, rows = drawn(number=60)
    estimates = BINS.centres[rows.argmax(1)]
    order, tied_lengths, tied_estimates, pairs = 0, 0, 0, 0
    for i in range(len(lengths)):
        for j in range(i):
            pairs += 1
            order += np.sign(lengths[i] - lengths[j]) * np.sign(estimates[i] - estimates[j])
            tied_lengths += lengths[i] == lengths[j]
            tied_estimates += estimates[i] == estimates[j]
    tau_b = order / math.sqrt((pairs - tied_lengths) * (pairs - tied_estimates))
    assert kendall_tau(lengths, estimates) == pytest.approx(tau_b)
    assert kendall_tau(lengths, -estimates) == pytest.approx(-tau_b)


def test_tau_of_nothing_but_ties_is_none() -> None:
    lengths = np.asarray([3, 30, 60])
    assert kendall_tau(lengths, np.asarray([5.0, 5.0, 5.0 + 1e-12])) is None
    assert kendall_tau(np.asarray([7, 7, 7]), np.asarray([1.0, 2.0, 3.0])) is None


def test_what_the_bins_clamp_is_an_error_in_tokens_and_none_in_bins() -> None:
    errors = point_errors(BINS, np.asarray([1000]), np.asarray([BINS.centres[-1]]))
    assert errors["mae_tokens"] == 885.0 and errors["bias_tokens"] == -885.0
    assert errors["mae_bins"] == 0.0 and errors["mae_bins_short"] is None


def test_log_likelihood_is_the_mean_over_true_bins_and_the_impossible_is_bounded() -> None:
    lengths, rows = drawn()
    expected = -sum(math.log(max(row[min(n // 10, 11)], FLOOR)) for n, row in zip(lengths.tolist(), rows, strict=True)) / len(
        rows
    )
    assert negative_log_likelihood(BINS, lengths, rows) == pytest.approx(expected)
    assert negative_log_likelihood(BINS, np.asarray([5]), np.eye(12)[[3]]) == pytest.approx(-math.log(FLOOR))


def test_reliability_groups_outputs_by_the_share_of_their_likeliest_bin() -> None:
    lengths, rows = drawn()
    found = reliability(BINS, lengths, rows)
    groups: dict[int, list[tuple[float, bool]]] = {}
    for length, row in zip(lengths.tolist(), rows.tolist(), strict=True):
        top = max(row)
        groups.setdefault(min(int(top * 10), 9), []).append((top, row.index(top) == min(length // 10, 11)))
    members = [groups[group] for group in sorted(groups)]
    assert found.counts.tolist() == [len(each) for each in members]
    np.testing.assert_allclose(found.confidences, [np.mean([top for top, _ in each]) for each in members])
    np.testing.assert_allclose(found.accuracies, [np.mean([right for _, right in each]) for each in members])
    expected = sum(abs(sum(top for top, _ in each) - sum(right for _, right in each)) for each in members) / len(rows)
    assert found.expected_error == pytest.approx(expected)


@pytest.mark.parametrize("concentration", [0.02, 0.3, 5.0])
def test_a_calibrated_predictor_has_little_calibration_error_and_true_quantiles(concentration: float) -> None:
    lengths, rows = drawn(number=20_000, concentration=concentration, clamped=False)
    assert reliability(BINS, lengths, rows).expected_error < 0.02
    for q in QUANTILES:
        assert share_below_quantile(BINS, lengths, rows, q) == pytest.approx(q, abs=0.02)


def test_what_the_bins_clamp_is_above_every_quantile() -> None:
    rows = np.tile(np.eye(12)[11], (4, 1))
    assert share_below_quantile(BINS, np.asarray([110, 119, 120, 500]), rows, 0.99) == 0.5


def test_an_overconfident_predictor_has_a_calibration_error() -> None:
    lengths, rows = drawn(number=5_000)
    bold = rows**4 / (rows**4).sum(1, keepdims=True)
    assert reliability(BINS, lengths, bold).expected_error > 0.1
    assert share_below_quantile(BINS, lengths, bold, 0.1) > 0.2


def test_a_predictor_of_too_short_lengths_has_few_lengths_below_its_quantiles() -> None:
    lengths = np.full(50, 65)
    rows = np.tile(np.eye(12)[2], (50, 1))
    assert [share_below_quantile(BINS, lengths, rows, q) for q in QUANTILES] == [0.0] * 9


def test_the_table_by_bin_adds_up_to_the_whole() -> None:
    lengths, rows = drawn()
    lengths = lengths[:200] // 2  # so that some bins are empty
    columns = per_bin(BINS, lengths, rows[:200])
    assert sum(columns["count"]) == 200 and 0 in columns["count"]
    for distance in (0, 1):
        shares = columns[f"accuracy_{distance}_bins"]
        for label, (count, share) in enumerate(zip(columns["count"], shares, strict=True)):
            ours = [abs(row.argmax() - label) <= distance for n, row in zip(lengths, rows, strict=False) if n // 10 == label]
            assert count == len(ours) and share == (pytest.approx(np.mean(ours)) if ours else None)
        whole = sum(count * share for count, share in zip(columns["count"], shares, strict=True) if count) / 200
        assert whole == pytest.approx(accuracy_within(BINS, lengths, rows[:200], distance))


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    lengths, rows = drawn()
    constant = np.tile(np.eye(BINS.count)[0], (len(lengths), 1))
    return report(BINS, lengths, {"model": rows, "first|bin": constant}, {"model": 13.7})


def test_a_report_is_json_of_finite_numbers(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_report_holds_every_measure_of_every_predictor(found: dict[str, Any]) -> None:
    lengths, rows = drawn()
    model, constant = found["predictors"].values()
    assert found["bins"] == {"width_tokens": 10, "count": 12}
    assert found["num_examples"] == 400
    assert found["clamped_share"] == pytest.approx((lengths >= 120).mean()) and found["clamped_share"] > 0
    assert found["length_tokens"]["max"] == lengths.max()
    assert model["accuracy_0_bins"] == accuracy_within(BINS, lengths, rows, 0)
    assert model["accuracy_1_bins"] == accuracy_within(BINS, lengths, rows, 1)
    assert model["nll_nats"] == pytest.approx(negative_log_likelihood(BINS, lengths, rows))
    assert model["ece"] == pytest.approx(reliability(BINS, lengths, rows).expected_error)
    assert list(model["estimates"]) == list(POINT_ESTIMATES)
    assert model["estimates"]["mean"] == pytest.approx(point_errors(BINS, lengths, mean(BINS, rows)))
    assert model["quantiles"] == {
        "q": list(QUANTILES),
        "share_below": [share_below_quantile(BINS, lengths, rows, q) for q in QUANTILES],
    }
    assert sum(model["reliability"]["count"]) == 400
    assert model["per_bin"] == per_bin(BINS, lengths, rows)
    assert (model["latency_ms"], constant["latency_ms"]) == (13.7, None)
    assert constant["estimates"]["mode"]["kendall_tau"] is None


@pytest.mark.parametrize(
    ("lengths", "rows", "message"),
    [
        ([], np.zeros((0, 12)), r"at least one, got shape \(0,\)"),
        ([[1]], np.eye(12)[[0]], r"got shape \(1, 1\)"),
        ([1.5], np.eye(12)[[0]], "whole tokens, got float64"),
        ([4, -3], np.eye(12)[:2], "negative, got -3"),
        ([4, 3], np.eye(12)[:3], r"\(2, 12\), got \(3, 12\)"),
        ([4, 3], np.eye(11)[:2], r"\(2, 12\), got \(2, 11\)"),
        ([4], np.eye(12)[0], r"\(1, 12\), got \(12,\)"),
        ([4, 3], np.eye(12)[:2] * [[1.0], [0.7]], r"row 1 sums to 0\.7"),
        ([4, 3], np.eye(12)[:2] - 0.1, r"row 0 has -0\.1"),
        ([4], np.full((1, 12), np.nan), "row 0 has nan"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_its_value(lengths: list, rows: np.ndarray, message: str) -> None:
    for measure in (checked, negative_log_likelihood, reliability, per_bin):
        with pytest.raises(ValueError, match=message):
            measure(BINS, np.asarray(lengths, float if 1.5 in lengths else int), rows)
    with pytest.raises(ValueError, match=message):
        report(BINS, np.asarray(lengths, float if 1.5 in lengths else int), {"model": rows})


def test_shares_in_half_precision_are_distributions() -> None:
    lengths, rows = drawn()
    assert accuracy_within(BINS, lengths, rows.astype(np.float16), 1) == pytest.approx(
        accuracy_within(BINS, lengths, rows, 1), abs=0.02
    )


def test_estimates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\), got \(3,\)"):
        point_errors(BINS, np.asarray([1, 2]), np.zeros(3))
    with pytest.raises(ValueError, match="finite, got inf"):
        point_errors(BINS, np.asarray([1, 2]), np.asarray([1.0, np.inf]))


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5])
def test_a_quantile_outside_of_zero_and_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match=f"got {q}"):
        share_below_quantile(BINS, *drawn(), q)


def test_a_negative_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        accuracy_within(BINS, *drawn(), -1)


@pytest.mark.parametrize(
    ("names", "latency_ms", "message"),
    [
        ([], {}, "no predictor"),
        (["model"], {"other": 1.0}, "'other'.*known are model"),
        (["model"], {"model": math.nan}, "'model' must be finite, got nan"),
    ],
)
def test_a_report_of_unknown_predictors_is_refused(names: list[str], latency_ms: dict[str, float], message: str) -> None:
    lengths, rows = drawn()
    with pytest.raises(ValueError, match=message):
        report(BINS, lengths, dict.fromkeys(names, rows), latency_ms)


def test_a_report_says_which_predictor_is_wrong() -> None:
    lengths, rows = drawn()
    with pytest.raises(ValueError, match=r"^second: rows of probabilities"):
        report(BINS, lengths, {"first": rows, "second": rows / 2})
