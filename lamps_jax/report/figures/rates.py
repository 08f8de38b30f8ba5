"""What becomes of latency and throughput as the rate grows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lamps_jax.report.figures.style import Look, grid, legend_below, new_figure, scale_log, styled
from lamps_jax.report.runs import Comparison, Quantity, of_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOG_FROM = 30.0
"""An axis is logarithmic where its largest value is so many times its smallest."""


@styled
def latency_figure(comparison: Comparison, look: Mapping[str, Look], *, all_arrivals: bool = False) -> "Figure":
    """Mean and P99 of E2E latency and TTFT against the rate; error bars are 95 % intervals over seeds.

    Args:
        all_arrivals: Whether every arrival counts, those unfinished up to the end of the window: lower bounds.
    """
    what = "every arrival, unfinished ones up to the window's end: lower bounds" if all_arrivals else "finished requests"
    width = 7.2 if len(comparison.systems) <= 5 else 9.6
    figure = new_figure(f"Latency against rate: {what}", comparison.setting.title, width, 5.8, interval_note(comparison))
    axes = grid(figure, 4, 2, sharex=True)
    panels = [(name, short, field) for name, short in (("e2e_s", "E2E latency"), ("ttft_s", "TTFT")) for field in ("mean", "p99")]
    for panel, (name, short, field) in zip(axes, panels, strict=True):
        plot_against_rate(panel, comparison, look, of_spread(name, field, all_arrivals=all_arrivals))
        statistic = "mean" if field == "mean" else "P99"
        panel.set_ylabel(f"{statistic} {short} ({'≥, ' if all_arrivals else ''}s)")
        scale_to_values(panel)
    for panel in axes[2:]:
        panel.set_xlabel("rate (req/s)")
    legend_below(figure, axes)
    return figure


@styled
def throughput_figure(comparison: Comparison, look: Mapping[str, Look]) -> "Figure":
    """Throughput and goodput against the rate, beside the line on which everything offered is finished."""
    quantities = {"throughput (req/s)": lambda run: run.throughput_rps, "goodput (req/s)": lambda run: run.goodput_rps}
    shown = {
        label: quantity
        for label, quantity in quantities.items()
        if comparison.any(lambda run, quantity=quantity: quantity(run) is not None)
    }
    figure = new_figure(
        "Requests finished per second against rate",
        comparison.setting.title,
        3.6 * len(shown) + 0.4,
        3.8,
        interval_note(comparison),
    )
    axes = grid(figure, len(shown), len(shown), sharex=True, sharey=True)
    offered = numeric_rates(comparison)
    for panel, (label, quantity) in zip(axes, shown.items(), strict=True):
        plot_against_rate(panel, comparison, look, quantity)
        panel.plot(offered, offered, color="#777777", linewidth=1.0, linestyle=(0, (1, 2)), label="all that is offered", zorder=1)
        panel.set(xlabel="rate (req/s)", ylabel=label)
    axes[0].set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


def interval_note(comparison: Comparison) -> str:
    """What error bars mean; empty where there are none."""
    return f"error bars: {comparison.seeds_text}" if comparison.seeds_text else ""


def numeric_rates(comparison: Comparison) -> list[float]:
    """The rates that have a place on an axis: all but "all at once"."""
    return [rate for rate in comparison.rates if rate is not None]


def plot_against_rate(panel: "Axes", comparison: Comparison, look: Mapping[str, Look], quantity: Quantity) -> None:
    """A line for each system. Systems are moved apart by a hair, so that error bars do not cover each other."""
    rates = numeric_rates(comparison)
    step = 0.012 * (rates[-1] - rates[0])
    for place, system in enumerate(comparison.systems):
        found = [(rate, comparison.estimate(system, rate, quantity)) for rate in rates]
        points = [(rate, estimate) for rate, estimate in found if estimate is not None]
        if not points:
            continue
        shift = step * (place - (len(comparison.systems) - 1) / 2)
        style = look[system]
        panel.errorbar(
            [rate + shift for rate, _ in points],
            [estimate.mean for _, estimate in points],
            yerr=[estimate.half_width or 0.0 for _, estimate in points],
            color=style.color,
            marker=style.marker,
            linestyle=style.linestyle,
            elinewidth=0.9,
            label=system,
        )
    panel.set_xticks(rates, [f"{rate:g}" for rate in rates])


def scale_to_values(panel: "Axes") -> None:
    """Logarithmic where means differ much, else from zero; intervals do not decide, as some reach below zero."""
    means: Sequence[float] = [float(y) for bars in panel.containers for y in bars[0].get_ydata() if y > 0]
    if means and max(means) >= LOG_FROM * min(means):
        scale_log(panel.yaxis)
        panel.set_ylim(min(means) / 2, None)
    else:
        panel.set_ylim(bottom=0)
