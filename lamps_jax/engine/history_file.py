"""What was learned of calls and requests, in a small SQLite file: read at start, written by a thread while the engine serves.

The file has a row for each tool and for each type and position of requests. Every write is one transaction: after a crash at any
moment the file holds what the last complete one left. Several processes may write to one file; of a row that two of them change,
the later stays.
"""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from lamps_jax.sched.call_history import CallHistory, RememberedCalls
from lamps_jax.sched.estimates import HistoryPredictor, RememberedSegments
from lamps_jax.sched.scheduler import Scheduler

logger = logging.getLogger(__name__)

SCHEMA = 1
"""Version of the tables, SQLite's ``user_version``; a file of a higher one is refused."""

APPLICATION_ID = 0x4C414D50
"""SQLite's ``application_id`` of these files: ``LAMP`` in ASCII."""

MOST_ROWS = 10_000
"""Rows that a table keeps; those that have not changed for longest go first."""

SAVE_INTERVAL_S = 30.0
"""How much of what was learned a crash may cost."""

T = TypeVar("T")

Row = tuple[str | int | float, ...]


class _Table(NamedTuple):
    columns: str
    num_columns: int
    num_keys: int


_TABLES = {
    "calls": _Table(
        "tool TEXT, finish_reason TEXT, num_calls INTEGER, mean_s REAL, num_returned INTEGER, mean_returned_tokens REAL, "
        "recent_s TEXT, PRIMARY KEY (tool, finish_reason)",
        num_columns=7,
        num_keys=2,
    ),
    "segments": _Table(
        "all_types INTEGER, request_type TEXT, position INTEGER, num_segments INTEGER, output_tokens REAL, call_share REAL, "
        "num_calls INTEGER, api_duration_s REAL, returned_tokens REAL, PRIMARY KEY (all_types, request_type, position)",
        num_columns=9,
        num_keys=3,
    ),
}
_SMALLEST_BYTES = 512  # a page of SQLite's
_NOT_OURS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH)
"""What SQLite says of a file that is none of its own, is damaged, or has other tables."""


@dataclass(frozen=True, slots=True)
class History:
    """What was learned while serving."""

    calls: list[RememberedCalls] = field(default_factory=list)
    segments: list[RememberedSegments] = field(default_factory=list)


@runtime_checkable
class Learner(Protocol):
    """A predictor whose knowledge can be kept."""

    def remembered(self) -> list[RememberedSegments]:
        """All that was learned."""
        ...

    def restore(self, remembered: Sequence[RememberedSegments]) -> None:
        """Begins with what another learned."""
        ...


def history_of(scheduler: Scheduler) -> History:
    """A copy of what a scheduler has learned; to be taken on the thread that schedules, or once that has ended."""
    predictor = scheduler.predictor
    return History(scheduler.call_history.remembered(), predictor.remembered() if isinstance(predictor, Learner) else [])


def restore(scheduler: Scheduler, history: History) -> None:
    """Lets a scheduler that has served nobody yet begin with what another has learned."""
    scheduler.call_history.restore(history.calls)
    if isinstance(scheduler.predictor, Learner):
        scheduler.predictor.restore(history.segments)


