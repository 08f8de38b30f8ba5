"""Which format a log has, found out from the fields of the first object in it, not from its name.

| format | fields |
|---|---|
| the project's own records | ``segments`` |
| chats of the OpenAI API, as files for fine-tuning have them | ``messages`` |
| calls of mini-swe-agent | ``session_id``, ``input`` and ``output`` |
| answers of ToolBench | ``answer_generation`` |
| conversations of ToolLLaMA | ``conversations`` |

The objects are the lines of a file of JSON lines, the entries of a JSON list, or one JSON object.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lamps_jax.train_predictor.readers import chats, mini_swe_agent, toolbench
from lamps_jax.train_predictor.readers.turns import Entry
from lamps_jax.train_predictor.records import UNREADABLE, Conversation, conversation_of, open_text, read_lines, shown

Reader = Callable[[str, list[Entry]], Iterable[Conversation]]
"""The conversations of a file's objects; the first argument is the file's name, for conversations that have none."""

ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
"""Of the files that are read in a directory."""


def _read_records(name: str, entries: list[Entry]) -> Iterable[Conversation]:
    return [conversation_of(where, record) for where, record in entries]


FORMATS: tuple[tuple[str, frozenset[str], Reader], ...] = (
    ("records", frozenset({"segments"}), _read_records),
    ("OpenAI chats", frozenset({"messages"}), chats.read),
    ("mini-swe-agent calls", frozenset({"session_id", "input", "output"}), mini_swe_agent.read),
    ("ToolBench answers", frozenset({"answer_generation"}), toolbench.read_answers),
    ("ToolLLaMA conversations", frozenset({"conversations"}), toolbench.read_conversations),
)
"""Name, the fields that tell it, its reader."""

KNOWN = "; ".join(f"{name} (with {', '.join(sorted(fields))})" for name, fields, _ in FORMATS)


def read_any(path: Path) -> list[Conversation]:
    """The conversations in a file, or in all JSON files of a directory, whichever of the known formats they are in.

    Raises:
        ValueError: If there is none, the format is not known, or something in it is malformed; the error names the file, and the
            line or entry.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("[!.]*") if file.is_file() and file.name.endswith(ENDINGS))
    conversations = [conversation for file in files for conversation in _read_file(file)]
    if not conversations:
        raise ValueError(f"{path} holds no conversation in which a model writes anything; known formats are: {KNOWN}")
    return conversations


def _read_file(path: Path) -> Iterable[Conversation]:
    entries = _entries(path)
    if not entries:
        raise ValueError(f"{path} is empty; it needs a conversation a line")
    where, first = entries[0]
    for _, fields, reader in FORMATS:
        if fields <= first.keys():
            return reader(path.stem, entries)
    raise ValueError(f"{where}: has fields {sorted(first)[:6]}, which are of no known format; known are: {KNOWN}")


def _entries(path: Path) -> list[Entry]:
    if _begins_with_object_in_a_line(path):
        return [(f"{path}, line {number}", record) for number, record in read_lines(path)]
    document = _document(path)
    if isinstance(document, dict):
        return [(str(path), document)]
    if not isinstance(document, list):
        raise ValueError(f"{path}: must hold JSON objects, got {shown(document)}; known formats are: {KNOWN}")
    for place, entry in enumerate(document):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, entry {place}: must be a JSON object, got {shown(entry)}; known formats are: {KNOWN}")
    return [(f"{path}, entry {place}", entry) for place, entry in enumerate(document)]


def _begins_with_object_in_a_line(path: Path) -> bool:
    """Whether the first line that is not empty is a JSON object; if there is none, there are no lines to tell apart either."""
    with open_text(path) as file:
        try:
            line = next((line for line in file if line.strip()), "{}")
        except UNREADABLE as error:
            raise ValueError(f"cannot read {path}: {error}; known formats are: {KNOWN}") from error
    if line.lstrip().startswith("["):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _document(path: Path) -> Any:
    with open_text(path) as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {error.lineno}: no JSON ({error}); known formats are: {KNOWN}") from None
        except UNREADABLE as error:
            raise ValueError(f"cannot read {path}: {error}") from error
        except (ValueError, RecursionError) as error:  # numbers of too many digits, objects in too many others
            raise ValueError(f"{path}: no JSON ({error}); known formats are: {KNOWN}") from None
