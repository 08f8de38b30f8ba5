"""From the messages of an OpenAI request to the turns of a conversation."""

from lamps_jax.serve.bodies.message import Message
from lamps_jax.serve.protocol import RequestError
from lamps_jax.tools.formats.call_format import AnsweredCall, Turn


def conversation_turns(messages: list[Message]) -> list[Turn]:
    """The messages, each call with its result.

    Raises:
        RequestError: If a call has no result or a result no call, or a message lacks what its role needs.
    """
    turns: list[Turn] = []
    remaining = list(enumerate(messages))[::-1]
    while remaining:
        index, message = remaining.pop()
        if message.role == "tool":
            raise _error(index, "has role 'tool' but answers no call of the assistant message before it")
        if message.role == "assistant" and message.tool_calls:
            results: dict[str, str] = {}
            while remaining and remaining[-1][1].role == "tool":
                place, result = remaining.pop()
                call_id, text = _result(place, result)
                if call_id in results:
                    raise _error(place, f"answers the call {call_id}, which has an answer already")
                results[call_id] = text
            turns.append(Turn("assistant", message.text, _answered(index, message, results)))
            continue
        if message.text is None:
            raise _error(index, f"has role {message.role!r} and no content")
        turns.append(Turn("system" if message.role == "developer" else message.role, message.text))
    return turns


def _result(index: int, message: Message) -> tuple[str, str]:
    if message.tool_call_id is None or message.text is None:
        raise _error(index, "has role 'tool' and needs both tool_call_id and content")
    return message.tool_call_id, message.text


def _answered(index: int, message: Message, results: dict[str, str]) -> tuple[AnsweredCall, ...]:
    """The calls of an assistant message in their order, each with its result."""
    answered: list[AnsweredCall] = []
    for call in message.tool_calls or []:
        if call.id not in results:
            raise _error(index, f"calls {call.function.name!r} ({call.id}), but no tool message right behind it has the result")
        answered.append(AnsweredCall(call.id, call.function.name, call.function.arguments, results.pop(call.id)))
    if results:
        raise _error(index, f"is followed by results of calls that it does not make: {', '.join(results)}")
    return tuple(answered)


def _error(index: int, problem: str) -> RequestError:
    return RequestError(f"messages[{index}] {problem}", param="messages")
