import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.serve.request_key import CHUNK_BYTES, GROWTH, RequestKey, request_key

LONG = "The seventh sparrow sat on the sill and said so. " * 40


def key_of(fields: Any, **headers: str) -> RequestKey:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return request_key(named, json.dumps(fields).encode())


def num_alike(first: RequestKey, second: RequestKey) -> int:
    pairs = zip(first.beginnings, second.beginnings, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(first.beginnings), len(second.beginnings)))


def test_a_session_is_the_same_in_the_body_and_in_the_header():
    assert key_of({"session_id": "a"}).session == key_of({}, x_session_id="a").session is not None
    assert key_of({"session_id": "a"}).session != key_of({"session_id": "b"}).session
    assert key_of({}).session is None


def test_tenants_share_neither_sessions_nor_beginnings():
    one, other = (key_of({"prompt": LONG, "session_id": "a", "cache_salt": salt}) for salt in ("x", "y"))
    assert one.session != other.session
    assert num_alike(one, other) == 0


def test_a_conversation_that_goes_on_begins_like_itself():
    first = [{"role": "system", "content": LONG}, {"role": "user", "content": "Who?"}]
    then = [*first, {"role": "assistant", "content": "The sparrow."}, {"role": "user", "content": LONG}]
    before, after = key_of({"messages": first}), key_of({"messages": then})
    assert num_alike(before, after) == len(before.beginnings) < len(after.beginnings)


def test_content_in_parts_is_the_same_as_content_in_one():
    parts = [{"type": "text", "text": LONG[:100]}, {"type": "text", "text": LONG[100:]}]
    one = key_of({"messages": [{"role": "user", "content": LONG}]})
    assert one.beginnings == key_of({"messages": [{"content": parts, "role": "user"}]}).beginnings


def test_tools_are_read_before_messages_unless_they_are_not_shown():
    tool = {"type": "function", "function": {"name": "f", "description": LONG}}
    messages = [{"role": "user", "content": LONG}]
    plain, shown = key_of({"messages": messages}), key_of({"messages": messages, "tools": [tool]})
    assert num_alike(plain, shown) == 0
    assert plain.beginnings == key_of({"messages": messages, "tools": [tool], "tool_choice": "none"}).beginnings


def test_the_answered_calls_are_those_of_the_last_turn():
    turn = [{"role": "assistant", "tool_calls": []}, {"role": "tool", "tool_call_id": "call_1"}]
    last = [{"role": "assistant"}, {"role": "tool", "tool_call_id": "call_2"}, {"role": "tool", "tool_call_id": "call_3"}]
    assert set(key_of({"messages": turn + last}).answered_calls) == {"call_2", "call_3"}
    assert key_of({"messages": [*turn, {"role": "user", "content": "?"}]}).answered_calls == ()


def test_prompts_are_texts_tokens_or_several_of_which_the_first_counts():
    assert key_of({"prompt": LONG}).beginnings == key_of({"prompt": [LONG, "other"]}).beginnings != ()
    tokens = list(range(500))
    assert key_of({"prompt": tokens}).beginnings == key_of({"prompt": [tokens, [1]]}).beginnings != ()


ODD = (b"", b"{", b"[1]", b"null", b"\xff", b'{"messages": 3, "session_id": 4, "tools": {}}', b"[" * 10**5)


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_what_is_no_request_has_a_key_without_anything(body: bytes):
    key = request_key([], body)
    assert (key.session, key.answered_calls, key.beginnings) == (None, (), ())


def test_a_surrogate_that_stands_alone_is_no_error():
    assert request_key([], b'{"session_id": "\\ud800", "prompt": "\\ud800"}').session is not None


def test_a_long_text_has_few_digests_and_a_short_one_none():
    assert len(key_of({"prompt": "x" * (CHUNK_BYTES - 1)}).beginnings) == 0
    assert len(key_of({"prompt": "x" * 2**20}).beginnings) < 200


def covered(num_digests: int) -> int:
    """Bytes of text that so many digests stand for."""
    end = 0
    for _ in range(num_digests):
        end += max(CHUNK_BYTES, end // GROWTH)
    return end


@given(st.text("ab", max_size=3000), st.text("ab", max_size=300), st.text("ab", max_size=300))
def test_what_two_texts_share_is_found_but_for_a_sixteenth_and_never_more(common: str, one: str, other: str):
    num = num_alike(key_of({"prompt": common + one}), key_of({"prompt": common + other}))
    assert (common + one)[: covered(num)] == (common + other)[: covered(num)]
    assert covered(num + 1) > len(common)
