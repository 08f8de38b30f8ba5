import random
from collections import Counter

import pytest

from lamps_jax.embedded.questions.encyclopedia import NOT_FOUND_ANSWER, RELATIONS, bundled, generate
from lamps_jax.embedded.questions.phrasing import all_wordings
from lamps_jax.embedded.questions.question import belongs_to
from lamps_jax.tools.encyclopedia import FACTS, articles
from lamps_jax.tools.search import NOTHING_FOUND, SEARCH


def many(split, *, number=800, seed=1):
    rng = random.Random(seed)
    return [generate(rng, split) for _ in range(number)]


def test_every_fact_but_the_pronoun_is_asked_for():
    assert set(RELATIONS) == {(kind, fact) for kind, facts in FACTS.items() for fact in facts if fact != "pronoun"}


@pytest.mark.parametrize("relation", RELATIONS, ids="-".join)
def test_training_and_held_out_wordings_are_disjoint(relation):
    train = set().union(*map(all_wordings, RELATIONS[relation].train))
    held_out = set().union(*map(all_wordings, RELATIONS[relation].held_out))
    assert len(train) >= 300
    assert len(RELATIONS[relation].held_out) >= 3
    assert not {wording.lower().rstrip("?. ") for wording in train} & {wording.lower().rstrip("?. ") for wording in held_out}
    assert not {"(", ")", "|", "@"} & set("".join(train | held_out))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_answer_stands_in_the_result_of_one_search_for_a_name_of_the_split(split):
    for question in many(split):
        (call,) = question.calls
        assert question.kind == "search" and call.tool == "Search"
        assert call.arguments in question.text
        assert belongs_to(split, call.arguments)
        if call.result == NOTHING_FOUND:
            assert question.answer == NOT_FOUND_ANSWER
        else:
            assert question.answer in call.result


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_questions_are_short_lines_of_plain_ascii(split):
    for question in many(split):
        assert len(question.text) <= 140 and len(question.calls[0].result) <= 160
        (call,) = question.calls
        whole = f"Q: {question.text}\nA: [Search({call.arguments}) -> {call.result}] {question.answer}"
        assert len(whole) <= 330 and whole.isascii()
        assert not {"[", "]", "{", "}", "|", "\n"} & set(question.text)


def test_the_real_tool_returns_the_stated_result_for_every_held_out_question():
    for question in many("held_out"):
        assert SEARCH.function(query=question.calls[0].arguments) == question.calls[0].result


def test_the_real_tool_returns_the_stated_result_for_bundled_titles_in_training():
    by_title = {article.title.lower(): article for article in bundled("train")}
    known = [question for question in many("train") if question.calls[0].arguments.lower() in by_title]
    assert len(known) > 100
    for question in known:
        assert SEARCH.function(query=question.calls[0].arguments) == question.calls[0].result


def test_some_training_questions_find_nothing():
    assert 0.01 < Counter(question.answer for question in many("train", number=2000))[NOT_FOUND_ANSWER] / 2000 < 0.06


def test_there_are_at_least_ninety_held_out_facts_and_no_article_is_in_both_splits():
    assert len([fact for article in bundled("held_out") for kind, fact in RELATIONS if kind == article.kind]) >= 90
    assert len(bundled("train")) + len(bundled("held_out")) == len(articles())


def test_a_seed_always_gives_the_same_questions():
    assert many("train", number=50, seed=3) == many("train", number=50, seed=3) != many("train", number=50, seed=4)
