import asyncio

import httpx
import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.serve.app import create_app
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.state import ServerState
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine
from tests.serve.metrics.scrape import families, samples, scraped
from tests.serve.test_app import WEATHER, chat, send

PATH = "/v1/chat/completions"


def served(start, engine: Engine | None = None, **options):
    """An application on an engine whose steps are followed."""
    engine = engine or make_engine()
    state = ServerState(config=ServerConfig(**options))
    state.metrics.attach(engine)
    state.async_engine = start(engine)
    return create_app(state, model_name="toy"), engine


def test_the_state_of_the_engine_is_shown_once_there_is_one(start):
    state = ServerState()
    app = create_app(state, model_name="toy")
    assert "lamps:device_blocks" not in samples(scraped(app))
    state.async_engine = start(make_engine())
    assert send(app, "POST", PATH, json=chat("Hello")).status_code == 200
    seen = samples(scraped(app))
    assert seen["lamps:device_blocks"] > 0
    assert seen["lamps:free_device_blocks"] <= seen["lamps:device_blocks"]
    assert seen["lamps:running_requests"] == seen["lamps:waiting_requests"] == 0
    assert seen["lamps:preemptions_total"] == 0


def test_tokens_are_counted_as_the_usage_has_them(start):
    app, _ = served(start)
    questions = ("Hello", "What is 48*37?", "Twice, please", "What is 48*37?")
    usages = [send(app, "POST", PATH, json=chat(question)).json()["usage"] for question in questions]
    seen = samples(scraped(app))
    for names, field in (
        (("lamps:prompt_tokens_total", "vllm:prompt_tokens_total", "vllm:prefix_cache_queries_total"), "prompt_tokens"),
        (("lamps:generation_tokens_total", "vllm:generation_tokens_total"), "completion_tokens"),
        (("lamps:request_generation_tokens_sum", "vllm:request_generation_tokens_sum"), "completion_tokens"),
        (("vllm:request_max_num_generation_tokens_sum", "lamps:request_max_num_generation_tokens_sum"), "completion_tokens"),
    ):
        assert {seen[name] for name in names} == {sum(usage[field] for usage in usages)}
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    assert seen["lamps:cached_prompt_tokens_total"] == seen["vllm:prefix_cache_hits_total"] == cached > 0
    assert seen["lamps:finished_requests_total stop"] == seen["vllm:request_success_total stop"] == 4
    assert seen["vllm:e2e_request_latency_seconds_count"] == seen["vllm:time_to_first_token_seconds_count"] == 4


def test_latencies_add_up(start):
    app, _ = served(start, make_engine(ScriptedExecutor(step_s=0.002)))
    timings = [send(app, "POST", PATH, json=chat(question)).json()["lamps"]["timings"] for question in ("Hello", "Twice, please")]
    seen = samples(scraped(app))

    def total(name: str) -> float:
        return sum(each[name] for each in timings)

    assert seen["lamps:time_to_first_token_seconds_sum"] == pytest.approx(total("ttft_s"), abs=1e-4)
    assert seen["lamps:e2e_request_latency_seconds_sum"] == pytest.approx(total("e2e_s"), abs=1e-4)
    assert seen["lamps:request_service_seconds_sum"] == pytest.approx(total("service_s"), abs=1e-4)
    waited = seen["lamps:request_queue_time_seconds_sum"] + seen["lamps:request_prefill_time_seconds_sum"]
    assert waited == pytest.approx(seen["lamps:time_to_first_token_seconds_sum"])
    inference = seen["lamps:request_prefill_time_seconds_sum"] + seen["lamps:request_decode_time_seconds_sum"]
    assert inference == pytest.approx(seen["lamps:request_inference_time_seconds_sum"])


def test_steps_and_gaps_are_counted(start):
    app, engine = served(start, make_engine(ScriptedExecutor(step_s=0.002)))
    usage = send(app, "POST", PATH, json=chat("Hello")).json()["usage"]
    seen = samples(scraped(app))
    assert seen["lamps:steps_total"] == seen["lamps:iteration_tokens_count"] == engine.scheduler.num_steps
    assert seen["lamps:step_seconds_count"] == engine.scheduler.num_steps - 1  # the last one has none behind it
    assert seen["lamps:inter_token_latency_seconds_count"] == usage["completion_tokens"] - 1
    assert seen["lamps:inter_token_latency_seconds_bucket 0.001"] == 0  # a step takes two milliseconds


