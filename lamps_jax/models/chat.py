"""From chat messages to tokens, by the template that comes with a model's tokenizer."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jinja2

from lamps_jax.models.tokenizer import Tokenizer

_PRIVATE_USE = range(0xE000, 0xF900)


def render_chat(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] = ()
) -> list[int]:
    """Tokens of a conversation, up to where the model's reply begins.

    The template's special tokens count as such. Special tokens in what people, tools and the model wrote are text, spelled out:
    nobody ends a turn by typing ``<|endoftext|>``.

    Args:
        messages: As in the OpenAI API, ``role`` and ``content`` (a string or None) and perhaps ``tool_calls``, whose arguments
            already have the form that the template writes.
        tools: Definitions as in the OpenAI API, for templates that list them.

    Raises:
        ValueError: If the model has no chat template, or its template refuses these messages.
    """
    if not tokenizer.hf.chat_template:
        raise ValueError(
            "this model has no chat template; give it raw text instead (/v1/completions, or generate with --raw), "
            "or put a chat_template.jinja into its directory"
        )
    complete = [{"content": None, "tool_calls": None, **message} for message in messages]
    markers = _markers(tokenizer, "\n".join(_texts(complete)))
    marked = [_map_texts(message, lambda text: _replace_all(text, markers)) for message in complete]
    try:
        rendered = tokenizer.hf.apply_chat_template(
            marked, tools=[dict(tool) for tool in tools] or None, tokenize=False, add_generation_prompt=True
        )
    except (jinja2.TemplateError, TypeError) as error:  # TypeError: a template that adds None to a text, for example
        raise ValueError(f"the model's chat template refuses these messages: {error}") from error
    assert isinstance(rendered, str)
    if not markers:
        return tokenizer.encode_chat(rendered)
    special_of = {marker: special for special, marker in markers.items()}
    token_ids: list[int] = []
    for piece in re.split(f"([{''.join(special_of)}])", rendered):
        if piece in special_of:
            token_ids += tokenizer.encode_text(special_of[piece])
        elif piece:
            token_ids += tokenizer.encode_chat(piece)
    return token_ids


def _markers(tokenizer: Tokenizer, written: str) -> dict[str, str]:
    """For each special token spelled in `written` a character that does not occur there, to stand for it in the template."""
    specials = [token.content for token in tokenizer.hf.added_tokens_decoder.values() if token.special]
    found = sorted((special for special in specials if special in written), key=len, reverse=True)
    free = (chr(code) for code in _PRIVATE_USE if chr(code) not in written)
    return dict(zip(found, free, strict=False))


def _replace_all(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _map_texts(value: Any, function: Callable[[str], str]) -> Any:
    """`value` with `function` applied to every text in it, but not to the names of fields."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _map_texts(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(item, function) for item in value]
    return value
