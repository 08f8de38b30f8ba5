"""What an attention backend is: a function over a layer's blocks, and how it says that a shape is not for it."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks


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
        """The output for each query, which sees its row's tokens at or before its position: all, or the last `window`.

        Raises:
            Unsupported: If the backend does not serve these shapes or types; raised while tracing.
        """
        ...


class Unsupported(ValueError):
    """A backend refuses a shape, a type or a device, and says which and what it would take."""
