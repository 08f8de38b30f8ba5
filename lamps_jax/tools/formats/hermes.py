"""Calls between tags, ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, as Hermes, Qwen and others write them."""

import re
from collections.abc import Mapping

from lamps_jax.tools.formats.call_format import CallParser, WrittenCall
from lamps_jax.tools.formats.json_format import JsonFormat
from lamps_jax.tools.formats.json_text import MAX_CALL_CHARS, ObjectEnd, split_call, unfinished_tail
from lamps_jax.tools.tool import Tool

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_ARGUMENT_KEYS = ("arguments", "parameters")
_NOT_BLANK = re.compile(r"\S")


class TaggedCallParser:
    """Finds calls between tags, whatever their name. A tag that no object follows, or that none closes, is text."""

    def __init__(self) -> None:
        self._held = ""
        self._object: ObjectEnd | None = None

    def feed(self, text: str) -> tuple[str, WrittenCall | None]:
        """As in `CallParser`; nothing of a call is in the text."""
        self._held += text
        plain = ""
        while True:
            at = self._held.find(OPEN)
            if at < 0:
                return plain + self._release(len(self._held) - unfinished_tail(self._held, OPEN)), None
            plain += self._release(at)
            end, call = self._call()
            if end is None:
                return plain, None
            if call:
                self._release(len(self._held))
                return plain, call
            plain += self._release(end)

    def flush(self) -> tuple[str, WrittenCall | None]:
        """A call whose last tag is missing, or in whose quotes it got lost, is one; otherwise as in `CallParser`."""
        held = self._release(len(self._held))
        if held.startswith(OPEN):
            body = held[len(OPEN) :].rstrip()
            is_closed = body.endswith(CLOSE)
            body = body.removesuffix(CLOSE)
            start = _NOT_BLANK.search(body)
            whole = start is not None and ObjectEnd(start.start()).find(body) is not None
            if (is_closed or whole) and (split := split_call(body, _ARGUMENT_KEYS)):
                return "", WrittenCall(*split)
        return held, None

    def _call(self) -> tuple[int | None, WrittenCall | None]:
        """How much of what is held, which begins with a tag, is decided; and the call that it is."""
        first = _NOT_BLANK.search(self._held, len(OPEN))
        if first and first.group() != "{":
            return len(OPEN), None
        place = None
        if first:
            self._object = self._object or ObjectEnd(first.start(), stop=CLOSE, only_stop=True)
            place = self._object.find(self._held)
        end = place[0] + len(CLOSE) if place else len(self._held)
        if end > MAX_CALL_CHARS or (place is None and end == MAX_CALL_CHARS):
            return MAX_CALL_CHARS, None
        if place is None:
            return None, None
        split = split_call(self._held[len(OPEN) : place[0]], _ARGUMENT_KEYS)
        return end, WrittenCall(*split, surplus=self._held[end:]) if split else None

    def _release(self, end: int) -> str:
        released, self._held = self._held[:end], self._held[end:]
        self._object = None if released else self._object
        return released


def _parser(tools: Mapping[str, Tool]) -> CallParser:
    return TaggedCallParser()


HERMES = JsonFormat(
    "hermes",
    markers=(OPEN, CLOSE),
    new_parser=_parser,
    before=f'{OPEN}\n{{"name": ',
    between=', "arguments": ',
    behind=f"}}\n{CLOSE}",
    separator="\n",
    joins_calls=True,
)
