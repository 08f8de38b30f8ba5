import json
from typing import Any

import httpx
import pytest

from lamps_jax.engine.events import ApiCall
from lamps_jax.sched.request import FinishReason
from lamps_jax.serve.app import create_app
from lamps_jax.serve.replies.shapes import ChatCompletion
from lamps_jax.serve.state import ServerState
from tests.serve.fed_engine import FedEngine, Play, play
from tests.serve.test_app import chunks_of, send

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"place": {"type": "string"}}}}}


def asked(played: Play, **fields: Any) -> tuple[httpx.Response, FedEngine]:
    engine: Any = FedEngine(played)
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    response = send(create_app(ServerState(engine), model_name="toy"), "POST", "/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response, engine


def whole(played: Play, **fields: Any) -> dict[str, Any]:
    reply = asked(played, **fields)[0].json()
    ChatCompletion.model_validate(reply)
    return reply


def streamed(played: Play, **fields: Any) -> list[dict[str, Any]]:
    return chunks_of(asked(played, stream=True, **fields)[0])


def client_call(call_id: str, place: str) -> ApiCall:
    return ApiCall(call_id, "look", {"place": place}, "", is_clients=True)


def test_each_choice_has_its_index_and_the_next_seed_and_shares_the_prompt():
    def played(index: int, sampling: Any) -> Any:
        return play(f"I am {index}.", cached=index and 3)

    response, engine = asked(played, n=3, seed=5)
    reply = response.json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["I am 0.", "I am 1.", "I am 2."]
    ((prompts, _),) = engine.asked
    assert [sampling.seed for _, sampling in prompts] == [5, 6, 7] and len({tuple(prompt) for prompt, _ in prompts}) == 1
    assert reply["usage"]["prompt_tokens"] == 7 and reply["usage"]["completion_tokens"] == 3 * len("I am 0..")
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert "lamps" not in reply and all(choice["lamps"]["timings"] for choice in reply["choices"])


def test_the_choices_of_a_stream_are_told_apart_by_index_and_each_begins_with_its_role():
    chunks = streamed(lambda index, _: play("I", f" am {index}."), n=2, stream_options={"include_usage": True})
    for index in range(2):
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"] and chunk["choices"][0]["index"] == index]
        assert [delta for delta in deltas if "role" in delta] == deltas[:1] == [{"role": "assistant", "content": ""}]
        assert "".join(delta.get("content", "") for delta in deltas) == f"I am {index}."
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["prompt_tokens"] == 7
    assert chunks[-1]["usage"]["completion_tokens"] == 2 * len("I am 0..")
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_several_calls_of_the_clients_are_a_list():
    calls = [client_call("c1", "Oslo"), client_call("c2", "Rome")]
    reply = whole(lambda *_: play("So:", *calls, finish=FinishReason.TOOL_CALLS), tools=[LOOK])
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] == "So:"
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["c1", "c2"]
    assert [json.loads(call["function"]["arguments"]) for call in choice["message"]["tool_calls"]] == [
        {"place": "Oslo"},
        {"place": "Rome"},
    ]


def test_a_message_of_calls_alone_has_no_content():
    reply = whole(lambda *_: play(client_call("c", "x"), finish=FinishReason.TOOL_CALLS), tools=[LOOK])
    assert reply["choices"][0]["message"]["content"] is None


def test_streamed_calls_are_counted_in_each_choice_and_their_arguments_follow_their_names():
    calls = [client_call("c1", "Oslo"), client_call("c2", "Rome")]
    chunks = streamed(lambda *_: play(*calls, finish=FinishReason.TOOL_CALLS), tools=[LOOK], n=2)
    for index in range(2):
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        parts = [choice["delta"]["tool_calls"][0] for choice in choices if "tool_calls" in choice["delta"]]
        assert [part["index"] for part in parts] == [0, 0, 1, 1]
        assert [part.get("id") for part in parts] == ["c1", None, "c2", None]
        assert [part["function"].get("name") for part in parts] == ["look", None, "look", None]
        texts = ["".join(part["function"]["arguments"] for part in parts if part["index"] == place) for place in (0, 1)]
        assert [json.loads(text) for text in texts] == [{"place": "Oslo"}, {"place": "Rome"}]
        assert choices[-1]["finish_reason"] == "tool_calls"


def test_calls_of_the_server_stand_beside_those_of_the_client():
    ran = ApiCall("c0", "Calculator", {"expression": "1"}, "1", result="1", duration_s=0.5)
    reply = whole(lambda *_: play(ran, "So:", client_call("c1", "x"), finish=FinishReason.TOOL_CALLS), tools=[LOOK])
    assert [call["name"] for call in reply["lamps"]["calls"]] == ["Calculator"]
    assert [call["function"]["name"] for call in reply["choices"][0]["message"]["tool_calls"]] == ["look"]
    chunks = streamed(lambda *_: play(ran, "So."), tools=[LOOK])
    assert [chunk["lamps"]["call"]["result"] for chunk in chunks if "call" in chunk.get("lamps", {})] == [None, "1"]


@pytest.mark.parametrize("count", [0, 2])
def test_log_probabilities_come_with_the_text_that_they_are_of(count):
    fields = {"logprobs": True, "top_logprobs": count}

    def played(index: int, sampling: Any) -> Any:
        return play("Hé", "llo", num_logprobs=sampling.num_logprobs)

    (choice,) = whole(played, **fields)["choices"]
    content = choice["logprobs"]["content"]
    assert choice["logprobs"]["refusal"] is None and bytes(b for entry in content for b in entry["bytes"]).decode() == "Héllo"
    assert all(len(entry["top_logprobs"]) == count and entry["logprob"] == -0.5 for entry in content)
    shown = [chunk["choices"][0] for chunk in streamed(played, **fields)]
    with_text = [choice for choice in shown if choice["delta"].get("content")]
    spelled = [
        "".join(bytes(entry["bytes"]).decode("latin-1") for entry in choice["logprobs"]["content"]) for choice in with_text
    ]
    assert [text.encode("latin-1").decode() for text in spelled] == [choice["delta"]["content"] for choice in with_text]
    assert [entry for choice in shown for entry in (choice["logprobs"] or {"content": []})["content"]] == content


def test_without_asking_there_are_no_log_probabilities():
    assert whole(lambda *_: play("Hi"))["choices"][0]["logprobs"] is None
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in streamed(lambda *_: play("Hi")))


def test_a_stream_is_the_same_bytes_each_time_but_for_its_id_and_its_time():
    def lines() -> list[Any]:
        chunks = streamed(lambda *_: play("a", client_call("c", "x"), finish=FinishReason.TOOL_CALLS), tools=[LOOK])
        return [{name: value for name, value in chunk.items() if name not in ("id", "created")} for chunk in chunks]

    assert lines() == lines()


def test_no_reader_of_lines_takes_a_character_of_the_text_for_the_end_of_one():
    text = "a\u2028b\u2029c\x85d\x1ce\r\nf"
    response, _ = asked(lambda *_: play(text), stream=True)
    lines = [line for line in response.text.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines)
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines[:-1]]
    assert "".join(delta.get("content", "") for delta in deltas) == text


def test_fields_that_clients_look_for_are_there_though_they_say_nothing():
    reply = whole(lambda *_: play("Hi"))
    assert reply["system_fingerprint"] is None and reply["service_tier"] is None
    assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0
    assert reply["choices"][0]["message"]["refusal"] is None
    assert all("system_fingerprint" in chunk for chunk in streamed(lambda *_: play("Hi")))
