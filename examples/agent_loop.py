"""An agent loop with an OpenAI client: the client runs the tools that the model calls.

make serve                         # in another terminal
python examples/agent_loop.py      # --url for a server elsewhere
"""

import argparse
import json

from openai import OpenAI

from lamps_jax.tools.builtin import BUILTIN_TOOLS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("question", nargs="?", default="How old was Albert Einstein when he died?")
parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
arguments = parser.parse_args()

functions = {tool.name: tool.function for tool in BUILTIN_TOOLS if not tool.stateful}
tools = [
    {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}
    for tool in BUILTIN_TOOLS
    if not tool.stateful
]
client = OpenAI(base_url=arguments.url, api_key="unused")
messages = [{"role": "user", "content": arguments.question}]

for _ in range(8):
    message = client.chat.completions.create(model="embedded", messages=messages, tools=tools, temperature=0).choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    if not message.tool_calls:
        print(message.content)
        break
    for call in message.tool_calls:
        result = functions[call.function.name](**json.loads(call.function.arguments))
        print(f"{call.function.name}({call.function.arguments}) -> {result}")
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
