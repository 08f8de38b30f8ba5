"""What requests did, a JSON line each, for those who want to learn from it: written by a thread of its own."""

import errno
import json
import logging
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamps_jax.engine.events import RequestOutput
from lamps_jax.sched.request import FinishReason

if TYPE_CHECKING:
    from lamps_jax.models.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

MOST_WAITING = 4096
"""Finished requests that wait to be written; while there are so many, further ones are not recorded."""

WARNING_INTERVAL_S = 60.0
"""A warning of requests that could not be recorded comes no more often."""

STOP_TIMEOUT_S = 10.0
"""How long the end waits for what is still to be written."""

HEAD = b'{"id": '
"""How every line begins."""

RECORDED = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS)
"""Ends of requests that are recorded: one that failed, or whose client left, says nothing of what it would have done."""


@dataclass(frozen=True, slots=True)
class RecordConfig:
    """What is recorded, and where.

    Attributes:
        with_prompts: Whether prompts, outputs and results are recorded, or only how many tokens they have.
        max_bytes: A file that would grow beyond it becomes ``FILE.1``, and that ``FILE.2``.
        max_files: Files that are kept, the one that is written included.
    """

    path: Path
    with_prompts: bool = False
    max_bytes: int = 256 * 2**20
    max_files: int = 5

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_files < 1:
            raise ValueError(f"a record needs at least one byte and one file, got {self.max_bytes} and {self.max_files}")


class LineFile:
    """A file to which whole lines are appended, and which makes room for a new one when it has grown.

    A line is written by one call to the operating system: it outlives the process, though not a loss of power. What a killed
    process left of a line is cut off when the file is next opened.

    Raises:
        ValueError: If the file ends in something that no record begins with; it is left as it is.
        OSError: If it cannot be opened, or another process appends to it.
    """

    def __init__(self, config: RecordConfig):
        self._config, self._descriptor, self._size = config, -1, 0
        self._open()

    def append(self, line: bytes) -> None:
        """Writes a line, which ends in its only newline.

        Raises:
            OSError: If the disk does not take it; nothing of it is left then.
        """
        if self._descriptor < 0:  # something went wrong with the last line
            self._open()
        if self._size and self._size + len(line) > self._config.max_bytes:
            self._rotate()
        written = os.write(self._descriptor, line)
        if written < len(line):
            self.close()
            self._open()  # cuts off what was written of it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._config.path))
        self._size += written

    def close(self) -> None:
        """Gives the file back; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._config.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._lock()
            self._size = self._cut_torn_line()
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        if sys.platform == "win32":  # where there is no such lock
            return
        import fcntl

        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"another process records to {self._config.path}; name another file") from error

    def _cut_torn_line(self) -> int:
        """Ends the file behind its last whole line; returns its size."""
        size = end = os.fstat(self._descriptor).st_size
        tail = b""
        with open(self._descriptor, "rb", closefd=False) as file:
            while end and b"\n" not in tail:
                start = max(0, end - 2**16)
                file.seek(start)
                tail, end = file.read(end - start) + tail, start
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return size
        if not (torn.startswith(HEAD) or HEAD.startswith(torn)):
            raise ValueError(f"{self._config.path} does not end in a record; name a new file, or one that was recorded before")
        logger.warning("%s ends in part of a line, %d bytes, which are cut off", self._config.path, len(torn))
        os.ftruncate(self._descriptor, size - len(torn))
        return size - len(torn)

    def _rotate(self) -> None:
        path, last = self._config.path, self._config.max_files - 1
        names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, last + 1))]
        self.close()
        if last == 0:
            path.unlink()
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        self._open()


class Recorder:
    """Writes what finished requests did, off the thread that serves them.

    Args:
        file: Closed by `stop`.
        tokenizer: For the thread's use alone; None records no texts.
    """

    def __init__(self, file: LineFile, *, tokenizer: "Tokenizer | None" = None, most_waiting: int = MOST_WAITING):
        self._file, self._tokenizer = file, tokenizer
        self._run_id = uuid.uuid4().hex[:12]  # the engine counts its requests from 0 each time
        self._queue: queue.Queue[tuple[list[int], RequestOutput] | None] = queue.Queue(most_waiting)
        self._num_refused = self._num_failed = 0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def num_dropped(self) -> int:
        """Finished requests that were not recorded, because too many waited or the disk did not take them."""
        return self._num_refused + self._num_failed

    def take(self, prompt_token_ids: list[int], output: RequestOutput) -> None:
        """Has a request that has ended recorded, unless too many wait; returns at once. To be called from one thread."""
        if output.finish_reason not in RECORDED:
            return
        try:
            self._queue.put_nowait((prompt_token_ids, output))
        except queue.Full:
            self._num_refused += 1

    def stop(self) -> None:
        """Writes what waits, and ends the thread; a second time does nothing."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=STOP_TIMEOUT_S)
                self._thread.join(STOP_TIMEOUT_S)
            except queue.Full:
                logger.warning("the disk takes nothing: %d finished requests are not recorded", self._queue.qsize())

    def _run(self) -> None:
        warned, warned_s, reason = 0, float("-inf"), "more ended than the disk could take"
        while (item := self._queue.get()) is not None:
            prompt_token_ids, output = item
            try:
                record = record_of(f"{self._run_id}-{output.request_id}", prompt_token_ids, output, tokenizer=self._tokenizer)
                self._file.append(json.dumps(record).encode() + b"\n")
            except Exception as error:  # whatever it is, the next request may be recorded again
                self._num_failed += 1
                reason = str(error)
            if self.num_dropped > warned and time.monotonic() >= warned_s + WARNING_INTERVAL_S:
                warned, warned_s = self.num_dropped, time.monotonic()
                logger.warning("%d finished requests are not recorded so far: %s", warned, reason)
        self._file.close()
        if self.num_dropped > warned:
            logger.warning("%d finished requests were not recorded: %s", self.num_dropped, reason)


def record_of(
    record_id: str, prompt_token_ids: list[int], output: RequestOutput, *, tokenizer: "Tokenizer | None" = None
) -> dict[str, Any]:
    """What a request did, as a line of a record has it.

    A segment's tokens are those that were sampled, the call included; what a call returned is counted as it stands in the
    context. Texts, without special tokens, are such that the prompt and the texts of all segments and results in a row are what
    the model has read. A call that the client runs has no duration and returns nothing; it is the last segment then.

    Args:
        tokenizer: None for a record without texts.
    """
    stream = None if tokenizer is None else tokenizer.stream(prompt_token_ids)

    def text(key: str, token_ids: Sequence[int]) -> dict[str, str]:
        return {} if stream is None else {key: "".join(map(stream.push, token_ids))}

    segments, start = list[dict[str, Any]](), 0
    for call in output.calls:
        token_ids, start = output.token_ids[start : call.num_output_tokens], call.num_output_tokens
        returned = call.returned_token_ids
        segments.append({
            "num_tokens": len(token_ids),
            **text("text", token_ids),
            "tool": call.name,
            "api_duration_s": call.duration_s,
            "returned_tokens": None if returned is None else len(returned),
            **text("returned_text", returned or ()),
        })  # fmt: skip
    if (token_ids := output.token_ids[start:]) or not segments:
        last = {"tool": None, "api_duration_s": None, "returned_tokens": None}
        segments.append({"num_tokens": len(token_ids), **text("text", token_ids), **last, **text("returned_text", ())})
    prompt = None if tokenizer is None else tokenizer.decode(prompt_token_ids)
    return {"id": record_id, "prompt_tokens": output.num_prompt_tokens, "prompt": prompt, "segments": segments}
