"""A real server on a port of its own, and clients that speak to it byte by byte."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from tests.fakes import wait_until


@contextmanager
def serving(app: FastAPI, *, http: Any = "h11") -> Iterator[int]:
    """Serves `app` on a thread, over a protocol; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=http, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10.0)
        assert not thread.is_alive()


def request_bytes(path: str, body: dict[str, Any], **headers: str) -> bytes:
    """A POST request as it goes over the wire."""
    content = json.dumps(body).encode()
    named = {
        "Host": "test",
        "Content-Length": str(len(content)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content


def connect(port: int) -> socket.socket:
    """A connection to the server."""
    return socket.create_connection(("127.0.0.1", port), timeout=10.0)
