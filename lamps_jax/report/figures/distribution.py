"""How latencies are spread over requests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamps_jax.report.document import Run
from lamps_jax.report.figures.style import Look, grid, legend_below, new_figure, styled
from lamps_jax.report.runs import Comparison, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = (("e2e_s", "E2E latency (s)"), ("ttft_s", "TTFT (s)"))


@styled
def cdf_figure(comparison: Comparison, look: Mapping[str, Look], rate: float | None) -> "Figure":
    """The share of all arrivals that finished within a time, all seeds together.

    A curve ends in a plateau at the share that finished in the window at all: what is above it never did, so that a system
    does not look better for having finished only what is short.
    """
    figure = new_figure(f"Latency distribution over all arrivals at {rate_text(rate)}", comparison.setting.title, 7.2, 3.8)
    axes = grid(figure, len(PANELS), len(PANELS), sharey=True)
    for panel, (name, label) in zip(axes, PANELS, strict=True):
        curves = {system: _curve(comparison.at(system, rate), name) for system in comparison.systems}
        curves = {system: curve for system, curve in curves.items() if curve[0]}
        end = 1.05 * max((values[-1] for values, _ in curves.values()), default=1.0)
        for system, (values, shares) in curves.items():
            style = look[system]
            panel.step(
                [0.0, *values, end],
                [0.0, *shares, shares[-1]],
                where="post",
                color=style.color,
                linestyle=style.linestyle,
                marker=style.marker,
                markevery=[len(values)],
                label=system,
            )
        panel.set(xlabel=label, xlim=(0, end), ylim=(0, 103))
    axes[0].set_ylabel("arrivals (%)")
    legend_below(figure, axes)
    unfinished = any(run.arrived > run.finished for system in comparison.systems for run in comparison.at(system, rate))
    if unfinished:
        axes[-1].set_title("from the marker on: censored, the rest had not finished", fontsize=8, loc="right")
    return figure


def _curve(runs: tuple[Run, ...], name: str) -> tuple[list[float], list[float]]:
    """Latencies in ascending order, and for each the percentage of arrivals that it covers; of runs that have samples."""
    sampled = [run for run in runs if run.latencies is not None]
    values = sorted(value for run in sampled for value in getattr(run.latencies, name))
    arrived = sum(run.arrived for run in sampled)
    return values, [100 * place / arrived for place in range(1, len(values) + 1)]
