from typing import Any

import httpx

from lamps_jax.engine.events import ApiCall
from lamps_jax.serve.app import create_app
from lamps_jax.serve.replies.shapes import Completion
from lamps_jax.serve.state import ServerState
from tests.serve.fed_engine import FedEngine, Play, play
from tests.serve.test_app import chunks_of, send


def asked(played: Play, **fields: Any) -> tuple[httpx.Response, FedEngine]:
    engine: Any = FedEngine(played)
    response = send(create_app(ServerState(engine), model_name="toy"), "POST", "/v1/completions", json={"prompt": "hi", **fields})
    assert response.status_code == 200, response.text
    return response, engine


def whole(played: Play, **fields: Any) -> dict[str, Any]:
    reply = asked(played, **fields)[0].json()
    Completion.model_validate(reply)
    return reply


def streamed(played: Play, **fields: Any) -> list[dict[str, Any]]:
    return chunks_of(asked(played, stream=True, **fields)[0])


def numbered(index: int, sampling: Any) -> Any:
    return play(f"I am {index}.")


def test_the_replies_to_a_prompt_stand_in_a_row():
    response, engine = asked(numbered, prompt=["a", "b"], n=2, seed=9)
    assert [choice["text"] for choice in response.json()["choices"]] == ["I am 0.", "I am 1.", "I am 2.", "I am 3."]
    ((prompts, _),) = engine.asked
    first, second, third, fourth = [prompt for prompt, _ in prompts]
    assert first == second != third == fourth
    assert [sampling.seed for _, sampling in prompts] == [9, 10, 9, 10]
    usage = response.json()["usage"]
    assert usage["prompt_tokens"] == 2 * 7 and usage["completion_tokens"] == 4 * len("I am 0..")


def test_without_a_seed_the_prompts_have_different_ones():
    _, engine = asked(numbered, prompt=["a", "b", "c"])
    ((prompts, _),) = engine.asked
    assert len({sampling.seed for _, sampling in prompts}) == 3


def test_an_echo_begins_each_reply_with_its_prompt():
    token_ids = FedEngine(numbered).tokenizer.encode_text("né")
    for prompt, texts in ((["a", "né"], ["a", "a", "né", "né"]), ([token_ids], ["né", "né"])):
        replies = [f"{text}I am {index}." for index, text in enumerate(texts)]
        assert [choice["text"] for choice in whole(numbered, prompt=prompt, echo=True, n=2)["choices"]] == replies
        chunks = streamed(numbered, prompt=prompt, echo=True, n=2)
        for index, reply in enumerate(replies):
            parts = [chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"][0]["index"] == index]
            assert "".join(parts) == reply


def test_a_reply_without_text_has_an_echo_too():
    assert whole(lambda *_: play(), echo=True)["choices"][0]["text"] == "hi"
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed(lambda *_: play(), echo=True)) == "hi"


def test_log_probabilities_come_with_the_text_that_they_are_of():
    def played(index: int, sampling: Any) -> Any:
        return play("Hé", "llo", num_logprobs=sampling.num_logprobs)

    (choice,) = whole(played, logprobs=2)["choices"]
    logprobs = choice["logprobs"]
    assert [len(row) for row in logprobs.values()] == [6] * 4
    assert logprobs["text_offset"] == [0, 1, 1, 2, 3, 4] and logprobs["tokens"][-3:] == ["l", "l", "o"]
    assert logprobs["top_logprobs"][-1] == {"o": -0.5, "n": -1.5}
    shown = [chunk["choices"][0]["logprobs"] for chunk in streamed(played, logprobs=2)]
    assert {name: [item for part in shown if part for item in part[name]] for name in logprobs} == logprobs


def test_each_choice_has_offsets_of_its_own():
    def played(index: int, sampling: Any) -> Any:
        return play("ab", "cd", num_logprobs=0)

    for choice in whole(played, n=2, logprobs=0)["choices"]:
        assert choice["logprobs"]["text_offset"] == [0, 1, 2, 3]
    offsets: dict[int, list[int]] = {0: [], 1: []}
    for chunk in streamed(played, n=2, logprobs=0):
        (choice,) = chunk["choices"]
        offsets[choice["index"]] += (choice["logprobs"] or {"text_offset": []})["text_offset"]
    assert offsets == {0: [0, 1, 2, 3], 1: [0, 1, 2, 3]}


def test_calls_of_the_server_stand_in_the_choice_that_made_them():
    ran = ApiCall("c0", "Calculator", {"expression": "1"}, "1", result="1", duration_s=0.5)
    reply = whole(lambda index, _: play(*[ran] * index, "So."), n=2)
    assert [len(choice["lamps"]["calls"]) for choice in reply["choices"]] == [0, 1]
    chunks = streamed(lambda *_: play(ran, "So."))
    calls = [chunk["choices"][0]["lamps"]["call"] for chunk in chunks if "call" in chunk["choices"][0].get("lamps", {})]
    assert [call["result"] for call in calls] == [None, "1"]


def test_the_usage_ends_a_stream_that_asks_for_it():
    chunks = streamed(numbered, prompt=["a", "b"], n=2, stream_options={"include_usage": True, "include_obfuscation": True})
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["prompt_tokens"] == 14
    assert all(chunk["usage"] is None and chunk["system_fingerprint"] is None for chunk in chunks[:-1])
    assert all("usage" not in chunk for chunk in streamed(numbered))
