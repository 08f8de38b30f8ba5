import json
from typing import Any

import pytest

from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.formats.detect import format_named
from lamps_jax.tools.formats.hermes import HERMES
from lamps_jax.tools.formats.json_format import JsonFormat
from lamps_jax.tools.formats.llama3 import LLAMA3
from lamps_jax.tools.tool import Tool, ToolError
from tests.tools.formats.reading import NOW, SEARCH, WEATHER, make_tool, named, read
from tests.tools.formats.walks import allows, tokenizer, walk

NESTED = Tool(
    "book-trip.v2",
    "",
    {
        "type": "object",
        "properties": {"legs": {"type": "array", "items": {"$ref": "#/$defs/leg"}, "maxItems": 2}, "class": {"enum": ["a", 1]}},
        "required": ["legs"],
        "$defs": {"leg": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}},
    },
    str,
)
TOOLS = [WEATHER, SEARCH, NOW, NESTED]
TAGS = ("<tool_call>", "</tool_call>", "<|python_tag|>")
TOKENIZERS = {
    "plain": tokenizer(),
    "added": tokenizer(*TAGS),
    "special": tokenizer(*TAGS, special=True),
}


def dumped(value: Any) -> str:
    """JSON as the templates' filter writes it."""
    return json.dumps(value, ensure_ascii=False)


def written(call_format: JsonFormat, *calls: tuple[str, Any]) -> str:
    """Calls as chat templates write them."""
    key = "arguments" if call_format is HERMES else "parameters"
    objects = [f'{{"name": "{name}", "{key}": {dumped(arguments)}}}' for name, arguments in calls]
    return "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in objects) if call_format is HERMES else "; ".join(objects)


@pytest.fixture(params=TOKENIZERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[HERMES, LLAMA3], ids=["hermes", "llama3"])
def call_format(request: pytest.FixtureRequest) -> JsonFormat:
    return request.param


def bound(call_format: JsonFormat, kind: str) -> Any:
    tokens = TOKENIZERS[kind]
    tokens.hf.chat_template = "{{ tools }}"
    return format_named(call_format.name, tokens)


@pytest.mark.parametrize("parallel", [False, True])
def test_whatever_the_grammar_allows_is_calls_with_valid_arguments(call_format: JsonFormat, kind: str, parallel: bool):
    grammar = bound(call_format, kind).grammar(TOOLS, parallel=parallel)
    num_calls = set()
    for seed in range(20):
        text = walk(grammar, TOKENIZERS[kind], seed=seed)
        assert text is not None
        shown, calls = read(call_format, [text], named(*TOOLS))
        assert shown.strip("|\n") == "" and calls
        num_calls.add(len(calls))
        for name, arguments in calls:
            call_format.parse_arguments(named(*TOOLS)[name], WrittenCall(name, arguments))
    assert num_calls == {1} if not parallel else max(num_calls) > 1


ONE, TWO = ("get_weather", {"city": 'O "s" {lo}', "days": 2}), ("book-trip.v2", {"legs": [{"to": "é"}], "class": 1})


def test_calls_as_chat_templates_write_them_are_allowed(call_format: JsonFormat, kind: str):
    tokens, tools = TOKENIZERS[kind], bound(call_format, kind)
    for call in (ONE, TWO, ("now", {}), ("Search", {"query": ""})):
        assert allows(tools.grammar(TOOLS, parallel=False), written(call_format, call), tokens)
        assert read(call_format, [written(call_format, call)])[1] == [(call[0], dumped(call[1]))]
    assert allows(tools.grammar(TOOLS, parallel=True), written(call_format, ONE, TWO, ONE), tokens)
    assert len(read(call_format, [written(call_format, ONE, TWO, ONE)])[1]) == 3


@pytest.mark.parametrize(
    "call",
    [
        ("nobody", {}),
        ("get_weather", {}),
        ("get_weather", {"city": 1}),
        ("get_weather", {"city": "a", "days": "many"}),
        ("get_weather", {"city": "a", "more": 1}),
        ("book-trip.v2", {"legs": [{}]}),
        ("book-trip.v2", {"legs": [], "class": "b"}),
        ("now", []),
    ],
)
def test_calls_that_would_be_refused_are_not_allowed(call_format: JsonFormat, kind: str, call: tuple[str, Any]):
    assert not allows(bound(call_format, kind).grammar(TOOLS, parallel=True), written(call_format, call), TOKENIZERS[kind])


def test_text_or_a_second_call_is_not_allowed(call_format: JsonFormat, kind: str):
    one = bound(call_format, kind).grammar(TOOLS, parallel=False)
    for text in (
        "",
        "hello",
        "so " + written(call_format, ONE),
        written(call_format, ONE) + " x",
        written(call_format, ONE, ONE),
    ):
        assert not allows(one, text, TOKENIZERS[kind])


def test_without_tools_there_is_nothing_to_call(call_format: JsonFormat):
    with pytest.raises(ValueError, match="no tools"):
        call_format.grammar([], parallel=True)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"city": "Oslo", "days": 2}', {"city": "Oslo", "days": 2}),
        ('"{\\"city\\": \\"Oslo\\"}"', {"city": "Oslo"}),
        ('{"city": "a\nb"}', {"city": "a\nb"}),
    ],
)
def test_arguments_are_read(call_format: JsonFormat, text: str, arguments: dict[str, Any]):
    assert call_format.parse_arguments(WEATHER, WrittenCall("get_weather", text)) == arguments


def test_no_arguments_are_none(call_format: JsonFormat):
    assert call_format.parse_arguments(NOW, WrittenCall("now", "")) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"city": "a" "days": 2}', r"the arguments of get_weather are not valid JSON: Expecting ',' .* at character 14, near"),
        ('{"city": NaN}', "not valid JSON: NaN is not JSON"),
        ("[1]", "must be one JSON object"),
        ("{}", "'city' is a required property"),
        ('{"city": 1}', "city: 1 is not of type 'string'"),
        ('{"city": "a", "x": 1}', "'x' was unexpected"),
    ],
)
def test_arguments_that_are_wrong_are_refused_with_what_is_wrong(call_format: JsonFormat, text: str, complaint: str):
    with pytest.raises(ToolError, match=complaint):
        call_format.parse_arguments(WEATHER, WrittenCall("get_weather", text))


def test_the_template_says_results_and_lists_tools(call_format: JsonFormat):
    assert call_format.result_text(WrittenCall("f", "{}"), "x") is None
    assert call_format.tool_prompt([{"function": {"name": "f"}}]) == "" and call_format.lists_tools


def test_a_tool_that_is_called_like_a_keyword_is_quoted(call_format: JsonFormat):
    tool = make_tool("start.call-x")
    assert allows(call_format.grammar([tool], parallel=False), written(call_format, (tool.name, {})), tokenizer())
