"""Every architecture, with each of its options, gives the numbers of PyTorch's: in one piece and through the paged programs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    GPTJConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from lamps_jax.models.registry import ARCHITECTURES, LoadedModel, load_model
from tests.factories import ProgramRunner, engine_config
from tests.models.torch_pair import (
    MAX_ERROR,
    Pair,
    dense_logits,
    paired,
    random_tokens,
    recorded_logits,
    relative_error,
    save_torch,
)
from tests.properties import examples

NUM_GENERATED = 64

MODERATE_GAIN = 1.5
"""Gain of the matrices where rounding is measured."""

MAX_INT8_ERROR = 0.04
"""Bound on the relative error of logits with int8 weights."""

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}

TWO_LAYERS: dict[str, Any] = {"num_hidden_layers": 2}
"""For one configuration an architecture, and those whose layers differ; the other options are the same in every layer."""


def llama(**changes: Any) -> LlamaConfig:
    return LlamaConfig(**(SMALL | changes))


def rope(kind: str, **parameters: float) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **parameters}}


def gptj(**changes: Any) -> GPTJConfig:
    small = {"vocab_size": 96, "n_positions": 128, "n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_inner": 80}
    return GPTJConfig(**(small | {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": False} | changes))


def opt(**changes: Any) -> OPTConfig:
    small = {key: value for key, value in SMALL.items() if key not in ("intermediate_size", "num_key_value_heads")}
    return OPTConfig(**(small | {"ffn_dim": 48, "word_embed_proj_dim": 32} | changes))


SLIDING = TWO_LAYERS | {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}

CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": llama(**TWO_LAYERS),
    "gptj": gptj(),
    "opt": opt(**TWO_LAYERS),
    "mistral_sliding_window": MistralConfig(**(SMALL | TWO_LAYERS | {"num_key_value_heads": 2, "sliding_window": 9})),
    "qwen2": Qwen2Config(**(SMALL | TWO_LAYERS | {"num_key_value_heads": 2})),
    "qwen3": Qwen3Config(**(SMALL | TWO_LAYERS | {"num_key_value_heads": 2, "head_dim": 16})),
    "llama_head_64": llama(hidden_size=128, num_attention_heads=2, num_key_value_heads=2),
    "llama_head_128_wider_than_hidden": llama(head_dim=128, num_key_value_heads=1),
    "llama_grouped_heads": llama(num_key_value_heads=1),
    "llama_tied": llama(tie_word_embeddings=True),
    "llama_biases": llama(attention_bias=True, mlp_bias=True),
    "llama_theta_500000": llama(rope_parameters={"rope_type": "default", "rope_theta": 500_000.0}),
    "llama_rope_linear": llama(**rope("linear", factor=4.0)),
    "llama_rope_dynamic": llama(max_position_embeddings=48, **rope("dynamic", factor=4.0)),
    "llama_rope_llama3": llama(
        **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
    ),
    "llama_rope_yarn": llama(**rope("yarn", factor=4.0, original_max_position_embeddings=32)),
    "llama_rope_yarn_mscale": llama(
        **rope("yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.7, mscale_all_dim=1.0, beta_fast=16.0)
    ),
    "mistral_full": MistralConfig(**(SMALL | {"sliding_window": None, "head_dim": 16})),
    "qwen2_some_layers_sliding": Qwen2Config(**(SMALL | SLIDING)),
    "qwen2_tied": Qwen2Config(**(SMALL | {"tie_word_embeddings": True})),
    "qwen3_tied_sliding": Qwen3Config(**(SMALL | SLIDING | {"tie_word_embeddings": True, "head_dim": 8})),
    "qwen3_biases": Qwen3Config(**(SMALL | {"attention_bias": True, "head_dim": 32})),
    "opt_350m": opt(do_layer_norm_before=False, word_embed_proj_dim=16),
    "opt_bare": opt(enable_bias=False, layer_norm_elementwise_affine=False, activation_function="gelu"),
    "opt_no_final_norm": opt(_remove_final_layer_norm=True),
    "opt_untied": opt(tie_word_embeddings=False),
    "gptj_head_64_rotary_32": gptj(n_layer=1, n_embd=128, n_head=2, rotary_dim=32, n_inner=72),
    "gptj_head_64_rotary_64": gptj(n_layer=1, n_embd=64, n_head=1, rotary_dim=64, n_inner=None),
    "gptj_head_256_rotary_64": gptj(n_layer=1, n_embd=512, n_head=2, rotary_dim=64, n_inner=128),
}

IN_THE_INNER_LOOP = ("llama", "gptj", "opt")

SOME = [*(pytest.param(name, marks=pytest.mark.slow) for name in ("llama", "opt")), "gptj_head_64_rotary_32"]


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[] if name in IN_THE_INNER_LOOP else [pytest.mark.slow]) for name in CONFIGS]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with paired(tmp_path_factory.mktemp(request.param), CONFIGS[request.param]) as made:
        yield made


def test_every_known_architecture_is_compared() -> None:
    assert {architecture for config in CONFIGS.values() for architecture in (f"{config.model_type}",)} == {
        name.removesuffix("ForCausalLM").lower() for name in ARCHITECTURES
    }


def test_whole_text_has_the_logits_of_pytorch(pair: Pair) -> None:
    token_ids = random_tokens(3, 61)
    np.testing.assert_allclose(pair.dense_logits(token_ids), pair.torch_logits(token_ids), rtol=0, atol=MAX_ERROR)


def test_token_by_token_through_the_decode_program_has_the_logits_of_pytorch(pair: Pair) -> None:
    token_ids = random_tokens(3, 23, seed=1)
    np.testing.assert_allclose(pair.decode_logits(token_ids), pair.torch_logits(token_ids), rtol=0, atol=MAX_ERROR)


def test_chunks_through_the_prefill_program_have_the_logits_of_pytorch(pair: Pair) -> None:
    (token_ids,), ends = random_tokens(1, 46, seed=2), np.cumsum([5, 16, 1, 9, 13, 2])
    ours = pair.prefill_logits(token_ids, ends)
    np.testing.assert_allclose(ours, pair.torch_logits(token_ids[None])[0, ends - 1], rtol=0, atol=MAX_ERROR)


@pytest.mark.long
def test_greedy_continuations_are_those_of_pytorch_dense_and_paged(pair: Pair) -> None:
    prompts = [random_tokens(length, seed=length).tolist() for length in (3, 21, 40)]
    theirs = [pair.torch_greedy(prompt, NUM_GENERATED) for prompt in prompts]
    assert pair.runner.generate_batch(prompts, NUM_GENERATED, chunk=8) == theirs
    assert len({token for tokens in theirs for token in tokens}) > 3  # repeating one token would prove little
    if pair.torch.config.max_position_embeddings >= len(prompts[-1]) + NUM_GENERATED:  # beyond, dynamic scaling has a history
        whole = np.zeros((len(prompts), len(prompts[-1]) + NUM_GENERATED), int)  # what comes behind a text it does not see
        for row, prompt, tokens in zip(whole, prompts, theirs, strict=True):
            row[: len(prompt) + NUM_GENERATED] = prompt + tokens
        for logits, prompt, tokens in zip(pair.dense_logits(whole), prompts, theirs, strict=True):
            assert logits[len(prompt) - 1 :][:NUM_GENERATED].argmax(-1).tolist() == tokens


@st.composite
def configs(draw: st.DrawFn) -> PreTrainedConfig:
    """A random configuration of a random architecture."""
    kind = draw(st.sampled_from(["llama", "mistral", "qwen2", "qwen3", "opt", "gptj"]))
    heads, head_dim = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([8, 16, 32]))
    kv_heads = draw(st.sampled_from([count for count in (1, 2, 4) if heads % count == 0]))
    layers, seed_size = draw(st.integers(1, 2)), draw(st.sampled_from([24, 40]))
    if kind == "gptj":
        rotary = draw(st.sampled_from([2, head_dim // 2, head_dim]))
        return gptj(n_layer=layers, n_head=heads, n_embd=heads * head_dim, rotary_dim=rotary, n_inner=seed_size)
    hidden = heads * head_dim
    common = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": hidden}
    if kind == "opt":
        norm_first, projected, bias, affine, tied = (draw(st.booleans()) for _ in range(5))
        return opt(
            **common, ffn_dim=seed_size, do_layer_norm_before=norm_first, word_embed_proj_dim=8 if projected else hidden,
            enable_bias=bias, layer_norm_elementwise_affine=affine, tie_word_embeddings=tied,
        )  # fmt: skip
    ropes = [
        rope("default"), rope("linear", factor=2.5), rope("dynamic", factor=2.0),
        rope("llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=3.0, original_max_position_embeddings=24),
        rope("yarn", factor=3.0, original_max_position_embeddings=24),
    ]  # fmt: skip
    family = SMALL | common | {"num_key_value_heads": kv_heads, "intermediate_size": seed_size, "head_dim": head_dim}
    family |= {"tie_word_embeddings": draw(st.booleans())} | draw(st.sampled_from(ropes))
    window = draw(st.sampled_from([None, 1, 7, 20]))
    qwen = {"use_sliding_window": window is not None, "sliding_window": window, "max_window_layers": draw(st.integers(0, 2))}
    if kind == "llama":
        return LlamaConfig(**family, attention_bias=draw(st.booleans()), mlp_bias=draw(st.booleans()))
    if kind == "mistral":
        return MistralConfig(**family, sliding_window=window)
    return (Qwen2Config if kind == "qwen2" else Qwen3Config)(**family, **qwen)


@pytest.mark.long
@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(config=configs(), seed=st.integers(0, 5))
def test_random_configurations_have_the_logits_of_pytorch_dense_and_paged(
    config: PreTrainedConfig, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token_ids = random_tokens(2, 30, seed=seed)
    with paired(tmp_path_factory.mktemp("random"), config, seed=seed) as pair:
        theirs = pair.torch_logits(token_ids)
        np.testing.assert_allclose(pair.dense_logits(token_ids), theirs, rtol=0, atol=MAX_ERROR)
        np.testing.assert_allclose(pair.decode_logits(token_ids[:, :9]), theirs[:, :9], rtol=0, atol=MAX_ERROR)
        ours = pair.prefill_logits(token_ids[1], np.array([11, 27, 30]))
        np.testing.assert_allclose(ours, theirs[1, [10, 26, 29]], rtol=0, atol=MAX_ERROR)


@pytest.mark.parametrize("name", SOME)
def test_bfloat16_is_near_float32_dense_and_paged(name: str, tmp_path: Path) -> None:
    save_torch(tmp_path, CONFIGS[name], gain=MODERATE_GAIN)
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


@pytest.mark.parametrize("name", SOME)
def test_int8_weights_are_near_float32_dense_and_paged_in_a_quarter_of_the_bytes(name: str, tmp_path: Path) -> None:
    save_torch(tmp_path, CONFIGS[name], gain=MODERATE_GAIN)
    (token_ids,) = random_tokens(1, 18)
    exact, model = load_model(tmp_path), load_model(tmp_path, quantize="int8")
    logits = dense_logits(exact)(jnp.asarray(token_ids[None], jnp.int32))[0]
    assert relative_error(dense_logits(model)(jnp.asarray(token_ids[None], jnp.int32))[0], logits) < MAX_INT8_ERROR
    with recorded_logits() as paged:
        runner = ProgramRunner(model, engine_config())
        row = runner.row(0)
        runner.prefill(row, token_ids[:17].tolist())
        runner.decode([row], [int(token_ids[17])])
    assert relative_error(np.concatenate(paged), logits[-2:]) < MAX_INT8_ERROR
    for wide, narrow in zip(matrices(exact), matrices(model), strict=True):
        assert narrow.dtype == jnp.int8 and 4 * narrow.nbytes == wide.nbytes


def matrices(model: LoadedModel) -> list[jax.Array]:
    named = zip(model.parameter_names, model.weights, strict=True)
    return [weight for name, weight in named if weight.ndim == 2 and "embedding" not in name]
