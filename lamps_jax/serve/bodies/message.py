"""The messages of a conversation, as requests bring them."""

from typing import Annotated, Literal

from lamps_jax.serve.protocol import Part, at_most

MAX_PARTS = 1024
"""Most parts of a message, and most calls."""


class TextPart(Part):
    """One part of a message; only text is taken."""

    type: Literal["text"]
    text: str


class FunctionCall(Part):
    """A call with its arguments, a JSON object as text."""

    name: str
    arguments: str


class ToolCall(Part):
    """A call that an earlier reply asked for."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Part):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], at_most(MAX_PARTS)] | None = None
    tool_calls: Annotated[list[ToolCall], at_most(MAX_PARTS)] | None = None
    """Calls of the assistant's, whose results stand in the messages right behind it."""
    tool_call_id: str | None = None
    """Which call the message of a tool is the result of."""

    @property
    def text(self) -> str | None:
        """The content, its parts joined."""
        return "".join(part.text for part in self.content) if isinstance(self.content, list) else self.content


def answered_calls(messages: list[Message]) -> tuple[str, ...]:
    """Ids of the calls whose results stand behind the last message of the assistant's."""
    answered: list[str] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        if message.role == "tool" and message.tool_call_id is not None:
            answered.append(message.tool_call_id)
    return tuple(reversed(answered))
