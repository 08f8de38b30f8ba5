"""The account of the device's KV blocks: who holds which, and which are free. Integers only, never arrays."""

from collections import deque

NULL_BLOCK = 0
"""Written to by padding, read by nobody, held by no request."""


class OutOfBlocks(RuntimeError):
    """Raised when more blocks are asked for than are free; nothing has been taken."""


class BlockManager:
    """Blocks ``1 … num_blocks - 1`` of `block_size` tokens each; block 0 is the null block."""

    def __init__(self, num_blocks: int, block_size: int):
        if num_blocks < 2:
            raise ValueError(f"num_blocks must be at least 2 (one is the null block), got {num_blocks}")
        if block_size < 1:
            raise ValueError(f"block_size must be positive, got {block_size}")
        self.num_blocks, self.block_size = num_blocks, block_size
        self._free = deque(range(1, num_blocks))
        self._holder: dict[int, str] = {}

    @property
    def num_free_blocks(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    @property
    def capacity_tokens(self) -> int:
        """Tokens that the whole pool holds."""
        return (self.num_blocks - 1) * self.block_size

    def num_missing_blocks(self, block_ids: list[int], num_tokens: int) -> int:
        """Blocks to add to `block_ids` before they hold `num_tokens` tokens."""
        return max(0, -(-num_tokens // self.block_size) - len(block_ids))

    def extend(self, request_id: str, block_ids: list[int], num_blocks: int) -> None:
        """Appends `num_blocks` free blocks to `block_ids` on behalf of a request.

        Raises:
            OutOfBlocks: If fewer are free.
        """
        if num_blocks > len(self._free):
            raise OutOfBlocks(f"{request_id} needs {num_blocks} blocks, {len(self._free)} are free")
        for _ in range(num_blocks):
            block = self._free.popleft()
            self._holder[block] = request_id
            block_ids.append(block)

    def free(self, block_ids: list[int]) -> None:
        """Takes all of `block_ids` back and empties the list."""
        for block in block_ids:
            del self._holder[block]
        self._free.extend(block_ids)
        block_ids.clear()

    def check(self, held: dict[str, list[int]]) -> None:
        """Proves the ledger: free + held + null = total, no block twice, each held by whom `held` says.

        Raises:
            AssertionError: If it does not balance.
        """
        blocks = [block for block_ids in held.values() for block in block_ids]
        assert sorted([NULL_BLOCK, *self._free, *blocks]) == list(range(self.num_blocks)), "blocks lost or held twice"
        for request_id, block_ids in held.items():
            assert all(self._holder[block] == request_id for block in block_ids), f"{request_id} holds foreign blocks"
