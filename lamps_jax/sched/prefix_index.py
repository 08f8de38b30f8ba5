"""Content hashes of full blocks, and what a block that nobody holds is worth keeping for.

The keys and values of a block depend on its tokens and on all tokens before them, and on nothing else. A full block is therefore
known by a digest chained from the first block on: two requests with the same beginning find the same blocks.
"""

import hashlib
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lamps_jax.sched.cost_model import CostModel

DIGEST_BYTES = 16


def root_digest(salt: str) -> bytes:
    """Where the chain of a tenant begins: requests with different salts never share a block."""
    return hashlib.blake2b(salt.encode(), digest_size=DIGEST_BYTES).digest()


def block_digest(parent: bytes, token_ids: Sequence[int]) -> bytes:
    """Digest of a full block of `token_ids` behind the block, or the root, of digest `parent`."""
    return hashlib.blake2b(parent + array("q", token_ids).tobytes(), digest_size=DIGEST_BYTES).digest()


@dataclass(slots=True, eq=False)
class IndexedBlock:
    """A full block of one tier that can be found by its digest.

    Attributes:
        block: Its id in the tier.
        position: Its place among the blocks of its text, from 0.
        parent: The block before it, if the tier had it indexed when this one came.
        num_children: Indexed blocks of the tier that name this one as parent.
        num_hits: How often a request has found it.
        will_return: Whether a request in an API call left it and is to come back.
        indexed_s: Since when it can be found.
        last_used_s: When it was last held.
        ticket: Number of its valid entry in the tier's order of eviction; -1 for none.
    """

    digest: bytes
    block: int
    position: int
    parent: "IndexedBlock | None"
    num_children: int = 0
    num_hits: int = 0
    will_return: bool = False
    indexed_s: float = 0.0
    last_used_s: float = 0.0
    ticket: int = -1


Eviction = Callable[[IndexedBlock], float]
"""What a cached block is worth; the cheapest goes first. Its order between two blocks must not change while nobody holds them."""


def least_recently_used(block: IndexedBlock) -> float:
    """Evicts what was held longest ago."""
    return block.last_used_s


def cost_aware(cost_model: CostModel, block_size: int, decay_s: float) -> Eviction:
    """Evicts what is cheapest to lose: seconds to compute a block again, times the likelihood that somebody wants it.

    The likelihood is 1 for a block whose request is in a call and will come back, and otherwise Laplace's rule of succession on
    the hits so far, (hits + 1) / (hits + 2). It fades by half every `decay_s` seconds. As it does so for all blocks alike, the
    logarithm of the product, less the age of the clock, orders blocks for good, and a heap can hold it.

    Source: the value of Greedy-Dual-Size-Frequency (Cherkasova, 1998), cost × frequency per size, with exponential aging.
    """

    def value(block: IndexedBlock) -> float:
        cost_s = cost_model.forward_s(block_size, (block.position + 1) * block_size) - cost_model.forward_base_s
        likelihood = 1.0 if block.will_return else (block.num_hits + 1) / (block.num_hits + 2)
        return math.log2(max(cost_s, 1e-12) * likelihood) + block.last_used_s / decay_s

    return value
