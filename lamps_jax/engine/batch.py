"""From a plan to the integers that a program reads: the only place that pads.

Every program takes one packed int32 array, so that a step costs one transfer to the device. Floating-point values travel as their
bits. A row is a header of `Field`s, then (prefill only) the chunk's tokens, then the request's block table.
"""

import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamps_jax.config import EngineConfig
from lamps_jax.sched.plan import Decode, PrefillChunk
from lamps_jax.sched.request import SamplingParams


class Field(enum.IntEnum):
    """Columns of a row's header."""

    SLOT = 0
    TOKEN = 1
    POSITION = 2
    LENGTH = 3
    SAMPLE = 4
    BAN_EOS = 5
    TEMPERATURE = 6
    TOP_P = 7
    TOP_K = 8
    SEED = 9


HEADER = len(Field)
FROM_DEVICE = -1
"""In `Field.TOKEN`: the token that the step before sampled in this slot."""

SMALLEST_CHUNK = 16


def powers_of_two(smallest: int, largest: int) -> tuple[int, ...]:
    """`smallest` and its doublings below `largest`, and `largest`."""
    sizes = [min(smallest, largest)]
    while sizes[-1] < largest:
        sizes.append(min(2 * sizes[-1], largest))
    return tuple(sizes)


class BatchBuilder:
    """Packs chunks and decodes; keeps each slot's block table and sampling values on the host, so that a decode adds little."""

    def __init__(self, config: EngineConfig, *, smallest_decode_batch: int):
        slots = config.scheduler.max_num_seqs
        self.max_blocks = config.max_blocks_per_request
        self.padding_slot = slots
        self.chunk_sizes = powers_of_two(SMALLEST_CHUNK, config.scheduler.max_chunk_tokens)
        self.decode_sizes = powers_of_two(smallest_decode_batch, max(slots, smallest_decode_batch))
        self._rows = np.zeros((slots + 1, HEADER + self.max_blocks), np.int32)
        self._num_blocks = [0] * (slots + 1)
        self._rows[:, Field.SLOT] = np.arange(slots + 1)
        self._rows[:, Field.TEMPERATURE : HEADER] = _sampling_fields(SamplingParams())

    def prefill(self, chunk: PrefillChunk) -> NDArray[np.int32]:
        """The packed row of one chunk, ``[HEADER + bucket + max_blocks]``."""
        length = len(chunk.token_ids)
        row = self._rows[chunk.slot]
        row[Field.TEMPERATURE : HEADER] = _sampling_fields(chunk.sampling)
        self._num_blocks[chunk.slot] = 0
        self._append_blocks(chunk.slot, chunk.block_ids)
        packed = np.zeros(HEADER + self._bucket(length, self.chunk_sizes) + self.max_blocks, np.int32)
        packed[:HEADER] = row[:HEADER]
        packed[HEADER : HEADER + length] = chunk.token_ids
        packed[-self.max_blocks :] = row[HEADER:]
        packed[Field.POSITION], packed[Field.LENGTH] = chunk.start, length
        packed[Field.SAMPLE], packed[Field.BAN_EOS] = chunk.sample, chunk.ban_eos
        return packed

    def decode(self, decodes: tuple[Decode, ...]) -> NDArray[np.int32]:
        """The packed rows of one decode batch, ``[bucket, HEADER + max_blocks]``; padding rows write to the null block."""
        for decode in decodes:
            self._append_blocks(decode.slot, decode.block_ids)
        slots = [decode.slot for decode in decodes]
        size = self._bucket(len(decodes), self.decode_sizes)
        packed = self._rows[slots + [self.padding_slot] * (size - len(slots))]
        count = len(decodes)
        packed[:count, Field.TOKEN] = [FROM_DEVICE if decode.token_id is None else decode.token_id for decode in decodes]
        packed[:count, Field.POSITION] = [decode.position for decode in decodes]
        packed[:count, Field.BAN_EOS] = [decode.ban_eos for decode in decodes]
        return packed

    def empty_prefill(self, size: int) -> NDArray[np.int32]:
        """A row for a chunk of `size` that computes one padding token: what warm-up runs."""
        packed = np.zeros(HEADER + size + self.max_blocks, np.int32)
        packed[Field.SLOT], packed[Field.LENGTH] = self.padding_slot, 1
        return packed

    def empty_decode(self, size: int) -> NDArray[np.int32]:
        """Rows of padding only: what warm-up runs."""
        return self._rows[[self.padding_slot] * size]

    def _append_blocks(self, slot: int, block_ids: Sequence[int]) -> None:
        known = self._num_blocks[slot]
        if known == len(block_ids):
            return
        self._rows[slot, HEADER + known : HEADER + len(block_ids)] = block_ids[known:]
        self._num_blocks[slot] = len(block_ids)

    @staticmethod
    def _bucket(count: int, sizes: tuple[int, ...]) -> int:
        return next(size for size in sizes if size >= count)


def _sampling_fields(sampling: SamplingParams) -> NDArray[np.int32]:
    floats = np.array([sampling.temperature, sampling.top_p], np.float32).view(np.int32)
    seed = np.array([sampling.seed], np.uint32).view(np.int32)
    return np.concatenate([floats, np.array([sampling.top_k], np.int32), seed])
