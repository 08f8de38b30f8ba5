"""The LLaMA family: LLaMA, Vicuna, TinyLlama, Mistral, Qwen2 and Qwen3 are one block with different options.

RMS norm before attention and before a gated MLP, rotary embedding, grouped key and value heads. Sources: Touvron et al., 2023,
LLaMA; Jiang et al., 2023, Mistral 7B; Yang et al., 2024 and 2025, Qwen2 and Qwen3; names and keys as in transformers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lamps_jax.models.architecture import Architecture, required
from lamps_jax.models.layers import Attend, LayerFactory, LayerKV, RMSNorm, through_blocks
from lamps_jax.models.rope import Rope, rotate_half

_LAYER = "model.layers.{layer}"
HF_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "blocks.{layer}.attention_norm.weight": f"{_LAYER}.input_layernorm.weight",
    "blocks.{layer}.q_norm.weight": f"{_LAYER}.self_attn.q_norm.weight",
    "blocks.{layer}.k_norm.weight": f"{_LAYER}.self_attn.k_norm.weight",
    "blocks.{layer}.mlp_norm.weight": f"{_LAYER}.post_attention_layernorm.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
for _ours, _theirs in {
    **{f"{name}_proj": f"self_attn.{name}_proj" for name in "qkv"},
    "out_proj": "self_attn.o_proj",
    **{f"{name}_proj": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}.items():
    HF_NAMES |= {f"blocks.{{layer}}.{_ours}.{kind}": f"{_LAYER}.{_theirs}.{kind}" for kind in ("weight", "bias")}
"""Our parameter names to those of a Hugging Face checkpoint."""

HF_BUFFERS = (".rotary_emb.inv_freq",)
"""Ends of the names of tensors that older checkpoints carry although they hold no weights."""


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The shape of a model of the LLaMA family.

    Attributes:
        windows: For each layer how many tokens a token sees, itself included; None for all before it.
        qkv_bias: Whether queries, keys and values have biases (Qwen2).
        qk_norm: Whether each head's queries and keys are normed before they are rotated (Qwen3).
        tied: Whether the output matrix is the embedding.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_position: int
    rope: Rope
    windows: tuple[int | None, ...]
    rms_norm_eps: float = 1e-6
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    tied: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "intermediate_size", "max_position"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_key_value_heads must divide num_attention_heads, got {self.num_kv_heads} and {self.num_heads}")
        if len(self.windows) != self.num_layers or any(window is not None and window < 1 for window in self.windows):
            raise ValueError(f"each of {self.num_layers} layers needs a positive sliding window or none, got {self.windows}")

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "LlamaConfig":
        """Reads the keys of a Hugging Face ``config.json``; where one is missing, transformers' default for that model counts.

        Raises:
            ValueError: If a key is missing that has no default, or names a variant that is not supported.
        """
        model = (config.get("architectures") or ["LlamaForCausalLM"])[0]
        if (activation := config.get("hidden_act", "silu")) != "silu":
            raise ValueError(f"{model} with hidden_act {activation!r} is not supported; 'silu' is")
        hidden_size, num_heads = required(config, "hidden_size"), required(config, "num_attention_heads")
        head_dim = int(config.get("head_dim") or (128 if model == "Qwen3ForCausalLM" else hidden_size // max(1, num_heads)))
        rope, trained = Rope.from_hf(config, dim=head_dim), int(config.get("max_position_embeddings") or 2048)
        num_layers, attention_bias = required(config, "num_hidden_layers"), bool(config.get("attention_bias", False))
        return cls(
            vocab_size=required(config, "vocab_size"),
            hidden_size=hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            num_kv_heads=int(config.get("num_key_value_heads") or num_heads),
            head_dim=head_dim,
            intermediate_size=required(config, "intermediate_size"),
            max_position=max(trained, rope.longest),
            rope=rope,
            windows=_windows(config, model, num_layers),
            rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            qkv_bias=model == "Qwen2ForCausalLM" or attention_bias,
            out_bias=attention_bias and model != "Qwen2ForCausalLM",
            mlp_bias=bool(config.get("mlp_bias", False)),
            qk_norm=model == "Qwen3ForCausalLM",
            tied=bool(config.get("tie_word_embeddings", False)),
        )


def _windows(config: Mapping[str, Any], model: str, num_layers: int) -> tuple[int | None, ...]:
    """Each layer's sliding window: all of Mistral's layers have one, of Qwen's those that the configuration says."""
    window = config.get(
        "sliding_window", 4096 if model in ("MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM") else None
    )
    if model == "LlamaForCausalLM" or window is None:
        return (None,) * num_layers
    if model == "MistralForCausalLM":
        return (int(window),) * num_layers
    if not config.get("use_sliding_window", False):
        return (None,) * num_layers
    first = int(config.get("max_window_layers", 28))
    kinds = config.get("layer_types") or ["full_attention"] * first + ["sliding_attention"] * max(0, num_layers - first)
    return tuple(int(window) if kind == "sliding_attention" else None for kind in kinds[:num_layers])


