import io
from typing import Any

import pytest
from rich.console import Console

from lamps_jax.report.document import Document, parse
from lamps_jax.report.runs import Estimate
from lamps_jax.report.table import as_markdown, as_text, number, renderable, with_interval


def spread(mean: float) -> dict[str, float]:
    return {"mean": mean, "p50": mean, "p90": 2 * mean, "p99": 3 * mean}


def run(policy: str, seed: int, mean_s: float, finished: int, **more: Any) -> dict[str, Any]:
    return {
        "policy": policy,
        "workload": "toy-workload",
        "model": "toy-model",
        "hardware": "toy-device",
        "rate_rps": 3.0,
        "seed": seed,
        "window_s": 1800.0,
        "arrived": 100,
        "finished": finished,
        "e2e_s": spread(mean_s),
        "ttft_s": spread(mean_s / 100),
        "all_arrivals": {"e2e_s": spread(2 * mean_s), "ttft_s": None},
        "throughput_rps": finished / 1800,
        "waste_token_s": {"preserved": 1000.0, "recomputed": 0.0, "swapped": mean_s},
        "pool_tokens": 10,
        "simulated_s": 1000.0,
        "preemptions": 1234,
        **more,
    }


def document(*runs: dict[str, Any]) -> Document:
    return parse({"schema": 1, "kind": "simulate", "machine": {}, "commit": "0", "runs": list(runs)})


ONE_SEED = document(run("vllm", 0, 200.0, 80), run("lamps", 0, 50.0, 100))

SERVICE = """\
toy-workload · toy-model on toy-device, simulated · window 1,800 s: service

         rate,                      finished,   E2E mean,   E2E P99,   TTFT mean,   TTFT P99,   throughput,
 policy  req/s   finished/arrived           %           s          s            s           s         req/s
 ───────────────────────────────────────────────────────────────────────────────────────────────────────────
 vllm        3             80/100        80.0         200        600         2.00        6.00        0.0444
 lamps       3            100/100      100.0*       50.0*       150*       0.500*       1.50*       0.0556*

* best mean at its rate. Latencies of finished requests alone: those still waiting, the slow ones, are left out.
"""

MEMORY = """\
| policy | rate, req/s | preserved, % | recomputed, % | swapped, % | all waste, % | preemptions |
|---|---:|---:|---:|---:|---:|---:|
| vllm | 3 | 10.0 | 0.0 | 2.0 | 12.0 | 1,234 |
| lamps | 3 | 10.0 | 0.0 | 0.5 | **10.5** | 1,234 |
"""


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_text_table_shows_every_system_and_marks_the_best() -> None:
    shown = words(as_text(ONE_SEED, width=200))
    expected = words(SERVICE)
    assert [[word for word in line if set(word) != {"─"}] for line in shown[: len(expected)]] == [
        [word for word in line if set(word) != {"─"}] for line in expected
    ]


def test_columns_without_values_are_left_out() -> None:
    assert "goodput" not in as_text(ONE_SEED)
    assert "goodput" in as_text(document(run("vllm", 0, 1.0, 100, goodput_rps=0.5)))


def test_bounds_over_every_arrival_stand_apart_and_say_that_they_are_bounds() -> None:
    text = as_text(ONE_SEED)
    assert "≥ 400" in text and "≥ 100*" in text and "Censored: over every arrival" in text
    assert "every arrival" not in as_text(document(run("vllm", 0, 1.0, 100)))


def test_markdown_has_the_same_rows_with_the_best_in_bold() -> None:
    assert MEMORY in as_markdown(ONE_SEED)


def test_several_seeds_give_a_mean_with_its_interval_or_a_row_each() -> None:
    seeds = document(*(run("lamps", seed, mean_s, 100) for seed, mean_s in enumerate((10.0, 12.0, 14.0))))
    # Student's t with two degrees of freedom is 4.303; the standard error of 10, 12, 14 is 2/√3.
    row = next(line for line in as_markdown(seeds).splitlines() if line.startswith("| lamps"))
    assert row.startswith("| lamps | 3 | 300/300 | 100.0 ± 0.0 | 12.0 ± 5.0 | 36.0 ± 14.9 |")
    assert "95 % interval over 3 seeds" in as_text(seeds)
    rows = [line for line in as_markdown(seeds, over_seeds=False).splitlines() if line.startswith("| lamps")]
    assert [row.split(" | ")[2] for row in rows[:3]] == ["0", "1", "2"]
    assert "interval" not in as_text(seeds, over_seeds=False)


def test_equals_are_all_marked_unless_nothing_else_is_there() -> None:
    text = as_markdown(document(run("a", 0, 10.0, 100), run("b", 0, 10.0, 100), run("c", 0, 20.0, 100)))
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| a", "| b", "| c"))]
    assert [row[4] for row in rows[:3]] == ["**10.0**", "**10.0**", "20.0"]
    assert [row[3] for row in rows[:3]] == ["100.0"] * 3


def test_a_system_that_finished_nothing_has_a_dash() -> None:
    nothing = run("vllm", 0, 1.0, 0, e2e_s=None, ttft_s={"mean": None, "p50": None, "p90": None, "p99": None})
    text = as_markdown(document(nothing, run("lamps", 0, 5.0, 90)))
    assert "| vllm | 3 | 0/100 | 0.0 | – | – | – | – |" in text


def test_refused_requests_are_mentioned() -> None:
    assert "refused" in as_text(document(run("vllm", 0, 1.0, 90, refused=10)))
    assert "left out" not in as_text(document(run("vllm", 0, 1.0, 90, refused=10)))


def test_a_narrow_terminal_gets_narrower_tables_with_every_value() -> None:
    console = Console(width=60, file=io.StringIO())
    with console.capture() as captured:
        console.print(renderable(ONE_SEED))
    text = captured.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 60
    for value in ("80/100", "600", "6.00", "0.0444", "1,234"):
        assert value in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"), (0.00123, "0.00123")],
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_ends_at_the_digit_of_its_mean() -> None:
    assert with_interval(Estimate(12.345, 0.678, 3)) == "12.3 ± 0.7"
