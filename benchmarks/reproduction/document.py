"""docs/reproduction.md: the paper's claims beside what comes out here, figure by figure, and what its protocol does not show."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from benchmarks.reproduction import claims, figures, paper, studies, tables
from benchmarks.reproduction.case import GPTJ, VICUNA, VLLM_TOKEN_BUDGET
from benchmarks.reproduction.paper import Scale
from benchmarks.reproduction.pool import Results
from benchmarks.reproduction.tables import (
    ALL_E2E_MEAN,
    ALL_E2E_P99,
    E2E_MEAN,
    E2E_MEDIAN,
    E2E_P99,
    EVICTIONS,
    PROMOTED,
    RECOMPUTED,
    TTFT_MEAN,
    TTFT_P99,
    comparison,
    table,
    table_by_type,
    throughput,
)
from benchmarks.reproduction.toy import R1, R2, R3, average, completions, in_order, returns_with_kv
from lamps_jax.report.figures.bars import finished_by_type_figure
from lamps_jax.report.figures.occupancy import occupancy_figure
from lamps_jax.report.figures.style import looks, save_figure
from lamps_jax.report.table import Column, with_interval
from lamps_jax.sim.summary import summarize_by_type
from lamps_jax.sim.workloads import load_workload

IMAGES = "images/reproduction"
FOUR = (
    ("mean E2E (s)", E2E_MEAN),
    ("P99 E2E (s)", E2E_P99),
    ("mean TTFT (s)", TTFT_MEAN),
    ("P99 TTFT (s)", TTFT_P99),
)
ALL = (*FOUR, ("all arrivals: mean E2E (s)", ALL_E2E_MEAN), ("all arrivals: P99 E2E (s)", ALL_E2E_P99))


def draw(scale: Scale, results: Results, directory: Path) -> None:
    """Writes every picture."""

    def rows(pairs: tuple[tuple[str, str], ...]) -> figures.Rows:
        return [(f"{model}\n{dataset}", comparison(paper.latencies(scale, model, dataset), results)) for model, dataset in pairs]

    every = rows((*paper.FIGURE_5, *paper.FIGURE_13))
    middle = scale.rates[len(scale.rates) // 2]
    multi = comparison(paper.latencies(scale, "GPT-J-6B", "Multi-API"), results)
    starvation, drained = (comparison(each, results) for each in (paper.starvation(scale), studies.starvation_drained(scale)))
    handlings = comparison(studies.handlings(scale), results)
    admission = {hardware: comparison(studies.admission(scale, hardware), results) for hardware in (GPTJ, VICUNA)}
    thrash = (
        ("mean E2E (s)", E2E_MEAN),
        ("P99 E2E (s)", E2E_P99),
        ("evicted (times a request)", tables.preemptions_each),
    )
    drawn = {
        "figure-4": figures.bars_at(f"Latency at {middle:g} requests a second", middle, every, (FOUR[0], FOUR[2])),
        "figure-5": figures.against_rate("Latency against rate", rows(paper.FIGURE_5), ALL),
        "figure-6": figures.against_rate(
            "Handling alone, and with the order of service",
            [("Vicuna-13B\nMulti-API", comparison(paper.breakdown(scale), results))],
            (*FOUR, ("throughput (req/s)", throughput)),
        ),
        "figure-7": figures.against_rate(
            "Errors of the predictions",
            [("GPT-J-6B\nMulti-API", comparison(paper.errors(scale), results))],
            (("median E2E (s)", E2E_MEDIAN), ("throughput (req/s)", throughput), ("all arrivals: mean E2E (s)", ALL_E2E_MEAN)),
        ),
        "figure-9": figures.calls_fill_memory(comparison(paper.effect_of_calls(scale), results)),
        "figure-10": figures.against_rate(
            "Every other request without calls", [("Vicuna-13B\nmixed", comparison(paper.mixed(scale), results))], ALL
        ),
        "figures-11-12": figures.against_rate("A small model", rows(paper.FIGURES_11_12), FOUR),
        "figure-13": figures.against_rate("A large model on two devices", rows(paper.FIGURE_13), ALL),
        "figure-16": figures.over_thresholds(starvation, drained, 4.0, (FOUR[0], FOUR[1])),
        "figure-17": figures.first_minutes(comparison(paper.occupation(scale), results)),
        "finished-by-type": finished_by_type_figure(multi, looks(multi.systems)),
        "admission-gptj": figures.bars_of_systems("When a request may start: GPT-J-6B", admission[GPTJ], thrash),
        "admission-vicuna": figures.bars_of_systems("When a request may start: Vicuna-13B", admission[VICUNA], thrash),
        "durations": figures.bars_of_systems(
            "Calls of a type that differ more", comparison(studies.durations(scale), results), FOUR[:2]
        ),
        "handlings": occupancy_figure(handlings, {name: handlings.at(name, 4.0)[0] for name in handlings.systems}),
    }
    for name, figure in drawn.items():
        save_figure(figure, directory / f"{name}.png")


def text(scale: Scale, results: Results) -> str:
    """The document."""
    chapters: list[Callable[[Scale, Results], str]] = [
        _introduction, _claims, _figure_1, _figure_4, _figure_5, _figure_6, _figure_7, _figure_9, _figure_10, _figures_11_12,
        _figure_13, _figure_16, _figure_17, _table_1, _survivors, _threshold, _admission, _studies,
    ]  # fmt: skip
    blocks = "\n\n".join(chapter(scale, results).strip() for chapter in chapters).split("\n\n")
    return "\n\n".join(_wrapped(block) for block in blocks) + "\n"


def _wrapped(block: str) -> str:
    """A paragraph, or the items of a list, in lines of the usual length; tables, headings and the like stay as they are."""
    if block.startswith(("|", "#", "<", "!", "```")):
        return block
    items = re.split(r"\n(?=- )", block) if block.startswith("- ") else [block]
    indent = "  " if block.startswith("- ") else ""
    lines = [
        textwrap.fill(" ".join(item.split()), 130, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for item in items
    ]
    return "\n".join(lines)


def _picture(name: str, what: str) -> str:
    return f"![{what}]({IMAGES}/{name}.png)"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _latency_tables(scale: Scale, results: Results, pairs: tuple[tuple[str, str], ...]) -> str:
    return "\n\n".join(
        _folded(f"{model}, {dataset}", table(comparison(paper.latencies(scale, model, dataset), results), tables.WINDOWED))
        for model, dataset in pairs
    )


def _introduction(scale: Scale, results: Results) -> str:
    return f"""# The paper, figure by figure

