"""What a request is made of to the scheduler: segments of output, each up to a call or the end."""

import enum
from dataclasses import dataclass

from lamps_jax.sched.quantities import check_quantities


class Handling(enum.Enum):
    """What becomes of a request's blocks while its API call runs."""

    PRESERVE = "preserve"
    DISCARD = "discard"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class PredictedSegment:
    """Output up to a call and the call, or output up to the end.

    Attributes:
        output_tokens: Still to be decoded.
        api_duration_s: From the call to its return; None: the segment ends the request.
        returned_tokens: What the call returns.
        handling: What becomes of the KV during the call.
        call_share: How likely the segment is to end in its call, and not to end the request.
    """

    output_tokens: float
    api_duration_s: float | None = None
    returned_tokens: float = 0
    handling: Handling = Handling.PRESERVE
    call_share: float = 1.0

    def __post_init__(self) -> None:
        check_quantities(
            output_tokens=self.output_tokens, api_duration_s=self.api_duration_s or 0.0, returned_tokens=self.returned_tokens
        )
        if not 0.0 <= self.call_share <= 1.0:
            raise ValueError(f"call_share must be between 0 and 1, got {self.call_share}")
