"""What was measured of length predictors, as tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from lamps_jax.report.table import Cell, Section, markdown, number
from lamps_jax.train_predictor.evaluate import QUANTILES, accuracy_name
from lamps_jax.train_predictor.lengths import Bins

Better = Literal["low", "high"] | None


def as_markdown(report: Mapping[str, Any]) -> str:
    """A report's tables as Markdown: predictors by metric, point estimates, quantiles, accuracy by true bin."""
    tables = (_metrics_table(report), _estimates_table(report), _quantiles_table(report), _per_bin_table(report))
    return "\n\n".join(markdown(table) for table in tables) + "\n"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _three_decimals(value: float) -> str:
    return f"{value:.3f}"


def _column(values: Sequence[float | None], show: Callable[[float], str], better: Better = None) -> list[Cell]:
    """Cells of one column; the best is marked unless all look the same."""
    present = [value for value in values if value is not None]
    best = show(min(present) if better == "low" else max(present)) if present and better else None
    marked = len({show(value) for value in present}) > 1
    return [Cell("–") if v is None else Cell(show(v), marked and show(v) == best) for v in values]


def _metrics_table(report: Mapping[str, Any]) -> Section:
    bins, predictors = Bins(**report["bins"]), report["predictors"]
    columns: list[tuple[str, str, Callable[[float], str], Better]] = [
        (f"{accuracy_name(bins, 0)}, %", "accuracy_0_bins", _percent, "high"),
        (f"{accuracy_name(bins, 1)}, %", "accuracy_1_bins", _percent, "high"),
        ("NLL, nats", "nll_nats", _three_decimals, "low"),
        ("ECE, %", "ece", _percent, "low"),
        ("latency, ms", "latency_ms", number, "low"),
    ]
    cells = [_column([each[field] for each in predictors.values()], show, better) for _, field, show, better in columns]
    note = (
        f"{accuracy_name(bins, 0)}: the likeliest bin is the true one; {accuracy_name(bins, 1)}: it or a neighbour is. "
        f"{_percent(report['clamped_share'])} % of lengths lie beyond the bins."
    )
    title = f"{report['num_examples']:,} outputs in {bins.count} bins of {bins.width_tokens} tokens"
    rows = [(Cell(name), *row) for name, row in zip(predictors, zip(*cells, strict=True), strict=True)]
    return Section(title, ("predictor", *(heading for heading, *_ in columns)), tuple(rows), note)


def _estimates_table(report: Mapping[str, Any]) -> Section:
    columns: list[tuple[str, str, Callable[[float], str], Better]] = [
        ("MAE, tokens", "mae_tokens", number, "low"),
        ("MAE, bins", "mae_bins", _three_decimals, "low"),
        (f"MAE below {report['short_tokens']} tokens, bins", "mae_bins_short", _three_decimals, "low"),
        ("RMSE, tokens", "rmse_tokens", number, "low"),
        ("bias, tokens", "bias_tokens", number, None),
        ("Kendall's tau-b", "kendall_tau", _three_decimals, "high"),
    ]
    found = [
        (name, estimate, errors)
        for name, predictor in report["predictors"].items()
        for estimate, errors in predictor["estimates"].items()
    ]
    cells = [_column([errors[field] for *_, errors in found], show, better) for _, field, show, better in columns]
    rows = [(Cell(n), Cell(e), *row) for (n, e, _), row in zip(found, zip(*cells, strict=True), strict=True)]
    return Section("Point estimates", ("predictor", "estimate", *(heading for heading, *_ in columns)), tuple(rows))


def _quantiles_table(report: Mapping[str, Any]) -> Section:
    rows = [
        (Cell(name), *_column(predictor["quantiles"]["share_below"], _percent))
        for name, predictor in report["predictors"].items()
    ]
    headings = ("predictor", *(f"{100 * q:g} %" for q in QUANTILES))
    return Section("Lengths below the predicted quantile, %", headings, tuple(rows))


def _per_bin_table(report: Mapping[str, Any]) -> Section:
    bins, predictors = Bins(**report["bins"]), report["predictors"]
    headings = ["bin", "tokens", "outputs"]
    headings += [f"{name} {accuracy_name(bins, distance)}, %" for name in predictors for distance in (0, 1)]
    counts = next(iter(predictors.values()))["per_bin"]["count"]
    rows = []
    for label in (label for label, count in enumerate(counts) if count):
        start = label * bins.width_tokens
        tokens = f"{start}+" if label == bins.count - 1 else f"{start}–{start + bins.width_tokens - 1}"
        values = [each["per_bin"][f"accuracy_{distance}_bins"][label] for each in predictors.values() for distance in (0, 1)]
        rows.append((Cell(str(label)), Cell(tokens), Cell(f"{counts[label]:,}"), *_column(values, _percent)))
    return Section("Accuracy by true bin; bins without outputs are left out", tuple(headings), tuple(rows))
