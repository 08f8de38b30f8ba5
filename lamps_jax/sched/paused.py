"""The requests in API calls, and what becomes of their blocks while the calls run."""

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.forecast import Forecaster
from lamps_jax.sched.handling import Decides, by_return
from lamps_jax.sched.memory import Memory
from lamps_jax.sched.policy import System
from lamps_jax.sched.request import Handling, Request
from lamps_jax.sched.surroundings import Surroundings


class PausedRequests:
    """Requests whose tool runs.

    Attributes:
        by_id: In the order in which they called.
        leaving: Those of them that are to be on the host and have blocks on the device, in the order in which that was decided.
    """

    def __init__(self, system: System, config: SchedulerConfig, memory: Memory, forecaster: Forecaster):
        self.by_id: dict[str, Request] = {}
        self.leaving: dict[str, Request] = {}
        self._system, self._config, self._memory, self._forecaster = system, config, memory, forecaster
        self._each_step = system.decides is Decides.EACH_STEP
        self._on_demand = system.decides is Decides.ON_DEMAND
        self._lazily = system.decides is Decides.AHEAD and system.lazily

    def add(self, request: Request) -> None:
        """Takes in a request whose tool begins to run."""
        self.by_id[request.request_id] = request

    def remove(self, request_id: str) -> None:
        """Forgets a request, if it is there."""
        self.by_id.pop(request_id, None)
        self.leaving.pop(request_id, None)

    @property
    def chooses_in_steps(self) -> bool:
        """Whether the next plan may find another handling for a call that runs."""
        return self._each_step or self._on_demand or self._lazily

    def keep_until_s(self, request: Request) -> float | None:
        """When a request's blocks have been kept on the device for as long as they may."""
        limit = self._config.preserve_limit_s
        limits = [] if limit is None else [request.paused_s + limit]
        limits += [] if request.keep_until_s is None else [request.keep_until_s]
        return min(limits, default=None)

    def choose(self, request: Request, handling: Handling) -> None:
        """Sets what becomes of a request's blocks; those to be discarded go at once, those to be swapped as copies are made."""
        request.handling = handling
        if handling is Handling.SWAP:
            self.leaving[request.request_id] = request
            return
        self.leaving.pop(request.request_id, None)
        if handling is Handling.DISCARD:
            self._memory.discard(request, will_return=True)

    def choose_anew(self, around: Surroundings, *, memory_is_wanted: bool) -> None:
        """Lets the blocks of calls go for which that has come to be the better choice, or is due."""
        if self._on_demand and not memory_is_wanted:
            return
        kept = [r for r in self.by_id.values() if r.handling is not Handling.DISCARD and r.block_ids]
        kept = kept if self._on_demand else [request for request in kept if request.handling is Handling.PRESERVE]
        if kept and self._each_step:
            self._choose_least_waste(kept, around)
        elif kept and self._on_demand:
            self._give_up_least_marginal(kept, around)
        elif kept and self._lazily:
            self._apply_all_but_largest(kept)

    def _choose_least_waste(self, kept: list[Request], around: Surroundings) -> None:
        """Spends the step's swap budget on the calls that waste most; of the others each wastes least by itself.

        Source: InferCept, section 4.4: requests in descending order of waste are swapped out until the budget is gone.
        """
        choices = [(request, self._forecaster.in_call(request, around)) for request in kept]
        budget = self._memory.num_swappable_blocks if around.can_swap else 0
        if budget > 0:
            choices.sort(key=lambda choice: (-choice[1].waste_token_s, choice[0].paused_s, choice[0].order))
            budget -= sum(len(request.block_ids) for request in self.leaving.values())
        for request, choice in choices:
            if budget > 0 and choice.waste_token_s > 0 and budget >= len(request.block_ids):
                self.choose(request, Handling.SWAP)
                budget -= len(request.block_ids)
            elif choice.handling is Handling.DISCARD:
                self.choose(request, Handling.DISCARD)

    def _give_up_least_marginal(self, kept: list[Request], around: Surroundings) -> None:
        """Gives up what wastes less on the host, or computed again; the host is for whose calls take longest."""
        room = self._memory.blocks.host.num_free if around.can_swap else 0
        for request in sorted(kept, key=by_return, reverse=True):
            fits = len(request.block_ids) <= room
            choice = self._forecaster.in_call(request, around._replace(can_swap=fits))
            if choice.handling is Handling.SWAP:
                room -= len(request.block_ids)
            if choice.handling is not request.handling:
                self.choose(request, choice.handling)

    def _apply_all_but_largest(self, kept: list[Request]) -> None:
        """Applies the handling that was chosen ahead to all but the call that wastes most, which gives way when memory is wanted.

        Source: the code released with LAMPS, `_schedule_chunk_and_fill`.
        """
        most = max(request.waste_token_s for request in kept)
        for request in kept:
            ahead = request.estimate[0] if request.estimate else None
            if ahead is None or ahead.api_duration_s is None or request.waste_token_s >= most:
                continue
            if ahead.handling is not Handling.PRESERVE:
                self.choose(request, ahead.handling)
