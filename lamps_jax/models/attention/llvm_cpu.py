"""Paged attention for CPUs: a kernel that reads each key and value of a decoded row once, where it lies.

A decode step is bound by memory. `xla` copies the blocks that a table names and then reads the copy: three passes over what this
kernel reads once, and for every row as far as the longest goes. A chunk's products are matrix products, which XLA does well: they
stay with `xla`.
"""

import functools
import platform
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks
from lamps_jax.models.attention import xla
from lamps_jax.models.attention.backend import Unsupported
from lamps_jax.models.attention.cpu_kernel import STORED, KernelShape, Sizes, emit_kernel
from lamps_jax.models.llvm.llvm_ir import compile_module, host_features

MIN_ITEMS = 16
"""Parts that a batch is dealt out in, where it has as many heads: enough for threads of unequal speed to end together."""


def paged_attention(
    q: Float[Array, "batch queries heads dim"],
    blocks: LayerBlocks,
    block_table: Int[Array, "batch max_blocks"],
    positions: Int[Array, "batch queries"],
    window: int | None = None,
) -> Float[Array, "batch queries heads dim"]:
    """Attention of each query to its row's tokens at or before its position, or the last `window` of them.

    Raises:
        Unsupported: If keys are stored in a type that the kernel does not read here.
    """
    batch, num_queries, num_heads, head_dim = q.shape
    num_blocks, kv_heads, block_size, _ = blocks[0].shape
    if num_queries > 1:
        return xla.paged_attention(q, blocks, block_table, positions, window)
    target = _register(KernelShape(blocks[0].dtype.name, num_heads // kv_heads, head_dim, block_size))
    parts = min(kv_heads, -(-MIN_ITEMS // batch))
    sizes = Sizes(batch, kv_heads, block_table.shape[1], num_blocks, window or 0, -(-kv_heads // parts))
    attend = jax.ffi.ffi_call(target, jax.ShapeDtypeStruct(q.shape, jnp.float32))
    return attend(q * head_dim**-0.5, *blocks, block_table, positions, jnp.array(sizes, jnp.int32))


@functools.cache
def _register(shape: KernelShape) -> str:
    """The name that XLA knows the kernel of this shape by: the same in every process, for programs in a persistent cache."""
    if shape.stored not in STORED:
        raise Unsupported(f"llvm_cpu reads blocks of {', '.join(STORED)}, got {shape.stored}; use xla")
    if shape.stored == "float16" and platform.machine() in ("x86_64", "AMD64") and not host_features().get("f16c"):
        raise Unsupported("llvm_cpu reads float16 on x86 with F16C, which this processor lacks; use xla or bfloat16")
    name = "lamps_attention_{}_{}x{}_{}".format(*shape)
    handler = _compile(shape).get_function_address("handler")
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler), platform="cpu")
    return name


@functools.cache
def _compile(shape: KernelShape) -> Any:
    """The kernel's machine code, kept for as long as XLA may call it: to the end."""
    return compile_module(emit_kernel(shape))
