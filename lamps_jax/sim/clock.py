"""Time that passes when it is told to."""


class VirtualClock:
    """A clock for the engine: called, it says the time.

    Attributes:
        now_s: Seconds since the beginning.
    """

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advance_to(self, time_s: float) -> None:
        """Lets time pass until `time_s`; a time that has passed already is left alone."""
        self.now_s = max(self.now_s, time_s)
