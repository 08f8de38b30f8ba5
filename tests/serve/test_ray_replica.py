"""One replica as Ray Serve calls it, over a scripted engine and without a Ray around it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed here; 'make .venv-ray/.ready' makes an environment that has it")

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.serve import ray_app, ray_replica
from lamps_jax.serve.ray_replica import EngineReplica, Served
from lamps_jax.serve.routing import ReplicaLoad
from lamps_jax.serve.server_config import ServerConfig
from tests.fakes import ScriptedExecutor, make_engine

SCOPE = {"type": "http", "path": "/v1/completions", "root_path": "", "headers": [], "query_string": b"", "method": "POST"}
COUNT = json.dumps({"prompt": "Count", "max_tokens": 8}).encode()


class Breaks(ScriptedExecutor):
    def submit(self, plan: Any) -> Any:
        raise RuntimeError("the device is gone")


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EngineReplica]]:
    started: list[EngineReplica] = []
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="r1"))
    monkeypatch.setattr(ray_replica.serve, "get_replica_context", lambda: context)
    monkeypatch.setattr(ray_replica, "configure_logging", lambda server: None)

    def start_one(executor: ScriptedExecutor | None = None, server: ServerConfig | None = None) -> EngineReplica:
        monkeypatch.setattr(ray_replica, "build_engine", lambda *args, **options: make_engine(executor))
        started.append(EngineReplica(Served("embedded", "toy", EngineConfig(), server=server or ServerConfig())))
        return started[-1]

    yield start_one
    for replica in started:
        replica.__del__()


def test_a_replica_answers_whole_and_in_pieces(start: Callable[..., EngineReplica]):
    replica = start()
    name, answer = asyncio.run(replica.whole_answer(SCOPE, COUNT))
    assert (name, answer.status) == ("r1", 200)

    async def pieces() -> list[Any]:
        return [message async for messages in replica.answer(SCOPE, COUNT) for message in messages]

    begin, *bodies = asyncio.run(pieces())
    assert begin["status"] == 200
    text = json.loads(b"".join(body["body"] for body in bodies))["choices"][0]["text"]
    assert text == json.loads(answer.body)["choices"][0]["text"] != ""


def test_its_load_is_what_a_router_takes(start: Callable[..., EngineReplica]):
    load = ReplicaLoad(**asyncio.run(start().record_routing_stats()))
    assert load.takes_requests
    assert load.num_requests == 0
    assert load.measured_s > 1e9


def test_a_failed_engine_is_told_to_the_router_and_to_ray_serve(start: Callable[..., EngineReplica]):
    replica = start(Breaks())
    replica.check_health()
    assert [asyncio.run(replica.whole_answer(SCOPE, COUNT))[1].status for _ in range(2)] == [500, 503]
    with pytest.raises(RuntimeError, match="the device is gone"):
        replica.check_health()
    assert not ReplicaLoad(**asyncio.run(replica.record_routing_stats())).takes_requests


def test_keys_are_asked_for_as_by_one_server(start: Callable[..., EngineReplica]):
    replica = start(server=ServerConfig(api_keys=("a-secret-key",)))
    assert asyncio.run(replica.whole_answer(SCOPE, COUNT))[1].status == 401
    allowed = {**SCOPE, "headers": [(b"authorization", b"Bearer a-secret-key")]}
    assert asyncio.run(replica.whole_answer(allowed, COUNT))[1].status == 200


def test_arguments_are_texts_numbers_or_lists_of_every_option():
    given = {"policy": "lamps", "max_num_seqs": "600", "host_kv_bytes": "1M", "prefix_cache": "false"}
    given |= {"tools": "a.py,b.toml", "no_builtin_tools": "true", "api_keys": "12345678,abcdefgh"}
    served = ray_app.Options.model_validate(given).served()
    assert served.config == EngineConfig(
        SchedulerConfig("lamps", max_num_seqs=600, token_budget=600, prefix_cache=False),
        host_kv_bytes=2**20,
        compile_cache=served.config.compile_cache,
    )
    assert served.server.api_keys == ("12345678", "abcdefgh")
    assert [str(path) for path in served.tools] == ["a.py", "b.toml"]
    assert not served.with_builtin_tools
    assert served.name == "embedded"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"policy": "best"}, "unknown policy 'best'"),
        ({"num_replica": "3"}, "num_replica"),
        ({"num_replicas": "0"}, "greater than or equal to 1"),
        ({"predictor": "oracle"}, "predictor"),
        ({"no_tools": True, "tools": "a.py"}, "no_builtin_tools"),
        ({"num_blocks": "3"}, "use at least"),
        ({"api_keys": "short"}, "8 to 512"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(given: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        ray_app.app(ray_app.Options.model_validate(given))


def test_the_application_is_an_ingress_before_so_many_engines():
    application = ray_app.app(ray_app.Options(num_replicas=3, gpus_per_replica=0.5))
    deployment = application._bound_deployment
    assert deployment.name == "Ingress"
    (engines,) = deployment.init_args
    engines = engines._bound_deployment
    assert (engines.name, engines.num_replicas, engines.ray_actor_options["num_gpus"]) == ("Engine", 3, 0.5)
