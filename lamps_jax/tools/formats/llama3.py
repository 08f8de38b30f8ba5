"""Calls as Llama 3.1 and later write them, ``{"name": …, "parameters": {…}}``, perhaps behind ``<|python_tag|>``.

Source: Llama 3.1's model card, "JSON based tool calling".
"""

import re
from collections.abc import Mapping

from lamps_jax.tools.formats.call_format import CallParser, WrittenCall
from lamps_jax.tools.formats.json_format import JsonFormat
from lamps_jax.tools.formats.json_text import MAX_CALL_CHARS, ObjectEnd, split_call, unfinished_tail
from lamps_jax.tools.tool import Tool

TAG = "<|python_tag|>"

_ARGUMENT_KEYS = ("parameters", "arguments")
_NAME, _KEY = "a name", "a key of arguments"
_CALL = ('"name"', ":", _NAME, ",", _KEY, ":", "{")
_HEADS = (("{", *_CALL), ("{", '"type"', ":", '"function"', ",", *_CALL))
"""The parts of the beginning of an object that is a call."""

_BLANKS = r"\s{0,32}"
_CANDIDATE = re.compile(rf"[{{;]|{re.escape(TAG)}")
_LEAD = re.compile(rf"(?:;{_BLANKS})?(?P<tag>{re.escape(TAG)}{_BLANKS})?\{{")
_TAG_BEGINNINGS = "|".join(re.escape(TAG[:size]) for size in range(1, len(TAG)))
_UNFINISHED_LEAD = re.compile(rf"(?:;{_BLANKS})?(?:{re.escape(TAG)}{_BLANKS}|{_TAG_BEGINNINGS})?")
_PART = re.compile(rf'{_BLANKS}("[^"\\]{{1,64}}"|[{{:,])')
_UNFINISHED_PART = re.compile(rf'{_BLANKS}("[^"\\]{{0,64}})?')


class LlamaCallParser:
    """Finds objects that are calls: of any name where a reply begins or goes on behind a call, otherwise of `names` alone."""

    def __init__(self, names: frozenset[str]):
        self._names, self._held = names, ""
        self._at_start, self._behind_call = True, False
        self._object: ObjectEnd | None = None

    def feed(self, text: str) -> tuple[str, WrittenCall | None]:
        """As in `CallParser`; nothing of a call is in the text, nor a semicolon between two."""
        self._held += text
        plain = ""
        while self._held:
            plain += self._release(self._place_of_candidate())
            if not _CANDIDATE.match(self._held):
                return plain, None
            end, call = self._call()
            if call:
                self._held, self._object, self._at_start, self._behind_call = "", None, True, True
            if call or end is None:
                return plain, call
            plain += self._release(end)
        return plain, None

    def flush(self) -> tuple[str, WrittenCall | None]:
        """An object in whose quotes its end got lost is a call; otherwise as in `CallParser`."""
        lead = _LEAD.match(self._held)
        if lead and self._held.rstrip().endswith("}") and self._is_call(lead):
            split = split_call(self._held[lead.end() - 1 :].rstrip(), _ARGUMENT_KEYS)
            if split:
                self._held = ""
                return "", WrittenCall(*split)
        return self._release(len(self._held)), None

    def _place_of_candidate(self) -> int:
        """Where the next object, tag or semicolon is that may belong to a call; all before is text."""
        for match in _CANDIDATE.finditer(self._held):
            if match.group() != ";" or (self._behind_call and not self._held[: match.start()].strip()):
                return match.start()
        return len(self._held) - unfinished_tail(self._held, TAG)

    def _call(self) -> tuple[int | None, WrittenCall | None]:
        """How much of what is held, which begins with a candidate, is decided; and the call that it is."""
        lead = _LEAD.match(self._held)
        first = len(TAG) if self._held.startswith(TAG) else 1
        if lead is None:
            return (None if _UNFINISHED_LEAD.fullmatch(self._held) else first), None
        if self._object is None:
            is_call = self._is_call(lead)
            if not is_call:
                return (None if is_call is None else first), None
            self._object = ObjectEnd(lead.end() - 1)
        found = self._object.find(self._held)
        if (found[0] > MAX_CALL_CHARS) if found else (len(self._held) >= MAX_CALL_CHARS):
            return MAX_CALL_CHARS, None
        if found is None:
            return None, None
        split = split_call(self._held[lead.end() - 1 : found[0]], _ARGUMENT_KEYS)
        return found[0], WrittenCall(*split, surplus=self._held[found[0] :]) if split else None

    def _is_call(self, lead: re.Match[str]) -> bool | None:
        """Whether the object behind `lead` begins like a call; None while that is open."""
        parts, at = list[str](), lead.end() - 1
        while len(parts) < max(map(len, _HEADS)) and (match := _PART.match(self._held, at)):
            parts.append(match[1])
            at = match.end()
        unfinished = _UNFINISHED_PART.fullmatch(self._held, at)
        any_name = self._at_start or lead["tag"] is not None
        possible = False
        for head in _HEADS:
            if not all(self._agrees(part, wanted, any_name) for part, wanted in zip(parts, head, strict=False)):
                continue
            if len(parts) >= len(head):
                return True
            possible |= unfinished is not None and _begins(unfinished[1], head[len(parts)])
        return None if possible else False

    def _agrees(self, part: str, wanted: str, any_name: bool) -> bool:
        if wanted == _NAME:
            return part[0] == '"' and (any_name or part[1:-1] in self._names)
        return part[1:-1] in _ARGUMENT_KEYS if wanted == _KEY else part == wanted

    def _release(self, end: int) -> str:
        released, self._held, self._object = self._held[:end], self._held[end:], None if end else self._object
        if released.strip():
            self._at_start = self._behind_call = False
        return released


def _begins(unfinished: str | None, wanted: str) -> bool:
    if unfinished is None or wanted == _NAME:
        return True
    options = [f'"{key}"' for key in _ARGUMENT_KEYS] if wanted == _KEY else [wanted]
    return any(option.startswith(unfinished) for option in options)


def _parser(tools: Mapping[str, Tool]) -> CallParser:
    return LlamaCallParser(frozenset(tools))


LLAMA3 = JsonFormat(
    "llama3",
    markers=(TAG,),
    new_parser=_parser,
    before='{"name": ',
    between=', "parameters": ',
    behind="}",
    separator="; ",
    joins_calls=False,
)
