import json
from typing import Any

import pytest

from lamps_jax.tools.formats.call_format import AnsweredCall, Turn, WrittenCall
from lamps_jax.tools.formats.react import REACT
from lamps_jax.tools.formats.react_parser import OBSERVATION
from lamps_jax.tools.tool import Tool, ToolError
from tests.tools.formats.reading import NOW, SEARCH, WEATHER, make_tool, named, read
from tests.tools.formats.walks import allows, tokenizer, walk

TOOLS = [WEATHER, SEARCH, NOW]
COUNT = make_tool("count", number="integer")


@pytest.mark.parametrize(
    ("tool", "text", "arguments"),
    [
        (WEATHER, '{"city": "Oslo", "days": 2}', {"city": "Oslo", "days": 2}),
        (WEATHER, "Oslo", {"city": "Oslo"}),
        (SEARCH, 'what "rain" is', {"query": 'what "rain" is'}),
        (SEARCH, '"rain"', {"query": "rain"}),
        (SEARCH, "42", {"query": "42"}),
        (COUNT, "42", {"number": 42}),
        (NOW, "", {}),
        (NOW, "None", {}),
        (NOW, "{}", {}),
    ],
)
def test_an_input_is_an_object_or_the_one_argument(tool: Tool, text: str, arguments: dict[str, Any]):
    assert REACT.parse_arguments(tool, WrittenCall(tool.name, text)) == arguments


@pytest.mark.parametrize(
    ("tool", "text", "complaint"),
    [
        (WEATHER, '{"city": Oslo}', r"the Action Input of get_weather .* Expecting value at character 10"),
        (make_tool("two", a="string", b="string"), "x", "must be a JSON object with a, b, got 'x'"),
        (NOW, "now", "must be a JSON object without anything in it"),
        (COUNT, "many", "number: 'many' is not of type 'integer'"),
        (SEARCH, "{}", "'query' is a required property"),
    ],
)
def test_an_input_that_is_wrong_is_refused_with_what_is_wrong(tool: Tool, text: str, complaint: str):
    with pytest.raises(ToolError, match=complaint):
        REACT.parse_arguments(tool, WrittenCall(tool.name, text))


def test_a_result_is_an_observation_behind_which_the_model_thinks_on():
    assert REACT.result_text(WrittenCall("f", "{}"), "a\nb\n") == f"{OBSERVATION} a\nb\nThought:"


ONE = AnsweredCall("1", "Search", '{"query": "rain"}', "Water")
TWO = AnsweredCall("2", "now", "", "noon")
FIRST = 'Thought: I look.\nAction: Search\nAction Input: {"query": "rain"}\nObservation: Water'
SECOND = "Action: now\nAction Input: {}\nObservation: noon"


@pytest.mark.parametrize(
    ("turns", "messages"),
    [
        ([Turn("assistant", "Hi")], [("assistant", "Hi")]),
        ([Turn("assistant", "I look.", (ONE,))], [("assistant", f"{FIRST}\nThought:", True)]),
        (
            [Turn("assistant", "I look.\n", (ONE,)), Turn("assistant", None, (TWO,))],
            [("assistant", f"{FIRST}\n{SECOND}\nThought:", True)],
        ),
        ([Turn("assistant", "I look.", (ONE, TWO))], [("assistant", f"{FIRST}\n{SECOND}\nThought:", True)]),
        (
            [Turn("assistant", "I look.", (ONE,)), Turn("assistant", "It is wet."), Turn("user", "Thanks")],
            [("assistant", f"{FIRST}\nFinal Answer: It is wet."), ("user", "Thanks")],
        ),
        ([Turn("assistant", "I look.", (ONE,)), Turn("user", "Stop")], [("assistant", FIRST), ("user", "Stop")]),
    ],
)
def test_calls_and_results_are_text_of_one_message(turns: list[Turn], messages: list[tuple]):
    shaped = REACT.template_messages([Turn("user", "?"), *turns])
    said = [tuple(message.values()) for message in shaped]
    assert said == [("user", "?"), *messages]


def test_the_system_message_says_which_tools_there_are_and_how_they_are_called():
    definitions = [
        {"type": "function", "function": {"name": "get_weather", "description": "Tells {it}.", "parameters": WEATHER.parameters}},
        {"type": "function", "function": {"name": "now"}},
    ]
    prompt = REACT.tool_prompt(definitions)
    properties = json.dumps(WEATHER.parameters["properties"])
    assert f"get_weather: Tells {{it}}. Arguments: {properties} Required: city\nnow: Arguments: {{}}\n" in prompt
    assert "get_weather, now" in prompt
    for label in ("Thought:", "Action:", "Action Input:", '"Observation:"', "Final Answer:"):
        assert label in prompt
    assert REACT.tool_prompt([]) == ""


def test_whatever_the_grammar_allows_is_a_call_with_valid_arguments():
    grammar = REACT.grammar(TOOLS, parallel=True)
    for seed in range(30):
        text = walk(grammar, tokenizer(), seed=seed)
        assert text is not None
        _, calls = read(REACT, [text])
        ((name, arguments),) = calls
        REACT.parse_arguments(named(*TOOLS)[name], WrittenCall(name, arguments))


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ('Action: Search\nAction Input: {"query": "x"}', True),
        (' Thought: I look: now.\nAction: get_weather\nAction Input: {"city": "Oslo", "days": 1}', True),
        ("Action: now\nAction Input: {}", True),
        ("Action: nobody\nAction Input: {}", False),
        ("Action: Search\nAction Input: {}", False),
        ("Action: Search\nAction Input: x", False),
        ("Thought: a\nThought: b\nAction: now\nAction Input: {}", False),
        ("Thought: a\nFinal Answer: b", False),
        ("Action: now\nAction Input: {}\nObservation: x", False),
    ],
)
def test_the_grammar_allows_a_thought_and_a_call(text: str, is_allowed: bool):
    assert allows(REACT.grammar(TOOLS, parallel=False), text, tokenizer()) is is_allowed
    assert not is_allowed or len(read(REACT, [text])[1]) == 1


def test_without_tools_there_is_nothing_to_call():
    with pytest.raises(ValueError, match="no tools"):
        REACT.grammar([], parallel=False)
