"""From prompts and conversations to tokens, off the event loop."""

import asyncio
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lamps_jax.engine.conversation import conversation_token_ids
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.bodies.message import Message
from lamps_jax.serve.bodies.tokens import DetokenizeBody, TokenizeBody
from lamps_jax.serve.messages import conversation_turns
from lamps_jax.serve.protocol import RequestError
from lamps_jax.tools.tool import Tool

T = TypeVar("T")


LONG_CHARS = 128 * 1024
"""Longer texts wait for each other, and no others for them."""


class Encoder:
    """Uses tokenizers on threads, each for one text at a time: they are not to be used twice at once.

    Long texts, which take long, have a tokenizer of their own, a copy that is made when the first one comes.
    """

    def __init__(self) -> None:
        self._short, self._long = asyncio.Lock(), asyncio.Lock()
        self._copy: Tokenizer | None = None

    async def run(self, act: Callable[..., T], engine: AsyncEngine, *arguments: Any, num_chars: int) -> T:
        """What `act` returns, which is called with the engine, a tokenizer to use, and the arguments.

        Args:
            num_chars: Of what is to be encoded or decoded, or the number of its tokens.
        """
        if num_chars <= LONG_CHARS:
            async with self._short:
                return await asyncio.to_thread(act, engine, engine.tokenizer, *arguments)
        async with self._long:
            return await asyncio.to_thread(lambda: act(engine, self._own_copy(engine), *arguments))

    def _own_copy(self, engine: AsyncEngine) -> Tokenizer:
        if self._copy is None:
            self._copy = copy.deepcopy(engine.tokenizer)
        return self._copy


def length_of(messages: Sequence[Message]) -> int:
    """Characters of a conversation, without what a template makes of it."""
    calls = (call.function.arguments for message in messages for call in message.tool_calls or ())
    return sum(len(message.text or "") for message in messages) + sum(map(len, calls))


def decode_tokens(engine: AsyncEngine, tokenizer: Tokenizer, token_ids: list[int]) -> str:
    """The text of tokens, without special ones."""
    return tokenizer.decode(token_ids)


def encode_prompt(engine: AsyncEngine, tokenizer: Tokenizer, prompt: str | list[int]) -> list[int]:
    """Tokens of a prompt that leave room for an answer.

    Raises:
        RequestError: If there are none, or too many, or some that the model does not have.
    """
    if isinstance(prompt, str):
        _check_text_length(engine, len(prompt), "prompt")
        token_ids = tokenizer.encode_prompt(prompt)
    else:
        token_ids = prompt
        _check_token_ids(engine, prompt, "prompt")
    _check_length(engine, token_ids, "prompt")
    return token_ids


def encode_chat(
    engine: AsyncEngine,
    tokenizer: Tokenizer,
    messages: list[Message],
    definitions: Sequence[dict[str, Any]],
    own_tools: Mapping[str, Tool],
) -> list[int]:
    """Tokens of a conversation that leave room for an answer.

    Args:
        definitions: Of the client's tools.
        own_tools: Those of the server that may be called.

    Raises:
        RequestError: If the model's template refuses it, or there are too many, or none.
    """
    _check_text_length(engine, length_of(messages), "messages")
    token_ids = _render(engine, tokenizer, messages, definitions, own_tools)
    _check_length(engine, token_ids, "messages")
    return token_ids


def as_json(content: Mapping[str, Any]) -> str:
    """`content` as JSON, made piece by piece: other threads have their turn meanwhile, however long it is."""
    return "".join(json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).iterencode(content))


def tokenize(engine: AsyncEngine, tokenizer: Tokenizer, body: TokenizeBody) -> dict[str, Any]:
    """The answer to a request for tokens.

    Raises:
        RequestError: If the model's template refuses the conversation.
    """
    if body.messages is not None:
        definitions = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
        token_ids = _render(engine, tokenizer, body.messages, definitions, engine.tools)
    elif body.add_special_tokens is False:
        token_ids = tokenizer.encode_chat(body.prompt or "")
    else:
        token_ids = tokenizer.encode_prompt(body.prompt or "")
    names = tokenizer.hf.convert_ids_to_tokens(token_ids) if body.return_token_strs else None
    return {"count": len(token_ids), "max_model_len": engine.max_model_len, "tokens": token_ids, "token_strs": names}


def detokenize(engine: AsyncEngine, tokenizer: Tokenizer, body: DetokenizeBody) -> dict[str, Any]:
    """The answer to a request for the text of tokens, special ones included.

    Raises:
        RequestError: If one is none.
    """
    _check_token_ids(engine, body.tokens, "tokens")
    return {"prompt": tokenizer.hf.decode(body.tokens, skip_special_tokens=False)}


def _render(
    engine: AsyncEngine,
    tokenizer: Tokenizer,
    messages: list[Message],
    definitions: Sequence[dict[str, Any]],
    own_tools: Mapping[str, Tool],
) -> list[int]:
    turns, call_format = conversation_turns(messages), engine.call_format
    try:
        return conversation_token_ids(
            tokenizer, turns, call_format=call_format, definitions=definitions, tools=own_tools.values()
        )
    except ValueError as error:
        raise RequestError(str(error), param="messages") from error


def _check_token_ids(engine: AsyncEngine, token_ids: Sequence[int], param: str) -> None:
    last = engine.vocab_size - 1
    if wrong := [token_id for token_id in token_ids if not 0 <= token_id <= last]:
        shown = f", got {wrong[0]}" if abs(wrong[0]) < 2**64 else ""
        raise RequestError(f"token ids must be between 0 and {last}{shown}", param=param)


def _check_text_length(engine: AsyncEngine, num_chars: int, param: str) -> None:
    """Refuses at once what would take a while to be found too long."""
    longest = engine.tokenizer.longest_token_chars
    if num_chars >= engine.max_model_len * longest:
        raise RequestError(
            f"this model's context is {engine.max_model_len} tokens; {param} has {num_chars} characters, and no token has more "
            f"than {longest}; shorten it",
            param=param,
            code="context_length_exceeded",
        )


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
