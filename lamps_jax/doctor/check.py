"""One thing that the doctor looked at, and what all of them come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How it is: `WARN` works, but less well than it could; `FAIL` does not work, or computes something else."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """A finding.

    Attributes:
        detail: One line for people, with the remedy where there is something to be remedied.
        data: The figures behind it, as JSON has them.
    """

    name: str
    status: Status
    detail: str
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The finding as the JSON document has it."""
        return {"name": self.name, "status": self.status.value, "detail": self.detail, **self.data}


def guarded(name: str, examine: Callable[[], Check]) -> Check:
    """What `examine` finds; that it failed if it raises, since the other checks should be made all the same."""
    try:
        return examine()
    except Exception as error:
        return Check(name, Status.FAIL, f"{type(error).__name__}: {' '.join(str(error).split())}")


def exit_status(checks: Sequence[Check]) -> int:
    """1 if anything failed, else 0."""
    return int(any(check.status is Status.FAIL for check in checks))
