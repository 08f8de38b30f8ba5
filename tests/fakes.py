"""An engine without a model: everything is real but the executor, which writes scripted answers."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from tokenizers import Tokenizer as BackendTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lamps_jax.config import SchedulerConfig
from lamps_jax.embedded.text import CHAT_TEMPLATE
from lamps_jax.engine.api_runner import ThreadApiRunner
from lamps_jax.engine.control import Control
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.grammar import Grammars
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.calendar import CALENDAR
from lamps_jax.tools.search import SEARCH
from lamps_jax.tools.text_world import WORLD
from lamps_jax.tools.tool import Tool

END_OF_TEXT = "<|endoftext|>"
BLOCK_SIZE = 16

ANSWERS: Mapping[str, str] = {
    "What is 48*37?": " [Calculator(48*37) ->] It is {0}.",
    "Twice, please": " First [Calculator(2+3) ->] then [Calculator(4+5) ->] makes {0} and {1}.",
    "Hello": " Hello to you, with an é and a 🙂.",
    "Count": " " + "tick " * 400,
    "Weather in Oslo?": " Let me look. [get_weather(Oslo, 3) ->] It will be {0}.",
    "Break": " [Broken(x) ->] The tool said: {0}.",
    "Hang": " [Slow(x) ->] The tool said: {0}.",
}
"""Question to answer. A result is put in behind each arrow; ``{0}`` is the first of them."""

UNKNOWN = " I do not know."
"""The answer to any other question."""


def make_tokenizer() -> Tokenizer:
    """One token a byte, end-of-text, and the embedded model's chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = BackendTokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token=END_OF_TEXT,
            eos_token=END_OF_TEXT,
            chat_template=CHAT_TEMPLATE,
            clean_up_tokenization_spaces=False,
        )
    )


