"""What a reply must be: a call, because the request wants one, or JSON, or either."""

from collections.abc import Mapping

from lamps_jax.sched.request import Constraint
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.bodies.generation import GenerationBody
from lamps_jax.serve.bodies.response_format import call_or_answer
from lamps_jax.serve.bodies.tools import forced_tools
from lamps_jax.serve.protocol import RequestError, refuse
from lamps_jax.tools.tool import Tool


def wants_constraint(body: GenerationBody) -> bool:
    """Whether the replies to `body` may be bound to anything."""
    names_tools = isinstance(body, ChatBody) and body.tool_choice not in (None, "none", "auto")
    return names_tools or body.json_format is not None


def constraint_of(body: GenerationBody, engine: AsyncEngine, client_tools: Mapping[str, Tool]) -> Constraint | None:
    """The constraint of the replies to `body`, compiled once to see that it can be; None for any text. Takes a while.

    Where the reply is to be JSON and the request has tools, or leaves the choice of one, each stretch of it is a call or JSON.

    Args:
        client_tools: Those of the request that may be called.

    Raises:
        RequestError: If it cannot be compiled, or asks for what contradicts itself.
    """
    forced = forced_tools(body.tool_choice, client_tools, engine.tools) if isinstance(body, ChatBody) else []
    if not forced and body.json_format is None:
        return None
    param = "tool_choice" if forced else "response_format"
    try:
        constraint = _call(body, engine, forced, client_tools) if forced else _json(body, engine, client_tools)
        engine.check_constraint(constraint)
    except ValueError as error:
        raise RequestError(f"{param}: {error}", param=param) from error
    return constraint


def _call(body: GenerationBody, engine: AsyncEngine, forced: list[Tool], client_tools: Mapping[str, Tool]) -> Constraint:
    if body.json_format is not None and any(tool.name not in client_tools for tool in forced):
        refuse(
            "response_format cannot be kept to where tool_choice wants a server's tool called; leave out either", "tool_choice"
        )
    return Constraint("lark", engine.call_format.grammar(forced, parallel=_parallel(body, engine)), each_segment=False)


def _json(body: GenerationBody, engine: AsyncEngine, client_tools: Mapping[str, Tool]) -> Constraint:
    assert body.json_format is not None, "otherwise any text is meant"
    known = {**engine.tools, **client_tools} if isinstance(body, ChatBody) and body.asks_for_calls else {}
    tools = [tool for tool in known.values() if _can_be_written(tool, engine)]
    if not tools:
        return body.json_format.constraint()
    call = engine.call_format.grammar(tools, parallel=_parallel(body, engine))
    return Constraint("lark", call_or_answer(call, body.json_format.grammar()))


def _can_be_written(tool: Tool, engine: AsyncEngine) -> bool:
    try:
        engine.call_format.grammar([tool], parallel=False)
    except ValueError:
        return False
    return True


def _parallel(body: GenerationBody, engine: AsyncEngine) -> bool:
    return isinstance(body, ChatBody) and body.parallel_calls and engine.call_format.allows_parallel
