"""What is expected of a call follows what those before it did."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.call_history import MIN_CALLS, CallHistory
from lamps_jax.sched.request import FinishReason, Request, SamplingParams
from lamps_jax.sched.scheduler import Scheduler


class Seen(NamedTuple):
    tool: str
    duration_s: float
    returned_tokens: int


def history_of(*durations_s: float, tool: str = "search", **options: int) -> CallHistory:
    history = CallHistory(**options)
    for duration_s in durations_s:
        history.observe(tool, duration_s)
    return history


def test_nothing_is_expected_of_a_tool_before_a_few_calls_have_been_seen() -> None:
    history = CallHistory()
    assert history.expected_s("search") is None
    for _ in range(MIN_CALLS - 1):
        history.observe("search", 2.0)
    assert history.expected_s("search") is None
    history.observe("search", 5.0)
    assert history.expected_s("search") == pytest.approx(3.0)


def test_a_tool_that_was_never_called_is_expected_to_take_as_long_as_all_together() -> None:
    history = history_of(1.0, 2.0, 6.0)
    assert history.expected_s("calculator") == pytest.approx(3.0)
    assert not history.past_s("calculator")


def test_a_tool_of_few_calls_is_moved_by_each_from_what_all_do_to_what_it_does() -> None:
    history = history_of(*[1.0] * 10)
    history.observe("slow", 10.0)
    pooled = (10 * 1.0 + 10.0) / 11
    assert history.expected_s("slow") == pytest.approx((10.0 + (MIN_CALLS - 1) * pooled) / MIN_CALLS)
    history.observe("slow", 10.0)
    pooled = (10 * 1.0 + 2 * 10.0) / 12
    assert history.expected_s("slow") == pytest.approx((2 * 10.0 + (MIN_CALLS - 2) * pooled) / MIN_CALLS)
    history.observe("slow", 10.0)
    assert history.expected_s("slow") == 10.0
    assert history.expected_s("search") == 1.0


def test_a_tool_that_has_become_slower_is_soon_expected_to_be_slow() -> None:
    expected_s = history_of(*[1.0] * 1000, *[9.0] * 30, memory=10).expected_s("search")
    assert expected_s is not None
    assert expected_s > 8.0


def test_the_durations_of_a_tool_are_remembered_in_ascending_order_and_the_oldest_forgotten() -> None:
    history = history_of(9.0, 1.0, 5.0, 3.0, 2.0, 2.0, memory=4)
    assert list(history.past_s("search")) == [2.0, 2.0, 3.0, 5.0]


def test_the_tool_called_longest_ago_is_forgotten_and_leaves_the_pool() -> None:
    history = history_of(*[100.0] * 5, tool="old", max_tools=2)
    for tool in ("search", "old", "search", "search", "new"):
        history.observe(tool, 100.0 if tool == "old" else 1.0)
    assert [row.tool for row in history.remembered()] == ["search", "new"]
    assert history.expected_s("old") == 1.0


def test_returned_lengths_are_means_of_those_that_were_counted() -> None:
    history = CallHistory()
    for returned_tokens in (10, None, 20, None, 60):
        history.observe("search", 1.0, returned_tokens)
    assert history.expected_returned_tokens("search") == pytest.approx(30)
    assert history.expected_returned_tokens("calculator") == pytest.approx(30)
    assert history.expected_returned_tokens("", finish_reason=FinishReason.STOP) is None


def test_what_clients_do_is_kept_by_the_finish_reason_and_apart_from_tools() -> None:
    history = history_of(1.0, 1.0, 1.0)
    for duration_s in (20.0, 40.0, 60.0):
        history.observe("", duration_s, 7, finish_reason=FinishReason.STOP)
    assert history.expected_s("", finish_reason=FinishReason.STOP) == pytest.approx(40.0)
    assert history.expected_returned_tokens("", finish_reason=FinishReason.STOP) == pytest.approx(7)
    assert list(history.past_s("", finish_reason=FinishReason.STOP)) == [20.0, 40.0, 60.0]
    assert history.expected_s("", finish_reason=FinishReason.TOOL_CALLS) is None
    assert history.expected_s("calculator") == 1.0


def test_a_memory_too_short_to_say_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="memory must be at least 3"):
        CallHistory(memory=2)


calls = st.lists(
    st.builds(Seen, st.sampled_from("abcd"), st.floats(0, 1e4), st.integers(0, 500)),
    max_size=80,
)


@given(calls, st.integers(MIN_CALLS, 9))
def test_history_says_what_a_plain_account_of_all_calls_says(seen: list[Seen], memory: int) -> None:
    history, all_means = CallHistory(memory=memory), dict[str, tuple[int, float]]()
    for call in seen:
        history.observe(*call)
        count, mean = all_means.get(call.tool, (0, 0.0))
        count = min(count + 1, memory)
        all_means[call.tool] = count, mean + (call.duration_s - mean) / count
    num_pooled = sum(count for count, _ in all_means.values())
    for tool in "abcde":
        count, mean = all_means.get(tool, (0, 0.0))
        mine = [call.duration_s for call in seen if call.tool == tool]
        assert list(history.past_s(tool)) == (sorted(mine[-memory:]) if len(mine) >= MIN_CALLS else [])
        if count >= MIN_CALLS:
            assert history.expected_s(tool) == mean
        elif num_pooled < MIN_CALLS:
            assert history.expected_s(tool) is None
        else:
            pooled = sum(count * mean for count, mean in all_means.values()) / num_pooled
            expected = (count * mean + (MIN_CALLS - count) * pooled) / MIN_CALLS
            assert history.expected_s(tool) == pytest.approx(expected, abs=1e-6)


@given(calls, calls)
def test_a_history_begins_where_another_has_ended(before: list[Seen], after: list[Seen]) -> None:
    one, other = CallHistory(memory=5, max_tools=3), CallHistory(memory=5, max_tools=3)
    for call in before:
        one.observe(*call)
    other.restore(one.remembered())
    for call in after:
        one.observe(*call)
        other.observe(*call)
    assert other.remembered() == one.remembered()
    for tool in "abcde":
        assert other.past_s(tool) == one.past_s(tool)
        if (expected_s := one.expected_s(tool)) is not None:
            assert other.expected_s(tool) == pytest.approx(expected_s, abs=1e-6)


def test_what_is_restored_takes_the_place_of_what_was_known_and_no_more_room_than_there_is() -> None:
    history, other = history_of(9.0, 9.0, 9.0, memory=3, max_tools=2), history_of(1.0, 2.0, 3.0, 4.0)
    for tool in ("calculator", "search"):
        other.observe(tool, 4.0)
    history.restore(other.remembered())
    assert list(history.past_s("search")) == [3.0, 4.0, 4.0]
    assert history.remembered()[-1].num_calls == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean_s", -1.0),
        ("mean_s", float("inf")),
        ("num_calls", -1),
        ("mean_returned_tokens", float("nan")),
        ("recent_s", (-1.0,)),
    ],
)
def test_nonsense_is_not_taken_for_a_history(field: str, value: float) -> None:
    (row,) = history_of(1.0).remembered()
    with pytest.raises(ValueError, match=field):
        CallHistory().restore([row._replace(**{field: value})])


def test_the_scheduler_learns_how_long_the_clients_of_a_program_take_and_what_they_add() -> None:
    scheduler = Scheduler(SchedulerConfig(max_model_len=64), BlockManager(65, 16))
    for number, arrival_s in enumerate((0.0, 10.0, 40.0, 90.0)):
        name = f"r{number}"
        scheduler.add(Request(name, arrival_s, [1] * (8 + 4 * number), SamplingParams(), program_id="agent"))
        scheduler.add(Request(f"other{number}", arrival_s, [1], SamplingParams()))
        scheduler.finish(name, FinishReason.TOOL_CALLS, arrival_s + 5.0)
    history = scheduler.call_history
    assert list(history.past_s("", finish_reason=FinishReason.TOOL_CALLS)) == [5.0, 25.0, 45.0]
    assert history.expected_returned_tokens("", finish_reason=FinishReason.TOOL_CALLS) == 4.0
    assert history.expected_s("search") is None


def test_what_follows_an_abort_is_nobodys_habit() -> None:
    scheduler = Scheduler(SchedulerConfig(max_model_len=64), BlockManager(65, 16))
    for number in range(5):
        scheduler.add(Request(f"r{number}", float(number), [1], SamplingParams(), program_id="agent"))
        scheduler.abort(f"r{number}")
    assert scheduler.call_history.remembered() == []
