from typing import Any

import pytest

from lamps_jax.sched.request import Request, SamplingParams


def test_sampling_is_greedy_and_unbounded_unless_said_otherwise():
    sampling = SamplingParams()
    assert sampling.temperature == 0
    assert sampling.max_tokens is None
    assert sampling.stop == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("temperature", -0.1),
        ("temperature", 10.1),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("top_k", -1),
        ("top_k", 2**31),
        ("seed", -1),
        ("seed", 2**32),
        ("stop", ("",)),
        ("stop", ("x",) * 17),
        ("min_tokens", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_shown(field: str, value: Any):
    with pytest.raises(ValueError, match=f"^{field} must be .*got"):
        SamplingParams(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_tokens", 1), ("temperature", 10.0), ("top_p", 1.0), ("top_k", 2**31 - 1), ("seed", 2**32 - 1), ("stop", ("x",) * 16)],
)
def test_a_value_at_the_edge_of_its_range_is_taken(field: str, value: Any):
    assert getattr(SamplingParams(**{field: value}), field) == value


def test_min_tokens_may_reach_but_not_exceed_max_tokens():
    assert SamplingParams(max_tokens=3, min_tokens=3).min_tokens == 3
    with pytest.raises(ValueError, match="max_tokens \\(3\\)"):
        SamplingParams(max_tokens=3, min_tokens=4)


def test_samples_under_way_count_as_tokens_and_against_max_tokens():
    request = Request("r", 0.0, [1, 2, 3], SamplingParams(max_tokens=5))
    assert (request.num_prompt_tokens, request.num_tokens, request.max_tokens_left) == (3, 3, 5)
    request.token_ids.append(4)
    request.num_sampled_tokens, request.num_pending_samples = 1, 1
    assert (request.num_prompt_tokens, request.num_tokens, request.max_tokens_left) == (3, 5, 3)


def test_without_max_tokens_there_is_always_one_more():
    request = Request("r", 0.0, [1], SamplingParams())
    request.num_sampled_tokens = 10**6
    assert request.max_tokens_left == float("inf")


def test_two_requests_are_never_equal():
    first, second = (Request("r", 0.0, [1], SamplingParams()) for _ in range(2))
    assert first != second
