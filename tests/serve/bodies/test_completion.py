import json
from typing import Any

import pytest

from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.protocol import RequestError, parse_body


def completion(prompt: Any = "hi", **fields: Any) -> CompletionBody:
    return parse_body(CompletionBody, json.dumps({"prompt": prompt, **fields}).encode())


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]), ([0], [[0]])],
)
def test_a_prompt_takes_every_form_of_the_openai_api(prompt, prompts):
    assert completion(prompt).prompts() == prompts


@pytest.mark.parametrize("prompt", [[], [True], ["a", 1], [[1], 2], None, {}, 5, [["a"]], [1.0]])
def test_a_prompt_that_is_none_is_refused(prompt):
    with pytest.raises(RequestError) as refused:
        completion(prompt)
    assert refused.value.param == "prompt"


def test_the_replies_to_all_prompts_are_counted():
    assert len(completion(["a"] * 8, n=128).prompts()) == 8
    with pytest.raises(RequestError, match="9 prompts with n 128") as refused:
        completion(["a"] * 9, n=128)
    assert refused.value.param == "prompt"
    with pytest.raises(RequestError, match="at most 1024"):
        completion(["a"] * 1025)


@pytest.mark.parametrize(("logprobs", "num_logprobs"), [(None, None), (False, None), (0, 0), (20, 20)])
def test_log_probabilities_are_a_number(logprobs, num_logprobs):
    assert completion(logprobs=logprobs).num_logprobs() == num_logprobs


@pytest.mark.parametrize("logprobs", [True, 21, -1])
def test_log_probabilities_have_a_limit(logprobs):
    with pytest.raises(RequestError) as refused:
        completion(logprobs=logprobs)
    assert refused.value.param == "logprobs"


def test_an_echo_has_no_log_probabilities():
    assert completion(echo=True).echo
    with pytest.raises(RequestError, match="together with logprobs") as refused:
        completion(echo=True, logprobs=0)
    assert refused.value.param == "echo"
