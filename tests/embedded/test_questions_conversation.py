"""Small talk is answered without a call, and the answer follows from the text."""

import itertools
import random
import re

import pytest

from lamps_jax.embedded.questions.conversation import MAX_QUESTION_CHARS, generate
from lamps_jax.embedded.questions.conversation_wordings import NAMES, TOPICS, WORDS
from lamps_jax.embedded.questions.phrasing import all_wordings
from lamps_jax.embedded.questions.question import Question, Split, belongs_to

SPLITS: tuple[Split, ...] = ("train", "held_out")
COUNT = 2000


def questions(split: Split, seed: int = 0) -> list[Question]:
    rng = random.Random(seed)
    return [generate(rng, split) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def generated() -> dict[Split, list[Question]]:
    return {split: questions(split) for split in SPLITS}


def plain(wording: str) -> str:
    return " ".join(re.sub(r"[^\w{} ]", " ", wording.lower()).split())


def wordings(split: Split) -> list[str]:
    """Each topic's different wordings, topic after topic."""
    return [
        wording
        for topic in TOPICS
        for wording in {plain(wording) for template in topic.phrasings.of(split) for wording in all_wordings(template)}
    ]


def test_the_same_seed_gives_the_same_questions(generated):
    for split in SPLITS:
        assert questions(split) == generated[split]


@pytest.mark.parametrize("split", SPLITS)
def test_nothing_is_called_and_lengths_are_bounded(generated, split: Split):
    for question in generated[split]:
        assert question.kind == "no tool"
        assert question.calls == ()
        assert 0 < len(question.text) <= MAX_QUESTION_CHARS
        assert 0 < len(question.answer) <= 90
        assert "{" not in question.text + question.answer


def test_the_answer_is_a_function_of_the_text(generated):
    answers: dict[str, str] = {}
    for question in itertools.chain(*generated.values()):
        assert answers.setdefault(question.text, question.answer) == question.answer


def test_no_wording_belongs_to_two_topics_or_to_both_splits():
    every = [wording for split in SPLITS for wording in wordings(split)]
    assert sorted(wording for wording in set(every) if every.count(wording) > 1) == []


def test_templates_are_many():
    assert sum(len(topic.phrasings.train) for topic in TOPICS) >= 150
    assert sum(len(topic.phrasings.held_out) for topic in TOPICS) >= 40
    assert len(wordings("train")) >= 900


def test_each_topic_has_the_same_slots_in_every_template():
    for topic in TOPICS:
        for template in topic.phrasings.train + topic.phrasings.held_out:
            assert set(re.findall(r"\{(\w+)\}", template)) == topic.slots, template


def test_every_topic_comes_up_in_both_splits(generated):
    fixed = {topic.answer for topic in TOPICS if not topic.slots}
    for split in SPLITS:
        assert fixed <= {question.answer for question in generated[split]}
        told = " ".join(question.answer for question in generated[split])
        assert "Nice to meet you, " in told
        assert "Hello, " in told


def test_names_and_words_of_the_splits_are_disjoint(generated):
    for split in SPLITS:
        for question in generated[split]:
            if match := re.fullmatch(r"(?:Hello|Nice to meet you), (\w+)!", question.answer):
                assert belongs_to(split, match[1])
            elif re.fullmatch(r"\w(-\w)+", question.answer):
                assert belongs_to(split, question.answer.replace("-", ""))


def test_copied_answers_stand_in_the_question(generated):
    for question in itertools.chain(*generated.values()):
        if match := re.fullmatch(r"(?:Hello|Nice to meet you), (\w+)!", question.answer):
            assert match[1] in question.text
        elif re.fullmatch(r"\w(-\w)+", question.answer):
            assert question.answer.replace("-", "") in question.text


def test_words_to_repeat_end_where_the_text_or_the_quotation_ends(generated):
    fixed = {topic.answer for topic in TOPICS}
    repeated = [
        question
        for question in itertools.chain(*generated.values())
        if question.answer not in fixed and re.fullmatch(r"[a-z]+( [a-z]+)*", question.answer)
    ]
    assert len(repeated) > 100
    for question in repeated:
        assert f'"{question.answer}"' in question.text or question.text.rstrip(".!?").endswith(question.answer)


def test_both_splits_have_enough_names_and_words():
    for pool in (NAMES, WORDS):
        assert sum(belongs_to("held_out", value) for value in pool) >= 20
