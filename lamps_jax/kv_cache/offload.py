"""The host tier of the KV cache: blocks in pinned host memory, and the copies between them and the device.

A block on the host is one array over all layers, kept by reference: what is freed, overwritten or brought back can be any subset,
and the account in bytes is exact. Copies run beside the engine's programs. A block goes out in three acts, of which this class
does the last two: a program gathers it on the device, the copy begins, and later it is seen to have ended. It comes back in three
as well: the copy begins, it is waited for, and a program scatters the block into the pool.

A copy that fails loses its block and nothing else. That is why arrivals are waited for before they are scattered: a program takes
the error of an input over to its outputs, and the output here is the pool.
"""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jax.sharding import Sharding
from jaxtyping import Array

logger = logging.getLogger(__name__)

Transfer = Callable[[tuple[Array, ...], Sharding], Sequence[Array]]
"""Begins to copy arrays to another memory: `jax.device_put`."""

MAX_BLOCKS_PER_PROGRAM = 8
"""More in one call would hardly cost less a block, but each size has two programs to compile, whose text grows with it."""

MAX_BYTES_IN_FLIGHT = 256 * 2**20
"""Memory of the device, per direction, for blocks that are on their way."""

COPY_ERRORS = (jax.errors.JaxRuntimeError, ValueError, MemoryError)
"""What a copy fails with, at once or when it is waited for: memory that is not there, or a device's error."""

_GPU_LIMIT, _GPU_LIMIT_DEFAULT_GIB = "XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB", 64


def allow_pinned_memory(num_bytes: int) -> None:
    """Lets JAX's CUDA client pin `num_bytes`, which by default may pin 64 GiB and no more.

    To be called before anything asks JAX for its devices: the client reads the limit from the environment when it is made. A
    higher limit that is set already stays.
    """
    needed = math.ceil((num_bytes + 2 * MAX_BYTES_IN_FLIGHT) / 2**30) + 1  # one for what JAX itself stages there
    if needed > int(os.environ.get(_GPU_LIMIT, _GPU_LIMIT_DEFAULT_GIB)):
        os.environ[_GPU_LIMIT] = str(needed)


def bucket_sizes(num_blocks: int) -> tuple[int, ...]:
    """Numbers of blocks that one program moves: the powers of two up to `num_blocks` and `MAX_BLOCKS_PER_PROGRAM`."""
    return tuple(2**power for power in range(min(num_blocks, MAX_BLOCKS_PER_PROGRAM).bit_length()))


