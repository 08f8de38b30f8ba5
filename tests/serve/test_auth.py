import hmac
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from lamps_jax.serve.app import create_app
from lamps_jax.serve.auth import ApiKeys, bearer_key
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.test_app import chat, error_of, send

KEY, OTHER = "sk-one-of-the-keys", "sk-the-other-key"


def app_with(start, **options: Any) -> FastAPI:
    state = ServerState(start(make_engine()), config=ServerConfig(**options))
    return create_app(state, model_name="toy")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_whoever_has_a_key_is_served(start, key):
    app = app_with(start, api_keys=(KEY, OTHER))
    assert send(app, "POST", "/v1/chat/completions", json=chat("Hello"), headers=bearer(key)).status_code == 200
    assert send(app, "GET", "/v1/models", headers={"authorization": f"bearer  {key}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("sk-some-other-key"),
        bearer(KEY[:-1]),
        bearer(KEY + "x"),
        bearer(KEY.upper()),
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer "},
        {"X-Api-Key": KEY},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/live/snapshot", "/openapi.json", "/HEALTH", "/health/x"])
def test_whoever_has_none_gets_401_whatever_they_ask_for(start, headers, path):
    response = send(app_with(start, api_keys=(KEY,)), "GET", path, headers=headers)
    error = error_of(response, 401)
    assert error["code"] == "invalid_api_key" and error["type"] == "invalid_request_error"
    assert response.headers["www-authenticate"] == "Bearer" and response.headers["x-request-id"]


def test_whoever_has_another_key_finds_nothing_in_the_cache_of_the_first(start):
    app = app_with(start, api_keys=(KEY, OTHER))

    def num_cached(key: str) -> int:
        body = {"prompt": "The same long prompt for all. " * 4, "max_tokens": 2}
        usage = send(app, "POST", "/v1/completions", json=body, headers=bearer(key)).json()["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    assert [num_cached(key) for key in (KEY, OTHER)] == [0, 0]
    assert num_cached(KEY) == num_cached(OTHER) > 0


def test_two_keys_at_once_are_none():
    assert bearer_key([(b"authorization", b"Bearer abc"), (b"authorization", b"Bearer abc")]) is None
    assert bearer_key([(b"authorization", b"Bearer abc")]) == b"abc"


def test_a_refused_request_reaches_neither_its_body_nor_the_engine(start):
    engine = make_engine()
    app = create_app(ServerState(start(engine), config=ServerConfig(api_keys=(KEY,))), model_name="toy")
    error_of(send(app, "POST", "/v1/chat/completions", content=b"{"), 401)  # and not 400
    assert engine.num_sampled_tokens == 0


def test_health_version_and_the_page_are_open_and_so_are_the_metrics_unless_they_have_a_key(start):
    app = app_with(start, api_keys=(KEY,))
    assert [send(app, "GET", path).status_code for path in ("/health", "/version", "/", "/metrics")] == [200] * 4
    app = app_with(start, api_keys=(KEY,), metrics_key=OTHER)
    error_of(send(app, "GET", "/metrics"), 401)
    error_of(send(app, "GET", "/metrics", headers=bearer(KEY)), 401)
    assert send(app, "GET", "/metrics", headers=bearer(OTHER)).status_code == 200
    error_of(send(app, "GET", "/v1/models", headers=bearer(OTHER)), 401)


def test_every_key_is_compared_whichever_is_right(monkeypatch):
    compared: list[bytes] = []
    plain = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or plain(a, b))
    keys = ApiKeys([KEY, OTHER, "sk-a-third-key"])
    assert [keys.name_of(key.encode()) for key in (KEY, OTHER, "sk-none-of-them")] == ["key-1", "key-2", None]
    assert len(compared) == 9 and {len(digest) for digest in compared} == {32}


def test_a_file_of_keys_names_them_and_is_read_again_when_told(tmp_path: Path, caplog):
    file = tmp_path / "keys"
    file.write_text(f"# who may ask\n\nalice:{KEY}\n{OTHER}\n")
    keys = ApiKeys((), file)
    assert keys.names == ("alice", "line-4")
    assert keys.name_of(KEY.encode()) == "alice"
    file.write_text("bob:sk-quite-another\n")
    keys.reload()
    assert keys.name_of(KEY.encode()) is None and keys.name_of(b"sk-quite-another") == "bob"
    for content in ("", "short\n"):
        file.write_text(content)
        with caplog.at_level(logging.ERROR):
            keys.reload()
        assert keys.names == ("bob",) and "stay what they were" in caplog.text
    os.unlink(file)
    keys.reload()
    assert keys.names == ("bob",)
    assert "sk-quite-another" not in caplog.text


def test_a_file_without_keys_does_not_open_the_server_to_all(tmp_path: Path):
    (tmp_path / "keys").write_text("# none yet\n")
    with pytest.raises(ValueError, match="holds no API key"):
        ServerState(config=ServerConfig(api_key_file=tmp_path / "keys"))
    (tmp_path / "keys").write_text("pass word\n")
    with pytest.raises(ValueError, match=r"line 1 of .* must have 8 to 512"):
        ServerState(config=ServerConfig(api_key_file=tmp_path / "keys"))
    with pytest.raises(OSError, match="nowhere"):
        ServerState(config=ServerConfig(api_key_file=tmp_path / "nowhere"))
