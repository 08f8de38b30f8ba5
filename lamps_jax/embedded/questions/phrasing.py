"""Questions the way people type them: templates with alternatives and slots, small slips, missing capitals, politeness.

A template is text with ``{slot}`` for values and ``(this|that|)`` for alternatives. Each set of templates is given twice, for
training and held out, and the two never produce the same wording.
"""

import itertools
import random
import re
from dataclasses import dataclass

from lamps_jax.embedded.questions.question import Split

_ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")

_OPENINGS = {
    "train": (
        "Hi, ",
        "Hello, ",
        "Hey, ",
        "Please: ",
        "Quick question: ",
        "Um, ",
        "OK, ",
        "Hello! ",
        "Hi there. ",
        "So, ",
        "Excuse me, ",
        "One more: ",
    ),
    "held_out": ("Hey there, ", "Good morning. ", "Right, ", "Question: "),
}
_CLOSINGS = {
    "train": (" Thanks!", " Thank you.", " Please.", ", please", " thx", " pls", " I need it soon.", " It's for school."),
    "held_out": (" Many thanks.", " Thanks a lot!", " please :)"),
}


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Templates of one meaning for each split."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def of(self, split: Split) -> tuple[str, ...]:
        """The templates of `split`."""
        return self.train if split == "train" else self.held_out


@dataclass(frozen=True, slots=True)
class Typed:
    """A question as typed, and its slot values as they stand in it."""

    text: str
    slots: dict[str, str]


def type_question(rng: random.Random, split: Split, phrasings: Phrasings, **slots: str) -> Typed:
    """One wording of `phrasings` with its slots filled, in the manner of somebody typing."""
    skeleton = choose_alternatives(rng, rng.choice(phrasings.of(split)))
    if rng.random() < 0.08:
        skeleton = slip(rng, skeleton)
    if rng.random() < 0.12:
        skeleton = rng.choice(_OPENINGS[split]) + skeleton[:1].lower() + skeleton[1:]
    if rng.random() < 0.2:
        skeleton = skeleton.rstrip(".?! ")
    if rng.random() < 0.1:
        skeleton += rng.choice(_CLOSINGS[split])
    manner = rng.random()
    if manner < 0.15:  # no capitals at all, names included
        skeleton, slots = skeleton.lower(), {name: value.lower() for name, value in slots.items()}
    elif manner < 0.3:
        skeleton = skeleton[:1].lower() + skeleton[1:]
    elif skeleton.startswith("{"):
        name = skeleton[1 : skeleton.index("}")]
        slots = {**slots, name: slots[name][:1].upper() + slots[name][1:]}
    return Typed(skeleton.format(**slots), slots)


def choose_alternatives(rng: random.Random, template: str) -> str:
    """`template` with one of each group of alternatives, chosen at random."""
    text = _ALTERNATIVES.sub(lambda group: rng.choice(group.group(1).split("|")), template)
    return _tidy(text)


def all_wordings(template: str) -> set[str]:
    """Every wording of `template`, slots unfilled."""
    pieces = _ALTERNATIVES.split(template)
    choices = [piece.split("|") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    return {_tidy("".join(combination)) for combination in itertools.product(*choices)}


def slip(rng: random.Random, skeleton: str) -> str:
    """`skeleton` with two letters of one longer word exchanged, one dropped, or one doubled; slots stay as they are."""
    words = [match for match in re.finditer(r"[a-z]{4,}", skeleton) if not _inside_slot(skeleton, match.start())]
    if not words:
        return skeleton
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    return rng.choice(
        (
            skeleton[:at] + skeleton[at + 1] + skeleton[at] + skeleton[at + 2 :],
            skeleton[:at] + skeleton[at + 1 :],
            skeleton[:at] + skeleton[at] + skeleton[at:],
        )
    )


def _inside_slot(skeleton: str, at: int) -> bool:
    return skeleton.count("{", 0, at) != skeleton.count("}", 0, at)


def _tidy(text: str) -> str:
    return re.sub(r" +([?.!,])", r"\1", re.sub(r" {2,}", " ", text)).strip()
