"""Records of conversations: what is read is what was written, and a malformed line is named."""

import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.train_predictor.records import Conversation, Segment, from_record, read_conversations, write_conversations

CALL = {"text": "Search[weather]", "tool": "search", "api_duration_s": 0.7, "returned_text": "rain", "returned_tokens": 1}
END = {"text": "It rains.", "tool": None}

CONVERSATIONS = [
    Conversation("What is 2+2?", (Segment("4", num_tokens=1),), id="a"),
    Conversation(
        "Wie wird’s?", (Segment("Schön ☀", tool="weather", api_duration_s=1, returned_text=""), Segment("Gut.")), "b", 3
    ),
    Conversation(None, (Segment(num_tokens=30, tool="x", returned_tokens=0), Segment(num_tokens=0)), prompt_tokens=12),
    Conversation("", (Segment("", tool="x", returned_text=""), Segment(""))),
    Conversation("The last call is the client's.", (Segment("f()", tool="f"),)),
]


def file_of(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["records.jsonl", "records.jsonl.gz"])
def test_conversations_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    write_conversations(path, CONVERSATIONS)
    assert read_conversations(path) == CONVERSATIONS


texts = st.text(max_size=5)
quantities = {
    "num_tokens": st.none() | st.integers(0, 2**40),
    "api_duration_s": st.none() | st.floats(0, 1e300) | st.integers(0, 9),
    "returned_text": st.none() | texts,
    "returned_tokens": st.none() | st.integers(0, 9),
}
written = st.builds(
    lambda prompt, calls, last, **rest: Conversation(prompt, (*calls, last), **rest),
    prompt=st.none() | texts,
    calls=st.lists(st.builds(Segment, text=texts, tool=st.text(min_size=1, max_size=5), **quantities), max_size=3),
    last=st.builds(Segment, num_tokens=st.integers(0, 9), text=st.none() | texts, tool=st.none() | st.just("f")),
    id=texts,
    prompt_tokens=st.none() | st.integers(0, 9),
)


@given(st.lists(written, min_size=1, max_size=4))
def test_any_conversations_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, made: list[Conversation]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    write_conversations(path, made)
    assert read_conversations(path) == made


@pytest.mark.parametrize("name", ["records.jsonl", "records.jsonl.gz"])
def test_half_an_emoji_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    cut = [Conversation("☀ \\\ud83d", (Segment("\ude00"),))]
    write_conversations(tmp_path / name, cut)
    assert read_conversations(tmp_path / name) == cut


def test_only_a_name_that_ends_in_gz_is_compressed(tmp_path: Path) -> None:
    for name, begins in (("a.jsonl", b'{"'), ("a.jsonl.gz", b"\x1f\x8b")):
        write_conversations(tmp_path / name, CONVERSATIONS)
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_what_is_unknown_is_not_written(tmp_path: Path) -> None:
    write_conversations(tmp_path / "a.jsonl", [Conversation(None, (Segment(num_tokens=3),))])
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"segments": [{"num_tokens": 3}]}


def test_fields_may_be_missing_null_or_of_other_names(tmp_path: Path) -> None:
    bare = {"segments": [{"num_tokens": 5}]}
    nulls = {"id": None, "prompt": None, "prompt_tokens": None, "segments": [{"text": None, "num_tokens": 5, "tool": None}]}
    more = {**bare, "model": "gpt-j", "segments": [{"num_tokens": 5, "finish_reason": "stop"}]}
    assert read_conversations(file_of(tmp_path, bare, nulls, more)) == [Conversation(None, (Segment(num_tokens=5),))] * 3


