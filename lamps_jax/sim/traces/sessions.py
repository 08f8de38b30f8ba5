"""Sessions of agents whose clients run the tools: each prompt extends the one before, and the gap between them is the call.

WEKA (the raw traces of kv-cache-tester): a JSON object per session with `requests`, each with its time `t`, the lengths `in` and
`out`, an id for each full block of the prompt in `hash_ids`, the reason `stop` and `think_time`, the client's seconds before the
request. Sessions of sub-agents are nested entries with `requests` of their own; they become scripts of their own, which nothing
holds to the parent's time.

Agent gaps: CSV, a row per request of those traces: ``trace,agent,idx,t_s,in_tokens,shared_prefix_tokens,out_tokens,input_kind,
stop,api_time_s,ttft_s,think_time_s``.

TraceLab: JSON lines, a row per round of a coding agent: lengths, what the provider's cache held, and the times of events. The gap
is from the last event of a reply to the last event of the next prompt, as a prompt is sent when all results are there.

What a prompt keeps of the context: the whole of it where the prompts say that it was extended and there is room for the reply;
the old prompt alone where there is none, since clients drop thoughts; else what the trace counts as shared, as after a
compaction. A gap that is not given is the time between the two requests less what the reply took.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from typing import TypeVar

from lamps_jax.sim.traces.record import Record
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload

Key = TypeVar("Key", bound=Hashable)

GAPS_BLOCK_TOKENS = 64
"""Granularity of `shared_prefix_tokens` in the agent gaps."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One request of a session.

    Attributes:
        num_shared_tokens: Leading tokens that the trace says it shares with the request before.
        extends: Whether it has the whole prompt of the request before at its beginning.
        call: Name of what the client did with the reply before.
    """

    num_prompt_tokens: int
    num_reply_tokens: int
    wait_s: float
    num_shared_tokens: int
    extends: bool
    call: str


def _script(request_type: str, session_id: str, requests: list[_Request], prefix: Span | None) -> Script:
    """A session as one script; `prefix` is what sessions share at their beginning."""
    first, segments = requests[0], []
    prompt = [Span(first.num_prompt_tokens)]
    if prefix is not None:
        num_private = first.num_prompt_tokens - prefix.num_tokens
        prompt = [prefix, *([Span(num_private)] if num_private else [])]
    for before, after in pairwise(requests):
        kept, context = after.num_shared_tokens, before.num_prompt_tokens + before.num_reply_tokens
        if after.extends:
            kept = context if after.num_prompt_tokens >= context else before.num_prompt_tokens
        kept = min(kept, after.num_prompt_tokens, context)
        call = Call(after.call, after.wait_s, after.num_prompt_tokens - kept, RunBy.CLIENT, kept)
        segments.append(Segment(before.num_reply_tokens, call))
    segments.append(Segment(requests[-1].num_reply_tokens))
    return Script(request_type, tuple(prompt), tuple(segments), session_id)


def read_weka(traces: Iterable[Record], name: str) -> Workload:
    """Sessions and their sub-agents' sessions, in the order of the file."""
    return Workload(name, tuple(script for trace in traces for script in _weka_scripts(trace, trace.text("id"), "agent")))


def _weka_scripts(trace: Record, session_id: str, request_type: str) -> Iterator[Script]:
    nested, records = [], []
    for record in trace.records("requests"):
        (nested if "requests" in record else records).append(record)
    if records:
        first = records[0].count("in", least=1)
        num_common = min(trace.count("tool_tokens") + trace.count("system_tokens"), first)
        # The scope of hash ids is the trace: nothing says whether two traces have the same tools.
        prefix = Span(num_common, f"weka/{trace.text('id') if 'id' in trace else session_id}") if num_common else None
        yield _script(request_type, session_id, list(_weka_requests(records, trace)), prefix)
    for number, record in enumerate(nested):
        yield from _weka_scripts(record, f"{session_id}/{number}", "sub-agent")


def _weka_requests(records: list[Record], trace: Record) -> Iterator[_Request]:
    block_tokens = trace.count("block_size", least=1) if "block_size" in trace else GAPS_BLOCK_TOKENS
    before: list[object] = []
    for number, record in enumerate(records):
        ids = list(record.items("hash_ids", least=0))
        num_common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, ids, strict=False)))
        yield _Request(
            record.count("in", least=1),
            max(1, record.count("out")),
            _gap_s(records[number - 1], record, "think_time", "t", "api_time") if number else 0.0,
            num_common * block_tokens,
            num_common == len(before),
            _call_after(str(records[number - 1].values.get("stop", ""))) if number else "",
        )
        before = ids


