"""What a length predictor is worth: how often and how far it is wrong, whether it ranks, whether its shares are true.

Everything is measured on distributions over bins, of whatever model or baseline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kendalltau

from lamps_jax.train_predictor.lengths import POINT_ESTIMATES, TAIL, Bins, quantile

SUM_TOLERANCE = 1e-3
"""How far from one the sum of a distribution may be: half precision is no better."""

FLOOR = 1e-12
"""The share that a bin counts as having at least where logarithms are taken: being wrong for certain costs 27.6 nats."""

CONFIDENCE_GROUPS = 10
"""Groups of equal width that top shares are sorted into."""

QUANTILES = tuple(tenths / 10 for tenths in range(1, 10))

SHORT_TOKENS = 200
"""The paper gives a second error for lengths up to here, its first 20 bins."""


def checked(
    bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n bins"]]:
    """Lengths and distributions that belong together, these in double precision.

    Raises:
        ValueError: If there are none, shapes do not fit each other or the bins, a length is no count of tokens, or a row is no
            distribution.
    """
    lengths, probabilities = checked_lengths(lengths), np.asarray(probabilities, np.float64)
    if probabilities.shape != (len(lengths), bins.count):
        wanted = f"a row for each length and a column for each bin, ({len(lengths)}, {bins.count})"
        raise ValueError(f"probabilities must have {wanted}, got {probabilities.shape}")
    if wrong := np.flatnonzero(~(np.isfinite(probabilities) & (probabilities >= 0)).all(1)).tolist():
        least = probabilities[wrong[0]].min()  # NaN if there is one
        raise ValueError(f"probabilities must be finite and not negative, but row {wrong[0]} has {least:g}; take a softmax")
    sums = probabilities.sum(1)
    if wrong := np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE).tolist():
        raise ValueError(f"rows of probabilities must sum to 1, but row {wrong[0]} sums to {sums[wrong[0]]:g}; take a softmax")
    return lengths, probabilities / sums[:, None]


def checked_lengths(lengths: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Lengths that are counts of tokens, at least one of them.

    Raises:
        ValueError: If they are not.
    """
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or not len(lengths):
        raise ValueError(f"lengths must be a list of at least one, got shape {lengths.shape}")
    if not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(f"lengths must be whole tokens, got {lengths.dtype}; round them")
    if lengths.min() < 0:
        raise ValueError(f"lengths must not be negative, got {lengths.min()}")
    return lengths


def accuracy_name(bins: Bins, distance: int) -> str:
    """What the paper would call `accuracy_within`, after the tokens between the bin's centre and a right length: ``Acc-5``."""
    return f"Acc-{(distance + 0.5) * bins.width_tokens:g}"


def accuracy_within(
    bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"], distance: int
) -> float:
    """The share of lengths whose bin is the likeliest one, or at most `distance` bins from it.

    With bins of ten tokens, distance 0 is the paper's Acc-5 and distance 1 its Acc-15. What the bins clamp is right if the last
    bin is.

    Raises:
        ValueError: If `distance` is negative, or as `checked` does.

    Source: LAMPS (2025), appendix C.6; the code released with it counts bins, as here.
    """
    if distance < 0:
        raise ValueError(f"distance must not be negative, got {distance}")
    lengths, probabilities = checked(bins, lengths, probabilities)
    return float((np.abs(probabilities.argmax(1) - bins.labels(lengths)) <= distance).mean())


