import asyncio
import json
import threading
from typing import Any

import pytest
from fastapi import Request

from lamps_jax.serve import protocol
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.protocol import LARGE_BODY_BYTES, MAX_BODY_BYTES, MAX_PARTS, RequestError, parse_body


def completion(**fields: Any) -> CompletionBody:
    return parse_body(CompletionBody, json.dumps({"prompt": "hi", **fields}).encode())


def refusal(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as refused:
        parse_body(CompletionBody, body)
    return refused.value


def test_null_means_the_default():
    names = ("temperature", "top_p", "seed", "stop", "stream", "stream_options", "max_tokens", "n", "logprobs", "suffix")
    sampling = completion(**dict.fromkeys(names)).sampling()
    assert sampling == completion(seed=sampling.seed).sampling()


@pytest.mark.parametrize(
    ("name", "neutral", "changing"),
    [
        ("suffix", "", "end"),
        ("audio", None, {"voice": "alloy"}),
        ("modalities", ["text"], ["text", "audio"]),
        ("functions", [], [{"name": "f"}]),
        ("function_call", "auto", {"name": "f"}),
        ("use_beam_search", False, True),
        ("guided_json", None, {"type": "object"}),
        ("skip_special_tokens", True, False),
    ],
)
def test_what_is_not_supported_is_refused_unless_it_changes_nothing(name, neutral, changing):
    completion(**{name: neutral})
    with pytest.raises(RequestError, match=f"{name} is not supported") as refused:
        completion(**{name: changing})
    assert refused.value.param == name and refused.value.status == 400


def test_unknown_fields_are_ignored():
    ignored = {"user": "me", "store": True, "metadata": {"a": 1}, "service_tier": "auto", "reasoning_effort": "low", "x": [{}]}
    assert completion(**ignored).sampling()


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 1.5}, {"max_tokens": True}, {"temperature": "1"}, {"stream": "yes"}, {"seed": "a"}, {"echo": 1}]
)
def test_a_value_of_the_wrong_type_is_not_converted(wrong):
    with pytest.raises(RequestError) as refused:
        completion(**wrong)
    assert refused.value.param == next(iter(wrong))


def test_a_body_that_no_context_could_hold_is_refused_unread():
    error = refusal(b" " * (MAX_BODY_BYTES + 1))
    assert error.status == 413 and "send less" in error.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"prompt": "\\ud800"}', "not JSON"),
        (b'{"prompt": "hi", "temperature": NaN}', "not JSON"),
        (b'{"prompt": "hi", "temperature": -Infinity}', "not JSON"),
        (b'{"prompt": "hi", "seed": ' + b"9" * 5000 + b"}", "out of range"),
        (b'{"prompt": ' + b"[" * 1000 + b"]" * 1000 + b"}", "recursion limit"),
        (b"[1]", "JSON object"),
        (b"null", "JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(body, says):
    error = refusal(body)
    assert error.status == 400 and says in error.message


def test_a_wrong_value_is_shown_unless_it_is_long():
    assert refusal(b'{"prompt": "a", "n": 0}').message.endswith(", got 0")
    assert "a" * 100 not in refusal(b'{"prompt": "a", "n": "' + b"a" * 100 + b'"}').message
    assert "999" not in refusal(b'{"prompt": "a", "min_tokens": ' + b"9" * 4000 + b"}").message


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": ["a"' + b", 1" * 500_000 + b"]}",
        b'{"prompt": [1' + b', "a"' * 500_000 + b"]}",
        b'{"prompt": "a", "predicted_segments": [1' + b", 1" * 500_000 + b"]}",
        b'{"prompt": "a", "stop": [1' + b", 1" * 500_000 + b"]}",
        b'{"prompt": "a", "logit_bias": {"0": ""' + b"".join(b', "%d": ""' % number for number in range(100_000)) + b"}}",
    ],
    ids=["texts and numbers", "numbers and texts", "hints", "stops", "biases"],
)
def test_of_many_wrong_values_only_the_first_is_looked_for(body):
    assert len(refusal(body).message) < 500


def names(count: int) -> bytes:
    return b'{"prompt": "a"' + b"".join(b', "k%d": 1' % number for number in range(count)) + b"}"


def test_a_body_of_more_parts_than_any_request_needs_is_refused_before_they_are_built():
    for parts in (names(MAX_PARTS), b'{"prompt": [' + b"[]," * MAX_PARTS + b"[]]}", b'{"x": [' + b"{}," * MAX_PARTS + b"{}]}"):
        error = refusal(parts)
        assert error.status == 413 and f"more than {MAX_PARTS} names" in error.message
    assert parse_body(CompletionBody, names(1000)).prompt == "a"


@pytest.mark.parametrize("text", ['{"a": [1]}, ', "::::[[[{{{", '\\": {"'])
def test_what_stands_in_a_text_is_no_part(text):
    said = text * (MAX_PARTS // 2)
    assert completion(prompt=said).prompt == said


def test_a_large_body_is_parsed_off_the_event_loop_and_a_small_one_on_it(monkeypatch):
    threads = list[bool]()

    def parse(kind: Any, body: bytes) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return parse_body(kind, body)

    async def take(body: bytes) -> CompletionBody:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        return await protocol.take_body(CompletionBody, Request({"type": "http", "headers": []}, receive))

    monkeypatch.setattr(protocol, "parse_body", parse)
    for size in (10, LARGE_BODY_BYTES):
        taken = asyncio.run(take(json.dumps({"prompt": "a" * size}).encode()))
        assert taken.prompt == "a" * size
    assert threads == [True, False]
