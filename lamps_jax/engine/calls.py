"""What a call that a model has written comes to: whose it is, its arguments, and what is wrong with it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from lamps_jax.engine.events import ApiCall
from lamps_jax.engine.live_request import LiveRequest
from lamps_jax.sched.client_calls import ClientCall
from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.tool import Tool, ToolError


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A call that has been read.

    Attributes:
        tool: None if there is none of that name.
        problem: What the model is told instead of a result; None if nothing is wrong.
    """

    call: ApiCall
    tool: Tool | None
    problem: str | None = None


def read_call(live: LiveRequest, written: WrittenCall, tools: Mapping[str, Tool], *, now: float, max_calls: int) -> ReadCall:
    """Reads a call: of one of the client's tools, which go first, or of the server's `tools`."""
    theirs = live.options.client_tools.get(written.name)
    tool = theirs or tools.get(written.name)
    call = ApiCall(
        f"call_{secrets.token_hex(12)}",
        written.name,
        {},
        written.arguments,
        num_output_tokens=len(live.output.token_ids),
        called_s=now,
    )
    if tool is None:
        known = ", ".join(sorted({*tools, *live.options.client_tools}))
        return ReadCall(call, None, f"error: there is no tool {written.name!r:.80}; there are {known:.400}")
    try:
        call.arguments = live.reader.arguments(tool, written)
    except ToolError as error:
        return ReadCall(call, tool, f"error: {error}")
    if len(live.output.calls) >= max_calls:
        return ReadCall(call, tool, f"error: no more than {max_calls} calls are allowed")
    call.is_clients = theirs is not None
    return ReadCall(call, tool)


def awaited_calls(live: LiveRequest) -> ClientCall:
    """The calls with which a reply ends, for the scheduler."""
    calls = [call for call in live.output.calls if call.is_clients]
    hints = [hint for call in calls if (hint := live.options.expected_call_s.get(call.name)) is not None]
    return ClientCall(
        tuple(call.call_id for call in calls),
        tuple(call.name for call in calls),
        max(hints, default=None),
        live.options.keep_s,
    )
