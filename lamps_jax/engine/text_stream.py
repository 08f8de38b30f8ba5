"""From a request's tokens to what people see: text without calls, up to a stop text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lamps_jax.tools.call_format import InlineCallParser, WrittenCall, render_result

if TYPE_CHECKING:  # readers that read no text need no tokenizer, which takes seconds to import
    from lamps_jax.models.tokenizer import Detokenizer, Tokenizer


@dataclass(frozen=True, slots=True)
class TextStep:
    """What one token brought.

    Attributes:
        token_text: The token's own text, calls included.
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

    def result_token_ids(self, result: str) -> list[int]:
        """The tokens by which a call's result is told to the model."""
        ...

    def inject(self, token_ids: list[int]) -> None:
        """Takes in tokens that are part of the context but not of the output: a call's result."""
        ...

    def flush(self) -> str:
        """Text held back so far, when no more tokens will come."""
        ...


class TextStream:
    """The text of one request, token by token.

    With tools the blanks around a call are folded: those before it are not shown.

    Args:
        tokenizer: Of the results of calls; a stream without tools needs none.
    """

    def __init__(
        self, detokenizer: "Detokenizer", *, tools: frozenset[str], stop: tuple[str, ...], tokenizer: "Tokenizer | None" = None
    ):
        self._detokenizer, self._tokenizer = detokenizer, tokenizer
        self._calls = InlineCallParser(tools) if tools else None
        self._stop = StopTexts(stop)
        self._blanks, self._shown = "", False

    def push(self, token_id: int, *, stop_allowed: bool) -> TextStep:
        """Takes in a sampled token. Without `stop_allowed` stop texts are shown like any other."""
        token_text = self._detokenizer.push(token_id)
        text, call = self._calls.feed(token_text) if self._calls else (token_text, None)
        text, stopped = self._stop.feed(text) if stop_allowed else (self._stop.flush() + text, False)
        if call and not stopped:
            text += self._stop.flush()  # a stop text does not reach across a call
        text = self._fold_blanks(text, call) if self._calls else text
        return TextStep(token_text, text, call, stopped)

    def result_token_ids(self, result: str) -> list[int]:
        """The tokens by which a call's result is told to the model."""
        assert self._tokenizer is not None, "calls are recognised, and so have results"
        return self._tokenizer.encode_text(render_result(result))

    def inject(self, token_ids: list[int]) -> None:
        """Takes in tokens that are part of the context but not of the output: a call's result."""
        for token_id in token_ids:
            self._detokenizer.push(token_id)

    def flush(self) -> str:
        """Text held back so far, when no more tokens will come."""
        text, _ = self._stop.feed(self._calls.flush() if self._calls else "")
        text += self._stop.flush()
        return self._fold_blanks(text, None) if self._calls else text

    def _fold_blanks(self, text: str, call: WrittenCall | None) -> str:
        text = self._blanks + text
        kept = text.rstrip()
        self._blanks = "" if call else text[len(kept) :]
        if not self._shown:
            kept = kept.lstrip()
        self._shown |= bool(kept)
        return kept


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
