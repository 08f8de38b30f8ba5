"""A workload played to a server of the OpenAI API: calls are run here, between two requests, as clients of such servers do.

A prompt is text, words that mean nothing; a script's tokens are turned into words by what the server says that they count. What
comes after a call begins with all that was said before, so that a server which keeps KV by prefix finds it again.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from lamps_jax.metrics import Objectives
from lamps_jax.sim.arrivals import arrivals
from lamps_jax.sim.observer import ScriptOutcome
from lamps_jax.sim.results import latencies_of, of_outcomes
from lamps_jax.sim.spec import Record
from lamps_jax.sim.workload import Arrival, Segment, Span, Workload

WORDS = ("time", "people", "water", "word", "number", "part", "sound", "work", "place", "year", "back", "thing", "name", "line")
CALIBRATION_WORDS = 64
MAX_CONNECTIONS = 4096


class ServerError(ValueError):
    """A server that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """A server, and what is to be known of it.

    Attributes:
        tokens_per_word: Of the words that prompts are made of.
    """

    url: str
    model: str
    headers: dict[str, str]
    tokens_per_word: float = 1.0

    @classmethod
    def connect(cls, url: str, *, model: str | None = None, api_key: str = "") -> "RemoteServer":
        """Asks a server which model it serves, and how many tokens a word has there.

        Raises:
            ServerError: If nobody answers, or not as the OpenAI API has it.
        """
        url = url.rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=60.0) as client:
                if model is None:
                    model = str(_checked(client.get("/v1/models")).json()["data"][0]["id"])
                counts = []
                for num_words in (1, 1 + CALIBRATION_WORDS):
                    body = {"model": model, "prompt": _words(num_words, "calibration"), "max_tokens": 1}
                    counts.append(_checked(client.post("/v1/completions", json=body)).json()["usage"]["prompt_tokens"])
        except httpx.HTTPStatusError as error:
            raise ServerError(f"{url} answers with {error.response.status_code}: {error.response.text[:200]}") from None
        except httpx.HTTPError as error:
            raise ServerError(
                f"nothing answers at {url} ({type(error).__name__}); start one with `lamps-jax serve`, or mend --url"
            ) from None
        except (KeyError, IndexError, TypeError, ValueError):
            raise ServerError(f"{url} does not answer as the OpenAI API does; it needs /v1/models and /v1/completions") from None
        return cls(url, model, headers, max(0.1, (counts[1] - counts[0]) / CALIBRATION_WORDS))

    def text(self, num_tokens: int, key: str) -> str:
        """Words that count about so many tokens; of one key always the same."""
        return _words(max(1, round(num_tokens / self.tokens_per_word)), key)


def _checked(response: httpx.Response) -> httpx.Response:
    return response.raise_for_status()


def _words(count: int, key: str) -> str:
    return " " + " ".join(Random(key).choices(WORDS, k=count))


def run_remote(
    server: RemoteServer,
    workload: Workload,
    *,
    rate_rps: float | None,
    seed: int,
    window_s: float,
    drain: bool,
    objectives: Objectives,
    record: Record,
) -> dict[str, Any]:
    """Plays arrivals to a server in real time, and gives what the results document says of a run.

    Raises:
        ValueError: If the workload has no arrival times and no rate is given.
    """
    kind = "trace" if rate_rps is None else "poisson"
    coming = arrivals(workload, kind, rate_rps=rate_rps, seed=seed, window_s=window_s)
    session = _Session(server)
    ended_s = asyncio.run(session.play(coming, window_s=window_s, drain=drain))
    end_s = ended_s if drain else window_s
    for reason, count in session.failures.most_common(3):
        sys.stderr.write(f"{count} of {len(coming)} requests were refused or failed: {reason}\n")
    run = {
        "policy": "server", "label": server.model, "workload": workload.name, "model": server.model, "hardware": server.url,
        "rate_rps": rate_rps, "seed": seed, "window_s": window_s, "drained": drain,
        **of_outcomes(session.outcomes, session.gaps_s, end_s, objectives),
        "found_tokens": session.num_found_tokens, "prompt_tokens": session.num_prompt_tokens, "simulated_s": end_s,
    }  # fmt: skip
    if record.latencies:
        run["latencies"] = latencies_of([outcome for outcome in session.outcomes if outcome.finished_by(end_s)])
    return run


