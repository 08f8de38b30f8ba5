"""How many blocks a step may swap, so that the copies hide behind its computation."""

from dataclasses import dataclass


@dataclass(slots=True)
class SwapBudget:
    """Blocks that the plan being made may still move.

    Attributes:
        outs: To the host, for want of device memory.
        ins: Back to the device.
    """

    outs: int
    ins: int

    def merge(self) -> None:
        """Lets swap-outs that are in no hurry have what nobody has brought in with."""
        self.outs, self.ins = self.outs + self.ins, 0


def swap_budget(limit: int, new_blocks: int, free_blocks: int) -> SwapBudget:
    """The split of `limit` blocks between out and in that lets most requests be scheduled.

    With N the limit, S the blocks that new tokens want and F the free ones, ``in + out <= N`` and ``in + S <= out + F`` are both
    tight at in = (N - S + F) / 2 and out = (N + S - F) / 2. Neither is ever 0 here, so that no request waits for ever.

    Source: InferCept (Abhyankar et al., 2024), section 4.1, budget split.
    """
    limit = max(2, limit)
    ins = max(1, min(limit - 1, (limit - new_blocks + free_blocks) // 2))
    return SwapBudget(outs=limit - ins, ins=ins)
