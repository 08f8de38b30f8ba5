"""Logs of every known format become conversations; of any other, an error that lists those that are known."""

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Conversation, Segment, write_conversations
from tests.sim.published import published

KNOWN = r"records .*OpenAI chats .*mini-swe-agent calls .*ToolBench answers .*ToolLLaMA conversations"


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def document(path: Path, content: object, *, indent: int | None = 2) -> Path:
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    return path


def message(role: str, content: str | None, *calls: tuple[str, str]) -> dict[str, Any]:
    functions = [{"id": "1", "type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
    return {"role": role, "content": content} | ({"tool_calls": functions} if calls else {})


CHAT = {
    "id": "c",
    "messages": [
        message("system", "Be brief."),
        message("user", "Weather in Rome?"),
        message("assistant", None, ("weather", '{"city": "Rome"}')),
        message("tool", "rain"),
        message("assistant", "It rains."),
    ],
}
CHAT_READ = Conversation(
    "Weather in Rome?\n",
    (Segment('weather({"city": "Rome"})', tool="weather", returned_text="\nrain\n"), Segment("It rains.")),
    id="c",
)


def test_the_projects_own_records_are_read(tmp_path: Path) -> None:
    write_conversations(tmp_path / "a.jsonl.gz", [CHAT_READ, Conversation(None, (Segment(num_tokens=3),))])
    assert read_any(tmp_path / "a.jsonl.gz") == [CHAT_READ, Conversation(None, (Segment(num_tokens=3),))]


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


BFCL = {"id": "simple_0", "question": [[{"role": "user", "content": "Hi"}]], "function": []}


@pytest.mark.parametrize("content", [BFCL, [BFCL], {}, [{"api_list": [], "query": "Rome?"}]])
@pytest.mark.parametrize("indent", [2, None])
def test_a_file_of_no_known_format_is_told_what_is_known(tmp_path: Path, content: object, indent: int | None) -> None:
    with pytest.raises(ValueError, match=rf"a\.json.*: has fields .*of no known format; known are: {KNOWN}"):
        read_any(document(tmp_path / "a.json", content, indent=indent))


@pytest.mark.parametrize("content", ["id,prompt\n1,Hi\n", '"text"', "[1, 2]", '{"messages": [\n', '{"messages": [}\n{}\n'])
def test_a_file_that_holds_no_objects_is_told_what_is_known(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=rf"a\.json[,:].*{KNOWN}"):
        read_any(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["", " \n\n", "[]"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.json is empty"):
        read_any(tmp_path / "a.json")


def test_a_directory_without_logs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"holds no conversation.*{KNOWN}"):
        read_any(tmp_path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "plain.json.gz").write_bytes(b"{}")
    (tmp_path / "short.json.gz").write_bytes(gzip.compress(json.dumps([CHAT] * 9, indent=1).encode())[:-9])
    for name in ("binary.json", "plain.json.gz", "short.json.gz", "absent.json"):
        with pytest.raises(ValueError, match=f"cannot read .*{name}"):
            read_any(tmp_path / name)


def words(conversations: list[Conversation]) -> list[int]:
    return sorted(len((segment.text or "").split()) for conversation in conversations for segment in conversation.segments)


def test_published_mini_swe_agent_calls_are_twenty_sessions() -> None:
    conversations = read_any(published("text/miniswe_agent_calls.jsonl.gz"))
    lengths = words(conversations)
    assert (len(conversations), len(lengths)) == (20, 402)
    assert lengths[0] > 0
    for conversation in conversations:
        assert all(segment.tool == "shell" and segment.returned_text for segment in conversation.segments[:-1])


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


@pytest.mark.parametrize("name", ["BFCL_v4_live_simple.json", "BFCL_v4_multi_turn_base.json", "stabletoolbench_G1.json"])
def test_published_questions_without_answers_are_of_no_known_format(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*of no known format; known are: {KNOWN}"):
        read_any(published(f"text/{name}"))
