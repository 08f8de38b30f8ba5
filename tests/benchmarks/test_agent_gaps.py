"""Sessions of the agents' gaps become turns that fit the embedded model."""

import argparse
from pathlib import Path

import pytest

from benchmarks.agent_gaps import CHARS_PER_TOKEN, LENGTH_STEP, ROOM_TOKENS, sessions_of, tool

HEAD = "trace,agent,idx,t_s,in_tokens,shared_prefix_tokens,out_tokens,input_kind,stop,api_time_s,ttft_s,think_time_s"
LIMITS = {"sessions": 5, "turns": 4, "token_scale": 0.01, "time_scale": 0.1, "max_gap_s": 2.0, "max_model_len": 1024}


def rows(trace: str, number: int) -> list[str]:
    """A session whose prompts grow by 10,000 tokens a turn, with replies of 2,000 and gaps of 10 and once of 100 seconds."""
    columns = ((20 * index, 10_000 * (index + 1), 10_000 * index, 100 if index == 2 else 10) for index in range(number))
    return [
        f"{trace},main,{index},{sent_s},{length},{shared},2000,tool,tool_use,5,,{gap_s}"
        for index, (sent_s, length, shared, gap_s) in enumerate(columns)
    ]


def write(path: Path, *sessions: list[str]) -> Path:
    path.write_text("\n".join([HEAD, *(row for session in sessions for row in session)]) + "\n")
    return path


def test_lengths_and_gaps_are_scaled_and_sessions_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "gaps.csv", rows("long", 9), rows("short", 2))
    (session,) = sessions_of(path, argparse.Namespace(**LIMITS))
    assert len(session) == 4
    assert session[0].num_added_tokens == 100 and {turn.num_reply_tokens for turn in session} == {20}
    assert [turn.gap_s for turn in session[1:]] == [1.0, 2.0, 1.0]


def test_a_session_ends_where_the_context_does(tmp_path: Path) -> None:
    path = write(tmp_path / "gaps.csv", rows("long", 40))
    (session,) = sessions_of(path, argparse.Namespace(**{**LIMITS, "turns": 40}))
    used = sum(turn.num_added_tokens + turn.num_reply_tokens for turn in session)
    assert 4 <= len(session) < 40 and used + ROOM_TOKENS <= 1024


@pytest.mark.parametrize("num_tokens", [1, 8, 33, 100])
def test_a_reply_has_one_of_few_lengths(num_tokens: int) -> None:
    text = tool(num_tokens)["function"]["parameters"]["properties"]["text"]
    assert text["minLength"] == text["maxLength"] and text["minLength"] % LENGTH_STEP == 0
    assert abs(text["minLength"] - CHARS_PER_TOKEN * num_tokens) <= LENGTH_STEP
