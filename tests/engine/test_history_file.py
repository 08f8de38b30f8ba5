"""What was learned outlives the process, whatever becomes of that or of the file."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from lamps_jax.engine import history_file
from lamps_jax.engine.history_file import SCHEMA, History, HistoryFile, HistoryKeeper, history_of, restore
from lamps_jax.sched.call_history import CallHistory, RememberedCalls
from lamps_jax.sched.estimates import HistoryPredictor, SeenSegment
from lamps_jax.sched.request import FinishReason, Request, SamplingParams
from lamps_jax.serve.async_engine import AsyncEngine
from tests.engine.counted_history import counted
from tests.fakes import make_engine, wait_until


def learned() -> History:
    calls, predictor = CallHistory(), HistoryPredictor()
    for number in range(7):
        calls.observe("search", 0.1 + number / 3, 10 * number)
        calls.observe("", 30.0 + number, finish_reason=FinishReason.STOP)
        request = Request("r", 0.0, [1], SamplingParams(), request_type="math")
        predictor.observe(request, SeenSegment(0, 10 + number, 0.3, 4))
        predictor.observe(request, SeenSegment(1, 3 * number))
    calls.observe("Čas\n'", 1e-9)
    return History(calls.remembered(), predictor.remembered())


def numbers_in(history: History) -> set[int]:
    return {row.num_calls for row in (*history.calls, *history.segments)}


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    HistoryFile(tmp_path / "h").write(learned())
    assert HistoryFile(tmp_path / "h").read() == learned()
    assert os.listdir(tmp_path) == ["h"]


def test_a_file_that_is_not_there_or_empty_holds_nothing_and_is_begun(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("new", "empty"):
        assert HistoryFile(tmp_path / name).read() == History()
        HistoryFile(tmp_path / name).write(learned())
        assert HistoryFile(tmp_path / name).read() == learned()


def test_only_what_has_changed_is_written_and_what_changed_last_comes_last(tmp_path: Path) -> None:
    file, other = HistoryFile(tmp_path / "h"), HistoryFile(tmp_path / "h")
    rows = [RememberedCalls(name, "", 1, 1.0, 0, 0.0, (1.0,)) for name in "abc"]
    file.write(History(rows))
    other.write(History([rows[0]._replace(num_calls=9)]))
    file.write(History([*rows[:1], *rows[2:], rows[1]._replace(num_calls=5)]))
    assert [(row.tool, row.num_calls) for row in file.read().calls] == [("c", 1), ("a", 9), ("b", 5)]


def test_rows_that_have_not_changed_for_longest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "MOST_ROWS", 3)
    file = HistoryFile(tmp_path / "h")
    for number in range(5):
        file.write(History([RememberedCalls(f"tool{number}", "", 1, 1.0, 0, 0.0, (1.0,))]))
    assert [row.tool for row in file.read().calls] == ["tool2", "tool3", "tool4"]


def test_a_file_that_was_removed_meanwhile_is_written_whole_again(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "h")
    file.write(learned())
    (tmp_path / "h").unlink()
    file.write(learned())
    assert file.read() == learned()


def some_database(tmp_path: Path) -> bytes:
    with closing(sqlite3.connect(tmp_path / "other")) as connection, connection:
        connection.execute("CREATE TABLE visits (url TEXT)")
    content = (tmp_path / "other").read_bytes()
    (tmp_path / "other").unlink()
    return content


def own_database(tmp_path: Path, *statements: str) -> bytes:
    HistoryFile(tmp_path / "own").write(learned())
    with closing(sqlite3.connect(tmp_path / "own")) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    content = (tmp_path / "own").read_bytes()
    (tmp_path / "own").unlink()
    return content


DAMAGE = {
    "one byte": lambda path: b"x",
    "text": lambda path: b"tool,duration\nsearch,3\n" * 500,
    "noise": lambda path: bytes(range(256)) * 64,
    "another program's": some_database,
    "cut": lambda path: own_database(path)[:5000],
    "scratched": lambda path: (lambda whole: whole[:4096] + b"\xff" * 4096 + whole[8192:])(own_database(path)),
    "without a table": lambda path: own_database(path, "DROP TABLE segments"),
    "with another table": lambda path: own_database(path, "DROP TABLE segments", "CREATE TABLE segments (a)", "INSERT INTO segments VALUES (1)"),  # noqa: E501
    "a text for a number": lambda path: own_database(path, "UPDATE calls SET mean_s = 'long'"),
    "bytes for a text": lambda path: own_database(path, "UPDATE segments SET request_type = CAST(x'ff' AS TEXT)"),
    "a negative duration": lambda path: own_database(path, "UPDATE calls SET recent_s = '[-1.0]'"),
    "a broken list": lambda path: own_database(path, "UPDATE calls SET recent_s = '[1.0'"),
    "no list": lambda path: own_database(path, "UPDATE calls SET recent_s = '7'"),
    "nothing": lambda path: own_database(path, "UPDATE calls SET num_calls = NULL"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_history_is_moved_aside_untouched_and_learning_begins_anew(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, path = DAMAGE[damage](tmp_path), tmp_path / "h"
    path.write_bytes(content)
    file = HistoryFile(path)
    assert file.read() == History()
    assert (tmp_path / "h.corrupt").read_bytes() == content
    assert f"{path} is no history file" in caplog.text
    assert f"moved to {path}.corrupt" in caplog.text
    file.write(learned())
    assert HistoryFile(path).read() == learned()


def test_a_second_damaged_file_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    for content in (b"first", b"second", b"third"):
        (tmp_path / "h").write_bytes(content)
        assert HistoryFile(tmp_path / "h").read() == History()
    assert [(tmp_path / f"h.corrupt{suffix}").read_bytes() for suffix in ("", ".2", ".3")] == [b"first", b"second", b"third"]


def test_the_journal_of_a_damaged_file_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(b"x")
    (tmp_path / "h-journal").write_bytes(b"of it")
    file = HistoryFile(tmp_path / "h")
    file.write(learned())
    assert file.read() == learned()
    assert (tmp_path / "h.corrupt-journal").read_bytes() == b"of it"


def test_a_file_damaged_while_serving_is_moved_aside_and_written_whole(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "h")
    file.write(learned())
    (tmp_path / "h").write_bytes(b"damaged")
    file.write(learned())
    assert file.read() == learned()
    assert (tmp_path / "h.corrupt").read_bytes() == b"damaged"


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    content = own_database(tmp_path, f"PRAGMA user_version = {SCHEMA + 1}", "DROP TABLE calls")
    (tmp_path / "h").write_bytes(content)
    for act in (HistoryFile(tmp_path / "h").read, lambda: HistoryFile(tmp_path / "h").write(learned())):
        with pytest.raises(ValueError, match=f"has schema {SCHEMA + 1}.* install a newer lamps-jax"):
            act()
    assert (tmp_path / "h").read_bytes() == content
    assert os.listdir(tmp_path) == ["h"]


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "h", tmp_path):
        with pytest.raises(OSError, match=f"cannot use the history file {path}"):
            HistoryFile(path).read()


def test_a_file_that_another_process_is_writing_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "h", patience_s=0.05)
    file.write(learned())
    with closing(sqlite3.connect(tmp_path / "h", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="locked"):
            file.write(counted(1))
        connection.execute("COMMIT")
    file.write(counted(1))
    assert not list(tmp_path.glob("*.corrupt*"))


WRITER = """
import sys
from pathlib import Path
from lamps_jax.engine.history_file import HistoryFile
from tests.engine.counted_history import counted
path, tool, first, last = sys.argv[1:]
file = HistoryFile(Path(path), patience_s=60)
for number in range(int(first), int(last)):
    file.write(counted(number, tool))
    print(number, flush=True)
