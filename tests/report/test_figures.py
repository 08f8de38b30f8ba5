"""What is drawn, by the artists of each figure; how it looks is for eyes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from matplotlib.colors import to_hex

from lamps_jax.report.document import Document, parse
from lamps_jax.report.figures.style import looks
from lamps_jax.report.runs import comparisons
from lamps_jax.report.write import figures
from tests.report.synthetic import HANDLING, document_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYSTEMS = list(HANDLING)
SETTING = "toy-workload · toy-model on toy-device, simulated · window 120 s"


@pytest.fixture(scope="module")
def document() -> Document:
    return parse(document_text())


@pytest.fixture(scope="module")
def draw(document: Document) -> Callable[[str], "Figure"]:
    drawn: dict[str, Figure] = {}
    by_name = dict(figures(document))

    def figure(name: str) -> "Figure":
        if name not in drawn:
            drawn[name] = by_name[name]()
        return drawn[name]

    return figure


def legend(figure: "Figure") -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def title(figure: "Figure") -> list[str]:
    assert figure._suptitle is not None
    return figure._suptitle.get_text().splitlines()


def test_every_figure_that_there_is_data_for_has_a_name(document: Document) -> None:
    of_rates = [f"{name}-rate-{rate}" for rate in ("0.8", "1.2") for name in ("cdf", "occupancy", "running-mean", "timeline")]
    everything = ["latency", "latency-all-arrivals", "throughput", "waste", "finished-by-type", *of_rates]
    assert [name for name, _ in figures(document)] == everything


@pytest.mark.parametrize(("name", "bound"), [("latency", ""), ("latency-all-arrivals", "≥, ")])
def test_latency_shows_mean_and_p99_of_each_system_with_intervals(
    draw: Callable, document: Document, name: str, bound: str
) -> None:
    figure = draw(name)
    labels = [f"{statistic} {what} ({bound}s)" for what in ("E2E latency", "TTFT") for statistic in ("mean", "P99")]
    assert [panel.get_ylabel() for panel in figure.axes] == labels
    assert [panel.get_xlabel() for panel in figure.axes] == ["", "", "rate (req/s)", "rate (req/s)"]
    assert legend(figure) == SYSTEMS
    assert title(figure)[1:] == [SETTING, "error bars: 95 % interval over 3 seeds"]
    assert ("lower bounds" in title(figure)[0]) == bool(bound)
    assert [len(panel.containers) for panel in figure.axes] == [3] * 4
    runs = [run for run in document.runs if (run.policy, run.rate_rps) == ("toy-vllm", 1.2)]
    spreads = [run.all_arrivals.e2e_s if bound and run.all_arrivals else run.e2e_s for run in runs]
    mean = sum(spread.mean for spread in spreads if spread and spread.mean) / 3
    line, _, (bars,) = figure.axes[0].containers[0]
    assert line.get_ydata()[1] == pytest.approx(mean)
    low, high = bars.get_segments()[1][:, 1]
    assert (low + high) / 2 == pytest.approx(mean) and high > low


def test_throughput_is_drawn_beside_what_is_offered(draw: Callable) -> None:
    figure = draw("throughput")
    assert [panel.get_ylabel() for panel in figure.axes] == ["throughput (req/s)", "goodput (req/s)"]
    assert legend(figure) == [*SYSTEMS, "all that is offered"]
    assert all(panel.get_ylim()[0] == 0 for panel in figure.axes)


def test_waste_bars_add_up_and_are_told_apart_by_hatches(draw: Callable, document: Document) -> None:
    figure = draw("waste")
    assert legend(figure) == ["preserved", "recomputed", "swapped"]
    assert [panel.get_title() for panel in figure.axes] == ["0.8 req/s", "1.2 req/s"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == SYSTEMS
    stacks = [container for container in figure.axes[0].containers if hasattr(container, "patches")]
    ends = [bar.get_x() + bar.get_width() for bar in stacks[-1].patches]
    for system, end in zip(SYSTEMS, ends, strict=True):
        runs = [run for run in document.runs if (run.policy, run.rate_rps) == (system, 0.8)]
        wastes = [run.waste_token_s for run in runs if run.waste_token_s]
        whole = sum(waste.preserved + waste.recomputed + waste.swapped for waste in wastes)
        assert end == pytest.approx(100 * whole / (3 * 8000 * 120))
    assert len({stack.patches[0].get_hatch() for stack in stacks}) == 3


def test_finished_share_has_a_marker_for_each_system_and_type(draw: Callable, document: Document) -> None:
    figure = draw("finished-by-type")
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["math", "question", "chat", "picture"]
    assert legend(figure) == SYSTEMS
    points = next(line for line in panel.lines if line.get_label() == "toy-lamps")
    results = [run.by_type["math"] for run in document.runs if (run.policy, run.rate_rps) == ("toy-lamps", 0.8)]
    share = sum(result.finished for result in results) / sum(result.arrived for result in results)
    assert points.get_xdata()[0] == pytest.approx(100 * share)


def test_a_distribution_ends_at_the_share_of_arrivals_that_finished(draw: Callable, document: Document) -> None:
    figure = draw("cdf-rate-1.2")
    assert [panel.get_xlabel() for panel in figure.axes] == ["E2E latency (s)", "TTFT (s)"]
    assert legend(figure) == SYSTEMS
    assert "censored" in title(figure)[-1]
    for system in SYSTEMS:
        run = next(run for run in document.runs if (run.policy, run.rate_rps, run.seed) == (system, 1.2, 0))
        line = next(line for line in figure.axes[0].lines if line.get_label() == system)
        assert line.get_ydata()[-1] == pytest.approx(100 * run.finished / run.arrived)
        assert line.get_xdata()[-1] == figure.axes[0].get_xlim()[1]


def test_occupancy_stacks_the_device_and_draws_the_host_as_a_line(draw: Callable) -> None:
    figure = draw("occupancy-rate-1.2")
    device = ["computing", "preserved through a call", "cached, held by nobody", "free"]
    assert sorted(legend(figure)) == sorted([*device, "device's pool", "on the host"])
    assert [panel.get_title() for panel in figure.axes] == SYSTEMS
    for panel in figure.axes:
        assert [area.get_label() for area in panel.collections] == device
        assert panel.get_ylabel() == "KV tokens (thousands)"
        host = next(line for line in panel.lines if line.get_label() == "on the host")
        assert max(host.get_ydata()) <= panel.get_ylim()[1]
    top = figure.axes[0].collections[-1].get_paths()[0].get_extents().ymax
    assert top == pytest.approx(8.0)


def test_the_running_mean_ends_at_the_mean_of_the_finished(draw: Callable, document: Document) -> None:
    figure = draw("running-mean-rate-1.2")
    assert legend(figure) == SYSTEMS
    for line in figure.axes[0].lines:
        run = next(run for run in document.runs if (run.policy, run.rate_rps, run.seed) == (line.get_label(), 1.2, 0))
        assert run.e2e_s is not None
        assert line.get_ydata()[-1] == pytest.approx(run.e2e_s.mean)


def test_a_timeline_has_a_row_for_each_request_and_a_colour_for_each_state(draw: Callable, document: Document) -> None:
    figure = draw("timeline-rate-1.2")
    assert [panel.get_title() for panel in figure.axes] == SYSTEMS
    for panel, system in zip(figure.axes, SYSTEMS, strict=True):
        run = next(run for run in document.runs if (run.policy, run.rate_rps, run.seed) == (system, 1.2, 0))
        assert run.timeline is not None
        states = {state for request in run.timeline for state, _, _ in request.spans}
        assert len(panel.collections) == len(states)
        num_spans = sum(len(request.spans) for request in run.timeline)
        assert sum(len(collection.get_paths()) for collection in panel.collections) == num_spans
        assert panel.get_ylim()[0] == pytest.approx(len(run.timeline) - 0.4)
    colours = {to_hex(each.get_facecolor()[0]) for panel in figure.axes for each in panel.collections}
    assert len(colours) == len(legend(figure))


def test_systems_differ_in_more_than_colour() -> None:
    found = list(looks([f"system {place}" for place in range(40)]).values())
    assert len({(look.color, look.marker, str(look.linestyle)) for look in found}) == 40
    first = found[:5]
    assert len({str(look.linestyle) for look in first}) == len({look.marker for look in first}) == 5


def test_systems_keep_their_looks_in_every_figure(draw: Callable, document: Document) -> None:
    look = looks(comparisons(document)[0].systems)
    for name in ("finished-by-type", "cdf-rate-1.2", "running-mean-rate-1.2"):
        lines = [line for line in draw(name).axes[0].lines if line.get_label() in look]
        assert {line.get_label(): line.get_color() for line in lines} == {system: look[system].color for system in SYSTEMS}
