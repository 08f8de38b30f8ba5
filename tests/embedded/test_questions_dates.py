import random
import re
from datetime import date
from functools import cache

import pytest

from lamps_jax.embedded.questions.dates import MAX_QUESTION_CHARS, WORDINGS, generate
from lamps_jax.embedded.questions.phrasing import all_wordings
from lamps_jax.embedded.questions.question import Question, Split, belongs_to
from lamps_jax.tools.calendar import CALENDAR, make_calendar

SPLITS: tuple[Split, Split] = ("train", "held_out")
DEPENDS_ON_TODAY = ("today", "tomorrow", "yesterday")


@cache
def questions(split: Split) -> tuple[Question, ...]:
    rng = random.Random(5)
    return tuple(generate(rng, split) for _ in range(1500))


def wordings(split: Split) -> set[str]:
    every = {w for phrasings in WORDINGS.values() for text in phrasings.of(split) for w in all_wordings(text)}
    return {re.sub(r"[^a-z0-9{}]+", " ", wording.lower()).strip() for wording in every}


def iso_dates(arguments: str) -> list[str]:
    """The dates with a year that `arguments` name, in ISO form."""
    text = re.sub(r"(?i)^(weekday|(day|week)s from|leap .*|days in .*) ?| [-+] [a-z0-9]+ [a-z]+$", "", arguments)
    found = [part for part in text.split(" to ") if re.search(r"\d{4}", part)]
    return [CALENDAR.function(query=part)[:10] for part in found]


def test_the_splits_share_no_wording() -> None:
    assert wordings("train").isdisjoint(wordings("held_out"))
    assert len(wordings("train")) > 800


@pytest.mark.parametrize("split", SPLITS)
def test_every_date_belongs_to_the_split(split: Split) -> None:
    seen = {iso for question in questions(split) for iso in iso_dates(question.calls[0].arguments)}
    assert len(seen) > 500
    assert all(belongs_to(split, iso) for iso in seen)


@pytest.mark.parametrize("split", SPLITS)
def test_leap_years_and_months_belong_to_the_split(split: Split) -> None:
    arguments = [question.calls[0].arguments for question in questions(split)]
    years = [text.removeprefix("leap ") for text in arguments if text.startswith("leap ")]
    assert years
    assert all(belongs_to(split, year) for year in years)


@pytest.mark.parametrize("split", SPLITS)
def test_every_question_has_one_call_with_the_tools_result_as_answer(split: Split) -> None:
    for question in questions(split):
        (call,) = question.calls
        assert (question.kind, call.tool) == ("calendar", "Calendar")
        assert call.result == question.answer
        if not any(word in call.arguments for word in DEPENDS_ON_TODAY) and re.search(r"\d{4}", call.arguments):
            assert call.result == CALENDAR.function(query=call.arguments)


@pytest.mark.parametrize("split", SPLITS)
def test_todays_date_is_a_different_one_each_time(split: Split) -> None:
    todays = [question.answer for question in questions(split) if question.calls[0].arguments == "today"]
    assert len(set(todays)) > 0.9 * len(todays) > 50
    for today in todays:
        day = date.fromisoformat(today[:10])
        assert make_calendar(lambda day=day: day).function(query="today") == today


@pytest.mark.parametrize("split", SPLITS)
def test_the_call_repeats_dates_and_spans_as_typed(split: Split) -> None:
    for question in questions(split):
        arguments = question.calls[0].arguments
        pieces = re.split(
            r"^weekday |^(?:day|week)s from | to | [-+] (?=\S+ \w+$)|^leap |^days in |^today|^tomorrow|^yesterday",
            arguments,
        )
        for piece in pieces:
            assert piece.removeprefix("today") in question.text


@pytest.mark.parametrize("split", SPLITS)
def test_questions_are_short_plain_text(split: Split) -> None:
    for question in questions(split):
        assert question.text.isascii()
        assert not re.search(r"[][{}|\n]", question.text)
        assert len(question.text) <= MAX_QUESTION_CHARS
        assert len(question.calls[0].arguments) <= 70
        assert len(question.answer) <= 40


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_questions(split: Split) -> None:
    rng = random.Random(5)
    assert [generate(rng, split) for _ in range(50)] == list(questions(split)[:50])


def test_the_templates_hold_the_slots_that_their_call_needs() -> None:
    for pattern, phrasings in WORDINGS.items():
        for split in SPLITS:
            for template in phrasings.of(split):
                for wording in all_wordings(template):
                    assert set(re.findall(r"{\w+}", wording)) == set(re.findall(r"{\w+}", pattern)), wording
