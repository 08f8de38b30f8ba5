"""Requests whose reply has ended in calls that the client runs: what they computed is kept for when it brings the results.

It brings them in a new request, whose prompt begins with the old one. That is recognised by the ids of the calls that it
answers, or by its beginning; then it takes the blocks over and goes on like a request whose tool has returned.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lamps_jax.sched.call_history import CallHistory
from lamps_jax.sched.prefix_index import block_digest, root_digest
from lamps_jax.sched.request import FinishReason, Request

KEPT_SHARE = 0.95
"""Blocks are kept for as long as this share of the client's calls took, …"""

KEPT_SLACK = 1.5
"""… and half as long again."""

LONGEST_S = 600.0
"""Nobody's blocks are kept for longer, whatever a client says: they are not taken from it before it is late."""


@dataclass(frozen=True, slots=True)
class ClientCall:
    """The calls at the end of a reply.

    Attributes:
        call_ids: By which the client names them.
        tools: The name of each.
        expected_s: How long the client says that they take; None if it does not.
        keep_s: The least and the most that it wants them waited for; None leaves either open.
    """

    call_ids: tuple[str, ...]
    tools: tuple[str, ...]
    expected_s: float | None = None
    keep_s: tuple[float | None, float | None] = (None, None)


@dataclass(slots=True, eq=False)
class _Awaited:
    request: Request
    call: ClientCall
    until_s: float
    prompt_digest: bytes


class ClientCalls:
    """Which ended requests are kept, until when, and which new request is whose.

    Args:
        limit_s: How long they are kept where little is known of the calls; 0 keeps none.
    """

    def __init__(self, call_history: CallHistory, *, block_size: int, limit_s: float):
        self._call_history, self._block_size, self._limit_s = call_history, block_size, limit_s
        self._awaited: dict[str, _Awaited] = {}  # by request id
        self._by_call: dict[str, _Awaited] = {}
        self._by_prompt: dict[bytes, list[_Awaited]] = {}

    def __len__(self) -> int:
        """Requests that are kept."""
        return len(self._awaited)

    def kept(self) -> Iterator[Request]:
        """Those requests."""
        return (awaited.request for awaited in self._awaited.values())

    def expected_s(self, call: ClientCall) -> float | None:
        """How long the longest of the calls is expected to take; None if nothing is known."""
        if call.expected_s is not None:
            return call.expected_s
        known = [self._call_history.expected_s(tool, finish_reason=FinishReason.TOOL_CALLS) for tool in call.tools]
        return max((expected for expected in known if expected is not None), default=None)

    def past_s(self, call: ClientCall) -> Sequence[float]:
        """Durations of earlier calls of the same tools, ascending."""
        return sorted(
            duration
            for tool in dict.fromkeys(call.tools)
            for duration in self._call_history.past_s(tool, finish_reason=FinishReason.TOOL_CALLS)
        )

    def keep_s(self, call: ClientCall) -> float:
        """How long a request is kept for its calls: by what they took of late, within what the client wants."""
        if not self._limit_s:
            return 0.0
        past, (least, most) = self.past_s(call), call.keep_s
        limit = self._limit_s
        if past:
            limit = past[min(len(past) - 1, int(KEPT_SHARE * len(past)))] * KEPT_SLACK
        limit = max(limit, (call.expected_s or 0.0) * KEPT_SLACK)
        limit = limit if least is None else max(limit, least)
        return min(limit, LONGEST_S) if most is None else min(limit, most, LONGEST_S)

    def add(self, request: Request, call: ClientCall, now: float) -> None:
        """Keeps a request from now on."""
        num_blocks = request.num_prompt_tokens // self._block_size
        awaited = _Awaited(request, call, now + self.keep_s(call), self._digests(request, num_blocks)[-1])
        self._awaited[request.request_id] = awaited
        self._by_call.update(dict.fromkeys(call.call_ids, awaited))
        self._by_prompt.setdefault(awaited.prompt_digest, []).append(awaited)

    def remove(self, request_id: str) -> None:
        """Keeps a request no longer, if it was."""
        awaited = self._awaited.pop(request_id, None)
        if awaited is None:
            return
        for call_id in awaited.call.call_ids:
            self._by_call.pop(call_id, None)
        alike = self._by_prompt[awaited.prompt_digest]
        alike.remove(awaited)
        if not alike:
            del self._by_prompt[awaited.prompt_digest]

    def overdue(self, now: float) -> list[Request]:
        """Kept requests that nobody has come back for in time."""
        return [awaited.request for awaited in self._awaited.values() if now >= awaited.until_s]

    def next_overdue_s(self) -> float | None:
        """When the next of them will be."""
        return min((awaited.until_s for awaited in self._awaited.values()), default=None)

    def answered_by(self, request: Request, call_ids: Iterable[str]) -> tuple[Request, int] | None:
        """The kept request that a new one goes on from, if there is one, and how many leading tokens they have in common."""
        if not self._awaited:
            return None
        for call_id in call_ids:
            awaited = self._by_call.get(call_id)
            if awaited is not None and awaited.request.cache_salt == request.cache_salt:
                return awaited.request, num_common(awaited.request.token_ids, request.token_ids)
        return self._by_beginning(request)

    def learn(self, request: Request, now: float, num_prompt_tokens: int) -> None:
        """Takes in how long the client took from a request's end to the next one, of so many tokens: each of several calls."""
        call = self._awaited[request.request_id].call
        for tool in dict.fromkeys(call.tools):
            added_tokens = max(0, num_prompt_tokens - len(request.token_ids))
            waited_s = max(0.0, now - request.paused_s)
            self._call_history.observe(tool, waited_s, added_tokens, finish_reason=FinishReason.TOOL_CALLS)

    def _by_beginning(self, request: Request) -> tuple[Request, int] | None:
        best: tuple[Request, int] | None = None
        for digest in self._digests(request, len(request.token_ids) // self._block_size):
            for awaited in self._by_prompt.get(digest, ()):
                kept = awaited.request
                common = num_common(kept.token_ids, request.token_ids)
                # One that shares no more than the prompt is another answer to the same question.
                if common > kept.num_prompt_tokens and (best is None or common > best[1]):
                    best = kept, common
        return best

    def _digests(self, request: Request, num_blocks: int) -> list[bytes]:
        """The root of a request's chain and the digests of its leading full blocks."""
        digests, size = [root_digest(request.cache_salt)], self._block_size
        for position in range(num_blocks):
            digests.append(block_digest(digests[-1], request.token_ids[position * size : (position + 1) * size]))
        return digests


def num_common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two texts have in common."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    return next(at for at in range(length) if first[at] != second[at])
