"""Turns of a conversation in the order in which they were taken, from which the segments follow."""

from collections.abc import Iterable
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from lamps_jax.train_predictor.records import Conversation, Segment, shown

Entry = tuple[str, dict[str, Any]]
"""Where an object stands, for errors, and the object."""

MODEL = "assistant"

SYSTEM = {"system", "developer"}
"""Roles whose turns a predictor does not read."""

ROLES = {MODEL, "user", "tool", "function"} | SYSTEM

USER_TURN = "user"
"""The tool of a segment after which a person speaks."""


class Turn(NamedTuple):
    """What one side says.

    Attributes:
        tool: What the model calls; None if nothing.
    """

    role: str
    text: str
    tool: str | None = None


def conversation_from(where: str, name: str, turns: Iterable[Turn]) -> Conversation | None:
    """A conversation of turns; None if the model never speaks.

    What stands before the model's first turn is the prompt. Turns that the model takes one after another are one segment, whose
    tool is the first that they call. A person who speaks after an answer is a call that returns with what the person says.

    Raises:
        ValueError: If a role is none of `ROLES`; the error begins with `where`.

    Source: LAMPS's released code, which leaves out the system prompt and predicts each turn of the model from those before it.
    """
    heard = list(turns)
    for turn in heard:
        if turn.role not in ROLES:
            raise ValueError(f"{where}: role must be one of {', '.join(sorted(ROLES))}, got {shown(turn.role)}; rename it")
    runs = [list(run) for _, run in groupby((turn for turn in heard if turn.role not in SYSTEM), lambda turn: turn.role == MODEL)]
    prompt = _joined(runs.pop(0)) + "\n" if runs and runs[0][0].role != MODEL else ""
    segments = []
    for written, answer in zip_longest(runs[::2], runs[1::2]):
        tool = next((turn.tool for turn in written if turn.tool), None)
        if answer is None:
            segments.append(Segment(_joined(written), tool=tool))
        else:
            segments.append(Segment(_joined(written), tool=tool or USER_TURN, returned_text=f"\n{_joined(answer)}\n"))
    return Conversation(prompt, tuple(segments), id=name) if segments else None


def _joined(turns: Iterable[Turn]) -> str:
    return "\n".join(turn.text for turn in turns if turn.text)


def list_of_objects(where: str, field: str, value: object, wanted: set[str]) -> list[dict[str, Any]]:
    """The `value` of a field if it is a list of objects, each with the `wanted` fields of text.

    Raises:
        ValueError: If it is not; the error begins with `where` and names the field.
    """
    if not isinstance(value, list):
        raise ValueError(f"{where}: {field} must be a list of objects, got {shown(value)}")
    for place, each in enumerate(value):
        if not isinstance(each, dict):
            raise ValueError(f"{where}: {field}[{place}] must be an object, got {shown(each)}")
        for name in sorted(wanted):
            if not isinstance(each.get(name), str):
                raise ValueError(f"{where}: {field}[{place}].{name} must be text, got {shown(each.get(name))}")
    return value


def name_of(record: dict[str, Any]) -> str:
    """The `id` of a record as text; "" if it has none."""
    return "" if record.get("id") is None else str(record["id"])
