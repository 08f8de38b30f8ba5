import asyncio
import threading

import pytest

from lamps_jax.tools.background import BackgroundLoop


async def name_of_thread() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_coroutines_of_any_thread_run_on_one_other():
    loop = BackgroundLoop("elsewhere")
    assert [loop.run(name_of_thread()) for _ in range(3)] == ["elsewhere"] * 3
    loop.stop()
    assert "elsewhere" not in {thread.name for thread in threading.enumerate()}


def test_a_loop_that_nobody_needed_has_no_thread():
    loop = BackgroundLoop("unneeded")
    assert "unneeded" not in {thread.name for thread in threading.enumerate()}
    loop.stop()


def test_what_a_coroutine_raises_is_raised_where_its_result_is_asked_for():
    loop = BackgroundLoop("test")

    async def fail() -> None:
        raise LookupError("nothing here")

    with pytest.raises(LookupError, match="nothing here"):
        loop.run(fail())
    loop.stop()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_what_would_end_the_loop_ends_the_coroutine_alone(error: BaseException):
    loop = BackgroundLoop("test")

    async def fail() -> None:
        raise error

    with pytest.raises(RuntimeError, match="in a coroutine"):
        loop.run(fail())
    assert loop.run(name_of_thread()) == "test"
    loop.stop()


def test_stopping_cancels_what_runs_and_nothing_begins_afterwards():
    loop, begun, seen = BackgroundLoop("test"), threading.Event(), []

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    future = loop.submit(wait())
    assert begun.wait(10)
    loop.stop()
    loop.stop()
    assert seen == ["cancelled"] and future.cancelled()
    with pytest.raises(RuntimeError, match="the event loop test has been stopped"):
        loop.submit(name_of_thread())
