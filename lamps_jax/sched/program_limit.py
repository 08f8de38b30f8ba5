"""How many requests may be under way at once, found out by what happens to memory: additive increase, multiplicative decrease."""

WINDOW_STEPS = 64
"""Steps after which the limit is set anew."""

TOLERATED_SHARE = 0.05
"""Computed tokens that may be computed again, as a share of all."""

DECREASE = 0.8
"""What the limit is multiplied by when there were more."""


class ProgramLimit:
    """Bounds the requests that have begun and not ended, calls included, so that they do not push each other out.

    Source: in the spirit of CONCUR (2026), which regulates agents like TCP its window, by the hit rate of the cache.

    Args:
        most: The limit at first.

    Attributes:
        limit: Requests that may be under way.
    """

    def __init__(self, most: int):
        self.limit = float(most)
        self._num_steps = self._computed = self._again = 0

    def allows(self, num_under_way: int) -> bool:
        """Whether one more request may begin."""
        return num_under_way < self.limit

    def stepped(self, num_tokens: int, num_recomputed: int) -> None:
        """Takes in a step.

        Args:
            num_recomputed: Tokens that all steps so far have computed again.
        """
        self._num_steps += 1
        self._computed += num_tokens
        if self._num_steps % WINDOW_STEPS:
            return
        thrashes = num_recomputed - self._again > TOLERATED_SHARE * self._computed
        self.limit = max(1.0, self.limit * DECREASE) if thrashes else self.limit + 1.0
        self._computed, self._again = 0, num_recomputed
