"""The engines, each behind the same few measurements. An engine's libraries are imported when it is made, and by nobody else."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from benchmarks.peers.checkpoint import ctranslate2_model, gguf_model, token_text

THREADS = 2


class Engine(Protocol):
    """One that has loaded a checkpoint."""

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The likeliest continuation."""
        ...

    def prefill_s(self, tokens: int) -> float:
        """Seconds from a prompt of so many tokens to the first token sampled."""
        ...

    def decode_s(self, batch: int, context: int, steps: int) -> float:
        """Seconds of a step that gives each of `batch` texts of `context` tokens one token more."""
        ...


def prompt_of(tokens: int) -> list[int]:
    """A prompt in which no two tokens that follow each other are alike."""
    return [3 + (23_757 + 31 * place) % 500 for place in range(tokens)]


class Lamps:
    """lamps-jax: the engine's own programs, a step submitted ahead of the one collected."""

    def __init__(self, checkpoint: Path, dtype: str, *, batch: int, context: int):
        from benchmarks.step import make_executor
        from lamps_jax.models.registry import load_model

        quantize = "int8" if dtype == "int8" else None
        self._dtype = "float32" if quantize else dtype
        self._model = load_model(checkpoint, dtype=self._dtype, quantize=quantize)
        self._context = context
        self._executor = cache(
            lambda batch, chunk: make_executor(self._model, self._dtype, batch=batch, context=context, chunk=chunk)
        )

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        from benchmarks.step import SAMPLING, block_tables
        from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan

        executor, table = self._executor(1, 64), block_tables(1, self._context)[0]
        chunk = PrefillChunk("0", 0, list(prompt), 0, table, SAMPLING, sample=True, ban_eos=True)
        tokens = [executor.collect(executor.submit(StepPlan(0, (chunk,), ()))).sampled["0"]]
        while len(tokens) < count:
            decode = Decode("0", 0, None, len(prompt) + len(tokens) - 1, table, ban_eos=True)
            tokens.append(executor.collect(executor.submit(StepPlan(0, (), (decode,)))).sampled["0"])
        return tokens

    def prefill_s(self, tokens: int) -> float:
        from benchmarks.step import measure_prefill

        return measure_prefill(self._model, self._executor(1, tokens), tokens=tokens, chunk=tokens, repeats=1)["step_s"]

    def decode_s(self, batch: int, context: int, steps: int) -> float:
        from benchmarks.step import ready_to_decode, step_times
        from lamps_jax.sched.plan import StepPlan

        executor = self._executor(batch, 64)
        plan = StepPlan(0, (), ready_to_decode(executor, batch=batch, context=context))
        return statistics.median(step_times(executor, plan, steps))


class Transformers:
    """transformers on PyTorch, step by step; with a cache that grows, or one of fixed size."""

    def __init__(self, checkpoint: Path, dtype: str, *, batch: int, context: int, static: bool = False, compiled: bool = False):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(THREADS)
        self._torch, self._static = torch, static
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).eval()
        self._forward = torch.compile(self._model, dynamic=False) if compiled else self._model
        self._room = context + 64

    def _cache(self, batch: int) -> Any:
        from transformers import DynamicCache, StaticCache

        config = self._model.config
        return StaticCache(config=config, max_cache_len=self._room) if self._static else DynamicCache(config=config)

    def _step(self, tokens: Any, cache: Any, position: int) -> Any:
        torch, length = self._torch, tokens.shape[1]
        places = torch.arange(position, position + length)
        with torch.inference_mode():
            logits = self._forward(
                tokens,
                past_key_values=cache,
                use_cache=True,
                cache_position=places,
                position_ids=places[None].expand(len(tokens), -1),
                logits_to_keep=1,
            ).logits
            return logits[:, -1].argmax(-1, keepdim=True)

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        kept, tokens, position, answer = self._cache(1), self._torch.tensor([list(prompt)]), 0, list[int]()
        while len(answer) < count:
            tokens, position = self._step(tokens, kept, position), position + tokens.shape[1]
            answer.append(int(tokens))
        return answer

    def prefill_s(self, tokens: int) -> float:
        prompt, cache = self._torch.tensor([prompt_of(tokens)]), self._cache(1)
        began = time.perf_counter()
        self._step(prompt, cache, 0)
        return time.perf_counter() - began

    def decode_s(self, batch: int, context: int, steps: int) -> float:
        config, torch, cache = self._model.config, self._torch, self._cache(batch)
        head = config.hidden_size // config.num_attention_heads
        shape = (batch, config.num_key_value_heads, context, head)
        zeros = torch.zeros(shape, dtype=self._model.dtype)  # as long to read as any keys and values
        for layer in range(config.num_hidden_layers):
            cache.update(zeros, zeros.clone(), layer, {"cache_position": torch.arange(context)})
        tokens, seconds = torch.full((batch, 1), 5), list[float]()
        for step in range(steps + 1):
            began = time.perf_counter()
            tokens = self._step(tokens, cache, context + step)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds[1:])


