import asyncio
import threading
import time
from contextlib import aclosing

import pytest

from lamps_jax.engine.events import Event
from lamps_jax.models.chat import render_chat
from lamps_jax.sched.request import FinishReason, SamplingParams
from lamps_jax.serve.async_engine import AsyncEngine, EngineUnavailable
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, wait_until


def prompt_for(engine: AsyncEngine, question: str, **sampling) -> tuple[list[int], SamplingParams]:
    return render_chat(engine.tokenizer, [{"role": "user", "content": question}]), SamplingParams(**sampling)


async def read(engine: AsyncEngine, *questions: str, **sampling) -> list[tuple[int, Event]]:
    prompts = [prompt_for(engine, question, **sampling) for question in questions]
    return [item async for arrived in engine.generate(prompts) for item in arrived]


def slow_tool(name: str, seconds: float, *, timeout_s: float = 10.0) -> tuple[Tool, threading.Event]:
    release = threading.Event()

    def function(text: str) -> str:
        release.wait(seconds)
        return "done"

    return Tool(name, "Waits.", one_string("text", "Anything."), function, timeout_s=timeout_s), release


def test_events_arrive_in_order_and_tell_the_whole_answer(start):
    engine = start(make_engine())
    events = [event for _, event in asyncio.run(read(engine, "What is 48*37?"))]
    kinds = [event.kind for event in events]
    assert kinds[:2] == ["call", "result"] and kinds[-1] == "finished" and set(kinds[2:-1]) == {"text"}
    assert "".join(event.text for event in events) == events[-1].output.text == "It is 1776."


def test_a_call_event_is_a_copy_that_later_results_do_not_change(start):
    engine = start(make_engine())
    events = [event for _, event in asyncio.run(read(engine, "What is 48*37?"))]
    assert events[0].call is not None and events[0].call.result is None
    assert events[1].call is not None and events[1].call.result == "1776"


def test_prompts_of_one_submission_are_served_together(start):
    engine = start(make_engine())
    items = asyncio.run(read(engine, "Hello", "What is 48*37?", "Who?"))
    texts = {index: event.output.text for index, event in items if event.kind == "finished"}
    assert texts == {0: "Hello to you, with an é and a 🙂.", 1: "It is 1776.", 2: "I do not know."}


def test_where_only_the_ends_are_wanted_nothing_else_is_told(start):
    engine = start(make_engine())

    async def ends() -> list[tuple[int, Event]]:
        prompts = [prompt_for(engine, question) for question in ("What is 48*37?", "Hello")]
        return [item async for arrived in engine.generate(prompts, only_ends=True) for item in arrived]

    items = asyncio.run(ends())
    assert [event.kind for _, event in items] == ["finished", "finished"]
    assert {index: event.output.text for index, event in items} == {0: "It is 1776.", 1: "Hello to you, with an é and a 🙂."}


def test_many_requests_from_many_tasks_all_finish(start):
    engine = start(make_engine(num_blocks=40))  # too few blocks for all: some are preempted

    async def all_of_them() -> list[str]:
        runs = await asyncio.gather(*(read(engine, "Twice, please") for _ in range(24)))
        return [run[-1][1].output.text for run in runs]

    assert asyncio.run(all_of_them()) == ["First then makes 5 and 9."] * 24


def test_closing_the_iterator_frees_a_decoding_request(start):
    engine = make_engine(ScriptedExecutor(step_s=0.002))
    async_engine = start(engine)

    async def leave_early() -> None:
        async with aclosing(async_engine.generate([prompt_for(async_engine, "Count")])) as events:
            async for _ in events:
                return

    asyncio.run(leave_early())
    wait_until(lambda: engine.num_unfinished == 0, timeout_s=0.5)


def test_cancelling_a_queued_request_removes_it(start):
    engine = make_engine(ScriptedExecutor(step_s=0.002), max_num_seqs=1)
    async_engine = start(engine)

    async def leave_the_queue() -> None:
        first = asyncio.create_task(read(async_engine, "Count", max_tokens=100))
        second = asyncio.create_task(read(async_engine, "Hello"))
        while engine.scheduler.num_waiting != 1:
            await asyncio.sleep(0.001)
        second.cancel()
        while engine.num_unfinished > 1:
            await asyncio.sleep(0.001)
        assert not first.done()
        assert (await first)[-1][1].output.finish_reason is FinishReason.LENGTH

    asyncio.run(leave_the_queue())


