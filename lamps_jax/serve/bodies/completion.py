"""The body of ``POST /v1/completions``."""

from typing import Annotated, Literal

from pydantic import Field

from lamps_jax.sched.request import MAX_LOGPROBS
from lamps_jax.serve.bodies.generation import GenerationBody
from lamps_jax.serve.protocol import MAX_BODY_BYTES, at_most, refuse

DEFAULT_COMPLETION_TOKENS = 16
"""`max_tokens` where the request gives none, as in the OpenAI API."""

MAX_REPLIES = 1024
"""Most prompts of a request, and most replies to all of them."""

TokenIds = Annotated[list[int], at_most(MAX_BODY_BYTES)]
Prompts = Annotated[list[str], at_most(MAX_REPLIES)] | TokenIds | Annotated[list[TokenIds], at_most(MAX_REPLIES)]


class CompletionBody(GenerationBody):
    """A request to continue a text, or several."""

    prompt: str | Prompts
    """A text, token ids, or a list of either."""
    echo: bool | None = None
    """Each reply begins with its prompt."""
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | Literal[False] | None = None
    """Log-probabilities of each token sampled, and of so many likeliest ones."""

    def check(self) -> None:
        """Also refuses an echo with log-probabilities, as nothing has computed those of the prompt."""
        super().check()
        num_prompts = len(self.prompts())
        if num_prompts * self.num_choices > MAX_REPLIES:
            refuse(f"a request may ask for {MAX_REPLIES} replies, got {num_prompts} prompts with n {self.num_choices}", "prompt")
        if self.echo and self.num_logprobs() is not None:
            refuse("echo is not supported together with logprobs: those of the prompt are not computed; leave out either", "echo")

    def max_new_tokens(self) -> int | None:
        """As in the OpenAI API there is always a limit."""
        return DEFAULT_COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens

    def num_logprobs(self) -> int | None:
        """As the field says; False is as good as none."""
        return None if self.logprobs is False else self.logprobs

    def prompts(self) -> list[str | list[int]]:
        """Each prompt, as text or as token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if not self.prompt:
            refuse("prompt is empty; give a text, token ids, or a list of either", "prompt")
        if isinstance(self.prompt[0], int):
            return [[item for item in self.prompt if isinstance(item, int)]]
        return [item for item in self.prompt if not isinstance(item, int)]
