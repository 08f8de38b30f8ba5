"""The runs behind the questions that the paper leaves open, and behind the doubts about its protocol."""

from dataclasses import replace
from itertools import product

from benchmarks.reproduction.case import GPTJ, VICUNA, Case, Experiment, compare
from benchmarks.reproduction.paper import SYSTEMS, THRESHOLDS, Scale, threshold_of
from lamps_jax.sim.fleet import ROUTES

ADMISSIONS = ("next-chunk", "whole-context", "predicted-peak")
DRAINED_RATES = {GPTJ: (2.0, 3.0, 4.0), VICUNA: (1.0, 2.0, 3.0)}
"""From the rate at which InferCept saturates, or nearly, to twice that and more."""


def drained(scale: Scale, hardware: str) -> Experiment:
    """Everything that arrives is served to its end, and counts."""
    case = Case("", hardware=hardware, window_s=scale.short_window_s, drain=True)
    systems = {name: replace(case, policy=name) for name in SYSTEMS}
    return compare(f"{case.machine().model}, Multi-API", systems, DRAINED_RATES[hardware], scale.seeds)


def admission(scale: Scale, hardware: str) -> Experiment:
    """When a waiting request may start: every system under every rule."""
    case = Case("", hardware=hardware, window_s=scale.short_window_s, drain=True)
    systems = {
        f"{name}, {rule}": replace(case, policy=name, options=(("admission", rule),))
        for name, rule in product(SYSTEMS, ADMISSIONS)
    }
    return compare(f"{case.machine().model}, Multi-API", systems, (DRAINED_RATES[hardware][-1],), scale.seeds)


def starvation_drained(scale: Scale) -> Experiment:
    """What the threshold does to the tail, once everybody's latency is known."""
    case = Case("lamps", window_s=scale.short_window_s, drain=True)
    systems = {
        f"threshold {threshold:,}" if threshold else "off": replace(case, options=threshold_of(threshold))
        for threshold in THRESHOLDS
    }
    return compare("GPT-J-6B, Multi-API", systems, (4.0,), scale.seeds)


SPREADS = (1.0, 2.0, 4.0)


def durations(scale: Scale) -> Experiment:
    """Calls of one type that differ ever more, whether they are known ahead or only their mean is."""
    case = Case("", rate_rps=3.0, window_s=scale.short_window_s, drain=True)
    systems: dict[str, Case] = {}
    for spread in SPREADS:
        generator = () if spread == 1.0 else (("duration_spread", spread),)
        for label, change in {
            "infercept": replace(case, policy="infercept"),
            "lamps": replace(case, policy="lamps"),
            "lamps, class means": replace(case, policy="lamps", prediction="class-mean"),
        }.items():
            systems[f"{label}, spread {spread:g}"] = replace(change, generator=generator)
    return compare("GPT-J-6B, Multi-API", systems, (3.0,), scale.seeds)


def heterogeneous(scale: Scale) -> Experiment:
    """Lengths that differ twice as much, of which some fit nowhere, at one to three times what InferCept can serve."""
    generator = (("duration_spread", 2.0), ("length_spread", 2.0), ("max_context_tokens", None))
    case = Case("", window_s=scale.short_window_s, drain=True, generator=generator)
    return compare(
        "GPT-J-6B, Multi-API, wide", {name: replace(case, policy=name) for name in SYSTEMS}, (2.0, 4.0, 6.0), scale.seeds
    )


HANDLINGS = {"preserve": "preserve", "discard": "vllm-head", "swap": "swap", "infercept": "infercept", "lamps": "lamps"}


def handlings(scale: Scale) -> Experiment:
    """What each handling holds memory for, on Single-API."""
    case = Case("", "single-api", rate_rps=4.0, window_s=min(300.0, scale.short_window_s), record=True)
    return compare("GPT-J-6B, Single-API", {label: replace(case, policy=name) for label, name in HANDLINGS.items()}, (4.0,), (0,))


DEVICES = (55_000, 13_750)
"""A device of 40 GB beside GPT-J-6B, and one with a quarter of its room."""


def two_devices(scale: Scale) -> Experiment:
    """Two devices of different memory behind one queue, by what chooses the device."""
    case = Case("", window_s=scale.short_window_s, drain=True, devices=DEVICES)
    systems = {
        f"{name}, {route}": replace(case, policy=name, route=route)
        for name, route in product(("infercept", "lamps"), ROUTES)
        if name == "lamps" or route != "memory over time"
    }
    return compare("GPT-J-6B on two devices, Multi-API", systems, (3.0, 5.0), scale.seeds)


def experiments(scale: Scale) -> list[Experiment]:
    """All of them."""
    return [
        drained(scale, GPTJ),
        drained(scale, VICUNA),
        admission(scale, GPTJ),
        admission(scale, VICUNA),
        starvation_drained(scale),
        durations(scale),
        heterogeneous(scale),
        two_devices(scale),
        handlings(scale),
    ]
