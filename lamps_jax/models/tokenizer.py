"""Text to tokens and back, through the tokenizer that a Hugging Face directory holds."""

from pathlib import Path
from typing import Any, cast

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerFast

from lamps_jax.models.weights import CheckpointError

CONTEXT_TOKENS = 8
"""Tokens before the new ones that decide how those are spelled: whether a word starts with a space, say."""


class Tokenizer:
    """A fast tokenizer, with special tokens recognised only where they are meant."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.hf = tokenizer
        self._plain = tokenizer.backend_tokenizer

    @classmethod
    def from_directory(cls, directory: Path) -> "Tokenizer":
        """Reads ``tokenizer.json`` and its configuration.

        Raises:
            CheckpointError: If there is none or it cannot be read.
        """
        if not (directory / "tokenizer.json").exists():
            raise CheckpointError(f"{directory} has no tokenizer.json; save the tokenizer of the model there")
        try:
            return cls(cast(PreTrainedTokenizerFast, PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)))
        except Exception as error:  # the library raises bare Exception for a broken file
            raise CheckpointError(f"cannot read the tokenizer in {directory}: {error}") from error

    @property
    def vocab_size(self) -> int:
        """Tokens, special ones included."""
        return len(self.hf)

    def encode_prompt(self, text: str) -> list[int]:
        """Tokens of a prompt: special tokens in it count as such, and those that the model wants around a text are added."""
        return self.hf.encode(text)

    def encode_chat(self, text: str) -> list[int]:
        """Tokens of a rendered chat, whose template has put in all special tokens."""
        return self.hf.encode(text, add_special_tokens=False)

    def encode_text(self, text: str) -> list[int]:
        """Tokens of text from outside, such as a tool's result: special tokens in it are spelled out, not obeyed."""
        self._plain.encode_special_tokens = True
        try:
            return self._plain.encode(text, add_special_tokens=False).ids
        finally:
            self._plain.encode_special_tokens = False

    def decode(self, token_ids: list[int]) -> str:
        """The text of `token_ids`, without special tokens."""
        return self._plain.decode(token_ids, skip_special_tokens=True)

    def stream(self, context: list[int]) -> "Detokenizer":
        """Decodes tokens one at a time that follow `context`."""
        return Detokenizer(self._plain, context[-CONTEXT_TOKENS:])


class Detokenizer:
    """Text of a growing list of tokens, never half a character; linear in its length as long as it is text."""

    def __init__(self, tokenizer: Any, context: list[int]):
        self._tokenizer = tokenizer
        # A context that ends in half a character would be decoded again as part of the first new text.
        whole = not tokenizer.decode(context, skip_special_tokens=True).endswith("\N{REPLACEMENT CHARACTER}")
        self._stream = DecodeStream(skip_special_tokens=True, ids=context if context and whole else None)

    def push(self, token_id: int) -> str:
        """Text that `token_id` completes; empty while a character is unfinished."""
        return self._stream.step(self._tokenizer, token_id) or ""
