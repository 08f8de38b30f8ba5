"""ToolBench: answers with their search trees, and the conversations that ToolLLaMA was trained on.

Source: Qin et al., "ToolLLM" (2023), and ToolBench's ``preprocess_toolllama_data.py``, which makes the second of the first.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from lamps_jax.train_predictor.readers.chats import calls_of, content_of
from lamps_jax.train_predictor.readers.turns import MODEL, Entry, Turn, conversation_from, list_of_objects, name_of
from lamps_jax.train_predictor.records import Conversation, shown

FINISH = "Finish"
"""What ToolBench's models call to answer, or to give up; it is no tool."""

STEP = re.compile(r"Step \d+: ")
"""What stands in the `id` before the question, in conversations of ToolLLaMA."""

ACTION = re.compile(r"^Action:[ \t]*(\S.*?)\s*$", re.MULTILINE)


def read_answers(name: str, entries: list[Entry]) -> Iterator[Conversation]:
    """Answers of ToolBench: of each the last of its ``train_messages``, the chain that led through the tree to the answer.

    Answers that ToolBench holds for invalid are left out. Turns are written as ToolLLaMA writes them, ``Thought:``, ``Action:``
    and ``Action Input:``; a thought beside a call, which ToolBench drops, is kept.

    Raises:
        ValueError: If a chain is missing or malformed.
    """
    for number, (where, record) in enumerate(entries, 1):
        answer = record.get("answer_generation")
        if not isinstance(answer, dict):
            raise ValueError(f"{where}: answer_generation must be an object, got {shown(answer)}")
        if not answer.get("valid_data", True):
            continue
        chains = answer.get("train_messages")
        if not isinstance(chains, list) or not chains:
            raise ValueError(
                f"{where}: answer_generation.train_messages must be a list of chains, got {shown(chains)}; "
                "set valid_data to false if there is no answer"
            )
        place = f"answer_generation.train_messages[{len(chains) - 1}]"
        messages = list_of_objects(where, place, chains[-1], {"role"})
        turns = _turns(f"{where}: {place}", messages)
        if made := conversation_from(where, name if len(entries) == 1 else f"{name}-{number}", turns):
            yield made


def read_conversations(name: str, entries: list[Entry]) -> Iterator[Conversation]:
    """Conversations of ToolLLaMA; of those that are steps towards one answer, as their `id` says, the longest.

    Raises:
        ValueError: If a turn is malformed.
    """
    longest = dict[str, Conversation]()
    for place, (where, record) in enumerate(entries):
        turns = list_of_objects(where, "conversations", record.get("conversations"), {"from", "value"})
        made = conversation_from(where, name_of(record), (_said(turn["from"], turn["value"]) for turn in turns))
        if made is None:
            continue
        step = STEP.match(made.id)
        question = made.id[step.end() :] if step else f"entry {place}"
        if question not in longest or len(made.segments) > len(longest[question].segments):
            longest[question] = made
    yield from longest.values()


def _turns(where: str, messages: Iterable[dict[str, Any]]) -> Iterator[Turn]:
    before = None
    for place, message in enumerate(messages):
        content, role = content_of(f"{where}[{place}]", message), message["role"]
        if role != MODEL:
            yield Turn(role, content)
        else:
            calls = calls_of(f"{where}[{place}]", message)
            thought = [f"Thought: {content}"] if content or before != MODEL else []  # one that stands alone goes before its call
            acts = [f"Action: {call.name}\nAction Input: {call.arguments}" for call in calls]
            yield Turn(role, "\n".join(thought + acts), _tool(calls[0].name if calls else None))
        before = role


def _said(role: str, text: str) -> Turn:
    """A turn in ToolLLaMA's form. The newline that its texts begin with is left to what stands before them."""
    if role != MODEL:
        return Turn(role, text)
    action = ACTION.search(text)
    return Turn(role, text.removeprefix("\n"), _tool(action and action[1]))


def _tool(name: str | None) -> str | None:
    return None if name == FINISH else name
