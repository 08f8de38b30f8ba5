"""The API keeps to its own description, whatever it is sent."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.types import ASGIApp, Receive, Scope, Send

from lamps_jax.serve.app import create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.bodies.session import MAX_SECONDS
from lamps_jax.serve.openapi import OPERATIONS, Operation, document
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine, wait_until
from tests.serve.test_app import WEATHER, send

OPENAIS = set(
    "max_tokens seed temperature top_p presence_penalty frequency_penalty repetition_penalty response_format stream "
    "stream_options messages logprobs top_logprobs tool_choice parallel_tool_calls nvext".split()
)
"""Fields that need no description."""

FUZZ = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate])

MOST_CHOICES = 2
"""A request for a hundred replies would find nothing that two do not, and take as long as all others."""

EXCLUDED: list[Any] = [positive_data_acceptance]
"""A description cannot say all that is wrong with a request: that a result has no call, or that a text is too long."""


class WithoutEnd:
    """An application that does not hear of the end of its server, which schemathesis plays anew for each request."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for act in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{act}.complete"})
        else:
            await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    engine = make_engine(max_model_len=64)
    async_engine = AsyncEngine(engine)
    yield schemathesis.openapi.from_asgi("/openapi.json", WithoutEnd(create_app(ServerState(async_engine), model_name="toy")))
    wait_until(lambda: engine.num_unfinished == 0)
    async_engine.stop()
    engine.scheduler.check()


def usable(body: Any) -> Any:
    """`body` with what makes most bodies unusable put right: for those that are right otherwise."""
    if isinstance(body, float) and body.is_integer():  # to JSON schema an integer
        return int(body)
    if isinstance(body, list):
        return [usable(item) for item in body]
    if not isinstance(body, dict):
        return body
    body = {name: usable(value) for name, value in body.items()}
    if "messages" in body or "prompt" in body:
        body |= {
            "model": "toy",
            "best_of": None,
            "tool_choice": None,
            "echo": False,
            "top_logprobs": None,
            "logit_bias": {"5": 1},
        }
    if isinstance(body.get("messages"), list):
        texts = [message for message in body["messages"] if isinstance(message, dict) and message.get("content")]
        body["messages"] = [{**message, "role": "user", "tool_calls": None} for message in texts] or [
            {"role": "user", "content": "x"}
        ]
        body["prompt"] = None if "tokens" not in body else body.get("prompt")
    return body


def is_time(value: Any) -> bool:
    """Whether `value` is one that `timeout_s` may have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)
def test_whatever_is_sent_the_answer_is_one_that_the_description_has(
    api: Any, operation: Operation, mode: GenerationMode
) -> None:
    if mode.is_negative and operation.body is None:
        pytest.skip("there is nothing to get wrong")

    @given(api[operation.path][operation.method.upper()].as_strategy(generation_mode=mode), st.booleans())
    @settings(FUZZ, max_examples=15 if mode.is_negative else 40)
    def try_one(case: Any, put_right: bool) -> None:
        if put_right and mode.is_positive:
            case.body = usable(case.body)
        if isinstance(case.body, dict) and isinstance(case.body.get("n"), int):
            case.body["n"] = min(case.body["n"], MOST_CHOICES)
        if isinstance(case.body, dict) and is_time(case.body.get("timeout_s")):
            del case.body["timeout_s"]  # it would depend on the machine's speed what is answered
        response = case.call()
        statuses[response.status_code] += 1
        assert response.status_code != 500, response.text
        case.validate_response(response, excluded_checks=EXCLUDED)

    statuses = Counter[int]()
    try_one()
    assert mode.is_negative or "{" in operation.path or statuses[200], statuses


def test_replies_of_every_kind_are_as_described(start: Any) -> None:
    app = create_app(ServerState(start(make_engine())), model_name="toy")
    messages = [{"role": "user", "content": "What is 48*37?"}]
    described = document()

    def check(path: str, body: dict[str, Any], status: int = 200) -> None:
        response = send(app, "POST", path, json=body)
        assert response.status_code == status
        content = described["paths"][path]["post"]["responses"][str(status)]["content"]["application/json"]
        jsonschema.validate(response.json(), {**content["schema"], "components": described["components"]})

    check("/v1/chat/completions", {"messages": messages})
    check("/v1/chat/completions", {"messages": messages, "n": 2})
    check("/v1/chat/completions", {"messages": [{"role": "user", "content": "Weather in Oslo?"}], "tools": [WEATHER]})
    check("/v1/completions", {"prompt": ["Q: What is 48*37?\nA:", "x"], "n": 2, "echo": True})
    check("/v1/chat/completions", {"messages": []}, 400)
    check("/v1/completions", {"prompt": "x", "model": "gpt-9"}, 404)


def test_the_description_is_valid_and_served_as_it_is(start: Any) -> None:
    app = create_app(ServerState(start(make_engine())), model_name="toy")
    served = send(app, "GET", "/openapi.json").json()
    assert served == json.loads(json.dumps(document())) and served["openapi"].startswith("3.1")
    for schema in served["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(served))
    assert set(references) <= set(served["components"]["schemas"])


def test_every_field_of_a_body_says_what_it_is_for_or_is_one_of_openais() -> None:
    for name in ("ChatBody", "CompletionBody"):
        fields = document()["components"]["schemas"][name]["properties"]
        assert {field for field, described in fields.items() if "description" not in described} <= OPENAIS
