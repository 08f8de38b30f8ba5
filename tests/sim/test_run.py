"""The simulator against sums done by hand, conservation, and itself."""

from typing import Any

import pytest

from lamps_jax.metrics import Objectives
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.policy import SYSTEMS
from lamps_jax.sched.request import RequestState
from lamps_jax.sim.hardware import HARDWARE, Hardware
from lamps_jax.sim.run import simulate
from lamps_jax.sim.simulation import Simulation
from lamps_jax.sim.spec import Record, RunSpec
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload
from lamps_jax.sim.workloads import load_workload

SIMPLE = Hardware("simple", "toy", CostModel(1.0, 0.1, 0.0, 0.0, 0.5), 4, 64, 64, 8, 8, 64)
"""A step takes a second, and a tenth for each token; a block takes half a second to copy."""
SMALL = Hardware("small", "toy", CostModel(0.01, 1e-4, 1e-6, 0.0, 1e-3), 16, 2400, 3200, 128, 32, 2048)
MULTI = load_workload("multi-api", num_scripts=60)


def script_of(prompt: int, *segments: Segment, request_type: str = "test") -> Script:
    return Script(request_type, (Span(prompt),), segments)


def spec_of(workload: Workload, hardware: Hardware, policy: str, **options: Any) -> RunSpec:
    chosen = {"rate_rps": None, "arrivals": "trace", "drain": True, "window_s": 1000.0} | options
    return RunSpec(workload, hardware, hardware.scheduler_config(policy), **chosen)


