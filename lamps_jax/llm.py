"""Offline use: ``LLM().generate(["What is 48*37?"])``."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lamps_jax.config import EngineConfig
from lamps_jax.engine.build import Progress, build_engine, model_directory
from lamps_jax.engine.conversation import conversation_token_ids
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import ApiCall, Event, RequestOutput
from lamps_jax.metrics import Latencies, latencies
from lamps_jax.sched.request import FinishReason, SamplingParams
from lamps_jax.tools.builtin import BUILTIN_TOOLS
from lamps_jax.tools.formats.call_format import Turn
from lamps_jax.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class Generation:
    """What a prompt yielded.

    Attributes:
        text: What the model wrote, without its calls.
        token_ids: Sampled tokens, those of calls included.
    """

    prompt: str
    text: str
    token_ids: list[int]
    calls: list[ApiCall]
    finish_reason: FinishReason
    num_prompt_tokens: int
    timings: Latencies


class LLM:
    """A model with its engine in this process.

    Args:
        model: ``embedded``, or a Hugging Face directory.
        tools: What the model may call; by default the built-in ones.
        progress: Called with ``(what, done, total)`` while the model is loaded and compiled.

    Raises:
        CheckpointError: If the directory does not hold a model that can be run.
    """

    def __init__(
        self,
        model: str = "embedded",
        *,
        tools: Iterable[Tool] = BUILTIN_TOOLS,
        config: EngineConfig | None = None,
        progress: Progress = lambda what, done, total: None,
    ):
        self.engine: Engine = build_engine(model_directory(model), config or EngineConfig(), tools, progress=progress)

    def generate(
        self,
        prompts: Sequence[str],
        sampling: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        raw: bool = False,
        on_event: Callable[[int, Event], None] = lambda index, event: None,
    ) -> list[Generation]:
        """The generations of all `prompts`, in their order, served together.

        Args:
            sampling: For all prompts, or one each; greedy by default.
            raw: Takes the prompts as they are; otherwise each is a question put into the model's chat template.
            on_event: Called with a prompt's index and each change of its output, as it happens.

        Raises:
            ValueError: If a prompt is empty or too long, or there are not as many `sampling` as prompts; nothing is generated.
        """
        if sampling is None or isinstance(sampling, SamplingParams):
            sampling = [sampling or SamplingParams()] * len(prompts)
        token_ids = [self._encode(prompt, raw=raw) for prompt in prompts]
        outputs: dict[int, RequestOutput] = {}
        request_ids: list[str] = []
        first = dict[tuple[int, ...], str]()  # the first request of each prompt, whose blocks the others share
        try:
            for index, (ids, params) in enumerate(zip(token_ids, sampling, strict=True)):

                def sink(event: Event, index: int = index) -> None:
                    on_event(index, event)
                    if event.kind == "finished":
                        outputs[index] = event.output

                request_ids.append(self.engine.add(ids, params, on_event=sink, fork_of=first.get(tuple(ids))))
                first.setdefault(tuple(ids), request_ids[-1])
            while len(outputs) < len(prompts):
                if not self.engine.step():
                    self.engine.wait()
        except BaseException:
            for request_id in request_ids:
                self.engine.abort(request_id)
            raise
        return [_generation(prompt, outputs[index]) for index, prompt in enumerate(prompts)]

    def _encode(self, prompt: str, *, raw: bool) -> list[int]:
        if raw:
            return self.engine.tokenizer.encode_prompt(prompt)
        call_format, tools = self.engine.call_format, self.engine.tools.values()
        return conversation_token_ids(self.engine.tokenizer, [Turn("user", prompt)], call_format=call_format, tools=tools)


def _generation(prompt: str, output: RequestOutput) -> Generation:
    assert output.finish_reason is not None
    return Generation(
        prompt=prompt,
        text=output.text,
        token_ids=output.token_ids,
        calls=output.calls,
        finish_reason=output.finish_reason,
        num_prompt_tokens=output.num_prompt_tokens,
        timings=latencies(output.timestamps, len(output.token_ids)),
    )
