"""Which call format a model writes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from lamps_jax.tools.formats.call_format import CallFormat
from lamps_jax.tools.formats.hermes import HERMES
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.formats.json_format import JsonFormat
from lamps_jax.tools.formats.llama3 import LLAMA3
from lamps_jax.tools.formats.react import REACT

FORMATS: Mapping[str, CallFormat] = {each.name: each for each in (INLINE, REACT, HERMES, LLAMA3)}
"""Every call format by its name."""

AUTO = "auto"
"""Stands for the format that the model's chat template writes."""


class _Tokenizer(Protocol):
    """What of a model's tokenizer tells its format."""

    @property
    def hf(self) -> Any: ...
    @property
    def model_names(self) -> tuple[str, ...]: ...


def format_named(name: str, tokenizer: _Tokenizer) -> CallFormat:
    """The format called `name` for the tokens of one model; "auto" for the one that it was trained on.

    Raises:
        ValueError: If there is no such format, or the model's chat template has no place for its calls.
    """
    if name == AUTO:
        return detect_format(tokenizer)
    if name not in FORMATS:
        raise ValueError(f"the tool format must be {AUTO}, {', '.join(FORMATS)}, got {name!r}")
    if isinstance(FORMATS[name], JsonFormat) and "tool" not in _templates(tokenizer):
        raise ValueError(
            f"the tool format {name} is for models whose chat template knows tools, which this model's does not; "
            "use react or inline"
        )
    return _with_tokens(FORMATS[name], tokenizer)


def detect_format(tokenizer: _Tokenizer) -> CallFormat:
    """The format that the model's chat template writes calls in; inline where it says nothing of that."""
    template = _templates(tokenizer)
    # Templates with calls in XML between the same tags are not of this kind.
    if "<tool_call>" in template and "arguments" in template and not any(tag in template for tag in ("<function=", "<arg_key>")):
        return _with_tokens(HERMES, tokenizer)
    if '"parameters": ' in template and "<|start_header_id|>" in template:
        return _with_tokens(LLAMA3, tokenizer)
    if "Action Input:" in template or any("toolllama" in name.lower() for name in tokenizer.model_names):
        return REACT
    return INLINE


def _templates(tokenizer: _Tokenizer) -> str:
    """All chat templates of a model."""
    template = tokenizer.hf.chat_template or ""
    return template if isinstance(template, str) else "\n".join(template.values())


def _with_tokens(call_format: CallFormat, tokenizer: _Tokenizer) -> CallFormat:
    """The format with those of its markers that the tokenizer has as tokens."""
    if not isinstance(call_format, JsonFormat):
        return call_format
    tokens = {token.content for token in tokenizer.hf.added_tokens_decoder.values()}
    return replace(call_format, tokens=tokens.intersection(call_format.markers))
