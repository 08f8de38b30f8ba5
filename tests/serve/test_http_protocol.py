import time
from contextlib import suppress

import pytest

from lamps_jax.serve import http_protocol
from lamps_jax.serve.app import create_app
from lamps_jax.serve.http_protocol import TimelyProtocol
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
