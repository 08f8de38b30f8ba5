"""A tensor in a checkpoint file: where its bytes lie, and how it is read in pieces that are cast or quantised on the way."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

PIECE_BYTES = 2 * 2**20
"""Bytes read at a time: few enough that casting and quantising them stays in the processor's cache."""

ALIGNMENT = 64
"""Where memory must begin for the CPU device to keep it as it is, without a copy."""


class CheckpointError(ValueError):
    """Raised when a checkpoint cannot be read as the model that its configuration describes."""


def unreadable(path: Path, error: object) -> CheckpointError:
    """The error of a file that is damaged or cut off."""
    return CheckpointError(f"cannot read {path}: {error}; is the file complete?")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies in a file.

    Attributes:
        type_name: What the file calls its type.
        dtype: That type; None where it is none of floating point.
        start: The byte of the file at which a tensor that lies in one piece, row after row, begins.
        gather: Reads a tensor that does not lie so.
    """

    path: Path
    type_name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    start: int = 0
    gather: Callable[[], np.ndarray] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all elements; 0 where the type is none of floating point."""
        return prod(self.shape) * self.dtype.itemsize if self.dtype is not None else 0

    def read_pieces(self, rows: slice, use: Callable[[int, np.ndarray], None], executor: Executor) -> None:
        """Calls ``use(first_row, piece)`` on the threads of `executor` with pieces that make up `rows`; a scalar is one row.

        Raises:
            CheckpointError: If the file ends too early or cannot be read.
        """
        assert self.dtype is not None
        dtype, row_shape = self.dtype, self.shape[1:]
        row_bytes = prod(row_shape) * dtype.itemsize
        step = max(1, PIECE_BYTES // max(1, row_bytes))
        try:
            whole = self.gather() if self.gather is not None else None
            if whole is not None and not self.shape:
                whole = whole.reshape(1)

            def read(first: int) -> None:
                count = min(step, rows.stop - first)
                if whole is not None:
                    use(first, whole[first : first + count])
                    return
                piece = np.empty(count * row_bytes, np.uint8)
                read_bytes(self.path, self.start + first * row_bytes, piece)
                use(first, piece.view(dtype).reshape(count, *row_shape))

            if prod(self.shape):
                list(executor.map(read, range(rows.start, rows.stop, step)))
        except (OSError, EOFError) as error:
            raise unreadable(self.path, error) from error

    def read_into(self, array: np.ndarray, first_row: int, executor: Executor) -> None:
        """Fills `array`, of this tensor's type, with rows from `first_row` on; only for a tensor that lies in one piece.

        Raises:
            CheckpointError: If the file ends too early or cannot be read.
        """
        assert self.dtype is not None and self.gather is None
        memory = array.reshape(-1).view(np.uint8)
        start = self.start + first_row * prod(self.shape[1:]) * self.dtype.itemsize

        def read(first: int) -> None:
            read_bytes(self.path, start + first, memory[first : first + PIECE_BYTES])

        try:
            list(executor.map(read, range(0, len(memory), PIECE_BYTES)))
        except (OSError, EOFError) as error:
            raise unreadable(self.path, error) from error


def read_bytes(path: Path, start: int, into: np.ndarray) -> None:
    """Fills the bytes `into` from those of a file that begin at `start`.

    Raises:
        EOFError: If the file ends before.
    """
    view = memoryview(into.data)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while view:
            count = file.readinto(view)
            if not count:
                raise EOFError(f"it ends {len(view)} bytes before the end of a tensor")
            view = view[count:]


def read_cast(tensor: StoredTensor, dtype: DTypeLike, box: tuple[slice, ...], executor: Executor) -> np.ndarray:
    """The part `box` of a tensor as `dtype`; beside it no more than a few pieces are ever in memory."""
    part = aligned_empty(tuple(side.stop - side.start for side in box), dtype)
    rows, *columns = box or (slice(0, 1),)
    if tensor.gather is None and part.dtype == tensor.dtype and part.shape[1:] == tensor.shape[1:]:
        tensor.read_into(part, rows.start, executor)
        return part
    by_row = part if part.ndim else part.reshape(1)

    def use(first: int, piece: np.ndarray) -> None:
        with np.errstate(over="ignore"):  # to infinity, as everywhere else
            by_row[first - rows.start : first - rows.start + len(piece)] = piece[:, *columns]

    tensor.read_pieces(rows, use, executor)
    return part


def read_int8(tensor: StoredTensor, rows: slice, executor: Executor) -> tuple[np.ndarray, np.ndarray]:
    """`rows` of a matrix as 8-bit integers ``[rows, in]`` and a float32 scale each; the floats are never in memory together.

    The rule is that of `lamps_jax.models.layers.quantize_int8`.
    """
    count = rows.stop - rows.start
    weight, scale = aligned_empty((count, tensor.shape[1]), np.int8), aligned_empty((count,), np.float32)

    def use(first: int, piece: np.ndarray) -> None:
        here = slice(first - rows.start, first - rows.start + len(piece))
        values = piece.astype(np.float32)
        largest = np.maximum(values.max(axis=1), -values.min(axis=1))
        scale[here] = np.maximum(largest / np.float32(127), np.finfo(np.float32).tiny)  # a row of zeros has one too
        values /= scale[here, None]
        weight[here] = np.rint(values, out=values)

    tensor.read_pieces(rows, use, executor)
    return weight, scale


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array that `jax.device_put` hands to the CPU device without a copy, so that nothing may write to it afterwards."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % ALIGNMENT
    return memory[offset : offset + size].view(dtype).reshape(shape)
