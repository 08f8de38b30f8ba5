"""Whether a server came through: what it answered, what it still holds, which tools ran how often, and how its memory grew."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from benchmarks.soak.visits import SERVER_TOOLS, Visit

MOST_GROWTH_MB_PER_MIN = 2.0
LEAST_JUDGED_S = 120.0
"""Of a shorter stretch nothing is said: caches fill in the first minutes."""

SHOWN = 8
_FORESEEN = ("Crash",)
"""Of these tools an error in the log is what was wanted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was looked at, and what was found."""

    name: str
    holds: bool
    found: Any


def answers(visits: Sequence[Visit]) -> list[Verdict]:
    """Every visit was answered as the documentation has it."""
    problems = Counter(f"{visit.kind}: {visit.problem}" for visit in visits if visit.problem)
    return [Verdict("answers are as documented, and in time", not problems, dict(problems.most_common(SHOWN)))]


def tools_ran_once(visits: Sequence[Visit], ledger: Sequence[str]) -> list[Verdict]:
    """Each call ran once: its ticket stands in the ledger once, and there are no more runs than calls.

    A client that has left did not hear of all its calls; such visits may account for runs that nobody has seen.
    """
    twice = [ticket for ticket, count in Counter(ledger).items() if count > 1]
    seen = [call for visit in visits for call in visit.calls]
    results = Counter(call["result"] for call in seen if call["name"] in SERVER_TOOLS and not call["failed"])
    forged = [result for result, count in results.items() if result not in set(ledger) or count > 1]
    ran = Counter(ticket.partition("-")[0] for ticket in ledger)
    named = Counter(call["name"] for call in seen)
    unheard = sum(visit.left for visit in visits)
    within = {name: ran[name] <= named[name] + 40 * unheard and ran[name] >= results_of(results, name) for name in SERVER_TOOLS}
    return [
        Verdict("no ticket twice in the ledger", not twice, twice[:SHOWN]),
        Verdict("each result is a ticket of its own", not forged, forged[:SHOWN]),
        Verdict("no request that was heard to its end ran more than it said", not (more := hidden(visits, ledger)), more[:SHOWN]),
        Verdict("runs and calls agree", all(within.values()), {name: [ran[name], named[name]] for name in SERVER_TOOLS}),
    ]


def results_of(results: Counter[str], name: str) -> int:
    """How many results are tickets of a tool."""
    return sum(count for ticket, count in results.items() if ticket.startswith(f"{name}-"))


def hidden(visits: Sequence[Visit], ledger: Sequence[str]) -> list[str]:
    """Tickets of which a client did not hear, though it heard of others of the same request, to its end."""
    heard = {call["result"] for visit in visits for call in visit.calls}
    owners = {
        result.rpartition("-")[0]
        for visit in visits
        if not visit.left and not visit.problem
        for result in (call["result"] for call in visit.calls)
        if result.startswith(SERVER_TOOLS)
    }
    return [ticket for ticket in ledger if ticket.rpartition("-")[0] in owners and ticket not in heard]


def nothing_left(held: dict[str, int]) -> list[Verdict]:
    """No block and no request is left."""
    return [Verdict("nothing is left in the server", not any(held.values()), held)]


def memory_is_flat(samples: Sequence[tuple[float, int]]) -> list[Verdict]:
    """Resident memory does not grow in the second half, if that is long enough.

    The slope is the median of those between all pairs of samples (Theil and Sen), which a few large bodies do not bend.
    """
    half = [sample for sample in samples if sample[0] >= (samples[0][0] + samples[-1][0]) / 2]
    slope = 60 * float(np.asarray(theilslopes([size / 1e6 for _, size in half], [at for at, _ in half]))[0])
    found = {"mb_per_min": slope, "first_mb": samples[0][1] / 1e6, "last_mb": samples[-1][1] / 1e6}
    is_short = half[-1][0] - half[0][0] < LEAST_JUDGED_S
    return [Verdict("memory is flat", is_short or slope < MOST_GROWTH_MB_PER_MIN, found)]


def log_is_clean(errors: Sequence[str]) -> list[Verdict]:
    """No errors in the log but those of tools that are there to fail."""
    unforeseen = [line[:300] for line in errors if not any(f"tool {name} " in line for name in _FORESEEN)]
    return [Verdict("no errors in the log", not unforeseen, unforeseen[:SHOWN])]
