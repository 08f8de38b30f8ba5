"""How latencies are spread over requests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamps_jax.report.document import Run
from lamps_jax.report.figures.style import Look, grid, legend_below, new_figure, scale_log, styled
from lamps_jax.report.runs import Comparison, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_FROM = 30.0
"""The axis is logarithmic where the longest is so many times the shortest of the medians."""

PANELS = (("e2e_s", "E2E latency (s)"), ("ttft_s", "TTFT (s)"))


@styled
def cdf_figure(comparison: Comparison, look: Mapping[str, Look], rate: float | None) -> "Figure":
    """The share of all arrivals that finished within a time, all seeds together.

    A curve ends in a plateau at the share that finished in the window at all: what is above it never did, so that a system
    does not look better for having finished only what is short.
    """
    unfinished = any(run.arrived > run.finished for system in comparison.systems for run in comparison.at(system, rate))
    note = "flat after the marker: what is above had not finished (censored)" if unfinished else ""
    title = f"Latency of finished requests as a share of all arrivals at {rate_text(rate)}"
    figure = new_figure(title, comparison.setting.title, 7.2, 4.0, note)
    axes = grid(figure, len(PANELS), len(PANELS), sharey=True)
    for panel, (name, label) in zip(axes, PANELS, strict=True):
        curves = {system: _curve(comparison.at(system, rate), name) for system in comparison.systems}
        curves = {system: curve for system, curve in curves.items() if curve[0]}
        if not curves:
            continue
        end = 1.1 * max(values[-1] for values, _ in curves.values())
        medians = [values[len(values) // 2] for values, _ in curves.values()]
        start = 0.0
        if end > LOG_FROM * min(medians) > 0:
            scale_log(panel.xaxis)
            start, end = 0.8 * min(value for values, _ in curves.values() for value in values if value > 0), 1.3 * end
        for system, (values, shares) in curves.items():
            style = look[system]
            panel.step(
                [start, *values, end],
                [0.0, *shares, shares[-1]],
                where="post",
                color=style.color,
                linestyle=style.linestyle,
                marker=style.marker,
                markevery=[len(values)],
                label=system,
            )
        panel.set(xlabel=label, xlim=(start, end), ylim=(0, 103))
    axes[0].set_ylabel("share of all arrivals (%)")
    legend_below(figure, axes)
    return figure


def _curve(runs: tuple[Run, ...], name: str) -> tuple[list[float], list[float]]:
    """Latencies in ascending order, and for each the percentage of arrivals that it covers; of runs that have samples."""
    sampled = [run for run in runs if run.latencies is not None]
    values = sorted(value for run in sampled for value in getattr(run.latencies, name))
    arrived = sum(run.arrived for run in sampled)
    return values, [100 * place / arrived for place in range(1, len(values) + 1)]
