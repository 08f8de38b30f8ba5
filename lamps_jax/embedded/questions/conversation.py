"""Small talk, which needs no tool: greetings, thanks, who Lamps is, jokes, and the copying of names and words."""

import random
from dataclasses import dataclass

from lamps_jax.embedded.questions.conversation_wordings import NAMES, TOPICS, WORDS, Topic
from lamps_jax.embedded.questions.invented_words import invented_word
from lamps_jax.embedded.questions.phrasing import Typed, type_question
from lamps_jax.embedded.questions.question import Question, Split, belongs_to

KIND = "no tool"

MAX_QUESTION_CHARS = 120


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    names: tuple[str, ...]
    words: tuple[str, ...]


_VOCABULARY: dict[Split, _Vocabulary] = {
    split: _Vocabulary(
        tuple(name for name in NAMES if belongs_to(split, name)),
        tuple(word for word in WORDS if belongs_to(split, word)),
    )
    for split in ("train", "held_out")
}


def generate(rng: random.Random, split: Split) -> Question:
    """A remark or question that is answered at once; the answer is a function of the text."""
    (topic,) = rng.choices(TOPICS, [topic.weight for topic in TOPICS])
    while True:
        typed = type_question(rng, split, topic.phrasings, **_slots(rng, split, topic))
        if len(typed.text) <= MAX_QUESTION_CHARS and _ends_clearly(typed):
            return Question(KIND, typed.text, (), _answer(topic, typed))


def _answer(topic: Topic, typed: Typed) -> str:
    return topic.answer.format(**typed.slots)


def _slots(rng: random.Random, split: Split, topic: Topic) -> dict[str, str]:
    makers = {
        "name": lambda: _name(rng, split),
        "word": lambda: _word(rng, split),
        "words": lambda: " ".join(_word(rng, split) for _ in range(rng.choice((1, 2, 2, 3)))),
    }
    return {slot: make() for slot, make in makers.items() if slot in topic.slots}


def _name(rng: random.Random, split: Split) -> str:
    if split == "train" and rng.random() < 0.3:
        return _invented(rng).capitalize()
    return rng.choice(_VOCABULARY[split].names)


def _word(rng: random.Random, split: Split) -> str:
    if split == "train" and rng.random() < 0.25:
        return _invented(rng)
    return rng.choice(_VOCABULARY[split].words)


def _invented(rng: random.Random) -> str:
    while not belongs_to("train", word := invented_word(rng)):
        pass
    return word


def _ends_clearly(typed: Typed) -> bool:
    """False where words to be repeated run into a closing such as "thx", so that nobody could tell where they end."""
    return "words" not in typed.slots or '"' in typed.text or typed.text.rstrip(".!?").endswith(typed.slots["words"])
