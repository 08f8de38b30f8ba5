"""A history that tells which write it came from; apart, since the processes that write it should start at once."""

from lamps_jax.engine.history_file import History
from lamps_jax.sched.call_history import RememberedCalls
from lamps_jax.sched.estimates import RememberedSegments


def counted(number: int, tool: str = "a") -> History:
    """A history all of whose numbers are the same."""
    return History(
        [
            RememberedCalls(name, "", number, float(number), number, float(number), (float(number),) * 3)
            for name in (tool, "both")
        ],
        [RememberedSegments(tool, position, number, float(number), 1.0, number, 1.0, 1.0) for position in range(5)],
    )
