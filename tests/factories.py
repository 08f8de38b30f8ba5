"""Small models, checkpoints and tokenizers for tests, and the jitted programs driven by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.step import make_programs
from lamps_jax.kv_cache.pool import Pool, allocate
from lamps_jax.models.attention import xla
from lamps_jax.models.attention.backend import PagedAttention
from lamps_jax.models.gptj import GPTJConfig
from lamps_jax.models.registry import LoadedModel, random_model
from lamps_jax.sched.plan import Decode, PrefillChunk
from lamps_jax.sched.request import SamplingParams

END_OF_TEXT = "<|endoftext|>"


def gptj_config(**changes: Any) -> GPTJConfig:
    """A GPT-J of two narrow layers."""
    config = GPTJConfig(
        vocab_size=96, hidden_size=32, num_layers=2, num_heads=2, rotary_dim=8, intermediate_size=48, max_position=128
    )
    return replace(config, **changes)


def lively_model(
    config: GPTJConfig, *, dtype: str = "float32", seed: int = 0, eos_token_ids: tuple[int, ...] = (0,)
) -> LoadedModel:
    """A random model whose matrices are large enough that every token depends on all before it."""
    model = random_model(config, dtype=dtype, seed=seed, eos_token_ids=eos_token_ids)
    return replace(model, weights=tuple(8 * weight if weight.ndim == 2 else weight for weight in model.weights))


def torch_gptj(config: GPTJConfig, *, seed: int = 0) -> Any:
    """The PyTorch GPT-J of the same shape, every parameter random; an MLP of the usual size goes unsaid in its configuration."""
    import torch
    from transformers import GPTJConfig as TorchConfig
    from transformers import GPTJForCausalLM

    torch.set_num_threads(1)  # more only spin beside JAX's
    torch.manual_seed(seed)
    model = GPTJForCausalLM(
        TorchConfig(
            vocab_size=config.vocab_size,
            n_positions=config.max_position,
            n_embd=config.hidden_size,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            rotary_dim=config.rotary_dim,
            n_inner=None if config.intermediate_size == 4 * config.hidden_size else config.intermediate_size,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.1 if "wte" in name else 2 * parameter.shape[1] ** -0.5)
            else:
                parameter.normal_(std=0.2).add_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
    return model


def save_torch_gptj(directory: Path, config: GPTJConfig, *, seed: int = 0, max_shard_size: str = "1GB") -> Any:
    """Writes a random GPT-J as PyTorch users do, and returns it."""
    model = torch_gptj(config, seed=seed)
    model.save_pretrained(directory, max_shard_size=max_shard_size)
    return model


def tiny_tokenizer(*, extra_tokens: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: `END_OF_TEXT` is token 0, each of the 256 bytes a token, then `extra_tokens` as special tokens."""
    vocabulary = {END_OF_TEXT: 0}
    vocabulary |= {byte: 1 + i for i, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        additional_special_tokens=list(extra_tokens),
        clean_up_tokenization_spaces=False,
    )


def save_tiny_tokenizer(directory: Path, *, extra_tokens: Sequence[str] = ()) -> None:
    """Writes `tiny_tokenizer` into `directory`."""
    tiny_tokenizer(extra_tokens=extra_tokens).save_pretrained(directory)


def engine_config(**changes: Any) -> EngineConfig:
    """A small engine; keys of `SchedulerConfig` and of `EngineConfig` may be mixed."""
    scheduler = {"token_budget": 64, "max_chunk_tokens": 32, "max_num_seqs": 4, "max_model_len": 96}
    engine = {"block_size": 4}
    for key, value in changes.items():
        (scheduler if key in SchedulerConfig.__dataclass_fields__ else engine)[key] = value
    return EngineConfig(SchedulerConfig(**scheduler), **engine)


@dataclass(slots=True)
class ProgramRow:
    """One row of `ProgramRunner`: its slot, its blocks and how many of its tokens are computed."""

    slot: int
    block_ids: list[int]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    num_computed_tokens: int = 0


