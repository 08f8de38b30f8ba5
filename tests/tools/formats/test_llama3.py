import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.tools.formats.json_text import MAX_CALL_CHARS
from lamps_jax.tools.formats.llama3 import LLAMA3
from tests.tools.formats.reading import TOOLS, cut, read

TAG = "<|python_tag|>"
CALL = '{"name": "get_weather", "parameters": {"city": "Oslo"}}'

fragments = st.sampled_from(
    [
        *'{};" \n\\:,é|',
        *(
            TAG,
            "<|python",
            '{"name": "f", ',
            '{"name": "Search", ',
            '"parameters": ',
            "{}",
            '{"a": "',
            '"type": "function", ',
            CALL,
        ),
    ]
)
texts = st.lists(fragments, max_size=14).map("".join)


@given(texts, st.lists(st.integers(0, 300), max_size=10))
def test_text_and_calls_are_the_same_however_the_text_is_cut(text: str, at: list[int]):
    assert read(LLAMA3, cut(text, at)) == read(LLAMA3, [text])


@given(texts)
@example(f"{TAG}{CALL} ; {CALL};{TAG}  {CALL}")
def test_a_character_at_a_time_is_as_good_as_all_at_once(text: str):
    assert read(LLAMA3, list(text)) == read(LLAMA3, [text])


@given(st.text('<|python_tag{}":;name \n', max_size=60))
@example('{"name": "Bob", "age": 3}; {"parameters": {}}')
@example(f"{TAG}print(1)")
@example('text {"name": "nobody", "parameters": {}}')
@example('{"type": "function", "function": {"name": "f"}}')
@example("{" + " " * 100)
def test_text_without_calls_passes_unchanged(text: str):
    assert read(LLAMA3, list(text)) == (text, [])


@pytest.mark.parametrize(
    ("text", "shown", "names"),
    [
        (CALL, "|", ["get_weather"]),
        (TAG + CALL, "|", ["get_weather"]),
        (f"{TAG}\n{CALL}; {CALL};{CALL}\n{CALL}", "|||\n|", ["get_weather"] * 4),
        (f"Let me look. {CALL} Done; really.", "Let me look. | Done; really.", ["get_weather"]),
        (f"{CALL} ; then", "| ; then", ["get_weather"]),
        ('{"name": "nobody", "parameters": {}}', "|", ["nobody"]),
        ('a <|python_tag|>{"name": "nobody", "parameters": {}}', "a |", ["nobody"]),
        (f'{CALL}; {{"name": "nobody", "parameters": {{}}}}', "||", ["get_weather", "nobody"]),
        ('{"type": "function", "name": "now", "parameters": {}}', "|", ["now"]),
        ('{\n  "name": "now",\n  "arguments": {}\n}', "|", ["now"]),
    ],
)
def test_calls_are_found_of_any_name_where_a_call_is_expected_and_of_known_names_elsewhere(
    text: str, shown: str, names: list[str]
):
    whole = read(LLAMA3, [text])
    assert whole == read(LLAMA3, list(text))
    assert (whole[0], [name for name, _ in whole[1]]) == (shown, names)


@pytest.mark.parametrize("held", ["{", '{"na', '{"name": "ge', CALL[:-1], "<|py", TAG, TAG + " {", '{"type": "function",'])
def test_text_that_may_become_a_call_is_held_back(held: str):
    assert LLAMA3.parser(TOOLS).feed(f"so {held}") == ("so ", None)


@pytest.mark.parametrize(
    "text", ["{x", '{"a', '{"name": "nobody"', '{"name": 1', '{"name": "now", "id', "{}", "a; {b", TAG + "x"]
)
def test_text_that_cannot_become_a_call_is_not_held_back(text: str):
    parser = LLAMA3.parser(TOOLS)
    assert parser.feed(f"so {text}") == (f"so {text}", None)
    assert parser.flush() == ("", None)


def test_a_call_whose_quotes_hide_its_end_is_one_when_the_reply_ends_there():
    text = '{"name": "now", "parameters": {"a": "x"y"}}'
    assert read(LLAMA3, list(text)) == ("|", [("now", '{"a": "x"y"}')])
    assert read(LLAMA3, [text[:-3]]) == (text[:-3], [])


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_the_longest_call_is_the_same_however_the_text_is_cut(surplus: int):
    head, tail = '{"name": "f", "parameters": {"a": "', '"}}'
    text = head + "x" * (MAX_CALL_CHARS - len(head) - len(tail) + surplus) + tail + "end"
    whole = read(LLAMA3, [text])
    assert whole == read(LLAMA3, cut(text, [7, 1000, *range(MAX_CALL_CHARS - 40, MAX_CALL_CHARS + 5)]))
    assert len(whole[1]) == (surplus <= 0)
