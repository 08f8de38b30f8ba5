"""Chooses a replica for each request, of several that serve the same model.

A request goes to the replica that holds its KV, in this order:

1. that of its session, or of the calls whose results it brings;
2. the one whose recent requests began like it, the longer the better, unless it has too much to do beside the others;
3. the one whose requests are predicted to take least memory over time, the score by which LAMPS orders them within an engine.

A replica reports what it is predicted to take; what was sent to it since then is added, at what a request takes on the average.
The second rule bounds the load as in consistent hashing with bounded loads (Mirrokni et al., 2018), here by the least load, not
the mean. Sessions are not moved by load: their KV would have to be computed anew.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

from lamps_jax.serve.request_key import RequestKey

BOUND = 2.0
"""A replica that has more to do than the least by this factor, and a request, gets none for a common beginning."""

MAX_SESSIONS = 100_000
"""Sessions that are remembered, those used last."""

MAX_CALLS = 100_000
"""Calls that are remembered."""

MAX_BEGINNINGS = 131_072
"""Digests of beginnings that are remembered: about a thousand long conversations."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What a replica has to do.

    Attributes:
        measured_s: When that was, by the clock on the wall; what was sent later is not in it.
        predicted_token_s: Memory over time that its unfinished requests are predicted to take from then on.
        num_requests: How many those are.
        num_waiting: How many of them wait.
        occupancy: Share of its KV blocks that requests hold.
        takes_requests: Whether its engine has not failed.
    """

    measured_s: float = 0.0
    predicted_token_s: float = 0.0
    num_requests: int = 0
    num_waiting: int = 0
    occupancy: float = 0.0
    takes_requests: bool = True


class Router:
    """Remembers what it has sent where; may be used from several threads.

    Args:
        clock: The clock on the wall, as in `ReplicaLoad.measured_s`.
    """

    def __init__(self, *, bound: float = BOUND, clock: Callable[[], float] = time.time):
        if not bound >= 1.0:
            raise ValueError(f"bound must be at least 1: nobody has less to do than the least; got {bound}")
        self._bound, self._clock, self._lock = bound, clock, Lock()
        self._sessions, self._calls = _Recent(MAX_SESSIONS), _Recent(MAX_CALLS)
        self._beginnings = _Recent(MAX_BEGINNINGS)
        self._sent: dict[RequestKey, tuple[str, float]] = {}
        self._unfinished: dict[str, dict[RequestKey, float]] = {}
        self._token_s_per_request = 1.0

    def choose(self, key: RequestKey, replicas: Mapping[str, ReplicaLoad]) -> str:
        """The replica that gets a request, which counts as sent there until `finished`, or until it is chosen for again.

        Args:
            replicas: Those that live, by their names.

        Raises:
            ValueError: If none does.
        """
        if not replicas:
            raise ValueError("there is no replica to choose")
        replicas = {name: load for name, load in replicas.items() if load.takes_requests} or replicas
        with self._lock:
            self._take_back(key)
            self._learn_size(replicas.values())
            chosen = self._holder(key, replicas) or self._by_load(key, replicas)
            self._send(key, chosen, replicas)
            return chosen

    def called(self, key: RequestKey, call_ids: Iterable[str]) -> None:
        """Remembers that an unfinished request has ended in calls that its client runs."""
        with self._lock:
            if key in self._sent:
                for call_id in call_ids:
                    self._calls.put(call_id, (self._sent[key][0],))

    def finished(self, key: RequestKey) -> None:
        """Takes in that a request is over; a second time does nothing."""
        with self._lock:
            self._take_back(key)

    def num_unfinished(self, replica: str) -> int:
        """Requests sent to a replica and not finished."""
        return len(self._unfinished.get(replica, ()))

    def _holder(self, key: RequestKey, replicas: Mapping[str, ReplicaLoad]) -> str | None:
        """The replica of the session or the calls, if it lives."""
        held = [] if key.session is None else [self._sessions.get(key.session)]
        held += [self._calls.get(call_id) for call_id in key.answered_calls]
        return next((name for names in held for name in names if name in replicas), None)

    def _by_load(self, key: RequestKey, replicas: Mapping[str, ReplicaLoad]) -> str:
        order = {name: self._load(name, load) for name, load in replicas.items()}
        least = min(replicas, key=order.__getitem__)
        alike = min(self._began_alike(key, replicas), key=order.__getitem__, default=None)
        if alike is not None and order[alike][0] <= self._bound * order[least][0] + self._token_s_per_request:
            return alike
        return least

    def _load(self, name: str, load: ReplicaLoad) -> tuple[float, float, int, float, str]:
        """What a replica has to do, then what tells equal ones apart."""
        since = sum(sent_s > load.measured_s for sent_s in self._unfinished.get(name, {}).values())
        to_do = load.predicted_token_s + since * self._token_s_per_request
        return to_do, load.num_waiting + since, self._sessions.num_of(name), load.occupancy, name

    def _began_alike(self, key: RequestKey, replicas: Mapping[str, ReplicaLoad]) -> list[str]:
        """The replicas that have seen most of a request's beginning; none if none has seen any."""
        alike: list[str] = []
        for digest in key.beginnings:
            names = [name for name in self._beginnings.get(digest) if name in replicas]
            if not names:
                break
            alike = names
        return alike

    def _send(self, key: RequestKey, name: str, replicas: Mapping[str, ReplicaLoad]) -> None:
        now = self._clock()
        self._sent[key] = name, now
        self._unfinished.setdefault(name, {})[key] = now
        if key.session is not None:
            self._sessions.put(key.session, (name,))
        for digest in key.beginnings:
            others = [other for other in self._beginnings.get(digest) if other != name and other in replicas]
            self._beginnings.put(digest, (name, *others))

    def _take_back(self, key: RequestKey) -> None:
        name, _ = self._sent.pop(key, ("", 0.0))
        if requests := self._unfinished.get(name):
            del requests[key]
            if not requests:
                del self._unfinished[name]

    def _learn_size(self, loads: Iterable[ReplicaLoad]) -> None:
        loads = list(loads)
        token_s, num_requests = sum(load.predicted_token_s for load in loads), sum(load.num_requests for load in loads)
        if num_requests and token_s > 0:
            self._token_s_per_request = token_s / num_requests


class _Recent:
    """Names of replicas by session, call or digest: of those that were put last."""

    def __init__(self, most: int):
        self._most = most
        self._names: OrderedDict[bytes | str, tuple[str, ...]] = OrderedDict()
        self._num_of: dict[str, int] = {}

    def get(self, key: bytes | str) -> tuple[str, ...]:
        return self._names.get(key, ())

    def num_of(self, name: str) -> int:
        """Keys of which a replica is the first."""
        return self._num_of.get(name, 0)

    def put(self, key: bytes | str, names: tuple[str, ...]) -> None:
        self._forget(self._names.pop(key, ()))
        self._names[key] = names
        self._num_of[names[0]] = self._num_of.get(names[0], 0) + 1
        if len(self._names) > self._most:
            self._forget(self._names.popitem(last=False)[1])

    def _forget(self, names: tuple[str, ...]) -> None:
        for name in names[:1]:
            self._num_of[name] -= 1
            if not self._num_of[name]:
                del self._num_of[name]
