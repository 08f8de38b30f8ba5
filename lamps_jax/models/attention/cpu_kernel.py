"""The CPU kernel's LLVM code: online softmax over a row's blocks, each read once, where it lies.

An item of work is some neighbouring heads of a row, which lie next to each other in a block. While one head's keys and values are
in use, the next ones are on their way into the cache. One thread alone computes an item, in the same order whoever it
is: a row's numbers depend neither on the other rows nor on the number of threads.

Source: Milakov and Gimelshein, 2018, Online normalizer calculation for softmax; Kwon et al., 2023, PagedAttention.
"""

import math
from types import MappingProxyType
from typing import Any, NamedTuple

from llvmlite import ir

from lamps_jax.models.attention.reference import MASKED
from lamps_jax.models.llvm.llvm_ir import (
    F16,
    F32,
    FAST,
    I8,
    I16,
    I32,
    I64,
    POINTER,
    VOID,
    Builder,
    Value,
    as_float32,
    builder_of,
    element,
    exp,
    external,
    larger,
    load_integer,
    local,
    loop,
    smaller,
    splat,
    sum_of,
    vector_of,
)
from lamps_jax.models.llvm.xla_handler import emit_handler

STORED: MappingProxyType[str, ir.Type] = MappingProxyType({"float32": F32, "float16": F16, "uint16": I16})
"""Types of the blocks; uint16 are the bits of bfloat16."""

WIDTH = 16
"""Numbers of a vector, if the head size is a multiple: a register of AVX-512, two of AVX2, four of NEON."""

CACHE_LINE = 64
SECOND_LEVEL = 2
"""Of the cache, to prefetch to: the blocks of two wide heads would fill the first."""


class KernelShape(NamedTuple):
    """What a kernel is compiled for.

    Attributes:
        stored: Name of the blocks' type.
        group: Query heads of a KV head.
    """

    stored: str
    group: int
    head_dim: int
    block_size: int

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return math.gcd(self.head_dim, WIDTH)

    @property
    def row_bytes(self) -> int:
        """Bytes of a token's key in one head."""
        return self.head_dim * (4 if self.stored == "float32" else 2)


class Sizes(NamedTuple):
    """What a kernel is told at each call, as an array of int32; `window` is 0 where there is none."""

    batch: Any
    kv_heads: Any
    max_blocks: Any
    num_blocks: Any
    window: Any
    heads_of_item: Any


def emit_kernel(shape: KernelShape) -> ir.Module:
    """A module whose ``handler`` takes queries (scaled), keys, values, table, positions and `Sizes`, and gives the output."""
    module = ir.Module("paged_attention")
    emit_handler(_emit_attend(module, shape), num_arguments=6, count_items=_emit_count_items(module))
    return module


def _emit_count_items(module: ir.Module) -> ir.Function:
    count_items = ir.Function(module, ir.FunctionType(I64, [POINTER] * 7), "count_items")
    builder = builder_of(count_items)
    sizes = _load_sizes(builder, count_items.args[5])
    builder.ret(builder.mul(sizes.batch, _items_of_row(builder, sizes)))
    return count_items


