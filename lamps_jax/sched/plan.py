"""What the scheduler tells the executor to do in one step, and what the executor reports: plain values only.

Chunks and decodes are named tuples: there are as many a step as requests run, and a frozen dataclass takes far longer to make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lamps_jax.sched.request import SamplingParams


class PrefillChunk(NamedTuple):
    """A stretch of known tokens of one request to be computed.

    Attributes:
        start: Position of the first of `token_ids`; everything before it is computed.
        block_ids: All blocks of the request, in order; they hold at least ``start + len(token_ids)`` tokens.
        sample: Whether the chunk ends the known tokens, so that the next one is sampled.
        ban_eos: Whether the end-of-text token may not be sampled yet.
    """

    request_id: str
    slot: int
    token_ids: Sequence[int]
    start: int
    block_ids: Sequence[int]
    sampling: SamplingParams
    sample: bool
    ban_eos: bool


class Decode(NamedTuple):
    """One new token of a running request.

    Attributes:
        token_id: The input; None takes the token that the step before sampled in `slot`, which is still on the device.
        position: Of the input.
        block_ids: All blocks of the request, in order; only blocks at the end are new since its last chunk or decode.
        ban_eos: As in `PrefillChunk`.
    """

    request_id: str
    slot: int
    token_id: int | None
    position: int
    block_ids: Sequence[int]
    ban_eos: bool


@dataclass(frozen=True, slots=True)
class BlockCopy:
    """One block that goes from the device to the host, or back."""

    device_block: int
    host_block: int


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step. Blocks freed since the last plan may be in use again in this one.

    The order is: what the plan before swapped in arrives; `swap_outs` read the device; `swap_ins` begin; chunks run; decodes run.
    The device block of a swap-out may thus be written by the same plan, and that of a swap-in be read by the next one.

    Attributes:
        swap_outs: Blocks to copy to the host. A host block keeps what was copied into it until something else is.
        swap_ins: Blocks to copy back; no host block stands in both of a plan's lists.
    """

    step_id: int
    prefills: tuple[PrefillChunk, ...] = ()
    decodes: tuple[Decode, ...] = ()
    swap_outs: tuple[BlockCopy, ...] = ()
    swap_ins: tuple[BlockCopy, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens computed by the step."""
        return sum(len(chunk.token_ids) for chunk in self.prefills) + len(self.decodes)

    def __bool__(self) -> bool:
        return bool(self.prefills or self.decodes or self.swap_outs or self.swap_ins)


SampledLogprob = tuple[float, tuple[tuple[int, float], ...]]
"""The log-probability of a sampled token, and the likeliest tokens with theirs."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of one step.

    Attributes:
        sampled: Tokens that it sampled, by request.
        lost_blocks: Device blocks whose copy from the host failed before this step's programs ran: what they hold is junk, and so
            is what this step and the one after it, which is submitted by then, compute for whoever reads them.
        lost_host_blocks: Host blocks whose copy from the device was found to have failed.
        logprobs: By request, where they were asked for.
    """

    step_id: int
    sampled: dict[str, int]
    lost_blocks: frozenset[int] = frozenset()
    lost_host_blocks: frozenset[int] = frozenset()
    logprobs: Mapping[str, SampledLogprob] = field(default_factory=dict)
