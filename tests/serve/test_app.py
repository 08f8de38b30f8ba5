import asyncio
import json
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from llguidance import LLParserLimits

import lamps_jax
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.grammar import Grammars
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, wait_until

Call = Callable[..., httpx.Response]


def app_on(state: ServerState) -> FastAPI:
    return create_app(state, model_name="toy")


def send(app: FastAPI, method: str, path: str, **kwargs: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(run())


@pytest.fixture
def app(start) -> FastAPI:
    return app_on(ServerState(start(make_engine())))


def chat(question: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "model": "toy", **fields}


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The JSON of each event; the framing is checked to the letter."""
    assert response.headers["content-type"].startswith("text/event-stream")
    events = response.text.split("\n\n")
    assert events.pop() == "" and events.pop() == "data: [DONE]"
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


def test_a_chat_reply_holds_the_message_the_usage_and_the_calls_that_the_server_ran(app):
    reply = send(app, "POST", "/v1/chat/completions", json=chat("What is 48*37?")).json()
    assert reply["object"] == "chat.completion" and reply["model"] == "toy" and reply["id"].startswith("chatcmpl-")
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == "It is 1776." and choice["finish_reason"] == "stop"
    assert "tool_calls" not in choice["message"]
    usage = reply["usage"]
    assert usage["prompt_tokens"] == len("Q: What is 48*37?\nA:") and usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    (call,) = reply["lamps"]["calls"]
    assert (call["name"], call["arguments"], call["result"]) == ("Calculator", {"expression": "48*37"}, "1776")
    assert call["handling"] == "preserve" and call["duration_s"] >= 0 and call["failed"] is False
    assert reply["lamps"]["timings"]["e2e_s"] >= reply["lamps"]["timings"]["ttft_s"] > 0


def test_a_chat_stream_begins_with_the_role_and_reports_each_call_twice(app):
    chunks = chunks_of(send(app, "POST", "/v1/chat/completions", json=chat("What is 48*37?", stream=True)))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"} and len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    begun, ended = [chunk["lamps"]["call"] for chunk in chunks if "call" in chunk.get("lamps", {})]
    assert begun["result"] is None and ended["result"] == "1776" and begun["id"] == ended["id"]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "It is 1776."
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert "e2e_s" in chunks[-1]["lamps"]["timings"] and "usage" not in chunks[-1]


def test_a_prompt_that_was_computed_before_is_told_in_the_usage_but_not_to_another_tenant(app):
    def cached(**fields: Any) -> int:
        reply = send(app, "POST", "/v1/chat/completions", json=chat("What is 48*37?", **fields)).json()
        return reply["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert [cached(), cached(), cached(cache_salt="a"), cached(cache_salt="a"), cached(cache_salt="b")] == [0, 16, 0, 16, 0]


def test_equal_prompts_of_one_request_are_computed_once(app):
    reply = send(app, "POST", "/v1/completions", json={"prompt": ["Q: What is 48*37?\nA:"] * 3, "model": "toy"}).json()
    assert len({choice["text"] for choice in reply["choices"]}) == 1
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 2 * 16


def test_health_tells_of_the_memory(app):
    send(app, "POST", "/v1/chat/completions", json=chat("What is 48*37?"))
    kv = send(app, "GET", "/health").json()["kv"]
    assert kv["device_blocks"] == kv["free_device_blocks"] > 0
    assert (kv["host_blocks"], kv["lost_blocks"], kv["preemptions"]) == (0, 0, 0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_ends_with_its_usage_when_asked(app, path):
    body = {
        **chat("Hello"),
        "prompt": "Q: Hello\nA:",
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chunks = chunks_of(send(app, "POST", path, json=body))
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["prompt_tokens"] == len("Q: Hello\nA:")
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_completions_answer_every_prompt_in_its_place(app):
    body = {"model": "toy", "prompt": ["Q: Hello\nA:", "Q: What is 48*37?\nA:"], "max_tokens": 60}
    reply = send(app, "POST", "/v1/completions", json=body).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1]
    assert [choice["text"] for choice in reply["choices"]] == ["Hello to you, with an é and a 🙂.", "It is 1776."]
    assert [len(choice["lamps"]["calls"]) for choice in reply["choices"]] == [0, 1]


def test_completion_streams_of_several_prompts_are_told_apart_by_index(app):
    body = {"prompt": ["Q: Hello\nA:", "Q: What is 48*37?\nA:"], "max_tokens": 60, "stream": True}
    texts = {0: "", 1: ""}
    for chunk in chunks_of(send(app, "POST", "/v1/completions", json=body)):
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == {0: "Hello to you, with an é and a 🙂.", 1: "It is 1776."}


def test_token_ids_are_a_prompt_too(app, start):
    tokenizer = start(make_engine()).tokenizer
    token_ids = tokenizer.encode_text("Q: Hello\nA:")
    for prompt in (token_ids, [token_ids]):
        reply = send(app, "POST", "/v1/completions", json={"prompt": prompt, "max_tokens": 6}).json()
        assert reply["choices"][0]["text"] == "Hello" and reply["choices"][0]["finish_reason"] == "length"


def test_a_completion_has_sixteen_tokens_by_default_and_exactly_as_many_as_asked_with_ignore_eos(app):
    reply = send(app, "POST", "/v1/completions", json={"prompt": "Q: Count\nA:"}).json()
    assert reply["usage"]["completion_tokens"] == 16
    body = {"prompt": "Q: ?\nA:", "max_tokens": 40, "ignore_eos": True, "min_tokens": 40}
    reply = send(app, "POST", "/v1/completions", json=body).json()
    assert reply["usage"]["completion_tokens"] == 40 and reply["choices"][0]["finish_reason"] == "length"


def test_a_stop_text_ends_the_reply_and_is_not_part_of_it(app):
    reply = send(app, "POST", "/v1/chat/completions", json=chat("Hello", stop=[" with"])).json()
    assert reply["choices"][0]["message"]["content"] == "Hello to you,"
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_a_call_of_the_clients_tool_ends_the_reply(app):
    reply = send(app, "POST", "/v1/chat/completions", json=chat("Weather in Oslo?", tools=[WEATHER])).json()
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] == "Let me look."
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function" and call["id"] and call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo", "days": 3}
    assert reply["lamps"]["calls"] == []


def test_streamed_tool_calls_come_as_name_then_arguments(app):
    chunks = chunks_of(send(app, "POST", "/v1/chat/completions", json=chat("Weather in Oslo?", tools=[WEATHER], stream=True)))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    named, argued = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert named["index"] == argued["index"] == 0 and named["id"] and named["type"] == "function"
    assert named["function"] == {"name": "get_weather", "arguments": ""}
    assert json.loads(argued["function"]["arguments"]) == {"city": "Oslo", "days": 3}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_result_of_a_clients_tool_leads_to_the_answer(app):
    first = send(app, "POST", "/v1/chat/completions", json=chat("Weather in Oslo?", tools=[WEATHER])).json()
    message = first["choices"][0]["message"]
    body = chat("Weather in Oslo?", tools=[WEATHER])
    body["messages"] += [message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny\n and cold"}]
    reply = send(app, "POST", "/v1/chat/completions", json=body).json()
    assert reply["choices"][0]["message"]["content"] == "It will be sunny and cold."


def test_without_tools_to_choose_a_call_is_text(app):
    reply = send(app, "POST", "/v1/chat/completions", json=chat("What is 48*37?", tool_choice="none", max_tokens=22)).json()
    assert reply["choices"][0]["message"]["content"] == " [Calculator(48*37) ->"


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"messages": "hi"}, "messages", "valid array"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages", "'system'"),
        ({"messages": [{"role": "user"}]}, "messages", "no content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "'text'"),
        ({"messages": [{"role": "tool", "content": "2", "tool_call_id": "1"}]}, "messages", "answers no call"),
        ({"messages": [{"role": "system", "content": "hi"}]}, "messages", "no tokens"),
        (chat("hi", max_tokens="5"), "max_tokens", "valid integer"),
        (chat("hi", max_tokens=0), "max_tokens", "at least 1"),
        (chat("hi", temperature=-1), "temperature", "between 0 and 10"),
        (chat("hi", top_p=0), "top_p", "above 0"),
        (chat("hi", stop=["x"] * 17), "stop", "at most 16"),
        (chat("hi", stop=5), "stop", "valid string or Input should be a valid array"),
        (chat("hi", n=129), "n", "less than or equal to 128"),
        (chat("hi", suffix="x"), "suffix", "suffix is not supported"),
        (chat("hi", logit_bias={"257": 1}), "logit_bias", "between 0 and 256"),
        (chat("hi", tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "x"}}), "tool_choice", "names 'x'"),
        (chat("hi", tools=[WEATHER, WEATHER]), "tools", "two functions called 'get_weather'"),
        (chat("hi", tools=[{"type": "function", "function": {"name": "get weather"}}]), "tools", "must be a letter"),
        (chat("x" * 600), "messages", "context is 512 tokens"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_what_is_wrong_with_it(app, body, param, says):
    error = error_of(send(app, "POST", "/v1/chat/completions", json=body), 400)
    assert error["param"] == param and says in error["message"] and error["type"] == "invalid_request_error"


def test_an_overflow_of_the_context_has_its_code(app):
    error = error_of(send(app, "POST", "/v1/completions", json={"prompt": "x" * 512}), 400)
    assert error["code"] == "context_length_exceeded" and error["param"] == "prompt"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"prompt": "\\ud800"}', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(app, body):
    error_of(send(app, "POST", "/v1/completions", content=body), 400)


@pytest.mark.parametrize("prompt", [[], [[]], "", [10_000], [-1], [True], ["a", 1], None])
def test_a_prompt_that_is_none_is_refused(app, prompt):
    assert error_of(send(app, "POST", "/v1/completions", json={"prompt": prompt}), 400)["param"] == "prompt"


def test_unknown_models_routes_and_methods_have_openai_errors(app):
    error = error_of(send(app, "POST", "/v1/chat/completions", json=chat("hi", model="gpt-9")), 404)
    assert error["code"] == "model_not_found" and "'toy'" in error["message"]
    error_of(send(app, "GET", "/v1/nothing"), 404)
    response = send(app, "GET", "/v1/completions")
    error_of(response, 405)
    assert response.headers["allow"] == "POST"


def test_the_model_is_known_by_its_name_and_as_embedded(app):
    for name in ("toy", "embedded"):
        assert send(app, "POST", "/v1/chat/completions", json=chat("Hello", model=name)).status_code == 200
    (card,) = send(app, "GET", "/v1/models").json()["data"]
    assert card["id"] == "toy" and card["object"] == "model" and card["max_model_len"] == 512
    assert send(app, "GET", "/v1/models/toy").json() == card


def test_health_waits_for_the_engine_and_ends_with_it(start):
    state = ServerState(progress="compiling, 2 of 7")
    app = app_on(state)
    assert "compiling, 2 of 7" in error_of(send(app, "GET", "/health"), 503)["message"]
    error_of(send(app, "POST", "/v1/chat/completions", json=chat("Hello")), 503)
    state.async_engine = start(make_engine())
    assert send(app, "GET", "/health").status_code == 200
    state.async_engine.stop()
    assert "stopped" in error_of(send(app, "GET", "/health"), 503)["message"]
    error_of(send(app, "POST", "/v1/chat/completions", json=chat("Hello")), 503)


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_fails_midway_is_reported(start, caplog, stream):
    executor = ScriptedExecutor()
    app = app_on(ServerState(start(make_engine(executor))))
    executor.failure = RuntimeError("device lost")
    response = send(app, "POST", "/v1/chat/completions", json=chat("Hello", stream=stream))
    error = error_of(response, 500)  # a stream begins with its first chunk, and there was none
    assert "device lost" in error["message"] and error["type"] == "server_error"
    error_of(send(app, "GET", "/health"), 503)


def test_a_request_id_is_sent_back_or_made_up(app):
    assert send(app, "GET", "/version", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made_up = send(app, "GET", "/nowhere", headers={"X-Request-Id": "no blanks"}).headers["x-request-id"]
    assert made_up and made_up != "no blanks"


def test_the_version_and_the_page_are_served(app):
    assert send(app, "GET", "/version").json() == {"version": lamps_jax.__version__}
    page = send(app, "GET", "/")
    assert page.headers["content-type"].startswith("text/html")


def leave_when(app: FastAPI, body: dict[str, Any], holds: Callable[[], bool]) -> None:
    """Sends a chat request and closes the connection as soon as `holds`."""

    async def run() -> None:
        told = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

        async def receive() -> dict[str, Any]:
            if (message := next(told, None)) is not None:
                return message
            while not holds():
                await asyncio.sleep(0.001)
            return {"type": "http.disconnect"}

        async def send_nothing(message: Any) -> None:
            pass

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [],
        }
        await asyncio.wait_for(app(scope, receive, send_nothing), timeout=5.0)

    asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("state", ["queued", "decoding", "in a call"])
def test_a_client_that_leaves_frees_what_it_held(start, state, stream):
    release = threading.Event()
    tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: str(release.wait(5.0)))
    engine = make_engine(ScriptedExecutor(step_s=0.002), tools=[tool], max_num_seqs=1)
    app = app_on(ServerState(start(engine)))
    if state == "queued":
        _leave_the_queue(app, engine, stream=stream)
    else:
        question = "Count" if state == "decoding" else "Hang"
        arrived = {"decoding": lambda: engine.scheduler.num_running, "in a call": lambda: engine.scheduler.num_in_api_call}
        leave_when(app, chat(question, stream=stream), lambda: bool(arrived[state]()))
    wait_until(lambda: engine.num_unfinished == 0, timeout_s=0.5)
    release.set()


def _leave_the_queue(app: FastAPI, engine: Engine, *, stream: bool) -> None:
    def occupy() -> None:
        leave_when(app, chat("Count"), left.is_set)

    left = threading.Event()
    occupant = threading.Thread(target=occupy)
    occupant.start()
    wait_until(lambda: engine.scheduler.num_running == 1)
    leave_when(app, chat("Hello", stream=stream), lambda: engine.scheduler.num_waiting == 1)
    wait_until(lambda: engine.num_unfinished == 1, timeout_s=0.5)
    left.set()
    occupant.join()


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_forced_call_that_max_tokens_cuts_off_nothing_is_shown_that_a_client_could_run(app, stream):
    body = chat("Weather in Oslo?", tools=[WEATHER], tool_choice="required", max_tokens=18, stream=stream)
    response = send(app, "POST", "/v1/chat/completions", json=body)
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(response)]
        assert not any("tool_calls" in delta or delta.get("content") for delta in deltas)
        assert chunks_of(response)[-1]["choices"][0]["finish_reason"] == "length"
    else:
        (choice,) = response.json()["choices"]
        assert choice["finish_reason"] == "length" and response.json()["usage"]["completion_tokens"] == 18
        assert choice["message"]["content"] == "" and "tool_calls" not in choice["message"]


# A constraint that the text outgrows.

PATTERN = {"type": "string", "pattern": "^(a|b)*a(a|b){12}c$"}
GROWING = {"type": "json_schema", "json_schema": {"name": "letters", "schema": PATTERN}}


class Writing(ScriptedExecutor):
    """Wants to write letters in an order that has no period."""

    def _next_token(self, context: list[int], *, ban_eos: bool) -> int:
        place = len(context) - len('Q: Letters\nA:"')
        letter = "ab"[Random(place).randrange(2)] if place >= 0 else '"'
        return self._byte_token(ord(letter))


def growing_engine() -> Engine:
    engine = make_engine(Writing())
    end = engine.tokenizer.vocab_size - 1
    limits = LLParserLimits(max_lexer_states=60)
    engine.grammars = Grammars(engine.tokenizer, vocab_size=end + 1, eos_token_ids=(end,), limits=limits)
    return engine


def test_a_request_whose_schema_grows_too_complex_ends_alone_and_is_told_what_to_change(start, caplog):
    app, shown = app_on(ServerState(start(growing_engine()))), {"max_tokens": 8, "response_format": GROWING}

    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            bodies = [chat("Letters", response_format=GROWING), chat("Letters", **shown), chat("Letters", max_tokens=300)]
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))

    failed, short, plain = asyncio.run(scenario())
    error = error_of(failed, 400)
    assert error["code"] == "constraint_failed" and error["type"] == "invalid_request_error"
    assert "response_format" in error["message"] and "shorter patterns" in error["message"]
    assert len(short.json()["choices"][0]["message"]["content"]) == 8
    assert plain.json()["usage"]["completion_tokens"] == 300
    assert "Traceback" not in caplog.text


def test_a_stream_whose_schema_grows_too_complex_ends_with_the_error(start):
    app = app_on(ServerState(start(growing_engine())))
    *chunks, last = chunks_of(
        send(app, "POST", "/v1/chat/completions", json=chat("Letters", response_format=GROWING, stream=True))
    )
    assert last["error"]["code"] == "constraint_failed" and last["error"]["type"] == "invalid_request_error"
    assert len("".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)) > 8
