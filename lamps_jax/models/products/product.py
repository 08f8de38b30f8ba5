"""Products of activations with a matrix that is stored `[out, in]`, accumulating in float32."""

import ctypes
import functools
import logging
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from lamps_jax.models.llvm.llvm_ir import compile_module, host_features
from lamps_jax.models.products.cpu_kernel import MULTIPLE, OUTPUTS_OF_ITEM, Registers, emit_product

logger = logging.getLogger(__name__)

FEW = 32
"""Rows up to which XLA's matrix product is slower in any type; a single row of float32 it multiplies as fast as memory allows."""

TOLERANCE = 1e-5


def product(x: Float[Array, "*batch in"], matrix: Num[Array, "out in"], dtype: DTypeLike) -> Float[Array, "*batch out"]:
    """``x @ matrix.T`` of numbers that are rounded to `dtype`, in float32.

    On a CPU, few rows are multiplied by a kernel that reads the matrix once, as it is stored, and so are all where XLA would
    convert the matrix first.
    """
    rows, inputs = math.prod(x.shape[:-1]), x.shape[-1]
    fits = jax.default_backend() == "cpu" and inputs > 0 and inputs % MULTIPLE == 0
    return (by_kernel if fits and rows in _kernels_rows(matrix.dtype.name) else by_xla)(x.astype(dtype), matrix)


@functools.cache
def _kernels_rows(stored: str) -> range:
    """The numbers of rows for which the kernel is the faster one here.

    XLA makes a float32 matrix of an int8 one at every use, and of one of bfloat16 where the processor has no instructions for it.
    """
    has_bfloat16 = any(host_features().get(name) for name in ("avx512bf16", "amx-bf16", "bf16"))
    rows = {
        "float32": range(2, FEW + 1),
        "bfloat16": range(1, FEW + 1 if has_bfloat16 else sys.maxsize),
        "int8": range(1, sys.maxsize),
    }
    return rows.get(stored, range(0))


def by_xla(x: Float[Array, "*batch in"], matrix: Num[Array, "out in"]) -> Float[Array, "*batch out"]:
    """As XLA multiplies."""
    contracted = (((x.ndim - 1,), (1,)), ((), ()))
    return lax.dot_general(x, matrix.astype(x.dtype), contracted, preferred_element_type=jnp.float32)


@jax.custom_vjp
def by_kernel(x: Float[Array, "*batch in"], matrix: Num[Array, "out in"]) -> Float[Array, "*batch out"]:
    """As the CPU's kernel multiplies, where the program runs on one; the number of inputs must be a multiple of `MULTIPLE`."""
    target = _register(matrix.dtype.name)
    if target is None:
        return by_xla(x, matrix)
    return lax.platform_dependent(x, matrix, cpu=functools.partial(_call, target), default=by_xla)


def _forward(x: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    return by_kernel(x, matrix), (x, matrix)


def _backward(known: tuple[Array, Array], gradient: Array) -> Any:
    return jax.vjp(by_xla, *known)[1](gradient)


by_kernel.defvjp(_forward, _backward)


def _call(target: str, x: Float[Array, "*batch in"], matrix: Num[Array, "out in"]) -> Float[Array, "*batch out"]:
    rows, (outputs, inputs) = math.prod(x.shape[:-1]), matrix.shape
    multiply = jax.ffi.ffi_call(target, jax.ShapeDtypeStruct((*x.shape[:-1], outputs), jnp.float32))
    return multiply(x.astype(jnp.float32), matrix, jnp.array((rows, outputs, inputs), jnp.int32))


@functools.cache
def _register(stored: str) -> str | None:
    """The name that XLA knows the kernel by, the same in every process; None if it does not compute correctly here."""
    kernel = _compile(stored)
    if (error := _largest_error(kernel, stored)) > TOLERANCE:
        logger.warning("products of few rows with %s are wrong by %g here; XLA computes them, which is slower", stored, error)
        return None
    name = f"lamps_product_{stored}"
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(kernel.get_function_address("handler")), platform="cpu")
    return name


@functools.cache
def _compile(stored: str) -> Any:
    """The kernel's machine code, kept for as long as XLA may call it: to the end."""
    features = host_features()
    registers = Registers(16, 6) if features.get("avx512f") else Registers(8, 3)
    return compile_module(emit_product(stored, registers))


def _largest_error(kernel: Any, stored: str) -> float:
    """Of a small product, relative to its largest number."""
    rows, outputs, inputs = 5, OUTPUTS_OF_ITEM + 5, 3 * MULTIPLE
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, inputs), np.float32)
    matrix = np.asarray(random.integers(-127, 128, (outputs, inputs)), jnp.dtype(stored))
    out, sizes = np.full((rows, outputs), np.nan, np.float32), np.array((rows, outputs, inputs), np.int32)
    multiply = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)(kernel.get_function_address("multiply"))
    for item in range(-(-outputs // OUTPUTS_OF_ITEM)):
        multiply(*(array.ctypes.data for array in (x, matrix, sizes, out)), item)
    expected = x @ matrix.astype(np.float32).T
    return float(np.nan_to_num(np.abs(out - expected), nan=np.inf).max() / np.abs(expected).max())
