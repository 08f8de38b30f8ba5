import json
from typing import Any

import pytest

from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.protocol import RequestError, parse_body

USER = {"role": "user", "content": "hi"}
LOOK, SEE = ({"type": "function", "function": {"name": name}} for name in ("look", "see"))


def chat(**fields: Any) -> ChatBody:
    return parse_body(ChatBody, json.dumps({"messages": [USER], **fields}).encode())


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def test_the_newer_limit_of_tokens_goes_before_the_older():
    assert chat(max_tokens=5, max_completion_tokens=7).sampling().max_tokens == 7
    assert chat(max_tokens=5).sampling().max_tokens == 5


@pytest.mark.parametrize(
    ("fields", "num_logprobs"),
    [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 20}, 20)],
)
def test_log_probabilities_take_two_fields(fields, num_logprobs):
    assert chat(**fields).num_logprobs() == num_logprobs


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"messages": []}, "messages", "at least one"),
        ({"messages": "hi"}, "messages", "valid array"),
        ({"messages": [USER] * 4097}, "messages", "at most 4096"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages", "'system'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "'text'"),
        ({"top_logprobs": 1}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
        ({"logprobs": 1}, "logprobs", "valid boolean"),
        ({"tools": [LOOK] * 129}, "tools", "at most 128"),
        ({"tools": [{"type": "custom"}]}, "tools", "'function'"),
        ({"tool_choice": "maybe"}, "tool_choice", "'none', 'auto' or 'required'"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice", "'allowed_tools'"),
        ({"max_completion_tokens": 0}, "max_tokens", "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(fields, param, says):
    with pytest.raises(RequestError) as refused:
        chat(**fields).sampling()
    assert refused.value.param == param and says in refused.value.message


def test_tools_are_not_offered_when_none_may_be_chosen():
    body = chat(tools=[LOOK], tool_choice="none")
    assert body.client_tools() == {} and body.template_tools() == [] and not body.options().recognise_calls


def test_only_allowed_tools_may_be_called_though_the_model_is_told_of_all():
    body = chat(tools=[LOOK, SEE], tool_choice=allowed("auto", "see"))
    assert list(body.client_tools()) == ["see"] and body.recognise_calls
    assert [tool["function"]["name"] for tool in body.template_tools()] == ["look", "see"]


def test_a_reply_may_hold_several_calls_unless_that_is_refused_or_one_is_named():
    named = {"type": "function", "function": {"name": "look"}}
    assert chat().options().parallel_calls and chat(tool_choice="required").options().parallel_calls
    assert not chat(parallel_tool_calls=False).options().parallel_calls
    assert not chat(tools=[LOOK], tool_choice=named).options().parallel_calls


def test_the_calls_that_are_answered_are_those_behind_the_last_message_of_the_assistant():
    def call(call_id: str) -> dict[str, Any]:
        return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}

    def result(call_id: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": call_id, "content": "x"}

    older = [USER, {"role": "assistant", "tool_calls": [call("1")]}, result("1")]
    newer = [{"role": "assistant", "tool_calls": [call("2"), call("3")]}, result("3"), result("2")]
    assert chat(messages=older).options().answered_calls == ("1",)
    assert chat(messages=[*older, *newer]).options().answered_calls == ("3", "2")
    assert chat(messages=[*older, *newer, USER]).options().answered_calls == ("3", "2")
    assert chat(messages=[*older, {"role": "assistant", "content": "So."}, USER]).options().answered_calls == ()
