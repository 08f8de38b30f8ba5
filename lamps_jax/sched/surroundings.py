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
        crowd: The running requests as others meet them; see `crowd_of`.
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
    crowd: Crowd = Crowd()

    @property
    def pace(self) -> Pace:
        """How fast a request gets on that is alone on the device."""
        return Pace(self.cost_model, self.block_size, chunk_tokens=self.chunk_tokens)


def crowd_of(cost_model: CostModel, batch_tokens: int, context_tokens: int) -> Crowd:
    """What requests that compute so many tokens a step, and hold so many, are to another one."""
    per_token_s, per_context_token_s = cost_model.forward_per_token_s, cost_model.forward_per_context_token_s
    return Crowd(batch_tokens * per_token_s + context_tokens * per_context_token_s, context_tokens)
