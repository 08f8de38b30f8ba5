"""Wastes against InferCept's equations worked by hand, against one another, and as functions of each argument."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.request import Handling
from lamps_jax.sched.waste import (
    Wastes,
    chunked_discard_waste,
    discard_waste,
    infercept_wastes,
    lamps_wastes,
    overlapped_swap_waste,
    preserve_waste,
    swap_waste,
)

WHOLE_SECONDS = CostModel(2.0, 1.0, 0.0, 1.0, 3.0)
GPTJ = CostModel(10e-3, 46.3e-6, 0.0, 0.0, 64 * 458_752 / 10e9)
"""GPT-J-6B on an A100: InferCept's fit, and blocks of 64 tokens of 448 KiB over the 10 GB/s that its constants imply."""

tokens = st.integers(0, 20_000)
seconds = st.floats(0, 100)
small = st.floats(0, 1e-2)
cost_models = st.builds(CostModel, small, small, st.floats(0, 1e-6), small, small)

WASTES: dict[str, Callable[[CostModel, int, int], float]] = {
    "discard": lambda cost, own, other: discard_waste(cost, own, other_tokens=other),
    "chunked discard": lambda cost, own, other: chunked_discard_waste(cost, own, other_tokens=other, chunk_tokens=100),
    "swap": lambda cost, own, other: swap_waste(cost, own, other_tokens=other, block_size=16),
    "overlapped swap": lambda cost, own, other: overlapped_swap_waste(
        cost, own, other_tokens=other, block_size=16, hidden_s=0.01
    ),
}
every_waste = pytest.mark.parametrize("waste", WASTES.values(), ids=list(WASTES))


def test_each_equation_gives_what_it_gives_by_hand():
    """Ten tokens are three blocks of four; T_fwd(10) = 12 s, T_fwd(5) = 7 s, T_swap(10) = 10 s."""
    assert preserve_waste(10, 7.0) == 70.0
    assert discard_waste(WHOLE_SECONDS, 10, other_tokens=100) == 12 * 10 + 12 * 100
    assert chunked_discard_waste(WHOLE_SECONDS, 10, other_tokens=100, chunk_tokens=5) == 12 * 10 / 2 + 2 * 7 * 100
    assert swap_waste(WHOLE_SECONDS, 10, other_tokens=100, block_size=4) == 2 * 10 * 110
    assert overlapped_swap_waste(WHOLE_SECONDS, 10, other_tokens=100, block_size=4) == 10 * 10
    assert overlapped_swap_waste(WHOLE_SECONDS, 10, other_tokens=100, block_size=4, hidden_s=8.0) == 10 * 10 + 2 * 2 * 100


def test_reading_the_context_counts_once_in_one_step_and_growing_from_chunk_to_chunk():
    reads = CostModel(0.0, 0.0, 1.0, 0.0, 0.0)
    assert discard_waste(reads, 12, other_tokens=1) - 12 * 12 == 12
    assert chunked_discard_waste(reads, 12, other_tokens=1, chunk_tokens=4) - 12 * 12 / 2 == 4 + 8 + 12


def test_a_copy_that_hides_is_the_area_under_memory_that_goes_block_by_block():
    """Sixteen blocks of a token, each freed a second after the one before; midpoints of the falling, then of the rising line."""
    link = CostModel(0.0, 0.0, 0.0, 0.0, 1.0)
    leaving = sum(16 - second - 0.5 for second in range(16))
    arriving = sum(second + 0.5 for second in range(16))
    assert overlapped_swap_waste(link, 16, other_tokens=1000, block_size=1) == leaving + arriving


@pytest.mark.parametrize(
    ("wastes", "choice"),
    [
        (Wastes(1.0, 1.0, 1.0), (Handling.PRESERVE, 1.0)),
        (Wastes(2.0, 1.0, 1.0), (Handling.SWAP, 1.0)),
        (Wastes(2.0, 1.0, 3.0), (Handling.DISCARD, 1.0)),
        (Wastes(2.0, 3.0), (Handling.PRESERVE, 2.0)),
    ],
)
def test_the_least_waste_is_chosen_and_of_equals_preserve_then_swap_then_discard(wastes: Wastes, choice: tuple[Handling, float]):
    assert wastes.least() == choice


