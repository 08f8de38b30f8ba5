"""An entry of a trace whose fields are checked as they are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class TraceError(ValueError):
    """A trace that cannot be read; the message names the file, the line and the field."""


@dataclass(frozen=True, slots=True)
class Record:
    """An object of a JSON file, or a row of a CSV file.

    Attributes:
        path: Of the file.
        line: Its line, from 1.
        values: What the fields hold: JSON values, or texts of a CSV file.
        where: Leads to it within the line, such as ``segments[2].``.
    """

    path: str
    line: int
    values: Mapping[str, Any]
    where: str = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def is_blank(self, name: str) -> bool:
        """Whether a field is missing, null, or an empty text."""
        return self.values.get(name) in (None, "")

    def error(self, name: str, problem: str) -> TraceError:
        """The error to raise for what is wrong with a field."""
        return TraceError(f"{self.path}, line {self.line}, field {self.where}{name}: {problem}")

    def number(self, name: str, *, least: float = 0.0) -> float:
        """A finite number of at least `least`, in JSON or as text."""
        value = self._present(name)
        try:
            number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(name, f"must be a number, got {value!r}")
        if number < least:
            raise self.error(name, f"must be at least {least:g}, got {value!r}")
        return number

    def count(self, name: str, *, least: int = 0) -> int:
        """A whole number of at least `least`."""
        number = self.number(name, least=least)
        if not number.is_integer():
            raise self.error(name, f"must be a whole number, got {self.values[name]!r}")
        return int(number)

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self._present(name)
        if not isinstance(value, str) or not value:
            raise self.error(name, f"must be a text that is not empty, got {value!r}")
        return value

    def items(self, name: str, *, least: int = 1) -> Sequence[Any]:
        """A JSON array with at least `least` items."""
        value = self._present(name)
        if not isinstance(value, list) or len(value) < least:
            raise self.error(name, f"must be an array of at least {least}, got {str(value)[:40]}")
        return value

    def records(self, name: str, *, least: int = 1) -> list["Record"]:
        """A JSON array of at least `least` objects."""
        records = []
        for number, item in enumerate(self.items(name, least=least)):
            if not isinstance(item, dict):
                raise self.error(f"{name}[{number}]", f"must be an object, got {str(item)[:40]}")
            records.append(Record(self.path, self.line, item, f"{self.where}{name}[{number}]."))
        return records

    def _present(self, name: str) -> Any:
        if name not in self.values or self.values[name] is None:
            raise self.error(name, "is missing")
        return self.values[name]
