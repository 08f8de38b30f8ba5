"""The bodies of ``POST /tokenize`` and ``POST /detokenize``, which are those of vLLM."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from lamps_jax.serve.bodies.chat import Messages, Tools
from lamps_jax.serve.protocol import Body, at_most, refuse

MAX_TOKENS = 2**20
"""Most tokens of which the text is told at once."""


class TokenizeBody(Body):
    """A text, or a conversation, of which the tokens are wanted."""

    NEUTRAL_VALUES: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "add_generation_prompt": (True,),
        "continue_final_message": (False,),
        "chat_template": (),
        "chat_template_kwargs": ({},),
    }

    prompt: str | None = None
    messages: Messages | None = None
    tools: Tools | None = None
    add_special_tokens: bool | None = None
    """Whether those that the model wants around a text are added, as they are by default; a chat template brings its own."""
    return_token_strs: bool | None = None

    def check(self) -> None:
        """Also refuses both of prompt and messages, and neither."""
        super().check()
        if (self.prompt is None) == (self.messages is None):
            refuse("give either a prompt or messages", "prompt")


class DetokenizeBody(Body):
    """Tokens of which the text is wanted."""

    tokens: Annotated[list[int], at_most(MAX_TOKENS)]