def test_cancelling_a_request_in_a_call_frees_its_preserved_blocks_at_once(start):
    tool, release = slow_tool("Slow", 5.0)
    engine = make_engine(tools=[tool])
    async_engine = start(engine)

    async def leave_the_call() -> None:
        task = asyncio.create_task(read(async_engine, "Hang"))
        while engine.scheduler.num_in_api_call != 1:
            await asyncio.sleep(0.001)
        assert engine.scheduler.blocks.num_free_blocks < engine.scheduler.blocks.num_blocks - 1
        task.cancel()
        began = time.monotonic()
        while engine.num_unfinished:
            await asyncio.sleep(0.001)
        assert time.monotonic() - began < 2.0  # the tool is still asleep

    asyncio.run(leave_the_call())
    release.set()


def test_a_tool_that_raises_is_told_to_the_model(start, caplog):
    def fail(text: str) -> str:
        raise ZeroDivisionError

    engine = start(make_engine(tools=[Tool("Broken", "Fails.", one_string("text", "Anything."), fail)]))
    output = asyncio.run(read(engine, "Break"))[-1][1].output
    assert output.text == "The tool said: error: the tool failed (ZeroDivisionError)."
    assert output.calls[0].failed and "ZeroDivisionError" in caplog.text


def test_a_tool_that_hangs_times_out_and_the_answer_goes_on(start):
    tool, release = slow_tool("Slow", 5.0, timeout_s=0.05)
    engine = start(make_engine(tools=[tool]))
    output = asyncio.run(read(engine, "Hang"))[-1][1].output
    release.set()
    assert output.text == "The tool said: error: timed out after 0.05 s."
    assert 0.05 <= output.timestamps.api_s < 2.0


def test_a_failing_step_ends_every_request_and_refuses_more(start, caplog):
    executor = ScriptedExecutor(step_s=0.001)
    engine = make_engine(executor, max_num_seqs=1)
    async_engine = start(engine)

    async def fail_midway() -> None:
        running = [asyncio.create_task(read(async_engine, "Count")) for _ in range(3)]
        while engine.scheduler.num_waiting != 2:
            await asyncio.sleep(0.001)
        executor.failure = RuntimeError("device lost")
        for events in await asyncio.gather(*running):
            output = events[-1][1].output
            assert output.finish_reason is FinishReason.ERROR and output.error is not None and "device lost" in output.error

    asyncio.run(fail_midway())
    wait_until(lambda: not async_engine.healthy)
    assert async_engine.failure is not None and "RuntimeError: device lost" in async_engine.failure
    assert "restart the server" in async_engine.failure
    with pytest.raises(EngineUnavailable, match="device lost"):
        async_engine.generate([])


def test_stopping_ends_what_runs_with_an_error(start):
    engine = make_engine(ScriptedExecutor(step_s=0.002))
    async_engine = start(engine)

    async def stop_midway() -> None:
        task = asyncio.create_task(read(async_engine, "Count"))
        while engine.scheduler.num_running != 1:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(async_engine.stop)
        assert (await task)[-1][1].output.error == "the engine was stopped"

    asyncio.run(stop_midway())
    async_engine.stop()  # a second time does nothing


def test_a_request_submitted_as_the_engine_stops_is_refused(start):
    engine = start(make_engine())
    events = engine.generate([prompt_for(engine, "Hello")])
    engine.stop()

    async def read_it() -> None:
        async for _ in events:
            pass

    with pytest.raises(EngineUnavailable, match="was stopped"):
        asyncio.run(read_it())


def test_a_prompt_that_is_too_long_is_refused_with_its_companions(start):
    engine = make_engine(max_model_len=64)
    async_engine = start(engine)
    with pytest.raises(ValueError, match="exceeds the context of 64"):
        asyncio.run(read(async_engine, "Hello", "x" * 100))
    wait_until(lambda: engine.num_unfinished == 0)


def test_an_iterator_that_is_never_read_starts_nothing(start):
    engine = make_engine()
    async_engine = start(engine)
    async_engine.generate([prompt_for(async_engine, "Hello")])
    assert engine.num_unfinished == 0
