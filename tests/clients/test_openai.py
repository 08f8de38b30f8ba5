"""The client library of OpenAI against a server of the embedded model, in a process of its own."""

import json
import math
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel

from benchmarks.server_process import ServerProcess

pytestmark = pytest.mark.slow


def function(name: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


CALCULATOR = function("Calculator", expression={"type": "string"})
WEATHER = function("get_weather", city={"type": "string", "maxLength": 20}, unit={"enum": ["C", "F"]})
ASK: list[Any] = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 48*37?"}]


@pytest.fixture
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def num_kept(server: ServerProcess) -> int:
    """Requests kept for results of their clients."""
    return httpx.get(f"{server.url}/live/snapshot").json()["in_call"]


def test_a_call_that_the_client_runs_keeps_its_kv_for_the_result(client: openai.OpenAI, server: ServerProcess) -> None:
    reply = client.chat.completions.create(model="embedded", messages=ASK, tools=[CALCULATOR]).choices[0]
    assert reply.finish_reason == "tool_calls" and reply.message.tool_calls is not None
    (call,) = reply.message.tool_calls
    assert json.loads(call.function.arguments) == {"expression": "48*37"}
    assert num_kept(server) == 1
    messages = [*ASK, reply.message, {"role": "tool", "tool_call_id": call.id, "content": "1776"}]
    answer = client.chat.completions.create(model="embedded", messages=messages, tools=[CALCULATOR])
    assert answer.choices[0].message.content == "1776" and answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens_details.cached_tokens >= 16
    assert num_kept(server) == 0


def test_parsed_output_is_of_the_class_that_was_asked_for(client: openai.OpenAI) -> None:
    class Found(BaseModel):
        is_even: bool
        size: Literal["small", "large"]

    for seed in range(5):
        parsed = client.chat.completions.parse(model="embedded", messages=ASK, response_format=Found, temperature=1, seed=seed)
        assert isinstance(parsed.choices[0].message.parsed, Found)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_must_be_made_is_made_and_valid(client: openai.OpenAI, choice: Any) -> None:
    names = set()
    for seed in range(12):
        reply = client.chat.completions.create(
            model="embedded", messages=ASK, tools=[WEATHER, CALCULATOR], tool_choice=choice, temperature=1, seed=seed
        ).choices[0]
        (call,) = reply.message.tool_calls
        assert reply.finish_reason == "tool_calls"
        arguments = json.loads(call.function.arguments)
        names.add(call.function.name)
        if call.function.name == "get_weather":
            assert set(arguments) == {"city", "unit"} and len(arguments["city"]) <= 20 and arguments["unit"] in ("C", "F")
        else:
            assert set(arguments) == {"expression"} and arguments["expression"]
    assert names <= {"get_weather", "Calculator"} if choice == "required" else names == {"get_weather"}


def test_a_forced_call_can_be_asked_for_any_number_of_times(client: openai.OpenAI) -> None:
    for seed in range(40):  # hot, so that each writes a long text of its own
        reply = client.chat.completions.create(
            model="embedded", messages=ASK, tools=[CALCULATOR], tool_choice="required", temperature=8, seed=seed
        ).choices[0]
        assert reply.message.tool_calls


def test_several_answers_differ_and_a_seed_repeats_them(client: openai.OpenAI) -> None:
    def answers() -> list[str | None]:
        reply = client.chat.completions.create(
            model="embedded",
            messages=[{"role": "user", "content": "Tell me more."}],
            n=3,
            temperature=3,
            seed=11,
            max_tokens=16,
        )
        assert [choice.index for choice in reply.choices] == [0, 1, 2]
        return [choice.message.content for choice in reply.choices]

    first = answers()
    assert len(set(first)) == 3 and answers() == first


def test_log_probabilities_are_those_of_the_text(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="embedded", messages=ASK, tool_choice="none", tools=[CALCULATOR], logprobs=True, top_logprobs=20, max_tokens=8
    ).choices[0]
    content = reply.logprobs.content
    assert bytes(byte for token in content for byte in token.bytes).decode() == reply.message.content
    for token in content:
        assert token.logprob == max(other.logprob for other in token.top_logprobs)  # greedy
        assert 0.5 < sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.0 + 1e-5


def test_a_stream_ends_with_the_usage_of_the_whole(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="embedded", messages=ASK, tools=[CALCULATOR], stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    pieces = [call for chunk in chunks[:-1] for call in chunk.choices[0].delta.tool_calls or ()]
    assert json.loads("".join(piece.function.arguments for piece in pieces)) == {"expression": "48*37"}
