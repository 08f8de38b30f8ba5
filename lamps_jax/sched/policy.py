"""The named systems, one row each: an order of service, a handling of API calls, and a rule of admission.

The rules are pure functions of a request and of what surrounds it; what they are made of is in `sched.rank` and `sched.handling`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched import handling, rank
from lamps_jax.sched.admission import ADMISSIONS, Admission, next_chunk_fits, whole_context_fits
from lamps_jax.sched.handling import Decides, HandlingRule, by_pause
from lamps_jax.sched.rank import RankRule
from lamps_jax.sched.request import Handling, Request


@dataclass(frozen=True, slots=True)
class System:
    """One way to decide.

    Attributes:
        summary: One line for people.
        rank: Requests are served in ascending order of it; of equals the one that came first.
        handling: What becomes of a request's blocks as it calls a tool.
        decides: When that is decided.
        admits: Whether a waiting request may start.
        gives_way: What becomes of a request's blocks that others need more: SWAP as long as the host has room and the step's swap
            budget lasts, else DISCARD.
        victim_key: Of requests in API calls, the one with the largest key gives way first. Requests that wait or run give way
            from the end of the order of service, and only to one before them.
        first_come: Whether ranks are orders of arrival or of queueing, so that nobody can starve.
        predicts: Whether a rule asks what requests are predicted to do.
        drifts: Whether ranks change with what else runs, or with what the request has had.
        preempts: Whether a waiting request takes the place of a running one of worse rank.
        resumes_first: Whether a request that has blocks on the device when its call returns goes ahead of those that wait.
        lazily: Whether a handling chosen ahead takes effect in the steps after the call, and not on the one that wastes most.
        looks_ahead: How far a rank foresees: "next-call", "program" or "gittins"; see `SchedulerConfig`.
        starvation_scope: Whose steps of waiting count; see `SchedulerConfig`.
        aging: Exponent of the age by which a rank is divided, so that nobody starves: `rank.aged`. 0 for ranks as they are, and a
            guard against starvation beside them.
        aging_s: Age at which that begins to count.
        prefix_cache: Whether blocks are found by their content whatever the configuration says; None leaves it to that.
    """

    summary: str
    rank: RankRule
    handling: HandlingRule
    decides: Decides = Decides.AT_CALL
    admits: Admission = whole_context_fits
    gives_way: Handling = Handling.DISCARD
    victim_key: Callable[[Request], tuple[float, ...]] = by_pause
    first_come: bool = True
    predicts: bool = False
    drifts: bool = False
    preempts: bool = False
    resumes_first: bool = False
    lazily: bool = False
    looks_ahead: str = "next-call"
    starvation_scope: str = "waiting"
    aging: float = 0.0
    aging_s: float = 100.0
    prefix_cache: bool | None = None

    @property
    def needs_costs(self) -> bool:
        """Whether a rule weighs what steps and copies cost on this machine."""
        return self.predicts or self.decides is not Decides.AT_CALL or self.handling is handling.time_to_live

    @property
    def guards(self) -> bool:
        """Whether requests that wait for long are let go first: where ranks let them starve."""
        return not self.first_come and not self.aging


def _by_prediction(summary: str, order: RankRule, *, preempts: bool = False, looks_ahead: str = "next-call") -> System:
    """A system that serves by a prediction, and handles calls as LAMPS does."""
    return System(
        summary,
        order,
        handling.least_waste,
        Decides.AHEAD,
        first_come=False,
        predicts=True,
        drifts=True,
        preempts=preempts,
        resumes_first=True,
        looks_ahead=looks_ahead,
    )


def _by_service(summary: str, order: RankRule) -> System:
    """A system that serves by what requests have had, and so knows nothing ahead; calls are handled as InferCept does."""
    return System(
        summary,
        order,
        handling.least_waste_now,
        Decides.EACH_STEP,
        gives_way=Handling.SWAP,
        victim_key=handling.by_waste,
        first_come=False,
        drifts=True,
        preempts=True,
    )


SYSTEMS: dict[str, System] = {
    "preserve": System(
        "first come, first served; blocks stay on the device during a call",
        rank.by_arrival,
        handling.preserve_always,
        gives_way=Handling.SWAP,
    ),
    "swap": System(
        "first come, first served; blocks go to the host during a call (needs --host-kv-bytes)",
        rank.by_arrival,
        handling.swap_always,
        gives_way=Handling.SWAP,
    ),
    "vllm": System(
        "blocks are let go at a call; the request resumes at the tail of the queue", rank.by_queueing, handling.discard_always
    ),
    "vllm-head": System(
        "blocks are let go at a call; the request resumes at its old place", rank.by_arrival, handling.discard_always
    ),
    "vllm-prefix": System(
        "as vllm, and blocks that are still there when the call returns are found again",
        rank.by_queueing,
        handling.discard_always,
        prefix_cache=True,
    ),
    "infercept": System(
        "first come, first served; in every step the handling of each call that wastes least, swaps within a budget",
        rank.by_arrival,
        handling.least_waste_now,
        Decides.EACH_STEP,
        admits=next_chunk_fits,
        gives_way=Handling.SWAP,
        victim_key=handling.by_waste,
        resumes_first=True,
    ),
    "lamps": _by_prediction(
        "least predicted memory over time first; the handling that is predicted to waste least, chosen before a request runs",
        rank.by_memory_over_time,
    ),
    "lamps-artifact": System(
        "score, wastes and constants of the code released with LAMPS",
        rank.by_artifact_score,
        handling.artifact_least_waste,
        Decides.AHEAD,
        admits=next_chunk_fits,
        victim_key=handling.by_waste,
        first_come=False,
        predicts=True,
        drifts=True,
        resumes_first=True,
        lazily=True,
        starvation_scope="started",
    ),
    "lamps-nosched": System(
        "handlings as lamps, first come, first served",
        rank.by_arrival,
        handling.least_waste,
        Decides.AHEAD,
        predicts=True,
        resumes_first=True,
    ),
    "lamps-plus": System(
        "as lamps, looking ahead to the end of the program, ranks falling with age; blocks are kept until memory is wanted, and "
        "then given up at what that costs beside steps that are taken anyway",
        rank.by_memory_over_time,
        handling.least_marginal_waste,
        Decides.ON_DEMAND,
        gives_way=Handling.SWAP,
        victim_key=handling.by_return,
        first_come=False,
        predicts=True,
        drifts=True,
        resumes_first=True,
        looks_ahead="gittins",
        aging=2.0,
        aging_s=200.0,
    ),
    "oracle": _by_prediction(
        "as lamps, foreseeing all calls of a request at once (for a predictor that knows them)",
        rank.by_memory_over_time,
        looks_ahead="program",
    ),
    "sjf": _by_prediction("fewest predicted output tokens first; calls handled as lamps", rank.by_output),
    "sjf-total": _by_prediction("shortest predicted time first, calls included; calls handled as lamps", rank.by_duration),
    "srpt": _by_prediction(
        "shortest remaining predicted time of computing first, preemptive; calls handled as lamps",
        rank.by_computation,
        preempts=True,
    ),
    "mlfq": _by_service("fewest tokens computed first, in levels, preemptive; calls handled as infercept", rank.by_service),
    "plas": _by_service(
        "as mlfq, counting what all requests of one session or agent have had (least attained service)", rank.by_program_service
    ),
    "continuum": System(
        "sessions first come, first served; blocks stay for a time-to-live that the tool's past durations justify",
        rank.by_program_arrival,
        handling.time_to_live,
    ),
}
"""Every system that `--policy` knows, by name."""


def system_of(config: SchedulerConfig) -> System:
    """The system that `config` names, with the options of `config` in place of what its row says.

    Raises:
        ValueError: As `system_named`.
    """
    system = system_named(config.policy)
    chosen: dict[str, Any] = {
        "admits": ADMISSIONS[config.admission] if config.admission else None,
        "starvation_scope": config.starvation_scope,
        "preempts": config.rank_preemption,
        "lazily": None if config.apply_handling is None else config.apply_handling == "lazily",
        "looks_ahead": config.lookahead,
        "aging": config.aging,
        "aging_s": config.aging_s,
    }
    if config.call_costs == "marginal":
        chosen |= {"handling": handling.least_marginal_waste, "gives_way": Handling.SWAP}
    elif config.call_costs == "paper":
        chosen |= {"handling": handling.least_waste, "gives_way": Handling.DISCARD}
    if config.demotion == "on-demand":
        chosen |= {"decides": Decides.ON_DEMAND, "victim_key": handling.by_return}
    elif config.demotion == "ahead":
        chosen |= {"decides": Decides.AHEAD, "victim_key": by_pause}
    return replace(system, **{name: value for name, value in chosen.items() if value is not None})


def system_named(name: str) -> System:
    """The system called `name`.

    Raises:
        ValueError: If there is none; the message lists those that exist.
    """
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ValueError(f"unknown policy {name!r}; known are {', '.join(SYSTEMS)}") from None
