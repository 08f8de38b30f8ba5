"""How figures look: legible in print, in black and white, and to the colour-blind."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette (Color Universal Design, 2008), without the yellow that white paper swallows."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

SETTINGS: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "figure.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.markersize": 5.0,
    "lines.linewidth": 1.6,
    "errorbar.capsize": 2.5,
    "svg.hashsalt": "lamps-jax",
}
"""What differs from matplotlib's defaults while a figure is drawn and saved."""

PNG_DPI = 160


@dataclass(frozen=True, slots=True)
class Look:
    """How a system's line is told from others: by colour, by marker, and by line style."""

    color: str
    marker: str
    linestyle: Any


def looks(systems: Sequence[str]) -> dict[str, Look]:
    """A look for each system; the three cycles differ in length, so that no two systems share all of them."""
    return {
        system: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], LINES[i % len(LINES)])
        for i, system in enumerate(systems)
    }


P = ParamSpec("P")
T = TypeVar("T")


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """The function, run under the project's settings; those of the process stay as they are."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **SETTINGS}
        with matplotlib.rc_context({name: value for name, value in settings.items() if name != "backend"}):
            return function(*args, **kwargs)

    return run


def new_figure(title: str, subtitle: str, width: float, height: float, note: str = "") -> "Figure":
    """An empty figure, in inches, with what it shows as its title, and below that the setting and how to read it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle("\n".join(line for line in (title, subtitle, note) if line))
    return figure


def grid(figure: "Figure", count: int, columns: int, **shared: Any) -> "list[Axes]":
    """Panels in reading order; places of the last row that are not needed stay empty."""
    rows = math.ceil(count / columns)
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for unused in axes[count:]:
        unused.remove()
    return axes[:count]


def legend_below(figure: "Figure", axes: "Sequence[Axes]", columns: int = 5) -> None:
    """One legend for all panels, below them."""
    found: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    # Systems first: those drawn with error bars are containers, reference lines are not.
    found = dict(sorted(found.items(), key=lambda item: not isinstance(item[1], tuple)))
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=min(columns, len(found)))


def scale_log(axis: "XAxis | YAxis") -> None:
    """Makes an axis logarithmic, with ticks that are plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@styled
def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure as its suffix says; the same figure gives the same bytes."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix.removeprefix("."), {})
    figure.savefig(path, dpi=PNG_DPI, metadata=metadata)
