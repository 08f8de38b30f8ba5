"""Sessions of real agents, played by the `openai` client: what each policy makes of the gaps in which clients run their tools.

    python -m benchmarks.agent_gaps --gaps agent_gaps.csv --out benchmarks/results/agent_gaps.json

The CSV has a row per request of an agent's sessions: ``trace,agent,idx,t_s,in_tokens,shared_prefix_tokens,out_tokens,…,
think_time_s``. Lengths and gaps are scaled, for the embedded model's context is short and so is the time. Each turn but the last
must call a tool, which the client "runs" for as long as the gap lasts; then it comes back with the result and all that was said
before. For every policy a server is started, with a KV pool that cannot hold all sessions; with ``--client-keep-s`` 0 it keeps
nothing for clients that will come back.
"""

import argparse
import asyncio
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

from benchmarks.document import summary, write_document
from benchmarks.server_process import options_of, serving
from lamps_jax.bench.remote import RemoteServer
from lamps_jax.sim.traces.read import read_trace

DEFAULT_GAPS = Path(__file__).parents[2] / "shared" / "data" / "agent_gaps.csv"
LEAST_TURNS = 4
ROOM_TOKENS = 160
"""Left of the context for a reply, and for words that count more than was thought."""

CHARS_PER_TOKEN = 2
LENGTH_STEP = 16
"""Replies have lengths of so many characters, or twice as many, …: each length is a grammar."""


@dataclass(frozen=True, slots=True)
class SessionTurn:
    """One request of a session: what its prompt adds, how long its reply is, and the client's seconds before it."""

    num_added_tokens: int
    num_reply_tokens: int
    gap_s: float


@dataclass(slots=True)
class SeenTurn:
    """What the client saw of one turn; `ttft_s` is what the server says."""

    is_first: bool
    ttft_s: float
    e2e_s: float
    prompt_tokens: int
    cached_tokens: int


@dataclass(slots=True)
class Played:
    """What came of one run."""

    turns: list[SeenTurn] = field(default_factory=list)
    sessions_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def sessions_of(path: Path, arguments: argparse.Namespace) -> list[list[SessionTurn]]:
    """The first sessions of a file that are long enough, scaled and cut to what the context holds."""
    sessions = list[list[SessionTurn]]()
    for script in read_trace(path).scripts:
        turns, context = list[SessionTurn](), 0
        for turn in script.turns():
            added = max(8, round(arguments.token_scale * (turn.num_prompt_tokens if not turns else _added(turn))))
            reply = max(8, round(arguments.token_scale * turn.num_generated_tokens))
            context += added + reply + 8
            if len(turns) == arguments.turns or context + ROOM_TOKENS > arguments.max_model_len:
                break
            turns.append(SessionTurn(added, reply, min(arguments.time_scale * turn.wait_s, arguments.max_gap_s)))
        if len(turns) >= LEAST_TURNS:
            sessions.append(turns)
        if len(sessions) == arguments.sessions:
            break
    return sessions


def _added(turn: Any) -> int:
    return sum(span.num_tokens for span in turn.added)


def tool(num_tokens: int) -> dict[str, Any]:
    """A tool whose only argument is a text of about so many tokens."""
    chars = LENGTH_STEP * max(1, round(CHARS_PER_TOKEN * num_tokens / LENGTH_STEP))
    text = {"type": "string", "minLength": chars, "maxLength": chars}
    parameters = {"type": "object", "properties": {"text": text}, "required": ["text"], "additionalProperties": False}
    return {"type": "function", "function": {"name": "work", "parameters": parameters}}


class Agents:
    """The clients of one server.

    Args:
        server: Knows how many tokens words have there.
    """

    def __init__(self, client: openai.AsyncOpenAI, server: RemoteServer):
        self._client, self._server, self.played = client, server, Played()

    async def play(self, number: int, turns: Sequence[SessionTurn], begins_s: float) -> None:
        """One session, from its beginning to its last turn; an error ends it."""
        await asyncio.sleep(begins_s)
        began_s, gaps_s, messages = time.perf_counter(), 0.0, list[Any]()
        try:
            for index, turn in enumerate(turns):
                text = self._server.text(turn.num_added_tokens, f"{number}/{index}")
                if index:
                    await asyncio.sleep(turn.gap_s)
                    gaps_s += turn.gap_s
                    messages += [{"role": "tool", "tool_call_id": call.id, "content": text} for call in messages[-1].tool_calls]
                else:
                    messages.append({"role": "user", "content": text})
                messages.append(await self._ask(number, turn, messages, is_first=not index, is_last=index == len(turns) - 1))
        except (openai.APIError, ValueError) as error:
            self.played.errors.append(f"{type(error).__name__}: {error}"[:300])
            return
        self.played.sessions_s.append(time.perf_counter() - began_s - gaps_s)

    async def _ask(self, number: int, turn: SessionTurn, messages: list[Any], *, is_first: bool, is_last: bool) -> Any:
        sent_s = time.perf_counter()
        tokens = turn.num_reply_tokens
        exact = {"ignore_eos": True, "min_tokens": tokens} if is_last else {}
        reply: Any = await self._client.chat.completions.create(
            model=self._server.model,
            messages=messages,
            tools=[tool(tokens)],  # pyright: ignore[reportArgumentType]
            tool_choice="none" if is_last else "required",
            max_tokens=tokens if is_last else ROOM_TOKENS,
            temperature=0,
            extra_body={"session_id": str(number), "end_of_session": is_last, **exact},
        )
        usage = reply.usage
        self.played.turns.append(
            SeenTurn(
                is_first,
                reply.model_extra["lamps"]["timings"]["ttft_s"],
                time.perf_counter() - sent_s,
                usage.prompt_tokens,
                usage.prompt_tokens_details.cached_tokens,
            )
        )
        message = reply.choices[0].message
        if not is_last and not message.tool_calls:
            raise ValueError(f"a call was required, and the reply ended with {reply.choices[0].finish_reason}")
        return message


