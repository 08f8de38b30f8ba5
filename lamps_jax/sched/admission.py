"""When a waiting request may start."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lamps_jax.sched.request import Request


class Room(NamedTuple):
    """What there is to weigh when a request asks to start.

    Attributes:
        free_blocks: That nobody holds and nobody has been promised.
        held_blocks: On the device, that the request has already or that were found for it.
        computed_tokens: Of the request, those in blocks that were found for it among them.
        block_size: Tokens of a block.
        chunk_tokens: Of the request's next chunk.
        running: Requests in the batch.
    """

    free_blocks: int
    held_blocks: int
    computed_tokens: int
    block_size: int
    chunk_tokens: int
    running: Sequence[Request]

    def missing_blocks(self, num_tokens: float) -> int:
        """Blocks that the request still needs to hold so many tokens."""
        return max(0, int(-(-num_tokens // self.block_size)) - self.held_blocks)

    def growth_blocks(self) -> int:
        """Blocks that the running requests will still ask for, if they do what is predicted of them."""
        size = self.block_size
        return sum(max(0, int(-(-_peak_tokens(other) // size)) - len(other.block_ids)) for other in self.running)


Admission = Callable[[Request, Room], bool]


def whole_context_fits(request: Request, room: Room) -> bool:
    """Admits a request when everything known of it fits, so that it is not evicted half-way through its own prefill."""
    return room.missing_blocks(len(request.token_ids)) <= room.free_blocks


def next_chunk_fits(request: Request, room: Room) -> bool:
    """Admits a request when its next chunk fits; what follows may have to wait, or to evict others.

    Source: so do the released codes of InferCept and of LAMPS.
    """
    end = min(len(request.token_ids), room.computed_tokens + room.chunk_tokens)
    return room.missing_blocks(end) <= room.free_blocks


def predicted_peak_fits(request: Request, room: Room) -> bool:
    """Admits a request when it and all that run fit, each as large as it is predicted to be at its next call or its end.

    An idle device admits whatever fits now, or a request that is predicted to outgrow the pool would wait for ever.

    Source: in the spirit of the future-memory admission of Past-Future (Gong et al., ASPLOS 2025) and MC-SF (Jaillet et al.,
    2025), without their look at when each peak comes.
    """
    if not room.running:
        return whole_context_fits(request, room)
    return room.missing_blocks(_peak_tokens(request)) + room.growth_blocks() <= room.free_blocks


ADMISSIONS: dict[str, Admission] = {
    "whole-context": whole_context_fits,
    "next-chunk": next_chunk_fits,
    "predicted-peak": predicted_peak_fits,
}
"""The rules that any policy can be run with, by name."""


def _peak_tokens(request: Request) -> float:
    """Tokens of a request at its next call or at its end."""
    if not request.estimate:
        return request.num_tokens
    ahead = request.estimate[0].output_tokens - request.num_segment_tokens
    return request.num_tokens + max(0.0, ahead)
