"""A real HTTP server whose endpoints echo, fail, hang, drip, redirect and never end."""

import contextlib
import gzip
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


class Endpoints(ThreadingHTTPServer):
    """The server.

    Attributes:
        requests: Method and path of each request.
        gone: Set when a client broke off a response that was still being written.
        broken_times: How many requests to ``/flaky`` fail yet.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[str] = []
        self.gone, self.may_go_on = threading.Event(), threading.Event()
        self.broken_times = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.gone.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoints

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {self.path}")
        getattr(self, f"_{path.split('/')[1]}", self._echo)()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _echo(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        parts = urlsplit(self.path)
        said = {
            "method": self.command,
            "path": parts.path,
            "query": parse_qsl(parts.query, keep_blank_values=True),
            "body": self.rfile.read(length).decode(),
            "type": self.headers.get("Content-Type"),
            "key": self.headers.get("X-Key"),
            "cookie": self.headers.get("Cookie"),
        }
        self._reply(json.dumps(said).encode(), Set_Cookie="user=someone; Path=/")

    def _status(self) -> None:
        self._reply(b"because\nof this", int(self.path.split("/")[2]))

    def _redirect(self) -> None:
        self._reply(b"go on", 302, Location="/echo")

    def _elsewhere(self) -> None:
        self._reply(b"go on", 307, Location="http://localhost:1/")

    def _hang(self) -> None:
        self._stream(lambda: self.server.may_go_on.wait(0.02))

    def _drip(self) -> None:
        self._stream(lambda: time.sleep(0.02))

    def _huge(self) -> None:
        self._stream(lambda: None, piece=b"x" * 65536)

    def _stream(self, pause: Any, *, piece: bytes = b".") -> None:
        """Writes and writes until the client has gone."""
        quiet = self.path.startswith("/hang")
        if not quiet:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pause()
            if quiet:
                self.connection.settimeout(0.001)
                with contextlib.suppress(TimeoutError):
                    if not self.connection.recv(1):
                        raise ConnectionResetError
            else:
                self.wfile.write(piece)

    def _gzip(self) -> None:
        self._reply(gzip.compress(b"0" * 10_000_000), Content_Encoding="gzip")

    def _break(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def _flaky(self) -> None:
        if self.server.broken_times > 0:
            self.server.broken_times -= 1
            self.connection.close()
            self.close_connection = True
        else:
            self._reply(b"well again")

    def _latin(self) -> None:
        self._reply("schön".encode("latin-1"), Content_Type="text/plain; charset=latin-1")

    def _nonsense(self) -> None:
        self._reply(b"\xff\xfe", Content_Type="text/plain; charset=klingon")

    def _json(self) -> None:
        self._reply(json.dumps({"a/b": {"list": [1, {"x": "ä"}], "text": "said", "none": None}}).encode())

    def _pypi(self) -> None:
        self._reply(json.dumps({"info": {"summary": "The next generation HTTP client.", "author": "…"}}).encode())

    def _big_json(self) -> None:
        self._reply(json.dumps({"a": "x" * 2_000_000}).encode())


@contextlib.contextmanager
def endpoints() -> Iterator[Endpoints]:
    """The server, for as long as the context lasts."""
    server = Endpoints()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.may_go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
