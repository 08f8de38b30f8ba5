import random

import pytest

from lamps_jax.embedded.questions.phrasing import all_wordings
from lamps_jax.embedded.questions.question import belongs_to
from lamps_jax.embedded.questions.two_steps import TASKS, generate
from lamps_jax.tools.calculator import calculate
from lamps_jax.tools.search import SEARCH


def many(split, *, number=800, seed=1):
    rng = random.Random(seed)
    return [generate(rng, split) for _ in range(number)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_training_and_held_out_wordings_are_disjoint(task):
    train = set().union(*map(all_wordings, task.phrasings.train))
    held_out = set().union(*map(all_wordings, task.phrasings.held_out))
    assert not {wording.lower().rstrip("?. ") for wording in train} & {wording.lower().rstrip("?. ") for wording in held_out}
    assert not {"(", ")", "|"} & set("".join(train | held_out))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_search_for_a_name_of_the_split_is_followed_by_a_subtraction_of_years_that_can_be_read(split):
    for question in many(split):
        search, calculator = question.calls
        assert (question.kind, search.tool, calculator.tool) == ("two steps", "Search", "Calculator")
        assert search.arguments in question.text and belongs_to(split, search.arguments)
        readable = f"{question.text.replace(search.arguments, '')} {search.result}"
        later, earlier = calculator.arguments.split("-")
        assert later in readable and earlier in readable
        assert later in search.result or earlier in search.result
        assert int(later) - int(earlier) == int(calculator.result) > 0
        assert question.answer == calculator.result


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_year_that_the_question_names_is_in_the_subtraction(split):
    for question in many(split):
        named = [word for word in question.text.replace(question.calls[0].arguments, "").split() if word.strip("?.,!:").isdigit()]
        assert all(year.strip("?.,!:") in question.calls[1].arguments for year in named), question


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_questions_are_short_lines_of_plain_ascii(split):
    for question in many(split):
        calls = " ".join(f"[{call.tool}({call.arguments}) -> {call.result}]" for call in question.calls)
        whole = f"Q: {question.text}\nA: {calls} {question.answer}"
        assert len(question.text) <= 140 and len(question.calls[0].result) <= 160 and len(whole) <= 330
        assert whole.isascii() and not {"[", "]", "{", "}", "|", "\n"} & set(question.text)


def test_the_real_tools_return_the_stated_results_for_every_held_out_question():
    for question in many("held_out"):
        search, calculator = question.calls
        assert SEARCH.function(query=search.arguments) == search.result
        assert calculate(calculator.arguments) == calculator.result


def test_held_out_questions_are_varied():
    assert len({(question.calls[0].result, question.answer) for question in many("held_out")}) > 60


def test_a_seed_always_gives_the_same_questions():
    assert many("train", number=50, seed=3) == many("train", number=50, seed=3) != many("train", number=50, seed=4)
