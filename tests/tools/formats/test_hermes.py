import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.tools.formats.hermes import HERMES
from lamps_jax.tools.formats.json_text import MAX_CALL_CHARS
from tests.tools.formats.reading import TOOLS, cut, read

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'

fragments = st.sampled_from(
    [
        *'<>{}" \n\\:,é/',
        *("<tool_call>", "</tool_call>", "<tool", '{"name": "f", ', '"arguments": ', "{}", '{"a": "', "</tool", '"}}', CALL),
    ]
)
texts = st.lists(fragments, max_size=14).map("".join)


@given(texts, st.lists(st.integers(0, 300), max_size=10))
def test_text_and_calls_are_the_same_however_the_text_is_cut(text: str, at: list[int]):
    assert read(HERMES, cut(text, at)) == read(HERMES, [text])


@given(texts)
@example(f"a {CALL}\n{CALL} b")
@example('<tool_call>{"name": "f", "arguments": {"a": "x"y}}</tool_call>')
def test_a_character_at_a_time_is_as_good_as_all_at_once(text: str):
    assert read(HERMES, list(text)) == read(HERMES, [text])


@given(st.text('<tool_ca>{}" \n', max_size=60).filter(lambda text: "<tool_call>" not in text))
def test_text_without_calls_passes_unchanged(text: str):
    assert read(HERMES, list(text)) == (text, [])


def test_several_calls_of_any_name_are_found_and_the_text_around_them():
    other = '<tool_call>{"arguments": {"x": [1, {"y": "}"}]}, "name": "nobody"}</tool_call>'
    text = f"I look.\n{CALL}\n{other} Done."
    assert read(HERMES, [text]) == (
        "I look.\n|\n| Done.",
        [("get_weather", '{"city": "Oslo"}'), ("nobody", '{"x": [1, {"y": "}"}]}')],
    )


def test_a_tag_in_a_string_does_not_end_a_call():
    arguments = {"city": '</tool_call> " </tool_call>'}
    text = f'<tool_call>{{"name": "get_weather", "arguments": {json.dumps(arguments)}}}</tool_call>'
    (call,) = read(HERMES, list(text))[1]
    assert json.loads(call[1]) == arguments


@pytest.mark.parametrize(
    "text", ["<tool_call> what?", "the <tool_call> tag {}", "<tool_call>[1]</tool_call>", '<tool_call>{"a": 1}</tool_call> b']
)
def test_a_tag_that_no_call_follows_is_text_at_once(text: str):
    parser = HERMES.parser(TOOLS)
    assert parser.feed(text) == (text, None)
    assert parser.flush() == ("", None)


@pytest.mark.parametrize("held", ["<", "<tool_cal", "<tool_call>", "<tool_call> \n", '<tool_call>{"name": "f"', CALL[:-1]])
def test_text_that_may_become_a_call_is_held_back(held: str):
    assert HERMES.parser(TOOLS).feed(f"so {held}") == ("so ", None)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('<tool_call>{"name": "f", "arguments": {"a": 1}', '{"a": 1}'),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}', '{"a": 1}'),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>', '{"a": 1}'),
        ('<tool_call>{"name": "f", "arguments": {"a": "say "no""}}</tool_call>', '{"a": "say "no""}'),
        ('<tool_call>{"name": "f", "arguments": {"a": "x"y}}</tool_call>\n', '{"a": "x"y}'),
    ],
)
def test_a_call_with_slips_in_its_braces_or_quotes_is_one_in_the_end(text: str, arguments: str):
    expected = [] if text.endswith("1}") else [("f", arguments)]
    assert read(HERMES, list(text))[1] == read(HERMES, [text])[1] == expected


def test_a_call_that_the_end_cuts_short_is_text():
    assert read(HERMES, [CALL[:-20]]) == (CALL[:-20], [])


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_the_longest_call_is_the_same_however_the_text_is_cut(surplus: int):
    head, tail = '<tool_call>{"name": "f", "arguments": {"a": "', '"}}</tool_call>'
    text = head + "x" * (MAX_CALL_CHARS - len(head) - len(tail) + surplus) + tail + "end"
    whole = read(HERMES, [text])
    assert whole == read(HERMES, cut(text, [7, 1000, *range(MAX_CALL_CHARS - 40, MAX_CALL_CHARS + 5)]))
    assert len(whole[1]) == (surplus <= 0)
    assert whole[0] == ("|end" if surplus <= 0 else text)


def test_what_stands_behind_a_call_is_surplus():
    _, call = HERMES.parser(TOOLS).feed(CALL + "\n<tool")
    assert call is not None and (call.surplus, call.begun) == ("\n<tool", "")
