"""What is expected of a request, learned from those before it."""

MIN_CALLS = 3
"""Calls of a tool before its mean says anything."""


class CallDurations:
    """How long calls take, by tool: the running mean of those seen, the older ones fading.

    Args:
        memory: Calls over which the mean is taken, about.
    """

    def __init__(self, *, memory: int = 100):
        self._memory = memory
        self._means: dict[str, tuple[int, float]] = {}

    def observe(self, tool: str, duration_s: float) -> None:
        """Takes in how long a call took."""
        count, mean = self._means.get(tool, (0, 0.0))
        count = min(count + 1, self._memory)
        self._means[tool] = count, mean + (duration_s - mean) / count

    def expected_s(self, tool: str) -> float | None:
        """How long a call of `tool` is expected to take; None if too few were seen."""
        count, mean = self._means.get(tool, (0, 0.0))
        return mean if count >= MIN_CALLS else None
