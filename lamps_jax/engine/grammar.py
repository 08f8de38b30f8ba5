"""Which tokens may come next where a request's text is to be of some language: the work of llguidance, wrapped.

A grammar is compiled once and copied for each request that asks for it. Masks are bits, 32 to an integer, the lowest token in the
lowest bit.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.numpy import fill_next_token_bitmask
from numpy.typing import NDArray

from lamps_jax.engine.control import ConstraintFailed
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.request import Constraint

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

MAX_COMPILED = 128
"""Grammars that are kept compiled."""

MAX_GRAMMAR_CHARS = 256 * 1024
"""Most characters of a schema or grammar."""

MAX_RENEWAL_S = 0.05
"""A grammar that takes longer to compile is not compiled anew for the sake of texts under way: all others would wait for it."""

BITS = 32


class Matcher:
    """Follows one stretch of text, token by token.

    What copies of a grammar learn of it they share, and when that has grown too large none of them can go on: such a text is
    followed anew, once, by a matcher that shares nothing with others.

    Args:
        renewed: Compiles the grammar anew; None if it cannot be.

    Raises:
        ConstraintFailed: From any method, where the text alone makes the grammar too complex.
        RuntimeError: From any method, where the library gives up for another reason.
    """

    def __init__(self, matcher: LLMatcher, num_words: int, renewed: Callable[[], LLMatcher | None] = lambda: None):
        self._matcher, self._renewed = matcher, renewed
        self._token_ids, self._is_renewed = list[int](), False
        self._mask = np.zeros((1, num_words), np.int32)

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    def allowed(self) -> NDArray[np.int32]:
        """The mask of the tokens that may come next, ``[words]``; it is written over by the next call."""
        fill_next_token_bitmask(self._matcher, self._mask)
        if self._matcher.is_error():
            self._renew()
            fill_next_token_bitmask(self._matcher, self._mask)
            if self._matcher.is_error():
                raise self._too_complex()
        return self._mask[0]

    def accept(self, token_id: int) -> None:
        """Takes in a token; the end of the text is one too."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token_id)
            self._token_ids.append(token_id)
            if self._matcher.is_error():
                self._renew()

    def _renew(self) -> None:
        """Follows the text anew, from its beginning."""
        reason = _first_line(self._matcher.get_error())
        if _WRONG_TOKEN in reason:
            raise RuntimeError(f"the text cannot be kept to what was asked of it: {reason}")
        matcher = None if self._is_renewed else self._renewed()
        if matcher is None:
            raise self._too_complex()
        self._matcher, self._is_renewed = matcher, True
        matcher.consume_tokens(self._token_ids)
        if matcher.is_error():
            raise self._too_complex()

    def _too_complex(self) -> ConstraintFailed:
        return ConstraintFailed(
            "the schema of response_format, or of the tools that tool_choice asks for, has grown too complex to keep the text to "
            f"it behind {len(self._token_ids)} tokens ({_first_line(self._matcher.get_error())}); give it shorter patterns, "
            "fewer alternatives and lower bounds of lengths"
        )


_WRONG_TOKEN = "doesn't satisfy the grammar"
"""In what the library says of a token that its own mask does not allow."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    matcher: LLMatcher
    took_s: float


class Grammars:
    """Compiles constraints for the tokens of one model; from any thread.

    Args:
        vocab_size: Of the model: masks are as long, whatever the tokenizer has.
        limits: How complex a grammar may grow; None for the library's own.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, vocab_size: int, eos_token_ids: Sequence[int], limits: LLParserLimits | None = None
    ):
        self._hf, self._vocab_size, self._limits = tokenizer.hf, vocab_size, limits
        self._eos = [token_id for token_id in eos_token_ids if token_id < tokenizer.vocab_size]  # models may name further ones
        self.num_words = -(-vocab_size // BITS)
        self._compiled: OrderedDict[Constraint, _Compiled] = OrderedDict()
        self._tokens: LLTokenizer | None = None
        self._lock, self._reading = threading.Lock(), threading.Lock()

    def start(self, constraint: Constraint) -> Matcher:
        """Follows a text from its beginning.

        Raises:
            ValueError: If the constraint cannot be compiled; the message says why.
        """
        with self._lock:
            compiled = self._compiled.get(constraint)
        if compiled is None:  # nobody waits for a large one who wants another
            compiled = self._compile(constraint)
        with self._lock:
            self._compiled[constraint] = compiled
            self._compiled.move_to_end(constraint)
            if len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
            return Matcher(compiled.matcher.deep_copy(), self.num_words, lambda: self._renewed(constraint, compiled))

    def _renewed(self, constraint: Constraint, worn: _Compiled) -> LLMatcher | None:
        """One that shares nothing with the copies of `worn`, which nobody is given any more; None if it would take long."""
        with self._lock:
            if self._compiled.get(constraint) is worn:
                del self._compiled[constraint]
        return None if worn.took_s > MAX_RENEWAL_S else self._compile(constraint).matcher

    def _compile(self, constraint: Constraint) -> _Compiled:
        if len(constraint.text) > MAX_GRAMMAR_CHARS:
            raise ValueError(f"a {_NAMES[constraint.kind]} may have {MAX_GRAMMAR_CHARS} characters, got {len(constraint.text)}")
        tokens, began_s = self._read_tokens(), time.monotonic()
        try:
            matcher = LLMatcher(tokens, _grammar(constraint), log_level=0, limits=self._limits)
            if matcher.is_error():
                raise ValueError(matcher.get_error())
            first = matcher.deep_copy()
            fill_next_token_bitmask(first, np.zeros((1, self.num_words), np.int32))
            if first.is_error():  # of a language without any text no token can be the first
                raise ValueError(first.get_error())
        except ValueError as error:
            raise ValueError(f"the {_NAMES[constraint.kind]} cannot be used: {_first_line(str(error))}") from error
        return _Compiled(matcher, time.monotonic() - began_s)

    def _read_tokens(self) -> LLTokenizer:
        with self._reading:
            if self._tokens is None:
                try:
                    self._tokens = from_tokenizer(self._hf, n_vocab=self._vocab_size, eos_token=self._eos or None)
                except Exception as error:  # a foreign program on a foreign file
                    reason = _first_line(str(error))
                    raise ValueError(f"this model's tokenizer allows no constrained output: {reason}") from error
            return self._tokens


_NAMES = {"json_schema": "JSON schema", "json_object": "JSON schema", "regex": "regular expression", "lark": "grammar"}


def _grammar(constraint: Constraint) -> str:
    match constraint.kind:
        case "json_schema":
            return LLMatcher.grammar_from_json_schema(constraint.text, overrides=_COMPACT)
        case "json_object":
            return LLMatcher.grammar_from_json_schema('{"type": "object"}', overrides=_COMPACT)
        case "regex":
            return LLMatcher.grammar_from_regex(constraint.text)
        case "lark":
            return LLMatcher.grammar_from_lark(constraint.text)


_COMPACT: "JsonCompileOptions" = {"whitespace_pattern": r"[ \n]{0,1}"}
"""Between the parts of a JSON text: a model that may write any number of blanks may never stop."""


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no reason given"
