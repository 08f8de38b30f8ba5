"""From the messages of an OpenAI request to those that a chat template takes."""

from typing import Any

from lamps_jax.serve.protocol import Message, RequestError
from lamps_jax.tools.call_format import render_arguments


def template_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """The messages with each call directly before its result, as a model writes and reads them.

    The arguments of calls, JSON in the OpenAI API, take the form of the text between a call's parentheses; a result is put on one
    line, as the results of the server's own tools are.

    Raises:
        RequestError: If a call has no result or a result no call, or a message lacks what its role needs.
    """
    shaped: list[dict[str, Any]] = []
    remaining = list(enumerate(messages))
    while remaining:
        index, message = remaining.pop(0)
        if message.role == "tool":
            raise _error(index, "has role 'tool' but answers no call of the assistant message before it")
        if message.role == "assistant" and message.tool_calls:
            results: dict[str, str] = {}
            while remaining and remaining[0][1].role == "tool":
                results.update([_result(*remaining.pop(0))])
            shaped += _calls(index, message, results)
            continue
        if message.text is None:
            raise _error(index, f"has role {message.role!r} and no content")
        shaped.append({"role": "system" if message.role == "developer" else message.role, "content": message.text})
    return shaped


def _result(index: int, message: Message) -> tuple[str, str]:
    if message.tool_call_id is None or message.text is None:
        raise _error(index, "has role 'tool' and needs both tool_call_id and content")
    return message.tool_call_id, " ".join(message.text.split())


def _calls(index: int, message: Message, results: dict[str, str]) -> list[dict[str, Any]]:
    """One assistant message for each call, each followed by its result."""
    shaped: list[dict[str, Any]] = []
    content = message.text
    for call in message.tool_calls or []:
        if call.id not in results:
            raise _error(index, f"calls {call.function.name!r} ({call.id}), but no tool message right behind it has the result")
        function = {"name": call.function.name, "arguments": render_arguments(call.function.arguments)}
        written = {"id": call.id, "type": "function", "function": function}
        shaped.append({"role": "assistant", "content": content or None, "tool_calls": [written]})
        shaped.append({"role": "tool", "tool_call_id": call.id, "content": results.pop(call.id)})
        content = None
    if results:
        raise _error(index, f"is followed by results of calls that it does not make: {', '.join(results)}")
    return shaped


def _error(index: int, problem: str) -> RequestError:
    return RequestError(f"messages[{index}] {problem}", param="messages")
