"""What is expected of a tool follows what it did."""

import pytest

from lamps_jax.sched.estimates import MIN_CALLS, CallDurations


def test_nothing_is_expected_of_a_tool_before_it_has_been_seen_a_few_times() -> None:
    durations = CallDurations()
    for _ in range(MIN_CALLS - 1):
        durations.observe("search", 2.0)
    assert durations.expected_s("search") is None
    durations.observe("search", 5.0)
    assert durations.expected_s("search") == pytest.approx(3.0)
    assert durations.expected_s("calculator") is None


def test_a_tool_that_has_become_slower_is_soon_expected_to_be_slow() -> None:
    durations = CallDurations(memory=10)
    for _ in range(1000):
        durations.observe("search", 1.0)
    for _ in range(30):
        durations.observe("search", 9.0)
    assert durations.expected_s("search") > 8.0
