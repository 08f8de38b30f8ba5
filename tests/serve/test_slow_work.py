import asyncio
import threading
import time

import pytest

from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.slow_work import SlowWork


def test_what_is_done_is_returned_and_what_goes_wrong_is_raised():
    async def run() -> None:
        work = SlowWork("a schema")
        assert await work.run(lambda a, b: a + b, 2, 3) == 5
        with pytest.raises(ZeroDivisionError):
            await work.run(lambda: 1 / 0)

    asyncio.run(run())


def test_work_that_does_not_end_is_given_up_and_keeps_its_place_until_it_does():
    async def run() -> None:
        work, go_on = SlowWork("a schema", max_at_once=1, patience_s=0.05), threading.Event()
        with pytest.raises(RequestError, match=r"a schema must not take longer than 0\.05 s") as late:
            await work.run(go_on.wait)
        with pytest.raises(RequestError, match="a schema cannot be compiled just now") as busy:
            await work.run(int)
        assert (late.value.status, busy.value.status, busy.value.code) == (400, 503, "busy")
        assert busy.value.headers == {"Retry-After": "5"}
        go_on.set()
        while True:
            try:
                assert await work.run(int) == 0
                break
            except RequestError:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_the_event_loop_and_the_threads_of_others_go_on_meanwhile():
    async def run() -> None:
        work, go_on = SlowWork("a schema", max_at_once=50), threading.Event()
        pieces = [asyncio.ensure_future(work.run(go_on.wait)) for _ in range(50)]
        await asyncio.sleep(0)
        began = time.perf_counter()
        assert await asyncio.to_thread(int) == 0
        assert time.perf_counter() - began < 5
        go_on.set()
        assert all(await asyncio.gather(*pieces))

    asyncio.run(run())
