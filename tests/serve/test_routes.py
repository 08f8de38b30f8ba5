import json
from typing import Any

import pytest
from fastapi import FastAPI

from lamps_jax.serve.app import create_app
from lamps_jax.serve.openapi import OPERATIONS
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.fed_engine import FedEngine, play
from tests.serve.test_app import error_of, send


@pytest.fixture
def app(start) -> FastAPI:
    return create_app(ServerState(start(make_engine())), model_name="toy")


def test_a_text_has_the_tokens_that_a_completion_of_it_would_have(app):
    tokens = send(app, "POST", "/tokenize", json={"prompt": "né"}).json()
    assert tokens == {"count": 3, "max_model_len": 512, "tokens": tokens["tokens"], "token_strs": None}
    usage = send(app, "POST", "/v1/completions", json={"prompt": "né", "max_tokens": 1}).json()["usage"]
    assert usage["prompt_tokens"] == 3
    again = send(app, "POST", "/tokenize", json={"prompt": "né", "add_special_tokens": False, "return_token_strs": True}).json()
    assert again["tokens"] == tokens["tokens"] and again["token_strs"] == ["n", "Ã", "©"]


def test_a_conversation_has_the_tokens_that_a_reply_to_it_would_have(app):
    messages = [{"role": "user", "content": "Hello"}]
    tokens = send(app, "POST", "/tokenize", json={"messages": messages, "model": "toy"}).json()
    usage = send(app, "POST", "/v1/chat/completions", json={"messages": messages}).json()["usage"]
    assert tokens["count"] == usage["prompt_tokens"] == len(tokens["tokens"]) == len("Q: Hello\nA:")


def test_tokens_become_the_text_again_special_ones_included(app):
    text = "né 🙂<|endoftext|>"
    tokens = send(app, "POST", "/tokenize", json={"prompt": text}).json()["tokens"]
    assert tokens[-1] == 256
    assert send(app, "POST", "/detokenize", json={"tokens": tokens}).json() == {"prompt": text}
    assert send(app, "POST", "/detokenize", json={"tokens": []}).json() == {"prompt": ""}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/tokenize", {"messages": [{"role": "user"}]}, "messages"),
        ("/tokenize", {"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": False}, "add_generation_prompt"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [257]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": [10**100]}, "tokens"),
        ("/detokenize", {"tokens": "a"}, "tokens"),
    ],
)
def test_what_has_no_tokens_or_no_text_is_refused(app, path, body, param):
    assert error_of(send(app, "POST", path, json=body), 400)["param"] == param


def test_a_model_that_is_not_here_tokenizes_nothing(app):
    error_of(send(app, "POST", "/tokenize", json={"prompt": "a", "model": "gpt-9"}), 404)
    error_of(send(app, "POST", "/detokenize", json={"tokens": [1], "model": "gpt-9"}), 404)


def options_of(headers: dict[str, str], **fields: Any) -> Any:
    engine: Any = FedEngine(lambda *_: play("So."))
    app = create_app(ServerState(engine), model_name="toy")
    body = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", **fields}
    for path in ("/v1/chat/completions", "/v1/completions"):
        assert send(app, "POST", path, json=body, headers=headers).status_code == 200
    (_, chat), (_, completion) = engine.asked
    assert chat.program_id == completion.program_id
    return chat


def test_the_session_is_named_by_the_header_or_the_body():
    named = options_of({"X-Session-Id": "agent-7"})
    assert named.program_id == options_of({}, session_id="agent-7").program_id != ""
    assert named.program_id != options_of({"X-Session-Id": "agent-7"}, cache_salt="tenant").program_id
    assert options_of({}).program_id == ""


def test_the_header_of_a_session_has_a_limit(app):
    response = send(app, "POST", "/v1/completions", json={"prompt": "a"}, headers={"X-Session-Id": "x" * 257})
    assert error_of(response, 400)["param"] == "session_id"


def test_a_body_is_json_whatever_its_type_is_called(app):
    for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded", ""):
        body = json.dumps({"prompt": "Q: Hello\nA:", "max_tokens": 6})
        response = send(app, "POST", "/v1/completions", content=body, headers={"Content-Type": content_type})
        assert response.status_code == 200 and response.json()["choices"][0]["text"] == "Hello"


def test_every_route_of_the_description_is_served_and_knows_its_methods(app):
    for operation in OPERATIONS:
        response = send(app, operation.method.upper(), operation.path.replace("{name}", "toy"), json={})
        assert response.status_code == (200 if operation.body is None else 400), operation.path
        error_of(send(app, "PATCH", operation.path.replace("{name}", "toy")), 405)
