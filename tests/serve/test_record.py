"""Records hold what requests did, in whole lines, whatever becomes of the process; and nobody waits for them."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import RequestOutput
from lamps_jax.engine.options import RequestOptions
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.request import FinishReason, SamplingParams
from lamps_jax.serve import record as record_module
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.record import LineFile, RecordConfig, Recorder, record_of
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, make_tokenizer, wait_until

ROOT = Path(__file__).parents[2]
WEATHER = Tool("get_weather", "", one_string("city", ""), str)


def records_in(*paths: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_bytes().decode().split("\n")[:-1]]


def record(path: Path, *questions: str, with_prompts: bool = False, engine: Engine | None = None, **options: Any) -> list[Any]:
    """What is recorded of these questions, asked one after the other."""
    engine = engine or make_engine()
    tokenizer = make_tokenizer() if with_prompts else None
    recorder = Recorder(LineFile(RecordConfig(path, with_prompts=with_prompts)), tokenizer=tokenizer)
    async_engine = AsyncEngine(engine, on_finished=recorder.take)
    for question in questions:
        asyncio.run(ask(async_engine, question, **options))
    async_engine.stop()
    recorder.stop()
    return records_in(path)


async def ask(engine: AsyncEngine, question: str, sampling: SamplingParams | None = None, **options: Any) -> None:
    prompt = engine.tokenizer.encode_prompt(f"Q: {question}\nA:")
    async for _ in engine.generate([(prompt, sampling or SamplingParams())], RequestOptions(**options)):
        pass


# What a line says.


def test_a_request_is_recorded_as_segments_with_the_calls_between_them(tmp_path: Path) -> None:
    (first,) = record(tmp_path / "r", "Twice, please")
    assert list(first) == ["id", "prompt_tokens", "prompt", "segments"]
    assert first["prompt_tokens"] == len("Q: Twice, please\nA:")
    assert first["prompt"] is None
    for segment in first["segments"]:
        assert list(segment) == ["num_tokens", "tool", "api_duration_s", "returned_tokens"]
    assert [segment["num_tokens"] for segment in first["segments"]] == [
        len(" First [Calculator(2+3) ->"),
        len(" then [Calculator(4+5) ->"),
        len(" makes 5 and 9.") + 1,  # the end of the text is sampled too
    ]
    assert [segment["tool"] for segment in first["segments"]] == ["Calculator", "Calculator", None]
    assert [segment["returned_tokens"] for segment in first["segments"]] == [len(" 5]"), len(" 9]"), None]
    *calls, last = first["segments"]
    assert all(0 <= segment["api_duration_s"] < 5 for segment in calls)
    assert last["api_duration_s"] is None


def test_no_text_is_recorded_unless_it_is_asked_for(tmp_path: Path) -> None:
    record(tmp_path / "r", "What is 48*37?", "Hello")
    content = (tmp_path / "r").read_text()
    assert not any(text in content for text in ("48*37", "It is", "Hello", "text"))


def test_texts_in_a_row_are_what_the_model_has_read(tmp_path: Path) -> None:
    asked = ("Twice, please", "Hello", "What is 48*37?")
    records = record(tmp_path / "r", *asked, with_prompts=True)
    said = [each["prompt"] + "".join(s["text"] + s["returned_text"] for s in each["segments"]) for each in records]
    assert said == [
        "Q: Twice, please\nA: First [Calculator(2+3) -> 5] then [Calculator(4+5) -> 9] makes 5 and 9.",
        "Q: Hello\nA: Hello to you, with an é and a 🙂.",
        "Q: What is 48*37?\nA: [Calculator(48*37) -> 1776] It is 1776.",
    ]
    assert list(records[0]["segments"][0]) == ["num_tokens", "text", "tool", "api_duration_s", "returned_tokens", "returned_text"]


def test_a_call_that_the_client_runs_ends_a_record_and_returns_nothing(tmp_path: Path) -> None:
    (only,) = record(tmp_path / "r", "Weather in Oslo?", with_prompts=True, client_tools={"get_weather": WEATHER})
    (segment,) = only["segments"]
    assert segment == {
        "num_tokens": len(" Let me look. [get_weather(Oslo, 3) ->"),
        "text": " Let me look. [get_weather(Oslo, 3) ->",
        "tool": "get_weather",
        "api_duration_s": None,
        "returned_tokens": None,
        "returned_text": "",
    }


def test_a_result_is_counted_as_far_as_the_context_has_room_for_it(tmp_path: Path) -> None:
    talkative = Tool("Broken", "", one_string("text", ""), lambda text: "long " * 50)
    (only,) = record(tmp_path / "r", "Break", engine=make_engine(tools=[talkative], max_model_len=64))
    tokens = only["prompt_tokens"] + sum(s["num_tokens"] + (s["returned_tokens"] or 0) for s in only["segments"])
    assert only["segments"][0]["returned_tokens"] > 0
    assert tokens == 64


def test_a_request_whose_result_finds_no_room_at_all_ends_with_its_call(tmp_path: Path) -> None:
    room = len("Q: Break\nA: [Broken(x) ->")
    talkative = Tool("Broken", "", one_string("text", ""), lambda text: "long " * 50)
    (only,) = record(tmp_path / "r", "Break", engine=make_engine(tools=[talkative], max_model_len=room + 1))
    (segment,) = only["segments"]
    assert (segment["tool"], segment["returned_tokens"]) == ("Broken", 0)


def test_requests_have_different_ids_from_one_run_to_the_next(tmp_path: Path) -> None:
    record(tmp_path / "r", "Hello", "Hello")
    assert len({each["id"] for each in record(tmp_path / "r", "Hello", "Hello")}) == 4


def test_a_request_whose_client_left_is_not_recorded(tmp_path: Path) -> None:
    engine = make_engine(ScriptedExecutor(step_s=0.001))
    recorder = Recorder(LineFile(RecordConfig(tmp_path / "r")))
    async_engine = AsyncEngine(engine, on_finished=recorder.take)

    async def leave_early() -> None:
        prompt = async_engine.tokenizer.encode_prompt("Q: Count\nA:")
        async with aclosing(async_engine.generate([(prompt, SamplingParams())])) as events:
            async for _ in events:
                return

    asyncio.run(leave_early())
    wait_until(lambda: engine.num_unfinished == 0)
    async_engine.stop()
    recorder.stop()
    assert records_in(tmp_path / "r") == []


# Files.


def lines(path: Path, *numbers: int, size: int = 40, **options: Any) -> None:
    with closing(LineFile(RecordConfig(path, **options))) as file:
        for number in numbers:
            file.append(line(number, size))


def line(number: int, size: int = 40) -> bytes:
    return json.dumps({"id": str(number), "x": ""}).encode().removesuffix(b'"}').ljust(size - 3, b".") + b'"}\n'


def test_a_file_that_was_recorded_before_is_continued(tmp_path: Path) -> None:
    lines(tmp_path / "r", 1, 2)
    lines(tmp_path / "r", 3)
    assert [each["id"] for each in records_in(tmp_path / "r")] == ["1", "2", "3"]


def test_only_who_records_may_read_a_new_file(tmp_path: Path) -> None:
    lines(tmp_path / "r", 1)
    assert (tmp_path / "r").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("torn", [b"{", b'{"id": ', b'{"id": "7", "prompt_tok', b'{"id": "' + b"x" * 200_000])
@pytest.mark.parametrize("whole", [(), (1, 2)])
def test_what_a_killed_process_left_of_a_line_is_cut_off(
    torn: bytes, whole: tuple[int, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines(tmp_path / "r", *whole)
    with (tmp_path / "r").open("ab") as file:
        file.write(torn)
    lines(tmp_path / "r", 3)
    assert [each["id"] for each in records_in(tmp_path / "r")] == [*map(str, whole), "3"]
    assert f"{len(torn)} bytes" in caplog.text


def test_a_file_that_does_not_end_in_a_record_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"first\nlast without a newline")
    with pytest.raises(ValueError, match="does not end in a record"):
        LineFile(RecordConfig(tmp_path / "notes"))
    assert (tmp_path / "notes").read_bytes() == b"first\nlast without a newline"


def test_a_place_where_no_record_can_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        LineFile(RecordConfig(tmp_path / "nowhere" / "r"))


def test_two_do_not_record_to_one_file(tmp_path: Path) -> None:
    with closing(LineFile(RecordConfig(tmp_path / "r"))), pytest.raises(OSError, match="another process records to"):
        LineFile(RecordConfig(tmp_path / "r"))
    lines(tmp_path / "r", 1)


def test_a_file_that_has_grown_makes_room_and_the_last_few_are_kept(tmp_path: Path) -> None:
    lines(tmp_path / "r", *range(12), max_bytes=100, max_files=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r.1", "r.2"]
    held = [each["id"] for each in records_in(tmp_path / "r.2", tmp_path / "r.1", tmp_path / "r")]
    assert held == ["6", "7", "8", "9", "10", "11"]
    lines(tmp_path / "r", 12, max_bytes=100, max_files=3)
    assert [each["id"] for each in records_in(tmp_path / "r.1", tmp_path / "r")] == ["10", "11", "12"]


def test_a_line_longer_than_a_file_may_be_has_one_for_itself(tmp_path: Path) -> None:
    lines(tmp_path / "r", 1, 2, 3, size=500, max_bytes=100, max_files=9)
    assert [each["id"] for each in records_in(tmp_path / "r.2", tmp_path / "r.1", tmp_path / "r")] == ["1", "2", "3"]


def test_with_one_file_the_old_lines_make_room(tmp_path: Path) -> None:
    lines(tmp_path / "r", 1, 2, 3, max_bytes=100, max_files=1)
    assert [each["id"] for each in records_in(tmp_path / "r")] == ["3"]
    assert os.listdir(tmp_path) == ["r"]


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_files": 0}])
def test_a_record_of_no_size_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one byte and one file"):
        RecordConfig(Path("r"), **options)


# Crashes, and disks that are full or slow.


def finished(number: int, num_tokens: int = 3) -> RequestOutput:
    times = Timestamps(0.0, 0.1, 0.2, 0.2)
    return RequestOutput(f"request-{number}", 2, times, token_ids=[7] * num_tokens, finish_reason=FinishReason.STOP)


KILLED = """
import sys
from pathlib import Path
from lamps_jax.serve.record import LineFile, RecordConfig, Recorder
from tests.fakes import make_tokenizer
from tests.serve.test_record import finished
class Telling(LineFile):
    has_written = False
    def append(self, line):
        super().append(line)
        if not self.has_written:
            print("written", flush=True)
            self.has_written = True
