"""Plans are packed into the integers that they stand for, and padding is harmless."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.engine.batch import FROM_DEVICE, HEADER, BatchBuilder, Field, powers_of_two
from lamps_jax.sched.plan import Decode, PrefillChunk
from lamps_jax.sched.request import SamplingParams
from tests.factories import engine_config

CONFIG = engine_config(max_num_seqs=5, max_chunk_tokens=40, max_model_len=30, block_size=4)
DRAWN = SamplingParams(temperature=0.7, top_p=0.9, top_k=5, seed=2**32 - 1)


@pytest.fixture
def builder() -> BatchBuilder:
    return BatchBuilder(CONFIG, smallest_decode_batch=1)


def chunk(slot: int, token_ids: list[int], block_ids: list[int], *, start: int = 0, sample: bool = True) -> PrefillChunk:
    return PrefillChunk("r", slot, token_ids, start, block_ids, DRAWN, sample, ban_eos=True)


def decode(slot: int, block_ids: list[int], *, token_id: int | None = None, position: int = 0) -> Decode:
    return Decode("r", slot, token_id, position, block_ids, ban_eos=False)


def sampling_of(header: np.ndarray) -> tuple[float, float, int, int]:
    """Temperature, top_p, top_k and seed, from their bits."""
    temperature, top_p = header[[Field.TEMPERATURE, Field.TOP_P]].view(np.float32)
    return float(temperature), float(top_p), int(header[Field.TOP_K]), int(header[[Field.SEED]].view(np.uint32)[0])


@pytest.mark.parametrize(
    ("smallest", "largest", "sizes"),
    [
        (1, 1, (1,)),
        (1, 8, (1, 2, 4, 8)),
        (2, 5, (2, 4, 5)),
        (16, 256, (16, 32, 64, 128, 256)),
        (16, 4, (4,)),
        (3, 13, (3, 6, 12, 13)),
    ],
)
def test_powers_of_two_are_the_doublings_and_the_largest(smallest: int, largest: int, sizes: tuple[int, ...]) -> None:
    assert powers_of_two(smallest, largest) == sizes


@given(st.integers(1, 64), st.integers(1, 5000))
def test_every_size_up_to_the_largest_fits_without_doubling_twice(smallest: int, largest: int) -> None:
    sizes = powers_of_two(smallest, largest)
    assert sizes[-1] == largest
    assert all(small < large <= 2 * small for small, large in itertools.pairwise(sizes))


def test_prefill_row_is_header_tokens_and_block_table(builder: BatchBuilder) -> None:
    packed = builder.prefill(chunk(3, [7, 8, 9], [11, 12], start=4))
    assert packed.dtype == np.int32
    assert packed.shape == (HEADER + 16 + builder.max_blocks,)
    expected = {Field.SLOT: 3, Field.POSITION: 4, Field.LENGTH: 3, Field.SAMPLE: 1, Field.BAN_EOS: 1}
    assert {field: packed[field] for field in expected} == expected
    assert sampling_of(packed) == (np.float32(0.7), np.float32(0.9), 5, 2**32 - 1)
    assert packed[HEADER : HEADER + 16].tolist() == [7, 8, 9] + 13 * [0]
    assert packed[-builder.max_blocks :].tolist() == [11, 12] + (builder.max_blocks - 2) * [0]


@pytest.mark.parametrize(("length", "bucket"), [(1, 16), (16, 16), (17, 32), (32, 32), (33, 40), (40, 40)])
def test_chunk_is_padded_to_the_next_bucket(builder: BatchBuilder, length: int, bucket: int) -> None:
    assert builder.prefill(chunk(0, [1] * length, [1])).shape == (HEADER + bucket + builder.max_blocks,)
    assert builder.empty_prefill(bucket).shape == (HEADER + bucket + builder.max_blocks,)


def test_decode_rows_are_headers_and_block_tables(builder: BatchBuilder) -> None:
    builder.prefill(chunk(3, [7, 8, 9], [11, 12]))
    packed = builder.decode((decode(3, [11, 12, 13], position=8), decode(0, [5], token_id=42, position=2)))
    assert packed.dtype == np.int32
    assert packed.shape == (2, HEADER + builder.max_blocks)
    assert packed[:, [Field.SLOT, Field.TOKEN, Field.POSITION, Field.BAN_EOS]].tolist() == [[3, FROM_DEVICE, 8, 0], [0, 42, 2, 0]]
    assert packed[0, HEADER : HEADER + 4].tolist() == [11, 12, 13, 0]
    assert packed[1, HEADER : HEADER + 2].tolist() == [5, 0]
    assert sampling_of(packed[0]) == (np.float32(0.7), np.float32(0.9), 5, 2**32 - 1)


@pytest.mark.parametrize(("count", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 5)])
def test_decode_batch_is_padded_with_rows_of_the_padding_slot_and_the_null_block(
    builder: BatchBuilder, count: int, bucket: int
) -> None:
    packed = builder.decode(tuple(decode(slot, [slot + 1]) for slot in range(count)))
    assert len(packed) == bucket
    assert (packed[count:, Field.SLOT] == builder.padding_slot).all()
    assert (packed[count:, HEADER:] == 0).all()
    assert (packed[count:, Field.POSITION] == 0).all()
    np.testing.assert_array_equal(packed[count:], builder.empty_decode(bucket - count))


def test_smallest_decode_batch_is_kept_even_above_the_number_of_slots() -> None:
    builder = BatchBuilder(engine_config(max_num_seqs=1), smallest_decode_batch=2)
    assert builder.decode_sizes == (2,)
    assert len(builder.decode((decode(0, [1]),))) == 2


def test_new_request_in_a_slot_leaves_nothing_of_the_one_before_in_the_part_that_counts(builder: BatchBuilder) -> None:
    builder.prefill(chunk(2, [1], [21, 22, 23]))
    packed = builder.prefill(PrefillChunk("new", 2, [1, 2], 0, [31], SamplingParams(), sample=False, ban_eos=False))
    assert packed[-builder.max_blocks] == 31
    assert sampling_of(packed) == (0.0, 1.0, 0, 0)
    assert (packed[Field.SAMPLE], packed[Field.BAN_EOS]) == (0, 0)
    packed = builder.decode((decode(2, [31, 32], position=4),))
    assert packed[0, HEADER : HEADER + 2].tolist() == [31, 32]


def test_packed_arrays_are_copies_that_a_later_step_does_not_change(builder: BatchBuilder) -> None:
    first = builder.decode((decode(1, [4]),))
    before = first.copy()
    builder.prefill(chunk(1, [1, 2], [8, 9]))
    builder.decode((decode(1, [8, 9, 10], position=9),))
    np.testing.assert_array_equal(first, before)
