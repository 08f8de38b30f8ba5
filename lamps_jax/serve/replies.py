"""The OpenAI response bodies: whole, and in the chunks of a stream.

What the OpenAI API has no place for stands in an extra field ``lamps``: the calls that the server ran, and the timings.
"""

import json
import time
import uuid
from collections.abc import Container, Iterator, Sequence
from typing import Any, Protocol

from lamps_jax.engine.events import ApiCall, Event, RequestOutput
from lamps_jax.metrics import latencies

Json = dict[str, Any]


class Reply(Protocol):
    """How one endpoint shows what its requests yield."""

    def whole(self, outputs: Sequence[RequestOutput]) -> Json:
        """The body of a response that is not streamed."""
        ...

    def chunks(self, index: int, event: Event) -> Iterator[Json]:
        """What one event of the request of that index adds to a stream."""
        ...

    def usage_chunk(self, outputs: Sequence[RequestOutput]) -> Json:
        """The last chunk of a stream that was asked for its usage."""
        ...


class CompletionReply:
    """Replies of /v1/completions; each choice has a ``lamps`` of its own."""

    def __init__(self, model: str, *, include_usage: bool):
        self._head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time()), "model": model}
        self._null_usage = {"usage": None} if include_usage else {}

    def whole(self, outputs: Sequence[RequestOutput]) -> Json:
        """One choice a prompt, in their order."""
        choices = [
            {**_choice(index, output), "text": output.text, "lamps": _account(output, ())} for index, output in enumerate(outputs)
        ]
        return {**self._head, "choices": choices, "usage": usage(outputs)}

    def chunks(self, index: int, event: Event) -> Iterator[Json]:
        """One chunk an event."""
        choice: Json = {"index": index, "text": event.text, "logprobs": None, "finish_reason": None}
        if event.call is not None:
            choice["lamps"] = {"call": event.call.as_dict()}
        if event.kind == "finished":
            choice |= {**_choice(index, event.output), "lamps": _timings(event.output)}
        yield {**self._head, "choices": [choice], **self._null_usage}

    def usage_chunk(self, outputs: Sequence[RequestOutput]) -> Json:
        """No choices, only usage."""
        return {**self._head, "choices": [], "usage": usage(outputs)}


class ChatReply:
    """Replies of /v1/chat/completions: one choice; calls of `client_tools` are the client's to run."""

    def __init__(self, model: str, *, client_tools: Container[str], include_usage: bool):
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._client_tools = client_tools
        self._null_usage = {"usage": None} if include_usage else {}
        self._begun = False

    def whole(self, outputs: Sequence[RequestOutput]) -> Json:
        """The message with the call that the client is to run, if there is one."""
        (output,) = outputs
        calls = [call for call in output.calls if call.name in self._client_tools]
        message: Json = {"role": "assistant", "content": output.text or None if calls else output.text, "refusal": None}
        if calls:
            message["tool_calls"] = [_tool_call(call) for call in calls]
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [{**_choice(0, output), "message": message}],
            "usage": usage(outputs),
            "lamps": _account(output, self._client_tools),
        }

    def chunks(self, index: int, event: Event) -> Iterator[Json]:
        """The role before anything else; a call of the client's as its name, then its arguments."""
        if not self._begun:
            self._begun = True
            yield self._chunk({"role": "assistant", "content": ""})
        if event.kind == "text":
            yield self._chunk({"content": event.text})
        elif event.kind == "finished":
            yield {**self._chunk({}, event.output), "lamps": _timings(event.output)}
        elif event.call is not None and event.call.name in self._client_tools:
            call = _tool_call(event.call)
            arguments = call["function"]["arguments"]
            yield self._chunk({"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]})
            yield self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]})
        elif event.call is not None:
            yield {**self._chunk({}), "lamps": {"call": event.call.as_dict()}}

    def usage_chunk(self, outputs: Sequence[RequestOutput]) -> Json:
        """No choices, only usage."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(outputs)}

    def _chunk(self, delta: Json, finished: RequestOutput | None = None) -> Json:
        choice: Json = {"index": 0, "logprobs": None, "finish_reason": None} if finished is None else _choice(0, finished)
        return {**self._head, "object": "chat.completion.chunk", "choices": [{**choice, "delta": delta}], **self._null_usage}


def usage(outputs: Sequence[RequestOutput]) -> Json:
    """Tokens in and out; the results of tools count as neither."""
    prompt_tokens = sum(output.num_prompt_tokens for output in outputs)
    completion_tokens = sum(len(output.token_ids) for output in outputs)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(output.num_cached_prompt_tokens for output in outputs)},
    }


def _choice(index: int, output: RequestOutput) -> Json:
    assert output.finish_reason is not None
    return {"index": index, "logprobs": None, "finish_reason": output.finish_reason.value}


def _tool_call(call: ApiCall) -> Json:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call.call_id, "type": "function", "function": function}


def _account(output: RequestOutput, client_tools: Container[str]) -> Json:
    return {"calls": [call.as_dict() for call in output.calls if call.name not in client_tools], **_timings(output)}


def _timings(output: RequestOutput) -> Json:
    return {"timings": latencies(output.timestamps, len(output.token_ids)).as_dict()}
