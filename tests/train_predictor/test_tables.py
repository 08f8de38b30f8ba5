"""Reports as Markdown."""

import numpy as np

from lamps_jax.train_predictor.evaluate import report
from lamps_jax.train_predictor.lengths import POINT_ESTIMATES, Bins
from lamps_jax.train_predictor.tables import as_markdown

BINS = Bins(width_tokens=10, count=4)
LENGTHS = np.asarray([5, 12, 18, 90])
PERFECT = np.eye(4)[[0, 1, 1, 3]]
FIRST = np.tile(np.eye(4)[0], (4, 1))


def tables(text: str) -> list[list[list[str]]]:
    """Cells of each table, its headings first, without the line below these."""
    lines = [[row for row in part.splitlines() if row.startswith("|")] for part in text.split("\n\n")]
    found = [[row for place, row in enumerate(rows) if place != 1] for rows in lines if rows]
    return [[[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows] for rows in found]


def test_predictors_stand_beside_their_metrics_and_the_best_is_bold() -> None:
    metrics, *_ = tables(as_markdown(report(BINS, LENGTHS, {"model": PERFECT, "first bin": FIRST}, {"model": 13.7})))
    assert metrics == [
        ["predictor", "Acc-5, %", "Acc-15, %", "NLL, nats", "ECE, %", "latency, ms"],
        ["model", "**100.0**", "**100.0**", "**0.000**", "**0.0**", "13.7"],
        ["first bin", "25.0", "75.0", "20.723", "75.0", "–"],
    ]


def test_every_point_estimate_of_every_predictor_has_a_row() -> None:
    _, estimates, *_ = tables(as_markdown(report(BINS, LENGTHS, {"model": PERFECT, "first bin": FIRST})))
    assert [row[:2] for row in estimates[1:]] == [[name, each] for name in ("model", "first bin") for each in POINT_ESTIMATES]
    assert estimates[0][2:] == [
        *("MAE, tokens", "MAE, bins", "MAE below 200 tokens, bins", "RMSE, tokens", "bias, tokens", "Kendall's tau-b")
    ]
    assert estimates[1][3] == "**0.000**" and estimates[5][2:4] == ["26.2", "1.250"] and estimates[5][-1] == "–"


def test_bins_with_outputs_have_a_row_as_in_the_papers_table() -> None:
    *_, by_bin = tables(as_markdown(report(BINS, LENGTHS, {"model": PERFECT, "first bin": FIRST})))
    assert by_bin == [
        ["bin", "tokens", "outputs", *(f"{name} {each}, %" for name in ("model", "first bin") for each in ("Acc-5", "Acc-15"))],
        ["0", "0–9", "1", "100.0", "100.0", "100.0", "100.0"],
        ["1", "10–19", "2", "100.0", "100.0", "0.0", "100.0"],
        ["3", "30+", "1", "100.0", "100.0", "0.0", "0.0"],
    ]


def test_quantiles_and_the_clamped_are_told() -> None:
    text = as_markdown(report(BINS, LENGTHS, {"model": PERFECT}))
    assert "25.0 % of lengths lie beyond the bins" in text
    _, _, quantiles, _ = tables(text)
    assert quantiles[0] == ["predictor", *(f"{q} %" for q in range(10, 100, 10))]
    assert len(quantiles[1]) == 10


def test_names_do_not_break_the_table_and_one_predictor_is_not_the_best_of_one() -> None:
    text = as_markdown(report(BINS, LENGTHS, {"a|b": PERFECT}))
    assert "| a\\|b |" in text
    assert "**100.0**" not in text
