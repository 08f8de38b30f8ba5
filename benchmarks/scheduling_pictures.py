"""The pictures of docs/scheduling.md, drawn with the functions that schedule and with simulated runs.

python -m benchmarks.scheduling_pictures        # writes docs/images/scheduling; half a minute
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.reproduction.case import VICUNA, Case
from lamps_jax.report.figures.style import COLOURS, grid, legend_below, new_figure, save_figure, styled
from lamps_jax.sched.memory_over_time import Pace, Progress, gittins_footprint, remaining_footprint
from lamps_jax.sched.rank import aged
from lamps_jax.sched.segments import Handling, PredictedSegment
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.run import simulate
from lamps_jax.terminal import progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MACHINE = HARDWARE[VICUNA]
PROMPT, BEFORE, RETURNED, AFTER, CALL_S = 400, 60, 40, 60, 6.0
"""A request that calls once."""

STEP_S = 0.05
"""Of a decode in the pictures: about that of a full batch."""

AGING, AGING_S = 2.0, 200.0
RATE_RPS, WINDOW_S, SHOWN_S = 1.4, 240.0, 200.0


@styled
def handlings() -> "Figure":
    """The KV memory of one request over time, under each handling of its call."""
    figure = new_figure(
        "One request, one call, three handlings", "the area is what the request takes: its memory over time", 7.2, 2.5
    )
    panels = grid(figure, 3, 3, sharey=True, sharex=True)
    for panel, handling, colour in zip(panels, Handling, COLOURS, strict=False):
        times, tokens = _curve(handling)
        panel.fill_between(times, tokens, color=colour, alpha=0.35, linewidth=0)
        panel.plot(times, tokens, color=colour)
        segments = (PredictedSegment(BEFORE, CALL_S, RETURNED, handling), PredictedSegment(AFTER))
        footprint = remaining_footprint(Pace(MACHINE.cost_model, MACHINE.block_size), Progress(PROMPT), segments)
        panel.set_title(f"{handling.value}: {footprint.token_s / 1e3:.1f} thousand token·s")
        panel.set_xlabel("time (s)")
        panel.annotate("call", (_call_begins() + CALL_S / 2, 25), ha="center", color="#444444")
    panels[0].set_ylabel("KV on the device (tokens)")
    return figure


def _call_begins() -> float:
    return 0.1 + BEFORE * STEP_S


def _curve(handling: Handling) -> tuple[list[float], list[float]]:
    """Times and tokens of the corners of the curve."""
    prefill_s, copy_s, begins = 0.1, 0.25, _call_begins()
    context, returns = PROMPT + BEFORE, begins + CALL_S
    times, tokens = [0.0, prefill_s, begins], [0.0, float(PROMPT), float(context)]
    resumed = returns
    if handling is Handling.SWAP:
        times += [begins + copy_s, returns, returns + copy_s]
        tokens += [0.0, 0.0, context]
        resumed = returns + copy_s
    elif handling is Handling.DISCARD:
        times += [begins, returns, returns + 0.4]
        tokens += [0.0, 0.0, context]
        resumed = returns + 0.4
    else:
        times += [returns]
        tokens += [context]
    times += [resumed + 0.02, resumed + 0.02 + AFTER * STEP_S, resumed + 0.02 + AFTER * STEP_S]
    tokens += [context + RETURNED, context + RETURNED + AFTER, 0.0]
    return times, tokens


@styled
def aging() -> "Figure":
    """How ranks fall with age, and whom a costly request lets pass."""
    figure = new_figure(
        "Ranks fall with age",
        f"a rank is the cost / (1 + age / {AGING_S:g} s)$^{{{AGING:g}}}$; the lowest is served first",
        7.2,
        2.8,
    )
    ranks, passing = grid(figure, 2, 2)
    ages = [float(age) for age in range(0, 1001, 10)]
    for cost, colour in ((16.0, COLOURS[1]), (4.0, COLOURS[0])):
        ranks.plot(ages, [aged((cost,), age, AGING, AGING_S)[0] for age in ages], color=colour, label=f"cost {cost:g}")
    ranks.axhline(1.0, color="#444444", linestyle="--", linewidth=1.0, label="cost 1, just arrived")
    ranks.set(xlabel="age (s)", ylabel="rank", ylim=(0, 8), title="a costly request overtakes new cheap ones")
    ranks.legend()
    for ratio, colour in ((4.0, COLOURS[0]), (16.0, COLOURS[1]), (256.0, COLOURS[2])):
        limits = [(1 - ratio ** (-1 / AGING)) * (AGING_S + age) for age in ages]
        passing.plot(
            ages,
            [min(limit, age) for limit, age in zip(limits, ages, strict=True)],
            color=colour,
            label=f"{ratio:g} times cheaper",
        )
    passing.plot(ages, ages, color="#444444", linestyle="--", linewidth=1.0, label="whoever it is")
    passing.set(xlabel="age of the costly request (s)", ylabel="arrived later by (s)", title="who may pass: below the line")
    passing.legend()
    return figure


@styled
def looking_ahead() -> "Figure":
    """What a request costs for each chance that it ends, by how far one looks."""
    figure = new_figure("A program that may end at each of its calls", "", 7.2, 2.6)
    costs, shares = grid(figure, 2, 2)
    pace = Pace(MACHINE.cost_model, MACHINE.block_size)
    for share, colour in ((0.3, COLOURS[0]), (0.6, COLOURS[1]), (0.9, COLOURS[2])):
        chain = tuple(PredictedSegment(60, 10.0, 40, Handling.SWAP, share) for _ in range(7))
        indices = [
            gittins_footprint(pace, Progress(PROMPT), (*chain[:length], PredictedSegment(60))).charged_token_s / 1e3
            for length in range(8)
        ]
        whole = remaining_footprint(pace, Progress(PROMPT), (*chain, PredictedSegment(60))).charged_token_s / 1e3
        costs.plot(range(1, 9), indices, "o-", color=colour, label=f"{share:.0%} go on")
        costs.axhline(whole, color="#444444", linestyle=":", linewidth=1.0)
        shares.plot(range(1, 9), [1 - share**length for length in range(1, 9)], "o-", color=colour)
    costs.set(xlabel="segments that are possible", ylabel="thousand token·s", title="rank (dotted: the whole program)")
    costs.set_yscale("log")
    costs.legend()
    shares.set(xlabel="segments", ylabel="ended by then", ylim=(0, 1.02), title="what is known of its type")
    return figure


@styled
def memory(runs: dict[str, dict[str, list[float]]]) -> "Figure":
    """What the pool is held for under several systems."""
    subtitle = f"{MACHINE.model}, Multi-API, {RATE_RPS:g} req/s: twice what InferCept serves"
    figure = new_figure("What the KV pool is held for", subtitle, 7.2, 1.5 * len(runs) + 1.0)
    panels = grid(figure, len(runs), 1, sharex=True, sharey=True)
    for panel, (label, samples) in zip(panels, runs.items(), strict=True):
        layers = [[value / 1e3 for value in samples[name]] for name in ("computing", "preserved", "free")]
        names = ("computing, loading or waiting", "kept for a call", "free")
        panel.stackplot(samples["time_s"], *layers, labels=names, colors=(COLOURS[0], COLOURS[1], "#DDDDDD"), alpha=0.8)
        panel.plot(
            samples["time_s"], [value / 1e3 for value in samples["host"]], color="#000000", linewidth=1.0, label="on the host"
        )
        panel.set(ylabel=f"{label}\nthousand tokens", xlim=(0, SHOWN_S))
    panels[-1].set_xlabel("time (s)")
    legend_below(figure, panels)
    return figure


def main() -> None:
    """Draws all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/scheduling"), help="directory of the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    policies, runs = ("infercept", "lamps", "lamps-plus"), dict[str, dict[str, list[float]]]()
    with progress_bar() as progress:
        for done, policy in enumerate(policies):
            progress("simulating", done, len(policies))
            case = Case(policy, hardware=VICUNA, rate_rps=RATE_RPS, window_s=WINDOW_S, record=True)
            spec = case.spec()
            runs[policy] = simulate(spec)["occupancy"]  # pyright: ignore[reportArgumentType]  # no fleet
        progress("simulating", len(policies), len(policies))
    figures = {"handlings": handlings(), "aging": aging(), "looking-ahead": looking_ahead(), "memory": memory(runs)}
    for name, figure in figures.items():
        save_figure(figure, out / f"{name}.png")


if __name__ == "__main__":
    main()
