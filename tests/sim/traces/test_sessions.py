"""Sessions keep what their clients kept: all of the context, the old prompt, or what was shared after a compaction."""

import json
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.sim.prefixes import prefix_hit_rate
from lamps_jax.sim.summary import summarize
from lamps_jax.sim.traces.read import read_trace
from lamps_jax.sim.traces.record import TraceError
from lamps_jax.sim.workload import Call, RunBy, Span
from tests.sim.published import read_published

GAPS = """trace,agent,idx,t_s,in_tokens,shared_prefix_tokens,out_tokens,input_kind,stop,api_time_s,ttft_s,think_time_s
a,main,0,0.0,200,0,50,user,tool_use,3.0,,0.0
a,main,1,9.0,300,192,20,tool,tool_use,2.0,,6.0
b,main,0,0.0,70,0,5,user,end_turn,1.0,,0.0
a,main,2,30.0,310,256,10,tool,end_turn,4.0,,
a,main,3,99.0,130,64,0,user,,,,65.0
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text, encoding="utf-8")
    return path


def client(name: str, duration_s: float, num_returned_tokens: int, num_kept_tokens: int) -> Call:
    return Call(name, duration_s, num_returned_tokens, RunBy.CLIENT, num_kept_tokens)


def test_gaps_become_calls_of_the_client(tmp_path: Path) -> None:
    first, second = read_trace(written(tmp_path, GAPS)).scripts
    assert first.session_id == "a/main" and second.session_id == "b/main"
    assert first.calls == (
        client("tool", 6.0, 50, 250),  # prompt and reply stay, as there is room for both
        client("tool", 19.0, 10, 300),  # no room for the reply; the gap is the time between less the reply's
        client("user", 65.0, 66, 64),  # compacted to what is shared
    )
    assert [segment.num_generated_tokens for segment in first.segments] == [50, 20, 10, 1]
    assert [turn.num_prompt_tokens for turn in first.turns()] == [200, 300, 310, 130]


def weka(**changes: Any) -> dict[str, Any]:
    def request(t: float, tokens: int, ids: list[int], **values: Any) -> dict[str, Any]:
        return {"t": t, "type": "n", "in": tokens, "out": 20, "hash_ids": ids, "stop": "tool_use", "api_time": 1.0, **values}

    requests = [
        request(0.0, 140, [1, 2], think_time=0.0),
        request(5.0, 200, [1, 2, 3], think_time=4.0, stop="end_turn"),
        {
            "t": 7.0,
            "type": "subagent",
            "tool_tokens": 0,
            "system_tokens": 0,
            "requests": [request(7.0, 70, [9], think_time=0.0), request(9.0, 100, [9], think_time=0.5)],
        },
        request(60.0, 150, [1, 7]),
    ]
    return {"id": "w1", "block_size": 64, "tool_tokens": 60, "system_tokens": 30, "requests": requests, **changes}


def test_a_weka_session_keeps_what_its_hashes_share(tmp_path: Path) -> None:
    main, sub_agent = read_trace(written(tmp_path, json.dumps(weka()))).scripts
    assert main.prompt == (Span(90, "weka/w1"), Span(50))
    assert main.calls == (client("tool", 4.0, 40, 160), client("user", 54.0, 86, 64))
    assert (sub_agent.request_type, sub_agent.prompt, sub_agent.session_id) == ("sub-agent", (Span(70),), "w1/0")
    assert sub_agent.calls == (client("tool", 0.5, 10, 90),)


def test_weka_sessions_may_come_one_a_line_or_one_over_many_lines(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(weka(id=name)) for name in ("w1", "w2"))
    assert len(read_trace(written(tmp_path, lines)).scripts) == 4
    assert len(read_trace(written(tmp_path, json.dumps(weka(), indent=1))).scripts) == 2


def tracelab(session: str, number: int, tokens: int, cached: int, events: list[tuple[str, str]], **changes: Any) -> str:
    tools = [{"tool_name": name, "tool_wall_latency_ms": 1} for kind, name in events if kind == "tool_call"]
    stamps = [
        {"event_type": kind, "timestamp": f"2026-06-01T05:40:{name if kind != 'tool_call' else '10.000'}Z"}
        for kind, name in events
    ]
    record = {"provider": "claude", "project": "p", "session_id": session, "round_index": number, "input_tokens_total": tokens}
    return json.dumps(
        {**record, "prefix_tokens": cached, "output_tokens": 30, "timing_events": stamps, "tools": tools, **changes}
    )


TRACELAB = "\n".join(
    [
        tracelab("late", 0, 50, 0, [("user_message", "30.000"), ("text", "31.000")], project=None),
        tracelab("early", 0, 1000, 600, [("user_message", "05.000"), ("tool_call", "Bash"), ("tool_call", "Web")]),
        tracelab("early", 1, 1200, 400, [("tool_result", "11.000"), ("tool_result", "14.500"), ("text", "16.000")]),
        tracelab("early", 2, 700, 500, [("user_message", "20.000"), ("text", "21.000")]),
    ]
)


def test_tracelabs_gaps_end_when_all_results_are_there(tmp_path: Path) -> None:
    workload = read_trace(written(tmp_path, TRACELAB))
    early, late = workload.scripts
    assert early.prompt == (Span(600, "tracelab/claude/p"), Span(400)) and late.prompt == (Span(50),)
    # The second prompt grew, so what the cache had forgotten of it was there all the same; the third was compacted.
    assert early.calls == (client("Bash", 4.5, 170, 1030), client("user", 4.0, 200, 500))
    assert workload.times_s == (0.0, 25.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GAPS.replace("300,192,20", "300,192,-20"), "line 3, field out_tokens: must be at least 0, got '-20'"),
        (GAPS.replace(",6.0\n", ",-6.0\n"), "line 3, field think_time_s: must be at least 0, got '-6.0'"),
        (GAPS.replace("30.0,310", "soon,310"), "line 5, field t_s: must be a number, got 'soon'"),
        (json.dumps(weka(tool_tokens=None)), "line 1, field tool_tokens: is missing"),
        (json.dumps(weka(requests=[{"in": 5, "out": 1}])), r"field requests\[0\].hash_ids: is missing"),
        (TRACELAB.replace("2026-06-01T05:40:14", "noon"), r"line 3, field timing_events\[1\].timestamp: must be a date and time"),
        (
            TRACELAB.replace('"input_tokens_total": 700', '"input_tokens_total": 0'),
            "line 4, field input_tokens_total: must be at",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        read_trace(written(tmp_path, text))


def test_the_published_gaps_are_of_340_sessions_and_their_sub_agents() -> None:
    scripts = read_published("agent_gaps.csv").scripts
    main = [made for made in scripts if made.request_type == "agent"]
    assert (len(main), sum(len(made.turns()) for made in scripts)) == (340, 22_463)
    assert summarize(scripts).generated_tokens.median == 216


def test_the_published_raw_session_adds_up_to_its_totals() -> None:
    (made,) = read_published("weka_raw_example.json").scripts
    assert sum(turn.num_prompt_tokens for turn in made.turns()) == 1_508_817
    assert (made.num_generated_tokens, made.prompt[0].num_tokens) == (18_463, 12_448 + 2_882)


def test_the_published_rounds_find_most_of_their_prompts() -> None:
    workload = read_published("tracelab_example.jsonl")
    assert sum(len(made.turns()) for made in workload.scripts) == 19
    assert prefix_hit_rate(workload.scripts) > 0.85
