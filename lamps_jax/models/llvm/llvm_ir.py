"""What the CPU kernel's LLVM code is written with: loops, vectors of float32, and machine code for this processor."""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

from llvmlite import binding, ir

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F16, F32 = ir.HalfType(), ir.FloatType()
POINTER, VOID = ir.PointerType(), ir.VoidType()

Builder: TypeAlias = Any
"""An `ir.IRBuilder`. Its methods are made by decorators that hide their types, and so are the values that they give."""

Value: TypeAlias = Any
"""An `ir.Value` that has a type."""

FAST = ("contract", "reassoc", "nsz")
"""Lets a product and a sum become one instruction, and a vector's sum be taken in any order; NaN stays NaN."""


def builder_of(function: ir.Function) -> Builder:
    """Writes at the beginning of a function that is empty."""
    return ir.IRBuilder(function.append_basic_block())


@contextmanager
def loop(builder: Builder, start: Value, stop: Value) -> Iterator[Value]:
    """The body of ``for index in range(start, stop)``; yields the index."""
    before, head = builder.block, builder.append_basic_block("loop")
    body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(start.type)
    index.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, stop), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, index.type(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


def local(builder: Builder, kind: ir.Type, count: Value | int = 1) -> Value:
    """The address of an array on the stack, made once in the function."""
    with builder.goto_entry_block() if isinstance(count, int) else nullcontext():
        address = builder.alloca(kind, count)
    address.type = POINTER  # llvmlite would let only single numbers of the element's type be stored there
    return address


def smaller(builder: Builder, a: Value, b: Value) -> Value:
    """The minimum of two integers."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def larger(builder: Builder, a: Value, b: Value) -> Value:
    """The maximum of two integers, or of two floats."""
    above = builder.fcmp_ordered(">", a, b) if a.type == F32 else builder.icmp_signed(">", a, b)
    return builder.select(above, a, b)


def element(builder: Builder, base: Value, index: Value, kind: ir.Type) -> Value:
    """The address of ``base[index]``."""
    return builder.gep(base, [index], source_etype=kind)


def load_integer(builder: Builder, base: Value, index: Value) -> Value:
    """``base[index]`` of an array of int32, as int64."""
    return builder.sext(builder.load(element(builder, base, index, I32), typ=I32), I64)


def splat(builder: Builder, value: Value, width: int) -> Value:
    """A vector of `width` times `value`."""
    vector = ir.VectorType(value.type, width)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, width), None))


def vector_of(number: ir.Constant, width: int) -> ir.Constant:
    """A constant vector of `width` times `number`."""
    return ir.Constant(ir.VectorType(number.type, width), [number] * width)


def sum_of(builder: Builder, vector: Value) -> Value:
    """The sum of a vector's numbers."""
    name, signature = f"llvm.vector.reduce.fadd.v{vector.type.count}f32", ir.FunctionType(F32, [F32, vector.type])
    return builder.call(external(builder.module, name, signature), [F32(-0.0), vector], fastmath=FAST)


def exp(builder: Builder, x: Value) -> Value:
    """The exponential of a vector of numbers that are not above 0, to 2e-7 of it; below -87 it is that of -87."""
    kind, width = x.type, x.type.count

    def constant(value: float) -> ir.Constant:
        return vector_of(F32(as_float32(value)), width)

    x = builder.select(builder.fcmp_ordered("<", x, constant(-87.0)), constant(-87.0), x)
    exponent = builder.fmul(x, constant(1 / math.log(2)), flags=FAST)
    # Cutting towards zero after taking a half away rounds what is not positive.
    whole = builder.fptosi(builder.fsub(exponent, constant(0.5), flags=FAST), ir.VectorType(I32, width))
    rest = builder.fsub(exponent, builder.sitofp(whole, kind), flags=FAST)
    result: Value = constant(0.0)
    for power in reversed(range(7)):  # the exponential series of 2**rest
        coefficient = math.log(2) ** power / math.factorial(power)
        result = builder.fadd(builder.fmul(result, rest, flags=FAST), constant(coefficient), flags=FAST)
    bits = builder.shl(builder.add(whole, vector_of(I32(127), width)), vector_of(I32(23), width))
    return builder.fmul(result, builder.bitcast(bits, kind), flags=FAST)


def as_float32(x: float) -> float:
    """The nearest float32; LLVM takes no other constants."""
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(mantissa * 2**24), exponent - 24)


def external(module: ir.Module, name: str, signature: ir.FunctionType) -> ir.Function:
    """The function `name`, LLVM's or the C library's, declared once in the module."""
    return module.globals.get(name) or ir.Function(module, signature, name)


def compile_module(module: ir.Module) -> Any:
    """Machine code for this processor. It lives as long as what is returned, whose `get_function_address` finds a function."""
    machine = _target_machine()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(parsed, passes)
    engine = binding.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine


def _target_machine() -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=host_features().flatten(), opt=2, codemodel="jitdefault", jit=True
    )


@functools.cache
def host_features() -> Any:
    """What this processor can do, by LLVM's names."""
    return binding.get_host_cpu_features()
