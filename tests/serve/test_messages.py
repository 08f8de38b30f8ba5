import json
from typing import Any

import pytest

from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.messages import conversation_turns
from lamps_jax.serve.protocol import RequestError, parse_body
from lamps_jax.tools.formats.call_format import AnsweredCall, CallFormat, Turn
from lamps_jax.tools.formats.detect import FORMATS
from lamps_jax.tools.formats.inline import INLINE

USER = {"role": "user", "content": "hi"}


def turns(*messages: dict[str, Any]) -> list[Turn]:
    return conversation_turns(parse_body(ChatBody, json.dumps({"messages": messages}).encode()).messages)


def shaped(*messages: dict[str, Any], call_format: CallFormat = INLINE) -> list[dict[str, Any]]:
    return call_format.template_messages(turns(*messages))


def called(*calls: tuple[str, str, str], content: str | None = None) -> dict[str, Any]:
    tool_calls = [{"id": id_, "type": "function", "function": {"name": name, "arguments": text}} for id_, name, text in calls]
    return {"role": "assistant", "content": content, "tool_calls": tool_calls}


def result(call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_parts_of_a_message_are_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert shaped({"role": "user", "content": parts}) == [{"role": "user", "content": "ab"}]


def test_developer_is_a_newer_word_for_system():
    assert shaped({"role": "developer", "content": "x"}, USER)[0]["role"] == "system"


def test_arguments_take_the_form_in_which_the_model_writes_them():
    messages = shaped(USER, called(("1", "plan", '{"city": "Oslo", "days": 3}'), content="So."), result("1", " two\nlines "))
    assert messages[1]["tool_calls"][0]["function"] == {"name": "plan", "arguments": "Oslo, 3"}
    assert messages[1]["content"] == "So." and messages[2]["content"] == "two lines"


def test_each_of_several_calls_stands_before_its_result():
    calls = called(("1", "a", '{"x": "p"}'), ("2", "b", '{"x": "q"}'), content="Both.")
    messages = shaped(USER, calls, result("2", "second"), result("1", "first"))
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant", "tool"]
    assert [message["content"] for message in messages] == ["hi", "Both.", "first", None, "second"]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([USER, called(("1", "a", "{}"))], "has the result"),
        ([USER, called(("1", "a", "{}")), USER], "has the result"),
        ([USER, called(("1", "a", "{}")), result("1", "x"), result("2", "y")], "does not make: 2"),
        ([USER, result("1", "x")], r"messages\[1\].*answers no call"),
        ([USER, called(("1", "a", "{}")), {"role": "tool", "content": "x"}], "tool_call_id"),
        ([USER, called(("1", "a", "{}")), result("1", "x"), result("1", "y")], r"messages\[3\].*has an answer already"),
        ([{"role": "assistant"}], "no content"),
        ([{"role": "user", "content": None}], "no content"),
    ],
)
def test_calls_and_results_that_do_not_match_are_refused(messages, says):
    with pytest.raises(RequestError, match=says) as refused:
        shaped(*messages)
    assert refused.value.param == "messages"


def test_results_are_matched_by_id_and_stand_in_the_order_of_the_calls():
    parts = {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "sec"}, {"type": "text", "text": "ond"}]}
    answered = (AnsweredCall("1", "a", '{"x": 1}', "first\n"), AnsweredCall("2", "b", "not json", "second"))
    assert turns(USER, called(("1", "a", '{"x": 1}'), ("2", "b", "not json")), parts, result("1", "first\n")) == [
        Turn("user", "hi"),
        Turn("assistant", None, answered),
    ]


def test_a_format_that_joins_calls_has_them_in_one_message_and_one_that_does_not_in_several():
    calls = called(("1", "a", '{"x": "p"}'), ("2", "b", ""), content="Both.")
    messages = [USER, calls, result("2", "second\nline"), result("1", "first")]
    joined = shaped(*messages, call_format=FORMATS["hermes"])
    assert [message["role"] for message in joined] == ["user", "assistant", "tool", "tool"]
    assert [call["function"]["arguments"] for call in joined[1]["tool_calls"]] == [{"x": "p"}, {}]
    assert [message["content"] for message in joined] == ["hi", "Both.", "first", "second\nline"]
    single = shaped(*messages, call_format=FORMATS["llama3"])
    assert [message["role"] for message in single] == ["user", "assistant", "tool", "assistant", "tool"]
    assert [message["content"] for message in single] == ["hi", "Both.", "first", "", "second\nline"]


def test_arguments_that_are_no_object_stay_text():
    (_, message, _) = shaped(USER, called(("1", "a", "[1")), result("1", "x"), call_format=FORMATS["hermes"])
    assert message["tool_calls"][0]["function"]["arguments"] == "[1"
