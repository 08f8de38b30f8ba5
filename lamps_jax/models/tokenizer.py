"""Text to tokens and back, through the tokenizer that a Hugging Face directory holds.

A directory holds it in one of three forms: ``tokenizer.json``; ``tokenizer.model`` of SentencePiece, as Llama 2 and Vicuna come;
``vocab.json`` and ``merges.txt``, as OPT and GPT-J do. Each becomes a fast tokenizer.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

from tokenizers import Tokenizer as FastTokenizer
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from lamps_jax.models.detokenizer import CONTEXT_TOKENS, ByteDetokenizer, Detokenizer, LibraryDetokenizer, read_spelling
from lamps_jax.models.sentencepiece_file import SPACE, read_sentencepiece
from lamps_jax.models.weights import CheckpointError

Prefix = Literal["none", "first", "every"]
"""Where a tokenizer puts a space of its own: nowhere, before a text, or also before what follows a special token in it."""

_BYTE_PAIR_CLASSES = {"GPT2Tokenizer": GPT2Tokenizer, "Qwen2Tokenizer": Qwen2Tokenizer}
"""What ``vocab.json`` and ``merges.txt`` can belong to; the two files do not say how a text is cut into words."""


class Tokenizer:
    """A fast tokenizer, with special tokens recognised only where they are meant.

    Args:
        keeps_leading_space: Whether a text that begins with a space gets the tokenizer's own space before it all the same, as in
            SentencePiece.
        model_names: What the model is called: its directory's name, and the name in its configuration.

    Attributes:
        longest_token_chars: No token stands for more characters of ordinary text.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, keeps_leading_space: bool = False, model_names: tuple[str, ...] = ()
    ):
        self.hf, self.model_names = tokenizer, model_names
        self._keeps_leading_space = keeps_leading_space
        self._fast = tokenizer.backend_tokenizer
        self._inner, self._prefix = _without_prefix(self._fast)
        self._spelling = read_spelling(self._fast)
        self.longest_token_chars = max(map(len, tokenizer.get_vocab()), default=1)
        self._special = frozenset(index for index, token in tokenizer.added_tokens_decoder.items() if token.special)

    @classmethod
    def from_directory(cls, directory: Path) -> "Tokenizer":
        """Reads the tokenizer in `directory` and its configuration.

        Raises:
            CheckpointError: If there is none or it cannot be read.
        """
        try:
            names = (directory.absolute().name, str(_json(directory / "config.json").get("_name_or_path", "")))
            if (directory / "tokenizer.json").exists():
                hf = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
                tokenizer = cls(cast(PreTrainedTokenizerFast, hf), model_names=names)
            elif (directory / "tokenizer.model").exists():
                tokenizer = cls(_from_sentencepiece(directory), keeps_leading_space=True, model_names=names)
            elif (directory / "vocab.json").exists() and (directory / "merges.txt").exists():
                tokenizer = cls(_from_byte_pairs(directory), model_names=names)
            else:
                raise CheckpointError(
                    f"{directory} has no tokenizer: neither tokenizer.json, nor tokenizer.model, nor vocab.json with merges.txt; "
                    "save the tokenizer of the model there"
                )
            if not tokenizer.hf.chat_template:  # transformers itself looks into this file only for processors of images
                tokenizer.hf.chat_template = _json(directory / "chat_template.json").get("chat_template")
        except CheckpointError:
            raise
        except Exception as error:  # the library raises bare Exception for a broken file
            raise CheckpointError(f"cannot read the tokenizer in {directory}: {' '.join(str(error).split())}") from error
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Tokens, special ones included."""
        return len(self.hf)

    def encode_prompt(self, text: str) -> list[int]:
        """Tokens of a prompt: special tokens in it count as such, and those that the model wants around a text are added."""
        return self.hf.encode(self._led(text))

    def encode_chat(self, text: str, *, spelled: Mapping[str, str] | None = None, goes_on: bool = False) -> list[int]:
        """Tokens of a rendered chat, whose template has put in all special tokens.

        Args:
            spelled: Characters that stand for the text of special tokens which are not to be obeyed.
            goes_on: Whether `text` goes on where other text ends, and so has no space put before it.
        """
        if not spelled and not goes_on:
            return self.hf.encode(self._led(text), add_special_tokens=False)
        token_ids: list[int] = []
        for start, piece, special in self._pieces(text):
            if special is not None:
                token_ids.append(special)
                continue
            for character, meant in (spelled or {}).items():
                piece = piece.replace(character, meant)
            prefixed = not goes_on if start == 0 else self._prefix == "every"
            token_ids += self._encode_spelled(self._fast if prefixed else self._inner, self._led(piece) if prefixed else piece)
        return token_ids

    def encode_text(self, text: str) -> list[int]:
        """Tokens of text that goes on where other text ends, such as a tool's result.

        Special tokens in it are spelled out, not obeyed. The space that tokenizers like SentencePiece put before a text is left
        out: behind the tokens of other text, these decode to exactly `text`.
        """
        return self._encode_spelled(self._inner, text)

    def is_special(self, token_id: int) -> bool:
        """Whether a token is no text."""
        return token_id in self._special

    def spell(self, token_id: int) -> bytes:
        """The bytes by which a token adds to a text; of a special token, and of a number that is no token, its name."""
        name = self._fast.id_to_token(token_id) or ""
        if token_id in self._special:
            return name.encode()
        return name.replace(SPACE, " ").encode() if self._spelling is None else self._spelling.bytes_of(token_id)

    def decode(self, token_ids: list[int]) -> str:
        """The text of `token_ids`, without special tokens."""
        if self._spelling is None:
            return self._fast.decode(token_ids, skip_special_tokens=True)
        detokenizer = ByteDetokenizer(self._spelling)
        return "".join(map(detokenizer.push, token_ids)) + detokenizer.flush()

    def stream(self, context: list[int]) -> Detokenizer:
        """Decodes tokens one at a time that follow `context`."""
        if self._spelling is None:
            return LibraryDetokenizer(self._fast, context[-CONTEXT_TOKENS:])
        return ByteDetokenizer(self._spelling, context)

    def _led(self, text: str) -> str:
        """`text`, with the space that SentencePiece puts before it where the fast tokenizer would let its first space do."""
        doubled = self._keeps_leading_space and self._prefix == "first" and text.startswith((" ", SPACE))
        return " " + text if doubled else text

    def _encode_spelled(self, tokenizer: FastTokenizer, text: str) -> list[int]:
        tokenizer.encode_special_tokens = True
        try:
            return tokenizer.encode(text, add_special_tokens=False).ids
        finally:
            tokenizer.encode_special_tokens = False

    def _pieces(self, text: str) -> Iterator[tuple[int, str, int | None]]:
        """Special tokens and what is between them: where each starts, its text, and its token if it is special."""
        specials = sorted(
            ((token.content, index, token) for index, token in self.hf.added_tokens_decoder.items() if token.special),
            key=lambda special: -len(special[0]),
        )
        space = {False: "", True: r"\s*"}
        patterns = (f"{space[token.lstrip]}({re.escape(content)}){space[token.rstrip]}" for content, _, token in specials)
        at = 0
        for match in re.finditer("|".join(patterns), text):
            if at < match.start():
                yield at, text[at : match.start()], None
            assert match.lastindex is not None
            content, index, _ = specials[match.lastindex - 1]
            yield match.start(), content, index
            at = match.end()
        if at < len(text):
            yield at, text[at:], None


def _from_sentencepiece(directory: Path) -> PreTrainedTokenizerFast:
    model = read_sentencepiece(directory / "tokenizer.model")
    config = _json(directory / "tokenizer_config.json") | _json(directory / "special_tokens_map.json")
    # A directory older than the setting `legacy`, or one that says nothing, is meant the old way.
    fast = model.fast_tokenizer(prefix_every_text=config.get("legacy") is not False)
    unnamed: dict[str, Any] = {name: text for name, text in model.special.items() if not config.get(name)}
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "tokenizer.json")
        fast.save(file, pretty=False)
        hf = PreTrainedTokenizerFast.from_pretrained(
            directory, local_files_only=True, tokenizer_file=file, add_bos_token=config.get("add_bos_token", True), **unnamed
        )
    return cast(PreTrainedTokenizerFast, hf)


def _from_byte_pairs(directory: Path) -> PreTrainedTokenizerFast:
    name = _json(directory / "tokenizer_config.json").get("tokenizer_class") or "GPT2Tokenizer"
    tokenizer_class = _BYTE_PAIR_CLASSES.get(name.removesuffix("Fast"))
    if tokenizer_class is None:
        raise CheckpointError(
            f"the tokenizer in {directory} is a {name}, which vocab.json and merges.txt do not describe; "
            "save it as tokenizer.json, as save_pretrained of transformers does"
        )
    return tokenizer_class.from_pretrained(directory, local_files_only=True)


def _json(file: Path) -> dict[str, Any]:
    """The object in `file`; an empty one if there is no such file."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} holds no JSON object")
    return content


