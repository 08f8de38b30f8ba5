"""From chat messages to tokens, by the template that comes with a model's tokenizer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lamps_jax.models.chat_templates import built_in_template
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
            already have the form that the template writes: the text between the parentheses for inline calls, an object for
            templates that write JSON. A list of calls that is None or empty counts as none. Where the last message is
            ``unfinished``, the reply goes on with it.
        tools: Definitions as in the OpenAI API, for templates that list them. With tools the directory's template "tool_use" is
            taken, if it has one.

    Raises:
        ValueError: If the model has no chat template, or its template refuses these messages.
    """
    rendered, spelled = _render(tokenizer, messages, tools)
    token_ids = tokenizer.encode_chat(rendered, spelled=spelled)
    bos: Any = tokenizer.hf.bos_token_id
    return [bos, *token_ids] if _built_in(tokenizer) and bos is not None else token_ids


def render_behind(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]],
    place: Callable[[str], int],
) -> list[int]:
    """Tokens of a conversation behind some place in it, up to where the model's reply begins.

    Args:
        place: Finds the place in the conversation's text.

    Raises:
        ValueError: As `render_chat`.
    """
    rendered, spelled = _render(tokenizer, messages, tools)
    return tokenizer.encode_chat(rendered[place(rendered) :], spelled=spelled, goes_on=True)


def _built_in(tokenizer: Tokenizer) -> str | None:
    """The template of a model whose directory has none."""
    return None if tokenizer.hf.chat_template else built_in_template(tokenizer.model_names)


def _render(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, str]]:
    """The text of a conversation, and which characters in it stand for special tokens that are only spelled."""
    hf: Any = tokenizer.hf
    built_in = _built_in(tokenizer)
    if not hf.chat_template and not built_in:
        raise ValueError(
            "this model has no chat template; give it raw text instead (/v1/completions, or generate with --raw), "
            "or put a chat_template.jinja into its directory"
        )
    # Templates ask whether a message has calls by whether it has the field.
    said = [
        {key: value for key, value in message.items() if key != "unfinished" and (value or key != "tool_calls")}
        for message in messages
    ]
    goes_on = bool(messages) and bool(messages[-1].get("unfinished"))
    markers = _markers(tokenizer, "\n".join(_texts([said, list(tools)])))
    marked, marked_tools = _map_texts([said, list(tools)], lambda text: _replace_all(text, markers))
    try:
        rendered = hf.apply_chat_template(
            marked,
            tools=marked_tools or None,
            chat_template=built_in,
            tokenize=False,
            add_generation_prompt=not goes_on,
            continue_final_message=goes_on,
        )
    except Exception as error:  # a template is a foreign program: it may add None to a text, or never end on a type of its tools
        raise ValueError(f"the model's chat template refuses these messages: {' '.join(str(error).split())}") from error
    return rendered, {marker: special for special, marker in markers.items()}


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
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _map_texts(value: Any, function: Callable[[str], str]) -> Any:
    """`value` with `function` applied to every text in it, and to names: those of arguments are the model's or the client's."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, Mapping):
        return {_map_texts(key, function): _map_texts(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(item, function) for item in value]
    return value
