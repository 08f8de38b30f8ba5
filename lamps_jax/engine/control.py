"""What a request's next token is chosen by, where that is more than logits and a temperature."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamps_jax.sched.request import SamplingParams

if TYPE_CHECKING:  # a simulation controls nothing
    import numpy as np
    from numpy.typing import NDArray


class ConstraintFailed(RuntimeError):
    """Raised where a text can be kept to its constraint no further, because of what the constraint asks for."""


@dataclass(slots=True)
class Control:
    """Penalties, biases, a constraint, or log-probabilities to report.

    Attributes:
        context: Every token of the request, its prompt and results included.
        counts: How often the request has sampled each token.
        allowed: Bits of the tokens that its constraint allows, ``[words]``; None for all.
    """

    request_id: str
    sampling: SamplingParams
    context: Sequence[int]
    counts: Counter[int] = field(default_factory=Counter)
    allowed: "NDArray[np.int32] | None" = None
