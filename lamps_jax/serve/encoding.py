"""From prompts and conversations to tokens, off the event loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lamps_jax.engine.conversation import conversation_token_ids
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.bodies.message import Message
from lamps_jax.serve.bodies.tokens import DetokenizeBody, TokenizeBody
from lamps_jax.serve.messages import conversation_turns
from lamps_jax.serve.protocol import RequestError
from lamps_jax.tools.tool import Tool

T = TypeVar("T")


class Encoder:
    """Uses the tokenizer on a thread, for one text at a time: a long one takes long, and it is not to be used twice at once."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, act: Callable[..., T], *arguments: Any) -> T:
        """What `act` returns, which may use the engine's tokenizer."""
        async with self._lock:
            return await asyncio.to_thread(act, *arguments)


def encode_prompt(engine: AsyncEngine, prompt: str | list[int]) -> list[int]:
    """Tokens of a prompt that leave room for an answer.

    Raises:
        RequestError: If there are none, or too many, or some that the model does not have.
    """
    token_ids = engine.tokenizer.encode_prompt(prompt) if isinstance(prompt, str) else prompt
    if not isinstance(prompt, str):
        _check_token_ids(engine, prompt, "prompt")
    _check_length(engine, token_ids, "prompt")
    return token_ids


def encode_chat(
    engine: AsyncEngine, messages: list[Message], definitions: Sequence[dict[str, Any]], own_tools: Mapping[str, Tool]
) -> list[int]:
    """Tokens of a conversation that leave room for an answer.

    Args:
        definitions: Of the client's tools.
        own_tools: Those of the server that may be called.

    Raises:
        RequestError: If the model's template refuses it, or there are too many, or none.
    """
    token_ids = _render(engine, messages, definitions, own_tools)
    _check_length(engine, token_ids, "messages")
    return token_ids


def tokenize(engine: AsyncEngine, body: TokenizeBody) -> dict[str, Any]:
    """The answer to a request for tokens.

    Raises:
        RequestError: If the model's template refuses the conversation.
    """
    if body.messages is not None:
        definitions = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
        token_ids = _render(engine, body.messages, definitions, engine.tools)
    elif body.add_special_tokens is False:
        token_ids = engine.tokenizer.encode_chat(body.prompt or "")
    else:
        token_ids = engine.tokenizer.encode_prompt(body.prompt or "")
    names = engine.tokenizer.hf.convert_ids_to_tokens(token_ids) if body.return_token_strs else None
    return {"count": len(token_ids), "max_model_len": engine.max_model_len, "tokens": token_ids, "token_strs": names}


def detokenize(engine: AsyncEngine, body: DetokenizeBody) -> dict[str, Any]:
    """The answer to a request for the text of tokens, special ones included.

    Raises:
        RequestError: If one is none.
    """
    _check_token_ids(engine, body.tokens, "tokens")
    return {"prompt": engine.tokenizer.hf.decode(body.tokens, skip_special_tokens=False)}


def _render(
    engine: AsyncEngine, messages: list[Message], definitions: Sequence[dict[str, Any]], own_tools: Mapping[str, Tool]
) -> list[int]:
    turns, call_format = conversation_turns(messages), engine.call_format
    try:
        return conversation_token_ids(
            engine.tokenizer, turns, call_format=call_format, definitions=definitions, tools=own_tools.values()
        )
    except ValueError as error:
        raise RequestError(str(error), param="messages") from error


def _check_token_ids(engine: AsyncEngine, token_ids: Sequence[int], param: str) -> None:
    last = engine.vocab_size - 1
    if wrong := [token_id for token_id in token_ids if not 0 <= token_id <= last]:
        shown = f", got {wrong[0]}" if abs(wrong[0]) < 2**64 else ""
        raise RequestError(f"token ids must be between 0 and {last}{shown}", param=param)


def _check_length(engine: AsyncEngine, token_ids: list[int], param: str) -> None:
    if not token_ids:
        raise RequestError(f"{param} has no tokens; give the model something to go on from", param=param)
    if len(token_ids) >= engine.max_model_len:
        raise RequestError(
            f"this model's context is {engine.max_model_len} tokens, of which at least one is for the answer; {param} has "
            f"{len(token_ids)}; shorten it",
            param=param,
            code="context_length_exceeded",
        )