def _call_after(stop: str) -> str:
    """Name of what a client does after a reply that ended for this reason."""
    return {"tool_use": "tool", "end_turn": "user"}.get(stop, stop or "unknown")


def read_gaps(records: Iterable[Record], name: str) -> Workload:
    """Sessions of agents and sub-agents, each in the order of its rows."""
    scripts = []
    for (trace, agent), rows in _grouped(records, lambda record: (record.text("trace"), record.text("agent"))):
        request_type = "agent" if agent == "main" else "sub-agent"
        scripts.append(_script(request_type, f"{trace}/{agent}", list(_gap_requests(rows)), None))
    return Workload(name, tuple(scripts))


def _grouped(records: Iterable[Record], key: Callable[[Record], Key]) -> list[tuple[Key, list[Record]]]:
    """Records by key, keys in the order in which they first come; those of one key need not stand together."""
    groups: dict[Key, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.items())


def _gap_requests(rows: list[Record]) -> Iterator[_Request]:
    for number, row in enumerate(rows):
        num_prompt_tokens, num_shared = row.count("in_tokens", least=1), row.count("shared_prefix_tokens")
        num_reply_tokens = max(1, row.count("out_tokens"))
        if number == 0:
            yield _Request(num_prompt_tokens, num_reply_tokens, 0.0, 0, False, "")
            continue
        before = rows[number - 1]
        whole_blocks = before.count("in_tokens") // GAPS_BLOCK_TOKENS * GAPS_BLOCK_TOKENS
        call = "user" if row.text("input_kind") == "user" else "tool"
        gap_s = _gap_s(before, row, "think_time_s", "t_s", "api_time_s")
        yield _Request(num_prompt_tokens, num_reply_tokens, gap_s, num_shared, num_shared >= whole_blocks, call)


def _gap_s(before: Record, record: Record, gap: str, sent: str, reply: str) -> float:
    """The client's seconds before a request; the names are those of the fields."""
    if not record.is_blank(gap):
        return record.number(gap)
    reply_s = 0.0 if before.is_blank(reply) else before.number(reply)
    return max(0.0, record.number(sent) - before.number(sent) - reply_s)


def read_tracelab(records: Iterable[Record], name: str) -> Workload:
    """Sessions in the order in which they began, each in the order of its rows."""
    timed = []
    for session_id, rounds in _grouped(records, lambda record: record.text("session_id")):
        requests = list(_tracelab_requests(rounds))
        # What the provider's cache held before a session's first round came from other sessions of its project.
        num_common = min(rounds[0].count("prefix_tokens"), requests[0].num_prompt_tokens)
        key = f"tracelab/{rounds[0].text('provider')}/{rounds[0].values.get('project') or ''}"
        script = _script("agent", session_id, requests, Span(num_common, key) if num_common else None)
        timed.append((_event_times(rounds[0])[0], script))
    timed.sort(key=lambda pair: pair[0])
    times_s = tuple(time_s - timed[0][0] for time_s, _ in timed)
    return Workload(name, tuple(script for _, script in timed), times_s)


def _tracelab_requests(rounds: list[Record]) -> Iterator[_Request]:
    for number, record in enumerate(rounds):
        num_prompt_tokens = record.count("input_tokens_total", least=1)
        num_reply_tokens = max(1, record.count("output_tokens"))
        if number == 0:
            yield _Request(num_prompt_tokens, num_reply_tokens, 0.0, 0, False, "")
            continue
        before = rounds[number - 1]
        sent_s, ended_s = _event_times(record)[0], _event_times(before)[1]
        # A cache may have forgotten, so what it held is a lower bound; a prompt that grew was extended.
        extends = num_prompt_tokens >= before.count("input_tokens_total")
        tools = before.records("tools", least=0)
        call = tools[0].text("tool_name") if tools else "user"
        num_cached = record.count("prefix_tokens")
        yield _Request(num_prompt_tokens, num_reply_tokens, max(0.0, sent_s - ended_s), num_cached, extends, call)


def _event_times(record: Record) -> tuple[float, float]:
    """When a round's prompt was complete, and when its reply ended."""
    sent_s, ended_s = [], []
    for event in record.records("timing_events"):
        text = event.text("timestamp")
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC).timestamp()
        except ValueError:
            raise event.error("timestamp", f"must be a date and time such as 2026-06-01T05:40:20.151Z, got {text!r}") from None
        (sent_s if event.text("event_type") in ("user_message", "tool_result") else ended_s).append(moment)
    sent = max(sent_s) if sent_s else min(ended_s)
    return sent, max(ended_s, default=sent)
