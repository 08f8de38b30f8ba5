"""usage: langchain_agent.py URL; prints what langchain's ChatOpenAI got as one JSON object."""

import json
import sys
from typing import Literal

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


@tool("Calculator")
def calculator(expression: str) -> str:
    """Evaluates an expression."""
    assert expression == "48*37"
    return "1776"


class Parity(BaseModel):
    """What is to be known of a number."""

    is_even: bool
    digits: int = Field(ge=0, le=99)
    size: Literal["small", "large"]


model = ChatOpenAI(model="embedded", base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
with_tools = model.bind_tools([calculator])
messages = [SystemMessage("You are a helpful assistant."), HumanMessage("What is 48*37?")]
names = []
while (reply := with_tools.invoke(messages)).tool_calls:
    messages.append(reply)
    for call in reply.tool_calls:
        names.append(call["name"])
        messages.append(ToolMessage(calculator.invoke(call["args"]), tool_call_id=call["id"]))
pieces = list(with_tools.stream(messages[:2]))
whole = pieces[0]
for piece in pieces[1:]:
    whole += piece
structured = {
    method: model.with_structured_output(Parity, method=method).invoke("What is 48*37?").model_dump()
    for method in ("json_schema", "function_calling")
}
seen = {
    "names": names,
    "answer": reply.content,
    "streamed_calls": [[call["name"], call["args"]] for call in whole.tool_calls],
    "structured": structured,
    "cached_tokens": reply.usage_metadata["input_token_details"]["cache_read"],
}
sys.stdout.write(json.dumps(seen) + "\n")
