from prometheus_client import CollectorRegistry, generate_latest

from lamps_jax.engine.events import ApiCall, Event, RequestOutput
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.request import FinishReason, Handling
from lamps_jax.serve.metrics.calls import CallMetrics
from lamps_jax.serve.metrics.tool_names import ToolNames
from tests.serve.metrics.scrape import samples


class Scene:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = CallMetrics(self.registry)
        self.output = RequestOutput("a", 3, Timestamps(0.0), finish_reason=FinishReason.STOP)

    def hear(self, kind, call: ApiCall | None = None) -> None:
        self.calls.heard(Event(kind, self.output, call=call))

    def seen(self) -> dict[str, float]:
        return samples(generate_latest(self.registry).decode())


def test_lengths_are_counted_as_predicted_and_as_they_were():
    scene = Scene()
    for predicted, actual in ((75.0, 71), (10.0, 30)):
        scene.calls.segment_over(predicted, actual)
    seen = scene.seen()
    assert seen["lamps:predicted_output_tokens_sum"] == 85
    assert seen["lamps:actual_output_tokens_sum"] == 101
    assert seen["lamps:output_tokens_error_sum"] == 24
    assert [seen[f"lamps:output_tokens_error_bucket {limit}"] for limit in ("2.0", "4.0", "16.0", "32.0")] == [0, 1, 1, 2]


def test_durations_are_compared_if_something_had_been_expected():
    scene = Scene()
    scene.output.calls = [
        ApiCall("1", "tool", {}, "", expected_s=2.0, duration_s=2.5, returned_s=2.5),
        ApiCall("2", "tool", {}, "", duration_s=7.0, returned_s=7.0),
        ApiCall("3", "tool", {}, "", expected_s=2.0),
    ]
    scene.hear("finished")
    seen = scene.seen()
    assert seen["lamps:actual_api_call_seconds_count"] == 1
    assert seen["lamps:api_call_seconds_error_sum"] == 0.5


def test_a_handling_that_changed_while_the_tool_ran_is_a_demotion():
    scene = Scene()
    call = ApiCall("1", "tool", {}, "", handling=Handling.PRESERVE)
    scene.hear("call", call)
    call.handling, call.duration_s = Handling.DISCARD, 3.0
    scene.hear("result", call)
    seen = scene.seen()
    assert seen["lamps:handling_decisions_total preserve tool"] == seen["lamps:handling_demotions_total preserve discard"] == 1
    assert seen["lamps:api_call_seconds_sum tool"] == 3.0


def test_what_is_kept_for_a_call_of_the_client_is_a_decision_once():
    scene = Scene()
    scene.output.calls = [ApiCall("1", "mine", {}, "")]
    scene.hear("call", scene.output.calls[0])
    scene.output.calls[0].handling = Handling.PRESERVE
    scene.hear("finished")
    assert scene.seen()["lamps:handling_decisions_total preserve mine"] == 1


def test_a_request_that_is_given_up_in_a_call_counts_its_decision_once():
    scene = Scene()
    scene.output.calls = [ApiCall("1", "tool", {}, "", handling=Handling.SWAP)]
    scene.hear("call", scene.output.calls[0])
    scene.hear("finished")
    assert scene.seen()["lamps:handling_decisions_total swap tool"] == 1


def test_clients_cannot_make_up_ever_more_labels():
    names = ToolNames(most=2)
    names.own(["Calculator"])
    assert [names.label(name) for name in ("a", "b", "c", "a", "Calculator", "d")] == [
        "a",
        "b",
        "other",
        "a",
        "Calculator",
        "other",
    ]
