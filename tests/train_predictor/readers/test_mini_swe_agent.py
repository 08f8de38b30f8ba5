"""Calls of mini-swe-agent become the sessions that they were made in."""

from pathlib import Path
from typing import Any

import pytest

from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Segment
from tests.sim.published import published
from tests.train_predictor.readers.files import lines, words


def call(timestamp_us: int, read: str, written: str, session: str = "s") -> dict[str, Any]:
    return {"timestamp": timestamp_us, "input": read, "output": written, "session_id": session}


def test_calls_of_mini_swe_agent_are_sessions_in_order_of_time(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        call(1_000_000, "Fix it.\n", "ls"),
        call(9_000_000, "Fix it.\n<out>a.py</out>\n<out>done</out>\n", "submit"),
        call(2_000_000, "Other.\n", "pwd", "t"),
        call(4_000_000, "Fix it.\n<out>a.py</out>\n", "sed a.py"),
    )
    first, second = read_any(path)
    assert first.prompt == "Fix it.\n"
    assert first.segments == (
        Segment("ls", tool="shell", returned_text="<out>a.py</out>\n"),
        Segment("sed a.py", tool="shell", returned_text="<out>done</out>\n"),
        Segment("submit"),
    )
    assert (second.prompt, second.segments) == ("Other.\n", (Segment("pwd"),))
    assert first.id != second.id


def test_an_input_that_does_not_go_on_from_the_last_begins_a_conversation(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", call(1, "A", "a"), call(2, "AB", "b"), call(3, "C", "c"), call(4, "C", "again"))
    assert [(each.prompt, len(each.segments)) for each in read_any(path)] == [("A", 2), ("C", 1), ("C", 1)]


def test_what_the_model_wrote_is_not_taken_for_what_a_command_returned(tmp_path: Path) -> None:
    (conversation,) = read_any(lines(tmp_path / "a.jsonl", call(1, "A", "ls"), call(2, "Als<out>x</out>", "end")))
    assert conversation.segments[0] == Segment("ls", tool="shell", returned_text="<out>x</out>")


@pytest.mark.parametrize(("field", "value"), [("timestamp", "now"), ("input", None), ("output", 3), ("session_id", 1)])
def test_a_malformed_call_of_mini_swe_agent_is_named_with_line_and_field(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 2: {field} must be .*, got {value!r}"):
        read_any(lines(tmp_path / "a.jsonl", call(1, "A", "a"), call(2, "AB", "b") | {field: value}))


def test_published_mini_swe_agent_calls_are_twenty_sessions() -> None:
    conversations = read_any(published("text/miniswe_agent_calls.jsonl.gz"))
    lengths = words(conversations)
    assert (len(conversations), len(lengths)) == (20, 402)
    assert lengths[0] > 0
    for conversation in conversations:
        assert all(segment.tool == "shell" and segment.returned_text for segment in conversation.segments[:-1])
