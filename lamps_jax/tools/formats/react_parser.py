"""Recognises ReAct's labelled lines as they are written."""

import re

from lamps_jax.tools.formats.arguments import read_object
from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.formats.json_text import MAX_CALL_CHARS, ObjectEnd
from lamps_jax.tools.tool import ToolError

OBSERVATION = "\nObservation:"
"""Ends a call's input: the model begins to write the result itself."""

FINISH = "Finish"
"""The function by which ToolLLaMA gives its answer, unless a tool has this name."""

_THOUGHT, _ANSWER, _ACTION, _INPUT = "Thought:", "Final Answer:", "Action:", "Action Input:"
_LABELS = (_THOUGHT, _ANSWER, _ACTION)
_MAX_BLANKS, _MAX_NAME_CHARS = 32, 128
_INPUT_LABEL = re.compile(rf"\s{{0,{_MAX_BLANKS}}}{_INPUT}")
_TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_AROUND_NAMES = " \t\r`'\"*[]"
_NOT_BLANK = re.compile(r"\S")


class ReactCallParser:
    """Finds calls of any name; of ``Finish``, unless it is among `names`, the answer is text.

    Labels of thoughts and answers are dropped, with the blanks behind them. Behind an answer's label all is text.
    """

    def __init__(self, names: frozenset[str]):
        self._names, self._held = names, ""
        self._at_line_start, self._drops_blanks, self._is_over = True, False, False
        self._object: ObjectEnd | None = None
        self._num_searched = 0

    def feed(self, text: str) -> tuple[str, WrittenCall | None]:
        """As in `CallParser`; neither calls nor labels are in the text."""
        self._held += text
        plain = ""
        while self._held:
            if self._drops_blanks:
                self._held = self._held.lstrip(" \t")
                self._drops_blanks = not self._held
                continue
            if self._is_over or not self._at_line_start:
                plain += self._take_line()
                continue
            label = self._label()
            if label == _ACTION:
                end, call = self._call()
                if call and not self._is_answer(call):
                    self._take(len(self._held))
                    self._at_line_start = True
                    return plain, call
                if end is None:
                    return plain, None
                taken = self._take(end)
                plain += _answer(call.arguments) if call else taken
                self._is_over = call is not None
            elif label:
                self._take(self._held.index(label) + len(label))
                self._drops_blanks, self._is_over = True, label == _ANSWER
            elif label is None:
                return plain, None
            self._at_line_start = False
        return plain, None

    def flush(self) -> tuple[str, WrittenCall | None]:
        """A call whose input only the end ends is one, unless the input is an object that lacks its own end."""
        call = self._call(at_end=True)[1] if self._at_line_start and self._label() == _ACTION else None
        held = self._take(len(self._held))
        if call and self._is_answer(call):
            return _answer(call.arguments), None
        return ("", call) if call else (held, None)

    def _label(self) -> str | None:
        """The label that the line begins with; "" for none, None while it may become one."""
        line = self._held.lstrip(" \t")
        if len(self._held) - len(line) > _MAX_BLANKS:
            return ""
        for label in _LABELS:
            if line.startswith(label):
                return label
        return None if any(label.startswith(line) for label in _LABELS) else ""

    def _call(self, *, at_end: bool = False) -> tuple[int | None, WrittenCall | None]:
        """How much of what is held, which begins with an action's label, is decided; and the call that it is."""
        start = self._held.index(_ACTION) + len(_ACTION)
        line_end = self._held.find("\n", start)
        if line_end < 0:
            return (start if len(self._held) - start > _MAX_NAME_CHARS else None), None
        name = self._held[start:line_end].strip(_AROUND_NAMES)
        if line_end - start > _MAX_NAME_CHARS or not _TOOL_NAME.fullmatch(name):
            return start, None
        label = _INPUT_LABEL.match(self._held, line_end + 1)
        if label is None:
            rest = self._held[line_end + 1 :]
            possible = len(rest) <= _MAX_BLANKS + len(_INPUT) and _INPUT.startswith(rest.lstrip())
            return (None if possible else start), None
        found = self._input_end(label.end())
        if found is None and at_end and (self._object is None or self._held.rstrip().endswith("}")):
            found = len(self._held), False
        place, is_stop = found or (len(self._held), False)
        end = place + (len(OBSERVATION) if is_stop else 0)
        if end > MAX_CALL_CHARS or (found is None and end == MAX_CALL_CHARS):
            return MAX_CALL_CHARS, None
        if found is None:
            return None, None
        arguments = self._held[label.end() : place].strip()
        return end, WrittenCall(name, arguments, self._held[end:], OBSERVATION if is_stop else "")

    def _input_end(self, start: int) -> tuple[int, bool] | None:
        """Where the input ends, and whether an observation ends it; None while that is open."""
        first = _NOT_BLANK.search(self._held, start)
        if first and first.group() == "{":
            self._object = self._object or ObjectEnd(first.start(), stop=OBSERVATION)
            return self._object.find(self._held)
        place = self._held.find(OBSERVATION, max(start, self._num_searched))
        self._num_searched = max(start, len(self._held) - len(OBSERVATION))
        return None if place < 0 else (place, True)

    def _is_answer(self, call: WrittenCall) -> bool:
        return call.name == FINISH and FINISH not in self._names

    def _take_line(self) -> str:
        end = len(self._held) if self._is_over else self._held.find("\n") + 1
        line = self._take(end or len(self._held))
        self._at_line_start = line.endswith("\n")
        return line

    def _take(self, end: int) -> str:
        taken, self._held = self._held[:end], self._held[end:]
        self._object, self._num_searched = None, 0
        return taken


def _answer(arguments: str) -> str:
    """The text of an answer given as a call."""
    try:
        answer = read_object(arguments, "the input").get("final_answer")
    except ToolError:
        return arguments
    return answer if isinstance(answer, str) else arguments