class CTranslate2:
    """CTranslate2's generator; a step ends when it has told the tokens of all rows."""

    def __init__(self, checkpoint: Path, dtype: str, *, batch: int, context: int):
        import ctranslate2

        model = ctranslate2_model(checkpoint, dtype)
        self._generator = ctranslate2.Generator(
            str(model), device="cpu", compute_type=dtype, inter_threads=1, intra_threads=THREADS
        )

    def _generate(self, prompts: list[list[str]], count: int) -> Any:
        return self._generator.generate_batch(
            prompts, max_length=count, min_length=count, sampling_topk=1, include_prompt_in_result=False, max_batch_size=0,
        )  # fmt: skip

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        return list(self._generate([[token_text(token) for token in prompt]], count)[0].sequences_ids[0])

    def prefill_s(self, tokens: int) -> float:
        prompt = [token_text(token) for token in prompt_of(tokens)]
        began = time.perf_counter()
        self._generate([prompt], 1)
        return time.perf_counter() - began

    def decode_s(self, batch: int, context: int, steps: int) -> float:
        *beginning, last = [token_text(token) for token in prompt_of(context)]
        ends = list[float]()

        def hear(step: Any) -> bool:
            ends[step.step :] = [time.perf_counter()]
            return False

        self._generator.generate_batch(
            [[last]] * batch, max_length=steps + 1, min_length=steps + 1, sampling_topk=1, max_batch_size=0, callback=hear,
            static_prompt=beginning, cache_static_prompt=True, include_prompt_in_result=False,
        )  # fmt: skip
        return statistics.median(later - earlier for earlier, later in pairwise(ends))


class LlamaCpp:
    """llama.cpp through its C interface; the texts of a batch have a cache each."""

    def __init__(self, checkpoint: Path, dtype: str, *, batch: int, context: int):
        import llama_cpp

        self._c = llama_cpp
        llama_cpp.llama_backend_init()
        path = gguf_model(checkpoint, {"float32": "f32", "bfloat16": "bf16", "int8": "q8_0"}[dtype])
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = batch * (context + 64), 2048, 512
        params.n_seq_max, params.n_threads, params.n_threads_batch = batch, THREADS, THREADS
        if dtype == "float32":  # its flash attention computes in half precision
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._filled: tuple[int, int] | None = None

    def _run(self, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        """Computes tokens at positions of texts; those marked give logits."""
        batch = self._c.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for at, (token, position, text, wanted) in enumerate(rows):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = token, position, 1, wanted
            batch.seq_id[at][0] = text
        assert self._c.llama_decode(self._context, batch) == 0, "llama.cpp could not compute a batch"
        self._c.llama_batch_free(batch)

    def _likeliest(self, row: int) -> int:
        import numpy as np

        return int(np.ctypeslib.as_array(self._c.llama_get_logits_ith(self._context, row), (self._vocab_size,)).argmax())

    def _prefill(self, text: int, prompt: Sequence[int]) -> None:
        self._run([(token, place, text, place == len(prompt) - 1) for place, token in enumerate(prompt)])

    def _clear(self) -> None:
        self._filled = None
        self._c.llama_memory_clear(self._memory, True)

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        self._clear()
        self._prefill(0, prompt)
        answer = [self._likeliest(len(prompt) - 1)]
        while len(answer) < count:
            self._run([(answer[-1], len(prompt) + len(answer) - 1, 0, True)])
            answer.append(self._likeliest(0))
        return answer

    def prefill_s(self, tokens: int) -> float:
        self._clear()
        began = time.perf_counter()
        self._prefill(0, prompt_of(tokens))
        self._likeliest(tokens - 1)
        return time.perf_counter() - began

    def decode_s(self, batch: int, context: int, steps: int) -> float:
        if self._filled != (batch, context):
            self._clear()
            self._prefill(0, prompt_of(context))
            for text in range(1, batch):
                self._c.llama_memory_seq_cp(self._memory, 0, text, -1, -1)
            self._filled = batch, context
        seconds, tokens = list[float](), [5] * batch
        for step in range(steps + 1):
            began = time.perf_counter()
            self._run([(tokens[text], context + step, text, True) for text in range(batch)])
            tokens = [self._likeliest(text) for text in range(batch)]
            seconds.append(time.perf_counter() - began)
        for text in range(batch):
            self._c.llama_memory_seq_rm(self._memory, text, context, -1)
        return statistics.median(seconds[1:])


ENGINES: dict[str, Callable[..., Engine]] = {
    "lamps-jax": Lamps,
    "transformers": Transformers,
    "transformers static": lambda *args, **sizes: Transformers(*args, static=True, **sizes),
    "transformers compiled": lambda *args, **sizes: Transformers(*args, static=True, compiled=True, **sizes),
    "ctranslate2": CTranslate2,
    "llama.cpp": LlamaCpp,
}
"""By name; the first is the one that the others are set against."""

REFERENCE = "transformers"
"""The one whose tokens all have to give."""
