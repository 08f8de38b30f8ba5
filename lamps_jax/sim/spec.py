"""What is to be simulated."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from lamps_jax.config import SchedulerConfig
from lamps_jax.metrics import Objectives
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.workload import Workload

Prediction = Literal["oracle", "class-mean", "class-tail", "history", "none", "lengths", "served"]


@dataclass(frozen=True, slots=True)
class Record:
    """What a run notes beside its statistics.

    Attributes:
        latencies: Of each finished request.
        occupancy: What memory is held for, over time.
        timeline: States of so many of the first requests.
        running_mean: The mean latency of requests finished so far, over time.
    """

    latencies: bool = False
    occupancy: bool = False
    timeline: int = 0
    running_mean: bool = False


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What is to be simulated.

    Attributes:
        workload: Scripts to draw from.
        scheduler: The policy and its options; `Hardware.scheduler_config` makes one that fits the machine.
        rate_rps: Mean arrivals a second; None for the times that the workload came with.
        window_s: Arrivals come, and what finishes counts, until then.
        drain: Whether what has arrived by the end of the window is served to its end, and counts.
        arrivals: "poisson", "gamma" or "trace".
        cv: Of the gaps of gamma arrivals.
        burst_at_start: LAMPS's and InferCept's protocol; see `sim.arrivals`.
        prediction: What policies know: "oracle", "class-mean" (of scripts that do not arrive), "class-tail" (that mean and a
            deviation more), "history" (learned), "none"; where the scripts have predicted lengths, "lengths" (those, and
            everything else that is true) or "served" (those, and everything else learned, as when a trained predictor serves).
        noise: Deviation of the oracle's normal errors, as a share of what is true.
        noisy: What has them.
        blocking_swaps: Whether copies hold up steps, as in the papers' equation for swapping, and do not hide behind them.
        objectives: What a finished request must keep within to count as goodput.
        label: What results call the system; "" for the policy's name.
    """

    workload: Workload
    hardware: Hardware
    scheduler: SchedulerConfig
    rate_rps: float | None
    seed: int = 0
    window_s: float = 1800.0
    drain: bool = False
    arrivals: str = "poisson"
    cv: float = 1.0
    burst_at_start: bool = True
    prediction: Prediction = "oracle"
    noise: float = 0.0
    noisy: Literal["both", "durations", "lengths"] = "both"
    blocking_swaps: bool = False
    objectives: Objectives = field(default_factory=Objectives)
    label: str = ""
    record: Record = field(default_factory=Record)

    def __post_init__(self) -> None:
        if self.prediction not in (known := get_args(Prediction)):
            raise ValueError(f"unknown prediction {self.prediction!r}; use {', '.join(known)}")
        if self.noise and self.prediction != "oracle":
            raise ValueError(f"only an oracle can be given noise, got noise {self.noise} with prediction {self.prediction}")

    @property
    def options(self) -> dict[str, Any]:
        """What differs from the machine's defaults for the policy."""
        default = self.hardware.scheduler_config(self.scheduler.policy)
        names = [each.name for each in fields(SchedulerConfig)]
        options = {n: getattr(self.scheduler, n) for n in names if getattr(self.scheduler, n) != getattr(default, n)}
        mine = {name: getattr(self, name) for name in ("arrivals", "cv", "prediction", "noise", "noisy", "blocking_swaps")}
        usual = {"arrivals": "poisson", "cv": 1.0, "prediction": "oracle", "noise": 0.0, "noisy": "both", "blocking_swaps": False}
        return options | {name: value for name, value in mine.items() if value != usual[name]}


def described(spec: RunSpec) -> dict[str, Any]:
    """What of a run is known before it."""
    return {
        "policy": spec.scheduler.policy,
        "label": spec.label or spec.scheduler.policy,
        "workload": spec.workload.name,
        "model": spec.hardware.model,
        "hardware": spec.hardware.name,
        "rate_rps": spec.rate_rps,
        "seed": spec.seed,
        "window_s": spec.window_s,
        "drained": spec.drain,
        **({"objectives": asdict(spec.objectives)} if spec.objectives else {}),
        "options": spec.options,
        "cost_model": asdict(spec.hardware.cost_model),
    }
