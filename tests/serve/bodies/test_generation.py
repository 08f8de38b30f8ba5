import json
from typing import Any

import pytest

from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.protocol import RequestError, parse_body


def completion(**fields: Any) -> CompletionBody:
    return parse_body(CompletionBody, json.dumps({"prompt": "hi", **fields}).encode())


def chat(**fields: Any) -> ChatBody:
    return parse_body(ChatBody, json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode())


def test_defaults_are_those_of_the_openai_api():
    sampling = completion().sampling()
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k) == (16, 1.0, 1.0, 0)
    assert not sampling.is_controlled
    assert chat().sampling().max_tokens is None


def test_every_field_reaches_the_engine():
    fields = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 7, "stop": ["a", "b"], "stop_token_ids": [1, 2],
        "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.5, "ignore_eos": True, "min_tokens": 2,
        "max_tokens": 9,
    }  # fmt: skip
    sampling = completion(**fields, logit_bias={"5": -100, "0": 3}, logprobs=2).sampling()
    for name, value in fields.items():
        assert getattr(sampling, name) == (tuple(value) if isinstance(value, list) else value)
    assert sampling.logit_bias == ((5, -100.0), (0, 3.0)) and sampling.num_logprobs == 2


def test_without_a_seed_each_request_draws_its_own():
    body = completion()
    assert len({body.sampling().seed for _ in range(8)}) > 1


@pytest.mark.parametrize(("seed", "taken"), [(7, 7), (-1, 2**32 - 1), (2**63, 0), (10**3000, 10**3000 % 2**32)])
def test_any_integer_is_a_seed(seed, taken):
    assert completion(seed=seed).sampling().seed == taken


def test_each_choice_has_the_next_seed_and_the_last_is_followed_by_the_first():
    body = completion(seed=2**32 - 2, n=4)
    assert [choice.seed for choice in body.choices(body.sampling())] == [2**32 - 2, 2**32 - 1, 0, 1]


def test_one_stop_text_is_as_good_as_a_list():
    assert completion(stop="x").sampling().stop == completion(stop=["x"]).sampling().stop == ("x",)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"n": 0}, "n", "greater than or equal to 1, got 0"),
        ({"n": 129}, "n", "less than or equal to 128, got 129"),
        ({"n": 2, "best_of": 3}, "best_of", "beyond n"),
        ({"best_of": 2}, "best_of", "beyond n"),
        ({"temperature": -1}, "temperature", "between 0 and 10, got -1"),
        ({"top_p": 0}, "top_p", "above 0"),
        ({"min_p": 2}, "min_p", "between 0 and 1"),
        ({"presence_penalty": 3}, "presence_penalty", "between -2 and 2"),
        ({"repetition_penalty": 0}, "repetition_penalty", "above 0"),
        ({"stop": ["x"] * 17}, "stop", "at most 16"),
        ({"stop": ""}, "stop", "none empty"),
        ({"stop": "x" * 257}, "stop", "at most 256 characters"),
        ({"stop_token_ids": [1] * 17}, "stop_token_ids", "at most 16"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "numbers of tokens, got 'a'"),
        ({"logit_bias": {"05": 1}}, "logit_bias", "numbers of tokens"),
        ({"logit_bias": {"٣": 1}}, "logit_bias", "numbers of tokens"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "between -100 and 100"),
        ({"logit_bias": dict.fromkeys(map(str, range(301)), 1)}, "logit_bias", "300 entries, not 301"),
        ({"min_tokens": 17}, "min_tokens", "between 0 and max_tokens"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"top_k": 2**40}, "top_k", "less than or equal to"),
        ({"response_format": {"type": "yaml"}}, "response_format", "'json_schema'"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(fields, param, says):
    with pytest.raises(RequestError) as refused:
        completion(**fields).sampling()
    assert refused.value.param == param and says in refused.value.message


@pytest.mark.parametrize("fields", [{"logit_bias": {"257": 1}}, {"stop_token_ids": [257]}, {"stop_token_ids": [-1]}])
def test_tokens_that_the_model_does_not_have_are_refused(fields):
    completion(logit_bias={"256": 1}, stop_token_ids=[0, 256]).check_tokens(257)
    with pytest.raises(RequestError, match=r"between 0 and 256, got") as refused:
        completion(**fields).check_tokens(257)
    assert refused.value.param == next(iter(fields))


def test_text_is_no_json_format():
    assert completion().json_format is None
    assert completion(response_format={"type": "text"}).json_format is None
    assert completion(response_format={"type": "json_object"}).json_format is not None
