"""Log-probabilities, in the two shapes that the OpenAI API has for them.

Special tokens that were sampled are left out: what is shown is, in a row, the text that was sampled, calls included.
"""

import codecs
from collections.abc import Sequence
from typing import Any

from lamps_jax.engine.events import TokenLogprob
from lamps_jax.models.tokenizer import Tokenizer

LOWEST = -9999.0
"""Shown for what is impossible: JSON has no infinity."""

Json = dict[str, Any]


def chat_logprobs(tokenizer: Tokenizer, sampled: Sequence[TokenLogprob]) -> Json:
    """The ``logprobs`` of a choice of a chat."""
    content = [
        {
            **_entry(tokenizer, token.token_id, token.logprob),
            "top_logprobs": [_entry(tokenizer, token_id, logprob) for token_id, logprob in token.likeliest],
        }
        for token in _spelled(tokenizer, sampled)
    ]
    return {"content": content, "refusal": None}


class CompletionLogprobs:
    """The ``logprobs`` of one choice of a completion, stretch by stretch.

    Args:
        tokenizer: Tells how tokens are spelled.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer, self._offset = tokenizer, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, sampled: Sequence[TokenLogprob]) -> Json:
        """Of the tokens that follow those shown before."""
        shown: Json = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in _spelled(self._tokenizer, sampled):
            text, logprob = _text(self._tokenizer.spell(token.token_id)), _finite(token.logprob)
            likeliest = dict[str, float]()
            for token_id, value in token.likeliest:
                likeliest.setdefault(_text(self._tokenizer.spell(token_id)), _finite(value))
            likeliest.setdefault(text, logprob)
            shown["tokens"].append(text)
            shown["token_logprobs"].append(logprob)
            shown["top_logprobs"].append(likeliest)
            shown["text_offset"].append(self._offset)
            self._offset += len(self._decoder.decode(self._tokenizer.spell(token.token_id)))
        return shown


def _spelled(tokenizer: Tokenizer, sampled: Sequence[TokenLogprob]) -> list[TokenLogprob]:
    return [token for token in sampled if not tokenizer.is_special(token.token_id)]


def _entry(tokenizer: Tokenizer, token_id: int, logprob: float) -> Json:
    spelled = tokenizer.spell(token_id)
    return {"token": _text(spelled), "logprob": _finite(logprob), "bytes": list(spelled)}


def _text(spelled: bytes) -> str:
    return spelled.decode("utf-8", "replace")


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST)
