"""The pictures of the reproduction."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.reproduction.tables import promoted_share
from lamps_jax.report.document import Run
from lamps_jax.report.figures.rates import interval_note, plot_against_rate, scale_to_values
from lamps_jax.report.figures.style import grid, legend_below, looks, new_figure, styled
from lamps_jax.report.runs import Comparison, Estimate, Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Labelled = Sequence[tuple[str, Quantity]]
Rows = Sequence[tuple[str, Comparison]]


@styled
def against_rate(title: str, rows: Rows, columns: Labelled) -> "Figure":
    """Quantities against the rate: a row of panels for each comparison, a column for each quantity."""
    figure = new_figure(title, "", 2.6 * len(columns) + 0.6, 2.1 * len(rows) + 1.2, interval_note(rows[0][1]))
    axes = grid(figure, len(rows) * len(columns), len(columns))
    look = looks(list(dict.fromkeys(system for _, comparison in rows for system in comparison.systems)))
    for place, panel in enumerate(axes):
        (name, comparison), (label, quantity) = rows[place // len(columns)], columns[place % len(columns)]
        plot_against_rate(panel, comparison, look, quantity)
        scale_to_values(panel)
        panel.set_title(label if place < len(columns) else "")
        panel.set_ylabel(name if place % len(columns) == 0 else "")
        panel.set_xlabel("rate (req/s)" if place >= len(axes) - len(columns) else "")
    legend_below(figure, axes)
    return figure


@styled
def bars_at(title: str, rate: float, rows: Rows, columns: Labelled) -> "Figure":
    """Quantities at one rate: a row of panels for each quantity, groups of bars for the comparisons, a bar for each system."""
    figure = new_figure(title, "", 1.0 * len(rows) + 2.5, 2.4 * len(columns) + 1.2, interval_note(rows[0][1]))
    axes = grid(figure, len(columns), 1, sharex=True)
    systems = rows[0][1].systems
    look = looks(systems)
    for panel, (label, quantity) in zip(axes, columns, strict=True):
        for place, system in enumerate(systems):
            found = [comparison.estimate(system, rate, quantity) for _, comparison in rows]
            _bars(panel, found, place, len(systems), label=system, colour=look[system].color)
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
        panel.set_xticks(range(len(rows)), [name for name, _ in rows])
    legend_below(figure, axes)
    return figure


@styled
def bars_of_systems(title: str, comparison: Comparison, columns: Labelled) -> "Figure":
    """Quantities of many systems at the comparison's only rate: a panel for each quantity, a bar for each system."""
    (rate,) = comparison.rates
    note = interval_note(comparison)
    figure = new_figure(title, "", 2.6 * len(columns) + 1.6, 0.28 * len(comparison.systems) + 1.5, note)
    axes = grid(figure, len(columns), len(columns), sharey=True)
    for panel, (label, quantity) in zip(axes, columns, strict=True):
        found = [comparison.estimate(system, rate, quantity) for system in comparison.systems]
        means = [each.mean if each else 0.0 for each in found]
        panel.barh(range(len(found)), means, xerr=[_half(each) for each in found], color="#56B4E9", error_kw={"elinewidth": 0.9})
        panel.set_xlim(left=0)
        panel.set_yticks(range(len(found)), comparison.systems)
        panel.set_title(label)
        panel.grid(visible=False, axis="y")
    axes[0].invert_yaxis()
    return figure


def _bars(panel: "Axes", found: Sequence[Estimate | None], place: int, count: int, *, label: str, colour: str) -> None:
    width = 0.8 / count
    panel.bar(
        [row - 0.4 + width * (place + 0.5) for row in range(len(found))],
        [each.mean if each else 0.0 for each in found],
        width,
        yerr=[_half(each) for each in found],
        label=label,
        color=colour,
        ecolor="#000000",
        error_kw={"elinewidth": 0.8, "capsize": 1.5},
    )
    panel.grid(visible=False, axis="x")


def _half(estimate: Estimate | None) -> float:
    return (estimate.half_width or 0.0) if estimate else 0.0


