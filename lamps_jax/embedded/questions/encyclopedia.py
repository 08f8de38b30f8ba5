"""Questions answered by one search: the fact asked for stands in the article that the search returns."""

import functools
import random

from lamps_jax.embedded.questions.encyclopedia_phrasings import PHRASINGS
from lamps_jax.embedded.questions.invented import invent
from lamps_jax.embedded.questions.person_phrasings import PERSON_PHRASINGS
from lamps_jax.embedded.questions.phrasing import Phrasings, type_question
from lamps_jax.embedded.questions.question import Call, Question, Split, belongs_to
from lamps_jax.tools.encyclopedia import Article, articles
from lamps_jax.tools.search import NOTHING_FOUND

RELATIONS: dict[tuple[str, str], Phrasings] = {**PERSON_PHRASINGS, **PHRASINGS}
"""Wordings by kind of article and name of the fact."""

NOT_FOUND_ANSWER = "I could not find that."

MAX_QUESTION_CHARS = 140

_INVENTED_SHARE = 0.75
_NOT_FOUND_SHARE = 0.04


def generate(rng: random.Random, split: Split) -> Question:
    """One question of kind ``search``; held out it is about a bundled article, whose text the real tool returns."""
    while True:
        article, fact = _choose_fact(rng, split)
        typed = type_question(rng, split, RELATIONS[article.kind, fact], **slots_of(article))
        if len(typed.text) <= MAX_QUESTION_CHARS:
            break
    if article not in articles() and rng.random() < _NOT_FOUND_SHARE:
        return Question("search", typed.text, (Call("Search", typed.slots["name"], NOTHING_FOUND),), NOT_FOUND_ANSWER)
    return Question("search", typed.text, (Call("Search", typed.slots["name"], article.text),), article.facts[fact])


def _choose_fact(rng: random.Random, split: Split) -> tuple[Article, str]:
    """In training every relation equally often; held out every fact, for some kinds have few held-out articles."""
    if split == "train":
        kind, fact = rng.choice(list(RELATIONS))
        return choose_article(rng, split, kind), fact
    return rng.choice([(article, fact) for article in bundled(split) for kind, fact in RELATIONS if kind == article.kind])


@functools.cache
def bundled(split: Split) -> tuple[Article, ...]:
    """The bundled articles that belong to `split`."""
    return tuple(article for article in articles() if belongs_to(split, article.title))


def choose_article(rng: random.Random, split: Split, kind: str) -> Article:
    """An article of `kind` whose title belongs to `split`: bundled when held out, mostly invented in training."""
    if split == "train" and rng.random() < _INVENTED_SHARE:
        return invent(rng, kind)
    return rng.choice([article for article in bundled(split) if article.kind == kind])


def slots_of(article: Article) -> dict[str, str]:
    """Values for the slots of a wording about `article`."""
    pronoun = article.facts.get("pronoun", "it")
    return {"name": article.title, "pronoun": pronoun, "possessive": {"he": "his", "she": "her", "it": "its"}[pronoun]}
