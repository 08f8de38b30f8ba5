"""What memory is held for while it does not serve computing, as time goes by."""

from dataclasses import dataclass, field

from lamps_jax.sched.scheduler import Scheduler


@dataclass(slots=True)
class Waste:
    """Token-seconds of KV held without computing, by cause."""

    preserved: float = 0.0
    recomputed: float = 0.0
    swapped: float = 0.0


@dataclass(slots=True)
class WasteAccount:
    """Integrates it over the steps of a scheduler.

    Attributes:
        waste: So far.
    """

    scheduler: Scheduler
    waste: Waste = field(init=False, default_factory=Waste)
    _num_recomputed: int = field(init=False, default=0)

    def elapsed(self, start_s: float, end_s: float, preserved_tokens: int) -> None:
        """Time passed in which requests in calls held so many tokens on the device."""
        self.waste.preserved += preserved_tokens * (end_s - start_s)

    def stepped(self, forward_s: float, duration_s: float, num_tokens: int, num_copied_blocks: int, num_recomputed: int) -> None:
        """A step ended.

        Recomputed: the share of the step that computed tokens again, over all KV that was held meanwhile; swapped: blocks that
        were on their way, and what all others held while copies outlasted the step.

        Args:
            num_recomputed: Tokens that all steps so far have computed again.

        Source: InferCept, section 2, GPU memory waste by cause.
        """
        blocks, size = self.scheduler.blocks, self.scheduler.blocks.block_size
        held = (len(blocks.device.ids) - blocks.num_free_blocks) * size
        again = num_recomputed - self._num_recomputed
        self._num_recomputed = num_recomputed
        if again:
            self.waste.recomputed += forward_s * min(1.0, again / max(num_tokens, 1)) * held
        if num_copied_blocks:
            self.waste.swapped += num_copied_blocks * size * duration_s + max(0.0, duration_s - forward_s) * held
