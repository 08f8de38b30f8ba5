from prometheus_client import CollectorRegistry, generate_latest

from lamps_jax.config import SchedulerConfig
from lamps_jax.engine.events import ApiCall, Event, RequestOutput
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import Handling, Request, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.serve.metrics.steps import StepMetrics
from tests.serve.metrics.scrape import samples


class Scene:
    """Steps of an engine, at times that the test says."""

    def __init__(self) -> None:
        self.now, self.registry = 0.0, CollectorRegistry()
        self.steps = StepMetrics(self.registry, clock=lambda: self.now)
        config = SchedulerConfig(token_budget=64, max_chunk_tokens=32, max_num_seqs=4, max_model_len=128)
        self.scheduler = Scheduler(config, BlockManager(65, 16))
        self.steps.attach(self.scheduler)

    def step(self, after_s: float, *request_ids: str, first: str | None = None, copies: int = 0, idle: bool = False) -> None:
        """A step in which requests decode, and one, if named, computes the last of its prompt."""
        self.now += after_s
        sampling = SamplingParams()
        chunks = () if first is None else (PrefillChunk(first, 0, [1, 2, 3], 0, [1], sampling, sample=True, ban_eos=False),)
        decodes = tuple(Decode(each, 0, None, 3, [1], ban_eos=False) for each in request_ids)
        swaps = tuple(BlockCopy(number, number) for number in range(copies))
        self.steps.stepped(StepPlan(0, chunks, decodes, swap_outs=swaps), 0.0 if idle else after_s)

    def hear(self, kind, request_id: str, call: ApiCall | None = None) -> None:
        self.steps.heard(Event(kind, RequestOutput(request_id, 3, Timestamps(0.0)), call=call))

    def seen(self) -> dict[str, float]:
        return samples(generate_latest(self.registry).decode())


def test_the_gaps_are_those_between_the_steps_that_a_request_samples_in():
    scene = Scene()
    scene.step(5.0, first="a", idle=True)
    scene.step(0.25, "a", first="b")
    scene.step(0.25, "a", "b")  # the step before is over, a: 0.25
    scene.step(0.25, "b")  # both: 0.25; a is preempted
    scene.step(0.25, "b", first="a")  # b: 0.25
    scene.step(0.25)  # b: 0.25, a: 0.5
    seen = scene.seen()
    assert seen["lamps:inter_token_latency_seconds_count"] == 6
    assert seen["lamps:inter_token_latency_seconds_sum"] == 1.75


def test_a_call_is_no_gap_and_neither_is_what_lies_between_two_requests_of_one_name():
    scene = Scene()
    scene.step(1.0, first="a", idle=True)
    scene.step(0.5, "a")
    scene.hear("call", "a")  # with the token before; the one that is under way is in vain
    scene.step(7.0, first="a", idle=True)
    scene.step(0.5, "a")
    scene.step(0.5, "a")  # 0.5
    scene.hear("finished", "a")
    scene.step(9.0, first="a")
    scene.step(9.0, "b")
    seen = scene.seen()
    assert (seen["lamps:inter_token_latency_seconds_count"], seen["lamps:inter_token_latency_seconds_sum"]) == (1, 0.5)


def test_the_time_that_the_device_had_nothing_to_do_is_no_step():
    scene = Scene()
    scene.step(5.0, first="a", idle=True)
    scene.step(0.02, "a")
    scene.step(60.0, "a", idle=True)
    seen = scene.seen()
    assert (seen["lamps:step_seconds_count"], seen["lamps:step_seconds_sum"]) == (1, 0.02)
    assert (seen["lamps:iteration_tokens_count"], seen["lamps:iteration_tokens_sum"]) == (3, 5)


def test_memory_that_a_call_holds_is_wasted_as_long_as_it_lasts():
    scene = Scene()
    request = Request("a", 0.0, [1] * 20, SamplingParams())
    scene.scheduler.add(request)
    scene.scheduler.schedule(0.0)
    assert len(request.block_ids) == 2
    for handling in (Handling.PRESERVE, Handling.SWAP):
        scene.hear("result", "a", ApiCall("1", "tool", {}, "", handling=handling, duration_s=3.0))
    assert scene.seen()["lamps:waste_token_seconds_total preserved"] == 2 * 16 * 3.0


def test_blocks_on_their_way_are_wasted_as_long_as_their_step_lasts():
    scene = Scene()
    scene.step(1.0, first="a", idle=True, copies=3)
    scene.step(0.5, "a")
    scene.step(0.5, "a")
    assert scene.seen()["lamps:waste_token_seconds_total swapped"] == 3 * 16 * 0.5


def test_the_throughput_is_that_of_the_last_seconds():
    scene = Scene()
    for _ in range(40):
        scene.step(0.5, "a", "b")
    assert scene.steps.throughput() == 4.0
    scene.now += 5.0
    assert 1.0 <= scene.steps.throughput() <= 3.0
    scene.now += 60.0
    assert scene.steps.throughput() == 0.0
