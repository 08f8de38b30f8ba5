"""One run of the reproduction: what it is, in few words, and how the simulator is told."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, Literal

from lamps_jax.sim.fleet import FleetSpec
from lamps_jax.sim.generators import GeneratorOptions
from lamps_jax.sim.hardware import HARDWARE, Hardware
from lamps_jax.sim.reshape import Shape
from lamps_jax.sim.spec import Prediction, Record, RunSpec
from lamps_jax.sim.workload import Workload
from lamps_jax.sim.workloads import WORKLOADS, load_workload

GPTJ, VICUNA, LLAMA = "a100-40gb-gptj-6b", "a100-40gb-vicuna-13b", "a100-80gb-llama3-70b-tp2"
TINYLLAMA = "a100-80gb-tinyllama-1.1b"

VLLM_TOKEN_BUDGET = 2048
"""Of vLLM 0.2, which computes whole prompts: max(max_model_len, 2048)."""

UNBOUNDED_TOKENS = 10**7
"""Of a host that is never full."""

Options = tuple[tuple[str, Any], ...]
"""Names and values, so that a case can be compared and looked up."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one run is.

    Attributes:
        options: Of the scheduler, beside the policy.
        generator: Of the workload, beside its name; a `max_context_tokens` of None leaves requests that fit nowhere.
        record: Whether memory over time is noted, and when requests finish.
        devices: Room of the pools of several devices that are otherwise like the machine; empty for the machine itself.
        route: How those are chosen for a request; see `sim.fleet`.
        free_swaps: Whether copies to the host take no time, and the host has room for all.
    """

    policy: str
    workload: str = "multi-api"
    hardware: str = GPTJ
    rate_rps: float = 4.0
    seed: int = 0
    window_s: float = 1800.0
    drain: bool = False
    options: Options = ()
    generator: Options = ()
    prediction: Prediction = "oracle"
    noise: float = 0.0
    noisy: Literal["both", "durations", "lengths"] = "both"
    record: bool = False
    devices: tuple[int, ...] = ()
    route: str = ""
    free_swaps: bool = False

    @property
    def key(self) -> str:
        """Names the case: what differs from the defaults."""
        usual = {each.name: each.default for each in fields(self)}
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if value != usual[name])

    def machine(self) -> Hardware:
        """The machine that it runs on."""
        machine = HARDWARE[self.hardware]
        if not self.free_swaps:
            return machine
        costs = replace(machine.cost_model, swap_base_s=0.0, swap_per_block_s=0.0)
        return replace(machine, cost_model=costs, host_kv_tokens=UNBOUNDED_TOKENS)

    def spec(self) -> RunSpec | FleetSpec:
        """What the simulator is told."""
        machine, options = self.machine(), dict(self.options)
        if self.policy == "vllm":
            options = {"token_budget": VLLM_TOKEN_BUDGET, "max_chunk_tokens": VLLM_TOKEN_BUDGET} | options
        run = RunSpec(
            _workload(self.workload, self.generator, machine.max_model_len),
            machine,
            machine.scheduler_config(self.policy, **options),
            self.rate_rps,
            seed=self.seed,
            window_s=self.window_s,
            drain=self.drain,
            prediction=self.prediction,
            noise=self.noise,
            noisy=self.noisy,
            record=Record(occupancy=True, running_mean=True) if self.record else Record(),
        )
        return FleetSpec(run, self.devices, self.route) if self.devices else run


@cache
def _workload(name: str, generator: Options, max_context_tokens: int) -> Workload:
    changes = dict(generator)
    options = replace(WORKLOADS[name].options, **changes) if changes else None
    fits_nowhere = options is not None and options.max_context_tokens is None
    shape = None if fits_nowhere else Shape(max_context_tokens=max_context_tokens)
    return load_workload(name, options=options or GeneratorOptions(max_context_tokens=max_context_tokens), shape=shape)


@dataclass(frozen=True, slots=True)
class Experiment:
    """Systems that are compared, by what they are called, each with its runs over rates and seeds."""

    title: str
    systems: tuple[tuple[str, tuple[Case, ...]], ...]

    @property
    def cases(self) -> Iterable[Case]:
        """Every run."""
        return (case for _, cases in self.systems for case in cases)


def compare(title: str, systems: dict[str, Case], rates: Sequence[float], seeds: Sequence[int]) -> Experiment:
    """An experiment in which each system meets each rate with each seed."""
    return Experiment(
        title,
        tuple(
            (label, tuple(replace(case, rate_rps=rate, seed=seed) for rate in rates for seed in seeds))
            for label, case in systems.items()
        ),
    )
