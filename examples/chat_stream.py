"""Streams an answer from the server, with the calls that the server runs shown as they happen.

make serve                         # in another terminal
python examples/chat_stream.py     # --url for a server elsewhere
"""

import argparse

from openai import OpenAI

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("question", nargs="?", default="Fetch the brass key from the cellar.")
parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
arguments = parser.parse_args()

client = OpenAI(base_url=arguments.url, api_key="unused")
stream = client.chat.completions.create(
    model="embedded", messages=[{"role": "user", "content": arguments.question}], temperature=0, stream=True
)
for chunk in stream:
    call = (chunk.model_extra or {}).get("lamps", {}).get("call")
    if call and call["result"] is not None:
        print(f"[{call['name']}({', '.join(map(str, call['arguments'].values()))}) -> {call['result']}]")
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