def point_errors(bins: Bins, lengths: Int[np.ndarray, " n"], estimates: Float[np.ndarray, " n"]) -> dict[str, float | None]:
    """How far estimates in tokens are from the truth, and how well they rank.

    Returns:
        ``mae_tokens``, ``rmse_tokens`` and ``bias_tokens`` (estimate minus truth) against lengths as they are, clamped or not;
        ``mae_bins``, the distance between the bins of estimate and truth, in which what lies beyond the last bin is no error,
        and ``mae_bins_short``, the same of lengths below `SHORT_TOKENS`; ``kendall_tau``, tau-b. What is not defined is None.

    Raises:
        ValueError: If there are no lengths, or not as many estimates, or these are not finite.
    """
    lengths, estimates = checked_lengths(lengths), np.asarray(estimates, np.float64)
    if estimates.shape != lengths.shape:
        raise ValueError(f"there must be an estimate for each length, {lengths.shape}, got {estimates.shape}")
    if not np.isfinite(estimates).all():
        raise ValueError(f"estimates must be finite, got {estimates[~np.isfinite(estimates)][0]}")
    errors = estimates - lengths
    distances = np.abs(bins.labels(np.floor(estimates).astype(np.int64)) - bins.labels(lengths))
    short = distances[lengths < SHORT_TOKENS]
    return {
        "mae_tokens": float(np.abs(errors).mean()),
        "mae_bins": float(distances.mean()),
        "mae_bins_short": float(short.mean()) if len(short) else None,
        "rmse_tokens": float(np.sqrt(np.square(errors).mean())),
        "bias_tokens": float(errors.mean()),
        "kendall_tau": kendall_tau(lengths, estimates),
    }


def kendall_tau(lengths: Int[np.ndarray, " n"], estimates: Float[np.ndarray, " n"]) -> float | None:
    """How well estimates rank: Kendall's tau-b, 1 for the true order, 0 for chance; None where either side is all ties.

    Source: Kendall, 1945, The treatment of ties in ranking problems.
    """
    # Means and medians of equal distributions differ in their last digits, which must not rank.
    estimates = np.round(estimates, 6)
    if np.ptp(lengths) == 0 or np.ptp(estimates) == 0:
        return None
    found: Any = kendalltau(estimates, lengths, variant="b")
    return float(found.statistic)


