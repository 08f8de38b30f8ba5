"""Frameworks for agents, as they come: each runs its own loop of calls against a server."""

import pytest

pytestmark = pytest.mark.slow


def test_litellm_asks_streams_and_brings_results_back(run_client) -> None:
    seen = run_client("litellm_calls.py")
    assert (seen["finish_reason"], seen["arguments"]) == ("tool_calls", {"expression": "48*37"})
    assert seen["answer"] == seen["streamed"] == "1776"
    assert seen["streamed_arguments"] == {"expression": "48*37"}
    assert seen["usage"] > 0 and seen["cached_tokens"] > 0


def test_langchain_runs_its_tools_and_gets_structured_output(run_client) -> None:
    seen = run_client("langchain_agent.py")
    assert (seen["names"], seen["answer"]) == (["Calculator"], "1776")
    assert seen["streamed_calls"] == [["Calculator", {"expression": "48*37"}]]
    assert set(seen["structured"]) == {"json_schema", "function_calling"}
    assert seen["cached_tokens"] > 0


def test_the_openai_agents_sdk_runs_its_tools_whole_and_streamed(run_client) -> None:
    seen = run_client("openai_agents.py")
    assert seen["whole"] == seen["streamed"] == "1776"
    assert seen["items"] == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    assert seen["calls"] == ["48*37"] * 2