@dataclass(slots=True)
class _Session:
    """Clients of one run."""

    server: RemoteServer
    outcomes: list[ScriptOutcome] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    num_found_tokens: int = 0
    num_prompt_tokens: int = 0
    _began_s: float = 0.0

    async def play(self, coming: Iterable[Arrival], *, window_s: float, drain: bool) -> float:
        """Lets every client come when it is due; gives the seconds that all took."""
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
        server, loop = self.server, asyncio.get_running_loop()
        async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=None, limits=limits) as client:
            self._began_s, clients = loop.time(), list[asyncio.Task[None]]()
            for arrival in coming:
                await asyncio.sleep(self._began_s + arrival.time_s - loop.time())
                outcome = ScriptOutcome(arrival)
                self.outcomes.append(outcome)
                clients.append(asyncio.create_task(self._guarded(client, outcome)))
            if clients:
                left_s = None if drain else max(0.0, self._began_s + window_s - loop.time())
                _, unfinished = await asyncio.wait(clients, timeout=left_s)
                for task in unfinished:
                    task.cancel()
                await asyncio.gather(*unfinished, return_exceptions=True)
            return loop.time() - self._began_s

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time() - self._began_s

    async def _guarded(self, client: httpx.AsyncClient, outcome: ScriptOutcome) -> None:
        """Plays a script; one that fails is counted, and disturbs no other."""
        try:
            await self._play(client, outcome)
        except httpx.HTTPStatusError as error:
            outcome.refused = f"status {error.response.status_code}: {error.response.text[:200]}"
        except (httpx.HTTPError, ValueError, KeyError) as error:
            outcome.refused = f"{type(error).__name__}: {error}"
        if outcome.refused:
            self.failures[outcome.refused] += 1

    async def _play(self, client: httpx.AsyncClient, outcome: ScriptOutcome) -> None:
        script, index = outcome.arrival.script, outcome.arrival.index
        prompt = "".join(self._span(span, f"{index}/prompt/{number}") for number, span in enumerate(script.prompt))
        segments = script.segments if script.segments[-1].call is None else (*script.segments, Segment(1))
        for number, segment in enumerate(segments):
            reply = await self._complete(client, prompt, segment.num_generated_tokens, outcome)
            if segment.call is not None:
                await asyncio.sleep(segment.call.duration_s)
                outcome.api_s += segment.call.duration_s
                prompt += reply
                if segment.call.num_returned_tokens:
                    prompt += self.server.text(segment.call.num_returned_tokens, f"{index}/{number}")
        outcome.finished_s = self._now_s()

    def _span(self, span: Span, owner: str) -> str:
        return self.server.text(span.num_tokens, f"private/{owner}" if span.key is None else f"shared/{span.key}")

    async def _complete(self, client: httpx.AsyncClient, prompt: str, num_tokens: int, outcome: ScriptOutcome) -> str:
        """Streams one completion of just so many tokens; gives its text."""
        body = {
            "model": self.server.model, "prompt": prompt, "max_tokens": num_tokens, "min_tokens": num_tokens,
            "ignore_eos": True, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        text, last_s = "", None
        async with client.stream("POST", "/v1/completions", json=body) as response:
            if response.is_error:
                await response.aread()
                response.raise_for_status()
            async for line in response.aiter_lines():
                if not line.startswith("data:") or line.removeprefix("data:").strip() == "[DONE]":
                    continue
                event = json.loads(line.removeprefix("data:"))
                if "error" in event:
                    raise ValueError(event["error"]["message"])
                if any(choice["text"] for choice in event["choices"]):
                    now = self._now_s()
                    if outcome.first_token_s is None:
                        outcome.first_token_s = now
                    if last_s is not None:
                        self.gaps_s.append(now - last_s)
                    outcome.last_token_s = last_s = now
                    text += event["choices"][0]["text"]
                if usage := event.get("usage"):
                    outcome.num_tokens += usage["completion_tokens"]
                    self.num_prompt_tokens += usage["prompt_tokens"]
                    self.num_found_tokens += (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return text