def test_each_handling_is_the_best_somewhere_on_gpt_j():
    def choice(context: int, duration_s: float, other: int) -> Handling:
        return lamps_wastes(GPTJ, context, api_duration_s=duration_s, other_tokens=other, block_size=64).least()[0]

    assert choice(1400, 9e-5, 20_000) is Handling.PRESERVE
    assert choice(300, 28.0, 20_000) is Handling.DISCARD
    fast_link = CostModel(10e-3, 46.3e-6, 0.0, 0.0, 1e-4)
    assert lamps_wastes(fast_link, 1400, api_duration_s=20.0, other_tokens=20_000, block_size=64).least()[0] is Handling.SWAP


def test_infercept_chooses_between_preserve_and_chunked_discard_alone():
    wastes = infercept_wastes(GPTJ, 300, api_duration_s=28.0, other_tokens=20_000, chunk_tokens=300)
    assert wastes.swap == math.inf
    assert wastes.least() == (Handling.DISCARD, chunked_discard_waste(GPTJ, 300, other_tokens=20_000, chunk_tokens=300))
    assert infercept_wastes(GPTJ, 300, api_duration_s=1e-3, other_tokens=0, chunk_tokens=300).least()[0] is Handling.PRESERVE


@every_waste
@given(cost=cost_models, own=tokens, other=tokens, more=tokens)
def test_no_waste_falls_as_a_context_grows(
    waste: Callable[[CostModel, int, int], float], cost: CostModel, own: int, other: int, more: int
):
    at = waste(cost, own, other)
    assert at >= 0
    assert waste(cost, own + more, other) >= at * (1 - 1e-9)
    assert waste(cost, own, other + more) >= at * (1 - 1e-9)


@given(own=tokens, short=seconds, longer=seconds)
def test_preserving_wastes_in_proportion_to_the_call_and_the_context(own: int, short: float, longer: float):
    assert preserve_waste(own, short + longer) == pytest.approx(preserve_waste(own, short) + preserve_waste(own, longer))
    assert preserve_waste(3 * own, short) == pytest.approx(3 * preserve_waste(own, short))


@given(cost=cost_models, own=tokens, other=tokens, chunk=st.integers(1, 2000))
def test_chunks_halve_the_own_waste_and_cost_the_others_a_base_time_each(cost: CostModel, own: int, other: int, chunk: int):
    alone = chunked_discard_waste(cost, own, other_tokens=0, chunk_tokens=chunk)
    assert alone == pytest.approx(discard_waste(cost, own, other_tokens=0) / 2)
    in_chunks = chunked_discard_waste(cost, own, other_tokens=other, chunk_tokens=chunk)
    assert in_chunks - alone >= (discard_waste(cost, own, other_tokens=other) - 2 * alone) * (1 - 1e-9) - 1e-9


@given(cost=cost_models, own=tokens, other=tokens, hidden=seconds)
def test_a_swap_that_overlaps_wastes_no_more_than_one_that_blocks(cost: CostModel, own: int, other: int, hidden: float):
    blocking = swap_waste(cost, own, other_tokens=other, block_size=16)
    assert overlapped_swap_waste(cost, own, other_tokens=other, block_size=16, hidden_s=hidden) <= blocking * (1 + 1e-9)


@every_waste
def test_nothing_computed_is_nothing_wasted(waste: Callable[[CostModel, int, int], float]):
    assert waste(WHOLE_SECONDS, 0, 1000) == 0


@every_waste
def test_a_negative_length_is_an_error_that_names_it(waste: Callable[[CostModel, int, int], float]):
    with pytest.raises(ValueError, match="context_tokens must be a finite number and not negative, got -1"):
        waste(WHOLE_SECONDS, -1, 0)
    with pytest.raises(ValueError, match="other_tokens must be a finite number and not negative, got -2"):
        waste(WHOLE_SECONDS, 0, -2)


def test_a_negative_duration_and_sizes_below_one_are_errors_that_name_them():
    with pytest.raises(ValueError, match=r"api_duration_s must be a finite number and not negative, got -0\.5"):
        preserve_waste(1, -0.5)
    with pytest.raises(ValueError, match=r"api_duration_s must be .* got nan"):
        preserve_waste(1, math.nan)
    with pytest.raises(ValueError, match="chunk_tokens must be at least 1, got 0"):
        chunked_discard_waste(GPTJ, 1, other_tokens=0, chunk_tokens=0)
    with pytest.raises(ValueError, match="block_size must be a finite number and at least 1, got 0"):
        swap_waste(GPTJ, 1, other_tokens=0, block_size=0)
    with pytest.raises(ValueError, match="hidden_s must not be negative, got -1"):
        overlapped_swap_waste(GPTJ, 1, other_tokens=0, block_size=1, hidden_s=-1)
