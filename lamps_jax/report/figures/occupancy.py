"""What memory is held for, and what requests see meanwhile."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamps_jax.report.document import Run
from lamps_jax.report.figures.style import Look, grid, legend_below, new_figure, styled
from lamps_jax.report.runs import Comparison, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATES = (
    ("computing", "computing", "#0072B2", ""),
    ("preserved", "preserved through a call", "#E69F00", "////"),
    ("cached", "cached, held by nobody", "#BBDDF2", "...."),
    ("free", "free", "#FFFFFF", ""),
)
"""Fields of `Occupancy` on the device from the bottom up, with label, colour and hatch."""


@styled
def occupancy_figure(comparison: Comparison, runs: Mapping[str, Run]) -> "Figure":
    """The device's KV tokens by state over time, a panel for each system's run; the host's as a line."""
    columns = 1 if len(runs) <= 3 else 2
    height = 0.9 + 2.1 * math.ceil(len(runs) / columns)
    title = f"KV memory over time at {_at(runs)}"
    figure = new_figure(title, comparison.setting.title, 7.6, height)
    axes = grid(figure, len(runs), columns, sharex=True, sharey=True)
    for place, (panel, (name, run)) in enumerate(zip(axes, runs.items(), strict=True)):
        occupancy = run.occupancy
        if occupancy is None:
            raise ValueError(f"{name} has no occupancy; record it, or leave the run out")
        levels = {state: [tokens / 1000 for tokens in getattr(occupancy, state)] for state, *_ in STATES}
        areas = panel.stackplot(
            occupancy.time_s,
            *levels.values(),
            labels=[label for _, label, _, _ in STATES],
            colors=[colour for _, _, colour, _ in STATES],
            linewidth=0.3,
            edgecolor="#333333",
        )
        for area, (_, _, _, hatch) in zip(areas, STATES, strict=True):
            area.set_hatch(hatch)
        pool = max(sum(tokens) for tokens in zip(*levels.values(), strict=True)) if occupancy.time_s else 0.0
        panel.axhline(pool, color="#333333", linewidth=1.2, linestyle=(0, (1, 1)), label="device's pool")
        host = [tokens / 1000 for tokens in occupancy.host]
        panel.plot(occupancy.time_s, host, color="#FFFFFF", linewidth=3.0)
        panel.plot(occupancy.time_s, host, color="#000000", linestyle="--", linewidth=1.3, label="on the host")
        panel.set_title(name)
        panel.margins(x=0)
        if place % columns == 0:
            panel.set_ylabel("KV tokens (thousands)")
        if place >= len(runs) - columns:
            panel.set_xlabel("time (s)")
            panel.tick_params(labelbottom=True)
    axes[0].set_ylim(bottom=0)
    legend_below(figure, axes, columns=3)
    return figure


@styled
def running_mean_figure(comparison: Comparison, look: Mapping[str, Look], runs: Mapping[str, Run]) -> "Figure":
    """The mean E2E latency of the requests finished so far, over time."""
    title = f"Mean E2E latency of requests finished so far at {_at(runs)}"
    figure = new_figure(title, comparison.setting.title, 6.4, 3.8)
    (panel,) = grid(figure, 1, 1)
    for name, run in runs.items():
        means = run.running_mean_e2e
        if means is None:
            raise ValueError(f"{name} has no running mean; record it, or leave the run out")
        points = [(time, mean) for time, mean in zip(means.time_s, means.mean_s, strict=True) if mean is not None]
        style = look[name]
        panel.plot(
            [time for time, _ in points],
            [mean for _, mean in points],
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker,
            markevery=max(1, len(points) // 8),
            label=name,
        )
    panel.set(xlabel="time (s)", ylabel="mean E2E latency so far (s)")
    panel.set_xlim(left=0)
    panel.set_ylim(bottom=0)
    legend_below(figure, [panel])
    return figure


def _at(runs: Mapping[str, Run]) -> str:
    run = next(iter(runs.values()))
    return f"{rate_text(run.rate_rps)}, seed {run.seed}"
