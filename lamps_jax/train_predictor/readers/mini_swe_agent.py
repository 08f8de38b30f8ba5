"""Calls of mini-swe-agent: ``{"timestamp": …, "session_id": …, "input": …, "output": …}``, as LMCache's traces have them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from lamps_jax.train_predictor.readers.turns import Entry
from lamps_jax.train_predictor.records import Conversation, Segment, shown

SHELL = "shell"
"""The one tool of this agent."""

FIELDS = {"session_id": (str, "text"), "input": (str, "text"), "output": (str, "text"), "timestamp": (int | float, "a number")}


class Request(NamedTuple):
    """What the model read and wrote at a time in microseconds."""

    timestamp_us: float
    read: str
    written: str


def read(name: str, entries: list[Entry]) -> Iterator[Conversation]:
    """Sessions, in which each input begins with the one before it, and goes on with what the command returned.

    A session whose input begins anew is a new conversation. How long commands took is unknown: a line has one time, and between
    two of them a model writes and a command runs. So is what the last command of a session was, if any: its segment is an end.

    Raises:
        ValueError: If a line lacks a field; the error names place and field.

    Source: https://github.com/LMCache/lmcache-agent-trace, whose inputs leave out what the model wrote.
    """
    sessions: dict[str, list[Request]] = {}
    for where, record in entries:
        _check(where, record)
        request = Request(record["timestamp"], record["input"], record["output"])
        sessions.setdefault(record["session_id"], []).append(request)
    for session, requests in sessions.items():
        requests.sort(key=lambda request: request.timestamp_us)
        for part, run in enumerate(_runs(requests)):
            yield _conversation(f"{session}-{part}", run)


def _check(where: str, record: dict[str, Any]) -> None:
    for field, (kind, kind_name) in FIELDS.items():
        if not isinstance(record.get(field), kind):
            raise ValueError(f"{where}: {field} must be {kind_name}, got {shown(record.get(field))}")


def _runs(requests: list[Request]) -> list[list[Request]]:
    runs = [[requests[0]]]
    for request in requests[1:]:
        last = runs[-1][-1].read
        if request.read.startswith(last) and len(request.read) > len(last):
            runs[-1].append(request)
        else:
            runs.append([request])
    return runs


def _conversation(name: str, run: list[Request]) -> Conversation:
    segments = []
    for request, after in pairwise(run):
        returned = after.read.removeprefix(request.read).removeprefix(request.written)
        segments.append(Segment(request.written, tool=SHELL, returned_text=returned))
    return Conversation(run[0].read, (*segments, Segment(run[-1].written)), id=name)