class Block(nnx.Module):
    """One layer: attention, then a gated MLP, each on the normed sum of what came before."""

    def __init__(self, config: LlamaConfig, make: LayerFactory, *, window: int | None):
        hidden, inner, head = config.hidden_size, config.intermediate_size, config.head_dim
        self.config = config
        self.window = window
        self.attention_norm = RMSNorm(hidden, eps=config.rms_norm_eps)
        self.q_proj = make.linear(hidden, config.num_heads * head, bias=config.qkv_bias)
        self.k_proj = make.linear(hidden, config.num_kv_heads * head, bias=config.qkv_bias)
        self.v_proj = make.linear(hidden, config.num_kv_heads * head, bias=config.qkv_bias)
        self.out_proj = make.linear(config.num_heads * head, hidden, bias=config.out_bias)
        self.q_norm = RMSNorm(head, eps=config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(head, eps=config.rms_norm_eps) if config.qk_norm else None
        self.mlp_norm = RMSNorm(hidden, eps=config.rms_norm_eps)
        self.gate_proj = make.linear(hidden, inner, bias=config.mlp_bias)
        self.up_proj = make.linear(hidden, inner, bias=config.mlp_bias)
        self.down_proj = make.linear(inner, hidden, bias=config.mlp_bias)

    def __call__(
        self, x: Float[Array, "batch length hidden"], positions: Int[Array, "batch length"], kv: LayerKV, attend: Attend
    ) -> tuple[Float[Array, "batch length hidden"], LayerKV]:
        normed = self.attention_norm(x)
        q, k, v = (self._heads(project(normed)) for project in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate_half(q, positions, self.config.rope), rotate_half(k, positions, self.config.rope)
        attended, kv = attend(q, k, v, kv, self.window)
        x = x + self.out_proj(attended.reshape(*x.shape[:2], -1))
        normed = self.mlp_norm(x)
        return x + self.down_proj(jax.nn.silu(self.gate_proj(normed)) * self.up_proj(normed)), kv

    def _heads(self, x: Float[Array, "batch length features"]) -> Float[Array, "batch length heads head_dim"]:
        return x.reshape(*x.shape[:2], -1, self.config.head_dim)


class Llama(nnx.Module):
    """A language model of the LLaMA family; activations are float32, `dtype` is that of the matrices."""

    def __init__(self, config: LlamaConfig, *, dtype: DTypeLike = jnp.float32, quantize: str | None = None, rngs: nnx.Rngs):
        make = LayerFactory(dtype, quantize, rngs)
        self.config = config
        self.embedding = make.embedding(config.vocab_size, config.hidden_size)
        self.blocks = nnx.List([Block(config, make, window=window) for window in config.windows])
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.output = None if config.tied else make.linear(config.hidden_size, config.vocab_size, bias=False)

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
        return self.embedding.scores(hidden) if self.output is None else self.output(hidden)


ARCHITECTURE = Architecture(Llama, LlamaConfig, HF_NAMES, ignored=HF_BUFFERS, base_prefix="model.")
