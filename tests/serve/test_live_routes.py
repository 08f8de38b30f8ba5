import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from lamps_jax.serve import live_routes as module
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.live_routes import MAX_WATCHERS, live_routes
from lamps_jax.serve.recent import RecentRequests
from tests.fakes import ScriptedExecutor, make_engine, wait_until
from tests.serve.browser import served


@dataclass
class Watched:
    async_engine: AsyncEngine | None = None
    progress: str = "compiling, 2 of 7"
    recent: RecentRequests = field(default_factory=RecentRequests)


def app_on(watched: Watched) -> FastAPI:
    app = FastAPI()
    app.include_router(live_routes(watched, model_name="toy", interval_s=0.01))
    return app


def snapshots(response: httpx.Response) -> Iterator[dict[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    for line in response.iter_lines():
        if line:
            yield json.loads(line.removeprefix("data: "))


def test_a_stream_tells_of_loading_then_of_the_engine_and_of_its_failure(start):
    watched, executor = Watched(), ScriptedExecutor()
    with served(app_on(watched)) as url, httpx.stream("GET", f"{url}/live") as response:
        stream = snapshots(response)
        assert next(stream) == {"model": "toy", "status": "loading", "message": "compiling, 2 of 7"}
        engine = make_engine(executor)
        watched.async_engine = start(engine)
        ready = next(each for each in stream if each["status"] == "ready")
        assert ready["model"] == "toy" and ready["policy"] == "preserve" and ready["requests"] == []
        assert ready["device"]["total"] == engine.memory_state()["device_blocks"]
        assert httpx.get(f"{url}/live/snapshot").json()["status"] == "ready"
        watched.async_engine.stop()
        assert "stopped" in next(each for each in stream if each["status"] == "failed")["message"]


def test_all_who_watch_share_one_sampler_that_ends_with_the_last(start, monkeypatch):
    asked: list[float] = []
    snapshot = module.snapshot
    monkeypatch.setattr(module, "snapshot", lambda engine: snapshot(engine) | {"number": asked.append(0.0) or len(asked)})
    with served(app_on(Watched(start(make_engine())))) as url, ExitStack() as stack:
        streams = [snapshots(stack.enter_context(httpx.stream("GET", f"{url}/live"))) for _ in range(4)]
        numbers = [[each["number"] for each in islice(stream, 20)] for stream in streams]
        assert all(sorted(set(mine)) == mine for mine in numbers)
        assert len(set[int]().union(*numbers)) < sum(map(len, numbers)), "what one sees, others see too"
        stack.close()
        wait_until(lambda: _stands_still(asked))
        again = stack.enter_context(httpx.stream("GET", f"{url}/live"))
        assert next(snapshots(again))["number"] == len(asked)


def _stands_still(asked: list[float]) -> bool:
    before = len(asked)
    time.sleep(0.1)
    return len(asked) == before


def test_a_failure_to_look_is_told_and_logged_and_does_not_end_the_stream(start, monkeypatch, caplog):
    failures = iter([True, False])
    snapshot = module.snapshot
    monkeypatch.setattr(module, "snapshot", lambda engine: 1 / 0 if next(failures, False) else snapshot(engine))
    with served(app_on(Watched(start(make_engine())))) as url, httpx.stream("GET", f"{url}/live") as response:
        assert [each["status"] for each in islice(snapshots(response), 2)] == ["failed", "ready"]
    assert "could not look" in caplog.text and "ZeroDivisionError" in caplog.text


def test_no_more_than_so_many_may_watch_until_one_leaves(start):
    state = ServerState(start(make_engine()))
    with served(create_app(state, model_name="toy")) as url, ExitStack() as stack:
        streams = [snapshots(stack.enter_context(httpx.stream("GET", f"{url}/live"))) for _ in range(MAX_WATCHERS)]
        assert {next(stream)["status"] for stream in streams} == {"ready"}
        refused = httpx.get(f"{url}/live")
        assert refused.status_code == 429 and refused.json()["error"]["code"] == "too_many_watchers"
        assert httpx.get(f"{url}/live/snapshot").json()["status"] == "ready"
        stack.close()
        wait_until(lambda: _first_status(url) == 200)


def _first_status(url: str) -> int:
    with httpx.stream("GET", f"{url}/live") as response:
        return response.status_code


def test_requests_that_have_ended_show_in_the_latencies(start):
    state = ServerState()
    engine = make_engine()
    state.async_engine = AsyncEngine(engine, on_finished=state.recent.request_over)
    with served(create_app(state, model_name="toy")) as url:
        body = {"messages": [{"role": "user", "content": "What is 48*37?"}]}
        timings = httpx.post(f"{url}/v1/chat/completions", json=body).json()["lamps"]["timings"]
        shown = httpx.get(f"{url}/live/snapshot").json()
    assert shown["num_ended"] == 1 and shown["latencies"]["e2e_s"]["p99"] == pytest.approx(timings["e2e_s"], abs=1e-6)
    (calculator,) = shown["calls"]
    assert (calculator["tool"], calculator["num_returned"], calculator["preserve"]) == ("Calculator", 1, 1)
