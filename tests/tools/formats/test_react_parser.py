import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.tools.formats.json_text import MAX_CALL_CHARS
from lamps_jax.tools.formats.react import REACT
from lamps_jax.tools.formats.react_parser import FINISH, OBSERVATION
from tests.tools.formats.reading import TOOLS, cut, make_tool, named, read

CALL = 'Thought: I look.\nAction: Search\nAction Input: {"query": "x"}'

fragments = st.sampled_from(
    [
        *'{}" \n\\é:',
        *("Thought:", "Action:", "Action Input:", "Final Answer:", "Observation:", "\nObservation:", "Search\n", "Finish\n"),
        *("Action: Search\n", "Action: Finish\nAction Input: {", '{"query": "', "}", "\nThought: ", "Act", CALL),
    ]
)
texts = st.lists(fragments, max_size=14).map("".join)


@given(texts, st.lists(st.integers(0, 300), max_size=10))
def test_text_and_calls_are_the_same_however_the_text_is_cut(text: str, at: list[int]):
    assert read(REACT, cut(text, at)) == read(REACT, [text])


@given(texts)
@example(f"{CALL}\nObservation: y\n{CALL}")
@example("Action: Search\nAction Input: a\nb\nObservation: c")
def test_a_character_at_a_time_is_as_good_as_all_at_once(text: str):
    assert read(REACT, list(text)) == read(REACT, [text])


@given(st.text("ActionThought: \n{}", max_size=60).filter(lambda text: "Action:" not in text and "Thought:" not in text))
@example("Let me explain Thought: and Action: Search")
@example("Action: I will search\nfor it")
@example("Action: Search\nbut no input")
@example("Observation: it\nAction Input: {}")
@example(" " * 40 + "Thought: x")
def test_text_without_labels_at_the_beginning_of_lines_passes_unchanged(text: str):
    assert read(REACT, list(text)) == (text, [])


@pytest.mark.parametrize(
    ("text", "shown", "calls"),
    [
        (CALL, "I look.\n|", [("Search", '{"query": "x"}')]),
        (f"{CALL}\nObservation: y", "I look.\n|\nObservation: y", [("Search", '{"query": "x"}')]),
        ("Action: Search\nAction Input: Oslo\nweather\nObservation: y", "|\nObservation: y", [("Search", "Oslo\nweather")]),
        ("Action: Search\nAction Input: Oslo", "|", [("Search", "Oslo")]),
        ("Action: nobody\nAction Input: {}", "|", [("nobody", "{}")]),
        (" Action:  `Search` \n\n Action Input:\n{}", "|", [("Search", "{}")]),
        ("Action: now\nAction Input:\nObservation: y", "|\nObservation: y", [("now", "")]),
        ("Action: now\nAction Input: {\nObservation: y", "|\nObservation: y", [("now", "{")]),
        ('Action: now\nAction Input: {"a": "x"y"}', "|", [("now", '{"a": "x"y"}')]),
        ('Action: now\nAction Input: {"a": ', 'Action: now\nAction Input: {"a": ', []),
        ("Thought: I know.\nFinal Answer: 42", "I know.\n42", []),
        ("Final Answer:  a\nAction: now\nAction Input: {}", "a\nAction: now\nAction Input: {}", []),
    ],
)
def test_calls_thoughts_and_answers_are_read(text: str, shown: str, calls: list[tuple[str, str]]):
    assert read(REACT, [text]) == read(REACT, list(text)) == (shown, calls)


def test_the_answer_that_finish_gives_is_text_and_so_is_what_follows():
    answer = {"return_type": "give_answer", "final_answer": "It is\n{42}"}
    text = f"Thought: done\nAction: Finish\nAction Input: {json.dumps(answer)}\nAction: now\nAction Input: {{}}"
    assert read(REACT, list(text)) == ("done\nIt is\n{42}\nAction: now\nAction Input: {}", [])


@pytest.mark.parametrize("given", ['{"return_type": "give_up_and_restart"}', '{"final_answer": "a "quoted" word"}', "42"])
def test_a_finish_without_readable_answer_is_shown_as_it_is(given: str):
    assert read(REACT, [f"Action: Finish\nAction Input: {given}"]) == (given, [])


def test_a_tool_of_the_name_finish_is_called():
    tools = named(make_tool(FINISH, final_answer="string"))
    assert read(REACT, ["Action: Finish\nAction Input: {}"], tools) == ("|", [(FINISH, "{}")])


@pytest.mark.parametrize(
    "held", ["Thou", "Action", "Action: ", "Action: Search\n", "Action: Search\nAction In", CALL[17:-1], " "]
)
def test_text_that_may_become_a_call_is_held_back(held: str):
    assert REACT.parser(TOOLS).feed(f"so\n{held}") == ("so\n", None)


def test_what_the_model_began_to_write_of_the_result_is_told_apart_from_what_stands_behind_it():
    _, call = REACT.parser(TOOLS).feed("Action: Search\nAction Input: a\nObservation: b")
    assert call is not None and (call.arguments, call.begun, call.surplus) == ("a", OBSERVATION, " b")
    _, call = REACT.parser(TOOLS).feed(f"{CALL}\nObs")
    assert call is not None and (call.begun, call.surplus) == ("", "\nObs")


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_the_longest_call_is_the_same_however_the_text_is_cut(surplus: int, quoted: bool):
    head = "Action: f\nAction Input: " + ('{"a": "' if quoted else "")
    tail = '"}' if quoted else OBSERVATION
    text = head + "x" * (MAX_CALL_CHARS - len(head) - len(tail) + surplus) + tail + "end"
    whole = read(REACT, [text])
    assert whole == read(REACT, cut(text, [7, 1000, *range(MAX_CALL_CHARS - 40, MAX_CALL_CHARS + 5)]))
    assert len(whole[1]) == (surplus <= 0)
