"""What is drawn of predictors, by the artists of each figure; how it looks is for eyes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lamps_jax.train_predictor.evaluate import QUANTILES, per_bin, share_below_quantile
from lamps_jax.train_predictor.figures import (
    MIN_GROUP,
    accuracy_by_bin_figure,
    errors_figure,
    predicted_against_true_figure,
    reliability_figure,
    write_figures,
)
from lamps_jax.train_predictor.lengths import Bins, mean, mode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = Bins(width_tokens=10, count=12)


def synthetic() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(BINS.count, 0.3), size=300)
    lengths = BINS.centres.astype(int)[[rng.choice(BINS.count, p=row) for row in rows]]
    return lengths, {"model": rows, "constant": np.tile(rows.mean(0), (300, 1))}


LENGTHS, PREDICTIONS = synthetic()


def legend(figure: "Figure") -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_all_figures_are_written_as_png(tmp_path: Path) -> None:
    paths = write_figures(BINS, LENGTHS, PREDICTIONS, tmp_path / "figures")
    assert [path.name for path in paths] == [
        *("reliability.png", "predicted-against-true.png", "errors.png", "accuracy-by-bin.png")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_reliability_has_a_point_for_each_group_and_each_quantile() -> None:
    figure = reliability_figure(BINS, LENGTHS, PREDICTIONS)
    assert legend(figure) == ["model", "constant"]
    left, right = figure.axes
    tops = PREDICTIONS["model"].max(1)
    groups = np.bincount((tops * 10).astype(int))
    assert len(left.lines[0].get_xdata()) == (groups >= MIN_GROUP).sum() < (groups > 0).sum()
    below = [100 * share_below_quantile(BINS, LENGTHS, PREDICTIONS["model"], q) for q in QUANTILES]
    np.testing.assert_allclose(right.lines[0].get_ydata(), below)


def test_predicted_against_true_counts_every_output_once() -> None:
    figure = predicted_against_true_figure(BINS, LENGTHS, PREDICTIONS, estimate="mode")
    first, second, _ = figure.axes
    assert [first.get_title(), second.get_title()] == ["model", "constant"]
    table = first.collections[0].get_array().filled(0).reshape(BINS.count, BINS.count)
    expected = np.zeros((BINS.count, BINS.count))
    for estimate, length in zip(mode(BINS, PREDICTIONS["model"]), LENGTHS, strict=True):
        expected[int(estimate // 10), length // 10] += 1
    np.testing.assert_array_equal(table, expected)


def test_errors_are_signed_on_the_left_and_reach_all_outputs_on_the_right() -> None:
    figure = errors_figure(BINS, LENGTHS, PREDICTIONS)
    assert legend(figure) == ["model", "constant"]
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["model", "constant"]
    off = mean(BINS, PREDICTIONS["model"]) - LENGTHS
    np.testing.assert_allclose(left.lines[0].get_xdata(), np.percentile(off, (5, 95)))
    assert left.lines[2].get_xdata()[0] == pytest.approx(np.median(off))
    curve = right.lines[0]
    for error, share in list(zip(curve.get_xdata(), curve.get_ydata(), strict=True))[::37]:
        assert share == pytest.approx(100 * (np.abs(off) <= error).mean(), abs=0.4)
    assert curve.get_ydata()[-1] == 100.0


def test_accuracy_by_bin_has_bars_of_both_accuracies_below_the_counts() -> None:
    figure = accuracy_by_bin_figure(BINS, LENGTHS, PREDICTIONS)
    top, of_model, of_constant = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["outputs", "model", "constant"]
    columns = per_bin(BINS, LENGTHS, PREDICTIONS["model"])
    assert [bar.get_height() for bar in top.patches] == columns["count"]
    neighbours, exact = ([bar.get_height() for bar in bars.patches] for bars in of_model.containers)
    assert neighbours == pytest.approx([100 * (share or 0) for share in columns["accuracy_1_bins"]])
    assert exact == pytest.approx([100 * (share or 0) for share in columns["accuracy_0_bins"]])
    assert [text.split(":")[0] for text in legend(figure)] == ["Acc-15", "Acc-5"]
    assert len({bars.patches[0].get_hatch() for bars in of_constant.containers}) == 2


@pytest.mark.parametrize("number", [1, 7])
def test_any_number_of_predictors_and_a_single_output_are_drawn(number: int, tmp_path: Path) -> None:
    one = {f"predictor {place}": np.eye(BINS.count)[[place]] for place in range(number)}
    assert len(write_figures(BINS, np.asarray([4]), one, tmp_path)) == 4


def test_figures_of_nothing_or_of_an_unknown_estimate_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no predictor"):
        write_figures(BINS, LENGTHS, {}, tmp_path / "none")
    with pytest.raises(ValueError, match="'mdoe'; known are mode, mean, median, tail-inflated"):
        write_figures(BINS, LENGTHS, PREDICTIONS, tmp_path / "none", estimate="mdoe")
    with pytest.raises(ValueError, match=r"sums to 0\.5"):
        write_figures(BINS, LENGTHS, {"half": PREDICTIONS["model"] / 2}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
