import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.tools.formats.json_text import ObjectEnd, split_call, unfinished_tail

scalars = st.none() | st.booleans() | st.integers() | st.text('{}"\\a<', max_size=6)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{", max_size=3), inner, max_size=3)
)
objects = st.dictionaries(st.text("abc", max_size=3), values, max_size=3)


@given(objects, st.text("{}x", max_size=4), st.integers(0, 3))
def test_an_object_ends_where_the_library_says_however_its_text_grows(value: dict[str, Any], behind: str, lead: int):
    text = " " * lead + json.dumps(value) + behind
    _, length = json.JSONDecoder().raw_decode(text[lead:])
    scanner, found = ObjectEnd(lead), None
    for end in range(len(text) + 1):
        if (found := scanner.find(text[:end])) is not None:
            break
    assert found == ObjectEnd(lead).find(text) == (lead + length, False)
    assert end == lead + length


def test_a_stop_counts_only_outside_of_strings():
    text = '{"a": "</x>", "b": {</x>}}'
    place = text.rindex("</x>")
    assert ObjectEnd(0, stop="</x>").find(text) == ObjectEnd(0, stop="</x>", only_stop=True).find(text) == (place, True)
    growing = ObjectEnd(0, stop="</x>")
    assert [growing.find(text[:end]) for end in range(place + 4)] == [None] * (place + 4)
    assert growing.find(text) == (place, True)


def test_with_nothing_but_the_stop_an_objects_end_is_passed():
    assert ObjectEnd(0, stop="</x>", only_stop=True).find("{}}</x>") == (3, True)
    assert ObjectEnd(0, stop="</x>", only_stop=True).find("{}") is None


@given(st.text("abc-_", min_size=1, max_size=6), objects, st.sampled_from([None, 1, 4]), st.booleans())
def test_a_call_is_split_into_its_name_and_the_text_of_its_arguments(name: str, arguments: dict, indent: int | None, first: bool):
    members = {"name": name, "arguments": arguments}
    call = members if first else dict(reversed(members.items()))
    split = split_call(json.dumps(call, indent=indent), ("arguments",))
    assert split is not None and split[0] == name and json.loads(split[1]) == arguments


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ('{"name": "f"}', ("f", "{}")),
        ('{"name": "f", "arguments": {"a": 1}', ("f", '{"a": 1}')),
        ('{"name": "f", "arguments": {"a": 1}}}', ("f", '{"a": 1}')),
        ('{"name": "f", "arguments": {"a": 1,}}', ("f", '{"a": 1,}')),
        ('{"name": "f", "arguments": {"a": b}, "id": 7}', ("f", '{"a": b}, "id": 7')),
        ('{"arguments": {"a": b}, "name": "f"}', ("f", '{"a": b}, "name": "f"')),
        ('{"name": "f", "id": oops, "arguments": {}}', ("f", "{}")),
        ('{"arguments": {"name": "f"}}', None),
        ('{"name": 1, "arguments": {}}', None),
        ('{"name": "", "arguments": {}}', None),
        ("{name: f}", None),
        ("{" * 5000, None),
        ('{"name": "f", "arguments": ' + "[" * 5000, ("f", "[" * 5000)),
    ],
)
def test_what_is_no_json_is_read_as_far_as_it_goes(text: str, split: tuple[str, str] | None):
    assert split_call(text, ("arguments",)) == split


def test_the_end_of_a_text_that_may_become_what_is_wanted_is_counted():
    assert [unfinished_tail(text, "<tag>") for text in ("", "x", "x<", "<ta", "<tag", "<tag>", "<<ta")] == [0, 0, 1, 3, 4, 0, 3]
