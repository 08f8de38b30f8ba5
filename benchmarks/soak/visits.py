"""What clients do: each visit is one of the ways to use the server, or to misuse it, and says what it may be answered."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from lamps_jax.embedded.questions import arithmetic

OVERLOADED = 429
BACK_OFF_S = 0.5
"""Before a client that was refused for want of room comes again."""

SERVER_TOOLS = ("Calculator", "Hang", "Crash", "Remote", "Note")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"is_even": {"type": "boolean"}, "size": {"enum": ["small", "large"]}},
    "required": ["is_even", "size"],
    "additionalProperties": False,
}


@dataclass(slots=True)
class Visit:
    """What became of one visit.

    Attributes:
        statuses: Of the responses, in a row.
        calls: What the server says that it ran, of the tools that keep the ledger.
        left: Whether the client left before the end, so that calls may have run which it has not heard of.
        problem: What should not have been; "" if all was well.
    """

    kind: str
    statuses: list[int] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    left: bool = False
    problem: str = ""


class Visitor:
    """A client that does what chance says.

    Args:
        key: That the server wants.
    """

    def __init__(self, client: httpx.AsyncClient, rng: random.Random, key: str):
        self._client, self._rng, self._headers = client, rng, {"Authorization": f"Bearer {key}"}
        self._visits: dict[str, tuple[int, Callable[[Visit], Awaitable[None]]]] = {
            "chat": (20, self._chat),
            "completion": (12, self._completion),
            "server tool": (12, self._server_tool),
            "client tools": (10, self._client_tools),
            "abandoned call": (3, self._abandoned),
            "structured": (8, self._structured),
            "disconnect": (20, self._disconnect),
            "wrong": (12, self._wrong),
            "deadline": (3, self._deadline),
        }

    async def visit(self) -> Visit:
        """One visit, by chance."""
        kinds = list(self._visits)
        kind = self._rng.choices(kinds, [self._visits[each][0] for each in kinds])[0]
        visit = Visit(kind)
        try:
            await self._visits[kind][1](visit)
        except Exception as error:  # whatever it is, it is for the report
            visit.problem = visit.problem or f"{type(error).__name__}: {error}"
        return visit

    def _question(self) -> dict[str, Any]:
        rng = self._rng
        text = rng.choice(("What is 48*37?", "Who was Albert Einstein?", arithmetic.generate(rng, "held_out").text))
        system = [{"role": "system", "content": "You are a helpful assistant."}] if rng.random() < 0.3 else []
        return {
            "model": "embedded", "messages": [*system, {"role": "user", "content": text}],
            "max_tokens": rng.randint(1, 80), "temperature": rng.choice((0, 1)), "seed": rng.randrange(2**32),
        }  # fmt: skip

    async def _chat(self, visit: Visit) -> None:
        more = {"n": self._rng.randint(2, 3)} if self._rng.random() < 0.2 else {}
        more |= {"logprobs": True, "top_logprobs": 2} if self._rng.random() < 0.2 else {}
        await self._ask(visit, {**self._question(), **more}, stream=self._rng.random() < 0.5)

    async def _completion(self, visit: Visit) -> None:
        rng = self._rng
        body = {
            "model": "embedded", "prompt": rng.choice(("Q: What is 12*12?\nA:", ["Q: Hello", "Q: Bye"], [5, 6, 7])),
            "max_tokens": rng.randint(1, 60), "temperature": 1, "echo": rng.random() < 0.2,
        }  # fmt: skip
        await self._ask(visit, body, path="/v1/completions", stream=rng.random() < 0.5)

    async def _server_tool(self, visit: Visit) -> None:
        name = self._rng.choice(SERVER_TOOLS)
        await self._ask(visit, {**self._question(), **_forced(name), "max_tokens": 120}, stream=self._rng.random() < 0.5)

    async def _client_tools(self, visit: Visit) -> None:
        body = {**self._question(), "tools": [WEATHER], "tool_choice": "required", "max_tokens": 200}
        reply = await self._ask(visit, body)
        if reply is None or reply["choices"][0]["finish_reason"] == "length":
            return
        message = reply["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        if not calls or any(set(json.loads(call["function"]["arguments"])) != {"city", "days"} for call in calls):
            visit.problem = f"a call was required, and {message} came"
            return
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
        await self._ask(visit, {**body, "messages": [*body["messages"], message, *results], "tool_choice": "auto"})

    async def _abandoned(self, visit: Visit) -> None:
        await self._ask(visit, {**self._question(), "tools": [WEATHER], "tool_choice": "required", "max_tokens": 200})

    async def _structured(self, visit: Visit) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "number", "schema": SCHEMA}}
        body = {**self._question(), "max_tokens": 100, "response_format": wanted, "tool_choice": "none"}
        reply = await self._ask(visit, body)
        if reply is not None and reply["choices"][0]["finish_reason"] == "stop":
            content = reply["choices"][0]["message"]["content"]
            if set(json.loads(content)) != {"is_even", "size"}:
                visit.problem = f"JSON was wanted, and {content!r} came"

    async def _deadline(self, visit: Visit) -> None:
        body = {**self._question(), "max_tokens": 200, "ignore_eos": True, "timeout_s": self._rng.uniform(0.01, 0.3)}
        await self._ask(visit, body, allowed=(200, 504))
        visit.left = True

    async def _disconnect(self, visit: Visit) -> None:
        """Leaves somewhere between the sending and the end: while it waits, computes, streams or is in a call."""
        rng, visit.left = self._rng, True
        body = {**self._question(), "max_tokens": 200, "ignore_eos": True, "stream": rng.random() < 0.5}
        body |= _forced(rng.choice(SERVER_TOOLS)) if rng.random() < 0.5 else {}
        body |= {"n": 2} if rng.random() < 0.2 else {}
        try:
            async with asyncio.timeout(rng.choice((0.02, 0.2, 1.0)) * rng.random()):
                await self._ask(visit, body)
        except TimeoutError:
            pass

    async def _wrong(self, visit: Visit) -> None:
        chat, question = "/v1/chat/completions", self._question()
        content, headers, allowed, path = self._rng.choice(
            (
                (b'{"model": ', {}, (400,), chat),
                (b"\xff\xfe", {}, (400,), chat),
                (json.dumps({**question, "messages": "hello"}).encode(), {}, (400, 422), chat),
                (json.dumps({**question, "temperature": 99}).encode(), {}, (400, 422), chat),
                (json.dumps({**question, "n": 0}).encode(), {}, (400, 422), chat),
                (json.dumps({**question, "model": "other"}).encode(), {}, (404,), chat),
                (json.dumps({"model": "embedded", "prompt": "one two " * 4000}).encode(), {}, (400,), "/v1/completions"),
                (b" " * (9 * 2**20), {}, (413,), chat),
                (json.dumps(question).encode(), {"Authorization": "Bearer wrong-key"}, (401,), chat),
                (json.dumps(question).encode(), {}, (404,), "/v1/nowhere"),
                (json.dumps({**question, **_forced("Nobody")}).encode(), {}, (400,), chat),
            )
        )
        response = await self._client.post(path, content=content, headers={**self._headers, **headers})
        visit.statuses.append(response.status_code)
        if response.status_code == OVERLOADED:
            await asyncio.sleep(BACK_OFF_S)
        elif response.status_code not in allowed:
            visit.problem = f"{content[:80]!r} to {path} is answered {response.status_code}: {response.text[:200]}"
        elif not response.json()["error"]["message"]:
            visit.problem = "an error without a message"

    async def _ask(
        self, visit: Visit, body: dict[str, Any], *, path: str = "/v1/chat/completions", stream: bool = False,
        allowed: tuple[int, ...] = (200,),
    ) -> dict[str, Any] | None:  # fmt: skip
        """The reply to a request; None if it was refused, or streamed."""
        if stream or body.get("stream"):
            await self._stream(visit, {**body, "stream": True}, path, allowed)
            return None
        response = await self._client.post(path, json=body, headers=self._headers)
        visit.statuses.append(response.status_code)
        if response.status_code != 200:
            await self._refused(visit, response.status_code, response.text, allowed)
            return None
        reply = response.json()
        for part in (reply, *reply["choices"]):
            visit.calls += part.get("lamps", {}).get("calls", ())
        return reply

    async def _stream(self, visit: Visit, body: dict[str, Any], path: str, allowed: tuple[int, ...]) -> None:
        async with self._client.stream("POST", path, json=body, headers=self._headers) as response:
            visit.statuses.append(response.status_code)
            if response.status_code != 200:
                await self._refused(visit, response.status_code, (await response.aread()).decode(errors="replace"), allowed)
                return
            last = ""
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    self._chunk(visit, json.loads(line.removeprefix("data: ")), allowed)
                last = line or last
            if last != "data: [DONE]":
                visit.problem = visit.problem or f"a stream ended with {last[:200]!r}"

    def _chunk(self, visit: Visit, chunk: dict[str, Any], allowed: tuple[int, ...]) -> None:
        if "error" in chunk:
            visit.left = True
            if 504 not in allowed:
                visit.problem = f"a stream broke off: {chunk['error']['message']}"
        for part in (chunk, *chunk.get("choices", ())):
            call = part.get("lamps", {}).get("call")
            if call is not None and call["result"] is not None:
                visit.calls.append(call)

    async def _refused(self, visit: Visit, status: int, text: str, allowed: tuple[int, ...]) -> None:
        if status == OVERLOADED:
            await asyncio.sleep(BACK_OFF_S)
        elif status not in allowed:
            visit.problem = f"answered {status}: {text[:300]}"


def _forced(name: str) -> dict[str, Any]:
    return {"tool_choice": {"type": "function", "function": {"name": name}}}
