"""Questions the way people type them: templates with alternatives and slots, small slips, missing capitals, politeness.

A template is text with ``{slot}`` for values and ``(this|that|)`` for alternatives. Each set of templates is given twice, for
training and held out, and the two never produce the same wording.
"""

import itertools
import random
import re
from dataclasses import dataclass

from lamps_jax.embedded.questions.invented_words import FILLERS, invented_word
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
        "Hi there, ",
        "So, ",
        "Excuse me, ",
        "One more: ",
        "Good evening. ",
        "Good afternoon. ",
        "Good day. ",
        "Good evening, ",
        "Morning! ",
        "Well, ",
        "Now, ",
        "Alright, ",
        "Next: ",
        "Next question. ",
        "My question: ",
        "A short question: ",
        "Lamps, ",
        "Lamps: ",
        "Dear Lamps, ",
        "Tell me: ",
        "Tell me, ",
        "Say, ",
        "Hmm, ",
        "Oh, ",
        "Ah, ",
        "Yes, ",
        "Listen: ",
        "Look, ",
        "Sorry, ",
        "Thanks! ",
        "Thank you. ",
        "Ask: ",
        "Q: ",
        "Task: ",
        "Problem: ",
        "By the way, ",
    ),
    "held_out": ("Hey there, ", "Good morning. ", "Right, ", "Question: "),
}
_CLOSINGS = {
    "train": (
        " Thanks!",
        " Thank you.",
        " Please.",
        ", please",
        " thx",
        " pls",
        " I need it soon.",
        " It's for school.",
        " Thank you so much!",
        " Thank you very much.",
        " Thanks in advance.",
        " Thanks, Lamps.",
        " Many kind thanks!",
        " Thanks again!",
        " Cheers!",
        " Cheers.",
        " :)",
        " :-)",
        " thanks :)",
        " Bye.",
        " Much obliged.",
        " So many questions.",
        " I am curious.",
        " A lot of thanks.",
        " please!",
        " It's urgent.",
        " No hurry.",
        " Any help is welcome.",
    ),
    "held_out": (" Many thanks.", " Thanks a lot!", " please :)"),
}


@dataclass(frozen=True, slots=True)
class Habits:
    """How often people slip, greet, thank, and say words that do not matter.

    Training has more of everything, and words that nobody uses, so that a wording never met does not throw the model.
    """

    slip: float
    opening: float
    closing: float
    odd_word: float
    invented: float


_HABITS: dict[Split, Habits] = {
    "train": Habits(slip=0.14, opening=0.22, closing=0.18, odd_word=0.14, invented=0.4),
    "held_out": Habits(slip=0.08, opening=0.12, closing=0.1, odd_word=0.0, invented=0.0),
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
    habits = _HABITS[split]
    skeleton = choose_alternatives(rng, rng.choice(phrasings.of(split)))
    if rng.random() < habits.slip:
        skeleton = slip(rng, skeleton)
    if rng.random() < habits.odd_word:
        skeleton = with_odd_word(rng, skeleton, slots)
    if rng.random() < habits.opening:
        opening = _invented_opening(rng) if rng.random() < habits.invented else rng.choice(_OPENINGS[split])
        skeleton = opening + skeleton[:1].lower() + skeleton[1:]
    if rng.random() < 0.2:
        skeleton = skeleton.rstrip(".?! ")
    if rng.random() < habits.closing:
        skeleton += _invented_closing(rng) if rng.random() < habits.invented else rng.choice(_CLOSINGS[split])
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


def with_odd_word(rng: random.Random, skeleton: str, slots: dict[str, str]) -> str:
    """`skeleton` with a word or two put in that need not exist; never where they could pass for a part of a value."""
    words = skeleton.split(" ")
    places = [at for at in range(1, len(words)) if _may_part(words[at - 1][-1:], words[at - 1], words[at], slots)]
    if not places:
        return skeleton
    at = rng.choice(places)
    return " ".join([*words[:at], *(_odd_word(rng) for _ in range(rng.choice((1, 1, 2)))), *words[at:]])


def _may_part(last: str, before: str, after: str, slots: dict[str, str]) -> bool:
    """Whether a word may come between two: a value that ends, or begins, with a digit cannot be mistaken to go on."""
    ends = slots[name][-1:] if last == "}" and (name := before[before.rindex("{") + 1 : -1]) in slots else " "
    begins = slots[name][:1] if after.startswith("{") and (name := after[1 : after.index("}")]) in slots else " "
    return all(edge == " " or edge.isdigit() for edge in (ends, begins))


def _odd_word(rng: random.Random) -> str:
    return rng.choice(FILLERS) if rng.random() < 0.5 else invented_word(rng)


def _invented_opening(rng: random.Random) -> str:
    words = " ".join(_odd_word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
    return words.capitalize() + rng.choice((", ", ", ", ". ", ": ", "! ", " - "))


def _invented_closing(rng: random.Random) -> str:
    words = " ".join(_odd_word(rng) for _ in range(rng.choice((1, 2, 2, 3))))
    return rng.choice((" ", " ", ", ")) + rng.choice((words, words.capitalize())) + rng.choice((".", ".", "!", "!", "", " :)"))


def _inside_slot(skeleton: str, at: int) -> bool:
    return skeleton.count("{", 0, at) != skeleton.count("}", 0, at)


def _tidy(text: str) -> str:
    return re.sub(r" +([?.!,])", r"\1", re.sub(r" {2,}", " ", text)).strip()