def test_empty_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('\n{"segments": [{"num_tokens": 1}]}\n\n{"segments": []}\n')
    with pytest.raises(ValueError, match=r"records\.jsonl, line 4: segments must hold at least one segment"):
        read_conversations(path)


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({"prompt": "a"}, r"segments must be a list of objects, got None; give what the model wrote"),
        ({"prompt": "a", "segments": {"text": "b"}}, r"segments must be a list of objects, got \{'text': 'b'\}"),
        ({"prompt": "a", "segments": []}, r"segments must hold at least one segment, got none"),
        ({"prompt": "a", "segments": [CALL, "b"]}, r"segments\[1\] must be an object, got 'b'; give text or num_tokens"),
        ({"prompt": "a", "segments": [{"tool": "b"}]}, r"segments\[0\]\.text or num_tokens must say how long the segment is"),
        ({"prompt": "a", "segments": [END, END]}, r"segments\[0\]\.tool must be a name, got None: .* name what was called"),
        ({"prompt": "a", "segments": [{"text": "b", "tool": ""}]}, r"segments\[0\]\.tool must be a name, got ''; leave it out"),
        ({"prompt": 3, "segments": [END]}, r"prompt must be text, got 3; leave it out if it is unknown"),
        ({"id": 3, "segments": [END]}, r"id must be text, got 3"),
        ({"prompt_tokens": -1, "segments": [END]}, r"prompt_tokens must be 0 or more and finite, got -1; leave it out"),
        ({"prompt_tokens": 1.5, "segments": [END]}, r"prompt_tokens must be a whole number, got 1\.5"),
        ({"segments": [CALL, {"text": 3}]}, r"segments\[1\]\.text must be text, got 3"),
        ({"segments": [{"text": ["x" * 90]}]}, r"segments\[0\]\.text must be text, got \['x{55}\.\.\.;"),
        ({"segments": [{"num_tokens": "3"}]}, r"segments\[0\]\.num_tokens must be a whole number, got '3'"),
        ({"segments": [{"num_tokens": True}]}, r"segments\[0\]\.num_tokens must be a whole number, got True"),
        ({"segments": [{"num_tokens": math.nan}]}, r"segments\[0\]\.num_tokens must be a whole number, got nan"),
        ({"segments": [{"num_tokens": -3}]}, r"segments\[0\]\.num_tokens must be 0 or more and finite, got -3"),
        ({"segments": [CALL | {"returned_tokens": -1}]}, r"segments\[0\]\.returned_tokens must be 0 or more"),
        ({"segments": [CALL | {"returned_text": 1}]}, r"segments\[0\]\.returned_text must be text, got 1"),
        ({"segments": [CALL | {"tool": ["search"]}]}, r"segments\[0\]\.tool must be text, got \['search'\]"),
        ({"segments": [CALL | {"api_duration_s": "1 s"}]}, r"segments\[0\]\.api_duration_s must be a number, got '1 s'"),
        (
            {"segments": [CALL | {"api_duration_s": -0.1}]},
            r"segments\[0\]\.api_duration_s must be 0 or more .*, got -0\.1",
        ),
        ({"segments": [CALL | {"api_duration_s": math.nan}]}, r"segments\[0\]\.api_duration_s must be .* finite, got nan"),
        ({"segments": [CALL | {"api_duration_s": math.inf}]}, r"segments\[0\]\.api_duration_s must be .* finite, got inf"),
        ([1, 2], r"must be a JSON object, got \[1, 2\]"),
    ],
)
def test_a_malformed_line_is_named_with_its_field_and_value(tmp_path: Path, record: object, error: str) -> None:
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2: " + error):
        read_conversations(file_of(tmp_path, {"prompt": "a", "segments": [CALL, END]}, record))


def test_a_line_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"segments": [END]}, {"segments": [END]})
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2: no JSON \(.*\); is the line cut short\?"):
        read_conversations(path)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"segments": [{"num_tokens": %s}]}' % ("1" * 5000)])
def test_a_line_that_no_reader_of_json_takes_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: no JSON \("):
        read_conversations(tmp_path / "a.jsonl")


@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError, match=r"a\.jsonl is empty"):
        read_conversations(tmp_path / "a.jsonl")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    line = json.dumps({"segments": [END]}).encode()
    contents = {"binary.jsonl": b"\xff\xfe\x00", "plain.jsonl.gz": line, "short.jsonl.gz": gzip.compress(line)[:-9]}
    contents["broken.jsonl.gz"] = gzip.compress(line)[:10] + b"\xff" * 20
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in [*contents, "absent.jsonl", ""]:
        with pytest.raises(ValueError, match=f"cannot read .*{name}"):
            read_conversations(tmp_path / name)


def test_a_record_is_named_by_its_place_and_line() -> None:
    assert from_record(Path("a"), 3, {"prompt": "p", "segments": [END]}) == Conversation("p", (Segment("It rains."),))
    with pytest.raises(ValueError, match=r"^a, line 3: segments must be"):
        from_record(Path("a"), 3, {})


@pytest.mark.parametrize("name", ["num_tokens", "api_duration_s", "returned_tokens"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_segment_has_no_negative_or_endless_quantity(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 or more and finite, got {value}"):
        Segment(text="a", **{name: value})  # pyright: ignore[reportArgumentType]
