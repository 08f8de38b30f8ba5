"""Chats of the OpenAI API become conversations, whatever form their messages have."""

from pathlib import Path

import pytest

from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Conversation, Segment
from tests.train_predictor.readers.files import CHAT, CHAT_READ, KNOWN, document, lines, message


def test_chats_are_read_whose_text_is_content_and_calls_without_the_system(tmp_path: Path) -> None:
    assert read_any(lines(tmp_path / "a.jsonl", CHAT, CHAT)) == [CHAT_READ] * 2


def test_a_file_of_one_chat_over_many_lines_and_a_list_of_chats_are_read_too(tmp_path: Path) -> None:
    assert read_any(document(tmp_path / "one.json", CHAT)) == [CHAT_READ]
    for indent in (2, None):
        assert read_any(document(tmp_path / "list.json", [CHAT, CHAT], indent=indent)) == [CHAT_READ] * 2


def test_a_person_who_speaks_again_is_a_call_that_returns(tmp_path: Path) -> None:
    turns = [message("user", "Hi"), message("assistant", "Hello"), message("user", "Bye"), message("assistant", "See you")]
    (conversation,) = read_any(lines(tmp_path / "a.jsonl", {"messages": turns}))
    assert conversation.segments == (Segment("Hello", tool="user", returned_text="\nBye\n"), Segment("See you"))
    assert conversation.id == ""


def test_messages_of_the_model_one_after_another_are_one_segment(tmp_path: Path) -> None:
    turns = [message("user", "Hi"), message("assistant", "I look it up."), message("assistant", None, ("f", "{}"), ("g", ""))]
    (conversation,) = read_any(lines(tmp_path / "a.jsonl", {"messages": turns}))
    assert conversation.segments == (Segment("I look it up.\nf({})\ng()", tool="f"),)


def test_parts_of_content_old_calls_and_arguments_that_are_objects_are_read(tmp_path: Path) -> None:
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": {}}}
    parts = [{"type": "text", "text": "Look at "}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "this"}]
    turns = [{"role": "user", "content": parts}, old, {"role": "function", "name": "f", "content": "2"}]
    (conversation,) = read_any(lines(tmp_path / "a.jsonl", {"id": None, "messages": turns}))
    assert conversation == Conversation("Look at this\n", (Segment("f({})", tool="f", returned_text="\n2\n"),))


def test_a_chat_in_which_the_model_says_nothing_is_left_out(tmp_path: Path) -> None:
    silent = {"messages": [message("user", "Hi")]}
    assert read_any(lines(tmp_path / "a.jsonl", silent, CHAT)) == [CHAT_READ]
    with pytest.raises(ValueError, match=rf"b\.jsonl holds no conversation in which a model writes anything.*{KNOWN}"):
        read_any(lines(tmp_path / "b.jsonl", silent))


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({"id": "x"}, r"messages must be a list of objects, got None"),
        ({"messages": ["Hi"]}, r"messages\[0\] must be an object, got 'Hi'"),
        ({"messages": [{"content": "Hi"}]}, r"messages\[0\]\.role must be text, got None"),
        ({"messages": [message("human", "Hi")]}, r"role must be one of assistant, .*, got 'human'; rename it"),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\]\.content must be text, .*, got 3"),
        (
            {"messages": [message("assistant", None, ("", ""))]},
            r"messages\[0\]\.tool_calls\[0\]\.function\.name must say .*, got ''",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": {"a": 1}}]}, r"messages\[0\]: tool_calls must be a list"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            r"messages\[0\]\.tool_calls\[0\]\.function must be an object .*, got None",
        ),
    ],
)
def test_a_malformed_chat_is_named_with_line_and_field(tmp_path: Path, record: object, error: str) -> None:
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: " + error):
        read_any(lines(tmp_path / "a.jsonl", CHAT, record))
