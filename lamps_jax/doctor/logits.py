"""Logits of the seeded models, from the paged programs that serve: prompts in chunks, then decodes of all prompts together."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.doctor.seeded_models import PROMPT_LENGTHS, prompts, seeded_model
from lamps_jax.engine.batch import SMALLEST_CHUNK, BatchBuilder
from lamps_jax.engine.jax_executor import attention_shape
from lamps_jax.engine.step import make_programs
from lamps_jax.kv_cache.pool import allocate
from lamps_jax.models.attention.select import select_attention
from lamps_jax.models.registry import LoadedModel
from lamps_jax.sched.plan import Decode, PrefillChunk
from lamps_jax.sched.request import SamplingParams

NUM_NEW_TOKENS = 12
BLOCK_SIZE = 16


def logit_positions(prompt_length: int) -> tuple[int, ...]:
    """Positions of the tokens that logits are computed of: behind each chunk of the prompt, then behind each new token."""
    chunks = tuple(min(start + SMALLEST_CHUNK, prompt_length) for start in range(0, prompt_length, SMALLEST_CHUNK))
    return chunks + tuple(prompt_length + step for step in range(1, NUM_NEW_TOKENS))


@dataclass(frozen=True, slots=True)
class PromptLogits:
    """What a model says of one prompt.

    Attributes:
        positions: As `logit_positions` has them.
        logits: ``[len(positions), vocab]``.
        new_tokens: What was put in behind the prompt; the likeliest tokens, or those of a reference.
    """

    positions: tuple[int, ...]
    logits: np.ndarray
    new_tokens: tuple[int, ...]


def prompt_logits(
    model_name: str, *, dtype: str, precise: bool, new_tokens: Sequence[Sequence[int]] | None = None
) -> list[PromptLogits]:
    """What the seeded model `model_name` says of each prompt.

    Args:
        precise: Whether products of float32 are those of float32; accelerators otherwise shorten the factors.
        new_tokens: What to put in behind each prompt, so that logits can be compared token by token with those of a run that
            chose them; None takes the likeliest.
    """
    with jax.default_matmul_precision("highest") if precise else nullcontext():
        runner = _Runner(seeded_model(model_name, dtype=dtype), dtype)
        texts = prompts()
        seen = [runner.prefill(slot, text) for slot, text in enumerate(texts)]  # a row of logits for each position so far
        chosen: list[list[int]] = [[] for _ in texts]
        for step in range(NUM_NEW_TOKENS):
            for slot, rows in enumerate(seen):
                chosen[slot].append(new_tokens[slot][step] if new_tokens is not None else int(rows[-1].argmax()))
            if step < NUM_NEW_TOKENS - 1:
                starts = [len(text) + step for text in texts]
                for rows, logits in zip(seen, runner.decode(starts, chosen), strict=True):
                    rows.append(logits)
    return [
        PromptLogits(logit_positions(len(text)), np.stack(rows), tuple(tokens))
        for text, rows, tokens in zip(texts, seen, chosen, strict=True)
    ]


class _Runner:
    """The programs of one model over a pool in which each prompt's blocks lie scattered."""

    def __init__(self, model: LoadedModel, dtype: str):
        shape, count = model.config, len(PROMPT_LENGTHS)
        self._config = EngineConfig(
            SchedulerConfig(max_chunk_tokens=SMALLEST_CHUNK, max_num_seqs=count, max_model_len=shape.max_position),
            block_size=BLOCK_SIZE,
            dtype=dtype,
        )
        width = self._config.max_blocks_per_request
        self._blocks = [[1 + slot + at * count for at in range(width)] for slot in range(count)]
        self._batches = BatchBuilder(self._config, smallest_decode_batch=count)
        self._weights = model.weights
        self._pool = allocate(
            shape.num_layers, count * width + 1, shape.num_kv_heads, BLOCK_SIZE, shape.head_dim, dtype=dtype,
            sharding=model.weights[0].sharding,
        )  # fmt: skip
        self._last_tokens = jnp.zeros(count + 1, jnp.int32)
        attention = select_attention("auto", attention_shape(model, self._config, None))
        self._programs = make_programs(
            model.graph, model.parameter_names, attention.attend, block_size=BLOCK_SIZE, max_blocks=width, eos_token_ids=(),
        )  # fmt: skip

    def prefill(self, slot: int, prompt: Sequence[int]) -> list[np.ndarray]:
        """The logits behind each chunk."""
        rows: list[np.ndarray] = []
        for start in range(0, len(prompt), SMALLEST_CHUNK):
            tokens = prompt[start : start + SMALLEST_CHUNK]
            chunk = PrefillChunk("", slot, tokens, start, self._blocks[slot], SamplingParams(), sample=True, ban_eos=False)
            rows.append(self._run("prefill", self._batches.prefill(chunk))[0])
        return rows

    def decode(self, positions: Sequence[int], tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """The logits of each prompt behind the last of its `tokens`, which stands at its position."""
        decodes = tuple(
            Decode("", slot, tokens[slot][-1], position, self._blocks[slot], ban_eos=False)
            for slot, position in enumerate(positions)
        )
        return self._run("decode", self._batches.decode(decodes))

    def _run(self, program: str, packed: np.ndarray) -> np.ndarray:
        run = getattr(self._programs, program)
        self._pool, self._last_tokens, _, logits = run(self._weights, self._pool, self._last_tokens, packed)
        return np.asarray(logits)
