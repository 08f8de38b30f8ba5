"""From conversations to examples: split, and tokenised once.

An example is what the model has read before it writes a segment, and how many tokens that segment has.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from lamps_jax.train_predictor.records import Conversation

Tokenize = Callable[[list[str]], list[list[int]]]
"""Token ids of texts."""

Side = Literal["left", "right"]

CACHE_FORMAT = 1
TEXTS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Example:
    """A text that the model reads, and what it does then.

    Attributes:
        length: Tokens that it writes, up to a call or the end; None where its text says how many.
        written: That text.
        key: The tool whose result it has read last; "" at the beginning of a conversation.
    """

    text: str
    length: int | None
    written: str | None
    key: str


def examples_of(conversation: Conversation) -> Iterator[Example]:
    """The examples of a conversation: one for each segment whose whole past was recorded.

    Source: LAMPS's released code, which predicts each assistant turn from the user's and the turns and responses before it.
    """
    if conversation.prompt is None:
        return
    text, key = conversation.prompt, ""
    for segment in conversation.segments:
        yield Example(text, segment.num_tokens, segment.text, key)
        if segment.text is None or segment.tool is None:
            return
        text, key = text + segment.text + (segment.returned_text or ""), segment.tool


@dataclass(frozen=True, slots=True)
class Split:
    """Conversations for training, for choosing when to stop, and for judging what came of it; nothing is in two of them."""

    train: list[Conversation]
    validation: list[Conversation]
    test: list[Conversation]


def split(conversations: Sequence[Conversation], *, test_share: float, validation_share: float, seed: int) -> Split:
    """Splits by conversation; those that begin with the same prompt stay together.

    Args:
        test_share: Of all prompts.
        validation_share: Of those that are left.

    Raises:
        ValueError: If there are too few conversations to give each part one.

    Source: LAMPS (2025), appendix C.1: 80/20 by conversation, seed 42.
    """
    groups: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        groups.setdefault(_group(conversation), []).append(conversation)
    if len(groups) < 3:
        raise ValueError(f"{len(groups)} different conversations cannot be split into training, validation and test; give more")
    names = sorted(groups)
    order = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    num_test = min(max(1, round(test_share * len(names))), len(names) - 2)
    num_validation = min(max(1, round(validation_share * (len(names) - num_test))), len(names) - num_test - 1)
    ends = num_test, num_test + num_validation
    parts = (order[ends[1] :], order[ends[0] : ends[1]], order[: ends[0]])
    train, validation, test = ([each for name in part for each in groups[name]] for part in parts)
    return Split(train, validation, test)


def check_disjoint(train: Sequence[Conversation], test: Sequence[Conversation]) -> None:
    """Makes sure that no conversation is judged by that was trained on.

    Raises:
        ValueError: If a prompt is in both.
    """
    seen = {conversation.prompt for conversation in train}
    leaked = [each.prompt for each in test if each.prompt is not None and each.prompt in seen]
    if leaked:
        raise ValueError(
            f"{len(leaked)} conversations of the test data are in the training data too, the first is {leaked[0][:60]!r}; "
            "remove them"
        )


def _group(conversation: Conversation) -> str:
    """What conversations have in common that must not be on two sides of a split."""
    return conversation.id or "" if conversation.prompt is None else conversation.prompt


@dataclass(frozen=True, slots=True)
class Examples:
    """Tokenised examples; the tokens may be a file that is mapped into memory.

    Attributes:
        tokens: Of all texts, one after another.
        ends: Where each text ends; the first begins at 0.
        lengths: Tokens that the model writes after each text.
        keys: As in `Example`.
        num_truncated: Texts that were longer than the longest that is kept.
    """

    tokens: Int[np.ndarray, " tokens"]
    ends: Int[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    keys: tuple[str, ...]
    num_truncated: int

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def num_tokens(self) -> Int[np.ndarray, " n"]:
        """Tokens of each text."""
        return np.diff(self.ends, prepend=0)

    def token_ids(self, index: int) -> Int[np.ndarray, " length"]:
        """The tokens of one text."""
        return self.tokens[self.ends[index - 1] if index else 0 : self.ends[index]]


def tokenised(
    conversations: Sequence[Conversation],
    tokenize: Tokenize,
    *,
    max_length: int,
    cut: Side = "left",
    lengths_by: Tokenize | None = None,
    cache: Path | None = None,
    fingerprint: str = "",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Examples:
    """The examples of `conversations`, tokenised, or as they were kept the last time.

    Args:
        max_length: Longest text in tokens.
        cut: The side on which longer ones lose tokens.
        lengths_by: Counts the tokens of what was written where the record has text alone; None for `tokenize`.
        cache: Directory in which they are kept.
        fingerprint: Names the tokenizers, so that what was kept for others is not taken.

    Raises:
        ValueError: If there is no example, since no prompt was recorded.
    """
    examples = [example for conversation in conversations for example in examples_of(conversation)]
    if not examples:
        raise ValueError(f"none of the {len(conversations)} conversations has a prompt to predict from; record prompts too")
    key = _digest(examples, (CACHE_FORMAT, max_length, cut, fingerprint))
    kept = None if cache is None else cache / f"{key}.examples"
    if kept is not None and (kept / "table.json").exists():
        return _load(kept)
    made = _tokenise(examples, tokenize, lengths_by or tokenize, max_length, cut, progress)
    if kept is None:
        return made
    _save(made, kept)
    return _load(kept)


def _tokenise(
    examples: Sequence[Example],
    tokenize: Tokenize,
    lengths_by: Tokenize,
    max_length: int,
    cut: Side,
    progress: Callable[[str, int, int], None],
) -> Examples:
    rows: list[Int[np.ndarray, " length"]] = []
    lengths: list[int] = []
    num_truncated = 0
    for start in range(0, len(examples), TEXTS_AT_ONCE):
        progress("tokenising", start, len(examples))
        some = examples[start : start + TEXTS_AT_ONCE]
        for token_ids in tokenize([_encodable(example.text) for example in some]):
            num_truncated += len(token_ids) > max_length
            rows.append(np.asarray(token_ids[-max_length:] if cut == "left" else token_ids[:max_length], np.int32))
        counted = lengths_by([_encodable(example.written or "") for example in some])
        lengths += [
            len(token_ids) if example.length is None else example.length for example, token_ids in zip(some, counted, strict=True)
        ]
    progress("tokenising", len(examples), len(examples))
    if empty := sum(not len(row) for row in rows):
        raise ValueError(f"{empty} of {len(rows)} prompts have no token; remove those conversations")
    return Examples(
        np.concatenate(rows),
        np.cumsum([len(row) for row in rows]),
        np.asarray(lengths, np.int32),
        tuple(example.key for example in examples),
        num_truncated,
    )


def _encodable(text: str) -> str:
    """`text` with a question mark for each half of a surrogate pair: logs cut emoji in two, and no tokenizer reads the halves."""
    return text.encode("utf-8", "replace").decode()


def _digest(examples: Sequence[Example], options: tuple[object, ...]) -> str:
    digest = hashlib.blake2b(repr(options).encode(), digest_size=12)
    for example in examples:
        digest.update(repr((example.text, example.length, example.written, example.key)).encode())
    return digest.hexdigest()


def _save(examples: Examples, directory: Path) -> None:
    """Writes beside the directory and renames, so that it is there whole or not at all."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-unfinished-", dir=directory.parent))
    try:
        np.save(unfinished / "tokens.npy", examples.tokens)
        np.savez(unfinished / "arrays.npz", ends=examples.ends, lengths=examples.lengths)
        table = {"keys": examples.keys, "num_truncated": examples.num_truncated}
        (unfinished / "table.json").write_text(json.dumps(table))
        if directory.is_dir() and not (directory / "table.json").exists():  # half of a copy that somebody made
            shutil.rmtree(directory)
        unfinished.rename(directory)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not (directory / "table.json").exists():  # else another process was first
            raise


def _load(directory: Path) -> Examples:
    with np.load(directory / "arrays.npz") as arrays:
        table = json.loads((directory / "table.json").read_text())
        return Examples(
            np.load(directory / "tokens.npy", mmap_mode="r"),
            arrays["ends"],
            arrays["lengths"],
            tuple(table["keys"]),
            table["num_truncated"],
        )
