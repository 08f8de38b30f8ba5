"""The ingress alone, over replicas that are made up; they fail where real ones are too seldom caught at it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

pytest.importorskip("ray", reason="Ray is not installed here; 'make .venv-ray/.ready' makes an environment that has it")

from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError

from lamps_jax.serve import ray_ingress
from lamps_jax.serve.asgi_call import Answer
from lamps_jax.serve.ray_ingress import ChosenReplica, Ingress, Routed
from lamps_jax.serve.request_key import RequestKey
from lamps_jax.serve.routing import Router

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"mine")]}
STREAM = {**START, "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]}
WHOLE = [START, {"type": "http.response.body", "body": b"{}"}]


class Lost(Exception):
    """Whatever Ray raises of a replica that is gone."""


class Messages:
    """What comes of a dispatched request, or fails to."""

    def __init__(self, steps: list[Any]):
        self._steps, self.is_cancelled = list(steps), False

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Any:
        if not self._steps:
            raise StopAsyncIteration
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if step is None:
            await asyncio.Event().wait()
        return step

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Chosen:
    replica_id: str


@dataclass
class Handle:
    """Replicas by name, and for each the stories of the requests it gets, in their order."""

    stories: dict[str, list[list[Any]]]
    dispatched: list[tuple[str, Messages]] = field(default_factory=list)
    says: list[Any] = field(default_factory=list)

    def options(self, **options: Any) -> "Handle":
        assert options == {"stream": True, "method_name": "answer"}
        return self

    @asynccontextmanager
    async def choose_replica(self, routed: Routed) -> AsyncIterator[Chosen]:
        if not self.stories:
            raise DeploymentUnavailableError("Engine")
        yield Chosen(routed.choose({name: {} for name in self.stories}))

    def dispatch(self, chosen: Chosen, scope: dict[str, Any], body: bytes) -> Messages:
        messages = Messages(self.stories[chosen.replica_id].pop(0))
        if not self.stories[chosen.replica_id]:
            del self.stories[chosen.replica_id]
        self.dispatched.append((chosen.replica_id, messages))
        return messages

    def broadcast(self, method: str, scope: dict[str, Any], body: bytes) -> "Handle":
        assert method == "whole_answer"
        return self

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> list[Any]:
        if not self.says:
            raise DeploymentUnavailableError("Engine")
        return self.says


def ask(handle: Handle, *bodies: Any, path: str = "/v1/completions", method: str = "POST") -> list[httpx.Response]:
    async def all_of_them() -> list[httpx.Response]:
        transport = httpx.ASGITransport(Ingress(handle).__serve_build_asgi_app__())
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [await client.request(method, path, json=body) for body in bodies]

    return asyncio.run(all_of_them())


def test_a_response_is_passed_on_with_the_name_of_the_replica():
    (response,) = ask(Handle({"a": [[[], WHOLE]]}), {})
    assert (response.status_code, response.content) == (200, WHOLE[1]["body"])
    assert response.headers["x-lamps-replica"] == "a"
    assert "x-request-id" not in response.headers


def test_a_replica_that_is_gone_before_it_was_sent_the_request_is_replaced_by_another():
    handle = Handle({"a": [[ReplicaUnavailableError("gone")]], "b": [[[], WHOLE]]})
    (response,) = ask(handle, {})
    assert response.headers["x-lamps-replica"] == "b"
    assert [name for name, _ in handle.dispatched] == ["a", "b"]


@pytest.mark.parametrize("story", [[Lost()], [[], Lost()], [[], []]], ids=["at once", "before it answers", "in silence"])
def test_a_request_that_may_have_begun_is_never_begun_again(story: list[Any]):
    handle = Handle({"a": [story], "b": [[[], WHOLE]]})
    (response,) = ask(handle, {})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "replica_lost")
    assert [name for name, _ in handle.dispatched] == ["a"]


def test_a_stream_that_breaks_off_ends_with_an_error_in_it():
    said = {"type": "http.response.body", "body": b'data: {"text": "so"}\n\n', "more_body": True}
    (response,) = ask(Handle({"a": [[[], [STREAM, said], Lost()]]}), {})
    first, error, done, rest = response.text.split("\n\n")
    assert (response.status_code, first, done, rest) == (200, 'data: {"text": "so"}', "data: [DONE]", "")
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "replica_lost"


def test_another_response_that_breaks_off_breaks_the_connection():
    with pytest.raises(Exception, match="was lost before the answer was complete"):
        ask(Handle({"a": [[[], [START], Lost()]]}), {})


def test_without_replicas_the_answer_is_that_there_are_none():
    (response,) = ask(Handle({}), {})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "loading")


def test_a_place_at_a_replica_is_waited_for_only_so_long(monkeypatch):
    class Full(Handle):
        @asynccontextmanager
        async def choose_replica(self, routed: Routed) -> AsyncIterator[Chosen]:
            await asyncio.Event().wait()
            yield Chosen("never")

    monkeypatch.setattr(ray_ingress, "WAIT_S", 0.01)
    (response,) = ask(Full({"a": []}), {})
    assert response.status_code == 503


def test_the_results_of_calls_go_back_to_the_replica_that_made_them():
    calling = [[[], [START, {"type": "http.response.body", "body": b'{"id": "call_%d"}' % number}]] for number in (7, 8)]
    handle = Handle({"a": [calling[0], [[], WHOLE], [[], WHOLE]], "b": [calling[1], [[], WHOLE], [[], WHOLE]]})
    eighth, seventh = ({"messages": [{"role": "tool", "tool_call_id": call_id}]} for call_id in ("call_8", "call_7"))
    responses = ask(handle, {"session_id": "keeps a from being chosen for want of another reason"}, {}, eighth, seventh)
    assert [response.headers["x-lamps-replica"] for response in responses] == ["a", "b", "b", "a"]


@pytest.mark.parametrize("story", [[None], [[], None], [[], [STREAM], None]], ids=["unbegun", "begun", "streaming"])
def test_a_client_that_leaves_cancels_the_call(story: list[Any]):
    handle = Handle({"a": [story]})

    async def leave() -> None:
        ingress = Ingress(handle)
        app, sent = ingress.__serve_build_asgi_app__(), [{"type": "http.request", "body": b"{}"}]
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None: ...

        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "root_path": "", "headers": [], "query_string": b""}
        call = asyncio.ensure_future(app(scope, receive, send))
        await until(lambda: bool(handle.dispatched))
        left.set()
        await asyncio.wait_for(call, 5.0)

    asyncio.run(leave())
    assert [messages.is_cancelled for _, messages in handle.dispatched] == [True]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def test_health_and_metrics_are_asked_of_all():
    health = Answer(200, [], b'{"status": "ok", "kv": {"free": 2}}')
    handle = Handle({}, says=[("a", health), ("b", health), Lost()])
    (response,) = ask(handle, None, path="/health", method="GET")
    assert (response.status_code, response.json()["kv"]) == (200, {"free": 4})
    (nobody,) = ask(Handle({}), None, path="/metrics", method="GET")
    assert nobody.status_code == 503


def test_other_methods_on_those_paths_are_for_one_replica():
    (response,) = ask(Handle({"a": [[[], WHOLE]]}), {}, path="/health")
    assert response.headers["x-lamps-replica"] == "a"


def test_ray_serve_is_told_the_one_replica_that_the_router_chose():
    @dataclass(frozen=True)
    class Id:
        unique_id: str

    @dataclass(frozen=True)
    class Running:
        replica_id: Id
        routing_stats: Any

    @dataclass
    class Pending:
        args: list[Any]

    busy, free = Running(Id("a"), {"predicted_token_s": 9.0, "num_requests": 1}), Running(Id("b"), {})
    pending = Pending([Routed(Router(), RequestKey())])
    assert asyncio.run(ChosenReplica.choose_replicas(None, [busy, free], pending)) == [[free]]
