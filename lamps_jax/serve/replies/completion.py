"""The replies of ``/v1/completions``."""

from collections.abc import Iterator, Sequence

from lamps_jax.engine.events import Event, RequestOutput, TokenLogprob
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.replies.logprobs import CompletionLogprobs
from lamps_jax.serve.replies.reply import Json, account, finish_reason, head, timings, usage


class CompletionReply:
    """The choices, several in a row for each prompt; each has a ``lamps`` of its own.

    Args:
        tokenizer: Tells how tokens are spelled.
        echoed: The text of each prompt, if it is to be shown.
    """

    def __init__(self, model: str, body: CompletionBody, tokenizer: Tokenizer, *, echoed: Sequence[str] = ()):
        self._head = head("cmpl", "text_completion", model)
        self._null_usage = {"usage": None} if body.include_usage else {}
        self._num_choices, self._echoed, self._tokenizer = body.num_choices, echoed, tokenizer
        self._with_logprobs = body.num_logprobs() is not None
        self._logprobs = dict[int, CompletionLogprobs]()
        self._begun = set[int]()

    def whole(self, outputs: Sequence[RequestOutput]) -> Json:
        """All choices, in the order of their prompts."""
        choices = [
            {
                "index": index,
                "text": self._echo(index) + output.text,
                "logprobs": self._shown(index, output.logprobs),
                "finish_reason": finish_reason(output),
                "lamps": account(output),
            }
            for index, output in enumerate(outputs)
        ]
        return {**self._head, "choices": choices, "usage": usage(outputs, num_choices=self._num_choices)}

    def chunks(self, index: int, event: Event) -> Iterator[Json]:
        """One chunk an event."""
        choice: Json = {"index": index, "text": event.text, "logprobs": None, "finish_reason": None}
        if index not in self._begun:
            self._begun.add(index)
            choice["text"] = self._echo(index) + event.text
        if event.logprobs:
            choice["logprobs"] = self._shown(index, event.logprobs)
        if event.call is not None:
            choice["lamps"] = {"call": event.call.as_dict()}
        if event.kind == "finished":
            choice |= {"finish_reason": finish_reason(event.output), "lamps": timings(event.output)}
        yield {**self._head, "choices": [choice], **self._null_usage}

    def usage_chunk(self, outputs: Sequence[RequestOutput]) -> Json:
        """No choices, only usage."""
        return {**self._head, "choices": [], "usage": usage(outputs, num_choices=self._num_choices)}

    def _echo(self, index: int) -> str:
        return self._echoed[index // self._num_choices] if self._echoed else ""

    def _shown(self, index: int, sampled: Sequence[TokenLogprob]) -> Json | None:
        if not self._with_logprobs:
            return None
        return self._logprobs.setdefault(index, CompletionLogprobs(self._tokenizer)).next(sampled)
