"""The host pool gives back every bit that it was given, and a copy that fails loses its block and nothing else."""

import os
import time
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Sharding, SingleDeviceSharding

from lamps_jax.kv_cache.offload import (
    MAX_BLOCKS_PER_PROGRAM,
    HostPool,
    allow_pinned_memory,
    bucket_sizes,
    departing,
    in_buckets,
)
from lamps_jax.kv_cache.pool import Pool, allocate, block_bytes, gather_blocks, scatter_blocks, storage_dtype
from tests.faulty_bus import FaultyBus, faulty_bus

LAYERS, BLOCKS, HEADS, BLOCK_SIZE, DIM = 2, 12, 2, 4, 8


@pytest.fixture
def bus() -> Iterator[FaultyBus]:
    with faulty_bus() as bus:
        yield bus


@pytest.fixture(scope="module")
def device() -> Sharding:
    return SingleDeviceSharding(jax.devices()[0])


def random_blocks(count: int, dtype: str = "float32", seed: int = 0) -> tuple[jax.Array, ...]:
    storage = storage_dtype(dtype)
    bits = np.random.default_rng(seed).integers(0, 256, (count, 2 * LAYERS, HEADS, BLOCK_SIZE, DIM * storage.itemsize), np.uint8)
    return tuple(jnp.array(block.view(storage)) for block in bits)


def bits_of(arrays: Sequence[jax.Array]) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in arrays]


def small_pool(device: Sharding, bus: FaultyBus, num_blocks: int = BLOCKS, **options: int) -> HostPool:
    return HostPool(num_blocks, random_blocks(1)[0].nbytes, device, transfer=bus, **options)


def all_arrived(host: HostPool) -> dict[int, bytes]:
    """What comes to each device block."""
    seen: dict[int, bytes] = {}
    while arrived := host.arrive():
        seen |= zip(arrived, bits_of(host.take(arrived)), strict=True)
    return seen


@given(st.integers(0, 40), st.integers(1, 20))
def test_blocks_are_split_into_powers_of_two_without_padding(count: int, most: int) -> None:
    sizes = bucket_sizes(most)
    parts = [list(range(count))[part] for part in in_buckets(count, sizes)]
    assert [block for part in parts for block in part] == list(range(count))
    assert {len(part) for part in parts} <= {*sizes} <= {1, 2, 4, 8}
    assert max(sizes) <= min(most, MAX_BLOCKS_PER_PROGRAM)
    assert len(parts) == count // max(sizes) + (count % max(sizes)).bit_count()


def test_there_are_no_sizes_for_no_blocks() -> None:
    assert bucket_sizes(0) == ()
    assert list(in_buckets(0, ())) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_bit_survives_the_way_to_the_host_and_back(dtype: str, device: Sharding) -> None:
    """Not-a-numbers with their payloads, subnormals and negative zeros too."""
    rng = np.random.default_rng(1)
    pool = allocate(LAYERS, BLOCKS, HEADS, BLOCK_SIZE, DIM, dtype=dtype)
    storage = storage_dtype(dtype)
    patterns = rng.integers(0, 256, (LAYERS, 2, BLOCKS, HEADS, BLOCK_SIZE, DIM * storage.itemsize), np.uint8).view(storage)
    pool: Pool = tuple((jnp.array(keys), jnp.array(values)) for keys, values in patterns)
    out, back = jax.jit(lambda pool, ids: departing(gather_blocks(pool, ids))), jax.jit(scatter_blocks, donate_argnums=0)
    host = HostPool(BLOCKS, block_bytes(pool), device)
    sources, targets, places = rng.permutation(BLOCKS), rng.permutation(BLOCKS).astype(np.int32), rng.permutation(BLOCKS)
    for part in in_buckets(BLOCKS, bucket_sizes(BLOCKS)):
        ids = sources[part].astype(np.int32)
        host.store(places[part].tolist(), lambda ids=ids: out(pool, ids))
    host.bring(targets.tolist(), places.tolist())
    while arrived := host.arrive():
        pool = back(pool, host.take(arrived), np.array(arrived, np.int32))
    expected = np.empty_like(patterns)
    expected[:, :, targets] = patterns[:, :, sources]
    assert np.array([[np.asarray(array).view(np.uint8) for array in layer] for layer in pool]).tobytes() == expected.tobytes()


