import random
import re
from functools import cache

import pytest

from lamps_jax.embedded.questions.arithmetic import EXPRESSIONS, MAX_QUESTION_CHARS, NAMED, STORIES, generate
from lamps_jax.embedded.questions.phrasing import Phrasings, all_wordings
from lamps_jax.embedded.questions.question import Question, Split, belongs_to
from lamps_jax.tools.calculator import calculate

SPLITS: tuple[Split, Split] = ("train", "held_out")
PHRASINGS: tuple[Phrasings, ...] = (EXPRESSIONS, *NAMED.values(), *STORIES.values())


@cache
def questions(split: Split) -> tuple[Question, ...]:
    rng = random.Random(5)
    return tuple(generate(rng, split) for _ in range(1500))


def plain(wording: str) -> str:
    """`wording` without capitals and punctuation, so that two that differ only in those count as one."""
    return re.sub(r"[^a-z0-9{}]+", " ", wording.lower()).strip()


def wordings(split: Split) -> set[str]:
    return {plain(wording) for phrasings in PHRASINGS for text in phrasings.of(split) for wording in all_wordings(text)}


def plain_expression(arguments: str) -> str:
    """`arguments` in symbols alone."""
    for words, symbol in (("plus", "+"), ("minus", "-"), ("times", "*"), ("multiplied by", "*"), ("divided by", "/")):
        arguments = arguments.replace(words, symbol)
    return re.sub(r"[ ,]", "", arguments).replace("x", "*")


def test_the_splits_share_no_wording() -> None:
    assert wordings("train").isdisjoint(wordings("held_out"))
    assert len(wordings("train")) > 1000


def test_the_splits_share_no_sum_or_product() -> None:
    operations: dict[Split, set[tuple[str, ...]]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        for question in questions(split):
            match = re.fullmatch(r"([\d.]+)([-+*/])([\d.]+)", plain_expression(question.calls[0].arguments))
            if match:
                left, operator, right = match.groups()
                key = (operator, *sorted((left, right))) if operator in "+*" else (operator, left, right)
                operations[split].add(key)
                if operator in "-/":
                    assert belongs_to(split, f"{left}{operator}{right}")
    assert len(operations["train"]) > 500
    assert operations["train"].isdisjoint(operations["held_out"])


@pytest.mark.parametrize("split", SPLITS)
def test_every_question_has_one_call_with_the_tools_result_as_answer(split: Split) -> None:
    for question in questions(split):
        (call,) = question.calls
        assert (question.kind, call.tool) == ("calculator", "Calculator")
        assert call.result == calculate(call.arguments) == question.answer


@pytest.mark.parametrize("split", SPLITS)
def test_every_number_of_the_call_stands_in_the_question(split: Split) -> None:
    for question in questions(split):
        for number in re.findall(r"\d[\d,.]*", question.calls[0].arguments):
            assert number in question.text


@pytest.mark.parametrize("split", SPLITS)
def test_questions_are_short_plain_text(split: Split) -> None:
    for question in questions(split):
        assert question.text.isascii()
        assert "\n" not in question.text
        assert not re.search(r"[][{}|]", question.text)
        assert len(question.text) <= MAX_QUESTION_CHARS
        assert len(question.calls[0].arguments) <= 70
        assert len(question.answer) <= 60


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_questions(split: Split) -> None:
    rng = random.Random(5)
    assert [generate(rng, split) for _ in range(50)] == list(questions(split)[:50])


def test_every_story_is_worth_asking() -> None:
    for question in questions("train"):
        if question.calls[0].arguments[0].isdigit() and "friends" in question.text:
            assert float(question.answer) > 0


@pytest.mark.parametrize("table", [NAMED, STORIES])
def test_the_templates_hold_the_numbers_that_their_call_needs(table: dict[str, Phrasings]) -> None:
    for pattern, phrasings in table.items():
        needed = set(re.findall(r"{\w+}", pattern))
        for split in SPLITS:
            for template in phrasings.of(split):
                for wording in all_wordings(template):
                    found = set(re.findall(r"{\w+}", wording)) - {"{person}", "{person2}", "{item}"}
                    assert found == needed, wording
