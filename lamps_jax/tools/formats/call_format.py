"""What a call format is: between the text of models and calls of tools, in both directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lamps_jax.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call as the model wrote it.

    Attributes:
        name: Of the tool; in some formats it may be the name of none.
        arguments: As written: the text between the parentheses of an inline call, otherwise the JSON text of the arguments.
        surplus: What stood behind the call already, for want of a token that ends there.
        begun: How the model began to write the result itself, before `surplus`.
    """

    name: str
    arguments: str
    surplus: str = ""
    begun: str = ""


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call of an earlier reply with its result.

    Attributes:
        arguments: A JSON object as text, as in the OpenAI API; or whatever a model wrote instead.
    """

    id: str
    name: str
    arguments: str
    result: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of a conversation, with the results of its calls.

    Attributes:
        content: Its text; the assistant may have called without a word.
    """

    role: str
    content: str | None
    calls: tuple[AnsweredCall, ...] = ()


class CallParser(Protocol):
    """Splits a model's text into plain text and calls, however the text is cut into pieces."""

    def feed(self, text: str) -> tuple[str, WrittenCall | None]:
        """Plain text that is certain by now, and the first call that is complete; what stands behind that is its `surplus`.

        Text that may become a call is held back, up to a limit. After a call the parser knows nothing of the surplus.
        """
        ...

    def flush(self) -> tuple[str, WrittenCall | None]:
        """When no more text will come: what was held back, or a call that the end completes."""
        ...


class CallFormat(Protocol):
    """One form of calls.

    Attributes:
        name: What the form is called on the command line.
        allows_parallel: Whether one reply may hold several calls.
        markers: Special tokens that are part of a call: the parser is to see their text.
        strips_text: Whether blanks at either end of a reply are dropped.
        begins_lines: Whether a call begins a line, behind text or not; others may begin anywhere.
        lists_tools: Whether the model has to be told what tools there are, the server's own too.
    """

    @property
    def name(self) -> str: ...
    @property
    def allows_parallel(self) -> bool: ...
    @property
    def markers(self) -> tuple[str, ...]: ...
    @property
    def strips_text(self) -> bool: ...
    @property
    def begins_lines(self) -> bool: ...
    @property
    def lists_tools(self) -> bool: ...

    def parser(self, tools: Mapping[str, Tool]) -> CallParser:
        """Finds calls in one request's text."""
        ...

    def parse_arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        """Arguments by name, as the tool's schema wants them.

        Raises:
            ToolError: If they cannot be read or do not fit the schema; the message is for the model.
        """
        ...

    def grammar(self, tools: Sequence[Tool], *, parallel: bool) -> str:
        """A grammar, in llguidance's kind of Lark, of replies that are a call of one of `tools`, or several if `parallel`.

        Raises:
            ValueError: If there are no tools, or this form cannot write the arguments of one.
        """
        ...

    def result_text(self, call: WrittenCall, result: str) -> str | None:
        """What stands behind `call` to tell the model its result; None where that is for the chat template to say."""
        ...

    def template_messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """A conversation as the chat template takes it; a last message with a true ``unfinished`` is a reply that goes on."""
        ...

    def tool_prompt(self, definitions: Sequence[Mapping[str, Any]]) -> str:
        """What a system message has to say of tools, where no chat template lists them; "" for nothing.

        Args:
            definitions: As in the OpenAI API.
        """
        ...


def plain_message(turn: Turn) -> dict[str, Any]:
    """A message without calls, as every chat template takes it."""
    return {"role": turn.role, "content": turn.content}
