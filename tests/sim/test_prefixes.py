"""The infinite cache finds what token ids have in common, no more and no less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sim.content import prompt_ids
from lamps_jax.sim.prefixes import prefix_hit_rate
from lamps_jax.sim.workload import Script, Segment, Span
from tests.sim.published import read_published
from tests.sim.scripts import any_script, client_call, script, server_call


def prompts(*spans: tuple[Span, ...]) -> list[Script]:
    return [Script("test", prompt, (Segment(1),)) for prompt in spans]


def test_prompts_with_nothing_in_common_find_nothing() -> None:
    assert prefix_hit_rate(prompts((Span(10),), (Span(10),))) == 0.0


def test_the_second_prompt_finds_what_it_shares_with_the_first() -> None:
    assert prefix_hit_rate(prompts((Span(30, "tools"), Span(10)), (Span(30, "tools"), Span(10)))) == 30 / 80


def test_a_span_is_found_as_far_as_a_longer_one_of_its_key_goes() -> None:
    assert prefix_hit_rate(prompts((Span(20, "a"),), (Span(30, "a"), Span(10)))) == 20 / 60


def test_what_follows_a_span_of_another_length_is_not_found() -> None:
    assert prefix_hit_rate(prompts((Span(20, "a"), Span(10, "b")), (Span(15, "a"), Span(10, "b")))) == 15 / 55


def test_only_whole_blocks_are_found() -> None:
    made = prompts((Span(30, "tools"), Span(10)), (Span(30, "tools"), Span(10)))
    assert prefix_hit_rate(made, block_size=16) == 16 / 80


def test_a_turn_finds_what_its_client_kept_and_a_call_of_the_server_is_no_turn() -> None:
    session = script(Segment(6, client_call(num_returned_tokens=4)), Segment(1, server_call()), Segment(1))
    assert prefix_hit_rate([session]) == 16 / (10 + 20)


@given(st.lists(any_script(), max_size=6), st.sampled_from([1, 3, 16]))
def test_first_turns_find_what_a_search_over_their_token_ids_finds(scripts: list[Script], block_size: int) -> None:
    first_turns = [Script("test", made.prompt, (Segment(1),)) for made in scripts]
    seen: set[tuple[int, ...]] = set()
    found = total = 0
    for number, made in enumerate(first_turns):
        ids = tuple(prompt_ids(made.prompt, str(number)))
        found += max((length for length in range(len(ids) + 1) if ids[:length] in seen), default=0) // block_size * block_size
        seen |= {ids[:length] for length in range(len(ids) + 1)}
        total += len(ids)
    assert prefix_hit_rate(first_turns, block_size=block_size) == pytest.approx(found / total if total else 0.0)


def test_a_block_size_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="block_size must be at least 1 token, got 0"):
        prefix_hit_rate([], block_size=0)


def test_agents_find_nearly_all_of_their_prompts() -> None:
    rate = prefix_hit_rate(read_published("agent_gaps.csv").scripts)
    assert rate == pytest.approx(0.965, abs=0.0005)
