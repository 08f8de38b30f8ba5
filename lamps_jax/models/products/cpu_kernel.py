"""The CPU kernel's LLVM code for products of few rows with a matrix: the matrix is read once, as it is stored, and not packed.

XLA multiplies one row well, and many. Of a few it makes a matrix product like any other, which packs the matrix first: that takes
longer than the product, which memory bounds. An item of work is some neighbouring outputs. A tile is `TILE` of them at a time, by
a stretch of the inputs that stays in the first cache while each group of rows is multiplied with it; meanwhile the next tile is
on its way from memory. A row's numbers depend neither on the other rows nor on the number of threads.

Source: Goto and van de Geijn, 2008, Anatomy of high-performance matrix multiplication, for tiles that fill the registers.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from llvmlite import ir

from lamps_jax.models.llvm.llvm_ir import (
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
    builder_of,
    element,
    external,
    load_integer,
    local,
    loop,
    smaller,
    sum_of,
    vector_of,
)
from lamps_jax.models.llvm.xla_handler import emit_handler

STORED: MappingProxyType[str, ir.Type] = MappingProxyType({"float32": F32, "bfloat16": I16, "int8": I8})
"""Types of the matrix, as LLVM sees them."""

TILE = 4
"""Outputs that are computed at a time: their rows of the matrix are streams that the processor fetches ahead."""

STRETCH = 512
"""Inputs of a tile: four rows of so many float32 are a quarter of the first cache."""

MULTIPLE = 16
"""The number of inputs must be a multiple of this: whole vectors and cache lines."""

OUTPUTS_OF_ITEM = 16
ROWS_OF_BLOCK = 32
"""Rows that go through the matrix together; their sums are on the stack of a thread."""

WIDE_STRIDE = STRETCH + MULTIPLE
"""Between rows of a tile that was made float32: rows a power of two apart would get into each other's way in the cache."""

DIRECT_GROUPS = 2
"""Groups of rows up to which converting a tile for each costs less than storing what it was converted to."""

PREFETCH = 3
"""The cache to prefetch to: 3 is the first, 2 the second."""


class Registers(NamedTuple):
    """What of a processor the kernel is compiled for.

    Attributes:
        width: float32 numbers of a vector.
        rows: Rows that are multiplied with a tile at once: each takes `TILE` registers.
    """

    width: int
    rows: int


class Sizes(NamedTuple):
    """What a kernel is told at each call, as an array of int32."""

    rows: Any
    outputs: Any
    inputs: Any


class _Stretch(NamedTuple):
    """What the functions for tiles take: where the rows and the tile begin, what to fetch, and how far their rows lie apart."""

    x: Value
    matrix: Value
    ahead: Value
    sums: Value
    x_stride: Value
    stride: Value
    length: Value


def emit_product(stored: str, registers: Registers) -> ir.Module:
    """A module whose ``handler`` takes x `[rows, inputs]`, a matrix `[outputs, inputs]` and `Sizes`, and gives their product."""
    module = ir.Module("product")
    work = _Emitter(module, stored, registers).multiply()
    emit_handler(work, num_arguments=3, count_items=_emit_count_items(module))
    return module


def _emit_count_items(module: ir.Module) -> ir.Function:
    count_items = ir.Function(module, ir.FunctionType(I64, [POINTER] * 4), "count_items")
    builder = builder_of(count_items)
    outputs = _load_sizes(builder, count_items.args[2]).outputs
    builder.ret(builder.sdiv(builder.add(outputs, I64(OUTPUTS_OF_ITEM - 1)), I64(OUTPUTS_OF_ITEM)))
    return count_items


def _load_sizes(b: Builder, address: Value) -> Sizes:
    return Sizes(*(load_integer(b, address, I64(at)) for at in range(len(Sizes._fields))))


