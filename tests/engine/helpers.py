"""Engines whose model says what a test has written down, or draws calls at random; tools that count; a runner without threads."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lamps_jax.config import SchedulerConfig
from lamps_jax.engine.api_runner import ApiOutcome
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event, RequestOutput
from lamps_jax.engine.grammar import Grammars
from lamps_jax.engine.options import RequestOptions
from lamps_jax.engine.protocols import ApiRunner, Executor
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.request import SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.tool import Tool, ToolError, one_string
from tests.token_memory import TokenMemory

EOS = "<eos>"
JUNK = "~"


def byte_tokenizer(*words: str) -> Tokenizer:
    """A token a byte, and one for each of `words`, which encoding never yields but a model may sample."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spelled = ["".join(piece for piece, _ in byte_level.pre_tokenize_str(word)) for word in words]
    tokens = [EOS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *spelled]
    raw = RawTokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    raw.pre_tokenizer, raw.decoder = byte_level, decoders.ByteLevel()
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=EOS))


def word_id(tokenizer: Tokenizer, word: str) -> int:
    """The one token that spells `word`."""
    spelled = (
        word if word == EOS else "".join(p for p, _ in pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(word))
    )
    return tokenizer.hf.get_vocab()[spelled]


@dataclass(frozen=True)
class Given:
    """Text that a script expects the engine to put in, instead of the end of what the model wrote."""

    text: str
    instead_of: str = ""


class Script:
    """A model that says what is written down for a context, and `JUNK` in any other."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._next: dict[str, int] = {}
        self._vocabulary = {number: token for token, number in tokenizer.hf.get_vocab().items()}

    def says(self, prompt: str, *pieces: str | Given) -> None:
        """Writes down what follows `prompt`. A piece that is a word of the vocabulary is one token, any other a token a byte."""
        context = self._key(self._tokenizer.encode_prompt(prompt))
        for piece in pieces:
            if isinstance(piece, Given):
                dropped = self._key(self._tokenizer.encode_text(piece.instead_of))
                assert context.endswith(dropped)
                context = context[: len(context) - len(dropped)] + self._key(self._tokenizer.encode_text(piece.text))
                continue
            for token_id in self._tokens(piece):
                self._next[context] = token_id
                context += self._key([token_id])

    def __call__(self, context: Sequence[int]) -> int:
        return self._next.get(self._key(context), word_id(self._tokenizer, JUNK))

    def _tokens(self, piece: str) -> list[int]:
        try:
            return [word_id(self._tokenizer, piece)]
        except KeyError:
            return self._tokenizer.encode_text(piece)

    def _key(self, token_ids: Sequence[int]) -> str:
        return "".join(self._vocabulary[token_id] for token_id in token_ids)


@dataclass
class ManualRunner:
    """Runs each tool when its call starts, and hands the outcome over when told to, or so many polls later."""

    delay_polls: int | None = 0
    started: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    _pending: deque[tuple[int, ApiOutcome]] = field(default_factory=deque)
    _num_polls: int = 0

    def start(self, request_id: str, tool: Tool, arguments: dict[str, Any]) -> None:
        self.started.append((request_id, tool.name, arguments))
        try:
            outcome = ApiOutcome(request_id, tool.function(**arguments), False, 1.0)
        except ToolError as error:
            outcome = ApiOutcome(request_id, f"error: {error}", True, 1.0)
        delay = 10**9 if self.delay_polls is None else self.delay_polls + len(self.started) % 3
        self._pending.append((self._num_polls + delay, outcome))

    def poll(self) -> list[ApiOutcome]:
        self._num_polls += 1
        due = [outcome for at, outcome in self._pending if at < self._num_polls]
        self._pending = deque((at, outcome) for at, outcome in self._pending if at >= self._num_polls)
        return due

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        self._pending = deque((at, outcome) for at, outcome in self._pending if outcome.request_id != request_id)

    def next_deadline_s(self) -> float | None:
        return None

    def release(self) -> None:
        """Lets every call return at the next poll."""
        self._pending = deque((0, outcome) for _, outcome in self._pending)


@dataclass
class Clock:
    """Time that passes only when told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Counted:
    """A function that remembers what it was called with."""

    function: Callable[..., str]
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, **arguments: Any) -> str:
        self.calls.append(arguments)
        return self.function(**arguments)


def echo_tool(function: Callable[..., str] = lambda text: text, **options: Any) -> Tool:
    options = {"name": "Echo", "description": "", "parameters": one_string("text", "")} | options
    return Tool(function=Counted(function), **options)


