"""InferCept's augmented requests, which LAMPS calls Multi-API, in two forms.

The original is one JSON object that maps a request to the list of its segments, each with `prompt`, `completion` and, if a call
follows, `api_token` and `api_time`. A text counts through `count_tokens` unless its length stands beside it (`prompt_tokens`,
`completion_tokens`, `api_token_length`), which the released benchmarks prefer too. The derived form is one line per request with
lengths only: ``{"id", "type", "prompt_tokens", "segments": [{"gen_tokens", "api_s", "ret_tokens"}]}``; a call that has no
duration (null) is none.

In both the length of a segment's prompt is read of the first segment alone: a context is the sum of what came before, as in the
released benchmarks. A returned length may be slightly negative, since it is a difference of two tokenised texts whose border a
merge has swallowed; it then counts as 0.

Source: Abhyankar et al., 2024, InferCept, section 5; ``benchmarks/final_tput_bench_real.py`` of its repository.
"""

from collections.abc import Callable, Iterable

from lamps_jax.sim.traces.record import Record
from lamps_jax.sim.workload import Call, Script, Segment, Span, Workload

CountTokens = Callable[[str], int]

LEAST_RETURNED_TOKENS = -8
"""A border between two texts swallows a few tokens at most; what is more negative is an error."""

TWO_WAITS = {"image": ("image", "image reply"), "tts": ("tts", "tts reply")}
"""Types whose calls take turns: the tool makes a picture or speech, then a person looks or listens and replies."""


def read_lines(records: Iterable[Record], name: str) -> Workload:
    """The derived form."""
    return Workload(name, tuple(_script_of_line(record) for record in records))


def _script_of_line(record: Record) -> Script:
    request_type, segments = record.text("type"), []
    for number, segment in enumerate(record.records("segments")):
        call = None
        if segment.values.get("api_s") is not None:
            call = Call(call_name(request_type, number), segment.number("api_s"), _returned(segment, "ret_tokens"))
        segments.append(Segment(segment.count("gen_tokens", least=1), call))
    _refuse_gaps(record, segments)
    return Script(request_type, (Span(record.count("prompt_tokens", least=1)),), tuple(segments))


def read_original(requests: Record, name: str, count_tokens: CountTokens | None) -> Workload:
    """The original form, whose requests are of one type, "api", unless the first segment has a field `type`."""
    return Workload(name, tuple(_script_of_request(requests, key, count_tokens) for key in requests.values))


def _script_of_request(requests: Record, key: str, count_tokens: CountTokens | None) -> Script:
    records, segments = requests.records(key), []
    request_type = records[0].text("type") if "type" in records[0] else "api"
    for number, record in enumerate(records):
        call = None
        if "api_time" in record:
            returned = max(0, _length(record, "api_token", "api_token_length", count_tokens, LEAST_RETURNED_TOKENS))
            call = Call(call_name(request_type, number), record.number("api_time"), returned)
        segments.append(Segment(_length(record, "completion", "completion_tokens", count_tokens, 1), call))
    _refuse_gaps(requests, segments)
    prompt = Span(_length(records[0], "prompt", "prompt_tokens", count_tokens, 1))
    return Script(request_type, (prompt,), tuple(segments))


def call_name(request_type: str, number: int) -> str:
    """Name of the call behind segment `number` of a request."""
    names = TWO_WAITS.get(request_type, (request_type,))
    return names[number % len(names)]


def _returned(record: Record, name: str) -> int:
    return max(0, record.count(name, least=LEAST_RETURNED_TOKENS))


def _length(record: Record, text: str, length: str, count_tokens: CountTokens | None, least: int) -> int:
    if length in record or text not in record:
        return record.count(length, least=least)
    if count_tokens is None:
        raise record.error(text, f"is text without {length} beside it; pass count_tokens, such as a tokenizer's")
    count = count_tokens(str(record.values[text]))
    if count < least:
        raise record.error(text, f"must have at least {least} token, got {count}")
    return count


def _refuse_gaps(record: Record, segments: list[Segment]) -> None:
    for number, segment in enumerate(segments[:-1]):
        if segment.call is None:
            raise record.error(f"segments[{number}]", f"has no call, which only the last of {len(segments)} segments may lack")