@styled
def calls_fill_memory(comparison: Comparison) -> "Figure":
    """Figure 9: the share of the pool that is held, and requests finished, over time."""
    figure = new_figure("Requests in calls fill the memory", comparison.setting.title, 7.6, 3.4)
    axes = grid(figure, 2, 2)
    look = looks(comparison.systems)
    for system in comparison.systems:
        run, style = _recorded(comparison.at(system, comparison.rates[0])), look[system]
        for panel, (times, values) in zip(axes, (_held_share(run), _finished_counts(run)), strict=True):
            panel.plot(times, values, color=style.color, linestyle=style.linestyle, label=system)
    axes[0].set(xlabel="time (s)", ylabel="KV memory held (%)", ylim=(0, 101))
    axes[1].set(xlabel="time (s)", ylabel="requests finished")
    axes[1].set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


@styled
def first_minutes(comparison: Comparison) -> "Figure":
    """Figure 17: mean latency so far, and what of both memories is held, over time; a column for each rate."""
    drawn: list[tuple[str, Callable[[Run], tuple[list[float], list[float]]]]] = [
        ("mean E2E so far (s)", _running_mean),
        ("device memory (%)", _held_share),
        ("host memory (1,000 tokens)", _host_tokens),
    ]
    rates = [rate for rate in comparison.rates if rate is not None]
    figure = new_figure("The first minutes", comparison.setting.title, 2.9 * len(rates) + 0.6, 6.6)
    axes = grid(figure, len(drawn) * len(rates), len(rates), sharex=True, sharey="row")
    look = looks(comparison.systems)
    for place, panel in enumerate(axes):
        (label, curve), rate = drawn[place // len(rates)], rates[place % len(rates)]
        for system in comparison.systems:
            times, values = curve(_recorded(comparison.at(system, rate)))
            panel.plot(times, values, color=look[system].color, linestyle=look[system].linestyle, linewidth=1.2, label=system)
        panel.set_title(f"{rate:g} req/s" if place < len(rates) else "")
        panel.set_ylabel(label if place % len(rates) == 0 else "")
        panel.set_xlabel("time (s)" if place >= len(axes) - len(rates) else "")
    for panel in axes:  # once all curves are there, as a row shares its axis
        panel.set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


@styled
def over_thresholds(windowed: Comparison, drained: Comparison, rate: float, quantities: Labelled) -> "Figure":
    """Quantities over starvation thresholds: of what finished in the window, and of everything in drained runs."""
    figure = new_figure("Over the starvation threshold", f"{rate:g} req/s", 2.9 * (len(quantities) + 1) + 0.4, 3.4)
    axes = grid(figure, len(quantities) + 1, len(quantities) + 1)
    names = [name.removeprefix("threshold ") for name in windowed.systems]
    series = (("finished in the window", windowed, "#0072B2", "o"), ("every request, drained", drained, "#D55E00", "s"))
    shown: Labelled = (*quantities, ("promoted (%)", lambda run: _percent(promoted_share(run))))
    for panel, (label, quantity) in zip(axes, shown, strict=True):
        for what, comparison, colour, marker in series:
            found = [comparison.estimate(system, rate, quantity) for system in comparison.systems]
            panel.errorbar(
                range(len(found)),
                [each.mean if each else float("nan") for each in found],
                yerr=[_half(each) for each in found],
                elinewidth=0.9,
                label=what,
                color=colour,
                marker=marker,
            )
        panel.set(title=label, xlabel="threshold (steps)")
        panel.set_xticks(range(len(names)), names)
        panel.set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _recorded(runs: Sequence[Run]) -> Run:
    """The first seed's."""
    return runs[0]


def _held_share(run: Run) -> tuple[list[float], list[float]]:
    occupancy = run.occupancy
    assert occupancy is not None and run.pool_tokens is not None, "the run was not recorded"
    held = zip(occupancy.computing, occupancy.preserved, strict=True)
    return occupancy.time_s, [100 * (computing + preserved) / run.pool_tokens for computing, preserved in held]


def _host_tokens(run: Run) -> tuple[list[float], list[float]]:
    assert run.occupancy is not None, "the run was not recorded"
    return run.occupancy.time_s, [tokens / 1e3 for tokens in run.occupancy.host]


def _running_mean(run: Run) -> tuple[list[float], list[float]]:
    assert run.running_mean_e2e is not None, "the run was not recorded"
    points = [(t, m) for t, m in zip(run.running_mean_e2e.time_s, run.running_mean_e2e.mean_s, strict=True) if m is not None]
    return [time for time, _ in points], [mean for _, mean in points]


def _finished_counts(run: Run) -> tuple[list[float], list[float]]:
    times, _ = _running_mean(run)
    step = run.finished / len(times) if times else 0.0
    return [0.0, *times], [0.0, *(step * place for place in range(1, len(times) + 1))]
