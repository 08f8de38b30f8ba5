"""Chats of the OpenAI API, as files for fine-tuning have them: ``{"messages": [{"role": …, "content": …, "tool_calls": …}]}``."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from lamps_jax.train_predictor.readers.turns import Entry, Turn, conversation_from, list_of_objects, name_of
from lamps_jax.train_predictor.records import Conversation, shown


class Call(NamedTuple):
    """A function that a message calls, and its arguments as they were written."""

    name: str
    arguments: str


def read(name: str, entries: list[Entry]) -> Iterator[Conversation]:
    """The chats in which the model says something; what it writes is its content, and names and arguments of its calls.

    Messages of the system are left out; how long calls took is unknown.

    Raises:
        ValueError: If a message is malformed; the error names place and field.
    """
    for where, record in entries:
        messages = list_of_objects(where, "messages", record.get("messages"), {"role"})
        turns = [_turn(f"{where}: messages[{place}]", message) for place, message in enumerate(messages)]
        if made := conversation_from(where, name_of(record), turns):
            yield made


def _turn(where: str, message: dict[str, Any]) -> Turn:
    calls = calls_of(where, message)
    written = "\n".join(f"{call.name}({call.arguments})" for call in calls)
    text = "\n".join(part for part in (content_of(where, message), written) if part)
    return Turn(message["role"], text, calls[0].name if calls else None)


def content_of(where: str, message: dict[str, Any]) -> str:
    """The text of a message, "" if it has none.

    Raises:
        ValueError: If its content is neither text nor a list of parts.
    """
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise ValueError(f"{where}.content must be text, a list of parts or null, got {shown(content)}")
    return content or ""


def calls_of(where: str, message: dict[str, Any]) -> list[Call]:
    """The calls of a message, of the present form (``tool_calls``) and the old one (``function_call``).

    Raises:
        ValueError: If one is no object with a name.
    """
    places = [(f"tool_calls[{place}].function", call.get("function")) for place, call in enumerate(_tool_calls(where, message))]
    if message.get("function_call"):
        places.append(("function_call", message["function_call"]))
    calls = []
    for field, function in places:
        if not isinstance(function, dict):
            raise ValueError(f"{where}.{field} must be an object with name and arguments, got {shown(function)}")
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{where}.{field}.name must say what is called, got {shown(name)}")
        arguments = function.get("arguments", "")
        calls.append(Call(name, arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)))
    return calls


def _tool_calls(where: str, message: dict[str, Any]) -> list[dict[str, Any]]:
    return list_of_objects(where, "tool_calls", message.get("tool_calls") or [], set())
