"""Which attention the engine uses: chosen by platform when it starts, in Python."""

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks
from lamps_jax.models.attention import xla

PagedAttention: TypeAlias = Callable[
    [
        Float[Array, "batch queries heads dim"],
        LayerBlocks,
        Int[Array, "batch max_blocks"],
        Int[Array, "batch queries"],
    ],
    Float[Array, "batch queries heads dim"],
]
"""Queries, a layer's blocks, block tables and the queries' positions to the attention output."""

BACKENDS: dict[str, PagedAttention] = {"xla": xla.paged_attention}
"""Implementations by name."""


def select_attention(name: str = "xla") -> PagedAttention:
    """The implementation called `name`.

    Raises:
        ValueError: If there is none.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown attention backend {name!r}; known are {', '.join(BACKENDS)}")
    return BACKENDS[name]
