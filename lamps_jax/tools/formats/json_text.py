"""JSON as models write it: where an object ends while it is still being written, and what a call in it says."""

import json
import re
from collections.abc import Sequence
from typing import Any

MAX_CALL_CHARS = 64 * 1024
"""What has not become a call after so many characters is text."""

_MARK_IN_STRING = re.compile(r'["\\]')
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]+)"')
_BLANKS = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)


class ObjectEnd:
    """Finds where an object in a growing text ends; each character is looked at once.

    Args:
        start: Where it begins.
        stop: What also ends it, outside of strings; with `only_stop` nothing else does.
    """

    def __init__(self, start: int, *, stop: str = "", only_stop: bool = False):
        self._at, self._stop, self._only_stop = start, stop, only_stop
        self._depth, self._in_string = 0, False
        first = re.escape(stop[0]) if stop else ""
        self._outside = re.compile(rf'["{{}}{first}]')

    def find(self, text: str) -> tuple[int, bool] | None:
        """The place behind the object, or of the stop, and whether it is the stop; None while neither is there."""
        while True:
            mark = (_MARK_IN_STRING if self._in_string else self._outside).search(text, self._at)
            if mark is None:
                self._at = len(text)
                return None
            place, character = mark.start(), mark.group()
            if self._in_string:
                if character == "\\" and place + 1 == len(text):
                    self._at = place
                    return None
                self._in_string = character == "\\"
                self._at = place + (2 if character == "\\" else 1)
                continue
            if self._stop and character == self._stop[0]:
                if text.startswith(self._stop, place):
                    return place, True
                if self._stop.startswith(text[place:]):
                    self._at = place
                    return None
            self._at = place + 1
            self._in_string = character == '"'
            self._depth += {"{": 1, "}": -1}.get(character, 0)
            if character == "}" and self._depth == 0 and not self._only_stop:
                return self._at, False


def split_call(text: str, argument_keys: Sequence[str]) -> tuple[str, str] | None:
    """Name and arguments, as written, of the call that a JSON object describes; None if it names none.

    Braces that lack or are too many at its end are forgiven. Where the arguments are no JSON they reach as far as they may.
    """
    arguments, name, at = "{}", None, _behind_blanks(text, 0) + 1
    while (member := _member(text, at)) is not None:
        key, start, end, value = member
        if end is None:
            rest = text[start:].rstrip()
            arguments = rest.removesuffix("}").rstrip() if key in argument_keys else arguments
            names = _NAME.findall(rest)
            name = name or (names[-1] if names else None)
            break
        name = value if key == "name" and isinstance(value, str) else name
        arguments = text[start:end] if key in argument_keys else arguments
        at = _behind_blanks(text, end)
        if text[at : at + 1] != ",":
            break
        at += 1
    return None if not name else (name, arguments)


def _member(text: str, at: int) -> tuple[str, int, int | None, Any] | None:
    """A member of an object: its key, where its value starts and ends, and the value; no end if that is no JSON."""
    try:
        key, at = _DECODER.raw_decode(text, _behind_blanks(text, at))
        at = _behind_blanks(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            return None
    except (ValueError, RecursionError):
        return None
    start = _behind_blanks(text, at + 1)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return key, start, None, None
    return key, start, end, value


def _behind_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def unfinished_tail(text: str, wanted: str) -> int:
    """How many characters at the end of `text` may be the beginning of `wanted`."""
    return max((size for size in range(1, len(wanted)) if text.endswith(wanted[:size])), default=0)
