"""Answers of ToolBench and the conversations that ToolLLaMA was trained on say the same."""

import tarfile
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Conversation, Segment
from tests.sim.published import published
from tests.train_predictor.readers.files import document, message, words


def answer(*messages: dict[str, Any], valid: bool = True) -> dict[str, Any]:
    chains = [list(messages[:3]), list(messages)]
    return {"win": valid, "tree": {}, "answer_generation": {"valid_data": valid, "train_messages": chains, "query": "Rome?"}}


def called(name: str, arguments: str, content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "function_call": {"name": name, "arguments": arguments}}


ANSWER = answer(
    message("system", "You are AutoGPT."),
    message("user", "\nRome?\nBegin!\n"),
    called("weather_for_x", "{}"),
    {"role": "function", "name": "weather_for_x", "content": "rain"},
    message("user", "\nThis is not the first time you try this task.") | {"valid": False},
    message("assistant", "I answer."),
    called("Finish", '{"final_answer": "rain"}'),
)
ANSWER_READ = (
    Segment(
        "Thought: \nAction: weather_for_x\nAction Input: {}",
        tool="weather_for_x",
        returned_text="\nrain\n\nThis is not the first time you try this task.\n",
    ),
    Segment('Thought: I answer.\nAction: Finish\nAction Input: {"final_answer": "rain"}'),
)
TOOLLLAMA = {
    "id": "Step 6: Rome?",
    "conversations": [
        {"from": "system", "value": "You are AutoGPT."},
        {"from": "user", "value": "\nRome?\nBegin!\n"},
        {"from": "assistant", "value": "\nThought: \nAction: weather_for_x\nAction Input: {}"},
        {"from": "function", "value": "rain"},
        {"from": "user", "value": "\nThis is not the first time you try this task."},
        {"from": "assistant", "value": '\nThought: I answer.\nAction: Finish\nAction Input: {"final_answer": "rain"}'},
    ],
}


def test_the_last_chain_of_a_toolbench_answer_is_read_as_toolllama_writes_it(tmp_path: Path) -> None:
    (conversation,) = read_any(document(tmp_path / "10_ChatGPT_DFS_woFilter_w2.json", ANSWER))
    assert conversation == Conversation("\nRome?\nBegin!\n\n", ANSWER_READ, id="10_ChatGPT_DFS_woFilter_w2")


def test_an_answer_and_the_toolllama_conversation_made_of_it_are_the_same(tmp_path: Path) -> None:
    (raw,) = read_any(document(tmp_path / "a.json", ANSWER, indent=None))
    (made,) = read_any(document(tmp_path / "b.json", [TOOLLLAMA]))
    assert (raw.prompt, raw.segments) == (made.prompt, made.segments)


def test_a_thought_beside_a_call_is_kept(tmp_path: Path) -> None:
    content = answer(message("user", "Rome?"), called("f", "{}", "Action: is needed."), message("function", "1"))
    (conversation,) = read_any(document(tmp_path / "a.json", content))
    text = "Thought: Action: is needed.\nAction: f\nAction Input: {}"
    assert conversation.segments == (Segment(text, tool="f", returned_text="\n1\n"),)


def test_a_directory_of_answers_is_read_in_order_without_those_that_are_invalid(tmp_path: Path) -> None:
    (tmp_path / "G1").mkdir()
    for name in ("G1/2.json", "G1/1.json", "3.json"):
        document(tmp_path / name, ANSWER)
    document(tmp_path / "G1/4.json", {"answer_generation": {"valid_data": False, "chain": []}})
    (tmp_path / "G1/.DS_Store").write_bytes(b"\x00\xff")
    (tmp_path / "G1/._1.json").write_bytes(b"\x00\xff")
    (tmp_path / "notes.txt").write_text("notes")
    assert [conversation.id for conversation in read_any(tmp_path)] == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"answer_generation": []}, r"answer_generation must be an object, got \[\]"),
        ({"answer_generation": {"valid_data": True}}, r"answer_generation\.train_messages must be .*, got None; set valid_data"),
        (
            {"answer_generation": {"train_messages": [3]}},
            r"answer_generation\.train_messages\[0\] must be a list .*, got 3",
        ),
        ({"answer_generation": {"train_messages": [[{}]]}}, r"answer_generation\.train_messages\[0\]\[0\]\.role must be text"),
    ],
)
def test_a_malformed_answer_is_named_with_its_field(tmp_path: Path, content: object, error: str) -> None:
    with pytest.raises(ValueError, match=r"a\.json: " + error):
        read_any(document(tmp_path / "a.json", content))


def test_of_the_steps_towards_an_answer_the_longest_toolllama_conversation_is_read(tmp_path: Path) -> None:
    step = {"id": "Step 2: Rome?", "conversations": TOOLLLAMA["conversations"][:3]}
    other = {"id": "Step 2: Oslo?", "conversations": TOOLLLAMA["conversations"][:3]}
    unnamed = {"conversations": TOOLLLAMA["conversations"][:3]}
    read = read_any(document(tmp_path / "a.json", [step, TOOLLLAMA, other, step, unnamed, unnamed]))
    assert [(conversation.id, len(conversation.segments)) for conversation in read] == [
        ("Step 6: Rome?", 2),
        ("Step 2: Oslo?", 1),
        ("", 1),
        ("", 1),
    ]


def test_a_malformed_toolllama_conversation_is_named_with_entry_and_field(tmp_path: Path) -> None:
    wrong = {"id": "Step 2: a", "conversations": [{"from": "user", "value": None}]}
    with pytest.raises(ValueError, match=r"a\.json, entry 1: conversations\[0\]\.value must be text, got None"):
        read_any(document(tmp_path / "a.json", [TOOLLLAMA, wrong]))


def test_published_toolbench_answers_are_read_from_their_directory(tmp_path: Path) -> None:
    with tarfile.open(published("text/toolbench_data_example.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    conversations = read_any(tmp_path / "data_example" / "answer")
    assert (len(conversations), len(words(conversations))) == (13, 50)
    for conversation in conversations:
        assert conversation.prompt and conversation.prompt.strip() and "AutoGPT" not in conversation.prompt
        assert all(segment.text and segment.text.startswith("Thought: ") for segment in conversation.segments)
        assert all(segment.tool not in (None, "Finish") for segment in conversation.segments[:-1])
        assert conversation.segments[-1].tool is None