class ScriptedExecutor:
    """Continues each text as a script has it, reading it from a pool of blocks as a model would.

    The token at a position depends on nothing but the text before it, and is found through the request's block table: a block
    that is lost, shared or stale shows as a wrong answer.

    Args:
        answers: Question to answer, in the form of `ANSWERS`.
        step_s: Seconds that each step takes.

    Attributes:
        failure: Raised by the next `collect`, if set.
    """

    def __init__(self, answers: Mapping[str, str] = ANSWERS, *, step_s: float = 0.0):
        self.failure: Exception | None = None
        self.num_steps = 0
        self._answers, self._step_s = answers, step_s
        self._tokenizer = make_tokenizer()
        self._eos = self._tokenizer.vocab_size - 1
        self._pool: dict[tuple[int, int], int] = {}
        self._last_sample: dict[int, int] = {}
        self._slots: dict[str, int] = {}
        self._host: dict[int, dict[int, int]] = {}
        self._arriving: dict[tuple[int, int], int] = {}

    def submit(self, plan: StepPlan) -> StepResult:
        """Computes the step; its samples are shown by `collect`."""
        sampled: dict[str, int] = {}
        self._copy(plan)
        self._slots = {row.request_id: row.slot for row in (*plan.prefills, *plan.decodes)}
        for chunk in plan.prefills:
            end = chunk.start + len(chunk.token_ids)
            for position, token_id in enumerate(chunk.token_ids, start=chunk.start):
                self._pool[chunk.block_ids[position // BLOCK_SIZE], position % BLOCK_SIZE] = token_id
            if chunk.sample:
                token_id = self._next_token(self._context(chunk.block_ids, end), ban_eos=chunk.ban_eos)
                sampled[chunk.request_id] = self._last_sample[chunk.slot] = token_id
        for decode in plan.decodes:
            token_id = self._last_sample[decode.slot] if decode.token_id is None else decode.token_id
            self._pool[decode.block_ids[decode.position // BLOCK_SIZE], decode.position % BLOCK_SIZE] = token_id
            context = self._context(decode.block_ids, decode.position + 1)
            sampled[decode.request_id] = self._last_sample[decode.slot] = self._next_token(context, ban_eos=decode.ban_eos)
        return StepResult(plan.step_id, sampled)

    def _copy(self, plan: StepPlan) -> None:
        """Moves blocks between the pool and the host: what the plan before brought in is there, and this one's comes next."""
        self._pool |= self._arriving
        places = range(BLOCK_SIZE)
        for copy in plan.swap_outs:
            block = copy.device_block
            self._host[copy.host_block] = {at: self._pool[block, at] for at in places if (block, at) in self._pool}
        self._arriving = {
            (copy.device_block, at): token_id for copy in plan.swap_ins for at, token_id in self._host[copy.host_block].items()
        }

    def choose(self, handle: StepResult, controls: Sequence[Control]) -> StepResult:
        """Takes the script's token where it is allowed, and else the first that is; each is as certain as can be."""
        for control in controls:
            token_id = handle.sampled[control.request_id]
            if control.allowed is not None:
                bits = np.flatnonzero(np.unpackbits(control.allowed.view(np.uint8), bitorder="little"))
                token_id = token_id if token_id in bits else int(bits[0])
                handle.sampled[control.request_id] = token_id
                self._last_sample[self._slots[control.request_id]] = token_id
        wanted = {control.request_id: control.sampling.num_logprobs for control in controls}
        logprobs = {
            request_id: (0.0, ((handle.sampled[request_id], 0.0), (self._eos, -9.0))[:count])
            for request_id, count in wanted.items()
            if count is not None
        }
        return replace(handle, logprobs=logprobs)

    def collect(self, handle: StepResult) -> StepResult:
        """The samples of a step."""
        if self.failure is not None:
            raise self.failure
        self.num_steps += 1
        time.sleep(self._step_s)
        return handle

    def _context(self, block_ids: Iterable[int], num_tokens: int) -> list[int]:
        blocks = list(block_ids)
        return [self._pool[blocks[position // BLOCK_SIZE], position % BLOCK_SIZE] for position in range(num_tokens)]

    def _next_token(self, context: list[int], *, ban_eos: bool) -> int:
        text = self._tokenizer.hf.decode(context, skip_special_tokens=False)
        before, _, written = text.rpartition("\nA:")
        results = re.findall(r"-> ([^\]]*)\]", written)
        script = self._answers.get(before.rpartition("Q: ")[2], UNKNOWN)
        for index, result in enumerate(results):
            script = script.replace(f"{{{index}}}", result)
        done = re.sub(r"-> [^\]]*\]", "->]", written).rstrip("�").encode()  # of a character half of whose bytes are written
        rest = script.encode()[len(done) + self._num_loose_bytes(context) :]
        if not rest:
            return self._tokenizer.encode_text(".")[0] if ban_eos else self._eos
        return self._byte_token(rest[0])

    def _num_loose_bytes(self, context: list[int]) -> int:
        """Bytes at the end that are not a whole character yet."""
        for size in range(4):
            if not self._tokenizer.hf.decode(context[: len(context) - size], skip_special_tokens=False).endswith("�"):
                return size
        raise AssertionError("the context is not UTF-8")

    def _byte_token(self, byte: int) -> int:
        (token_id,) = self._tokenizer.hf.convert_tokens_to_ids([_ALPHABET[byte]])
        return token_id


def make_engine(
    executor: ScriptedExecutor | None = None,
    *,
    tools: Iterable[Tool] = (CALCULATOR, CALENDAR, SEARCH, WORLD),
    max_num_seqs: int = 8,
    max_model_len: int = 512,
    num_blocks: int | None = None,
    num_host_blocks: int = 0,
    policy: str = "preserve",
    max_calls: int = 16,
) -> Engine:
    """An engine with the real scheduler, block manager and runner of tools on a scripted executor."""
    config = SchedulerConfig(
        policy=policy,
        token_budget=128,
        max_chunk_tokens=64,
        max_num_seqs=max_num_seqs,
        max_model_len=max_model_len,
        max_calls=max_calls,
    )
    num_blocks = num_blocks or max_num_seqs * -(-max_model_len // BLOCK_SIZE) + 1
    tokenizer = make_tokenizer()
    engine = Engine(
        scheduler=Scheduler(config, BlockManager(num_blocks, BLOCK_SIZE, num_host_blocks=num_host_blocks)),
        executor=executor or ScriptedExecutor(),
        api_runner=ThreadApiRunner(wake_up=lambda: engine.wake_up()),
        tokenizer=tokenizer,
        tools={tool.name: tool for tool in tools},
        eos_token_ids=(tokenizer.vocab_size - 1,),
        grammars=Grammars(tokenizer, vocab_size=tokenizer.vocab_size, eos_token_ids=(tokenizer.vocab_size - 1,)),
    )
    return engine


def wait_until(holds: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    """Returns as soon as `holds`; fails the test if that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def _byte_alphabet() -> dict[int, str]:
    """The character by which byte-level tokenizers write each byte.

    Source: `bytes_to_unicode` of GPT-2's encoder.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + index) for index, byte in enumerate(others)}}


_ALPHABET = _byte_alphabet()
