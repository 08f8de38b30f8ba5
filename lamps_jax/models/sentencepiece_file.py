"""A SentencePiece ``tokenizer.model`` as a fast tokenizer, which encodes as SentencePiece itself does.

The file is a protocol buffer of three messages: pieces, trainer settings, normalizer settings. The few fields that matter are
read here, so that running a model needs neither SentencePiece nor the protocol buffers of its build.

Source: sentencepiece_model.proto (field numbers and defaults); Kudo and Richardson, 2018, SentencePiece.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""What stands for a space in pieces."""

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_BPE_MODEL = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A token: its text, how early it is merged (higher is earlier), and what it is (normal, control, byte …)."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """What a ``tokenizer.model`` says.

    Attributes:
        pieces: By token id.
        special: Texts of the tokens ``unk_token``, ``bos_token`` and ``eos_token``, as far as there are such.
        byte_fallback: Whether characters without a piece are spelled in bytes.
        dummy_prefix: Whether a space is put before every text.
        one_space: Whether spaces at the ends are dropped and several become one.
        charsmap: Rules by which characters are normalized; empty for none.
    """

    pieces: tuple[Piece, ...]
    special: dict[str, str]
    byte_fallback: bool
    dummy_prefix: bool
    one_space: bool
    charsmap: bytes

    def fast_tokenizer(self, *, prefix_every_text: bool) -> Tokenizer:
        """The tokenizer of the tokenizers library that encodes alike.

        Args:
            prefix_every_text: Where a special token stands inside a text, whether what follows gets a space before it too, as
                the beginning does.
        """
        vocabulary = {piece.text: index for index, piece in enumerate(self.pieces)}
        tokenizer = Tokenizer(
            BPE(
                vocab=vocabulary,
                merges=list(self._merges(vocabulary)),
                unk_token=self.special.get("unk_token"),
                fuse_unk=True,
                byte_fallback=self.byte_fallback,
            )
        )
        steps: list[normalizers.Normalizer] = [normalizers.Precompiled(self.charsmap)] if self.charsmap else []
        if self.one_space:
            steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
        steps += [normalizers.Prepend(SPACE)] if self.dummy_prefix and prefix_every_text else []
        tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
        if self.dummy_prefix and not prefix_every_text:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=False)
        spell = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        tokenizer.decoder = decoders.Sequence([*spell, *([decoders.Strip(" ", 1, 0)] if self.dummy_prefix else [])])
        for kind in (_CONTROL, _USER_DEFINED):
            texts = [piece.text for piece in self.pieces if piece.kind == kind]
            tokenizer.add_tokens([AddedToken(text, normalized=False, special=kind == _CONTROL) for text in texts])
        return tokenizer

    def _merges(self, vocabulary: dict[str, int]) -> Iterator[tuple[str, str]]:
        """Every way to put a piece together from two, best pieces first; what is not ordinary text is not put together."""
        normal = sorted((piece for piece in self.pieces if piece.kind == _NORMAL), key=lambda piece: -piece.score)
        mergeable = {piece.text for piece in self.pieces if piece.kind in (_NORMAL, _USER_DEFINED)}
        for text in (piece.text for piece in normal):
            halves = ((text[:at], text[at:]) for at in range(1, len(text)))
            known = [(left, right) for left, right in halves if left in mergeable and right in mergeable]
            yield from sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))


def read_sentencepiece(file: Path) -> SentencePieceModel:
    """Reads a ``tokenizer.model``.

    Raises:
        ValueError: If it is no SentencePiece model, or one that cannot be run as a fast tokenizer.
    """
    try:
        messages = list(_fields(file.read_bytes()))
        pieces = tuple(_piece(dict(_fields(value))) for number, value in messages if number == 1)
        trainer = {field: value for number, message in messages if number == 2 for field, value in _fields(message)}
        normalizer = {field: value for number, message in messages if number == 3 for field, value in _fields(message)}
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise ValueError(f"{file.name} is not a SentencePiece model") from error
    if not pieces:
        raise ValueError(f"{file.name} is not a SentencePiece model: it holds no pieces")
    if (model_type := trainer.get(3, 1)) != _BPE_MODEL:
        raise ValueError(f"{file.name} has model type {model_type}; only byte-pair encoding ({_BPE_MODEL}) can be run")
    if trainer.get(24, 0):
        raise ValueError(f"{file.name} has words that end in a space; only those that begin with one can be run")
    special = {"unk_token": trainer.get(40, 0), "bos_token": trainer.get(41, 1), "eos_token": trainer.get(42, 2)}
    return SentencePieceModel(
        pieces=pieces,
        special={name: pieces[index].text for name, index in special.items() if index < len(pieces)},
        byte_fallback=bool(trainer.get(35, 0)),
        dummy_prefix=bool(normalizer.get(3, 1)),
        one_space=bool(normalizer.get(4, 1)),
        charsmap=normalizer.get(2, b""),
    )


def _piece(fields: dict[int, Any]) -> Piece:
    (score,) = struct.unpack("<f", fields.get(2, bytes(4)))
    return Piece(fields[1].decode(), score, fields.get(3, _NORMAL))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an integer, or bytes. A missing id is a negative number, and thus a huge integer here."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + size], at + size
        yield key >> 3, value
    if at > len(message):
        raise IndexError("a field ends behind its message")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The integer of seven bits a byte that begins at `at`, and where it ends."""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1
