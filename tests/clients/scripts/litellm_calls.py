"""usage: litellm_calls.py URL; prints what litellm got as one JSON object."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # the library would fetch prices

import litellm

ADDRESS = {"model": "openai/embedded", "api_base": f"{sys.argv[1]}/v1", "api_key": "none", "num_retries": 0}
CALCULATOR = {
    "type": "function",
    "function": {
        "name": "Calculator",
        "description": "Evaluates an expression.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    },
}
messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 48*37?"}]

whole = litellm.completion(messages=messages, tools=[CALCULATOR], **ADDRESS)
asked = whole.choices[0].message
(call,) = asked.tool_calls
result = {"role": "tool", "tool_call_id": call.id, "content": "1776"}
conversation = [*messages, asked.model_dump(), result]
answer = litellm.completion(messages=conversation, tools=[CALCULATOR], **ADDRESS)
chunks = list(
    litellm.completion(messages=conversation, tools=[CALCULATOR], stream=True, stream_options={"include_usage": True}, **ADDRESS)
)
streamed_call = litellm.stream_chunk_builder(
    list(litellm.completion(messages=messages, tools=[CALCULATOR], stream=True, **ADDRESS)), messages=messages
)
seen = {
    "finish_reason": whole.choices[0].finish_reason,
    "arguments": json.loads(call.function.arguments),
    "answer": answer.choices[0].message.content,
    "cached_tokens": answer.usage.prompt_tokens_details.cached_tokens,
    "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
    "streamed_arguments": json.loads(streamed_call.choices[0].message.tool_calls[0].function.arguments),
    "usage": next(chunk.usage.total_tokens for chunk in reversed(chunks) if getattr(chunk, "usage", None)),
}
sys.stdout.write(json.dumps(seen) + "\n")
