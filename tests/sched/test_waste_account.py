from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sched.waste_account import Waste, WasteAccount


def account_of(num_held_tokens: int) -> WasteAccount:
    config = SchedulerConfig(token_budget=64, max_chunk_tokens=64, max_num_seqs=4, max_model_len=64)
    scheduler = Scheduler(config, BlockManager(33, 4))
    scheduler.add(Request("a", 0.0, [1] * num_held_tokens, SamplingParams()))
    scheduler.schedule(0.0)
    return WasteAccount(scheduler)


def test_a_step_that_computes_nothing_again_and_copies_nothing_wastes_nothing():
    account = account_of(16)
    account.stepped(2.0, 2.0, 10, 0, 0)
    assert account.waste == Waste()


def test_the_share_of_a_step_that_computes_again_is_wasted_by_all_that_is_held():
    account = account_of(16)
    account.stepped(2.0, 2.0, 10, 0, 5)  # half of the step, over four blocks of four
    assert account.waste == Waste(recomputed=2.0 * 0.5 * 16)
    account.stepped(2.0, 2.0, 10, 0, 5)  # none since
    account.stepped(2.0, 2.0, 0, 0, 6)  # never more than the whole step
    assert account.waste == Waste(recomputed=16.0 + 32.0)


def test_blocks_on_their_way_waste_themselves_and_all_others_for_as_long_as_they_outlast_the_step():
    account = account_of(16)
    account.stepped(1.0, 3.0, 10, 2, 0)
    assert account.waste == Waste(swapped=2 * 4 * 3.0 + 2.0 * 16)


def test_what_calls_hold_is_wasted_as_time_goes_by():
    account = account_of(16)
    account.elapsed(1.0, 4.0, 12)
    account.elapsed(4.0, 4.0, 100)
    assert account.waste == Waste(preserved=36.0)
