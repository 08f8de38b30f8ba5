"""Runs in real time, on a real engine, against the simulator and against their own scripts."""

from dataclasses import replace

import pytest

from benchmarks.fidelity import POLICIES, plans_of
from lamps_jax.bench.live import LiveRun, run_live
from lamps_jax.bench.machine import LiveMachine, prepare_machine
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.options import COMPILE_CACHE
from lamps_jax.sim.reshape import Shape
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload
from lamps_jax.sim.workloads import load_workload

SCHEDULER = SchedulerConfig(
    token_budget=64, max_chunk_tokens=64, max_num_seqs=8, max_model_len=128, max_calls=10**9, prefix_cache=False
)

pytestmark = pytest.mark.slow  # they serve in real time, on a device
CONFIG = EngineConfig(SCHEDULER, num_blocks=25, host_kv_bytes=16 * 2**20, compile_cache=COMPILE_CACHE)
"""Room for three of the longest requests."""

MIXTURE = load_workload("multi-api", num_scripts=60, shape=Shape(token_scale=1 / 16, duration_scale=0.01, max_context_tokens=120))


@pytest.fixture(scope="module")
def machine() -> LiveMachine:
    return prepare_machine(EMBEDDED_MODEL, CONFIG)


def spec_of(machine: LiveMachine, policy: str, workload: Workload = MIXTURE, **options: object) -> RunSpec:
    scheduler = replace(SCHEDULER, policy=policy)
    chosen = {"rate_rps": 40.0, "window_s": 2.0, "drain": True} | options
    return RunSpec(workload, machine.hardware, scheduler, **chosen)  # pyright: ignore[reportArgumentType]


SOME = [pytest.param(policy, marks=[] if policy == "lamps" else [pytest.mark.long]) for policy in POLICIES]


@pytest.mark.parametrize("policy", SOME)
def test_an_engine_that_computes_plans_what_the_simulation_plans(machine: LiveMachine, policy: str):
    spec = spec_of(machine, policy, window_s=4.0)  # long enough for all these plans on a slow machine, which makes fewer
    computed, simulated = plans_of(spec, machine, machine.executor), plans_of(spec, machine, None)
    assert len(computed) > 500
    assert computed == simulated
    assert policy == "vllm" or any(swap_outs for _, _, swap_outs, _ in computed)


@pytest.mark.parametrize("policy", SOME)
def test_everything_that_arrives_is_served_as_its_script_says_and_no_block_is_lost(machine: LiveMachine, policy: str):
    run = LiveRun(spec_of(machine, policy), machine)
    run.run()
    run.scheduler.check()
    assert run.scheduler.blocks.num_free_blocks == run.scheduler.blocks.num_blocks - 1
    assert len(run.outcomes) > 40
    for outcome in run.outcomes:
        script = outcome.arrival.script
        assert outcome.num_tokens == script.num_generated_tokens + (script.segments[-1].call is not None)
        assert outcome.api_s >= sum(call.duration_s for call in script.calls)
        assert outcome.finished_s is not None and outcome.first_token_s is not None
        assert outcome.arrival.time_s <= outcome.first_token_s <= outcome.finished_s


def test_a_window_ends_on_time_and_leaves_the_engine_empty_for_the_next_run(machine: LiveMachine):
    slow = Workload("slow", (Script("slow", (Span(20),), (Segment(5, Call("sleep", 30.0, 2)), Segment(5))),))
    run = LiveRun(spec_of(machine, "lamps", slow, window_s=1.0, drain=False), machine)
    run.run()
    assert run.clock.now_s < 2.0
    assert run.engine.num_unfinished == 0
    run.scheduler.check()
    result = run_live(spec_of(machine, "lamps", slow, window_s=1.0, drain=False), machine)
    assert (result["finished"], result["unfinished"]) == (0, result["arrived"])
    assert result["all_arrivals"]["ttft_s"]["mean"] < 0.9


def test_a_call_that_its_client_runs_ends_a_request_and_the_next_one_begins_with_its_text(machine: LiveMachine):
    call = Call("client", 0.05, 10, RunBy.CLIENT)
    session = Workload("session", (Script("session", (Span(40),), (Segment(8, call), Segment(8)), session_id="s"),))
    spec = spec_of(machine, "preserve", session, rate_rps=4.0)
    result = run_live(replace(spec, scheduler=replace(spec.scheduler, prefix_cache=True)), machine)
    assert result["finished"] == result["arrived"] > 0
    assert result["found_tokens"] == result["arrived"] * 32  # all full blocks but the last token's