def test_a_lone_request_takes_the_time_of_its_steps_to_the_last_digit():
    """Six tokens in one step (1.6 s), then two decodes (1.1 s each); the last step runs on for a token that nobody wants."""
    run = simulate(spec_of(Workload("w", (script_of(6, Segment(3)),), (0.0,)), SIMPLE, "preserve"))
    assert run["ttft_s"]["mean"] == pytest.approx(1.6)
    assert run["e2e_s"]["mean"] == pytest.approx(1.6 + 2 * 1.1)
    assert run["itl_s"]["mean"] == pytest.approx(1.1)
    assert (run["finished"], run["unfinished"], run["preemptions"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("policy", "resumes_s", "waste"),
    [
        ("preserve", 1.2, {"preserved": 9 * 50.0}),  # two returned tokens are left to compute
        ("vllm", 1.8 + 1.3, {}),  # nine tokens again and two returned ones: eight in a step, three in another
    ],
)
def test_a_call_costs_what_its_handling_says(policy: str, resumes_s: float, waste: dict[str, float]):
    call = Call("search", 50.0, 2)
    run = simulate(spec_of(Workload("w", (script_of(6, Segment(3, call), Segment(1)),), (0.0,)), SIMPLE, policy))
    called_s = 1.6 + 2 * 1.1
    # The step that is under way when the call is found computes its last token, and is over long before it returns.
    assert run["e2e_s"]["mean"] == pytest.approx(called_s + 50.0 + resumes_s)
    assert run["service_s"]["mean"] == pytest.approx(called_s + resumes_s)
    assert run["waste_token_s"]["preserved"] == pytest.approx(waste.get("preserved", 0.0), rel=0.03)


def test_a_request_in_a_call_at_the_end_counts_with_the_first_token_that_it_has_had():
    scripts = (script_of(6, Segment(3, Call("search", 50.0, 2)), Segment(1)), script_of(6, Segment(1)))
    run = simulate(spec_of(Workload("w", scripts, (0.0, 29.9)), SIMPLE, "preserve", window_s=30.0, drain=False))
    assert (run["finished"], run["unfinished"]) == (0, 2)
    assert run["all_arrivals"]["ttft_s"]["mean"] == pytest.approx((1.6 + 0.1) / 2)
    assert run["all_arrivals"]["e2e_s"]["mean"] == pytest.approx((30.0 + 0.1) / 2)


@pytest.mark.parametrize(("policy", "noise"), [("lamps", 0.0), ("lamps", 0.3), ("sjf", 0.3)])
def test_memory_is_held_by_what_runs_or_calls_and_not_by_what_waits(policy: str, noise: float):
    """Also where nearly everybody starves, and calls return before or after they are expected to."""
    options = {"rate_rps": 30.0, "arrivals": "poisson", "window_s": 40.0, "drain": False, "noise": noise}
    simulation = Simulation(spec_of(MULTI, SMALL, policy, **options))
    running = waiting = 0
    while simulation.clock.now_s < 40.0 and simulation.step(40.0):
        for request in simulation.scheduler.requests():
            running += len(request.block_ids) * (request.state is RequestState.RUNNING)
            waiting += len(request.block_ids) * (request.state is RequestState.WAITING)
    assert simulation.scheduler.num_promoted > 100
    assert waiting < 0.1 * running


def test_goodput_counts_what_meets_the_objectives():
    """Of two requests that share one slot, the second waits for the first."""
    one_slot = Hardware("one", "toy", SIMPLE.cost_model, 4, 64, 0, 8, 1, 64)
    workload = Workload("w", (script_of(6, Segment(3)),) * 2, (0.0, 0.0))
    run = simulate(spec_of(workload, one_slot, "preserve", objectives=Objectives(ttft_s=2.0)))
    assert (run["finished"], run["goodput_rps"]) == (2, pytest.approx(run["throughput_rps"] / 2))
    assert "goodput_rps" not in simulate(spec_of(workload, one_slot, "preserve"))


def test_requests_behind_one_that_fills_the_batch_wait_for_it():
    one_slot = Hardware("one", "toy", SIMPLE.cost_model, 4, 64, 0, 8, 1, 64)
    run = simulate(spec_of(Workload("w", (script_of(6, Segment(3)),) * 2, (0.0, 0.0)), one_slot, "preserve"))
    assert run["e2e_s"]["p50"] == pytest.approx(3.8)
    assert run["e2e_s"]["p99"] == pytest.approx(2 * 3.8)


@pytest.mark.parametrize("policy", SYSTEMS)
def test_every_system_serves_all_that_arrives_and_balances_its_books(policy: str):
    simulation = Simulation(spec_of(MULTI, SMALL, policy, rate_rps=4.0, arrivals="poisson", window_s=15.0))
    steps = 0
    while simulation.step():
        steps += 1
        if steps % 50 == 0:
            simulation.scheduler.check()
    simulation.scheduler.check()
    assert simulation.outcomes
    assert all(outcome.finished_s is not None for outcome in simulation.outcomes)
    tokens = {outcome.arrival.index: sum(s.num_generated_tokens for t in outcome.arrival.script.turns() for s in t.segments)
              for outcome in simulation.outcomes}  # fmt: skip
    assert {outcome.arrival.index: outcome.num_tokens for outcome in simulation.outcomes} == tokens
    assert simulation.scheduler.blocks.num_free_blocks == SMALL.num_blocks - 1


def deterministic(run: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name not in ("wall_s", "schedule_s")}


@pytest.mark.parametrize("policy", ["infercept", "lamps", "continuum"])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(policy: str):
    def run(seed: int) -> dict[str, Any]:
        record = Record(latencies=True, occupancy=True, timeline=9, running_mean=True)
        spec = spec_of(
            MULTI, SMALL, policy, rate_rps=3.0, arrivals="poisson", window_s=20.0, seed=seed, drain=False, record=record
        )
        return deterministic(simulate(spec))

    assert run(1) == run(1)
    assert run(1)["latencies"] != run(2)["latencies"]


def test_a_window_counts_what_finished_and_bounds_the_rest():
    run = simulate(spec_of(MULTI, SMALL, "infercept", rate_rps=8.0, arrivals="poisson", window_s=20.0, drain=False))
    assert 0 < run["finished"] < run["arrived"] == run["finished"] + run["unfinished"]
    assert run["simulated_s"] == 20.0
    assert run["e2e_s"]["p99"] <= 20.0
    assert run["all_arrivals"]["e2e_s"]["mean"] > run["e2e_s"]["mean"] or run["all_arrivals"]["e2e_s"]["p99"] <= 20.0
    assert sum(each["arrived"] for each in run["by_type"].values()) == run["arrived"]
    assert sum(each["finished"] for each in run["by_type"].values()) == run["finished"]


def test_a_request_that_can_never_fit_is_refused_and_counted():
    fits, does_not = script_of(6, Segment(3)), script_of(60, Segment(30))
    run = simulate(spec_of(Workload("w", (fits, does_not, fits), (0.0, 1.0, 2.0)), SIMPLE, "preserve"))
    assert (run["arrived"], run["finished"], run["refused"], run["unfinished"]) == (3, 2, 1, 0)


def session(kept: int | None = None) -> Workload:
    call = Call("tool", 5.0, 4, RunBy.CLIENT, kept)
    return Workload("w", (script_of(12, Segment(4, call), Segment(4)),), (0.0,))


def test_a_client_sends_its_next_turn_when_it_has_run_the_tool_and_finds_its_prefix():
    hardware = Hardware("h", "toy", SIMPLE.cost_model, 4, 64, 0, 32, 8, 64)
    runs = {}
    for cached in (False, True):
        spec = RunSpec(
            session(), hardware, hardware.scheduler_config("vllm", prefix_cache=cached), None, arrivals="trace", drain=True
        )
        runs[cached] = simulate(spec)
    # Without an index all 20 tokens are computed again (3.0 s), with it those behind the 3 full blocks (1.8 s).
    first_turn_s, later_s = 2.2 + 3 * 1.1, 3 * 1.1
    assert runs[False]["e2e_s"]["mean"] == pytest.approx(first_turn_s + 5.0 + 3.0 + later_s)
    assert runs[True]["e2e_s"]["mean"] == pytest.approx(first_turn_s + 5.0 + 1.8 + later_s)
    assert runs[True]["found_tokens"] == 12


def test_a_client_that_drops_its_history_finds_only_what_it_kept():
    hardware = Hardware("h", "toy", SIMPLE.cost_model, 4, 64, 0, 32, 8, 64)
    spec = RunSpec(session(6), hardware, hardware.scheduler_config("vllm", prefix_cache=True), None, arrivals="trace", drain=True)
    assert simulate(spec)["found_tokens"] == 4


@pytest.mark.parametrize("name", HARDWARE)
def test_every_machine_serves_a_request(name: str):
    hardware = HARDWARE[name]
    run = simulate(spec_of(Workload("w", (script_of(100, Segment(5)),), (0.0,)), hardware, "lamps"))
    assert run["finished"] == 1
    assert hardware.source


def test_noise_and_predictions_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="unknown prediction 'magic'"):
        spec_of(MULTI, SMALL, "lamps", prediction="magic")
    with pytest.raises(ValueError, match="only an oracle can be given noise"):
        spec_of(MULTI, SMALL, "lamps", prediction="history", noise=0.1)