`make reproduce` simulates the evaluation of LAMPS (NeurIPS 2025, there called MARS) and writes this page, its pictures and
`benchmarks/results/reproduction.json`; it takes three quarters of an hour on two cores and goes on where it was interrupted.
`make reproduce-quick` runs the same, very short, in a minute or two: it shows that everything works, not what comes of it.

**What is the same as in the paper**: requests arrive as a Poisson process for {scale.window_s:,.0f} s, the first few at
once; a run
ends there, and its statistics are of the requests that finished. A step computes at most 384 tokens (`vllm`, which does not cut
prompts, {VLLM_TOKEN_BUDGET:,}). Room for KV: 55,000 tokens beside GPT-J-6B and 13,700 beside Vicuna-13B on a device cut to
40 GB. What requests do is
known ahead, as the paper's runs know it. **What is not**: no A100 was used, steps cost what [simulator.md](simulator.md)
says, one
constant of which was calibrated such that InferCept saturates near two requests a second of Multi-API; and instead of the traces
there are generators with their moments ([workloads.md](workloads.md)); ToolBench's trace was never published,
"ToolBench-like" has
the few moments that were. TinyLlama runs for {scale.tiny_window_s:,.0f} s, drained runs and studies take arrivals of
{scale.short_window_s:,.0f} s.
± and error bars are 95 % intervals over {len(scale.seeds)} seeds; the paper has none.

**What is added**: the same statistics over *every arrival*. A request that has not finished counts with the time that it has
waited so far, so that these are lower bounds (≥). Where they and the paper's statistic differ, the latter is of survivors."""


def _claims(scale: Scale, results: Results) -> str:
    return f"""## What the paper says, and what comes out

{claims.as_markdown(claims.claims(scale, results))}"""


def _figure_1(scale: Scale, results: Results) -> str:
    orders = (
        ("first come, first served: R1, R2, R3", (R1, R2, R3), "11.66"),
        ("least output first: R2, R3, R1", (R2, R3, R1), "10.33"),
        ("least output and call first: R3, R1, R2", (R3, R1, R2), "11"),
        ("LAMPS: R3, R2, R1", (R3, R2, R1), "10"),
    )
    lines = ["| order | R1 ends | R2 ends | R3 ends | mean | paper |", "|---|---:|---:|---:|---:|---:|"]
    for name, order, stated in orders:
        done = completions(in_order(*order), returns_with_kv)
        lines.append(f"| {name} | {done['R1']} | {done['R2']} | {done['R3']} | {float(average(done)):.2f} | {stated} |")
    listing = "\n".join(lines)
    return f"""## Figure 1: three requests

{listing}

All four follow from one rule: who returns with its KV takes the place of the one that runs; who was discarded queues with those
that have not begun. R3, R2, R1 is also the best of all six orders. The area under a request's own curve, the paper's Figure
3, ranks
R2 first; what gives the preferred order is that area *with* what recomputing a discarded context costs the others, the second
term of the discard waste (`tests/sched/test_toy.py`). That is the rank that `lamps` uses."""


