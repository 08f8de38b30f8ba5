"""GPT-J: parallel attention and MLP on one layer norm, rotary embedding in interleaved pairs, an output layer with a bias.

Source: Wang and Komatsuzaki, 2021, GPT-J-6B; parameter names and configuration keys as in transformers' ``GPTJForCausalLM``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lamps_jax.models.architecture import Architecture
from lamps_jax.models.layers import Attend, LayerFactory, LayerKV, LayerNorm, rotate_interleaved, through_blocks
from lamps_jax.models.sharding import sum_of

HF_NAMES = {
    "embedding.weight": "transformer.wte.weight",
    "blocks.{layer}.norm.weight": "transformer.h.{layer}.ln_1.weight",
    "blocks.{layer}.norm.bias": "transformer.h.{layer}.ln_1.bias",
    "blocks.{layer}.q_proj.weight": "transformer.h.{layer}.attn.q_proj.weight",
    "blocks.{layer}.k_proj.weight": "transformer.h.{layer}.attn.k_proj.weight",
    "blocks.{layer}.v_proj.weight": "transformer.h.{layer}.attn.v_proj.weight",
    "blocks.{layer}.out_proj.weight": "transformer.h.{layer}.attn.out_proj.weight",
    "blocks.{layer}.fc_in.weight": "transformer.h.{layer}.mlp.fc_in.weight",
    "blocks.{layer}.fc_in.bias": "transformer.h.{layer}.mlp.fc_in.bias",
    "blocks.{layer}.fc_out.weight": "transformer.h.{layer}.mlp.fc_out.weight",
    "blocks.{layer}.fc_out.bias": "transformer.h.{layer}.mlp.fc_out.bias",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "output.weight": "lm_head.weight",
    "output.bias": "lm_head.bias",
}
"""Our parameter names to those of a Hugging Face checkpoint."""

HF_BUFFERS = (".attn.bias", ".attn.masked_bias", ".attn.embed_positions")
"""Ends of the names of tensors that some checkpoints carry although they hold no weights."""


@dataclass(frozen=True, slots=True)
class GPTJConfig:
    """The shape of a GPT-J; field by field what ``config.json`` says."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    rotary_dim: int
    intermediate_size: int
    max_position: int
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "num_heads", "rotary_dim", "intermediate_size", "max_position"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.hidden_size % self.num_heads:
            raise ValueError(f"n_head must divide n_embd, got n_embd {self.hidden_size} and n_head {self.num_heads}")
        if self.rotary_dim % 2 or self.rotary_dim > self.head_dim:
            raise ValueError(f"rotary_dim must be even and at most the head size {self.head_dim}, got {self.rotary_dim}")

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "GPTJConfig":
        """Reads the keys of a Hugging Face ``config.json``.

        Raises:
            ValueError: If a key is missing or names a variant that GPT-J does not have.
        """
        if (activation := config.get("activation_function", "gelu_new")) != "gelu_new":
            raise ValueError(f"GPT-J with activation_function {activation!r} is not supported; 'gelu_new' is")
        if config.get("tie_word_embeddings", False):
            raise ValueError("GPT-J with tied word embeddings is not supported; its output layer has weights of its own")
        try:
            hidden_size, num_heads = int(config["n_embd"]), int(config["n_head"])
            return cls(
                vocab_size=int(config["vocab_size"]),
                hidden_size=hidden_size,
                num_layers=int(config["n_layer"]),
                num_heads=num_heads,
                rotary_dim=int(config.get("rotary_dim") or hidden_size // max(1, num_heads)),
                intermediate_size=int(config.get("n_inner") or 4 * hidden_size),
                max_position=int(config["n_positions"]),
                layer_norm_eps=float(config.get("layer_norm_epsilon", 1e-5)),
            )
        except KeyError as missing:
            raise ValueError(f"the GPT-J configuration lacks the key {missing}") from None

    def to_hf(self, *, dtype: str) -> dict[str, Any]:
        """The configuration as transformers writes it, for weights stored as `dtype`."""
        return {
            "architectures": ["GPTJForCausalLM"],
            "model_type": "gptj",
            "activation_function": "gelu_new",
            "vocab_size": self.vocab_size,
            "n_embd": self.hidden_size,
            "n_layer": self.num_layers,
            "n_head": self.num_heads,
            "rotary_dim": self.rotary_dim,
            "n_inner": self.intermediate_size,
            "n_positions": self.max_position,
            "layer_norm_epsilon": self.layer_norm_eps,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "tie_word_embeddings": False,
            "dtype": dtype,
        }

    @property
    def head_dim(self) -> int:
        """Dimensions of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def num_kv_heads(self) -> int:
        """Heads whose keys and values are cached: all of them."""
        return self.num_heads


class Block(nnx.Module):
    """One layer: attention and MLP side by side on the same normed input."""

    def __init__(self, config: GPTJConfig, make: LayerFactory):
        hidden, inner = config.hidden_size, config.intermediate_size
        self.config = config
        self.norm = LayerNorm(hidden, eps=config.layer_norm_eps)
        self.q_proj = make.linear(hidden, hidden, bias=False)
        self.k_proj = make.linear(hidden, hidden, bias=False)
        self.v_proj = make.linear(hidden, hidden, bias=False)
        self.out_proj = make.linear(hidden, hidden, bias=False)
        self.fc_in = make.linear(hidden, inner, bias=True)
        self.fc_out = make.linear(inner, hidden, bias=True)

    def __call__(
        self, x: Float[Array, "batch length hidden"], positions: Int[Array, "batch length"], kv: LayerKV, attend: Attend
    ) -> tuple[Float[Array, "batch length hidden"], LayerKV]:
        heads = (*x.shape[:2], -1, self.config.head_dim)  # all of them, or those that this device has
        normed = self.norm(x)
        q = rotate_interleaved(self.q_proj(normed).reshape(heads), positions, self.config.rotary_dim)
        k = rotate_interleaved(self.k_proj(normed).reshape(heads), positions, self.config.rotary_dim)
        v = self.v_proj(normed).reshape(heads)
        attended, kv = attend(q, k, v, kv)
        inner = jax.nn.gelu(self.fc_in(normed), approximate=True)
        return x + sum_of((self.out_proj, attended.reshape(*x.shape[:2], -1)), (self.fc_out, inner)), kv


class GPTJ(nnx.Module):
    """A GPT-J language model; activations are float32, `dtype` is that of the matrices."""

    def __init__(self, config: GPTJConfig, *, dtype: DTypeLike = jnp.float32, quantize: str | None = None, rngs: nnx.Rngs):
        make = LayerFactory(dtype, quantize, rngs)
        self.config = config
        self.embedding = make.embedding(config.vocab_size, config.hidden_size)
        self.blocks = nnx.List([Block(config, make) for _ in range(config.num_layers)])
        self.norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.output = make.linear(config.hidden_size, config.vocab_size, bias=True)

    def __call__(
        self,
        token_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        kv: Sequence[LayerKV],
        attend: Attend,
    ) -> tuple[Float[Array, "batch length hidden"], tuple[LayerKV, ...]]:
        """Hidden states after the last norm, and every layer's KV with the new tokens in it."""
        x, new_kv = through_blocks(
            self.blocks, self.embedding(token_ids), kv, lambda block, x, kv: block(x, positions, kv, attend)
        )
        return self.norm(x), new_kv

    def logits(self, hidden: Float[Array, "*batch hidden"]) -> Float[Array, "*batch vocab"]:
        """Scores of the next token over the vocabulary."""
        return self.output(hidden)


ARCHITECTURE = Architecture(GPTJ, GPTJConfig, HF_NAMES, ignored=HF_BUFFERS, base_prefix="transformer.")
