"""The tools that run elsewhere: ``remote.py http LEDGER PORT`` and ``remote.py mcp LEDGER``; each run leaves a ticket."""

import os
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def issue(ledger: Path, name: str) -> str:
    """A ticket of its own for each run."""
    ticket = f"{name}-{uuid.uuid4().hex[:12]}-1"
    with ledger.open("a") as file:
        file.write(f"{ticket}\n")
    return ticket


def serve_http(ledger: Path, port: int) -> None:
    """Answers every request with a ticket."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = issue(ledger, "Remote").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def serve_mcp(ledger: Path) -> None:
    """A server of one tool, over standard input and output; its process id lies beside the ledger, for those who kill it."""
    from mcp.server import MCPServer

    server = MCPServer("soak", log_level="ERROR")

    @server.tool()
    def Note(text: str) -> str:  # noqa: N802
        return issue(ledger, "Note")

    ledger.with_name("mcp.pid").write_text(str(os.getpid()))
    server.run("stdio")


if __name__ == "__main__":
    if sys.argv[1] == "http":
        serve_http(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        serve_mcp(Path(sys.argv[2]))
