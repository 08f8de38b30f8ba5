"""Logs of every known format are told apart by their fields; of any other, an error lists those that are known."""

import gzip
import json
from pathlib import Path

import pytest

from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Conversation, Segment, write_conversations
from tests.sim.published import published
from tests.train_predictor.readers.files import CHAT, CHAT_READ, KNOWN, document


def test_the_projects_own_records_are_read(tmp_path: Path) -> None:
    write_conversations(tmp_path / "a.jsonl.gz", [CHAT_READ, Conversation(None, (Segment(num_tokens=3),))])
    assert read_any(tmp_path / "a.jsonl.gz") == [CHAT_READ, Conversation(None, (Segment(num_tokens=3),))]


BFCL = {"id": "simple_0", "question": [[{"role": "user", "content": "Hi"}]], "function": []}


@pytest.mark.parametrize("content", [BFCL, [BFCL], {}, [{"api_list": [], "query": "Rome?"}]])
@pytest.mark.parametrize("indent", [2, None])
def test_a_file_of_no_known_format_is_told_what_is_known(tmp_path: Path, content: object, indent: int | None) -> None:
    with pytest.raises(ValueError, match=rf"a\.json.*: has fields .*of no known format; known are: {KNOWN}"):
        read_any(document(tmp_path / "a.json", content, indent=indent))


UNREADABLE_TEXTS = (
    "id,prompt\n1,Hi\n",
    '{"messages": [\n',
    '{"messages": [}\n{}\n',
    "[" * 100_000,
    '{"segments": %s}' % ("1" * 5000),
)


@pytest.mark.parametrize("content", ['"text"', "[1, 2]", *UNREADABLE_TEXTS])
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


@pytest.mark.parametrize("name", ["BFCL_v4_live_simple.json", "BFCL_v4_multi_turn_base.json", "stabletoolbench_G1.json"])
def test_published_questions_without_answers_are_of_no_known_format(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*of no known format; known are: {KNOWN}"):
        read_any(published(f"text/{name}"))
