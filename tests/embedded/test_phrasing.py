"""Phrasings vary in wording and manner, and leave the values in them alone."""

import random
import re

import pytest

from lamps_jax.embedded.questions.phrasing import Phrasings, all_wordings, choose_alternatives, slip, type_question

PHRASINGS = Phrasings(
    train=("(Fetch|Get|) the {object} from the {room} (please|).", "{object} is wanted in the {room}."),
    held_out=("I would like the {object} in the {room}.",),
)
VALUES = {"object": "zq7kx", "room": "xjq9w"}


def type_many(split, count: int = 500):
    rng = random.Random(0)
    return [type_question(rng, split, PHRASINGS, **VALUES) for _ in range(count)]


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_value_stands_in_the_text_as_the_slots_tell(split):
    for typed in type_many(split):
        assert set(typed.slots) == set(VALUES)
        for name, value in typed.slots.items():
            assert value in typed.text
            assert value.lower() == VALUES[name]


def test_the_same_seed_types_the_same_questions():
    assert type_many("train") == type_many("train")


def test_questions_are_typed_in_many_manners():
    texts = {typed.text for typed in type_many("train")}
    assert len(texts) > 100
    assert any(text == text.lower() for text in texts)
    assert any(text.endswith(".") for text in texts)
    assert any(text[-1].isalnum() for text in texts)


def test_a_leading_value_gets_a_capital_and_the_slots_say_so():
    typed = [typed for typed in type_many("train") if typed.text.startswith("Zq7kx")]
    assert typed
    assert all(one.slots["object"] == "Zq7kx" for one in typed)


def test_slips_change_a_word_and_never_a_slot():
    rng = random.Random(0)
    skeleton = "Fetch the {object} from the {some_room}."
    for _ in range(300):
        slipped = slip(rng, skeleton)
        assert re.findall(r"\{[^}]*\}", slipped) == ["{object}", "{some_room}"]
        assert abs(len(slipped) - len(skeleton)) <= 1


def test_a_slip_needs_a_longer_word():
    assert slip(random.Random(0), "Get a {lantern}") == "Get a {lantern}"


def test_every_alternative_is_reached_and_no_other():
    rng = random.Random(0)
    template = "(Fetch|Get|) the {object} (now|, please|)."
    chosen = {choose_alternatives(rng, template) for _ in range(500)}
    assert chosen == all_wordings(template)
    assert len(chosen) == 9
    assert "the {object}, please." in chosen


def test_wordings_are_tidy():
    assert all_wordings("Is  it (here |)?") == {"Is it here?", "Is it?"}


def test_a_template_without_alternatives_has_one_wording():
    assert all_wordings("Where is {object}?") == {"Where is {object}?"}


def test_each_split_has_its_own_templates():
    assert PHRASINGS.of("train") == PHRASINGS.train
    assert PHRASINGS.of("held_out") == PHRASINGS.held_out