def _without_prefix(tokenizer: FastTokenizer) -> tuple[FastTokenizer, Prefix]:
    """`tokenizer` without the space that it puts before a text, and where it puts one."""
    parts = {"normalizer": tokenizer.normalizer, "pre_tokenizer": tokenizer.pre_tokenizer}
    states = {name: json.loads(part.__getstate__()) for name, part in parts.items() if part}
    places = [place for state in states.values() for place in _take_prefix(state)]
    if not places:
        return tokenizer, "none"
    inner = FastTokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | states))
    return inner, "every" if "every" in places else "first"


def _take_prefix(step: dict[str, Any]) -> list[Prefix]:
    """Changes a normalizer or pre-tokenizer such that it puts nothing before a text; returns where it put something."""
    match step:
        case {"type": "Sequence"}:
            inner = step.get("normalizers") or step.get("pretokenizers") or []
            return [place for one in inner for place in _take_prefix(one)]
        case {"type": "Prepend"}:
            step["prepend"] = ""
        case {"type": "Metaspace", "prepend_scheme": "first"}:
            step["prepend_scheme"] = "never"
            return ["first"]
        case {"type": "Metaspace", "prepend_scheme": "always"}:
            step["prepend_scheme"] = "never"
        case {"type": "ByteLevel", "add_prefix_space": True}:
            step["add_prefix_space"] = False
        case _:
            return []
    return ["every"]
