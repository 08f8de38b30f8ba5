"""Which attention the engine uses: chosen by platform when it starts, in Python."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks
from lamps_jax.models.attention import xla


@runtime_checkable
class PagedAttention(Protocol):
    """Attention of new tokens to those that a layer's blocks hold, themselves among them."""

    def __call__(
        self,
        q: Float[Array, "batch queries heads dim"],
        blocks: LayerBlocks,
        block_table: Int[Array, "batch max_blocks"],
        positions: Int[Array, "batch queries"],
        window: int | None = None,
    ) -> Float[Array, "batch queries heads dim"]:
        """The output for each query, which sees its row's tokens at or before its position: all, or the last `window`."""
        ...


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
