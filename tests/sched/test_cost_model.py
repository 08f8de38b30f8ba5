"""Times are linear, and the swap limit is the inverse of the swap time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.cost_model import CostModel

GPTJ_ON_A100 = CostModel(
    forward_base_s=10e-3, forward_per_token_s=46.3e-6, forward_per_context_token_s=0.0, swap_base_s=0.0, swap_per_block_s=734e-6
)


def test_a_step_costs_its_base_its_tokens_and_its_context() -> None:
    model = CostModel(1.0, 0.1, 0.01, 0.0, 0.0)
    assert model.forward_s(0) == 1.0
    assert model.forward_s(10, 200) == pytest.approx(1.0 + 1.0 + 2.0)


def test_infercepts_fit_for_gpt_j_gives_its_step_of_384_tokens() -> None:
    assert GPTJ_ON_A100.forward_s(384) == pytest.approx(27.8e-3, abs=0.05e-3)


def test_moving_nothing_costs_nothing() -> None:
    assert CostModel(0.0, 0.0, 0.0, 5.0, 1.0).swap_s(0) == 0.0


@given(seconds=st.floats(0, 10), base=st.floats(0, 1), per_block=st.floats(1e-6, 1))
def test_the_swap_limit_is_the_most_blocks_that_fit_into_the_time(seconds: float, base: float, per_block: float) -> None:
    model = CostModel(0.0, 0.0, 0.0, base, per_block)
    limit = model.blocks_swapped_within(seconds)
    assert model.swap_s(limit) <= seconds * (1 + 1e-9) + 1e-9
    assert model.swap_s(limit + 1) > seconds * (1 - 1e-9)


def test_a_negative_time_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="swap_per_block_s must be a finite number of seconds and not negative, got -1"):
        CostModel(0.0, 0.0, 0.0, 0.0, -1.0)
