"""Which blocks go to the host during calls, and which come back: for requests that resume, and ahead of those that soon will."""

import heapq
import itertools
from bisect import insort
from collections.abc import Callable

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.batch import by_rank
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.handling import Decides, time_to_live
from lamps_jax.sched.memory import Memory
from lamps_jax.sched.paused import PausedRequests
from lamps_jax.sched.policy import System
from lamps_jax.sched.request import Handling, Request, RequestState


class Swapper:
    """Plans the copies of each step that nobody is forced to make; those that make room for others are the scheduler's.

    Attributes:
        loading: Requests whose turn has come, and whose blocks are on their way back; in order of service.
    """

    def __init__(
        self,
        memory: Memory,
        system: System,
        config: SchedulerConfig,
        cost_model: CostModel | None,
        paused: PausedRequests,
    ):
        self.loading: list[Request] = []
        self._expected: list[tuple[float, int, int, Request]] = []  # heap: when to fetch, ticket, calls before, request
        self._returning: list[tuple[float, int, int, Request]] = []
        self._tickets = itertools.count()
        self._memory, self._system, self._config, self._cost_model = memory, system, config, cost_model
        self._paused = paused
        self._on_demand = system.decides is Decides.ON_DEMAND
        self._may_be_limited = config.preserve_limit_s is not None or system.handling is time_to_live

    def call_begun(self, request: Request) -> None:
        """Notes when the blocks of a request that has just called a tool are to be brought back, wherever they go meanwhile."""
        if request.expected_return_s is not None:
            entry = (self._prefetch_s(request), next(self._tickets), request.num_calls, request)
            heapq.heappush(self._expected, entry)
            if len(self._expected) > 2 * len(self._paused.by_id) + 64:  # calls that return early leave theirs behind
                self._expected = [entry for entry in self._expected if _is_under_way(entry)]
                heapq.heapify(self._expected)

    def limit_preserving(self, now: float) -> None:
        """Gives up what calls have kept on the device for longer than they may."""
        if not self._may_be_limited:
            return
        for request in self._paused.by_id.values():
            until = self._paused.keep_until_s(request)
            if until is not None and request.block_ids and now >= until and not self._is_returning(request, now):
                swaps = self._system.gives_way is Handling.SWAP and self._memory.blocks.host.num_free > 0
                self._paused.choose(request, Handling.SWAP if swaps else Handling.DISCARD)

    def begin_loading(self, request: Request) -> bool:
        """Starts to bring back the blocks of a request whose turn has come; True if the device had them all still."""
        self._memory.swap_in(request)
        if self._is_loaded(request):
            return True
        insort(self.loading, request, key=by_rank)
        return False

    def take_loaded(self) -> list[Request]:
        """Requests whose blocks can all be read by this plan, or that have lost them, and are no longer loading."""
        loaded = [request for request in self.loading if self._is_loaded(request)]
        self.loading = [request for request in self.loading if not self._is_loaded(request)]
        return loaded

    def _is_loaded(self, request: Request) -> bool:
        return not request.host_block_ids and not self._memory.is_arriving(request)

    def stop_loading(self, request: Request) -> None:
        """Forgets a request that has ended or called a tool."""
        if request in self.loading:
            self.loading.remove(request)

    def load(self, make_room: Callable[[Request, int], bool] | None) -> None:
        """Brings back blocks of loading requests, in order of service.

        Args:
            make_room: Makes another request give blocks to the first of them; None while the device is busy, which can wait.
        """
        for at, request in enumerate(self.loading):
            if make_room is not None and at == 0:
                while (lacking := len(request.host_block_ids) - self._memory.blocks.num_free_blocks) > 0:
                    if not make_room(request, lacking):
                        break
            self._memory.swap_in(request)

    def prefetch(self, now: float, *, memory_is_wanted: bool) -> None:
        """Brings back blocks of requests whose call is about to return, where that is at nobody's expense."""
        if self._on_demand and memory_is_wanted:
            return
        while self._expected and self._expected[0][0] <= now:
            self._returning.append(heapq.heappop(self._expected))
        if not self._returning:
            return
        self._returning = [entry for entry in self._returning if self._is_awaited(entry, now)]
        for _, _, _, request in self._returning:
            if request.host_block_ids and len(request.host_block_ids) <= self._memory.blocks.num_free_blocks:
                self._memory.swap_in(request)
                if request.handling is Handling.SWAP:
                    self._paused.leaving[request.request_id] = request  # if the call does not return after all

    def swap_out_paused(self, now: float) -> None:
        """Goes on swapping out requests that are to be on the host during their call."""
        self._memory.spend_leftovers_on_swap_outs()
        for request in tuple(self._paused.leaving.values()):
            if request.block_ids and not self._is_returning(request, now):
                self._memory.swap_out(request, len(request.block_ids))
            if not request.block_ids:
                del self._paused.leaving[request.request_id]

    def next_wake_s(self, planned_s: float) -> float | None:
        """When there will be something to do here that the plan of `planned_s` could not do yet."""
        times = list[float]()
        for request in self._paused.by_id.values():
            if request.host_block_ids:
                times.append(self._prefetch_s(request))
            if request.block_ids and (until := self._paused.keep_until_s(request)) is not None:
                times.append(until)
            if request.block_ids and request.expected_return_s is not None:
                times.append(_overdue_s(request))  # no longer about to return
        return min((time for time in times if planned_s < time < float("inf")), default=None)

    def _prefetch_s(self, request: Request) -> float:
        """When to begin to bring a paused request's blocks back, for them to be there when its call returns."""
        if request.expected_return_s is None:
            return float("inf")
        if self._cost_model is None:
            return request.expected_return_s
        # Copies hide behind steps, so they take as long as the steps do; one more for the plan that brings the last ones in. All
        # blocks count, so that the moment does not move as they come.
        step_s = self._cost_model.forward_s(self._config.token_budget)
        num_blocks = len(request.block_ids) + len(request.host_block_ids)
        return request.expected_return_s - 2 * self._cost_model.swap_s(num_blocks) - step_s

    def _is_awaited(self, entry: tuple[float, int, int, Request], now: float) -> bool:
        """Whether the call that an entry was made for still runs and is about to return."""
        return _is_under_way(entry) and now < _overdue_s(entry[-1])

    def _is_returning(self, request: Request, now: float) -> bool:
        """Whether a call is about to return; no longer once it has taken twice as long as expected."""
        if self._on_demand or request.expected_return_s is None:
            return False
        return self._prefetch_s(request) <= now < _overdue_s(request)


def _is_under_way(entry: tuple[float, int, int, Request]) -> bool:
    """Whether the call that an entry was made for still runs."""
    _, _, num_calls, request = entry
    return request.state is RequestState.IN_API_CALL and request.num_calls == num_calls


def _overdue_s(request: Request) -> float:
    """When a call has taken twice as long as expected."""
    assert request.expected_return_s is not None, "nothing is expected of this call"
    return 2 * request.expected_return_s - request.paused_s
