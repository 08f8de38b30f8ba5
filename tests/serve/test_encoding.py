import asyncio
import json
import threading
import time
from typing import Any

import pytest

from lamps_jax.serve.app import create_app
from lamps_jax.serve.bodies.message import Message
from lamps_jax.serve.encoding import LONG_CHARS, Encoder, as_json, length_of
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.fed_engine import FedEngine, play
from tests.serve.test_app import error_of, send


def no_engine() -> Any:
    return FedEngine(lambda *_: play("So."))


def called(arguments: str) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_the_length_of_a_conversation_is_that_of_all_that_is_said_in_it():
    said = [
        {"role": "user", "content": "four"},
        {"role": "assistant", "content": None, "tool_calls": [called("{}"), called('{"a": 1}')]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "six"}, {"type": "text", "text": "ty"}]},
    ]
    assert length_of([Message.model_validate(each) for each in said]) == 4 + 2 + 8 + 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a" * 5_000_000}),
        ("/v1/completions", {"prompt": ["a", "a" * 5_000_000]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a" * 2000}] * 2500}),
        (
            "/v1/chat/completions",
            {
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "tool_calls": [called(json.dumps("a" * 5_000_000))]},
                    {"role": "tool", "tool_call_id": "c", "content": "1"},
                ]
            },
        ),
    ],
)
def test_a_text_that_no_context_holds_is_refused_before_it_is_encoded(path, body):
    engine = no_engine()
    encoded: list[int] = []
    for name in ("encode_prompt", "encode_chat"):
        plain = getattr(engine.tokenizer, name)
        setattr(engine.tokenizer, name, lambda text, plain=plain, **more: encoded.append(len(text)) or plain(text, **more))
    error = error_of(send(create_app(ServerState(engine), model_name="toy"), "POST", path, json=body), 400)
    assert error["code"] == "context_length_exceeded" and "no token has more than" in error["message"]
    assert sum(encoded) < 10


def test_a_text_that_just_might_fit_is_encoded_to_see(start):
    app = create_app(ServerState(start(make_engine())), model_name="toy")
    room = send(app, "GET", "/v1/models").json()["data"][0]["max_model_len"]
    response = send(app, "POST", "/v1/completions", json={"prompt": "a" * (room - 1), "max_tokens": 1})
    assert response.status_code == 200
    error = error_of(send(app, "POST", "/v1/completions", json={"prompt": "a" * room, "max_tokens": 1}), 400)
    assert f"has {room}" in error["message"]


def test_long_texts_hold_up_no_short_ones_and_use_no_tokenizer_of_theirs():
    engine, go_on, encoder = no_engine(), threading.Event(), Encoder()

    def long(engine: Any, tokenizer: Any) -> Any:
        go_on.wait()
        return tokenizer

    async def run() -> None:
        waiting = [asyncio.ensure_future(encoder.run(long, engine, num_chars=LONG_CHARS + 1)) for _ in range(3)]
        await asyncio.sleep(0)
        began = time.perf_counter()
        used = await encoder.run(lambda engine, tokenizer: tokenizer, engine, num_chars=LONG_CHARS)
        assert used is engine.tokenizer and time.perf_counter() - began < 5
        go_on.set()
        others = await asyncio.gather(*waiting)
        assert len(set(map(id, others))) == 1 and others[0] is not used
        assert others[0].encode_prompt("Hello") == used.encode_prompt("Hello")

    asyncio.run(run())


def test_an_answer_that_is_made_piece_by_piece_is_the_json_that_others_make():
    content = {"count": 2, "tokens": list(range(1000)), "token_strs": ["é", '"'], "none": None}
    assert json.loads(as_json(content)) == content and as_json({"prompt": "né"}) == '{"prompt":"né"}'
