"""Figures of length predictors: each function takes predictions by predictor and gives a matplotlib figure."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from lamps_jax.report.figures.style import grid, legend_below, looks, new_figure, save_figure, styled
from lamps_jax.train_predictor.evaluate import (
    QUANTILES,
    accuracy_name,
    checked,
    checked_lengths,
    per_bin,
    reliability,
    share_below_quantile,
)
from lamps_jax.train_predictor.lengths import POINT_ESTIMATES, Bins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Predictions = Mapping[str, Float[np.ndarray, "n bins"]]
"""Distributions of the same lengths, by predictor."""

MIN_GROUP = 10
"""Groups of fewer lengths are left out of the reliability diagram: their accuracy is mostly chance."""

ACCURACY_LOOKS = (("#BBDDF2", "////"), ("#0072B2", ""))
"""Colour and hatch of bars within one bin, and of those exactly right."""


@styled
def reliability_figure(bins: Bins, lengths: Int[np.ndarray, " n"], predictions: Predictions) -> "Figure":
    """Whether shares are true: accuracy of the likeliest bin against its share, lengths below quantiles against theirs.

    Raises:
        ValueError: As `checked` does.
    """
    note = f"on the grey line what is predicted is true; groups of fewer than {MIN_GROUP} outputs are left out on the left"
    figure = new_figure("Calibration of length predictors", _setting(bins, lengths), 7.2, 4.3, note)
    left, right = grid(figure, 2, 2)
    for name, look in looks(list(predictions)).items():
        groups = reliability(bins, lengths, predictions[name])
        shown = groups.counts >= MIN_GROUP
        below = [share_below_quantile(bins, lengths, predictions[name], q) for q in QUANTILES]
        points = (
            (left, 100 * groups.confidences[shown], 100 * groups.accuracies[shown]),
            (right, 100 * np.asarray(QUANTILES), 100 * np.asarray(below)),
        )
        for panel, x, y in points:
            panel.plot(x, y, color=look.color, marker=look.marker, linestyle=look.linestyle, label=name, clip_on=False)
    for panel in (left, right):
        panel.plot([0, 100], [0, 100], color="#999999", linewidth=1.0, zorder=1)
        panel.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    left.set(xlabel="share of the likeliest bin (%)", ylabel="outputs in that bin (%)")
    right.set(xlabel="predicted quantile (%)", ylabel="outputs below it (%)")
    legend_below(figure, [left])
    return figure


@styled
def predicted_against_true_figure(
    bins: Bins, lengths: Int[np.ndarray, " n"], predictions: Predictions, *, estimate: str = "mean"
) -> "Figure":
    """How many outputs lie where, by true and by predicted bin: a panel for each predictor, the colours logarithmic.

    Raises:
        ValueError: If the estimate is unknown, or as `checked` does.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    estimates = _estimates(bins, lengths, predictions, estimate)
    true = bins.labels(lengths)
    tables = {}
    for name, values in estimates.items():
        table = np.zeros((bins.count, bins.count), np.int64)
        np.add.at(table, (bins.labels(np.floor(values).astype(np.int64)), true), 1)
        tables[name] = table
    columns = min(3, len(tables))
    rows = math.ceil(len(tables) / columns)
    title = f"Predicted against true length: {estimate}"
    note = "on the dashed line they are equal; the last bin holds all that is longer"
    figure = new_figure(title, _setting(bins, lengths), 1.6 + 2.4 * columns, 1.5 + 2.3 * rows, note)
    axes = grid(figure, len(tables), columns, sharex=True, sharey=True)
    occupied = [int(np.flatnonzero((table + table.T).any(0))[-1]) for table in tables.values()]
    end = (max(occupied) + 1) * bins.width_tokens
    edges = np.arange(bins.count + 1) * bins.width_tokens
    # Nothing is white; the least that there is, is not.
    colours = {"norm": LogNorm(1, max(2, *(int(table.max()) for table in tables.values()))), "cmap": "cividis_r"}
    for panel, (name, table) in zip(axes, tables.items(), strict=True):
        shown = np.ma.masked_equal(table, 0)
        panel.pcolormesh(edges, edges, shown, rasterized=True, **colours)
        panel.plot([0, end], [0, end], color="#000000", linewidth=1.0, linestyle="--")
        panel.set(title=name, xlim=(0, end), ylim=(0, end), aspect="equal")
        panel.tick_params(labelbottom=True)
    for panel in axes[::columns]:
        panel.set_ylabel("predicted (tokens)")
    for panel in axes[-columns:]:
        panel.set_xlabel("true (tokens)")
    figure.colorbar(ScalarMappable(**colours), ax=axes, label="outputs", format="%g")
    return figure


