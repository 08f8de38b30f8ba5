"""Layers that the architectures share: linear maps with `[out, in]` weights, layer norm, rotary embedding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lamps_jax.models.products.product import product

LayerKV: TypeAlias = tuple[Array, Array] | None
"""Keys and values of one layer in whatever form the attention keeps them; None where nothing is kept."""


@runtime_checkable
class Attend(Protocol):
    """The attention of one step, whatever keeps the keys and values."""

    def __call__(self, q: Array, k: Array, v: Array, kv: LayerKV, window: int | None = None, /) -> tuple[Array, LayerKV]:
        """Attends from new tokens to those before them and to themselves.

        Args:
            q: Queries `[batch, length, heads, head_dim]`.
            k: Keys of the new tokens `[batch, length, kv_heads, head_dim]`.
            v: Values of the new tokens, like the keys.
            kv: The layer's keys and values so far.
            window: How many tokens a token sees, itself included; None for all.

        Returns:
            The attention output in the shape of `q`, and the layer's KV with the new tokens in it.
        """
        ...


def through_blocks(
    blocks: Sequence[nnx.Module],
    x: Float[Array, "batch length hidden"],
    kv: Sequence[LayerKV],
    call: Callable[[Any, Array, LayerKV], tuple[Array, LayerKV]],
) -> tuple[Float[Array, "batch length hidden"], tuple[LayerKV, ...]]:
    """The hidden states behind all `blocks`, each called as ``call(block, x, its_kv)``, and every block's KV.

    Blocks of the same structure are traced and lowered once and not once each: that is most of what is left of a start that finds
    its programs compiled. The compiler puts each block's operations in place all the same; nothing is stacked or looped over.
    """

    def one_block(graph: Any, state: Any, x: Array, block_kv: LayerKV) -> tuple[Array, LayerKV]:
        return call(nnx.merge(graph, state), x, block_kv)

    traced, new_kv = jax.jit(one_block, static_argnums=0), []
    for block, block_kv in zip(blocks, kv, strict=True):
        graph, state = nnx.split(block)
        x, block_kv = traced(graph, state, x, block_kv)
        new_kv.append(block_kv)
    return x, tuple(new_kv)


class Linear(nnx.Module):
    """A linear map with its weight stored `[out, in]`, accumulating in float32.

    That layout is what the CPU's matrix kernels want (a factor of 3 and more in bfloat16) and what checkpoints hold. Quantised,
    the weight is int8 with one float32 scale an output, and is multiplied as `dtype`.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool, dtype: DTypeLike, quantize: str | None = None, rngs: nnx.Rngs
    ):
        weight = normal_initializer(rngs.params(), (out_features, in_features), dtype)
        if quantize not in (None, "int8"):
            raise ValueError(f"quantize must be int8, got {quantize!r}")
        quantized, scale = quantize_int8(weight) if quantize else (weight, None)
        self.dtype = jnp.dtype(dtype)
        self.weight = nnx.Param(quantized)
        self.scale = nnx.Param(scale) if scale is not None else None
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32)) if bias else None

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        y = product(x, self.weight[...], self.dtype)
        if self.scale is not None:
            y = y * self.scale[...]
        return y if self.bias is None else y + self.bias[...].astype(jnp.float32)


def quantize_int8(weight: Float[Array, "out in"]) -> tuple[Int[Array, "out in"], Float[Array, " out"]]:
    """`weight` as int8 with one scale a row: each entry is off by at most half a 127th of its row's largest."""
    scale = jnp.maximum(jnp.abs(weight).max(axis=1).astype(jnp.float32) / 127, jnp.finfo(jnp.float32).tiny)
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

    def scores(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch vocab"]:
        """The product of `x` with every vector of the table: the output layer of a model whose embedding is its output matrix."""
        weight = self.weight[...]
        return product(x, weight, weight.dtype)


class LayerNorm(nnx.Module):
    """Layer normalisation in float32, with scale and shift where `affine`."""

    def __init__(self, features: int, *, eps: float, affine: bool = True):
        self.weight = nnx.Param(jnp.ones((features,), jnp.float32)) if affine else None
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32)) if affine else None
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        centred = x - x.mean(-1, keepdims=True)
        normed = centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.eps)
        if self.weight is None or self.bias is None:
            return normed
        return normed * self.weight[...].astype(jnp.float32) + self.bias[...].astype(jnp.float32)


class RMSNorm(nnx.Module):
    """Division by the root mean square in float32, with a scale.

    Source: Zhang and Sennrich, 2019, Root mean square layer normalization.
    """

    def __init__(self, features: int, *, eps: float):
        self.weight = nnx.Param(jnp.ones((features,), jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        return x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.eps) * self.weight[...].astype(jnp.float32)


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
