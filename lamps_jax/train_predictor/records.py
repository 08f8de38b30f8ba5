"""The record of conversations that everything about predictors reads and writes: one JSON object a line.

    {"id": "a-1", "prompt": "…", "segments": [
        {"text": "…", "tool": "search", "api_duration_s": 0.7, "returned_text": "…"},
        {"text": "…", "tool": null}]}

A segment is what the model wrote up to a call, or up to the end. Its length is `num_tokens`, or that of `text`. A server that
does not record texts gives lengths alone, with ``"prompt": null`` and the prompt's length as `prompt_tokens`: from these one
learns by history how long requests of a type are, not what a prompt says of it. What is unknown is null or left out.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, cast


@dataclass(frozen=True, slots=True)
class Segment:
    """What a model wrote before a call or the end, and what came of the call.

    Attributes:
        text: What it wrote; None if lengths alone were recorded.
        num_tokens: How many tokens that was, for the model that wrote it; None if nobody has counted.
        tool: What it called; None: the segment ended the conversation.
        api_duration_s: From the call to its return; None if unknown.
        returned_text: What the call gave back, which the next segment has in its context.
        returned_tokens: How many tokens that was; None if nobody has counted.

    Raises:
        ValueError: If it has neither `text` nor `num_tokens`, its tool has no name, or a number is negative or not finite.
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
        if self.tool == "":
            raise ValueError("tool must be a name, got ''; leave it out where the model ended")
        for name in ("num_tokens", "returned_tokens", "api_duration_s"):
            _check_not_negative(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and all that a model did with it.

    Attributes:
        prompt: None if it was not recorded; such a conversation teaches lengths by history, not by text.
        segments: At least one; all but the last end in calls, the last may: then its return was not recorded.
        id: "" if it has no name.
        prompt_tokens: How many tokens the prompt has; None if nobody has counted.

    Raises:
        ValueError: If `segments` are none, one but the last has no tool, or `prompt_tokens` is negative.
    """

    prompt: str | None
    segments: tuple[Segment, ...]
    id: str = ""
    prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.segments:
            raise ValueError("segments must hold at least one segment, got none")
        for place, segment in enumerate(self.segments[:-1]):
            if segment.tool is None:
                raise ValueError(
                    f"segments[{place}].tool must be a name, got None: segments before the last end in calls; "
                    "name what was called, or make two conversations of it"
                )
        _check_not_negative("prompt_tokens", self.prompt_tokens)


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
    """Writes conversations as JSON lines, compressed if `path` ends in ``.gz``; what is unknown is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path, "wt") as file:
        for conversation in conversations:
            record = {name: getattr(conversation, name) for name in CONVERSATION_FIELDS} | {"id": conversation.id or None}
            segments = [{name: getattr(segment, name) for name in SEGMENT_FIELDS} for segment in conversation.segments]
            line = {**_known(record), "segments": [_known(segment) for segment in segments]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def open_text(path: Path) -> TextIO:
    """A file of text, compressed or not.

    Raises:
        ValueError: If there is none. What is no text shows when it is read, as one of `UNREADABLE`.
    """
    try:
        return _open(path, "rt")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error


UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What reading raises if a file is not text in UTF-8, or its compression is broken."""


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
                except (ValueError, RecursionError) as error:  # numbers of too many digits, objects in too many others
                    raise ValueError(f"{path}, line {number}: no JSON ({error}); is the line cut short?") from None
                if not isinstance(record, dict):
                    raise ValueError(f"{path}, line {number}: must be a JSON object, got {shown(record)}")
                yield number, record
        except UNREADABLE as error:
            raise ValueError(f"cannot read {path}: {error}") from error


def from_record(path: Path, number: int, record: dict[str, Any]) -> Conversation:
    """The conversation that a line says.

    Raises:
        ValueError: If it does not say one; the error names `path`, the line `number` and the field.
    """
    return conversation_of(f"{path}, line {number}", record)


def conversation_of(where: str, record: dict[str, Any]) -> Conversation:
    """The conversation that a record says; fields of other names are left alone.

    Raises:
        ValueError: If it does not say one; the error begins with `where` and names the field.
    """
    segments = record.get("segments")
    if not isinstance(segments, list):
        raise ValueError(f"{where}: segments must be a list of objects, got {shown(segments)}; give what the model wrote")
    made = tuple(_segment(f"{where}: segments[{place}]", segment) for place, segment in enumerate(segments))
    try:
        return Conversation(**{"prompt": None, **_fields(record, CONVERSATION_FIELDS)}, segments=made)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def shown(value: object) -> str:
    """A value as an error shows it: its beginning."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _segment(where: str, record: object) -> Segment:
    if not isinstance(record, dict):
        raise ValueError(f"{where} must be an object, got {shown(record)}; give text or num_tokens in it")
    try:
        return Segment(**_fields(record, SEGMENT_FIELDS))
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def _fields(record: dict[str, Any], wanted: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    values = {}
    for name, types in wanted.items():
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, types) or isinstance(value, bool):
            raise ValueError(f"{name} must be {TYPE_NAMES[types[-1]]}, got {shown(value)}; leave it out if it is unknown")
        values[name] = value
    return values


def _check_not_negative(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more and finite, got {value}; leave it out if it is unknown")


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _open(path: Path, mode: Literal["rt", "wt"]) -> TextIO:
    # Half a surrogate pair, as cut texts have them, has no UTF-8; its escape is what JSON writes for it.
    errors = "backslashreplace" if mode == "wt" else "strict"
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, mode, encoding="utf-8", errors=errors))
    return cast(TextIO, path.open(mode, encoding="utf-8", errors=errors))
