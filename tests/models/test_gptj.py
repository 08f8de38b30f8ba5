"""Our GPT-J gives the numbers of PyTorch's: in one piece, token by token and in chunks through the paged programs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lamps_jax.engine import step
from lamps_jax.models.attention.reference import attend_within, causal_mask
from lamps_jax.models.gptj import GPTJConfig
from lamps_jax.models.registry import LoadedModel, load_model
from lamps_jax.models.weights import bind
from tests.factories import ProgramRunner, engine_config, gptj_config, save_torch_gptj

MAX_ERROR = 1e-4
NUM_GENERATED = 40

SHAPES: dict[str, GPTJConfig] = {
    "head_16_rotary_8": gptj_config(hidden_size=64, num_heads=4, rotary_dim=8, intermediate_size=256),
    "head_16_rotary_16": gptj_config(hidden_size=32, num_heads=2, rotary_dim=16, intermediate_size=80),
    "head_64_rotary_32": gptj_config(num_layers=1, hidden_size=128, num_heads=2, rotary_dim=32, intermediate_size=72),
    "head_64_rotary_64": gptj_config(num_layers=1, hidden_size=64, num_heads=1, rotary_dim=64, intermediate_size=256),
    "head_256_rotary_64": gptj_config(num_layers=1, hidden_size=512, num_heads=2, rotary_dim=64, intermediate_size=128),
}


@dataclass(frozen=True)
class Pair:
    """The same weights in PyTorch and here; here the programs too, and the logits that they sampled from, one array a run."""

    torch: Any
    ours: LoadedModel
    runner: ProgramRunner
    seen_logits: list[np.ndarray]

    def torch_logits(self, token_ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.torch(torch.from_numpy(token_ids)).logits.numpy()

    def torch_greedy(self, prompt: list[int], count: int) -> list[int]:
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


SLOW_SHAPES = ("head_64_rotary_32", "head_64_rotary_64")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_SHAPES else []) for name in SHAPES]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    config = SHAPES[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    reference = save_torch_gptj(directory, config)
    ours = load_model(directory)
    with recorded_logits() as seen:
        yield Pair(reference, ours, ProgramRunner(ours, engine_config(), smallest_decode_batch=4), seen)


def dense_logits(model: LoadedModel) -> Callable[[jax.Array], jax.Array]:
    def logits(token_ids: jax.Array) -> jax.Array:
        bound = bind(model.graph, dict(zip(model.parameter_names, model.weights, strict=True)))
        batch, length = token_ids.shape
        positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
        hidden, _ = bound(token_ids, positions, [None] * model.config.num_layers, attend_within(causal_mask(batch, length)))
        return bound.logits(hidden)

    return jax.jit(logits)


def random_tokens(*shape: int, seed: int = 0, vocab_size: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, vocab_size, shape)


def test_whole_text_has_the_logits_of_pytorch(pair: Pair) -> None:
    token_ids = random_tokens(3, 37)
    ours = dense_logits(pair.ours)(jnp.asarray(token_ids, jnp.int32))
    np.testing.assert_allclose(ours, pair.torch_logits(token_ids), rtol=0, atol=MAX_ERROR)


def test_token_by_token_through_the_decode_program_has_the_logits_of_pytorch(pair: Pair) -> None:
    token_ids = random_tokens(3, 23, seed=1)
    rows = [pair.runner.row(slot) for slot in range(3)]
    pair.seen_logits.clear()
    for column in token_ids.T:
        pair.runner.decode(rows, column.tolist())
    ours = np.stack(pair.seen_logits, axis=1)[:3]
    np.testing.assert_allclose(ours, pair.torch_logits(token_ids), rtol=0, atol=MAX_ERROR)


def test_chunks_through_the_prefill_program_have_the_logits_of_pytorch(pair: Pair) -> None:
    (token_ids,) = random_tokens(1, 71, seed=2)
    row, ends = pair.runner.row(2), np.cumsum([5, 16, 1, 9, 16, 13, 11])
    pair.seen_logits.clear()
    for start, end in zip([0, *ends], ends, strict=False):
        pair.runner.prefill(row, token_ids[start:end].tolist(), sample=bool(end == ends[-1]))
    ours = np.concatenate(pair.seen_logits)
    np.testing.assert_allclose(ours, pair.torch_logits(token_ids[None])[0, ends - 1], rtol=0, atol=MAX_ERROR)


def test_greedy_continuations_of_a_batch_are_those_of_pytorch_one_by_one(pair: Pair) -> None:
    prompts = [random_tokens(length, seed=length).tolist() for length in (3, 21, 40)]
    ours = pair.runner.generate_batch(prompts, NUM_GENERATED, chunk=8)
    assert ours == [pair.torch_greedy(prompt, NUM_GENERATED) for prompt in prompts]
    assert len({token for tokens in ours for token in tokens}) > 8  # repeating one token would prove little


def test_bfloat16_is_near_float32_dense_and_paged(tmp_path: Path) -> None:
    config = SHAPES["head_64_rotary_32"]
    save_torch_gptj(tmp_path, config)
    (token_ids,) = random_tokens(1, 18)
    exact = dense_logits(load_model(tmp_path))(jnp.asarray(token_ids[None], jnp.int32))[0]
    model = load_model(tmp_path, dtype="bfloat16")
    dense = dense_logits(model)(jnp.asarray(token_ids[None], jnp.int32))[0]
    assert relative_error(dense, exact) < 2e-2
    with recorded_logits() as paged:
        runner = ProgramRunner(model, engine_config(dtype="bfloat16"))
        row = runner.row(0)
        runner.prefill(row, token_ids[:16].tolist())
        runner.decode([row], [int(token_ids[16])])
        runner.decode([row], [int(token_ids[17])])
    assert runner.pool[0][0].dtype == jnp.uint16
    assert relative_error(np.concatenate(paged), exact[-3:]) < 2e-2


def relative_error(x: Any, exact: Any) -> float:
    return float(np.linalg.norm(np.asarray(x) - np.asarray(exact)) / np.linalg.norm(np.asarray(exact)))


def test_config_reads_what_it_writes() -> None:
    config = gptj_config(layer_norm_eps=3e-6)
    assert GPTJConfig.from_hf(config.to_hf(dtype="float32")) == config


def test_inner_size_defaults_to_four_times_the_hidden_size() -> None:
    hf = gptj_config().to_hf(dtype="float32") | {"n_inner": None}
    assert GPTJConfig.from_hf(hf).intermediate_size == 4 * gptj_config().hidden_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be positive, got 0"),
        ({"num_layers": -1}, "num_layers must be positive, got -1"),
        ({"num_heads": 3}, "n_head must divide n_embd, got n_embd 32 and n_head 3"),
        ({"rotary_dim": 7}, "rotary_dim must be even and at most the head size 16, got 7"),
        ({"rotary_dim": 18}, "rotary_dim must be even and at most the head size 16, got 18"),
    ],
)
def test_impossible_shape_is_refused_with_its_value(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(gptj_config(), **changes)


@pytest.mark.parametrize("key", ["vocab_size", "n_embd", "n_layer", "n_head", "n_positions"])
def test_missing_key_is_named(key: str) -> None:
    hf = gptj_config().to_hf(dtype="float32")
    del hf[key]
    with pytest.raises(ValueError, match=f"lacks the key '{key}'"):
        GPTJConfig.from_hf(hf)
