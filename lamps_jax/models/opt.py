"""OPT: learned positions, ReLU, biases everywhere; norms before attention and MLP, or after them in the 350m variant.

Source: Zhang et al., 2022, OPT; names and keys as in transformers' ``OPTForCausalLM``.
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
from lamps_jax.models.layers import Attend, LayerFactory, LayerKV, LayerNorm, through_blocks

POSITION_OFFSET = 2
"""Rows of the position table before that of position 0."""

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}

_LAYER = "model.decoder.layers.{layer}"
HF_NAMES = {
    "embedding.weight": "model.decoder.embed_tokens.weight",
    "position_embedding.weight": "model.decoder.embed_positions.weight",
    "project_in.weight": "model.decoder.project_in.weight",
    "project_out.weight": "model.decoder.project_out.weight",
    "norm.weight": "model.decoder.final_layer_norm.weight",
    "norm.bias": "model.decoder.final_layer_norm.bias",
    "output.weight": "lm_head.weight",
}
for _ours, _theirs in {
    "attention_norm": "self_attn_layer_norm",
    "mlp_norm": "final_layer_norm",
    **{f"{name}_proj": f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")},
    "fc_in": "fc1",
    "fc_out": "fc2",
}.items():
    HF_NAMES |= {f"blocks.{{layer}}.{_ours}.{kind}": f"{_LAYER}.{_theirs}.{kind}" for kind in ("weight", "bias")}
"""Our parameter names to those of a Hugging Face checkpoint."""


@dataclass(frozen=True, slots=True)
class OPTConfig:
    """The shape of an OPT.

    Attributes:
        embedding_size: Features of the embedding; where it is not `hidden_size`, two matrices lead in and out (350m).
        norm_first: Whether norms stand before attention and MLP; if not, after the sums (350m).
        final_norm: Whether there is a norm after the last layer.
        bias: Whether the matrices have biases.
        affine: Whether the norms have weights.
        tied: Whether the output matrix is the embedding.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_position: int
    embedding_size: int
    norm_first: bool = True
    final_norm: bool = True
    activation: str = "relu"
    bias: bool = True
    affine: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "hidden_size",
            "num_layers",
            "num_heads",
            "intermediate_size",
            "max_position",
            "embedding_size",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_attention_heads must divide hidden_size, got {self.num_heads} and {self.hidden_size}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"OPT with activation_function {self.activation!r} is not supported; known are {', '.join(ACTIVATIONS)}"
            )

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "OPTConfig":
        """Reads the keys of a Hugging Face ``config.json``.

        Raises:
            ValueError: If a key is missing or names a variant that OPT does not have.
        """
        hidden_size, norm_first = required(config, "hidden_size"), bool(config.get("do_layer_norm_before", True))
        return cls(
            vocab_size=required(config, "vocab_size"),
            hidden_size=hidden_size,
            num_layers=required(config, "num_hidden_layers"),
            num_heads=required(config, "num_attention_heads"),
            intermediate_size=required(config, "ffn_dim"),
            max_position=int(config.get("max_position_embeddings", 2048)),
            embedding_size=int(config.get("word_embed_proj_dim") or hidden_size),
            norm_first=norm_first,
            final_norm=norm_first and not config.get("_remove_final_layer_norm", False),
            activation=str(config.get("activation_function", "relu")),
            bias=bool(config.get("enable_bias", True)),
            affine=bool(config.get("layer_norm_elementwise_affine", True)),
            tied=bool(config.get("tie_word_embeddings", True)),
        )

    def to_hf(self, *, dtype: str) -> dict[str, Any]:
        """The configuration as transformers writes it, for weights stored as `dtype`."""
        return {
            "architectures": ["OPTForCausalLM"],
            "model_type": "opt",
            "activation_function": self.activation,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "ffn_dim": self.intermediate_size,
            "max_position_embeddings": self.max_position,
            "word_embed_proj_dim": self.embedding_size,
            "do_layer_norm_before": self.norm_first,
            "_remove_final_layer_norm": self.norm_first and not self.final_norm,
            "enable_bias": self.bias,
            "layer_norm_elementwise_affine": self.affine,
            "tie_word_embeddings": self.tied,
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
    """One layer: attention, then an MLP, with a norm before each or after each."""

    def __init__(self, config: OPTConfig, make: LayerFactory):
        hidden, inner = config.hidden_size, config.intermediate_size
        self.config = config
        self.attention_norm = LayerNorm(hidden, eps=1e-5, affine=config.affine)
        self.q_proj = make.linear(hidden, hidden, bias=config.bias)
        self.k_proj = make.linear(hidden, hidden, bias=config.bias)
        self.v_proj = make.linear(hidden, hidden, bias=config.bias)
        self.out_proj = make.linear(hidden, hidden, bias=config.bias)
        self.mlp_norm = LayerNorm(hidden, eps=1e-5, affine=config.affine)
        self.fc_in = make.linear(hidden, inner, bias=config.bias)
        self.fc_out = make.linear(inner, hidden, bias=config.bias)

    def __call__(
        self, x: Float[Array, "batch length hidden"], kv: LayerKV, attend: Attend
    ) -> tuple[Float[Array, "batch length hidden"], LayerKV]:
        heads = (*x.shape[:2], -1, self.config.head_dim)  # all of them, or those that this device has
        activation, norm_first = ACTIVATIONS[self.config.activation], self.config.norm_first
        normed = self.attention_norm(x) if norm_first else x
        q, k, v = (project(normed).reshape(heads) for project in (self.q_proj, self.k_proj, self.v_proj))
        attended, kv = attend(q, k, v, kv)
        x = x + self.out_proj(attended.reshape(*x.shape[:2], -1))
        if not norm_first:
            x = self.attention_norm(x)
        x = x + self.fc_out(activation(self.fc_in(self.mlp_norm(x) if norm_first else x)))
        return (x if norm_first else self.mlp_norm(x)), kv


class OPT(nnx.Module):
    """An OPT language model; activations are float32, `dtype` is that of the matrices."""

    def __init__(self, config: OPTConfig, *, dtype: DTypeLike = jnp.float32, quantize: str | None = None, rngs: nnx.Rngs):
        make, projected = LayerFactory(dtype, quantize, rngs), config.embedding_size != config.hidden_size
        self.config = config
        self.embedding = make.embedding(config.vocab_size, config.embedding_size)
        self.position_embedding = make.embedding(config.max_position + POSITION_OFFSET, config.hidden_size)
        self.project_in = make.linear(config.embedding_size, config.hidden_size, bias=False) if projected else None
        self.blocks = nnx.List([Block(config, make) for _ in range(config.num_layers)])
        self.norm = LayerNorm(config.hidden_size, eps=1e-5, affine=config.affine) if config.final_norm else None
        self.project_out = make.linear(config.hidden_size, config.embedding_size, bias=False) if projected else None
        self.output = None if config.tied else make.linear(config.embedding_size, config.vocab_size, bias=False)

    def __call__(
        self,
        token_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        kv: Sequence[LayerKV],
        attend: Attend,
    ) -> tuple[Float[Array, "batch length features"], tuple[LayerKV, ...]]:
        """Last hidden states (`embedding_size` features, as in transformers), and every layer's KV with the new tokens in it."""
        x = self.embedding(token_ids)
        if self.project_in is not None:
            x = self.project_in(x)
        x = x + self.position_embedding(positions + POSITION_OFFSET)
        x, new_kv = through_blocks(self.blocks, x, kv, lambda block, x, kv: block(x, kv, attend))
        if self.norm is not None:
            x = self.norm(x)
        return (x if self.project_out is None else self.project_out(x)), new_kv

    def logits(self, hidden: Float[Array, "*batch features"]) -> Float[Array, "*batch vocab"]:
        """Scores of the next token over the vocabulary."""
        return self.embedding.scores(hidden) if self.output is None else self.output(hidden)


ARCHITECTURE = Architecture(OPT, OPTConfig, HF_NAMES, ignored=(), base_prefix="model.")
