"""Layers that the architectures share: linear maps with `[out, in]` weights, layer norm, rotary embedding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

LayerKV: TypeAlias = tuple[Array, Array] | None
"""Keys and values of one layer in whatever form the attention keeps them; None where nothing is kept."""

Attend: TypeAlias = Callable[[Array, Array, Array, LayerKV], tuple[Array, LayerKV]]
"""Maps queries, keys and values `[batch, length, heads, head_dim]` of new tokens, and a layer's KV, to the attention output
(shape of the queries) and the layer's KV with the new tokens in it."""


class Linear(nnx.Module):
    """A linear map with its weight stored `[out, in]`, accumulating in float32.

    That layout is what the CPU's matrix kernels want (a factor of 3 and more in bfloat16) and what checkpoints hold. Quantised,
    the weight is int8 with one float32 scale an output, and is multiplied as `dtype`.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool, dtype: DTypeLike, quantize: str | None = None, rngs: nnx.Rngs
    ):
        weight = normal_initializer(rngs.params(), (out_features, in_features), dtype)
        self.dtype = jnp.dtype(dtype)
        self.scale = None
        if quantize == "int8":
            weight, scale = quantize_int8(weight)
            self.scale = nnx.Param(scale)
        elif quantize is not None:
            raise ValueError(f"quantize must be int8, got {quantize!r}")
        self.weight = nnx.Param(weight)
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32)) if bias else None

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        y = lax.dot_general(
            x.astype(self.dtype),
            self.weight[...].astype(self.dtype),
            (((x.ndim - 1,), (1,)), ((), ())),
            preferred_element_type=jnp.float32,
        )
        if self.scale is not None:
            y = y * self.scale[...]
        return y if self.bias is None else y + self.bias[...].astype(jnp.float32)


def quantize_int8(weight: Float[Array, "out in"]) -> tuple[Int[Array, "out in"], Float[Array, " out"]]:
    """`weight` as int8 with one scale a row: each entry is off by at most half a 127th of its row's largest."""
    scale = jnp.maximum(jnp.abs(weight).max(axis=1).astype(jnp.float32), jnp.finfo(jnp.float32).tiny) / 127
    return jnp.round(weight.astype(jnp.float32) / scale[:, None]).astype(jnp.int8), scale


@dataclass(frozen=True, slots=True)
class LayerFactory:
    """Makes the layers of one model: all of one type, quantised or not, drawing from one stream of random keys."""

    dtype: DTypeLike
    quantize: str | None
    rngs: nnx.Rngs

    def linear(self, in_features: int, out_features: int, *, bias: bool) -> "Linear":
        """A linear map."""
        return Linear(in_features, out_features, bias=bias, dtype=self.dtype, quantize=self.quantize, rngs=self.rngs)

    def embedding(self, num_embeddings: int, features: int) -> "Embedding":
        """A table of vectors; never quantised."""
        return Embedding(num_embeddings, features, dtype=self.dtype, rngs=self.rngs)


class Embedding(nnx.Module):
    """A table of vectors, one a token; the output is float32."""

    def __init__(self, num_embeddings: int, features: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.weight = nnx.Param(normal_initializer(rngs.params(), (num_embeddings, features), dtype))

    def __call__(self, ids: Int[Array, "*batch"]) -> Float[Array, "*batch features"]:
        return self.weight[...][ids].astype(jnp.float32)


class LayerNorm(nnx.Module):
    """Layer normalisation with scale and shift, in float32."""

    def __init__(self, features: int, *, eps: float):
        self.weight = nnx.Param(jnp.ones((features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        centred = x - x.mean(-1, keepdims=True)
        scale = lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.eps)
        return centred * scale * self.weight[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)


def normal_initializer(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Normal weights with the standard deviation 0.02 that GPT-J, OPT and LLaMA start from."""
    return (0.02 * jax.random.normal(key, shape, jnp.float32)).astype(dtype)


def rotate_interleaved(
    x: Float[Array, "batch length heads head_dim"], positions: Int[Array, "batch length"], rotary_dim: int
) -> Float[Array, "batch length heads head_dim"]:
    """Rotary embedding of the first `rotary_dim` dimensions in interleaved pairs (0, 1), (2, 3), …, as GPT-J has it.

    Source: Su et al., 2021, RoFormer; the pairing is mesh-transformer-jax's ``rotate_every_two``.
    """
    frequencies = 10_000.0 ** (-jnp.arange(0, rotary_dim, 2, dtype=jnp.float32) / rotary_dim)
    angles = positions[..., None, None].astype(jnp.float32) * frequencies  # [batch, length, 1, rotary_dim / 2]
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    even, odd = x[..., :rotary_dim:2], x[..., 1:rotary_dim:2]
    rotated = jnp.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return jnp.concatenate([rotated.reshape(*x.shape[:-1], rotary_dim), x[..., rotary_dim:]], axis=-1)
