"""From a conversation to tokens, with the tools and their calls as the model knows them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lamps_jax.models.chat import render_chat
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.tools.formats.call_format import CallFormat, Turn
from lamps_jax.tools.tool import Tool


def conversation_token_ids(
    tokenizer: Tokenizer,
    turns: Sequence[Turn],
    *,
    call_format: CallFormat,
    definitions: Sequence[Mapping[str, Any]] = (),
    tools: Iterable[Tool] = (),
) -> list[int]:
    """Tokens of a conversation, up to where the model's reply begins.

    Args:
        definitions: Of tools that whoever asks runs, as in the OpenAI API; they go before others of the same name.
        tools: The server's own, of which models are told whose format says so.

    Raises:
        ValueError: If the model has no chat template, or its template refuses the conversation.
    """
    messages = call_format.template_messages(turns)
    if call_format.lists_tools:
        names = {definition["function"]["name"] for definition in definitions}
        definitions = [*definitions, *(definition_of(tool) for tool in tools if tool.name not in names)]
    if prompt := call_format.tool_prompt(definitions):
        messages, definitions = _told(messages, prompt), ()
    return render_chat(tokenizer, messages, tools=definitions)


def definition_of(tool: Tool) -> dict[str, Any]:
    """A tool as the OpenAI API describes it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _told(messages: list[dict[str, Any]], prompt: str) -> list[dict[str, Any]]:
    """The messages, with `prompt` at the end of the system message."""
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{prompt}"}, *messages[1:]]
    return [{"role": "system", "content": prompt}, *messages]
