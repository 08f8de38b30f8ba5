import json
from typing import Any

import pytest

from lamps_jax.engine.options import RequestOptions
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.protocol import RequestError, parse_body


def options(*, header: str | None = None, tenant: str = "", **fields: Any) -> RequestOptions:
    body = parse_body(CompletionBody, json.dumps({"prompt": "hi", **fields}).encode())
    return body.options(session_id=header, tenant=tenant)


def test_nothing_said_is_nothing_known():
    assert options() == RequestOptions()


def test_every_field_reaches_the_engine():
    told = options(
        session_id="s", end_of_session=True, priority=-7, expected_output_tokens=40.5, tool_durations={"look": 2, "see": 0.5},
        kv_keep_s={"min": 1, "max": 60}, predicted_segments=[{"output_tokens": 4, "api_duration_s": 1}, {"output_tokens": 2}],
    )  # fmt: skip
    assert told.ends_program and told.priority == -7 and told.expected_output_tokens == 40.5 and told.keep_s == (1.0, 60.0)
    assert told.expected_call_s == {"look": 2.0, "see": 0.5} and told.program_id
    assert told.hints == (PredictedSegment(4.0, 1.0), PredictedSegment(2.0))


def test_either_bound_may_be_left_out():
    assert options(kv_keep_s={"min": 3}).keep_s == (3.0, None)
    assert options(kv_keep_s={"max": 3}).keep_s == (None, 3.0)


def test_a_session_is_named_by_the_body_or_else_by_the_header():
    assert options(header="s").program_id == options(session_id="s").program_id == options(session_id="s", header="t").program_id
    assert options(header="t").program_id != options(header="s").program_id
    assert options(session_id="", header="s").program_id == options(header="s").program_id
    assert options(header="").program_id == ""


def test_sessions_of_different_salts_are_never_the_same():
    names = [("", "1:a:b"), ("a", "b"), ("a:", "b"), ("a", ":b"), ("", "a:b"), ("1:a", "b"), ("ab", ""), ("", "")]
    ids = [options(cache_salt=salt, session_id=session).program_id for salt, session in names]
    named = [program_id for program_id in ids if program_id]
    assert len(set(named)) == len(named) == len(names) - 2


def test_tenants_share_neither_blocks_nor_sessions_whatever_they_name_them():
    asked = [
        options(tenant=tenant, cache_salt=salt, session_id="s") for tenant in ("alice", "bob") for salt in ("", "5:alice:", "s")
    ]
    assert len({each.cache_salt for each in asked}) == len({each.program_id for each in asked}) == 6
    assert options(tenant="alice").cache_salt == options(tenant="alice", cache_salt="").cache_salt
    assert options(tenant="alice").program_id == ""


def test_the_agents_hints_of_dynamo_are_other_names():
    hints = {"agent_hints": {"priority": 5, "osl": 300, "speculative_prefill": True, "other": 1}}
    assert (options(nvext=hints).priority, options(nvext=hints).expected_output_tokens) == (5, 300)
    told = options(nvext=hints, priority=0, expected_output_tokens=9)
    assert (told.priority, told.expected_output_tokens) == (0, 9)
    assert options(nvext={}) == options(nvext={"annotations": []}) == RequestOptions()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"session_id": "s" * 257}, "at most 256 characters"),
        ({"cache_salt": "s" * 1025}, "at most 1024 characters"),
        ({"priority": 101}, "less than or equal to 100"),
        ({"priority": 1.5}, "valid integer"),
        ({"expected_output_tokens": 0}, "greater than 0"),
        ({"tool_durations": {"look": -1}}, "greater than or equal to 0"),
        ({"tool_durations": {"look": "1"}}, "valid number"),
        ({"tool_durations": dict.fromkeys(map(str, range(129)), 1)}, "128 entries"),
        ({"kv_keep_s": {"min": 2, "max": 1}}, "got 2.0 and 1.0"),
        ({"kv_keep_s": {"max": 1e7}}, "less than or equal to 1000000"),
        ({"nvext": {"agent_hints": {"priority": -101}}}, "greater than or equal to -100"),
        ({"predicted_segments": [{"output_tokens": 1}] * 2}, "all but the last"),
        ({"predicted_segments": [{"output_tokens": -1}]}, "output_tokens must be a finite number and not negative, got -1.0"),
        ({"predicted_segments": [{"output_tokens": 1, "api_duration_s": 1}] * 65}, "at most 64 items"),
    ],
)
def test_what_cannot_be_is_refused(fields, says):
    with pytest.raises(RequestError) as refused:
        options(**fields)
    assert refused.value.param == next(iter(fields)) and says in refused.value.message