def in_buckets(num_blocks: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Splits `num_blocks` exactly into as few of `sizes` as can be; there is no padding."""
    start = 0
    while start < num_blocks:
        size = max(size for size in sizes if size <= num_blocks - start)
        yield slice(start, start + size)
        start += size


def departing(blocks: tuple[Array, ...]) -> tuple[Array, ...]:
    """Gathered blocks where their copy to the host begins; for use inside a program.

    On an accelerator that is the device's memory: a program that wrote to the host would not end before the bus is through, and
    the next step waits for it. On a CPU the program writes into the host's memory itself: a copy of its own costs twice the time
    there, as the two memories are one.
    """
    return jax.device_put(blocks, jax.memory.Space.Host) if jax.default_backend() == "cpu" else blocks


@dataclass(slots=True)
class Traffic:
    """Copies in one direction.

    Attributes:
        num_blocks: Copies that ended well.
        num_bytes: Their bytes, over all devices.
        busy_s: Time in which a copy was under way, or had ended and was not asked for yet: an upper bound of what they took.
        num_lost: Copies that failed.
        num_in_flight: Copies that have begun and are not known to have ended.
    """

    num_blocks: int = 0
    num_bytes: int = 0
    busy_s: float = 0.0
    num_lost: int = 0
    num_in_flight: int = 0
    _busy_since_s: float = 0.0

    @property
    def bytes_per_s(self) -> float:
        """A lower bound of the rate; 0 before the first copy has ended."""
        return self.num_bytes / self.busy_s if self.busy_s else 0.0

    def begin(self, now_s: float) -> None:
        """Counts a copy that begins."""
        if not self.num_in_flight:
            self._busy_since_s = now_s
        self.num_in_flight += 1

    def end(self, now_s: float, num_bytes: int | None) -> None:
        """Counts a copy of `num_bytes` that ended well, or (None) one that failed."""
        self.num_in_flight -= 1
        self.busy_s += now_s - self._busy_since_s
        self._busy_since_s = now_s
        if num_bytes is None:
            self.num_lost += 1
        else:
            self.num_blocks += 1
            self.num_bytes += num_bytes


class _Copy(NamedTuple):
    """A block under way: to `block` of the host, or to `block` of the device."""

    block: int
    array: Array


class HostPool:
    """Blocks of the KV cache in host memory. To be used from one thread only.

    Whose blocks are where is not decided here: host blocks are numbered from 0 to ``num_blocks - 1`` by whoever plans.

    Args:
        num_blocks: How many it may hold; beyond them there is only what is in flight.
        block_bytes: Of one block, over all devices.
        device: Where a block lies on its way to or from the pool on the device.
        transfer: What begins the copies.
    """

    def __init__(
        self,
        num_blocks: int,
        block_bytes: int,
        device: Sharding,
        *,
        transfer: Transfer = jax.device_put,
        max_bytes_in_flight: int = MAX_BYTES_IN_FLIGHT,
    ):
        self.num_blocks, self.block_bytes = num_blocks, block_bytes
        self.out, self.back = Traffic(), Traffic()
        self._device, self._host = device, device.with_memory_kind("pinned_host")  # never unpinned: TPUs corrupt bfloat16 there
        self._transfer = transfer
        self._max_in_flight = max(max_bytes_in_flight // block_bytes, MAX_BLOCKS_PER_PROGRAM)
        self._blocks: dict[int, Array | None] = {}  # None for one that is lost
        self._departed: deque[_Copy] = deque()
        self._waiting: deque[tuple[int, Array | None]] = deque()
        self._returning: deque[_Copy] = deque()
        self._arrived: dict[int, Array] = {}
        self._lost_on_host: set[int] = set()
        self._lost_on_device: set[int] = set()

    def store(self, host_blocks: Sequence[int], gather: Callable[[], tuple[Array, ...]]) -> None:
        """Begins to copy what `gather` returns, an array a block, into `host_blocks`."""
        assert all(0 <= block < self.num_blocks for block in host_blocks), f"no such host blocks: {host_blocks}"
        while self._departed and len(self._departed) + len(host_blocks) > self._max_in_flight:
            self._end_departure()
        self._blocks |= dict.fromkeys(host_blocks)  # what they held is gone before something new takes memory
        self._lost_on_host -= {*host_blocks}
        try:
            copies = self._transfer(gather(), self._host)
        except COPY_ERRORS:
            logger.warning("the copy of %d KV blocks to the host failed", len(host_blocks), exc_info=True)
            self._lost_on_host |= {*host_blocks}
            self.out.num_lost += len(host_blocks)
            return
        for block, array in zip(host_blocks, copies, strict=True):
            self._blocks[block] = array
            self._departed.append(_Copy(block, array))
            self.out.begin(time.perf_counter())

    def bring(self, device_blocks: Sequence[int], host_blocks: Sequence[int]) -> None:
        """Begins to copy `host_blocks` back, to be scattered to `device_blocks`; all that was brought before has been taken."""
        missing = [block for block in host_blocks if block not in self._blocks]
        assert not missing, f"nothing was ever copied into the host blocks {missing}"
        while self._returning:  # only where another process lost them, which therefore are not taken here
            self._end_return()
        self._waiting.clear()
        self._arrived.clear()
        self._waiting.extend((device, self._blocks[host]) for device, host in zip(device_blocks, host_blocks, strict=True))
        self._begin_returns()

    def arrive(self) -> list[int]:
        """Waits for blocks that were brought; the device blocks of up to one program that are there, none if all are taken."""
        while len(self._arrived) < MAX_BLOCKS_PER_PROGRAM and (self._returning or self._waiting):
            self._end_return()
        return [*self._arrived]

    def take(self, device_blocks: Sequence[int]) -> tuple[Array, ...]:
        """What is to be scattered to `device_blocks`, which `arrive` has named here or in the process that leads."""
        while not self._arrived.keys() >= {*device_blocks} and (self._returning or self._waiting):
            self._end_return()
        lost = [block for block in device_blocks if block not in self._arrived]
        if lost:
            raise RuntimeError(f"the copies to the device blocks {lost} failed in this process and not in the one that leads")
        blocks = tuple(self._arrived.pop(block) for block in device_blocks)
        self._begin_returns()
        return blocks

    def poll(self) -> None:
        """Looks which copies to the host have ended, without waiting."""
        while self._departed and self._departed[0].array.is_ready():  # pyright: ignore[reportAttributeAccessIssue]
            self._end_departure()

    def wait(self) -> None:
        """Waits for all copies to the host."""
        while self._departed:
            self._end_departure()

    def take_lost_on_host(self) -> frozenset[int]:
        """Host blocks that are found to be lost since the last call, but for those that were copied into again."""
        lost, self._lost_on_host = frozenset(self._lost_on_host), set()
        return lost

    def take_lost_on_device(self) -> frozenset[int]:
        """Device blocks into which nothing came, since the last call."""
        lost, self._lost_on_device = frozenset(self._lost_on_device), set()
        return lost

    def clear(self) -> None:
        """Forgets all blocks and counters."""
        self.wait()
        self._blocks.clear()
        self.out, self.back = Traffic(), Traffic()

    def _end_departure(self) -> None:
        block, array = self._departed.popleft()
        ended_well = _ended_well(array)
        self.out.end(time.perf_counter(), self.block_bytes if ended_well else None)
        if not ended_well and self._blocks.get(block) is array:  # else something else is there by now
            self._blocks[block] = None
            self._lost_on_host.add(block)

    def _begin_returns(self) -> None:
        """Begins as many copies as may be under way; the others begin as these are taken."""
        room = max(self._max_in_flight - len(self._returning) - len(self._arrived), 0 if self._returning else 1)
        begun: list[tuple[int, Array]] = []
        for _ in range(min(room, len(self._waiting))):
            block, array = self._waiting.popleft()
            if array is None:
                self._lose_on_device(block)
            else:
                begun.append((block, array))
        if not begun:
            return
        try:
            self._append_returns(begun)
        except COPY_ERRORS:
            for one in begun:  # so that the others come all the same
                try:
                    self._append_returns([one])
                except COPY_ERRORS:
                    logger.warning("a KV block's copy from the host failed", exc_info=True)
                    self._lose_on_device(one[0])

    def _append_returns(self, begun: Sequence[tuple[int, Array]]) -> None:
        copies = self._transfer(tuple(array for _, array in begun), self._device)
        for (block, _), array in zip(begun, copies, strict=True):
            self._returning.append(_Copy(block, array))
            self.back.begin(time.perf_counter())

    def _end_return(self) -> None:
        if not self._returning:
            self._begin_returns()
            return
        block, array = self._returning.popleft()
        ended_well = _ended_well(array)
        self.back.end(time.perf_counter(), self.block_bytes if ended_well else None)
        if ended_well:
            self._arrived[block] = array
        else:
            self._lost_on_device.add(block)

    def _lose_on_device(self, block: int) -> None:
        self._lost_on_device.add(block)
        self.back.num_lost += 1


def _ended_well(array: Array) -> bool:
    """Waits for a copy."""
    try:
        array.block_until_ready()
    except COPY_ERRORS:
        logger.warning("the copy of a KV block failed", exc_info=True)
        return False
    return True
