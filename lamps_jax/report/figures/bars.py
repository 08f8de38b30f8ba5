"""Shares by system: of memory that is wasted, and of requests that finish."""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from lamps_jax.report.figures.rates import interval_note
from lamps_jax.report.figures.style import Look, grid, legend_below, new_figure, styled
from lamps_jax.report.runs import CAUSES, Comparison, rate_text, waste_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAUSE_LOOKS = {"preserved": ("#E69F00", "////"), "recomputed": ("#0072B2", ""), "swapped": ("#A6DCC9", "xxxx")}


@styled
def waste_figure(comparison: Comparison) -> "Figure":
    """Waste by cause as a share of the pool's time, a panel for each rate; bars add up to the whole, whose interval is drawn."""
    rates = comparison.rates
    columns = min(3, len(rates))
    height = 1.5 + (0.5 + 0.3 * len(comparison.systems)) * math.ceil(len(rates) / columns)
    title, width = "KV memory held without computing, by cause", max(5.6, 2.2 + 2.2 * columns)
    figure = new_figure(title, comparison.setting.title, width, height, interval_note(comparison))
    axes = grid(figure, len(rates), columns, sharex=True, sharey=True)
    for panel, rate in zip(axes, rates, strict=True):
        left = [0.0] * len(comparison.systems)
        for cause in CAUSES:
            found = [comparison.estimate(system, rate, partial(waste_share, cause=cause)) for system in comparison.systems]
            widths = [100 * estimate.mean if estimate else 0.0 for estimate in found]
            colour, hatch = CAUSE_LOOKS[cause]
            panel.barh(
                range(len(widths)), widths, left=left, color=colour, hatch=hatch, edgecolor="#333333", linewidth=0.5, label=cause
            )
            left = [start + width for start, width in zip(left, widths, strict=True)]
        whole = [comparison.estimate(system, rate, partial(waste_share, cause="all")) for system in comparison.systems]
        bars = [(row, 100 * each.mean, 100 * each.half_width) for row, each in enumerate(whole) if each and each.half_width]
        panel.errorbar(
            [mean for _, mean, _ in bars],
            [row for row, _, _ in bars],
            xerr=[half for _, _, half in bars],
            linestyle="none",
            ecolor="#000000",
            elinewidth=1.0,
        )
        panel.set_title(rate_text(rate))
        panel.set_yticks(range(len(comparison.systems)), comparison.systems)
        panel.set_ylim(len(comparison.systems) - 0.4, -0.6)
        panel.grid(visible=False, axis="y")
    axes[0].set_xlim(left=0)
    for panel in axes[-columns:]:
        panel.set_xlabel("share of pool × time (%)")
        panel.tick_params(labelbottom=True)
    legend_below(figure, axes)
    return figure


@styled
def finished_by_type_figure(comparison: Comparison, look: Mapping[str, Look]) -> "Figure":
    """The share of each type's arrivals that finished, all seeds together, a panel for each rate."""
    types = list(dict.fromkeys(kind for runs in comparison.runs.values() for run in runs for kind in run.by_type))
    rates = comparison.rates
    columns = min(3, len(rates))
    row_height = 0.1 * len(comparison.systems) + 0.16
    height = 1.3 + (0.5 + row_height * len(types)) * math.ceil(len(rates) / columns)
    figure = new_figure("Requests finished, by type", comparison.setting.title, max(5.6, 2.2 + 2.2 * columns), height)
    axes = grid(figure, len(rates), columns, sharex=True, sharey=True)
    for panel, rate in zip(axes, rates, strict=True):
        for place, system in enumerate(comparison.systems):
            shares = _shares(comparison, system, rate, types)
            shift = 0.7 * (place + 0.5) / len(comparison.systems) - 0.35
            rows = [row + shift for row, share in enumerate(shares) if share is not None]
            style = look[system]
            panel.plot(
                [share for share in shares if share is not None],
                rows,
                linestyle="none",
                marker=style.marker,
                color=style.color,
                label=system,
                clip_on=False,
            )
        for row in range(1, len(types)):
            panel.axhline(row - 0.5, color="#DDDDDD", linewidth=0.6)
        panel.set_title(rate_text(rate))
        panel.set_yticks(range(len(types)), types)
        panel.set_ylim(len(types) - 0.5, -0.5)
        panel.set_xlim(0, 100)
        panel.grid(visible=False, axis="y")
    for panel in axes[-columns:]:
        panel.set_xlabel("finished (% of arrived)")
        panel.tick_params(labelbottom=True)
    legend_below(figure, axes)
    return figure


def _shares(comparison: Comparison, system: str, rate: float | None, types: list[str]) -> list[float | None]:
    shares = []
    for kind in types:
        results = [run.by_type[kind] for run in comparison.at(system, rate) if kind in run.by_type]
        arrived = sum(result.arrived for result in results)
        shares.append(100 * sum(result.finished for result in results) / arrived if arrived else None)
    return shares
