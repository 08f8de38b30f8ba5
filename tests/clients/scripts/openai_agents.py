"""usage: openai_agents.py URL; prints what the OpenAI Agents SDK got as one JSON object."""

import asyncio
import json
import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)
calls = []


@function_tool(name_override="Calculator")
def calculator(expression: str) -> str:
    """Evaluates an expression."""
    calls.append(expression)
    return "1776"


def agent() -> Agent:
    """An agent with connections of its own, for each event loop has its own."""
    client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
    return Agent(
        name="Reckoner",
        instructions="You are a helpful assistant. Use your tools.",
        model=OpenAIChatCompletionsModel(model="embedded", openai_client=client),
        tools=[calculator],
    )


async def streamed() -> tuple[str, list[str]]:
    """The final output of a streamed run, and the kinds of its items."""
    run = Runner.run_streamed(agent(), "What is 48*37?")
    items = [event.item.type async for event in run.stream_events() if event.type == "run_item_stream_event"]
    return run.final_output, items


whole = Runner.run_sync(agent(), "What is 48*37?").final_output
answer, items = asyncio.run(streamed())
sys.stdout.write(json.dumps({"whole": whole, "streamed": answer, "items": items, "calls": calls}) + "\n")