path, num_tokens, max_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
config = RecordConfig(path, with_prompts=True, max_bytes=max_bytes, max_files=1000)
recorder = Recorder(Telling(config), tokenizer=make_tokenizer())
number = 0
while True:
    if recorder._queue.qsize() < 100:
        recorder.take([7, 8], finished(number, num_tokens))
        number += 1
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_tokens", "max_bytes"),
    [(3, 20_000), pytest.param(3, 2**30, marks=pytest.mark.long), pytest.param(200_000, 2**30, marks=pytest.mark.long)],
)
def test_a_killed_process_leaves_whole_lines_in_order_but_perhaps_for_the_last(
    num_tokens: int, max_bytes: int, tmp_path: Path
) -> None:
    path, before = tmp_path / "r", 0
    for round_ in range(3):
        arguments = [sys.executable, "-c", KILLED, str(path), str(num_tokens), str(max_bytes)]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"  # so that there is a line of this round, however slow the machine is
            time.sleep(0.4 + 0.033 * round_)
            process.send_signal(signal.SIGKILL)
        paths = oldest_first(tmp_path)
        assert all(path.read_bytes().endswith(b"\n") for path in paths[:-1])
        records = records_in(*paths)  # but for what stands behind the last newline
        assert len(records) > before
        before = len(records)
        last_run = [each["id"].split("-request-") for each in records if each["id"].startswith(records[-1]["id"][:12])]
        assert [int(number) for _, number in last_run] == list(range(len(last_run)))
        assert all(each["segments"][0]["num_tokens"] == num_tokens for each in records)
    lines(path, 1)
    assert len(records_in(*oldest_first(tmp_path))) == before + 1  # who was killed while making room has left no such file


