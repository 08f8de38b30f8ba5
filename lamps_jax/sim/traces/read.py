"""Which format a file has, found out from what stands in it."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lamps_jax.sim.traces import infercept, requests, sessions
from lamps_jax.sim.traces.record import Record, TraceError
from lamps_jax.sim.workload import Workload

Reader = Callable[[Iterable[Record], str], Workload]

JSON_LINES: tuple[tuple[str, frozenset[str], Reader], ...] = (
    ("InferCept, derived", frozenset({"type", "prompt_tokens", "segments"}), infercept.read_lines),
    ("Mooncake", frozenset({"timestamp", "input_length", "output_length"}), requests.read_mooncake),
    ("WEKA", frozenset({"id", "requests"}), sessions.read_weka),
    ("TraceLab", frozenset({"session_id", "input_tokens_total", "timing_events"}), sessions.read_tracelab),
)
"""Formats of an object per line: their name, the fields that tell them, their reader."""

CSV_FILES: tuple[tuple[str, frozenset[str], Reader], ...] = (
    ("Azure", frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), requests.read_azure),
    ("BurstGPT", frozenset({"Timestamp", "Request tokens", "Response tokens", "Log Type"}), requests.read_burstgpt),
    ("agent gaps", frozenset({"trace", "agent", "in_tokens", "shared_prefix_tokens", "out_tokens"}), sessions.read_gaps),
)
"""Formats of a row per line, likewise."""

FORMATS = ("InferCept, original", *(name for name, _, _ in JSON_LINES + CSV_FILES))


def read_trace(path: str | Path, *, count_tokens: infercept.CountTokens | None = None) -> Workload:
    """The workload in a file, named after it.

    Args:
        path: Of the file; its name and ending do not matter.
        count_tokens: Length of a text in tokens; needed where InferCept's original form has texts without lengths.

    Raises:
        TraceError: If the file is empty, of no known format, or wrong somewhere.
        OSError: If it cannot be opened.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TraceError(f"{path} is not text in UTF-8: {error}") from None
    if not text.strip():
        raise TraceError(f"{path} is empty")
    if text.lstrip().startswith(("{", "[")):
        return _read_json(str(path), text, path.stem, count_tokens)
    rows = csv.DictReader(text.splitlines())
    return _reader(CSV_FILES, str(path), rows.fieldnames or ())(_csv_records(str(path), rows), path.stem)


def _read_json(path: str, text: str, name: str, count_tokens: infercept.CountTokens | None) -> Workload:
    lines = text.splitlines()
    first_line = next(number for number, line in enumerate(lines) if line.strip())
    try:
        first = json.loads(lines[first_line])
    except json.JSONDecodeError:
        # One object over many lines, or a broken line, for which the error of the whole text names the place.
        lines, first_line, first = [text], 0, _parse(path, 1, text)
    if not isinstance(first, dict):
        raise _unknown(path, f"begins with {str(first)[:40]}")
    only_line = not any(line.strip() for line in lines[first_line + 1 :])
    if first and only_line and all(isinstance(value, list) for value in first.values()):
        return infercept.read_original(Record(path, first_line + 1, first), name, count_tokens)
    return _reader(JSON_LINES, path, first)(_json_records(path, lines), name)


def _reader(formats: tuple[tuple[str, frozenset[str], Reader], ...], path: str, fields: Iterable[str]) -> Reader:
    present = set(fields)
    for _, needed, reader in formats:
        if needed <= present:
            return reader
    raise _unknown(path, f"has the fields {', '.join(sorted(map(str, present)))[:200]}")


def _unknown(path: str, found: str) -> TraceError:
    return TraceError(f"{path} {found}, which is none of the known formats: {'; '.join(FORMATS)}")


def _json_records(path: str, lines: list[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            value = _parse(path, number, line)
            if not isinstance(value, dict):
                raise TraceError(f"{path}, line {number}: must be an object, got {str(value)[:40]}")
            yield Record(path, number, value)


def _csv_records(path: str, rows: "csv.DictReader[str]") -> Iterator[Record]:
    row = None
    for row in rows:
        yield Record(path, rows.line_num, row)
    if row is None:
        raise TraceError(f"{path} has a header and no row")


def _parse(path: str, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TraceError(f"{path}, line {line + error.lineno - 1}: is not JSON: {error.msg} at column {error.colno}") from None
