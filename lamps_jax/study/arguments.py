"""What the words of a study's command line mean."""

from pathlib import Path

from lamps_jax.metrics import Objectives


def objectives_of(text: str | None) -> Objectives:
    """What a finished request must keep within, from text such as ``ttft:2,tpot:0.1``."""
    given: dict[str, float] = {}
    for pair in names_of(text or ""):
        name, _, seconds = pair.partition(":")
        try:
            given[f"{name}_s"] = float(seconds)
            Objectives(**given)
        except (TypeError, ValueError):
            raise ValueError(
                f"--goodput must be objectives such as ttft:2,tpot:0.1,e2e:60, each of a positive number of seconds, got {pair!r}"
            ) from None
    return Objectives(**given)


def names_of(text: str) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def rates_of(text: str) -> list[float | None]:
    """Requests per second, with commas between; None for a trace's own times."""
    rates: list[float | None] = []
    for name in names_of(text):
        try:
            rates.append(None if name == "trace" else float(name))
        except ValueError:
            raise ValueError(f"--rate must be requests per second, with commas between, or trace, got {name!r}") from None
        if rates[-1] is not None and not 0 < rates[-1] < float("inf"):
            raise ValueError(f"--rate must be a positive number of requests per second, got {name}")
    return rates


def whole_numbers_of(option: str, text: str) -> list[int]:
    """Whole numbers with commas between."""
    try:
        return [int(name) for name in names_of(text)]
    except ValueError:
        raise ValueError(f"{option} must be whole numbers with commas between, got {text!r}") from None


def one_source(workload: str | None, trace: Path | None) -> str | Path:
    """What clients ask for: a workload's name or a trace's file, not both; the papers' mixture if neither is given."""
    if workload is not None and trace is not None:
        raise ValueError("--workload and --trace both say what clients ask for; give one of them")
    return trace or workload or "multi-api"
