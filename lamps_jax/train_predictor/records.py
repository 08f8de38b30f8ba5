"""The record of conversations that everything about predictors reads and writes: one JSON object a line.

    {"id": "a-1", "prompt": "…", "segments": [
        {"text": "…", "tool": "search", "api_duration_s": 0.7, "returned_text": "…"},
        {"text": "…", "tool": null}]}

A segment is what the model wrote up to a call, or up to the end. Its length is `num_tokens`, or that of `text`. A server that
does not record texts gives lengths alone, with ``"prompt": null``: from these one learns how long requests of a type are, not
what a prompt says of it.
"""

import gzip
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast


@dataclass(frozen=True, slots=True)
class Segment:
    """What a model wrote before a call or the end, and what came of the call.

    Attributes:
        text: What it wrote; None if lengths alone were recorded.
        num_tokens: How many tokens that was, for the model that wrote it; None if nobody has counted.
        tool: What it called; None: the segment ended the conversation.
        api_duration_s: From the call to its return; None if unknown.
        returned_text: What the call gave back.
        returned_tokens: How many tokens that was; None if nobody has counted.
    """

    text: str | None = None
    num_tokens: int | None = None
    tool: str | None = None
    api_duration_s: float | None = None
    returned_text: str | None = None
    returned_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.num_tokens is None:
            raise ValueError("text or num_tokens must say how long the segment is; it has neither")
        for name in ("num_tokens", "returned_tokens", "api_duration_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, got {value}")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and all that a model did with it.

    Attributes:
        prompt: None if it was not recorded.
        prompt_tokens: How many tokens it has; None if nobody has counted.
    """

    prompt: str | None
    segments: tuple[Segment, ...]
    id: str = ""
    prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.segments:
            raise ValueError("segments must hold at least one segment, got none")
        if any(segment.tool is None for segment in self.segments[:-1]):
            raise ValueError("tool must be named in all segments but the last, since they end in calls")


SEGMENT_FIELDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "num_tokens": (int,),
    "tool": (str,),
    "api_duration_s": (int, float),
    "returned_text": (str,),
    "returned_tokens": (int,),
}
CONVERSATION_FIELDS: dict[str, tuple[type, ...]] = {"prompt": (str,), "id": (str,), "prompt_tokens": (int,)}
TYPE_NAMES = {str: "text", int: "a whole number", float: "a number"}


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations in a file of JSON lines, which may be compressed (``.gz``).

    Raises:
        ValueError: If the file cannot be read or is empty, or a line is malformed; the error names file, line and field.
    """
    conversations = [from_record(path, number, record) for number, record in read_lines(path)]
    if not conversations:
        raise ValueError(f"{path} is empty; it needs a conversation a line")
    return conversations


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """Writes conversations as JSON lines; what is unknown is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for conversation in conversations:
            record = {name: getattr(conversation, name) for name in CONVERSATION_FIELDS}
            segments = [{name: getattr(segment, name) for name in SEGMENT_FIELDS} for segment in conversation.segments]
            lines = {**_known(record), "segments": [_known(segment) for segment in segments]}
            file.write(json.dumps(lines, ensure_ascii=False) + "\n")


def open_text(path: Path) -> TextIO:
    """A file of text, compressed or not.

    Raises:
        ValueError: If there is none.
    """
    try:
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8")) if path.suffix == ".gz" else path.open(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file of JSON lines with the numbers of their lines; empty lines are skipped.

    Raises:
        ValueError: If a line is no JSON object.
    """
    with open_text(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path}, line {number}: no JSON ({error}); is the line cut short?") from None
                if not isinstance(record, dict):
                    raise ValueError(f"{path}, line {number}: must be a JSON object, got {line.strip()[:40]!r}")
                yield number, record
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read {path}: {error}") from error


def from_record(path: Path, number: int, record: dict[str, Any]) -> Conversation:
    """The conversation that a line says.

    Raises:
        ValueError: If it does not say one; the error names `path`, the line `number` and the field.
    """
    where = f"{path}, line {number}"
    segments = record.get("segments")
    if not isinstance(segments, list):
        raise ValueError(f"{where}: segments must be a list, got {segments!r}")
    for place, segment in enumerate(segments):
        if not isinstance(segment, dict):
            raise ValueError(f"{where}: segments[{place}] must be an object, got {segment!r}")
    try:
        made = tuple(Segment(**_fields(segment, SEGMENT_FIELDS, f"segments[{place}].")) for place, segment in enumerate(segments))
        return Conversation(**{"prompt": None, **_fields(record, CONVERSATION_FIELDS, "")}, segments=made)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _fields(record: dict[str, Any], wanted: dict[str, tuple[type, ...]], prefix: str) -> dict[str, Any]:
    values = {}
    for name, types in wanted.items():
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, types) or isinstance(value, bool):
            raise ValueError(f"{prefix}{name} must be {TYPE_NAMES[types[-1]]}, got {value!r}")
        values[name] = value
    return values


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != ""}