class HistoryFile:
    """A file that keeps a `History`.

    A file that is damaged, or is something else, is moved aside to ``NAME.corrupt`` with a warning, and a new one is begun.

    Args:
        path: Need not exist; its directory must.
        patience_s: How long another process that writes is waited for.
    """

    def __init__(self, path: Path, *, patience_s: float = 5.0):
        self.path, self._patience_s = path, patience_s
        self._written: dict[tuple[str, Row], Row] = {}

    def read(self) -> History:
        """What the file holds; nothing if it is new, or was moved aside.

        Raises:
            ValueError: If a newer version of this program has written it.
            OSError: If it cannot be read and written.
        """
        return self._attempt(self._read)

    def write(self, history: History) -> None:
        """Replaces the rows that are not as they were written last, all of them or none.

        Raises:
            ValueError: If a newer version of this program has written the file.
            OSError: If it cannot be written.
        """
        self._attempt(lambda: self._write(history))

    def _read(self) -> History:
        with self._transaction() as (connection, _):
            if (verdict := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise _NotOursError(verdict)
            tables = [connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in _TABLES]
        try:
            return _history(*tables)
        except (TypeError, ValueError) as error:
            raise _NotOursError(str(error)) from error

    def _write(self, history: History) -> None:
        rows = _rows(history)
        with self._transaction() as (connection, is_new):
            known = {} if is_new else self._written
            for name, table in _TABLES.items():
                changed = [row for (of, key), row in rows.items() if of == name and known.get((name, key)) != row]
                places = ", ".join("?" * table.num_columns)
                connection.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({places})", changed)
                latest = f"SELECT rowid FROM {name} ORDER BY rowid DESC LIMIT {MOST_ROWS}"
                connection.execute(f"DELETE FROM {name} WHERE rowid NOT IN ({latest})")
        self._written = rows

    def _attempt(self, act: Callable[[], T]) -> T:
        """What `act` returns; if the file is to blame for its failure, what it returns on a new one."""
        try:
            try:
                return act()
            except _NotOursError as error:
                self._set_aside(str(error))
            except sqlite3.Error as error:
                if not _is_file_to_blame(error):
                    raise
                self._set_aside(str(error))
            return act()
        except sqlite3.Error as error:
            raise OSError(f"cannot use the history file {self.path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sqlite3.Connection, bool]]:
        """A connection for one transaction, and whether the file has just been made."""
        if self.path.is_file() and 0 < self.path.stat().st_size < _SMALLEST_BYTES:  # SQLite may take it for an empty one
            raise _NotOursError("it is too short for a database")
        with closing(sqlite3.connect(self.path, timeout=self._patience_s, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back
                yield connection, self._prepare(connection)

    def _prepare(self, connection: sqlite3.Connection) -> bool:
        """Makes the tables of a file that is empty; whether it was."""
        application, version, num_tables = (
            connection.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if application == APPLICATION_ID and version > SCHEMA:
            raise ValueError(
                f"the history file {self.path} has schema {version}, of which this version knows {SCHEMA}; "
                "install a newer lamps-jax, or name another file"
            )
        if application == APPLICATION_ID and version == SCHEMA:
            return False
        if application or version or num_tables:
            raise _NotOursError("it is a database of another program")
        for name, table in _TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({table.columns})")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        return True

    def _set_aside(self, why: str) -> None:
        names = (f"{self.path}.corrupt{suffix}" for suffix in ("", *(f".{number}" for number in range(2, 1000))))
        aside = next(name for name in names if not os.path.lexists(name))
        for suffix in ("", "-journal", "-wal", "-shm"):  # a journal left behind would be rolled back into the new file
            with suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", aside + suffix)
        logger.warning("%s is no history file (%s); it was moved to %s, and learning begins anew", self.path, why, aside)
        self._written = {}


class HistoryKeeper:
    """Writes what was learned every so often, and once more in the end, on a thread of its own.

    Args:
        take: Says what was learned; called on the thread.
    """

    def __init__(self, file: HistoryFile, take: Callable[[], History], *, interval_s: float = SAVE_INTERVAL_S):
        self._file, self._take, self._interval_s = file, take, interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what has been learned since and ends the thread; a second time does nothing."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._save()
        self._save()

    def _save(self) -> None:
        try:
            self._file.write(self._take())
        except Exception as error:  # whatever it is, requests are served all the same
            logger.warning("what was learned could not be written and will be tried again: %s", error)


class _NotOursError(Exception):
    """Raised where a file does not hold what this module writes."""


def _is_file_to_blame(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # an error of Python's own: of this class where a text is no UTF-8
        return isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in _NOT_OURS


def _rows(history: History) -> dict[tuple[str, Row], Row]:
    """The rows of all tables by table and key."""
    rows: dict[tuple[str, Row], Row] = {}
    for calls in history.calls:
        rows["calls", calls[:2]] = (*calls[:-1], json.dumps(calls.recent_s))
    for segments in history.segments:
        row = (int(segments.request_type is None), segments.request_type or "", *segments[1:])
        rows["segments", row[:3]] = row
    return rows


def _history(calls_rows: list[tuple[Any, ...]], segments_rows: list[tuple[Any, ...]]) -> History:
    """What rows say.

    Raises:
        TypeError, ValueError: If they hold something else.
    """
    history = History()
    for row in calls_rows:
        calls = RememberedCalls(*_typed(row, "ssififs"))
        durations = json.loads(row[-1])
        history.calls.append(calls._replace(recent_s=_typed(durations, "f" * len(durations))))
    for row in segments_rows:
        all_types, request_type, *values = _typed(row, "isiiffiff")
        history.segments.append(RememberedSegments(None if all_types else request_type, *values))
    CallHistory().restore(history.calls)
    HistoryPredictor().restore(history.segments)
    return history


def _typed(values: Sequence[Any], kinds: str) -> tuple[Any, ...]:
    """`values`, of which each has the type that a letter stands for: s for text, i for a whole number, f for any number."""
    types = {"s": (str,), "i": (int,), "f": (float, int)}
    for value, kind in zip(values, kinds, strict=True):
        if type(value) not in types[kind]:
            raise TypeError(f"it holds {value!r} in an unexpected place")
    return tuple(values)