def counted(tool: Tool) -> list[dict[str, Any]]:
    """Arguments of every execution of a tool made by `echo_tool`."""
    assert isinstance(tool.function, Counted)
    return tool.function.calls


def make_engine(
    tokenizer: Tokenizer,
    executor: Callable[[SchedulerConfig, BlockManager], Executor],
    tools: Iterable[Tool],
    *,
    runner: ApiRunner | None = None,
    clock: Callable[[], float] | None = None,
    num_blocks: int = 129,
    block_size: int = 4,
    num_host_blocks: int = 0,
    cost_model: CostModel | None = None,
    **limits: Any,
) -> Engine:
    config = SchedulerConfig(**({"token_budget": 32, "max_chunk_tokens": 16, "max_num_seqs": 4, "max_model_len": 128} | limits))
    blocks = BlockManager(num_blocks, block_size, num_host_blocks=num_host_blocks)
    return Engine(
        scheduler=Scheduler(config, blocks, cost_model),
        executor=executor(config, blocks),
        api_runner=runner or ManualRunner(),
        tokenizer=tokenizer,
        tools={tool.name: tool for tool in tools},
        eos_token_ids=(word_id(tokenizer, EOS),),
        grammars=Grammars(tokenizer, vocab_size=tokenizer.vocab_size, eos_token_ids=(word_id(tokenizer, EOS),)),
        clock=clock or Clock(),
    )


@dataclass
class Asked:
    """One request of a test with everything that the engine said of it."""

    request_id: str
    events: list[Event]

    @property
    def output(self) -> RequestOutput:
        """What the end of the request reported."""
        assert self.events[-1].kind == "finished", "the request has not ended"
        return self.events[-1].output

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1].kind == "finished"

    @property
    def story(self) -> list[str]:
        """Kinds of the events behind the start, in order, with the text of those that have one."""
        return [event.text if event.kind == "text" else f"<{event.kind}>" for event in self.events if event.kind != "started"]


def ask(
    engine: Engine, prompt: str, sampling: SamplingParams | None = None, *, fork_of: str | None = None, **options: Any
) -> Asked:
    events: list[Event] = []
    token_ids, params = engine.tokenizer.encode_prompt(prompt), sampling or SamplingParams()
    asked = engine.add(token_ids, params, on_event=events.append, options=RequestOptions(**options), fork_of=fork_of)
    return Asked(asked, events)


def run(engine: Engine, *, max_steps: int = 3000) -> None:
    """Steps until every request has ended; waits for tools that run on threads."""
    for _ in range(max_steps):
        busy = engine.step()
        engine.scheduler.check()
        if not engine.num_unfinished:
            break
        if not busy and not isinstance(engine._api_runner, ManualRunner):
            engine.wait(0.01)  # the runner of a test knows no engine to wake up
    assert not engine.num_unfinished, f"{engine.num_unfinished} requests did not end within {max_steps} steps"
    while engine.step():
        pass
    engine.scheduler.release_kept()
    blocks = engine.scheduler.blocks
    assert blocks.num_free_blocks == blocks.num_blocks - 1
    assert blocks.host.num_free == len(blocks.host.ids)


@dataclass
class Stage:
    """A scripted model with its engine."""

    engine: Engine
    script: Script
    runner: ApiRunner

    def says(self, prompt: str, *pieces: str | Given) -> None:
        self.script.says(prompt, *pieces)

    def ask(self, prompt: str, sampling: SamplingParams | None = None, **options: Any) -> Asked:
        return ask(self.engine, prompt, sampling, **options)

    def answer(self, prompt: str, sampling: SamplingParams | None = None, **options: Any) -> Asked:
        """Asks and runs to the end."""
        asked = self.ask(prompt, sampling, **options)
        run(self.engine)
        return asked

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.engine.step()
            self.engine.scheduler.check()


def stage(*tools: Tool, words: tuple[str, ...] = (), runner: ApiRunner | None = None, **options: Any) -> Stage:
    tokenizer = byte_tokenizer(*words)
    script, runner = Script(tokenizer), runner or ManualRunner()
    engine = make_engine(tokenizer, lambda config, blocks: TokenMemory(script, config, blocks), tools, runner=runner, **options)
    return Stage(engine, script, runner)


class Gate:
    """Something that a tool can hang at until the test lets it go."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Semaphore(0), threading.Event()

    def hang(self, **arguments: Any) -> str:
        self.entered.release()
        assert self._open.wait(30)
        return "late"

    def open(self) -> None:
        self._open.set()
