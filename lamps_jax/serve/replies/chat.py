"""The replies of ``/v1/chat/completions``."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from lamps_jax.engine.events import ApiCall, Event, RequestOutput, TokenLogprob
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.replies.logprobs import chat_logprobs
from lamps_jax.serve.replies.reply import Json, account, finish_reason, head, timings, usage


class ChatReply:
    """The messages, one a choice; with the calls that are the client's to run.

    Args:
        tokenizer: Tells how tokens are spelled.
    """

    def __init__(self, model: str, body: ChatBody, tokenizer: Tokenizer):
        self._head = {**head("chatcmpl", "chat.completion", model), "service_tier": None}
        self._null_usage = {"usage": None} if body.include_usage else {}
        self._num_choices, self._tokenizer = body.num_choices, tokenizer
        self._with_logprobs = body.num_logprobs() is not None
        self._num_calls = Counter[int]()
        self._begun = set[int]()

    def whole(self, outputs: Sequence[RequestOutput]) -> Json:
        """The messages, each with the calls that the client is to run, if there are any.

        A single choice's ``lamps`` stands beside the choices, those of several in each.
        """
        accounts = [{"lamps": account(output)} for output in outputs]
        choices = [
            {
                "index": index,
                "message": self._message(output),
                "logprobs": self._shown(output.logprobs),
                "finish_reason": finish_reason(output),
                **(accounts[index] if len(outputs) > 1 else {}),
            }
            for index, output in enumerate(outputs)
        ]
        counted = {"usage": usage(outputs, num_choices=self._num_choices)}
        return {**self._head, "choices": choices, **counted, **(accounts[0] if len(outputs) == 1 else {})}

    def chunks(self, index: int, event: Event) -> Iterator[Json]:
        """The role before anything else; each call of the client's as its name, then its arguments."""
        if index not in self._begun:
            self._begun.add(index)
            yield self._chunk(index, {"role": "assistant", "content": ""})
        logprobs = self._shown(event.logprobs) if event.logprobs else None
        if event.kind == "text":
            yield self._chunk(index, {"content": event.text}, logprobs)
        elif event.kind == "finished":
            yield {**self._chunk(index, {}, logprobs, finish_reason(event.output)), "lamps": timings(event.output)}
        elif event.call is not None and event.call.is_clients:
            call, place = _tool_call(event.call), {"index": self._num_calls[index]}
            self._num_calls[index] += 1
            arguments = call["function"]["arguments"]
            named = {**place, **call, "function": {**call["function"], "arguments": ""}}
            yield self._chunk(index, {"tool_calls": [named]}, logprobs)
            yield self._chunk(index, {"tool_calls": [{**place, "function": {"arguments": arguments}}]})
        elif event.call is not None:
            yield {**self._chunk(index, {}, logprobs), "lamps": {"call": event.call.as_dict()}}

    def usage_chunk(self, outputs: Sequence[RequestOutput]) -> Json:
        """No choices, only usage."""
        counted = usage(outputs, num_choices=self._num_choices)
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": counted}

    def _message(self, output: RequestOutput) -> Json:
        calls = [call for call in output.calls if call.is_clients]
        message: Json = {"role": "assistant", "content": output.text or None if calls else output.text, "refusal": None}
        return {**message, "tool_calls": [_tool_call(call) for call in calls]} if calls else message

    def _chunk(self, index: int, delta: Json, logprobs: Json | None = None, finished: str | None = None) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finished}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **self._null_usage}

    def _shown(self, sampled: Sequence[TokenLogprob]) -> Json | None:
        return chat_logprobs(self._tokenizer, sampled) if self._with_logprobs else None


def _tool_call(call: ApiCall) -> Json:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call.call_id, "type": "function", "function": function}
