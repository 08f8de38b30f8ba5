"""Where requests to a deployment under Ray Serve come in, and are passed on to a replica of the engine."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError  # pyright: ignore[reportMissingImports]
from ray.serve.handle import DeploymentHandle  # pyright: ignore[reportMissingImports]
from ray.serve.request_router import RequestRouter  # pyright: ignore[reportMissingImports]
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from lamps_jax.serve.all_replicas import all_health, all_metrics, error_answer
from lamps_jax.serve.asgi_call import Answer, is_last, plain_scope
from lamps_jax.serve.connection import ClientLeft, while_connected
from lamps_jax.serve.protocol import MAX_BODY_BYTES, RequestError
from lamps_jax.serve.request_key import RequestKey, request_key
from lamps_jax.serve.routing import ReplicaLoad, Router
from lamps_jax.serve.traffic import header_of

logger = logging.getLogger(__name__)

REPLICA_HEADER = b"x-lamps-replica"
"""Names the replica in each response."""

WAIT_S = 30.0
"""How long a request waits for a replica, where all are gone or full."""

LOOK_S = 10.0
"""How long replicas may take to say how they are."""

_CALL_ID = re.compile(rb'"id": ?"(call_[\w-]{1,64})"')


class Routed:
    """A request on its way, with the router that chooses for it."""

    def __init__(self, router: Router, key: RequestKey):
        self.router, self.key = router, key

    def choose(self, replicas: Mapping[str, Mapping[str, Any]]) -> str:
        """The replica that gets it, of those of which Ray Serve has told what they have to do."""
        return self.router.choose(self.key, {name: ReplicaLoad(**load) for name, load in replicas.items()})


class ChosenReplica(RequestRouter):
    """Has Ray Serve send each request to the replica that its own router chooses, among those that it knows to live."""

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """That replica alone: one that is full is waited for."""
        replicas = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        routed: Routed = pending_request.args[0]
        return [[replicas[routed.choose({name: replica.routing_stats for name, replica in replicas.items()})]]]


class Ingress:
    """Passes requests on.

    Args:
        engines: The replicas; their methods are those of `EngineReplica`.
    """

    def __init__(self, engines: DeploymentHandle):
        self._engines, self._answers = engines, engines.options(stream=True, method_name="answer")
        self._router = Router()

    def __serve_build_asgi_app__(self) -> Starlette:
        """The application that Ray Serve runs."""
        return Starlette(routes=[Mount("/", app=self._take)])

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # there is none to talk to
            return
        body = await _read(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        combine = {"/health": all_health, "/metrics": all_metrics}.get(path) if scope["method"] in ("GET", "HEAD") else None
        response = _Response(send)
        try:
            if combine is not None:
                work = self._ask_all(plain_scope(scope), body, combine, response)
            else:
                work = self._pass_on(plain_scope(scope), body, response)
            await while_connected(receive, work)
        except ClientLeft:
            pass

    async def _ask_all(
        self, scope: Scope, body: bytes, combine: Callable[[Mapping[str, Answer]], Answer], response: "_Response"
    ) -> None:
        """Answers with what all replicas say."""
        try:
            asked = self._engines.broadcast("whole_answer", scope, body)
            answers = await asked.results_async(timeout_s=LOOK_S, return_exceptions=True)
        except (DeploymentUnavailableError, TimeoutError):
            answers = []
        await response.send_whole(combine(dict(answer for answer in answers if not isinstance(answer, BaseException))))

    async def _pass_on(self, scope: Scope, body: bytes, response: "_Response") -> None:
        """Answers with what one replica says."""
        key = request_key(scope["headers"], body)
        try:
            async with aclosing(self._answer(key, scope, body, response)) as batches:
                async for messages in batches:
                    await self._send(key, messages, response)
        except RequestError as error:
            await response.fail(error)
        finally:
            self._router.finished(key)

    async def _answer(
        self, key: RequestKey, scope: Scope, body: bytes, response: "_Response"
    ) -> AsyncGenerator[list[Message], None]:
        """What a replica answers; only a request that was not sent to one yet is sent to another.

        Raises:
            RequestError: If there is none, or it is lost before the answer is complete.
        """
        messages = None
        try:
            while messages is None:
                messages = await self._begin(key, scope, body, response)
            async for batch in messages:
                yield batch
                if batch and is_last(batch[-1]):
                    return
            raise EOFError("its answer has no end")
        except RequestError:
            raise
        except Exception as error:  # whatever Ray has to say of a replica that is gone
            logger.warning("replica %s was lost before it had answered (%s: %s)", response.replica, type(error).__name__, error)
            raise RequestError(
                "the replica that ran this request was lost before the answer was complete; the request was not begun again, "
                "for its tools may have run; send it again if that does no harm",
                status=502,
                code="replica_lost",
            ) from error
        finally:
            if messages is not None and not response.is_whole:
                messages.cancel()

    async def _begin(self, key: RequestKey, scope: Scope, body: bytes, response: "_Response") -> Any:
        """The messages of a replica that has begun with a request; None if it was gone before it was sent the request."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(WAIT_S):
                    chosen = await stack.enter_async_context(self._answers.choose_replica(Routed(self._router, key)))
            except (TimeoutError, DeploymentUnavailableError) as error:
                raise RequestError(
                    f"no replica was ready within {WAIT_S:g} s; try again soon", status=503, code="loading"
                ) from error
            response.replica = chosen.replica_id
            messages = self._answers.dispatch(chosen, scope, body)
            try:
                await anext(messages)
            except ReplicaUnavailableError:
                return None
            except asyncio.CancelledError:
                messages.cancel()
                raise
            return messages

    async def _send(self, key: RequestKey, messages: list[Message], response: "_Response") -> None:
        for message in messages:
            if calls := _CALL_ID.findall(message.get("body", b"")):
                self._router.called(key, (call_id.decode() for call_id in calls))
            await response.send(message)


class _Response:
    """What has been sent to a client, and what can still be said if nothing more comes."""

    def __init__(self, send: Send):
        self._send = send
        self.replica = ""
        self.is_whole = self._is_begun = self._is_stream = False

    async def send(self, message: Message) -> None:
        """Passes a message on, with the name of the replica; Ray Serve adds the request's id itself."""
        if message["type"] == "http.response.start":
            self._is_begun = True
            headers = [(name, value) for name, value in message.get("headers", ()) if name != b"x-request-id"]
            self._is_stream = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
            message = {**message, "headers": [*headers, (REPLICA_HEADER, self.replica.encode())] if self.replica else headers}
        self.is_whole |= is_last(message)
        await self._send(message)

    async def send_whole(self, answer: Answer) -> None:
        """Sends a response that is complete."""
        headers = [(name, value) for name, value in answer.headers if name != b"content-length"]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": answer.body})

    async def fail(self, error: RequestError) -> None:
        """Ends with an error: as the response if there is none yet, as a chunk of a stream, or by a torn connection."""
        if not self._is_begun:
            await self.send_whole(error_answer(error))
        elif self._is_stream and not self.is_whole:
            chunk = f"data: {json.dumps(error.body())}\n\ndata: [DONE]\n\n"
            await self.send({"type": "http.response.body", "body": chunk.encode()})
        else:
            raise error


async def _read(scope: Scope, receive: Receive) -> bytes:
    """The body of a request, or so much of it that it is refused: nothing, if its head says that it will be."""
    declared = header_of(scope["headers"], b"content-length") or ""
    if declared.isdecimal() and int(declared[:20]) > MAX_BODY_BYTES:
        return b""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)
