"""What changed between two results of the same benchmark, figure by figure.

    python -m benchmarks.compare BEFORE.json AFTER.json

Runs are matched by what they measured: their words and whole numbers. A figure is marked where it moved beyond its spread: where
results tell how far it ranged, the two ranges must lie apart; where they do not, it must have moved by more than `--noise`.
Figures that went the wrong way are marked ``worse``, and make the exit status 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOWER_IS_BETTER = ("_s", "_us", "us_a_token", "_bytes", "_ms", "slowdown", "paged_to_dense")
HIGHER_IS_BETTER = ("per_s", "throughput_rps", "goodput_rps", "speedup", "share_of_limit", "share_of_copy", "over_in_process")
MEASURED_COUNTS = ("bytes_per_step", "weight_bytes", "running")
"""Numbers that come out of a run, and are no part of what it was asked to do."""

LIMITS = ("matmul_flop_per_s", "to_host_bytes_per_s", "from_host_bytes_per_s")
"""What the machine could do, where it stands beside what was reached."""


class UnlikeDocuments(ValueError):
    """Raised where two documents say nothing about each other."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a run; `low` and `high` are how far it ranged, and equal to it where that is not known."""

    value: float
    low: float
    high: float

    @property
    def has_range(self) -> bool:
        return self.low < self.high


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after."""

    run: str
    name: str
    before: Figure
    after: Figure

    @property
    def ratio(self) -> float:
        """How many times as large it became."""
        return self.after.value / self.before.value if self.before.value else float("inf") if self.after.value else 1.0

    def verdict(self, noise: float) -> str:
        """``better`` or ``worse`` if it moved beyond its spread, else nothing; ``moved`` if neither way is better."""
        if self.before.has_range and self.after.has_range:
            moved = self.after.low > self.before.high or self.after.high < self.before.low
        else:
            moved = not 1 / (1 + noise) <= self.ratio <= 1 + noise
        direction = direction_of(self.name)
        if not moved or direction == 0:
            return "moved" if moved else ""
        return "better" if (self.ratio > 1) == (direction > 0) else "worse"


def direction_of(name: str) -> int:
    """1 if more of it is better, -1 if less is, 0 if neither."""
    last = name.rsplit(" ", 1)[0]
    if last in LIMITS:
        return 0
    return 1 if last.endswith(HIGHER_IS_BETTER) else -1 if last.endswith(LOWER_IS_BETTER) else 0


def read_document(path: Path) -> dict[str, Any]:
    """The results in a file.

    Raises:
        UnlikeDocuments: If there are none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnlikeDocuments(f"{path} holds no results: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list) or "schema" not in document:
        raise UnlikeDocuments(f"{path} holds no results: a benchmark's document has `schema` and `runs`")
    return document


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every figure that both documents have, in the order of the first.

    Raises:
        UnlikeDocuments: If they are of different benchmarks or schemas, or no run of the one is in the other.
    """
    for name in ("schema", "benchmark", "kind"):
        if before.get(name) != after.get(name):
            raise UnlikeDocuments(f"the {name} of the first is {before.get(name)!r}, that of the second {after.get(name)!r}")
    first, second = (_by_identity(document["runs"]) for document in (before, after))
    shared = [identity for identity in first if identity in second]
    if not shared:
        raise UnlikeDocuments("no run of the first was measured in the second; the options were different ones")
    return [
        Change(identity, name, figure, theirs[name])
        for identity in shared
        for theirs in [dict(figures_of(second[identity]))]
        for name, figure in figures_of(first[identity])
        if name in theirs
    ]


def only_in(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Runs of `one` that `other` lacks."""
    known = _by_identity(other["runs"])
    return [identity for identity in _by_identity(one["runs"]) if identity not in known]


def _by_identity(runs: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Runs by what they measured; those that measured the same thing are numbered."""
    named: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        words = [
            f"{key}={value}" if not isinstance(value, str) else value for key, value in run.items() if _identifies(key, value)
        ]
        identity, number = " ".join(words), 1
        while identity in named:
            number += 1
            identity = " ".join([*words, f"#{number}"])
        named[identity] = run
    return named


def _identifies(key: str, value: object) -> bool:
    if key in MEASURED_COUNTS or key.endswith(LOWER_IS_BETTER) or key in ("reason", "detail", "attention", "rounds"):
        return False
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def figures_of(run: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The numbers of a run, with how far they ranged where it is told."""
    for key, value in run.items():
        if isinstance(value, float) or (isinstance(value, int) and key.endswith(LOWER_IS_BETTER)):
            low, high = run.get(f"{key.removesuffix('_s')}_quartiles_s", (value, value))
            yield key, Figure(value, low, high)
        elif isinstance(value, dict) and {"median", "least", "most"} <= value.keys():
            yield key, Figure(value["median"], value["least"], value["most"])
        elif isinstance(value, dict):
            for name in ("p50", "p99"):
                if isinstance(value.get(name), int | float):
                    yield f"{key} {name}", Figure(value[name], value[name], value[name])


def table(changes: list[Change], noise: float, *, everything: bool) -> str:
    """The figures that moved, or all of them."""
    lines = [f"{'':7} {'before':>12} {'after':>12} {'ratio':>7}  figure"]
    for change in changes:
        verdict = change.verdict(noise)
        if verdict or everything:
            figures = f"{change.before.value:12.5g} {change.after.value:12.5g} {change.ratio:7.3f}"
            lines.append(f"{verdict:7} {figures}  {change.name}: {change.run}")
    moved = sum(bool(change.verdict(noise)) for change in changes)
    return "\n".join([*lines, f"{moved} of {len(changes)} figures moved beyond their spread"])


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Facts about machine and source in which the documents differ."""
    machines = [document.get("machine") or {} for document in (before, after)]
    facts = [
        f"{name}: {machines[0].get(name)} before, {machines[1].get(name)} after"
        for name in dict.fromkeys([*machines[0], *machines[1]])
        if machines[0].get(name) != machines[1].get(name)
    ]
    commits = [document.get("commit", "unknown") for document in (before, after)]
    return facts + ([f"commit: {commits[0]} before, {commits[1]} after"] if commits[0] != commits[1] else [])


def main() -> None:
    """Prints what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="results of a benchmark")
    parser.add_argument("after", type=Path, help="later results of the same one")
    parser.add_argument("--noise", type=float, default=0.1, help="share by which a figure without a range may move unmarked")
    parser.add_argument("--all", action="store_true", help="also show the figures that did not move")
    arguments = parser.parse_args()
    try:
        before, after = read_document(arguments.before), read_document(arguments.after)
        changes = compare(before, after)
    except UnlikeDocuments as error:
        parser.error(str(error))
    for line in differences(before, after):
        print(line)
    print(table(changes, arguments.noise, everything=arguments.all))
    for which, missing in (("before", only_in(before, after)), ("after", only_in(after, before))):
        for identity in missing:
            print(f"only {which}: {identity}")
    sys.exit(any(change.verdict(arguments.noise) == "worse" for change in changes))


if __name__ == "__main__":
    main()
