import time
from contextlib import suppress

import pytest

from lamps_jax.serve import http_protocol
from lamps_jax.serve.app import create_app
from lamps_jax.serve.http_protocol import TimelyProtocol
from lamps_jax.serve.protocol import MAX_BODY_BYTES
from lamps_jax.serve.state import ServerState
from tests.fakes import make_engine
from tests.serve.live_server import connect, request_bytes, serving
from tests.serve.test_app import chat

HEAD = b"GET /version HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def port(start, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.4)
    with serving(create_app(ServerState(start(make_engine())), model_name="toy"), http=TimelyProtocol) as port:
        yield port


@pytest.mark.parametrize("said", [b"", b"G", HEAD[:-2]])
def test_a_head_that_does_not_come_is_not_waited_for(port, said):
    with connect(port) as connection:
        connection.sendall(said)
        assert connection.recv(1000) == b""


def test_a_head_that_comes_byte_by_byte_is_no_better(port):
    with connect(port) as connection:
        for byte in HEAD[:-1]:
            with suppress(OSError):  # it has been closed
                connection.sendall(bytes([byte]))
            time.sleep(0.02)
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


def test_the_head_of_a_later_request_has_its_time_too(port):
    with connect(port) as connection:
        connection.sendall(HEAD)
        assert b" 200 " in connection.recv(1000)
        time.sleep(0.6)  # nothing has been begun, so that nothing is late
        connection.sendall(HEAD + HEAD[:9])
        assert b" 200 " in connection.recv(1000)
        time.sleep(0.1)
        connection.sendall(HEAD[9:20])
        assert connection.recv(1000) == b""


def test_neither_a_body_nor_an_answer_that_takes_longer_is_cut_off(port):
    request = request_bytes("/v1/chat/completions", chat("Hello"))
    with connect(port) as connection:
        connection.sendall(request[:-3])
        time.sleep(0.6)
        connection.sendall(request[-3:])
        assert b" 200 " in connection.recv(4096)


def long_head(num_bytes: int, *more: str) -> bytes:
    lines = ["POST /v1/completions HTTP/1.1", "Host: test", f"Content-Length: {num_bytes}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def whole_answer(connection) -> bytes:
    """What comes until the server ends the connection."""
    answer = b""
    while received := connection.recv(65536):
        answer += received
    return answer


def is_refusal(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer.lower() and answer.endswith(b"}")


def test_a_body_that_will_be_too_long_is_refused_before_any_of_it_has_come(port):
    with connect(port) as connection:
        connection.sendall(long_head(MAX_BODY_BYTES + 1))
        assert is_refusal(whole_answer(connection))


def test_a_client_that_waits_to_be_told_to_go_on_with_too_long_a_body_is_not(port):
    with connect(port) as connection:
        connection.sendall(long_head(10**18, "Expect: 100-continue"))
        assert is_refusal(whole_answer(connection))


def test_one_with_a_body_that_is_not_too_long_is(port):
    request = request_bytes("/v1/chat/completions", chat("Hello"), Expect="100-continue")
    head, body = request.split(b"\r\n\r\n", 1)
    with connect(port) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert b" 200 " in connection.recv(4096)


def test_a_client_that_sends_its_long_body_before_it_listens_gets_the_refusal_too(port):
    with connect(port) as connection:
        connection.sendall(long_head(4 * MAX_BODY_BYTES) + b"x" * (4 * MAX_BODY_BYTES))
        assert is_refusal(whole_answer(connection))


def test_a_body_in_chunks_is_counted_and_refused_as_soon_as_it_is_too_long(port):
    chunk = b"%x\r\n%s\r\n" % (2**20, b" " * 2**20)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(port) as connection:
        connection.sendall(head + chunk * (MAX_BODY_BYTES // 2**20 + 2))
        assert is_refusal(whole_answer(connection))


def test_who_goes_on_sending_for_ever_is_cut_off(port, monkeypatch):
    monkeypatch.setattr(http_protocol, "PARTING_S", 0.2)

    def send_for(connection, seconds: float) -> None:
        connection.sendall(long_head(10**15))
        for _ in range(int(100 * seconds)):
            connection.sendall(b"x" * 1000)
            time.sleep(0.01)

    with connect(port) as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_for(connection, 10.0)