def test_calls_are_counted_by_tool_and_handling(start):
    app, _ = served(start)
    send(app, "POST", PATH, json=chat("Twice, please"))
    send(app, "POST", PATH, json=chat("Weather in Oslo?", tools=[WEATHER]))
    seen = samples(scraped(app))
    assert seen["lamps:handling_decisions_total preserve Calculator"] == 2
    assert seen["lamps:api_call_seconds_count Calculator"] == 2
    assert seen["lamps:resume_time_to_first_token_seconds_count preserve"] == 2
    assert seen["lamps:waste_token_seconds_total preserved"] > 0
    assert seen["lamps:finished_requests_total tool_calls"] == 1 and seen["vllm:request_success_total stop"] == 2
    kept = [value for name, value in seen.items() if name.startswith("lamps:handling_decisions_total") and "get_weather" in name]
    assert kept == [1]


def test_failed_calls_are_counted(start):
    def broken(text: str) -> str:
        raise RuntimeError("no")

    app, _ = served(start, make_engine(tools=[Tool("Broken", "", one_string("text", ""), broken)]))
    send(app, "POST", PATH, json=chat("Break"))
    assert samples(scraped(app))["lamps:failed_api_calls_total Broken"] == 1


def test_swaps_are_shown_by_handling(start):
    app, _ = served(start, make_engine(policy="swap", num_host_blocks=16))
    assert send(app, "POST", PATH, json=chat("What is 48*37?")).json()["choices"][0]["message"]["content"] == "It is 1776."
    seen = samples(scraped(app))
    assert seen["lamps:handling_decisions_total swap Calculator"] == 1
    assert seen["lamps:paused_requests swap"] == seen["lamps:paused_requests preserve"] == 0


def test_http_requests_are_counted_by_route_and_status_and_nobody_can_make_up_labels(start):
    app, _ = served(start, api_keys=("sk-a-secret-key",))
    headers = {"Authorization": "Bearer sk-a-secret-key"}
    send(app, "POST", PATH, json=chat("Hello"), headers=headers)
    send(app, "POST", PATH, json=chat("Hello"))
    for path in ("/v1/models/toy", "/v1/models/other", "/v1/nothing", "/nothing", "/web/none.js"):
        send(app, "GET", path, headers=headers)
    send(app, "BREW", "/coffee", headers=headers)
    seen = samples(scraped(app))
    assert seen[f"lamps:http_requests_total POST {PATH} 200"] == seen[f"lamps:http_requests_total POST {PATH} 401"] == 1
    assert seen["lamps:http_requests_total GET /v1/models 200"] == seen["lamps:http_requests_total GET /v1/models 404"] == 1
    assert seen["lamps:http_requests_total GET other 404"] == 2
    assert seen["lamps:http_requests_total GET /web 404"] == 1
    assert seen["lamps:http_requests_total other other 404"] == 1
    assert seen["lamps:refused_requests_total invalid_api_key"] == 1
    assert seen["lamps:refused_requests_total queue_full"] == seen["lamps:http_requests_under_way"] == 0


def test_requests_that_were_given_up_count_as_such_and_not_among_latencies(start):
    app, engine = served(start, make_engine(ScriptedExecutor(step_s=0.005)))

    async def scenario() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.post(PATH, json=chat("Count", timeout_s=0.2))).status_code == 504
            while engine.num_unfinished:
                await asyncio.sleep(0.001)
            return (await client.get("/metrics")).text

    seen = samples(asyncio.run(scenario()))
    assert seen["lamps:finished_requests_total abort"] == seen["vllm:request_success_total abort"] == 1
    assert seen["lamps:refused_requests_total deadline_exceeded"] == 1
    assert seen["lamps:e2e_request_latency_seconds_count"] == 0 and seen["lamps:time_to_first_token_seconds_count"] == 1


def test_blocks_that_are_found_again_or_given_up_are_counted(start):
    app, engine = served(start, make_engine(num_blocks=33, max_num_seqs=1))
    for question in ("Hello there, is anybody in?", "Hello there, is anybody in?", *(f"{number} " * 60 for number in range(6))):
        send(app, "POST", PATH, json=chat(question, max_tokens=5))
    seen = samples(scraped(app))
    evictions = engine.scheduler.blocks.device.num_evictions
    assert seen["lamps:kv_block_lifetime_seconds_count"] == seen["vllm:kv_block_idle_before_evict_seconds_count"] == evictions > 0
    assert seen["lamps:kv_block_reuse_gap_seconds_count"] >= 2
    assert seen["lamps:kv_block_lifetime_seconds_sum"] >= seen["lamps:kv_block_idle_before_evict_seconds_sum"] > 0


def test_what_is_shown_is_whole_while_many_look_and_many_ask(start):
    app, _ = served(start, metrics_aliases=("vllm", "sglang"))

    async def scenario() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            asked = [client.post(PATH, json=chat("What is 48*37?")) for _ in range(8)]
            looks = [client.get("/metrics") for _ in range(20)]
            answers = await asyncio.gather(*asked, *looks)
        assert {answer.status_code for answer in answers} == {200}
        return [answer.text for answer in answers[8:]]

    for text in asyncio.run(scenario()):
        families(text)
