import json
from collections import Counter
from typing import Any

import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.options import RequestOptions
from lamps_jax.sched.request import RequestState, SamplingParams
from lamps_jax.serve.live_view import MAX_REQUESTS, snapshot
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine

NAMES = {RequestState.RUNNING: "running", RequestState.WAITING: "waiting", RequestState.IN_API_CALL: "in_call"}


def ask(engine: Engine, question: str, **sampling: Any) -> str:
    token_ids = engine.tokenizer.encode_text(f"Q: {question}\nA:")
    return engine.add(token_ids, SamplingParams(**sampling), on_event=lambda event: None)


def never_returns(engine_options: dict[str, Any]) -> Engine:
    """An engine whose tool `Slow` has to be told to return."""
    tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: "done")
    engine = make_engine(tools=[tool], **engine_options)
    engine._api_runner.poll = list  # pyright: ignore[reportAttributeAccessIssue]
    return engine


def counted_by_hand(engine: Engine) -> Counter[str]:
    """Each device block by the best state of its holders."""
    holders: dict[int, set[str]] = {}
    for request in engine.scheduler.requests():
        for block in request.block_ids:
            holders.setdefault(block, set()).add(NAMES[request.state])
    return Counter(next(name for name in NAMES.values() if name in states) for states in holders.values())


@pytest.mark.parametrize("policy", ["preserve", "vllm", "lamps", "srpt"])
def test_every_block_is_counted_once_under_what_its_holder_does(policy):
    engine = never_returns({"policy": policy, "max_num_seqs": 3, "max_model_len": 256, "num_blocks": 30})
    for question in ("Count", "Count", "Hang", "Hang", "Count", "Hello", "Hello"):
        ask(engine, question, max_tokens=120)
    seen = Counter[str]()
    for _ in range(150):
        engine.step()
        shown, memory = snapshot(engine), engine.memory_state()
        device, by_hand = shown["device"], counted_by_hand(engine)
        assert {name: device[name] for name in NAMES.values()} == {name: by_hand[name] for name in NAMES.values()}
        assert device["total"] == memory["device_blocks"] == sum(device.values()) - device["total"]
        assert device["cached"] + device["free"] == memory["free_device_blocks"] and device["other"] == 0
        assert [shown[name] for name in NAMES.values()] == [
            memory[name] for name in ("running_requests", "waiting_requests", "requests_in_api_call")
        ]
        seen.update(name for name in NAMES.values() if device[name])
    assert seen["running"]
    assert bool(seen["in_call"]) == (policy != "vllm")
    engine.fail_all("over")


@pytest.mark.parametrize(("policy", "handling", "holds"), [("preserve", "preserve", True), ("vllm", "discard", False)])
def test_a_paused_request_says_what_it_waits_for_and_what_became_of_its_blocks(policy, handling, holds):
    engine = never_returns({"policy": policy})
    request_id = ask(engine, "Hang")
    while not engine.scheduler.num_in_api_call:
        engine.step()
    (row,) = snapshot(engine)["requests"]
    assert (row["id"], row["state"], row["tool"], row["handling"]) == (request_id, "in_call", "Slow", handling)
    assert row["sampled_tokens"] == len(" [Slow(x) ->") and row["context_tokens"] == len("Q: Hang\nA: [Slow(x) ->")
    assert bool(row["device_blocks"]) == holds and row["host_blocks"] == 0
    assert 0 <= row["in_call_s"] <= row["age_s"] and row["is_clients_call"] is False
    engine.fail_all("over")


def test_the_queue_is_in_the_order_in_which_requests_are_served():
    engine, served = make_engine(policy="sjf", max_num_seqs=1), []
    for most in (40, 7, 23, 11, 30):
        token_ids = engine.tokenizer.encode_text("Q: Count\nA:")
        engine.add(token_ids, SamplingParams(max_tokens=most), on_event=lambda event: served.append(event.output.request_id))
    shown = snapshot(engine)
    assert (
        [row["score"] for row in shown["requests"]]
        == [row["predicted_tokens"] for row in shown["requests"]]
        == [7, 11, 23, 30, 40]
    )
    assert shown["rank_meaning"] == "tokens to come"
    while engine.num_unfinished:
        engine.step()
    assert list(dict.fromkeys(served)) == [row["id"] for row in shown["requests"]]


def test_a_request_that_has_starved_is_first_and_says_so():
    engine = make_engine(policy="sjf", max_num_seqs=1)
    ask(engine, "Count", max_tokens=200)
    engine.step()
    ask(engine, "Hello", max_tokens=150)
    for _ in range(engine.scheduler.config.starvation_threshold + 2):
        engine.step()
    ask(engine, "Hello", max_tokens=5)
    rows = snapshot(engine)["requests"]
    assert [(row["state"], row["stage"], row["predicted_tokens"]) for row in rows] == [
        ("running", None, 128), ("waiting", "starved", 128), ("waiting", None, 5)
    ]  # fmt: skip
    engine.fail_all("over")


def test_no_more_than_the_first_requests_are_shown():
    engine = make_engine(policy="sjf")
    for most in range(1, 251):
        ask(engine, "Hello", max_tokens=most)
    shown = snapshot(engine)
    assert len(shown["requests"]) == MAX_REQUESTS and shown["num_more"] == 50 and shown["waiting"] == 250
    assert max(row["score"] for row in shown["requests"]) <= 128
    engine.fail_all("over")


def test_nothing_that_a_request_reads_or_writes_is_shown():
    executor = ScriptedExecutor({"Xylophone?": " Zanzibar [Slow(Quetzal) ->] Zanzibar {0}."})
    tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: "Narwhal")
    engine = make_engine(executor, tools=[tool])
    ask(engine, "Xylophone?")
    shown = ""
    while engine.num_unfinished:
        engine.step()
        shown += json.dumps(snapshot(engine))
    assert "Slow" in shown
    assert not any(word in shown for word in ("Xylophone", "Zanzibar", "Quetzal", "Narwhal"))


def test_what_is_kept_for_a_call_that_the_client_runs_is_shown_as_such():
    engine = make_engine()
    tool = Tool("get_weather", "Looks.", one_string("city", "Where."), lambda city: "unused")
    options = RequestOptions(client_tools={"get_weather": tool})
    token_ids = engine.tokenizer.encode_text("Q: Weather in Oslo?\nA:")
    engine.add(token_ids, SamplingParams(), on_event=lambda event: None, options=options)
    while engine.num_unfinished:
        engine.step()
    shown = snapshot(engine)
    (row,) = shown["requests"]
    assert (row["state"], row["is_clients_call"], row["tool"], row["handling"]) == ("in_call", True, None, "preserve")
    assert row["device_blocks"] == shown["device"]["in_call"] > 0 and shown["in_call"] == 1
