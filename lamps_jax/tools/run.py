"""One call of a tool from its beginning to its end: the attempts, and the text that the model is told."""

import inspect
import logging
import threading
from concurrent.futures import Future
from typing import Any

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.tool import Tool, ToolError, ToolUnavailable

logger = logging.getLogger(__name__)

MAX_RETRY_DELAY_S = 30.0


class ToolRun:
    """A call of a tool: one thread carries it out, and another may give it up.

    Args:
        loop: Where a tool that is a coroutine runs.
    """

    def __init__(self, tool: Tool, arguments: dict[str, Any], loop: BackgroundLoop):
        self._tool, self._arguments, self._loop = tool, arguments, loop
        self._given_up, self._lock = threading.Event(), threading.Lock()
        self._future: Future[Any] | None = None

    def result(self) -> tuple[str, bool]:
        """What the model is told, cut to the tool's limit, and whether the call failed."""
        text, failed = self._attempts()
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text that can be tokenised
        limit = self._tool.max_result_chars
        if len(text) > limit:
            ellipsis = "..."[:limit]
            text = text[: limit - len(ellipsis)] + ellipsis
        return text, failed

    def give_up(self) -> None:
        """Nobody waits for the result any more: no attempt begins, and one that is a coroutine is cancelled."""
        self._given_up.set()
        with self._lock:
            if self._future is not None:
                self._future.cancel()

    def _attempts(self) -> tuple[str, bool]:
        tool, delay_s = self._tool, self._tool.retry_delay_s
        for number in range(1, tool.max_retries + 2):
            try:
                return str(self._attempt()), False
            except (ToolUnavailable, TimeoutError, ConnectionError) as error:
                told = _told(error)
                if number > tool.max_retries or self._given_up.is_set():
                    unforeseen = not isinstance(error, ToolUnavailable)
                    logger.warning("tool %s failed (%s)", tool.name, type(error).__name__, exc_info=unforeseen)
                    return told, True
                logger.info("tool %s failed, attempt %d (%s)", tool.name, number, type(error).__name__)
            except ToolError as error:
                return f"error: {error}", True
            except BaseException as error:  # a tool may raise anything at all; the model gets a short text, the log the rest
                if not self._given_up.is_set():
                    logger.exception("tool %s raised", tool.name)
                return _told(error), True
            if self._given_up.wait(min(delay_s, MAX_RETRY_DELAY_S)):
                return told, True
            delay_s *= 2
        raise AssertionError("the last attempt returns")

    def _attempt(self) -> Any:
        returned = self._tool.function(**self._arguments)
        if not inspect.iscoroutine(returned):
            return returned
        future = self._loop.submit(returned)
        with self._lock:
            self._future = future
        if self._given_up.is_set():
            future.cancel()
        try:
            return future.result(self._attempt_timeout_s())
        except TimeoutError:
            future.cancel()
            raise

    def _attempt_timeout_s(self) -> float | None:
        """How long an attempt may take for others to follow; None where there is but one, which ends with the call."""
        tool = self._tool
        return tool.timeout_s / (tool.max_retries + 1) if tool.max_retries else None


def _told(error: BaseException) -> str:
    if isinstance(error, ToolUnavailable):
        return f"error: {error}"
    if isinstance(error, TimeoutError):
        return "error: timed out"
    return f"error: the tool failed ({type(error).__name__})"
