"""Requests to the text world come with the calls and results that the world itself gives."""

import itertools
import random
import re

import pytest

from lamps_jax.embedded.questions.phrasing import Phrasings, all_wordings
from lamps_jax.embedded.questions.question import Question, Split, belongs_to
from lamps_jax.embedded.questions.text_world import (
    MAX_DIALOGUE_CHARS,
    MAX_QUESTION_CHARS,
    Request,
    dialogue_chars,
    generate,
    generate_plain,
    generate_with_container,
    solve,
)
from lamps_jax.embedded.questions.text_world_wordings import (
    CONTAINER_PLACES,
    CONTAINERS,
    FETCH,
    FETCH_FROM_CONTAINER,
    IS_IN,
    LOOK,
    OBJECT_NOUNS,
    ROOMS,
)
from lamps_jax.tools.text_world import HOUSE, MAX_RESULT_CHARS, WORLD, Container, Layout, Room

SPLITS: tuple[Split, ...] = ("train", "held_out")
COUNT = 600

CELLAR = Layout(
    (
        Room("hall"),
        Room("cellar", (Container("chest"), Container("barrel", ("brass key", "egg")), Container("box")), ("lamp",)),
    )
)


def questions(split: Split, seed: int = 0) -> list[Question]:
    rng = random.Random(seed)
    return [generate(rng, split) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def generated() -> dict[Split, list[Question]]:
    return {split: questions(split) for split in SPLITS}


def plain(wording: str) -> str:
    return " ".join(re.sub(r"[^\w{} ]", " ", wording.lower()).split())


def wordings(phrasings: Phrasings, split: Split) -> set[str]:
    return {plain(wording) for template in phrasings.of(split) for wording in all_wordings(template)}


def objects_told(question: Question) -> set[str]:
    """The objects in results and answers, by the sentences they stand in."""
    text = " ".join([*(call.result for call in question.calls), question.answer])
    lists = re.findall(r"In the [a-z ]+ (?:is|are) (an? [^.]*)\.|(?:^|\. |here\. )(An? [^.]*?) lies? here\.", text)
    names = [name for pair in lists for listed in pair if listed for name in re.split(", | and ", listed)]
    if question.answer.endswith("is empty."):
        return {re.sub("^[Aa]n? ", "", name) for name in names}
    names += re.findall(r"(?:I have the|Yes, the|No, the|The) ([a-z ]+?)(?:\.| is in the | is not in the )", question.answer)
    return {re.sub("^[Aa]n? ", "", name) for name in names}


def test_the_same_seed_gives_the_same_questions(generated):
    for split in SPLITS:
        assert questions(split) == generated[split]
    assert questions("train", seed=1) != generated["train"]


@pytest.mark.parametrize("split", SPLITS)
def test_lengths_and_calls_are_bounded(generated, split: Split):
    for question in generated[split]:
        assert question.kind == "text world"
        assert 0 < len(question.text) <= MAX_QUESTION_CHARS
        assert dialogue_chars(question) <= MAX_DIALOGUE_CHARS
        assert 1 <= len(question.calls) <= 5
        assert all(len(call.result) <= MAX_RESULT_CHARS for call in question.calls)


def test_held_out_calls_give_the_same_results_in_the_bundled_house(generated):
    for question in generated["held_out"]:
        state: dict[str, object] = {}
        for call in question.calls:
            assert call.tool == WORLD.name
            assert WORLD.function(command=call.arguments, state=state) == call.result


def test_training_never_tells_of_a_held_out_object(generated):
    for question in generated["train"]:
        told = objects_told(question)
        assert not [name for name in told if belongs_to("held_out", name)], (question, told)


def test_held_out_questions_are_about_held_out_objects_of_the_house(generated):
    held_out = [name for name in HOUSE.objects if belongs_to("held_out", name)]
    for question in generated["held_out"]:
        told = " ".join([question.text, *(call.result for call in question.calls)])
        assert any(name in told for name in held_out) or "There is no" in question.answer
    assert len({(question.calls, question.answer) for question in generated["held_out"]}) >= 120


def test_held_out_wordings_are_never_trained():
    tables = {"fetch": (FETCH, FETCH_FROM_CONTAINER), "is in": (IS_IN,), "look": (LOOK,), "place": (CONTAINER_PLACES,)}
    for tables_of_one in tables.values():
        trained, held_out = (set().union(*(wordings(table, split) for table in tables_of_one)) for split in SPLITS)
        assert not trained & held_out


def test_wordings_are_many():
    for phrasings in (FETCH, IS_IN, LOOK):
        assert len(phrasings.train) >= 40
        assert len(phrasings.held_out) >= 10
        assert len(wordings(phrasings, "train")) >= 90


def test_every_wording_names_the_thing_and_the_place():
    for split, phrasings in itertools.product(SPLITS, (FETCH, IS_IN)):
        assert all("{place}" in text and re.search(r"\{(an_)?object\}", text) for text in phrasings.of(split))
    assert all("{place}" in text for split in SPLITS for text in LOOK.of(split))
    for split in SPLITS:
        assert all(f"{{{slot}}}" in text for slot in ("object", "room", "container") for text in FETCH_FROM_CONTAINER.of(split))


def test_requests_of_every_kind_occur_in_both_splits(generated):
    kinds = (
        "I have the ",
        "Yes, the ",
        "No, the ",
        "The .* is not in ",
        "I see ",
        "In the ",
        "There is no .* here",
        "There is no .* in ",
    )
    for split, kind in itertools.product(SPLITS, kinds):
        assert any(re.match(kind, question.answer) for question in generated[split]), (split, kind)


def test_vocabularies_are_distinct_lists():
    for names in (OBJECT_NOUNS, ROOMS, CONTAINERS):
        assert len(set(names)) == len(names)
        assert all(name == name.strip().lower() for name in names)


@pytest.mark.parametrize(
    ("request_", "commands", "answer"),
    [
        (Request("fetch", "cellar", None, "lamp"), ["take lamp"], "I have the lamp."),
        (Request("fetch", "cellar", None, "egg"), ["open chest", "open barrel", "take egg"], "I have the egg."),
        (
            Request("fetch", "cellar", None, "hat"),
            ["open chest", "open barrel", "open box"],
            "The hat is not in the cellar.",
        ),
        (Request("fetch", "cellar", "barrel", "egg"), ["open barrel", "take egg"], "I have the egg."),
        (Request("fetch", "cellar", "chest", "egg"), ["open chest"], "The egg is not in the chest."),
        (Request("fetch", "cellar", "safe", "egg"), ["open safe"], "There is no safe in the cellar."),
        (Request("look", "cellar", "safe", "egg"), ["open safe"], "There is no safe in the cellar."),
        (Request("fetch", "attic", None, "egg"), None, "There is no attic here."),
        (Request("is in", "cellar", None, "lamp"), [], "Yes, the lamp is in the cellar."),
        (Request("is in", "cellar", None, "egg"), ["open chest", "open barrel"], "Yes, the egg is in the barrel."),
        (Request("is in", "cellar", "chest", "lamp"), ["open chest"], "No, the lamp is not in the chest."),
        (Request("is in", "hall", None, "key"), [], "No, the key is not in the hall."),
        (Request("look", "cellar", None, "egg"), [], "I see a chest, a barrel and a box. A lamp lies here."),
        (Request("look", "cellar", "barrel", "egg"), ["open barrel"], "In the barrel are a brass key and an egg."),
        (Request("look", "hall", None, "egg"), [], "I see nothing here."),
    ],
)
def test_containers_are_searched_in_the_order_seen(request_: Request, commands: list[str] | None, answer: str):
    calls, told = solve(CELLAR, request_)
    assert told == answer
    assert [call.arguments for call in calls] == [f"go {request_.room}", *(commands or [])]


def test_a_named_container_is_absent_in_half_of_the_exercises():
    rng = random.Random(3)
    questions = [generate_with_container(rng, "train") for _ in range(300)]
    absent = sum(question.answer.startswith("There is no ") for question in questions)
    assert 110 < absent < 190


def test_plain_requests_are_as_often_for_what_is_there_as_for_what_is_not():
    rng = random.Random(3)
    questions = [generate_plain(rng, "train") for _ in range(300)]
    found = sum(question.answer.startswith(("Yes", "I have")) for question in questions)
    assert 100 < found < 200
    assert {question.text.split()[0] for question in questions} == {"Get", "Is"}