def _figure_4(scale: Scale, results: Results) -> str:
    return f"""## Figure 4: all models and datasets at one rate

{_picture("figure-4", "Mean latency and time to first token by model, dataset and system")}

The paper's axes end at 600 s (70B: 750 s) for the mean latency and at 100 s for the time to the first token."""


def _figure_5(scale: Scale, results: Results) -> str:
    return f"""## Figure 5: GPT-J-6B and Vicuna-13B

{_picture("figure-5", "Latency against rate for two models and three datasets")}

{claims.of_figure_5(scale, results)}

{_latency_tables(scale, results, paper.FIGURE_5)}"""


def _figure_6(scale: Scale, results: Results) -> str:
    found = comparison(paper.breakdown(scale), results)
    return f"""## Figure 6: what the order of service adds

{_picture("figure-6", "InferCept, LAMPS without its order of service, LAMPS, and the released code's score")}

{claims.of_figure_6(found)}

{_folded("Vicuna-13B, Multi-API", table(found, tables.WINDOWED))}"""


def _figure_7(scale: Scale, results: Results) -> str:
    found, at_3 = comparison(paper.errors(scale), results), comparison(paper.errors_at_3(scale), results)
    columns = (*tables.WINDOWED[:2], Column("E2E median, s", E2E_MEDIAN, with_interval, "low"), *tables.WINDOWED[2:-1])
    return f"""## Figure 7: errors of the predictions

{_picture("figure-7", "Median latency and throughput for errors of 0 to 50 percent")}

{claims.of_figure_7(found, at_3)}

{_folded("GPT-J-6B, Multi-API", table(found, columns))}

{_folded("GPT-J-6B, Multi-API, 3 requests a second", table(at_3, columns))}"""


def _figure_9(scale: Scale, results: Results) -> str:
    found = comparison(paper.effect_of_calls(scale), results)
    return f"""## Figure 9: what calls do to memory

{_picture("figure-9", "Share of memory held, and requests finished, with and without calls")}

{claims.of_figure_9(found)}"""


def _figure_10(scale: Scale, results: Results) -> str:
    found = comparison(paper.mixed(scale), results)
    return f"""## Figure 10: half of the requests without calls

{_picture("figure-10", "Latency against rate where every other request has no calls")}

{claims.of_figure_10(found)}

{_folded("Vicuna-13B, mixed", table(found, tables.WINDOWED))}"""


def _figures_11_12(scale: Scale, results: Results) -> str:
    return f"""## Figures 11 and 12: TinyLlama

{_picture("figures-11-12", "Latency against rate for a model of 1.1 B")}

{claims.of_figures_11_12(scale, results)}

{_latency_tables(scale, results, paper.FIGURES_11_12)}"""


def _figure_13(scale: Scale, results: Results) -> str:
    return f"""## Figure 13: Llama-3-70B

{_picture("figure-13", "Latency against rate for a model of 70 B on two devices")}

{claims.of_figure_13(scale, results)}

{_latency_tables(scale, results, paper.FIGURE_13)}"""


def _figure_16(scale: Scale, results: Results) -> str:
    found = comparison(paper.starvation(scale), results)
    return f"""## Figure 16: the starvation threshold

{_picture("figure-16", "Latency and promoted requests over the threshold, windowed and drained")}

{claims.of_figure_16(found, scale)}

{_folded("GPT-J-6B, Multi-API", table(found, (*tables.WINDOWED, PROMOTED)))}"""


def _figure_17(scale: Scale, results: Results) -> str:
    return f"""## Figure 17: the first minutes

{_picture("figure-17", "Mean latency so far, and what of both memories is held, over 250 seconds")}

{claims.of_figure_17(comparison(paper.occupation(scale), results))}"""