class _Emitter:
    """Writes the functions of one module."""

    def __init__(self, module: ir.Module, stored: str, registers: Registers):
        self._module, self._stored, self._most = module, STORED[stored], registers.rows
        self._width, self._vector = registers.width, ir.VectorType(F32, registers.width)
        self._bytes = {F32: 4, I16: 2, I8: 1}[self._stored]

    def multiply(self) -> ir.Function:
        """``multiply(x, matrix, sizes, out, item)``: the outputs of an item, for all rows."""
        multiply = ir.Function(self._module, ir.FunctionType(VOID, [POINTER] * 4 + [I64]), "multiply")
        x, matrix, sizes_address, out, item = multiply.args
        whole_tile, single = (self._outputs(count) for count in (TILE, 1))
        b = builder_of(multiply)
        sizes = _load_sizes(b, sizes_address)
        first = b.mul(item, I64(OUTPUTS_OF_ITEM))
        last = smaller(b, b.add(first, I64(OUTPUTS_OF_ITEM)), sizes.outputs)
        tiles = b.sdiv(b.sub(last, first), I64(TILE))
        with loop(b, I64(0), b.sdiv(b.add(sizes.rows, I64(ROWS_OF_BLOCK - 1)), I64(ROWS_OF_BLOCK))) as block:
            row = b.mul(block, I64(ROWS_OF_BLOCK))
            rows = smaller(b, I64(ROWS_OF_BLOCK), b.sub(sizes.rows, row))
            x_here, out_here = element(b, x, b.mul(row, sizes.inputs), F32), element(b, out, b.mul(row, sizes.outputs), F32)
            with loop(b, I64(0), tiles) as at:
                output = b.add(first, b.mul(at, I64(TILE)))
                b.call(whole_tile, [x_here, matrix, out_here, output, rows, sizes.outputs, sizes.inputs])
            with loop(b, b.add(first, b.mul(tiles, I64(TILE))), last) as output:
                b.call(single, [x_here, matrix, out_here, output, rows, sizes.outputs, sizes.inputs])
        b.ret_void()
        return multiply

    def _outputs(self, count: int) -> ir.Function:
        """``outputs(x, matrix, out, first, rows, outputs, inputs)``: `count` outputs from `first` on, for all rows."""
        function = self._function(f"outputs_{count}", [POINTER] * 3 + [I64] * 4)
        x, matrix, out, first, rows, outputs, inputs = function.args
        b = builder_of(function)
        sums = local(b, self._vector, ROWS_OF_BLOCK * count)
        with loop(b, I64(0), b.mul(rows, I64(count))) as at:
            b.store(ir.Constant(self._vector, None), element(b, sums, at, self._vector))
        # The tile that will be wanted next; behind the last there is none, and the last itself is fetched again.
        following = smaller(b, b.add(first, I64(count)), b.sub(outputs, I64(count)))
        at_once = self._rows_at_once(count)
        groups = b.sdiv(b.add(rows, I64(at_once - 1)), I64(at_once))
        stretches = b.sdiv(b.add(inputs, I64(STRETCH - 1)), I64(STRETCH))
        with loop(b, I64(0), stretches) as stretch:
            start = b.mul(stretch, I64(STRETCH))
            length = smaller(b, I64(STRETCH), b.sub(inputs, start))
            here, ahead = (element(b, matrix, b.add(b.mul(row, inputs), start), self._stored) for row in (first, following))
            x_here = element(b, x, start, F32)
            direct = _Stretch(x_here, here, ahead, sums, inputs, inputs, length)
            if self._stored == F32 or count < TILE:
                self._all_groups(b, count, self._stored, groups, rows, direct)
            else:
                with b.if_else(b.icmp_signed("<=", groups, I64(DIRECT_GROUPS))) as (few, many):
                    with few:
                        self._all_groups(b, count, self._stored, groups, rows, direct)
                    with many:
                        wide = local(b, F32, count * WIDE_STRIDE)
                        b.call(self._widen(count), [here, ahead, wide, inputs, length])
                        widened = direct._replace(matrix=wide, ahead=wide, stride=I64(WIDE_STRIDE))
                        self._all_groups(b, count, F32, groups, rows, widened)
        with loop(b, I64(0), rows) as row:
            place = element(b, out, b.add(b.mul(row, outputs), first), F32)
            for at in range(count):
                total = b.load(element(b, sums, b.add(b.mul(row, I64(count)), I64(at)), self._vector), typ=self._vector)
                b.store(sum_of(b, total), element(b, place, I64(at), F32))
        b.ret_void()
        return function

    def _rows_at_once(self, count: int) -> int:
        """Of a group; what is left behind the last whole tile is little, and not worth code for several."""
        return self._most if count == TILE else 1

    def _all_groups(self, b: Builder, count: int, stored: ir.Type, groups: Value, rows: Value, stretch: _Stretch) -> None:
        """Multiplies a stretch with every group of rows, whose sizes differ by one at most; the first fetches ahead."""
        tiles = [self._tile(stored, count, num_rows) for num_rows in range(1, self._rows_at_once(count) + 1)]
        with loop(b, I64(0), groups) as group:
            begin = b.sdiv(b.mul(group, rows), groups)
            size = b.sub(b.sdiv(b.mul(b.add(group, I64(1)), rows), groups), begin)
            of_group = stretch._replace(
                x=element(b, stretch.x, b.mul(begin, stretch.x_stride), F32),
                ahead=b.select(b.icmp_signed("==", group, I64(0)), stretch.ahead, stretch.matrix),
                sums=element(b, stretch.sums, b.mul(begin, I64(count)), self._vector),
            )
            done = b.append_basic_block("done")
            blocks = [b.append_basic_block("rows") for _ in tiles]
            switch = b.switch(size, blocks[-1])
            for number, block in enumerate(blocks[:-1], start=1):
                switch.add_case(I64(number), block)
            for block, tile in zip(blocks, tiles, strict=True):
                b.position_at_end(block)
                b.call(tile, list(of_group))
                b.branch(done)
            b.position_at_end(done)

    def _tile(self, stored: ir.Type, count: int, num_rows: int) -> ir.Function:
        """A function of `_Stretch` that adds the products of a stretch to the sums of some rows.

        The same place of `ahead` is fetched into the cache meanwhile.
        """
        function = self._function(f"tile_{stored}_{count}_{num_rows}", [POINTER] * 4 + [I64] * 3)
        x, matrix, ahead, sums, x_stride, stride, length = function.args
        sums.add_attribute("noalias")
        b = builder_of(function)
        accumulators = [[local(b, self._vector) for _ in range(count)] for _ in range(num_rows)]
        places = [element(b, sums, I64(at), self._vector) for at in range(num_rows * count)]
        registers = [accumulator for of_row in accumulators for accumulator in of_row]
        for place, register in zip(places, registers, strict=True):
            b.store(b.load(place, typ=self._vector), register)
        with loop(b, I64(0), b.sdiv(length, I64(MULTIPLE))) as at:
            for part in range(0, MULTIPLE, self._width):
                start = b.add(b.mul(at, I64(MULTIPLE)), I64(part))
                addresses = (element(b, x, b.add(b.mul(I64(row), x_stride), start), F32) for row in range(num_rows))
                numbers = [b.load(address, typ=self._vector, align=4) for address in addresses]
                for output in range(count):
                    weight = self._load(b, stored, matrix, b.add(b.mul(I64(output), stride), start))
                    for number, of_row in zip(numbers, accumulators, strict=True):
                        total = b.load(of_row[output], typ=self._vector)
                        b.store(b.fadd(total, b.fmul(number, weight, flags=FAST), flags=FAST), of_row[output])
            self._prefetch(b, ahead, count, stride, b.mul(at, I64(MULTIPLE)))
        for place, register in zip(places, registers, strict=True):
            b.store(b.load(register, typ=self._vector), place)
        b.ret_void()
        return function

    def _widen(self, count: int) -> ir.Function:
        """``widen(matrix, ahead, wide, stride, length)``: a stretch of the matrix as float32; fetches `ahead` meanwhile."""
        function = self._function(f"widen_{count}", [POINTER] * 3 + [I64] * 2)
        matrix, ahead, wide, stride, length = function.args
        wide.add_attribute("noalias")
        b = builder_of(function)
        with loop(b, I64(0), b.sdiv(length, I64(MULTIPLE))) as at:
            for output in range(count):
                for part in range(0, MULTIPLE, self._width):
                    start = b.add(b.mul(at, I64(MULTIPLE)), I64(part))
                    numbers = self._load(b, self._stored, matrix, b.add(b.mul(I64(output), stride), start))
                    b.store(numbers, element(b, wide, b.add(I64(output * WIDE_STRIDE), start), F32), align=4)
            self._prefetch(b, ahead, count, stride, b.mul(at, I64(MULTIPLE)))
        b.ret_void()
        return function

    def _load(self, b: Builder, stored: ir.Type, matrix: Value, at: Value) -> Value:
        """Numbers of a matrix as float32."""
        address = element(b, matrix, at, stored)
        vector = b.load(address, typ=ir.VectorType(stored, self._width), align=4 if stored == F32 else self._bytes)
        if stored == F32:
            return vector
        integers = ir.VectorType(I32, self._width)
        if stored == I16:  # bfloat16 is the upper half of float32
            return b.bitcast(b.shl(b.zext(vector, integers), vector_of(I32(16), self._width)), self._vector)
        return b.sitofp(b.sext(vector, integers), self._vector)

    def _prefetch(self, b: Builder, matrix: Value, count: int, stride: Value, start: Value) -> None:
        prefetch = external(b.module, "llvm.prefetch.p0", ir.FunctionType(VOID, [POINTER, I32, I32, I32]))
        for output in range(count):
            address = element(b, matrix, b.add(b.mul(I64(output), stride), start), self._stored)
            b.call(prefetch, [address, I32(0), I32(PREFETCH), I32(1)])

    def _function(self, name: str, arguments: Sequence[ir.Type]) -> ir.Function:
        """A function of the module's own, which returns nothing; written once."""
        function = ir.Function(self._module, ir.FunctionType(VOID, arguments), self._module.get_unique_name(name))
        function.linkage = "internal"
        function.attributes.add("noinline")
        return function
