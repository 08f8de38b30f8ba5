import asyncio
import threading
from typing import Any

import pytest

from lamps_jax.engine.events import Event
from lamps_jax.sched.request import FinishReason, SamplingParams
from lamps_jax.serve import account as account_module
from lamps_jax.serve.account import Account
from lamps_jax.serve.deadline import deadline_error
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.traffic import Traffic
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine


class Heard(list[str]):
    def heard(self, event: Event) -> None:
        self.append(event.kind)


class Scene:
    """An account in an event loop, and what is reported of it."""

    def __init__(self, **options: Any):
        self.traffic, self.listener, self.reported = Traffic(), Heard(), list[Account]()
        self.account = Account("POST", "/v1/chat/completions", "id", self.traffic, self.listener, self.reported.append, **options)
        self.traffic.under_way.add(self.account)

    async def reports(self) -> Account:
        while not self.reported:
            await asyncio.sleep(0.001)
        (account,) = self.reported
        return account


def prompt_of(engine, question: str, **sampling: Any) -> tuple[list[int], SamplingParams]:
    return engine.tokenizer.encode_prompt(f"Q: {question}\nA:"), SamplingParams(**sampling)


def test_a_request_is_reported_once_with_its_outputs_when_both_it_and_its_answer_have_ended(start):
    engine = start(make_engine())

    async def scenario() -> None:
        scene = Scene()
        scene.account.queue(2, num_free_places=8)
        assert scene.traffic.num_waiting == 2
        prompts = [prompt_of(engine, "What is 48*37?"), prompt_of(engine, "Hello")]
        async for _ in engine.generate(prompts, watch=scene.account):
            pass
        assert scene.traffic.num_waiting == 0 and not scene.reported
        scene.account.responded()
        account = await scene.reports()
        assert not scene.traffic.under_way
        assert {output.finish_reason for output in account.outputs} == {FinishReason.STOP} and len(account.outputs) == 2
        assert sorted(scene.listener) == ["call", "finished", "finished", "result", "started", "started"]
        await asyncio.sleep(0.01)
        assert len(scene.reported) == 1

    asyncio.run(scenario())


def test_a_client_that_leaves_is_reported_with_what_it_had_got_by_then(start):
    engine = start(make_engine(ScriptedExecutor(step_s=0.002)))

    async def scenario() -> None:
        scene = Scene()
        scene.account.queue(1, num_free_places=8)
        events = engine.generate([prompt_of(engine, "Count")], watch=scene.account)
        await anext(events)
        await events.aclose()
        scene.account.responded()
        (output,) = (await scene.reports()).outputs
        assert output.finish_reason is FinishReason.ABORT and output.token_ids

    asyncio.run(scenario())


def test_time_runs_out_also_for_whoever_does_not_read_what_there_is(start):
    engine = make_engine(ScriptedExecutor(step_s=0.002), max_model_len=4096)
    served = start(engine)

    async def scenario() -> None:
        scene = Scene(timeout_s=0.3)
        scene.account.queue(1, num_free_places=8)
        events = served.generate([prompt_of(served, "Count", ignore_eos=True)], watch=scene.account)
        await anext(events)
        await asyncio.sleep(0.5)  # nobody asks for the next one
        assert engine.num_unfinished == 0
        with pytest.raises(RequestError, match=r"within 0\.3 s"):
            async for _ in events:
                pass
        scene.account.responded()
        assert (await scene.reports()).error_code == "deadline_exceeded"

    asyncio.run(scenario())


def test_what_is_stopped_before_the_engine_has_it_never_gets_there(start):
    engine = start(make_engine())

    async def scenario() -> None:
        scene = Scene()
        scene.account.queue(1, num_free_places=8)
        events = engine.generate([prompt_of(engine, "Hello")], watch=scene.account)
        scene.account.stop(deadline_error(1.0))
        with pytest.raises(RequestError, match="within 1 s"):
            await anext(events)
        other = Scene()
        other.account.stop(deadline_error(2.0))
        with pytest.raises(RequestError, match="within 2 s"):
            other.account.queue(1, num_free_places=8)
        other.account.stop(deadline_error(3.0))  # the first reason counts
        assert other.account.error_code == "deadline_exceeded" and other.traffic.num_waiting == 0
        scene.account.responded()
        assert scene.traffic.num_waiting == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("limit", ["timeout_s", "queue_timeout_s"])
def test_time_that_ran_out_before_the_engine_was_asked_is_not_given_again(limit):
    async def scenario() -> None:
        scene = Scene(**{limit: 0.01})
        await asyncio.sleep(0.02)
        with pytest.raises(RequestError):
            scene.account.queue(1, num_free_places=8)
        assert scene.traffic.num_waiting == 0 and scene.account.error_code is not None

    asyncio.run(scenario())


def test_a_request_of_which_the_engine_says_nothing_more_is_reported_all_the_same(start, monkeypatch):
    monkeypatch.setattr(account_module, "GRACE_S", 0.05)

    async def scenario() -> None:
        scene = Scene()
        scene.account.queue(1, num_free_places=8)
        scene.account.added("request-0")
        await asyncio.sleep(0)
        scene.account.responded()
        assert not scene.reported
        assert (await scene.reports()).outputs == []

    asyncio.run(scenario())


def test_a_session_is_known_by_a_digest_only():
    async def scenario() -> None:
        scene = Scene()
        scene.account.queue(1, num_free_places=8, session_id="alice@example.com")
        assert len(scene.account.session) == 12 and "alice" not in scene.account.session

    asyncio.run(scenario())


def test_what_the_engine_says_once_the_loop_is_closed_hurts_nobody(start):
    release = threading.Event()
    tool = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: str(release.wait(20.0)))
    engine = start(make_engine(tools=[tool]))

    async def scenario() -> None:
        scene = Scene()
        scene.account.queue(1, num_free_places=8)
        events = engine.generate([prompt_of(engine, "Hang")], watch=scene.account)
        await anext(events)

    asyncio.run(scenario())
    release.set()