"""


def writer(path: Path, tool: str, first: int, last: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), tool, str(first), str(last)]
    return subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_process_leaves_the_last_complete_write(tmp_path: Path) -> None:
    path, number = tmp_path / "h", 0
    for round_ in range(6):
        with writer(path, "a", number, 10**9) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.05 + 0.037 * round_)
            process.send_signal(signal.SIGKILL)
            told = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        (held,) = numbers_in(HistoryFile(path).read())
        assert not told or held in (told[-1], told[-1] + 1)
        number = held + 1
    assert number > 6
    assert not list(tmp_path.glob("*.corrupt*"))


@pytest.mark.slow
def test_two_processes_write_to_one_file_and_neither_loses_what_only_it_has_learned(tmp_path: Path) -> None:
    processes = [writer(tmp_path / "h", tool, 0, 100) for tool in "ab"]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    history = HistoryFile(tmp_path / "h").read()
    assert numbers_in(history) == {99}
    assert {row.tool for row in history.calls} == {"a", "b", "both"}
    assert len(history.segments) == 10


def test_the_keeper_writes_every_so_often_and_in_the_end(tmp_path: Path) -> None:
    file, number = HistoryFile(tmp_path / "h"), 1
    keeper = HistoryKeeper(file, lambda: counted(number), interval_s=0.01)
    wait_until(lambda: numbers_in(HistoryFile(tmp_path / "h").read()) == {1})
    keeper.stop()
    number = 3
    keeper = HistoryKeeper(file, lambda: counted(number), interval_s=1000.0)
    number = 4
    keeper.stop()
    keeper.stop()
    assert numbers_in(file.read()) == {4}


def test_the_keeper_goes_on_after_a_write_that_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "later" / "h"
    keeper = HistoryKeeper(HistoryFile(path), learned, interval_s=0.01)
    wait_until(lambda: "could not be written" in caplog.text)
    path.parent.mkdir()
    wait_until(path.exists)
    keeper.stop()
    assert HistoryFile(path).read() == learned()


async def serve(engine: AsyncEngine, question: str = "What is 48*37?") -> FinishReason | None:
    token_ids = engine.tokenizer.encode_prompt(f"Q: {question}\nA:")
    events = [event async for arrived in engine.generate([(token_ids, SamplingParams())]) for _, event in arrived]
    return events[-1].output.finish_reason


def test_requests_are_served_while_the_disk_hangs() -> None:
    engine = make_engine()
    async_engine, released, hanging = AsyncEngine(engine), threading.Event(), threading.Event()

    class HangingFile(HistoryFile):
        def write(self, history: History) -> None:
            hanging.set()
            assert released.wait(30)

    take = partial(async_engine.ask, lambda engine: history_of(engine.scheduler))
    keeper = HistoryKeeper(HangingFile(Path("nowhere")), take, interval_s=0.001)
    assert hanging.wait(5)
    for _ in range(3):
        assert asyncio.run(serve(async_engine)) is FinishReason.STOP
    released.set()
    async_engine.stop()
    keeper.stop()


def test_an_engine_knows_what_one_before_it_has_learned(tmp_path: Path) -> None:
    first, second = make_engine(), make_engine()
    for engine in (first, second):
        restore(engine.scheduler, HistoryFile(tmp_path / "h").read())
        async_engine = AsyncEngine(engine)
        keeper = HistoryKeeper(
            HistoryFile(tmp_path / "h"), partial(async_engine.ask, lambda engine: history_of(engine.scheduler))
        )
        for _ in range(2):
            asyncio.run(serve(async_engine))
        async_engine.stop()
        keeper.stop()
    assert first.scheduler.call_history.expected_s("Calculator") is None
    assert second.scheduler.call_history.expected_returned_tokens("Calculator") == len(" 1776]")
    assert [row.num_segments for row in history_of(second.scheduler).segments] == [4, 4, 4, 4]
