"""A client of streamed chats that looks at the clock: what it saw of one, down to the text and the calls."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.document import summary

MOST_CONNECTIONS = 8192


@dataclass(slots=True)
class SeenStream:
    """What came of one request; seconds count from its sending.

    Attributes:
        status: Of the response; 0 if none came.
        error: What went wrong; "" if nothing did.
        text: All of it.
        calls: The client's calls, put together from their pieces.
        server_calls: Each call that the server ran, as it began and as it ended.
        arrivals_s: When chunks with text, or with a call, came.
        is_complete: Whether it ended as a stream should: a reason, and [DONE].
    """

    status: int = 0
    error: str = ""
    text: str = ""
    finish_reason: str | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    server_calls: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    arrivals_s: list[float] = field(default_factory=list)
    e2e_s: float = 0.0
    is_complete: bool = False

    @property
    def ttft_s(self) -> float:
        """To the first text or call; to the end, if neither came."""
        return self.arrivals_s[0] if self.arrivals_s else self.e2e_s

    @property
    def num_tokens(self) -> int:
        """Tokens sampled."""
        return self.usage.get("completion_tokens", 0)

    @property
    def cached_tokens(self) -> int:
        """Of its prompt, those whose KV was found."""
        return self.usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)

    def take(self, chunk: dict[str, Any], now_s: float) -> None:
        """Takes in one chunk."""
        if "error" in chunk:
            self.error = chunk["error"]["message"]
        self.usage = chunk.get("usage") or self.usage
        if call := chunk.get("lamps", {}).get("call"):
            self.server_calls.append(call)
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            if delta.get("content") or delta.get("tool_calls"):
                self.arrivals_s.append(now_s)
            self.text += delta.get("content") or ""
            for piece in delta.get("tool_calls") or ():
                if piece["index"] == len(self.calls):
                    self.calls.append({**piece, "function": {"name": piece["function"]["name"], "arguments": ""}})
                self.calls[piece["index"]]["function"]["arguments"] += piece["function"].get("arguments") or ""
            self.finish_reason = choice["finish_reason"] or self.finish_reason


def many_connections(url: str, *, api_key: str = "") -> httpx.AsyncClient:
    """A client that may have thousands of requests under way, and waits for as long as they take."""
    limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return httpx.AsyncClient(base_url=url, limits=limits, timeout=None, headers=headers)


async def stream_chat(client: httpx.AsyncClient, body: dict[str, Any]) -> SeenStream:
    """Streams one chat to its end; what goes wrong is part of the answer."""
    seen, sent_s = SeenStream(), time.perf_counter()
    body = {"model": "embedded", **body, "stream": True, "stream_options": {"include_usage": True}}
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            seen.status = response.status_code
            if response.is_error:
                seen.error = (await response.aread()).decode(errors="replace")
            else:
                await _read(response, seen, sent_s)
    except httpx.HTTPError as error:
        seen.error = f"{type(error).__name__}: {error}"
    seen.e2e_s = time.perf_counter() - sent_s
    return seen


async def _read(response: httpx.Response, seen: SeenStream, sent_s: float) -> None:
    async for line in response.aiter_lines():
        if line == "data: [DONE]":
            seen.is_complete = seen.finish_reason is not None and not seen.error
        elif line.startswith("data: "):
            seen.take(json.loads(line.removeprefix("data: ")), time.perf_counter() - sent_s)


def latencies(streams: list[SeenStream]) -> dict[str, dict[str, float]]:
    """Mean and percentiles of the times of streams."""
    return {
        "ttft_s": summary([stream.ttft_s for stream in streams]),
        "e2e_s": summary([stream.e2e_s for stream in streams]),
    }
