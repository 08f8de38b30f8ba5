"""The split of a step's swap traffic, against InferCept's published constants and its constraints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.swap_budget import swap_budget

sizes = st.integers(0, 5000)


def test_infercepts_constants_for_gpt_j_come_out_in_tokens():
    """Its code has t_in = a S + b + F / 2 and t_out = (1 + a) S + b - F / 2 with a = 0.00462, b = 108.99, at S = 384: N is 605."""
    limit = 605
    for new, free in ((384, 0), (384, 100), (384, 700)):
        budget = swap_budget(limit, new, free)
        assert budget.ins == pytest.approx(0.00462 * 384 + 108.99 + free / 2, abs=1.0)
        assert budget.outs == pytest.approx(1.00462 * 384 + 108.99 - free / 2, abs=1.0)


@given(sizes, sizes, sizes)
def test_the_limit_is_spent_whole_and_both_ways_stay_open(limit: int, new: int, free: int):
    budget = swap_budget(limit, new, free)
    assert budget.outs + budget.ins == max(2, limit)
    assert min(budget.outs, budget.ins) >= 1


@given(sizes, sizes, sizes)
def test_what_comes_in_and_what_is_new_fits_into_what_is_free_and_goes_out_where_that_is_possible(
    limit: int, new: int, free: int
):
    budget = swap_budget(limit, new, free)
    if budget.ins > 1:
        assert budget.ins + new <= budget.outs + free


def test_merged_budgets_let_everything_go_out():
    budget = swap_budget(10, 0, 4)
    budget.merge()
    assert (budget.outs, budget.ins) == (10, 0)