def _emit_attend(module: ir.Module, shape: KernelShape) -> ir.Function:
    """``attend(q, keys, values, table, positions, sizes, out, item)``: the output of an item's heads."""
    attend = ir.Function(module, ir.FunctionType(VOID, [POINTER] * 7 + [I64]), "attend")
    q, keys, values, table, positions, sizes_address, out, item = attend.args
    fetching_head, head_alone = (_emit_head(module, shape, fetch=fetch) for fetch in (True, False))
    b = builder_of(attend)
    sizes = _load_sizes(b, sizes_address)
    row, part = (divide(item, _items_of_row(b, sizes)) for divide in (b.sdiv, b.srem))
    first_head = b.mul(part, sizes.heads_of_item)
    last_head = smaller(b, b.add(first_head, sizes.heads_of_item), sizes.kv_heads)
    first_query = b.mul(b.add(b.mul(row, sizes.kv_heads), first_head), I64(shape.group))
    num_queries = b.mul(b.sub(last_head, first_head), I64(shape.group))
    peaks, norms = local(b, F32, num_queries), local(b, F32, num_queries)
    q, out = (element(b, x, b.mul(first_query, I64(shape.head_dim)), F32) for x in (q, out))
    with loop(b, I64(0), num_queries) as at:
        b.store(F32(as_float32(MASKED)), element(b, peaks, at, F32))
        b.store(F32(0.0), element(b, norms, at, F32))
        _store_vectors(b, shape, _row(b, shape, out, at), [ir.Constant(_vector(shape), None)] * (shape.head_dim // shape.width))

    def head_address(stored: Value, block: Value, head: Value) -> Value:
        at = b.add(b.mul(block, sizes.kv_heads), head)
        return element(b, stored, b.mul(at, I64(shape.block_size * shape.head_dim)), STORED[shape.stored])

    def block_at(at: Value) -> Value:
        block = load_integer(b, table, b.add(b.mul(row, sizes.max_blocks), at))
        return larger(b, I64(0), smaller(b, block, b.sub(sizes.num_blocks, I64(1))))

    begin, position = _visible(b, shape, sizes, load_integer(b, positions, row))
    last_block, one = b.sdiv(position, I64(shape.block_size)), I64(1)
    with loop(b, b.sdiv(begin, I64(shape.block_size)), b.add(last_block, one)) as at:
        start = b.mul(at, I64(shape.block_size))
        first = larger(b, b.sub(begin, start), I64(0))
        last = smaller(b, b.sub(b.add(position, one), start), I64(shape.block_size))
        block, following = block_at(at), block_at(smaller(b, b.add(at, one), last_block))
        with loop(b, first_head, last_head) as head:
            is_last = b.icmp_signed("==", b.add(head, one), last_head)
            next_block, next_head = b.select(is_last, following, block), b.select(is_last, first_head, b.add(head, one))
            here = [head_address(stored, block, head) for stored in (keys, values)]
            ahead = [head_address(stored, next_block, next_head) for stored in (keys, values)]
            first_of_group = b.mul(b.sub(head, first_head), I64(shape.group))

            def query_arguments(at: Value, start: Value = first_of_group) -> list[Value]:
                query = b.add(start, at)
                return [*(_row(b, shape, x, query) for x in (q, out)), *(element(b, x, query, F32) for x in (peaks, norms))]

            common = [*here, *ahead, first, last]
            b.call(fetching_head, query_arguments(I64(0)) + common)
            with loop(b, one, I64(shape.group)) as at_query:
                b.call(head_alone, query_arguments(at_query) + common)
    with loop(b, I64(0), num_queries) as at:
        address = _row(b, shape, out, at)
        factor = splat(b, b.fdiv(F32(1.0), b.load(element(b, norms, at, F32), typ=F32)), shape.width)
        _store_vectors(b, shape, address, [b.fmul(total, factor) for total in _load_vectors(b, shape, address, F32)])
    b.ret_void()
    return attend


def _emit_head(module: ir.Module, shape: KernelShape, *, fetch: bool) -> ir.Function:
    """``head(q, out, peak, norm, keys, values, next_keys, next_values, first, last)``: adds a block's tokens to one query's sums.

    Those from `first` to before `last` are seen. With `fetch` the keys and values that come next are fetched into the cache.
    """
    name = "fetching_head" if fetch else "head_alone"
    head = ir.Function(module, ir.FunctionType(VOID, [POINTER] * 8 + [I64] * 2), name)
    head.linkage = "internal"
    q, out, peak, norm, keys, values, next_keys, next_values, first, last = head.args
    for pointer in (out, peak, norm):
        pointer.add_attribute("noalias")
    b = builder_of(head)
    padded = -(-shape.block_size // WIDTH) * WIDTH
    scores, top = local(b, F32, padded), local(b, F32)
    for at in range(0, padded, WIDTH):
        b.store(vector_of(F32(as_float32(MASKED)), WIDTH), element(b, scores, I64(at), F32), align=4)
    old_peak = b.load(peak, typ=F32)
    b.store(old_peak, top)
    queries = _load_vectors(b, shape, q, F32)
    with loop(b, first, last) as token:
        products = [b.fmul(x, y, flags=FAST) for x, y in zip(queries, _load_token(b, shape, keys, token), strict=True)]
        while len(products) > 1:  # a tree: its sums do not wait for each other
            pairs = zip(products[::2], products[1::2], strict=False)
            products = [b.fadd(x, y, flags=FAST) for x, y in pairs] + products[len(products) // 2 * 2 :]
        score = sum_of(b, products[0])
        b.store(score, element(b, scores, token, F32))
        b.store(larger(b, score, b.load(top, typ=F32)), top)
        if fetch:
            _prefetch_token(b, shape, next_keys, token)
    new_peak = b.load(top, typ=F32)
    scale = b.extract_element(exp(b, splat(b, b.fsub(old_peak, new_peak, flags=FAST), 1)), I32(0))
    sums = [ir.Constant(ir.VectorType(F32, WIDTH), None)]
    for at in range(0, padded, WIDTH):
        address = element(b, scores, I64(at), F32)
        shifted = b.fsub(b.load(address, typ=ir.VectorType(F32, WIDTH), align=4), splat(b, new_peak, WIDTH), flags=FAST)
        weights = exp(b, shifted)
        sums.append(b.fadd(sums[-1], weights, flags=FAST))
        b.store(weights, address, align=4)
    b.store(b.fadd(b.fmul(b.load(norm, typ=F32), scale, flags=FAST), sum_of(b, sums[-1]), flags=FAST), norm)
    b.store(new_peak, peak)
    totals = [local(b, _vector(shape)) for _ in range(shape.head_dim // shape.width)]
    for total, before in zip(totals, _load_vectors(b, shape, out, F32), strict=True):
        b.store(b.fmul(before, splat(b, scale, shape.width), flags=FAST), total)
    with loop(b, first, last) as token:
        weight = splat(b, b.load(element(b, scores, token, F32), typ=F32), shape.width)
        for total, value in zip(totals, _load_token(b, shape, values, token), strict=True):
            b.store(b.fadd(b.load(total, typ=_vector(shape)), b.fmul(weight, value, flags=FAST), flags=FAST), total)
        if fetch:
            _prefetch_token(b, shape, next_values, token)
    _store_vectors(b, shape, out, [b.load(total, typ=_vector(shape)) for total in totals])
    b.ret_void()
    return head


def _load_sizes(b: Builder, address: Value) -> Sizes:
    return Sizes(*(load_integer(b, address, I64(at)) for at in range(len(Sizes._fields))))


def _items_of_row(b: Builder, sizes: Sizes) -> Value:
    return b.sdiv(b.add(sizes.kv_heads, b.sub(sizes.heads_of_item, I64(1))), sizes.heads_of_item)


def _visible(b: Builder, shape: KernelShape, sizes: Sizes, position: Value) -> tuple[Value, Value]:
    """The first and the last position that a query at `position` sees, of those that the table has."""
    last = smaller(b, position, b.sub(b.mul(sizes.max_blocks, I64(shape.block_size)), I64(1)))
    begin = larger(b, b.add(b.sub(last, sizes.window), I64(1)), I64(0))
    return b.select(b.icmp_signed("==", sizes.window, I64(0)), I64(0), begin), last


def _vector(shape: KernelShape) -> ir.VectorType:
    return ir.VectorType(F32, shape.width)


def _row(b: Builder, shape: KernelShape, base: Value, at: Value) -> Value:
    """The address of query `at`, or of its output."""
    return element(b, base, b.mul(at, I64(shape.head_dim)), F32)


def _load_token(b: Builder, shape: KernelShape, head: Value, token: Value) -> list[Value]:
    stored = STORED[shape.stored]
    return _load_vectors(b, shape, element(b, head, b.mul(token, I64(shape.head_dim)), stored), stored)


def _load_vectors(b: Builder, shape: KernelShape, address: Value, stored: ir.Type) -> list[Value]:
    """A head's numbers as float32."""
    vectors = []
    for start in range(0, shape.head_dim, shape.width):
        at = element(b, address, I64(start), stored)
        vector = b.load(at, typ=ir.VectorType(stored, shape.width), align=4 if stored == F32 else 2)
        if stored == F16:
            vector = b.fpext(vector, _vector(shape))
        elif stored == I16:  # the upper half of a float32
            wide = ir.VectorType(I32, shape.width)
            vector = b.bitcast(b.shl(b.zext(vector, wide), vector_of(I32(16), shape.width)), _vector(shape))
        vectors.append(vector)
    return vectors


def _store_vectors(b: Builder, shape: KernelShape, address: Value, vectors: list[Any]) -> None:
    for number, vector in enumerate(vectors):
        b.store(vector, element(b, address, I64(number * shape.width), F32), align=4)


def _prefetch_token(b: Builder, shape: KernelShape, head: Value, token: Value) -> None:
    prefetch = external(b.module, "llvm.prefetch.p0", ir.FunctionType(VOID, [POINTER, I32, I32, I32]))
    for line in range(0, shape.row_bytes, CACHE_LINE):
        address = element(b, head, b.add(b.mul(token, I64(shape.row_bytes)), I64(line)), I8)
        b.call(prefetch, [address, I32(0), I32(SECOND_LEVEL), I32(1)])
