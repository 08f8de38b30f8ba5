"""Sessions and agents: requests that are parts of one program."""

from lamps_jax.sched.request import Program, Request

MAX_PROGRAMS = 100_000
"""Programs that are remembered; nobody says when one has ended, so the one heard of longest ago is forgotten."""


class Programs:
    """What is known of each program, by its id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Program] = {}

    def join(self, program_id: str, order: int) -> Program | None:
        """The program of a request that arrives; None if it names none."""
        if not program_id:
            return None
        program = self._by_id.pop(program_id, None) or Program(order)
        self._by_id[program_id] = program
        if len(self._by_id) > MAX_PROGRAMS:
            del self._by_id[next(iter(self._by_id))]
        return program

    def leave(self, request: Request) -> None:
        """Takes in the service that a request has had, as it ends."""
        if request.program is not None:
            request.program.num_serviced_tokens += request.num_serviced_tokens