def negative_log_likelihood(bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"]) -> float:
    """The mean cross-entropy with the true bins, in nats; shares below `FLOOR` count as `FLOOR`.

    Raises:
        ValueError: As `checked` does.
    """
    lengths, probabilities = checked(bins, lengths, probabilities)
    of_true = probabilities[np.arange(len(lengths)), bins.labels(lengths)]
    return float(np.log(1 / np.maximum(of_true, FLOOR)).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How often the likeliest bin is right, in groups by its share; groups without any length are left out.

    Attributes:
        counts: Lengths in the group.
        confidences: Mean share of the likeliest bin.
        accuracies: Share of lengths in that bin.
    """

    counts: Int[np.ndarray, " groups"]
    confidences: Float[np.ndarray, " groups"]
    accuracies: Float[np.ndarray, " groups"]

    @property
    def expected_error(self) -> float:
        """The mean distance of confidence and accuracy over lengths: the expected calibration error, ECE."""
        return float(np.average(np.abs(self.confidences - self.accuracies), weights=self.counts))


def reliability(bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"]) -> Reliability:
    """The reliability of the likeliest bin, in `CONFIDENCE_GROUPS` groups of equal width.

    Raises:
        ValueError: As `checked` does.

    Source: Guo et al., 2017, On calibration of modern neural networks, section 2.
    """
    lengths, probabilities = checked(bins, lengths, probabilities)
    top = probabilities.max(1)
    groups = np.minimum((top * CONFIDENCE_GROUPS).astype(np.int64), CONFIDENCE_GROUPS - 1)
    counts = np.bincount(groups, minlength=CONFIDENCE_GROUPS)
    filled = counts > 0
    right = probabilities.argmax(1) == bins.labels(lengths)
    sums = [np.bincount(groups, values, CONFIDENCE_GROUPS)[filled] for values in (top, right)]
    return Reliability(counts[filled], sums[0] / counts[filled], sums[1] / counts[filled])


def share_below_quantile(
    bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"], q: float
) -> float:
    """The share of true lengths below the predicted `q`-quantile: `q` itself, if the distributions are true.

    Quantiles are linear within a bin, so a length counts from its middle, half a token above its number. What the bins
    clamp is above every quantile.

    Raises:
        ValueError: If `q` is not between 0 and 1, or as `checked` does.
    """
    if not 0 < q < 1:
        raise ValueError(f"q must lie between 0 and 1, got {q}")
    lengths, probabilities = checked(bins, lengths, probabilities)
    return float((lengths + 0.5 <= quantile(bins, probabilities, q)).mean())


def per_bin(bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"]) -> dict[str, list[Any]]:
    """For each bin how many lengths lie in it, and how many of these are predicted exactly and within a bin.

    Returns:
        Columns ``count``, ``accuracy_0_bins`` and ``accuracy_1_bins`` of one value a bin; accuracies of an empty bin are None.

    Raises:
        ValueError: As `checked` does.

    Source: LAMPS (2025), table 2, where the accuracies are Acc-5 and Acc-15.
    """
    lengths, probabilities = checked(bins, lengths, probabilities)
    labels = bins.labels(lengths)
    distances = np.abs(probabilities.argmax(1) - labels)
    counts = np.bincount(labels, minlength=bins.count).tolist()
    columns: dict[str, list[Any]] = {"count": counts}
    for distance in (0, 1):
        right = np.bincount(labels, distances <= distance, bins.count).tolist()
        columns[f"accuracy_{distance}_bins"] = [r / count if count else None for r, count in zip(right, counts, strict=True)]
    return columns


def report(
    bins: Bins,
    lengths: Int[np.ndarray, " n"],
    probabilities: Mapping[str, Float[np.ndarray, "n bins"]],
    latency_ms: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """All that is measured of predictors by name, ready for JSON: plain finite numbers, None where there is none.

    Args:
        latency_ms: What one prediction takes, where that is known.

    Raises:
        ValueError: If there is no predictor, a latency is of none or not finite, or as `checked` does, with the name.
    """
    latency_ms = latency_ms or {}
    if not probabilities:
        raise ValueError("no predictor to report on; name at least one")
    if unknown := sorted(set(latency_ms) - set(probabilities)):
        raise ValueError(f"latency_ms of {unknown[0]!r}, which has no probabilities; known are {', '.join(probabilities)}")
    if wrong := [name for name, value in latency_ms.items() if not np.isfinite(value)]:
        raise ValueError(f"latency_ms of {wrong[0]!r} must be finite, got {latency_ms[wrong[0]]}")
    lengths = checked_lengths(lengths)
    predictors = {}
    for name, rows in probabilities.items():
        try:
            predictors[name] = {**_of_predictor(bins, lengths, rows), "latency_ms": latency_ms.get(name)}
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return {
        "bins": {"width_tokens": bins.width_tokens, "count": bins.count},
        "num_examples": len(lengths),
        "clamped_share": float(bins.clamped(lengths).mean()),
        "length_tokens": {
            "mean": float(lengths.mean()),
            **{f"p{p}": float(np.percentile(lengths, p)) for p in (50, 90, 99)},
            "max": int(lengths.max()),
        },
        "tail": TAIL,
        "short_tokens": SHORT_TOKENS,
        "predictors": predictors,
    }


def _of_predictor(bins: Bins, lengths: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n bins"]) -> dict[str, Any]:
    lengths, probabilities = checked(bins, lengths, probabilities)
    groups = reliability(bins, lengths, probabilities)
    estimates = {name: estimate(bins, probabilities) for name, estimate in POINT_ESTIMATES.items()}
    return {
        "accuracy_0_bins": accuracy_within(bins, lengths, probabilities, 0),
        "accuracy_1_bins": accuracy_within(bins, lengths, probabilities, 1),
        "nll_nats": negative_log_likelihood(bins, lengths, probabilities),
        "ece": groups.expected_error,
        "estimates": {name: point_errors(bins, lengths, values) for name, values in estimates.items()},
        "reliability": {
            "count": groups.counts.tolist(),
            "confidence": groups.confidences.tolist(),
            "accuracy": groups.accuracies.tolist(),
        },
        "quantiles": {
            "q": list(QUANTILES),
            "share_below": [share_below_quantile(bins, lengths, probabilities, q) for q in QUANTILES],
        },
        "per_bin": per_bin(bins, lengths, probabilities),
    }
