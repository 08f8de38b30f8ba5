"""Logs of other programs as conversations. The format is told by what a file holds, not by its name.

| format | how it is told |
|---|---|
| the project's own records | JSON lines with ``segments`` |
| chats of the OpenAI API, as files for fine-tuning have them | JSON lines with ``messages`` |
| calls of mini-swe-agent | JSON lines with ``session_id``, ``input`` and ``output`` |
| answers of ToolBench, one file each or a directory of them | a JSON object with ``answer_generation`` |
| conversations of ToolLLaMA | a JSON list of objects with ``conversations`` |
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lamps_jax.train_predictor.records import Conversation, Segment, from_record, open_text, read_lines

FORMATS = "records with segments, chats with messages, mini-swe-agent calls, ToolBench answers, ToolLLaMA conversations"


def read_any(path: Path) -> list[Conversation]:
    """The conversations in a file, or in all JSON files of a directory, whichever of the known formats they are in.

    Raises:
        ValueError: If there is none, the format is not known, or something in it is malformed.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.json*") if file.is_file() and not file.name.startswith("."))
    conversations = [conversation for file in files for conversation in _read_file(file)]
    if not conversations:
        raise ValueError(f"{path} holds no conversation in which a model writes anything; known formats are {FORMATS}")
    return conversations


def _read_file(path: Path) -> list[Conversation]:
    with open_text(path) as file:
        begins = file.read(4096).lstrip()
    if not begins:
        raise ValueError(f"{path} is empty; it needs a conversation a line")
    document = _document(path) if begins.startswith("[") or not _is_line(begins) else None
    return _from_lines(path) if document is None else _from_document(path, document)


def _is_line(begins: str) -> bool:
    """Whether a text begins with a JSON object in one line, or with a line too long to say."""
    line, newline, _ = begins.partition("\n")
    if not newline:
        return len(begins) >= 4096 or not begins.startswith('{"answer_generation"')
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _document(path: Path) -> Any:
    with open_text(path) as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: no JSON ({error}); known formats are {FORMATS}") from None


def _from_lines(path: Path) -> list[Conversation]:
    lines = list(read_lines(path))
    first = lines[0][1]
    if len(lines) == 1 and "answer_generation" in first:
        return _from_document(path, first)
    if "segments" in first:
        return [from_record(path, number, record) for number, record in lines]
    if "messages" in first:
        return [made for number, record in lines if (made := _from_chat(f"{path}, line {number}", record))]
    if {"session_id", "input", "output"} <= first.keys():
        return _from_mini_swe_agent(path, lines)
    raise ValueError(f"{path}, line {lines[0][0]}: fields {sorted(first)[:6]} are of no known format; known are {FORMATS}")


def _from_document(path: Path, document: Any) -> list[Conversation]:
    if isinstance(document, dict) and "answer_generation" in document:
        return _from_toolbench(path, document)
    if isinstance(document, list) and document and all(isinstance(each, dict) and "conversations" in each for each in document):
        made = [_from_toolllama(f"{path}, entry {place}", each) for place, each in enumerate(document)]
        return [conversation for conversation in made if conversation]
    raise ValueError(f"{path} is of no known format; known are {FORMATS}")


def _from_chat(where: str, record: Mapping[str, Any]) -> Conversation | None:
    """A chat of the OpenAI API: what stands before the model's first message is the prompt, system messages left out.

    What the model writes is its content, and names and arguments of its calls. A chat that goes on after an answer is a call to
    the person: it returns with the next question.
    """
    messages = record.get("messages")
    if not isinstance(messages, list) or not all(
        isinstance(each, dict) and isinstance(each.get("role"), str) for each in messages
    ):
        raise ValueError(f"{where}: messages must be a list of objects with a role, got {str(messages)[:60]!r}")
    return _from_turns(
        str(record.get("id", "")),
        [(message["role"], _written(where, message), _tool(message)) for message in messages],
    )


FINISH = "Finish"
"""What ToolBench's models call to answer; it is no tool."""

USER_TURN = "user"
"""The tool of a segment after which a person speaks."""

Turn = tuple[str, str, str | None]
"""Role, text, and the tool that is called."""


