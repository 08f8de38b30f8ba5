"""What a rule may look at beside the request itself."""

from typing import NamedTuple

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.footprint import Crowd
from lamps_jax.sched.memory_over_time import Pace


class Surroundings(NamedTuple):
    """The machine and what runs on it at the moment of a decision.

    Attributes:
        now: On the engine's clock.
        cost_model: Of the machine.
        block_size: Tokens of a block.
        token_budget: Most tokens of a step.
        chunk_tokens: Most tokens of one request in a step.
        batch_tokens: Tokens of running requests that are still to be computed; one for each that decodes.
        context_tokens: Tokens of theirs on the device.
        can_swap: Whether there are host blocks to swap to.
        expects_duration: Whether what is expected of a running call counts, and not what has elapsed of it.
    """

    now: float
    cost_model: CostModel
    block_size: int
    token_budget: int
    chunk_tokens: int
    batch_tokens: int = 0
    context_tokens: int = 0
    can_swap: bool = False
    expects_duration: bool = False

    @property
    def crowd(self) -> Crowd:
        """The running requests as others meet them."""
        computed = min(self.batch_tokens, self.token_budget)
        model = self.cost_model
        added_s = computed * model.forward_per_token_s + self.context_tokens * model.forward_per_context_token_s
        return Crowd(added_s, self.context_tokens)

    @property
    def pace(self) -> Pace:
        """How fast a request gets on that is alone on the device."""
        return Pace(self.cost_model, self.block_size, chunk_tokens=self.chunk_tokens)
