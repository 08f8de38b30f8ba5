"""The pictures of the report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.beyond import cases, numbers
from benchmarks.beyond.cases import AGING, AGING_S, LAMPS, NOISE, PLUS, POOLS, RATES, RELEASED, SOUND, Scale
from benchmarks.reproduction.case import GPTJ, Case
from benchmarks.reproduction.pool import Results
from lamps_jax.report.figures.style import COLOURS, grid, legend_below, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPARED = (RELEASED, LAMPS, SOUND, PLUS)


@styled
def protocol(scale: Scale, results: Results) -> "Figure":
    """What the window sees, and what it does not."""
    windowed, drained = cases.protocol(scale), cases.targets(scale, GPTJ, RATES[GPTJ][-1])
    figure = new_figure("One run, three ways to count", f"GPT-J-6B, Multi-API, {RATES[GPTJ][-1]:g} req/s", 6.4, 2.6)
    panels = grid(figure, 2, 2)
    for panel, statistic in zip(panels, ("mean", "p99"), strict=True):
        for place, (label, colour) in enumerate(zip((SOUND, LAMPS), COLOURS, strict=False)):
            ways: tuple[tuple[Sequence[Case], numbers.Get], ...] = (
                (windowed[label], lambda run, s=statistic: run["e2e_s"][s]),
                (windowed[label], lambda run, s=statistic: run["all_arrivals"]["e2e_s"][s]),
                (drained[label], lambda run, s=statistic: run["all_arrivals"]["e2e_s"][s]),
            )
            heights = [numbers.of(results, seeds, get).mean for seeds, get in ways]
            panel.bar([at + 0.38 * place for at in range(3)], heights, 0.36, color=colour, label=label)
        panel.set_xticks([at + 0.19 for at in range(3)], ["finished in\nthe window", "all, cut off\nat its end", "all, drained"])
        panel.set_ylabel(f"E2E {statistic.replace('p', 'P')} (s)")
    legend_below(figure, panels)
    return figure


@styled
def targets(scale: Scale, results: Results) -> "Figure":
    """Mean, tail and throughput of the systems in overload."""
    figure = new_figure("Drained runs in overload", "against lamps as released, which is 1", 7.2, 4.6)
    panels = grid(figure, 6, 3)
    quantities = (("mean E2E", numbers.mean_s), ("P99 E2E", numbers.p99_s), ("throughput", numbers.throughput_rps))
    for row, (pool, hardware) in enumerate(POOLS.items()):
        for column, (name, get) in enumerate(quantities):
            panel = panels[3 * row + column]
            for place, (label, colour) in enumerate(zip(COMPARED, COLOURS, strict=False)):
                heights = list[float]()
                for rate in RATES[hardware]:
                    found = cases.targets(scale, hardware, rate)
                    heights.append(1.0 + numbers.ratio(results, found[label], found[RELEASED], get))
                panel.bar([at + 0.2 * place for at in range(len(heights))], heights, 0.19, color=colour, label=label)
            panel.set_xticks([at + 0.3 for at in range(len(RATES[hardware]))], [f"{rate:g} req/s" for rate in RATES[hardware]])
            panel.set_title(name if row == 0 else "")
            if column == 0:
                panel.set_ylabel(pool.replace(", ", "\n"))
    legend_below(figure, panels)
    return figure


@styled
def tunables(scale: Scale, results: Results) -> "Figure":
    """What the two tunables do."""
    figure = new_figure("How much the two tunables matter", "the seed that they were chosen with", 7.2, 4.4)
    panels = grid(figure, 4, 2, sharex=True)
    for row, (pool, hardware) in enumerate(POOLS.items()):
        found = cases.tuning(scale, hardware)
        for column, (name, get) in enumerate((("mean E2E (s)", numbers.mean_s), ("P99 E2E (s)", numbers.p99_s))):
            panel = panels[2 * row + column]
            for aging, colour in zip(AGING, COLOURS, strict=False):
                values = [numbers.of(results, found[aging, aging_s], get).mean for aging_s in AGING_S]
                panel.plot(AGING_S, values, "o-", color=colour, label=f"aging {aging:g}")
            panel.set_xscale("log")
            panel.set_xticks(AGING_S, [f"{value:g}" for value in AGING_S])
            panel.minorticks_off()
            panel.set_ylim(bottom=0)
            panel.set_title(name if row == 0 else "")
            panel.set_xlabel("aging_s (s)" if row == 1 else "")
            if column == 0:
                panel.set_ylabel(pool.replace(", ", "\n"))
    legend_below(figure, panels)
    return figure


@styled
def noise(scale: Scale, results: Results) -> "Figure":
    """What wrong predictions do."""
    figure = new_figure("Wrong predictions", "normal errors of lengths and durations, as a share of what is true", 7.2, 2.8)
    panels = grid(figure, 2, 2)
    for panel, (pool, hardware) in zip(panels, POOLS.items(), strict=True):
        found = cases.noise(scale, hardware)
        for policy, colour in (("lamps", COLOURS[1]), ("lamps-plus", COLOURS[0])):
            for get, line, words in ((numbers.mean_s, "o-", "mean"), (numbers.p99_s, "s--", "P99")):
                values = [numbers.of(results, found[policy, share], get).mean for share in NOISE]
                panel.plot([100 * share for share in NOISE], values, line, color=colour, label=f"{policy}, {words}")
        panel.set(title=pool, xlabel="error (%)", ylabel="E2E (s)", ylim=(0, None))
    legend_below(figure, panels)
    return figure


@styled
def fairness(scale: Scale, results: Results) -> "Figure":
    """Slowdowns by how long requests take alone."""
    figure = new_figure("Slowdown by length", "of the tenths of requests by how long they take alone, shortest first", 7.2, 4.4)
    panels = grid(figure, 4, 2, sharex=True)
    for row, (pool, hardware) in enumerate(POOLS.items()):
        found = cases.targets(scale, hardware, RATES[hardware][-1])
        for column, statistic in enumerate(("mean", "p99")):
            panel = panels[2 * row + column]
            for label, colour in zip((SOUND, LAMPS, PLUS), (COLOURS[2], COLOURS[1], COLOURS[0]), strict=True):
                values = [
                    numbers.of(results, found[label], lambda run, d=decile, s=statistic: _slowdown(run, d, s)).mean
                    for decile in range(10)
                ]
                panel.plot(range(1, 11), values, "o-", color=colour, label=label)
            panel.set_yscale("log")
            panel.set_title({"mean": "mean", "p99": "P99"}[statistic] if row == 0 else "")
            panel.set_xlabel("decile" if row == 1 else "")
            if column == 0:
                panel.set_ylabel(f"{pool.split(',')[0]}\n{RATES[hardware][-1]:g} req/s")
    legend_below(figure, panels)
    return figure


def _slowdown(run: Any, decile: int, statistic: str) -> float:
    found = run["slowdown_by_decile"][decile]["slowdown"]
    return found[statistic] if found else 0.0