def test_blocks_lie_in_pinned_memory_one_array_each(device: Sharding, bus: FaultyBus) -> None:
    host = small_pool(device, bus)
    host.store([3, 5], lambda: random_blocks(2))
    kept = [array for array in host._blocks.values() if array is not None]
    assert [array.sharding.memory_kind for array in kept] == ["pinned_host"] * 2
    assert [array.nbytes for array in kept] == [host.block_bytes] * 2


def test_block_overwritten_while_it_comes_back_comes_as_it_was(device: Sharding, bus: FaultyBus) -> None:
    host, (old, new) = small_pool(device, bus), random_blocks(2)
    host.store([1], lambda: (old,))
    host.bring([7], [1])
    host.store([1], lambda: (new,))
    assert all_arrived(host) == {7: bits_of([old])[0]}
    host.bring([7], [1])
    assert all_arrived(host) == {7: bits_of([new])[0]}


def test_blocks_stay_until_they_are_overwritten(device: Sharding, bus: FaultyBus) -> None:
    host, blocks = small_pool(device, bus), random_blocks(2)
    host.store([0, 1], lambda: blocks)
    for _ in range(2):
        host.bring([4, 6], [1, 0])
        assert all_arrived(host) == {4: bits_of(blocks)[1], 6: bits_of(blocks)[0]}


def test_copy_to_the_host_that_is_refused_is_reported_once(device: Sharding, bus: FaultyBus) -> None:
    host = small_pool(device, bus)
    bus.refuse = lambda number, sharding: True
    host.store([2, 3], lambda: random_blocks(2))
    assert host.take_lost_on_host() == {2, 3}
    assert host.take_lost_on_host() == frozenset()
    assert host.out.num_lost == 2


def test_gather_that_finds_no_memory_loses_its_blocks(device: Sharding, bus: FaultyBus) -> None:
    def gather() -> tuple[jax.Array, ...]:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no memory for the staging")

    host = small_pool(device, bus)
    host.store([2], gather)
    assert host.take_lost_on_host() == {2}


def test_copy_to_the_host_that_breaks_later_is_reported_once_and_alone(device: Sharding, bus: FaultyBus) -> None:
    host, blocks = small_pool(device, bus), random_blocks(3)
    bus.break_later = lambda number, sharding: number == 1
    host.store([2, 3, 4], lambda: blocks)
    assert host.take_lost_on_host() == frozenset()
    deadline = time.monotonic() + 60
    while host.out.num_in_flight and time.monotonic() < deadline:
        host.poll()
    assert [host.take_lost_on_host() for _ in range(2)] == [{3}, frozenset()]
    assert (host.out.num_blocks, host.out.num_lost) == (2, 1)
    host.bring([0, 1, 2], [2, 3, 4])
    assert all_arrived(host) == {0: bits_of(blocks)[0], 2: bits_of(blocks)[2]}
    assert host.take_lost_on_device() == {1}


def test_loss_of_what_was_overwritten_since_is_nobodys(device: Sharding, bus: FaultyBus) -> None:
    host, blocks = small_pool(device, bus), random_blocks(2)
    bus.break_later = lambda number, sharding: number == 0
    host.store([2], lambda: blocks[:1])
    host.store([2], lambda: blocks[1:])
    host.wait()
    assert host.take_lost_on_host() == frozenset()
    host.bring([5], [2])
    assert all_arrived(host) == {5: bits_of(blocks)[1]}


