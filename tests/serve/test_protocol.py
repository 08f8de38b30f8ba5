import json
from typing import Any

import pytest

from lamps_jax.serve.messages import template_messages
from lamps_jax.serve.protocol import MAX_BODY_BYTES, ChatBody, CompletionBody, RequestError, parse_body

USER = {"role": "user", "content": "hi"}


def chat(**fields: Any) -> ChatBody:
    return parse_body(ChatBody, json.dumps({"messages": [USER], **fields}).encode())


def completion(**fields: Any) -> CompletionBody:
    return parse_body(CompletionBody, json.dumps({"prompt": "hi", **fields}).encode())


def shaped(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return template_messages(chat(messages=list(messages)).messages)


def function_tool(name: str = "look", **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def called(*calls: tuple[str, str, str], content: str | None = None) -> dict[str, Any]:
    tool_calls = [{"id": id_, "type": "function", "function": {"name": name, "arguments": text}} for id_, name, text in calls]
    return {"role": "assistant", "content": content, "tool_calls": tool_calls}


def result(call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_defaults_are_those_of_the_openai_api():
    sampling = completion().sampling()
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k) == (16, 1.0, 1.0, 0)
    assert chat().sampling().max_tokens is None


def test_null_means_the_default():
    names = ("temperature", "top_p", "seed", "stop", "stream", "stream_options", "max_tokens", "n", "logprobs", "tools")
    sampling = chat(**dict.fromkeys(names)).sampling()
    assert sampling.temperature == 1.0 and sampling.stop == ()


def test_without_a_seed_each_request_draws_its_own():
    body = completion()
    assert len({body.sampling().seed for _ in range(8)}) > 1


@pytest.mark.parametrize(("seed", "taken"), [(7, 7), (-1, 2**32 - 1), (2**63, 0)])
def test_any_integer_is_a_seed(seed, taken):
    assert completion(seed=seed).sampling().seed == taken


def test_the_newer_limit_of_tokens_goes_before_the_older():
    assert chat(max_tokens=5, max_completion_tokens=7).sampling().max_tokens == 7
    assert chat(max_tokens=5).sampling().max_tokens == 5


def test_one_stop_text_is_as_good_as_a_list():
    assert completion(stop="x").sampling().stop == completion(stop=["x"]).sampling().stop == ("x",)


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]), ([0], [[0]])],
)
def test_a_prompt_takes_every_form_of_the_openai_api(prompt, prompts):
    assert completion(prompt=prompt).prompts() == prompts


@pytest.mark.parametrize(
    ("name", "neutral", "changing"),
    [
        ("n", 1, 2),
        ("best_of", 1, 3),
        ("echo", False, True),
        ("logprobs", None, 0),
        ("logprobs", False, 5),
        ("presence_penalty", 0, 0.5),
        ("frequency_penalty", 0.0, -1),
        ("logit_bias", {}, {"5": 1}),
        ("suffix", "", "end"),
        ("response_format", {"type": "text"}, {"type": "json_object"}),
    ],
)
def test_what_is_not_supported_is_refused_unless_it_changes_nothing(name, neutral, changing):
    completion(**{name: neutral})
    with pytest.raises(RequestError, match=f"{name} is not supported") as refused:
        completion(**{name: changing})
    assert refused.value.param == name and refused.value.status == 400


def test_unknown_fields_are_ignored():
    assert completion(user="me", store=True, metadata={"a": 1}, service_tier="auto").sampling()


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 1.5}, {"max_tokens": True}, {"temperature": "1"}, {"stream": "yes"}, {"seed": "a"}]
)
def test_a_value_of_the_wrong_type_is_not_converted(wrong):
    with pytest.raises(RequestError) as refused:
        completion(**wrong)
    assert refused.value.param == next(iter(wrong))


def test_a_body_that_no_context_could_hold_is_refused_unread():
    with pytest.raises(RequestError, match="send less") as refused:
        parse_body(CompletionBody, b" " * (MAX_BODY_BYTES + 1))
    assert refused.value.status == 413


def test_a_number_that_is_none_is_out_of_range():
    body = parse_body(CompletionBody, b'{"prompt": "hi", "temperature": NaN}')
    with pytest.raises(RequestError, match="between 0 and 10"):
        body.sampling()


def test_min_tokens_above_the_limit_is_refused():
    with pytest.raises(RequestError) as refused:
        completion(min_tokens=17).sampling()
    assert refused.value.param == "min_tokens"


def test_a_tool_without_parameters_takes_none():
    (tool,) = chat(tools=[{"type": "function", "function": {"name": "look"}}]).client_tools().values()
    assert tool.parameter_names == ()


def test_tools_are_not_offered_when_none_may_be_chosen():
    body = chat(tools=[function_tool()], tool_choice="none")
    assert body.client_tools() == {} and not body.recognise_calls


@pytest.mark.parametrize("parameters", [{"properties": []}, {"properties": {"a": 1}}, {"required": "a"}, {"required": None}])
def test_a_schema_that_arguments_cannot_be_read_by_is_refused(parameters):
    with pytest.raises(RequestError) as refused:
        chat(tools=[function_tool(**parameters)]).client_tools()
    assert refused.value.param == "tools"


def test_a_schema_may_allow_anything_for_a_parameter():
    (tool,) = chat(tools=[function_tool(properties={"a": True})]).client_tools().values()
    assert tool.parameter_names == ("a",)


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
        ([{"role": "assistant"}], "no content"),
    ],
)
def test_calls_and_results_that_do_not_match_are_refused(messages, says):
    with pytest.raises(RequestError, match=says) as refused:
        shaped(*messages)
    assert refused.value.param == "messages"
