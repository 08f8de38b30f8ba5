"""Requests without calls keep their times, and Mooncake's their common blocks."""

from pathlib import Path

import pytest

from lamps_jax.sim.prefixes import prefix_hit_rate
from lamps_jax.sim.summary import summarize
from lamps_jax.sim.traces.read import read_trace
from lamps_jax.sim.traces.record import TraceError
from lamps_jax.sim.workload import Script, Segment, Span
from tests.sim.published import read_published

MOONCAKE = """{"timestamp": 500, "input_length": 600, "output_length": 52, "hash_ids": [1, 2]}
{"timestamp": 2500, "input_length": 513, "output_length": 0, "hash_ids": [1, 3]}
"""

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.6805900,396,109
"""

AZURE_WITH_ZONE = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-12 00:00:00+00:00,374,44
2024-05-12 02:00:04+02:00,396,109
"""

BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,API log
118,GPT-4,417,276,693,API log
"""

BURSTGPT_WITH_SESSIONS = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
118.5,b1,2,GPT-4,417,276,693,API log
5.5,a1,1,ChatGPT,472,18,490,Conversation log
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text, encoding="utf-8")
    return path


def test_mooncakes_blocks_are_spans_and_its_times_are_milliseconds(tmp_path: Path) -> None:
    workload = read_trace(written(tmp_path, MOONCAKE))
    first, second = workload.scripts
    assert first == Script("mooncake", (Span(512, "mooncake/1"), Span(88, "mooncake/2")), (Segment(52),))
    assert second.prompt == (Span(512, "mooncake/1"), Span(1, "mooncake/3")) and second.segments == (Segment(1),)
    assert workload.times_s == (0.0, 2.0)
    assert prefix_hit_rate(workload.scripts) == 512 / 1113


def test_mooncakes_requests_without_hashes_have_prompts_of_their_own(tmp_path: Path) -> None:
    workload = read_trace(written(tmp_path, '{"timestamp": 0, "input_length": 600, "output_length": 52}'))
    assert workload.scripts[0].prompt == (Span(600),)


@pytest.mark.parametrize("text", [AZURE, AZURE_WITH_ZONE])
def test_azures_dates_become_seconds(tmp_path: Path, text: str) -> None:
    workload = read_trace(written(tmp_path, text))
    assert workload.scripts == (Script("azure", (Span(374),), (Segment(44),)), Script("azure", (Span(396),), (Segment(109),)))
    assert workload.times_s == pytest.approx((0.0, 4.0))


def test_burstgpts_failed_requests_are_left_out_and_counted(tmp_path: Path) -> None:
    workload = read_trace(written(tmp_path, BURSTGPT))
    assert [(made.request_type, made.num_prompt_tokens) for made in workload.scripts] == [
        ("Conversation log", 472),
        ("API log", 417),
    ]
    assert (workload.times_s, workload.num_left_out) == ((0.0, 113.0), 1)


def test_burstgpts_newer_columns_are_read_and_times_are_sorted(tmp_path: Path) -> None:
    workload = read_trace(written(tmp_path, BURSTGPT_WITH_SESSIONS))
    assert [made.num_prompt_tokens for made in workload.scripts] == [472, 417]
    assert workload.times_s == (0.0, 113.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MOONCAKE.replace("600", "-600"), "line 1, field input_length: must be at least 1, got -600"),
        (MOONCAKE.replace("513", "1025"), "line 2, field hash_ids: must have 3 ids for 1025 tokens, got 2"),
        (MOONCAKE.replace("2500", '"soon"'), "line 2, field timestamp: must be a number, got 'soon'"),
        (AZURE.replace("396,109", "396"), "line 3, field GeneratedTokens: is missing"),
        (AZURE.replace(",44", ",-44"), "line 2, field GeneratedTokens: must be at least 0, got '-44'"),
        (
            AZURE.replace("2023-11-16 18:15:50.6805900", "later"),
            "line 3, field TIMESTAMP: must be a date and time .* got 'later'",
        ),
        (BURSTGPT.replace("417", "many"), "line 4, field Request tokens: must be a number, got 'many'"),
        (BURSTGPT.replace("118,", "-118,"), "line 4, field Timestamp: must be at least 0, got '-118'"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        read_trace(written(tmp_path, text))


def test_mooncakes_conversations_have_their_published_lengths() -> None:
    workload = read_published("mooncake_conversation.jsonl")
    summary = summarize(workload.scripts)
    assert len(workload.scripts) == 12_031
    assert (round(summary.prompt_tokens.mean), round(summary.generated_tokens.mean)) == (12_035, 343)
    assert workload.times_s[-1] == pytest.approx(3537, abs=1)


def test_mooncakes_conversations_find_three_eighths_of_their_prompts() -> None:
    assert prefix_hit_rate(read_published("mooncake_conversation.jsonl").scripts, block_size=512) == pytest.approx(
        0.373, abs=5e-4
    )


def test_azures_conversations_have_as_many_requests_as_published() -> None:
    workload = read_published("azure_conv.csv")
    summary = summarize(workload.scripts)
    assert len(workload.scripts) == 19_366
    assert (round(summary.prompt_tokens.mean), round(summary.generated_tokens.mean)) == (1155, 211)