async def play_all(url: str, sessions: Sequence[Sequence[SessionTurn]], arguments: argparse.Namespace) -> Played:
    """All sessions, which begin at random times of the first seconds."""
    server, rng = await asyncio.to_thread(RemoteServer.connect, url), random.Random(arguments.seed)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as client:
        agents = Agents(client, server)
        begins = [rng.uniform(0, arguments.begin_within_s) for _ in sessions]
        await asyncio.gather(*(agents.play(number, turns, begins[number]) for number, turns in enumerate(sessions)))
    return agents.played


def run_of(
    policy: str, keep_s: float, sessions: Sequence[Sequence[SessionTurn]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """The results document's entry for one policy."""
    options = options_of(
        policy=policy, client_keep_s=keep_s, kv_blocks=arguments.kv_blocks, host_kv_bytes=arguments.host_kv_bytes,
        max_model_len=arguments.max_model_len, max_num_seqs=arguments.max_num_seqs,
    )  # fmt: skip
    with serving([*options, "--no-tools"]) as server:
        began_s, before = time.perf_counter(), server.memory_state()
        played = asyncio.run(play_all(server.url, sessions, arguments))
        window_s, after = time.perf_counter() - began_s, server.memory_state()
        held = server.unfinished(within_s=5.0)
    resumed = [turn for turn in played.turns if not turn.is_first] or played.turns
    return {
        "workload": "agent gaps",
        "policy": policy,
        "client_keep_s": keep_s,
        "sessions": len(sessions),
        "finished": len(played.sessions_s),
        "turns": len(played.turns),
        "errors": played.errors[:5],
        "window_s": window_s,
        "cached_share": sum(turn.cached_tokens for turn in resumed) / max(1, sum(turn.prompt_tokens for turn in resumed)),
        "ttft_s": summary([turn.ttft_s for turn in played.turns]),
        "resume_ttft_s": summary([turn.ttft_s for turn in resumed]),
        "e2e_s": summary([turn.e2e_s for turn in played.turns]),
        "session_s": summary(played.sessions_s or [0.0]),
        "left_over": held,
        **{
            name: after[name] - before[name]
            for name in ("evicted_blocks", "lost_blocks", "preemptions", "swapped_out_blocks", "swapped_in_blocks")
        },
    }


def show(run: dict[str, Any]) -> None:
    """A row of the table."""
    resume, e2e, session = run["resume_ttft_s"], run["e2e_s"], run["session_s"]
    print(
        f"{run['policy']:12} {run['client_keep_s']:6.0f} {run['finished']:4}/{run['sessions']:<4} {run['cached_share']:7.1%} "
        f"{1e3 * resume['mean']:8.0f} {1e3 * resume['p99']:8.0f} {1e3 * e2e['mean']:8.0f} {1e3 * e2e['p99']:8.0f} "
        f"{session['mean']:9.2f} {run['evicted_blocks']:8} {run['preemptions']:9}"
    )
    for error in run["errors"]:
        print(f"  {error}")


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gaps = Path(os.environ.get("LAMPS_AGENT_GAPS") or DEFAULT_GAPS)
    parser.add_argument("--gaps", type=Path, default=gaps, help="the CSV; by default what LAMPS_AGENT_GAPS names")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/agent_gaps.json"), help="where to write the results")
    parser.add_argument("--policies", default="vllm,vllm-head,preserve,swap,infercept,lamps", help="one server each")
    parser.add_argument("--keep", default="60,0", help="values of --client-keep-s, a run of each")
    parser.add_argument("--sessions", type=int, default=24, help="sessions, the first of the file that are long enough")
    parser.add_argument("--turns", type=int, default=8, help="most turns of a session")
    parser.add_argument("--token-scale", type=float, default=0.005, help="tokens here for each of the file")
    parser.add_argument("--time-scale", type=float, default=0.1, help="seconds here for each of a gap")
    parser.add_argument("--max-gap-s", type=float, default=6.0, help="longest gap, scaled")
    parser.add_argument("--begin-within-s", type=float, default=5.0, help="sessions begin within so many seconds")
    parser.add_argument("--kv-blocks", type=int, default=400, help="the server's option")
    parser.add_argument("--host-kv-bytes", default="64M", help="the server's option")
    parser.add_argument("--max-model-len", type=int, default=1024, help="the server's option")
    parser.add_argument("--max-num-seqs", type=int, default=8, help="the server's option")
    parser.add_argument("--seed", type=int, default=0, help="of the times at which sessions begin")
    arguments = parser.parse_args()
    if not arguments.gaps.exists():
        raise SystemExit(f"{arguments.gaps} is not there; name the agents' gaps with --gaps or LAMPS_AGENT_GAPS")
    sessions = sessions_of(arguments.gaps, arguments)
    print(f"{len(sessions)} sessions, {sum(map(len, sessions))} turns")
    print(
        f"{'policy':12} {'keep s':>6} {'done':>9} {'cached':>7} {'resume ms':>8} {'p99':>8} {'E2E ms':>8} {'p99':>8} "
        f"{'session s':>9} {'evicted':>8} {'preempted':>9}"
    )
    runs = list[dict[str, Any]]()
    for policy in arguments.policies.split(","):
        for keep_s in map(float, arguments.keep.split(",")):
            runs.append(run_of(policy, keep_s, sessions, arguments))
            show(runs[-1])
    write_document(arguments.out, "agent_gaps", runs)


if __name__ == "__main__":
    main()
