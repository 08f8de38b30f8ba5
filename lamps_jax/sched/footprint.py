"""What a stretch of a request's life takes of the device, alone or among others."""

from typing import NamedTuple


class Crowd(NamedTuple):
    """The other requests on the device.

    Attributes:
        step_s: What they add to each step.
        context_tokens: Their contexts; C_other in InferCept's equations.
    """

    step_s: float = 0.0
    context_tokens: float = 0.0


class Footprint(NamedTuple):
    """What a stretch of a request's life takes of the device.

    Attributes:
        token_s: Area under its own curve, in token-seconds.
        duration_s: Length of the curve.
        peak_tokens: Top of the curve.
        imposed_token_s: Area that it adds under the curves of others, which hold their KV while it computes again what was
            discarded: the second term of InferCept's equations 1 and 4.
        token_steps: Its tokens summed over its steps: what a second more in each step would add to `token_s`.
        num_steps: Steps that compute something of it.
        recompute_s: Time in which it computes again what was discarded.
    """

    token_s: float = 0.0
    duration_s: float = 0.0
    peak_tokens: float = 0.0
    imposed_token_s: float = 0.0
    token_steps: float = 0.0
    num_steps: float = 0.0
    recompute_s: float = 0.0

    @property
    def charged_token_s(self) -> float:
        """Its own area and what it adds to those of others: the reading of the score that the paper's worked example asks for.

        Its own area, Figure 3 alone, serves there R2, R3, R1, and not R3, R2, R1 (tests/sched/test_toy.py).
        """
        return self.token_s + self.imposed_token_s

    def charged_among(self, crowd: Crowd) -> float:
        """`charged_token_s` of a footprint alone on the device, had the others of `crowd` been there: it is linear in them."""
        return self.token_s + crowd.step_s * self.token_steps + crowd.context_tokens * self.recompute_s

    def duration_among(self, crowd: Crowd) -> float:
        """`duration_s` of a footprint alone on the device, had the others of `crowd` been there."""
        return self.duration_s + crowd.step_s * self.num_steps

    def then(self, later: "Footprint") -> "Footprint":
        """Both stretches, one after the other."""
        return Footprint(
            self.token_s + later.token_s,
            self.duration_s + later.duration_s,
            max(self.peak_tokens, later.peak_tokens),
            self.imposed_token_s + later.imposed_token_s,
            self.token_steps + later.token_steps,
            self.num_steps + later.num_steps,
            self.recompute_s + later.recompute_s,
        )

    def times(self, weight: float) -> "Footprint":
        """What is expected of a stretch with that probability, or for that many; the top of the curve stays."""
        return Footprint(
            self.token_s * weight,
            self.duration_s * weight,
            self.peak_tokens,
            self.imposed_token_s * weight,
            self.token_steps * weight,
            self.num_steps * weight,
            self.recompute_s * weight,
        )
