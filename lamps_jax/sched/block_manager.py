"""The account of all KV blocks, on the device and on the host: who holds which, which are free, and which can be found again.

A request's blocks, in the order of its tokens, are some on the device and then, if it is swapped out wholly or in part, the rest
on the host. It gives its last device block to the host first and takes its first host block back first.
"""

from collections.abc import Iterable, Mapping, Sequence

from lamps_jax.sched.plan import BlockCopy
from lamps_jax.sched.prefix_index import Eviction, least_recently_used
from lamps_jax.sched.tier import OutOfBlocks, Tier

NULL_BLOCK = 0
"""Of the device: written to by padding, read by nobody, held by no request."""


class BlockManager:
    """Device blocks ``1 … num_blocks - 1`` of `block_size` tokens each (block 0 is the null block), and blocks of the host.

    Full blocks can be found by the digest of their content (`sched.prefix_index`): they may have several holders, and stay cached
    when the last one lets them go, until their place is wanted.

    Attributes:
        device: The device's ledger.
        host: The host's ledger.
    """

    def __init__(self, num_blocks: int, block_size: int, *, num_host_blocks: int = 0, eviction: Eviction = least_recently_used):
        if num_blocks < 2:
            raise ValueError(f"num_blocks must be at least 2 (one is the null block), got {num_blocks}")
        if block_size < 1:
            raise ValueError(f"block_size must be positive, got {block_size}")
        if num_host_blocks < 0:
            raise ValueError(f"num_host_blocks must be 0 (none) or more, got {num_host_blocks}")
        self.num_blocks, self.block_size = num_blocks, block_size
        self.device = Tier(NULL_BLOCK + 1, num_blocks - 1, eviction=eviction)
        self.host = Tier(0, num_host_blocks, eviction=eviction)
        self._leaving_host: list[int] = []  # read by swap-ins of the plan being made; not to be written by its swap-outs

    @property
    def num_free_blocks(self) -> int:
        """Device blocks that can be had: free, or only cached."""
        return self.device.num_free

    @property
    def capacity_tokens(self) -> int:
        """Tokens that the device's pool holds."""
        return (self.num_blocks - 1) * self.block_size

    def num_missing_blocks(self, num_held: int, num_tokens: int) -> int:
        """Blocks to add to `num_held` before they hold `num_tokens` tokens."""
        return max(0, -(-num_tokens // self.block_size) - num_held)

    def begin_plan(self, now_s: float) -> None:
        """To be called before a plan is made: host blocks that the plan before has read can be written again."""
        self.device.now_s = self.host.now_s = now_s
        for block in self._leaving_host:
            self.host.release(block)
        self._leaving_host.clear()

    def extend(self, request_id: str, block_ids: list[int], num_blocks: int) -> None:
        """Appends `num_blocks` device blocks to `block_ids` on behalf of a request.

        Raises:
            OutOfBlocks: If fewer are free; nothing has been taken.
        """
        try:
            block_ids += self.device.take(num_blocks)
        except OutOfBlocks as error:
            raise OutOfBlocks(f"{request_id}: {error}") from error

    def free(self, block_ids: list[int], host_block_ids: list[int], *, will_return: bool = False) -> None:
        """Lets all blocks of a request go and empties the lists; what can be found stays cached.

        Args:
            will_return: Whether the request is expected to want them again.
        """
        for block in reversed(block_ids):
            self.device.release(block, will_return=will_return)
        for block in reversed(host_block_ids):
            self.host.release(block, will_return=will_return)
        block_ids.clear()
        host_block_ids.clear()

    def fork(self, block_ids: Sequence[int], num_tokens: int) -> list[int]:
        """Blocks for a second request that begins with the same `num_tokens` tokens: the full ones among `block_ids`, shared."""
        shared = list(block_ids[: num_tokens // self.block_size])
        for block in shared:
            self.device.hold(block)
        return shared

    def find(self, digests: Iterable[bytes]) -> tuple[list[int], list[int]]:
        """Blocks that hold the beginning of the text with these `digests`: device blocks, then host blocks; not held yet."""
        on_device, on_host = list[int](), list[int]()
        for digest in digests:
            if not on_host and (block := self.device.find(digest)) is not None:
                on_device.append(block)
            elif (block := self.host.find(digest)) is not None:
                on_host.append(block)
            else:
                break
        return on_device, on_host

    def hold_found(self, on_device: Iterable[int], on_host: Iterable[int]) -> None:
        """Makes blocks that `find` has returned a request's own."""
        for tier, blocks in ((self.device, on_device), (self.host, on_host)):
            for block in blocks:
                tier.hold(block)
                tier.count_hit(block)

    def swap_out(self, block_ids: list[int], host_block_ids: list[int], digests: Sequence[bytes]) -> BlockCopy | None:
        """Gives a request's last device block to the host; the copy to make, None if the host has the content already.

        Args:
            digests: Of the request's leading full blocks that can be found, the root before them.

        Raises:
            OutOfBlocks: If no host block can be had; nothing has changed.
        """
        position = len(block_ids) - 1
        block, copy = block_ids[-1], None
        digest = digests[position + 1] if position + 1 < len(digests) else None
        host_block = None if digest is None else self.host.find(digest)
        if host_block is not None:
            self.host.hold(host_block)
        else:
            (host_block,) = self.host.take(1)
            copy = BlockCopy(block, host_block)
            if digest is not None:
                self.host.index(host_block, digest, digests[position], position)
        self.device.release(block_ids.pop())
        host_block_ids.insert(0, host_block)
        return copy

    def swap_in(self, block_ids: list[int], host_block_ids: list[int], digests: Sequence[bytes]) -> BlockCopy | None:
        """Takes a request's first host block back to the device; the copy to make, None if the device still has the content.

        The host block stays as it is until the next plan; its content may be found there later.

        Raises:
            OutOfBlocks: If no device block can be had; nothing has changed.
        """
        position, host_block = len(block_ids), host_block_ids[0]
        digest = digests[position + 1] if position + 1 < len(digests) else None
        block, copy = None if digest is None else self.device.find(digest), None
        if block is not None:
            self.device.hold(block)
        else:
            (block,) = self.device.take(1)
            copy = BlockCopy(block, host_block)
        self._leaving_host.append(host_block_ids.pop(0))
        block_ids.append(block)
        return copy

    def check(self, held: Mapping[str, Sequence[int]], held_on_host: Mapping[str, Sequence[int]] | None = None) -> None:
        """Proves both ledgers: free + cached + held + null = total, and each block held by just those that say so.

        Raises:
            AssertionError: If they do not balance.
        """
        for request_id, block_ids in held.items():
            assert len(set(block_ids)) == len(block_ids), f"{request_id} holds a block twice"
        self.device.check(block for block_ids in held.values() for block in block_ids)
        on_host = [block for block_ids in (held_on_host or {}).values() for block in block_ids]
        self.host.check([*on_host, *self._leaving_host])
