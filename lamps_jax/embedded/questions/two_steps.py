"""Questions answered by two calls in a row: a search for a year, then a subtraction with it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lamps_jax.embedded.questions.encyclopedia import MAX_QUESTION_CHARS, choose_article, slots_of
from lamps_jax.embedded.questions.phrasing import Phrasings, type_question
from lamps_jax.embedded.questions.question import Call, Question, Split
from lamps_jax.embedded.questions.two_steps_phrasings import AGE_AT_DEATH, AGE_IN_YEAR, years_after, years_before
from lamps_jax.tools.calculator import calculate
from lamps_jax.tools.encyclopedia import Article

_LATEST_YEAR = 2060
_ROUND_YEARS = (1400, 1500, 1600, 1700, 1800, 1850, 1900, 1950, 2000, 2010, 2020, 2024, 2025, 2026)
_ROUND_SHARE = 0.4
_AGES_NOT_FROM_YEARS = frozenset({"Marie Curie"})
"""People who died before that year's birthday, so that the difference of the years is one more than their age."""


class _Years(NamedTuple):
    """The operands of the subtraction, and the year that the question names, if its wording names one."""

    later: int
    earlier: int
    named: int


@dataclass(frozen=True, slots=True)
class _Task:
    """One sort of question about the articles of `kind`; `draw` chooses the years for one of them."""

    kind: str
    phrasings: Phrasings
    draw: Callable[[random.Random, Article], _Years]


def generate(rng: random.Random, split: Split) -> Question:
    """One question of kind ``two steps``; held out it is about a bundled article, whose text the real tool returns."""
    while True:
        task = rng.choice(TASKS)
        article = choose_article(rng, split, task.kind)
        years = task.draw(rng, article)
        typed = type_question(rng, split, task.phrasings, **slots_of(article), year=str(years.named))
        if len(typed.text) <= MAX_QUESTION_CHARS and article.title not in _AGES_NOT_FROM_YEARS:
            break
    expression = f"{years.later}-{years.earlier}"
    difference = calculate(expression)
    calls = (Call("Search", typed.slots["name"], article.text), Call("Calculator", expression, difference))
    return Question("two steps", typed.text, calls, difference)


def _age_at_death(_rng: random.Random, article: Article) -> _Years:
    died = int(article.facts["died"])
    return _Years(died, int(article.facts["born"]), died)


def _age_in_year(rng: random.Random, article: Article) -> _Years:
    born, died = int(article.facts["born"]), int(article.facts["died"])
    year = rng.randint(born + 5, died)
    return _Years(year, born, year)


def _to_named_year(fact: str) -> Callable[[random.Random, Article], _Years]:
    def draw(rng: random.Random, article: Article) -> _Years:
        year = int(article.facts[fact])
        later = rng.randint(year + 1, _LATEST_YEAR)
        if rng.random() < _ROUND_SHARE:
            later = rng.choice([later for later in _ROUND_YEARS if later > year])
        return _Years(later, year, later)

    return draw


def _from_named_year(fact: str) -> Callable[[random.Random, Article], _Years]:
    def draw(rng: random.Random, article: Article) -> _Years:
        year = int(article.facts[fact])
        earlier = rng.randint(year - rng.choice((20, 100, 300)), year - 1)
        if rng.random() < _ROUND_SHARE:
            earlier = rng.choice([earlier for earlier in _ROUND_YEARS if earlier < year])
        return _Years(year, earlier, earlier)

    return draw


def _with_named_year(kind: str, name: str, *, done: str, event: str, fact: str = "year") -> tuple[_Task, _Task]:
    return (
        _Task(kind, years_after(name, done=done, event=event), _to_named_year(fact)),
        _Task(kind, years_before(name, done=done, event=event), _from_named_year(fact)),
    )


_PEOPLE = (_Task("person", AGE_AT_DEATH, _age_at_death), _Task("person", AGE_IN_YEAR, _age_in_year))
TASKS = (
    *(3 * _PEOPLE),
    *_with_named_year("person", "{name}", done="born|born", event="birth|birth", fact="born"),
    *_with_named_year("book", "(|the book ){name}", done="published|written|released", event="publication|first publication"),
    *_with_named_year("painting", "(|the painting ){name}", done="painted|finished|made", event="completion|creation"),
    *_with_named_year("film", "(|the film |the movie ){name}", done="released|made|first shown", event="release|first showing"),
    *_with_named_year(
        "music", "(|the work |the piece ){name}", done="first performed|first heard", event="first performance|premiere"
    ),
    *_with_named_year("invention", "the {name}", done="invented|created|first built", event="invention|creation"),
    *_with_named_year("moon", "(|the moon ){name}", done="discovered|found", event="discovery|first sighting"),
    *_with_named_year("building", "the {name}", done="built|completed|finished", event="completion|construction|opening"),
)