def _table_1(scale: Scale, results: Results) -> str:
    published = {
        "math": "(9e-5, 6e-5) | (3.75, 1.3) | (1422, 738)",
        "qa": "(0.69, 0.17) | (2.52, 1.73) | (1846, 428)",
        "ve": "(0.09, 0.014) | (28.18, 15.2) | (2185, 115)",
        "chatbot": "(28.6, 15.6) | (4.45, 1.96) | (753, 703)",
        "image": "(20.03, 7.8) | (6.91, 3.93) | (1247, 792)",
        "tts": "(17.24, 7.6) | (6.91, 3.93) | (1251, 792)",
    }
    lines = ["| type | call, s | paper | segments | paper | context | paper |", "|---|---:|---:|---:|---:|---:|---:|"]
    summaries = summarize_by_type(load_workload("multi-api", num_scripts=4000))
    for name in published:
        summary, stated = summaries[name], published[name].split(" | ")
        assert summary.call_s is not None
        pairs = (
            f"({summary.call_s.mean:.3g}, {summary.call_s.std:.2g})",
            f"({summary.num_calls.mean + 1:.2f}, {summary.num_calls.std:.2f})",
            f"({summary.final_tokens.mean:.0f}, {summary.final_tokens.std:.0f})",
        )
        cells = [cell for pair in zip(pairs, stated, strict=True) for cell in pair]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    listing = "\n".join(lines)
    return f"""## Table 1: the workload

{listing}

Mean and deviation of what the generator makes; the paper calls the second number a variance, and it is a deviation. The
generator follows the released trace, which differs from the paper's table: ALFWorld's requests have 5.35 calls there and not
27, as the
context of 2,048 tokens cuts them, and pictures and voices end at 500 tokens and not at 1,250. For toolbench-like the paper has
(1.72, 3.33) s and (2.45, 1.81) calls, which the generator is made with."""


def _survivors(scale: Scale, results: Results) -> str:
    multi = comparison(paper.latencies(scale, "GPT-J-6B", "Multi-API"), results)
    small = comparison(paper.latencies(scale, "Vicuna-13B", "Multi-API"), results)
    drained = {hardware: comparison(studies.drained(scale, hardware), results) for hardware in (GPTJ, VICUNA)}
    return f"""## The whole truth: who is counted

{_picture("finished-by-type", "Share of each type's requests that finish in the window")}

{claims.of_survivors(multi, drained)}

{_folded("Finished by type: GPT-J-6B, Multi-API", table_by_type(multi))}

{_folded("Finished by type: Vicuna-13B, Multi-API", table_by_type(small))}

{_folded("Drained: GPT-J-6B, Multi-API", table(drained[GPTJ], tables.DRAINED))}

{_folded("Drained: Vicuna-13B, Multi-API", table(drained[VICUNA], tables.DRAINED))}"""


def _threshold(scale: Scale, results: Results) -> str:
    found = comparison(studies.starvation_drained(scale), results)
    return f"""## The whole truth: the starvation threshold

{claims.of_threshold(found)}

{_folded("Drained: GPT-J-6B, Multi-API, 4 requests a second", table(found, (*tables.DRAINED, PROMOTED)))}"""


def _admission(scale: Scale, results: Results) -> str:
    found = {hardware: comparison(studies.admission(scale, hardware), results) for hardware in (GPTJ, VICUNA)}
    columns = (*tables.OF_FINISHED, tables.THROUGHPUT, EVICTIONS, RECOMPUTED)
    return f"""## The whole truth: admission

{_picture("admission-gptj", "Latency and evictions of three systems under three rules of admission, GPT-J-6B")}

{_picture("admission-vicuna", "Latency and evictions of three systems under three rules of admission, Vicuna-13B")}

{claims.of_admission(found[GPTJ], found[VICUNA])}

{_folded("GPT-J-6B, Multi-API, drained", table(found[GPTJ], columns))}

{_folded("Vicuna-13B, Multi-API, drained", table(found[VICUNA], columns))}"""


def _studies(scale: Scale, results: Results) -> str:
    durations = comparison(studies.durations(scale), results)
    wide = comparison(studies.heterogeneous(scale), results)
    devices = comparison(studies.two_devices(scale), results)
    return f"""## What the paper leaves open

### Calls of one type that differ more

{_picture("durations", "Latency with calls whose deviation within a type is one, two and four times as large")}

{claims.of_durations(durations)}

{_folded("GPT-J-6B, Multi-API, drained, 3 requests a second", table(durations, tables.DRAINED))}

### Requests of very different lengths, some of which fit nowhere

{claims.of_heterogeneous(wide)}

{_folded("GPT-J-6B, Multi-API with lengths and durations that deviate twice as much, drained", table(wide, tables.DRAINED))}

### Two devices of different memory

{claims.of_two_devices(devices)}

{_folded("GPT-J-6B on two devices, Multi-API, drained", table(devices, tables.DRAINED))}

### What each handling holds memory for

{_picture("handlings", "KV memory over time under five handlings on Single-API")}

Single-API at 4 requests a second. To preserve fills the device with contexts that compute nothing, to discard fills it with
contexts that are computed again, to swap moves them to the host and back; the policies that choose keep the calls that are
over at
once, and hold little for the rest."""
