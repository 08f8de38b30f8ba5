"""One question with the calls and the answer that a good model gives, and the split between training and held-out."""

import hashlib
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "held_out"]

HELD_OUT_SHARE = 8
"""One value in this many (numbers, names, dates, objects) belongs to the held-out split."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it stands in the text: ``[tool(arguments) -> result]``."""

    tool: str
    arguments: str
    result: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the calls that lead to its answer, in order, and the answer.

    Attributes:
        kind: The row of the accuracy table it counts in.
        text: What the person typed.
        calls: Empty when the model should answer at once.
        answer: What follows the last call.
    """

    kind: str
    text: str
    calls: tuple[Call, ...]
    answer: str


def belongs_to(split: Split, value: str) -> bool:
    """Whether `value` (a number, a name, a date, …) may occur in `split`; a hash decides, so that nothing is in both."""
    digest = hashlib.blake2b(value.strip().lower().encode(), digest_size=4).digest()
    held_out = int.from_bytes(digest, "little") % HELD_OUT_SHARE == 0
    return held_out == (split == "held_out")
