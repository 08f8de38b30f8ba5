"""Which tokens may come next where a request's text is to be of some language: the work of llguidance, wrapped.

A grammar is compiled once and copied for each request that asks for it. Masks are bits, 32 to an integer, the lowest token in the
lowest bit.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.numpy import fill_next_token_bitmask
from numpy.typing import NDArray

from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.request import Constraint

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

MAX_COMPILED = 128
"""Grammars that are kept compiled."""

MAX_GRAMMAR_CHARS = 256 * 1024
"""Most characters of a schema or grammar."""

BITS = 32


class Matcher:
    """Follows one stretch of text, token by token.

    Raises:
        RuntimeError: From any method, where the library gives up on the grammar: it has grown too complex, for example.
    """

    def __init__(self, matcher: LLMatcher, num_words: int, on_failure: Callable[[], object] = lambda: None):
        self._matcher, self._on_failure = matcher, on_failure
        self._mask = np.zeros((1, num_words), np.int32)

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    def allowed(self) -> NDArray[np.int32]:
        """The mask of the tokens that may come next, ``[words]``; it is written over by the next call."""
        fill_next_token_bitmask(self._matcher, self._mask)
        self._check()
        return self._mask[0]

    def accept(self, token_id: int) -> None:
        """Takes in a token; the end of the text is one too."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token_id)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            self._on_failure()
            raise RuntimeError(f"the text cannot be kept to what was asked of it: {_first_line(self._matcher.get_error())}")


class Grammars:
    """Compiles constraints for the tokens of one model; from any thread.

    Args:
        vocab_size: Of the model: masks are as long, whatever the tokenizer has.
    """

    def __init__(self, tokenizer: Tokenizer, *, vocab_size: int, eos_token_ids: Sequence[int]):
        self._hf, self._vocab_size = tokenizer.hf, vocab_size
        self._eos = [token_id for token_id in eos_token_ids if token_id < tokenizer.vocab_size]  # models may name further ones
        self.num_words = -(-vocab_size // BITS)
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()
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
            return Matcher(compiled.deep_copy(), self.num_words, on_failure=lambda: self._forget(constraint))

    def _forget(self, constraint: Constraint) -> None:
        """Compiles a grammar anew the next time: its copies share what has grown too large in one of them."""
        with self._lock:
            self._compiled.pop(constraint, None)

    def _compile(self, constraint: Constraint) -> LLMatcher:
        if len(constraint.text) > MAX_GRAMMAR_CHARS:
            raise ValueError(f"a {_NAMES[constraint.kind]} may have {MAX_GRAMMAR_CHARS} characters, got {len(constraint.text)}")
        tokens = self._read_tokens()
        try:
            matcher = LLMatcher(tokens, _grammar(constraint), log_level=0)
            if matcher.is_error():
                raise ValueError(matcher.get_error())
            Matcher(matcher.deep_copy(), self.num_words).allowed()  # of a language without any text no token can be the first
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"the {_NAMES[constraint.kind]} cannot be used: {_first_line(str(error))}") from error
        return matcher

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
