"""Two replicas under Ray Serve, started as the documentation says, and what becomes of requests when one of them is killed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lamps_jax.options import default_compile_cache
from tests.docs.markdown import ROOT

BIN = ROOT / ".venv-ray" / "bin"
NUM_STREAMS, NUM_TOKENS = 20, 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (BIN / "serve").exists(), reason="there is no .venv-ray with Ray; 'make .venv-ray/.ready' makes it"),
]


@dataclass
class Deployment:
    url: str
    process: psutil.Process

    def engines(self) -> list[psutil.Process]:
        """The processes of the replicas."""
        children = self.process.children(recursive=True)
        return [child for child in children if "".join(child.cmdline()).startswith("ray::ServeReplica:default:Engine")]

    def health(self) -> dict[str, Any]:
        """What /health says; without replicas if it says no."""
        try:
            response = httpx.get(f"{self.url}/health", timeout=30.0)
        except httpx.TransportError:
            return {"replicas": {}}
        return response.json() if response.status_code == 200 else {"replicas": {}}

    def replicas(self) -> set[str]:
        return set(self.health()["replicas"])


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    engine = {"max_model_len": 768, "max_chunk_tokens": 64, "attention": "xla", "compile_cache": default_compile_cache()}
    config = {
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [{"import_path": "lamps_jax.serve.ray_app:app", "args": {"num_replicas": 2, **engine}}],
    }
    directory = tmp_path_factory.mktemp("ray")
    (directory / "config.yaml").write_text(json.dumps(config))  # which is YAML, too
    with run_serve(directory) as process:
        started = Deployment(f"http://127.0.0.1:{port}", process)
        wait_until(lambda: process.is_running() and len(started.replicas()) == 2, (directory / "log").read_text)
        yield started


@contextmanager
def run_serve(directory: Path) -> Iterator[psutil.Process]:
    """``serve run`` on a Ray of its own, gone with all its processes at the end."""
    with tempfile.TemporaryDirectory(prefix="ray") as ray_directory, (directory / "log").open("w") as log:
        environment = os.environ | {"RAY_TMPDIR": ray_directory, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        command = [str(BIN / "serve"), "run", "--address", "local", str(directory / "config.yaml")]
        process = psutil.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            family = [process, *process.children(recursive=True)]
            process.send_signal(signal.SIGINT)
            psutil.wait_procs(family, timeout=20.0)
            for each in family:
                if each.is_running():
                    each.kill()
            psutil.wait_procs(family, timeout=10.0)


def wait_until(holds: Callable[[], bool], log: Callable[[], str] = str, *, timeout_s: float = 150.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, log()[-3000:]
        time.sleep(0.2)


@dataclass
class Stream:
    """What a client has seen of its stream."""

    status: int = 0
    replica: str = ""
    finish_reason: str | None = None
    error: dict[str, Any] = field(default_factory=dict)
    num_chunks: int = 0
    is_done: bool = False

    @property
    def is_whole(self) -> bool:
        return self.is_done and not self.error and self.finish_reason == "length"


async def follow(client: httpx.AsyncClient, session: str, seen: Stream) -> None:
    prompt = f"{session} tells a story"
    length = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "temperature": 1.0}
    body = {"prompt": prompt, "session_id": session, "stream": True, **length}
    async with client.stream("POST", "/v1/completions", json=body) as response:
        seen.status, seen.replica = response.status_code, response.headers.get("x-lamps-replica", "")
        if seen.status != 200:
            seen.error = json.loads(await response.aread())["error"]
            return
        async for data in events(response):
            seen.is_done = data == "[DONE]"
            chunk = {} if seen.is_done else json.loads(data)
            for choice in chunk.get("choices", ()):
                seen.num_chunks, seen.finish_reason = seen.num_chunks + 1, choice["finish_reason"]
            seen.error = chunk.get("error", seen.error)


async def events(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def test_sessions_stay_at_their_replica_and_replicas_share_the_sessions(deployment: Deployment):
    def where(session: str) -> str:
        headers, body = {"X-Session-Id": session}, {"prompt": "Hello", "max_tokens": 2}
        return httpx.post(f"{deployment.url}/v1/completions", headers=headers, json=body, timeout=60.0).headers["x-lamps-replica"]

    rounds = [{session: where(session) for session in "abcdefgh"} for _ in range(3)]
    assert rounds[0] == rounds[1] == rounds[2]
    assert set(rounds[0].values()) == deployment.replicas()


def test_the_surface_is_that_of_one_server(deployment: Deployment):
    with httpx.Client(base_url=deployment.url, timeout=60.0) as client:
        answer = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "What is 48*37?"}]})
        assert "1776" in answer.json()["choices"][0]["message"]["content"]
        assert client.get("/v1/models").json()["data"][0]["max_model_len"] == 768
        assert client.get("/nowhere").json()["error"]["message"] == "there is no /nowhere here"
        assert client.post("/v1/completions", content=b"{").status_code == 400
        assert client.post("/v1/completions", content=b" " * (8 * 2**20 + 1)).status_code == 413
        assert len(client.get("/version").headers.get_list("x-request-id")) == 1
        assert client.get("/version", headers={"X-Request-Id": "mine"}).headers["x-request-id"] == "mine"


def test_metrics_name_the_replica_of_every_sample(deployment: Deployment):
    samples = [line for line in httpx.get(f"{deployment.url}/metrics", timeout=30.0).text.splitlines() if line[:1] != "#"]
    assert samples
    for name in deployment.replicas():
        assert any(f'replica="{name}"' in line for line in samples)
    assert all('replica="' in line for line in samples)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_request(deployment: Deployment, stream: bool):
    def running() -> int:
        return deployment.health()["kv"]["running_requests"]

    async def leave() -> None:
        body = {"prompt": "Hello", "max_tokens": 700, "ignore_eos": True, "stream": stream}
        async with httpx.AsyncClient(base_url=deployment.url, timeout=60.0) as client:
            asked = asyncio.ensure_future(client.post("/v1/completions", json=body))
            await asyncio.to_thread(wait_until, lambda: running() == 1)
            asked.cancel()
            await asyncio.wait({asked})

    before = deployment.health()["kv"]
    asyncio.run(leave())
    left_s = time.monotonic()
    wait_until(lambda: running() == 0)
    assert deployment.health()["kv"]["free_device_blocks"] == before["free_device_blocks"]
    assert time.monotonic() - left_s < 60.0


def test_a_replica_that_is_killed_loses_its_own_requests_alone_and_comes_back(deployment: Deployment):
    wait_until(lambda: len(deployment.replicas()) == 2)
    before = deployment.replicas()
    seen = {f"session-{at}": Stream() for at in range(NUM_STREAMS)}
    later = {f"later-{at}": Stream() for at in range(4)}

    async def kill_amid() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=deployment.url, timeout=120.0, limits=limits) as client:
            streams = [asyncio.ensure_future(follow(client, *each)) for each in seen.items()]
            while not all(each.num_chunks for each in seen.values()):
                await asyncio.sleep(0.05)
            os.kill(deployment.engines()[0].pid, signal.SIGKILL)
            streams += [asyncio.ensure_future(follow(client, *each)) for each in later.items()]
            await asyncio.gather(*streams)

    asyncio.run(kill_amid())
    lost = {each.replica for each in seen.values() if not each.is_whole}
    assert len(lost) == 1 and lost < before
    for each in seen.values():
        assert each.is_done and each.status == 200
        assert each.is_whole == (each.replica not in lost)
        assert each.is_whole or each.error["code"] == "replica_lost"
    for each in later.values():  # sent in the moment of the death: to the survivor, unless they had begun
        assert (each.is_whole and each.replica not in lost) or each.error["code"] == "replica_lost"
    moved = {session: Stream() for session, each in seen.items() if each.replica in lost}
    wait_until(lambda: len(deployment.replicas() - lost) == 2)

    async def go_on() -> None:
        async with httpx.AsyncClient(base_url=deployment.url, timeout=120.0) as client:
            await asyncio.gather(*(follow(client, *each) for each in list(moved.items())[:4]))

    asyncio.run(go_on())
    assert all(each.is_whole and each.replica not in lost for each in list(moved.values())[:4])


def test_ingress_and_replica_pass_the_tests_that_need_ray_but_no_cluster():
    command = [str(BIN / "python"), "-m", "pytest", "-q", "-W", "ignore::DeprecationWarning", "-p", "no:cacheprovider"]
    files = ["tests/serve/test_ray_ingress.py", "tests/serve/test_ray_replica.py"]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout
