"""The body of ``POST /v1/chat/completions``."""

from typing import Annotated, Any

from pydantic import Field

from lamps_jax.engine.options import RequestOptions
from lamps_jax.sched.request import MAX_LOGPROBS
from lamps_jax.serve.bodies.generation import GenerationBody, TokenCount
from lamps_jax.serve.bodies.message import Message, answered_calls
from lamps_jax.serve.bodies.session import MAX_TOOLS
from lamps_jax.serve.bodies.tools import AllowedToolChoice, NamedTool, ToolChoice, ToolDefinition, tools_by_name
from lamps_jax.serve.protocol import at_most, refuse
from lamps_jax.tools.tool import Tool

MAX_MESSAGES = 4096
"""Most messages of a conversation."""

Messages = Annotated[list[Message], at_most(MAX_MESSAGES)]
Tools = Annotated[list[ToolDefinition], at_most(MAX_TOOLS)]


class ChatBody(GenerationBody):
    """A request for the next message of a conversation."""

    messages: Messages = Field(json_schema_extra={"minItems": 1})
    max_completion_tokens: TokenCount | None = Field(None, json_schema_extra={"minimum": 1})
    """Goes before `max_tokens`."""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    tools: Tools | None = None
    """Functions that the client runs."""
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None

    def check(self) -> None:
        """Also refuses a conversation without messages, and the likeliest tokens without log-probabilities."""
        super().check()
        if not self.messages:
            refuse("messages is empty; give at least one", "messages")
        if self.top_logprobs and not self.logprobs:
            refuse("top_logprobs needs logprobs to be true", "top_logprobs")

    def max_new_tokens(self) -> int | None:
        """The newer field goes before the older."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def num_logprobs(self) -> int | None:
        """None unless `logprobs`."""
        return self.top_logprobs or 0 if self.logprobs else None

    @property
    def recognise_calls(self) -> bool:
        """Whether the reply may call tools, the client's or the server's."""
        return self.tool_choice != "none"

    @property
    def asks_for_calls(self) -> bool:
        """Whether it says that tools may be called, and does not only leave it open to the server."""
        return self.recognise_calls and (bool(self.tools) or self.tool_choice is not None)

    @property
    def parallel_calls(self) -> bool:
        """Whether the reply may hold several calls; a function that is named is called once."""
        return self.parallel_tool_calls is not False and not isinstance(self.tool_choice, NamedTool)

    def client_tools(self) -> dict[str, Tool]:
        """The tools of the client's that may be called, by name.

        Raises:
            RequestError: If a definition cannot be used.
        """
        if not self.recognise_calls:
            return {}
        tools = tools_by_name(self.tools or [])
        if isinstance(self.tool_choice, AllowedToolChoice):
            allowed = {tool.function.name for tool in self.tool_choice.allowed_tools.tools}
            return {name: tool for name, tool in tools.items() if name in allowed}
        return tools

    def template_tools(self) -> list[dict[str, Any]]:
        """The client's tools as chat templates take them; none if none may be called."""
        if not self.recognise_calls:
            return []
        return [{"type": "function", "function": tool.function.model_dump(exclude_none=True)} for tool in self.tools or []]

    def options(self, *, session_id: str | None = None, tenant: str = "", **more: Any) -> RequestOptions:
        """Also what concerns calls."""
        concerning_calls = {
            "recognise_calls": self.recognise_calls,
            "parallel_calls": self.parallel_calls,
            "answered_calls": answered_calls(self.messages),
        }
        return super().options(session_id=session_id, tenant=tenant, **concerning_calls | more)
