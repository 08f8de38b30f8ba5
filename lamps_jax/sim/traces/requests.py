"""Requests without calls: when they came and how long they were.

Mooncake: JSON lines ``{"timestamp": ms, "input_length", "output_length", "hash_ids"}``, an id for each 512 tokens of the prompt;
two prompts that begin with the same ids begin with the same tokens. Source: Qin et al., 2025, Mooncake, FAST.

Azure: CSV ``TIMESTAMP,ContextTokens,GeneratedTokens``, a date and time each. Source: AzurePublicDataset, traces of LLM inference.

BurstGPT: CSV ``Timestamp,[Session ID,Elapsed time,]Model,Request tokens,Response tokens,Total tokens,Log Type``, seconds. A
request without response tokens has failed; it is left out and counted. Source: Wang et al., 2024, BurstGPT.

A reply of 0 tokens counts as 1, as there is no request that samples nothing.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from lamps_jax.sim.traces.record import Record
from lamps_jax.sim.workload import Script, Segment, Span, Workload

MOONCAKE_BLOCK_TOKENS = 512


def read_mooncake(records: Iterable[Record], name: str) -> Workload:
    """Requests whose prompts share blocks."""

    def script(record: Record) -> Script:
        num_tokens = record.count("input_length", least=1)
        return Script("mooncake", _blocks(record, num_tokens), _reply(record, "output_length"))

    return _timed(records, name, script, lambda record: record.number("timestamp") / 1000)


def _blocks(record: Record, num_tokens: int) -> tuple[Span, ...]:
    if "hash_ids" not in record:
        return (Span(num_tokens),)
    ids, num_blocks = record.items("hash_ids"), -(-num_tokens // MOONCAKE_BLOCK_TOKENS)
    if len(ids) != num_blocks:
        raise record.error("hash_ids", f"must have {num_blocks} ids for {num_tokens} tokens, got {len(ids)}")
    lengths = [MOONCAKE_BLOCK_TOKENS] * (num_blocks - 1) + [num_tokens - (num_blocks - 1) * MOONCAKE_BLOCK_TOKENS]
    return tuple(Span(length, f"mooncake/{block}") for length, block in zip(lengths, ids, strict=True))


def read_azure(records: Iterable[Record], name: str) -> Workload:
    """Requests with nothing in common."""

    def script(record: Record) -> Script:
        return Script("azure", (Span(record.count("ContextTokens", least=1)),), _reply(record, "GeneratedTokens"))

    return _timed(records, name, script, lambda record: _seconds(record, "TIMESTAMP"))


def read_burstgpt(records: Iterable[Record], name: str) -> Workload:
    """Requests typed by how they came, such as "Conversation log" and "API log"."""

    def script(record: Record) -> Script | None:
        if record.count("Response tokens") == 0:
            return None
        prompt = (Span(record.count("Request tokens", least=1)),)
        return Script(record.text("Log Type"), prompt, _reply(record, "Response tokens"))

    return _timed(records, name, script, lambda record: record.number("Timestamp"))


def _timed(
    records: Iterable[Record], name: str, script: Callable[[Record], Script | None], time_s: Callable[[Record], float]
) -> Workload:
    """The scripts in the order of their times, which begin at 0; records without a script are counted."""
    timed, num_left_out = [], 0
    for record in records:
        made = script(record)
        if made is None:
            num_left_out += 1
        else:
            timed.append((time_s(record), made))
    timed.sort(key=lambda pair: pair[0])
    first_s = timed[0][0] if timed else 0.0
    times_s = tuple(time_s - first_s for time_s, _ in timed)
    return Workload(name, tuple(made for _, made in timed), times_s, num_left_out)


def _reply(record: Record, name: str) -> tuple[Segment, ...]:
    return (Segment(max(1, record.count(name))),)


def _seconds(record: Record, name: str) -> float:
    text = record.text(name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise record.error(name, f"must be a date and time such as 2023-11-16 18:15:46.680, got {text!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
