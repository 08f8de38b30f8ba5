"""The same weights in transformers' PyTorch models and here, to be compared number by number."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lamps_jax.engine import step
from lamps_jax.models.attention.reference import attend_within, causal_mask
from lamps_jax.models.registry import LoadedModel, load_model
from lamps_jax.models.weights import bind
from tests.factories import ProgramRunner, engine_config

MAX_ERROR = 1e-4


def make_lively(model: torch.nn.Module, *, seed: int = 0, gain: float = 2.0) -> torch.nn.Module:
    """`model` with every parameter random and large enough that each token depends on all before it.

    As in most checkpoints, every value is one that bfloat16 has. Trained networks amplify errors less than those with a `gain` of
    2 at every matrix.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                table = any(part in name for part in ("wte", "embed_tokens", "embed_positions"))
                parameter.normal_(std=0.2 if table else gain * parameter.shape[1] ** -0.5)
            else:
                parameter.normal_(std=0.2).add_(1.0 if name.endswith("weight") else 0.0)
            parameter.copy_(parameter.bfloat16())
    return model.eval()


def save_torch(directory: Path, config: Any, *, seed: int = 0, gain: float = 2.0, **options: Any) -> torch.nn.Module:
    """Writes a random model of transformers' `config` as PyTorch users do, and returns it."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)  # more only spin beside JAX's
    model = make_lively(AutoModelForCausalLM.from_config(config), seed=seed, gain=gain)
    model.save_pretrained(directory, **options)
    return model


@dataclass(frozen=True)
class Pair:
    """The same weights in PyTorch and here; here the programs too, and the logits that they sampled from, one array a run."""

    torch: Any
    ours: LoadedModel
    runner: ProgramRunner
    seen_logits: list[np.ndarray]

    def torch_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Logits `[batch, length, vocab]` of whole texts."""
        with torch.no_grad():
            return self.torch(torch.from_numpy(token_ids)).logits.numpy()

    def torch_greedy(self, prompt: list[int], count: int) -> list[int]:
        """What PyTorch generates after `prompt`."""
        with torch.no_grad():
            generated = self.torch.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=count,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        return generated[0, len(prompt) :].tolist()

    def dense_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Ours of whole texts, without any cache."""
        return np.asarray(dense_logits(self.ours)(jnp.asarray(token_ids, jnp.int32)))

    def decode_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Ours through the decode program, one token a step."""
        rows = [self.runner.row(slot) for slot in range(len(token_ids))]
        self.seen_logits.clear()
        for column in token_ids.T:
            self.runner.decode(rows, column.tolist())
        return np.stack(self.seen_logits, axis=1)[: len(token_ids)]

    def prefill_logits(self, token_ids: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Ours through the prefill program, in chunks that end before `ends`: of the last token of each chunk."""
        row = self.runner.row(2)
        self.seen_logits.clear()
        for start, end in zip([0, *ends], ends, strict=False):
            self.runner.prefill(row, token_ids[start:end].tolist(), sample=bool(end == ends[-1]))
        return np.concatenate(self.seen_logits)


@contextmanager
def recorded_logits() -> Iterator[list[np.ndarray]]:
    """Makes programs traced meanwhile hand over the logits that they sample from, one array a run; they sample greedily."""
    seen: list[np.ndarray] = []

    def recording_sample(logits: jax.Array, *arguments: Any) -> jax.Array:
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), logits)
        return logits.argmax(-1).astype(jnp.int32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "sample", recording_sample)
        yield seen


@contextmanager
def paired(directory: Path, config: Any, *, seed: int = 0) -> Iterator[Pair]:
    """A pair of transformers' `config`, its checkpoint in `directory`."""
    reference = save_torch(directory, config, seed=seed)
    ours = load_model(directory)
    with recorded_logits() as seen:
        yield Pair(reference, ours, ProgramRunner(ours, engine_config(max_model_len=128), smallest_decode_batch=4), seen)


def dense_logits(model: LoadedModel) -> Callable[[jax.Array], jax.Array]:
    """Logits of whole texts, without any cache."""

    def logits(token_ids: jax.Array) -> jax.Array:
        bound = bind(model.graph, dict(zip(model.parameter_names, model.weights, strict=True)))
        batch, length = token_ids.shape
        positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
        hidden, _ = bound(token_ids, positions, [None] * model.config.num_layers, attend_within(causal_mask(batch, length)))
        return bound.logits(hidden)

    return jax.jit(logits)


def random_tokens(*shape: int, seed: int = 0, vocab_size: int = 96) -> np.ndarray:
    """Token ids above 0."""
    return np.random.default_rng(seed).integers(1, vocab_size, shape)


def relative_error(x: Any, exact: Any) -> float:
    """Norm of the difference as a share of the norm of `exact`."""
    return float(np.linalg.norm(np.asarray(x) - np.asarray(exact)) / np.linalg.norm(np.asarray(exact)))