def _from_turns(name: str, turns: Iterable[Turn]) -> Conversation | None:
    """A conversation of turns; None if the model never speaks."""
    prompt, segments = "", list[Segment]()
    written: tuple[str, str | None] | None = None
    returned = ""
    for role, text, tool in turns:
        if role == "system":
            continue
        if role != "assistant":
            if written is None:
                prompt += text + "\n"
            else:
                returned += text + "\n"
            continue
        if written is not None:
            segments.append(Segment(text=written[0], tool=written[1] or USER_TURN, returned_text=returned))
        written, returned = (text, tool), ""
    if written is None:
        return None
    text, tool = written
    segments.append(Segment(text=text, tool=tool or USER_TURN, returned_text=returned) if returned else Segment(text=text))
    return Conversation(prompt, tuple(segments), id=name)


def _written(where: str, message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise ValueError(f"{where}: content must be text or a list of parts, got {content!r}")
    calls = [f"{call.get('name', '')}({call.get('arguments', '')})" for call in _calls(where, message)]
    return "\n".join(part for part in (content, *calls) if part)


def _calls(where: str, message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    functions = [call.get("function") if isinstance(call, dict) else None for call in message.get("tool_calls") or []]
    if message.get("function_call"):
        functions.append(message["function_call"])
    if not all(isinstance(function, dict) for function in functions):
        raise ValueError(f"{where}: each of tool_calls must have a function with name and arguments")
    return [function for function in functions if function]


def _tool(message: Mapping[str, Any]) -> str | None:
    names = [str(call.get("name", "")) for call in _calls("", message)]
    return next((name for name in names if name and name != FINISH), None)


def _from_mini_swe_agent(path: Path, lines: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Conversation]:
    """Calls of mini-swe-agent: those of one session go on from each other's input, which ends with what the command returned.

    How long commands took is not known: a log line has one time, and generation lies between two of them.
    """
    sessions: dict[str, list[tuple[float, str, str]]] = {}
    for number, record in lines:
        for field, kind in (("session_id", str), ("input", str), ("output", str), ("timestamp", int | float)):
            if not isinstance(record.get(field), kind):
                raise ValueError(
                    f"{path}, line {number}: {field} is missing or of another type, got {str(record.get(field))[:40]!r}"
                )
        sessions.setdefault(record["session_id"], []).append((record["timestamp"], record["input"], record["output"]))
    conversations = []
    for name, calls in sessions.items():
        calls.sort(key=lambda call: call[0])
        for part, run in enumerate(_runs(calls)):
            segments = [
                Segment(text=output, tool="shell", returned_text=after[1].removeprefix(before))
                for (_, before, output), after in zip(run, run[1:], strict=False)
            ]
            segments.append(Segment(text=run[-1][2]))
            conversations.append(Conversation(run[0][1], tuple(segments), id=f"{name}-{part}"))
    return conversations


def _runs(calls: list[tuple[float, str, str]]) -> list[list[tuple[float, str, str]]]:
    """Calls in stretches in each of which every input goes on where the one before it ended."""
    runs = [[calls[0]]]
    for call in calls[1:]:
        if call[1].startswith(runs[-1][-1][1]) and len(call[1]) > len(runs[-1][-1][1]):
            runs[-1].append(call)
        else:
            runs.append([call])
    return runs


def _from_toolbench(path: Path, document: Mapping[str, Any]) -> list[Conversation]:
    """An answer of ToolBench: the longest of its ``train_messages``, which is the chain that led to the answer.

    Source: LAMPS's released code, which leaves out the system prompt and predicts each assistant turn.
    """
    answer = document["answer_generation"]
    chains = answer.get("train_messages", []) if isinstance(answer, dict) else None  # an answer that was given up has none
    if not isinstance(chains, list):
        raise ValueError(f"{path}: answer_generation.train_messages must be a list of chains, got {str(chains)[:40]!r}")
    if not chains:
        return []
    made = _from_chat(str(path), {"messages": max(chains, key=len), "id": path.stem})
    return [made] if made else []


def _from_toolllama(where: str, record: Mapping[str, Any]) -> Conversation | None:
    turns = record["conversations"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) and {"from", "value"} <= turn.keys() for turn in turns):
        raise ValueError(f"{where}: conversations must be a list of objects with from and value, got {str(turns)[:40]!r}")
    known: dict[str, Callable[[str], str | None]] = {"assistant": _action}
    return _from_turns(
        str(record.get("id", "")),
        [(turn["from"], str(turn["value"]), known.get(turn["from"], lambda text: None)(str(turn["value"]))) for turn in turns],
    )


def _action(text: str) -> str | None:
    """What follows ``Action:`` in a turn of ToolLLaMA."""
    for line in text.splitlines():
        if line.startswith("Action:") and (name := line.removeprefix("Action:").strip()) != FINISH:
            return name
    return None
