"""The server as programs meet it: a real port, and the client library of OpenAI."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn
from pydantic import BaseModel

from lamps_jax.engine.engine import Engine
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from tests.fakes import ANSWERS, ScriptedExecutor, make_engine, wait_until
from tests.serve.test_app import WEATHER

ASK = [{"role": "user", "content": "What is 48*37?"}]
FORECAST = [{"role": "user", "content": "The forecast as JSON, please"}]
BLIND = [{"role": "user", "content": "Look"}]

WANTED = {
    "The forecast as JSON, please": '{"city": "Oslo", "days": [{"sunny": true}, {"sunny": false}]}',
    "Look": " [get_weather(Rome, 2) ->]",
}


class Day(BaseModel):
    sunny: bool


class Forecast(BaseModel):
    city: str
    days: list[Day]


@contextmanager
def served(engine: AsyncEngine) -> Iterator[str]:
    """The address of a server of `engine` on a free port."""
    config = uvicorn.Config(create_app(ServerState(engine), model_name="toy"), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[openai.OpenAI, Engine]]:
    """One server for all tests that leave it as it was."""
    engine = make_engine(ScriptedExecutor({**ANSWERS, **WANTED}, step_s=0.0005))
    with served(AsyncEngine(engine)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client, engine
        wait_until(lambda: engine.num_unfinished == 0)
    engine.scheduler.check()
    engine.scheduler.release_kept()
    assert engine.scheduler.blocks.num_free_blocks == engine.scheduler.blocks.num_blocks - 1


@pytest.fixture
def client(shared) -> openai.OpenAI:
    return shared[0]


def test_chat(client):
    reply = client.chat.completions.create(model="toy", messages=ASK)
    assert reply.choices[0].message.content == "It is 1776." and reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens_details.cached_tokens == 0
    assert reply.model_extra["lamps"]["calls"][0]["result"] == "1776"


def test_streamed_chat(client):
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="toy", messages=ASK, stream=True, stream_options=options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "It is 1776."
    assert chunks[-1].usage.completion_tokens > 0
    calls = [chunk.model_extra["lamps"]["call"] for chunk in chunks if "call" in chunk.model_extra.get("lamps", {})]
    assert [call["result"] for call in calls] == [None, "1776"]


def test_completions_whole_and_streamed(client):
    prompt = "Q: Hello\nA:"
    whole = client.completions.create(model="toy", prompt=prompt, max_tokens=60)
    streamed = client.completions.create(model="toy", prompt=prompt, max_tokens=60, stream=True)
    assert whole.choices[0].text == "".join(chunk.choices[0].text for chunk in streamed) == "Hello to you, with an é and a 🙂."


def test_the_clients_tools_whole_and_back(client):
    messages = [{"role": "user", "content": "Weather in Oslo?"}]
    message = client.chat.completions.create(model="toy", messages=messages, tools=[WEATHER]).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Oslo", "days": 3}
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = client.chat.completions.create(model="toy", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "It will be sunny." and answer.choices[0].finish_reason == "stop"


def test_the_streaming_helper_puts_a_tool_call_together(client):
    messages = [{"role": "user", "content": "Weather in Oslo?"}]
    with client.chat.completions.stream(model="toy", messages=messages, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Let me look." and message.tool_calls[0].function.name == "get_weather"


def test_several_choices_whole_and_streamed(client):
    reply = client.chat.completions.create(model="toy", messages=ASK, n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert {choice.message.content for choice in reply.choices} == {"It is 1776."}
    assert reply.usage.prompt_tokens == len("Q: What is 48*37?\nA:")
    texts = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(model="toy", messages=ASK, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert set(texts.values()) == {"It is 1776."}
    assert [choice.text for choice in client.completions.create(model="toy", prompt="x", n=2, echo=True, max_tokens=5).choices]


def test_log_probabilities_whole_and_streamed(client):
    fields = {"model": "toy", "messages": [{"role": "user", "content": "Hello"}], "logprobs": True, "top_logprobs": 2}
    content = client.chat.completions.create(**fields).choices[0].logprobs.content
    assert bytes(byte for entry in content for byte in entry.bytes).decode() == " Hello to you, with an é and a 🙂."
    assert all(entry.logprob == 0.0 and entry.top_logprobs[0].token == entry.token for entry in content)
    with client.chat.completions.stream(**fields) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].logprobs.content == content
    logprobs = client.completions.create(model="toy", prompt="Q: Hello\nA:", max_tokens=6, logprobs=1).choices[0].logprobs
    assert "".join(logprobs.tokens) == " Hello" and logprobs.text_offset == list(range(6))


def test_a_reply_becomes_an_object_whole_and_streamed(client):
    expected = Forecast(city="Oslo", days=[Day(sunny=True), Day(sunny=False)])
    fields = {"model": "toy", "messages": FORECAST, "response_format": Forecast}
    assert client.chat.completions.parse(**fields).choices[0].message.parsed == expected
    with client.chat.completions.stream(**fields) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_completion().choices[0].message.parsed == expected
    assert {"content.delta", "content.done"} <= kinds


def test_a_reply_that_would_be_text_becomes_json_all_the_same(client):
    fields = {"model": "toy", "messages": [{"role": "user", "content": "Hello"}], "tool_choice": "none", "max_tokens": 200}
    reply = client.chat.completions.create(**fields, response_format={"type": "json_object"})
    assert reply.choices[0].message.content.startswith("{")


def test_a_schema_that_cannot_be_kept_to_is_told_by_what_it_asks(client):
    schema = {"name": "odd", "schema": {"type": "object", "not": {"required": ["a"]}}}
    with pytest.raises(openai.BadRequestError, match="not") as refused:
        client.chat.completions.create(model="toy", messages=ASK, response_format={"type": "json_schema", "json_schema": schema})
    assert refused.value.param == "response_format"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_may_be_wanted(client, choice):
    message = client.chat.completions.create(model="toy", messages=BLIND, tools=[WEATHER], tool_choice=choice).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Rome", "days": 2} and message.content is None


def test_a_call_of_the_servers_may_be_wanted(client):
    choice = {"type": "function", "function": {"name": "Calculator"}}
    reply = client.chat.completions.create(model="toy", messages=ASK, tool_choice=choice)
    assert reply.choices[0].message.content == "It is 1776."
    assert [call["name"] for call in reply.model_extra["lamps"]["calls"]] == ["Calculator"]


def test_tools_made_of_models_are_parsed_too(client):
    class GetWeather(BaseModel):
        city: str
        days: int

    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    reply = client.chat.completions.parse(model="toy", messages=BLIND, tools=[tool])
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.parsed_arguments == GetWeather(city="Rome", days=2)


def test_the_asynchronous_client_streams_and_waits(shared):
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=str(shared[0].base_url), api_key="none", max_retries=0) as client:
            whole, stream = await asyncio.gather(
                client.chat.completions.create(model="toy", messages=ASK),
                client.chat.completions.create(model="toy", messages=ASK, stream=True),
            )
            return whole.choices[0].message.content, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(ask()) == ("It is 1776.", "It is 1776.")


def test_fields_beyond_the_api_are_sent_as_extra_body_and_headers(client):
    extra = {"session_id": "s", "priority": 3, "kv_keep_s": {"max": 5}, "nvext": {"agent_hints": {"osl": 10}}, "top_k": 1}
    reply = client.chat.completions.create(model="toy", messages=ASK, extra_body=extra, extra_headers={"X-Session-Id": "s"})
    assert reply.choices[0].message.content == "It is 1776."


def test_the_model_is_listed(client):
    (model,) = client.models.list()
    assert model.id == "toy" and model.model_extra["max_model_len"] == 512


def test_errors_become_the_clients_exceptions(client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=ASK)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(model="toy", messages=[{"role": "user", "content": "x" * 600}])
    assert too_long.value.code == "context_length_exceeded" and too_long.value.param == "messages"
    with pytest.raises(openai.BadRequestError) as unsupported:
        client.completions.create(model="toy", prompt="x", suffix="y")
    assert unsupported.value.param == "suffix"


def test_closing_a_stream_midway_frees_its_blocks(shared):
    client, engine = shared
    free_before = engine.scheduler.blocks.num_free_blocks  # something is kept for the tests whose client has not come back
    count = [{"role": "user", "content": "Count"}]
    with client.chat.completions.create(model="toy", messages=count, stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        assert engine.num_unfinished == 1
    wait_until(lambda: engine.num_unfinished == 0, timeout_s=1.0)
    assert engine.scheduler.blocks.num_free_blocks == free_before


def test_a_client_that_gives_up_waiting_frees_its_blocks(start):
    engine = make_engine(ScriptedExecutor(step_s=0.02))
    with served(start(engine)) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client, pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).chat.completions.create(model="toy", messages=[{"role": "user", "content": "Count"}])
        wait_until(lambda: engine.num_unfinished == 0, timeout_s=1.0)


def test_a_failed_engine_is_a_server_error_whole_and_streamed(start, caplog):
    for stream in (False, True):
        executor = ScriptedExecutor()
        with served(start(make_engine(executor))) as url:
            executor.failure = RuntimeError("device lost")
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                with pytest.raises(openai.APIError, match="device lost"):
                    list(client.chat.completions.create(model="toy", messages=ASK, stream=stream))
                with pytest.raises(openai.InternalServerError) as later:
                    client.chat.completions.create(model="toy", messages=ASK)
            assert later.value.status_code == 503


def test_many_streams_at_once_get_their_own_answers(shared):
    client, _ = shared
    questions = ["What is 48*37?", "Hello", "Twice, please"] * 8
    answers: dict[int, str] = {}

    def ask(index: int) -> None:
        stream = client.chat.completions.create(
            model="toy", messages=[{"role": "user", "content": questions[index]}], stream=True
        )
        answers[index] = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = ["It is 1776.", "Hello to you, with an é and a 🙂.", "First then makes 5 and 9."] * 8
    assert [answers[index] for index in range(len(questions))] == expected


def test_health_answers_while_requests_run(start):
    engine = make_engine(ScriptedExecutor(step_s=0.02))
    with served(start(engine)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(model="toy", messages=[{"role": "user", "content": "Count"}], stream=True)
        began = time.monotonic()
        assert httpx.get(f"{url}/health").status_code == 200
        assert time.monotonic() - began < 1.0
        stream.close()
