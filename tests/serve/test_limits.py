import asyncio
import threading
from typing import Any

import httpx

from lamps_jax.serve.app import create_app
from lamps_jax.serve.limits import TokenBuckets
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, wait_until
from tests.serve.live_server import connect, request_bytes, serving
from tests.serve.test_app import chat, error_of, send

PATH = "/v1/chat/completions"


def state_with(start, engine=None, **options: Any) -> ServerState:
    return ServerState(start(engine or make_engine()), config=ServerConfig(**options))


def test_a_bucket_holds_a_minutes_worth_and_fills_as_time_goes_by():
    now = [0.0]
    buckets = TokenBuckets(3.0, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 20.0]
    assert buckets.take("b") == 0.0
    now[0] = 15.0
    assert buckets.take("a") == 5.0
    now[0] = 20.5
    assert [buckets.take("a") == 0.0 for _ in range(2)] == [True, False]
    now[0] = 1e6
    assert [buckets.take("a") == 0.0 for _ in range(4)] == [True, True, True, False]


def test_less_than_one_request_a_minute_lets_the_first_one_pass():
    buckets = TokenBuckets(0.5, clock=lambda: 0.0)
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 120.0]


def test_each_key_has_its_own_requests_a_minute(start):
    keys = ("sk-the-first-key", "sk-the-second-key")
    app = create_app(state_with(start, requests_per_minute=2.0, api_keys=keys), model_name="toy")

    async def ask(client: httpx.AsyncClient, key: str) -> httpx.Response:
        return await client.post(PATH, json=chat("Hello"), headers={"Authorization": f"Bearer {key}"})

    async def scenario() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [await ask(client, key) for key in (keys[0], keys[0], keys[0], keys[1])]

    responses = asyncio.run(scenario())
    assert [each.status_code for each in responses] == [200, 200, 429, 200]
    assert error_of(responses[2], 429)["code"] == "rate_limit_exceeded"
    assert 1 <= int(responses[2].headers["retry-after"]) <= 30


def test_looking_at_the_server_is_not_limited(start):
    app = create_app(state_with(start, requests_per_minute=1.0, max_concurrent_requests=1, max_queue_len=0), model_name="toy")
    assert {send(app, "GET", path).status_code for path in ["/health", "/v1/models", "/metrics"] * 3} == {200}


def test_no_more_than_so_many_requests_are_under_way_and_a_place_is_free_when_one_ends(start):
    release = threading.Event()
    tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: str(release.wait(20.0)))
    engine = make_engine(tools=[tool])
    state = state_with(start, engine, max_concurrent_requests=2)
    with serving(create_app(state, model_name="toy")) as port:
        url = f"http://127.0.0.1:{port}{PATH}"
        first, second = connect(port), connect(port)
        first.sendall(request_bytes(PATH, chat("Hang")))
        second.sendall(request_bytes(PATH, chat("Hang"))[:-5])  # one that is still being sent counts
        wait_until(lambda: len(state.traffic.under_way) == 2)
        response = httpx.post(url, json=chat("Hello"))
        assert error_of(response, 429)["code"] == "too_many_requests" and int(response.headers["retry-after"]) >= 1
        second.close()
        wait_until(lambda: len(state.traffic.under_way) == 1)
        assert httpx.post(url, json=chat("Hello")).status_code == 200
        release.set()
        assert b"200 OK" in first.recv(65536)
        first.close()


def test_when_the_queue_is_full_a_request_is_refused_before_it_is_read(start):
    engine = make_engine(ScriptedExecutor(step_s=0.003), max_num_seqs=1)
    state = state_with(start, engine, max_queue_len=2)
    with serving(create_app(state, model_name="toy")) as port:
        connections = [connect(port) for _ in range(3)]
        for number, connection in enumerate(connections):
            connection.sendall(request_bytes(PATH, chat("Count")))
            wait_until(lambda number=number: engine.num_unfinished == number + 1)
        wait_until(lambda: state.traffic.num_waiting == 2)
        response = httpx.post(f"http://127.0.0.1:{port}{PATH}", content=b"{")
        assert error_of(response, 429)["code"] == "queue_full" and "at most 2 may" in response.json()["error"]["message"]
        for connection in connections:
            connection.close()
        wait_until(lambda: state.traffic.num_waiting == 0 and not state.traffic.under_way)
        assert httpx.post(f"http://127.0.0.1:{port}{PATH}", json=chat("Hello")).status_code == 200


def test_requests_that_come_at_once_do_not_slip_past_the_limit(start):
    engine = make_engine(ScriptedExecutor(step_s=0.002), max_num_seqs=2)
    state = state_with(start, engine, max_queue_len=3)
    app = create_app(state, model_name="toy")

    async def scenario() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            responses = await asyncio.gather(*(client.post(PATH, json=chat("Count", max_tokens=40)) for _ in range(20)))
        return [response.status_code for response in responses]

    statuses = asyncio.run(scenario())
    assert statuses.count(200) >= 5 and statuses.count(429) == 20 - statuses.count(200) > 0
    assert state.traffic.num_waiting == 0