class ProgramRunner:
    """Drives the programs of `make_programs` by hand, without scheduler or executor."""

    def __init__(
        self,
        model: LoadedModel,
        config: EngineConfig,
        *,
        num_blocks: int | None = None,
        smallest_decode_batch: int = 1,
        attention: PagedAttention = xla.paged_attention,
    ):
        self.config = config
        self.model = model
        self.batches = BatchBuilder(config, smallest_decode_batch=smallest_decode_batch)
        shape = model.config
        num_blocks = num_blocks or config.scheduler.max_num_seqs * config.max_blocks_per_request + 1
        self.pool: Pool = allocate(
            shape.num_layers, num_blocks, shape.num_kv_heads, config.block_size, shape.head_dim, dtype=config.dtype
        )
        self.last_tokens = jnp.zeros(config.scheduler.max_num_seqs + 1, jnp.int32)
        self.programs = make_programs(
            model.graph,
            model.parameter_names,
            attention,
            block_size=config.block_size,
            max_blocks=config.max_blocks_per_request,
            eos_token_ids=model.eos_token_ids,
        )

    def row(self, slot: int, *, sampling: SamplingParams | None = None, seed: int = 0) -> ProgramRow:
        """A new row with all the blocks it can ever need, scattered over the pool."""
        width = self.config.max_blocks_per_request
        blocks = np.random.default_rng(seed).permutation(np.arange(1, self.config.scheduler.max_num_seqs * width + 1))
        return ProgramRow(slot, blocks[slot * width : (slot + 1) * width].tolist(), sampling or SamplingParams())

    def prefill(self, row: ProgramRow, token_ids: Sequence[int], *, sample: bool = True, ban_eos: bool = False) -> int:
        """Computes a chunk; the token sampled after it."""
        chunk = PrefillChunk("", row.slot, token_ids, row.num_computed_tokens, row.block_ids, row.sampling, sample, ban_eos)
        row.num_computed_tokens += len(token_ids)
        return int(self.run(self.programs.prefill, self.batches.prefill(chunk))[0])

    def decode(self, rows: Sequence[ProgramRow], token_ids: Sequence[int | None], *, ban_eos: bool = False) -> list[int]:
        """One token of each row; None stands for the token that the row's last program left on the device."""
        decodes = tuple(
            Decode("", row.slot, token_id, row.num_computed_tokens, row.block_ids, ban_eos)
            for row, token_id in zip(rows, token_ids, strict=True)
        )
        for row in rows:
            row.num_computed_tokens += 1
        return self.run(self.programs.decode, self.batches.decode(decodes))[: len(rows)].tolist()

    def run(self, program: Any, packed: np.ndarray) -> np.ndarray:
        """Runs a program and binds what it donated again."""
        self.pool, self.last_tokens, sampled, _ = program(self.model.weights, self.pool, self.last_tokens, packed)
        jax.effects_barrier()
        return np.asarray(sampled)

    def generate(self, row: ProgramRow, prompt: Sequence[int], count: int, *, chunk: int | None = None) -> list[int]:
        """`count` tokens after `prompt`, which goes in chunks of at most `chunk`."""
        tokens = [self.prefill_in_chunks(row, prompt, chunk or len(prompt))]
        while len(tokens) < count:
            tokens += self.decode([row], [None])
        return tokens

    def generate_batch(self, prompts: Sequence[Sequence[int]], count: int, *, chunk: int) -> list[list[int]]:
        """`count` tokens after each of `prompts`, decoded together, with greedy sampling."""
        rows = [self.row(slot) for slot in range(len(prompts))]
        steps = [[self.prefill_in_chunks(row, prompt, chunk) for row, prompt in zip(rows, prompts, strict=True)]]
        while len(steps) < count:
            steps.append(self.decode(rows, [None] * len(rows)))
        return [list(tokens) for tokens in zip(*steps, strict=True)]

    def prefill_in_chunks(self, row: ProgramRow, prompt: Sequence[int], chunk: int) -> int:
        """Computes `prompt` in chunks; the token sampled after it."""
        starts = range(0, len(prompt), chunk)
        return [self.prefill(row, prompt[at : at + chunk], sample=at + chunk >= len(prompt)) for at in starts][-1]
