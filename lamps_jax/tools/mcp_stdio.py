"""A server that is started, and spoken with over its standard input and output, one JSON message a line.

The SDK's own transport takes lines of any length, in time that grows with their square; that would hold up all other servers.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from lamps_jax.tools.mcp_config import McpServerConfig

logger = logging.getLogger(__name__)

EXIT_TIMEOUT_S = 2.0
"""How long a server may take to end once its input is closed, and again once it has been told to."""

_FLUSH_TIMEOUT_S = 0.5
_WATCH_INTERVAL_S = 0.2
_POLL_INTERVAL_S = 0.01

Received = ObjectReceiveStream[SessionMessage | Exception]
Sent = ObjectSendStream[SessionMessage]


@asynccontextmanager
async def stdio(config: McpServerConfig, errors: TextIO, *, max_message_bytes: int) -> AsyncIterator[tuple[Received, Sent]]:
    """The streams of messages of a server that runs as long as the context lasts.

    It gets the few environment variables that the SDK takes for safe, and those of `config`. When the context ends, its input is
    closed; what of it and of its children has not ended after some time is told to, and then killed.

    Raises:
        OSError: If it cannot be started.
    """
    assert config.command is not None
    environment = get_default_environment() | config.env
    process: Process | None = None
    with anyio.CancelScope(shield=True):  # half begun it could not be waited for
        process = await anyio.open_process(
            [config.command, *config.args], env=environment, cwd=config.cwd, stderr=errors, start_new_session=True
        )
    assert process is not None, "what is shielded is done"
    arrived, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    written, finished = anyio.Event(), anyio.Event()
    async with arrived, received, sent, leaving, anyio.create_task_group() as tasks:
        tasks.start_soon(_read, config.name, process, arrived, max_message_bytes, finished)
        tasks.start_soon(_write, process, leaving, arrived, written)
        tasks.start_soon(_watch, process, arrived)
        try:
            yield received, sent
        finally:
            with anyio.CancelScope(shield=True):
                received.close()
                sent.close()
                with anyio.move_on_after(_FLUSH_TIMEOUT_S):
                    await written.wait()
                await _stop(process)
                with anyio.move_on_after(_FLUSH_TIMEOUT_S):
                    await finished.wait()
            tasks.cancel_scope.cancel()


async def _read(
    name: str,
    process: Process,
    arrived: ObjectSendStream[SessionMessage | Exception],
    max_bytes: int,
    finished: anyio.Event,
) -> None:
    assert process.stdout is not None
    lines = BufferedByteReceiveStream(process.stdout)
    with contextlib.suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:
            try:
                line = await lines.receive_until(b"\n", max_bytes)
            except anyio.DelimiterNotFound:
                logger.warning("MCP server %s: sent a message of more than %d bytes", name, max_bytes)
                break
            if line.strip():
                await arrived.send(_message(name, line))
    await arrived.aclose()
    with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:  # a server that cannot write what it has to say could not end either
            await process.stdout.receive()
    finished.set()


def _message(name: str, line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:  # a server that prints what does not belong there is to be told of it, not given up
        logger.warning("MCP server %s: wrote a line that is no message", name)
        return error


async def _write(
    process: Process,
    leaving: ObjectReceiveStream[SessionMessage],
    arrived: ObjectSendStream[SessionMessage | Exception],
    written: anyio.Event,
) -> None:
    assert process.stdin is not None
    try:
        async with leaving:
            async for message in leaving:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(text.encode() + b"\n")
    except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        await arrived.aclose()  # whoever waits for an answer learns that there will be none
    finally:
        written.set()


async def _watch(process: Process, arrived: ObjectSendStream[SessionMessage | Exception]) -> None:
    """Ends the stream when the server has ended, also if a child of it still holds its output open."""
    while process.returncode is None:
        await anyio.sleep(_WATCH_INTERVAL_S)
    await anyio.sleep(_WATCH_INTERVAL_S)  # what it wrote last is being read
    await arrived.aclose()


async def _stop(process: Process) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    await _ended(process)
    await terminate_posix_process_tree(process, EXIT_TIMEOUT_S)  # its children too, which may have outlived it
    if not await _ended(process):
        logger.warning("process %d of an MCP server cannot be ended", process.pid)


async def _ended(process: Process) -> bool:
    """Whether the process has ended, after some time if need be. Its own `wait` would wait for those too who hold its output."""
    with anyio.move_on_after(EXIT_TIMEOUT_S):
        while process.returncode is None:
            await anyio.sleep(_POLL_INTERVAL_S)
    return process.returncode is not None
