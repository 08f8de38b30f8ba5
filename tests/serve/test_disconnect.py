"""Clients that hang up, on real connections to a real server, in every state that a request can be in."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.sched.request import Request
from lamps_jax.serve.app import create_app
from lamps_jax.serve.state import ServerState
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, wait_until
from tests.serve.live_server import connect, request_bytes, serving
from tests.serve.test_app import chat

PATH = "/v1/chat/completions"


@dataclass
class Scene:
    """A server with a tool that returns when the test lets it."""

    port: int
    engine: Engine
    release: threading.Event

    def ask(self, question: str, *, stream: bool) -> socket.socket:
        """A connection on which a question has been sent."""
        connection = connect(self.port)
        connection.sendall(request_bytes(PATH, chat(question, stream=stream)))
        return connection

    def requests(self) -> list[Request]:
        return self.engine.scheduler.requests()

    def hang_up_when(self, connection: socket.socket, holds: Callable[[], object]) -> None:
        """Closes the connection as soon as `holds`, and sees that the engine hears of it; the books are balanced by `start`."""
        wait_until(lambda: bool(holds()))
        before = self.engine.num_unfinished
        connection.close()
        wait_until(lambda: self.engine.num_unfinished == before - 1, timeout_s=2.0)


@pytest.fixture
def stage(start) -> Callable[..., object]:
    @contextmanager
    def build(*, step_s: float = 0.003, **limits: object) -> Iterator[Scene]:
        release = threading.Event()
        tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: str(release.wait(20.0)))
        options = {"max_num_seqs": 1, "max_model_len": 4096, **limits}
        engine = make_engine(ScriptedExecutor(step_s=step_s), tools=[tool], **options)  # pyright: ignore
        with serving(create_app(ServerState(start(engine)), model_name="toy")) as port:
            try:
                yield Scene(port, engine, release)
            finally:
                release.set()

    return build


def has_tokens(engine: Engine) -> bool:
    return any(request.num_sampled_tokens > 3 for request in engine.scheduler.requests())


pytestmark = pytest.mark.parametrize("stream", [False, True])


def test_a_client_that_hangs_up_while_it_decodes_is_not_decoded_for_any_more(stage, stream):
    with stage() as scene:
        connection = scene.ask("Count", stream=stream)
        scene.hang_up_when(connection, lambda: has_tokens(scene.engine))


def test_a_client_that_hangs_up_in_the_queue_leaves_it(stage, stream):
    with stage() as scene:
        first = scene.ask("Count", stream=stream)
        wait_until(lambda: has_tokens(scene.engine))
        second = scene.ask("Hello", stream=stream)
        scene.hang_up_when(second, lambda: scene.engine.scheduler.num_waiting == 1)
        assert scene.engine.scheduler.num_running == 1  # the other goes on
        scene.hang_up_when(first, lambda: True)


def test_a_client_that_hangs_up_while_its_prompt_is_computed_gives_the_rest_up(stage, stream):
    with stage(step_s=0.02) as scene:
        connection = scene.ask("x" * 3000, stream=stream)
        scene.hang_up_when(connection, lambda: [each for each in scene.requests() if 0 < each.num_computed_tokens < 1500])


@pytest.mark.parametrize(
    ("policy", "handled"),
    [
        ("preserve", lambda request: request.block_ids and not request.host_block_ids),
        ("vllm", lambda request: not request.block_ids and not request.host_block_ids),
        ("swap", lambda request: request.host_block_ids and not request.block_ids),
    ],
)
def test_a_client_that_hangs_up_in_a_call_frees_its_blocks_wherever_they_are(stage, stream, policy, handled):
    with stage(policy=policy, num_host_blocks=16) as scene:
        connection = scene.ask("Hang", stream=stream)
        scene.hang_up_when(
            connection, lambda: scene.engine.scheduler.num_in_api_call and all(handled(each) for each in scene.requests())
        )
        assert scene.engine.scheduler.blocks.host.num_free == 16


def test_a_client_that_hangs_up_between_its_call_and_the_next_token_is_forgotten(stage, stream):
    with stage(policy="swap", num_host_blocks=16) as scene:
        first = scene.ask("Hang", stream=stream)
        wait_until(lambda: any(request.host_block_ids for request in scene.requests()))
        second = scene.ask("Count", stream=stream)  # takes the only place of the batch
        wait_until(lambda: scene.engine.scheduler.num_running == 1)
        scene.release.set()
        scene.hang_up_when(first, lambda: scene.engine.scheduler.num_waiting == 1)
        scene.hang_up_when(second, lambda: True)


def test_a_swapped_request_whose_client_stays_is_answered(stage, stream):
    with stage(policy="swap", num_host_blocks=16) as scene:
        connection = scene.ask("Hang", stream=stream)
        wait_until(lambda: any(request.host_block_ids for request in scene.requests()))
        scene.release.set()
        wait_until(lambda: scene.engine.num_unfinished == 0)
        answer = b""
        while b"True" not in answer:
            answer += (part := connection.recv(65536))
            assert part, answer
        connection.close()


def test_a_client_that_hangs_up_before_its_body_is_whole_leaves_no_trace(stage, stream):
    with stage() as scene:
        connection = connect(scene.port)
        connection.sendall(request_bytes(PATH, chat("Hello", stream=stream))[:-10])
        connection.close()
        with scene.ask("Hello", stream=stream) as other:
            assert b"200 OK" in other.recv(65536)
        wait_until(lambda: scene.engine.num_unfinished == 0)


def test_a_client_that_only_ends_its_half_of_the_connection_counts_as_gone(stage, stream):
    with stage() as scene:
        connection = scene.ask("Count", stream=stream)
        wait_until(lambda: has_tokens(scene.engine))
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: scene.engine.num_unfinished == 0, timeout_s=2.0)
        connection.close()