def test_a_request_of_several_prompts_counts_as_many(start):
    engine = make_engine(ScriptedExecutor(step_s=0.003), max_num_seqs=1)
    state = state_with(start, engine, max_queue_len=3)
    with serving(create_app(state, model_name="toy")) as port:
        first = connect(port)
        first.sendall(request_bytes("/v1/completions", {"prompt": ["Q: Count\nA:"] * 3, "max_tokens": 300}))
        wait_until(lambda: state.traffic.num_waiting == 2)
        body = {"prompt": ["a", "b"], "max_tokens": 2}
        error_of(httpx.post(f"http://127.0.0.1:{port}/v1/completions", json=body), 429)
        first.close()
        wait_until(lambda: state.traffic.num_waiting == 0)


def test_a_long_head_is_refused_by_the_real_server(start):
    from lamps_jax.serve.run import MAX_HEAD_BYTES

    with serving(create_app(state_with(start), model_name="toy")) as port:
        connection = connect(port)
        connection.sendall(b"GET /health HTTP/1.1\r\nX: " + b"y" * (2 * MAX_HEAD_BYTES))
        answer = connection.recv(4096)
        assert answer == b"" or b" 400 " in answer or b" 431 " in answer
        connection.close()


def test_requests_for_tokens_count_under_the_limits_of_their_key(start):
    keys = ("sk-the-first-key", "sk-the-second-key")
    app = create_app(state_with(start, requests_per_minute=2.0, api_keys=keys), model_name="toy")

    def ask(path: str, body: dict[str, Any], key: str) -> httpx.Response:
        return send(app, "POST", path, json=body, headers={"Authorization": f"Bearer {key}"})

    assert ask("/tokenize", {"prompt": "a"}, keys[0]).status_code == 200
    assert ask("/detokenize", {"tokens": [1]}, keys[0]).status_code == 200
    assert error_of(ask("/tokenize", {"prompt": "a"}, keys[0]), 429)["code"] == "rate_limit_exceeded"
    assert error_of(ask(PATH, chat("Hello"), keys[0]), 429)["code"] == "rate_limit_exceeded"
    assert ask("/detokenize", {"tokens": [1]}, keys[1]).status_code == 200


def test_requests_for_tokens_wait_in_no_queue(start):
    state = state_with(start, make_engine(ScriptedExecutor(step_s=0.003), max_num_seqs=1), max_queue_len=0)
    with serving(create_app(state, model_name="toy")) as port, connect(port) as busy:
        busy.sendall(request_bytes(PATH, chat("Count")))
        wait_until(lambda: bool(state.traffic.under_way))
        assert httpx.post(f"http://127.0.0.1:{port}/tokenize", json={"prompt": "a"}).status_code == 200


def test_requests_for_tokens_have_a_deadline(start, monkeypatch):
    go_on = threading.Event()
    state = state_with(start, request_timeout_s=0.2)
    app = create_app(state, model_name="toy")
    assert state.async_engine is not None
    monkeypatch.setattr(state.async_engine.tokenizer, "encode_prompt", lambda text: [int(go_on.wait(10.0))])

    async def scenario() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            response = await client.post("/tokenize", json={"prompt": "a"})
            go_on.set()
            return response

    assert error_of(asyncio.run(scenario()), 504)["code"] == "deadline_exceeded"
    assert not state.traffic.under_way


def test_what_one_request_may_ask_for_is_bounded_by_the_operator(start):
    app = create_app(state_with(start, max_priority=3, max_n=2), model_name="toy")
    for path, body in ((PATH, chat("Hello")), ("/v1/completions", {"prompt": "a", "max_tokens": 1})):
        assert send(app, "POST", path, json={**body, "priority": 3, "n": 2}).status_code == 200
        hints = {"nvext": {"agent_hints": {"priority": 4}}}
        for wrong, name, says in (
            ({"priority": 4}, "priority", "priority may be at most 3"),
            (hints, "priority", "priority may be at most 3"),
            ({"n": 3}, "n", "n may be at most 2"),
        ):
            error = error_of(send(app, "POST", path, json={**body, **wrong}), 400)
            assert error["param"] == name and says in error["message"] and f"--max-{name}" in error["message"]


def test_no_tenant_goes_before_another_unless_the_operator_lets_it(start, tmp_path):
    def status(*lines: str, **options: Any) -> int:
        keys = tmp_path / "keys"
        keys.write_text("\n".join(lines))
        app = create_app(state_with(start, api_key_file=keys, **options), model_name="toy")
        headers = {"Authorization": f"Bearer {lines[0].partition(':')[2]}"}
        return send(app, "POST", PATH, json={**chat("Hello"), "priority": 1}, headers=headers).status_code

    assert status("one:sk-the-first-key") == status("one:sk-the-first-key", "one:sk-the-second-key") == 200
    assert status("one:sk-the-first-key", "two:sk-the-second-key") == 400
    assert status("one:sk-the-first-key", "two:sk-the-second-key", max_priority=100) == 200