@styled
def errors_figure(bins: Bins, lengths: Int[np.ndarray, " n"], predictions: Predictions, *, estimate: str = "mean") -> "Figure":
    """How far point estimates are off: quantiles of the error by predictor, and the shares of outputs within an error.

    Raises:
        ValueError: If the estimate is unknown, or as `checked` does.
    """
    errors = {name: values - lengths for name, values in _estimates(bins, lengths, predictions, estimate).items()}
    note = "left: median, and the middle 50 % and 90 % of outputs"
    figure = new_figure(f"Errors of predicted lengths: {estimate}", _setting(bins, lengths), 7.6, 3.9, note)
    left, right = grid(figure, 2, 2)
    end = max(float(np.percentile(np.abs(each), 99)) for each in errors.values())
    for row, (name, look) in enumerate(looks(list(errors)).items()):
        p5, p25, p50, p75, p95 = np.percentile(errors[name], (5, 25, 50, 75, 95))
        left.plot([p5, p95], [row, row], color=look.color, linewidth=1.4)
        left.plot([p25, p75], [row, row], color=look.color, linewidth=6.0, solid_capstyle="butt")
        left.plot([p50], [row], color="#FFFFFF", marker=look.marker, markeredgecolor=look.color, markersize=7.0)
        right.plot(
            np.sort(np.abs(errors[name])),
            100 * np.arange(1, len(lengths) + 1) / len(lengths),
            drawstyle="steps-post",
            color=look.color,
            linestyle=look.linestyle,
            marker=look.marker,
            markevery=(0.03 * (row + 1), 0.25),
            label=name,
        )
    left.axvline(0.0, color="#999999", linewidth=1.0, zorder=1)
    left.set_yticks(range(len(errors)), list(errors))
    left.set(ylim=(len(errors) - 0.5, -0.5), xlabel="predicted − true (tokens)")
    left.grid(visible=False, axis="y")
    right.set(xlim=(0, max(end, 1.0)), ylim=(0, 103), xlabel="absolute error (tokens)", ylabel="outputs within it (%)")
    legend_below(figure, [right])
    return figure


@styled
def accuracy_by_bin_figure(bins: Bins, lengths: Int[np.ndarray, " n"], predictions: Predictions) -> "Figure":
    """Accuracy by true bin, exact and within one, a panel for each predictor; above them how many outputs each bin holds.

    Raises:
        ValueError: As `checked` does.

    Source: LAMPS (2025), table 2, as bars.
    """
    figure = new_figure("Accuracy by true length", _setting(bins, lengths), 7.2, 2.3 + 1.2 * len(predictions))
    top, *axes = grid(figure, 1 + len(predictions), 1, sharex=True)
    counts = np.bincount(bins.labels(checked_lengths(lengths)), minlength=bins.count)
    style = {"width": 0.86 * bins.width_tokens, "edgecolor": "#333333", "linewidth": 0.4}
    top.bar(bins.centres, counts, color="#999999", **style)
    top.set(title="outputs", ylabel="count")
    for panel, (name, probabilities) in zip(axes, predictions.items(), strict=True):
        columns = per_bin(bins, lengths, probabilities)
        for distance, (colour, hatch) in zip((1, 0), ACCURACY_LOOKS, strict=True):
            heights = [100 * (share or 0.0) for share in columns[f"accuracy_{distance}_bins"]]
            label = f"{accuracy_name(bins, distance)}: the likeliest bin{' or a neighbour' if distance else ''} is true"
            panel.bar(bins.centres, heights, color=colour, hatch=hatch, label=label, **style)
        panel.set(title=name, ylim=(0, 100), ylabel="right (%)")
    last = int(np.flatnonzero(counts)[-1])
    axes[-1].set(
        xlim=(0, (last + 1) * bins.width_tokens),
        xlabel=f"true length (tokens; the bin at {bins.limit_tokens - bins.width_tokens} holds all longer)",
    )
    for panel in (top, *axes):
        panel.grid(visible=False, axis="x")
    legend_below(figure, axes)
    return figure


def write_figures(
    bins: Bins, lengths: Int[np.ndarray, " n"], predictions: Predictions, directory: Path, *, estimate: str = "mean"
) -> list[Path]:
    """Writes all figures as PNG into `directory`, which is made if need be; gives their paths.

    Raises:
        ValueError: If there is no predictor, the estimate is unknown, or as `checked` does; nothing is written then.
    """
    if not predictions:
        raise ValueError("no predictor to draw; name at least one")
    figures = {
        "reliability": reliability_figure(bins, lengths, predictions),
        "predicted-against-true": predicted_against_true_figure(bins, lengths, predictions, estimate=estimate),
        "errors": errors_figure(bins, lengths, predictions, estimate=estimate),
        "accuracy-by-bin": accuracy_by_bin_figure(bins, lengths, predictions),
    }
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def _estimates(
    bins: Bins, lengths: Int[np.ndarray, " n"], predictions: Predictions, estimate: str
) -> dict[str, Float[np.ndarray, " n"]]:
    if estimate not in POINT_ESTIMATES:
        raise ValueError(f"unknown estimate {estimate!r}; known are {', '.join(POINT_ESTIMATES)}")
    of = POINT_ESTIMATES[estimate]
    return {name: of(bins, checked(bins, lengths, rows)[1]) for name, rows in predictions.items()}


def _setting(bins: Bins, lengths: Int[np.ndarray, " n"]) -> str:
    return f"{len(lengths):,} outputs, {bins.count} bins of {bins.width_tokens} tokens"
