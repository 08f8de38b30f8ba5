"""From a request's tokens to what people see: text without calls, up to a stop text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from lamps_jax.tools.formats.call_format import CallFormat, WrittenCall
from lamps_jax.tools.tool import Tool

if TYPE_CHECKING:  # readers that read no text need no tokenizer, which takes seconds to import
    from lamps_jax.models.tokenizer import Detokenizer, Tokenizer


@dataclass(frozen=True, slots=True)
class TextStep:
    """What one token brought, or the text behind a call, or the end.

    Attributes:
        token_text: The token's own text, calls included; "" of the end.
        text: Text to show.
        call: A call that the token completed.
        stopped: Whether a stop text was met; nothing of it, or behind it, is in `text`.
    """

    token_text: str
    text: str
    call: WrittenCall | None
    stopped: bool


class TokenReader(Protocol):
    """Says what a request's tokens mean: text, a call, an end."""

    def push(self, token_id: int, *, stop_allowed: bool) -> TextStep:
        """Takes in a sampled token. Without `stop_allowed` no text ends the request."""
        ...

    def go_on(self, call: WrittenCall) -> TextStep:
        """Reads what stands behind `call` already, where the reply goes on without its result."""
        ...

    def arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        """The arguments of a call by name.

        Raises:
            ToolError: If they do not fit the tool.
        """
        ...

    def result_token_ids(self, result: str) -> list[int]:
        """The tokens by which the result of the last call is told to the model."""
        ...

    def inject(self, token_ids: list[int]) -> None:
        """Takes in tokens that are part of the context but not of the output: a call's result."""
        ...

    def flush(self) -> TextStep:
        """What was held back so far, when no more tokens will come: text, or a call that the end completes."""
        ...


class TextStream:
    """The text of one request, token by token.

    With tools the blanks before a call are not shown, nor those at the ends of a reply where the format says so.

    Args:
        call_format: Of the model; a stream without tools needs none.
        tools: What may be called; without any, calls are plain text.
        tokenizer: Of the results of calls; a stream without tools needs none.
        calls_first: Whether text that does not begin with a call, up to the next result, holds none: what looks like one in the
            middle of a JSON text is part of it.
    """

    def __init__(
        self,
        detokenizer: "Detokenizer",
        *,
        stop: tuple[str, ...],
        call_format: CallFormat | None = None,
        tools: Mapping[str, Tool] | None = None,
        tokenizer: "Tokenizer | None" = None,
        calls_first: bool = False,
    ):
        self._detokenizer, self._tokenizer, self._tools = detokenizer, tokenizer, tools or {}
        self._format = call_format if tools else None
        self._calls = self._format.parser(self._tools) if self._format else None
        self._markers = _marker_texts(tokenizer, self._format.markers) if tokenizer and self._format else {}
        self._calls_first = calls_first and self._format is not None and not self._format.begins_lines
        self._is_plain = False
        self._stop, self._stop_allowed = StopTexts(stop), True
        self._blanks, self._shown, self._shown_since_call = "", False, False
        self._last_call: WrittenCall | None = None

    def push(self, token_id: int, *, stop_allowed: bool) -> TextStep:
        """Takes in a sampled token. Without `stop_allowed` stop texts are shown like any other."""
        self._stop_allowed = stop_allowed
        return self._read(self._detokenizer.push(token_id) + self._markers.get(token_id, ""))

    def go_on(self, call: WrittenCall) -> TextStep:
        """Reads what stands behind `call` already, where the reply goes on without its result."""
        return self._read(call.begun + call.surplus)

    def arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        """The arguments of a call by name.

        Raises:
            ToolError: If they do not fit the tool.
        """
        assert self._format is not None, "calls are recognised, and so have a format"
        return self._format.parse_arguments(tool, written)

    def result_token_ids(self, result: str) -> list[int]:
        """The tokens by which the result of the last call is told to the model."""
        assert self._tokenizer is not None and self._format is not None and self._last_call is not None, "a call was read"
        text = self._format.result_text(self._last_call, result)
        if text is not None:
            return self._tokenizer.encode_text(text.removeprefix(self._last_call.begun))
        from lamps_jax.engine.call_results import templated_result  # takes seconds to import, like the tokenizer

        return templated_result(self._tokenizer, self._format, self._last_call.name, result)

    def inject(self, token_ids: list[int]) -> None:
        """Takes in tokens that are part of the context but not of the output: a call's result."""
        self._is_plain = False
        for token_id in token_ids:
            self._detokenizer.push(token_id)

    def flush(self) -> TextStep:
        """What was held back so far, when no more tokens will come: text, or a call that the end completes."""
        text, call = self._calls.flush() if self._calls else ("", None)
        text, stopped = self._stop.feed(text)
        text = self._fold_blanks(text if stopped else text + self._stop.flush(), call)
        if self._format and not self._format.strips_text and self._shown_since_call and not call and not stopped:
            text, self._blanks = text + self._blanks, ""
        return self._step("", text, call, stopped)

    def _read(self, token_text: str) -> TextStep:
        text, call = self._find_call(token_text)
        text, stopped = self._stop.feed(text) if self._stop_allowed else (self._stop.flush() + text, False)
        if call and not stopped:
            text += self._stop.flush()  # a stop text does not reach across a call
        return self._step(token_text, self._fold_blanks(text, call), call, stopped)

    def _find_call(self, token_text: str) -> tuple[str, WrittenCall | None]:
        """Plain text, and a call if one is complete."""
        if self._calls is None:
            return token_text, None
        if not self._calls_first:
            return self._calls.feed(token_text)
        shown = ""
        for place, letter in enumerate(token_text):
            if self._is_plain:
                return shown + self._calls.flush()[0] + token_text[place:], None
            text, call = self._calls.feed(letter)
            shown, self._is_plain = shown + text, bool(text.strip())
            if call:
                return shown, replace(call, surplus=call.surplus + token_text[place + 1 :])
        return shown, None

    def _step(self, token_text: str, text: str, call: WrittenCall | None, stopped: bool) -> TextStep:
        if call:
            self._last_call = call
        return TextStep(token_text, text, call, stopped)

    def _fold_blanks(self, text: str, call: WrittenCall | None) -> str:
        if self._format is None:
            return text
        text = self._blanks + text
        kept = text.rstrip()
        self._blanks = "" if call else text[len(kept) :]
        if self._format.strips_text and not self._shown:
            kept = kept.lstrip()
        self._shown |= bool(kept)
        self._shown_since_call = not call and (self._shown_since_call or bool(kept))
        return kept


def _marker_texts(tokenizer: "Tokenizer", markers: tuple[str, ...]) -> dict[int, str]:
    """The markers that are special tokens, which have no text of their own."""
    added = tokenizer.hf.added_tokens_decoder if markers else {}
    return {index: token.content for index, token in added.items() if token.special and token.content in markers}


class StopTexts:
    """Finds whichever of several texts is complete first in a stream; what may be the beginning of one is held back."""

    def __init__(self, stop: tuple[str, ...]):
        self._stop, self._held = stop, ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Text that is certainly before any stop text, and whether one was met."""
        if not self._stop:
            return text, False
        held = self._held + text
        if met := [(at + len(stop), at) for stop in self._stop if (at := held.find(stop)) >= 0]:
            self._held = ""
            _, at = min(met)
            return held[:at], True
        keep = max((size for stop in self._stop for size in range(1, len(stop)) if held.endswith(stop[:size])), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def flush(self) -> str:
        """Text held back."""
        held, self._held = self._held, ""
        return held
