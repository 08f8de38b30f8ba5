"""Fields that both endpoints for text take."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lamps_jax.sched.request import MAX_LOGIT_BIASES, SamplingParams
from lamps_jax.serve.bodies.response_format import JsonObjectFormat, JsonSchemaFormat, ResponseFormat, TextFormat
from lamps_jax.serve.bodies.session import SessionBody
from lamps_jax.serve.protocol import Part, RequestError, at_most, entries_at_most, refuse

MAX_CHOICES = 128
"""Most replies to one prompt, as in the OpenAI API."""

MAX_STOP_CHARS = 256
"""Most characters of a stop text; each of them is looked for with every token."""

MAX_STOPS = 16
"""Most stop texts, and most tokens that end a reply."""

MAX_TOKENS = 2**31 - 1

TokenCount = Annotated[int, Field(le=MAX_TOKENS)]
StopText = Annotated[str, Field(max_length=MAX_STOP_CHARS)]


def _limits(minimum: float, maximum: float) -> Any:
    """Limits that `SamplingParams` checks, and the API's description shows."""
    return Field(None, json_schema_extra={"minimum": minimum, "maximum": maximum})


class StreamOptions(Part):
    """What a stream holds beside the text."""

    include_usage: bool | None = None
    """A last chunk has the usage of the whole request, and no choices."""
    include_obfuscation: bool | None = None
    """Taken and not acted upon: no stream is obfuscated."""


class GenerationBody(SessionBody):
    """A request for text. A field left out, or null, has its default."""

    NEUTRAL_VALUES: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "suffix": ("",),
        "modalities": (["text"],),
        "audio": (),
        "functions": ([],),
        "function_call": ("none", "auto"),
        "web_search_options": (),
        "use_beam_search": (False,),
        "prompt_logprobs": (),
        "bad_words": ([],),
        "truncate_prompt_tokens": (),
        "include_stop_str_in_output": (False,),
        "skip_special_tokens": (True,),
        "add_generation_prompt": (True,),
        "continue_final_message": (False,),
        "chat_template": (),
        "chat_template_kwargs": ({},),
        "structured_outputs": (),
        "guided_json": (),
        "guided_regex": (),
        "guided_choice": (),
        "guided_grammar": (),
    }

    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    """Replies to each prompt; with a seed the next one has the next seed."""
    best_of: int | None = None
    """Taken if it is `n`."""
    max_tokens: TokenCount | None = Field(None, json_schema_extra={"minimum": 1})
    min_tokens: TokenCount | None = Field(None, json_schema_extra={"minimum": 0})
    """Neither end-of-text nor a stop text ends the reply before so many tokens."""
    ignore_eos: bool | None = None
    """Goes on behind end-of-text."""
    stop: StopText | Annotated[list[StopText], at_most(MAX_STOPS)] | None = None
    """Texts that end the reply, and are not part of it."""
    stop_token_ids: Annotated[list[int], at_most(MAX_STOPS)] | None = None
    """Tokens that end the reply."""
    seed: int | None = None
    temperature: float | None = _limits(0, 10)
    top_p: float | None = _limits(0, 1)
    top_k: TokenCount | None = Field(None, json_schema_extra={"minimum": 0})
    """So many likeliest tokens are drawn from; 0 for all."""
    min_p: float | None = _limits(0, 1)
    """Tokens at least so likely, relative to the likeliest, are drawn from."""
    presence_penalty: float | None = _limits(-2, 2)
    frequency_penalty: float | None = _limits(-2, 2)
    repetition_penalty: float | None = _limits(0, 10)
    logit_bias: Annotated[dict[str, float], entries_at_most(MAX_LOGIT_BIASES)] | None = None
    """What is added to the logits of tokens; the keys are their numbers."""
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def num_choices(self) -> int:
        """Replies to each prompt."""
        return self.n or 1

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def json_format(self) -> JsonObjectFormat | JsonSchemaFormat | None:
        """What JSON the reply is to be; None for any text."""
        return None if isinstance(self.response_format, TextFormat) else self.response_format

    def check(self) -> None:
        """Also refuses a choice of the best, which would take more replies than are shown."""
        super().check()
        if self.best_of is not None and self.best_of != self.num_choices:
            refuse("best_of is not supported beyond n; leave it out, or send the same number", "best_of")

    def check_tokens(self, vocab_size: int) -> None:
        """Refuses numbers that are no token of the model's.

        Raises:
            RequestError: If there is one.
        """
        for name, token_ids in (("logit_bias", [token_id for token_id, _ in self._biases()]), ("stop_token_ids", self._stop_ids)):
            if wrong := [token_id for token_id in token_ids if not 0 <= token_id < vocab_size]:
                refuse(f"{name} names tokens between 0 and {vocab_size - 1}, got {_brief(wrong[0])}", name)

    def max_new_tokens(self) -> int | None:
        """Tokens to sample at most; None: up to the context."""
        return self.max_tokens

    def num_logprobs(self) -> int | None:
        """Of how many likeliest tokens log-probabilities are shown beside the sampled one's; None for none at all."""
        raise NotImplementedError

    def sampling(self, default_temperature: float = 1.0) -> SamplingParams:
        """The engine's parameters; without a seed a new random one each time, any other seed is taken modulo 2**32.

        Raises:
            RequestError: If a value is out of range.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        try:
            return SamplingParams(
                max_tokens=self.max_new_tokens(),
                temperature=default_temperature if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                top_k=self.top_k or 0,
                seed=secrets.randbits(32) if self.seed is None else self.seed % 2**32,
                stop=tuple(stop),
                ignore_eos=bool(self.ignore_eos),
                min_tokens=self.min_tokens or 0,
                min_p=self.min_p or 0.0,
                presence_penalty=self.presence_penalty or 0.0,
                frequency_penalty=self.frequency_penalty or 0.0,
                repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
                logit_bias=tuple(self._biases()),
                stop_token_ids=tuple(self._stop_ids),
                num_logprobs=self.num_logprobs(),
            )
        except ValueError as error:
            raise RequestError(str(error), param=str(error).split()[0]) from error

    def choices(self, sampling: SamplingParams) -> list[SamplingParams]:
        """Of each reply to a prompt: `sampling` with one seed after the other."""
        return [replace(sampling, seed=(sampling.seed + index) % 2**32) for index in range(self.num_choices)]

    @property
    def _stop_ids(self) -> list[int]:
        return self.stop_token_ids or []

    def _biases(self) -> list[tuple[int, float]]:
        for key in self.logit_bias or {}:
            if not (key.isascii() and key.isdigit() and len(key) <= 10 and str(int(key)) == key):
                refuse(f"the keys of logit_bias must be the numbers of tokens, got {_brief(key)}", "logit_bias")
        return [(int(key), bias) for key, bias in (self.logit_bias or {}).items()]


def _brief(value: int | str) -> str:
    """`value` for a message, cut where it is endless."""
    if isinstance(value, int):
        return str(value) if value.bit_length() < 128 else "a number of many digits"
    return repr(value[:40])
