from typing import Any

import pytest
from fastapi import FastAPI

from lamps_jax.serve.app import create_app
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.test_app import chat, error_of, send

KEY = "sk-one-of-the-keys"


def app_with(start, **options: Any) -> FastAPI:
    return create_app(ServerState(start(make_engine()), config=ServerConfig(**options)), model_name="toy")


def ask(app: FastAPI, **headers: str) -> Any:
    return send(app, "POST", "/v1/chat/completions", json=chat("Hello"), headers=headers)


def test_programs_are_served_under_whatever_name_they_call_the_server(start):
    app = app_with(start)
    for host in ("localhost:8000", "models.example.org", "10.0.0.7"):
        assert ask(app, Host=host).status_code == 200


@pytest.mark.parametrize("place", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.0.7", "gpu-box:8000", "GPU.local"])
def test_the_servers_own_page_is_served(start, place):
    assert ask(app_with(start), Host=place, Origin=f"http://{place}").status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "localhost:8000", ""]
)
def test_a_page_from_elsewhere_is_refused_whatever_it_says_of_its_body(start, origin):
    engine = make_engine()
    app = create_app(ServerState(start(engine)), model_name="toy")
    body = b'{"messages": [{"role": "user", "content": "Hello"}]}'
    headers = {"Host": "localhost:8000", "Origin": origin, "Content-Type": "text/plain"}
    response = send(app, "POST", "/v1/chat/completions", content=body, headers=headers)
    assert error_of(response, 403)["code"] == "foreign_origin"
    assert "access-control-allow-origin" not in response.headers
    assert engine.num_sampled_tokens == 0


def test_a_page_whose_name_has_come_to_lead_here_is_refused_unless_clients_have_keys(start):
    place = "evil.example:8000"
    assert error_of(ask(app_with(start), Host=place, Origin=f"http://{place}"), 403)["code"] == "foreign_origin"
    app = app_with(start, api_keys=(KEY,))
    error_of(ask(app, Host=place, Origin=f"http://{place}"), 401)
    assert ask(app, Host=place, Origin=f"https://{place}", Authorization=f"Bearer {KEY}").status_code == 200


def test_a_page_that_is_named_is_served_and_may_read_the_answer(start):
    origin = "https://chat.example.org"
    app = app_with(start, allowed_origins=(origin,), api_keys=(KEY,))
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = send(app, "OPTIONS", "/v1/chat/completions", headers=asks)
    assert preflight.status_code == 200 and "authorization" in preflight.headers["access-control-allow-headers"].lower()
    for headers, status in (({"Authorization": f"Bearer {KEY}"}, 200), ({}, 401)):
        response = ask(app, Origin=origin, **headers)
        assert response.status_code == status and response.headers["access-control-allow-origin"] == origin
        assert "X-Request-Id" in response.headers["access-control-expose-headers"]
    refused = ask(app, Origin="https://other.example.org", Authorization=f"Bearer {KEY}")
    assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


def test_every_page_may_be_let_in(start):
    response = ask(app_with(start, allowed_origins=("*",)), Origin="null")
    assert response.status_code == 200 and response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", ["chat.example.org", "https://chat.example.org/", "https://", ""])
def test_what_is_no_origin_cannot_be_allowed(origin):
    with pytest.raises(ValueError, match="allowed_origins must be like"):
        ServerConfig(allowed_origins=(origin,))
