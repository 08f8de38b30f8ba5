"""How the result of a call is told to models whose chat template knows results."""

import logging
from typing import Any

from lamps_jax.models.chat import render_behind
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.tools.formats.call_format import AnsweredCall, CallFormat, Turn, WrittenCall
from lamps_jax.tools.formats.detect import AUTO, format_named
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.tool import Tool

logger = logging.getLogger(__name__)

_QUESTION = "What comes out of it?"
_ANY_TOOL = Tool("any", "", {"type": "object", "properties": {}}, str)


def working_format(name: str, tokenizer: Tokenizer) -> CallFormat:
    """The format called `name`, tried with a result; inline where the model's own was asked for and its template fails.

    Raises:
        ValueError: If there is no such format, or the model's chat template has no place for its calls and results.
    """
    call_format = format_named(name, tokenizer)
    try:
        if call_format.result_text(WrittenCall("tool", "{}"), "") is None:
            templated_result(tokenizer, call_format, "tool", "result")
    except ValueError as error:
        if name != AUTO:
            raise
        logger.warning("calls are read as inline ones, for %s", error)
        return INLINE
    return call_format


def templated_result(tokenizer: Tokenizer, call_format: CallFormat, name: str, result: str) -> list[int]:
    """Tokens from behind a call of `name` to where the reply goes on, as the model's chat template has them.

    A conversation with such a call is rendered, and what its call leaves behind it is taken: the end of the assistant's turn, the
    result, and the head of the next turn.

    Raises:
        ValueError: If the template has no place for calls and results.
    """

    def behind_call(text: str) -> int:
        reply = text[text.find(_QUESTION) + len(_QUESTION) :]
        _, call = call_format.parser({name: _ANY_TOOL}).feed(reply)
        if call is None:
            raise ValueError(f"the model's chat template does not write calls in the form {call_format.name}")
        return len(text) - len(call.surplus)

    called = Turn("assistant", None, (AnsweredCall("call00000", name, "{}", result),))
    messages = call_format.template_messages([Turn("user", _QUESTION), called])
    function = {"name": name, "description": "", "parameters": dict(_ANY_TOOL.parameters)}
    tools: list[dict[str, Any]] = [{"type": "function", "function": function}]
    return render_behind(tokenizer, messages, tools=tools, place=behind_call)
