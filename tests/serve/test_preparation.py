"""What the engine is asked, once a request has gone through all of the server."""

from typing import Any

import pytest

from lamps_jax.engine.options import RequestOptions
from lamps_jax.sched.request import SamplingParams
from lamps_jax.serve.app import create_app
from lamps_jax.serve.state import ServerState
from tests.serve.fed_engine import FedEngine, play
from tests.serve.test_app import WEATHER, send

JSON_OBJECT = {"type": "json_object"}


def asked(path: str, **fields: Any) -> tuple[list[tuple[list[int], SamplingParams]], RequestOptions]:
    engine: Any = FedEngine(lambda *_: play("So."))
    body = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", **fields}
    response = send(create_app(ServerState(engine), model_name="toy"), "POST", path, json=body)
    assert response.status_code == 200, response.text
    ((prompts, options),) = engine.asked
    return list(prompts), options


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_calls_are_recognised_but_in_what_is_nothing_but_json(path):
    assert asked(path)[1].recognise_calls
    prompts, options = asked(path, response_format=JSON_OBJECT)
    assert not options.recognise_calls and prompts[0][1].constraint is not None


def test_calls_are_recognised_where_the_reply_is_a_call_or_json():
    prompts, options = asked("/v1/chat/completions", response_format=JSON_OBJECT, tools=[WEATHER])
    assert options.recognise_calls and list(options.client_tools) == ["get_weather"]
    assert prompts[0][1].constraint is not None and prompts[0][1].constraint.kind == "lark"
    assert not asked("/v1/chat/completions", tools=[WEATHER], tool_choice="none")[1].recognise_calls


def test_every_choice_is_asked_for_with_the_same_constraint_and_the_next_seed():
    prompts, _ = asked("/v1/chat/completions", response_format=JSON_OBJECT, n=3, seed=1)
    assert [sampling.seed for _, sampling in prompts] == [1, 2, 3]
    assert len({sampling.constraint for _, sampling in prompts}) == 1


def test_the_calls_that_a_conversation_answers_are_told():
    call = {"id": "c7", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c7", "content": "sunny"},
    ]
    assert asked("/v1/chat/completions", messages=messages, tools=[WEATHER])[1].answered_calls == ("c7",)
