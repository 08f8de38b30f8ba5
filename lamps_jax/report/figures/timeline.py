"""What each request went through: where many wait behind few, one sees head-of-line blocking."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamps_jax.report.document import Run
from lamps_jax.report.figures.style import grid, legend_below, new_figure, styled
from lamps_jax.report.runs import Comparison, rate_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATES = {
    "waiting": ("#D9D9D9", ""),
    "prefill": ("#000000", ""),
    "decode": ("#0072B2", ""),
    "call-preserve": ("#E69F00", "/////"),
    "call-discard": ("#FFFFFF", "....."),
    "call-swap": ("#CDE8DF", "xxxxx"),
    "swapping in": ("#F0E442", "|||||"),
}
"""Colour and hatch of each state: light where a request waits, dark where it computes, hatched where a call runs."""

LABELS = {
    "call-preserve": "call, preserved",
    "call-discard": "call, discarded",
    "call-swap": "call, swapped out",
}


@styled
def timeline_figure(comparison: Comparison, runs: Mapping[str, Run]) -> "Figure":
    """A row for each request, in the order of arrival; the runs of systems side by side."""
    from matplotlib.collections import PolyCollection

    columns = min(3, len(runs))
    most = max(len(run.timeline or ()) for run in runs.values())
    end_of_all_s = max((end_s for run in runs.values() for each in run.timeline or () for _, _, end_s in each.spans), default=1.0)
    rows = math.ceil(len(runs) / columns)
    height = 1.2 + min(7.0 if rows == 1 else 4.5, max(2.4, 0.07 * most)) * rows
    first = next(iter(runs.values()))
    title = f"Requests over time at {rate_text(first.rate_rps)}, seed {first.seed}"
    figure = new_figure(title, comparison.setting.title, 2.0 + 3.0 * columns, height)
    axes = grid(figure, len(runs), columns, sharex=True, sharey=True)
    for place, (panel, (name, run)) in enumerate(zip(axes, runs.items(), strict=True)):
        requests = sorted(run.timeline or (), key=lambda request: request.arrival_s)
        for state, (colour, hatch) in STATES.items():
            bars = [
                (row, start_s, end_s - start_s)
                for row, request in enumerate(requests)
                for found, start_s, end_s in request.spans
                if found == state
            ]
            if bars:
                panel.add_collection(
                    PolyCollection(
                        [_rectangle(*bar) for bar in bars],
                        facecolors=colour,
                        hatch=hatch,
                        edgecolors="#555555" if hatch else colour,
                        linewidths=0.2,
                        label=LABELS.get(state, state),
                    )
                )
        panel.set_title(name)
        panel.grid(visible=False, axis="y")
        panel.set_xlim(0, end_of_all_s)
        panel.set_ylim(most - 0.4, -0.6)
        if place % columns == 0:
            panel.set_ylabel("request, in order of arrival")
        if place >= len(runs) - columns:
            panel.set_xlabel("time (s)")
            panel.tick_params(labelbottom=True)
    legend_below(figure, axes, columns=4 if columns < 3 else 7)
    return figure


def _rectangle(row: int, start_s: float, length_s: float) -> list[tuple[float, float]]:
    bottom, top, end_s = row - 0.43, row + 0.43, start_s + length_s
    return [(start_s, bottom), (start_s, top), (end_s, top), (end_s, bottom)]
