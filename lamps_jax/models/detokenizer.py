"""Tokens to text, one at a time and never half a character.

The two kinds of tokenizers whose tokens may end inside a character, byte-level ones and SentencePiece's with byte fallback, are
decoded from the bytes of their tokens: a token costs what its own text is long, whatever came before it, and no more than three
bytes ever wait for the rest of their character. Tokenizers of other kinds are decoded by the tokenizers library.
"""

import codecs
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

CONTEXT_TOKENS = 8
"""Tokens before the new ones that tell the library how those are spelled: whether a word starts with a space, say."""

_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class Detokenizer(Protocol):
    """Text of a growing list of tokens."""

    def push(self, token_id: int) -> str:
        """Text that `token_id` completes; empty while a character is unfinished."""
        ...


@dataclass(frozen=True, slots=True)
class Spelling:
    """The bytes of each token, for tokenizers whose texts are nothing but the bytes of their tokens in a row.

    Attributes:
        special: Tokens that are no text.
        byte_level: Whether each character of a token stands for a byte, as in GPT-2; otherwise a token is text with
            `replacements`, or one byte, written ``<0x0A>``, as in SentencePiece.
        num_dropped_spaces: Spaces that are not shown at the beginning of a text.
    """

    tokenizer: Tokenizer
    special: frozenset[int]
    byte_level: bool
    replacements: tuple[tuple[str, str], ...] = ()
    num_dropped_spaces: int = 0
    _known: dict[int, bytes] = field(default_factory=dict)

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes of a token; none of special tokens and of numbers that are no token."""
        spelled = self._known.get(token_id)
        if spelled is None:
            spelled = self._known[token_id] = self._spell(token_id)
        return spelled

    def _spell(self, token_id: int) -> bytes:
        token = None if token_id in self.special else self.tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if self.byte_level:
            return bytes(_BYTES[letter] for letter in token) if _BYTES.keys() >= set(token) else token.encode()
        for old, new in self.replacements:
            token = token.replace(old, new)
        byte = _BYTE_TOKEN.fullmatch(token)
        return bytes.fromhex(byte[1]) if byte else token.encode()


def read_spelling(tokenizer: Tokenizer) -> Spelling | None:
    """How `tokenizer` spells its tokens; None if its decoder is neither byte-level nor SentencePiece's with byte fallback."""
    special = frozenset(index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    decoder: dict[str, Any] = json.loads(tokenizer.decoder.__getstate__()) if tokenizer.decoder else {}
    steps = decoder.get("decoders", [decoder])
    if [step.get("type") for step in steps] == ["ByteLevel"]:
        return Spelling(tokenizer, special, byte_level=True)
    replacements, num_dropped_spaces = list[tuple[str, str]](), 0
    while steps and (pattern := steps[0].get("pattern", {}).get("String")):
        replacements.append((pattern, steps.pop(0)["content"]))
    if steps and steps[-1] == {"type": "Strip", "content": " ", "start": steps[-1].get("start"), "stop": 0}:
        num_dropped_spaces = steps.pop()["start"]
    if [step.get("type") for step in steps] != ["ByteFallback", "Fuse"]:
        return None
    return Spelling(tokenizer, special, byte_level=False, replacements=tuple(replacements), num_dropped_spaces=num_dropped_spaces)


class ByteDetokenizer:
    """Text from the bytes of tokens.

    Bytes that are no text become U+FFFD: one for as many as could have begun a character where tokens are byte-level, as
    everywhere in the field, and one for each where they are SentencePiece's, as in SentencePiece.
    """

    def __init__(self, spelling: Spelling, context: Iterable[int] = ()):
        self._spelling = spelling
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace" if spelling.byte_level else "surrogateescape")
        at_start = not any(spelling.bytes_of(token_id) for token_id in context)
        self._num_dropped_spaces = spelling.num_dropped_spaces if at_start else 0

    def push(self, token_id: int) -> str:
        return self._shown(self._decoder.decode(self._spelling.bytes_of(token_id)))

    def flush(self) -> str:
        """What stands for the bytes of a character that will not be finished."""
        return self._shown(self._decoder.decode(b"", final=True))

    def _shown(self, text: str) -> str:
        if self._num_dropped_spaces and text:
            rest = text[: self._num_dropped_spaces].lstrip(" ") + text[self._num_dropped_spaces :]
            self._num_dropped_spaces = 0 if rest else self._num_dropped_spaces - len(text)
            text = rest
        return _ESCAPED_BYTE.sub("\N{REPLACEMENT CHARACTER}", text)


class LibraryDetokenizer:
    """Text by way of the tokenizers library, for tokenizers whose tokens are whole characters."""

    def __init__(self, tokenizer: Tokenizer, context: list[int]):
        self._tokenizer = tokenizer
        # A context that ends in half a character would be decoded again as part of the first new text.
        whole = not tokenizer.decode(context, skip_special_tokens=True).endswith("\N{REPLACEMENT CHARACTER}")
        self._stream = DecodeStream(skip_special_tokens=True, ids=context if context and whole else None)

    def push(self, token_id: int) -> str:
        return self._stream.step(self._tokenizer, token_id) or ""


def _byte_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level token stands for: printable ones for themselves, the others from U+0100 on.

    Source: `bytes_to_unicode` in the encoder of GPT-2.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_letters()
