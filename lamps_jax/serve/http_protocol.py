"""HTTP/1.1 on one connection, which is closed if the head of a request does not come in time.

A connection that is closed in the middle of a request's body is closed in two steps, as its client may still be sending: what
then came would have the system take the answer back that the client has not read (RFC 9112, section 9.6).
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 30.0
"""From a connection's beginning, or the first byte of a head, to the end of that head."""

PARTING_S = 2.0
"""How long what a client still sends is read, and thrown away, once it has its answer."""


class TimelyProtocol(H11Protocol):
    """What uvicorn speaks, to nobody who says too little: a connection that is only held open keeps others from having one."""

    _late: asyncio.TimerHandle | None = None
    _is_parting = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(_PartingTransport(transport, self))  # pyright: ignore[reportArgumentType]
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._is_parting:
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def begin_to_part(self, transport: asyncio.Transport) -> bool:
        """Says goodbye to a client that is sending a body, and listens for a while; False if none is."""
        if self.conn.their_state is not h11.SEND_BODY or not transport.can_write_eof():
            return False
        self._is_parting = True
        self.flow.resume_reading()
        transport.write_eof()
        self._forget()
        self._late = self.loop.call_later(PARTING_S, transport.close)
        return True

    def _watch(self) -> None:
        """Counts while part of a head is there; behind an answer uvicorn's own time-out counts until something comes."""
        if self._is_parting:
            return
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _PartingTransport:
    """A transport that is closed as its protocol wants."""

    def __init__(self, transport: asyncio.Transport, protocol: TimelyProtocol):
        self._transport, self._protocol, self._is_parting = transport, protocol, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._is_parting or self._transport.is_closing()

    def close(self) -> None:
        """Closes it once everything has been written; a second time does nothing."""
        if not self.is_closing():
            self._is_parting = self._protocol.begin_to_part(self._transport)
            if not self._is_parting:
                self._transport.close()