@pytest.mark.parametrize("how", ["refuse", "break_later"])
def test_copy_from_the_host_that_fails_is_reported_once_and_alone(how: str, device: Sharding, bus: FaultyBus) -> None:
    host, blocks = small_pool(device, bus), random_blocks(4)
    host.store([0, 1, 2, 3], lambda: blocks)
    host.wait()
    remaining = [True, True]  # the call for all four, and then the one for its first alone

    def fails(number: int, sharding: Sharding) -> bool:
        return number == 4 and (how == "break_later" or bool(remaining and remaining.pop()))

    setattr(bus, how, fails)
    host.bring([8, 9, 10, 11], [0, 1, 2, 3])
    assert all_arrived(host) == dict(zip([9, 10, 11], bits_of(blocks)[1:], strict=True))
    assert [host.take_lost_on_device() for _ in range(2)] == [{8}, frozenset()]
    assert (host.back.num_blocks, host.back.num_lost, host.back.num_in_flight) == (3, 1, 0)
    host.bring([8], [0])
    assert all_arrived(host) == {8: bits_of(blocks)[0]}  # on the host it is as good as ever


def test_copies_under_way_are_limited_in_both_directions(device: Sharding, bus: FaultyBus) -> None:
    most, count = MAX_BLOCKS_PER_PROGRAM, 5 * MAX_BLOCKS_PER_PROGRAM
    host, blocks = small_pool(device, bus, count, max_bytes_in_flight=1), random_blocks(count)
    for part in in_buckets(count, bucket_sizes(count)):
        host.store(range(count)[part], lambda part=part: blocks[part])
        assert host.out.num_in_flight <= most
    host.bring(range(count), range(count))
    assert host.back.num_in_flight == most
    seen = {}
    while arrived := host.arrive():
        assert host.back.num_in_flight + len(arrived) <= most
        seen |= zip(arrived, bits_of(host.take(arrived)), strict=True)
    assert seen == dict(enumerate(bits_of(blocks)))


def test_follower_skips_what_only_the_leader_lost(device: Sharding, bus: FaultyBus) -> None:
    host, blocks = small_pool(device, bus), random_blocks(3)
    host.store([0, 1, 2], lambda: blocks)
    host.bring([4, 5], [0, 1])
    assert bits_of(host.take([5])) == bits_of(blocks)[1:2]
    host.bring([4], [2])
    assert bits_of(host.take([4])) == bits_of(blocks)[2:]


def test_follower_that_lost_what_the_leader_has_cannot_go_on(device: Sharding, bus: FaultyBus) -> None:
    host = small_pool(device, bus)
    host.store([0], lambda: random_blocks(1))
    bus.refuse = lambda number, sharding: True
    host.bring([4], [0])
    with pytest.raises(RuntimeError, match=r"the copies to the device blocks \[4\] failed in this process"):
        host.take([4])


def test_traffic_is_counted_in_both_directions(device: Sharding, bus: FaultyBus) -> None:
    host = small_pool(device, bus)
    assert host.out.bytes_per_s == 0
    host.store([0, 1], lambda: random_blocks(2))
    assert host.out.num_in_flight == 2
    host.wait()
    host.bring([3], [1])
    all_arrived(host)
    assert (host.out.num_blocks, host.out.num_bytes, host.out.num_in_flight) == (2, 2 * host.block_bytes, 0)
    assert (host.back.num_blocks, host.back.num_bytes, host.back.num_in_flight) == (1, host.block_bytes, 0)
    assert host.out.bytes_per_s > 0


@pytest.mark.parametrize(
    ("before", "gib", "after"), [(None, 1, None), (None, 63, "65"), (None, 200, "202"), ("300", 200, "300"), ("100", 200, "202")]
)
def test_cuda_is_let_pin_what_is_asked_for(
    before: str | None, gib: int, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB"
    monkeypatch.setenv(name, before or "")
    if before is None:
        monkeypatch.delenv(name)
    allow_pinned_memory(gib * 2**30)
    assert os.environ.get(name) == after