def oldest_first(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: -int(path.suffix[1:] or 0))


def test_a_request_that_finds_too_many_waiting_is_dropped_counted_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, hanging = threading.Event(), threading.Event()

    class HangingFile(LineFile):
        def append(self, line: bytes) -> None:
            hanging.set()
            assert released.wait(30)
            super().append(line)

    monkeypatch.setattr(record_module, "WARNING_INTERVAL_S", 0.0)
    recorder = Recorder(HangingFile(RecordConfig(tmp_path / "r")), most_waiting=4)
    recorder.take([1, 2], finished(0))
    assert hanging.wait(5)
    began = time.monotonic()
    for number in range(1, 1000):
        recorder.take([1, 2], finished(number))
    assert time.monotonic() - began < 5
    assert recorder.num_dropped == 995
    released.set()
    recorder.stop()
    assert [each["id"].split("-")[-1] for each in records_in(tmp_path / "r")] == ["0", "1", "2", "3", "4"]
    assert "995 finished requests are not recorded so far: more ended than the disk could take" in caplog.text


@pytest.mark.parametrize("partly", [True, False])
def test_a_line_that_the_disk_does_not_take_is_dropped_whole_and_the_next_written(
    partly: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[[int, bytes], int] = os.write
    full = threading.Event()

    def write_to_full_disk(descriptor: int, content: bytes) -> int:
        if not full.is_set():
            return write(descriptor, content)
        if partly:
            return write(descriptor, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_module.os, "write", write_to_full_disk)
    recorder = Recorder(LineFile(RecordConfig(tmp_path / "r")))
    for number in range(6):
        (full.set if number in (2, 3) else full.clear)()
        recorder.take([1, 2], finished(number))
        wait_until(lambda number=number: recorder.num_dropped + len(records_in(tmp_path / "r")) == number + 1)
    recorder.stop()
    recorder.stop()
    assert [each["id"].split("-")[-1] for each in records_in(tmp_path / "r")] == ["0", "1", "4", "5"]
    assert "No space left on device" in caplog.text
    assert "2 finished requests were not recorded" in caplog.text


def test_a_file_that_could_not_be_begun_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(LineFile(RecordConfig(folder / "r", max_bytes=100))) as file:
        for number in (1, 2):
            file.append(line(number))
        (folder / "r.3").touch()
        (folder / "r.4").mkdir()
        for number in (3, 4):
            with pytest.raises(OSError, match="directory"):
                file.append(line(number))
        (folder / "r.4").rmdir()
        file.append(line(5))
    assert [each["id"] for each in records_in(folder / "r.1", folder / "r")] == ["1", "2", "5"]


def test_a_request_that_cannot_be_described_is_dropped_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(LineFile(RecordConfig(tmp_path / "r")))
    broken = finished(0)
    broken.calls = [None]  # type: ignore[list-item]
    with caplog.at_level(logging.WARNING):
        for output in (broken, finished(1)):
            recorder.take([1, 2], output)
        recorder.stop()
    assert [each["id"].split("-")[-1] for each in records_in(tmp_path / "r")] == ["1"]
    assert recorder.num_dropped == 1


def test_a_request_that_yielded_nothing_still_has_a_segment() -> None:
    assert record_of("a", [1, 2], finished(0, num_tokens=0))["segments"] == [
        {"num_tokens": 0, "tool": None, "api_duration_s": None, "returned_tokens": None}
    ]
