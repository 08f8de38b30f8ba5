"""The requests that wait to run, by rank: none is sorted twice, and none starves."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from lamps_jax.sched.request import Request, RequestState

RANKED_PER_STEP = 16
"""Most requests that are ranked anew in one step, so that a step takes no longer the more requests wait."""


class WaitingQueue:
    """A heap by `Request.rank`. An entry whose request has left, or was ranked anew, is skipped when it comes up.

    Args:
        starvation_threshold: Steps after which a waiting request is promoted; 0 for never.
        started_only: Whether only requests that have run before are.

    Attributes:
        num_promoted: So many times so far.
    """

    def __init__(self, *, starvation_threshold: int = 0, started_only: bool = False):
        self.num_promoted = 0
        self._threshold, self._started_only = starvation_threshold, started_only
        self._heap: list[tuple[tuple[float, ...], int, Request]] = []
        self._due: deque[tuple[int, int, Request]] = deque()  # step of promotion, first ticket of this stay in the queue
        self._tickets = itertools.count(1)
        self._cursor = self._round_end = self._num_stale_seen = 0

    def __len__(self) -> int:
        """Entries, those that no longer count among them."""
        return len(self._heap)

    def push(self, request: Request, step: int) -> None:
        """Queues a request at its rank; it begins to starve at `step`."""
        self._enter(request)
        request.queue_stay = request.queue_ticket
        if self._threshold and not request.is_promoted and (not self._started_only or request.num_tokens_once_computed):
            self._due.append((step + self._threshold, request.queue_stay, request))

    def move(self, request: Request, rank: tuple[float, ...]) -> None:
        """Gives a queued request another rank; it has waited as long as before. One that is not in the queue is left as it is."""
        if request.queue_ticket and rank != request.rank:
            request.rank = rank
            self._enter(request)

    def first(self) -> Request | None:
        """The request whose turn it is."""
        while self._heap:
            _, ticket, request = self._heap[0]
            if _is_valid(request, ticket):
                return request
            heapq.heappop(self._heap)
        return None

    def pop_first(self) -> None:
        """Takes out what `first` has just given."""
        _, _, request = heapq.heappop(self._heap)
        request.queue_ticket = request.queue_stay = 0

    def steps_until_promotion(self, step: int) -> int | None:
        """Steps after `step` until somebody may be promoted; None if nobody will be."""
        return self._due[0][0] - step if self._due else None

    def promote_starving(self, step: int, promoted_rank: Callable[[Request], tuple[float, ...]]) -> None:
        """Marks those who have waited for too long, until they end, and gives them the rank that such requests have.

        Source: LAMPS, algorithm 1, the lines on StarvationCnt.
        """
        while self._due and self._due[0][0] <= step:
            _, stay, request = self._due.popleft()
            if request.queue_stay == stay and request.state is RequestState.WAITING:
                request.is_promoted = True
                self.num_promoted += 1
                request.rank = promoted_rank(request)
                self._enter(request)

    def refresh(self, interval: int, rank_of: Callable[[Request], tuple[float, ...]]) -> None:
        """Ranks some of the waiting requests anew: all within `interval` steps, or `RANKED_PER_STEP` of them a step."""
        heap, waiting = self._heap, RequestState.WAITING
        if self._cursor >= min(self._round_end, len(heap)):
            if self._num_stale_seen > self._round_end // 4:
                heap[:] = [entry for entry in heap if _is_valid(entry[2], entry[1])]
                heapq.heapify(heap)
            self._cursor, self._round_end, self._num_stale_seen = 0, len(heap), 0
        count = min(-(-self._round_end // interval), RANKED_PER_STEP)
        for place in range(self._cursor, min(self._round_end, len(heap), self._cursor + count)):
            _, ticket, request = heap[place]
            if request.queue_ticket != ticket or request.state is not waiting:
                self._num_stale_seen += 1
            elif (rank := rank_of(request)) != request.rank:
                request.rank = rank
                self._enter(request)
        self._cursor += count

    def _enter(self, request: Request) -> None:
        request.queue_ticket = next(self._tickets)
        heapq.heappush(self._heap, (request.rank, request.queue_ticket, request))


def _is_valid(request: Request, ticket: int) -> bool:
    return request.queue_ticket == ticket and request.state is RequestState.WAITING
