"""The runs behind the figures of LAMPS's paper (NeurIPS 2025), by figure.

Rates, windows and datasets are the paper's; what it leaves open is chosen here, and docs/reproduction.md says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.reproduction.case import GPTJ, LLAMA, TINYLLAMA, VICUNA, Case, Experiment, compare

MODELS = {"GPT-J-6B": GPTJ, "Vicuna-13B": VICUNA, "Llama-3-70B": LLAMA, "TinyLlama-1.1B": TINYLLAMA}
DATASETS = {"Single-API": "single-api", "Multi-API": "multi-api", "ToolBench-like": "toolbench-like"}
SYSTEMS = ("vllm", "infercept", "lamps")
NOISES, NOISES_AT_3 = (0.0, 0.05, 0.1, 0.3, 0.5), (0.05, 0.1, 0.6)
THRESHOLDS = (10, 100, 1_000, 10_000, 0)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is run.

    Attributes:
        noise_window_s: Of runs with errors of predictions, at rates up to 10, whose queues grow long.
        tiny_window_s: Of TinyLlama, whose steps are so short that a run of half an hour takes a minute.
        short_window_s: Of runs that are drained, and of studies.
    """

    rates: tuple[float, ...] = (3.0, 4.0, 5.0, 6.0)
    noise_rates: tuple[float, ...] = (4.0, 6.0, 8.0, 10.0)
    threshold_rates: tuple[float, ...] = (4.0, 6.0)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    window_s: float = 1800.0
    noise_window_s: float = 900.0
    tiny_window_s: float = 900.0
    short_window_s: float = 600.0


WHOLE = Scale()
QUICK = Scale(
    rates=(3.0, 4.0), noise_rates=(4.0,), threshold_rates=(4.0,), seeds=(0, 1), window_s=90.0, noise_window_s=60.0,
    tiny_window_s=30.0, short_window_s=45.0,
)  # fmt: skip
"""Shows that everything runs; the figures mean nothing, as queues need time to form."""


def latencies(scale: Scale, model: str, dataset: str) -> Experiment:
    """Figures 4, 5, 11, 12 and 13: the three systems on one model and dataset."""
    window_s = scale.tiny_window_s if model == "TinyLlama-1.1B" else scale.window_s
    case = Case("", DATASETS[dataset], MODELS[model], window_s=window_s)
    systems = {name: replace(case, policy=name) for name in SYSTEMS}
    return compare(f"{model}, {dataset}", systems, scale.rates, scale.seeds)


def breakdown(scale: Scale) -> Experiment:
    """Figure 6: what the handling alone does, and what the order of service adds."""
    case = Case("", hardware=VICUNA, window_s=scale.window_s)
    systems = {
        "infercept": replace(case, policy="infercept"),
        "infercept, durations known": replace(case, policy="infercept", options=(("call_duration", "expected"),)),
        "lamps without scheduling": replace(case, policy="lamps-nosched"),
        "lamps": replace(case, policy="lamps"),
        "lamps-artifact": replace(case, policy="lamps-artifact"),
    }
    return compare("Vicuna-13B, Multi-API", systems, scale.rates, scale.seeds)


def errors(scale: Scale) -> Experiment:
    """Figure 7, a and b: errors of the predictions, at rates up to 10."""
    return _errors(scale, NOISES, scale.noise_rates, scale.noise_window_s)


def errors_at_3(scale: Scale) -> Experiment:
    """Figure 7, c and d: tails at 3 requests a second."""
    return _errors(scale, NOISES_AT_3, (3.0,), scale.window_s)


def _errors(scale: Scale, noises: Sequence[float], rates: Sequence[float], window_s: float) -> Experiment:
    systems = {f"lamps, errors of {noise:.0%}": Case("lamps", window_s=window_s, noise=noise) for noise in noises}
    return compare("GPT-J-6B, Multi-API", systems, rates, scale.seeds)


CALLS_WINDOW_S, CALLS_RATE_RPS = 80.0, 5.0


def effect_of_calls(scale: Scale) -> Experiment:
    """Figure 9: a pool that requests in calls keep full, against the same requests without calls."""
    case = Case("preserve", window_s=CALLS_WINDOW_S, record=True)
    systems = {
        "preserve": case,
        "discard": replace(case, policy="vllm-head"),
        "without calls": replace(case, generator=(("non_api_share", 1.0),)),
    }
    return compare("GPT-J-6B, Multi-API", systems, (CALLS_RATE_RPS,), scale.seeds)


def mixed(scale: Scale) -> Experiment:
    """Figure 10: every other request without calls."""
    case = Case("", "mixed", VICUNA, window_s=scale.window_s)
    return compare("Vicuna-13B, mixed", {name: replace(case, policy=name) for name in SYSTEMS}, scale.rates, scale.seeds)


def starvation(scale: Scale) -> Experiment:
    """Figure 16: how long a request waits before it goes first."""
    systems = {
        f"threshold {threshold:,}" if threshold else "off": Case(
            "lamps", window_s=scale.window_s, options=threshold_of(threshold)
        )
        for threshold in THRESHOLDS
    }
    return compare("GPT-J-6B, Multi-API", systems, scale.threshold_rates, scale.seeds)


def threshold_of(threshold: int) -> tuple[tuple[str, int], ...]:
    """Options of a case with that starvation threshold; the usual one is left out, so that cases are shared."""
    return () if threshold == 100 else (("starvation_threshold", threshold),)


OCCUPATION_WINDOW_S = 250.0


def occupation(scale: Scale) -> Experiment:
    """Figure 17: what the first minutes look like from inside."""
    case = Case("", window_s=OCCUPATION_WINDOW_S, record=True)
    rates = [rate for rate in scale.rates if rate <= 5]
    return compare("GPT-J-6B, Multi-API", {name: replace(case, policy=name) for name in SYSTEMS}, rates, (0,))


FIGURE_5 = tuple((model, dataset) for model in ("GPT-J-6B", "Vicuna-13B") for dataset in DATASETS)
FIGURE_13 = tuple(("Llama-3-70B", dataset) for dataset in DATASETS)
FIGURES_11_12 = (("TinyLlama-1.1B", "Multi-API"), ("TinyLlama-1.1B", "ToolBench-like"))


def experiments(scale: Scale) -> list[Experiment]:
    """All of the paper's."""
    return [
        *(latencies(scale, model, dataset) for model, dataset in (*FIGURE_5, *FIGURE_13, *FIGURES_11_12)),
        breakdown(scale),
        errors(scale),
        errors_at_3(scale),
        effect_of_calls(scale),
        mixed(scale),
        starvation(scale),
        occupation(scale),
    ]
